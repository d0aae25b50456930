"""The link to a server, on the reactor: connects, logs in, sends what is queued, and comes back when lost.

It must not know who types or what a screen looks like: an interface is told what happens. The classic wire
has no acknowledgements, so a message counts as sent when the kernel has taken its last byte. When a
connection breaks, a message of which only a part was written is sent again whole, on the next one; those
before it may have been lost on the way, and nobody can tell.
"""

from __future__ import annotations

import errno
import os
import random
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Protocol

from selchat.client.core import ClassicClient, Message
from selchat.errors import LimitError, UsageError, close_reason
from selchat.net.listener import join_address, plain_host
from selchat.net.reactor import EVENT_READ, EVENT_WRITE, Reactor, Timer
from selchat.settings import ClientSettings

try:
    import fcntl  # POSIX only
    import termios

    _TELLS_UNACKNOWLEDGED = True
except ImportError:
    _TELLS_UNACKNOWLEDGED = False

_READ_SIZE = 64 * 1024  # bytes
_BATCH = 64 * 1024  # bytes of frames joined for one system call
_DRAIN_POLL = 0.1  # seconds between two looks whether the last byte was acknowledged

Jitter = Callable[[float, float], float]
Address = tuple[int, Any]  # the family, and what connect takes


class CannotConnectError(UsageError):
    """``host`` and ``port``, and why."""

    def __init__(self, host: str, port: int, why: str) -> None:
        super().__init__(host, port, why)
        self.host = host
        self.port = port
        self.why = why

    def __str__(self) -> str:
        return f"cannot connect to {join_address(self.host, self.port)}: {self.why}"


class QueueFullError(LimitError):
    template = "more than {limit} bytes wait to be sent already"


class LinkState(Enum):
    """Where a link is in its life.

    ==========  =======================================  ====================================================
    state       means                                    next
    ==========  =======================================  ====================================================
    NEW         nothing was tried yet                    CONNECTING by `Link.open`
    CONNECTING  the host is looked up, or an address is  ONLINE; when none answers, CLOSED the first time and
                being tried                              WAITING later
    ONLINE      logged in, what is queued is sent        WAITING when lost, CLOSED without reconnecting,
                                                         DRAINING after `Link.finish` when all is sent
    WAITING     for the time of the next try             CONNECTING; CLOSED after `Link.finish` if nothing is
                                                         queued, or at its deadline
    DRAINING    the sending side is shut down, what      CLOSED when the server closes, objects, or has kept
                comes is read                            the connection for long enough
    CLOSED      the descriptor is given back             (final)
    ==========  =======================================  ====================================================
    """

    NEW = auto()
    CONNECTING = auto()
    ONLINE = auto()
    WAITING = auto()
    DRAINING = auto()
    CLOSED = auto()


class Interface(Protocol):
    """Who is told what happens to a link, always from inside the reactor's tick."""

    def connected(self, address: str) -> None:
        """The link is up, for the first time or again; ``address`` is the numeric one."""

    def received(self, messages: list[Message]) -> None:
        """These have come; never empty."""

    def lost(self, reason: str, delay: float) -> None:
        """The connection is gone, or could not be made again; the next try is in ``delay`` seconds."""

    def drained(self) -> None:
        """All that was queued is sent."""

    def finished(self, problem: str | None) -> None:
        """The link is closed, and this is the last call; None: all was sent."""


class Link:
    """One user's link to one server. Raises what `ClassicClient` does.

    ``reconnect``: whether to come back when the connection is lost. ``jitter(a, b)`` gives the seconds to
    wait before that, between the two.
    """

    def __init__(
        self,
        reactor: Reactor,
        settings: ClientSettings,
        interface: Interface,
        *,
        reconnect: bool = True,
        jitter: Jitter = random.uniform,
    ) -> None:
        self.state = LinkState.NEW
        self.client = ClassicClient(settings)
        self.client.login()  # now, so that a name that is too long is met before the first connection
        self.queued = 0  # bytes
        self._reactor = reactor
        self._settings = settings
        self._interface = interface
        self._reconnect = reconnect
        self._jitter = jitter
        self._queue: deque[bytes] = deque()  # frames of which the kernel has not taken the last byte
        self._written = 0  # bytes of the first of them that this connection has taken
        self._login = b""  # what this connection has not taken of it
        self._sock: socket.socket | None = None
        self._events = 0  # what the selector watches the socket for
        self._addresses: deque[Address] = deque()  # still to be tried
        self._timer: Timer | None = None  # of the state: to connect, to wait, to drain
        self._deadline: Timer | None = None  # of `finish`; None: it was not called
        self._ceiling = settings.retry_least
        self._connected_at: float | None = None  # None: never yet

    @property
    def progress(self) -> str | None:
        """What is being waited for, in words; None: for nothing."""
        if self.state is LinkState.DRAINING:
            return "Waiting for the server to take all that was sent..."
        if self._queue:
            doing = "Sending" if self.state is LinkState.ONLINE else "Connecting"
            return f"{doing}; {_messages(len(self._queue))} to go..."
        return "Connecting..." if self.state is LinkState.CONNECTING else None

    def open(self) -> None:
        """Connect for the first time."""
        self._connect()

    def say(self, text: str) -> None:
        """Send it, or keep it until there is a connection.

        Raises `FrameTooLongError`, and `QueueFullError` when too much waits already.
        """
        frame = self.client.say(text)
        if self.queued + len(frame) > self._settings.queue_limit:
            raise QueueFullError(self._settings.queue_limit)
        self._queue.append(frame)
        self.queued += len(frame)
        if self.state is LinkState.ONLINE:
            # Not sent at once: what is said in one tick goes with one system call in the next.
            self._watch(EVENT_READ | EVENT_WRITE)

    def finish(self) -> None:
        """Take no more; close when all is sent, or after ``finish_seconds``."""
        if self._deadline is not None or self.state is LinkState.CLOSED:
            return
        self._deadline = self._reactor.call_later(self._settings.finish_seconds, self._out_of_time)
        if self.state is LinkState.WAITING and not self._queue:
            self._end(None)
        elif self.state is LinkState.ONLINE:
            self._watch(EVENT_READ | EVENT_WRITE)

    def close(self) -> None:
        """Give everything back at once; the interface is told nothing."""
        self.state = LinkState.CLOSED
        self._drop()
        if self._deadline is not None:
            self._deadline.cancel()

    # -- connecting ------------------------------------------------------------------------------------

    def _connect(self) -> None:
        self.state = LinkState.CONNECTING
        try:
            addresses = _look_up(self._settings, socket.AI_NUMERICHOST)
        except (OSError, ValueError):
            # A name. Looking it up can take many seconds, in which Ctrl-C and input must be heard.
            threading.Thread(target=self._resolve, name="resolver", daemon=True).start()
        else:
            self._resolved(addresses, "")

    def _resolve(self) -> None:
        try:
            addresses, why = _look_up(self._settings, 0), ""
        except (OSError, ValueError) as error:
            addresses, why = deque[Address](), f"no such host ({getattr(error, 'strerror', None) or error})"
        self._reactor.call_soon(self._resolved, addresses, why)

    def _resolved(self, addresses: deque[Address], why: str) -> None:
        if self.state is LinkState.CONNECTING:
            self._addresses = addresses
            self._try_next(why)

    def _try_next(self, why: str) -> None:
        """Try the next address; ``why``: the one before did not do."""
        self._drop()
        if not self._addresses:
            self._cannot_connect(why)
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
            self._try_next(close_reason(error))
            return
        self._timer = self._reactor.call_later(self._settings.connect_seconds, self._no_answer)
        self._watch(EVENT_WRITE)

    def _no_answer(self) -> None:
        self._timer = None
        self._try_next(f"no answer within {self._settings.connect_seconds:g} s")

    def _answered(self, sock: socket.socket) -> None:
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
        _keep_alive(sock, self._settings.keepalive_seconds)
        self.state = LinkState.ONLINE
        self.client = ClassicClient(self._settings)
        self._login = self.client.login()
        self._connected_at = self._reactor.now
        self._watch(EVENT_READ | EVENT_WRITE)
        self._interface.connected(plain_host(peer[0]))

    def _cannot_connect(self, why: str) -> None:
        if self._connected_at is not None:
            self._retry(why)
            return
        if why == "connection refused":
            why += "; is the server running there?"
        self._end(str(CannotConnectError(self._settings.host, self._settings.port, why)))

    # -- connected -------------------------------------------------------------------------------------

    def _ready(self, mask: int) -> None:
        # A batch of ready keys can hold one of a socket that an earlier callback has closed.
        sock = self._sock
        if sock is None:
            return
        if self.state is LinkState.CONNECTING:
            self._answered(sock)
            return
        try:
            if mask & EVENT_READ:
                self._read(sock)
            if mask & EVENT_WRITE and self.state is LinkState.ONLINE:
                self._write(sock)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._lost(close_reason(error))

    def _read(self, sock: socket.socket) -> None:
        data = sock.recv(_READ_SIZE)
        client = self.client
        if data:
            messages = client.receive_data(data)
            if messages:
                self._interface.received(messages)
            if client.error is not None and self.state is not LinkState.CLOSED:
                self._lost(f"not the classic wire: {client.error}")
            return
        client.receive_eof()
        if self.state is LinkState.DRAINING and client.error is None:
            self._end(_objection(client.last_words))
        else:
            ending = "closed by the server"
            self._lost(ending if client.error is None else f"{ending}: {client.error}")

    def _write(self, sock: socket.socket) -> None:
        if self._login:
            self._login = self._login[sock.send(self._login) :]
            if self._login:
                return
        had_some = bool(self._queue)
        if had_some:
            self._took(sock.send(self._batch()))
        if self._queue:
            return
        self._watch(EVENT_READ)
        if self._deadline is not None:
            self._shut_down(sock)
        elif had_some:
            self._interface.drained()

    def _batch(self) -> memoryview:
        batch = bytearray()
        for frame in self._queue:
            batch += frame
            if len(batch) >= _BATCH:
                break
        return memoryview(batch)[self._written :]

    def _took(self, size: int) -> None:
        self._written += size
        while self._queue and self._written >= len(self._queue[0]):
            size = len(self._queue.popleft())
            self._written -= size
            self.queued -= size

    # -- the end ---------------------------------------------------------------------------------------

    def _lost(self, reason: str) -> None:
        client, state = self.client, self.state
        if self._reactor.now - (self._connected_at or 0) >= self._settings.settled_seconds:
            self._ceiling = self._settings.retry_least
        self._drop()
        wanted = self._reconnect and (self._deadline is None or bool(self._queue))
        if wanted and state is LinkState.ONLINE:
            self._retry(reason)
        else:
            self._end((_objection(client.last_words) or f"connection lost: {reason}") + self._unsent())

    def _retry(self, reason: str) -> None:
        """Wait for a while: full jitter, so that not all clients of a server come back at the same time."""
        if self._deadline is not None and not self._queue:
            self._end(None)  # there is nothing to come back for
            return
        self.state = LinkState.WAITING
        delay = self._jitter(0, self._ceiling)
        self._ceiling = min(2 * self._ceiling, self._settings.retry_most)
        self._timer = self._reactor.call_later(delay, self._connect)
        self._interface.lost(reason, delay)

    def _shut_down(self, sock: socket.socket) -> None:
        self.state = LinkState.DRAINING
        sock.shutdown(socket.SHUT_WR)
        self._drain(self._settings.drain_seconds)

    def _drain(self, left: float) -> None:
        """Wait for what is on its way to be acknowledged, and then ``left`` seconds for an objection."""
        assert self._sock is not None
        if left <= 0:
            self._end(_objection(self.client.last_words))
            return
        if _unacknowledged(self._sock) == 0:
            left -= _DRAIN_POLL
        self._timer = self._reactor.call_later(_DRAIN_POLL, self._drain, left)

    def _out_of_time(self) -> None:
        if self.state is LinkState.DRAINING:
            self._end("the server has not taken all that was sent")
        else:
            self._end(f"out of time{self._unsent()}")

    def _unsent(self) -> str:
        count = len(self._queue)
        if not count:
            return ""
        return f"; {_messages(count)} {'was' if count == 1 else 'were'} not sent"

    def _end(self, problem: str | None) -> None:
        self.close()
        self._interface.finished(problem)

    def _drop(self) -> None:
        """Give the socket and the state's timer back; what it took of an unfinished message is void."""
        self._cancel_timer()
        self._written = 0
        if self._sock is not None:
            self._watch(0)
            self._sock.close()
            self._sock = None

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self, events: int) -> None:
        if events == self._events:
            return
        if not events:
            self._reactor.unwatch(self._sock)
        elif not self._events:
            self._reactor.watch(self._sock, events, self._ready)
        else:
            self._reactor.rewatch(self._sock, events, self._ready)
        self._events = events


def _look_up(settings: ClientSettings, flags: int) -> deque[Address]:
    found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=flags)
    return deque((family, address) for family, _, _, _, address in found)


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"


def _objection(last_words: str | None) -> str | None:
    """A server that says why it closes has thrown away what it had not read."""
    return None if last_words is None else f"the server said: {last_words}"


def _keep_alive(sock: socket.socket, seconds: float) -> None:
    """Notice a server that has vanished (a cable, a crash) in about three times that long, and not never."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    whole = max(1, round(seconds))
    # Which of these there are depends on the system; the last, in milliseconds, is for unanswered data.
    for option, value in (
        ("TCP_KEEPIDLE", whole),
        ("TCP_KEEPINTVL", whole),
        ("TCP_KEEPCNT", 2),
        ("TCP_USER_TIMEOUT", 3000 * whole),
    ):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _unacknowledged(sock: socket.socket) -> int:
    """Return how many bytes the peer's kernel has not acknowledged, 0 where the system does not tell."""
    if not _TELLS_UNACKNOWLEDGED:
        return 0
    try:
        answer = fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0\0\0\0")  # Linux: SIOCOUTQ, the same number
    except OSError:
        return 0
    return int(struct.unpack("i", answer)[0])
