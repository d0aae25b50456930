"""An outbox: what one connection still has to send, and whose bytes may go next.

It interleaves direct replies and any number of feeds. Exactly one of them owns the wire at a time: a
partly sent chunk keeps it until its last byte. The outbox tries to send first, and has its socket watched
for writability only after a short write.

The invariant that keeps the fan-out loop free of questions: a subscription is live only while its outbox
is idle, so whoever is live can be sent the sealed chunk at once.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Protocol

from selchat.errors import LimitError
from selchat.feed import Feed, Lapped, Subscription, SubscriptionState


class UnreadRepliesError(LimitError):
    template = "reader too slow, more than {limit} bytes of replies unread"


_MAX_BYTES = 256 * 1024  # for one system call
MAX_BUFFERS = 64  # for one system call; IOV_MAX is 1,024 on Linux and 16 at the least (POSIX)

# POSIX only; elsewhere the buffers are joined first, at the cost of a copy.
_HAS_SENDMSG = hasattr(socket.socket, "sendmsg")

OnLapped = Callable[[Lapped], bytes]
"""Told of a reader that fell off a feed's tail, and is no longer subscribed; returns the bytes that finish
the frame which it was in the middle of."""


class OutboxState(Enum):
    """``IDLE``: nothing to send. ``QUEUED``: to be flushed in this tick. ``BLOCKED``: the socket is full.

    ``CLOSED`` is final, the others change into each other.
    """

    IDLE = auto()
    QUEUED = auto()
    BLOCKED = auto()
    CLOSED = auto()


class Stream(Protocol):
    """What an outbox sends to: a non-blocking socket, or what is like one."""

    def send(self, data: bytes | memoryview, /) -> int: ...
    def sendmsg(self, buffers: Sequence[memoryview], /) -> int: ...


class OutboxOwner(Protocol):
    """What an outbox asks of its connection."""

    def schedule_flush(self) -> None:
        """Call `Outbox.end_tick` when this tick ends."""

    def watch_writable(self, wanted: bool) -> None:
        """Call `Outbox.flush` when the socket is writable, or stop doing so."""

    def on_drained(self) -> None:
        """All is sent, after `Outbox.finish`."""

    def on_send_error(self, error: Exception) -> None:
        """The connection is lost. It may not be closed from inside this call: a fan-out may be under way."""


class Outbox:
    """``replies_limit``: bytes of replies that wait, from which on there may not be another one."""

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
        self._replies: deque[memoryview] | None = None  # None until the first: most idle peers get none
        self._replies_size = 0
        self._on_replies_sent: Callable[[], object] | None = None
        self._final_data = b""
        self._subscriptions: list[Subscription[Outbox]] = []
        self._on_lapped: dict[Subscription[Outbox], OnLapped] | None = None  # of those that may be lapped
        self._wire_owner: Subscription[Outbox] | None = None  # its chunk is partly sent
        self._wire_until = 0  # the position at which it gives the wire back
        self._finishing = False

    def reply(self, data: bytes) -> None:
        """Queue whole frames for this connection alone."""
        if self.state is OutboxState.CLOSED:
            return
        if self._replies_size >= self._replies_limit:
            # Not for its own length: a page of history has to arrive, however long its messages are.
            self.fail(UnreadRepliesError(self._replies_limit))
            return
        if self._replies is None:
            self._replies = deque()
        self._replies.append(memoryview(data))
        self._replies_size += len(data)
        self._queue()

    def wake(self) -> None:
        """Have the stream send what it has of its own, now or when the socket is writable."""
        self.reply(b"")

    def change_stream(self, stream: Stream) -> None:
        """Send through that one from here on; nothing may have been queued or subscribed yet."""
        assert self.state is OutboxState.IDLE and not self._subscriptions
        self._stream = stream

    @property
    def queued(self) -> int:
        """How many bytes wait for this peer alone: replies, and what its stream keeps of its own."""
        return self._replies_size + int(getattr(self._stream, "unsent", 0))

    @property
    def subscriptions(self) -> Sequence[Subscription[Outbox]]:
        """The feeds that are read."""
        return self._subscriptions

    @property
    def blocked(self) -> bool:
        """Whether something waits because the peer takes nothing now."""
        return self.state is OutboxState.BLOCKED

    def when_replies_sent(self, callback: Callable[[], object]) -> None:
        """Call it once, when no reply waits any more; from inside a flush, so it must only note that."""
        if self._replies:
            self._on_replies_sent = callback
        else:
            callback()

    def subscribe(self, feed: Feed[Outbox], on_lapped: OnLapped | None = None) -> Subscription[Outbox]:
        """Read that feed from its end on. Without ``on_lapped`` a lapped reader is given up."""
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
        """Read that feed to its present end and no further."""
        subscription.feed.leave(subscription)
        if self._on_lapped is not None:
            self._on_lapped.pop(subscription, None)

    def finish(self, final_data: bytes = b"") -> None:
        """Take no more when this tick ends; `OutboxOwner.on_drained` is called when all has been sent.

        ``final_data``: whole frames that go after everything else.
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
        """Forget everything that was not sent."""
        self.state = OutboxState.CLOSED
        for subscription in self._subscriptions:
            subscription.feed.end(subscription)
        self._subscriptions.clear()
        self._on_lapped = None
        self._on_replies_sent = None
        self._replies = None
        self._wire_owner = None

    def fail(self, error: Exception) -> None:
        """Give the connection up: the peer is gone, or too slow.

        Nothing more is sent: after a lapped reader's half frame that would be bytes of another one.
        """
        self.close()
        self._owner.on_send_error(error)

    def on_short_write(self, subscription: Subscription[Outbox], sent: int) -> None:
        """Note that the socket took only ``sent`` bytes of its share of the chunk that was just sealed.

        For the fan-out loop alone, which sends to live subscriptions by itself.
        """
        feed = subscription.feed
        feed.mark_short_write(subscription, sent)
        if sent:
            self._wire_owner = subscription
            self._wire_until = feed.sealed
        self._block()

    def lapped(self, lapped: Lapped, error: Exception) -> None:
        """Note that a subscription fell off its feed's tail; it ends, or the connection does."""
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
            # The peer has a part of this frame: nothing may come before the rest of it.
            if self._replies is None:
                self._replies = deque()
            self._replies.appendleft(memoryview(rest))
            self._replies_size += len(rest)

    def end_tick(self) -> None:
        """Flush, as `OutboxOwner.schedule_flush` asked for, when the feeds have everything of this tick."""
        if self._finishing:
            for subscription in self._subscriptions:
                subscription.feed.leave(subscription)
        self.flush()

    def flush(self) -> None:
        """Send until all is sent or the socket is full."""
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
        """Return whether all is sent; BlockingIOError or False: the socket is full."""
        while True:
            if self._wire_owner is not None:
                went = self._send_feed(self._wire_owner, 1)  # no more than finishes its chunk
            elif self._replies:
                went = self._send_replies(self._replies)
            else:
                subscription = self._first_behind()
                if subscription is None:
                    if not self._final_data or self._subscriptions:
                        return True
                    self._replies = deque([memoryview(self._final_data)])
                    self._replies_size = len(self._final_data)
                    self._final_data = b""
                    continue
                went = self._send_feed(subscription, _MAX_BYTES)
            if not went:
                return False

    def _first_behind(self) -> Subscription[Outbox] | None:
        """Return the first subscription with something to send now."""
        for subscription in tuple(self._subscriptions):
            if subscription.state is SubscriptionState.BEHIND and subscription.feed.ready(subscription):
                return subscription
            if subscription.state is SubscriptionState.ENDED:
                self._subscriptions.remove(subscription)
        return None

    def _send_feed(self, subscription: Subscription[Outbox], max_bytes: int) -> bool:
        feed = subscription.feed
        buffers, until = feed.view(subscription, max_bytes, MAX_BUFFERS)
        size = sum(map(len, buffers))
        sent = self.transmit(buffers)
        position = feed.advance(subscription, sent)
        if self._wire_owner is None:
            self._wire_until = until
        self._wire_owner = subscription if position < self._wire_until else None
        return sent == size

    def _send_replies(self, replies: deque[memoryview]) -> bool:
        buffers = [replies[i] for i in range(min(len(replies), MAX_BUFFERS))]
        sent = self.transmit(buffers)
        self._replies_size -= sent
        while replies and sent >= len(replies[0]):
            sent -= len(replies.popleft())
        if sent:  # a part of one is left: it goes first, so it keeps the wire
            replies[0] = replies[0][sent:]
            return False
        if not replies and self._on_replies_sent is not None:
            callback, self._on_replies_sent = self._on_replies_sent, None
            callback()
        return True

    def transmit(self, buffers: Sequence[memoryview]) -> int:
        """Send these with one system call and return how many bytes went; raises what the socket raises."""
        if len(buffers) == 1:
            return self._stream.send(buffers[0])
        if _HAS_SENDMSG:
            return self._stream.sendmsg(buffers)
        return self._stream.send(b"".join(buffers))

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
