"""Who may be told a secret: what a link asks before it says one.

It must not know what the secret is, nor how a connection is encrypted.
"""

from __future__ import annotations

import ipaddress


def may_tell_password(address: str, *, encrypted: bool) -> bool:
    """Whether a password may be said to the server at a numeric ``address``: is nobody able to listen?

    ``encrypted``: the connection is, and the other end is the one that it was.
    """
    if encrypted:
        return True
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    return ip.is_loopback
