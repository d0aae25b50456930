"""Wait until the peer's kernel has acknowledged everything, before a connection closes."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

from selchat.clock import Clock, Timer
from selchat.limits import DRAIN_POLL_SECONDS
from selchat.net.tls import TlsStream

try:
    import fcntl  # POSIX only
    import termios

    _CAN_TELL = True
except ImportError:
    _CAN_TELL = False


class Drain:
    """Calls ``on_done`` when the send queue of a socket has been empty for some seconds."""

    def __init__(self, clock: Clock, on_done: Callable[[], object]) -> None:
        self._clock = clock
        self._on_done = on_done
        self._timer: Timer | None = None

    def start(self, sock: socket.socket | TlsStream, seconds: float) -> None:
        """Start to watch; ``seconds`` leave the peer time to object."""
        if seconds <= 0:
            self._timer = None
            self._on_done()
            return
        if _unacknowledged(sock) == 0:
            seconds -= DRAIN_POLL_SECONDS
        self._timer = self._clock.call_later(DRAIN_POLL_SECONDS, self.start, sock, seconds)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _unacknowledged(sock: socket.socket | TlsStream) -> int:
    """Return how many sent bytes the peer's kernel has not acknowledged; 0 if the system cannot tell."""
    if not _CAN_TELL:
        return 0
    try:
        answer = fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0\0\0\0")  # Linux: SIOCOUTQ, the same number
    except OSError:
        return 0
    return int(struct.unpack("i", answer)[0])
