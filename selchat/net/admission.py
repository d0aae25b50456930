"""Admission control: connection limits in total and per address, and a connection rate per address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from selchat.addresses import limited_source
from selchat.errors import LimitError
from selchat.limits import MAX_BUCKETS
from selchat.ratelimit import BucketTable


class ServerFullError(LimitError):
    template = "server is full ({limit} connections)"


class AddressFullError(LimitError):
    template = "more than {limit} connections from one address"


class AddressRateError(LimitError):
    template = "more than {limit} new connections a minute from one address"


_MINUTE = 60.0


class Admission:
    """Counts connections and refuses those over a limit. Loopback is exempt from the limits per address.

    ``max_total``: open connections. ``max_per_address``: open connections from one address. ``rate``: new
    connections from one address in a minute. An IPv6 /64 network counts as one address. ``now()``: monotonic
    seconds.
    """

    def __init__(self, max_total: int, max_per_address: int, rate: int, now: Callable[[], float]) -> None:
        self.open = 0  # connections
        self.max_total = max_total
        self._max_per_address = max_per_address
        self._rate = rate
        self._now = now
        self._by_address: Counter[str] = Counter()
        # By address; one token is one new connection.
        self._buckets = BucketTable(rate / _MINUTE, rate, MAX_BUCKETS)

    def set_limits(self, max_total: int, max_per_address: int, rate: int) -> None:
        """Replace the limits. Open connections stay open."""
        self.max_total = max_total
        self._max_per_address = max_per_address
        self._rate = rate
        self._buckets.set_limits(rate / _MINUTE, rate)

    def admit(self, host: str) -> LimitError | None:
        """Count a new connection and return None, or return the limit that it exceeds."""
        address = limited_source(host)
        if self.open >= self.max_total:
            return ServerFullError(self.max_total)
        if address:
            now = self._now()
            if not self._buckets.get(address, now).take(now):
                return AddressRateError(self._rate)
            if self._by_address[address] >= self._max_per_address:
                return AddressFullError(self._max_per_address)
            self._by_address[address] += 1
        self.open += 1
        return None

    def release(self, host: str) -> None:
        """Count a closed connection."""
        self.open -= 1
        address = limited_source(host)
        if address:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]
