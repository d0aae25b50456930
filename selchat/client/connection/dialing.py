"""Connecting: looks a host up without holding up the reactor, and tries its addresses in turn.

It must not know what is said on the socket that comes out of it.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from selchat.addresses import join_address, plain_host
from selchat.config.settings import ClientSettings
from selchat.errors import UsageError, close_reason
from selchat.net.keepalive import enable_keepalive
from selchat.net.reactor import EVENT_WRITE, Reactor, Timer
from selchat.text import escape_controls

Address = tuple[int, Any]  # the family, and what connect takes


class CannotConnectError(UsageError):
    """``host`` and ``port``, and why."""

    def __init__(self, host: str, port: int, why: str) -> None:
        super().__init__(host, port, why)
        self.host = host
        self.port = port
        self.why = why

    def __str__(self) -> str:
        return escape_controls(f"cannot connect to {join_address(self.host, self.port)}: {self.why}")


class Dialer:
    """Calls ``on_connected(socket, address)``, or ``on_failed(why)``, once for each `dial`.

    The socket is non-blocking and belongs to who is called; the address is the numeric one.
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
        self._dials = 0  # an answer to an earlier one comes too late
        self._addresses: deque[Address] = deque()  # still to be tried
        self._sock: socket.socket | None = None
        self._timer: Timer | None = None

    def dial(self) -> None:
        """Begin."""
        self._dials += 1
        try:
            addresses = _look_up(self._settings, socket.AI_NUMERICHOST)
        except (OSError, ValueError):
            # A name. Looking it up can take many seconds, in which Ctrl-C and input must be heard.
            threading.Thread(target=self._resolve, args=(self._dials,), name="resolver", daemon=True).start()
        else:
            self._resolved(self._dials, addresses, "")

    def close(self) -> None:
        """Stop trying, and give everything back; nobody is called."""
        self._dials += 1
        self._drop()

    def _resolve(self, dial: int) -> None:
        try:
            addresses, why = _look_up(self._settings, 0), ""
        except (OSError, ValueError) as error:
            addresses, why = deque[Address](), f"no such host ({getattr(error, 'strerror', None) or error})"
        self._reactor.call_soon(self._resolved, dial, addresses, why)

    def _resolved(self, dial: int, addresses: deque[Address], why: str) -> None:
        if dial == self._dials:
            self._addresses = addresses
            self._try_next(why)

    def _try_next(self, why: str) -> None:
        """Try the next address; ``why``: the one before did not do."""
        self._drop()
        if not self._addresses:
            self._on_failed(why)
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
            self._give_up_socket()
            self._try_next(close_reason(error))
            return
        self._timer = self._reactor.call_later(self._settings.connect_seconds, self._no_answer)
        self._reactor.watch(sock, EVENT_WRITE, self._answered)

    def _no_answer(self) -> None:
        self._timer = None
        self._try_next(f"no answer within {self._settings.connect_seconds:g} s")

    def _answered(self, _mask: int) -> None:
        # A batch of ready keys can hold one of a socket that an earlier callback has closed.
        sock = self._sock
        if sock is None:
            return
        try:
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                raise OSError(number, os.strerror(number))
            peer = sock.getpeername()
            # Linux connects a socket to itself when it picks the very port that is tried as its own.
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
            self._give_up_socket()

    def _give_up_socket(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _look_up(settings: ClientSettings, flags: int) -> deque[Address]:
    found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=flags)
    return deque((family, address) for family, _, _, _, address in found)
