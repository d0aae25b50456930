"""Trust on first use in ``selchat chat`` and ``send``, and servers with a changed key."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.e2e.support import Client, Server
from tests.e2e.terminal_support import CHAT, SEND, Terminal, run
from tests.e2e.test_chat import piped


def data_folder() -> Path:
    return Path(os.environ["XDG_DATA_HOME"]) / "selchat"


def forget_servers() -> None:
    (data_folder() / "known-servers").unlink()


def grouped(fingerprint: str) -> str:
    return " ".join(fingerprint[start : start + 4] for start in range(0, 64, 4))


def delete_key() -> None:
    for name in ("server-key.pem", "server-certificate.pem"):
        (data_folder() / name).unlink()


def test_the_first_connection_shows_the_fingerprint_of_the_server() -> None:
    with Server() as server:
        forget_servers()
        for first in (True, False):
            with piped(server.port, "--name=M") as chat:
                if first:
                    assert chat.status() == f"First connection to 127.0.0.1:{server.port}.\n"
                    assert chat.status().startswith("Check that this fingerprint matches")
                    assert chat.status() == f"{grouped(server.fingerprint)}\n"
                assert chat.status() == "Connected to the Server: 127.0.0.1\n"
                chat.end()
        known = (data_folder() / "known-servers").read_text()
        assert f"127.0.0.1:{server.port} sha256:{server.fingerprint}\n" in known


def test_send_shows_the_fingerprint_once() -> None:
    with Server() as server:
        forget_servers()
        target = f"127.0.0.1:{server.port}"
        assert b"First connection to" in run(*SEND, target, "hello").stderr
        got = run(*SEND, target, "hello")
        assert (got.returncode, got.stderr) == (0, b"")


def test_a_restart_keeps_the_key() -> None:
    with Server() as server:
        port, fingerprint = server.port, server.fingerprint
        server.stop()
    with Server(port=port) as again:
        assert again.fingerprint == fingerprint
        assert run(*SEND, f"127.0.0.1:{port}", "hello").returncode == 0


@pytest.mark.parametrize("command", [(*SEND, "HOST", "hello"), (*CHAT, "HOST", "--name=M")])
def test_a_changed_key_stops_the_client_with_an_explanation(command: tuple[str, ...]) -> None:
    with Server() as server:
        port, fingerprint = server.port, server.fingerprint
        server.stop()
    known = (data_folder() / "known-servers").read_text()
    delete_key()
    with Server(port=port) as other:
        assert other.fingerprint != fingerprint
        (data_folder() / "known-servers").write_text(known)
        target = f"127.0.0.1:{port}"
        words = [target if word == "HOST" else word for word in command]
        got = run(*words, input=b"secret words\n")
        assert got.returncode == 1
        text = got.stderr.decode()
        assert text.startswith(f"selchat: WARNING: the key of {target} has changed. Expected ")
        assert grouped(other.fingerprint) in text
        assert grouped(fingerprint) in text
        assert f"delete line 1 of {data_folder() / 'known-servers'}" in text
        other.stop()
        assert "secret" not in other.remaining_output()


def test_the_explanation_is_readable_on_a_terminal() -> None:
    with Server() as server:
        port = server.port
        server.stop()
    known = (data_folder() / "known-servers").read_text()
    delete_key()
    with Server(port=port):
        (data_folder() / "known-servers").write_text(known)
        with Terminal(*CHAT, f"127.0.0.1:{port}", "--name=M", "--key=") as terminal:
            terminal.shows("has changed.")
            terminal.until(lambda: "connect again" in "".join(terminal.lines), "the end of it")
            assert terminal.wait() == 1


def test_a_renewed_certificate_with_the_same_key_keeps_connections() -> None:
    with Server() as server, piped(server.port, "--name=M") as chat:
        assert chat.status().startswith("Connected")
        (data_folder() / "server-certificate.pem").unlink()
        server.process.send_signal(signal.SIGHUP)
        server.expect_line("Settings reloaded: new certificate with the same key")
        assert (data_folder() / "server-certificate.pem").exists()
        chat.type("still here\n")
        server.expect_line("Received message from M: still here")
        assert run(*SEND, f"127.0.0.1:{server.port}", "me too", "--name=N").returncode == 0


def test_an_unreadable_certificate_on_sighup_keeps_the_old_one() -> None:
    with Server() as server:
        shutil.copy(data_folder() / "server-key.pem", data_folder() / "kept")
        (data_folder() / "server-key.pem").write_text("nonsense")
        server.process.send_signal(signal.SIGHUP)
        server.expect("Warning: settings not reloaded: .*server-key.pem, for TLS: this file contains no key")
        assert run(*SEND, f"127.0.0.1:{server.port}", "hello", "--name=N").returncode == 0


def test_server_uses_the_given_certificate(tmp_path: Path) -> None:
    with Server() as server:
        first = server.fingerprint
    paths = [data_folder() / "server-certificate.pem", data_folder() / "server-key.pem"]
    cert, key = (path.rename(tmp_path / path.name) for path in paths)
    with Server(f"--cert={cert}", f"--key-file={key}") as server:
        assert server.fingerprint == first
        assert not paths[0].exists()
        assert run(*SEND, f"127.0.0.1:{server.port}", "hello").returncode == 0
    both = tmp_path / "both.pem"
    both.write_bytes(cert.read_bytes() + key.read_bytes())
    with Server(f"--cert={both}") as server:
        assert server.fingerprint == first


def test_client_that_requires_tls_refuses_a_server_without() -> None:
    """A server without TLS looks like a proxy that wants to read the messages."""
    with Server("--tls=off") as server:
        got = run(*SEND, f"127.0.0.1:{server.port}", "hello", "--tls=require")
        assert got.returncode == 1
        assert b"no TLS (" in got.stderr
        got = run(*SEND, f"127.0.0.1:{server.port}", "hello", "--tls=off", "--name=N")
        assert (got.returncode, got.stderr) == (0, b"")
        with piped(server.port, "--name=M") as chat:
            assert chat.status().startswith("NOT ENCRYPTED: the server has no TLS")
            assert chat.status().startswith("Connected")


def test_classic_is_unencrypted_unless_tls_is_required() -> None:
    with Server("--no-roster") as server, Client(server.port, "Old") as old:
        target = f"127.0.0.1:{server.port}"
        server.expect("username: Old")
        assert run(*SEND, target, "in plain", "--classic", "--name=A").returncode == 0
        assert old.read_pair() == ("A", "in plain")
        assert run(*SEND, target, "by TLS", "--classic", "--tls=require", "--name=B").returncode == 0
        assert old.read_pair() == ("B", "by TLS")
