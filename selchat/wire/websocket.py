"""WebSocket (RFC 6455): the opening, the messages that come in, and the headers of those that go out.

A text message is one payload of the rich protocol, and what is in it is none of this file's business. What a
browser sends is read by the `websockets` library's own sans-IO protocol, but for what nearly all of it is:
whole text messages, each in one frame, which are read here in a seventh of the time. What the server sends
needs neither: it is not masked, so that a message is a header and its payload, and the same bytes go to
everyone. There are no extensions: compression would be another one for each reader, and a small message could
become a large one.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from websockets.exceptions import PayloadTooBig
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request as Asked
from websockets.server import ServerProtocol

from selchat.errors import (
    BrokenStreamError,
    ClosedError,
    FrameTooLongError,
    HttpError,
    ProtocolError,
    WebSocketError,
)
from selchat.wire.frames import DecoderState
from selchat.wire.http import Request

try:
    from websockets.speedups import apply_mask
except ImportError:  # there is no compiler everywhere
    from websockets.utils import apply_mask

_EARLY_LIMIT = 64  # control frames before the first payloads may come as they like; a browser sends none

_TEXT = 0x81  # FIN and the opcode of text
_MASKED = 0x80
_SHORTEST = 6  # bytes of a masked frame
_LONGEST_HEADER = 10  # bytes
_PING = b"\x89\x00"
_TELLING = {"Allow", "Upgrade"}  # what the answer to a bad opening has to have beside its status
_SILENT = logging.Logger("websocket", logging.CRITICAL + 1)  # what goes wrong is told in other ways

# Why a session ends, as docs/protocol.rst has it, and the code for it (RFC 6455, 7.4.1; 1013 is IANA's).
_CODES = {
    "goodbye": 1000,
    "replaced": 1000,
    "shutdown": 1001,
    "full": 1013,
}
_OTHERWISE = 1008  # "violates its policy": kicked, banned, silent


class TextHeaders:
    """The headers of unmasked text messages, in which the server's payloads go out (RFC 6455, 5.2)."""

    limit = 1 << 62
    longest = _LONGEST_HEADER
    ping = _PING

    def header(self, length: int) -> bytes:
        """Return what announces a payload of that many bytes."""
        if length < 126:
            return bytes((_TEXT, length))
        if length < 1 << 16:
            return b"\x81\x7e%b" % length.to_bytes(2, "big")
        return b"\x81\x7f%b" % length.to_bytes(8, "big")

    def announced(self, data: bytes, start: int) -> tuple[int, int]:
        """Return how long the header is before the payload that begins at ``start``, and that payload.

        Payloads are JSON objects: they end with a brace and have no zeros in them. So no other bytes than a
        long header can look like one, and if there is none, none but a middle one like that.
        """
        if data[max(0, start - 10) : start - 4] == b"\x81\x7f\0\0\0\0":
            return 10, int.from_bytes(data[start - 8 : start], "big")
        if data[max(0, start - 4) : start - 2] == b"\x81\x7e":
            return 4, int.from_bytes(data[start - 2 : start], "big")
        return 2, data[start - 1]

    def end(self, reason: str, error: Exception | None = None) -> bytes:
        """Return what closes the WebSocket, for a ``reason`` of `bye` and perhaps an ``error``."""
        if isinstance(error, ClosedError):
            return error.frame
        if isinstance(error, WebSocketError):
            return close_frame(error.code, error.why)
        if isinstance(error, FrameTooLongError):
            return close_frame(1009, str(error))
        return close_frame(_CODES.get(reason, _OTHERWISE), reason)


def close_frame(code: int, reason: str = "") -> bytes:
    """Return the frame that closes with that code; the reason is cut to what fits."""
    short = reason.encode()[:123].decode(errors="ignore")
    return Frame(Opcode.CLOSE, Close(code, short).serialize()).serialize(mask=False)


class MessageDecoder:
    """Turns what comes after the opening, however it is cut, into payloads, as `wire.frames.FrameDecoder`
    does.

    ``answer`` is given what has to be answered at once: pongs. The peer's close is an ``error``
    (`ClosedError`) that comes after all the payloads before it.

    Where frames begin is known here; the library gets one frame at a time, and only those that are not plain.
    """

    __slots__ = (
        "_answer",
        "_begun",
        "_controls",
        "_due",
        "_parts",
        "_protocol",
        "_ready",
        "error",
        "state",
    )

    def __init__(self, protocol: ServerProtocol, answer: Callable[[bytes], object]) -> None:
        self._protocol = protocol
        self._answer = answer
        self._parts: list[bytes] | None = None  # of a message that comes in fragments
        self._ready: deque[bytes] = deque()  # payloads for `receive_one`
        self._controls: int | None = 0  # frames that are no messages, before `allow`
        self._begun = b""  # of a frame, before its header says how long it is
        self._due = 0  # bytes of a frame that the library has not got yet
        self.state = DecoderState.READING
        self.error: ProtocolError | None = None

    @property
    def unfinished(self) -> bool:
        """Whether a frame or a message has begun and has not ended."""
        return self._due > 0 or bool(self._begun) or self._parts is not None

    def receive_data(self, data: bytes) -> list[bytes]:
        """Take the next bytes, and return the payloads that they complete, in order."""
        self._receive(data)
        payloads = list(self._ready)
        self._ready.clear()
        return payloads

    def receive_one(self, data: bytes = b"") -> bytes | None:
        """Take the next bytes, and return the first payload alone; None: it is not whole."""
        if data:
            self._receive(data)
        return self._ready.popleft() if self._ready else None

    def allow(self, limit: int, _lengths: object = None) -> None:
        """Let messages have up to ``limit`` bytes from here on, and control frames come as they like."""
        self._protocol.max_message_size = limit
        self._controls = None

    def receive_eof(self) -> None:
        """Note that the stream has ended; inside a message that is an ``error``."""
        if self.state is not DecoderState.READING:
            return
        self.state = DecoderState.ENDED
        if self.unfinished:
            self.error = WebSocketError(1006, "stream ended inside a message")

    # ----------------------------------------------------------------------------------------------------

    def _receive(self, data: bytes) -> None:
        if not data:
            return
        if self.state is not DecoderState.READING:
            raise BrokenStreamError
        start, size = 0, len(data)
        while start < size and self.state is DecoderState.READING:
            if not self._due:
                if not self._begun:
                    start = self._read_plain(data, start)
                    if start == size:
                        return
                header = self._begun + data[start : start + _LONGEST_HEADER]
                whole = _frame_size(header)
                if not whole:  # what there is of a header may be wrong already
                    self._begun = header
                    self._read(data[start:])
                    return
                self._due, self._begun = whole - len(self._begun), b""
            end = min(size, start + self._due)
            self._due -= end - start
            self._read(data[start:end])
            start = end

    def _read_plain(self, data: bytes, start: int) -> int:
        """Read the whole text messages that begin at ``start``; return where something else begins."""
        # 0.3 microseconds for a message of 100 bytes, 2.2 with the library.
        if self._parts is not None:
            return start  # a part has to come now
        size = len(data)
        limit = self._protocol.max_message_size or 0
        while start + _SHORTEST <= size and data[start] == _TEXT:
            body = start + _SHORTEST
            length = data[start + 1] - _MASKED
            if length == 126:
                body += 2
                length = int.from_bytes(data[start + 2 : start + 4], "big")
            end = body + length
            if not 0 <= length <= limit or data[start + 1] == 0xFF or end > size:
                break  # not masked, or too long, or with the longest header, or not whole
            payload = apply_mask(data[body:end], data[body - 4 : body])
            try:
                payload.decode()
            except UnicodeDecodeError:
                break
            self._ready.append(payload)
            start = end
        return start

    def _read(self, data: bytes) -> None:
        """Have the library read the next bytes, of one frame."""
        protocol = self._protocol
        protocol.receive_data(data)
        for frame in protocol.events_received():
            assert isinstance(frame, Frame)
            try:
                self._take(frame)
            except ProtocolError as error:
                self._break(error)
                return
        failure = protocol.parser_exc
        if failure is not None:
            self._break(self._why(failure))
            return
        if protocol.writes:
            self._answer(b"".join(protocol.data_to_send()))

    def _take(self, frame: Frame) -> None:
        opcode = frame.opcode
        if opcode is Opcode.TEXT or (opcode is Opcode.CONT and self._parts is not None):
            if self._parts is None and frame.fin:
                self._ready.append(_text(frame.data))
                return
            parts = self._parts = self._parts or []
            parts.append(bytes(frame.data))
            if frame.fin:
                self._parts = None
                self._ready.append(_text(b"".join(parts)))
        elif opcode is Opcode.BINARY:
            raise WebSocketError(1003, "messages are text here, and this one is binary")
        elif opcode is Opcode.CLOSE:
            answer = b"".join(self._protocol.data_to_send())
            closed = self._protocol.close_rcvd
            assert closed is not None
            raise ClosedError(answer, closed.code, closed.reason)
        elif self._controls is not None:
            self._controls += 1
            if self._controls > _EARLY_LIMIT:
                raise WebSocketError(1008, f"{_EARLY_LIMIT} control frames before a good hello")

    def _why(self, failure: Exception) -> ProtocolError:
        if isinstance(failure, PayloadTooBig):
            limit = self._protocol.max_message_size or 0
            return FrameTooLongError(max(limit + 1, failure.size or 0), limit)
        close = self._protocol.close_sent
        return WebSocketError(close.code if close is not None else 1002, str(failure))

    def _break(self, error: ProtocolError) -> None:
        self.state = DecoderState.BROKEN
        self.error = error
        self._parts = None
        self._begun, self._due = b"", 0


def open_websocket(request: Request, limit: int) -> tuple[ServerProtocol, bytes]:
    """Return what reads the messages after that request, of up to ``limit`` bytes, and the answer to it.

    Raises `HttpError` for a request that opens none.
    """
    protocol = ServerProtocol(max_size=limit, logger=_SILENT)
    protocol.receive_data(request.head)
    try:
        (asked,) = protocol.events_received()
    except ValueError:  # what h11 lets through and this does not, more than 128 headers for example
        raise HttpError(400, str(protocol.handshake_exc)) from None
    assert isinstance(asked, Asked)
    response = protocol.accept(asked)
    if response.status_code != 101:
        why = (response.body or b"").decode()
        headers = {key: value for key, value in response.headers.raw_items() if key in _TELLING}
        raise HttpError(response.status_code, why.partition("\n")[0], headers)
    protocol.send_response(response)
    return protocol, b"".join(protocol.data_to_send())


def _frame_size(header: bytes) -> int:
    """Return how many bytes the frame has that begins so; 0: that cannot be told yet."""
    if len(header) < 2:
        return 0
    size = 2 + 4 * (header[1] >> 7)
    length = header[1] & 0x7F
    if length < 126:
        return size + length
    long = 2 if length == 126 else 8
    if len(header) < 2 + long:
        return 0
    return size + long + int.from_bytes(header[2 : 2 + long], "big")


def _text(data: bytes | bytearray | memoryview) -> bytes:
    payload = bytes(data)
    try:
        payload.decode()
    except UnicodeDecodeError as error:
        raise WebSocketError(1007, f"a text message that is not UTF-8 ({error.reason})") from error
    return payload
