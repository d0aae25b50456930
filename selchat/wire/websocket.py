"""WebSocket (RFC 6455): the opening, the messages that come in, and the headers of those that go out.

A text message is one payload of the selchat protocol, and what is in it is none of this file's business. What a
browser sends is read by the `websockets` library's own sans-IO protocol, but for what nearly all of it is:
whole text messages, each in one frame, which are read here in a seventh of the time. What the server sends
needs neither: it is not masked, so that a message is a header and its payload, and the same bytes go to
everyone. There are no extensions: compression would be another one for each reader, and a small message could
become a large one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from websockets.exceptions import PayloadTooBig
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request as Asked
from websockets.server import ServerProtocol

from selchat.errors import ProtocolError
from selchat.wire.frames import BrokenStreamError, DecoderState, FrameTooLongError
from selchat.wire.http import HttpError, Request


class WebSocketError(ProtocolError):
    """``code`` that the connection is closed with, and ``why``."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(code, why)
        self.code = code
        self.why = why

    def __str__(self) -> str:
        return self.why


class ClosedError(ProtocolError):
    """The peer has closed the WebSocket, with a ``code`` and a ``reason``. ``frame``: what answers it."""

    def __init__(self, frame: bytes, code: int, reason: str) -> None:
        super().__init__(frame, code, reason)
        self.frame = frame
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        if self.code in {1000, 1001, 1005}:  # it has just left
            return ""
        return f"closed by the peer: {self.code} {self.reason}".rstrip()


try:
    from websockets.speedups import apply_mask
except ImportError:  # there is no compiler everywhere
    from websockets.utils import apply_mask

_EARLY_LIMIT = 64  # frames that complete no message, before a good hello; a browser sends none
_MAX_AT_ONCE = 1024  # of them in one read, afterwards: a read has 64 KiB, so that is fragments of 64 bytes
_EXTRA = 512  # bytes that each of these counts as besides its own: one takes 7 microseconds, and 6 bytes

_ALL = 1 << 62  # payloads
_TEXT = 0x81  # FIN and the opcode of text
_MASKED = 0x80
_OPCODES = frozenset(map(int, Opcode))
_CLOSE = 0x88
_LONG = 0xFF  # masked, and with eight bytes of length
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

    ``extra``: bytes that the last read counts as besides its own, for its frames that completed no message.
    """

    __slots__ = (
        "_answer",
        "_limit",
        "_needed",
        "_odd",
        "_parts",
        "_protocol",
        "_rest",
        "error",
        "extra",
        "state",
    )

    def __init__(self, protocol: ServerProtocol, answer: Callable[[bytes], object]) -> None:
        self._protocol = protocol
        self._answer = answer
        self._limit = protocol.max_message_size or 0  # bytes
        self._parts: list[bytes] | None = None  # of a message that comes in fragments
        self._rest: bytearray | None = None  # what was not looked at yet; None costs idle peers nothing
        self._needed = 0  # size of that from which on it is worth a look
        self._odd: int | None = 0  # frames that completed no message, before `allow`
        self.extra = 0
        self.state = DecoderState.READING
        self.error: ProtocolError | None = None

    @property
    def unfinished(self) -> bool:
        """Whether a frame or a message has begun and has not ended."""
        return self._rest is not None or self._parts is not None

    def receive_data(self, data: bytes) -> list[bytes]:
        """Take the next bytes, and return the payloads that they complete, in order."""
        return self._receive(data, _ALL)

    def receive_one(self, data: bytes = b"") -> bytes | None:
        """Take the next bytes, and return the first payload alone; None: it is not whole.

        Nothing after it is looked at: what is wrong there, or too long for one who is not in, is so only when
        it is its turn.
        """
        payloads = self._receive(data, 1)
        return payloads[0] if payloads else None

    def allow(self, limit: int, _lengths: object = None) -> None:
        """Let messages have up to ``limit`` bytes from here on, and more of the other frames come."""
        self._limit = limit
        self._odd = None

    def receive_eof(self) -> None:
        """Note that the stream has ended; inside a message that is an ``error``."""
        if self.state is not DecoderState.READING:
            return
        self.state = DecoderState.ENDED
        if self.unfinished:
            self.error = WebSocketError(1006, "stream ended inside a message")

    # ----------------------------------------------------------------------------------------------------

    def _receive(self, data: bytes, most: int) -> list[bytes]:
        """Take the next bytes, and return the payloads that they complete, ``most`` of them at the most."""
        if self.state is not DecoderState.READING:
            if data:
                raise BrokenStreamError
            return []
        self.extra = 0
        rest = self._rest
        if rest is not None:
            rest += data
            if len(rest) < self._needed:
                return []
            data = bytes(rest)
        payloads: list[bytes] = []
        limit = self._limit
        size = len(data)
        start = self._needed = 0
        while start < size and len(payloads) < most:
            # A whole text message in one frame, which nearly all are: 0.3 microseconds for one of 100 bytes,
            # 2.2 with the library.
            body = start + 6
            if body <= size and data[start] == _TEXT and self._parts is None:
                length = data[start + 1] - _MASKED
                if length == 126:
                    body += 2
                    length = int.from_bytes(data[start + 2 : start + 4], "big")
                end = body + length
                if end <= size and 0 <= length <= limit and data[start + 1] != _LONG:
                    payload = apply_mask(data[body:end], data[body - 4 : body])
                    if is_text(payload):
                        payloads.append(payload)
                        start = end
                        continue
            # Anything else, once it is whole, or wrong already.
            whole = self._frame_size(data, start)
            if start + whole > size:
                self._needed = whole
                break
            frame = data[start : start + whole]
            start += len(frame)
            completed = self._read(frame)
            if self.error is not None:
                self._rest = None
                return payloads
            if completed is not None:
                payloads.append(completed)
        self._rest = bytearray(data[start:]) if start < size else None
        return payloads

    def _frame_size(self, data: bytes, start: int) -> int:
        """Return how many bytes the frame has that begins there (RFC 6455, 5.2).

        If that is not to be seen yet: how many it takes to see it. If it is one that cannot be: how many it
        takes to see that, for which nobody should have to wait.
        """
        if start + 2 > len(data):
            return 2
        first, second = data[start], data[start + 1]
        if not second & _MASKED or first & 0x0F not in _OPCODES:
            return 2
        length, header = second & 0x7F, 2
        if length > 125:
            header = 4 if length == 126 else 10
            if start + header > len(data):
                return header
            length = int.from_bytes(data[start + 2 : start + header], "big")
        if length > self._limit - (self._protocol.current_size or 0) and not _is_short_control(first, second):
            return header
        return header + 4 + length

    def _read(self, data: bytes) -> bytes | None:
        """Have the library read a frame, and return the payload that it completes."""
        protocol = self._protocol
        # To the library, a ping in the middle of a message is as long as both,
        protocol.max_message_size = None if _is_short_control(data[0], data[1]) else self._limit
        if data[0] == _CLOSE:
            protocol.current_size = None  # and there cannot be a close there, which there can (RFC 6455, 5.4)
        protocol.receive_data(data)
        payload: bytes | None = None
        try:
            for frame in protocol.events_received():
                assert isinstance(frame, Frame)
                payload = self._take(frame)
            if protocol.parser_exc is not None:
                raise self._why(protocol.parser_exc)
            if payload is None:
                self._count()
        except ProtocolError as error:
            self.state = DecoderState.BROKEN
            self.error = error
            self._parts = None
            return None
        if protocol.writes:
            self._answer(b"".join(protocol.data_to_send()))
        return payload

    def _take(self, frame: Frame) -> bytes | None:
        opcode = frame.opcode
        if opcode is Opcode.TEXT or (opcode is Opcode.CONT and self._parts is not None):
            parts = self._parts or []
            parts.append(bytes(frame.data))
            if not frame.fin:
                self._parts = parts
                return None
            self._parts = None
            payload = b"".join(parts)
            if not is_text(payload):
                raise WebSocketError(1007, "a text message that is not UTF-8")
            return payload
        if opcode is Opcode.BINARY:
            raise WebSocketError(1003, "messages are text here, and this one is binary")
        if opcode is Opcode.CLOSE:
            answer = b"".join(self._protocol.data_to_send())
            closed = self._protocol.close_rcvd
            assert closed is not None
            raise ClosedError(answer, closed.code, closed.reason)
        return None

    def _count(self) -> None:
        """Count a frame that has completed no message."""
        self.extra += _EXTRA
        if self.extra > _MAX_AT_ONCE * _EXTRA:
            # Whoever sends that many is no browser; and they are read in one go, while everyone waits.
            raise WebSocketError(1008, f"{_MAX_AT_ONCE} frames at once that complete no message")
        if self._odd is not None:
            self._odd += 1
            if self._odd > _EARLY_LIMIT:
                raise WebSocketError(1008, f"{_EARLY_LIMIT} frames and no good hello")

    def _why(self, failure: Exception) -> ProtocolError:
        if isinstance(failure, PayloadTooBig):
            return FrameTooLongError(max(self._limit + 1, failure.size or 0), self._limit)
        close = self._protocol.close_sent
        return WebSocketError(close.code if close is not None else 1002, str(failure))


def _is_short_control(first: int, second: int) -> bool:
    """Whether a frame that begins so is a ping, a pong or a close, of a length that they may have."""
    return bool(first & 0x08) and second & 0x7F < 126


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
        headers["Sec-WebSocket-Version"] = "13"  # for those who have asked for another one (RFC 6455, 4.4)
        raise HttpError(response.status_code, why.partition("\n")[0], headers)
    protocol.send_response(response)
    return protocol, b"".join(protocol.data_to_send())


def is_text(payload: bytes) -> bool:
    """Whether that is UTF-8, as the payloads of text messages have to be (RFC 6455, 5.6)."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
