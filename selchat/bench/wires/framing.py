"""How messages stand in a stream, as a load generator needs it: the paper's headers, or WebSocket frames.

Knows bytes, and neither sockets nor what messages say. A frame is a header and the payload as it is, both
ways: a client has to mask what it sends, and a mask of four zeros is one, of which the server cannot know
(RFC 6455, 5.3). So a message is made once for both framings, and masking costs the load nothing.

What is for one member alone, pings and pongs, stands among frames that are the same for all; `Framing.sift`
takes it out. Messages in parts, or compressed, are not read: selchat sends neither.
"""

from __future__ import annotations

import base64
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from selchat.bench.errors import HandshakeError
from selchat.wire.frames import HEADER_LENGTH, FrameDecoder

_READ_LIMIT = 1 << 24  # bytes of payload that other servers may send; not ours to judge
_MAX_HEAD = 1 << 16  # bytes of the answer to a handshake
_END_OF_HEAD = b"\r\n\r\n"
_KEY = base64.b64encode(b"selchat-bench/ws")  # 16 bytes; new ones each time are against caches, here are none
_ACCEPT = base64.b64encode(
    hashlib.sha1(_KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
)

# The first byte of a frame that is a whole message, or controls the connection (RFC 6455, 5.2).
_TEXT, _CLOSE, _PING, _PONG = 0x81, 0x88, 0x89, 0x8A
_MASKED = 0x80
_NORMAL = (1000).to_bytes(2, "big")  # why a member closes (7.4.1)


class Decoder(Protocol):
    """Turns a byte stream, however it is cut, into payloads; ``error``: what broke the stream, if it is."""

    @property
    def error(self) -> object | None: ...

    def receive_data(self, data: bytes) -> list[bytes]: ...


def ignore(_said: bytes) -> None:
    """Answer no ping."""


class Framing(ABC):
    """One of the two."""

    farewell = b""
    """What a member says last; where it is empty, it closes its side."""

    @abstractmethod
    def header(self, length: int, served: bool = False) -> bytes:
        """Return what stands before a payload of that length; ``served``: from the server."""

    @abstractmethod
    def frame_around(self, data: bytes, start: int) -> tuple[int, int] | None:
        """Return where the server's frame begins and ends whose payload begins at ``start``.

        None where no header of one stands before it. It may end beyond the data.
        """

    @abstractmethod
    def decoder(self, asked: Callable[[bytes], object] = ignore) -> Decoder:
        """Return a decoder of what the server sends; it calls ``asked`` with what a ping has said."""

    def encode(self, payload: bytes, served: bool = False) -> bytes:
        """Return the frame of that payload."""
        return self.header(len(payload), served) + payload

    def size(self, length: int) -> int:
        """Return the size of the server's frame with a payload of that length."""
        return len(self.header(length, served=True)) + length

    def opening(self, address: tuple[str, int]) -> bytes:
        """Return what has to be said, and answered, before the first frame; empty: nothing."""
        return b""

    def opened(self, answer: bytes) -> bytes | None:
        """Return what follows the answer to the opening; None: it is not whole. Raises `HandshakeError`."""
        return answer

    def sift(self, before: bytes, data: bytes) -> tuple[bytes, bytes, list[bytes]]:
        """Take what is for one member alone out of ``data``, that goes on with the frame begun ``before``.

        Return what is left for all, what may be the beginning of something for one, and what pings have said.
        """
        return data, b"", []

    def after_controls(self, data: bytes, start: int) -> int:
        """Return where pings and pongs end that begin at ``start``; ``start`` itself if there are none."""
        return start

    def pong(self, said: bytes) -> bytes:
        """Return the answer to a ping that has said that."""
        return b""


class Headers(Framing):
    """The paper's: ten bytes of decimal digits before each payload."""

    def header(self, length: int, served: bool = False) -> bytes:
        return b"%-*d" % (HEADER_LENGTH, length)

    def size(self, length: int) -> int:
        return HEADER_LENGTH + length

    def frame_around(self, data: bytes, start: int) -> tuple[int, int] | None:
        begin = start - HEADER_LENGTH
        try:
            return begin, start + int(data[begin:start])
        except ValueError:
            return None

    def decoder(self, asked: Callable[[bytes], object] = ignore) -> Decoder:
        return FrameDecoder(limit=_READ_LIMIT)


class WebSocket(Framing):
    """A text message in each frame, over a connection that began with HTTP."""

    def __init__(self) -> None:
        self.farewell = self._control(_CLOSE, _NORMAL)

    def header(self, length: int, served: bool = False) -> bytes:
        mask = b"" if served else bytes(4)
        masked = 0 if served else _MASKED
        if length < 126:
            return bytes((_TEXT, masked | length)) + mask
        if length < 1 << 16:
            return bytes((_TEXT, masked | 126)) + length.to_bytes(2, "big") + mask
        return bytes((_TEXT, masked | 127)) + length.to_bytes(8, "big") + mask

    def frame_around(self, data: bytes, start: int) -> tuple[int, int] | None:
        for begin in (start - 2, start - 4, start - 10):
            if begin >= 0 and data[begin] == _TEXT:
                found = _frame(data, begin)
                if found is not None and found[1] == start:
                    return begin, found[2]
        return None

    def decoder(self, asked: Callable[[bytes], object] = ignore) -> Decoder:
        return MessageDecoder(asked)

    def opening(self, address: tuple[str, int]) -> bytes:
        host, port = address
        at = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode()
        # With an origin, as browsers send it.
        return (
            b"GET /ws HTTP/1.1\r\nHost: %b\r\nOrigin: http://%b\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n"
        ) % (at, at, _KEY)

    def opened(self, answer: bytes) -> bytes | None:
        head, end, rest = answer.partition(_END_OF_HEAD)
        status, *lines = head.split(b"\r\n")
        if not end and len(answer) < _MAX_HEAD:
            return None
        if status.split(b" ")[:2] != [b"HTTP/1.1", b"101"]:
            raise HandshakeError(status[:200].decode(errors="replace"))
        fields = dict(_field(line) for line in lines)
        if fields.get(b"sec-websocket-accept") != _ACCEPT:
            raise HandshakeError("not a WebSocket: no Sec-WebSocket-Accept for this key")
        return rest

    def sift(self, before: bytes, data: bytes) -> tuple[bytes, bytes, list[bytes]]:
        if _PING not in data and _PONG not in data:
            return data, b"", []
        whole = before + data
        left: list[bytes] = []
        pings: list[bytes] = []
        start, done = 0, len(before)
        while (found := _frame(whole, start)) is not None:
            kind, body, end = found
            if end > len(whole):
                break
            if kind in (_PING, _PONG):
                left.append(whole[done:start])
                done = end
                if kind == _PING:
                    pings.append(whole[body:end])
            start = end
        # `start` is where the last frame begins, of which there is a part; or the end.
        begun = start if whole[start : start + 1] in (b"\x89", b"\x8a") else len(whole)
        left.append(whole[done:begun])
        return b"".join(left), whole[begun:], pings

    def after_controls(self, data: bytes, start: int) -> int:
        while (found := _frame(data, start)) is not None and found[0] in (_PING, _PONG):
            if found[2] > len(data):
                break
            start = found[2]
        return start

    def pong(self, said: bytes) -> bytes:
        return self._control(_PONG, said)

    @staticmethod
    def _control(kind: int, payload: bytes) -> bytes:
        return bytes((kind, _MASKED | len(payload))) + bytes(4) + payload


class MessageDecoder:
    """The messages in what a server sends. Everything else is an ``error``, but for pings and pongs."""

    def __init__(self, asked: Callable[[bytes], object]) -> None:
        self.error: str | None = None
        self._asked = asked
        self._rest = b""

    def receive_data(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the stream and return the payloads that they complete, in order."""
        whole = self._rest + data
        payloads: list[bytes] = []
        start = 0
        while self.error is None and (found := _frame(whole, start)) is not None:
            kind, body, end = found
            if end - body > _READ_LIMIT:
                self.error = f"a message of {end - body} bytes"
                break
            if end > len(whole):
                break
            if kind == _TEXT:
                payloads.append(whole[body:end])
            elif kind == _PING:
                self._asked(whole[body:end])
            elif kind == _CLOSE:
                code = int.from_bytes(whole[body : body + 2], "big") or 1005  # RFC 6455, 7.4.1: there is none
                self.error = f"the server has closed the WebSocket with {code}"
            elif kind != _PONG:
                self.error = f"no whole text message: a frame that begins with {kind:#x}"
            start = end
        self._rest = whole[start:]
        return payloads


def _frame(data: bytes, start: int) -> tuple[int, int, int] | None:
    """Return the first byte of a server's frame, where its payload begins and where it ends.

    None: the header is not whole. The payload may not be.
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
        # A masked one has a length here that nothing has: no server may mask.
        length = int.from_bytes(data[body - size : body], "big")
    return data[start], body, body + length


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name.strip().lower(), value.strip()


HEADERS = Headers()
WEBSOCKET = WebSocket()
