"""The server's composition: reload, admission and shutdown, in this process."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from selchat.config.settings import Settings
from selchat.config.sources import ConfigurationError
from selchat.net.certificate import own_certificate
from selchat.server.server import RESTART_ONLY
from tests.server.support import Running, certificate_for
from tests.server.test_metrics import samples

Run = Callable[..., Running]
PASSWORD_HASH = "scrypt:15:8:1:jrH116GCnP4NQ7BoZu8cYA:V5_kIIsfd28eq3Hutnf7FZPOL9nZfLu0Z2kXB1UOqcs"  # of "tea"


# -- reload ----------------------------------------------------------------------------------------------


def max_connections(running: Running) -> int:
    """Return how many clients the server admits in all."""
    return running.server.admission.max_total


def test_reload_applies_the_changed_settings_and_shows_them(run: Run) -> None:
    running = run(max_clients=4)
    assert running.reload(max_clients=5) == ["Settings reloaded: max_clients 4 -> 5"]
    assert max_connections(running) == 5


def test_reload_without_changes_says_so(run: Run) -> None:
    assert run(tls="auto").reload() == ["Settings reloaded: nothing has changed"]


def test_reload_applies_what_it_can_and_names_what_needs_a_restart(run: Run) -> None:
    running = run(max_clients=4)
    assert running.reload(max_clients=5, header_length=8, name_length=20) == [
        "Settings reloaded: max_clients 4 -> 5",
        "Warning: restart the server to change header_length 10 -> 8, name_length 32 -> 20",
    ]
    assert max_connections(running) == 5
    with running.connect("Venkat"):  # signs in with a header of 10 bytes
        assert running.server.hub.find_member("Venkat") is not None
    assert {"header_length", "name_length"} <= RESTART_ONLY


def test_reload_with_a_mistake_changes_nothing(run: Run) -> None:
    running = run(max_clients=4)
    mistakes = ["max_clients: 'x' is not a whole number", "prot: unknown key"]
    assert running.load(ConfigurationError(mistakes)) == [
        f"Warning: settings not reloaded: {mistake}" for mistake in mistakes
    ]
    assert max_connections(running) == 4


def test_reload_with_an_unusable_certificate_changes_nothing(run: Run, tmp_path: Path) -> None:
    running = run(max_clients=4)
    missing = str(tmp_path / "none.pem")
    [line] = running.reload(max_clients=5, tls="auto", cert=missing)
    assert line.startswith(f"Warning: settings not reloaded: {missing}")
    assert max_connections(running) == 4
    assert running.reload(tls="off", cert=None) == ["Settings reloaded: max_clients 4 -> 5"]


def test_reload_shows_the_fingerprints_only_when_they_change(run: Run, tmp_path: Path) -> None:
    certificate, key = own_certificate(tmp_path / "certificate")
    running = run()
    settings = {"tls": "auto", "cert": str(certificate), "key_file": str(key)}
    with_tls = running.reload(**settings)
    assert with_tls[0].startswith("Settings reloaded: tls off -> auto")
    assert with_tls[1] == "Key fingerprint (for selchat chat):"
    assert with_tls[3] == "Certificate fingerprint (SHA-256, for browsers):"
    assert running.reload() == ["Settings reloaded: nothing has changed"]
    certificate.unlink()
    own_certificate(tmp_path / "certificate")  # a new certificate for the same key
    renewed = running.reload()
    assert renewed[:3] == ["Settings reloaded: nothing has changed", *with_tls[1:3]]
    assert renewed[4] != with_tls[4]
    assert running.reload(tls="off")[1:] == [with_tls[1], "none", with_tls[3], "none"]
    assert running.reload() == ["Settings reloaded: nothing has changed"]


def test_reload_shows_its_lines_in_the_new_format(run: Run) -> None:
    [line] = run().reload(log_format="json")
    assert '"event": "reloaded"' in line


def test_reload_warns_when_descriptors_are_fewer_than_max_clients(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selchat.server.server.raise_descriptor_limit", lambda target: min(target, 132))
    running = run(max_clients=100, reserved_descriptors=32)
    assert running.reload(max_clients=101) == [
        "Settings reloaded: max_clients 100 -> 101",
        "Warning: the limit of open files (ulimit -n) allows 100 connections, "
        "fewer than max_clients (101); raise it",
    ]
    assert len(running.reload(max_clients=100)) == 1


def test_reload_raises_the_descriptor_limit_for_more_clients(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selchat.server.server.raise_descriptor_limit", lambda target: target)
    running = run(max_clients=1)
    assert running.reload(max_clients=2) == ["Settings reloaded: max_clients 1 -> 2"]
    assert running.server.status.ready() == (200, "ready")


def test_reload_sets_the_memory_limit(run: Run) -> None:
    running = run(quiet=True)
    server = running.server
    with running.connect("Venkat"):
        while samples(server.status.metrics())["selchat_queued_bytes"] < 130_000:
            server.hub.announce("x" * 60_000)
            server.reactor.tick(0)
        running.reload(queued_limit=1)
        running.tick_until(lambda: not server.connections)
        assert samples(server.status.metrics())["selchat_lapped_readers_total"] == 1


def test_reload_changes_the_settings_of_the_hub(run: Run) -> None:
    running = run(roster=False)
    running.reload(roster=True)
    with running.connect("Venkat") as venkat:
        venkat.expect("Users online (1): Venkat")


def test_reload_sets_a_password(run: Run) -> None:
    running = run()
    assert running.reload(password=PASSWORD_HASH) == ["Settings reloaded: password"]
    with running.connect() as venkat:
        venkat.send("Venkat")
        venkat.expect("password")
    assert running.server.hub.find_member("Venkat") is None


def test_reload_accepts_the_names_of_a_new_certificate_in_urls(run: Run, tmp_path: Path) -> None:
    running = run()
    certificate = certificate_for("chat.example", tmp_path / "chat.pem")

    def status_of_page() -> bytes:
        with running.connect() as browser:
            browser.send_raw(b"GET /healthz HTTP/1.1\r\nHost: chat.example\r\n\r\n")
            browser.expect("HTTP/1.1 ")
            return browser.received[9:12]

    assert status_of_page() != b"200"
    running.reload(tls="auto", cert=certificate)
    assert status_of_page() == b"200"


def test_reload_during_the_shutdown_does_nothing(run: Run) -> None:
    running = run()
    with running.connect("Venkat"):
        running.new_lines()
        running.server.stop()
        assert [line for line in running.reload(max_clients=5) if "Settings" in line] == []


# -- admission -------------------------------------------------------------------------------------------


def test_address_over_its_connection_rate_is_closed_at_once_and_holds_nothing(run: Run) -> None:
    running = run(address_rate=2)
    peers: list[socket.socket] = []
    try:
        for _ in range(5):
            ours, peer = socket.socketpair()
            peers.append(peer)
            running.server.accept(ours, "192.0.2.1", 5)
        assert len(running.server.connections) == 2
        for peer in peers[2:]:
            peer.settimeout(5)
            assert peer.recv(1) == b""
        why = "more than 2 new connections a minute from one address"
        assert running.new_lines() == [f"Closed connection from 192.0.2.1:5 ({why})"] * 3
    finally:
        for peer in peers:
            peer.close()


# -- shutdown --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [{}, {"max_clients": 1}], ids=["admitted", "refused"])
def test_closed_server_has_no_connections_left(run: Run, more: dict[str, Any]) -> None:
    running = run(**more)
    with running.connect() as one, running.connect() as two:
        running.tick_until(lambda: len(running.server.connections) == 2)
        running.server.close()
        assert not running.server.connections
        assert running.server.admission.open == 0
        for peer in (one, two):
            peer.sock.settimeout(5)
            try:
                while peer.sock.recv(1 << 16):
                    pass
            except ConnectionResetError:
                pass


def test_settings_of_a_server_are_loaded_only_on_reload(run: Run) -> None:
    running = run()
    assert running.load(Settings(max_clients=7, host="127.0.0.1", port=0, tls="off", roster=False)) == [
        "Settings reloaded: max_clients 10000 -> 7"
    ]
