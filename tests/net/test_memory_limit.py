"""What waits for all readers together: the largest goes first, and no more of them than have to."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from selchat.feed import Feed, Lapped, SubscriptionState
from selchat.net.memory_limit import MemoryLimit, QueuedLimitError
from selchat.net.outbox import Outbox, OutboxState
from tests.net.fakes import FakeOwner, FakeSocket


class Holder(FakeOwner):
    """A connection, as far as a budget knows it, whose socket is full. ``replies``: bytes that wait."""

    def __init__(self, replies: int = 0, tls: int = 0) -> None:
        super().__init__()
        sock = FakeSocket(room=0)
        sock.unsent = tls
        self.outbox = Outbox(sock, self, 1 << 40)
        if replies:
            self.outbox.reply(b"x" * replies)
            self.outbox.flush()
            assert self.outbox.blocked

    def reads(self, feed: Feed[Outbox], on_lapped: Callable[[Lapped], bytes] | None = None) -> None:
        self.outbox.subscribe(feed, on_lapped)

    @property
    def lost(self) -> bool:
        return self.outbox.state is OutboxState.CLOSED


def enforce(limit: int, *holders: Holder) -> None:
    MemoryLimit(limit).enforce([holder.outbox for holder in holders])


def publish(feed: Feed[Outbox], *sizes: int) -> None:
    """Seal chunks of these sizes, none of which anybody takes."""
    for size in sizes:
        feed.append(b"x" * size)
        feed.seal()
        for subscription in tuple(feed.live):
            subscription.reader.on_short_write(subscription, 0)


# -- connections -----------------------------------------------------------------------------------------


def test_what_is_exactly_within_the_limit_is_left_alone() -> None:
    holders = [Holder(100), Holder(200), Holder(300)]
    enforce(600, *holders)
    assert [holder.errors for holder in holders] == [[], [], []]
    enforce(599, *holders)
    assert [holder.lost for holder in holders] == [False, False, True]


def test_the_largest_goes_first_and_no_more_than_have_to() -> None:
    holders = [Holder(100), Holder(400), Holder(200), Holder(300)]
    enforce(300, *holders)
    assert [holder.lost for holder in holders] == [False, True, False, True]
    [error] = holders[1].errors
    assert isinstance(error, QueuedLimitError)
    assert error.limit == 300
    assert "reader too slow" in str(error)
    enforce(300, holders[0], holders[2])
    assert not holders[2].lost


def test_what_tls_has_encrypted_counts() -> None:
    holders = [Holder(100), Holder(50, tls=100)]
    enforce(249, *holders)
    assert [holder.lost for holder in holders] == [False, True]


def test_nobody_waits_for_nothing() -> None:
    enforce(1)


# -- feeds -----------------------------------------------------------------------------------------------


def test_a_feed_counts_once_however_many_wait_for_it_and_laps_them_all() -> None:
    feed: Feed[Outbox] = Feed(1 << 40)
    holders = [Holder() for _ in range(10)]
    for holder in holders:
        holder.reads(feed)
    publish(feed, 100, 100, 100)
    assert feed.retained == 300
    enforce(300, *holders)
    assert not any(holder.lost for holder in holders)
    enforce(299, *holders)
    assert feed.retained == 100, "its newest chunk"
    assert all(holder.lost for holder in holders)
    assert all(isinstance(holder.errors[0], QueuedLimitError) for holder in holders)


def test_who_has_read_what_is_forgotten_is_not_lapped() -> None:
    feed: Feed[Outbox] = Feed(1 << 40)
    slow, quick = Holder(), Holder()
    slow.reads(feed)
    quick.reads(feed)
    publish(feed, 100, 100, 100)
    quick.outbox._stream.room = 250  # type: ignore[attr-defined]
    quick.outbox.flush()
    enforce(200, slow, quick)
    assert (slow.lost, quick.lost) == (True, False)
    quick.outbox._stream.room = None  # type: ignore[attr-defined]
    quick.outbox.flush()
    assert len(quick.outbox._stream.taken) == 300  # type: ignore[attr-defined]


def test_the_largest_may_be_a_feed_or_a_connection() -> None:
    small: Feed[Outbox] = Feed(1 << 40)
    large: Feed[Outbox] = Feed(1 << 40)
    one, two, three = Holder(), Holder(), Holder(400)
    one.reads(small)
    two.reads(large)
    publish(small, 150, 150)
    publish(large, 250, 250)
    enforce(950, one, two, three)  # 300 + 500 + 400: the large feed keeps 250
    assert [one.lost, two.lost, three.lost] == [False, True, False]
    enforce(500, one, three)  # 300 + 400
    assert [one.lost, three.lost] == [False, True]
    enforce(300, one)
    assert (one.lost, small.retained) == (False, 300)


def test_a_feed_that_a_reader_is_level_with_does_not_count() -> None:
    feed: Feed[Outbox] = Feed(1 << 40)
    behind, level = Holder(), Holder(10)
    behind.reads(feed)
    publish(feed, 100, 100)
    other: Feed[Outbox] = Feed(1 << 40)
    level.reads(other)
    assert level.outbox.subscriptions[0].state is SubscriptionState.BEHIND  # as a reply waits before it
    enforce(210, behind, level)
    assert not behind.lost


def test_one_who_can_be_lapped_goes_on_and_only_has_to_fetch_it_again() -> None:
    feed: Feed[Outbox] = Feed(1 << 40)
    holder = Holder()
    lapped: list[Lapped] = []

    def refill(one: Lapped) -> bytes:
        lapped.append(one)
        return b""

    holder.reads(feed, refill)
    publish(feed, 100, 100, 100)
    enforce(200, holder)
    assert not holder.lost
    assert len(lapped) == 1
    holder.outbox._stream.room = None  # type: ignore[attr-defined]
    holder.outbox.flush()
    assert holder.outbox._stream.taken == b""  # type: ignore[attr-defined]


@pytest.mark.parametrize("limit", [1, 50, 99])
def test_a_single_chunk_is_kept_whatever_the_limit(limit: int) -> None:
    """Whoever is behind is behind by less than that, and will be lapped by the next."""
    feed: Feed[Outbox] = Feed(1 << 40)
    holder = Holder()
    holder.reads(feed)
    publish(feed, 100)
    enforce(limit, holder)
    assert not holder.lost
    publish(feed, 1)
    enforce(limit, holder)
    assert holder.lost
