"""Clock and timers, as an event loop provides them.

Callers depend on these protocols instead of the reactor, so their tests can move the time by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Timer(Protocol):
    """A scheduled call."""

    def cancel(self) -> None:
        """Prevent the call. A timer that has fired already ignores this."""


class Clock(Protocol):
    """The loop's time and its timers. `selchat.net.reactor.Reactor` is one."""

    @property
    def now(self) -> float:
        """Monotonic time in seconds."""

    def call_later(self, delay: float, callback: Callable[..., object], *arguments: Any) -> Timer:
        """Call ``callback(*arguments)`` after ``delay`` seconds."""
