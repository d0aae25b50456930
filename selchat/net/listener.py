"""Listening socket: accepts connections in batches, and pauses when descriptors run out."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from types import ModuleType
from typing import Any

from selchat.addresses import join_address, plain_host
from selchat.errors import UsageError, close_reason
from selchat.net.keepalive import enable_keepalive
from selchat.net.reactor import EVENT_READ, Reactor

resource: ModuleType | None
try:
    import resource  # POSIX only; elsewhere accept's error is the only sign that descriptors ran out
except ImportError:
    resource = None

# accept(2) fails with these when the system runs out of a resource; the connection stays in the backlog.
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


# Advice for the two errors that nearly every operator meets.
_ADVICE = {
    errno.EADDRINUSE: "; is another server running? Choose another port with --port=PORT",
    errno.EACCES: "; only root may use ports below 1024. Choose another port with --port=PORT",
}


class CannotListenError(UsageError):
    """The server cannot listen on ``host`` and ``port``; ``why`` says why."""

    def __init__(self, host: str, port: int, why: str) -> None:
        super().__init__(host, port, why)
        self.host = host
        self.port = port
        self.why = why

    def __str__(self) -> str:
        return f"cannot listen on {join_address(self.host, self.port)}: {self.why}"


def listening_socket(host: str, port: int, backlog: int, dead_seconds: float) -> socket.socket:
    """Return a non-blocking listening socket; ``::`` accepts IPv4 too. Raises `CannotListenError`.

    ``dead_seconds``: the kernel drops a vanished peer after this time.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise CannotListenError(host, port, "not an address of this machine") from error
    family, kind, protocol, _, address = found[0]
    try:
        sock = socket.socket(family, kind, protocol)
    except OSError as error:  # for example, the machine has no IPv6
        raise CannotListenError(host, port, close_reason(error)) from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # On Linux, macOS and Windows, accepted sockets inherit it. That saves a system call per connection.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        enable_keepalive(
            sock, idle=dead_seconds / 2, interval=dead_seconds / 6, count=3, timeout=dead_seconds
        )
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


def raise_descriptor_limit(target: int) -> int:
    """Raise this process's soft limit of open files towards ``target``; return the new limit."""
    if resource is None:
        return target
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < target:
        soft = target if hard == resource.RLIM_INFINITY else min(target, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        except (OSError, ValueError):
            soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return target if soft == resource.RLIM_INFINITY else soft


class Listener:
    """Calls ``on_connection(sock, host, port)`` for each connection, at most ``batch`` times a tick.

    ``capacity()`` returns how many more connections the process has descriptors for. When it returns 0, or
    accept fails for lack of a resource, the listener pauses for ``pause`` seconds. New connections wait in
    the backlog.
    """

    def __init__(
        self,
        reactor: Reactor,
        sock: socket.socket,
        *,
        batch: int,
        pause: float,
        capacity: Callable[[], int],
        on_connection: Callable[[socket.socket, str, int], object],
    ) -> None:
        self._reactor = reactor
        self._sock = sock
        self._batch = batch
        self._pause_seconds = pause
        self._capacity = capacity
        self._on_connection = on_connection
        self._pause_timer = reactor.call_later(0, self._resume)
        self.pauses = 0
        self.accepted = 0  # connections since the start

    @property
    def address(self) -> tuple[str, int]:
        """The host and port of the socket."""
        host, port = self._sock.getsockname()[:2]
        return host, port

    def close(self) -> None:
        """Stop accepting and release the port."""
        if self._sock.fileno() == -1:
            return
        self._stop_watching()
        self._pause_timer.cancel()
        self._sock.close()

    def _resume(self) -> None:
        try:
            self._reactor.watch(self._sock, EVENT_READ, self._ready)
        except OSError:  # the system is out of memory or of epoll watches
            self._pause()

    def _pause(self) -> None:
        self.pauses += 1
        self._stop_watching()
        self._pause_timer = self._reactor.call_later(self._pause_seconds, self._resume)

    def _stop_watching(self) -> None:
        try:
            self._reactor.unwatch(self._sock)
        except KeyError:
            pass  # paused

    def _ready(self, _mask: int) -> None:
        for _ in range(self._batch):
            if self._sock.fileno() == -1:
                return  # on_connection closed this listener
            if self._capacity() <= 0:
                self._pause()
                return
            try:
                sock, address = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause()
                    return
                continue  # the peer left before accept (see accept(2))
            self.accepted += 1
            sock.setblocking(False)
            self._on_connection(sock, _host(address), address[1])


def _host(address: tuple[Any, ...]) -> str:
    """Return the host of a socket's address, with the interface of a link-local one: ``fe80::1%eth0``."""
    scope = address[3] if len(address) == 4 else 0
    if not scope:
        return plain_host(address[0])
    try:
        return f"{address[0]}%{socket.if_indextoname(scope)}"
    except OSError:  # the interface has gone
        return f"{address[0]}%{scope}"
