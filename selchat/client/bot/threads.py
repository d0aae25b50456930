"""One reactor shared by several threads, and Ctrl-C deferred while it runs.

Knows nothing about what happens on the reactor. It starts no thread: a thread that waits runs the ticks, and
other waiting threads wake after each tick.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from selchat.net.reactor import Reactor


class Interrupted(SystemExit, KeyboardInterrupt):
    """Ctrl-C during a call of the client.

    A program can catch it as KeyboardInterrupt. If none does, Python exits with the status that shells report
    after Ctrl-C, 130, and prints no traceback.
    """

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGINT)


class ReactorLock:
    """Exclusive access to a reactor and everything on it, for one thread at a time.

    ::

        with lock:                         # no other thread is in a tick, or starts one
            link.say("hello")
        lock.run_until(lambda: link.queued == 0, time.monotonic() + 10)

    Ctrl-C ends a tick, and raises when the lock is released. The lock is not re-entrant: a callback in a tick
    must not acquire it.
    """

    def __init__(self, reactor: Reactor) -> None:
        self._reactor: Reactor | None = reactor  # None: closed
        self._changed = threading.Condition()
        self._owner: int | None = None  # identifier of the thread that holds the lock
        self._acquiring = 0  # threads in __enter__: they go before threads that wait for a condition
        self._ticked_at = time.monotonic()
        self._interrupt = DeferredInterrupt(self.wake)

    def __enter__(self) -> None:
        self._interrupt.__enter__()
        with self._changed:
            self._acquiring += 1
            try:
                while not self._is_free():
                    self.wake()
                    self._changed.wait()
                self._owner = threading.get_ident()
            finally:
                self._acquiring -= 1

    def __exit__(self, *_: object) -> None:
        self._release()
        self._interrupt.__exit__()

    def run_until(self, done: Callable[[], object], deadline: float | None = None) -> bool:
        """Run ticks, or wait while another thread does, until ``done()`` is true; return whether it is.

        ``deadline`` is on the monotonic clock; None: wait forever. A deadline in the past allows one tick.
        """
        while not done():
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            with self._interrupt:
                if self._acquire_or_wait(done, left):
                    try:
                        self.tick(left)
                    finally:
                        self._release()
            if left == 0:
                return bool(done())
        return True

    def tick(self, timeout: float | None = 0.0) -> None:
        """Run one tick, which waits at most ``timeout`` seconds. The caller holds the lock."""
        if self._reactor is not None:
            self._reactor.tick(timeout)
            self._ticked_at = time.monotonic()

    def tick_if_idle(self, seconds: float) -> None:
        """Run one tick, without waiting, if the last one was more than ``seconds`` ago."""
        if time.monotonic() - self._ticked_at > seconds:
            with self:
                self.tick()

    def wake(self) -> None:
        """Make all waiting threads check their conditions. Safe everywhere, even in a signal handler."""
        reactor = self._reactor
        if reactor is not None:
            reactor.call_soon(_nothing)  # ends a running select, and so the tick

    def close(self) -> None:
        """Close the reactor. From then on a tick does nothing."""
        with self:
            if self._reactor is not None:
                self._reactor.close()
                self._reactor = None

    def _acquire_or_wait(self, done: Callable[[], object], timeout: float | None) -> bool:
        """Acquire the lock, or wait up to ``timeout`` seconds for a change; return whether it is acquired."""
        with self._changed:
            if done():  # another thread's tick may just have made it true, and notified before we waited
                return False
            if self._is_free() and not self._acquiring:
                self._owner = threading.get_ident()
                return True
            self._changed.wait(timeout)
            return False

    def _release(self) -> None:
        with self._changed:
            self._owner = None
            self._changed.notify_all()

    def _is_free(self) -> bool:
        # If this thread is the owner, a signal handler has raised before the release.
        return self._owner in {None, threading.get_ident()}


class DeferredInterrupt:
    """A context that defers SIGINT: the handler runs at its end, and its exception propagates.

    A KeyboardInterrupt becomes `Interrupted`.

    Python runs a signal handler between any two instructions of the main thread, and the handler of SIGINT
    raises. Without this, Ctrl-C could leave a change half done.

    ``on_signal`` runs at once when the signal arrives, so that the code inside can hurry. In threads other
    than the main one, which no handler interrupts, the context does nothing. It costs about 13 microseconds.
    """

    def __init__(self, on_signal: Callable[[], object]) -> None:
        self._on_signal = on_signal
        self._handler: Any = None  # the handler to restore
        self._caught: list[FrameType | None] = []  # the stack frame at each signal

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            handler = signal.getsignal(signal.SIGINT)
            if handler != self._catch:  # it is ours if the last __exit__ never ran
                self._handler = handler
            if callable(handler):
                signal.signal(signal.SIGINT, self._catch)

    def __exit__(self, *_: object) -> None:
        if callable(self._handler) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._handler)
            if self._caught:
                frame = self._caught.pop()
                self._caught.clear()
                try:
                    self._handler(signal.SIGINT, frame)
                except KeyboardInterrupt:
                    raise Interrupted from None

    def _catch(self, _number: int, frame: FrameType | None) -> None:
        self._caught.append(frame)
        self._on_signal()


def _nothing() -> None:
    pass
