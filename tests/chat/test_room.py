from __future__ import annotations

from collections.abc import Sequence

import pytest

from selchat.chat.room import Batch, Room, clean_room
from selchat.events import Event, Joined, Left, Notice, Roster
from tests.chat.fakes import LineFormat, line


class SilentFormat:
    """A wire that has no way to say anything."""

    def encode(self, _events: Sequence[Event]) -> bytes:
        return b""


def test_each_format_has_one_feed() -> None:
    room = Room("lobby", 1000)
    one, other = LineFormat(), LineFormat()
    assert room.feed(one) is room.feed(one)
    assert room.feed(one) is not room.feed(other)
    assert room.name == "lobby"


def test_what_is_staged_is_encoded_once_for_each_format() -> None:
    room = Room("lobby", 1000)
    formats = [LineFormat(), LineFormat()]
    feeds = [room.feed(format) for format in formats]
    events = [Notice("one"), Notice("two")]
    for event in events:
        room.staged.append(Batch([event], False))
    assert [format.encoded for format in formats] == [[], []]
    assert list(room.publish()) == feeds
    assert [format.encoded for format in formats] == [events, events]
    assert [feed.seal() for feed in feeds] == [b"".join(map(line, events))] * 2


def test_what_was_published_is_not_published_again() -> None:
    room = Room("lobby", 1000)
    feed = room.feed(LineFormat())
    room.staged.append(Batch([Notice("one")], False))
    list(room.publish())
    feed.seal()
    list(room.publish())
    assert feed.seal() == b""


def test_the_author_s_subscription_counts_in_its_own_feed_only() -> None:
    room = Room("lobby", 1000)
    feeds = [room.feed(LineFormat()), room.feed(LineFormat())]
    author = feeds[0].subscribe("author", len)
    reader = feeds[1].subscribe("reader", len)
    room.staged.append(Batch([Notice("one")], False, None, author))
    list(room.publish())
    for feed in feeds:
        feed.seal()
        assert feed.shares(64) == []
    assert list(feeds[0].live) == [author], "it has had its share, which is nothing"
    assert list(feeds[1].live) == [reader]


def test_a_format_without_words_for_an_event_sends_nothing() -> None:
    room = Room("lobby", 1000)
    feed = room.feed(SilentFormat())
    author = feed.subscribe("author", len)
    room.staged.append(Batch([Notice("one")], False, None, author))
    list(room.publish())
    assert feed.seal() == b""
    assert list(feed.live) == [author]


class Person:
    """As much of a member as a room looks at."""

    def __init__(self, name: str) -> None:
        self.name = name


def test_the_roster_has_the_first_names_in_alphabetical_order() -> None:
    room = Room("lobby", 1000)
    for name in ("venkat", "Narayan", "Michael", "\u00e9mile"):
        room.add(Person(name))  # type: ignore[arg-type]
    assert room.roster(2) == Roster(("Michael", "Narayan"), 4)


def test_who_has_come_and_gone_is_told_once_and_not_of_those_who_are_back() -> None:
    room = Room("lobby", 1000)
    michael, narayan = Person("Michael"), Person("Narayan")
    room.add(michael)  # type: ignore[arg-type]
    room.add(narayan)  # type: ignore[arg-type]
    assert room.take_changes() == [Joined("lobby", ("Michael", "Narayan"), 2)]
    assert room.take_changes() == []
    room.remove(michael)  # type: ignore[arg-type]
    room.add(michael)  # type: ignore[arg-type]
    assert room.take_changes() == []
    room.remove(michael)  # type: ignore[arg-type]
    assert room.take_changes() == [Left("lobby", ("Michael",), 1)]


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [("engine", "engine"), ("#Engine", "Engine"), ("x" * 32, "x" * 32), ("\u00e9tage-2", "\u00e9tage-2")]
    + [(bad, "") for bad in ("", "#", "##a", "a b", "@a", "/a", "x" * 33, "\u200b", "\n")],
)
def test_what_can_be_the_name_of_a_room(name: str, cleaned: str) -> None:
    assert clean_room(name) == cleaned


def test_whoever_has_seen_someone_is_told_that_they_have_gone() -> None:
    room = Room("lobby", 1000)
    narayan = Person("Narayan")
    room.add(narayan)  # type: ignore[arg-type]
    assert room.snapshot(10) == Roster(("Narayan",), 1)
    room.remove(narayan)  # type: ignore[arg-type]
    assert room.take_changes() == [Joined("lobby", ("Narayan",), 0), Left("lobby", ("Narayan",), 0)]
    assert room.take_changes() == []
