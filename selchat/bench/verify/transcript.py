"""Is every message everywhere, once and in order? Knows bytes and sequence numbers, and no socket.

A message's payload is ``name|sequence|stamp|padding``, which in the selchat protocol is a body. To parse each at
each of a thousand readers would cost a microsecond a time, fifty times what the server pays for a delivery.
But all readers of a room read the same stream, so it is parsed once, as a `Transcript`, and each reader is a
position in it: its bytes are compared with the transcript's, which is one ``memcmp`` for each read. Who is
first to read something extends the transcript. Thus every byte is checked at every reader.

A member who also talks does not get its own messages: it skips them. As it cannot know where they belong
before somebody else has read them, it never extends the transcript.

A reader whose bytes differ has diverged: from there on its stream is parsed by itself, so that what it
missed, got twice or got late is counted. Only pings do not count: where bytes differ, or are new, what is for
one reader alone is looked for, and taken out. As long as nothing differs, that costs nothing.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Mapping

from selchat.bench.histogram import Histogram
from selchat.bench.wires.framing import ignore
from selchat.bench.wires.wires import CLASSIC, Message, Receipts, Wire

_MAX_SAMPLES = 8  # latencies taken from one read; each costs 0.3 microseconds
_KEPT = 1 << 18  # bytes of the transcript before the part that all have read is forgotten


class BrokenFramingError(Exception):
    """The server sent something that is not a frame."""


class SequenceChecker:
    """Takes the sequence numbers of any number of senders, in the order in which they came."""

    def __init__(self) -> None:
        self.unique = 0  # messages, each counted once
        self.duplicated: Counter[bytes] = Counter()  # by sender
        self.reordered: Counter[bytes] = Counter()  # came after one that was sent later
        self._next: dict[bytes, int] = {}
        self._missing: dict[bytes, set[int]] = {}

    def take(self, name: bytes, sequence: int) -> None:
        """Note that this message has come."""
        expected = self._next.get(name, 0)
        if sequence == expected:
            self.unique += 1
            self._next[name] = sequence + 1
        elif sequence > expected:
            self.unique += 1
            self._missing.setdefault(name, set()).update(range(expected, sequence))
            self._next[name] = sequence + 1
        elif sequence in (missing := self._missing.get(name, ())):
            assert isinstance(missing, set)
            missing.remove(sequence)
            self.unique += 1
            self.reordered[name] += 1
        else:
            self.duplicated[name] += 1

    def unique_of(self, name: bytes) -> int:
        """Return how many messages of that sender have come, each counted once."""
        return self._next.get(name, 0) - len(self._missing.get(name, ()))

    def rewound(self, undo: list[tuple[bytes, int]]) -> SequenceChecker:
        """Return what this was before the latest messages ``undo``, with no errors counted."""
        earlier = SequenceChecker()
        earlier._next = dict(self._next)
        earlier.unique = self.unique - len(undo)
        for name, sequence in undo:
            earlier._next[name] = min(earlier._next.get(name, sequence), sequence)
        return earlier


class NumberChecker:
    """Takes the numbers that the server gives to the messages of each room: each is the last one's plus 1.

    ``holes``: whether some may be missing, as those of one's own messages are.
    """

    def __init__(self, holes: bool = False) -> None:
        self.wrong: Counter[bytes] = Counter()  # messages, by sender
        self._holes = holes
        self._last: dict[bytes, int] = {}

    def take(self, name: bytes, room: bytes, number: int) -> None:
        """Note that the message with that number has come, from the sender of that name."""
        last = self._last.get(room)
        if last is not None and number != last + 1 and not (self._holes and number > last):
            self.wrong[name] += 1
        self._last[room] = number


class StreamParser:
    """The stream of one reader, parsed by itself. ``own``: the name whose messages do not count.

    ``asked`` is called with what a ping has said.
    """

    def __init__(
        self,
        run: bytes,
        wire: Wire,
        checker: SequenceChecker,
        own: bytes | None = None,
        asked: Callable[[bytes], object] = ignore,
    ) -> None:
        self.checker = checker
        self.numbers = NumberChecker(holes=own is not None)
        self._wire = wire
        self._run = run
        self._own = own
        self._decoder = wire.framing.decoder(asked)

    def receive(self, data: bytes) -> list[Message]:
        """Take the next bytes; return each message that they complete."""
        messages = []
        # Users and bodies need not be told apart: a username is too short to be taken for a message.
        for payload in self._decoder.receive_data(data):
            message = self._wire.parse(payload, self._run)
            if message is not None and message.name != self._own:
                self.checker.take(message.name, message.sequence)
                if message.number:
                    self.numbers.take(message.name, message.room, message.number)
                messages.append(message)
        if self._decoder.error is not None:
            raise BrokenFramingError(str(self._decoder.error))
        return messages


class Reader:
    """A position in a transcript. Changed by its transcript alone."""

    __slots__ = ("ahead", "mark", "own", "position", "seen", "skips", "stray")

    def __init__(self) -> None:
        self.position = 0
        self.mark = 0  # how many marks it has passed
        self.seen = 0  # messages in those marks, its own too
        self.own = 0  # messages of its own that it has passed
        self.skips: deque[tuple[int, int]] | None = None  # a talker's: where its own messages are
        self.ahead = b""  # read and not compared: further than the transcript, or a ping's beginning
        self.stray: StreamParser | None = None  # has diverged


class Tally:
    """What is counted for all transcripts together."""

    def __init__(self) -> None:
        self.deliveries = 0
        self.reads = 0
        self.bytes = 0  # read by all readers together
        self.latencies = Histogram()
        self.reached: list[Transcript] = []  # those of which all readers have come to the goal
        self.pings: list[tuple[Reader, bytes]] = []  # to be answered: who was asked, and what was said


class Transcript:
    """The stream that all these readers share, from where it was started: that of one room."""

    def __init__(self, run: bytes, wire: Wire = CLASSIC, tally: Tally | None = None) -> None:
        self.checker = SequenceChecker()
        self.numbers = NumberChecker()
        self.tally = tally or Tally()
        self.diverged = 0  # readers
        self.lagging = 0  # readers that have not reached the goal
        self.total = 0  # messages in the transcript
        self.goal = 0  # messages that all readers should have by now
        self._run = run
        self._wire = wire
        self._readers: dict[Reader, None] = {}
        self._strays: list[Reader] = []
        self._talkers: dict[bytes, Reader] = {}
        self._receipts: dict[bytes, Receipts] = {}  # of the talkers, where they get any
        self._waiting: dict[Reader, None] = {}  # with something ahead
        self._data = bytearray()  # kept, from `_base` on
        self._base = 0
        self._end = 0
        self._parsed = 0  # position up to which there are whole messages
        self._framing = wire.framing
        self._decoder = wire.framing.decoder()
        self._in_pair = False
        self._at = 0  # position up to which there are whole frames
        # Marks: messages that came together, of one sender and with one stamp.
        self._first = 0  # how many marks were forgotten
        self._ends: list[int] = []
        self._counts: list[int] = []
        self._totals: list[int] = []  # messages up to and with this mark
        self._stamps: list[int] = []
        self._messages: list[tuple[bytes, int]] = []  # name, and the sequence number of its first
        self._goal_at = sys.maxsize  # the position at which the goal is reached, once it is known

    def add(self, reader: Reader, name: bytes | None = None, receipts: Receipts | None = None) -> None:
        """Have that reader checked from here on; ``name``: it also talks, under that name."""
        self._readers[reader] = None
        if name is not None:
            reader.skips = deque()
            self._talkers[name] = reader
            if receipts is not None:
                self._receipts[name] = receipts

    def aim(self, messages: int) -> None:
        """Set the goal to that many messages more; ``lagging`` counts the readers without them."""
        self.goal += messages
        self._goal_at = sys.maxsize
        self.lagging = len(self._readers)
        self._look_for_goal()

    def receive(self, reader: Reader, data: memoryview, now: int) -> None:
        """Check what that reader has read, at ``now`` nanoseconds. Raises `BrokenFramingError`."""
        size = len(data)
        tally = self.tally
        tally.reads += 1
        tally.bytes += size
        if reader.stray is not None:
            self._receive_stray(reader.stray, bytes(data), now)
            return
        if reader.skips is not None:
            self._receive_talker(reader, bytes(data), now)
            return
        if reader.ahead:
            data, reader.ahead = memoryview(reader.ahead + data), b""
            size = len(data)
        position = reader.position
        known = self._end - position
        start = position - self._base
        # A slice of a bytearray is a copy and still the fast way: memoryviews compare item by item.
        while known > 0 and self._data[start : start + size] != (data if known >= size else data[:known]):
            left, ahead = self._sift(reader, self._begun(reader), bytes(data))
            reader.ahead = ahead or reader.ahead
            if len(left) == size:
                self._diverge(reader, left, now)
                return
            data, size = memoryview(left), len(left)
        if known < size:
            begun = bytes(self._data[self._at - self._base :])
            left, ahead = self._sift(reader, begun, bytes(data[known:]))
            reader.ahead = ahead or reader.ahead
            size = known + len(left)
            self._extend(left)
        self._advance(reader, position + size)
        self._account(reader, now)
        if known < size and self._waiting:
            for talker in tuple(self._waiting):
                self._receive_talker(talker, b"", now)

    def forget(self) -> None:
        """Forget what all have read. Costs a step for each reader, so it waits until it is worth it."""
        if len(self._data) < _KEPT or not self._readers:
            return
        mark = min(reader.mark for reader in self._readers) - self._first
        if not mark:
            return
        # No further than to the end of a message: from there on a stream can be parsed by itself.
        position = self._ends[mark - 1]
        del self._data[: position - self._base]
        self._base = position
        for marks in (self._ends, self._counts, self._totals, self._stamps, self._messages):
            del marks[:mark]
        self._first += mark

    def lost(self, sent: int, said: Mapping[bytes, int]) -> int:
        """Return how many deliveries are missing.

        ``sent`` messages in all were sent to all; ``said`` of these by each of the talkers here, who do
        not get their own.
        """
        own = sum(times - self.checker.unique_of(name) for name, times in said.items())
        missing = max(0, sent - self.checker.unique) * len(self._readers) - own
        missing += sum(self.total - reader.seen for reader in self._readers)
        for reader in self._strays:
            assert reader.stray is not None
            missing += max(0, sent - reader.own - reader.stray.checker.unique)
        return max(0, missing)

    def duplicated(self) -> int:
        """Return how many deliveries came again."""
        return self._deliveries_of(self.checker.duplicated) + sum(
            reader.stray.checker.duplicated.total() for reader in self._strays if reader.stray
        )

    def reordered(self) -> int:
        """Return how many deliveries came after one that was sent later by the same sender."""
        return self._deliveries_of(self.checker.reordered) + sum(
            reader.stray.checker.reordered.total() for reader in self._strays if reader.stray
        )

    def misnumbered(self) -> int:
        """Return how many deliveries had a number that was not the one after the last of their room."""
        return self._deliveries_of(self.numbers.wrong) + sum(
            reader.stray.numbers.wrong.total() for reader in self._strays if reader.stray
        )

    def _deliveries_of(self, messages: Counter[bytes]) -> int:
        """Return how many readers these messages had, together."""
        return sum(times * (len(self._readers) - (name in self._talkers)) for name, times in messages.items())

    # ----------------------------------------------------------------------------------------------------

    def _extend(self, data: bytes) -> None:
        self._data += data
        self._end += len(data)
        fresh = len(self._ends)
        pairs, parse, size_of = self._wire.pairs, self._wire.parse, self._framing.size
        for payload in self._decoder.receive_data(data):
            self._at += size_of(len(payload))
            if pairs:
                self._in_pair = not self._in_pair
                if self._in_pair:
                    continue
            start, self._parsed = self._parsed, self._at
            message = parse(payload, self._run)
            if message is None:
                continue
            name, sequence, stamp, room, number = message
            self.checker.take(name, sequence)
            if number:
                self.numbers.take(name, room, number)
                if name in self._receipts:
                    self._receipts[name].seen(sequence, number)
            self.total += 1
            owner = self._talkers.get(name)
            if owner is not None and owner.skips is not None:
                owner.skips.append((start, self._at))
            if len(self._ends) > fresh and self._stamps[-1] == stamp and self._messages[-1][0] == name:
                self._ends[-1] = self._at
                self._counts[-1] += 1
                self._totals[-1] += 1
            else:
                self._ends.append(self._at)
                self._counts.append(1)
                self._totals.append(self.total)
                self._stamps.append(stamp)
                self._messages.append((name, sequence))
            if owner is not None and owner.position == start:
                self._waiting[owner] = None  # nothing more need come before it can skip this
        if self._decoder.error is not None:
            raise BrokenFramingError(str(self._decoder.error))
        self._look_for_goal()

    def _look_for_goal(self) -> None:
        if self._goal_at == sys.maxsize and self.total >= self.goal:
            self._goal_at = self._parsed
            self.lagging = sum(reader.position < self._goal_at for reader in self._readers)
            if not self.lagging:
                self.tally.reached.append(self)

    def _advance(self, reader: Reader, position: int) -> None:
        if reader.position < self._goal_at <= position:
            self._reached()
        reader.position = position

    def _reached(self) -> None:
        self.lagging -= 1
        if not self.lagging:
            self.tally.reached.append(self)

    def _account(self, reader: Reader, now: int) -> None:
        """Count the messages that the reader has passed, and their latencies."""
        start = reader.mark - self._first
        end = bisect_right(self._ends, reader.position, start)
        if start == end:
            return
        seen = self._totals[end - 1]
        self.tally.deliveries += seen - reader.seen
        reader.seen = seen
        reader.mark += end - start
        counts, stamps, add = self._counts, self._stamps, self.tally.latencies.add
        step = 1 + (end - start - 1) // _MAX_SAMPLES
        for index in range(start + reader.mark % step, end, step):
            if reader.skips is None or self._talkers.get(self._messages[index][0]) is not reader:
                add((now - stamps[index]) // 1000, counts[index] * step)

    def _receive_talker(self, reader: Reader, data: bytes, now: int) -> None:
        skips = reader.skips
        assert skips is not None
        data, rest = self._sift(reader, self._begun(reader), reader.ahead + data)
        reader.ahead = rest
        done = 0
        while True:
            position = reader.position
            if skips and position == skips[0][0]:
                self._advance(reader, skips.popleft()[1])
                reader.own += 1
                self.tally.deliveries -= 1
                continue
            take = min(len(data) - done, (skips[0][0] if skips else self._parsed) - position)
            if take <= 0:
                break
            start = position - self._base
            if self._data[start : start + take] != data[done : done + take]:
                self._diverge(reader, data[done:], now)
                return
            done += take
            self._advance(reader, position + take)
        reader.ahead = data[done:] + rest
        if reader.ahead:
            self._waiting[reader] = None
        else:
            self._waiting.pop(reader, None)
        self._account(reader, now)

    def _diverge(self, reader: Reader, data: bytes, now: int) -> None:
        """Parse this reader's stream by itself from now on, beginning with the frame that it is in."""
        self.diverged += 1
        del self._readers[reader]
        self._waiting.pop(reader, None)
        if reader.position < self._goal_at:
            self._reached()
        kept = reader.mark - self._first
        undo = [
            (name, sequence)
            for (name, first), count in zip(self._messages[kept:], self._counts[kept:], strict=True)
            for sequence in range(first, first + count)
        ]
        checker = self.checker.rewound(undo)
        checker.unique = reader.seen - reader.own
        own = next((name for name, talker in self._talkers.items() if talker is reader), None)
        pings = self.tally.pings
        reader.stray = StreamParser(
            self._run, self._wire, checker, own, lambda said: pings.append((reader, said))
        )
        self._strays.append(reader)
        before, ahead, reader.ahead = self._begun(reader), reader.ahead, b""
        self._receive_stray(reader.stray, before + data + ahead, now)

    def _begun(self, reader: Reader) -> bytes:
        """Return what the reader has passed since the end of a message: it ends within a frame, perhaps."""
        kept = reader.mark - self._first
        boundary = self._ends[kept - 1] if kept else self._base
        return bytes(self._data[boundary - self._base : reader.position - self._base])

    def _sift(self, reader: Reader, begun: bytes, data: bytes) -> tuple[bytes, bytes]:
        """Return ``data`` without what is for that reader alone, and what may be the beginning of that."""
        left, rest, pings = self._framing.sift(begun, data)
        self.tally.pings += [(reader, said) for said in pings]
        return left, rest

    def _receive_stray(self, stray: StreamParser, data: bytes, now: int) -> None:
        tally = self.tally
        for message in stray.receive(data):
            tally.deliveries += 1
            tally.latencies.add((now - message.stamp) // 1000)
