"""What the operator is told at the start for people with browsers: what to open, and a picture of the first.

It must not know how these are shown, nor which addresses this machine has.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

_MAX = 6  # addresses that are shown; a machine can have dozens of IPv6
_BORDER = 2  # modules of white around a QR code; the standard has 4, and phones need none of them
_LINES_BESIDE = 8  # of the terminal, for what is said before and after


def page_addresses(hosts: Sequence[str], port: int, *, tls: bool, local: bool) -> list[str]:
    """Return what to open in a browser: by these hosts, and (``local``) on this machine itself.

    There, nothing has to be encrypted, and the browser has nothing to warn of.
    """
    scheme = "https" if tls else "http"
    found = [f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/" for host in hosts[:_MAX]]
    return [*found, f"http://localhost:{port}/"] if local else found


def picture(address: str, columns: int, rows: int) -> list[str]:
    """Return the lines of a QR code of an address, for a terminal of that size; none if it does not fit in.

    Without the package for it there are none either.
    """
    try:
        import segno
    except ImportError:
        return []
    code = segno.make_qr(address, error="l")
    text = io.StringIO()
    code.terminal(out=text, compact=True, border=_BORDER)
    lines = [line for line in text.getvalue().splitlines() if line]
    fits = max(map(len, lines)) <= columns and len(lines) + _LINES_BESIDE <= rows
    return lines if fits else []
