"""Message framing for load generators: classic length headers or WebSocket frames.

It knows bytes, and neither sockets nor the content of messages. A frame is a header and the unchanged
payload, in both directions. A WebSocket client has to mask the frames that it sends; a mask of four zeros is
valid, and the server cannot expect it (RFC 6455, 5.3). So one payload serves both framings, and masking costs
the load nothing.

All members of a room receive the same frames, except for pings and pongs, which belong to one connection.
`Framing.split_controls` removes these. Fragmented and compressed messages are not supported: selchat sends
neither.
"""

from __future__ import annotations

import base64
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from selchat.bench.errors import HandshakeError
from selchat.limits import HEADER_LENGTH
from selchat.wire.frames import FrameDecoder

_PAYLOAD_LIMIT = 1 << 24  # bytes; generous, because the limits of other servers are theirs to choose
_MAX_HEAD = 1 << 16  # bytes of an HTTP response head
_END_OF_HEAD = b"\r\n\r\n"
_KEY = base64.b64encode(b"selchat-bench/ws")  # 16 bytes; fixed, because no cache stands between us
_ACCEPT = base64.b64encode(
    hashlib.sha1(_KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
)

# The first byte of a frame: FIN bit and opcode (RFC 6455, 5.2).
_TEXT, _CLOSE, _PING, _PONG = 0x81, 0x88, 0x89, 0x8A
_MASKED = 0x80
_NORMAL_CLOSURE = (1000).to_bytes(2, "big")  # close code (RFC 6455, 7.4.1)


class Decoder(Protocol):
    """Turns a byte stream, split at any place, into payloads. ``error`` says why the stream is broken."""

    @property
    def error(self) -> object | None: ...

    def receive_data(self, data: bytes) -> list[bytes]: ...


def ignore_ping(_payload: bytes) -> None:
    """Leave the ping unanswered."""


class Framing(ABC):
    """One way to delimit messages in a byte stream."""

    close_frame = b""
    """The last frame of a client. If empty, the client shuts down its sending side instead."""

    @abstractmethod
    def header(self, length: int, from_server: bool = False) -> bytes:
        """Return the header of a frame with a payload of ``length`` bytes."""

    @abstractmethod
    def frame_around(self, data: bytes, start: int) -> tuple[int, int] | None:
        """Return ``(begin, end)`` of the server's frame whose payload begins at ``start``.

        Return None if no frame header ends there. ``end`` may exceed the data.
        """

    @abstractmethod
    def decoder(self, on_ping: Callable[[bytes], object] = ignore_ping) -> Decoder:
        """Return a decoder for the server's stream. It calls ``on_ping`` with the payload of each ping."""

    def encode(self, payload: bytes, from_server: bool = False) -> bytes:
        """Return the payload as one frame."""
        return self.header(len(payload), from_server) + payload

    def size(self, length: int) -> int:
        """Return the size of a server's frame with a payload of ``length`` bytes."""
        return len(self.header(length, from_server=True)) + length

    def handshake_request(self, address: tuple[str, int]) -> bytes:
        """Return the request that the server has to answer before the first frame; empty if none."""
        return b""

    def after_handshake(self, response: bytes) -> bytes | None:
        """Return the bytes after the response; None if it is incomplete. Raises `HandshakeError`."""
        return response

    def split_controls(self, before: bytes, data: bytes) -> tuple[bytes, bytes, list[bytes]]:
        """Remove pings and pongs from ``data``, which continues the partial frame ``before``.

        Return the data without them, a trailing part that may be the start of one, and the ping payloads.
        """
        return data, b"", []

    def skip_controls(self, data: bytes, start: int) -> int:
        """Return the end of the complete pings and pongs that begin at ``start``; ``start`` if none do."""
        return start

    def pong(self, payload: bytes) -> bytes:
        """Return the answer to a ping with that payload."""
        return b""


class LengthHeaders(Framing):
    """The classic framing: ten bytes of decimal digits before each payload."""

    def header(self, length: int, from_server: bool = False) -> bytes:
        return b"%-*d" % (HEADER_LENGTH, length)

    def size(self, length: int) -> int:
        return HEADER_LENGTH + length

    def frame_around(self, data: bytes, start: int) -> tuple[int, int] | None:
        begin = start - HEADER_LENGTH
        try:
            return begin, start + int(data[begin:start])
        except ValueError:
            return None

    def decoder(self, on_ping: Callable[[bytes], object] = ignore_ping) -> Decoder:
        return FrameDecoder(limit=_PAYLOAD_LIMIT)


class WebSocketFrames(Framing):
    """One WebSocket text frame for each message, after an HTTP upgrade (RFC 6455)."""

    def __init__(self) -> None:
        self.close_frame = self._control_frame(_CLOSE, _NORMAL_CLOSURE)

    def header(self, length: int, from_server: bool = False) -> bytes:
        mask = b"" if from_server else bytes(4)
        masked = 0 if from_server else _MASKED
        if length < 126:
            return bytes((_TEXT, masked | length)) + mask
        if length < 1 << 16:
            return bytes((_TEXT, masked | 126)) + length.to_bytes(2, "big") + mask
        return bytes((_TEXT, masked | 127)) + length.to_bytes(8, "big") + mask

    def frame_around(self, data: bytes, start: int) -> tuple[int, int] | None:
        for begin in (start - 2, start - 4, start - 10):
            if begin >= 0 and data[begin] == _TEXT:
                found = _parse_header(data, begin)
                if found is not None and found[1] == start:
                    return begin, found[2]
        return None

    def decoder(self, on_ping: Callable[[bytes], object] = ignore_ping) -> Decoder:
        return MessageDecoder(on_ping)

    def handshake_request(self, address: tuple[str, int]) -> bytes:
        host, port = address
        authority = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode()
        # Browsers send an Origin, so the load does too.
        return (
            b"GET /ws HTTP/1.1\r\nHost: %b\r\nOrigin: http://%b\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n"
        ) % (authority, authority, _KEY)

    def after_handshake(self, response: bytes) -> bytes | None:
        head, end, rest = response.partition(_END_OF_HEAD)
        status, *lines = head.split(b"\r\n")
        if not end and len(response) < _MAX_HEAD:
            return None
        if status.split(b" ")[:2] != [b"HTTP/1.1", b"101"]:
            raise HandshakeError(status[:200].decode(errors="replace"))
        fields = dict(_header_field(line) for line in lines)
        if fields.get(b"sec-websocket-accept") != _ACCEPT:
            raise HandshakeError("not a WebSocket: no Sec-WebSocket-Accept for this key")
        return rest

    def split_controls(self, before: bytes, data: bytes) -> tuple[bytes, bytes, list[bytes]]:
        if _PING not in data and _PONG not in data:
            return data, b"", []
        whole = before + data
        kept: list[bytes] = []
        pings: list[bytes] = []
        start, done = 0, len(before)
        while (found := _parse_header(whole, start)) is not None:
            kind, body, end = found
            if end > len(whole):
                break
            if kind in (_PING, _PONG):
                kept.append(whole[done:start])
                done = end
                if kind == _PING:
                    pings.append(whole[body:end])
            start = end
        # `start` is the beginning of the last, incomplete frame, or the end of the data.
        partial = start if whole[start : start + 1] in (b"\x89", b"\x8a") else len(whole)
        kept.append(whole[done:partial])
        return b"".join(kept), whole[partial:], pings

    def skip_controls(self, data: bytes, start: int) -> int:
        while (found := _parse_header(data, start)) is not None and found[0] in (_PING, _PONG):
            if found[2] > len(data):
                break
            start = found[2]
        return start

    def pong(self, payload: bytes) -> bytes:
        return self._control_frame(_PONG, payload)

    @staticmethod
    def _control_frame(kind: int, payload: bytes) -> bytes:
        return bytes((kind, _MASKED | len(payload))) + bytes(4) + payload


class MessageDecoder:
    """Decodes the text messages of a server. Any other frame except ping and pong is an ``error``."""

    def __init__(self, on_ping: Callable[[bytes], object]) -> None:
        self.error: str | None = None
        self.partial = b""  # the incomplete frame at the end of the stream
        self._on_ping = on_ping

    def receive_data(self, data: bytes) -> list[bytes]:
        """Add the next bytes of the stream, and return the payloads that they complete, in order."""
        whole = self.partial + data
        payloads: list[bytes] = []
        start = 0
        while self.error is None and (found := _parse_header(whole, start)) is not None:
            kind, body, end = found
            if end - body > _PAYLOAD_LIMIT:
                self.error = f"a message of {end - body} bytes"
                break
            if end > len(whole):
                break
            if kind == _TEXT:
                payloads.append(whole[body:end])
            elif kind == _PING:
                self._on_ping(whole[body:end])
            elif kind == _CLOSE:
                code = int.from_bytes(whole[body : body + 2], "big") or 1005  # RFC 6455, 7.4.1: no code
                self.error = f"the server has closed the WebSocket with {code}"
            elif kind != _PONG:
                self.error = f"no whole text message: a frame that begins with {kind:#x}"
            start = end
        self.partial = whole[start:]
        return payloads


def _parse_header(data: bytes, start: int) -> tuple[int, int, int] | None:
    """Return the first byte of a server's frame, and where its payload begins and ends.

    Return None if the header is incomplete. The payload may be incomplete.
    """
    body = start + 2
    if body > len(data):
        return None
    length = data[start + 1]
    if length >= 126:
        size = 2 if length == 126 else 8
        body += size
        if body > len(data):
            return None
        # A masked frame gets a huge length here. That is an error, as it should be: no server may mask.
        length = int.from_bytes(data[body - size : body], "big")
    return data[start], body, body + length


def _header_field(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name.strip().lower(), value.strip()


LENGTH_HEADERS = LengthHeaders()
WEBSOCKET_FRAMES = WebSocketFrames()
