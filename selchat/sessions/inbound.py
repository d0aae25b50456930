"""Inbound stream of one connection: decoding, frame timeout, rate limit and work limit.

Every session has one. A peer has a limited time to finish each frame, and payloads pass no faster than the
settings allow. The limits lose nothing: payloads that were read already are queued here, and unread bytes
wait in the kernel and then at the peer, whose own ``send`` blocks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Generic, Protocol, TypeVar

from selchat.clock import Clock
from selchat.config.settings import Costs, Settings
from selchat.errors import LimitError, ProtocolError, SelchatError
from selchat.ratelimit import TokenBucket
from selchat.sessions.context import Context, Transport
from selchat.sessions.work import Meter

Payload = TypeVar("Payload")


class LoginTimeoutError(LimitError):
    template = "no username within {limit} s"


class FrameTimeoutError(LimitError):
    template = "frame not finished within {limit} s"


class Decoder(Protocol[Payload]):
    """Turn bytes into payloads, however the stream is cut.

    `selchat.wire.frames.FrameDecoder` is the reference.
    """

    error: ProtocolError | None

    @property
    def overhead(self) -> int:
        """Bytes that the last `receive_data` counts in addition to its own, because it took more work."""

    @property
    def unfinished(self) -> bool:
        """Whether a payload has begun and has not ended."""

    def receive_data(self, data: bytes) -> list[Payload]:
        """Feed the next bytes; return the payloads that they complete, in order."""

    def receive_one(self, data: bytes = b"") -> Payload | None:
        """Feed the next bytes; return the first payload alone, or None while it is incomplete."""

    def set_limit(self, limit: int, lengths: dict[bytes, int]) -> None:
        """Allow payloads of up to ``limit`` bytes from here on."""

    def receive_eof(self) -> None:
        """Mark the end of the stream."""


class InboundStream(Generic[Payload]):
    """A decoder with a frame timeout, a rate limit and a work limit.

    ``meter``: charges the work of this connection. The ``decoder`` starts with the limits that apply before
    login (`Settings.login_limit`, and one payload at a time); `lift_limits` replaces them after login. Call
    `check` after each read.
    """

    __slots__ = (
        "_clock",
        "_context",
        "_frame_seconds",
        "_limiter",
        "_on_error",
        "_rate_limiter",
        "_timer",
        "_unfinished_since",
        "decoder",
        "meter",
    )

    def __init__(self, context: Context, decoder: Decoder[Payload], meter: Meter) -> None:
        self._context = context
        self._clock = context.clock
        self._frame_seconds = context.settings.frame_seconds
        self.decoder = decoder
        self.meter = meter
        self._on_error: Callable[[SelchatError], object] | None = None
        self._timer: Any = None  # only while a frame is unfinished
        self._unfinished_since: float | None = None  # on the clock; None: no frame is unfinished
        self._limiter: RateLimiter[Payload] | None = None  # None: before login
        self._rate_limiter: RateLimiter[Payload] | None = None  # the same; None if there are no rates

    def lift_limits(self, transport: Transport, deliver: Callable[[list[Payload]], object]) -> list[Payload]:
        """Switch to the limits that apply after login; return the payloads that have already arrived.

        ``deliver`` is called later with payloads that a limit delayed.
        """
        context, settings = self._context, self._context.settings
        self.decoder.set_limit(settings.payload_limit, context.lengths)
        self._limiter = RateLimiter(settings, self._clock, transport, deliver, self.meter)
        if settings.message_rate or settings.byte_rate:
            self._rate_limiter = self._limiter
        return self.receive_data(b"")

    def receive_data(self, data: bytes) -> list[Payload]:
        """Feed the next bytes; return the completed payloads that the rate limit lets pass now."""
        decoder = self.decoder
        payloads = decoder.receive_data(data)
        overhead = decoder.overhead
        if overhead:
            self.meter.charge(Costs.OVERHEAD * overhead)
        limiter = self._rate_limiter
        return payloads if limiter is None else limiter.admit(payloads, len(data) + overhead)

    def defer(self, payloads: Sequence[Payload]) -> None:
        """Queue delivered payloads again, because `meter` does not admit the first one now."""
        assert self._limiter is not None
        self._limiter.defer(payloads)

    @property
    def has_rates(self) -> bool:
        """Whether the peer's messages and bytes are limited."""
        return self._rate_limiter is not None

    def charge_bytes(self, size: int) -> None:
        """Charge bytes that a payload takes on its way out, beyond those on its way in."""
        if self._rate_limiter is not None:
            self._rate_limiter.charge_bytes(size)

    def receive_eof(self) -> SelchatError | None:
        """Mark the end of the stream; return the error if the stream ended too early."""
        self.decoder.receive_eof()
        return self.decoder.error

    @property
    def read_since(self) -> float:
        """The time on the clock since which the server has read this peer without a pause."""
        return -inf if self._limiter is None else self._limiter.read_since

    def check(self, is_new: bool, on_error: Callable[[SelchatError], object]) -> None:
        """Call ``on_error`` for a broken stream, now or when the unfinished frame times out.

        ``is_new``: the unfinished frame began in the last read. A read starts no timer: it records
        since when the frame is unfinished, and one timer checks that.
        """
        decoder = self.decoder
        if decoder.error is not None:
            if self._limiter is None or not self._limiter.has_queued:  # queued payloads come first
                on_error(decoder.error)
            return
        if not decoder.unfinished:
            self._unfinished_since = None
            return
        if is_new or self._unfinished_since is None:
            self._unfinished_since = self._clock.now
        self._on_error = on_error
        if self._timer is None:
            self._timer = self._clock.call_later(self._frame_seconds, self._check_timeout)

    def close(self) -> None:
        """Stop the timers and drop the queued payloads."""
        self._on_error = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._limiter is not None:
            self._limiter.close()
        self.meter.close()

    def _check_timeout(self) -> None:
        self._timer = None
        if self._unfinished_since is None or self._on_error is None:
            return
        # While the server does not read, the delay is not the peer's.
        self._unfinished_since = max(self._unfinished_since, self.read_since)
        remaining = self._unfinished_since + self._frame_seconds - self._clock.now
        if remaining > 0:
            self._timer = self._clock.call_later(remaining, self._check_timeout)
        else:
            self._on_error(FrameTimeoutError(self._frame_seconds))


class RateLimiter(Generic[Payload]):
    """Pause reading while a peer is over its rate of messages or bytes, or its work has to wait.

    Payloads of the last read that exceed a limit are queued here: at most the payloads of one read, because
    reading pauses while the queue has payloads.
    """

    __slots__ = (
        "_bytes",
        "_clock",
        "_deliver",
        "_messages",
        "_meter",
        "_queue",
        "_resumed_at",
        "_timer",
        "_transport",
        "_waits_for_work",
    )

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        transport: Transport,
        deliver: Callable[[list[Payload]], object],
        meter: Meter,
    ) -> None:
        self._messages = message_bucket(settings, clock.now)
        self._bytes = byte_bucket(settings, clock.now)
        self._clock = clock
        self._transport = transport
        self._deliver = deliver
        self._meter = meter
        self._resumed_at = -inf
        self._queue: deque[Payload] = deque()
        self._timer: Any = None  # None: the rates allow to read this peer
        self._waits_for_work = False

    @property
    def has_queued(self) -> bool:
        """Whether payloads wait here."""
        return bool(self._queue)

    @property
    def read_since(self) -> float:
        """The time on the clock since which the server has read this peer without a pause."""
        return self._clock.now if self._is_paused else self._resumed_at

    def admit(self, payloads: list[Payload], size: int) -> list[Payload]:
        """Return the payloads that may pass now, and queue the rest. ``size``: the bytes of their read."""
        # The hot path, 0.5 microseconds a read, whatever it brings: two inlined `TokenBucket.refill`.
        now = self._clock.now
        messages, read = self._messages, self._bytes
        passed = now - messages.refilled_at
        messages.refilled_at = read.refilled_at = now
        tokens = messages.tokens + passed * messages.rate
        if tokens > messages.burst:  # noqa: PLR1730 - a call of min() takes three times as long
            tokens = messages.burst
        tokens -= len(payloads)
        left = read.tokens + passed * read.rate
        if left > read.burst:  # noqa: PLR1730
            left = read.burst
        left -= size
        # These bytes have been read already, so their bucket goes into debt instead of rejecting them.
        read.tokens = left
        if tokens >= 0 and left >= 0 and not self._queue:
            messages.tokens = tokens
            return payloads
        messages.tokens = tokens + len(payloads)
        self._queue += payloads
        admitted = self._dequeue()
        self._pause()
        return admitted

    def defer(self, payloads: Sequence[Payload]) -> None:
        """Queue payloads again that have passed, before all others; see `InboundStream.defer`."""
        self._queue.extendleft(reversed(payloads))
        self._messages.tokens += len(payloads)
        self._waits_for_work = True
        self._transport.pause()
        self._meter.call_when_free(self._work_is_free)

    def charge_bytes(self, size: int) -> None:
        """Charge bytes; see `InboundStream.charge_bytes`."""
        self._bytes.tokens -= size
        if not self._is_paused:
            self._pause()

    def close(self) -> None:
        """Drop the queued payloads."""
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _dequeue(self) -> list[Payload]:
        count = int(min(self._messages.tokens, len(self._queue)))
        self._messages.tokens -= count
        return [self._queue.popleft() for _ in range(count)]

    def _pause(self) -> None:
        """Pause reading until the byte debt is paid and the next queued payload may pass."""
        wait = self._bytes.wait(0)
        if self._queue:
            wait = max(wait, self._messages.wait(1))
        if not wait:
            return
        self._transport.pause()
        self._timer = self._clock.call_later(wait, self._continue)

    @property
    def _is_paused(self) -> bool:
        return self._timer is not None or self._waits_for_work

    def _work_is_free(self) -> None:
        self._waits_for_work = False
        if self._timer is not None:  # it is for later payloads
            self._timer.cancel()
        self._continue()

    def _continue(self) -> None:
        """Deliver the queued payloads that may pass now, and read again if none is left."""
        self._timer = None
        if self._waits_for_work:
            return
        had_queued = bool(self._queue)
        payloads = self.admit([], 0)
        if had_queued:
            self._deliver(payloads)
        if not self._is_paused:
            self._resumed_at = self._clock.now
            self._transport.resume()


def message_bucket(settings: Settings, now: float) -> TokenBucket:
    """Return the token bucket for one peer's messages."""
    return TokenBucket(settings.message_rate, settings.message_burst, now)


def byte_bucket(settings: Settings, now: float) -> TokenBucket:
    """Return the token bucket for one peer's bytes."""
    return TokenBucket(settings.byte_rate, byte_burst(settings), now)


def byte_burst(settings: Settings) -> int:
    """Return the bytes that a peer may send at once: a whole frame and one second's worth."""
    return settings.byte_rate + settings.frame_limit
