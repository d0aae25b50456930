"""One accepted connection: reads for its handler, sends from its outbox, and ends in good order.

Ending takes three steps, so that the last words arrive: what is queued is flushed, the sending side is
shut down, and what still comes in is read and thrown away until the peer closes too. Closing at once
with unread input would make the kernel send a reset, and a reset destroys what the peer has not read yet.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from selchat.errors import close_reason
from selchat.net.fanout import Fanout
from selchat.net.outbox import Outbox
from selchat.net.reactor import EVENT_READ, EVENT_WRITE, Reactor, Timer
from selchat.net.tls import TlsStream

# Bytes asked for at first. Python allocates all that is asked for: to ask for 64 KiB when a message of 64
# bytes is there costs 1 microsecond more, of 3 in all; a second call where there is more costs as much, but
# then for many messages.
_FIRST_READ = 4096


class ConnectionState(Enum):
    """Where a connection is in its life.

    =========  ========================================  =====================================
    state      means                                     next
    =========  ========================================  =====================================
    OPEN       reading for the handler, sending          DRAINING by `close`, CLOSED by `abort`
    DRAINING   input is thrown away, output is flushed   LINGERING when all is sent, CLOSED
    LINGERING  the sending side is shut down             CLOSED when the peer closes, or soon
    CLOSED     the descriptor is given back              (final)
    =========  ========================================  =====================================
    """

    OPEN = auto()
    DRAINING = auto()
    LINGERING = auto()
    CLOSED = auto()


class Handler(Protocol):
    """Who gets what a connection reads."""

    @property
    def wire_name(self) -> str:
        """The protocol of the peer, as the metrics name it."""

    def data_received(self, data: bytes) -> None:
        """``data`` is never empty."""

    def eof_received(self) -> None:
        """The peer has closed its sending side; the connection closes after this call."""

    def connection_lost(self, reason: str | None) -> None:
        """No more calls come after this one, and nothing more can be sent. None: the peer just left."""


class Connection:
    """Owns a non-blocking socket. ``on_closed`` is called once, when the descriptor has been given back.

    ``tls``: what it needs to be `secure`.
    """

    __slots__ = (
        "_deadline",
        "_events",
        "_fanout",
        "_flush_seconds",
        "_handler",
        "_linger_seconds",
        "_on_closed",
        "_reactor",
        "_read_size",
        "_sock",
        "_stream",
        "_tls",
        "address",
        "outbox",
        "state",
    )

    def __init__(
        self,
        reactor: Reactor,
        fanout: Fanout,
        sock: socket.socket,
        address: str,
        *,
        read_size: int,
        replies_limit: int,
        flush_seconds: float,
        linger_seconds: float,
        on_closed: Callable[[Connection], object],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.address = address
        self.state = ConnectionState.OPEN
        self.outbox = Outbox(sock, self, replies_limit)
        self._reactor = reactor
        self._fanout = fanout
        self._sock = sock
        self._stream: socket.socket | TlsStream = sock  # what is read from and sent to
        self._tls = tls
        self._read_size = read_size
        self._flush_seconds = flush_seconds
        self._linger_seconds = linger_seconds
        self._on_closed = on_closed
        self._handler: Handler | None = None
        self._events = 0  # what the selector watches the socket for
        self._deadline: Timer | None = None

    @property
    def handler(self) -> Handler | None:
        """Who gets what is read; None: nobody any more."""
        return self._handler

    def open(self, handler: Handler) -> None:
        """Begin to read for that handler."""
        self._handler = handler
        self._watch(EVENT_READ)

    def set_handler(self, handler: Handler) -> None:
        """Read for another handler from now on."""
        self._handler = handler

    def start_tls(self, first: bytes) -> None:
        """Go over to TLS; ``first`` is how the peer's handshake begins. Only before anything was sent."""
        assert self._tls is not None
        self._stream = stream = TlsStream(
            self._sock, self._tls, server_side=True, on_blocked=self.outbox.wake, on_buffered=self._again
        )
        self.outbox.change_stream(stream)
        try:
            stream.start_handshake(first)
        except OSError as error:
            self.abort(error)

    def pause(self) -> None:
        """Read nothing until `resume`; what comes waits in the kernel, and then at the peer."""
        self._watch(self._events & ~EVENT_READ)

    def resume(self) -> None:
        """Go on reading."""
        if self.state is ConnectionState.OPEN:
            self._watch(self._events | EVENT_READ)
            self._again()

    def close(self, reason: str | None = None, final_data: bytes = b"") -> None:
        """Close it when all that is queued has been sent, ``final_data`` last, or after ``flush_seconds``."""
        if self.state is not ConnectionState.OPEN:
            return
        self.state = ConnectionState.DRAINING
        self._deadline = self._reactor.call_later(self._flush_seconds, self._end)
        self._watch(self._events | EVENT_READ)  # it may be paused, and unread input makes the end a reset
        self._lost(reason)
        self.outbox.finish(final_data)

    def abort(self, error: Exception) -> None:
        """Close it now; what was not sent is lost."""
        if self.state is ConnectionState.CLOSED:
            return
        if self.state is ConnectionState.OPEN:
            self.state = ConnectionState.DRAINING
            self._lost(close_reason(error))
        self._end()

    # -- the reactor's side ----------------------------------------------------------------------------

    def _ready(self, mask: int) -> None:
        # A batch of ready keys can hold one of a connection that an earlier callback has closed.
        if self.state is ConnectionState.CLOSED:
            return
        try:
            if mask & EVENT_WRITE:
                self.outbox.flush()
            if mask & EVENT_READ and self._events & EVENT_READ:
                self._read()
        except Exception as error:
            self._failed(error)

    def _read(self) -> None:
        try:
            data = self._stream.recv(_FIRST_READ)
            if len(data) == _FIRST_READ:
                data += self._read_more()
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self.abort(error)
            return
        if self.state is ConnectionState.OPEN:
            handler = self._handler
            assert handler is not None
            if data:
                handler.data_received(data)
            else:
                handler.eof_received()
                self.close()
                # The end of the stream stays readable for ever: to go on watching would spin.
                self._watch(self._events & ~EVENT_READ)
        elif not data:
            self._watch(self._events & ~EVENT_READ)
            if self.state is ConnectionState.LINGERING:
                self._end()

    def _read_more(self) -> bytes:
        try:
            return self._stream.recv(self._read_size)
        except (BlockingIOError, InterruptedError):
            return b""

    def _again(self) -> None:
        """Read in the next tick, whether the socket is readable or not."""
        if self._stream is not self._sock:
            self._reactor.call_soon(self._ready, EVENT_READ)

    def _watch(self, events: int) -> None:
        if events == self._events:
            return
        if not events:
            self._reactor.unwatch(self._sock)
        elif not self._events:
            try:
                self._reactor.watch(self._sock, events, self._ready)
            except OSError as error:  # the system has no memory left, or watches as much as it may
                self._fanout.close_later(self.abort, error)
                return
        else:
            self._reactor.rewatch(self._sock, events, self._ready)
        self._events = events

    def _failed(self, error: Exception) -> None:
        self._reactor.on_error(f"connection from {self.address}", error)
        self.abort(error)

    def _lost(self, reason: str | None) -> None:
        handler, self._handler = self._handler, None
        if handler is not None:
            try:
                handler.connection_lost(reason)
            except Exception as error:
                self._reactor.on_error(f"end of the connection from {self.address}", error)

    def _end(self) -> None:
        if self.state is ConnectionState.CLOSED:
            return
        self.state = ConnectionState.CLOSED
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self.outbox.close()
        self._fanout.blocked.discard(self.outbox)
        self._watch(0)
        self._sock.close()
        self._on_closed(self)

    # -- the outbox's side -----------------------------------------------------------------------------

    def schedule_flush(self) -> None:
        self._fanout.schedule_flush(self.outbox)

    def watch_writable(self, wanted: bool) -> None:
        if wanted:
            self._fanout.blocked.add(self.outbox)
        else:
            self._fanout.blocked.discard(self.outbox)
        self._watch(self._events | EVENT_WRITE if wanted else self._events & ~EVENT_WRITE)

    def on_send_error(self, error: Exception) -> None:
        self._fanout.close_later(self.abort, error)

    def on_drained(self) -> None:
        if self.state is not ConnectionState.DRAINING:
            return
        self.state = ConnectionState.LINGERING
        if self._deadline is not None:
            self._deadline.cancel()
        try:
            self._stream.shutdown(socket.SHUT_WR)
        except OSError:
            self._end()
            return
        if self._events & EVENT_READ:
            self._deadline = self._reactor.call_later(self._linger_seconds, self._end)
        else:
            self._end()  # the peer has closed already
