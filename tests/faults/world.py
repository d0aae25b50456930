"""A whole server in the test's process, with fault injection.

Only the edges of the server are replaced. Its sockets are Unix sockets that imitate TCP, so that sent data
arrives at once. Its selector and its database can fail. Its clock jumps to the next timer when the server has
nothing to do. So a run takes milliseconds, and every run is the same.
"""

from __future__ import annotations

import errno
import os
import socket
import sqlite3
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from selectors import EpollSelector, SelectorKey
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

import selchat.log.sqlite
import selchat.net.reactor
import selchat.server.server
from selchat.config.settings import Settings
from selchat.net.reactor import Reactor, Timer
from selchat.server.server import Server

_MAX_ROOMS = 10_000
_MAX_TICKS = 20_000  # a server that is busy for longer spins
_SEND_BUFFER = 8192  # bytes that the kernel takes for a peer that does not read


class Faults:
    """Count a server's steps of each kind, and make some of them fail.

    ``kind``: the kind that fails. ``at``: the number of the step that fails, from 1. ``ever``: all later
    steps fail too. ``fail``: called at a failing step; it raises the system's error or does nothing.
    """

    def __init__(
        self, kind: str = "", at: int = 0, *, ever: bool = False, fail: Callable[[], object] = lambda: None
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.failed = 0
        self.counting = True
        self._kind = kind
        self._at = at
        self._ever = ever
        self._fail = fail

    def step(self, kind: str) -> None:
        """Count a step. Raises the error of ``fail`` if this step fails."""
        if not self.counting:
            return
        self.counts[kind] += 1
        count = self.counts[kind]
        if kind == self._kind and (count == self._at or (self._ever and count > self._at)):
            self.failed += 1
            self._fail()

    def heal(self) -> None:
        """End all faults."""
        self._kind = ""


class Clock:
    """A replacement for the module ``time`` in the reactor."""

    def __init__(self) -> None:
        self.now = 1000.0  # seconds

    def monotonic(self) -> float:
        self.now += 1e-9  # real ticks have different times
        return self.now


class FaultySocket(socket.socket):
    """A Unix stream socket that imitates TCP."""

    faults = Faults()

    def recv(self, size: int, flags: int = 0) -> bytes:
        self.faults.step("recv")
        return super().recv(size, flags)

    def send(self, data: Any, flags: int = 0) -> int:
        self.faults.step("send")
        return super().send(data, flags)

    def sendmsg(self, buffers: Any, *more: Any) -> int:
        self.faults.step("send")
        return super().sendmsg(buffers, *more)

    def shutdown(self, how: int) -> None:
        self.faults.step("shutdown")
        super().shutdown(how)

    def setsockopt(self, *arguments: Any) -> None:
        if arguments[0] != socket.IPPROTO_TCP:
            super().setsockopt(*arguments)


class FaultyListener(FaultySocket):
    """Accept sockets of the class ``accepted``, all from one loopback address."""

    accepted: type[FaultySocket] = FaultySocket
    _port = 40000

    def accept(self) -> tuple[socket.socket, Any]:
        self.faults.step("accept")
        fd, _ = self._accept()  # type: ignore[attr-defined]
        sock = self.accepted(self.family, self.type, self.proto, fileno=fd)
        sock.faults = self.faults
        super(FaultySocket, sock).setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self._port += 1
        return sock, ("127.0.0.1", self._port)

    def getsockname(self) -> Any:
        return "127.0.0.1", 33000


class FaultySelector(EpollSelector):
    """``faults``: counts the registrations of connections, not of the server's own files."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self._faults = faults

    def register(self, file: Any, events: int, data: Any = None) -> SelectorKey:
        if isinstance(file, FaultySocket):
            self._faults.step("register")
        return super().register(file, events, data)


class FaultyDatabase(sqlite3.Connection):
    """The log's database, whose commits and reads of messages are steps."""

    faults = Faults()

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        if sql == "COMMIT":
            self.faults.step("commit")
        elif "FROM message" in sql and sql.startswith(("SELECT", "WITH")):
            self.faults.step("read")
        return super().execute(sql, parameters)


class RecordedTimer(Timer):
    """A timer of the reactor that is in ``pending`` until it fires or is cancelled."""

    pending: ClassVar[set[RecordedTimer]] = set()

    def __init__(
        self, reactor: Reactor, when: float, callback: Callable[..., object], arguments: tuple[Any, ...]
    ) -> None:
        def fire(*arguments: Any) -> None:
            self.pending.discard(self)
            callback(*arguments)

        super().__init__(reactor, when, fire, arguments)
        self.name = getattr(callback, "__qualname__", str(callback))
        self.pending.add(self)

    def cancel(self) -> None:
        self.pending.discard(self)
        super().cancel()


class World:
    """The server, its faults, its clock and its peers.

    ``selector`` and ``timers``: of the server's reactor. ``failures``: the exceptions that the reactor
    has caught.
    """

    def __init__(
        self,
        server: Server,
        faults: Faults,
        clock: Clock,
        address: str,
        selector: FaultySelector,
        timers: set[RecordedTimer],
    ) -> None:
        self.server = server
        self.faults = faults
        self._clock = clock
        self._address = address
        self._selector = selector
        self._timers = timers
        self.peers: list[Peer] = []
        self._reactor = server.reactor
        self.failures: list[tuple[str, Exception]] = []
        self._reactor.on_error = lambda where, error: self.failures.append((where, error))
        self.settle()

    def connect(self, *, secure: bool = False) -> Peer:
        """Connect a new peer, with TLS if ``secure``."""
        peer = (TlsPeer if secure else Peer)(self, self._address)
        self.peers.append(peer)
        return peer

    def settle(self) -> None:
        """Run the server and the peers that read until no one has anything to do. No time passes."""
        for _ in range(_MAX_TICKS):
            read = False
            for peer in self.peers:
                read |= peer.read()
            if not self.tick() and not read:
                return
        raise AssertionError("the server spins")

    def pass_time(self, seconds: float) -> None:
        """Advance the clock, from timer to timer."""
        until = self._clock.now + seconds
        self.settle()
        for _ in range(_MAX_TICKS):
            due = min((timer.when for timer in self._timers), default=until)
            if due > until:
                break
            self._clock.now = max(self._clock.now, due)
            self.settle()
        else:
            raise AssertionError("the timers never end")
        self._clock.now = until
        self.settle()

    def holdings(self) -> Counter[str]:
        """Return the number of each kind of resource that can leak."""
        found: Counter[str] = Counter()
        server = self.server
        found["descriptor"] = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        found["connection"] = len(server.connections)
        found["admitted"] = server.admission.open
        found["member"] = len(server.hub.members())
        found["watched file"] = len(self._selector.get_map())
        for timer in self._timers:
            found[f"timer {timer.name}"] += 1
        rooms, count = server.hub.rooms.list(0, _MAX_ROOMS)
        assert len(rooms) == count
        for summary in rooms:
            room = server.hub.rooms.find(summary.name)
            assert room is not None
            found["subscription"] += sum(len(feed.live) + len(feed.behind) for feed in room.feeds.values())
        return +found  # without the zeros

    def tick(self) -> bool:
        """Run one tick; return whether the server had anything to do."""
        is_due = any(timer.when <= self._clock.now for timer in self._timers)
        is_busy = is_due or bool(self._selector.select(0))
        self._reactor.tick(0)
        return is_busy


class Peer:
    """The other end of a connection. Its methods never block, and do not fail when the server has closed."""

    def __init__(self, world: World, address: str) -> None:
        self.received = b""
        self.ended = False  # the server has closed or reset the connection
        self.closed = False  # this side has closed it
        self.reads = True
        self._world = world
        self._queued = b""
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.setblocking(False)
        try:
            self._sock.connect(address)
        except (BlockingIOError, ConnectionError):
            self._end()
        world.settle()

    def send(self, data: bytes) -> None:
        """Send the data as fast as the server reads it."""
        self.queue(data)
        self._world.settle()

    def queue(self, data: bytes) -> None:
        """Send the data without a tick of the server."""
        self._queued += self._encrypted(data)
        self._flush()

    def read(self) -> bool:
        """Read all available data; return whether there was any, or queued data was sent."""
        if self.ended or self.closed or not self.reads:
            return False
        before = len(self.received), len(self._queued)
        self._flush()
        try:
            while data := self._sock.recv(1 << 20):
                self.received += self._decrypted(data)
                self._flush()
            self._end()
            return True
        except BlockingIOError:
            return (len(self.received), len(self._queued)) != before
        except ConnectionError:
            self._end()
            return True

    def finish(self) -> None:
        """Close the sending side, and continue to read."""
        if not self.ended and not self.closed:
            self._sock.shutdown(socket.SHUT_WR)
            self._world.settle()

    def close(self) -> None:
        """Close the connection. Unread data makes it a reset."""
        if not self.closed:
            self.closed = True
            self._sock.close()
            self._world.settle()

    def release(self) -> None:
        """Close the socket without a tick of the server."""
        self._sock.close()

    def _flush(self) -> None:
        if self.ended or self.closed:
            return
        try:
            while self._queued:
                self._queued = self._queued[self._sock.send(self._queued) :]
        except BlockingIOError:
            pass
        except ConnectionError:
            self._queued = b""  # earlier data of the server can still be read

    def _end(self) -> None:
        self.ended = True
        self._queued = b""
        self._sock.close()

    def _encrypted(self, data: bytes) -> bytes:
        return data

    def _decrypted(self, data: bytes) -> bytes:
        return data


class TlsPeer(Peer):
    """A peer that uses TLS."""

    def __init__(self, world: World, address: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = _client_context().wrap_bio(self._incoming, self._outgoing)
        self._handshake_done = False
        self._plaintext = b""  # queued until the handshake is complete
        super().__init__(world, address)
        self.send(b"")

    def _encrypted(self, data: bytes) -> bytes:
        self._plaintext += data
        try:
            if not self._handshake_done:
                self._tls.do_handshake()
                self._handshake_done = True
            if self._plaintext:
                self._tls.write(self._plaintext)
                self._plaintext = b""
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            pass  # the server has closed the connection
        return self._outgoing.read()

    def _decrypted(self, data: bytes) -> bytes:
        self._incoming.write(data)
        if not self._handshake_done:
            self._queued += self._encrypted(b"")
        found = b""
        try:
            while self._handshake_done and (part := self._tls.read(1 << 20)):
                found += part
        except ssl.SSLError:
            pass  # no complete record is left
        return found


@cache
def _client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@contextmanager
def world(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    faults: Faults,
    *,
    accepted: type[FaultySocket] = FaultySocket,
    at_start: bool = False,
    **settings: Any,
) -> Iterator[World]:
    """Run a server in ``folder``, with a history file if ``settings`` have one.

    ``at_start``: the steps before it listens can fail too.
    """
    clock = Clock()
    address = str(folder / "socket")

    def listening_socket(_host: str, _port: int, backlog: int, *_more: object) -> socket.socket:
        sock = FaultyListener(socket.AF_UNIX)
        sock.faults = faults
        sock.accepted = accepted
        sock.bind(address)
        sock.listen(backlog)
        sock.setblocking(False)
        return sock

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        db = sqlite3.connect(*arguments, **options, factory=FaultyDatabase)
        db.faults = faults  # type: ignore[attr-defined]
        return db

    def make_selector() -> FaultySelector:
        selectors.append(FaultySelector(faults))
        return selectors[-1]

    selectors: list[FaultySelector] = []
    RecordedTimer.pending.clear()
    null = os.open(os.devnull, os.O_RDWR)
    with monkeypatch.context() as patch:
        patch.setattr(selchat.net.reactor, "time", clock)
        patch.setattr(selchat.net.reactor, "selectors", SimpleNamespace(DefaultSelector=make_selector))
        patch.setattr(selchat.net.reactor, "Timer", RecordedTimer)
        patch.setattr(selchat.server.server, "listening_socket", listening_socket)
        patch.setattr(selchat.log.sqlite, "sqlite3", SimpleNamespace(**{**vars(sqlite3), "connect": connect}))
        server = None
        made: World | None = None
        try:
            faults.counting = at_start
            options = {"port": 0, "host": "127.0.0.1", "tls": "off", **settings}
            server = Server(Settings(**options), stdin=null, stdout=null)
            faults.counting = True
            server.expire_history()
            [selector] = selectors
            made = World(server, faults, clock, address, selector, RecordedTimer.pending)
            yield made
        finally:
            if made is not None:
                made.faults.heal()
                for peer in made.peers:
                    peer.release()
            if server is not None:
                server.close()
            os.close(null)
            Path(address).unlink(missing_ok=True)


def system_error(number: int) -> Callable[[], object]:
    """Return a function that raises that error as the system does."""

    def fail() -> None:
        raise OSError(number, os.strerror(number))

    fail.__name__ = errno.errorcode[number]
    return fail


def database_error(number: int) -> Callable[[], object]:
    """Return a function that raises that error as SQLite does."""

    def fail() -> None:
        error = sqlite3.OperationalError("injected by the test")
        error.sqlite_errorcode = number
        raise error

    fail.__name__ = str(number)
    return fail


def frames(stream: bytes) -> tuple[list[bytes], bytes]:
    """Return the complete payloads and the rest of an incomplete frame. Fails on invalid frames."""
    found, start = [], 0
    while len(stream) - start >= 10:
        header = stream[start : start + 10]
        assert header.rstrip(b" ").isdigit() and header == header.rstrip(b" ").ljust(10), (
            f"no header: {header!r} after {found[-2:]}"
        )
        end = start + 10 + int(header)
        if end > len(stream):
            break
        found.append(stream[start + 10 : end])
        start = end
    return found, stream[start:]
