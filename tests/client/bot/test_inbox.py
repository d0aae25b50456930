"""The bounded queue of unread events."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from selchat.client.bot.inbox import BotEvent, Connected, Inbox
from selchat.client.events import Gap, Message
from selchat.events import Joined


def drain(inbox: Inbox) -> list[BotEvent]:
    return list(iter(inbox.get, None))


def message(seq: int, room: str = "lobby", body: str = "hey") -> Message:
    return Message("Venkat", body, room, seq)


def test_events_are_released_in_order() -> None:
    inbox = Inbox()
    assert inbox.get() is None
    inbox.put(message(2))
    inbox.put(message(3))
    inbox.put_front([Connected("", again=False), message(1)])
    assert len(inbox) == 4
    assert drain(inbox) == [Connected("", again=False), message(1), message(2), message(3)]
    assert not inbox


def test_a_full_inbox_drops_the_oldest_events_and_reports_a_gap() -> None:
    inbox = Inbox(max_events=2)
    for event in (
        message(5),
        message(1, "games"),
        message(6),
        Joined("lobby", ("Narayan",), 2),
        message(7),
        message(2, "GAMES"),
    ):
        inbox.put(event)
    assert len(inbox) == 4
    assert drain(inbox) == [Gap("lobby", 4, 7), Gap("games", 0, 2), message(7), message(2, "GAMES")]


def test_a_dropped_gap_becomes_part_of_the_reported_gap() -> None:
    inbox = Inbox(max_events=1)
    for event in (message(5), Gap("lobby", 5, 9), message(9), message(10)):
        inbox.put(event)
    assert drain(inbox) == [Gap("lobby", 4, 10), message(10)]


def test_dropped_messages_without_a_seq_leave_no_gap() -> None:
    inbox = Inbox(max_events=1)
    inbox.put(message(0))
    inbox.put(message(0, body="newer"))
    assert drain(inbox) == [message(0, body="newer")]


def test_the_size_limit_drops_all_but_the_newest_event() -> None:
    inbox = Inbox(max_size=10_000)
    for seq in range(1, 5):
        inbox.put(message(seq, body="x" * 20_000))
    assert drain(inbox) == [Gap("lobby", 0, 4), message(4, body="x" * 20_000)]
    inbox.put(Joined("lobby", ("x" * 100,) * 100, 100))
    inbox.put(Joined("lobby", ("y" * 100,) * 100, 100))
    assert len(drain(inbox)) == 1
    inbox.put(message(5, body="x" * 9_000))
    assert drain(inbox) == [message(5, body="x" * 9_000)]  # read events no longer count


def test_put_front_does_not_drop_newer_events() -> None:
    inbox = Inbox(max_events=3)
    inbox.put(message(9))
    inbox.put_front([message(1), message(2), message(3), message(4)])
    assert drain(inbox) == [Gap("lobby", 0, 3), message(3), message(4), message(9)]


def test_a_full_inbox_never_drops_connected() -> None:
    inbox = Inbox(max_events=2)
    inbox.put_front([Connected("here", again=False), *map(message, range(1, 5))])
    assert drain(inbox) == [Connected("here", again=False), Gap("lobby", 0, 3), message(3), message(4)]
    inbox.put(Connected("here", again=True))
    for seq in range(5, 9):
        inbox.put(message(seq))
    assert len(inbox) == 4
    assert drain(inbox) == [Connected("here", again=True), Gap("lobby", 4, 7), message(7), message(8)]


def test_several_dropped_connected_become_one() -> None:
    inbox = Inbox(max_events=1)
    for again in (False, True, True):
        inbox.put(Connected("here", again))
        inbox.put(message(1))
    assert drain(inbox)[0] == Connected("here", again=False)


@given(st.lists(st.sampled_from(["lobby", "games", "get"])), st.integers(1, 5))
def test_each_seq_is_delivered_once_or_lies_in_a_gap(steps: list[str], limit: int) -> None:
    inbox = Inbox(max_events=limit)
    counters = {room: itertools.count(1) for room in ("lobby", "games")}
    put: dict[str, list[int]] = {"lobby": [], "games": []}
    accounted: dict[str, list[int]] = {"lobby": [], "games": []}

    def count(event: BotEvent | None) -> None:
        if isinstance(event, Message):
            accounted[event.room].append(event.seq)
        elif isinstance(event, Gap):
            accounted[event.room] += range(event.after + 1, event.before)

    for step in steps:
        if step == "get":
            count(inbox.get())
        else:
            put[step].append(next(counters[step]))
            inbox.put(message(put[step][-1], step))
    for event in drain(inbox):
        count(event)
    assert accounted == put
