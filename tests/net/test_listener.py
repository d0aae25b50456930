from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

import pytest

from selchat.net import listener as module
from selchat.net.listener import (
    CannotListenError,
    Listener,
    listening_socket,
    raise_descriptor_limit,
)
from selchat.net.reactor import Reactor
from tests.net.helpers import ManualTime, run_until


class FakeListeningSocket:
    """A real socket for the selector, and a script for ``accept``: exceptions, or None for a connection."""

    def __init__(self, sock: socket.socket, script: list[OSError | None]) -> None:
        self._sock = sock
        self.script = script
        self.accepts = 0

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        self.accepts += 1
        error = self.script.pop(0) if self.script else BlockingIOError(errno.EAGAIN, "again")
        if error is not None:
            raise error
        return socket.socket(), ("192.0.2.7", 54494)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class Guests:
    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []
        self.addresses: list[tuple[str, int]] = []

    def __call__(self, sock: socket.socket, host: str, port: int) -> None:
        self.sockets.append(sock)
        self.addresses.append((host, port))

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()


def listen(
    reactor: Reactor,
    sock: Any,
    guests: Any,
    *,
    batch: int = 256,
    pause: float = 0.02,
    capacity: Callable[[], int] = lambda: 1000,
) -> Listener:
    return Listener(reactor, sock, batch=batch, pause=pause, capacity=capacity, on_connection=guests)


def connect(listener: Listener, count: int) -> list[socket.socket]:
    return [socket.create_connection(listener.address) for _ in range(count)]


def close(*things: Any) -> None:
    for thing in things:
        thing.close()


def test_accepted_sockets_are_nonblocking(reactor: Reactor) -> None:
    guests = Guests()
    listener = listen(reactor, listening_socket("127.0.0.1", 0, 100, 30.0), guests)
    clients = connect(listener, 1)
    run_until(reactor, lambda: guests.sockets)
    [accepted] = guests.sockets
    assert guests.addresses == [clients[0].getsockname()]
    assert not accepted.getblocking()
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    close(listener, guests, *clients)


def test_at_most_a_batch_is_accepted_in_a_tick(reactor: Reactor) -> None:
    guests = Guests()
    listener = listen(reactor, listening_socket("127.0.0.1", 0, 100, 30.0), guests, batch=3)
    counts: list[int] = []
    reactor.at_tick_end(lambda: counts.append(len(guests.sockets)))
    clients = connect(listener, 8)
    run_until(reactor, lambda: len(guests.sockets) == 8)
    assert max(after - before for before, after in zip([0, *counts], counts, strict=False)) == 3
    close(listener, guests, *clients)


@pytest.mark.parametrize("number", ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"])
def test_listener_pauses_without_spinning_when_a_resource_runs_out(
    reactor: Reactor, clock: ManualTime, number: str
) -> None:
    guests = Guests()
    real = listening_socket("127.0.0.1", 0, 100, 30.0)
    fake = FakeListeningSocket(real, [None, OSError(getattr(errno, number), "too many"), None])
    client = socket.create_connection(
        real.getsockname()
    )  # it stays in the backlog, so the socket stays ready
    listener = listen(reactor, fake, guests, pause=60)
    run_until(reactor, lambda: listener.pauses)
    assert len(guests.sockets) == 1
    accepts = fake.accepts
    clock.advance(59.9)
    for _ in range(50):
        reactor.tick(0)
    assert fake.accepts == accepts, "it pauses"
    clock.advance(0.2)
    run_until(reactor, lambda: len(guests.sockets) == 2)
    assert listener.pauses == 1
    close(listener, guests, client)


def test_listener_pauses_when_the_socket_cannot_be_watched(
    reactor: Reactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    guests = Guests()
    watch, errors = reactor.watch, [OSError(errno.ENOMEM, "no memory")]

    def failing(*arguments: Any) -> None:
        if errors:
            raise errors.pop()
        watch(*arguments)

    monkeypatch.setattr(reactor, "watch", failing)
    listener = listen(reactor, listening_socket("127.0.0.1", 0, 100, 30.0), guests)
    clients = connect(listener, 1)
    run_until(reactor, lambda: guests.sockets)
    assert listener.pauses == 1
    close(listener, guests, *clients)


def test_peer_that_leaves_before_accept_does_not_pause_the_listener(reactor: Reactor) -> None:
    guests = Guests()
    real = listening_socket("127.0.0.1", 0, 100, 30.0)
    fake = FakeListeningSocket(real, [ConnectionAbortedError(errno.ECONNABORTED, "aborted"), None])
    client = socket.create_connection(real.getsockname())
    listener = listen(reactor, fake, guests)
    run_until(reactor, lambda: guests.sockets)
    assert listener.pauses == 0
    close(listener, guests, client)


def test_listener_pauses_until_there_is_capacity(reactor: Reactor) -> None:
    guests = Guests()
    room = 2
    listener = listen(
        reactor,
        listening_socket("127.0.0.1", 0, 100, 30.0),
        guests,
        capacity=lambda: room - len(guests.sockets),
    )
    clients = connect(listener, 3)
    run_until(reactor, lambda: listener.pauses >= 2)
    assert len(guests.sockets) == 2
    room = 3
    run_until(reactor, lambda: len(guests.sockets) == 3)
    close(listener, guests, *clients)


def test_listener_may_be_closed_in_a_callback(reactor: Reactor) -> None:
    guests = Guests()

    def take_one(sock: socket.socket, host: str, port: int) -> None:
        guests(sock, host, port)
        listener.close()

    listener = listen(reactor, listening_socket("127.0.0.1", 0, 100, 30.0), take_one)
    clients = connect(listener, 2)
    run_until(reactor, lambda: guests.sockets)
    reactor.tick(0)
    assert len(guests.sockets) == 1
    listener.close()
    close(guests, *clients)


def test_listener_may_be_closed_during_a_pause_and_before_it_starts(reactor: Reactor) -> None:
    guests = Guests()
    listen(reactor, listening_socket("127.0.0.1", 0, 100, 30.0), guests).close()
    listener = listen(reactor, listening_socket("127.0.0.1", 0, 100, 30.0), guests, capacity=lambda: 0)
    clients = connect(listener, 1)
    run_until(reactor, lambda: listener.pauses)
    close(listener, *clients)
    reactor.tick(0.03)
    assert not guests.sockets


def test_port_can_be_reused_at_once(reactor: Reactor) -> None:
    guests = Guests()
    listener = listen(reactor, listening_socket("127.0.0.1", 0, 100, 30.0), guests)
    clients = connect(listener, 1)
    run_until(reactor, lambda: guests.sockets)
    host, port = listener.address
    close(listener, guests, *clients)  # the server's end closes first: TIME_WAIT is on its side
    listening_socket(host, port, 1, 30.0).close()


def test_port_in_use_is_a_one_line_error() -> None:
    first = listening_socket("127.0.0.1", 0, 1, 30.0)
    port = first.getsockname()[1]
    with pytest.raises(CannotListenError) as caught:
        listening_socket("127.0.0.1", port, 1, 30.0)
    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1:{port}: address already in use; is another server running? "
        "Choose another port with --port=PORT"
    )
    assert (caught.value.host, caught.value.port) == ("127.0.0.1", port)
    first.close()


@pytest.mark.parametrize("host", ["256.1.1.1", "no such host", "a" * 300, "1.2.3.4.5", ":::"])
def test_bad_address_is_a_one_line_error(host: str) -> None:
    with pytest.raises(CannotListenError, match="not an address of this machine") as caught:
        listening_socket(host, 1234, 1, 30.0)
    assert "\n" not in str(caught.value)


def test_address_of_another_machine_is_a_one_line_error() -> None:
    with pytest.raises(CannotListenError, match=r"cannot listen on 192\.0\.2\.1:0: cannot assign"):
        listening_socket("192.0.2.1", 0, 1, 30.0)


def test_unsupported_address_family_is_a_one_line_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(CannotListenError, match="address family not supported"):
        listening_socket("127.0.0.1", 0, 1, 30.0)


def test_ipv6_socket_accepts_ipv4(reactor: Reactor) -> None:
    try:
        sock = listening_socket("::", 0, 10, 30.0)
    except CannotListenError:
        pytest.skip("no IPv6 on this machine")
    guests = Guests()
    listener = listen(reactor, sock, guests)
    clients = [socket.create_connection((host, listener.address[1])) for host in ("127.0.0.1", "::1")]
    run_until(reactor, lambda: len(guests.sockets) == 2)
    assert sorted(host for host, _ in guests.addresses) == ["127.0.0.1", "::1"]
    assert all(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for sock in guests.sockets)
    close(listener, guests, *clients)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux only")
def test_accepted_sockets_inherit_the_keepalive_options() -> None:
    with listening_socket("127.0.0.1", 0, 1, 30.0) as server:
        server.setblocking(True)
        with socket.create_connection(server.getsockname()), server.accept()[0] as accepted:
            tcp = {
                name: accepted.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
                for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
            }
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert tcp == {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 30_000}


# -- descriptors -----------------------------------------------------------------------------------------


class FakeResource:
    RLIMIT_NOFILE = 7
    RLIM_INFINITY = -1

    def __init__(self, soft: int, hard: int, refuses: bool = False) -> None:
        self.limits = (soft, hard)
        self.refuses = refuses

    def getrlimit(self, _what: int) -> tuple[int, int]:
        return self.limits

    def setrlimit(self, _what: int, limits: tuple[int, int]) -> None:
        if self.refuses:
            raise ValueError("not allowed to raise maximum limit")
        self.limits = limits


@pytest.mark.parametrize(
    ("soft", "hard", "target", "given"),
    [
        (256, 4096, 1000, 1000),
        (256, 512, 1000, 512),
        (256, -1, 1000, 1000),
        (5000, 9000, 1000, 5000),
        (-1, -1, 10, 10),
    ],
)
def test_descriptor_limit_is_raised_as_far_as_allowed(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, target: int, given: int
) -> None:
    fake = FakeResource(soft, hard)
    monkeypatch.setattr(module, "resource", fake)
    assert raise_descriptor_limit(target) == given
    assert fake.limits == (soft if soft in {-1, 5000} else given, hard)


def test_refused_raise_keeps_the_descriptor_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "resource", FakeResource(256, 4096, refuses=True))
    assert raise_descriptor_limit(1000) == 256


def test_systems_without_limits_grant_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "resource", None)
    assert raise_descriptor_limit(1000) == 1000
