"""Servers with a password as real processes: logins, lockouts, and undisturbed users."""

from __future__ import annotations

import hashlib
import json
import os
import re
import select
import signal
import subprocess
import time
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import processes
from tests.e2e.processes import SELCHAT
from tests.e2e.selchat_support import Fields, Frames, SelchatPeer, encoded, greeting
from tests.e2e.support import DEADLINE, Client, Server, eventually
from tests.e2e.terminal_support import CHAT, SEND, Terminal

RIGHT = "tea at four"


def hashed(log_n: int) -> str:
    """Return the text form of the hash, written by its documentation and without the package."""
    salt = b"salt of the test"
    digest = hashlib.scrypt(RIGHT.encode(), salt=salt, n=1 << log_n, r=8, p=1, maxmem=1 << 28, dklen=32)
    salted, digested = (urlsafe_b64encode(data).decode().rstrip("=") for data in (salt, digest))
    return f"scrypt:{log_n}:8:1:{salted}:{digested}"


QUICK = hashed(10)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server("--no-history", "--no-roster", f"--password={QUICK}") as server:
        yield server


def code_of(peer: SelchatPeer) -> str:
    answer = peer.read()
    return str(answer.get("code", answer["type"]))


def log_in(server: Server, password: str | None, name: str = "Venkat") -> str:
    """Log in with this password; return the code or the type of the server's response."""
    with SelchatPeer(server.port) as peer:
        peer.send(greeting(name, **({} if password is None else {"password": password})))
        return code_of(peer)


def send(server: Server, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return processes.run(
        [*SEND, f"127.0.0.1:{server.port}", "hello", *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        env={**os.environ, **environment},
        check=False,
    )


def test_a_password_works_with_its_printed_hash(tmp_path: Path) -> None:
    made = processes.run(
        [*SELCHAT, "hash-password"],
        input=f"{RIGHT}\n",
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    hash = made.stdout.strip()
    assert re.fullmatch(r"scrypt:15:8:1:[\w-]{22}:[\w-]{43}", hash)
    file = tmp_path / "password"
    file.write_text(f"{RIGHT}\n")
    with Server("--no-history", "--no-roster", f"--password={hash}") as server:
        assert send(server, f"--password-file={file}").returncode == 0
        server.expect("hello")
        assert log_in(server, RIGHT + "?") == "wrong-password"
        server.expect(r"Wrong password from 127\.0\.0\.1:\d+\n")


def test_hash_password_does_not_show_the_typed_password() -> None:
    with Terminal(*SELCHAT, "hash-password", columns=120) as terminal:
        terminal.shows("Password:")
        terminal.type(f"{RIGHT}\r")
        terminal.shows("Again:")
        terminal.type(f"{RIGHT}\r")
        assert terminal.wait() == 0
        assert "scrypt:15:8:1:" in terminal.text
        assert RIGHT not in terminal.text


def test_an_invalid_hash_is_a_one_line_error_without_it() -> None:
    done = processes.run(
        [*SELCHAT, "serve", "--port=0", "--password=hunter2"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "hunter2" not in done.stderr


def test_a_connection_may_try_again_until_the_password_is_right(server: Server) -> None:
    with SelchatPeer(server.port) as peer:
        peer.send(greeting("Venkat"))
        assert peer.read() == {
            "type": "error",
            "code": "password-needed",
            "message": "this server requires a password",
        }
        peer.send(greeting("Venkat", password="tea at five"))
        assert code_of(peer) == "wrong-password"
        peer.send(greeting("Venkat", password=""))
        assert code_of(peer) == "password-needed"
        peer.send(greeting("Venkat", password=RIGHT))
        assert code_of(peer) == "welcome"
        peer.assert_nothing_more()


def test_classic_clients_get_a_notice_and_are_closed(server: Server) -> None:
    with Client(server.port, "Venkat") as client:
        assert client.read_pair() == ("Server", "Closing this connection: this server requires a password.")
        assert client.read_to_end() == b""
    server.expect(r"Closed connection from \S+ \(this server requires a password\)")


def test_after_five_failures_even_the_right_password_is_locked_out(server: Server) -> None:
    with SelchatPeer(server.port, "Michael", password=RIGHT) as user:
        with SelchatPeer(server.port) as peer:
            wrong = greeting("Venkat", password="tea at five")
            peer.send(*[wrong] * 6, greeting("Venkat", password=RIGHT))
            answers = [peer.read() for _ in range(7)]
        assert [answer["code"] for answer in answers] == ["wrong-password"] * 5 + ["too-many-tries"] * 2
        assert answers[5]["retry_after"] == 2
        server.expect("logins from this address are refused for 2 s")
        user.assert_nothing_more()
        eventually(lambda: log_in(server, RIGHT) == "welcome", "the lockout ends")
        assert user.say("still here", "1")["type"] == "ack"


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_quiet_server_still_reports_wrong_passwords(style: str) -> None:
    with Server("--quiet", "--no-history", f"--log-format={style}", f"--password={QUICK}") as server:
        for _ in range(7):
            log_in(server, "hunter2")
        server.expect("Wrong password from" if style == "text" else '"wrong-password"')
        server.stop()
        lines = server.remaining_output()
    assert "hunter2" not in lines
    assert lines.count("assword") == 4  # five reports, of which expect() has read one
    if style == "json":
        assert all(json.loads(line) for line in lines.splitlines() if "wrong" in line)


def test_many_parallel_guesses_do_not_disturb_a_user() -> None:
    with Server("--no-history", "--no-roster", f"--password={hashed(15)}", "--message-rate=0") as server:
        user = SelchatPeer(server.port, "Michael", password=RIGHT)
        peers = [SelchatPeer(server.port) for _ in range(60)]
        try:
            for number, peer in enumerate(peers):
                peer.send(greeting(f"Venkat {number}", password=f"guess {number}"))
            answers, pings, codes = {peer.sock: Frames() for peer in peers}, 0, Counter[str]()
            end = time.monotonic() + DEADLINE
            while sum(codes.values()) < len(peers):
                assert time.monotonic() < end, codes
                assert user.request("ping", token=str(pings)) == {"type": "pong", "token": str(pings)}
                pings += 1
                for sock in select.select(list(answers), [], [], 0)[0]:
                    codes.update(_code(payload) for payload in answers[sock].feed(sock.recv(1 << 16)))
            # All guesses come from one address: the server checks five and rejects the others unchecked.
            # (The first lockout lasts 2 s; a slow machine may need longer, and then checks a few more.)
            assert set(codes) == {"wrong-password", "too-many-tries"}
            assert 5 <= codes["wrong-password"] <= 7
            assert pings > 5
            assert user.say("not disturbed", "1")["type"] == "ack"
        finally:
            for peer in (user, *peers):
                peer.close()


def _code(payload: bytes) -> str:
    fields: Fields = json.loads(payload)
    return str(fields["code"])


def test_disconnects_during_a_check_leak_nothing() -> None:
    with Server("--no-history", "--no-roster", f"--password={hashed(15)}") as server:
        descriptors = server.descriptors()
        peers = [SelchatPeer(server.port) for _ in range(20)]
        for number, peer in enumerate(peers):
            peer.send(greeting(f"Venkat {number}", password=RIGHT))
            peer.close()
        for number in range(20):
            peer = SelchatPeer(server.port)
            peer.sock.sendall(encoded(greeting(f"Narayan {number}", password=RIGHT)))
            peer.sock.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER: a reset
            peer.close()
        eventually(lambda: log_in(server, RIGHT, "Michael") == "welcome", "a login succeeds")
        eventually(lambda: server.descriptors() == descriptors, "all connections are closed")
        server.assert_idle(0.5)
        assert server.stop() == 0
        assert server.errors() == ""


def test_the_server_stops_at_once_during_checks() -> None:
    with Server("--no-history", "--no-roster", f"--password={hashed(17)}") as server:
        peers = [SelchatPeer(server.port) for _ in range(10)]
        for number, peer in enumerate(peers):
            peer.send(greeting(f"Venkat {number}", password="tea"))
        cpu = server.cpu_seconds()
        eventually(lambda: server.cpu_seconds() > cpu + 0.05, "the checks run")
        assert server.stop() == 0
        assert server.errors() == ""
        for peer in peers:
            peer.close()


# -- our own clients -----------------------------------------------------------------------------------


def test_send_reads_the_password_from_the_environment(server: Server) -> None:
    assert send(server, SELCHAT_PASSWORD=RIGHT).returncode == 0
    server.expect("hello")
    for given, reason in (
        ("", "this server requires a password"),
        ("tea", "wrong password"),
    ):
        done = send(server, SELCHAT_PASSWORD=given)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            f"selchat: the server said: {reason}; "
            "give the password with --password-file=FILE or in SELCHAT_PASSWORD\n"
        )
    done = send(server, "--password-file=/nowhere/at/all")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_send_asks_until_the_password_is_right(server: Server) -> None:
    with Terminal(*SEND, f"127.0.0.1:{server.port}", "from a terminal", columns=100) as terminal:
        terminal.shows("Password:")
        terminal.type("tea\r")
        terminal.shows("The server said: wrong password.\nPassword:")
        terminal.type(f"{RIGHT}\r")
        assert terminal.wait() == 0
        assert RIGHT not in terminal.text
    server.expect("from a terminal")


def test_lines_from_a_pipe_wait_for_the_password(server: Server) -> None:
    pipe = f"printf 'one\\ntwo\\n' | {' '.join(SEND)} 127.0.0.1:{server.port}"
    with Terminal("/bin/sh", "-c", pipe, columns=100) as terminal:
        terminal.shows("Password:")
        terminal.type(f"{RIGHT}\r")
        assert terminal.wait() == 0
    server.expect("one\n")
    server.expect("two\n")


@pytest.mark.parametrize("plain", [[], ["--plain"]])
def test_chat_asks_once_and_reconnects_with_the_password(tmp_path: Path, plain: list[str]) -> None:
    history = f"--history={tmp_path / 'history.sqlite'}"
    with Server(history, f"--password={QUICK}") as server:
        port = server.port
        chat = Terminal(
            *CHAT, f"127.0.0.1:{port}", "--name=Venkat", "--key=", *plain, columns=100, environment={}
        )
        with chat:
            chat.shows("Password:")
            chat.type("tea\r")
            chat.shows("The server said: wrong password.")
            chat.until(lambda: chat.text.count("Password:") == 2, "asked again")
            chat.type(f"{RIGHT}\r")
            chat.shows("Connected to the Server: 127.0.0.1")
            chat.type("before\r")
            server.expect("before")
            server.process.kill()
            server.wait()
            with Server(history, f"--password={QUICK}", port=port) as again:
                chat.until(lambda: chat.text.count("Connected to the Server") == 2, "connected again")
                chat.type("after\r")
                again.expect("after")
                chat.type("/quit\r")
                assert chat.wait() == 0
            assert chat.text.count("Password:") == 2
            assert RIGHT not in chat.text


@pytest.mark.parametrize("plain", [[], ["--plain"]])
def test_password_set_by_a_reload_is_asked_for_and_loses_no_message(tmp_path: Path, plain: list[str]) -> None:
    config = tmp_path / "selchat.toml"
    config.write_text("")
    options = f"--history={tmp_path / 'history.sqlite'}", f"--config={config}"
    with Server(*options) as server:
        port = server.port
        chat = Terminal(*CHAT, f"127.0.0.1:{port}", "--name=Venkat", "--key=", *plain, columns=100)
        with chat:
            chat.shows("Connected to the Server: 127.0.0.1")
            chat.type("one\r")
            server.expect("Received message from Venkat: one\n")
            config.write_text(f"password = '{QUICK}'")
            server.process.send_signal(signal.SIGHUP)
            server.expect_line("Settings reloaded: password")
            chat.type("two\r")
            server.expect("Received message from Venkat: two\n")
            server.process.kill()
            server.wait()
            chat.shows("Connection lost")
            chat.type("three\r")
            if not plain:
                chat.type("half a li")
            with Server(*options, port=port) as again:
                chat.shows("The server said: this server requires a password.")
                chat.shows("Password:")
                chat.type("tea\r")
                chat.shows("The server said: wrong password.")
                chat.shows("Password:")
                chat.until(lambda: chat.text.count("Password:") == (2 if plain else 1), "asked again")
                chat.type(f"{RIGHT}\r")
                again.expect("Received message from Venkat: three\n")
                chat.until(lambda: chat.text.count("Connected to the Server") == 2, "connected again")
                if plain:
                    chat.type("half a li")
                chat.type("ne\r")
                again.expect("Received message from Venkat: half a line\n")
                chat.type("/quit\r")
                assert chat.wait() == 0
            assert RIGHT not in chat.text


@pytest.mark.parametrize("plain", [[], ["--plain"]])
@pytest.mark.parametrize("key", ["\x03", "\x04"])
def test_question_for_a_password_after_an_outage_can_be_left(
    tmp_path: Path, plain: list[str], key: str
) -> None:
    with Server("--no-history") as server:
        port = server.port
        with Terminal(*CHAT, f"127.0.0.1:{port}", "--name=Venkat", "--key=", *plain, columns=100) as chat:
            chat.shows("Connected to the Server: 127.0.0.1")
            server.process.kill()
            server.wait()
            with Server("--no-history", f"--password={QUICK}", port=port) as again:
                chat.shows("Password:")
                chat.type(key)
                assert chat.wait() == (130 if key == "\x03" else 0)
                assert again.stop() == 0


def test_a_bot_logs_in_or_raises_the_reason(server: Server) -> None:
    from selchat.client import Client as Bot
    from selchat.client import PasswordNeededError, TooManyAttemptsError, WrongPasswordError

    address = ("127.0.0.1", server.port, "bot")
    with Bot(*address, password=RIGHT) as bot:
        bot.say("hello from a bot", wait=True)
    with pytest.raises(PasswordNeededError):
        Bot(*address).connect()
    with pytest.raises(WrongPasswordError):
        Bot(*address, password="tea").connect()
    with SelchatPeer(server.port) as peer:
        peer.send(*[greeting("Venkat", password="tea")] * 4)
        assert [code_of(peer) for _ in range(4)] == ["wrong-password"] * 4
    with pytest.raises(TooManyAttemptsError) as caught:
        Bot(*address, password=RIGHT).connect()
    assert 0 < caught.value.seconds <= 2
