"""Latency histogram with bounded memory, and its percentiles.

The buckets are log-linear, as in HdrHistogram. Values up to 255 microseconds are exact. Above that, each
power of two has 128 buckets: a value is off by less than 1%, and an hour of latencies takes a few thousand
counters.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

_EXACT = 256  # microseconds: smaller values have a bucket each
_SUB_BUCKETS = 128  # for each power of two above

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)


class Histogram:
    """Counts of whole microseconds. Negative values count as 0."""

    __slots__ = ("_buckets", "count", "max", "total")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self.count = 0
        self.total = 0  # microseconds
        self.max = 0  # microseconds, exact

    def add(self, microseconds: int, count: int = 1) -> None:
        """Count that value ``count`` times."""
        if microseconds < _EXACT:
            index = microseconds = max(microseconds, 0)
        else:
            shift = microseconds.bit_length() - 8
            index = shift * _SUB_BUCKETS + (microseconds >> shift)
        buckets = self._buckets
        buckets[index] = buckets.get(index, 0) + count
        self.count += count
        self.total += microseconds * count
        if microseconds > self.max:  # noqa: PLR1730 - a call of max costs more than the rest
            self.max = microseconds

    def merge(self, other: Histogram) -> None:
        """Add all values of the other histogram."""
        for index, count in other._buckets.items():
            self._buckets[index] = self._buckets.get(index, 0) + count
        self.count += other.count
        self.total += other.total
        self.max = max(self.max, other.max)

    def percentile(self, percent: float) -> float:
        """Return the value in microseconds that ``percent`` of all values do not exceed; 0.0 if empty."""
        rank = percent / 100 * self.count
        passed = 0
        for index in sorted(self._buckets):
            passed += self._buckets[index]
            if passed >= rank:
                return min(_middle(index), float(self.max))
        return float(self.max)

    def curve(self) -> list[tuple[float, float]]:
        """Return ``(percent of values that do not exceed it, microseconds)`` for each non-empty bucket."""
        points = []
        passed = 0
        for index in sorted(self._buckets):
            passed += self._buckets[index]
            points.append((100 * passed / self.count, min(_middle(index), float(self.max))))
        return points

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-serializable form."""
        return {"buckets": sorted(self._buckets.items()), "total": self.total, "max": self.max}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Histogram:
        """Return the histogram that `to_json` was called on."""
        histogram = cls()
        histogram._buckets = {int(index): int(count) for index, count in data["buckets"]}
        histogram.count = sum(histogram._buckets.values())
        histogram.total = int(data["total"])
        histogram.max = int(data["max"])
        return histogram

    @classmethod
    def merged(cls, histograms: Iterable[Histogram]) -> Histogram:
        """Return a new histogram with the values of all of these."""
        result = cls()
        for histogram in histograms:
            result.merge(histogram)
        return result


def _middle(index: int) -> float:
    if index < _EXACT:
        return float(index)
    shift = index // _SUB_BUCKETS - 1
    return ((index - shift * _SUB_BUCKETS) + 0.5) * (1 << shift)


def median_ratio(pairs: Iterable[tuple[float, float]]) -> float | None:
    """Return the median of ``first / second`` over the pairs; None if no pair can be divided."""
    ratios = [first / second for first, second in pairs if second > 0]
    return statistics.median(ratios) if ratios else None
