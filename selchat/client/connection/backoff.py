"""Exponential backoff with full jitter, for reconnects."""

from __future__ import annotations

from collections.abc import Callable

Jitter = Callable[[float, float], float]


class Backoff:
    """Delays between two reconnects, in seconds.

    Each is random between 0 and a maximum that doubles from ``base`` to ``limit``, so that the clients of a
    restarted server do not all return at once. ``jitter(a, b)`` returns a random number between the two.
    """

    def __init__(self, base: float, limit: float, jitter: Jitter) -> None:
        self._base = base
        self._limit = limit
        self._jitter = jitter
        self._max_delay = base

    def next_delay(self) -> float:
        """Return the next delay, and double the maximum of the one after it."""
        delay = self._jitter(0, self._max_delay)
        self._max_delay = min(2 * self._max_delay, self._limit)
        return delay

    def reset(self) -> None:
        """Start with the base again."""
        self._max_delay = self._base
