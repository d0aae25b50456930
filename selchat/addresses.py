"""IP addresses: grouping by source, and text forms."""

from __future__ import annotations

import ipaddress


def source_of(host: str) -> str:
    """Return the source to count for a host: its IPv4 address, or the /64 network of its IPv6 address.

    A host in a /64 network can use all of its addresses. Link-local addresses are exceptions: there, the
    whole LAN is one /64. A text that is no address, as a local socket has, is returned unchanged.
    """
    if ":" not in host:
        return host  # the usual case, tested first because every connection comes here
    try:
        ip = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    if ip.is_link_local or ip.is_loopback:
        return str(ip)
    if ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    return str(ipaddress.IPv6Network((ip, 64), strict=False))


def join_address(host: str, port: int) -> str:
    """Return ``host:port``, with an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def host_of(address: str) -> str:
    """Return the host of ``host:port``, without brackets."""
    return address.rpartition(":")[0].strip("[]")


def plain_host(host: str) -> str:
    """Return the IPv4 address of a peer on an IPv6 socket (``::ffff:192.0.2.1``), and others unchanged."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def is_loopback(host: str) -> bool:
    """Return whether the address is one of 127.0.0.0/8 or ::1."""
    return host.startswith("127.") or host == "::1"
