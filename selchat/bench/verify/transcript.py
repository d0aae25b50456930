"""Transcript of a room: every byte of every reader, checked at the cost of one ``memcmp`` a read.

To parse each message at each of a thousand readers would cost a microsecond a time, fifty times as much as
the server spends on a delivery. But all readers of a room read the same stream. So the stream is parsed once,
as a `Transcript`, and each reader is a position in it: its bytes are compared with the transcript's.
The first reader to read new bytes extends the transcript.

A reader that also sends does not receive its own messages, so it skips them. It cannot know their place
before another reader has read them, so it never extends the transcript.

A reader whose bytes differ has diverged. From there on its stream is parsed separately, and lost, duplicated
and late messages are counted. Pings and pongs are no difference: they are removed where bytes differ or are
new. While nothing differs, that costs nothing.

It knows bytes and sequence numbers, and no socket.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Mapping

from selchat.bench.histogram import Histogram
from selchat.bench.verify.acks import AckTracker
from selchat.bench.verify.sequences import SeqChecker, SequenceChecker
from selchat.bench.verify.stream import BrokenFramingError, StreamParser
from selchat.bench.wires.wire import CLASSIC, Wire

_MAX_SAMPLES = 8  # latencies taken from one read; each costs 0.3 microseconds
_MIN_TRIM = 1 << 18  # bytes of the transcript before it pays to drop the part that all have read


class Reader:
    """A position in a transcript. Only the transcript changes it."""

    __slots__ = ("burst", "counted", "diverged", "own_count", "own_ranges", "position", "unmatched")

    def __init__(self) -> None:
        self.position = 0
        self.burst = 0  # number of bursts that it has passed
        self.counted = 0  # messages in those bursts, its own too
        self.own_count = 0  # own messages that it has passed
        self.own_ranges: deque[tuple[int, int]] | None = None  # of a sender: the places of its messages
        self.unmatched = b""  # read but not compared: beyond the transcript, or the beginning of a ping
        self.diverged: StreamParser | None = None  # parses its stream once that differs


class Counters:
    """Counters that all transcripts of a load generator share."""

    def __init__(self) -> None:
        self.deliveries = 0
        self.reads = 0
        self.bytes = 0  # read by all readers together
        self.latencies = Histogram()
        self.reached: list[Transcript] = []  # transcripts whose readers have all reached the goal
        self.pings: list[tuple[Reader, bytes]] = []  # unanswered pings, with their payloads


class Transcript:
    """The stream that all readers of one room share."""

    def __init__(self, run: bytes, wire: Wire = CLASSIC, counters: Counters | None = None) -> None:
        self.sequences = SequenceChecker()
        self.seqs = SeqChecker()
        self.counters = counters or Counters()
        self.diverged = 0  # readers
        self.behind = 0  # readers that have not reached the goal
        self.total = 0  # messages in the transcript
        self.goal = 0  # messages that all readers should have by now
        self._run = run
        self._wire = wire
        self._readers: dict[Reader, None] = {}
        self._diverged_readers: list[Reader] = []
        self._senders: dict[bytes, Reader] = {}
        self._acks: dict[bytes, AckTracker] = {}  # of the senders, on a wire with acks
        self._waiting: dict[Reader, None] = {}  # readers with unmatched bytes
        self._data = bytearray()  # from `_base` on
        self._base = 0
        self._end = 0
        self._parsed = 0  # end of the last whole message
        self._framing = wire.framing
        self._decoder = wire.framing.decoder()
        self._in_pair = False
        self._frame_end = 0  # end of the last whole frame
        # Bursts: consecutive messages of one sender with one stamp.
        self._first_burst = 0  # number of bursts that were dropped
        self._ends: list[int] = []
        self._counts: list[int] = []
        self._totals: list[int] = []  # messages up to and including this burst
        self._stamps: list[int] = []
        self._firsts: list[tuple[bytes, int]] = []  # sender, and the sequence number of its first message
        self._goal_at = sys.maxsize  # the position at which the goal is reached, once it is known

    @property
    def retained_bytes(self) -> int:
        """Bytes of the stream in memory."""
        return len(self._data)

    @property
    def retained_bursts(self) -> int:
        """Bursts of messages in memory."""
        return len(self._ends)

    def add(self, reader: Reader, name: bytes | None = None, acks: AckTracker | None = None) -> None:
        """Check that reader from here on. With ``name``, it also sends under that name."""
        self._readers[reader] = None
        if name is not None:
            reader.own_ranges = deque()
            self._senders[name] = reader
            if acks is not None:
                self._acks[name] = acks

    def expect(self, messages: int) -> None:
        """Raise the goal by that many messages; ``behind`` counts the readers that lack some of them."""
        self.goal += messages
        self._goal_at = sys.maxsize
        self.behind = len(self._readers)
        self._locate_goal()

    def receive(self, reader: Reader, data: memoryview, now: int) -> None:
        """Check bytes that the reader read at ``now`` nanoseconds. Raises `BrokenFramingError`."""
        size = len(data)
        counters = self.counters
        counters.reads += 1
        counters.bytes += size
        if reader.diverged is not None:
            self._receive_diverged(reader.diverged, bytes(data), now)
            return
        if reader.own_ranges is not None:
            self._receive_sender(reader, bytes(data), now)
            return
        if reader.unmatched:
            data, reader.unmatched = memoryview(reader.unmatched + data), b""
            size = len(data)
        position = reader.position
        known = self._end - position
        start = position - self._base
        # A slice of a bytearray is a copy and still the fast way: memoryviews compare item by item.
        while known > 0 and self._data[start : start + size] != (data if known >= size else data[:known]):
            kept, unmatched = self._split_controls(reader, self._partial_frame(reader), bytes(data))
            reader.unmatched = unmatched or reader.unmatched
            if len(kept) == size:
                self._diverge(reader, kept, now)
                return
            data, size = memoryview(kept), len(kept)
        if known < size:
            partial = bytes(self._data[self._frame_end - self._base :])
            kept, unmatched = self._split_controls(reader, partial, bytes(data[known:]))
            reader.unmatched = unmatched or reader.unmatched
            size = known + len(kept)
            self._extend(kept)
        self._advance(reader, position + size)
        self._count(reader, now)
        if known < size and self._waiting:
            for sender in tuple(self._waiting):
                self._receive_sender(sender, b"", now)

    def trim(self) -> None:
        """Drop the part that all have read. It costs a step for each reader, so it waits until it pays."""
        if len(self._data) < _MIN_TRIM or not self._readers:
            return
        burst = min(reader.burst for reader in self._readers) - self._first_burst
        if not burst:
            return
        # Stop at the end of a message: from there on a stream can be parsed separately.
        position = self._ends[burst - 1]
        del self._data[: position - self._base]
        self._base = position
        for column in (self._ends, self._counts, self._totals, self._stamps, self._firsts):
            del column[:burst]
        self._first_burst += burst

    def lost(self, sent: int, own: Mapping[bytes, int]) -> int:
        """Return how many deliveries are missing.

        The senders of the room sent ``sent`` messages in all. ``own``: how many of them each sender sent that
        is a reader here, because it does not receive its own.
        """
        own_missing = sum(count - self.sequences.unique_of(name) for name, count in own.items())
        missing = max(0, sent - self.sequences.unique) * len(self._readers) - own_missing
        missing += sum(self.total - reader.counted for reader in self._readers)
        for reader in self._diverged_readers:
            assert reader.diverged is not None
            missing += max(0, sent - reader.own_count - reader.diverged.sequences.unique)
        return max(0, missing)

    def duplicated(self) -> int:
        """Return how many deliveries were repetitions."""
        return self._deliveries_of(self.sequences.duplicated) + sum(
            reader.diverged.sequences.duplicated.total()
            for reader in self._diverged_readers
            if reader.diverged
        )

    def reordered(self) -> int:
        """Return how many deliveries came after a later message of the same sender."""
        return self._deliveries_of(self.sequences.reordered) + sum(
            reader.diverged.sequences.reordered.total()
            for reader in self._diverged_readers
            if reader.diverged
        )

    def misnumbered(self) -> int:
        """Return how many deliveries had a ``seq`` that did not follow the previous one of their room."""
        return self._deliveries_of(self.seqs.wrong) + sum(
            reader.diverged.seqs.wrong.total() for reader in self._diverged_readers if reader.diverged
        )

    def _deliveries_of(self, messages: Counter[bytes]) -> int:
        """Return how many deliveries these messages were, to all readers together."""
        return sum(count * (len(self._readers) - (name in self._senders)) for name, count in messages.items())

    # ----------------------------------------------------------------------------------------------------

    def _extend(self, data: bytes) -> None:
        self._data += data
        self._end += len(data)
        first_new = len(self._ends)
        pairs, parse, size_of = self._wire.pairs, self._wire.parse, self._framing.size
        for payload in self._decoder.receive_data(data):
            self._frame_end += size_of(len(payload))
            if pairs:
                self._in_pair = not self._in_pair
                if self._in_pair:
                    continue
            start, self._parsed = self._parsed, self._frame_end
            message = parse(payload, self._run)
            if message is None:
                continue
            name, sequence, stamp, room, seq = message
            self.sequences.record(name, sequence)
            if seq:
                self.seqs.record(name, room, seq)
                if name in self._acks:
                    self._acks[name].record_seq(sequence, seq)
            self.total += 1
            sender = self._senders.get(name)
            if sender is not None and sender.own_ranges is not None:
                sender.own_ranges.append((start, self._frame_end))
            if len(self._ends) > first_new and self._stamps[-1] == stamp and self._firsts[-1][0] == name:
                self._ends[-1] = self._frame_end
                self._counts[-1] += 1
                self._totals[-1] += 1
            else:
                self._ends.append(self._frame_end)
                self._counts.append(1)
                self._totals.append(self.total)
                self._stamps.append(stamp)
                self._firsts.append((name, sequence))
            if sender is not None and sender.position == start:
                self._waiting[sender] = None  # it can skip this message without reading any more
        if self._decoder.error is not None:
            raise BrokenFramingError(str(self._decoder.error))
        self._locate_goal()

    def _locate_goal(self) -> None:
        if self._goal_at == sys.maxsize and self.total >= self.goal:
            self._goal_at = self._parsed
            self.behind = sum(reader.position < self._goal_at for reader in self._readers)
            if not self.behind:
                self.counters.reached.append(self)

    def _advance(self, reader: Reader, position: int) -> None:
        if reader.position < self._goal_at <= position:
            self._mark_reached()
        reader.position = position

    def _mark_reached(self) -> None:
        self.behind -= 1
        if not self.behind:
            self.counters.reached.append(self)

    def _count(self, reader: Reader, now: int) -> None:
        """Count the messages that the reader has passed, and add their latencies."""
        start = reader.burst - self._first_burst
        end = bisect_right(self._ends, reader.position, start)
        if start == end:
            return
        total = self._totals[end - 1]
        self.counters.deliveries += total - reader.counted
        reader.counted = total
        reader.burst += end - start
        counts, stamps, add = self._counts, self._stamps, self.counters.latencies.add
        step = 1 + (end - start - 1) // _MAX_SAMPLES
        for index in range(start + reader.burst % step, end, step):
            if reader.own_ranges is None or self._senders.get(self._firsts[index][0]) is not reader:
                add((now - stamps[index]) // 1000, counts[index] * step)

    def _receive_sender(self, reader: Reader, data: bytes, now: int) -> None:
        own_ranges = reader.own_ranges
        assert own_ranges is not None
        data, rest = self._split_controls(reader, self._partial_frame(reader), reader.unmatched + data)
        reader.unmatched = rest
        done = 0
        while True:
            position = reader.position
            if own_ranges and position == own_ranges[0][0]:
                self._advance(reader, own_ranges.popleft()[1])
                reader.own_count += 1
                self.counters.deliveries -= 1
                continue
            size = min(len(data) - done, (own_ranges[0][0] if own_ranges else self._parsed) - position)
            if size <= 0:
                break
            start = position - self._base
            if self._data[start : start + size] != data[done : done + size]:
                self._diverge(reader, data[done:], now)
                return
            done += size
            self._advance(reader, position + size)
        reader.unmatched = data[done:] + rest
        if reader.unmatched:
            self._waiting[reader] = None
        else:
            self._waiting.pop(reader, None)
        self._count(reader, now)

    def _diverge(self, reader: Reader, data: bytes, now: int) -> None:
        """Parse this reader's stream separately from now on, beginning with its current frame."""
        self.diverged += 1
        del self._readers[reader]
        self._waiting.pop(reader, None)
        if reader.position < self._goal_at:
            self._mark_reached()
        kept = reader.burst - self._first_burst
        undo = [
            (name, sequence)
            for (name, first), count in zip(self._firsts[kept:], self._counts[kept:], strict=True)
            for sequence in range(first, first + count)
        ]
        sequences = self.sequences.rewound(undo)
        sequences.unique = reader.counted - reader.own_count
        own = next((name for name, sender in self._senders.items() if sender is reader), None)
        pings = self.counters.pings
        reader.diverged = StreamParser(
            self._run, self._wire, sequences, own, lambda payload: pings.append((reader, payload))
        )
        self._diverged_readers.append(reader)
        before, unmatched, reader.unmatched = self._partial_frame(reader), reader.unmatched, b""
        self._receive_diverged(reader.diverged, before + data + unmatched, now)

    def _partial_frame(self, reader: Reader) -> bytes:
        """Return the bytes that the reader has passed since the end of its last burst."""
        kept = reader.burst - self._first_burst
        boundary = self._ends[kept - 1] if kept else self._base
        return bytes(self._data[boundary - self._base : reader.position - self._base])

    def _split_controls(self, reader: Reader, before: bytes, data: bytes) -> tuple[bytes, bytes]:
        """Return ``data`` without pings and pongs, and a trailing part that may begin one."""
        kept, rest, pings = self._framing.split_controls(before, data)
        self.counters.pings += [(reader, payload) for payload in pings]
        return kept, rest

    def _receive_diverged(self, parser: StreamParser, data: bytes, now: int) -> None:
        counters = self.counters
        for message in parser.receive(data):
            counters.deliveries += 1
            counters.latencies.add((now - message.stamp) // 1000)
