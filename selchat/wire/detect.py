"""Protocol detection from the first bytes of a connection (TLS, HTTP or frames) and from its first payload.

Later bytes never change a result.

The first payload of a classic client is a username, and that may be anything: ``{`` and ``[x]`` are names.
The first payload of a selchat client is a ``hello``. A malformed ``hello`` still counts as a hello: the
author of such a client needs an error, not a user with a very long name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from enum import Enum, auto
from json.scanner import make_scanner
from typing import Any, cast

_HANDSHAKE = 0x16  # the content type with which every TLS connection begins (RFC 8446, 5.1)
# The methods of RFC 9110, PATCH of RFC 5789, and PRI, with which HTTP/2 begins (RFC 9113, 3.4).
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "PRI")
_REQUESTS = tuple(f"{method} ".encode() for method in _METHODS)


class DetectedProtocol(Enum):
    """The protocol of the first bytes."""

    TLS = auto()
    HTTP = auto()
    FRAMES = auto()


def detect_protocol(data: bytes) -> DetectedProtocol | None:
    """Return the protocol of a connection that begins with ``data``, at least one byte.

    None: ``data`` may be an incomplete HTTP method. Frame headers begin neither with a letter nor with the
    control character that begins TLS.
    """
    if data[0] == _HANDSHAKE:
        return DetectedProtocol.TLS
    if data.startswith(_REQUESTS):
        return DetectedProtocol.HTTP
    if any(request.startswith(data) for request in _REQUESTS):
        return None
    return DetectedProtocol.FRAMES


_BOM = b"\xef\xbb\xbf"
_HELLO = re.compile(r'"type"[ \t\r\n]*:[ \t\r\n]*"hello"')
# Objects become lists of pairs, so that a duplicate key is found twice. Numbers are not parsed, because long
# ones are slow.
_scan: Callable[[str, int], tuple[Any, int]] = cast(Any, make_scanner)(
    json.JSONDecoder(
        strict=False, object_pairs_hook=list, parse_int=bool, parse_float=bool, parse_constant=bool
    )
)


def is_hello(payload: bytes) -> bool:
    """Whether the payload is a JSON object with the ``type`` ``hello``, possibly malformed."""
    payload = payload.removeprefix(_BOM).lstrip(b" \t\r\n")
    if not payload.startswith(b"{"):
        return False  # nearly every name ends here, without any parsing
    text = payload.decode("utf-8", "replace")
    try:
        pairs, _ = _scan(text, 0)
    except (ValueError, StopIteration, RecursionError):
        return _HELLO.search(text) is not None
    return ("type", "hello") in pairs
