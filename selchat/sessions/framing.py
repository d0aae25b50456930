"""The frames of one connection, and the time that one may take: the part that all sessions have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from selchat.chat.hub import Clock
from selchat.errors import FrameTimeoutError, SelchatError
from selchat.settings import Settings
from selchat.wire.frames import FrameDecoder


class Framing:
    """A decoder that does not wait for ever. ``lengths``: see `FrameDecoder`.

    After each read, say `watch` if a frame is unfinished; else there is no ``unfinished_since``.
    """

    __slots__ = ("_clock", "_seconds", "_timed_out", "_timer", "decoder", "unfinished_since")

    def __init__(self, settings: Settings, clock: Clock, lengths: dict[bytes, int]) -> None:
        self._clock = clock
        self._seconds = settings.frame_seconds
        self.decoder = FrameDecoder(settings.header_length, settings.payload_limit, lengths)
        self._timed_out: Callable[[SelchatError], object] | None = None
        self._timer: Any = None  # only while a frame is unfinished
        self.unfinished_since: float | None = None  # on the clock; None: no frame is unfinished

    def receive_eof(self) -> SelchatError | None:
        """Note that the peer has closed its side; return what is wrong with that."""
        self.decoder.receive_eof()
        return self.decoder.error

    def watch(self, is_new: bool, timed_out: Callable[[SelchatError], object]) -> None:
        """Call ``timed_out`` when the frame at the end of the input takes too long.

        ``is_new``: it began with what was read last. No timer is made for each read: it is noted since when
        the frame is unfinished.
        """
        if is_new or self.unfinished_since is None:
            self.unfinished_since = self._clock.now
        self._timed_out = timed_out
        if self._timer is None:
            self._timer = self._clock.call_later(self._seconds, self._check)

    def close(self) -> None:
        """Watch no more."""
        self._timed_out = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        self._timer = None
        if self.unfinished_since is None or self._timed_out is None:
            return
        left = self.unfinished_since + self._seconds - self._clock.now
        if left > 0:
            self._timer = self._clock.call_later(left, self._check)
        else:
            self._timed_out(FrameTimeoutError(self._seconds))
