"""The fan-out: one sealed chunk to everyone who is live, with one ``send`` each.

This is the loop that the whole design is for. Per receiver it does one system call and one comparison;
whatever is unusual about a receiver (a full socket, a dead peer) is noted and dealt with after the loop,
and no connection is closed inside it.
"""

from __future__ import annotations

from collections.abc import Callable

from selchat.errors import LimitError
from selchat.feed import Feed, Subscription
from selchat.net.outbox import MAX_BUFFERS, Outbox


class LappedError(LimitError):
    template = "reader too slow, more than {limit} bytes behind"


class Fanout:
    """Serves feeds and outboxes at the end of a tick, then disposes of the peers that were lost meanwhile."""

    def __init__(self, feed_limit: int) -> None:
        self._feed_limit = feed_limit  # bytes, for the reason that a lapped reader is given
        self.blocked: set[Outbox] = set()  # those whose sockets are full
        self.lapped = 0  # readers that the feed has overtaken, in all
        self._queued: list[Outbox] = []
        self._lost: list[tuple[Callable[[Exception], object], Exception]] = []

    def deliver(self, feed: Feed[Outbox]) -> None:
        """Seal the feed and send what that gives to its subscribers."""
        chunk = feed.seal()
        size = len(chunk)
        unusual: list[tuple[Subscription[Outbox], int, OSError | None]] = []
        if size:
            for subscription, send in feed.live.items():
                try:
                    sent = send(chunk)
                except BlockingIOError:
                    sent = 0
                except OSError as error:
                    unusual.append((subscription, 0, error))
                    continue
                if sent != size:
                    unusual.append((subscription, sent, None))
            for subscription, buffers, size in feed.shares(MAX_BUFFERS):
                try:
                    sent = subscription.reader.transmit(buffers)
                except BlockingIOError:
                    sent = 0
                except OSError as error:
                    unusual.append((subscription, 0, error))
                    continue
                if sent == size:
                    feed.rejoin(subscription)
                else:
                    unusual.append((subscription, sent, None))
        for subscription, sent, lost in unusual:
            outbox = subscription.reader
            outbox.on_short_write(subscription, sent)
            if lost is not None:
                outbox.fail(lost)
        for subscription in feed.due():
            subscription.reader.flush()
        for lapped in feed.trim():
            self.lapped += 1
            lapped.subscription.reader.lapped(lapped, LappedError(self._feed_limit))

    def schedule_flush(self, outbox: Outbox) -> None:
        """Flush that outbox at the end of this tick."""
        self._queued.append(outbox)

    def close_later(self, close: Callable[[Exception], object], error: Exception) -> None:
        """Call ``close(error)`` when no fan-out is under way."""
        self._lost.append((close, error))

    def finish(self) -> None:
        """Flush what was queued, then close the connections that were lost."""
        while self._queued or self._lost:
            queued, self._queued = self._queued, []
            for outbox in queued:
                outbox.end_tick()
            lost, self._lost = self._lost, []
            for close, error in lost:
                close(error)
