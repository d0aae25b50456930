"""Token-bucket rate limiter, and a table of buckets by key.

It knows no clock: the caller passes the time. It does not know what a token stands for.
"""

from __future__ import annotations

from collections.abc import Hashable
from math import inf

_HOUR = 3600.0  # seconds


def hourly(count: int) -> tuple[float, float]:
    """Return the rate and the burst of a bucket for so many tokens in an hour, and as many at once."""
    return count / _HOUR, count


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


class BucketTable:
    """Token buckets by key, such as an address: at most ``limit`` of them, about 250 bytes each.

    ``rate`` and ``burst``: see `TokenBucket`. A table that is full drops the buckets that are full, which
    carry no information; if too few are, the least recently used ones too.
    """

    def __init__(self, rate: float, burst: float, limit: int) -> None:
        self._rate = rate
        self._burst = burst
        self._limit = limit
        self._buckets: dict[Hashable, TokenBucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def get(self, key: Hashable, now: float) -> TokenBucket:
        """Return the bucket of a key."""
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= self._limit:
                self._drop(now)
            bucket = self._buckets[key] = TokenBucket(self._rate, self._burst, now)
        return bucket

    def set_limits(self, rate: float, burst: float) -> None:
        """Replace the limits of all buckets."""
        self._rate = rate
        self._burst = burst
        for bucket in self._buckets.values():
            bucket.set_limits(rate, burst)

    def _drop(self, now: float) -> None:
        buckets = {
            key: bucket
            for key, bucket in self._buckets.items()
            if bucket.wait(bucket.burst) > now - bucket.refilled_at
        }
        if len(buckets) > self._limit // 2:
            by_age = sorted(buckets.items(), key=lambda item: item[1].refilled_at)
            buckets = dict(by_age[-(self._limit // 2) :])
        self._buckets = buckets
