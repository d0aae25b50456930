"""A feed: the append-only byte log of one room in one wire format, and the cursors that read it.

Every frame is encoded once and appended once. At the end of a tick the feed is *sealed*: what came since
the last seal becomes one chunk, and that chunk is handed to everyone. A reader has no buffer of its own;
it has a position.

- *live* readers stand exactly at the sealed edge, so they need no position: the loop that serves them is
  ``for send in live: send(chunk)``.
- *writing* readers stand there too, and are the authors of something in this tick, which is not echoed to
  them: they get the chunk less the ranges that are their own.
- *behind* readers have a position of their own: their socket was full, they joined in mid-tick, or they are
  leaving. They skip their own ranges as well.

Memory is bounded by ``limit`` (and one chunk), never by the slowest reader: one that falls off the tail
is *lapped*. Whoever appends can set a `Feed.mark`, a number that tells a lapped reader how far it has come.

Positions count bytes from the feed's beginning. This file imports nothing of the project; what a reader
is, it does not know.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Generic, NamedTuple, TypeVar

R = TypeVar("R")

Send = Callable[[bytes], int]
"""How a live reader takes a chunk: returns how many bytes it took, as ``socket.send`` does."""

_FEW = 8  # readers behind, whose positions are looked at each time; each costs 0.3 microseconds


class SubscriptionState(Enum):
    """``LIVE``, ``WRITING`` and ``BEHIND`` change into each other; ``ENDED`` is final."""

    LIVE = auto()
    WRITING = auto()
    BEHIND = auto()
    ENDED = auto()


class Subscription(Generic[R]):
    """One reader's cursor. Made by `Feed.subscribe`; changed by its feed alone."""

    __slots__ = ("_position", "_send", "_skips", "_stop", "feed", "reader", "state")

    def __init__(self, feed: Feed[R], reader: R, send: Send) -> None:
        self.feed = feed
        self.reader = reader
        self.state = SubscriptionState.LIVE
        self._send = send
        self._position = 0  # of the next byte; stale while not behind
        self._stop: int | None = None  # where a leaving reader ends
        self._skips: list[tuple[int, int]] | None = None  # its own ranges still ahead; None: it only reads


class Lapped(NamedTuple):
    """A reader that fell off the tail, and where it was: ``offset`` bytes into that ``chunk``.

    ``mark`` is the feed's, of when the chunk before that one was sealed.
    """

    subscription: Subscription[Any]
    chunk: bytes
    offset: int
    mark: int


class Feed(Generic[R]):
    """The byte log. ``limit``: how many sealed bytes are kept for those behind."""

    __slots__ = (
        "_chunks",
        "_due",
        "_end",
        "_lapping_point",
        "_limit",
        "_marks",
        "_pending",
        "_sealed",
        "_sealed_mark",
        "_starts",
        "_writing",
        "behind",
        "live",
        "mark",
    )

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pending: list[bytes] = []  # appended and not sealed
        self._end = 0  # of what was appended
        self._sealed = 0  # end of what was sealed
        self._chunks: deque[bytes] = deque()  # sealed and kept, with their starts
        self._starts: deque[int] = deque()
        self._marks: deque[int] = deque()
        self.mark = 0  # of what was appended
        self._sealed_mark = 0  # of what was sealed
        self.live: dict[Subscription[R], Send] = {}
        self._writing: list[Subscription[R]] = []
        self.behind: set[Subscription[R]] = set()
        self._due: list[Subscription[R]] = []  # behind, and not because their socket is full
        self._lapping_point = 0  # no one behind has a position below this

    @property
    def sealed(self) -> int:
        """The position up to which everything is sealed."""
        return self._sealed

    @property
    def retained(self) -> int:
        """How many sealed bytes are kept, for those behind."""
        return self._sealed - self._starts[0] if self._starts else 0

    # -- writing ---------------------------------------------------------------------------------------

    def append(self, data: bytes, author: Subscription[R] | None = None) -> None:
        """Add whole frames. ``author``, a subscription of this feed, will not be sent them."""
        if not data:
            return  # a wire without words for it; nobody is the author of nothing
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
        """Join what was appended since the last seal into one chunk, keep it, and return it."""
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
        """Return for everyone who was writing what they get of the chunk just sealed, and its size in bytes.

        Say `rejoin` or `mark_short_write` for each of them. One whose share is in more than ``max_buffers`` pieces is
        not among them but behind, and due.
        """
        shares: list[tuple[Subscription[R], list[memoryview], int]] = []
        if not self._writing:
            return shares
        writing, self._writing = self._writing, []
        chunk = memoryview(self._chunks[-1])
        base = self._starts[-1]
        for subscription in writing:
            if subscription.state is not SubscriptionState.WRITING:
                continue  # it left, or its wire got busy, in the same tick
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
        """Forget the chunks over the limit, or all if nobody is behind; return who was lapped by that.

        ``limit``: for this once, instead of the usual one.

        A chunk is forgotten once the limit fits into what came after it, so that whoever is lapped had
        more than the limit to read, and a large chunk laps nobody who has read it nearly to its end.
        """
        chunks, starts, marks = self._chunks, self._starts, self._marks
        limit = self._limit if limit is None else limit
        if not self.behind:
            chunks.clear()
            starts.clear()
            marks.clear()
            return []
        forgotten = 0
        if len(self.behind) <= _FEW:
            # An author is behind for as long as its receipt waits, and would keep the chunks of every tick.
            lowest = min(map(self._next, self.behind))
            while forgotten < len(chunks) and starts[forgotten] + len(chunks[forgotten]) <= lowest:
                forgotten += 1
        while len(chunks) - forgotten > 1 and self._sealed - starts[forgotten + 1] >= limit:
            forgotten += 1
        tail = starts[forgotten] if forgotten < len(starts) else self._sealed
        lapped: list[Lapped] = []
        if tail > self._lapping_point:
            # The scan costs one step for each one behind; it is not made again before the tail has passed the
            # lowest position found now.
            lapped = [
                self._lapped(subscription)
                for subscription in self.behind
                if self._next(subscription)
                < min(tail, self._stop_of(subscription))  # a leaver may have it all
            ]
            self._lapping_point = min(
                (subscription._position for subscription in self.behind if subscription._position >= tail),
                default=self._sealed,
            )
        for _ in range(forgotten):
            chunks.popleft()
            starts.popleft()
            marks.popleft()
        return lapped

    # -- reading ---------------------------------------------------------------------------------------

    def subscribe(self, reader: R, send: Send) -> Subscription[R]:
        """Return a new cursor at the end: it reads what is appended from now on."""
        subscription = Subscription(self, reader, send)
        if self._end == self._sealed:
            self.live[subscription] = send
        else:
            self._fall_behind(subscription, self._end)
            self._due.append(subscription)
        return subscription

    def leave(self, subscription: Subscription[R]) -> None:
        """Let it read what has been appended so far and no further; it ends when it has that."""
        if subscription._stop is not None or subscription.state is SubscriptionState.ENDED:
            return
        subscription._stop = self._end
        if subscription.state is not SubscriptionState.BEHIND:
            self._fall_behind(subscription, self._sealed)
            self._due.append(subscription)

    def end(self, subscription: Subscription[R]) -> None:
        """Take the cursor away at once."""
        self.live.pop(subscription, None)
        self.behind.discard(subscription)
        subscription.state = SubscriptionState.ENDED
        subscription._skips = None

    def rejoin(self, subscription: Subscription[R]) -> None:
        """Make one live that has all that is sealed, when nothing is pending."""
        subscription._skips = None
        subscription.state = SubscriptionState.LIVE
        self.live[subscription] = subscription._send

    def mark_short_write(self, subscription: Subscription[R], sent: int) -> None:
        """Note that a live or writing reader took only ``sent`` bytes of its share of the newest chunk."""
        self._fall_behind(subscription, self._starts[-1])
        self.advance(subscription, sent)

    def detach(self, subscription: Subscription[R]) -> None:
        """Give a live reader a position, for the time in which its wire is busy with other bytes."""
        if subscription.state is SubscriptionState.LIVE or subscription.state is SubscriptionState.WRITING:
            self._fall_behind(subscription, self._sealed)

    def due(self) -> list[Subscription[R]]:
        """Return those who can be served now, other than the live ones, and forget the list."""
        due, self._due = self._due, []
        return due

    def view(
        self, subscription: Subscription[R], max_bytes: int, max_buffers: int
    ) -> tuple[list[memoryview], int]:
        """Return what it has not had, less its own, and the position at which the last chunk touched ends.

        The buffers are slices of the chunks, never copies; about ``max_bytes`` and at most
        ``max_buffers`` of them. The position bounds the bytes that belong together on the wire: up to
        there nothing else may come in between once a part of them was sent.
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
                # There is something before the next range to skip: none starts here, nor where one has ended.
                end = min(skip_start, until)
                buffers.append(chunk[position - start : end - start])
                size += end - position
                position = end
                if position == skip_start:
                    position = skip_end
                    skip_start, skip_end = next(skips, (stop, stop))
        return buffers, until

    def advance(self, subscription: Subscription[R], sent: int) -> int:
        """Move the cursor over ``sent`` bytes of its view, and over its own; return its new position."""
        position = subscription._position
        skips = subscription._skips
        while skips and skips[0][0] <= position + sent:
            start, end = skips.pop(0)
            sent -= start - position
            position = end
        subscription._position = position = position + sent
        return position

    def ready(self, subscription: Subscription[R]) -> bool:
        """Whether one that is behind has something to be sent now.

        If it has not, it is live again, or due when the feed is next sealed, or has ended.
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

    def _lapped(self, subscription: Subscription[R]) -> Lapped:
        position = subscription._position
        index = max(0, bisect_right(self._starts, position) - 1)
        return Lapped(subscription, self._chunks[index], position - self._starts[index], self._marks[index])

    def _next(self, subscription: Subscription[R]) -> int:
        """Return its position, moved over its own ranges that start right there."""
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
