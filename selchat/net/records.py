"""Limits of the TLS records that a peer sends.

OpenSSL decrypts and hides records without data: key updates, alerts, empty records and padding. A peer can
send as many as its network carries, and each takes 2 to 20 microseconds. This module follows the headers of
the records, which are not encrypted, and compares them with the data that came out. It knows no socket.
"""

from __future__ import annotations

from collections.abc import Sequence

from selchat.clock import Clock
from selchat.limits import CHARGED_RECORDS, TLS_EMPTY_BURST, TLS_EMPTY_RATE, TLS_PADDING
from selchat.ratelimit import TokenBucket

_HEADER = 5  # bytes: type, version, length (RFC 8446, 5.1)
_OVERHEAD = _HEADER + 17  # bytes of a record that are no data: also its inner type, and the tag of the cipher


class RecordLimits:
    """Counts the records of one peer.

    ``rate``, ``burst``: records a second and at once, read no faster; a rate of 0 means no limit. Records
    without data have their own limit, because a peer needs only a few of them.
    """

    __slots__ = ("_clock", "_empty", "_header", "_left", "_length", "_records", "_uncharged")

    def __init__(self, clock: Clock, rate: float, burst: float) -> None:
        self._clock = clock
        self._records = TokenBucket(rate, burst, clock.now)
        self._uncharged = 0  # complete records that are not charged to that bucket yet
        self._empty = TokenBucket(TLS_EMPTY_RATE, TLS_EMPTY_BURST, clock.now)
        self._header = b""  # the first bytes of the next header
        self._length = 0  # bytes of the current record, without its header; 0: between two records
        self._left = 0  # how many of these have not come yet

    def count(self, data: bytes, parts: Sequence[bytes]) -> float | None:
        """Count the records that the next bytes complete; ``parts``: their data, one item for each with data.

        Return the seconds for which to read nothing more, or None if there are too many without data.
        """
        size = len(data)
        if (
            len(parts) == 1
            and size == len(parts[0]) + _OVERHEAD
            and not self._left
            and not self._header
            and size == _HEADER + (data[3] << 8 | data[4])
        ):
            whole = 1  # the usual case, in 0.3 microseconds: one record with data and without padding
        else:
            whole, capacity = self._follow(data)
            empty = max(0, whole - len(parts))
            padding = max(0, capacity - sum(map(len, parts)))
            if empty or padding:
                self._empty.refill(self._clock.now)
                self._empty.tokens -= empty + padding / TLS_PADDING
                if self._empty.tokens < 0:
                    return None
        self._uncharged += whole
        if self._uncharged < CHARGED_RECORDS:
            return 0.0
        self._records.refill(self._clock.now)
        self._records.tokens -= self._uncharged
        self._uncharged = 0
        return self._records.wait(0)

    def _follow(self, data: bytes) -> tuple[int, int]:
        """Return how many records these bytes complete, and how many bytes of data those can contain."""
        whole = capacity = 0
        data = self._header + data
        size, end, length = len(data), self._left, self._length
        while end <= size:
            if length:
                whole += 1
                if length > _OVERHEAD - _HEADER:
                    capacity += length - _OVERHEAD + _HEADER
            if size - end < _HEADER:
                self._header, self._left, self._length = data[end:], 0, 0
                return whole, capacity
            length = data[end + 3] << 8 | data[end + 4] or 1  # TLS has no record without a body
            end += _HEADER + length
        self._header, self._left, self._length = b"", end - size, length
        return whole, capacity
