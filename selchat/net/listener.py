"""The listening socket: accepts in batches, and rests when descriptors run out."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from types import ModuleType

from selchat.addresses import join_address, plain_host
from selchat.errors import UsageError, close_reason
from selchat.net.keepalive import keep_alive
from selchat.net.reactor import EVENT_READ, Reactor

resource: ModuleType | None
try:
    import resource  # POSIX only; elsewhere the only sign of too few descriptors is accept's error
except ImportError:
    resource = None

# What accept fails with when the system is out of something; the connection stays in the backlog.
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


# What to do about it, for what nearly everyone meets sooner or later.
_ADVICE = {
    errno.EADDRINUSE: "; is another server running? --port=PORT takes another one",
    errno.EACCES: "; ports below 1024 are the system's own, --port=PORT takes another one",
}


class CannotListenError(UsageError):
    """``host`` and ``port``, and why."""

    def __init__(self, host: str, port: int, why: str) -> None:
        super().__init__(host, port, why)
        self.host = host
        self.port = port
        self.why = why

    def __str__(self) -> str:
        return f"cannot listen on {join_address(self.host, self.port)}: {self.why}"


def listening_socket(host: str, port: int, backlog: int, dead_seconds: float) -> socket.socket:
    """Return a non-blocking socket that listens there; ``::`` takes IPv4 too. Raises `CannotListenError`.

    ``dead_seconds``: after so long a peer that has vanished is given up.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise CannotListenError(host, port, f"not an address of this machine ({error})") from error
    family, kind, protocol, _, address = found[0]
    try:
        sock = socket.socket(family, kind, protocol)
    except OSError as error:  # no IPv6 here, for one
        raise CannotListenError(host, port, close_reason(error)) from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Linux, macOS and Windows let accepted sockets inherit it, which saves a system call for each.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        keep_alive(sock, idle=dead_seconds / 2, interval=dead_seconds / 6, count=3, timeout=dead_seconds)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(address)
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        why = close_reason(error) + _ADVICE.get(error.errno or 0, "")
        raise CannotListenError(host, port, why) from error
    return sock


def raise_descriptor_limit(wanted: int) -> int:
    """Raise the process's soft limit of descriptors towards ``wanted``; return what it now is."""
    if resource is None:
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        except (OSError, ValueError):
            soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return wanted if soft == resource.RLIM_INFINITY else soft


class Listener:
    """Calls ``on_connection(sock, host, port)`` for each connection, in batches of at most ``batch`` a tick.

    ``room`` says how many more connections the process has descriptors for. At none, and when accept
    itself fails for want of something, accepting rests for ``pause`` seconds; who comes in that time
    waits in the backlog.
    """

    def __init__(
        self,
        reactor: Reactor,
        sock: socket.socket,
        *,
        batch: int,
        pause: float,
        room: Callable[[], int],
        on_connection: Callable[[socket.socket, str, int], object],
    ) -> None:
        self._reactor = reactor
        self._sock = sock
        self._batch = batch
        self._pause = pause
        self._room = room
        self._on_connection = on_connection
        self._paused = reactor.call_later(0, self._resume)
        self.pauses = 0
        self.accepted = 0  # connections, in all

    @property
    def address(self) -> tuple[str, int]:
        """The host and the port that it listens on."""
        host, port = self._sock.getsockname()[:2]
        return host, port

    def close(self) -> None:
        """Stop accepting and give the port back."""
        if self._sock.fileno() == -1:
            return
        self._stop_watching()
        self._paused.cancel()
        self._sock.close()

    def _resume(self) -> None:
        try:
            self._reactor.watch(self._sock, EVENT_READ, self._ready)
        except OSError:  # the system has no memory left, or watches as much as it may
            self._rest()

    def _rest(self) -> None:
        self.pauses += 1
        self._stop_watching()
        self._paused = self._reactor.call_later(self._pause, self._resume)

    def _stop_watching(self) -> None:
        try:
            self._reactor.unwatch(self._sock)
        except KeyError:
            pass  # it rests

    def _ready(self, _mask: int) -> None:
        for _ in range(self._batch):
            if self._sock.fileno() == -1:
                return  # closed by what a connection did
            if self._room() <= 0:
                self._rest()
                return
            try:
                sock, address = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._rest()
                    return
                continue  # that peer was gone before it was accepted, as accept(2) says
            self.accepted += 1
            sock.setblocking(False)
            self._on_connection(sock, plain_host(address[0]), address[1])
