from __future__ import annotations

from collections.abc import Sequence

from selchat.chat.room import Room
from selchat.events import Event, Notice
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
        room.staged.append(([event], None))
    assert [format.encoded for format in formats] == [[], []]
    assert list(room.publish()) == feeds
    assert [format.encoded for format in formats] == [events, events]
    assert [feed.seal() for feed in feeds] == [b"".join(map(line, events))] * 2


def test_what_was_published_is_not_published_again() -> None:
    room = Room("lobby", 1000)
    feed = room.feed(LineFormat())
    room.staged.append(([Notice("one")], None))
    list(room.publish())
    feed.seal()
    list(room.publish())
    assert feed.seal() == b""


def test_the_author_s_subscription_counts_in_its_own_feed_only() -> None:
    room = Room("lobby", 1000)
    feeds = [room.feed(LineFormat()), room.feed(LineFormat())]
    author = feeds[0].subscribe("author", len)
    reader = feeds[1].subscribe("reader", len)
    room.staged.append(([Notice("one")], author))
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
    room.staged.append(([Notice("one")], author))
    list(room.publish())
    assert feed.seal() == b""
    assert list(feed.live) == [author]
