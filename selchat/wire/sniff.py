"""Which protocol a connection speaks: TLS or not, told from its first byte, and then from its first payload.

Both are told once and for all: what comes later cannot change it.

The first payload of the paper's clients is a username, and that may be anything: ``{`` and ``[x]`` are
names. The first of a rich client is a ``hello``. One with a mistake in it is a ``hello`` still: whoever
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


class Opening(Enum):
    """What a connection begins with."""

    TLS = auto()
    FRAMES = auto()


def sniff(data: bytes) -> Opening:
    """Return what a connection begins with that has sent ``data``, of which there is a byte at least.

    No header of a frame begins with that of TLS, which is a control character.
    """
    return Opening.TLS if data[0] == _HANDSHAKE else Opening.FRAMES


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
