from __future__ import annotations

from collections.abc import Sequence

from selchat.chat.room import Batch, Room
from selchat.events import Event, Joined, Left, Notice, Roster, Said
from selchat.feed import SubscriptionState
from tests.chat.fakes import LineFormat, line


class SilentFormat:
    """A wire format that cannot express any event."""

    def encode(self, _events: Sequence[Event]) -> bytes:
        return b""


def test_each_format_has_one_feed() -> None:
    room = Room("lobby", 1000)
    one, other = LineFormat(), LineFormat()
    assert room.feed(one) is room.feed(one)
    assert room.feed(one) is not room.feed(other)
    assert room.name == "lobby"


def test_staged_events_are_encoded_once_for_each_format() -> None:
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


def test_published_events_are_not_published_again() -> None:
    room = Room("lobby", 1000)
    feed = room.feed(LineFormat())
    room.staged.append(Batch([Notice("one")], False))
    list(room.publish())
    feed.seal()
    list(room.publish())
    assert feed.seal() == b""


def test_author_s_subscription_matters_in_its_own_feed_only() -> None:
    room = Room("lobby", 1000)
    feeds = [room.feed(LineFormat()), room.feed(LineFormat())]
    author = feeds[0].subscribe("author", len)
    reader = feeds[1].subscribe("reader", len)
    room.staged.append(Batch([Notice("one")], False, None, author))
    list(room.publish())
    for feed in feeds:
        feed.seal()
        assert feed.shares(64) == []
    assert list(feeds[0].live) == [author], "the author is live again although it got nothing"
    assert list(feeds[1].live) == [reader]


def test_format_that_cannot_express_an_event_sends_nothing() -> None:
    room = Room("lobby", 1000)
    feed = room.feed(SilentFormat())
    author = feed.subscribe("author", len)
    room.staged.append(Batch([Notice("one")], False, None, author))
    list(room.publish())
    assert feed.seal() == b""
    assert list(feed.live) == [author]


class Person:
    """All that a room needs of a member."""

    def __init__(self, name: str) -> None:
        self.name = name


def test_roster_has_the_first_names_in_alphabetical_order() -> None:
    room = Room("lobby", 1000)
    for name in ("venkat", "Narayan", "Michael", "\u00e9mile"):
        room.add(Person(name))
    assert room.roster(2) == Roster(("Michael", "Narayan"), 4)


def test_changes_are_reported_once_and_short_absences_not_at_all() -> None:
    room = Room("lobby", 1000)
    michael, narayan = Person("Michael"), Person("Narayan")
    room.add(michael)
    room.add(narayan)
    assert room.take_changes() == [Joined("lobby", ("Michael", "Narayan"), 2)]
    assert room.take_changes() == []
    room.remove(michael)
    room.add(michael)
    assert room.take_changes() == []
    room.remove(michael)
    assert room.take_changes() == [Left("lobby", ("Michael",), 1)]


def test_member_who_was_in_a_snapshot_is_reported_as_left() -> None:
    room = Room("lobby", 1000)
    narayan = Person("Narayan")
    room.add(narayan)
    assert room.snapshot(10) == Roster(("Narayan",), 1)
    room.remove(narayan)
    assert room.take_changes() == [Joined("lobby", ("Narayan",), 0), Left("lobby", ("Narayan",), 0)]
    assert room.take_changes() == []


def test_other_spelling_of_a_name_is_reported_as_another_member() -> None:
    room = Room("lobby", 1000)
    bob, other = Person("Bob"), Person("bob")
    room.add(bob)
    room.take_changes()
    room.remove(bob)
    room.add(other)
    assert room.take_changes() == [Left("lobby", ("Bob",), 1), Joined("lobby", ("bob",), 1)]
    assert room.take_changes() == []


def test_spelling_that_was_in_a_snapshot_only_is_reported_as_left() -> None:
    room = Room("lobby", 1000)
    bob, other = Person("Bob"), Person("bob")
    room.add(bob)
    room.take_changes()
    room.remove(bob)
    room.add(other)
    room.snapshot(10)
    room.remove(other)
    room.add(bob)
    assert room.take_changes() == [Left("lobby", ("bob",), 1), Joined("lobby", ("Bob",), 1)]


def test_snapshots_keep_one_entry_for_each_name() -> None:
    room = Room("lobby", 1000)
    narayan = Person("Narayan")
    for _ in range(300):
        room.add(narayan)
        room.snapshot(10)
        room.remove(narayan)
    assert room.take_changes() == [Joined("lobby", ("Narayan",), 0), Left("lobby", ("Narayan",), 0)]


def test_format_without_readers_is_encoded_no_more() -> None:
    room = Room("lobby", 1000)
    kept, dropped = LineFormat(), LineFormat()
    reader = room.feed(kept).subscribe("reader", len)
    feed = room.feed(dropped)
    leaving, lost = feed.subscribe("leaving", len), feed.subscribe("lost", len)
    room.staged.append(Batch([Notice("one")], False))
    list(room.publish())
    feed.seal()
    feed.leave(leaving)
    feed.end(lost)
    feed.end(lost)
    room.staged.append(Batch([Notice("two")], False))
    assert list(room.publish()) == [reader.feed]
    assert dropped.encoded == [Notice("one")]
    assert kept.encoded == [Notice("one"), Notice("two")]
    assert feed.ready(leaving) is False
    assert leaving.state is SubscriptionState.ENDED
    again = room.feed(dropped)
    assert again is not feed
    feed.end(leaving)
    assert room.feed(dropped) is again, "the old feed does not drop the new one"


def test_reader_who_is_leaving_gets_its_bytes_from_a_dropped_feed() -> None:
    room = Room("lobby", 1000)
    feed = room.feed(LineFormat())
    reader = feed.subscribe("reader", len)
    room.staged.append(Batch([Notice("one")], False))
    list(room.publish())
    feed.seal()
    feed.mark_short_write(reader, 0)
    feed.leave(reader)
    assert room.feeds == {}
    buffers, _ = feed.view(reader, 1000, 10)
    assert b"".join(buffers) == line(Notice("one"))


def said(seq: int) -> Said:
    return Said("lobby", seq, "Michael", "x", 0.0)


def test_deliveries_never_count_an_author_who_is_gone() -> None:
    room = Room("lobby", 1000)
    feed = room.feed(LineFormat())
    author, reader = feed.subscribe("author", len), feed.subscribe("reader", len)
    room.staged.append(Batch([said(1), said(2)], True, None, author))
    room.seq = 2
    list(room.publish())
    assert room.deliveries == 2
    room.staged.append(Batch([said(3)], True, None, author))
    room.staged.append(Batch([said(4)], True))
    room.seq = 4
    feed.end(author)
    list(room.publish())
    assert room.deliveries == 2
    room.staged.append(Batch([said(5)], True, None, author))
    room.seq = 5
    feed.end(reader)
    list(room.publish())
    assert room.deliveries == 0
    assert room.feeds == {}


def test_first_reader_who_is_lapped_continues_after_the_last_published_message() -> None:
    room = Room("lobby", 10)
    room.seq = 100
    feed = room.feed(LineFormat())
    feed.subscribe("reader", len)
    for seq in (101, 102):
        room.staged.append(Batch([said(seq)], True))
        room.seq = seq
        list(room.publish())
        feed.seal()
        if seq == 101:
            feed.mark_short_write(next(iter(feed.live)), 0)
    [lapped] = feed.trim()
    assert lapped.mark == 100


def test_callbacks_wait_for_the_next_events_and_run_once() -> None:
    room = Room("lobby", 1000)
    called: list[str] = []
    room.after_publish.add(lambda: called.append("x"))
    list(room.publish())
    assert called == []
    room.staged.append(Batch([Notice("one")], False))
    list(room.publish())
    list(room.publish())
    assert called == ["x"]
