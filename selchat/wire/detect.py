"""Which protocol a connection speaks: TLS, HTTP or frames, told from its first bytes; and which one the
frames are of, told from the first payload.

All are told once and for all: what comes later cannot change it.

The first payload of the paper's clients is a username, and that may be anything: ``{`` and ``[x]`` are
names. The first of a selchat client is a ``hello``. One with a mistake in it is a ``hello`` still: whoever
writes such a client wants to be told of the mistake, and not to be someone with a very long name.
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
    """What a connection begins with."""

    TLS = auto()
    HTTP = auto()
    FRAMES = auto()


def detect_protocol(data: bytes) -> DetectedProtocol | None:
    """Return what a connection begins with that has sent ``data``, of which there is a byte at least.

    None: it may be a method of HTTP, and is not whole. No header of a frame begins with a letter, and none
    with that of TLS, which is a control character.
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
# Objects become lists of pairs, so that a key that is there twice is seen twice; numbers are not looked at,
# because long ones are slow.
_scan: Callable[[str, int], tuple[Any, int]] = cast(Any, make_scanner)(
    json.JSONDecoder(
        strict=False, object_pairs_hook=list, parse_int=bool, parse_float=bool, parse_constant=bool
    )
)


def is_hello(payload: bytes) -> bool:
    """Whether the payload is a JSON object with the ``type`` ``hello``, or was meant to be one."""
    payload = payload.removeprefix(_BOM).lstrip(b" \t\r\n")
    if not payload.startswith(b"{"):
        return False  # as nearly every name; nothing is parsed for those
    text = payload.decode("utf-8", "replace")
    try:
        pairs, _ = _scan(text, 0)
    except (ValueError, StopIteration, RecursionError):
        return _HELLO.search(text) is not None
    return ("type", "hello") in pairs
