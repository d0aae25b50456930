"""What is said is found again, acks among what others say, and what is wrong with them."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.bench.histogram import Histogram
from selchat.bench.wires.wires import (
    CLASSIC,
    MIN_PAYLOAD,
    SELCHAT,
    SELCHAT_ENVELOPE,
    WEB,
    Receipts,
    Wire,
    parse_ack,
    refusal_in,
)
from selchat.events import Said
from selchat.wire.frames import FrameDecoder, encode_frame
from selchat.wire.requests import Hello, Say, parse_request
from selchat.wire.responses import SelchatFormat

WIRES = pytest.mark.parametrize("wire", [CLASSIC, SELCHAT, WEB], ids=["classic", "selchat", "websocket"])
ON_BOTH = pytest.mark.parametrize("wire", [SELCHAT, WEB], ids=["selchat", "websocket"])
RUN = b"run"
A = b"run00001"


def said(sequence: int, number: int, name: str = "run00001", size: int = MIN_PAYLOAD) -> Said:
    body = f"{name}|{sequence:010}|{5:019}|".ljust(size, ".")
    return Said("lobby", number, name, body, 1763900000.125, f"run-{sequence:010}", None)


def served(wire: Wire, frames: bytes) -> bytes:
    """Return what the server writes, on that wire."""
    payloads = FrameDecoder().receive_data(frames)
    return b"".join(wire.framing.encode(payload, served=True) for payload in payloads)


def payloads(wire: Wire, said: bytes) -> list[bytes]:
    """Return what a server reads from what a member says. The mask of our WebSocket changes nothing."""
    if wire is not WEB:
        return FrameDecoder().receive_data(said)
    found = []
    while said:
        assert said[0] == 0x81
        length, start = said[1] & 0x7F, 2
        if length == 126:
            length, start = int.from_bytes(said[2:4], "big"), 4
        assert said[start : start + 4] == bytes(4)
        found.append(said[start + 4 : start + 4 + length])
        said = said[start + 4 + length :]
    return found


def test_a_sign_of_life_is_a_pong_that_nobody_answers() -> None:
    assert SELCHAT.sign == b'15        {"type":"pong"}'
    assert WEB.sign == b'\x81\x8f\x00\x00\x00\x00{"type":"pong"}'
    assert CLASSIC.sign == b""


def test_a_message_is_as_large_as_asked_for_and_is_found_again() -> None:
    frame = CLASSIC.script(A, 64).say(1, 123456789)
    assert len(frame) == 10 + 64
    assert CLASSIC.parse(frame[10:], RUN) == (A, 0, 123456789, b"", 0)
    assert CLASSIC.parse(b"Users online (1): run", RUN) is None
    assert CLASSIC.parse(b"run00001|what was this?|......................", RUN) is None


@ON_BOTH
@pytest.mark.parametrize(
    "size", [100, 245]
)  # 245: with a percent sign in the header of the WebSocket's frame
def test_the_server_takes_what_is_said_in_the_rich_protocol(wire: Wire, size: int) -> None:
    script = wire.script(A, size, room="engine-room")
    script.said = 41
    one, other = payloads(wire, script.say(2, 7))
    request = parse_request(one)
    assert isinstance(request, Say)
    assert (request.room, request.id, len(request.body)) == ("engine-room", "run-0000000041", size)
    assert len(one) <= size + SELCHAT_ENVELOPE
    again = parse_request(other)
    assert isinstance(again, Say)
    assert again.id == "run-0000000042"
    hello = parse_request(payloads(wire, wire.hello(A, ("x", "y")))[0])
    assert isinstance(hello, Hello)
    assert hello.resume is not None
    assert list(hello.resume.rooms) == ["x", "y"]
    assert isinstance(parse_request(payloads(wire, wire.say(b"run-start-", "x"))[0]), Say)


@WIRES
def test_a_size_for_which_deliveries_have_so_many_bytes(wire: Wire) -> None:
    least = wire.relayed(MIN_PAYLOAD)
    for size in (least, 400, 65_000):
        payload = wire.payload_for(size)
        assert payload is not None
        assert wire.relayed(payload) == size
    assert wire.payload_for(least - 1) is None
    longest = wire.payload_for(65_536) or 0
    if wire is WEB:  # from here on the header has ten bytes, and not four
        assert wire.payload_for(65_535 + 4) is not None
        assert wire.payload_for(65_535 + 5) is None
        assert wire.payload_for(65_535 + 11) is not None
    room = "a-room-with-a-long-name"
    assert wire.payload_for(400, room) == (wire.payload_for(400) or 0) - wire.acks * (
        len(room) - len("lobby")
    )
    assert longest > MIN_PAYLOAD


def test_what_the_server_relays_is_found() -> None:
    frame = SelchatFormat().encode([said(3, 12)])
    expected = (A, 3, 5, b"lobby", 12)
    assert SELCHAT.parse(frame[10:], RUN) == expected
    words = json.loads(frame[10:])
    slow = json.dumps(dict(reversed(words.items())), indent=1).encode()
    assert SELCHAT.parse(slow, RUN) == expected
    assert SELCHAT.parse(frame[10:], b"other") is None
    for change in ({"from": "somebody"}, {"seq": "7"}, {"type": "joined"}, {"body": "?"}, {"room": 1}):
        assert SELCHAT.parse(json.dumps(words | change).encode(), RUN) is None
    assert SELCHAT.parse(b"[]", RUN) is None
    assert SELCHAT.parse(b"\xff", RUN) is None


@WIRES
def test_what_the_floor_relays_is_of_one_size(wire: Wire) -> None:
    script = wire.script(A, 64, relayed=True)
    sizes = set()
    for _ in range(3):
        frames = wire.framing.decoder().receive_data(data := script.say(1, script.said))
        sizes.add(len(data))
        message = wire.parse(frames[-1], RUN)
        assert message is not None
        assert message[:3] == (A, script.said - 1, script.said - 1)
        script.said += 12_345_678
    assert sizes == {wire.relayed(64)}


@ON_BOTH
@pytest.mark.parametrize("size", [64, 400])
def test_the_floor_relays_as_many_bytes_as_the_server(wire: Wire, size: int) -> None:
    assert wire.relayed(size) == len(served(wire, SelchatFormat().encode([said(1, 123456, size=size)])))


@WIRES
def test_where_the_transcripts_begin(wire: Wire) -> None:
    marker = RUN + b"-start-"
    data = wire.say(marker) + b"rest"
    assert wire.after(marker, b"before" + data) == b"rest"
    assert all(wire.after(marker, data[:cut]) is None for cut in range(len(data) - 4))


def test_proof_and_refusal() -> None:
    assert CLASSIC.proof(b"..Users online (2): a, b")
    assert not CLASSIC.proof(b'{"type":"welcome"')
    assert SELCHAT.proof(encode_frame(b'{"type":"welcome","version":1}'))
    assert refusal_in(b'12        {"type":"error","code":"name-taken","message":""}') == "name-taken"
    assert refusal_in(b'12        {"type":"said","code":"name-taken"}') == ""


def ack(sequence: int, number: int) -> bytes:
    return SelchatFormat().acks([said(sequence, number)])


def test_acks_are_read() -> None:
    assert parse_ack(ack(5, 9)[10:]) == (5, 9)
    assert parse_ack(json.dumps({"seq": 9, "id": "run-5", "type": "ack", "to": "x"}).encode()) == (5, 9)
    for words in ({"type": "said"}, {"type": "ack", "id": 7, "seq": 1}, {"type": "ack"}, [], {"id": "run-x"}):
        assert parse_ack(json.dumps(words).encode()) is None


@ON_BOTH
@given(seed=st.integers(0, 1 << 32))
def test_acks_are_taken_out_of_a_stream_however_it_is_cut(wire: Wire, seed: int) -> None:
    draw = random.Random(seed)
    receipts, latencies = Receipts(wire.framing), Histogram()
    receipts.expect(6, 1_000_000)
    receipts.expect(8, 3_000_000)
    # Of two of these the WebSocket's header ends with a byte with which payloads end.
    sizes = (64, 64, 64, *range(260, 275))
    relayed = [SelchatFormat().encode([said(9, 9, "run00002", size)]) for size in sizes]
    assert [
        size for size, one in zip(sizes, relayed, strict=True) if (len(one) - 10) & 0xFF == ord("}")
    ] != []
    joined = b'{"type":"joined","room":"lobby","names":["{1}%b"],"total":3}' % (b"x" * 67)
    assert len(joined) == ord("}")
    others = [served(wire, one) for one in (*relayed, encode_frame(joined))]
    for control in (b"\x89\x00", b"\x89\x04tick", b"\x8a\x00") if wire is WEB else ():
        others.insert(draw.randint(0, len(others)), control)
    acks = [served(wire, ack(sequence, sequence + 20)) for sequence in range(8)]
    order = draw.sample([True] * len(acks) + [False] * len(others), len(acks) + len(others))
    a, b = iter(acks), iter(others)
    stream = b"".join(next(a) if is_ack else next(b) for is_ack in order)
    found = b""
    while stream:
        size = draw.choice([1, 5, 30, 200, 2000])
        found += receipts.take(stream[:size], 5_000_000, latencies)
        stream = stream[size:]
    assert found == b"".join(others)
    assert (receipts.waiting, receipts.lost, receipts.duplicated, receipts.wrong) == (0, 0, 0, 0)
    assert (latencies.count, latencies.total) == (8, 6 * 4000 + 2 * 2000)


def test_what_is_wrong_with_acks() -> None:
    receipts, latencies = Receipts(), Histogram()
    receipts.expect(5, 0)
    for sequence in (0, 2, 2, 1, 1, 9):
        assert receipts.take(ack(sequence, 1), 0, latencies) == b""
    assert (receipts.lost, receipts.duplicated, receipts.wrong, receipts.waiting) == (2, 2, 1, 2)
    receipts.seen(0, 2)
    assert receipts.wrong == 2


def test_a_refusal_is_kept() -> None:
    receipts = Receipts()
    receipts.take(encode_frame(b'{"type":"error","code":"not-stored","id":"run-1"}'), 0, Histogram())
    assert receipts.refusal == "not-stored"


def test_what_has_no_frames_is_left_for_the_comparison() -> None:
    for wire in (SELCHAT, WEB):
        receipts = Receipts(wire.framing)
        assert receipts.take(b'no number {"type":"ack"}', 0, Histogram()) == b""
        assert receipts.take(b"more", 0, Histogram()) == b""
