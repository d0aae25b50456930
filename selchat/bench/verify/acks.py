"""Acknowledgement checker: is each message of a sender acknowledged once, with the right ``seq``?"""

from __future__ import annotations

from collections import deque

from selchat.bench.histogram import Histogram
from selchat.bench.wires.framing import LENGTH_HEADERS, Framing
from selchat.bench.wires.messages import ACK_PREFIX, ERROR_PREFIX, find_error_code, parse_ack
from selchat.limits import HEADER_LENGTH

_MAX_PREFIX = HEADER_LENGTH + len(ERROR_PREFIX)  # no WebSocket frame of an ack has a longer header


class AckTracker:
    """Tracks the acks of one sender, from `expect` until `remove_acks` finds them in its stream."""

    def __init__(self, framing: Framing = LENGTH_HEADERS) -> None:
        self._framing = framing
        self.pending = 0  # messages that wait for their ack
        self.duplicated = 0  # acks
        self.wrong = 0  # acks whose seq differs from the readers', and acks for messages that were not sent
        self.error_code = ""  # why the server rejected a message
        self._partial = b""  # may be the beginning of an ack
        self._stamps: deque[tuple[int, int]] = deque()  # (sequence number after a batch, its send time)
        self._missing: set[int] = set()  # sequence numbers that later acks skipped
        self._next = 0
        self._sent = 0
        self._seqs: dict[int, int] = {}  # sequence number -> seq, until both the ack and a reader reported it

    def expect(self, sent: int, stamp: int) -> None:
        """Record that the sender has sent ``sent`` messages in all, the latest at ``stamp`` nanoseconds."""
        self.pending += sent - self._sent
        self._sent = sent
        self._stamps.append((sent, stamp))

    def record_seq(self, sequence: int, seq: int) -> None:
        """Compare the two reports of a message's ``seq``: one from its ack, one from a reader."""
        reported = self._seqs.pop(sequence, None)
        if reported is None:
            self._seqs[sequence] = seq
        elif reported != seq:
            self.wrong += 1

    def remove_acks(self, data: bytes, now: int, latencies: Histogram) -> bytes:
        """Return the stream without its acks; count these, and add their latencies."""
        if self._partial:
            data, self._partial = self._partial + data, b""
        if ERROR_PREFIX in data:
            self.error_code = self.error_code or find_error_code(data)
        start = data.find(ACK_PREFIX)
        begin = done = 0
        found: tuple[int, int] | None = None
        others: list[bytes] = []
        while start >= 0:
            found = self._framing.frame_around(data, start)
            if found is None:
                break  # broken framing; the comparison with the other readers will report it
            begin, end = found
            if end > len(data):
                break
            if begin > done:
                others.append(data[done:begin])
            self._record_ack(data[start:end], now, latencies)
            done = end
            start = data.find(ACK_PREFIX, end)
        kept = len(data)
        if start >= 0:
            kept = begin if found is not None else max(done, start - HEADER_LENGTH)
        elif not data.endswith(b"}"):
            # The data ends within a frame, which may be an ack. Keep its beginning until the rest arrives.
            last = data.rfind(b"}", max(done, kept - _MAX_PREFIX)) + 1
            if last or kept - done < _MAX_PREFIX:
                kept = self._framing.skip_controls(data, max(done, last))
        self._partial = data[kept:]
        if kept > done:
            others.append(data[done:kept])
        return b"".join(others)

    @property
    def lost(self) -> int:
        """Acks that did not arrive."""
        return self._sent - self._next + len(self._missing)

    def _record_ack(self, payload: bytes, now: int, latencies: Histogram) -> None:
        found = parse_ack(payload)
        if found is None or found[0] >= self._sent:
            self.wrong += 1
            return
        sequence, seq = found
        if sequence == self._next:
            self._next += 1
        elif sequence > self._next:
            self._missing.update(range(self._next, sequence))
            self._next = sequence + 1
        elif sequence in self._missing:
            self._missing.remove(sequence)
        else:
            self.duplicated += 1
            return
        self.pending -= 1
        self.record_seq(sequence, seq)
        stamps = self._stamps
        while len(stamps) > 1 and stamps[0][0] <= sequence:
            stamps.popleft()
        latencies.add((now - stamps[0][1]) // 1000)
