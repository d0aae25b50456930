"""Whether a silent server is still there: it is asked, and one that gives no sign is given up.

It must not know how one asks.
"""

from __future__ import annotations

from collections.abc import Callable

from selchat.net.reactor import Reactor, Timer


class Vigil:
    """Calls ``ask()`` after ``seconds`` without `heard`, and ``gone(why)`` after as many again."""

    def __init__(
        self, reactor: Reactor, seconds: float, ask: Callable[[], object], gone: Callable[[str], object]
    ) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._ask = ask
        self._gone = gone
        self._heard_at = 0.0
        self._timer: Timer | None = None

    def begin(self) -> None:
        """Watch, from now on."""
        self.heard()
        self._wait(self._seconds, None)

    def heard(self) -> None:
        """Note that something has come. It costs no timer: that one looks when it is due."""
        self._heard_at = self._reactor.now

    def end(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self, seconds: float, asked_at: float | None) -> None:
        self._timer = self._reactor.call_later(seconds, self._look, asked_at)

    def _look(self, asked_at: float | None) -> None:
        self._timer = None
        left = self._heard_at + self._seconds - self._reactor.now
        if left > 0:
            self._wait(left, None)
        elif asked_at is not None and self._heard_at < asked_at:
            self._gone(f"no answer within {self._seconds:g} s")
        else:
            self._wait(self._seconds, self._reactor.now)
            self._ask()
