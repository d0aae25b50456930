"""Sizes, keepalives, login proofs and markers of each wire."""

from __future__ import annotations

from selchat.bench.wires.messages import MIN_PAYLOAD
from selchat.bench.wires.wire import CLASSIC, SELCHAT, WEBSOCKET, Wire
from selchat.wire.frames import encode_frame
from tests.bench.wires.support import EVERY_WIRE, RUN


def test_keepalive_is_an_unsolicited_pong() -> None:
    assert SELCHAT.keepalive == b'15        {"type":"pong"}'
    assert WEBSOCKET.keepalive == b'\x81\x8f\x00\x00\x00\x00{"type":"pong"}'
    assert CLASSIC.keepalive == b""


@EVERY_WIRE
def test_payload_size_gives_deliveries_of_the_requested_size(wire: Wire) -> None:
    minimum = wire.delivery_size(MIN_PAYLOAD)
    for size in (minimum, 400, 65_000):
        payload = wire.payload_size_for(size)
        assert payload is not None
        assert wire.delivery_size(payload) == size
    assert wire.payload_size_for(minimum - 1) is None
    longest = wire.payload_size_for(65_536) or 0
    if wire is WEBSOCKET:  # from here on the header has ten bytes instead of four
        assert wire.payload_size_for(65_535 + 4) is not None
        assert wire.payload_size_for(65_535 + 5) is None
        assert wire.payload_size_for(65_535 + 11) is not None
    room = "a-room-with-a-long-name"
    expected = (wire.payload_size_for(400) or 0) - wire.acks * (len(room) - len("lobby"))
    assert wire.payload_size_for(400, room) == expected
    assert longest > MIN_PAYLOAD


@EVERY_WIRE
def test_marker_is_found_once_it_is_complete(wire: Wire) -> None:
    marker = RUN + b"-start-"
    data = wire.marker(marker) + b"rest"
    assert wire.after_marker(marker, b"before" + data) == b"rest"
    assert all(wire.after_marker(marker, data[:cut]) is None for cut in range(len(data) - 4))


def test_roster_or_welcome_proves_a_login() -> None:
    assert CLASSIC.proves_login(b"..Users online (2): a, b")
    assert not CLASSIC.proves_login(b'{"type":"welcome"')
    assert SELCHAT.proves_login(encode_frame(b'{"type":"welcome","version":1}'))
