"""Connect to a server: TCP, TLS, and the check of the pinned key.

Knows nothing of the protocol that a link speaks on the connection.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Protocol

from selchat.addresses import join_address, plain_host
from selchat.client.connection.trust import KnownServers, ServerChangedError
from selchat.client.events import Trusted
from selchat.config.settings import ClientSettings
from selchat.errors import SelchatError, UsageError, close_reason
from selchat.limits import CLIENT_READ
from selchat.net.certificate import fingerprint, group_digits
from selchat.net.keepalive import enable_keepalive
from selchat.net.reactor import EVENT_READ, EVENT_WRITE, Reactor, Timer
from selchat.net.tls import TlsState, TlsStream, client_context
from selchat.text import escape_controls

Address = tuple[int, Any]  # the family, and the argument of connect


class CannotConnectError(UsageError):
    """``host`` and ``port``, and why."""

    def __init__(self, host: str, port: int, why: str) -> None:
        super().__init__(host, port, why)
        self.host = host
        self.port = port
        self.why = why

    def __str__(self) -> str:
        return escape_controls(f"cannot connect to {join_address(self.host, self.port)}: {self.why}")


class Tls(Enum):
    """Whether a link is encrypted: ``GUESSED`` becomes ``ON`` or ``OFF`` after the first handshake."""

    GUESSED = auto()
    ON = auto()
    OFF = auto()


class ConnectorOwner(Protocol):
    """The owner of a `Connector`. Each `Connector.connect` calls one of the first three, once."""

    def on_connected(self, sock: socket.socket | TlsStream, address: str, data: bytes) -> None:
        """Use the socket, which is non-blocking, and the data that arrived with the TLS handshake."""

    def on_connect_failed(self, why: str) -> None:
        """Retry or give up: the server does not answer, or not by TLS."""

    def on_untrusted(self, error: Exception) -> None:
        """Give up: the server has another key than before, or the client cannot check it."""

    def on_pinned(self, trusted: Trusted) -> None:
        """Tell the user that the client pinned the key of a new server."""

    def on_blocked(self) -> None: ...
    def on_buffered(self) -> None: ...


class Connector:
    """Connects by TLS and checks the server's key; without TLS only to servers that never had it.

    ``plain_reason`` says why there is no TLS, until the owner clears it. After `on_connected`, a `TlsStream`
    calls the owner's ``on_blocked`` and ``on_buffered``. Raises `KnownServersError`.
    """

    def __init__(self, reactor: Reactor, settings: ClientSettings, owner: ConnectorOwner) -> None:
        self.plain_reason = ""
        self._settings = settings
        self._owner = owner
        self._known = KnownServers()
        self.tls = self._initial_tls()
        self._tcp = TcpConnector(reactor, settings, self._on_tcp, owner.on_connect_failed)
        self._handshake = TlsHandshake(
            reactor,
            self._on_tls,
            self._on_tls_failed,
            on_blocked=owner.on_blocked,
            on_buffered=owner.on_buffered,
        )
        self._address = ""

    def connect(self) -> None:
        self._tcp.connect()

    def close(self) -> None:
        """Cancel the attempt; call nobody."""
        self._tcp.close()
        self._handshake.close()

    def guess_tls(self) -> None:
        """Try TLS again: the reason against it may have gone."""
        self.tls = self._initial_tls()

    def _initial_tls(self) -> Tls:
        """Return how to start. A server that had TLS once must have it for ever."""
        settings = self._settings
        if settings.tls == "off" or (settings.tls == "auto" and settings.wire == "classic"):
            return Tls.OFF
        if settings.tls == "require" or self._known.find(settings.host, settings.port) is not None:
            return Tls.ON
        return Tls.GUESSED

    def _on_tcp(self, sock: socket.socket, address: str) -> None:
        self._address = address
        if self.tls is Tls.OFF:
            self._owner.on_connected(sock, address, b"")
            return
        guessed = self.tls is Tls.GUESSED
        self._handshake.start(sock, self._settings.tls_seconds if guessed else self._settings.connect_seconds)

    def _on_tls(self, stream: TlsStream, data: bytes) -> None:
        settings = self._settings
        try:
            shown = fingerprint(stream.certificate)
            known = self._known.find(settings.host, settings.port)
            address = join_address(settings.host, settings.port)
            if known is None:
                self._known.add(settings.host, settings.port, shown)
                self._owner.on_pinned(Trusted(address, group_digits(shown)))
            elif known[0] != shown:
                expected, line = group_digits(known[0]), known[1]
                raise ServerChangedError(address, expected, group_digits(shown), self._known.path, line)
        except (SelchatError, ValueError) as error:
            stream.close()
            self._owner.on_untrusted(error)
            return
        self.tls = Tls.ON
        self._owner.on_connected(stream, self._address, data)

    def _on_tls_failed(self, why: str) -> None:
        if self.tls is Tls.GUESSED:
            self.tls = Tls.OFF
            self.plain_reason = why
            self.connect()
        else:
            self._owner.on_connect_failed(f"no TLS ({why}), but this client requires it")


class TcpConnector:
    """Resolves the host without blocking the reactor, and tries its addresses in turn.

    Calls ``on_connected(socket, address)``, or ``on_failed(why)``, once for each `connect`, but never during
    it: the caller may still be starting. The socket is non-blocking and belongs to the callee; the address
    is numeric.
    """

    def __init__(
        self,
        reactor: Reactor,
        settings: ClientSettings,
        on_connected: Callable[[socket.socket, str], object],
        on_failed: Callable[[str], object],
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._on_connected = on_connected
        self._on_failed = on_failed
        self._attempt = 0  # to ignore the resolver's answer to an earlier attempt
        self._addresses: deque[Address] = deque()  # still to try
        self._sock: socket.socket | None = None
        self._timer: Timer | None = None

    def connect(self) -> None:
        self._attempt += 1
        try:
            addresses = _resolve(self._settings, socket.AI_NUMERICHOST)
        except (OSError, ValueError):
            # A host name. Resolving can take many seconds. Ctrl-C and input must work during it.
            threading.Thread(
                target=self._resolve_name, args=(self._attempt,), name="resolver", daemon=True
            ).start()
        else:
            self._on_resolved(self._attempt, addresses, "")

    def close(self) -> None:
        """Cancel the attempt; call nobody."""
        self._attempt += 1
        self._drop()

    def _resolve_name(self, attempt: int) -> None:
        try:
            addresses, why = _resolve(self._settings, 0), ""
        except (OSError, ValueError) as error:
            addresses, why = deque[Address](), f"no such host ({getattr(error, 'strerror', None) or error})"
        self._reactor.call_soon(self._on_resolved, attempt, addresses, why)

    def _on_resolved(self, attempt: int, addresses: deque[Address], why: str) -> None:
        if attempt == self._attempt:
            self._addresses = addresses
            self._try_next(why)

    def _try_next(self, why: str) -> None:
        """Try the next address; ``why`` the last one failed."""
        self._drop()
        if not self._addresses:
            # In a later tick: without a network even the first address fails during `connect`.
            self._reactor.call_soon(self._report_failure, self._attempt, why)
            return
        family, address = self._addresses.popleft()
        try:
            self._sock = sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect(address)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._close_socket()
            self._try_next(_explain(error, address[0]))
            return
        self._timer = self._reactor.call_later(self._settings.connect_seconds, self._on_timeout)
        self._reactor.watch(sock, EVENT_WRITE, self._on_writable)

    def _report_failure(self, attempt: int, why: str) -> None:
        if attempt == self._attempt:
            self._on_failed(why)

    def _on_timeout(self) -> None:
        self._timer = None
        self._try_next(f"no answer within {self._settings.connect_seconds:g} s")

    def _on_writable(self, _mask: int) -> None:
        # A batch of ready keys can hold one of a socket that an earlier callback has closed.
        sock = self._sock
        if sock is None:
            return
        try:
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                raise OSError(number, os.strerror(number))
            peer = sock.getpeername()
            # Linux connects a socket to itself if it picks the destination port as the local one.
            if peer == sock.getsockname():
                raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        except OSError as error:
            self._try_next(close_reason(error))
            return
        self._cancel_timer()
        self._reactor.unwatch(sock)
        self._sock = None
        seconds = self._settings.keepalive_seconds
        enable_keepalive(sock, idle=seconds, interval=seconds, count=2, timeout=3 * seconds)
        self._on_connected(sock, plain_host(peer[0]))

    def _drop(self) -> None:
        self._cancel_timer()
        if self._sock is not None:
            self._reactor.unwatch(self._sock)
            self._close_socket()

    def _close_socket(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _explain(error: OSError, host: str) -> str:
    """Return why this machine cannot even try an address."""
    if error.errno == errno.EINVAL and host.lower().startswith("fe80:") and "%" not in host:
        return f"{host} is a link-local address: add the network interface, for example {host}%eth0"
    return close_reason(error)


def _resolve(settings: ClientSettings, flags: int) -> deque[Address]:
    found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=flags)
    return deque((family, address) for family, _, _, _, address in found)


class TlsHandshake:
    """A TLS handshake on the reactor. Does not check whose certificate it is.

    Calls ``on_done(stream, data)``, or ``on_failed(why)``, once for each `start`. The stream belongs to the
    callee then, with the ``data`` that arrived already; it calls ``on_blocked`` and ``on_buffered`` as
    `TlsStream` describes. A failure closes the socket.
    """

    def __init__(
        self,
        reactor: Reactor,
        on_done: Callable[[TlsStream, bytes], object],
        on_failed: Callable[[str], object],
        *,
        on_blocked: Callable[[], object],
        on_buffered: Callable[[], object],
    ) -> None:
        self._reactor = reactor
        self._on_done = on_done
        self._on_failed = on_failed
        self._on_blocked = on_blocked
        self._on_buffered = on_buffered
        self._context = client_context()
        self._stream: TlsStream | None = None
        self._timer: Timer | None = None

    def start(self, sock: socket.socket, timeout: float) -> None:
        """Start on a connected, non-blocking socket; ``timeout`` is in seconds."""
        self._stream = stream = TlsStream(
            sock,
            self._context,
            server_side=False,
            on_blocked=self._on_stream_blocked,
            on_buffered=self._on_stream_buffered,
        )
        self._timer = self._reactor.call_later(timeout, self._fail, f"no answer within {timeout:g} s")
        self._reactor.watch(stream, EVENT_READ, self._on_ready)
        try:
            stream.start_handshake()
        except OSError as error:
            self._fail(close_reason(error))

    def close(self) -> None:
        """Cancel the handshake; call nobody."""
        stream = self._release()
        if stream is not None:
            stream.close()

    def _on_ready(self, mask: int) -> None:
        stream = self._stream
        if stream is None:
            return  # a batch of ready keys can hold one of a stream that an earlier callback has closed
        data = b""
        try:
            if mask & EVENT_WRITE:
                stream.send(b"")
                self._reactor.rewatch(stream, EVENT_READ, self._on_ready)
            if mask & EVENT_READ:
                data = stream.recv(CLIENT_READ)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._fail(close_reason(error))
            return
        if stream.state is TlsState.OPEN:
            self._release()
            self._on_done(stream, data)
        elif stream.state is TlsState.CLOSED:
            self._fail("closed by the server")

    # The stream keeps these two callbacks after the handshake.

    def _on_stream_blocked(self) -> None:
        if self._stream is None:
            self._on_blocked()
        else:
            self._reactor.rewatch(self._stream, EVENT_READ | EVENT_WRITE, self._on_ready)

    def _on_stream_buffered(self) -> None:
        if self._stream is None:
            self._on_buffered()

    def _fail(self, why: str) -> None:
        self.close()
        self._on_failed(why.removeprefix("tls: "))

    def _release(self) -> TlsStream | None:
        stream, self._stream = self._stream, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if stream is not None:
            self._reactor.unwatch(stream)
        return stream
