"""The frames of one connection, and the time that one may take: the part that all sessions have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from selchat.chat.hub import Clock
from selchat.errors import FrameTimeoutError, SelchatError
from selchat.settings import Settings
from selchat.wire.frames import FrameDecoder


class Framing:
    """A decoder that does not wait for ever. ``lengths``: see `FrameDecoder`. Say `check` after each read."""

    __slots__ = ("_broken", "_clock", "_seconds", "_timer", "_unfinished_since", "decoder")

    def __init__(self, settings: Settings, clock: Clock, lengths: dict[bytes, int]) -> None:
        self._clock = clock
        self._seconds = settings.frame_seconds
        self.decoder = FrameDecoder(settings.header_length, settings.payload_limit, lengths)
        self._broken: Callable[[SelchatError], object] | None = None
        self._timer: Any = None  # only while a frame is unfinished
        self._unfinished_since: float | None = None  # on the clock; None: no frame is unfinished

    def receive_eof(self) -> SelchatError | None:
        """Note that the peer has closed its side; return what is wrong with that."""
        self.decoder.receive_eof()
        return self.decoder.error

    def check(self, is_new: bool, broken: Callable[[SelchatError], object]) -> None:
        """Call ``broken`` if the framing is, or when the frame at the end of the input takes too long.

        ``is_new``: that frame began with what was read last. No timer is made for each read: it is noted
        since when the frame is unfinished.
        """
        decoder = self.decoder
        if decoder.error is not None:
            broken(decoder.error)
            return
        if not decoder.unfinished:
            self._unfinished_since = None
            return
        if is_new or self._unfinished_since is None:
            self._unfinished_since = self._clock.now
        self._broken = broken
        if self._timer is None:
            self._timer = self._clock.call_later(self._seconds, self._look)

    def close(self) -> None:
        """Watch no more."""
        self._broken = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._unfinished_since is None or self._broken is None:
            return
        left = self._unfinished_since + self._seconds - self._clock.now
        if left > 0:
            self._timer = self._clock.call_later(left, self._look)
        else:
            self._broken(FrameTimeoutError(self._seconds))
