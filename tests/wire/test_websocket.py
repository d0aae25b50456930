"""The WebSocket codec: received streams, cut anywhere, and the headers of sent messages."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from selchat.config.settings import Settings
from selchat.events import Event, Joined, Said, Topic
from selchat.limits import PAYLOAD_LIMIT
from selchat.wire import websocket
from selchat.wire.frames import BrokenStreamError, DecoderState, FrameTooLongError
from selchat.wire.http import HttpConnection, HttpError, Request
from selchat.wire.responses import SelchatFormat
from selchat.wire.websocket import (
    ClosedError,
    MessageDecoder,
    TextHeaders,
    WebSocketError,
    close_frame,
    open_websocket,
)
from tests.e2e.web_support import (
    ACCEPT,
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    answers,
    close_code,
    closing,
    masked,
    opening,
    request,
    server_frames,
)

_LIMIT = 300  # bytes


class Reader:
    """A decoder and the bytes that it has sent."""

    def __init__(self, limit: int = _LIMIT, *, logged_in: bool = True) -> None:
        protocol, self.answer = open_websocket(parsed_request(opening()), limit)
        self.sent = bytearray()
        self.decoder = MessageDecoder(protocol, self.sent.extend)
        if logged_in:
            self.decoder.set_limit(limit)

    def feed(self, *parts: bytes) -> list[bytes]:
        """Feed the parts until the decoder fails; return the payloads as UTF-8."""
        payloads: list[bytes] = []
        for part in parts:
            if self.decoder.state is DecoderState.READING:
                payloads += map(str.encode, self.decoder.receive_data(part))
        return payloads

    def feed_singly(self, *parts: bytes) -> list[bytes]:
        payloads: list[bytes] = []
        for part in parts:
            if self.decoder.state is not DecoderState.READING:
                break
            payload = self.decoder.receive_one(part)
            while payload is not None:
                payloads.append(payload.encode())
                payload = self.decoder.receive_one()
        return payloads

    @property
    def pongs(self) -> list[bytes]:
        frames, rest = server_frames(bytes(self.sent))
        assert not rest and {opcode for opcode, _ in frames} <= {PONG}
        return [payload for _, payload in frames]


def parsed_request(data: bytes) -> Request:
    http = HttpConnection(100, 16 * 1024, 100, 100)
    http.receive_data(data)
    found = http.next_request()
    assert found is not None
    return found


def cuts(stream: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(stream) + 1) for place in places} | {len(stream)})
    return [part for begin, end in zip([0, *ends], ends, strict=False) if (part := stream[begin:end])]


# -- streams ---------------------------------------------------------------------------------------------

# Each stream, its payloads, and the close code (None: no close).
STREAMS: dict[str, tuple[bytes, list[bytes], int | None]] = {
    "an empty stream": (b"", [], None),
    "two messages": (masked(TEXT, b"one") + masked(TEXT, b"two"), [b"one", b"two"], None),
    "an empty message": (masked(TEXT) + masked(TEXT, b"x"), [b"", b"x"], None),
    "a mask of zeros": (masked(TEXT, b"one", mask=bytes(4)), [b"one"], None),
    "125 bytes": (masked(TEXT, b"x" * 125), [b"x" * 125], None),
    "126 bytes": (masked(TEXT, b"x" * 126), [b"x" * 126], None),
    "a message of exactly the limit": (masked(TEXT, b"x" * _LIMIT), [b"x" * _LIMIT], None),
    "a message one byte over the limit": (
        masked(TEXT, b"a") + masked(TEXT, b"x" * (_LIMIT + 1)),
        [b"a"],
        1009,
    ),
    "fragments one byte over the limit": (
        masked(TEXT, b"x" * 200, fin=False) + masked(CONT, b"x" * 101),
        [],
        1009,
    ),
    "fragments of exactly the limit": (
        masked(TEXT, b"x" * 200, fin=False) + masked(CONT, b"x" * 100),
        [b"x" * _LIMIT],
        None,
    ),
    "a length that is not the shortest": (
        b"\x81\xfe\x00\x01" + bytes(4) + b"x",
        [b"x"],
        None,
    ),
    "a huge length": (b"\x81\xff\x7f" + b"\xff" * 7 + bytes(4), [], 1009),
    "fragments, some empty": (
        masked(TEXT, b"", fin=False)
        + masked(CONT, b"ab", fin=False)
        + masked(CONT, b"")
        + masked(TEXT, b"c"),
        [b"ab", b"c"],
        None,
    ),
    "a ping between fragments": (
        masked(TEXT, b"a", fin=False) + masked(PING, b"?") + masked(CONT, b"b"),
        [b"ab"],
        None,
    ),
    "a ping and a pong inside a message just below the limit": (
        masked(TEXT, b"x" * (_LIMIT - 1), fin=False)
        + masked(PING, b"?" * 125)
        + masked(CONT, b"", fin=False)
        + masked(PONG, b"?" * 20)
        + masked(CONT, b"x"),
        [b"x" * _LIMIT],
        None,
    ),
    "fragments and a ping, one byte over the limit": (
        masked(TEXT, b"x" * (_LIMIT - 1), fin=False) + masked(PING, b"?" * 125) + masked(CONT, b"xx"),
        [],
        1009,
    ),
    "a close inside a message just below the limit": (
        masked(TEXT, b"x" * (_LIMIT - 1), fin=False) + closing(1000, "?"),
        [],
        1000,
    ),
    "a close with a bad code in a message": (masked(TEXT, b"x", fin=False) + closing(1005), [], 1002),
    "a character cut by a fragment": (
        masked(TEXT, "é".encode()[:1], fin=False) + masked(CONT, "é".encode()[1:]),
        ["é".encode()],
        None,
    ),
    "binary": (masked(TEXT, b"a") + masked(BINARY, b"b") + masked(TEXT, b"c"), [b"a"], 1003),
    "a binary fragment": (masked(BINARY, b"b", fin=False), [], 1003),
    "invalid UTF-8": (masked(TEXT, b"a") + masked(TEXT, b"\xff") + masked(TEXT, b"c"), [b"a"], 1007),
    "half a character": (masked(TEXT, "é".encode()[:1]), [], 1007),
    "no mask": (masked(TEXT, b"a") + masked(TEXT, b"b", mask=None), [b"a"], 1002),
    "a reserved bit": (masked(TEXT, b"a", rsv=4), [], 1002),
    "a reserved opcode": (masked(3, b"a"), [], 1002),
    "a continuation without a beginning": (masked(CONT, b"a"), [], 1002),
    "a new message inside a fragmented one": (masked(TEXT, b"a", fin=False) + masked(TEXT, b"b"), [], 1002),
    "a fragmented ping": (masked(PING, b"a", fin=False), [], 1002),
    "a long ping": (masked(PING, b"x" * 126), [], 1002),
    "a close": (masked(TEXT, b"a") + closing(1000, "bye") + masked(TEXT, b"b"), [b"a"], 1000),
    "a close without a code": (closing(None), [], 1005),
    "a close with half a code": (masked(CLOSE, b"\x03"), [], 1002),
    "a close with an invalid code": (closing(1005), [], 1002),
    "a close with invalid UTF-8": (closing(1000, b"\xff"), [], 1007),
    "an HTTP request": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", [], 1002),
}


def ended(decoder: MessageDecoder) -> int | None:
    error = decoder.error
    if error is None:
        return None
    if isinstance(error, FrameTooLongError):
        assert error.length > error.limit == _LIMIT
        return 1009
    assert isinstance(error, WebSocketError | ClosedError)
    return error.code


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("name", STREAMS)
def test_messages_and_close_code_are_the_same_at_any_chunking(name: str, size: int) -> None:
    stream, payloads, code = STREAMS[name]
    parts = [stream[start : start + size] for start in range(0, len(stream), size)]
    for how in (Reader.feed, Reader.feed_singly):
        reader = Reader()
        assert how(reader, *parts) == payloads
        assert ended(reader.decoder) == code
        assert (reader.decoder.state is DecoderState.BROKEN) == (code is not None)
        assert not reader.decoder.unfinished
        if code is not None:
            with pytest.raises(BrokenStreamError):
                reader.decoder.receive_data(b"x")
            with pytest.raises(BrokenStreamError):
                reader.decoder.receive_one(b"x")
            assert reader.decoder.receive_data(b"") == []


FRAMES = st.lists(
    st.builds(
        masked,
        st.sampled_from([TEXT, TEXT, CONT, CONT, PING, PONG, CLOSE, BINARY, 3]),
        st.sampled_from([b"", b"x", "é".encode(), "é".encode()[:1], b"\x03\xe8", b"x" * 124, b"x" * 130]),
        fin=st.sampled_from([True, True, False]),
        rsv=st.sampled_from([0, 0, 0, 0, 0, 1]),
        mask=st.sampled_from([b"abcd", b"abcd", b"abcd", None]),
    )
    | st.binary(max_size=5),
    max_size=8,
).map(b"".join)


_FRAGMENTS = st.lists(
    st.builds(
        masked,
        st.sampled_from([TEXT, CONT, CONT, CONT, PING, PONG]),
        st.sampled_from(
            [b"", b"x", "é".encode(), "é".encode()[:1], "é".encode()[1:], b"y" * 125, b"z" * 126]
        ),
        fin=st.booleans(),
    ),
    max_size=10,
)


@given(_FRAGMENTS)
def test_short_frames_have_the_same_result_as_in_the_library(frames: list[bytes]) -> None:
    """This module reads most of them itself."""
    protocol, _ = open_websocket(parsed_request(opening()), _LIMIT)
    expected: list[bytes] = []
    parts: list[bytes] = []
    code: int | None = None
    for frame in frames:
        protocol.max_message_size = None if frame[0] & 8 else _LIMIT
        protocol.receive_data(frame)
        for event in protocol.events_received():
            assert isinstance(event, Frame)
            if event.opcode in {Opcode.TEXT, Opcode.CONT}:
                parts.append(bytes(event.data))
                if event.fin:
                    expected.append(b"".join(parts))
                    parts.clear()
        if protocol.parser_exc is not None:
            assert protocol.close_sent is not None
            code = protocol.close_sent.code
            break
        if expected and not is_utf8(expected[-1]):
            del expected[-1]
            code = 1007
            break
    reader = Reader()
    assert reader.feed(b"".join(frames)) == expected
    error = reader.decoder.error
    if code is None:
        assert error is None
        assert reader.decoder.unfinished == bool(parts)
    elif code == 1009:
        assert isinstance(error, FrameTooLongError)
    else:
        assert isinstance(error, WebSocketError)
        assert error.code == code


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_pongs_of_one_read_are_sent_at_once_and_in_order() -> None:
    replies: list[bytes] = []
    decoder = MessageDecoder(open_websocket(parsed_request(opening()), _LIMIT)[0], replies.append)
    decoder.set_limit(_LIMIT)
    pings = [b"%d" % number for number in range(500)]
    decoder.receive_data(b"".join(masked(PING, ping) for ping in pings))
    [reply] = replies
    assert server_frames(reply) == ([(PONG, ping) for ping in pings], b"")


@given(FRAMES, st.lists(st.integers(0, 2000), max_size=6))
def test_any_frames_give_the_same_messages_at_any_chunking(stream: bytes, places: list[int]) -> None:
    whole = Reader()
    payloads = whole.feed(stream)
    for parts in (cuts(stream, places), [stream[i : i + 1] for i in range(len(stream))]):
        for how in (Reader.feed, Reader.feed_singly):
            reader = Reader()
            assert how(reader, *parts) == payloads
            assert repr(reader.decoder.error) == repr(whole.decoder.error)
            assert bytes(reader.sent) == bytes(whole.sent)


def test_pings_are_answered_in_order_with_their_payload() -> None:
    reader = Reader()
    assert reader.feed(masked(PING) + masked(PING, b"\x00\xff") + masked(PONG, b"unasked")) == []
    assert reader.pongs == [b"", b"\x00\xff"]
    reader.feed(masked(PING, b"x" * 125))
    assert reader.pongs[2:] == [b"x" * 125]


def test_close_is_echoed_after_the_pongs() -> None:
    reader = Reader()
    assert reader.feed(masked(TEXT, b"a") + masked(PING, b"?") + closing(3001, "see you")) == [b"a"]
    error = reader.decoder.error
    assert isinstance(error, ClosedError)
    frames, rest = server_frames(bytes(reader.sent) + error.frame)
    assert (frames, rest) == ([(PONG, b"?"), (CLOSE, struct.pack("!H", 3001) + b"see you")], b"")
    assert str(error) == "closed by the peer: 3001 see you"


@pytest.mark.parametrize("code", [1000, 1001, None])
def test_normal_close_codes_are_not_errors(code: int | None) -> None:
    reader = Reader()
    reader.feed(closing(code))
    assert str(reader.decoder.error) == ""


def test_message_is_unfinished_from_its_first_byte_until_its_last() -> None:
    reader = Reader()
    for byte in masked(TEXT, b"ab", fin=False) + masked(PING) + masked(CONT, b"c")[:-1]:
        assert reader.feed(bytes([byte])) == []
        assert reader.decoder.unfinished
    assert reader.feed(masked(CONT, b"c")[-1:]) == [b"abc"]
    assert not reader.decoder.unfinished


@pytest.mark.parametrize(
    "stream", [masked(TEXT, b"ab")[:5], masked(TEXT, b"ab")[:1], masked(TEXT, b"a", fin=False)]
)
@pytest.mark.parametrize("how", [Reader.feed, Reader.feed_singly])
def test_end_of_stream_inside_a_message_is_an_error(stream: bytes, how: Any) -> None:
    reader = Reader()
    how(reader, stream)
    reader.decoder.receive_eof()
    reader.decoder.receive_eof()
    assert reader.decoder.state is DecoderState.ENDED
    assert ended(reader.decoder) == 1006
    reader = Reader()
    reader.feed(masked(TEXT, b"a"))
    reader.decoder.receive_eof()
    assert reader.decoder.error is None
    with pytest.raises(BrokenStreamError):
        reader.decoder.receive_data(b"x")


# -- before login ----------------------------------------------------------------------------------------


def test_limit_after_login_applies_right_after_the_hello() -> None:
    """Bytes in the same read as the hello have the limit after login."""
    stream = masked(TEXT, b"hello") + masked(TEXT, b"x" * 5000)
    for size in (1, 100, 5, len(stream)):
        reader = Reader(logged_in=False)
        payloads: list[str] = []
        for start in range(0, len(stream), size):
            part = stream[start : start + size]
            if payloads:
                payloads += reader.decoder.receive_data(part)
                continue
            payload = reader.decoder.receive_one(part)
            if payload is not None:
                reader.decoder.set_limit(10_000)
                payloads = [payload, *reader.decoder.receive_data(b"")]
        assert payloads == ["hello", "x" * 5000]
        assert reader.decoder.error is None


def test_limit_before_login_is_enforced() -> None:
    reader = Reader(logged_in=False)
    assert reader.decoder.receive_one(masked(TEXT, b"x" * (_LIMIT + 1))[:8]) is None
    assert ended(reader.decoder) == 1009


@pytest.mark.parametrize(
    "frame", [masked(PING), masked(PONG), masked(CONT, b"", fin=False)], ids=["pings", "pongs", "fragments"]
)
def test_control_frames_before_login_are_limited(frame: bytes) -> None:
    begin = masked(TEXT, b"", fin=False)
    for many in (64 * frame, *([bytes([byte]) for byte in 63 * frame],)):
        reader = Reader(logged_in=False)
        reader.decoder.receive_one(begin)
        parts = [many[: 63 * len(frame)]] if isinstance(many, bytes) else many
        assert reader.feed_singly(*parts) == []
        assert reader.decoder.error is None
        reader.feed_singly(frame)
        assert ended(reader.decoder) == 1008
    # The decoder ignores all bytes after the limit, however many it has read.
    reader = Reader(logged_in=False)
    reader.feed_singly(begin + frame * 10_000)
    assert ended(reader.decoder) == 1008
    assert reader.sent.count(b"\x8a") <= 64


@pytest.mark.parametrize(
    "frame", [masked(PING), masked(PONG), masked(CONT, b"", fin=False)], ids=["pings", "pongs", "fragments"]
)
def test_control_frames_in_one_read_are_limited_after_login(frame: bytes) -> None:
    """Ten thousand fit into one read; handling all blocks every other client for a tenth of a second."""
    reader = Reader()
    assert reader.feed(masked(TEXT, b"a") + masked(TEXT, b"", fin=False) + frame * 10_000) == [b"a"]
    assert ended(reader.decoder) == 1008
    assert reader.sent.count(b"\x8a") <= 1024
    reader = Reader()
    reader.feed(masked(TEXT, b"", fin=False))
    for _ in range(10):
        reader.feed(frame * 1024)
    assert reader.decoder.error is None


def test_control_frames_have_an_overhead_after_login() -> None:
    reader = Reader()
    reader.feed(masked(PING) * 1000)
    assert reader.decoder.error is None
    assert reader.decoder.overhead == 1000 * 512
    reader.feed(masked(TEXT, b"a") + masked(TEXT, b"b"))
    assert reader.decoder.overhead == 0
    reader.feed(masked(TEXT, b"a", fin=False) + masked(CONT, b"b"))
    assert reader.decoder.overhead == 512
    reader.feed(b"\x89")
    assert reader.decoder.overhead == 0
    reader.feed(masked(PING)[1:] + b"\x81")
    assert reader.decoder.overhead == 512
    reader.feed(masked(TEXT, b"a")[1:3])
    assert reader.decoder.overhead == 0, "it was paid for"


# -- the handshake ---------------------------------------------------------------------------------------


def test_handshake_gets_101() -> None:
    [answer], rest = answers(Reader().answer)
    assert rest == b""
    assert answer.status == 101
    assert answer.headers["sec-websocket-accept"] == ACCEPT
    assert answer.headers["upgrade"].lower() == "websocket"
    assert answer.headers["connection"].lower() == "upgrade"
    assert not {"sec-websocket-extensions", "sec-websocket-protocol"} & set(answer.headers)


def test_extensions_and_subprotocols_are_not_accepted() -> None:
    offer = opening(
        Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits",
        Sec_WebSocket_Protocol="chat, x",
    )
    _, data = open_websocket(parsed_request(offer), _LIMIT)
    [answer], _ = answers(data)
    assert answer.status == 101
    assert not {"sec-websocket-extensions", "sec-websocket-protocol"} & set(answer.headers)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request("/ws"), 426),
        (opening(Upgrade="h2c"), 426),
        (opening(Connection="keep-alive"), 426),
        (opening(Sec_WebSocket_Key=None), 400),
        (opening(Sec_WebSocket_Key="c2hvcnQ="), 400),
        (opening(Sec_WebSocket_Key="not base64!"), 400),
        (opening(Sec_WebSocket_Version="8"), 400),
        (opening(Sec_WebSocket_Version=None), 400),
        (opening(body=b"hello"), 400),  # type: ignore[arg-type]
        (opening(X="y\r\nSec-WebSocket-Key: again"), 400),
        (opening(**{f"X-{number}": "x" for number in range(150)}), 431),
        (opening(Connection="Upgrade" + ", a" * 500), 431),
        (opening(Upgrade="websocket" + ", a" * 500), 431),
        (opening(Sec_WebSocket_Protocol="a" + ", a" * 500), 431),
        (opening(Sec_WebSocket_Extensions="a" + ", a" * 500), 431),
    ],
    ids=range(15),  # type: ignore[arg-type]
)
def test_invalid_handshake_is_refused(data: bytes, status: int) -> None:
    with pytest.raises(HttpError) as caught:
        open_websocket(parsed_request(data), _LIMIT)
    assert caught.value.status == status
    assert caught.value.why
    assert "\n" not in caught.value.why
    if b"Sec-WebSocket-Version: 8" in data:
        assert caught.value.headers["Sec-WebSocket-Version"] == "13", "so that it can come again with that"
    assert ("Upgrade" in caught.value.headers) == (status == 426)


def test_http_1_0_cannot_upgrade() -> None:
    with pytest.raises(HttpError) as caught:
        open_websocket(parsed_request(opening(version="HTTP/1.0")), _LIMIT)
    assert caught.value.status in {400, 505}


# -- sent messages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [*range(130), 65_534, 65_535, 65_536, 65_537, PAYLOAD_LIMIT])
def test_headers_of_every_size_are_decoded_and_found_again(size: int) -> None:
    header = TextHeaders().header(size)
    assert len(header) <= TextHeaders.longest
    if size == 0:
        assert header == b"\x81\x00"
        return
    payload = b"x" * (size - 1) + b"}"
    for before in (b"", header + payload, b"\x81\x02{}", b"\x81\x04{~~}"):
        stream = before + header + payload
        assert server_frames(stream)[0][-1] == (TEXT, payload)
        assert TextHeaders().lengths_before(stream, len(stream) - size) == (len(header), size)


_BODIES = st.lists(
    st.sampled_from(
        [
            '{"type":"said",',
            '{"type":"',
            '"',
            "\\",
            "}",
            "~",
            "\x7f",
            "\0",
            "\u0081",
            "\u0081~",
            "\u0081\x7f",
            "\U00041000",
            "\u1040\u207f",
            "x",
            "\u0101~\0\x7f",
            "x" * 119,
            "x" * 65_400,
        ]
    ),
    max_size=6,
).map("".join)
_NAMES = st.sampled_from(["Venkat", "\u0081~", "\x7f}", '{"type":"said",'])
_AT = st.floats(0, 1e9)
_EVENTS = (
    st.builds(
        Said,
        _NAMES,
        st.integers(1, 9),
        _NAMES,
        _BODIES,
        _AT,
        _NAMES | st.just(""),
        st.none() | _NAMES,
    )
    | st.builds(Topic, _NAMES, _BODIES.map(lambda text: text[:256]), _NAMES, _AT)
    | st.builds(Joined, _NAMES, st.lists(_NAMES, max_size=3).map(tuple), st.integers(0, 9))
)


@given(st.lists(_EVENTS, min_size=1, max_size=4), st.data())
def test_messages_before_an_offset_are_counted(events: list[Event], data: Any) -> None:
    format = SelchatFormat(TextHeaders())
    frames = [format.encode([event]) for event in events]
    chunk = b"".join(frames)
    edges = [sum(map(len, frames[:count])) for count in range(len(frames) + 1)]
    if len(chunk) < 3000:
        offsets: list[int] = list(range(len(chunk) + 1))
    else:
        near = {edge + by for edge in edges for by in range(-12, 30)}
        more = data.draw(st.lists(st.integers(0, len(chunk)), max_size=20))
        offsets = sorted({place for place in near | set(more) if 0 <= place <= len(chunk)})
    for offset in offsets:
        assert format.delivered_before(chunk, offset) == reference_count(frames, offset)


def reference_count(frames: list[bytes], offset: int) -> tuple[int, bytes]:
    """Count the frames before ``offset`` one by one, as a reference."""
    count = start = 0
    for frame in frames:
        if start >= offset:
            break
        [(opcode, payload)], rest = server_frames(frame)
        assert (opcode, rest) == (TEXT, b"")
        count += json.loads(payload)["type"] == "said"
        start += len(frame)
        if start > offset:
            return count, frame[len(frame) - (start - offset) :]
    return count, b""


# -- close codes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "error", "code"),
    [
        ("goodbye", None, 1000),
        ("replaced", None, 1000),
        ("shutdown", None, 1001),
        ("full", None, 1013),
        ("kicked", None, 1008),
        ("banned", None, 1008),
        ("timeout", None, 1008),
        ("anything new", None, 1008),
        ("protocol", WebSocketError(1002, "why"), 1002),
        ("protocol", WebSocketError(1007, "why"), 1007),
        ("protocol", FrameTooLongError(400, 300), 1009),
    ],
)
def test_every_close_reason_has_its_code(reason: str, error: Exception | None, code: int) -> None:
    [(opcode, payload)], rest = server_frames(TextHeaders().end(reason, error))
    assert (opcode, rest) == (CLOSE, b"")
    assert close_code(payload)[0] == code


def test_close_reason_is_cut_to_fit_between_characters() -> None:
    for size in range(115, 130):
        [(_, payload)], _ = server_frames(close_frame(1008, "x" * size + "é" * 10))
        assert len(payload) <= 125
        text = close_code(payload)[1]
        assert ("x" * size + "é" * 10).startswith(text)
        assert len(text.encode()) >= 122
    assert close_code(server_frames(close_frame(1000))[0][0][1]) == (1000, "")


# -- the document ----------------------------------------------------------------------------------------


def documented() -> str:
    _, _, rest = (
        (Path(__file__).parents[2] / "docs" / "protocol.rst").read_text().partition("\nOver WebSocket\n")
    )
    return rest.partition("\n\n\n")[0]


def test_document_lists_every_close_reason_with_its_code() -> None:
    rows = re.findall(r"(?m)^(1\d\d\d)  (\w+) ", documented())
    assert len(rows) == 11
    by_errors = {"1002", "1003", "1007", "1009"}  # STREAMS covers the codes of errors
    for code, reason in rows:
        if code not in by_errors and (code, reason) != ("1008", "protocol"):
            [(_, payload)], _ = server_frames(TextHeaders().end(reason))
            assert str(close_code(payload)[0]) == code, reason
    streams = {str(code) for _, _, code in STREAMS.values()}
    assert by_errors <= streams
    assert {code for code, _ in rows} - by_errors == {"1000", "1001", "1008"}


def test_document_and_code_have_the_same_figures() -> None:
    text = " ".join(documented().split())
    settings = Settings()
    assert f"({settings.login_limit:,} before ``welcome``)" in text
    assert settings.payload_limit == 65_536
    assert f"at most {PAYLOAD_LIMIT >> 20} MiB from the server" in text
    assert f"a WebSocket ping after {settings.web_ping_seconds:.0f} seconds" in text
    assert f"up to {websocket.EARLY_LIMIT} frames" in text
    assert f"counts as {websocket.FRAGMENT_OVERHEAD} bytes" in text
    assert "``GET /ws``" in text
