"""The network addresses of this machine.

Asks the Linux kernel directly. The best library for this starts a program (``ldconfig``) on every import.
Knows nothing about the use of the addresses.
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

from selchat.limits import MAX_INTERFACES

try:
    import fcntl  # POSIX only
except ImportError:
    _HAS_IOCTL = False
else:
    _HAS_IOCTL = True

_SIOCGIFCONF = 0x8912  # Linux: list all IPv4 addresses with their interfaces (netdevice(7))
_IFREQ_SIZE = 40 if struct.calcsize("P") == 8 else 32  # bytes of one struct ifreq

# Interfaces of containers and virtual machines; other machines cannot reach them.
_VIRTUAL = re.compile(r"(?:docker|br-|veth|virbr|vnet|vmnet|vboxnet|lxc|lxd|cni|podman|flannel|cali|tap)")


class Interface(NamedTuple):
    """One address and the name of its interface."""

    name: str
    address: str


def interfaces() -> list[Interface]:
    """Return this machine's addresses, IPv4 first; an interface with two addresses appears twice."""
    found: list[Interface] = []
    if _HAS_IOCTL:
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            buffer = array("B", bytes(_IFREQ_SIZE * MAX_INTERFACES))
            pointer, _ = buffer.buffer_info()
            request = struct.pack("iP", len(buffer), pointer)
            (size, _) = struct.unpack("iP", fcntl.ioctl(sock, _SIOCGIFCONF, request))
            data = buffer.tobytes()[:size]
            for offset in range(0, size, _IFREQ_SIZE):
                name = data[offset : offset + 16].partition(b"\0")[0].decode(errors="replace")
                address = socket.inet_ntoa(data[offset + 20 : offset + 24])
                found.append(Interface(name.partition(":")[0], address))
    with contextlib.suppress(OSError):  # Linux
        for line in Path("/proc/net/if_inet6").read_text("ascii").splitlines():
            fields = line.split()
            found.append(Interface(fields[5], str(ipaddress.ip_address(bytes.fromhex(fields[0])))))
    return found


def own_addresses() -> set[str]:
    """Return this machine's addresses, loopback included."""
    return {one.address for one in interfaces()}


def reachable_addresses(host: str) -> list[str]:
    """Return the addresses at which other machines reach a server that listens on ``host``, the best first.

    ``0.0.0.0`` stands for all IPv4 addresses of this machine, ``::`` for all addresses. IPv4 comes first,
    because people type it. Link-local and virtual addresses come last.
    """
    listens = ipaddress.ip_address(host.partition("%")[0])
    if not listens.is_unspecified:
        return [] if listens.is_loopback or _is_zoned(listens) else [str(listens)]
    ranked: list[tuple[tuple[bool, bool, bool], str]] = []
    for name, text in interfaces():
        address = ipaddress.ip_address(text)
        if address.is_loopback or _is_zoned(address) or address.version > listens.version:
            continue
        rank = (address.is_link_local, _VIRTUAL.match(name) is not None, address.version == 6)
        ranked.append((rank, text))
    ranked.sort(key=lambda one: one[0])  # stable: the kernel's order within a rank
    return list(dict.fromkeys(address for _, address in ranked))


def _is_zoned(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Return whether the address needs a zone (``%eth0``), which browsers do not accept in a URL."""
    return address.version == 6 and address.is_link_local
