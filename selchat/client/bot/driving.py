"""One reactor for any number of threads: one of them drives it, and makes way for who wants to do something.

It must not know what happens on the reactor. There is no thread of its own in here: whoever waits for
something runs the ticks meanwhile, and whoever waits beside it is woken after each of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from selchat.client.bot.deferral import DeferredInterrupt
from selchat.net.reactor import Reactor


class ReactorLock:
    """The right to touch a reactor and what is on it, which one thread has at a time.

    ::

        with driver:                       # nobody else is in a tick, or comes into one
            link.say("hello")
        driver.until(lambda: link.queued == 0, time.monotonic() + 10)

    Ctrl-C waits meanwhile; it ends a tick. It is not re-entrant: nothing in a tick may come back here.
    """

    def __init__(self, reactor: Reactor) -> None:
        self._reactor: Reactor | None = reactor  # None: it is closed
        self._changed = threading.Condition()
        self._holder: int | None = None  # the thread that has the right
        self._wanting = 0  # threads that want it for something short, and so come before who waits
        self._ticked_at = time.monotonic()
        self._deferral = DeferredInterrupt(self.wake)

    def __enter__(self) -> None:
        self._deferral.__enter__()
        with self._changed:
            self._wanting += 1
            try:
                while not self._is_free():
                    self.wake()
                    self._changed.wait()
                self._holder = threading.get_ident()
            finally:
                self._wanting -= 1

    def __exit__(self, *_: object) -> None:
        self._give_back()
        self._deferral.__exit__()

    def until(self, done: Callable[[], object], deadline: float | None = None) -> bool:
        """Run ticks, or wait while another thread does, until it holds; return whether it does.

        ``deadline`` is on the monotonic clock, None for never. One that has passed is good for one tick.
        """
        while not done():
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            with self._deferral:
                if self._take_over(done, left):
                    try:
                        self.tick(left)
                    finally:
                        self._give_back()
            if left == 0:
                return bool(done())
        return True

    def tick(self, most: float | None = 0.0) -> None:
        """Run one tick, which waits for at most ``most`` seconds. For who has the right."""
        if self._reactor is not None:
            self._reactor.tick(most)
            self._ticked_at = time.monotonic()

    def tick_if_idle(self, seconds: float) -> None:
        """Run one tick, without waiting, if there was none for so long."""
        if time.monotonic() - self._ticked_at > seconds:
            with self:
                self.tick()

    def wake(self) -> None:
        """Have everyone who waits look again. Safe everywhere, in signal handlers too."""
        reactor = self._reactor
        if reactor is not None:
            reactor.call_soon(_nothing)  # ends the select that a thread may be in, and with it a tick

    def close(self) -> None:
        """Close the reactor. From now on ticks do nothing."""
        with self:
            if self._reactor is not None:
                self._reactor.close()
                self._reactor = None

    def _take_over(self, done: Callable[[], object], left: float | None) -> bool:
        """Take the right, or wait for a change for at most ``left`` seconds; return whether it was taken."""
        with self._changed:
            if done():  # that it has come to hold may just have been told
                return False
            if self._is_free() and not self._wanting:
                self._holder = threading.get_ident()
                return True
            self._changed.wait(left)
            return False

    def _give_back(self) -> None:
        with self._changed:
            self._holder = None
            self._changed.notify_all()

    def _is_free(self) -> bool:
        # What this thread has itself was left behind by a signal handler that has raised.
        return self._holder in {None, threading.get_ident()}


def _nothing() -> None:
    pass
