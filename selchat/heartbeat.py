"""Whether a silent peer is still there: it is asked, and one that gives no sign is given up.

For both ends of a connection. It must not know how one asks, nor what a sign is.
"""

from __future__ import annotations

from typing import Protocol

from selchat.clock import Clock, Timer


class HeartbeatPeer(Protocol):
    """Who watches its peer. A server has one for each client, so it is one reference and not two calls."""

    def on_idle(self) -> None:
        """The peer has been silent for long."""

    def on_timeout(self) -> None:
        """And has not answered either; nothing is watched any more, until `Heartbeat.begin`."""


class Heartbeat:
    """Has ``asker`` ask after ``silence`` seconds without `heard`, and ``patience`` seconds for an answer."""

    __slots__ = ("_asker", "_clock", "_heard_at", "_patience", "_silence", "_timer")

    def __init__(self, clock: Clock, silence: float, patience: float, asker: HeartbeatPeer) -> None:
        self._clock = clock
        self._silence = silence
        self._patience = patience
        self._asker = asker
        self._heard_at = 0.0
        self._timer: Timer | None = None

    @property
    def seconds(self) -> float:
        """After how long without a sign a peer is given up."""
        return self._silence + self._patience

    def begin(self) -> None:
        """Watch, from now on: whatever was asked before is forgotten."""
        self.end()
        self.heard()
        self._wait(self._silence, None)

    def heard(self) -> None:
        """Note that something has come. It costs no timer: that one looks when it is due."""
        self._heard_at = self._clock.now

    def end(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self, seconds: float, asked_at: float | None) -> None:
        self._timer = self._clock.call_later(seconds, self._look, asked_at)

    def _look(self, asked_at: float | None) -> None:
        self._timer = None
        now = self._clock.now
        if asked_at is not None and self._heard_at < asked_at:
            self._asker.on_timeout()
            return
        left = self._heard_at + self._silence - now
        if left > 0:
            self._wait(left, None)
        else:
            self._wait(self._patience, now)
            self._asker.on_idle()
