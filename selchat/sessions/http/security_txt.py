"""Whom to tell of a hole in the server: what is given out at ``/.well-known/security.txt`` (RFC 9116)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

NONE = "This server has no such file; whoever runs it makes one with --security-contact=URI.\n"

_VALID = timedelta(days=364)  # RFC 9116, 2.5.5 recommends less than a year


def security_txt(contact: str, started: float) -> str | None:
    """Return the file, for a server that was started at that Unix time.

    None: there is no ``contact``, without which there is no such file (2.5.3). It expires although it is made
    anew each time, so that nobody believes what an operator has set and forgotten years ago.
    """
    if not contact:
        return None
    expires = (datetime.fromtimestamp(started, UTC) + _VALID).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"Contact: {contact}\nExpires: {expires}\nPreferred-Languages: en\n"
