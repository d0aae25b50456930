from __future__ import annotations

import pytest

from selchat.client.events import ClientEvent, Gap, Message, Whispered
from selchat.client.terminal import holding
from selchat.client.terminal.holding import Holding
from selchat.events import Joined, Left, Topic


def said(seq: int, room: str = "lobby", body: str = "hey") -> Message:
    return Message("Venkat", body, room, seq, 1.0)


def test_what_happens_in_a_room_is_held_in_order() -> None:
    held = Holding()
    events: list[ClientEvent] = [
        said(1),
        Joined("lobby", ("Bo",), 2),
        Left("Lobby", ("Bo",), 1),
        Topic("lobby", "t", "Bo", 1.0),
        Gap("lobby", 1, 3),
        said(3),
    ]
    assert held.take(events[0]) == events[:1]  # nothing is awaited
    held.begin("LOBBY")
    assert len(held) == 1
    assert [held.take(event) for event in events] == [[]] * len(events)
    held.begin("lobby")  # once more loses nothing
    assert held.release("lobby") == events
    assert held.release("lobby") == []
    assert held.take(said(4)) == [said(4)]
    assert not held


def test_other_rooms_and_other_things_go_on() -> None:
    held = Holding()
    held.begin("lobby")
    whisper = Whispered("Venkat", "tea?", "Michael", 1, 1.0)
    for event in (said(1, "engine"), whisper):
        assert held.take(event) == [event]


def test_everything_at_once() -> None:
    held = Holding()
    held.begin("lobby")
    held.begin("engine")
    for event in (said(1), said(1, "engine"), said(2)):
        held.take(event)
    assert held.release_all() == [said(1), said(2), said(1, "engine")]
    assert not held


@pytest.mark.parametrize("limit", ["_MAX_HELD", "_MAX_HELD_SIZE"])
def test_too_much_is_not_held(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, limit, 3)
    held = Holding()
    held.begin("lobby")
    assert held.take(said(1, body="x")) == held.take(said(2, body="y")) == []
    assert held.take(said(3, body="z")) == [said(1, body="x"), said(2, body="y"), said(3, body="z")]
    assert held.take(said(4)) == [said(4)]
