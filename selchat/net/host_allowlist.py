"""By which names and addresses this machine may be asked for, as the ``Host`` of a browser's request has
them.

It must not know why that is asked.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_PAUSE = 5.0  # seconds between two looks at the addresses that this machine has


class HostAllowlist:
    """``names`` do not change; ``addresses`` returns what the machine has now, and is asked now and then."""

    def __init__(
        self, names: Iterable[str], addresses: Callable[[], Iterable[str]], now: Callable[[], float]
    ) -> None:
        own = [name.lower().strip("[]") for name in names]
        self._names = _LOOPBACK | {_spelled(name) for name in own}
        self._addresses = addresses
        self._known: frozenset[str] = frozenset()
        self._now = now
        self._looked_at = float("-inf")

    def __contains__(self, host: str) -> bool:
        """Whether that is this machine: a name in lower case, or an address, of IPv6 without brackets."""
        address = _address(host)
        host = address or host
        if host in self._names or host in self._known:
            return True
        if address is None or self._now() < self._looked_at + _PAUSE:
            return False
        # A machine gets another address while the server runs, when it is carried to another network.
        self._looked_at = self._now()
        self._known = frozenset(_spelled(one) for one in self._addresses())
        return host in self._known


def _spelled(host: str) -> str:
    """Return an address as all are spelled here, and anything else as it is."""
    return _address(host) or host


def _address(host: str) -> str | None:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None
