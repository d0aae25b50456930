"""Self-signed certificate of the server, and certificate fingerprints.

The first start makes a key and a certificate. Clients pin the *key* (trust on first use). The server signs a
new certificate with the same key when the machine has a new name or address, or when the old one is about to
expire.

Knows nothing about connections, nor about what a client does with a fingerprint.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from selchat.errors import UsageError, close_reason
from selchat.limits import CERTIFICATE_WARNING_SECONDS, MAX_PEM_SIZE
from selchat.net.interfaces import own_addresses
from selchat.paths import make_private_file, make_private_folder, remove_leftovers, replace_private_file

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

KEY_FILE = "server-key.pem"
CERTIFICATE_FILE = "server-certificate.pem"

_VALID_DAYS = 800  # browsers accept at most 825
_RENEW = datetime.timedelta(days=30)  # before expiry
_REFUSED = "browsers refuse it"
_RENEW_IT = "renew it, then send SIGHUP to the server"
_CLOCK_SKEW = datetime.timedelta(days=1)  # for peers whose clock is slow


class CertificateError(UsageError):
    """The file at ``path`` cannot serve as a certificate or key; ``why`` says why."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(path, why)
        self.path = path
        self.why = why

    def __str__(self) -> str:
        return f"{self.path}, for TLS: {self.why}"


def own_certificate(folder: Path) -> tuple[Path, Path]:
    """Return the paths of our certificate and its key. Make or renew them as needed.

    Only the file's owner can read the key. Raises `CertificateError`.
    """
    key_path, path = folder / KEY_FILE, folder / CERTIFICATE_FILE
    try:
        remove_leftovers(key_path)
        remove_leftovers(path)
        if not key_path.exists():
            make_private_folder(folder)
            make_private_file(key_path, _new_key())
        key = _read_key(key_path)
        names = own_names() | {"localhost"}
        addresses = own_addresses() | {"127.0.0.1", "::1"}
        if not _is_good(path, key, names, addresses):
            replace_private_file(path, _sign(key, names, addresses))
    except OSError as error:
        raise CertificateError(key_path, close_reason(error)) from error
    return path, key_path


def fingerprint(certificate: bytes) -> str:
    """Return the SHA-256 of the public key in a DER certificate, in hexadecimal.

    It hashes the SubjectPublicKeyInfo, as HTTP public key pinning does (RFC 7469, 2.4). A new certificate
    with the same key therefore has the same fingerprint. Raises ValueError.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except Exception as error:  # the library raises many types for malformed input
        raise ValueError(_why(error) or type(error).__name__) from error
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def read_pem(path: Path) -> bytes:
    """Return the content of a PEM file. Raises `CertificateError`, also for a device without an end."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PEM_SIZE + 1)
    except OSError as error:
        raise CertificateError(path, close_reason(error)) from error
    if len(data) > MAX_PEM_SIZE:
        raise CertificateError(path, f"more than {MAX_PEM_SIZE} bytes")
    return data


def read_certificate(path: Path) -> bytes:
    """Return the first certificate in a PEM file, as DER. Raises `CertificateError`."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        return x509.load_pem_x509_certificate(read_pem(path)).public_bytes(Encoding.DER)
    except (ValueError, x509.InvalidVersion) as error:
        raise CertificateError(path, "this file contains no certificate in PEM form") from error


class Validity(NamedTuple):
    """When the certificates in the file at ``path`` are valid, in UTC."""

    path: Path
    begins: datetime.datetime
    ends: datetime.datetime

    def warning(self, now: datetime.datetime) -> str:
        """Return why others do not accept the certificate, or soon will not; empty: they do."""
        if now < self.begins:
            begins = _local(self.begins)
            return f"the certificate {self.path} is not valid before {begins}: {_REFUSED}; check the clock"
        if now >= self.ends:
            return f"the certificate {self.path} expired on {_local(self.ends)}: {_REFUSED}; {_RENEW_IT}"
        left = (self.ends - now).total_seconds()
        if left < CERTIFICATE_WARNING_SECONDS:
            days, hours = divmod(round(left / 3600), 24)
            time = f"{days} days" if days > 1 else f"{24 * days + hours} hours"
            return f"the certificate {self.path} expires on {_local(self.ends)}, in {time}; {_RENEW_IT}"
        return ""

    def must_renew(self, now: datetime.datetime) -> bool:
        """Return whether the server should sign its own certificate again."""
        return not self.begins <= now < self.ends - _RENEW


def read_validity(path: Path) -> Validity:
    """Return when all certificates in a PEM file are valid. Raises `CertificateError`."""
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificates(read_pem(path))
        return Validity(
            path,
            max(one.not_valid_before_utc for one in found),
            min(one.not_valid_after_utc for one in found),
        )
    except (OSError, ValueError, x509.InvalidVersion) as error:
        raise CertificateError(path, _why(error)) from error


def read_fingerprint(path: Path) -> str:
    """Return the `fingerprint` of the first certificate in a PEM file. Raises `CertificateError`."""
    try:
        return fingerprint(read_certificate(path))
    except ValueError as error:
        raise CertificateError(path, _why(error)) from error


def subject_names(certificate: bytes) -> list[str]:
    """Return the host names and addresses in a DER certificate, without wildcards."""
    from cryptography import x509

    try:
        found = (
            x509.load_der_x509_certificate(certificate)
            .extensions.get_extension_for_class(x509.SubjectAlternativeName)
            .value
        )
    except (ValueError, x509.ExtensionNotFound):
        return []
    names = [name for name in found.get_values_for_type(x509.DNSName) if "*" not in name]
    return names + list(map(str, found.get_values_for_type(x509.IPAddress)))


def group_digits(fingerprint: str) -> str:
    """Return the fingerprint in sixteen groups of four digits, for people to compare."""
    return " ".join(fingerprint[start : start + 4] for start in range(0, len(fingerprint), 4))


# --------------------------------------------------------------------------------------------------------


def _new_key() -> bytes:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    # P-256: every browser supports it, and a signature takes 30 microseconds. RSA takes 20 times as long.
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _read_key(path: Path) -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError) as error:
        why = f"this file contains no key ({_why(error)}); restore it, or delete it to make a new key"
        raise CertificateError(path, why) from error
    if not isinstance(key, EllipticCurvePrivateKey):
        why = "this file contains a key that selchat did not make; to use your own key, give --cert"
        raise CertificateError(path, why)
    return key


def _is_good(path: Path, key: EllipticCurvePrivateKey, names: set[str], addresses: set[str]) -> bool:
    """Return whether the certificate has this key, these names and addresses, and will not expire soon."""
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    now = datetime.datetime.now(datetime.UTC)
    return (
        certificate.public_key() == key.public_key()
        and certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - _RENEW
        and names <= set(found.get_values_for_type(x509.DNSName))
        and addresses <= set(map(str, found.get_values_for_type(x509.IPAddress)))
    )


def _sign(key: EllipticCurvePrivateKey, names: set[str], addresses: set[str]) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "selchat")])
    alternatives: list[x509.GeneralName] = [x509.DNSName(one) for one in sorted(names)]
    alternatives += [x509.IPAddress(ipaddress.ip_address(one)) for one in sorted(addresses)]
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + datetime.timedelta(days=_VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )


def own_names() -> set[str]:
    """Return this machine's names that a certificate can contain."""
    name = socket.gethostname()  # only the local name: a DNS lookup has no time limit
    return {name.lower()} if name and name.isascii() and " " not in name and len(name) < 254 else set()


def _local(time: datetime.datetime) -> str:
    return time.astimezone().strftime("%Y-%m-%d %H:%M %Z").strip()


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return close_reason(error)
    # The library appends a URL for programmers: "Unable to load PEM file. See https://... MalformedFraming".
    return re.sub(r" See https?://\S+ for more details\.", "", str(error)).partition("\n")[0]
