"""The addresses of this machine, as far as they can be had without asking anyone.

The kernel is asked directly (Linux) and not by a library: of those, the best one starts a program
(``ldconfig``) whenever it is imported. It must not know what the addresses are for.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import struct
from array import array
from pathlib import Path
from typing import NamedTuple

try:
    import fcntl  # POSIX only
except ImportError:
    _GETS_ADDRESSES = False
else:
    _GETS_ADDRESSES = True

_SIOCGIFCONF = 0x8912  # Linux: all IPv4 addresses, with their interfaces (netdevice(7))
_IFREQ = 40 if struct.calcsize("P") == 8 else 32  # bytes of one of them
_MAX = 1024  # of them

# Networks inside this machine, of containers and virtual machines; from elsewhere nobody gets there.
_INNER = re.compile(r"(?:docker|br-|veth|virbr|vnet|vmnet|vboxnet|lxc|lxd|cni|podman|flannel|cali|tap)")


class Interface(NamedTuple):
    """One address, and the name of the interface that has it."""

    name: str
    address: str


def interfaces() -> list[Interface]:
    """Return the addresses of this machine, those of IPv4 first; one that has two is there twice."""
    found: list[Interface] = []
    if _GETS_ADDRESSES:
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            answers = array("B", bytes(_IFREQ * _MAX))
            start, _ = answers.buffer_info()
            asked = struct.pack("iP", len(answers), start)
            (size, _) = struct.unpack("iP", fcntl.ioctl(sock, _SIOCGIFCONF, asked))
            data = answers.tobytes()[:size]
            for place in range(0, size, _IFREQ):
                name = data[place : place + 16].partition(b"\0")[0].decode(errors="replace")
                found.append(
                    Interface(name.partition(":")[0], socket.inet_ntoa(data[place + 20 : place + 24]))
                )
    with contextlib.suppress(OSError):  # Linux
        for line in Path("/proc/net/if_inet6").read_text("ascii").splitlines():
            fields = line.split()
            found.append(Interface(fields[5], str(ipaddress.ip_address(bytes.fromhex(fields[0])))))
    return found


def own_addresses() -> set[str]:
    """Return the addresses of this machine, loopback and all."""
    return {one.address for one in interfaces()}


def reachable_addresses(host: str) -> list[str]:
    """Return by which addresses others can get to what listens on that one, the best first.

    ``0.0.0.0`` and ``::`` are all of this machine's, of IPv4 alone or not. IPv4 is first, since people type
    it; what is only good for who has no other address, or for what is inside this machine, is last.
    """
    listens = ipaddress.ip_address(host.partition("%")[0])
    if not listens.is_unspecified:
        return [] if listens.is_loopback or _is_zoned(listens) else [str(listens)]
    ranked: list[tuple[tuple[bool, bool, bool], str]] = []
    for name, text in interfaces():
        address = ipaddress.ip_address(text)
        if address.is_loopback or _is_zoned(address) or address.version > listens.version:
            continue
        rank = (address.is_link_local, _INNER.match(name) is not None, address.version == 6)
        ranked.append((rank, text))
    ranked.sort(key=lambda one: one[0])  # those of one rank stay in the order of the kernel's
    return list(dict.fromkeys(address for _, address in ranked))


def _is_zoned(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether it means something only together with an interface, which no address of a browser can have."""
    return address.version == 6 and address.is_link_local
