"""Arbitrary WebSocket streams, in any pieces, compared with the ``websockets`` library."""

from __future__ import annotations

import random
import struct
from itertools import pairwise

from hypothesis import event, given
from hypothesis import strategies as st
from websockets.exceptions import PayloadTooBig
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from selchat.bench.wires.framing import WEBSOCKET_FRAMES
from selchat.wire.frames import FrameTooLongError
from selchat.wire.http import Request
from selchat.wire.websocket import ClosedError, MessageDecoder, WebSocketError, open_websocket

LIMIT = 70_000  # bytes: more than a 16-bit length field can hold
CLOSES = (b"", struct.pack("!H", 1000), struct.pack("!H", 1001) + b"gone")


def frame(first: int, payload: bytes, mask: bytes | None, long: int = 0) -> bytes:
    """Return a frame. ``long`` is the size of the extended length in bytes; 0 takes the shortest."""
    masked = 0x80 if mask is not None else 0
    length = len(payload)
    long = long or (0 if length < 126 else 2 if length < 1 << 16 else 8)
    if long:
        header = bytes((first, masked | (126 if long == 2 else 127))) + length.to_bytes(long, "big")
    else:
        header = bytes((first, masked | length))
    if mask is None:
        return header + payload
    return header + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


def draw_item(draw: random.Random) -> bytes:
    """Draw a message, a control frame or a violation of the protocol; usually a message."""
    mask = draw.randbytes(4)
    text = ("aé€😀\x00" * 20_000)[: draw.choice([0, 1, 5, 40, 60, 125, 126, 500])]
    if draw.random() < 0.02:
        text = "x" * draw.choice([65_535, 65_536, LIMIT, LIMIT + 1])
    payload = text.encode()
    kind = draw.random()
    if kind < 0.6:
        return frame(0x81, payload, mask)
    if kind < 0.7:
        return frame(draw.choice([0x89, 0x8A]), payload[:125], mask)
    if kind < 0.85:  # fragments, with a ping between them
        cuts = [0, *sorted(draw.choices(range(len(payload) + 1), k=draw.randint(1, 3))), len(payload)]
        parts = [payload[start:end] for start, end in pairwise(cuts)]
        firsts = [0x01, *[0x00] * (len(parts) - 2), 0x80]
        found = [frame(first, part, mask) for first, part in zip(firsts, parts, strict=True)]
        found.insert(draw.randint(1, len(found)), frame(0x89, b"in between", mask))
        return b"".join(found)
    if kind < 0.9:
        return frame(0x81, payload[:125], mask, draw.choice([2, 8]))
    return draw.choice(
        [
            frame(0x88, draw.choice(CLOSES), mask),
            frame(0x81, payload, None),  # unmasked
            frame(0x82, payload, mask),  # binary
            frame(0x80, payload, mask),  # a continuation of no message
            frame(0x01, payload, mask) + frame(0x81, payload, mask),  # a message within a message
            frame(0xC1, payload, mask),  # compressed
            frame(0x83, payload, mask),  # an unknown opcode
            frame(0x09, payload[:9], mask),  # a fragmented ping
            frame(0x89, b"x" * 126, mask),  # a ping that is too long
            frame(0x88, b"\x03", mask),  # half a close code
            frame(0x81, payload + b"\xff", mask),  # invalid UTF-8
            draw.randbytes(draw.randint(1, 20)),
        ]
    )


def opened() -> ServerProtocol:
    head = WEBSOCKET_FRAMES.handshake_request(("127.0.0.1", 33000))
    protocol, _ = open_websocket(Request("GET", "/ws", "", {}, b"", head), LIMIT)
    return protocol


def library_decode(stream: bytes) -> tuple[list[str], bytes, int | None]:
    """Return the messages, the bytes of the answers, and the close code (None: still open)."""
    protocol = opened()
    protocol.receive_data(stream)
    messages: list[str] = []
    parts: list[bytes] = []
    for one in protocol.events_received():
        assert isinstance(one, Frame)
        if one.opcode is Opcode.BINARY:
            return messages, b"", 1003
        if one.opcode in {Opcode.TEXT, Opcode.CONT}:
            parts.append(bytes(one.data))
            if one.fin:
                message, parts = b"".join(parts), []
                try:
                    messages.append(message.decode())
                except UnicodeDecodeError:
                    return messages, b"", 1007
    if isinstance(protocol.parser_exc, PayloadTooBig):
        return messages, b"", 1009
    end = protocol.close_sent if protocol.parser_exc is not None else protocol.close_rcvd
    return messages, b"".join(protocol.data_to_send()), None if end is None else end.code


def code_of(error: object) -> int | None:
    if isinstance(error, FrameTooLongError):
        return 1009
    return error.code if isinstance(error, (WebSocketError, ClosedError)) else None


@given(st.integers(0, 1 << 32))
def test_decoder_agrees_with_the_library(seed: int) -> None:
    draw = random.Random(seed)
    stream = b"".join(draw_item(draw) for _ in range(draw.randint(1, 12)))
    messages, answers, code = library_decode(stream)
    mine: list[bytes] = []
    decoder = MessageDecoder(opened(), mine.append)
    found: list[str] = []
    sizes = draw.choice([[1], [1, 2, 3, 50], [200, 5000], [1 << 20]])
    if len(stream) > 50_000:
        sizes = [5000, 20_000]
    start = 0
    while start < len(stream) and decoder.error is None:
        size = draw.choice(sizes)
        found += decoder.receive_data(stream[start : start + size])
        start += size
    event(f"{code}")
    assert found == messages
    assert code_of(decoder.error) == code
    if code is None:
        assert b"".join(mine) == answers
    elif isinstance(decoder.error, ClosedError):
        assert b"".join(mine) + decoder.error.frame == answers


@given(st.integers(0, 1 << 32))
def test_decoder_knows_whether_a_message_is_unfinished(seed: int) -> None:
    draw = random.Random(seed)
    decoder = MessageDecoder(opened(), lambda _: None)
    for _ in range(draw.randint(1, 4)):
        payload = b"x" * draw.choice([0, 3, 200, 66_000])
        first = draw.choice([0x81, 0x89])
        data = frame(first, payload[:125] if first == 0x89 else payload, draw.randbytes(4))
        cuts = draw.sample(range(1, len(data)), 3)
        for start, end in pairwise([0, *sorted(cuts), len(data)]):
            assert decoder.unfinished is (start > 0)
            decoder.receive_data(data[start:end])
        assert not decoder.unfinished
    decoder.receive_data(frame(0x01, b"a part", bytes(4)))
    assert decoder.unfinished


def test_too_long_message_is_rejected_by_its_header() -> None:
    for payload in (b"x" * (LIMIT + 1), b"x" * (1 << 20)):
        decoder = MessageDecoder(opened(), lambda _: None)
        assert decoder.receive_data(frame(0x81, payload, bytes(4))[:14]) == []
        assert isinstance(decoder.error, FrameTooLongError)
