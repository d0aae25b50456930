"""Heartbeat: detect a dead peer by its silence.

Used by both ends of a connection. Knows nothing about what a ping looks like on the wire.
"""

from __future__ import annotations

from typing import Protocol

from selchat.clock import Clock, Timer


class HeartbeatPeer(Protocol):
    """The owner of a heartbeat. One reference instead of two callbacks: a server has one per client."""

    def on_idle(self) -> None:
        """Send a ping: the peer has been silent for ``idle_seconds``."""

    def on_timeout(self) -> None:
        """Drop the peer: it did not answer in time. The heartbeat has stopped until `Heartbeat.start`."""


class Heartbeat:
    """Call ``peer.on_idle()`` after ``idle_seconds`` without traffic, and ``peer.on_timeout()`` if no traffic
    follows within ``timeout_seconds``.
    """

    __slots__ = ("_clock", "_idle_seconds", "_peer", "_timeout_seconds", "_timer", "_touched_at")

    def __init__(
        self, clock: Clock, idle_seconds: float, timeout_seconds: float, peer: HeartbeatPeer
    ) -> None:
        self._clock = clock
        self._idle_seconds = idle_seconds
        self._timeout_seconds = timeout_seconds
        self._peer = peer
        self._touched_at = 0.0
        self._timer: Timer | None = None

    @property
    def seconds(self) -> float:
        """Seconds of silence after which the peer counts as dead."""
        return self._idle_seconds + self._timeout_seconds

    def start(self) -> None:
        """Start watching; forget any earlier ping."""
        self.stop()
        self.touch()
        self._schedule(self._idle_seconds, None)

    def touch(self) -> None:
        """Record traffic. Sets no timer: the pending one checks the time when it fires."""
        self._touched_at = self._clock.now

    def stop(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self, seconds: float, pinged_at: float | None) -> None:
        self._timer = self._clock.call_later(seconds, self._check, pinged_at)

    def _check(self, pinged_at: float | None) -> None:
        self._timer = None
        now = self._clock.now
        if pinged_at is not None and self._touched_at < pinged_at:
            self._peer.on_timeout()
            return
        remaining = self._touched_at + self._idle_seconds - now
        if remaining > 0:
            self._schedule(remaining, None)
        else:
            self._schedule(self._timeout_seconds, now)
            self._peer.on_idle()
