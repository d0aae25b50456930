"""The frames of one connection: the part that all sessions have in common.

A frame may take so long and no longer, and payloads come through no faster than the settings allow. Nothing
is lost by that: what has been read is held back, and what has not been read waits in the kernel, and then at
the peer, whose own `send` blocks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any, Protocol

from selchat.clock import Clock
from selchat.config.settings import Settings
from selchat.errors import LimitError, ProtocolError, SelchatError
from selchat.sessions.context import Context, Transport


class LoginTimeoutError(LimitError):
    template = "no username within {limit} s"


class FrameTimeoutError(LimitError):
    template = "frame not finished within {limit} s"


class Decoder(Protocol):
    """What turns bytes into payloads, however they are cut; `selchat.wire.frames.FrameDecoder` says how."""

    error: ProtocolError | None

    @property
    def extra(self) -> int:
        """Bytes that the last `receive_data` counts as besides its own, because it was more work."""

    @property
    def unfinished(self) -> bool:
        """Whether a payload has begun and has not ended."""

    def receive_data(self, data: bytes) -> list[bytes]:
        """Take the next bytes and return the payloads that they complete, in order."""

    def receive_one(self, data: bytes = b"") -> bytes | None:
        """Take the next bytes, and return the first payload alone once it is whole; None: it is not."""

    def allow(self, limit: int, lengths: dict[bytes, int]) -> None:
        """Let payloads have up to ``limit`` bytes from here on."""

    def receive_eof(self) -> None:
        """Note that the stream has ended."""


class InboundStream:
    """A decoder that neither waits for ever nor is hurried.

    The ``decoder`` begins with the limits of those who have not said who they are (`Settings.login_limit`,
    and one payload at a time); `log_in` lifts these. Say `check` after each read.
    """

    __slots__ = (
        "_broken",
        "_clock",
        "_context",
        "_pace",
        "_seconds",
        "_timer",
        "_unfinished_since",
        "decoder",
    )

    def __init__(self, context: Context, decoder: Decoder) -> None:
        self._context = context
        self._clock = context.clock
        self._seconds = context.settings.frame_seconds
        self.decoder = decoder
        self._broken: Callable[[SelchatError], object] | None = None
        self._timer: Any = None  # only while a frame is unfinished
        self._unfinished_since: float | None = None  # on the clock; None: no frame is unfinished
        self._pace: RateLimiter | None = None  # None: there is no limit

    def log_in(self, transport: Transport, deliver: Callable[[list[bytes]], object]) -> list[bytes]:
        """Go over to the limits of those who are in; return what has come already.

        ``deliver`` is called with the payloads that were held back, when it is their turn.
        """
        context, settings = self._context, self._context.settings
        self.decoder.allow(settings.payload_limit, context.lengths)
        if settings.message_rate or settings.byte_rate:
            self._pace = RateLimiter(settings, self._clock, transport, deliver)
        return self.receive_data(b"")

    def receive_data(self, data: bytes) -> list[bytes]:
        """Take the next bytes and return the payloads that they complete, as many as may come now."""
        decoder = self.decoder
        payloads = decoder.receive_data(data)
        pace = self._pace
        return payloads if pace is None else pace.admit(payloads, len(data) + decoder.extra)

    def receive_eof(self) -> SelchatError | None:
        """Note that the peer has closed its side; return what is wrong with that."""
        self.decoder.receive_eof()
        return self.decoder.error

    @property
    def read_since(self) -> float:
        """Since when the peer is read from without a break, on the clock."""
        return -inf if self._pace is None else self._pace.read_since

    def check(self, is_new: bool, broken: Callable[[SelchatError], object]) -> None:
        """Call ``broken`` if the framing is, or when the frame at the end of the input takes too long.

        ``is_new``: that frame began with what was read last. No timer is made for each read: it is noted
        since when the frame is unfinished.
        """
        decoder = self.decoder
        if decoder.error is not None:
            if self._pace is None or not self._pace.holds:  # else those before it have their turn first
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
        """Watch no more, and forget what is held back."""
        self._broken = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pace is not None:
            self._pace.close()

    def _look(self) -> None:
        self._timer = None
        if self._unfinished_since is None or self._broken is None:
            return
        # While nothing is read, it is not the peer who is slow.
        self._unfinished_since = max(self._unfinished_since, self.read_since)
        left = self._unfinished_since + self._seconds - self._clock.now
        if left > 0:
            self._timer = self._clock.call_later(left, self._look)
        else:
            self._broken(FrameTimeoutError(self._seconds))


class RateLimiter:
    """Two token buckets, one of messages and one of bytes: those over the rate wait, and nothing is read.

    What was read together and is too much is held back here: at most what one read brings.
    """

    __slots__ = (
        "_burst",
        "_byte_burst",
        "_byte_rate",
        "_bytes",
        "_clock",
        "_deliver",
        "_held",
        "_rate",
        "_refilled_at",
        "_resumed_at",
        "_timer",
        "_tokens",
        "_transport",
    )

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        transport: Transport,
        deliver: Callable[[list[bytes]], object],
    ) -> None:
        # A bucket without a limit is one that is always full.
        self._rate = settings.message_rate
        self._burst = self._tokens = settings.message_burst if settings.message_rate else inf
        self._byte_rate = float(settings.byte_rate)
        # A whole frame has to go through at once, and a second's worth beside it.
        self._byte_burst = self._bytes = (
            settings.byte_rate + settings.frame_limit if settings.byte_rate else inf
        )
        self._clock = clock
        self._transport = transport
        self._deliver = deliver
        self._refilled_at = clock.now
        self._resumed_at = -inf
        self._held: deque[bytes] = deque()
        self._timer: Any = None  # None: the peer is read from

    @property
    def holds(self) -> bool:
        """Whether payloads wait here."""
        return bool(self._held)

    @property
    def read_since(self) -> float:
        """Since when the peer is read from without a break, on the clock."""
        return self._resumed_at if self._timer is None else self._clock.now

    def admit(self, payloads: list[bytes], size: int) -> list[bytes]:
        """Return those of the payloads whose turn it is; they came in a read of ``size`` bytes."""
        # 0.5 microseconds for each read, whatever it brings.
        now = self._clock.now
        passed = now - self._refilled_at
        self._refilled_at = now
        tokens = min(self._burst, self._tokens + passed * self._rate) - len(payloads)
        left = min(self._byte_burst, self._bytes + passed * self._byte_rate) - size
        self._bytes = left
        if tokens >= 0 and left >= 0 and not self._held:
            self._tokens = tokens
            return payloads
        self._tokens = tokens + len(payloads)
        self._held += payloads
        admitted = self._take()
        self._rest()
        return admitted

    def close(self) -> None:
        """Forget what is held back."""
        self._held.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _take(self) -> list[bytes]:
        count = int(min(self._tokens, len(self._held)))
        self._tokens -= count
        return [self._held.popleft() for _ in range(count)]

    def _rest(self) -> None:
        """Read no more until there is something in the buckets."""
        wait = max(0.0, -self._bytes / self._byte_rate) if self._byte_rate else 0.0
        if self._held:
            wait = max(wait, (1 - self._tokens) / self._rate)
        if not wait:
            return
        self._transport.pause()
        self._timer = self._clock.call_later(wait, self._go_on)

    def _go_on(self) -> None:
        self._timer = None
        held = bool(self._held)
        payloads = self.admit([], 0)
        if self._timer is None:
            self._resumed_at = self._clock.now
            self._transport.resume()
        if held:
            self._deliver(payloads)
