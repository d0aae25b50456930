"""Benchmark messages are generated and parsed as the server reads and writes them."""

from __future__ import annotations

import json

import pytest

from selchat.bench.wires.messages import find_error_code, parse_ack
from selchat.bench.wires.wire import CLASSIC, SELCHAT, SELCHAT_ENVELOPE, Wire
from selchat.wire.requests import Hello, Say, parse_request
from selchat.wire.responses import SelchatFormat
from tests.bench.wires.support import (
    EVERY_WIRE,
    NAME,
    RUN,
    WIRES_WITH_ACKS,
    ack,
    as_read_by_server,
    as_sent_by_server,
    said,
)


def test_classic_message_has_its_size_and_can_be_parsed() -> None:
    frame = CLASSIC.generator(NAME, 64).generate(1, 123456789)
    assert len(frame) == 10 + 64
    assert CLASSIC.parse(frame[10:], RUN) == (NAME, 0, 123456789, b"", 0)
    assert CLASSIC.parse(b"Users online (1): run", RUN) is None
    assert CLASSIC.parse(b"run00001|what was this?|......................", RUN) is None


@WIRES_WITH_ACKS
@pytest.mark.parametrize("size", [100, 245])  # 245 puts a percent sign into the header of a WebSocket frame
def test_server_accepts_requests_of_the_selchat_protocol(wire: Wire, size: int) -> None:
    generator = wire.generator(NAME, size, room="engine-room")
    generator.next_sequence = 41
    first, second = as_read_by_server(wire, generator.generate(2, 7))
    request = parse_request(first)
    assert isinstance(request, Say)
    assert (request.room, request.id, len(request.body)) == ("engine-room", "run-0000000041", size)
    assert len(first) <= size + SELCHAT_ENVELOPE
    request = parse_request(second)
    assert isinstance(request, Say)
    assert request.id == "run-0000000042"
    hello = parse_request(as_read_by_server(wire, wire.hello(NAME, ("x", "y")))[0])
    assert isinstance(hello, Hello)
    assert hello.resume is not None
    assert list(hello.resume.rooms) == ["x", "y"]
    assert isinstance(parse_request(as_read_by_server(wire, wire.marker(b"run-start-", "x"))[0]), Say)


def test_said_message_of_the_server_is_parsed() -> None:
    frame = SelchatFormat().encode([said(3, 12)])
    expected = (NAME, 3, 5, b"lobby", 12)
    assert SELCHAT.parse(frame[10:], RUN) == expected
    fields = json.loads(frame[10:])
    other_spelling = json.dumps(dict(reversed(fields.items())), indent=1).encode()
    assert SELCHAT.parse(other_spelling, RUN) == expected
    assert SELCHAT.parse(frame[10:], b"other") is None
    for change in ({"from": "somebody"}, {"seq": "7"}, {"type": "joined"}, {"body": "?"}, {"room": 1}):
        assert SELCHAT.parse(json.dumps(fields | change).encode(), RUN) is None
    assert SELCHAT.parse(b"[]", RUN) is None
    assert SELCHAT.parse(b"\xff", RUN) is None


@EVERY_WIRE
def test_deliveries_of_the_floor_all_have_the_same_size(wire: Wire) -> None:
    generator = wire.generator(NAME, 64, as_delivered=True)
    sizes = set()
    for _ in range(3):
        data = generator.generate(1, generator.next_sequence)
        sizes.add(len(data))
        message = wire.parse(wire.framing.decoder().receive_data(data)[-1], RUN)
        assert message is not None
        assert message[:3] == (NAME, generator.next_sequence - 1, generator.next_sequence - 1)
        generator.next_sequence += 12_345_678
    assert sizes == {wire.delivery_size(64)}


@WIRES_WITH_ACKS
@pytest.mark.parametrize("size", [64, 400])
def test_deliveries_of_the_floor_are_as_large_as_those_of_the_server(wire: Wire, size: int) -> None:
    delivery = as_sent_by_server(wire, SelchatFormat().encode([said(1, 123456, size=size)]))
    assert wire.delivery_size(size) == len(delivery)


def test_acks_are_parsed() -> None:
    assert parse_ack(ack(5, 9)[10:]) == (5, 9)
    assert parse_ack(json.dumps({"seq": 9, "id": "run-5", "type": "ack", "to": "x"}).encode()) == (5, 9)
    for fields in (
        {"type": "said"},
        {"type": "ack", "id": 7, "seq": 1},
        {"type": "ack"},
        [],
        {"id": "run-x"},
    ):
        assert parse_ack(json.dumps(fields).encode()) is None


def test_error_code_is_found_in_errors_only() -> None:
    assert find_error_code(b'12        {"type":"error","code":"name-taken","message":""}') == "name-taken"
    assert find_error_code(b'12        {"type":"said","code":"name-taken"}') == ""
