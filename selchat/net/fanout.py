"""Fan-out: sends one sealed chunk to every live reader, with one ``send`` each.

The whole design exists for this loop. Each receiver costs one system call and one comparison. The loop only
records an unusual receiver (a full socket, a dead peer); the code after it handles those. No connection
closes inside it.
"""

from __future__ import annotations

from collections.abc import Callable

from selchat.errors import LimitError
from selchat.feed import Feed, Subscription
from selchat.limits import MAX_SEND_BUFFERS
from selchat.net.outbox import Outbox


class LappedError(LimitError):
    template = "reader too slow, more than {limit} bytes behind"


class Fanout:
    """Serves feeds and outboxes at the end of a tick, then closes the connections that were lost."""

    def __init__(self, feed_limit: int) -> None:
        self._feed_limit = feed_limit  # bytes, for the close reason of a lapped reader
        self.blocked: set[Outbox] = set()  # outboxes whose sockets are full
        self.lapped = 0  # readers lapped since the start
        self._queued: list[Outbox] = []
        self._lost: list[tuple[Callable[[Exception], object], Exception]] = []

    def deliver(self, feed: Feed[Outbox]) -> None:
        """Seal the feed and send the new chunk to its subscribers."""
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
            for subscription, buffers, size in feed.shares(MAX_SEND_BUFFERS):
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
        """Flush the outbox at the end of this tick."""
        self._queued.append(outbox)

    def close_later(self, close: Callable[[Exception], object], error: Exception) -> None:
        """Call ``close(error)`` when no fan-out is running."""
        self._lost.append((close, error))

    def finish(self) -> None:
        """Flush the scheduled outboxes, then close the lost connections."""
        while self._queued or self._lost:
            queued, self._queued = self._queued, []
            for outbox in queued:
                outbox.end_tick()
            lost, self._lost = self._lost, []
            for close, error in lost:
                close(error)
