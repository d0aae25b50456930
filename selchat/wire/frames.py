"""Length-prefixed frames: a decimal header, then the payload.

The header is ``header_length`` bytes (10 in the paper, section HEADER): the payload's length in ASCII
decimal digits, padded with spaces. selchat writes it left-justified, as the paper does, and also reads
it right-justified, as some clients send it. A payload may be empty.

This module handles bytes only: it knows no socket, no text encoding and no message types.
"""

from __future__ import annotations

from enum import Enum, auto

from selchat.errors import ProtocolError, UsageError
from selchat.limits import FRAME_LIMIT, HEADER_LENGTH, MAX_FRAME_HEADERS, MAX_HEADER_BYTES, MAX_HEADER_SHOWN


class BadHeaderError(ProtocolError):
    def __init__(self, header: bytes) -> None:
        super().__init__(header)
        self.header = header

    def __str__(self) -> str:
        header = self.header[:MAX_HEADER_SHOWN]
        more = "..." if len(self.header) > MAX_HEADER_SHOWN else ""
        return f"frame header {header!r}{more} is not a number padded with spaces"


class FrameTooLongError(ProtocolError):
    """``length`` and ``limit`` in bytes."""

    def __init__(self, length: int, limit: int) -> None:
        super().__init__(length, limit)
        self.length = length
        self.limit = limit

    def __str__(self) -> str:
        # A long header can describe a number with thousands of digits.
        length = self.length if self.length < 10**MAX_HEADER_SHOWN else f"10**{MAX_HEADER_SHOWN} or more"
        return f"frame of {length} bytes is over the limit of {self.limit}"


class TruncatedFrameError(ProtocolError):
    """The stream ended inside a frame. ``missing``: the bytes known to be missing."""

    def __init__(self, missing: int) -> None:
        super().__init__(missing)
        self.missing = missing

    def __str__(self) -> str:
        return f"stream ended inside a frame, {self.missing} bytes short"


class BrokenStreamError(UsageError):
    def __str__(self) -> str:
        return "the decoder has failed or ended and accepts no more data"


class DecoderState(Enum):
    """``READING`` becomes ``BROKEN`` on bad input or ``ENDED`` at the end of the stream; both are final."""

    READING = auto()
    BROKEN = auto()
    ENDED = auto()


class FrameDecoder:
    """Decode a byte stream into payloads, however the stream is cut.

    Bad input sets a state and raises no exception: the decoder returns the payloads before it, and ``error``
    holds the reason. So the result is the same for every way of cutting.

    ``lengths`` caches headers that passed the check. Decoders with the same limits may share it.
    """

    __slots__ = ("_buffer", "_header_length", "_lengths", "_limit", "_needed", "error", "state")

    overhead = 0  # bytes that a read counts in addition to its own; frames have none

    def __init__(
        self,
        header_length: int = HEADER_LENGTH,
        limit: int = FRAME_LIMIT,
        lengths: dict[bytes, int] | None = None,
    ) -> None:
        self._header_length = header_length
        self._limit = limit
        self._lengths = {} if lengths is None else lengths
        self._buffer: bytearray | None = None  # an unfinished frame; None, so that idle peers need no memory
        self._needed = header_length  # buffer size that completes the header, or the whole frame
        self.state = DecoderState.READING
        self.error: ProtocolError | None = None

    @property
    def unfinished(self) -> bool:
        """Whether a frame has begun and has not ended."""
        return self._buffer is not None

    def receive_data(self, data: bytes) -> list[bytes]:
        """Feed the next bytes of the stream; return the payloads that they complete, in order.

        A header allocates nothing: memory grows only with received bytes. Raises `BrokenStreamError` if the
        stream has already failed or ended.
        """
        if self.state is not DecoderState.READING:
            raise BrokenStreamError
        buffer = self._buffer
        if buffer is not None:
            buffer += data
            if len(buffer) < self._needed:
                return []
            data = bytes(buffer)
        payloads: list[bytes] = []
        lengths = self._lengths
        header_length = self._header_length
        available = len(data)
        start = 0  # of the current frame
        body = header_length  # start of its payload
        self._needed = header_length
        while body <= available:
            header = data[start:body]
            # A lookup takes a third of the time of a check.
            length = lengths.get(header)
            if length is None:
                try:
                    length = self._check(header)
                except ProtocolError as error:
                    self.state = DecoderState.BROKEN
                    self.error = error
                    self._buffer = None
                    return payloads
            end = body + length
            if end > available:
                self._needed = end - start
                break
            payloads.append(data[body:end])
            start = end
            body = end + header_length
        if start == available:
            self._buffer = None
        elif start or buffer is None:
            self._buffer = bytearray(data[start:])
        return payloads

    def receive_one(self, data: bytes = b"") -> bytes | None:
        """Feed the next bytes; return the first payload alone, or None while it is incomplete.

        Later bytes stay buffered for the next call of this method or `receive_data`, which may bring no new
        bytes. Used before login, when a peer may send one payload at a time.
        """
        if self.state is not DecoderState.READING:
            raise BrokenStreamError
        buffer = bytearray() if self._buffer is None else self._buffer
        buffer += data
        payload: bytes | None = None
        body = self._needed = self._header_length
        if len(buffer) >= body:
            header = bytes(buffer[:body])
            try:
                length = self._lengths.get(header)
                end = body + (self._check(header) if length is None else length)
            except ProtocolError as error:
                self.state = DecoderState.BROKEN
                self.error = error
                self._buffer = None
                return None
            if len(buffer) >= end:
                payload = bytes(buffer[body:end])
                del buffer[:end]
            else:
                self._needed = end
        self._buffer = buffer or None
        return payload

    def set_limit(self, limit: int, lengths: dict[bytes, int]) -> None:
        """Allow payloads of up to ``limit`` bytes from here on. ``lengths``: that limit's header cache."""
        self._limit = limit
        self._lengths = lengths

    def receive_eof(self) -> None:
        """Mark the end of the stream. Inside a frame, this sets ``error``."""
        if self.state is not DecoderState.READING:
            return
        self.state = DecoderState.ENDED
        if self._buffer is not None:
            self.error = TruncatedFrameError(self._needed - len(self._buffer))
            self._buffer = None

    def _check(self, header: bytes) -> int:
        digits = header.strip(b" ")
        if not digits.isdigit():
            raise BadHeaderError(header)
        length = int(digits)
        if length > self._limit:
            raise FrameTooLongError(length, self._limit)
        if len(self._lengths) < cached_headers(self._header_length, MAX_FRAME_HEADERS):
            self._lengths[header] = length
        return length


class DecimalHeaders:
    """Frame headers for payloads of up to ``limit`` bytes, or fewer if the header is too short for that."""

    wire_name = "selchat"
    ping = b""  # frames have no ping

    def __init__(self, length: int = HEADER_LENGTH, limit: int = 1 << 62) -> None:
        self.longest = length
        self.limit = largest_payload(length, limit)

    def header(self, length: int) -> bytes:
        """Return the header of a payload of that many bytes."""
        return b"%-*d" % (self.longest, length)

    def lengths_before(self, data: bytes, start: int) -> tuple[int, int]:
        """Return the lengths of the header and of the payload, for the payload that begins at ``start``."""
        return self.longest, int(data[start - self.longest : start])

    def end(self, reason: str, error: Exception | None = None) -> bytes:
        """Return the bytes that close the stream after the last payload: none."""
        return b""


def encode_frame(payload: bytes, header_length: int = HEADER_LENGTH) -> bytes:
    """Return the frame of ``payload``, with a left-justified header.

    Raises `FrameTooLongError` if the length does not fit into the header.
    """
    header = b"%-*d" % (header_length, len(payload))
    if len(header) != header_length:
        raise FrameTooLongError(len(payload), largest_payload(header_length))
    return header + payload


def largest_payload(header_length: int, limit: int = 1 << 62) -> int:
    """Return the largest payload in bytes that a header of that length can describe, at most ``limit``."""
    return int(min(10**header_length - 1, limit))


def cached_headers(header_length: int, wanted: int) -> int:
    """Return how many headers of that length a cache may hold: ``wanted``, or fewer if they are long."""
    return min(wanted, MAX_HEADER_BYTES // header_length)
