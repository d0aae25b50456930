"""Token-bucket rate limiter.

It knows no clock: the caller passes the time. It does not know what a token stands for.
"""

from __future__ import annotations

from math import inf


class TokenBucket:
    """Allow ``rate`` tokens a second on average, and up to ``burst`` at once after a pause.

    The bucket starts full. A ``rate`` of 0 means no limit: the bucket is always full. ``now`` is in seconds
    on a monotonic clock.

    The attributes are public so that `selchat.sessions.inbound.RateLimiter.admit`, which runs for each read,
    can inline `refill`: a method call takes as long as the arithmetic.
    """

    __slots__ = ("burst", "rate", "refilled_at", "tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.refilled_at = now
        self.set_limits(rate, burst)
        self.tokens = self.burst

    def set_limits(self, rate: float, burst: float) -> None:
        """Apply these limits from the last refill on. Tokens over the new ``burst`` are lost."""
        if rate:
            self.rate, self.burst = rate, burst
        else:
            self.rate, self.burst, self.tokens = 0.0, inf, inf

    def refill(self, now: float) -> None:
        """Add the tokens that have accrued since the last refill."""
        self.tokens = min(self.burst, self.tokens + (now - self.refilled_at) * self.rate)
        self.refilled_at = now

    def take(self, now: float) -> bool:
        """Refill, then take one token; return False if the bucket holds less than one."""
        self.refill(now)
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def wait(self, tokens: float) -> float:
        """Return the seconds from the last refill until the bucket holds that many tokens."""
        missing = tokens - self.tokens
        return missing / self.rate if missing > 0 else 0.0
