"""Histogram of durations, with fixed buckets.

Plain counters live where the counted thing happens. Knows nothing about metrics formats.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """Counts durations by bucket. ``bounds``: upper bounds in seconds, ascending and inclusive.

    ``counts`` has one entry per bound, not cumulative, and a last one for longer durations.
    ``sum`` is the total of all durations in seconds.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration. Costs 0.2 microseconds: cheap once a tick, too much for every message."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds


# Seconds. People notice a delay from some tenths of a second; a LAN round trip is 200 times shorter.
TICK_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
# Seconds. An fsync takes 0.1 ms on a fast SSD, 10 ms on a hard disk, and seconds on a disk that is failing.
COMMIT_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
