"""The security contact at ``/.well-known/security.txt`` (RFC 9116)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

NO_CONTACT = "This server has no security contact. Its operator can set one with --security-contact=URI.\n"

_VALID = timedelta(days=364)  # RFC 9116, 2.5.5 recommends less than a year


def security_txt(contact: str, started: float) -> str | None:
    """Return the file of a server that started at that Unix time; None without a ``contact`` (see 2.5.3).

    The file expires a year after the start, so that no one trusts a long forgotten contact.
    """
    if not contact:
        return None
    expires = (datetime.fromtimestamp(started, UTC) + _VALID).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"Contact: {contact}\nExpires: {expires}\nPreferred-Languages: en\n"
