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
    """Return a request. Write ``_`` for ``-`` in names of headers; None leaves a header out."""
    fields: dict[str, str | None] = {"Host": host}
    if body:
        fields["Content-Length"] = str(len(body))
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {path} {version}"]
    lines += [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def opening(path: str = "/ws", host: str | None = "127.0.0.1:33000", **headers: str | None) -> bytes:
    """Return a request that opens a WebSocket."""
    return request(
        path, host, **{**{name.replace("-", "_"): value for name, value in _UPGRADE.items()}, **headers}
    )  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response. ``headers`` have lower-case names; ``raw`` is the received head."""

    status: int
    headers: dict[str, str]
    body: bytes
    raw: bytes


def answers(stream: bytes, *methods: str) -> tuple[list[Answer], bytes]:
    """Return the responses to requests with these methods (none given: all are GET), and the remaining bytes.

    The bytes after a 101 response are not HTTP. Invalid HTTP before it fails an assertion.
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
            assert name.lower() not in headers, f"{name} is repeated"
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
    """Return a client's frame. ``mask`` None leaves it unmasked, which RFC 6455 forbids."""
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
    """Return a text frame for each message."""
    return b"".join(
        masked(TEXT, one if isinstance(one, bytes) else json.dumps(one, ensure_ascii=False).encode())
        for one in messages
    )


def closing(code: int | None = 1000, reason: bytes | str = b"") -> bytes:
    """Return a client's close frame; ``code`` None sends an empty one."""
    reason = reason.encode() if isinstance(reason, str) else reason
    return masked(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


def server_frames(stream: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Return opcode and payload of each complete frame of a server, and the bytes of an incomplete one.

    Fail on frames that a server without extensions and fragments must not send.
    """
    found: list[tuple[int, bytes]] = []
    while len(stream) >= 2:
        first, size = stream[0], stream[1]
        assert first & 0xF0 == 0x80, f"a fragment or an extension: {stream[:20]!r} after {found[-2:]}"
        opcode = first & 0x0F
        assert opcode in {TEXT, CLOSE, PING, PONG}, f"opcode {opcode} after {found[-2:]}"
        assert size < 128, "a server must not mask"
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
    """Return code and reason of a close frame's payload; an empty one has the code None."""
    if not payload:
        return None, ""
    return struct.unpack("!H", payload[:2])[0], payload[2:].decode()
