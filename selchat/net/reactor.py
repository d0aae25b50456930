"""The reactor: one thread, one selector, one heap of timers.

A *tick* is: one ``select``, the callbacks of what is ready, the timers that are due, then the end-of-tick
callbacks, in the order in which they were registered. Everything in this process happens inside a tick.

Callbacks are kept as the selector key's data and called directly. Known traps of ``selectors``, each met
on CPython 3.13, are kept in this file: ``modify`` without data erases the data, so it is always given;
an event mask of 0 is accepted by epoll and then spins on a hang-up, so there is none; a batch can hold
keys of files that an earlier callback of the batch has closed, so callbacks check their own state.
"""

from __future__ import annotations

import heapq
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from types import FrameType
from typing import Any

from selchat.histogram import TICK_BUCKETS, Histogram

EVENT_READ = selectors.EVENT_READ
EVENT_WRITE = selectors.EVENT_WRITE

Callback = Callable[..., object]
Watcher = Callable[[int], object]
"""Called with the mask of events that are ready."""

_MAX_CANCELLED = 1000  # timers cancelled and still in the heap before it is rebuilt


class Timer:
    """A call that is due at ``when`` on the monotonic clock, in seconds."""

    __slots__ = ("_arguments", "_callback", "_reactor", "when")

    def __init__(self, reactor: Reactor, when: float, callback: Callback, arguments: tuple[Any, ...]) -> None:
        self.when = when
        self._reactor: Reactor | None = reactor
        self._callback = callback
        self._arguments = arguments

    def cancel(self) -> None:
        """Make sure that it is not called; to cancel a timer that has fired does nothing."""
        if self._reactor is not None:
            self._reactor._forget(self)
            self._clear()

    def _fire(self) -> None:
        callback, arguments = self._callback, self._arguments
        self._clear()
        callback(*arguments)

    def _clear(self) -> None:
        self._reactor = None
        self._callback = _nothing
        self._arguments = ()


class Reactor:
    """The loop. ``on_error(where, error)`` is told of every exception that a callback lets through."""

    def __init__(self, on_error: Callable[[str, Exception], object]) -> None:
        self.now = time.monotonic()  # seconds; the time at which this tick began
        self.on_error = on_error
        # How long each tick was at work. Whoever becomes ready meanwhile, and every timer, waits as long.
        self.lag = Histogram(TICK_BUCKETS)
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._timer_order = count()  # of timers that are due at the same time
        self._cancelled = 0
        self._tick_ends: list[Callback] = []
        self._soon: deque[tuple[Callback, tuple[Any, ...]]] = deque()
        self._running = False
        self._waker, self._wake_end = socket.socketpair()
        self._waker.setblocking(False)
        self._wake_end.setblocking(False)
        self._selector.register(self._waker, EVENT_READ, self._woken)
        self._signals: dict[int, Callback] = {}
        self._caught: deque[int] = deque()
        self._restore: list[tuple[int, Any]] = []
        self._old_wakeup: int | None = None

    # -- files -----------------------------------------------------------------------------------------

    def watch(self, file: Any, events: int, callback: Watcher) -> None:
        """Call ``callback(mask)`` whenever ``file`` is ready. PermissionError: it cannot be polled."""
        self._selector.register(file, events, callback)

    def rewatch(self, file: Any, events: int, callback: Watcher) -> None:
        """Change what ``file`` is watched for; ``events`` must not be 0: use `unwatch`."""
        self._selector.modify(file, events, callback)

    def unwatch(self, file: Any) -> None:
        """Stop watching ``file``; call it before closing."""
        self._selector.unregister(file)

    # -- time ------------------------------------------------------------------------------------------

    def call_later(self, delay: float, callback: Callback, *arguments: Any) -> Timer:
        """Call it ``delay`` seconds from the beginning of this tick, or as soon after as possible."""
        timer = Timer(self, self.now + delay, callback, arguments)
        heapq.heappush(self._timers, (timer.when, next(self._timer_order), timer))
        return timer

    def call_soon(self, callback: Callback, *arguments: Any) -> None:
        """Call it in the next tick, which comes at once. Safe from other threads."""
        self._soon.append((callback, arguments))
        self._wake()

    def at_tick_end(self, callback: Callback) -> None:
        """Call it at the end of every tick."""
        self._tick_ends.append(callback)

    # -- signals ---------------------------------------------------------------------------------------

    def on_signal(self, number: int, callback: Callback) -> None:
        """Call it in the tick after the signal. Main thread only; `close` restores what was there."""
        if self._old_wakeup is None:
            self._old_wakeup = signal.set_wakeup_fd(self._wake_end.fileno(), warn_on_full_buffer=False)
        self._signals[number] = callback
        self._restore.append((number, signal.signal(number, self._catch)))

    def _catch(self, number: int, _frame: FrameType | None) -> None:
        # The bytes in the wakeup pipe only end the select: they can be lost when it is full, this cannot.
        self._caught.append(number)

    # -- the loop --------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run ticks until `stop`."""
        self._running = True
        while self._running:
            self.tick()

    def stop(self) -> None:
        """End `run` after this tick. From another thread: ``call_soon(reactor.stop)``."""
        self._running = False

    def tick(self, most: float | None = None) -> None:
        """Run one tick, waiting for at most ``most`` seconds, or for as long as nothing is to be done."""
        ready = self._selector.select(self._timeout(most))
        self.now = time.monotonic()
        for key, mask in ready:
            try:
                key.data(mask)
            except Exception as error:
                self.on_error(f"callback {key.data!r}", error)
        if self._timers:
            self._run_timers()
        for callback in self._tick_ends:
            self._run(callback)
        self.lag.observe(time.monotonic() - self.now)

    def close(self) -> None:
        """Give back the signals and every descriptor of its own."""
        for number, handler in reversed(self._restore):
            signal.signal(number, handler)
        if self._old_wakeup is not None:
            signal.set_wakeup_fd(self._old_wakeup)
        self._selector.close()
        self._waker.close()
        self._wake_end.close()
        self._timers.clear()
        self._soon.clear()

    def _timeout(self, most: float | None) -> float | None:
        if not self._timers:
            return most
        due = max(0.0, self._timers[0][0] - time.monotonic())
        return due if most is None else min(due, most)

    def _run(self, callback: Callback, *arguments: Any) -> None:
        try:
            callback(*arguments)
        except Exception as error:
            self.on_error(f"callback {callback!r}", error)

    def _run_timers(self) -> None:
        timers = self._timers
        first_new = next(self._timer_order)  # what these put down for at once is for the next tick
        while timers and timers[0][0] <= self.now and timers[0][1] < first_new:
            timer = heapq.heappop(timers)[2]
            if timer._reactor is None:
                self._cancelled -= 1
            else:
                self._run(timer._fire)

    def _forget(self, timer: Timer) -> None:
        self._cancelled += 1
        if self._cancelled > _MAX_CANCELLED and self._cancelled * 2 > len(self._timers):
            self._timers[:] = [  # in place: they may be running
                entry for entry in self._timers if entry[2]._reactor is not None and entry[2] is not timer
            ]
            heapq.heapify(self._timers)
            self._cancelled = 0

    def _wake(self) -> None:
        try:
            self._wake_end.send(b"\0")
        except (BlockingIOError, InterruptedError):
            pass  # enough bytes are there to wake it
        except OSError:
            pass  # closed: nobody is left to wake

    def _woken(self, _mask: int) -> None:
        try:
            while len(self._waker.recv(4096)) == 4096:
                pass
        except (BlockingIOError, InterruptedError):
            pass
        while self._caught:
            self._run(self._signals[self._caught.popleft()])
        for _ in range(len(self._soon)):
            callback, arguments = self._soon.popleft()
            self._run(callback, *arguments)


def _nothing(*_arguments: object) -> None:
    pass
