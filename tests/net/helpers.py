"""Running a real reactor until something has happened."""

from __future__ import annotations

import time
from collections.abc import Callable

from selchat.net.reactor import Reactor


class ManualTime:
    """Replaces the module ``time`` in the reactor: the clock moves only by `advance`."""

    def __init__(self) -> None:
        self._now = time.monotonic()

    def monotonic(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += seconds


class Errors(list[tuple[str, Exception]]):
    """What a reactor is given as ``on_error``."""

    def __call__(self, where: str, error: Exception) -> None:
        self.append((where, error))


def run_until(reactor: Reactor, done: Callable[[], object], within: float = 10.0) -> None:
    """Run ticks until ``done()``; fail after ``within`` seconds, which is only there to end a broken test."""
    deadline = time.monotonic() + within
    while not done():
        assert time.monotonic() < deadline, "it has not happened"
        reactor.tick(0.01)


def settle(reactor: Reactor) -> int:
    """Run ticks until one has nothing to do; return how many had."""
    busy = 0
    while _has_work(reactor):
        reactor.tick(0)
        busy += 1
        assert busy < 1000, "it spins"
    reactor.tick(0)  # for what waits for the end of a tick
    return busy if not _has_work(reactor) else busy + settle(reactor)


def _has_work(reactor: Reactor) -> bool:
    now = time.monotonic()
    due = any(when <= now for when, _, timer in reactor._timers if timer._reactor is not None)
    return due or bool(reactor._selector.select(0))
