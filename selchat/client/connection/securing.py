"""The TLS handshake with a server, on the reactor. It must not know whose key is to be trusted."""

from __future__ import annotations

import socket
from collections.abc import Callable

from selchat.errors import close_reason
from selchat.net.reactor import EVENT_READ, EVENT_WRITE, Reactor, Timer
from selchat.net.tls import TlsState, TlsStream, client_context

_READ_SIZE = 64 * 1024  # bytes


class Securing:
    """Calls ``on_secured(stream, data)``, or ``on_failed(why)``, once for each `begin`.

    The stream belongs to who is called then, with what has come on it already; it calls ``on_blocked`` and
    ``on_buffered`` as `TlsStream` says. On failure the socket is closed.
    """

    def __init__(
        self,
        reactor: Reactor,
        on_secured: Callable[[TlsStream, bytes], object],
        on_failed: Callable[[str], object],
        *,
        on_blocked: Callable[[], object],
        on_buffered: Callable[[], object],
    ) -> None:
        self._reactor = reactor
        self._on_secured = on_secured
        self._on_failed = on_failed
        self._on_blocked = on_blocked
        self._on_buffered = on_buffered
        self._context = client_context()
        self._stream: TlsStream | None = None
        self._timer: Timer | None = None

    def begin(self, sock: socket.socket, seconds: float) -> None:
        """Shake hands on a connected, non-blocking socket, within so many seconds."""
        self._stream = stream = TlsStream(
            sock, self._context, server_side=False, on_blocked=self._stuck, on_buffered=self._again
        )
        self._timer = self._reactor.call_later(seconds, self._fail, f"no answer within {seconds:g} s")
        self._reactor.watch(stream, EVENT_READ, self._ready)
        try:
            stream.start_handshake()
        except OSError as error:
            self._fail(close_reason(error))

    def close(self) -> None:
        """Give it up; nobody is called."""
        stream = self._leave()
        if stream is not None:
            stream.close()

    def _ready(self, mask: int) -> None:
        stream = self._stream
        if stream is None:
            return  # a batch of ready keys can hold one of what an earlier callback has closed
        data = b""
        try:
            if mask & EVENT_WRITE:
                stream.send(b"")
                self._reactor.rewatch(stream, EVENT_READ, self._ready)
            if mask & EVENT_READ:
                data = stream.recv(_READ_SIZE)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._fail(close_reason(error))
            return
        if stream.state is TlsState.OPEN:
            self._leave()
            self._on_secured(stream, data)
        elif stream.state is TlsState.CLOSED:
            self._fail("closed by the server")

    # The stream may call these for as long as it lives, in whoever's hands it is.

    def _stuck(self) -> None:
        if self._stream is None:
            self._on_blocked()
        else:
            self._reactor.rewatch(self._stream, EVENT_READ | EVENT_WRITE, self._ready)

    def _again(self) -> None:
        if self._stream is None:
            self._on_buffered()

    def _fail(self, why: str) -> None:
        self.close()
        self._on_failed(why.removeprefix("tls: "))

    def _leave(self) -> TlsStream | None:
        stream, self._stream = self._stream, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if stream is not None:
            self._reactor.unwatch(stream)
        return stream
