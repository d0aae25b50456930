from __future__ import annotations

import pickle
import tracemalloc

import pytest

from selchat.errors import ProtocolError, SelchatError
from selchat.limits import FRAME_LIMIT, HEADER_LENGTH
from selchat.wire.frames import (
    BadHeaderError,
    BrokenStreamError,
    DecimalHeaders,
    DecoderState,
    FrameDecoder,
    FrameTooLongError,
    TruncatedFrameError,
    encode_frame,
    largest_payload,
)

PAPER = b"7         Michael" + b"12        Hello there!"


def feed(decoder: FrameDecoder, stream: bytes, size: int) -> list[bytes]:
    """Feed the stream in pieces of ``size`` bytes until the decoder fails."""
    payloads = []
    for start in range(0, len(stream), size):
        if decoder.state is DecoderState.READING:
            payloads += decoder.receive_data(stream[start : start + size])
    return payloads


# Each stream, its payloads, and its error at the end of the stream (None: no error).
STREAMS = {
    "an empty stream": (b"", [], None),
    "the paper's client": (PAPER, [b"Michael", b"Hello there!"], None),
    "right-justified headers": (
        b"         7Michael        12Hello there!",
        [b"Michael", b"Hello there!"],
        None,
    ),
    "spaces on both sides": (b"    3     abc", [b"abc"], None),
    "leading zeros": (b"0000000003abc", [b"abc"], None),
    "empty payloads": (b"0         0                  0", [b"", b"", b""], None),
    "header inside a payload": (b"10        5         ", [b"5         "], None),
    "a payload of exactly the limit": (b"20        " + b"x" * 20, [b"x" * 20], None),
    "one byte over the limit": (b"1         a21        ", [b"a"], FrameTooLongError(21, 20)),
    "a number of many digits": (b"9999999999", [], FrameTooLongError(9_999_999_999, 20)),
    "a header that is not a number": (b"1         aHello ther", [b"a"], BadHeaderError(b"Hello ther")),
    "only spaces": (b"          x", [], BadHeaderError(b"          ")),
    "two numbers": (b"1        1x", [], BadHeaderError(b"1        1")),
    "a letter before the number": (b"X1        a", [], BadHeaderError(b"X1        ")),
    "a plus sign": (b"+1        x", [], BadHeaderError(b"+1        ")),
    "a minus sign": (b"-1        x", [], BadHeaderError(b"-1        ")),
    "an underscore": (b"1_0       x", [], BadHeaderError(b"1_0       ")),
    "a tab in the header": (b"1\t        x", [], BadHeaderError(b"1\t        ")),
    "a null byte": (b"1\0        x", [], BadHeaderError(b"1\0        ")),
    "digits of another script": ("\u0661        x".encode(), [], BadHeaderError("\u0661        ".encode())),
    "a half header": (b"1         a12  ", [b"a"], TruncatedFrameError(6)),
    "a half payload": (b"1         a5         wor", [b"a"], TruncatedFrameError(2)),
    "a header and no payload": (b"5         ", [], TruncatedFrameError(5)),
}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10, 11, 1000])
@pytest.mark.parametrize("name", STREAMS)
def test_frames_and_error_are_the_same_at_any_chunking(name: str, size: int) -> None:
    stream, payloads, error = STREAMS[name]
    decoder = FrameDecoder(limit=20)
    assert feed(decoder, stream, size) == payloads
    decoder.receive_eof()
    assert type(decoder.error) is type(error)
    assert str(decoder.error) == str(error)


def test_broken_stream_refuses_further_input() -> None:
    decoder = FrameDecoder()
    assert decoder.receive_data(b"1         aGET / HTTP/1.1\r\n") == [b"a"]
    assert decoder.state is DecoderState.BROKEN
    assert not decoder.unfinished
    with pytest.raises(BrokenStreamError):
        decoder.receive_data(b"1         b")
    decoder.receive_eof()
    assert decoder.state is DecoderState.BROKEN
    assert isinstance(decoder.error, BadHeaderError)
    assert decoder.error.header == b"GET / HTTP"


def test_ended_stream_refuses_further_input() -> None:
    decoder = FrameDecoder()
    decoder.receive_eof()
    assert decoder.state is DecoderState.ENDED
    assert decoder.error is None
    with pytest.raises(BrokenStreamError):
        decoder.receive_data(b"1         a")


def test_eof_is_reported_once() -> None:
    decoder = FrameDecoder()
    decoder.receive_data(b"5         ab")
    decoder.receive_eof()
    first = decoder.error
    decoder.receive_eof()
    assert isinstance(first, TruncatedFrameError)
    assert decoder.error is first
    assert first.missing == 3
    assert not decoder.unfinished


def test_frame_is_unfinished_from_its_first_byte_until_its_last() -> None:
    decoder = FrameDecoder()
    seen = []
    for byte in b"2         ab":
        assert not decoder.receive_data(b"") and decoder.unfinished == bool(seen)
        seen.append(decoder.receive_data(bytes([byte])))
    assert seen == [[]] * 11 + [[b"ab"]]
    assert not decoder.unfinished


def test_announced_length_uses_no_memory_before_its_bytes_arrive() -> None:
    decoder = FrameDecoder(limit=1 << 40)
    tracemalloc.start()
    try:
        assert decoder.receive_data(b"1099511627x"[:10]) == []
        assert decoder.receive_data(b"only this") == []
        assert tracemalloc.get_traced_memory()[1] < 10_000
    finally:
        tracemalloc.stop()
    assert decoder.unfinished


def test_length_over_the_limit_is_refused_from_the_header_alone() -> None:
    decoder = FrameDecoder()
    assert decoder.receive_data(b"65536     ") == []
    assert decoder.error is None
    decoder = FrameDecoder()
    assert decoder.receive_data(b"65537     ") == []
    assert isinstance(decoder.error, FrameTooLongError)
    assert (decoder.error.length, decoder.error.limit) == (65537, FRAME_LIMIT)


@pytest.mark.parametrize("header_length", [*range(1, 33), 100, 1024, 4096])
def test_payloads_survive_every_header_length(header_length: int) -> None:
    payloads = [b"", b"x" * 9, b"y" * min(1234, largest_payload(header_length))]
    stream = b"".join(encode_frame(payload, header_length) for payload in payloads)
    decoder = FrameDecoder(header_length)
    assert feed(decoder, stream, 1) == payloads
    assert len(stream) == sum(map(len, payloads)) + 3 * header_length


def test_headers_are_left_justified() -> None:
    assert encode_frame(b"Michael") + encode_frame(b"Hello there!") == PAPER
    assert encode_frame(b"") == b"0         "
    assert encode_frame(b"abc", 1) == b"3abc"
    assert HEADER_LENGTH == 10


def test_payload_too_long_for_its_header_is_refused() -> None:
    assert encode_frame(b"x" * 99, 2) == b"99" + b"x" * 99
    with pytest.raises(FrameTooLongError) as caught:
        encode_frame(b"x" * 100, 2)
    assert (caught.value.length, caught.value.limit) == (100, 99)


def test_header_digits_or_the_limit_bound_the_payload() -> None:
    assert largest_payload(1) == 9
    assert largest_payload(4, 65536) == 9999
    assert largest_payload(10, 65536) == 65536
    assert largest_payload(32) == 1 << 62


def test_decimal_headers_have_a_fixed_length_and_bound_the_payload() -> None:
    assert (DecimalHeaders().longest, DecimalHeaders().limit) == (HEADER_LENGTH, 10**HEADER_LENGTH - 1)
    assert (DecimalHeaders(4, 500).longest, DecimalHeaders(4, 500).limit) == (4, 500)
    assert DecimalHeaders(2, 500).limit == 99
    assert DecimalHeaders(32).limit == 1 << 62


def test_decimal_headers_match_encode_frame() -> None:
    headers = DecimalHeaders(4)
    stream = encode_frame(b"abc", 4) + encode_frame(b"Hello there!", 4)
    assert (headers.header(3), headers.header(12), headers.header(0)) == (b"3   ", b"12  ", b"0   ")
    assert headers.lengths_before(stream, stream.index(b"abc")) == (4, 3)
    assert headers.lengths_before(stream, stream.index(b"Hello")) == (4, 12)


def test_frame_stream_ends_without_closing_bytes() -> None:
    assert DecimalHeaders().end("kicked") == b""
    assert DecimalHeaders().end("broken", BadHeaderError(b"GET / HTTP")) == b""


# -- errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "fields", "text"),
    [
        (
            BadHeaderError,
            {"header": b"GET / HTTP"},
            "frame header b'GET / HTTP' is not a number padded with spaces",
        ),
        (
            FrameTooLongError,
            {"length": 70000, "limit": 65536},
            "frame of 70000 bytes is over the limit of 65536",
        ),
        (TruncatedFrameError, {"missing": 3}, "stream ended inside a frame, 3 bytes short"),
        (BrokenStreamError, {}, "the decoder has failed or ended and accepts no more data"),
    ],
)
def test_errors_have_fields_and_a_text_and_survive_pickling(
    kind: type[SelchatError], fields: dict[str, object], text: str
) -> None:
    error = kind(*fields.values())
    copied = pickle.loads(pickle.dumps(error))
    assert type(copied) is kind
    assert vars(error) == vars(copied) == fields
    assert str(error) == str(copied) == text
    assert error.args == tuple(fields.values())


# -- the header cache ------------------------------------------------------------------------------------


def frame(payload: bytes) -> bytes:
    return b"%-10d" % len(payload) + payload


def test_decoders_share_a_cache_of_valid_headers() -> None:
    lengths: dict[bytes, int] = {}
    assert FrameDecoder(lengths=lengths).receive_data(PAPER) == [b"Michael", b"Hello there!"]
    assert FrameDecoder(lengths=lengths).receive_one(b"         1a") == b"a"
    assert lengths == {b"7         ": 7, b"12        ": 12, b"         1": 1}


def test_cached_header_is_not_checked_again() -> None:
    lengths = {b"a word    ": 3}
    assert FrameDecoder(lengths=lengths).receive_data(b"a word    abc") == [b"abc"]
    assert FrameDecoder(lengths=lengths).receive_one(b"a word    abc") == b"abc"


def test_header_cache_has_at_most_4096_entries() -> None:
    lengths: dict[bytes, int] = {}
    for number in range(5000):
        assert FrameDecoder(lengths=lengths).receive_data(b"%-10d" % number) == [b""] * (number == 0)
    assert list(lengths.values()) == list(range(4096))
    assert FrameDecoder(lengths=lengths).receive_data(frame(b"x" * 4999)) == [b"x" * 4999]


# -- receive_one -----------------------------------------------------------------------------------------


def test_receive_one_returns_the_first_payload_and_keeps_the_rest() -> None:
    decoder = FrameDecoder(limit=4)
    assert decoder.receive_one(frame(b"name") + frame(b"x" * 100) + frame(b"")) == b"name"
    decoder.set_limit(100, {})
    assert decoder.receive_data(b"") == [b"x" * 100, b""]
    assert decoder.receive_data(b"") == []
    assert not decoder.unfinished
    assert decoder.error is None


def test_receive_one_works_byte_by_byte() -> None:
    decoder = FrameDecoder()
    stream = frame(b"one") + frame(b"") + frame(b"two")
    got = [decoder.receive_one(stream[i : i + 1]) for i in range(len(stream))]
    assert [one for one in got if one is not None] == [b"one", b"", b"two"]
    assert decoder.receive_one() is None


def test_receive_one_continues_without_new_bytes() -> None:
    decoder = FrameDecoder()
    assert decoder.receive_one(frame(b"one") + frame(b"two") + b"3") == b"one"
    assert decoder.unfinished
    assert decoder.receive_one() == b"two"
    assert decoder.receive_one() is None
    assert decoder.receive_data(b"         abc") == [b"abc"]


def test_receive_data_completes_a_payload_begun_by_receive_one() -> None:
    decoder = FrameDecoder()
    assert decoder.receive_one(frame(b"one")[:-2]) is None
    assert decoder.receive_data(b"n") == []
    assert decoder.receive_data(b"e" + frame(b"two")) == [b"one", b"two"]
    assert decoder.receive_one(frame(b"three")[:-2]) is None
    decoder.receive_eof()
    assert isinstance(decoder.error, TruncatedFrameError)
    assert decoder.error.missing == 2


@pytest.mark.parametrize("wrong", [b"GET / HTTP", b"5         "])
def test_receive_one_enforces_the_limit_and_the_header_format(wrong: bytes) -> None:
    decoder = FrameDecoder(limit=4)
    assert decoder.receive_one(frame(b"ok") + wrong) == b"ok"
    assert decoder.receive_one() is None
    assert decoder.state is DecoderState.BROKEN
    assert not decoder.unfinished
    assert isinstance(decoder.error, ProtocolError)
    with pytest.raises(BrokenStreamError):
        decoder.receive_one()


def test_header_accepted_under_a_higher_limit_is_refused_under_a_lower_one() -> None:
    generous: dict[bytes, int] = {}
    decoder = FrameDecoder(limit=4)
    assert decoder.receive_one(frame(b"name")) == b"name"
    decoder.set_limit(100, generous)
    assert decoder.receive_data(frame(b"x" * 50)) == [b"x" * 50]
    assert FrameDecoder(limit=4).receive_one(frame(b"x" * 50)) is None


@pytest.mark.parametrize("header_length", [100, 1024, 4096])
def test_long_headers_are_cached_within_a_bound_of_bytes(header_length: int) -> None:
    lengths: dict[bytes, int] = {}
    decoder = FrameDecoder(header_length, 20_000, lengths)
    for length in range(5_000):
        assert decoder.receive_data(b"%-*d" % (header_length, length) + b"x" * length) == [b"x" * length]
    assert 0 < len(lengths) * header_length <= 256 * 1024


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (b"9" * 4096, "frame of 10**32 or more bytes is over the limit of 65536"),
        (b"x" * 4096, f"frame header {b'x' * 32!r}... is not a number padded with spaces"),
    ],
)
def test_error_about_a_long_header_is_short(header: bytes, text: str) -> None:
    decoder = FrameDecoder(4096)
    assert decoder.receive_data(header) == []
    assert str(decoder.error) == text
