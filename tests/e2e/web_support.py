"""HTTP and WebSocket by hand, from RFC 9112 and RFC 6455 alone: no test checks the package against itself."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from dataclasses import dataclass
from typing import Any

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10  # opcodes
KEY = base64.b64encode(bytes(range(16))).decode()
ACCEPT = base64.b64encode(
    hashlib.sha1(f"{KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
).decode()

_UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def request(
    path: str = "/",
    host: str | None = "127.0.0.1:33000",
    method: str = "GET",
    body: bytes = b"",
    version: str = "HTTP/1.1",
    **headers: str | None,
) -> bytes:
    """A request. Headers by their names with ``_`` for ``-``; None: not that one."""
    fields: dict[str, str | None] = {"Host": host}
    if body:
        fields["Content-Length"] = str(len(body))
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {path} {version}"]
    lines += [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def opening(path: str = "/ws", host: str | None = "127.0.0.1:33000", **headers: str | None) -> bytes:
    """A request that opens a WebSocket."""
    return request(
        path, host, **{**{name.replace("-", "_"): value for name, value in _UPGRADE.items()}, **headers}
    )  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Answer:
    """``headers`` by their names in lower case. ``raw``: as it came, without the body."""

    status: int
    headers: dict[str, str]
    body: bytes
    raw: bytes


def answers(stream: bytes, *methods: str) -> tuple[list[Answer], bytes]:
    """Return the answers to requests with those methods (GET: all), and what follows the last whole one.

    After a 101 comes what is no HTTP. An assertion fails for what is none and should be.
    """
    found: list[Answer] = []
    while b"\r\n\r\n" in stream:
        head, _, rest = stream.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        version, status, _reason = status_line.split(" ", 2)
        assert version == "HTTP/1.1"
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            assert name.lower() not in headers, f"{name} is there twice"
            headers[name.lower()] = value
        code = int(status)
        final = sum(answer.status >= 200 for answer in found)
        size = int(headers.get("content-length", "0"))
        if code < 200 or code == 304 or (final < len(methods) and methods[final] == "HEAD"):
            size = 0
        if len(rest) < size:
            break
        found.append(Answer(code, headers, rest[:size], head))
        stream = rest[size:]
        if code == 101:
            break
    return found, stream


def masked(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = b"\x01\x80\x7f\xfe",
) -> bytes:
    """A frame as a client sends it. ``mask`` None: as it may not."""
    first = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    bit = 0x80 if mask is not None else 0
    size = len(payload)
    if size < 126:
        head = first + bytes([bit | size])
    elif size < 1 << 16:
        head = first + struct.pack("!BH", bit | 126, size)
    else:
        head = first + struct.pack("!BQ", bit | 127, size)
    if mask is None:
        return head + payload
    return head + mask + xor(payload, mask)


def xor(payload: bytes, mask: bytes) -> bytes:
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(len(payload), "big")


def texts(*messages: dict[str, Any] | bytes) -> bytes:
    """A text message for each of these."""
    return b"".join(
        masked(TEXT, one if isinstance(one, bytes) else json.dumps(one, ensure_ascii=False).encode())
        for one in messages
    )


def closing(code: int | None = 1000, reason: bytes | str = b"") -> bytes:
    """A client's close frame. ``code`` None: with none."""
    reason = reason.encode() if isinstance(reason, str) else reason
    return masked(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


def server_frames(stream: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Return opcode and payload of each frame that a server sent, and what is left of one that is not whole.

    An assertion fails for what a server without extensions and fragments may not send.
    """
    found: list[tuple[int, bytes]] = []
    while len(stream) >= 2:
        first, size = stream[0], stream[1]
        assert first & 0xF0 == 0x80, f"no whole frame without extensions: {stream[:20]!r} after {found[-2:]}"
        opcode = first & 0x0F
        assert opcode in {TEXT, CLOSE, PING, PONG}, f"opcode {opcode} after {found[-2:]}"
        assert size < 128, "a server masks nothing"
        start = 2
        if size == 126:
            start = 4
            if len(stream) < start:
                break
            (size,) = struct.unpack("!H", stream[2:4])
            assert size > 125, "not the shortest header"
        elif size == 127:
            start = 10
            if len(stream) < start:
                break
            (size,) = struct.unpack("!Q", stream[2:10])
            assert size >= 1 << 16, "not the shortest header"
        if len(stream) < start + size:
            break
        assert opcode < 8 or size < 126
        found.append((opcode, stream[start : start + size]))
        stream = stream[start + size :]
    return found, stream


def close_code(payload: bytes) -> tuple[int | None, str]:
    """Return what a close frame says; code None: it says nothing."""
    if not payload:
        return None, ""
    return struct.unpack("!H", payload[:2])[0], payload[2:].decode()
