"""Latencies in bounded memory, and percentiles of them.

A histogram of the log-linear kind that HdrHistogram made known: exact up to 255 microseconds, from there
on 128 buckets for each power of two, so that a value is off by less than 1% and an hour of latencies
takes no more than some thousand counters.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

_EXACT = 256  # microseconds
_SHARES = 128  # buckets for each power of two above

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)


class Histogram:
    """Whole microseconds; negative ones count as 0."""

    __slots__ = ("_buckets", "count", "greatest", "total")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self.count = 0
        self.total = 0  # microseconds
        self.greatest = 0  # microseconds, exact

    def add(self, microseconds: int, times: int = 1) -> None:
        """Count that value, ``times`` times."""
        if microseconds < _EXACT:
            index = microseconds = max(microseconds, 0)
        else:
            shift = microseconds.bit_length() - 8
            index = shift * _SHARES + (microseconds >> shift)
        buckets = self._buckets
        buckets[index] = buckets.get(index, 0) + times
        self.count += times
        self.total += microseconds * times
        if microseconds > self.greatest:  # noqa: PLR1730 - a call of max costs more than the rest
            self.greatest = microseconds

    def merge(self, other: Histogram) -> None:
        """Add everything that the other one has counted."""
        for index, times in other._buckets.items():
            self._buckets[index] = self._buckets.get(index, 0) + times
        self.count += other.count
        self.total += other.total
        self.greatest = max(self.greatest, other.greatest)

    def percentile(self, percent: float) -> float:
        """Return the value, in microseconds, that ``percent`` of all do not exceed; 0.0 if there are none."""
        rank = percent / 100 * self.count
        passed = 0
        for index in sorted(self._buckets):
            passed += self._buckets[index]
            if passed >= rank:
                return min(_middle(index), float(self.greatest))
        return float(self.greatest)

    def curve(self) -> list[tuple[float, float]]:
        """Return (percent that do not exceed it, microseconds) for each bucket that holds anything."""
        points = []
        passed = 0
        for index in sorted(self._buckets):
            passed += self._buckets[index]
            points.append((100 * passed / self.count, min(_middle(index), float(self.greatest))))
        return points

    def to_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return {"buckets": sorted(self._buckets.items()), "total": self.total, "greatest": self.greatest}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Histogram:
        """Return what `to_json` was called on."""
        histogram = cls()
        histogram._buckets = {int(index): int(times) for index, times in data["buckets"]}
        histogram.count = sum(histogram._buckets.values())
        histogram.total = int(data["total"])
        histogram.greatest = int(data["greatest"])
        return histogram

    @classmethod
    def merged(cls, histograms: Iterable[Histogram]) -> Histogram:
        """Return one of all that these have counted."""
        result = cls()
        for histogram in histograms:
            result.merge(histogram)
        return result


def _middle(index: int) -> float:
    if index < _EXACT:
        return float(index)
    shift = index // _SHARES - 1
    return ((index - shift * _SHARES) + 0.5) * (1 << shift)


def median_ratio(pairs: Iterable[tuple[float, float]]) -> float | None:
    """Return the median of ``ours / theirs``; None if there is no pair to divide."""
    ratios = [ours / theirs for ours, theirs in pairs if theirs > 0]
    return statistics.median(ratios) if ratios else None
