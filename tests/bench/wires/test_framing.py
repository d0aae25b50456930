"""Frames agree with the server's codec and the library ``websockets``, however they are split."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.bench.errors import HandshakeError
from selchat.bench.wires.framing import LENGTH_HEADERS, WEBSOCKET_FRAMES, Framing, MessageDecoder
from selchat.wire.frames import encode_frame

protocol = pytest.importorskip("websockets.server")
frames = pytest.importorskip("websockets.frames")

SIZES = (0, 1, 125, 126, 127, 65535, 65536)
PING, PONG, CLOSE = b"\x89\x04tick", b"\x8a\x00", b"\x88\x02\x03\xe9"
RESPONSE = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n"
)


def shake_hands():
    """Return a server of the library after the handshake, the request, and the response."""
    server = protocol.ServerProtocol(max_size=None)
    server.receive_data(WEBSOCKET_FRAMES.handshake_request(("127.0.0.1", 33000)))
    (request,) = server.events_received()
    server.send_response(server.accept(request))
    return server, request, b"".join(server.data_to_send())


def test_server_accepts_the_handshake_request():
    _, request, response = shake_hands()
    assert request.path == "/ws"
    assert request.headers["Host"] == "127.0.0.1:33000"
    assert request.headers["Origin"] == "http://127.0.0.1:33000"
    for cut in range(len(response)):
        assert WEBSOCKET_FRAMES.after_handshake(response[:cut]) is None
    assert WEBSOCKET_FRAMES.after_handshake(response) == b""
    assert WEBSOCKET_FRAMES.after_handshake(response + b"\x81\x00") == b"\x81\x00"


def test_ipv6_host_is_in_brackets():
    assert b"\r\nHost: [::1]:7\r\n" in WEBSOCKET_FRAMES.handshake_request(("::1", 7))


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "HTTP/1.1 403 Forbidden"),
        (b"HTTP/1.0 101 Switching Protocols\r\n\r\n", "HTTP/1.0 101"),
        (b"HTTP/1.1 1010 Fine\r\n\r\n", "HTTP/1.1 1010"),
        (RESPONSE % b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "no Sec-WebSocket-Accept"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "no Sec-WebSocket-Accept"),
        (b"x" * (1 << 16), "xxx"),
    ],
)
def test_other_responses_are_rejected(response, error):
    with pytest.raises(HandshakeError, match=error):
        WEBSOCKET_FRAMES.after_handshake(response)


def test_classic_framing_has_no_handshake():
    assert LENGTH_HEADERS.handshake_request(("127.0.0.1", 33000)) == b""
    assert LENGTH_HEADERS.after_handshake(b"x") == b"x"
    assert LENGTH_HEADERS.encode(b"hello") == encode_frame(b"hello")
    assert LENGTH_HEADERS.split_controls(b"", PING) == (PING, b"", [])


@pytest.mark.parametrize("size", SIZES)
def test_server_reads_the_frames_of_a_client(size):
    server, _, _ = shake_hands()
    payload = bytes(random.choices(b"abcdef%", k=size))
    server.receive_data(
        WEBSOCKET_FRAMES.encode(payload) + WEBSOCKET_FRAMES.pong(b"tick") + WEBSOCKET_FRAMES.close_frame
    )
    text, pong, close = server.events_received()
    assert (text.opcode, text.fin, text.data) == (frames.Opcode.TEXT, True, payload)
    assert (pong.opcode, pong.data) == (frames.Opcode.PONG, b"tick")
    assert (close.opcode, close.data) == (frames.Opcode.CLOSE, (1000).to_bytes(2, "big"))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("framing", [LENGTH_HEADERS, WEBSOCKET_FRAMES], ids=["headers", "websocket"])
def test_size_of_a_server_frame_is_computed(framing: Framing, size):
    frame = framing.encode(bytes(size), from_server=True)
    if framing is WEBSOCKET_FRAMES:
        assert frame == frames.Frame(frames.Opcode.TEXT, bytes(size)).serialize(mask=False)
    assert framing.size(size) == len(frame)
    assert framing.decoder().receive_data(frame) == [bytes(size)]
    assert framing.frame_around(b".." + frame, 2 + len(frame) - size) == (2, 2 + len(frame))


def test_frame_around_finds_nothing_without_a_header():
    for framing in (LENGTH_HEADERS, WEBSOCKET_FRAMES):
        assert framing.frame_around(b"nothing of the kind", 12) is None
        assert framing.frame_around(b"", 0) is None


@given(st.integers(0, 1 << 32))
def test_messages_are_decoded_at_any_chunking(seed):
    draw = random.Random(seed)
    messages = [bytes(draw.choices(b"ab\x89\x81", k=draw.choice([0, 3, 125, 126, 400]))) for _ in range(6)]
    parts = [WEBSOCKET_FRAMES.encode(message, from_server=True) for message in messages]
    for control in (PING, PONG, PING):
        parts.insert(draw.randint(0, len(parts)), control)
    stream = b"".join(parts)
    pings: list[bytes] = []
    decoder = MessageDecoder(pings.append)
    found = []
    while stream:
        size = draw.choice([1, 2, 50, 1000])
        found += decoder.receive_data(stream[:size])
        stream = stream[size:]
    assert (found, pings, decoder.error) == (messages, [b"tick"] * 2, None)


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
    ids=["close", "close without a code", "binary", "fragment", "compressed", "huge", "masked"],
)
def test_any_other_frame_is_an_error(broken, error):
    decoder = MessageDecoder(lambda _: None)
    assert decoder.receive_data(WEBSOCKET_FRAMES.encode(b"fine", from_server=True) + broken) == [b"fine"]
    assert error in str(decoder.error)
    assert decoder.receive_data(WEBSOCKET_FRAMES.encode(b"more", from_server=True)) == []


@given(st.integers(0, 1 << 32))
def test_controls_are_removed_wherever_they_are(seed):
    draw = random.Random(seed)
    shared = [
        WEBSOCKET_FRAMES.encode(bytes(draw.choices(b"a\x89", k=draw.choice([1, 137, 300]))), True)
        for _ in range(5)
    ]
    parts: list[tuple[bytes, bool]] = [(part, True) for part in shared]
    for control in (PING, PONG, PING):
        parts.insert(draw.randint(0, len(parts)), (control, False))
    stream = b"".join(part for part, _ in parts)
    before, found, rest = b"", b"", b""
    pings = []
    decoder = MessageDecoder(lambda _: None)
    while stream:
        size = draw.choice([1, 2, 50, 1000])
        kept, rest, payloads = WEBSOCKET_FRAMES.split_controls(before, rest + stream[:size])
        stream = stream[size:]
        found += kept
        pings += payloads
        decoder.receive_data(kept)
        before = decoder.partial
    assert (found, rest, pings) == (b"".join(shared), b"", [b"tick"] * 2)
