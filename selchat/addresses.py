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
