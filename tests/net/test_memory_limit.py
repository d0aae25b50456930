"""The memory limit: the largest holder of queued bytes goes first, and no more holders than necessary."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from selchat.feed import Feed, Lapped, SubscriptionState
from selchat.net.memory_limit import MemoryLimit, QueuedLimitError
from selchat.net.outbox import Outbox, OutboxState
from tests.net.fakes import FakeOwner, FakeSocket


class Peer(FakeOwner):
    """A peer with a full socket. ``replies``: bytes of a queued reply; ``tls``: unsent bytes of TLS."""

    def __init__(self, replies: int = 0, tls: int = 0) -> None:
        super().__init__()
        self.sock = FakeSocket(room=0)
        self.sock.unsent = tls
        self.outbox = Outbox(self.sock, self, 1 << 40)
        if replies:
            self.outbox.reply(b"x" * replies)
            self.outbox.flush()
            assert self.outbox.blocked

    def subscribe(self, feed: Feed[Outbox], on_lapped: Callable[[Lapped], bytes] | None = None) -> None:
        self.outbox.subscribe(feed, on_lapped)

    @property
    def closed(self) -> bool:
        return self.outbox.state is OutboxState.CLOSED


def enforce(limit: int, *peers: Peer) -> MemoryLimit:
    memory_limit = MemoryLimit(limit)
    memory_limit.enforce([peer.outbox for peer in peers])
    return memory_limit


def publish(feed: Feed[Outbox], *sizes: int) -> None:
    """Seal chunks of these sizes. No reader's socket accepts any of it."""
    for size in sizes:
        feed.append(b"x" * size)
        feed.seal()
        for subscription in tuple(feed.live):
            subscription.reader.on_short_write(subscription, 0)


# -- connections -----------------------------------------------------------------------------------------


def test_exactly_the_limit_is_allowed_and_one_byte_more_is_not() -> None:
    peers = [Peer(100), Peer(200), Peer(300)]
    enforce(600, *peers)
    assert [peer.errors for peer in peers] == [[], [], []]
    enforce(599, *peers)
    assert [peer.closed for peer in peers] == [False, False, True]


def test_largest_queues_are_closed_first_until_the_rest_is_within_the_limit() -> None:
    peers = [Peer(100), Peer(400), Peer(200), Peer(300)]
    enforce(300, *peers)
    assert [peer.closed for peer in peers] == [False, True, False, True]
    [error] = peers[1].errors
    assert isinstance(error, QueuedLimitError)
    assert error.limit == 300
    assert "reader too slow" in str(error)
    enforce(300, peers[0], peers[2])
    assert not peers[2].closed


def test_unsent_tls_bytes_count() -> None:
    peers = [Peer(100), Peer(50, tls=100)]
    enforce(250, *peers)
    assert [peer.closed for peer in peers] == [False, False]
    enforce(249, *peers)
    assert [peer.closed for peer in peers] == [False, True]


def test_peers_without_queued_bytes_stay_open() -> None:
    memory_limit = MemoryLimit(1)
    large, empty = Peer(2), Peer()
    outboxes = [empty.outbox, large.outbox]
    assert memory_limit.queued(outboxes) == 2
    memory_limit.enforce(outboxes)
    assert (empty.closed, large.closed) == (False, True)
    assert memory_limit.queued([empty.outbox]) == 0
    assert memory_limit.lapped == 0


# -- feeds -----------------------------------------------------------------------------------------------


def test_feed_counts_once_for_all_its_readers_and_laps_them_all() -> None:
    feed: Feed[Outbox] = Feed(1 << 40)
    peers = [Peer() for _ in range(10)]
    for peer in peers:
        peer.subscribe(feed)
    publish(feed, 100, 100, 100)
    assert feed.retained == 300
    within = enforce(300, *peers)
    assert within.queued([peer.outbox for peer in peers]) == 300
    assert within.lapped == 0
    assert not any(peer.closed for peer in peers)
    over = enforce(299, *peers)
    assert over.lapped == 10
    assert feed.retained == 100, "the newest chunk stays"
    assert all(peer.closed for peer in peers)
    assert all(isinstance(peer.errors[0], QueuedLimitError) for peer in peers)


def test_reader_past_the_dropped_chunks_is_not_lapped() -> None:
    feed: Feed[Outbox] = Feed(1 << 40)
    slow, quick = Peer(), Peer()
    slow.subscribe(feed)
    quick.subscribe(feed)
    publish(feed, 100, 100, 100)
    quick.sock.room = 250
    quick.outbox.flush()
    enforce(200, slow, quick)
    assert (slow.closed, quick.closed) == (True, False)
    quick.sock.room = None
    quick.outbox.flush()
    assert len(quick.sock.taken) == 300


def test_largest_queue_may_be_a_feed_or_a_connection() -> None:
    small: Feed[Outbox] = Feed(1 << 40)
    large: Feed[Outbox] = Feed(1 << 40)
    one, two, three = Peer(), Peer(), Peer(400)
    one.subscribe(small)
    two.subscribe(large)
    publish(small, 150, 150)
    publish(large, 250, 250)
    enforce(950, one, two, three)  # 300 + 500 + 400: the large feed retains 250
    assert [one.closed, two.closed, three.closed] == [False, True, False]
    enforce(500, one, three)  # 300 + 400
    assert [one.closed, three.closed] == [False, True]
    enforce(300, one)
    assert (one.closed, small.retained) == (False, 300)


def test_the_newest_chunk_of_a_trimmed_feed_still_counts() -> None:
    feed: Feed[Outbox] = Feed(1 << 40)
    reader, other = Peer(), Peer(400)
    reader.subscribe(feed)
    publish(feed, 250, 250)
    enforce(649, reader, other)  # 500 + 400: the feed retains 250, so 650 bytes remain
    assert [reader.closed, other.closed] == [True, True]


def test_feed_whose_reader_has_everything_does_not_count() -> None:
    feed: Feed[Outbox] = Feed(1 << 40)
    behind, level = Peer(), Peer(10)
    behind.subscribe(feed)
    publish(feed, 100, 100)
    other: Feed[Outbox] = Feed(1 << 40)
    level.subscribe(other)
    assert level.outbox.subscriptions[0].state is SubscriptionState.BEHIND  # a reply waits before it
    enforce(210, behind, level)
    assert not behind.closed


def test_lapped_reader_that_can_catch_up_stays_connected() -> None:
    feed: Feed[Outbox] = Feed(1 << 40)
    peer = Peer()
    lapped: list[Lapped] = []

    def refill(one: Lapped) -> bytes:
        lapped.append(one)
        return b""

    peer.subscribe(feed, refill)
    publish(feed, 100, 100, 100)
    assert enforce(200, peer).lapped == 1
    assert not peer.closed
    assert len(lapped) == 1
    peer.sock.room = None
    peer.outbox.flush()
    assert peer.sock.taken == b""


@pytest.mark.parametrize("limit", [1, 50, 99])
def test_single_chunk_stays_whatever_the_limit(limit: int) -> None:
    """Its readers are behind by less than one chunk. The next chunk laps them."""
    feed: Feed[Outbox] = Feed(1 << 40)
    peer = Peer()
    peer.subscribe(feed)
    publish(feed, 100)
    enforce(limit, peer)
    assert not peer.closed
    publish(feed, 1)
    enforce(limit, peer)
    assert peer.closed
