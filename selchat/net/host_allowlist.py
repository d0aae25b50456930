"""Host header values that this server accepts: the names and addresses of its machine.

Knows nothing about requests.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable

from selchat.limits import ADDRESS_REFRESH_SECONDS

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class HostAllowlist:
    """A set of host names. ``names`` are fixed; ``addresses()`` returns the machine's current addresses, and
    is called at most every 5 seconds. ``now()``: monotonic seconds.
    """

    def __init__(
        self, names: Iterable[str], addresses: Callable[[], Iterable[str]], now: Callable[[], float]
    ) -> None:
        given = [name.lower().strip("[]") for name in names]
        self._names = _LOOPBACK | {_canonical(name) for name in given}
        self._read_addresses = addresses
        self._addresses: frozenset[str] = frozenset()
        self._now = now
        self._refreshed_at = float("-inf")

    def __contains__(self, host: str) -> bool:
        """Return whether ``host``, a lower-case name or an address without brackets, is this machine."""
        address = _parse_address(host)
        host = address or host
        if host in self._names or host in self._addresses:
            return True
        if address is None or self._now() < self._refreshed_at + ADDRESS_REFRESH_SECONDS:
            return False
        # A laptop gets a new address while the server runs, when its owner carries it to another network.
        self._refreshed_at = self._now()
        self._addresses = frozenset(_canonical(one) for one in self._read_addresses())
        return host in self._addresses


def _canonical(host: str) -> str:
    """Return an address in its canonical spelling, and a name unchanged."""
    return _parse_address(host) or host


def _parse_address(host: str) -> str | None:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None
