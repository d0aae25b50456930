"""The server's composition: reload, admission and shutdown, in this process."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from selchat.auth.tokens import TokenFile, new_token
from selchat.config.settings import Settings
from selchat.config.sources import ConfigurationError
from selchat.net.certificate import own_certificate
from selchat.server.server import RESTART_ONLY
from tests.server.support import Running, certificate_for, frame
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
    assert renewed[:3] == ["Settings reloaded: new certificate with the same key", *with_tls[1:3]]
    assert renewed[4] != with_tls[4]
    assert running.reload(tls="off")[1:] == [with_tls[1], "none", with_tls[3], "none"]
    assert running.reload() == ["Settings reloaded: nothing has changed"]


def test_reload_names_a_certificate_that_has_changed_in_its_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "chat.pem"
    running = run(tls="auto", cert=certificate_for("chat.example", path))
    certificate_for("chat.example", path)
    first, *fingerprints = running.reload(max_clients=5)
    assert first == "Settings reloaded: max_clients 10000 -> 5, new certificate with another key"
    assert len(fingerprints) == 4
    assert running.reload() == ["Settings reloaded: nothing has changed"]


def test_reload_that_needs_a_restart_does_not_say_that_nothing_has_changed(run: Run) -> None:
    assert run().reload(header_length=8) == ["Warning: restart the server to change header_length 10 -> 8"]


@pytest.mark.parametrize(
    ("begins", "ends", "warning"),
    [
        (-3, -1, r"expired on {ends}: browsers refuse it; renew it, then send SIGHUP to the server"),
        (1, 30, r"is not valid before {begins}: browsers refuse it; check the clock"),
        (-3, 13.5, r"expires on {ends}, in 13 days; renew it, then send SIGHUP to the server"),
        (-3, 1.2, r"expires on {ends}, in 29 hours; renew it, then send SIGHUP to the server"),
        (-3, 14.5, ""),
    ],
)
def test_certificate_that_is_not_valid_or_expires_soon_causes_a_warning(
    run: Run, tmp_path: Path, begins: float, ends: float, warning: str
) -> None:
    path = certificate_for("chat.example", tmp_path / "chat.pem", begins, ends)
    day = r"\d{4}-\d\d-\d\d \d\d:\d\d \S+"
    pattern = f"Warning: the certificate {path} " + warning.format(begins=day, ends=day)
    running = run(tls="auto", cert=path)
    running.server.check_certificate()
    lines = running.new_lines()
    assert [bool(re.fullmatch(pattern, line)) for line in lines] == [True] * bool(warning)
    [_, *lines] = running.reload()
    assert [bool(re.fullmatch(pattern, line)) for line in lines] == [True] * bool(warning)


def test_certificate_is_checked_again_every_day(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selchat.server.server.CERTIFICATE_CHECK_SECONDS", 0.01)
    path = certificate_for("chat.example", tmp_path / "chat.pem", ends=1)
    running = run(tls="auto", cert=path)
    running.server.check_certificate()
    shown: list[str] = []
    running.tick_until(lambda: shown.extend(running.new_lines()) or len(shown) >= 3)
    assert len(set(shown)) == 1


def test_certificate_of_the_server_itself_is_renewed_while_it_runs(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr("selchat.net.certificate._VALID_DAYS", 5)
        running = run(tls="auto")
    running.server.check_certificate()
    shown = running.new_lines()
    assert shown[0] == "Key fingerprint (for selchat chat):"
    assert len(shown) == 4
    running.server.check_certificate()
    assert running.new_lines() == []


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


# -- bans ------------------------------------------------------------------------------------------------

HELLO = frame('{"type":"hello","version":1,"name":"Venkat","client":"0123456789abcdef0123"}')
POST = (
    b"POST /rooms/lobby/messages HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\n"
    b"Content-Length: 3\r\n\r\nhey"
)
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
WEBSOCKET = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
    b"Sec-WebSocket-Protocol: selchat\r\n\r\n"
)


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Make an API token for ``ci`` in the data folder of this test."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    secret, made = new_token("ci")
    TokenFile().add(made)
    return secret.encode()


@pytest.mark.parametrize(
    ("target", "host", "neighbour"),
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
        ("192.0.2.0/24", "192.0.2.7", "192.0.3.7"),
        ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.8"),
        ("[fd00:9::7]:54494", "fd00:9::8", "fd00:9:0:1::8"),
        ("fe80::7%eth0", "fe80::8%eth0", "fe80::8%eth1"),
    ],
)
def test_ban_closes_open_connections_of_the_address(run: Run, target: str, host: str, neighbour: str) -> None:
    running = run()
    with running.accept(host) as silent, running.accept(host) as browser, running.accept(neighbour) as other:
        browser.send_raw(GET)
        browser.expect("200")
        running.type(f"/ban {target}")
        assert silent.expect_end() == b""
        browser.expect_end()
        other.send("Michael")
        running.tick_until(lambda: running.server.hub.find_member("Michael"))
        assert [member.name for member in running.server.hub.members()] == ["Michael"]
        with running.accept(host) as again:
            again.send("Venkat")
            assert b"Closing this connection: the operator has banned you." in again.expect_end()


@pytest.mark.parametrize(
    "first",
    [b"", HELLO[:20], b"GET /heal", WEBSOCKET, b"\x16\x03\x01\x02\x00\x01\x00"],
    ids=["nothing", "half a frame", "half a request", "page", "half a TLS handshake"],
)
def test_ban_closes_a_connection_at_every_step_before_login(run: Run, first: bytes, tmp_path: Path) -> None:
    running = run(login_seconds=3600, tls="auto", cert=certificate_for("chat.example", tmp_path / "c.pem"))
    with running.accept("192.0.2.7") as peer:
        peer.send_raw(first)
        running.tick_until(lambda: not running.server.reactor.tick(0.01))
        running.type("/ban 192.0.2.7")
        peer.expect_end()
        assert running.server.hub.members() == []


def test_ban_closes_a_connection_whose_password_is_checked(run: Run) -> None:
    running = run(password=PASSWORD_HASH)
    with running.accept("192.0.2.7") as peer:
        peer.send_raw(frame(HELLO[10:-1].decode() + ',"password":"tea"}'))
        running.server.reactor.tick(0.1)
        running.type("/ban 192.0.2.7")
        assert b"welcome" not in peer.expect_end()
        running.tick_until(lambda: not running.server.connections)
        assert running.server.hub.members() == []


def test_ban_in_the_tick_of_a_hello_or_request_refuses_it(run: Run, token: bytes) -> None:
    running = run()
    hub = running.server.hub
    with (
        running.accept("192.0.2.7") as selchat,
        running.accept("192.0.2.7") as classic,
        running.accept("192.0.2.7") as script,
        running.accept("192.0.2.7") as browser,
    ):
        for peer in (script, browser):
            peer.send_raw(GET)
            peer.expect("ok")
        hub.moderation.on_ban = lambda: None  # so that the connections stay open
        running.type("/ban 192.0.2.7")
        selchat.send_raw(HELLO)
        assert b'"error","code":"banned"' in selchat.expect_end()
        classic.send("Venkat")
        assert b"the operator has banned you" in classic.expect_end()
        script.send_raw(POST % token)
        assert b"HTTP/1.1 403" in script.expect_end()
        browser.send_raw(GET)
        assert b"HTTP/1.1 403" in browser.expect_end()
        assert hub.members() == []
        assert hub.lobby.seq == 0


def test_ban_of_an_address_or_name_refuses_the_next_message_of_a_script(run: Run, token: bytes) -> None:
    running = run()
    for target in ("192.0.2.7", "ci"):
        with running.accept("192.0.2.7") as script, running.accept("192.0.2.8") as elsewhere:
            for peer in (script, elsewhere):
                peer.send_raw(POST % token)
                peer.expect("201")
            running.type(f"/ban {target}")
            elsewhere.received = b""
            elsewhere.send_raw(POST % token)
            elsewhere.expect("201" if target == "192.0.2.7" else '"banned"')
        running.type(f"/unban {target}")


def test_banned_member_gets_the_farewell_first(run: Run) -> None:
    running = run()
    with running.accept("192.0.2.7") as venkat:
        venkat.send("Venkat")
        running.tick_until(running.server.hub.members)
        assert running.type("/ban 192.0.2.7") == ["Banned 192.0.2.7. Disconnected: Venkat."]
        assert b"The operator has banned you." in venkat.expect_end()


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
