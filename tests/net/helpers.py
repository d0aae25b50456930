"""Run a real reactor until a condition is true or its work is done."""

from __future__ import annotations

import time
from collections.abc import Callable

from selchat.net.reactor import Reactor, Timer


class InspectableReactor(Reactor):
    """A reactor that shows its timers, for tests that look for leaks."""

    @property
    def pending_timers(self) -> list[Timer]:
        """The timers that are neither cancelled nor fired."""
        return [timer for _, _, timer in self._timers if timer._reactor is not None]

    @property
    def heap_size(self) -> int:
        """Timers in memory, cancelled ones included."""
        return len(self._timers)

    @property
    def cancelled(self) -> int:
        """The reactor's count of cancelled timers in the heap."""
        return self._cancelled

    @property
    def has_work(self) -> bool:
        """Whether a file is ready or a timer is due."""
        now = time.monotonic()
        return any(timer.when <= now for timer in self.pending_timers) or bool(self._selector.select(0))


class ManualTime:
    """Replaces the module ``time`` in the reactor: the clock moves only by `advance`."""

    def __init__(self) -> None:
        self._now = time.monotonic()

    def monotonic(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += seconds


class Errors(list[tuple[str, Exception]]):
    """Records the errors that a reactor reports."""

    def __call__(self, where: str, error: Exception) -> None:
        self.append((where, error))


def run_until(reactor: Reactor, done: Callable[[], object], within: float = 10.0) -> None:
    """Run ticks until ``done()`` is true. The deadline only ends a broken test."""
    deadline = time.monotonic() + within
    while not done():
        assert time.monotonic() < deadline, "the condition did not become true"
        reactor.tick(0.01)


def settle(reactor: InspectableReactor) -> int:
    """Run ticks until there is no work; return how many had work."""
    busy = 0
    while reactor.has_work:
        reactor.tick(0)
        busy += 1
        assert busy < 1000, "it spins"
    reactor.tick(0)  # runs the callbacks at the end of a tick
    return busy if not reactor.has_work else busy + settle(reactor)
