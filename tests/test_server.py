"""What of the server needs no process of its own."""

from __future__ import annotations

import socket

import pytest

from selchat.net import admission
from selchat.server import Server
from selchat.settings import Settings


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
