"""One accepted connection: reads for its handler, sends from its outbox, and closes in order.

A close takes three steps, so that the final frames arrive: flush the queue, shut down the sending side, and
discard input until the peer closes too. To close a socket with unread input would make the kernel send a
reset, and a reset destroys data that the peer has not read yet.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from selchat.errors import close_reason
from selchat.limits import DISCARD_PAUSE, FIRST_READ
from selchat.net.fanout import Fanout
from selchat.net.outbox import Outbox
from selchat.net.reactor import EVENT_READ, EVENT_WRITE, Reactor, Timer
from selchat.net.records import RecordLimits
from selchat.net.tls import TlsStream


class ConnectionState(Enum):
    """The life cycle of a connection.

    =========  ===================================  =============================================
    state      meaning                              next state
    =========  ===================================  =============================================
    OPEN       reads for the handler, sends         DRAINING after `close`, CLOSED after `abort`
    DRAINING   discards input, flushes output       LINGERING when all is sent, CLOSED on timeout
    LINGERING  the sending side is shut down        CLOSED when the peer closes, or on timeout
    CLOSED     the descriptor is closed             (final)
    =========  ===================================  =============================================
    """

    OPEN = auto()
    DRAINING = auto()
    LINGERING = auto()
    CLOSED = auto()


class Handler(Protocol):
    """Receives the data of a connection."""

    @property
    def wire_name(self) -> str:
        """The protocol of the peer, as the metrics name it."""

    def data_received(self, data: bytes) -> None:
        """Process received data; never empty."""

    def eof_received(self) -> None:
        """The peer has closed its sending side. The connection closes after this call."""

    def connection_lost(self, reason: str | None) -> None:
        """The connection is closing: the last call, and nothing can be sent. ``reason`` is None if the peer
        left.
        """


class Connection:
    """Owns a non-blocking socket. Calls ``on_closed`` once, when the descriptor is closed.

    ``tls``: the context for `start_tls`. ``record_rate``, ``record_burst``: of the peer's TLS records; see
    `RecordLimits`.
    """

    __slots__ = (
        "_deadline",
        "_discard_pause",
        "_events",
        "_fanout",
        "_flush_seconds",
        "_handler",
        "_linger_seconds",
        "_on_closed",
        "_paused",
        "_reactor",
        "_read_size",
        "_record_limits",
        "_sock",
        "_stream",
        "_throttle",
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
        record_rate: float = 0.0,
        record_burst: float = 0.0,
    ) -> None:
        self.address = address
        self.state = ConnectionState.OPEN
        self.outbox = Outbox(sock, self, replies_limit)
        self._reactor = reactor
        self._fanout = fanout
        self._sock = sock
        self._stream: socket.socket | TlsStream = sock  # the socket, or TLS over it
        self._tls = tls
        self._record_limits = record_rate, record_burst
        self._read_size = read_size
        self._flush_seconds = flush_seconds
        self._linger_seconds = linger_seconds
        self._on_closed = on_closed
        self._handler: Handler | None = None
        self._events = 0  # the events that the selector watches for
        self._paused = False  # whether the handler wants no data
        self._throttle: Timer | None = None  # while the peer is over its rate of TLS records
        self._deadline: Timer | None = None

    @property
    def handler(self) -> Handler | None:
        """The current handler; None once the connection is closing."""
        return self._handler

    def open(self, handler: Handler) -> None:
        """Start reading for ``handler``."""
        self._handler = handler
        self._watch(EVENT_READ)

    def set_handler(self, handler: Handler) -> None:
        """Replace the handler."""
        self._handler = handler

    def start_tls(self, first: bytes) -> None:
        """Start TLS; ``first``: the bytes of its handshake read so far. Only before anything is sent."""
        assert self._tls is not None
        self._stream = stream = TlsStream(
            self._sock,
            self._tls,
            server_side=True,
            on_blocked=self.outbox.wake,
            on_buffered=self._read_again,
            limits=RecordLimits(self._reactor, *self._record_limits),
            on_throttle=self._on_throttle,
        )
        self.outbox.change_stream(stream)
        try:
            stream.start_handshake(first)
        except OSError as error:
            self.abort(error)

    def pause(self) -> None:
        """Stop reading until `resume`. Input waits in the kernel, and then at the peer."""
        self._paused = True
        self._watch(self._events & ~EVENT_READ)

    def resume(self) -> None:
        """Continue reading."""
        if self.state is ConnectionState.OPEN:
            self._paused = False
            self._start_reading()

    def close(self, reason: str | None = None, final_data: bytes = b"") -> None:
        """Close when everything is sent, ``final_data`` last, or after ``flush_seconds``."""
        if self.state is not ConnectionState.OPEN:
            return
        self.state = ConnectionState.DRAINING
        self._deadline = self._reactor.call_later(self._flush_seconds, self._close_socket)
        self._paused = False  # unread input would cause a reset
        self._discard_pause = DISCARD_PAUSE
        if self._throttle is None:
            self._watch(self._events | EVENT_READ)
        self._detach_handler(reason)
        self.outbox.finish(final_data)

    def abort(self, error: Exception) -> None:
        """Close now and discard unsent data."""
        if self.state is ConnectionState.CLOSED:
            return
        if self.state is ConnectionState.OPEN:
            self.state = ConnectionState.DRAINING
            self._detach_handler(close_reason(error))
        self._close_socket()

    # -- the reactor calls -----------------------------------------------------------------------------

    def _ready(self, mask: int) -> None:
        # A batch of ready keys can contain a connection that an earlier callback has closed.
        if self.state is ConnectionState.CLOSED:
            return
        try:
            if mask & EVENT_WRITE:
                self.outbox.flush()
            if mask & EVENT_READ and self._events & EVENT_READ:
                self._read()
        except Exception as error:
            self._on_error(error)

    def _read(self) -> None:
        try:
            data = self._stream.recv(FIRST_READ)
            if len(data) == FIRST_READ:
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
                # The end of the stream stays readable forever, so watching it would spin.
                self._watch(self._events & ~EVENT_READ)
        elif not data:
            self._watch(self._events & ~EVENT_READ)
            if self.state is ConnectionState.LINGERING:
                self._close_socket()
        elif len(data) >= FIRST_READ:
            # Else a peer could make us discard as fast as it can send. Many can at once: wait ever longer.
            self._on_throttle(self._discard_pause)
            self._discard_pause *= 2

    def _read_more(self) -> bytes:
        try:
            return self._stream.recv(self._read_size)
        except (BlockingIOError, InterruptedError):
            return b""

    def _read_again(self) -> None:
        """Read in the next tick even if the socket is not readable: TLS may have buffered data."""
        if self._stream is not self._sock:
            self._reactor.call_soon(self._ready, EVENT_READ)

    def _on_throttle(self, seconds: float) -> None:
        """Read nothing for some time, whatever the handler wants."""
        if self._throttle is None and self.state is not ConnectionState.CLOSED:
            self._throttle = self._reactor.call_later(seconds, self._end_throttle)
            self._watch(self._events & ~EVENT_READ)

    def _end_throttle(self) -> None:
        self._throttle = None
        if not self._paused:
            self._start_reading()

    def _start_reading(self) -> None:
        if self._throttle is None:
            self._watch(self._events | EVENT_READ)
            self._read_again()

    def _watch(self, events: int) -> None:
        if events == self._events:
            return
        if not events:
            self._reactor.unwatch(self._sock)
        elif not self._events:
            try:
                self._reactor.watch(self._sock, events, self._ready)
            except OSError as error:  # the system is out of memory or of epoll watches
                self._fanout.close_later(self.abort, error)
                return
        else:
            self._reactor.rewatch(self._sock, events, self._ready)
        self._events = events

    def _on_error(self, error: Exception) -> None:
        self._reactor.on_error(f"connection from {self.address}", error)
        self.abort(error)

    def _detach_handler(self, reason: str | None) -> None:
        handler, self._handler = self._handler, None
        if handler is not None:
            try:
                handler.connection_lost(reason)
            except Exception as error:
                self._reactor.on_error(f"closing the connection from {self.address}", error)

    def _close_socket(self) -> None:
        if self.state is ConnectionState.CLOSED:
            return
        self.state = ConnectionState.CLOSED
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self._throttle is not None:
            self._throttle.cancel()
        self.outbox.close()
        self._fanout.blocked.discard(self.outbox)
        self._watch(0)
        self._sock.close()
        self._on_closed(self)

    # -- the outbox calls ------------------------------------------------------------------------------

    def schedule_flush(self) -> None:
        self._fanout.schedule_flush(self.outbox)

    def watch_writable(self, enabled: bool) -> None:
        if enabled:
            self._fanout.blocked.add(self.outbox)
        else:
            self._fanout.blocked.discard(self.outbox)
        self._watch(self._events | EVENT_WRITE if enabled else self._events & ~EVENT_WRITE)

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
            self._close_socket()
            return
        if self._events & EVENT_READ or self._throttle is not None:
            self._deadline = self._reactor.call_later(self._linger_seconds, self._close_socket)
        else:
            self._close_socket()  # the peer has already closed
