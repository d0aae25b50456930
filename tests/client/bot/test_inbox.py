from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from selchat.client.bot.inbox import Connected, Event, Inbox
from selchat.client.events import Gap, Message
from selchat.events import Joined


def taken(inbox: Inbox) -> list[Event]:
    return list(iter(inbox.get, None))


def said(seq: int, room: str = "lobby", body: str = "hey") -> Message:
    return Message("Venkat", body, room, seq)


def test_events_come_out_in_order() -> None:
    inbox = Inbox()
    assert inbox.get() is None
    inbox.put(said(2))
    inbox.put(said(3))
    inbox.put_first([Connected("", again=False), said(1)])
    assert len(inbox) == 4
    assert taken(inbox) == [Connected("", again=False), said(1), said(2), said(3)]
    assert not inbox


def test_the_oldest_are_dropped_and_a_gap_says_so() -> None:
    inbox = Inbox(most=2)
    for event in (
        said(5),
        said(1, "games"),
        said(6),
        Joined("lobby", ("Narayan",), 2),
        said(7),
        said(2, "GAMES"),
    ):
        inbox.put(event)
    assert len(inbox) == 4
    assert taken(inbox) == [Gap("lobby", 4, 7), Gap("games", 0, 2), said(7), said(2, "GAMES")]


def test_a_gap_that_is_dropped_is_part_of_the_gap() -> None:
    inbox = Inbox(most=1)
    for event in (said(5), Gap("lobby", 5, 9), said(9), said(10)):
        inbox.put(event)
    assert taken(inbox) == [Gap("lobby", 4, 10), said(10)]


def test_what_has_no_number_leaves_no_gap() -> None:
    inbox = Inbox(most=1)
    inbox.put(said(0))
    inbox.put(said(0, body="newer"))
    assert taken(inbox) == [said(0, body="newer")]


def test_sizes_count_too_and_the_newest_stays() -> None:
    inbox = Inbox(most_size=10_000)
    for seq in range(1, 5):
        inbox.put(said(seq, body="x" * 20_000))
    assert taken(inbox) == [Gap("lobby", 0, 4), said(4, body="x" * 20_000)]
    inbox.put(Joined("lobby", ("x" * 100,) * 100, 100))
    inbox.put(Joined("lobby", ("y" * 100,) * 100, 100))
    assert len(taken(inbox)) == 1
    inbox.put(said(5, body="x" * 9_000))
    assert taken(inbox) == [said(5, body="x" * 9_000)]  # what is taken counts no more


def test_what_is_put_first_does_not_push_out_the_rest() -> None:
    inbox = Inbox(most=3)
    inbox.put(said(9))
    inbox.put_first([said(1), said(2), said(3), said(4)])
    assert taken(inbox) == [said(3), said(4), said(9)]


@given(st.lists(st.sampled_from(["lobby", "games", "take"])), st.integers(1, 5))
def test_each_number_comes_once_or_is_in_a_gap(steps: list[str], most: int) -> None:
    inbox = Inbox(most=most)
    counters = {room: itertools.count(1) for room in ("lobby", "games")}
    put: dict[str, list[int]] = {"lobby": [], "games": []}
    accounted: dict[str, list[int]] = {"lobby": [], "games": []}

    def take(event: Event | None) -> None:
        if isinstance(event, Message):
            accounted[event.room].append(event.seq)
        elif isinstance(event, Gap):
            accounted[event.room] += range(event.after + 1, event.before)

    for step in steps:
        if step == "take":
            take(inbox.get())
        else:
            put[step].append(next(counters[step]))
            inbox.put(said(put[step][-1], step))
    for event in taken(inbox):
        take(event)
    assert accounted == put
