"""Acks are found in a sender's stream, and defects among them are counted."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from selchat.bench.histogram import Histogram
from selchat.bench.verify.acks import AckTracker
from selchat.bench.wires.wire import SELCHAT, WEBSOCKET, Wire
from selchat.wire.frames import encode_frame
from selchat.wire.responses import SelchatFormat
from tests.bench.wires.support import WIRES_WITH_ACKS, ack, as_sent_by_server, said


@WIRES_WITH_ACKS
@given(seed=st.integers(0, 1 << 32))
def test_acks_are_removed_from_a_stream_at_any_chunking(wire: Wire, seed: int) -> None:
    draw = random.Random(seed)
    tracker, latencies = AckTracker(wire.framing), Histogram()
    tracker.expect(6, 1_000_000)
    tracker.expect(8, 3_000_000)
    # The WebSocket header of two of these ends with "}", the last byte of payloads.
    sizes = (64, 64, 64, *range(260, 275))
    relayed = [SelchatFormat().encode([said(9, 9, "run00002", size)]) for size in sizes]
    assert [
        size for size, one in zip(sizes, relayed, strict=True) if (len(one) - 10) & 0xFF == ord("}")
    ] != []
    joined = b'{"type":"joined","room":"lobby","names":["{1}%b"],"total":3}' % (b"x" * 67)
    assert len(joined) == ord("}")
    others = [as_sent_by_server(wire, one) for one in (*relayed, encode_frame(joined))]
    for control in (b"\x89\x00", b"\x89\x04tick", b"\x8a\x00") if wire is WEBSOCKET else ():
        others.insert(draw.randint(0, len(others)), control)
    acks = [as_sent_by_server(wire, ack(sequence, sequence + 20)) for sequence in range(8)]
    order = draw.sample([True] * len(acks) + [False] * len(others), len(acks) + len(others))
    next_ack, next_other = iter(acks), iter(others)
    stream = b"".join(next(next_ack) if is_ack else next(next_other) for is_ack in order)
    found = b""
    while stream:
        size = draw.choice([1, 5, 30, 200, 2000])
        found += tracker.remove_acks(stream[:size], 5_000_000, latencies)
        stream = stream[size:]
    assert found == b"".join(others)
    assert (tracker.pending, tracker.lost, tracker.duplicated, tracker.wrong) == (0, 0, 0, 0)
    assert (latencies.count, latencies.total) == (8, 6 * 4000 + 2 * 2000)


def test_lost_duplicated_and_wrong_acks_are_counted() -> None:
    tracker, latencies = AckTracker(), Histogram()
    tracker.expect(5, 0)
    for sequence in (0, 2, 2, 1, 1, 9):
        assert tracker.remove_acks(ack(sequence, 1), 0, latencies) == b""
    assert (tracker.lost, tracker.duplicated, tracker.wrong, tracker.pending) == (2, 2, 1, 2)
    tracker.record_seq(0, 2)
    assert tracker.wrong == 2


def test_error_code_of_a_rejected_message_is_kept() -> None:
    tracker = AckTracker()
    error = encode_frame(b'{"type":"error","code":"not-stored","id":"run-1"}')
    tracker.remove_acks(error, 0, Histogram())
    assert tracker.error_code == "not-stored"


def test_broken_framing_is_left_for_the_transcript() -> None:
    for wire in (SELCHAT, WEBSOCKET):
        tracker = AckTracker(wire.framing)
        assert tracker.remove_acks(b'no number {"type":"ack"}', 0, Histogram()) == b""
        assert tracker.remove_acks(b"more", 0, Histogram()) == b""
