"""Who may connect: how many at a time, and how many anew in a minute, in all and from one address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from selchat.addresses import is_loopback, source_of
from selchat.errors import LimitError


class ServerFullError(LimitError):
    template = "server is full ({limit} connections)"


class AddressFullError(LimitError):
    template = "more than {limit} connections from one address"


class AddressRateError(LimitError):
    template = "more than {limit} new connections a minute from one address"


_MAX_REMEMBERED = 10_000  # addresses whose new connections are counted, before those at rest are forgotten
_MINUTE = 60.0


class Admission:
    """Counts connections and says who may not come in. Loopback is exempt from the limits per address.

    ``most`` connections in all, ``most_per_address`` of one address, and as many as ``rate`` new ones of it a
    minute. A network of IPv6, which is given out as a whole (/64), counts as one address. ``now`` gives
    monotonic seconds.
    """

    def __init__(self, most: int, most_per_address: int, rate: int, now: Callable[[], float]) -> None:
        self.open = 0
        self._most = most
        self._most_per_address = most_per_address
        self._rate = rate
        self._now = now
        self._by_address: Counter[str] = Counter()
        self._lately: dict[
            str, tuple[float, float]
        ] = {}  # of each address: tokens, and when they were counted

    def allow(self, most: int, most_per_address: int, rate: int) -> None:
        """Go by these limits from now on; who is in stays."""
        self._most = most
        self._most_per_address = most_per_address
        self._rate = rate

    def admit(self, host: str) -> LimitError | None:
        """Count one in, or return the limit that is in the way."""
        address = address_of(host)
        if self.open >= self._most:
            return ServerFullError(self._most)
        if address:
            if not self._take_token(address):
                return AddressRateError(self._rate)
            if self._by_address[address] >= self._most_per_address:
                return AddressFullError(self._most_per_address)
            self._by_address[address] += 1
        self.open += 1
        return None

    def release(self, host: str) -> None:
        """Count one out."""
        self.open -= 1
        address = address_of(host)
        if address:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    def _take_token(self, address: str) -> bool:
        """Count a new connection of the address; return whether there were not too many of them."""
        now = self._now()
        if len(self._lately) > _MAX_REMEMBERED:
            self._forget(now)
        tokens, at = self._lately.get(address, (float(self._rate), now))
        tokens = min(self._rate, tokens + (now - at) * self._rate / _MINUTE)
        slow = tokens >= 1
        self._lately[address] = (tokens - slow, now)
        return slow

    def _forget(self, now: float) -> None:
        """Forget those that may do what they could do if they had never come; then, the longest silent."""
        lately = {
            address: (tokens, at)
            for address, (tokens, at) in self._lately.items()
            if tokens + (now - at) * self._rate / _MINUTE < self._rate
        }
        if len(lately) > _MAX_REMEMBERED // 2:
            newest = sorted(lately.items(), key=lambda one: one[1][1])
            lately = dict(newest[-_MAX_REMEMBERED // 2 :])
        self._lately = lately


def address_of(host: str) -> str:
    """Return what counts as one address: an IPv4 address, or a /64 of IPv6; empty for loopback."""
    return "" if is_loopback(host) else source_of(host)
