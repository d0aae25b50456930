"""The server's TLS certificate and fingerprints.

The certificate is the operator's, or self-signed by `selchat.net.certificate`. Knows nothing about
connections.
"""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path
from typing import NamedTuple

from selchat.config.settings import Settings
from selchat.errors import close_reason
from selchat.net.certificate import (
    CertificateError,
    Validity,
    group_digits,
    own_certificate,
    read_certificate,
    read_fingerprint,
    read_pem,
    read_validity,
    subject_names,
)
from selchat.net.tls import server_context
from selchat.paths import data_folder


class Fingerprints(NamedTuple):
    """SHA-256 of the public key and of the certificate, in groups of four hexadecimal digits."""

    key: str
    certificate: str


class TlsConfig(NamedTuple):
    """The server's TLS context, its fingerprints, and its certificate's host names and dates."""

    context: ssl.SSLContext
    fingerprints: Fingerprints
    names: list[str]
    validity: Validity


def open_tls(settings: Settings) -> TlsConfig | None:
    """Load the TLS configuration; None if TLS is off. Raises `CertificateError`."""
    if settings.tls == "off":
        return None
    if settings.cert is None:
        certificate, key = own_certificate(data_folder())
    else:
        certificate = Path(settings.cert)
        key = certificate if settings.key_file is None else Path(settings.key_file)
    key_digest = read_fingerprint(certificate)
    read_pem(key)  # OpenSSL would read a device without an end for ever
    try:
        context = server_context(certificate, key)
    except OSError as error:
        raise CertificateError(key, _key_problem(error, certificate)) from error
    der = read_certificate(certificate)
    digests = Fingerprints(group_digits(key_digest), group_digits(hashlib.sha256(der).hexdigest()))
    return TlsConfig(context, digests, subject_names(der), read_validity(certificate))


def describe_change(old: TlsConfig | None, new: TlsConfig | None) -> list[str]:
    """Return the change of the certificate in words; empty if there is none, or if TLS is switched."""
    if old is None or new is None or old.fingerprints == new.fingerprints:
        return []
    same_key = old.fingerprints.key == new.fingerprints.key
    return ["new certificate with the same key" if same_key else "new certificate with another key"]


def _key_problem(error: OSError, certificate: Path) -> str:
    """Return why the key file is no use, in words; OpenSSL's own are for programmers."""
    if not isinstance(error, ssl.SSLError):
        return close_reason(error)
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"its key belongs to another certificate than {certificate}"
    return "this file contains no private key, or one with a password"
