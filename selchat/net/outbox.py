"""Send queue of one connection: direct replies and any number of feeds.

Exactly one source owns the wire at a time: a partly sent chunk keeps it until its last byte. The outbox sends
first, and watches its socket for writability only after a short write.

One invariant keeps the fan-out loop free of checks: a subscription is live only while its outbox is idle. So
the loop can send the sealed chunk to every live subscription at once.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Protocol

from selchat.errors import LimitError
from selchat.feed import Feed, Lapped, Subscription, SubscriptionState
from selchat.limits import MAX_SEND_BUFFERS, MAX_SEND_BYTES


class UnreadRepliesError(LimitError):
    template = "reader too slow, more than {limit} bytes of replies unread"


# POSIX only; elsewhere the outbox joins the buffers first, which costs a copy.
_HAS_SENDMSG = hasattr(socket.socket, "sendmsg")

OnLapped = Callable[[Lapped], bytes]
"""Called when a reader was lapped and its subscription has ended; returns the rest of the frame whose first
part is sent."""


class OutboxState(Enum):
    """``IDLE``: nothing to send. ``QUEUED``: a flush is due in this tick. ``BLOCKED``: the socket is full.

    ``CLOSED`` is final.
    """

    IDLE = auto()
    QUEUED = auto()
    BLOCKED = auto()
    CLOSED = auto()


class Stream(Protocol):
    """The sending side of a non-blocking socket, or of a `TlsStream`."""

    def send(self, data: bytes | memoryview, /) -> int: ...
    def sendmsg(self, buffers: Sequence[memoryview], /) -> int: ...


class OutboxOwner(Protocol):
    """The outbox's connection."""

    def schedule_flush(self) -> None:
        """Call `Outbox.end_tick` at the end of this tick."""

    def watch_writable(self, enabled: bool) -> None:
        """Start or stop calling `Outbox.flush` when the socket is writable."""

    def on_drained(self) -> None:
        """Shut down the connection: everything is sent after `Outbox.finish`."""

    def on_send_error(self, error: Exception) -> None:
        """Close the lost connection, but not inside this call: a fan-out may be running."""


class Outbox:
    """The send queue. ``replies_limit``: bytes of queued replies at which another reply closes the
    connection.
    """

    __slots__ = (
        "_final_data",
        "_finishing",
        "_on_lapped",
        "_on_replies_sent",
        "_owner",
        "_replies",
        "_replies_limit",
        "_replies_size",
        "_stream",
        "_subscriptions",
        "_wire_owner",
        "_wire_until",
        "state",
    )

    def __init__(self, stream: Stream, owner: OutboxOwner, replies_limit: int) -> None:
        self.state = OutboxState.IDLE
        self._stream = stream
        self._owner = owner
        self._replies_limit = replies_limit
        self._replies: deque[memoryview] | None = None  # None until the first: most idle peers get no replies
        self._replies_size = 0
        self._on_replies_sent: Callable[[], object] | None = None
        self._final_data = b""
        self._subscriptions: list[Subscription[Outbox]] = []
        # The subscriptions that survive lapping; None until the first.
        self._on_lapped: dict[Subscription[Outbox], OnLapped] | None = None
        self._wire_owner: Subscription[Outbox] | None = None  # whose chunk is partly sent
        self._wire_until = 0  # the position at which it releases the wire
        self._finishing = False

    def reply(self, data: bytes) -> None:
        """Queue whole frames for this peer only."""
        if self.state is OutboxState.CLOSED:
            return
        if self._replies_size >= self._replies_limit and not self._make_room():
            return
        if self._replies is None:
            self._replies = deque()
        self._replies.append(memoryview(data))
        self._replies_size += len(data)
        self._queue()

    def wake(self) -> None:
        """Make the stream send its own pending bytes, now or when the socket is writable."""
        self.reply(b"")

    def change_stream(self, stream: Stream) -> None:
        """Replace the stream. Only before the first reply and subscription."""
        assert self.state is OutboxState.IDLE and not self._subscriptions
        self._stream = stream

    @property
    def queued(self) -> int:
        """Bytes queued for this peer only: replies, and unsent bytes of its stream."""
        return self._replies_size + int(getattr(self._stream, "unsent", 0))

    @property
    def subscriptions(self) -> Sequence[Subscription[Outbox]]:
        """The feeds that this peer reads."""
        return self._subscriptions

    @property
    def blocked(self) -> bool:
        """Return whether bytes are queued because the socket is full."""
        return self.state is OutboxState.BLOCKED

    def when_replies_sent(self, callback: Callable[[], object]) -> None:
        """Call it once, when all replies are sent. It runs inside a flush, so it may only set a flag or a
        timer.
        """
        if self._replies:
            self._on_replies_sent = callback
        else:
            callback()

    def subscribe(self, feed: Feed[Outbox], on_lapped: OnLapped | None = None) -> Subscription[Outbox]:
        """Subscribe to a feed from its end on. Without ``on_lapped``, lapping closes the connection."""
        subscription = feed.subscribe(self, self._stream.send)
        self._subscriptions.append(subscription)
        if on_lapped is not None:
            if self._on_lapped is None:
                self._on_lapped = {}
            self._on_lapped[subscription] = on_lapped
        if self.state is not OutboxState.IDLE:
            feed.detach(subscription)
        return subscription

    def leave(self, subscription: Subscription[Outbox]) -> None:
        """Unsubscribe from a feed at its current end."""
        subscription.feed.leave(subscription)
        if self._on_lapped is not None:
            self._on_lapped.pop(subscription, None)

    def finish(self, final_data: bytes = b"") -> None:
        """Accept nothing after this tick, and call `OutboxOwner.on_drained` when everything is sent.

        ``final_data``: whole frames that are sent last.
        """
        if self._finishing or self.state is OutboxState.CLOSED:
            return
        self._finishing = True
        self._final_data = final_data
        if self.state is OutboxState.IDLE:
            self._queue()
        else:
            self._owner.schedule_flush()

    def close(self) -> None:
        """Discard everything that is not sent."""
        self.state = OutboxState.CLOSED
        for subscription in self._subscriptions:
            subscription.feed.end(subscription)
        self._subscriptions.clear()
        self._on_lapped = None
        self._on_replies_sent = None
        self._replies = None
        self._wire_owner = None

    def fail(self, error: Exception) -> None:
        """Close because the peer is gone or too slow.

        Sends nothing more: if a frame is partly sent, the peer would read the next bytes as its rest.
        """
        self.close()
        self._owner.on_send_error(error)

    def on_short_write(self, subscription: Subscription[Outbox], sent: int) -> None:
        """Record that only ``sent`` bytes of the subscription's share of the newest chunk were sent.

        Only for the fan-out loop, which sends to live subscriptions itself.
        """
        feed = subscription.feed
        feed.mark_short_write(subscription, sent)
        if sent:
            self._wire_owner = subscription
            self._wire_until = feed.sealed
        self._block()

    def lapped(self, lapped: Lapped, error: Exception) -> None:
        """End a lapped subscription, or the connection if it cannot survive that."""
        subscription = lapped.subscription
        on_lapped = None if self._on_lapped is None else self._on_lapped.pop(subscription, None)
        if on_lapped is None:
            self.fail(error)
            return
        rest = on_lapped(lapped)
        subscription.feed.end(subscription)
        if self._wire_owner is subscription:
            self._wire_owner = None
        if rest:
            # The peer has the first part of this frame: its rest must come first.
            if self._replies is None:
                self._replies = deque()
            self._replies.appendleft(memoryview(rest))
            self._replies_size += len(rest)

    def end_tick(self) -> None:
        """Flush, after the feeds have all frames of this tick."""
        if self._finishing:
            for subscription in self._subscriptions:
                subscription.feed.leave(subscription)
        self.flush()

    def flush(self) -> None:
        """Send until everything is sent or the socket is full."""
        if self.state is OutboxState.CLOSED:
            return
        try:
            all_sent = self._send_all()
        except (BlockingIOError, InterruptedError):
            all_sent = False
        except OSError as error:
            self.fail(error)
            return
        if not all_sent:
            self._block()
            return
        if self.state is OutboxState.BLOCKED:
            self._owner.watch_writable(False)
        self.state = OutboxState.IDLE
        if self._finishing and not self._subscriptions:
            self.close()
            self._owner.on_drained()

    def _send_all(self) -> bool:
        """Return whether everything is sent. False or BlockingIOError: the socket is full."""
        while True:
            if self._wire_owner is not None:
                done = self._send_feed(self._wire_owner, 1)  # only the rest of its chunk
            elif self._replies:
                done = self._send_replies(self._replies)
            else:
                subscription = self._first_behind()
                if subscription is None:
                    if not self._final_data or self._subscriptions:
                        return True
                    self._replies = deque([memoryview(self._final_data)])
                    self._replies_size = len(self._final_data)
                    self._final_data = b""
                    continue
                done = self._send_feed(subscription, MAX_SEND_BYTES)
            if not done:
                return False

    def _first_behind(self) -> Subscription[Outbox] | None:
        """Return the first subscription with bytes to send now."""
        for subscription in tuple(self._subscriptions):
            if subscription.state is SubscriptionState.BEHIND and subscription.feed.ready(subscription):
                return subscription
            if subscription.state is SubscriptionState.ENDED:
                self._subscriptions.remove(subscription)
        return None

    def _send_feed(self, subscription: Subscription[Outbox], max_bytes: int) -> bool:
        feed = subscription.feed
        buffers, until = feed.view(subscription, max_bytes, MAX_SEND_BUFFERS)
        size = sum(map(len, buffers))
        sent = self.transmit(buffers)
        position = feed.advance(subscription, sent)
        if self._wire_owner is None:
            self._wire_until = until
        self._wire_owner = subscription if position < self._wire_until else None
        return sent == size

    def _send_replies(self, replies: deque[memoryview]) -> bool:
        buffers = [replies[i] for i in range(min(len(replies), MAX_SEND_BUFFERS))]
        sent = self.transmit(buffers)
        self._replies_size -= sent
        while replies and sent >= len(replies[0]):
            sent -= len(replies.popleft())
        if sent:  # one is partly sent: it stays first, so it keeps the wire
            replies[0] = replies[0][sent:]
            return False
        if not replies and self._on_replies_sent is not None:
            callback, self._on_replies_sent = self._on_replies_sent, None
            callback()
        return True

    def transmit(self, buffers: Sequence[memoryview]) -> int:
        """Send the buffers with one system call; return the bytes sent. Raises the socket's errors."""
        if len(buffers) == 1:
            return self._stream.send(buffers[0])
        if _HAS_SENDMSG:
            return self._stream.sendmsg(buffers)
        return self._stream.send(b"".join(buffers))

    def _make_room(self) -> bool:
        """Send queued replies at once, because one tick can bring more than the limit. Return False if the
        socket is full: the reader is too slow, and the connection closes.

        A single reply may be longer than the limit: a page of history must arrive, however long.
        """
        if self._finishing:
            return True  # the rest of this tick, in which `flush` would end the connection
        self.flush()
        if self._replies_size >= self._replies_limit:
            self.fail(UnreadRepliesError(self._replies_limit))
        return self.state is not OutboxState.CLOSED

    def _queue(self) -> None:
        if self.state is OutboxState.IDLE:
            self.state = OutboxState.QUEUED
            self._detach()
            self._owner.schedule_flush()

    def _block(self) -> None:
        if self.state is not OutboxState.BLOCKED:
            self.state = OutboxState.BLOCKED
            self._owner.watch_writable(True)
        self._detach()

    def _detach(self) -> None:
        for subscription in self._subscriptions:
            subscription.feed.detach(subscription)
