"""The server's own certificate: made on the first start, and known again by its key.

Nobody signs it but itself. Clients remember the *key* the first time they see it and stop when it changes.
The certificate around it is made anew, with the same key, whenever the machine has other names or addresses
than are in it, or it is about to expire.

It must not know who connects, nor what a client makes of a fingerprint.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from selchat.errors import UsageError, close_reason
from selchat.net.interfaces import own_addresses
from selchat.paths import make_private_file, make_private_folder, replace_private_file

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

KEY_FILE = "server-key.pem"
CERTIFICATE_FILE = "server-certificate.pem"

_DAYS = 800  # of validity; browsers take no more than 825
_RENEW = datetime.timedelta(days=30)  # before the end
_ALLOWANCE = datetime.timedelta(days=1)  # for clocks that are behind


class CertificateError(UsageError):
    """``path`` of a certificate or of a key, and why it does not do."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(path, why)
        self.path = path
        self.why = why

    def __str__(self) -> str:
        return f"{self.path}, for TLS: {self.why}"


def own_certificate(folder: Path) -> tuple[Path, Path]:
    """Return the files of our certificate and of its key, which are made if need be.

    The key is readable by its owner alone. Raises `CertificateError`.
    """
    key_path, path = folder / KEY_FILE, folder / CERTIFICATE_FILE
    try:
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
    """Return by what a server is known: the SHA-256 of the public key in its certificate (DER), in hex.

    The key is taken as its SubjectPublicKeyInfo, as in HTTP public key pinning (RFC 7469, 2.4), so that a new
    certificate with the same key has the same fingerprint. Raises ValueError.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except Exception as error:  # for what a certificate can be, the library has many, and ValueError is one
        raise ValueError(_why(error) or type(error).__name__) from error
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def read_certificate(path: Path) -> bytes:
    """Return the first certificate in a PEM file, as DER. Raises `CertificateError`."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)
    except (OSError, ValueError, x509.InvalidVersion) as error:
        raise CertificateError(path, _why(error)) from error


def file_fingerprint(path: Path) -> str:
    """Return the `fingerprint` of the first certificate in a PEM file. Raises `CertificateError`."""
    try:
        return fingerprint(read_certificate(path))
    except ValueError as error:
        raise CertificateError(path, _why(error)) from error


def names_in(certificate: bytes) -> list[str]:
    """Return the names and addresses that a certificate (DER) is for, without wildcards."""
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


def in_groups(fingerprint: str) -> str:
    """Return it as people compare it: sixteen groups of four."""
    return " ".join(fingerprint[start : start + 4] for start in range(0, len(fingerprint), 4))


# --------------------------------------------------------------------------------------------------------


def _new_key() -> bytes:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    # P-256: a signature takes 30 microseconds, and every browser knows it. An RSA one takes 20 times that.
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _read_key(path: Path) -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise CertificateError(path, f"it holds no key ({_why(error)}); restore it, or delete it") from error
    if not isinstance(key, EllipticCurvePrivateKey):
        raise CertificateError(path, "it holds a key of another kind than is made here; use --cert")
    return key


def _is_good(path: Path, key: EllipticCurvePrivateKey, names: set[str], addresses: set[str]) -> bool:
    """Whether that file has a certificate for this key, these names and addresses, and some time to come."""
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
        .not_valid_before(now - _ALLOWANCE)
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )


def own_names() -> set[str]:
    """Return the names of this machine that can be in a certificate."""
    name = socket.gethostname()  # and no more: to ask for others can take as long as a name server likes
    return {name.lower()} if name and name.isascii() and " " not in name and len(name) < 254 else set()


def _why(error: Exception) -> str:
    return close_reason(error) if isinstance(error, OSError) else str(error).partition("\n")[0]
