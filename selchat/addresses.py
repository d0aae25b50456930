"""Which addresses are one and the same to whoever counts what comes from them."""

from __future__ import annotations

import ipaddress


def source_of(host: str) -> str:
    """Return what counts as one source: an IPv4 address, or the /64 of an IPv6 one.

    Who has one address of such a network has all of them. Link-local ones are different: there, the whole LAN
    is one /64. What is no address at all (a local socket's) is a source of its own.
    """
    if ":" not in host:
        return host  # as nearly everyone's; it is asked for each connection
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


def plain_host(host: str) -> str:
    """Return the IPv4 address of a peer on an IPv6 socket (``::ffff:192.0.2.1``), and others unchanged."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def is_loopback(host: str) -> bool:
    """Return whether the address is one of 127.0.0.0/8 or ::1."""
    return host.startswith("127.") or host == "::1"
