"""As whom the server is known to those who come by TLS: its certificate and key, its own or the operator's.

It must not know who connects.
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
    file_fingerprint,
    in_groups,
    names_in,
    own_certificate,
    read_certificate,
)
from selchat.net.tls import server_context
from selchat.paths import data_folder


class Tls(NamedTuple):
    """What encrypts connections; SHA-256 of its key and of its certificate, in hex; and whom it is for."""

    context: ssl.SSLContext
    fingerprint: str
    certificate: str
    names: list[str]

    @property
    def shown(self) -> tuple[str, str]:
        """The two fingerprints, as people compare them."""
        return in_groups(self.fingerprint), in_groups(self.certificate)


def open_tls(settings: Settings) -> Tls | None:
    """Return what encrypts connections; None: nothing does. Raises `CertificateError`."""
    if settings.tls == "off":
        return None
    if settings.cert is None:
        certificate, key = own_certificate(data_folder())
    else:
        certificate = Path(settings.cert)
        key = certificate if settings.key_file is None else Path(settings.key_file)
    found = file_fingerprint(certificate)
    try:
        context = server_context(certificate, key)
    except OSError as error:
        raise CertificateError(key, f"no key for {certificate} ({close_reason(error)})") from error
    der = read_certificate(certificate)
    return Tls(context, found, hashlib.sha256(der).hexdigest(), names_in(der))
