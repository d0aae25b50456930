"""The order of a room's messages: from live messages, acks, replays and announced gaps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from selchat.client.events import Gap, Message
from selchat.client.protocol import rooms
from selchat.client.protocol.rooms import ReorderBuffer


def message(seq: int) -> Message:
    return Message("Venkat", f"body {seq}", "x", seq)


def numbers(released: list[Message | Gap]) -> list[object]:
    """Return the seq of each message, and the two numbers of each gap."""
    return [event.seq if isinstance(event, Message) else (event.after, event.before) for event in released]


def feed(buffer: ReorderBuffer, *seqs: int, acked: bool = False, expect_ack: bool = False) -> list[object]:
    for seq in seqs:
        buffer.add(message(seq), acked=acked)
    return numbers(buffer.release(expect_ack=expect_ack))


def test_messages_in_order_are_released_at_once() -> None:
    buffer = ReorderBuffer("x", 4)
    assert feed(buffer, 5) == [5]
    assert feed(buffer, 6, 7) == [6, 7]
    assert buffer.last_seq == 7


def test_repeated_messages_are_released_once() -> None:
    buffer = ReorderBuffer("x", 4)
    assert feed(buffer, 3, 4, 5, 5, 7, 7, acked=True) == [5]
    assert feed(buffer, 5, 6, 7) == [6, 7]


def test_acked_message_waits_for_earlier_messages() -> None:
    buffer = ReorderBuffer("x", 4)
    assert feed(buffer, 7, acked=True) == []
    assert feed(buffer, 5) == [5]
    assert feed(buffer, 6) == [6, 7]


def test_received_message_waits_for_an_earlier_ack() -> None:
    buffer = ReorderBuffer("x", 4)
    assert feed(buffer, 6, expect_ack=True) == []
    assert buffer.last_seq == 4
    assert feed(buffer, 5, acked=True) == [5, 6]


def test_hole_that_no_ack_can_fill_becomes_a_gap() -> None:
    buffer = ReorderBuffer("x", 4)
    assert feed(buffer, 7, expect_ack=True) == []
    assert feed(buffer, 5) == [5, (5, 7), 7]
    assert feed(buffer, 6) == []


def test_replay_on_a_new_connection_can_fill_the_hole() -> None:
    buffer = ReorderBuffer("x", 4)
    assert feed(buffer, 7, expect_ack=True) == []
    buffer.start_connection()
    assert feed(buffer, 9, acked=True) == []
    assert feed(buffer, 5) == [5]
    assert feed(buffer, 6, 7, 8) == [6, 7, 8, 9]


def test_announced_gap_is_released_in_its_place() -> None:
    buffer = ReorderBuffer("x", 4)
    buffer.add_gap(4, 8)
    assert feed(buffer) == [(4, 8)]
    assert feed(buffer, 8) == [8]


def test_announced_gap_is_split_around_known_messages() -> None:
    buffer = ReorderBuffer("x", 4)
    assert feed(buffer, 6, 9, acked=True) == []
    buffer.add_gap(4, 8)
    assert feed(buffer) == [(4, 6), 6, (6, 8)]
    assert feed(buffer, 8) == [8, 9]


def test_announced_gap_waits_for_an_earlier_ack() -> None:
    buffer = ReorderBuffer("x", 4)
    buffer.add_gap(5, 8)
    assert feed(buffer, expect_ack=True) == []
    assert feed(buffer, 8, expect_ack=True) == []
    assert feed(buffer, 5, acked=True) == [5, (5, 8), 8]


def test_hole_before_an_announced_gap_becomes_a_gap_too() -> None:
    buffer = ReorderBuffer("x", 4)
    buffer.add_gap(6, 8)
    assert feed(buffer, expect_ack=True) == []
    assert feed(buffer) == [(4, 7), (6, 8)]


def test_empty_and_old_gaps_are_ignored() -> None:
    buffer = ReorderBuffer("x", 4)
    for after, before in ((4, 5), (2, 4), (0, 5), (9, 10), (9, 3)):
        buffer.add_gap(after, before)
    assert feed(buffer) == []
    assert buffer.last_seq == 4
    buffer.add_gap(2, 8)
    assert feed(buffer) == [(4, 8)]


def test_restart_releases_the_held_messages() -> None:
    buffer = ReorderBuffer("x", 4)
    assert feed(buffer, 7, 9, acked=True) == []
    buffer.add_gap(20, 30)
    assert numbers(buffer.restart(0)) == [(4, 7), 7, (7, 9), 9]
    assert feed(buffer, 1, 2) == [1, 2]
    assert numbers(buffer.restart(0)) == []


def test_number_of_held_messages_is_bounded() -> None:
    buffer = ReorderBuffer("x", 0)
    released: list[object] = []
    for seq in range(2, rooms.MAX_HELD_MESSAGES + 3):
        released += feed(buffer, seq, acked=True)
    assert released[:2] == [(0, 2), 2]
    assert buffer.last_seq == rooms.MAX_HELD_MESSAGES + 2


def test_size_of_held_messages_is_bounded() -> None:
    buffer = ReorderBuffer("x", 0)
    buffer.add(Message("A", "x" * (rooms.MAX_HELD_MESSAGES_SIZE + 1), "x", 2), acked=True)
    assert numbers(buffer.release(expect_ack=True)) == [(0, 2), 2]


def test_number_of_announced_gaps_is_bounded() -> None:
    buffer = ReorderBuffer("x", 0)
    released: list[object] = []
    announced = [(after, after + 3) for after in range(10, 20 * rooms.MAX_GAPS, 7)]
    for after, before in announced:
        buffer.add_gap(after, before)
        released += numbers(buffer.release(expect_ack=True))
    count = sum(gap in released for gap in announced)
    assert released[1::2] == announced[:count], "the oldest first, each after the hole before it"
    assert len(announced) - count <= rooms.MAX_GAPS


@given(st.lists(st.tuples(st.sampled_from("sagb"), st.integers(0, 12), st.integers(0, 12), st.booleans())))
def test_any_steps_release_messages_in_order_and_once(steps: list[tuple[str, int, int, bool]]) -> None:
    buffer, last = ReorderBuffer("x", 0), 0
    for kind, first, second, expect_ack in steps:
        if kind == "g":
            buffer.add_gap(first, second)
        elif kind == "b":
            buffer.start_connection()
        else:
            buffer.add(message(first), acked=kind == "a")
        for event in buffer.release(expect_ack=expect_ack):
            if isinstance(event, Gap):
                assert last == event.after < event.before - 1
                last = event.before - 1
            else:
                assert event.seq == last + 1
                last = event.seq
        assert buffer.last_seq == last
