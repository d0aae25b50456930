"""Event loop: one thread, one selector, one heap of timers.

A *tick* is one ``select``, the callbacks of ready files, the due timers, and the end-of-tick callbacks in the
order of their registration. Everything in the process happens inside a tick.

The selector key's data is the callback. This module contains the known traps of ``selectors``, all met on
CPython 3.13. ``modify`` without data erases the data, so we always pass it. epoll accepts an event mask of 0
and then spins on a hang-up, so we never pass 0. A batch can contain keys of files that an earlier callback
has closed, so callbacks check their own state.
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
from selchat.limits import MAX_CANCELLED_TIMERS

EVENT_READ = selectors.EVENT_READ
EVENT_WRITE = selectors.EVENT_WRITE

Callback = Callable[..., object]
Watcher = Callable[[int], object]
"""Called with the mask of ready events."""


class Timer:
    """A call scheduled for ``when``, in seconds of the monotonic clock."""

    __slots__ = ("_arguments", "_callback", "_reactor", "when")

    def __init__(self, reactor: Reactor, when: float, callback: Callback, arguments: tuple[Any, ...]) -> None:
        self.when = when
        self._reactor: Reactor | None = reactor
        self._callback = callback
        self._arguments = arguments

    def cancel(self) -> None:
        """Prevent the call. A timer that has fired already ignores this."""
        if self._reactor is not None:
            self._reactor._on_cancel(self)
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
    """The loop. It calls ``on_error(where, error)`` with every exception that a callback raises."""

    def __init__(self, on_error: Callable[[str, Exception], object]) -> None:
        self.now = time.monotonic()  # monotonic seconds at the start of this tick
        self.on_error = on_error
        # The working time of each tick. Ready connections and due timers wait that long.
        self.lag = Histogram(TICK_BUCKETS)
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._timer_order = count()  # orders timers with the same time
        self._cancelled = 0
        self._end_of_tick: list[Callback] = []
        self._soon: deque[tuple[Callback, tuple[Any, ...]]] = deque()
        self._running = False
        self._waker, self._wake_end = socket.socketpair()
        self._waker.setblocking(False)
        self._wake_end.setblocking(False)
        self._selector.register(self._waker, EVENT_READ, self._on_wake)
        self._signals: dict[int, Callback] = {}
        self._caught: deque[int] = deque()
        self._restore: list[tuple[int, Any]] = []
        self._old_wakeup: int | None = None

    # -- files -----------------------------------------------------------------------------------------

    def watch(self, file: Any, events: int, callback: Watcher) -> None:
        """Call ``callback(mask)`` whenever ``file`` is ready. PermissionError: the file cannot be polled."""
        self._selector.register(file, events, callback)

    def rewatch(self, file: Any, events: int, callback: Watcher) -> None:
        """Change the events to watch for. ``events`` must not be 0: use `unwatch`."""
        self._selector.modify(file, events, callback)

    def unwatch(self, file: Any) -> None:
        """Stop watching ``file``. Call this before you close the file."""
        self._selector.unregister(file)

    # -- time ------------------------------------------------------------------------------------------

    def call_later(self, delay: float, callback: Callback, *arguments: Any) -> Timer:
        """Call ``callback(*arguments)`` ``delay`` seconds after the start of this tick."""
        timer = Timer(self, self.now + delay, callback, arguments)
        heapq.heappush(self._timers, (timer.when, next(self._timer_order), timer))
        return timer

    def call_soon(self, callback: Callback, *arguments: Any) -> None:
        """Call ``callback(*arguments)`` in the next tick, which starts at once. Thread-safe."""
        self._soon.append((callback, arguments))
        self._wake()

    def at_tick_end(self, callback: Callback) -> None:
        """Call ``callback()`` at the end of every tick."""
        self._end_of_tick.append(callback)

    # -- signals ---------------------------------------------------------------------------------------

    def on_signal(self, number: int, callback: Callback) -> None:
        """Call ``callback()`` in the tick after the signal, also after one that was blocked until now. Main
        thread only. `close` restores the old handler.
        """
        if self._old_wakeup is None:
            self._old_wakeup = signal.set_wakeup_fd(self._wake_end.fileno(), warn_on_full_buffer=False)
        self._signals[number] = callback
        self._restore.append((number, signal.signal(number, self._catch)))
        if hasattr(signal, "pthread_sigmask"):  # POSIX only
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})

    def _catch(self, number: int, _frame: FrameType | None) -> None:
        # The byte in the wakeup socket only ends the select. It is lost when the socket is full; this record
        # is not.
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

    def tick(self, timeout: float | None = None) -> None:
        """Run one tick. It waits for work, for at most ``timeout`` seconds."""
        ready = self._selector.select(self._select_timeout(timeout))
        self.now = time.monotonic()
        for key, mask in ready:
            try:
                key.data(mask)
            except Exception as error:
                self.on_error(f"callback {key.data!r}", error)
        if self._timers:
            self._run_timers()
        for callback in self._end_of_tick:
            self._run(callback)
        self.lag.observe(time.monotonic() - self.now)

    def close(self) -> None:
        """Restore the signal handlers and close the reactor's descriptors."""
        for number, handler in reversed(self._restore):
            signal.signal(number, handler)
        if self._old_wakeup is not None:
            signal.set_wakeup_fd(self._old_wakeup)
        self._selector.close()
        self._waker.close()
        self._wake_end.close()
        self._timers.clear()
        self._soon.clear()

    def _select_timeout(self, timeout: float | None) -> float | None:
        if not self._timers:
            return timeout
        due = max(0.0, self._timers[0][0] - time.monotonic())
        return due if timeout is None else min(due, timeout)

    def _run(self, callback: Callback, *arguments: Any) -> None:
        try:
            callback(*arguments)
        except Exception as error:
            self.on_error(f"callback {callback!r}", error)

    def _run_timers(self) -> None:
        timers = self._timers
        first_new = next(self._timer_order)  # a timer that these set runs in the next tick at the earliest
        while timers and timers[0][0] <= self.now and timers[0][1] < first_new:
            timer = heapq.heappop(timers)[2]
            if timer._reactor is None:
                self._cancelled -= 1
            else:
                self._run(timer._fire)

    def _on_cancel(self, timer: Timer) -> None:
        self._cancelled += 1
        if self._cancelled > MAX_CANCELLED_TIMERS and self._cancelled * 2 > len(self._timers):
            self._timers[:] = [  # in place: _run_timers may be using the list
                entry for entry in self._timers if entry[2]._reactor is not None and entry[2] is not timer
            ]
            heapq.heapify(self._timers)
            self._cancelled = 0

    def _wake(self) -> None:
        try:
            self._wake_end.send(b"\0")
        except (BlockingIOError, InterruptedError):
            pass  # full, so a byte is there to wake it
        except OSError:
            pass  # closed

    def _on_wake(self, _mask: int) -> None:
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
