"""TCP keepalive: the kernel detects a vanished peer (a cut cable, a crash, a machine that sleeps)."""

from __future__ import annotations

import socket


def enable_keepalive(
    sock: socket.socket, *, idle: float, interval: float, count: int, timeout: float
) -> None:
    """Probe after ``idle`` seconds of silence, every ``interval`` seconds, and give up after ``count``
    probes.

    Sent data may stay unacknowledged for at most ``timeout`` seconds. Accepted sockets inherit these options
    from the listening socket (certain on Linux).
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Each system has some of these. Linux has all; TCP_USER_TIMEOUT (milliseconds) overrides the count there:
    # the first probe after that time ends the connection.
    for option, value in (
        ("TCP_KEEPIDLE", max(1, round(idle))),
        ("TCP_KEEPINTVL", max(1, round(interval))),
        ("TCP_KEEPCNT", count),
        ("TCP_USER_TIMEOUT", round(1000 * timeout)),
    ):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
