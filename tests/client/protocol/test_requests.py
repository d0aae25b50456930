"""Matching answers and refusals to requests without an id."""

from __future__ import annotations

import pytest

from selchat.client.events import History, Refused
from tests.client.selchat_support import Fields, Talk, error, users, welcome


def history(room: str = "lobby", *, more: bool = False) -> Fields:
    return {"type": "history", "room": room, "messages": [], "more": more}


@pytest.fixture
def talk() -> Talk:
    talk = Talk()
    talk.connect()
    return talk


def tags(talk: Talk, *messages: Fields) -> list[tuple[str, object]]:
    """Return the type and the tag of each answer or refusal."""
    found: list[tuple[str, object]] = []
    for event in talk.receive(*messages):
        if isinstance(event, History):
            found.append(("history", event.tag))
        elif isinstance(event, Refused):
            found.append((event.request, event.tag))
    return found


def test_answers_return_the_tags_of_their_room_in_order(talk: Talk) -> None:
    talk.client.get_history("lobby", tag="first")
    talk.client.get_history("Engine", tag="engine")
    talk.client.get_history("lobby", tag="second")
    assert talk.client.unanswered == 3
    assert tags(talk, history("engine"), history(), history()) == [
        ("history", "engine"),
        ("history", "first"),
        ("history", "second"),
    ]
    assert talk.client.unanswered == 0
    assert tags(talk, history()) == [("history", None)]  # without a request


def test_a_refused_topic_is_not_the_refusal_of_a_history(talk: Talk) -> None:
    talk.client.get_history("lobby", tag="search")
    talk.client.set_topic("lobby", "x")
    talk.client.get_history("lobby", tag="next")
    assert tags(talk, error("muted", room="lobby")) == [("topic", None)]
    assert tags(talk, history(), history()) == [("history", "search"), ("history", "next")]


@pytest.mark.parametrize("code", ["not-in-room", "not-readable", "a-code-of-the-future"])
def test_a_refused_history_returns_its_tag(talk: Talk, code: str) -> None:
    talk.client.get_history("lobby", tag="first")
    talk.client.get_history("lobby", tag="second")
    assert tags(talk, error(code, room="lobby"), history()) == [("history", "first"), ("history", "second")]


def test_a_topic_that_was_not_announced_takes_no_later_refusal(talk: Talk) -> None:
    talk.client.set_topic("lobby", "x")  # a slow reader gets no ``topic``
    talk.client.get_history("lobby", tag="first")
    talk.client.get_history("lobby", tag="second")
    assert tags(talk, history(), error("not-in-room", room="lobby")) == [
        ("history", "first"),
        ("history", "second"),
    ]


def test_a_topic_with_a_bad_field_is_refused_without_a_room(talk: Talk) -> None:
    talk.client.set_topic("lobby", "x" * 300)
    talk.client.get_history("lobby", tag="first")
    assert tags(talk, error("bad-message"), history()) == [("topic", None), ("history", "first")]


def test_the_refusal_of_a_message_is_no_refusal_of_a_request(talk: Talk) -> None:
    id = talk.client.say("hey")
    talk.client.get_history("lobby", tag="first")
    assert tags(talk, error("muted", id=id, room="lobby")) == [("", None)]
    assert tags(talk, history()) == [("history", "first")]


def test_tagged_requests_are_sent_again_on_the_next_connection(talk: Talk) -> None:
    talk.client.get_history("lobby", 7, tag="sent")
    talk.client.get_users("lobby")
    talk.sent()
    talk.client.connection_lost()
    talk.client.get_history("lobby", 8, tag="typed offline")
    talk.client.connection_lost()  # an attempt that failed
    talk.connect(welcome())
    assert [message.get("limit") for message in talk.sent()] == [7, 8]
    assert tags(talk, history(), history()) == [("history", "sent"), ("history", "typed offline")]


def test_joins_and_parts_keep_their_places(talk: Talk) -> None:
    talk.client.join("a")
    talk.client.get_history("a", tag="first")
    talk.client.part("a")
    talk.client.get_history("a", tag="second")
    left = {"type": "left", "room": "a", "names": ["Michael"], "total": 0}
    assert tags(talk, users("a", 0, "Michael"), history("a"), left, error("not-in-room", room="a")) == [
        ("history", "first"),
        ("history", "second"),
    ]
