"""What those who count things need for it, and those who show the figures.

A count is a number where the thing happens, in whoever it happens to; the one that is not so simple is how
long something takes, and that is here. It must not know who shows it, nor in which format.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """How often something took how long. ``bounds``: seconds, in order; what is equal to one is below it.

    ``counts``: of the observations up to each bound that are over the one before, and of those over the last.
    ``sum``: of all of them, in seconds.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one. It takes 0.2 microseconds, so it is for what happens once a tick."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds


# Seconds. What people feel begins at some tenths of one; a LAN is two hundred times faster than that.
FROM_TICK_TO_TICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
# An fsync takes 0.1 ms on a fast disk, 10 ms on one that turns, and seconds on one that is about to fail.
FOR_A_COMMIT = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
