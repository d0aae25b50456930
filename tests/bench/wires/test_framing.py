"""Frames are what the server's codec and the library ``websockets`` take them for, however they are cut."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.bench.errors import HandshakeError
from selchat.bench.wires.framing import HEADERS, WEBSOCKET, Framing, MessageDecoder
from selchat.wire.frames import encode_frame

protocol = pytest.importorskip("websockets.server")
frames = pytest.importorskip("websockets.frames")

SIZES = (0, 1, 125, 126, 127, 65535, 65536)
PING, PONG, CLOSE = b"\x89\x04tick", b"\x8a\x00", b"\x88\x02\x03\xe9"
ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n"
)


def opened():
    """Return a server of the library that has answered the opening, and what it has answered."""
    server = protocol.ServerProtocol(max_size=None)
    server.receive_data(WEBSOCKET.opening(("127.0.0.1", 33000)))
    (request,) = server.events_received()
    server.send_response(server.accept(request))
    return server, request, b"".join(server.data_to_send())


def test_a_server_answers_the_opening():
    _, request, answer = opened()
    assert request.path == "/ws"
    assert request.headers["Host"] == "127.0.0.1:33000"
    assert request.headers["Origin"] == "http://127.0.0.1:33000"
    for cut in range(len(answer)):
        assert WEBSOCKET.opened(answer[:cut]) is None
    assert WEBSOCKET.opened(answer) == b""
    assert WEBSOCKET.opened(answer + b"\x81\x00") == b"\x81\x00"


def test_the_host_of_ipv6_stands_in_brackets():
    assert b"\r\nHost: [::1]:7\r\n" in WEBSOCKET.opening(("::1", 7))


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "HTTP/1.1 403 Forbidden"),
        (b"HTTP/1.0 101 Switching Protocols\r\n\r\n", "HTTP/1.0 101"),
        (b"HTTP/1.1 1010 Fine\r\n\r\n", "HTTP/1.1 1010"),
        (ANSWER % b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "no Sec-WebSocket-Accept"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "no Sec-WebSocket-Accept"),
        (b"x" * (1 << 16), "xxx"),
    ],
)
def test_another_answer_is_refused(answer, complaint):
    with pytest.raises(HandshakeError, match=complaint):
        WEBSOCKET.opened(answer)


def test_headers_need_no_opening():
    assert HEADERS.opening(("127.0.0.1", 33000)) == b""
    assert HEADERS.opened(b"x") == b"x"
    assert HEADERS.encode(b"hello") == encode_frame(b"hello")
    assert HEADERS.sift(b"", PING) == (PING, b"", [])


@pytest.mark.parametrize("size", SIZES)
def test_a_server_reads_what_members_say(size):
    server, _, _ = opened()
    payload = bytes(random.choices(b"abcdef%", k=size))
    server.receive_data(WEBSOCKET.encode(payload) + WEBSOCKET.pong(b"tick") + WEBSOCKET.farewell)
    said, pong, close = server.events_received()
    assert (said.opcode, said.fin, said.data) == (frames.Opcode.TEXT, True, payload)
    assert (pong.opcode, pong.data) == (frames.Opcode.PONG, b"tick")
    assert (close.opcode, close.data) == (frames.Opcode.CLOSE, (1000).to_bytes(2, "big"))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("framing", [HEADERS, WEBSOCKET], ids=["headers", "websocket"])
def test_what_a_server_says_has_the_size_that_is_reckoned(framing: Framing, size):
    frame = framing.encode(bytes(size), served=True)
    if framing is WEBSOCKET:
        assert frame == frames.Frame(frames.Opcode.TEXT, bytes(size)).serialize(mask=False)
    assert framing.size(size) == len(frame)
    assert framing.decoder().receive_data(frame) == [bytes(size)]
    assert framing.frame_around(b".." + frame, 2 + len(frame) - size) == (2, 2 + len(frame))


def test_no_frame_around():
    for framing in (HEADERS, WEBSOCKET):
        assert framing.frame_around(b"nothing of the kind", 12) is None
        assert framing.frame_around(b"", 0) is None


@given(st.integers(0, 1 << 32))
def test_messages_are_read_however_they_are_cut(seed):
    draw = random.Random(seed)
    messages = [bytes(draw.choices(b"ab\x89\x81", k=draw.choice([0, 3, 125, 126, 400]))) for _ in range(6)]
    parts = [WEBSOCKET.encode(message, served=True) for message in messages]
    for control in (PING, PONG, PING):
        parts.insert(draw.randint(0, len(parts)), control)
    stream = b"".join(parts)
    asked: list[bytes] = []
    decoder = MessageDecoder(asked.append)
    found = []
    while stream:
        size = draw.choice([1, 2, 50, 1000])
        found += decoder.receive_data(stream[:size])
        stream = stream[size:]
    assert (found, asked, decoder.error) == (messages, [b"tick"] * 2, None)


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        (CLOSE, "closed the WebSocket with 1001"),
        (b"\x88\x00", "closed the WebSocket with 1005"),
        (b"\x82\x01x", "begins with 0x82"),
        (b"\x01\x01x", "begins with 0x1"),
        (b"\xc1\x01x", "begins with 0xc1"),
        (b"\x81\x7f\x00\x00\x00\x01\x00\x00\x00\x00", "a message of 4294967296 bytes"),
        (b"\x81\x85abcdefghij", "a message of "),
    ],
    ids=["close", "close without a code", "binary", "a part", "compressed", "huge", "masked"],
)
def test_everything_else_is_an_error(broken, error):
    decoder = MessageDecoder(lambda _: None)
    assert decoder.receive_data(WEBSOCKET.encode(b"fine", served=True) + broken) == [b"fine"]
    assert error in str(decoder.error)
    assert decoder.receive_data(WEBSOCKET.encode(b"more", served=True)) == []


@given(st.integers(0, 1 << 32))
def test_what_is_for_one_alone_is_taken_out_wherever_it_stands(seed):
    draw = random.Random(seed)
    shared = [
        WEBSOCKET.encode(bytes(draw.choices(b"a\x89", k=draw.choice([1, 137, 300]))), True) for _ in range(5)
    ]
    parts: list[tuple[bytes, bool]] = [(part, True) for part in shared]
    for control in (PING, PONG, PING):
        parts.insert(draw.randint(0, len(parts)), (control, False))
    stream = b"".join(part for part, _ in parts)
    begun, found, ahead = b"", b"", b""
    pings = []
    decoder = MessageDecoder(lambda _: None)
    while stream:
        size = draw.choice([1, 2, 50, 1000])
        left, ahead, said = WEBSOCKET.sift(begun, ahead + stream[:size])
        stream = stream[size:]
        found += left
        pings += said
        decoder.receive_data(left)
        begun = decoder._rest
    assert (found, ahead, pings) == (b"".join(shared), b"", [b"tick"] * 2)
