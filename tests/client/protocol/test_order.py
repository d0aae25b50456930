from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from selchat.client.events import Gap, Message
from selchat.client.protocol import order
from selchat.client.protocol.order import InOrder


def message(seq: int) -> Message:
    return Message("Venkat", f"body {seq}", "x", seq)


def numbers(given: list[Message | Gap]) -> list[object]:
    """A seq for a message, and the two of a gap."""
    return [event.seq if isinstance(event, Message) else (event.after, event.before) for event in given]


def taken(room: InOrder, *seqs: int, acked: bool = False, waiting: bool = False) -> list[object]:
    for seq in seqs:
        room.take(message(seq), acked=acked)
    return numbers(room.release(waiting=waiting))


def test_what_is_in_order_is_given_at_once() -> None:
    room = InOrder("x", 4)
    assert taken(room, 5) == [5]
    assert taken(room, 6, 7) == [6, 7]
    assert room.through == 7


def test_nothing_is_given_twice() -> None:
    room = InOrder("x", 4)
    assert taken(room, 3, 4, 5, 5, 7, 7, acked=True) == [5]
    assert taken(room, 5, 6, 7) == [6, 7]


def test_an_ack_waits_for_what_was_said_before_it() -> None:
    room = InOrder("x", 4)
    assert taken(room, 7, acked=True) == []
    assert taken(room, 5) == [5]
    assert taken(room, 6) == [6, 7]


def test_what_was_said_waits_for_an_ack_before_it() -> None:
    room = InOrder("x", 4)
    assert taken(room, 6, waiting=True) == []
    assert room.through == 4
    assert taken(room, 5, acked=True) == [5, 6]


def test_what_nothing_can_bring_is_not_waited_for() -> None:
    room = InOrder("x", 4)
    assert taken(room, 7, waiting=True) == []
    assert taken(room, 5) == [5, (5, 7), 7]
    assert taken(room, 6) == []


def test_after_a_break_all_can_come_again() -> None:
    room = InOrder("x", 4)
    assert taken(room, 7, waiting=True) == []
    room.begin()
    assert taken(room, 9, acked=True) == []
    assert taken(room, 5) == [5]
    assert taken(room, 6, 7, 8) == [6, 7, 8, 9]


def test_an_announced_gap() -> None:
    room = InOrder("x", 4)
    room.take_gap(4, 8)
    assert taken(room) == [(4, 8)]
    assert taken(room, 8) == [8]


def test_a_gap_around_what_is_known() -> None:
    room = InOrder("x", 4)
    assert taken(room, 6, 9, acked=True) == []
    room.take_gap(4, 8)
    assert taken(room) == [(4, 6), 6, (6, 8)]
    assert taken(room, 8) == [8, 9]


def test_a_gap_behind_an_ack_that_is_on_its_way() -> None:
    room = InOrder("x", 4)
    room.take_gap(5, 8)
    assert taken(room, waiting=True) == []
    assert taken(room, 8, waiting=True) == []
    assert taken(room, 5, acked=True) == [5, (5, 8), 8]


def test_a_gap_that_nothing_leads_to() -> None:
    room = InOrder("x", 4)
    room.take_gap(6, 8)
    assert taken(room, waiting=True) == []
    assert taken(room) == [(4, 7), (6, 8)]


def test_a_gap_of_nothing_and_gaps_of_the_past() -> None:
    room = InOrder("x", 4)
    for after, before in ((4, 5), (2, 4), (0, 5), (9, 10), (9, 3)):
        room.take_gap(after, before)
    assert taken(room) == []
    assert room.through == 4
    room.take_gap(2, 8)
    assert taken(room) == [(4, 8)]


def test_when_the_numbers_begin_anew_what_was_held_is_given() -> None:
    room = InOrder("x", 4)
    assert taken(room, 7, 9, acked=True) == []
    room.take_gap(20, 30)
    assert numbers(room.restart(0)) == [(4, 7), 7, (7, 9), 9]
    assert taken(room, 1, 2) == [1, 2]
    assert numbers(room.restart(0)) == []


def test_what_is_held_is_bounded() -> None:
    room = InOrder("x", 0)
    given: list[object] = []
    for seq in range(2, order.MAX_HELD + 3):
        given += taken(room, seq, acked=True)
    assert given[:2] == [(0, 2), 2]
    assert room.through == order.MAX_HELD + 2
    room = InOrder("x", 0)
    room.take(Message("A", "x" * (order.MAX_HELD_SIZE + 1), "x", 2), acked=True)
    assert numbers(room.release(waiting=True)) == [(0, 2), 2]
    room = InOrder("x", 0)
    for after in range(10, 20 * order.MAX_GAPS, 7):
        room.take_gap(after, after + 3)
        room.release(waiting=True)
    assert len(room._gaps) <= order.MAX_GAPS


@given(st.lists(st.tuples(st.sampled_from("sagb"), st.integers(0, 12), st.integers(0, 12), st.booleans())))
def test_whatever_comes_is_given_in_order_and_once(steps: list[tuple[str, int, int, bool]]) -> None:
    room, last = InOrder("x", 0), 0
    for kind, first, second, waiting in steps:
        if kind == "g":
            room.take_gap(first, second)
        elif kind == "b":
            room.begin()
        else:
            room.take(message(first), acked=kind == "a")
        for event in room.release(waiting=waiting):
            if isinstance(event, Gap):
                assert last == event.after < event.before - 1
                last = event.before - 1
            else:
                assert event.seq == last + 1
                last = event.seq
        assert room.through == last
