"""A whole server in this very process, the sockets and files of which fail where a test wants them to.

Everything is the server's own but for the edges: its sockets are local ones that pretend to be TCP, so that
what is sent has arrived, its selector and the database of its log can be made to fail, and its clock jumps
to the next timer whenever nothing else is to be done. So a run takes milliseconds, and each is like the last.
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
from typing import Any

import pytest

import selchat.log.sqlite
import selchat.net.reactor
import selchat.server.server
from selchat.config.settings import Settings
from selchat.server.server import Server

_MAX_TICKS = 20_000  # in which a server that has something to do has done it
_SEND_BUFFER = 8192  # bytes that a peer who does not read is sent


class Faults:
    """Counts the steps of each kind that a server takes, and has some fail.

    ``kind``: which; ``at``: the first that fails, from 1 on; ``ever``: all after it fail too. ``fail`` is
    called for it, and raises what the system would, or does nothing.
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
        """One more of these; raises if it is to fail."""
        if not self.counting:
            return
        self.counts[kind] += 1
        count = self.counts[kind]
        if kind == self._kind and (count == self._at or (self._ever and count > self._at)):
            self.failed += 1
            self._fail()

    def heal(self) -> None:
        """Have nothing fail any more."""
        self._kind = ""


class Clock:
    """Stands in for the module ``time``, as far as the reactor uses it."""

    def __init__(self) -> None:
        self.now = 1000.0  # seconds

    def monotonic(self) -> float:
        return self.now


class FaultySocket(socket.socket):
    """A local stream socket that answers to what is asked of one of TCP."""

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
    """Gives out sockets of the class ``accepted``, which come from one loopback address."""

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
    """``faults``: those of the files that are registered with it; the server's own are none of them."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self._faults = faults

    def register(self, file: Any, events: int, data: Any = None) -> SelectorKey:
        if isinstance(file, FaultySocket):
            self._faults.step("register")
        return super().register(file, events, data)


class FaultyDatabase(sqlite3.Connection):
    """Of the log: commits, and what reads messages."""

    faults = Faults()

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        if sql == "COMMIT":
            self.faults.step("commit")
        elif "FROM message" in sql and sql.startswith(("SELECT", "WITH")):
            self.faults.step("read")
        return super().execute(sql, parameters)


class World:
    """The server, its faults, and the clock. ``said`` is what the operator was shown."""

    def __init__(self, server: Server, faults: Faults, clock: Clock, address: str) -> None:
        self.server = server
        self.faults = faults
        self._clock = clock
        self._address = address
        self._peers: list[Peer] = []
        self._reactor = server.reactor
        self.failures: list[tuple[str, Exception]] = []
        self._reactor.on_error = lambda where, error: self.failures.append((where, error))
        self.settle()

    def connect(self, *, secure: bool = False) -> Peer:
        """Someone connects, ``secure``: by TLS."""
        peer = (TlsPeer if secure else Peer)(self, self._address)
        self._peers.append(peer)
        return peer

    def settle(self) -> None:
        """Have the server do what there is to do, and everyone who reads read; no time passes."""
        for _ in range(_MAX_TICKS):
            read = False
            for peer in self._peers:
                read |= peer.read()
            if not self._tick() and not read:
                return
        raise AssertionError("the server spins")

    def pass_time(self, seconds: float) -> None:
        """Let that much time pass, from timer to timer."""
        until = self._clock.now + seconds
        self.settle()
        for _ in range(_MAX_TICKS):
            timers = self._reactor._timers
            due = min((when for when, _, timer in timers if timer._reactor is not None), default=until)
            if due > until:
                break
            self._clock.now = max(self._clock.now, due)
            self.settle()
        else:
            raise AssertionError("timers without end")
        self._clock.now = until
        self.settle()

    def holdings(self) -> Counter[str]:
        """Return how many of each thing the server holds that can leak."""
        found: Counter[str] = Counter()
        server, reactor = self.server, self._reactor
        found["descriptor"] = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        found["connection"] = len(server.connections)
        found["admitted"] = server.admission.open
        found["member"] = len(server.hub.members())
        found["watched file"] = len(reactor._selector.get_map())
        for _, _, timer in reactor._timers:
            if timer._reactor is not None:
                found[f"timer {getattr(timer._callback, '__qualname__', timer._callback)}"] += 1
        for room in server.hub.rooms._rooms.values():
            found["subscription"] += sum(len(feed.live) + len(feed.behind) for feed in room._feeds.values())
        return +found  # without what there is none of

    def _tick(self) -> bool:
        """Return whether there was something to do."""
        reactor, now = self._reactor, self._clock.now
        work = bool(reactor._selector.select(0)) or any(
            when <= now for when, _, timer in reactor._timers if timer._reactor is not None
        )
        reactor.tick(0)
        return work


class Peer:
    """Someone at the other end. Nothing here waits, or fails when the server has gone."""

    def __init__(self, world: World, address: str) -> None:
        self.received = b""
        self.ended = False  # the server has closed, or reset
        self.closed = False  # this side has
        self.reads = True
        self._world = world
        self._waiting = b""
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.setblocking(False)
        try:
            self._sock.connect(address)
        except (BlockingIOError, ConnectionError):
            self._end()
        world.settle()

    def send(self, data: bytes) -> None:
        """Say that, as the server takes it."""
        self._waiting += self._encrypted(data)
        self._flush()
        self._world.settle()

    def read(self) -> bool:
        """Take what is there; return whether that was anything."""
        if self.ended or self.closed or not self.reads:
            return False
        before = len(self.received), len(self._waiting)
        self._flush()
        try:
            while data := self._sock.recv(1 << 20):
                self.received += self._decrypted(data)
                self._flush()
            self._end()
            return True
        except BlockingIOError:
            return (len(self.received), len(self._waiting)) != before
        except ConnectionError:
            self._end()
            return True

    def finish(self) -> None:
        """Close the sending side, and read on."""
        if not self.ended and not self.closed:
            self._sock.shutdown(socket.SHUT_WR)
            self._world.settle()

    def close(self) -> None:
        """Be gone; what was not read makes it a reset."""
        if not self.closed:
            self.closed = True
            self._sock.close()
            self._world.settle()

    def _flush(self) -> None:
        if self.ended or self.closed:
            return
        try:
            while self._waiting:
                self._waiting = self._waiting[self._sock.send(self._waiting) :]
        except BlockingIOError:
            pass
        except ConnectionError:
            self._waiting = b""  # what the server has said before is still to be read

    def _end(self) -> None:
        self.ended = True
        self._waiting = b""
        self._sock.close()

    def _encrypted(self, data: bytes) -> bytes:
        return data

    def _decrypted(self, data: bytes) -> bytes:
        return data


class TlsPeer(Peer):
    """The same by TLS."""

    def __init__(self, world: World, address: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = _client_context().wrap_bio(self._incoming, self._outgoing)
        self._shaken = False
        self._said = b""  # before hands were shaken
        super().__init__(world, address)
        self.send(b"")

    def _encrypted(self, data: bytes) -> bytes:
        self._said += data
        try:
            if not self._shaken:
                self._tls.do_handshake()
                self._shaken = True
            if self._said:
                self._tls.write(self._said)
                self._said = b""
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            pass  # the server has ended it
        return self._outgoing.read()

    def _decrypted(self, data: bytes) -> bytes:
        self._incoming.write(data)
        if not self._shaken:
            self._waiting += self._encrypted(b"")
        found = b""
        try:
            while self._shaken and (part := self._tls.read(1 << 20)):
                found += part
        except ssl.SSLError:
            pass  # there is no whole record any more
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
    """A server of its own; its history is a file in the folder if ``settings`` say so.

    ``at_start``: what it does before it listens can fail too.
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

    null = os.open(os.devnull, os.O_RDWR)
    with monkeypatch.context() as patch:
        patch.setattr(selchat.net.reactor, "time", clock)
        patch.setattr(
            selchat.net.reactor,
            "selectors",
            SimpleNamespace(DefaultSelector=lambda: FaultySelector(faults)),
        )
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
            made = World(server, faults, clock, address)
            yield made
        finally:
            if made is not None:
                made.faults.heal()
                for peer in made._peers:
                    peer._sock.close()
            if server is not None:
                server.close()
            os.close(null)
            Path(address).unlink(missing_ok=True)


def system_error(number: int) -> Callable[[], object]:
    """Return what raises that error as the system does."""

    def fail() -> None:
        raise OSError(number, os.strerror(number))

    fail.__name__ = errno.errorcode[number]
    return fail


def database_error(number: int) -> Callable[[], object]:
    """Return what raises that error as SQLite does."""

    def fail() -> None:
        error = sqlite3.OperationalError("as the test wants it")
        error.sqlite_errorcode = number
        raise error

    fail.__name__ = str(number)
    return fail


def frames(stream: bytes) -> tuple[list[bytes], bytes]:
    """Return the payloads, and what is left of one that is not whole. Fails on what is no frame."""
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
