"""IP addresses: one normal form, grouping by source, and networks to ban."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import NamedTuple

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_LINK_LOCAL = ipaddress.IPv6Network("fe80::/10")
_HOST_BITS = 64  # of an IPv6 address; a host in a /64 network can use all of its addresses
_MAPPED_BITS = 96  # prefix of the IPv4 addresses within IPv6: ::ffff:0:0/96
# Text of digits, dots and colons, such as ``10.9``, ``fd00:::1`` and ``10.0.0.0/33``; perhaps with a zone.
_LIKE_ADDRESS = re.compile(r"(?=.*\d)(?=.*[.:/])[\da-f.:/*\[\]]+(?:%.*)?|\S*::\S*", re.ASCII | re.IGNORECASE)
_WITH_PORT = re.compile(r"\[(?P<six>[^\]]+)\](?::\d{1,5})?|(?P<four>[\d.]+):\d{1,5}", re.ASCII)


class Network(NamedTuple):
    """A range of addresses. ``zone``: the interface of link-local addresses; empty: every interface."""

    range: IPNetwork
    zone: str = ""

    def contains(self, host: str) -> bool:
        """Return whether the address ``host`` is in this range, in whatever form it is written."""
        try:
            address, zone = _parse(host)
        except ValueError:
            return False
        return address in self.range and self.zone in {"", zone}

    def __str__(self) -> str:
        """Return a text that `parse_network` understands as the same network."""
        address = self.range.network_address
        if self.range.prefixlen == self.range.max_prefixlen and (address.version == 4 or address.is_loopback):
            return str(address)
        return f"{self.range}%{self.zone}" if self.zone else str(self.range)


def source_network(host: str) -> Network:
    """Return the addresses that the host at this address can use. Raises ValueError if it is no address.

    That is one IPv4 address (``::ffff:192.0.2.1`` is one, too), or an IPv6 /64 network. A host can choose any
    link-local address. These are therefore one source for each interface: that counts the link-local
    addresses of a whole LAN as one, but otherwise one host would be any number of sources.
    """
    address, zone = _parse(host)
    if isinstance(address, ipaddress.IPv4Address) or address.is_loopback:
        return Network(ipaddress.ip_network(address))
    if address in _LINK_LOCAL:
        return Network(_LINK_LOCAL, zone)
    return Network(ipaddress.IPv6Network((address, _HOST_BITS), strict=False))


def source_of(host: str) -> str:
    """Return the `source_network` to count for a host, as text.

    A text that is no address, as a local socket has, is returned unchanged.
    """
    if ":" not in host:
        return host  # the usual case, tested first because every connection comes here
    try:
        return str(source_network(host))
    except ValueError:
        return host


def parse_network(text: str) -> Network | None:
    """Return the addresses that an operator means by ``text``; None: it is neither address nor network.

    A single address stands for its `source_network`. A network, such as ``192.168.1.0/24`` or
    ``fd00::7/128``, means exactly its addresses. An address may have a port, as in the output of ``/users``.
    """
    found = _WITH_PORT.fullmatch(text)
    if found is not None:
        text = found["six"] or found["four"]
    try:
        if "/" not in text:
            return source_network(text)
        base, _, zone = text.partition("%")
        zone, slash, bits = zone.partition("/")
        network = ipaddress.ip_network(f"{base}/{bits}" if slash else base, strict=False)
    except ValueError:
        return None
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            network = ipaddress.IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    return Network(network, zone)


def limited_source(host: str) -> str:
    """Return the source to count for a limit by address; empty for loopback, which has no such limit.

    All users behind a proxy on the server's machine come from loopback.
    """
    return "" if is_loopback(host) else source_of(host)


def looks_like_address(text: str) -> bool:
    """Return whether people mean an address by ``text``, be it valid or not."""
    return _LIKE_ADDRESS.fullmatch(text) is not None


def host_of(address: str) -> str:
    """Return the host of ``host:port``, without the brackets of IPv6."""
    return address.rpartition(":")[0].strip("[]")


def join_address(host: str, port: int) -> str:
    """Return ``host:port``, with an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def plain_host(host: str) -> str:
    """Return the IPv4 address of a peer on an IPv6 socket (``::ffff:192.0.2.1``), and others unchanged."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def is_loopback(host: str) -> bool:
    """Return whether the address is one of 127.0.0.0/8 or ::1."""
    return host.startswith("127.") or host == "::1"


@lru_cache(maxsize=64)  # a list of bans asks for the same host again and again
def _parse(host: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, str]:
    """Return an address, unmapped, and its zone. Raises ValueError."""
    text, _, zone = host.partition("%")
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped, ""
    return address, zone
