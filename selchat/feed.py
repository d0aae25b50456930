"""Append-only byte log of one room in one wire format, and the cursors of its readers.

The room encodes and appends each frame once. At the end of a tick the feed is *sealed*: the frames since the
last seal become one chunk, and every reader gets that chunk. A reader has no buffer of its own, only a
position.

- *Live* readers are exactly at the sealed edge, so they need no position. The loop that serves them is
  ``for send in live: send(chunk)``.
- *Writing* readers are at that edge too, and have written part of this tick's chunk. The feed does not echo a
  reader's own frames: it gets the chunk without its own ranges.
- *Behind* readers have a position of their own: their socket was full, they joined during a tick, or they are
  leaving. They skip their own ranges as well.

``limit`` (and one chunk) bounds the memory, whatever the slowest reader does. A reader that falls off the
tail is *lapped*. The room can set `Feed.mark`, a number that tells how far a lapped reader has come.

Positions count bytes from the start of the feed. This module imports nothing of the project, and knows
nothing about its readers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Generic, NamedTuple, TypeVar

R = TypeVar("R")

Send = Callable[[bytes], int]
"""Sends a chunk to a live reader; returns the number of bytes sent, as ``socket.send`` does."""

_FEW = 8  # readers behind: up to this many, `trim` checks every position (0.3 microseconds each)


class SubscriptionState(Enum):
    """A reader moves between ``LIVE``, ``WRITING`` and ``BEHIND``; ``ENDED`` is final."""

    LIVE = auto()
    WRITING = auto()
    BEHIND = auto()
    ENDED = auto()


class Subscription(Generic[R]):
    """One reader's cursor. `Feed.subscribe` makes it, and only its feed changes it."""

    __slots__ = ("_position", "_send", "_skips", "_stop", "feed", "reader", "state")

    def __init__(self, feed: Feed[R], reader: R, send: Send) -> None:
        self.feed = feed
        self.reader = reader
        self.state = SubscriptionState.LIVE
        self._send = send
        self._position = 0  # of the next byte; valid only while behind
        self._stop: int | None = None  # the end position of a leaving reader
        self._skips: list[tuple[int, int]] | None = None  # its own ranges ahead; None: it has written nothing

    @property
    def is_reading(self) -> bool:
        """Whether the reader gets the frames appended from now on: it has neither left nor ended."""
        return self._stop is None and self.state is not SubscriptionState.ENDED


class Lapped(NamedTuple):
    """A reader that fell off the tail, and its position: ``offset`` bytes into ``chunk``.

    ``mark``: the feed's mark when the chunk before this one was sealed.
    """

    subscription: Subscription[Any]
    chunk: bytes
    offset: int
    mark: int


class Feed(Generic[R]):
    """The byte log. ``limit``: sealed bytes retained for readers that are behind.

    ``mark``: the mark of the frames before the first one. ``on_unread`` is called when the last reader
    leaves: the feed then needs no more frames, because readers that are leaving stop before them.
    """

    __slots__ = (
        "_chunks",
        "_due",
        "_end",
        "_lapping_point",
        "_limit",
        "_marks",
        "_on_unread",
        "_pending",
        "_sealed",
        "_sealed_mark",
        "_starts",
        "_writing",
        "behind",
        "live",
        "mark",
        "readers",
    )

    def __init__(self, limit: int, mark: int = 0, on_unread: Callable[[], object] | None = None) -> None:
        self._limit = limit
        self._on_unread = on_unread
        self._pending: list[bytes] = []  # appended, not yet sealed
        self._end = 0  # position after the last appended byte
        self._sealed = 0  # position after the last sealed byte
        self._chunks: deque[bytes] = deque()  # sealed and retained
        self._starts: deque[int] = deque()  # the position of each chunk
        self._marks: deque[int] = deque()  # the mark before each chunk
        self.mark = mark  # of the appended frames
        self._sealed_mark = mark  # of the sealed frames
        self.readers = 0  # that get the frames appended from now on
        self.live: dict[Subscription[R], Send] = {}
        self._writing: list[Subscription[R]] = []
        self.behind: set[Subscription[R]] = set()
        self._due: list[Subscription[R]] = []  # behind, although their socket is not full
        self._lapping_point = 0  # no reader behind has a position below this

    @property
    def sealed(self) -> int:
        """The position after the last sealed byte."""
        return self._sealed

    @property
    def retained(self) -> int:
        """Sealed bytes retained for readers that are behind."""
        return self._sealed - self._starts[0] if self._starts else 0

    # -- writing ---------------------------------------------------------------------------------------

    def append(self, data: bytes, author: Subscription[R] | None = None) -> None:
        """Append whole frames. ``author``: the subscription of this feed that does not get them back."""
        if not data:
            return  # this wire format has no frame for the event
        start = self._end
        self._end = end = start + len(data)
        self._pending.append(data)
        if author is not None and author.state is not SubscriptionState.ENDED:
            if author.state is SubscriptionState.LIVE:
                del self.live[author]
                author.state = SubscriptionState.WRITING
                self._writing.append(author)
            skips = author._skips
            if skips is None:
                author._skips = [(start, end)]
            elif skips and skips[-1][1] == start:
                skips[-1] = (skips[-1][0], end)
            else:
                skips.append((start, end))

    def seal(self) -> bytes:
        """Join the frames since the last seal into one chunk, retain it, and return it."""
        pending = self._pending
        chunk = pending[0] if len(pending) == 1 else b"".join(pending)
        pending.clear()
        if chunk:
            self._chunks.append(chunk)
            self._starts.append(self._sealed)
            self._marks.append(self._sealed_mark)
            self._sealed = self._end
            self._sealed_mark = self.mark
        return chunk

    def shares(self, max_buffers: int) -> list[tuple[Subscription[R], list[memoryview], int]]:
        """Return each writing reader's share of the chunk just sealed, and the share's size in bytes.

        The caller must call `rejoin` or `mark_short_write` for each. A reader whose share has more than
        ``max_buffers`` pieces is not included: it is behind, and due.
        """
        shares: list[tuple[Subscription[R], list[memoryview], int]] = []
        if not self._writing:
            return shares
        writing, self._writing = self._writing, []
        chunk = memoryview(self._chunks[-1])
        base = self._starts[-1]
        for subscription in writing:
            if subscription.state is not SubscriptionState.WRITING:
                continue  # it has left, or a reply blocks its socket, in this same tick
            buffers: list[memoryview] = []
            size = len(chunk)
            position = 0
            for start, end in subscription._skips or ():
                if start - base > position:
                    buffers.append(chunk[position : start - base])
                position = end - base
                size -= end - start
            if position < len(chunk):
                buffers.append(chunk[position:])
            if not buffers:
                self.rejoin(subscription)
            elif len(buffers) <= max_buffers:
                shares.append((subscription, buffers, size))
            else:
                self._fall_behind(subscription, base)
                self._due.append(subscription)
        return shares

    def trim(self, limit: int | None = None) -> list[Lapped]:
        """Drop the chunks over the limit, or all if no reader is behind; return the readers lapped by that.

        ``limit``: overrides the feed's limit for this call.

        A chunk is dropped when the chunks after it reach the limit. A lapped reader therefore was more than
        the limit behind, and a large chunk never laps a reader that has nearly finished it.
        """
        chunks, starts, marks = self._chunks, self._starts, self._marks
        limit = self._limit if limit is None else limit
        if not self.behind:
            chunks.clear()
            starts.clear()
            marks.clear()
            return []
        dropped = 0
        if len(self.behind) <= _FEW:
            # An author with a queued receipt is behind, and would otherwise retain the chunks of every tick.
            lowest = min(map(self._next, self.behind))
            while dropped < len(chunks) and starts[dropped] + len(chunks[dropped]) <= lowest:
                dropped += 1
        while len(chunks) - dropped > 1 and self._sealed - starts[dropped + 1] >= limit:
            dropped += 1
        tail = starts[dropped] if dropped < len(starts) else self._sealed
        lapped: list[Lapped] = []
        if tail > self._lapping_point:
            # This scan takes one step per reader behind. The next scan is due when the tail passes the lowest
            # position that this one finds.
            lapped = [
                self._lapped(subscription)
                for subscription in self.behind
                if self._next(subscription)
                < min(tail, self._stop_of(subscription))  # a leaving reader may have everything
            ]
            self._lapping_point = min(
                (subscription._position for subscription in self.behind if subscription._position >= tail),
                default=self._sealed,
            )
        for _ in range(dropped):
            chunks.popleft()
            starts.popleft()
            marks.popleft()
        return lapped

    # -- reading ---------------------------------------------------------------------------------------

    def subscribe(self, reader: R, send: Send) -> Subscription[R]:
        """Return a new cursor at the end. It reads the frames appended from now on."""
        subscription = Subscription(self, reader, send)
        self.readers += 1
        if self._end == self._sealed:
            self.live[subscription] = send
        else:
            self._fall_behind(subscription, self._end)
            self._due.append(subscription)
        return subscription

    def leave(self, subscription: Subscription[R]) -> None:
        """Stop the cursor at the current end. The subscription ends when the cursor gets there."""
        if subscription._stop is not None or subscription.state is SubscriptionState.ENDED:
            return
        subscription._stop = self._end
        self._drop_reader()
        if subscription.state is not SubscriptionState.BEHIND:
            self._fall_behind(subscription, self._sealed)
            self._due.append(subscription)

    def end(self, subscription: Subscription[R]) -> None:
        """End the subscription at once."""
        if subscription.is_reading:
            self._drop_reader()
        self.live.pop(subscription, None)
        self.behind.discard(subscription)
        subscription.state = SubscriptionState.ENDED
        subscription._skips = None

    def rejoin(self, subscription: Subscription[R]) -> None:
        """Make a reader live. It must have read everything sealed, and nothing may be pending."""
        subscription._skips = None
        subscription.state = SubscriptionState.LIVE
        self.live[subscription] = subscription._send

    def mark_short_write(self, subscription: Subscription[R], sent: int) -> None:
        """Record that only ``sent`` bytes of a reader's share of the newest chunk were sent."""
        self._fall_behind(subscription, self._starts[-1])
        self.advance(subscription, sent)

    def detach(self, subscription: Subscription[R]) -> None:
        """Give a live reader a position while its socket sends other bytes."""
        if subscription.state is SubscriptionState.LIVE or subscription.state is SubscriptionState.WRITING:
            self._fall_behind(subscription, self._sealed)

    def due(self) -> list[Subscription[R]]:
        """Return the readers that are behind and can be served now, and clear that list."""
        due, self._due = self._due, []
        return due

    def view(
        self, subscription: Subscription[R], max_bytes: int, max_buffers: int
    ) -> tuple[list[memoryview], int]:
        """Return the reader's next bytes without its own frames, and the end position of the last chunk in
        them.

        The buffers are slices of the chunks, never copies: about ``max_bytes``, in at most ``max_buffers``
        pieces. Once a part of a chunk is sent, no other bytes may go on the wire before that end position.
        """
        position = self._next(subscription)
        stop = self._stop_of(subscription)
        buffers: list[memoryview] = []
        until = position
        skips = iter(subscription._skips or ())
        skip_start, skip_end = next(skips, (stop, stop))
        size = 0
        while position < stop and size < max_bytes and len(buffers) < max_buffers:
            index = bisect_right(self._starts, position) - 1
            start = self._starts[index]
            chunk = memoryview(self._chunks[index])
            until = min(start + len(chunk), stop)
            while position < until and len(buffers) < max_buffers:
                # The piece is never empty: no range to skip starts here, nor where another one ends.
                end = min(skip_start, until)
                buffers.append(chunk[position - start : end - start])
                size += end - position
                position = end
                if position == skip_start:
                    position = skip_end
                    skip_start, skip_end = next(skips, (stop, stop))
        return buffers, until

    def advance(self, subscription: Subscription[R], sent: int) -> int:
        """Move the cursor over ``sent`` bytes of its view and its own ranges; return the new position."""
        position = subscription._position
        skips = subscription._skips
        while skips and skips[0][0] <= position + sent:
            start, end = skips.pop(0)
            sent -= start - position
            position = end
        subscription._position = position = position + sent
        return position

    def ready(self, subscription: Subscription[R]) -> bool:
        """Return whether a reader that is behind has bytes to send now.

        If not, it is live again, due at the next seal, or ended.
        """
        position = self._next(subscription)
        if position < self._stop_of(subscription):
            return True
        if subscription._stop is not None and position >= subscription._stop:
            self.end(subscription)
        elif self._sealed < self._end:
            self._due.append(subscription)
        else:
            self.behind.discard(subscription)
            self.rejoin(subscription)
        return False

    def _drop_reader(self) -> None:
        self.readers -= 1
        if not self.readers and self._on_unread is not None:
            self._on_unread()

    def _lapped(self, subscription: Subscription[R]) -> Lapped:
        position = subscription._position
        index = max(0, bisect_right(self._starts, position) - 1)
        return Lapped(subscription, self._chunks[index], position - self._starts[index], self._marks[index])

    def _next(self, subscription: Subscription[R]) -> int:
        """Return the position, moved over the reader's own ranges that start there."""
        return self.advance(subscription, 0)

    def _stop_of(self, subscription: Subscription[R]) -> int:
        stop = subscription._stop
        return self._sealed if stop is None or stop > self._sealed else stop

    def _fall_behind(self, subscription: Subscription[R], position: int) -> None:
        self.live.pop(subscription, None)
        subscription._position = position
        subscription.state = SubscriptionState.BEHIND
        self.behind.add(subscription)
        self._lapping_point = min(self._lapping_point, position)
