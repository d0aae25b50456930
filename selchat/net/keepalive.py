"""Having the kernel notice a peer that has vanished: a cable, a crash, a machine that sleeps."""

from __future__ import annotations

import socket


def keep_alive(sock: socket.socket, *, idle: float, interval: float, count: int, timeout: float) -> None:
    """Have the kernel ask after ``idle`` seconds of silence, every ``interval`` seconds, ``count`` times.

    Nor does anything that was sent wait for more than ``timeout`` seconds to be acknowledged. Sockets that
    are accepted inherit all this from the one that listens (Linux: for certain).
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Which of these there are depends on the system. On Linux, with the last of them, which is in
    # milliseconds, a silent peer is given up at the first question after that time, whatever the count.
    for option, value in (
        ("TCP_KEEPIDLE", max(1, round(idle))),
        ("TCP_KEEPINTVL", max(1, round(interval))),
        ("TCP_KEEPCNT", count),
        ("TCP_USER_TIMEOUT", round(1000 * timeout)),
    ):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
