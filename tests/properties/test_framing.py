"""Arbitrary streams of frames. HYPOTHESIS_PROFILE=nightly runs many more examples."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from selchat.errors import ProtocolError
from selchat.wire.frames import (
    BadHeaderError,
    DecoderState,
    FrameDecoder,
    FrameTooLongError,
    TruncatedFrameError,
    encode_frame,
)

LIMIT = 300
HEADER_LENGTHS = st.sampled_from([1, 2, 3, 4, 10, 32])


@st.composite
def headers(draw: st.DrawFn, header_length: int) -> bytes:
    """Draw a valid header, or an almost valid one."""
    number = b"%d" % draw(st.integers(0, LIMIT * 2) | st.integers(0, 10**header_length - 1))
    padded = draw(st.sampled_from([number.ljust, number.rjust, number.center]))(header_length)
    if draw(st.integers(0, 5)):
        return padded
    return draw(st.binary(max_size=header_length) | st.text("0123456789 +-_.\t", max_size=12).map(str.encode))


@st.composite
def streams(draw: st.DrawFn, header_length: int) -> bytes:
    """Draw an almost valid stream of frames."""
    parts = st.one_of(
        st.binary(max_size=40)
        .filter(lambda b: len(b) < 10**header_length)
        .map(lambda payload: encode_frame(payload, header_length)),
        headers(header_length),
        st.binary(max_size=15),
    )
    return b"".join(draw(st.lists(parts, max_size=8)))


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    points = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[start:end] for start, end in pairwise(points)]


def outcome(header_length: int, parts: list[bytes], eof: bool) -> tuple[list[bytes], str, DecoderState]:
    decoder = FrameDecoder(header_length, LIMIT)
    payloads = []
    for part in parts:
        if decoder.state is DecoderState.READING:
            payloads += decoder.receive_data(part)
    if eof:
        decoder.receive_eof()
    assert decoder.error is None or isinstance(decoder.error, ProtocolError)
    return payloads, repr(decoder.error), decoder.state


def reference_decode(header_length: int, stream: bytes) -> tuple[list[bytes], str, DecoderState]:
    """Decode a complete stream by the definition of a frame."""
    payloads: list[bytes] = []
    while stream:
        header, rest = stream[:header_length], stream[header_length:]
        if len(header) < header_length:
            missing = header_length - len(header)
            return payloads, repr(TruncatedFrameError(missing)), DecoderState.ENDED
        digits = header.decode("latin-1").strip(" ")
        if not digits or not set(digits) <= set("0123456789"):
            return payloads, repr(BadHeaderError(header)), DecoderState.BROKEN
        length = int(digits)
        if length > LIMIT:
            return payloads, repr(FrameTooLongError(length, LIMIT)), DecoderState.BROKEN
        if len(rest) < length:
            return payloads, repr(TruncatedFrameError(length - len(rest))), DecoderState.ENDED
        payloads.append(rest[:length])
        stream = rest[length:]
    return payloads, repr(None), DecoderState.ENDED


@given(st.data(), HEADER_LENGTHS)
def test_payloads_are_decoded_in_order_at_any_chunking(data: st.DataObject, header_length: int) -> None:
    max_size = min(9 if header_length == 1 else 60, LIMIT)
    payloads = data.draw(st.lists(st.binary(max_size=max_size), max_size=10))
    cuts = data.draw(st.lists(st.integers(0, 1000)))
    stream = b"".join(encode_frame(payload, header_length) for payload in payloads)
    expected = (payloads, repr(None), DecoderState.ENDED)
    assert outcome(header_length, [stream], eof=True) == expected
    assert outcome(header_length, [bytes([byte]) for byte in stream], eof=True) == expected
    assert outcome(header_length, pieces(stream, cuts), eof=True) == expected


@given(st.data(), HEADER_LENGTHS)
def test_any_bytes_decode_like_the_reference_at_any_chunking(data: st.DataObject, header_length: int) -> None:
    stream = data.draw(streams(header_length) | st.binary(max_size=80))
    cuts = data.draw(st.lists(st.integers(0, 1000)))
    expected = reference_decode(header_length, stream)
    assert outcome(header_length, [stream], eof=True) == expected
    assert outcome(header_length, [bytes([byte]) for byte in stream], eof=True) == expected
    assert outcome(header_length, pieces(stream, cuts), eof=True) == expected


@given(st.data(), HEADER_LENGTHS)
def test_decoder_buffers_only_the_unfinished_frame(data: st.DataObject, header_length: int) -> None:
    stream = data.draw(streams(header_length))
    decoder = FrameDecoder(header_length, LIMIT)
    given_so_far = decoded = 0
    for part in pieces(stream, data.draw(st.lists(st.integers(0, 1000)))):
        if decoder.state is not DecoderState.READING:
            break
        given_so_far += len(part)
        decoded += sum(header_length + len(payload) for payload in decoder.receive_data(part))
        held = len(decoder._buffer or b"")
        assert held == (given_so_far - decoded if decoder.state is DecoderState.READING else 0)
        assert held <= header_length + LIMIT
        assert decoder.unfinished == bool(held)
