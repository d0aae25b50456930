"""What of the server needs no process of its own."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from selchat.config.settings import Settings
from selchat.log.port import NotStoredError
from selchat.net import admission
from selchat.server import server as server_module
from selchat.server.server import Server
from selchat.server.startup import picture
from tests.server.test_metrics import samples


@pytest.fixture
def server() -> Iterator[Server]:
    """One that keeps what is said in memory."""
    made = Server(Settings(host="127.0.0.1", port=0, tls="off", quiet=True, max_clients=4, roster=False))
    yield made
    made._close()


def frame(text: str) -> bytes:
    return f"{len(text.encode()):<10}{text}".encode()


class Peer:
    """A connection to a server in this process, which does nothing but in `tick`."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.sock = socket.create_connection(server._listener.address)
        self.sock.setblocking(False)
        self.read = b""

    def say(self, *texts: str) -> None:
        self.sock.sendall(b"".join(map(frame, texts)))

    def expect(self, text: str) -> None:
        """Tick until that has come."""
        tick_until(self.server, lambda: text.encode() in self._received())

    def _received(self) -> bytes:
        try:
            self.read += self.sock.recv(1 << 16)
        except BlockingIOError:
            pass
        return self.read

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


def tick_until(server: Server, condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        server._reactor.tick(0.01)


# -- metrics -------------------------------------------------------------------------------------------------


def test_the_metrics_say_what_was_done(server: Server) -> None:
    with Peer(server) as venkat, Peer(server) as michael, Peer(server) as narayan, Peer(server):
        for peer, name in ((venkat, "Venkat"), (michael, "Michael"), (narayan, "Narayan")):
            peer.say(name)
            tick_until(server, lambda name=name: server._hub.find_member(name) is not None)  # type: ignore[misc]
        tick_until(server, lambda: len(server._connections) == 4)
        ticks = server._reactor.lag.sum
        venkat.say("one", "two")
        michael.expect("two")
        michael.say("three")
        venkat.expect("three")
        server._hub.announce("tea")
        narayan.expect("tea")
        found = samples(server.metrics())
        assert found["selchat_messages_total"] == 4
        assert found["selchat_deliveries_total"] == 2 * 2 + 2 + 3
        assert found["selchat_connections{wire=classic}"] == 3
        assert found["selchat_connections{wire=opening}"] == 1
        assert found["selchat_connections{wire=web}"] == found["selchat_connections{wire=closing}"] == 0
        assert found["selchat_connections_refused_total{reason=full}"] == 0
        assert found["selchat_connections_accepted_total"] == 4
        assert found["selchat_members"] == 3
        assert found["selchat_rooms"] == 1
        assert found["selchat_log_bytes"] == 4 * 256 + len("onetwothreetea")
        assert found["selchat_commit_seconds_count"] == 0, "nothing waits for a disk"
        assert found["selchat_loop_lag_seconds_sum"] > ticks > 0
        assert found["selchat_lagging_readers"] == found["selchat_queued_bytes"] == 0
        assert "Venkat" not in str(found)


def test_the_metrics_say_who_was_refused_and_who_lags(server: Server) -> None:
    with Peer(server) as venkat, Peer(server) as michael, Peer(server), Peer(server), Peer(server):
        tick_until(server, lambda: server._listener.accepted == 5)
        assert samples(server.metrics())["selchat_connections_refused_total{reason=full}"] == 1
        venkat.say("Venkat")
        michael.say("Michael")
        tick_until(server, lambda: len(server._hub.members()) == 2)

        while not server._fanout.blocked:
            server._hub.announce("x" * 60_000)
            server._reactor.tick(0)
        found = samples(server.metrics())
        assert found["selchat_lagging_readers"] >= 1
        assert found["selchat_queued_bytes"] > 0
        while not server._fanout.lapped:
            server._hub.announce("x" * 60_000)
            server._reactor.tick(0)
        assert samples(server.metrics())["selchat_lapped_readers_total"] >= 1


# -- whether it is ready -----------------------------------------------------------------------------------


def test_it_is_ready_unless_nothing_can_be_stored(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert server.ready() == (200, "ready")

    def fails() -> None:
        raise NotStoredError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(server._log, "commit", fails)
        server._hub.announce("tea")
        server._reactor.tick(0)
        for _ in range(2):
            assert server.ready() == (503, "the server cannot store messages now (disk full)")
            server._reactor.tick(0)
        assert samples(server.metrics())["selchat_commits_failed_total"] == 3
    assert server.ready()[0] == 503, "it is not known yet"
    server._reactor.tick(0)
    assert server.ready() == (200, "ready")


def test_it_is_not_ready_when_it_is_full_or_ends(server: Server) -> None:
    with Peer(server), Peer(server), Peer(server), Peer(server):
        tick_until(server, lambda: len(server._connections) == 4)
        assert server.ready() == (503, "server is full (4 connections)")
        server._most_connections = 4
        server._settings = Settings()
        assert server.ready() == (503, "no descriptors are left for more than 4 connections")
        server.stop()
        assert server.ready() == (503, "the server is shutting down")


def test_the_security_contact_is_given_out(server: Server) -> None:
    assert server.security_txt() is None
    server._settings = Settings(security_contact="mailto:a@b.example")
    assert "Contact: mailto:a@b.example\n" in (server.security_txt() or "")


def test_an_address_with_too_many_new_connections_is_closed_at_once_and_holds_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(admission, "is_loopback", lambda _host: False)
    server = Server(Settings(host="127.0.0.1", port=0, tls="off", address_rate=2))
    peers: list[socket.socket] = []
    try:
        for _ in range(5):
            ours, peer = socket.socketpair()
            peers.append(peer)
            server._accepted(ours, "192.0.2.1", 5)
        assert len(server._connections) == 2
        for peer in peers[2:]:
            peer.settimeout(5)
            assert peer.recv(1) == b""
    finally:
        for peer in peers:
            peer.close()
        server._close()
    shown = capfd.readouterr().out
    assert shown.count("more than 2 new connections a minute from one address") == 3


# -- what is told at the start -------------------------------------------------------------------------------


def invited(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, host: str = "127.0.0.1", **more: Any
) -> tuple[list[str], int]:
    """Return what a server says for browsers, and its port."""
    terminal = more.pop("terminal", True)
    monkeypatch.setattr(server_module, "reachable_addresses", lambda _host: ["192.168.43.158", "10.1.2.3"])
    monkeypatch.setattr("selchat.server.server.os.isatty", lambda descriptor: terminal and descriptor == 1)
    monkeypatch.setattr("selchat.server.server.os.get_terminal_size", lambda _: os.terminal_size((80, 24)))
    server = Server(Settings(**{"host": host, "port": 0, **more}))
    try:
        server._invite()
        port = server._listener.address[1]
    finally:
        server._close()
    return capfd.readouterr().out.splitlines(), port


def test_browsers_are_told_where_to_go_and_phones_get_a_picture(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines, port = invited(capfd, monkeypatch)
    address = f"https://192.168.43.158:{port}/"
    assert lines == [
        f"In a browser: {address}",
        f"In a browser: https://10.1.2.3:{port}/",
        f"In a browser on this machine: http://localhost:{port}/",
        *picture(address, 80, 24),
    ]
    assert len(lines) > 10


@pytest.mark.parametrize(
    "more", [{"terminal": False}, {"quiet": True}, {"log_format": "json"}], ids=["pipe", "quiet", "json"]
)
def test_there_is_no_picture_where_nobody_would_see_it(
    more: dict[str, Any], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines, port = invited(capfd, monkeypatch, tls="off", **more)
    if "log_format" in more:
        [line] = lines
        assert json.loads(line)["addresses"][0] == f"http://192.168.43.158:{port}/"
    else:
        assert [line.partition(": ")[2] for line in lines] == [
            f"http://192.168.43.158:{port}/",
            f"http://10.1.2.3:{port}/",
            f"http://localhost:{port}/",
        ]


def test_without_the_extra_it_says_how_to_get_it(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "_new_http_session", lambda _self: None)
    lines, _ = invited(capfd, monkeypatch)
    assert lines == ["Nothing for browsers: h11 is not installed: python3 -m pip install 'selchat[web]'"]
