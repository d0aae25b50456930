"""WebSocket codec (RFC 6455): handshake, decoder, and headers of outgoing messages.

One text message is one payload of the selchat protocol; this module does not know the meaning of a payload.
The `websockets` library's sans-IO protocol reads the incoming frames, except the usual ones: text messages in
one frame, short fragments, pings and pongs. Text messages are nearly all of the traffic, and a hostile peer
sends the others by the thousand; this module reads them in a fifth of the library's time. Outgoing messages
are not masked: each is a header and its payload, so every reader gets the same bytes. No extensions are
accepted: compression would need a stream for each reader, and a small message could expand to a large one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from websockets.exceptions import PayloadTooBig
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request as Handshake
from websockets.server import ServerProtocol

from selchat.errors import ProtocolError
from selchat.limits import EARLY_LIMIT, FRAGMENT_OVERHEAD, MAX_PARSED_HEADER, MAX_PARTS_PER_READ
from selchat.wire.frames import BrokenStreamError, DecoderState, FrameTooLongError
from selchat.wire.http import HttpError, Request


class WebSocketError(ProtocolError):
    """The peer broke RFC 6455. ``code``: the close code to send; ``why``: the reason."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(code, why)
        self.code = code
        self.why = why

    def __str__(self) -> str:
        return self.why


class ClosedError(ProtocolError):
    """The peer closed the WebSocket with a ``code`` and a ``reason``. ``frame``: our close frame."""

    def __init__(self, frame: bytes, code: int, reason: str) -> None:
        super().__init__(frame, code, reason)
        self.frame = frame
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        if self.code in {1000, 1001, 1005}:  # a normal close
            return ""
        return f"closed by the peer: {self.code} {self.reason}".rstrip()


try:
    from websockets.speedups import apply_mask
except ImportError:  # this platform has no compiled wheel
    from websockets.utils import apply_mask


_ALL = 1 << 62  # payloads
_TEXT = 0x81  # FIN and the opcode of text
_LAST_FRAGMENT = 0x80
_STARTS = {0x01}  # first fragment of a text message
_CONTINUES = {0x00, _LAST_FRAGMENT}
_PING_FRAME = 0x89
_PONG_FRAME = 0x8A
_MASKED = 0x80
_OPCODES = frozenset(map(int, Opcode))
_CLOSE = 0x88
_LONG = 0xFF  # masked, with an eight-byte length
_LONGEST_HEADER = 10  # bytes
_PING = b"\x89\x00"
# Headers that the library parses item by item, in 0.6 microseconds a character, and the length of a header.
_PARSED_HEADERS = ("connection", "upgrade", "sec-websocket-extensions", "sec-websocket-protocol")
_KEPT_HEADERS = {"Allow", "Upgrade"}  # headers of the library's error response that the peer needs
_SILENT = logging.Logger("websocket", logging.CRITICAL + 1)  # errors are exceptions here

# Close codes for the reasons of `bye` in docs/protocol.rst (RFC 6455, 7.4.1; 1013 is IANA's).
_CODES = {
    "goodbye": 1000,
    "replaced": 1000,
    "shutdown": 1001,
    "full": 1013,
}
_OTHER_REASONS = 1008  # "policy violation": kicked, banned, idle


class TextHeaders:
    """Headers of the server's messages: unmasked text frames (RFC 6455, 5.2)."""

    wire_name = "web"
    limit = 1 << 62
    longest = _LONGEST_HEADER
    ping = _PING

    def header(self, length: int) -> bytes:
        """Return the header of a payload of that many bytes."""
        if length < 126:
            return bytes((_TEXT, length))
        if length < 1 << 16:
            return b"\x81\x7e%b" % length.to_bytes(2, "big")
        return b"\x81\x7f%b" % length.to_bytes(8, "big")

    def lengths_before(self, data: bytes, start: int) -> tuple[int, int]:
        """Return the lengths of the header and of the payload, for the payload that begins at ``start``.

        Payloads are JSON objects: they end with a brace and contain no zero bytes. So only a long header
        looks like a long header, and without one, only a medium header looks like a medium one.
        """
        if data[max(0, start - 10) : start - 4] == b"\x81\x7f\0\0\0\0":
            return 10, int.from_bytes(data[start - 8 : start], "big")
        if data[max(0, start - 4) : start - 2] == b"\x81\x7e":
            return 4, int.from_bytes(data[start - 2 : start], "big")
        return 2, data[start - 1]

    def end(self, reason: str, error: Exception | None = None) -> bytes:
        """Return the close frame for a ``reason`` of `bye`, or for the ``error`` if that has a code."""
        if isinstance(error, ClosedError):
            return error.frame
        if isinstance(error, WebSocketError):
            return close_frame(error.code, error.why)
        if isinstance(error, FrameTooLongError):
            return close_frame(1009, str(error))
        return close_frame(_CODES.get(reason, _OTHER_REASONS), reason)


def close_frame(code: int, reason: str = "") -> bytes:
    """Return a close frame; the reason is cut to the 123 bytes that fit."""
    short = reason.encode()[:123].decode(errors="ignore")
    return Frame(Opcode.CLOSE, Close(code, short).serialize()).serialize(mask=False)


class MessageDecoder:
    """Decode the stream after the handshake into text payloads, with the interface of `FrameDecoder`.

    The decoder calls ``reply`` with bytes to send at once: pongs. The peer's close is an ``error``
    (`ClosedError`) after all payloads before it.

    ``overhead``: bytes that the last read counts in addition to its own, for frames that completed no
    message.
    """

    __slots__ = (
        "_early_frames",
        "_limit",
        "_needed",
        "_parts",
        "_pongs",
        "_protocol",
        "_reply",
        "_rest",
        "error",
        "overhead",
        "state",
    )

    def __init__(self, protocol: ServerProtocol, reply: Callable[[bytes], object]) -> None:
        self._protocol = protocol
        self._reply = reply
        self._limit = protocol.max_message_size or 0  # bytes
        self._parts: bytearray | None = None  # the fragments of an unfinished message
        self._pongs = b""  # to be sent at the end of the read
        self._rest: bytearray | None = None  # bytes not parsed yet; None, so that idle peers need no memory
        self._needed = 0  # size of ``_rest`` from which parsing can make progress
        self._early_frames: int | None = 0  # frames that completed no message; None after `set_limit`
        self.overhead = 0
        self.state = DecoderState.READING
        self.error: ProtocolError | None = None

    @property
    def unfinished(self) -> bool:
        """Whether a frame or a message has begun and has not ended."""
        return self._rest is not None or self._parts is not None

    def receive_data(self, data: bytes) -> list[str]:
        """Feed the next bytes; return the payloads that they complete, in order."""
        return self._receive(data, _ALL)

    def receive_one(self, data: bytes = b"") -> str | None:
        """Feed the next bytes; return the first payload alone, or None while it is incomplete.

        Later bytes are not parsed yet, so an error or a long message there has no effect on this payload.
        """
        payloads = self._receive(data, 1)
        return payloads[0] if payloads else None

    def set_limit(self, limit: int, _lengths: object = None) -> None:
        """Allow messages of up to ``limit`` bytes from here on, and any number of other frames."""
        self._limit = limit
        self._early_frames = None

    def receive_eof(self) -> None:
        """Mark the end of the stream. Inside a message, this sets ``error``."""
        if self.state is not DecoderState.READING:
            return
        self.state = DecoderState.ENDED
        if self.unfinished:
            self.error = WebSocketError(1006, "stream ended inside a message")

    # ----------------------------------------------------------------------------------------------------

    def _receive(self, data: bytes, max_count: int) -> list[str]:
        """Feed the next bytes; return up to ``max_count`` of the payloads that they complete."""
        if self.state is not DecoderState.READING:
            if data:
                raise BrokenStreamError
            return []
        self.overhead = 0
        rest = self._rest
        if rest is not None:
            rest += data
            if len(rest) < self._needed:
                return []
            data = bytes(rest)
        payloads: list[str] = []
        limit = self._limit
        size = len(data)
        start = self._needed = 0
        while start < size and len(payloads) < max_count:
            # The usual case, a whole text message in one frame: 0.3 microseconds for 100 bytes, 2.2 with the
            # library.
            body = start + 6
            if body <= size and data[start] == _TEXT and self._parts is None:
                length = data[start + 1] - _MASKED
                if length == 126:
                    body += 2
                    length = int.from_bytes(data[start + 2 : start + 4], "big")
                end = body + length
                if end <= size and 0 <= length <= limit and data[start + 1] != _LONG:
                    try:
                        payloads.append(apply_mask(data[body:end], data[body - 4 : body]).decode())
                    except UnicodeDecodeError:
                        pass  # `_complete` raises the error
                    else:
                        start = end
                        continue
            if start + 6 <= size and (end := self._read_short(data, start, payloads)):
                start = end
                if self.error is not None:
                    break
                continue
            # Any other frame, when it is complete or already wrong.
            needed = self._frame_size(data, start)
            if start + needed > size:
                self._needed = needed
                break
            frame = data[start : start + needed]
            start += len(frame)
            self._send_pongs()
            completed = self._read(frame)
            if self.error is not None:
                break
            if completed is not None:
                payloads.append(completed)
        self._send_pongs()
        self._rest = bytearray(data[start:]) if start < size and self.error is None else None
        return payloads

    def _read_short(self, data: bytes, start: int, payloads: list[str]) -> int:
        """Read a short fragment, ping or pong; add the payload that it completes to ``payloads``.

        Return where the frame ends, or 0 if the library has to read it: it is another one, or invalid.
        """
        first, length = data[start], data[start + 1] - _MASKED
        body = start + 6
        end = body + length
        if not 0 <= length <= 125 or end > len(data):
            return 0
        parts = self._parts
        if first in {_PING_FRAME, _PONG_FRAME}:
            if first == _PING_FRAME:
                self._pongs += bytes((_PONG_FRAME, length)) + apply_mask(
                    data[body:end], data[body - 4 : body]
                )
        elif first in (_STARTS if parts is None else _CONTINUES):
            parts = bytearray() if parts is None else parts
            if len(parts) + length > self._limit:
                return 0
            part = apply_mask(data[body:end], data[body - 4 : body])
            if first == _LAST_FRAGMENT:
                try:
                    payloads.append((parts + part).decode())
                except UnicodeDecodeError:
                    return 0
                self._parts = self._protocol.current_size = None
                return end
            parts += part
            self._parts = parts
            self._protocol.current_size = len(parts)
        else:
            return 0
        try:
            self._count()
        except WebSocketError as error:
            self._fail(error)
        return end

    def _send_pongs(self) -> None:
        if self._pongs:
            self._reply(self._pongs)
            self._pongs = b""

    def _frame_size(self, data: bytes, start: int) -> int:
        """Return the size in bytes of the frame at ``start`` (RFC 6455, 5.2).

        If the size is not known yet, return the bytes needed to know it. If the frame is invalid, return the
        bytes that show it, so that the error does not wait for the rest of the frame.
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

    def _read(self, data: bytes) -> str | None:
        """Let the library read one frame; return the payload that it completes."""
        protocol = self._protocol
        # The library adds a control frame between fragments to the message's size,
        protocol.max_message_size = None if _is_short_control(data[0], data[1]) else self._limit
        if data[0] == _CLOSE:
            protocol.current_size = None  # and rejects a close there, which RFC 6455, 5.4 allows.
        protocol.receive_data(data)
        payload: str | None = None
        try:
            for frame in protocol.events_received():
                assert isinstance(frame, Frame)
                payload = self._complete(frame)
            if protocol.parser_exc is not None:
                raise self._protocol_error(protocol.parser_exc)
            if payload is None:
                self._count()
        except ProtocolError as error:
            self._fail(error)
            return None
        if protocol.writes:
            self._reply(b"".join(protocol.data_to_send()))
        return payload

    def _complete(self, frame: Frame) -> str | None:
        """Return the payload that the frame completes, if any. Raises `WebSocketError` and `ClosedError`."""
        opcode = frame.opcode
        if opcode is Opcode.TEXT or (opcode is Opcode.CONT and self._parts is not None):
            parts = bytearray() if self._parts is None else self._parts
            parts += frame.data
            if not frame.fin:
                self._parts = parts
                return None
            self._parts = None
            try:
                return parts.decode()
            except UnicodeDecodeError:  # RFC 6455, 5.6
                raise WebSocketError(1007, "the text message is not UTF-8") from None
        if opcode is Opcode.BINARY:
            raise WebSocketError(1003, "binary messages are not supported, only text")
        if opcode is Opcode.CLOSE:
            reply = b"".join(self._protocol.data_to_send())
            closed = self._protocol.close_rcvd
            assert closed is not None
            raise ClosedError(reply, closed.code, closed.reason)
        return None

    def _fail(self, error: ProtocolError) -> None:
        self.state = DecoderState.BROKEN
        self.error = error
        self._parts = None

    def _count(self) -> None:
        """Count a frame that completed no message."""
        self.overhead += FRAGMENT_OVERHEAD
        if self.overhead > MAX_PARTS_PER_READ * FRAGMENT_OVERHEAD:
            # No browser sends so many, and the server reads them in one go while all other peers wait.
            raise WebSocketError(
                1008, f"more than {MAX_PARTS_PER_READ} frames at once that complete no message"
            )
        if self._early_frames is not None:
            self._early_frames += 1
            if self._early_frames > EARLY_LIMIT:
                raise WebSocketError(1008, f"more than {EARLY_LIMIT} frames before a valid hello")

    def _protocol_error(self, failure: Exception) -> ProtocolError:
        if isinstance(failure, PayloadTooBig):
            return FrameTooLongError(max(self._limit + 1, failure.size or 0), self._limit)
        close = self._protocol.close_sent
        return WebSocketError(close.code if close is not None else 1002, str(failure))


def _is_short_control(first: int, second: int) -> bool:
    """Whether these first two bytes begin a ping, pong or close of a valid length."""
    return bool(first & 0x08) and second & 0x7F < 126


def open_websocket(request: Request, limit: int) -> tuple[ServerProtocol, bytes]:
    """Accept a handshake; return the protocol for messages of up to ``limit`` bytes, and the HTTP response.

    Raises `HttpError` for an invalid handshake.
    """
    if any(len(request.header(name)) > MAX_PARSED_HEADER for name in _PARSED_HEADERS):
        raise HttpError(431, f"a header of the handshake has more than {MAX_PARSED_HEADER} characters")
    protocol = ServerProtocol(max_size=limit, logger=_SILENT)
    protocol.receive_data(request.head)
    try:
        (handshake,) = protocol.events_received()
    except ValueError:  # for requests that h11 accepts and this library does not: with a body, for example
        raise HttpError(400, str(protocol.handshake_exc)) from None
    assert isinstance(handshake, Handshake)
    response = protocol.accept(handshake)
    if response.status_code != 101:
        why = (response.body or b"").decode()
        headers = {key: value for key, value in response.headers.raw_items() if key in _KEPT_HEADERS}
        headers["Sec-WebSocket-Version"] = "13"  # for clients that asked for another one (RFC 6455, 4.4)
        raise HttpError(response.status_code, why.partition("\n")[0], headers)
    protocol.send_response(response)
    return protocol, b"".join(protocol.data_to_send())
