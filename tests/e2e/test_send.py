"""``selchat send`` as a real process."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys

import pytest

from tests.client.support import eventually, frame, paper_server
from tests.e2e.support import DEADLINE, Client, Server
from tests.e2e.terminal_support import CHAT, SEND, Terminal, run


def test_send_sends_one_message() -> None:
    with Server() as server:
        got = run(*SEND, f"127.0.0.1:{server.port}", "Hello World!", "--name=Michael")
        assert (got.returncode, got.stdout, got.stderr) == (0, b"", b"")
        server.expect_line("Received message from Michael: Hello World!")


def test_send_lines_with_a_key() -> None:
    with Server() as server, Client(server.port, "Venkat") as venkat:
        server.expect("username: Venkat")
        got = run(
            *SEND,
            "127.0.0.1",
            f"--port={server.port}",
            "--name=Narayan",
            "--key=1024",
            input=b"Hello Narayan!\n\n/users\n",
        )
        assert (got.returncode, got.stderr) == (0, b"")
        venkat.read_until("Narayan", "Olssv'Uhyh\x80hu(")
        venkat.read_until("Narayan", "6|zlyz")


def test_the_default_name_is_the_login_name() -> None:
    with Server() as server:
        environment = {**os.environ, "LOGNAME": "rishabh"}
        subprocess.run([*SEND, f"127.0.0.1:{server.port}", "hey"], env=environment, check=True)
        server.expect_line("Received message from rishabh: hey")


@pytest.mark.parametrize(
    "command", [(*SEND, "127.0.0.1:1", "hey"), (*SEND, "127.0.0.1:1", "--classic"), (*CHAT, "127.0.0.1:1")]
)
def test_without_a_login_name_the_client_asks_for_the_option(command: tuple[str, ...]) -> None:
    environment = {**os.environ, "LOGNAME": "\u200b"}  # as a container without a user has none
    got = subprocess.run(command, input=b"hey\n", env=environment, capture_output=True, check=False)
    assert (got.returncode, got.stdout) == (2, b"")
    assert (
        got.stderr == b"selchat: your login name on this machine is unknown: give a name with --name=NAME\n"
    )


def test_a_large_input_arrives_whole() -> None:
    lines = b"".join(b"%d\n" % number for number in range(5_000))
    with Server("--quiet") as server, Client(server.port, "Reader") as reader:
        process = subprocess.Popen([*SEND, f"127.0.0.1:{server.port}", "--name=S"], stdin=subprocess.PIPE)
        expected = b"".join(frame("S") + frame(str(number)) for number in range(5_000))
        got = b""
        assert process.stdin is not None
        process.stdin.write(lines)
        process.stdin.close()
        while len(got) < len(expected):
            user, body = reader.read_frame(), reader.read_frame()
            if user != "Server":
                got += frame(user) + frame(body)
        assert got == expected
        assert process.wait(DEADLINE) == 0


@pytest.mark.parametrize(
    ("arguments", "status", "error"),
    [
        (
            ["127.0.0.1:1", "hey"],
            1,
            "cannot connect to 127.0.0.1:1: connection refused; is the server running",
        ),
        (["127.0.0.1", "hey", "--key=x"], 2, "--key: 'x' is not a number in digits 0 to 9"),
        (["127.0.0.1", "hey", "--port=0"], 2, "--port: 0 is not a port number from 1 to 65535"),
        (["127.0.0.1", "hey", "--port=x"], 2, "--port: 'x' is not a whole number"),
        (["127.0.0.1", "hey", "--header-length=5000"], 2, "--header-length: 5000 is not"),
        (["127.0.0.1:x", "hey"], 2, "HOST: '127.0.0.1:x' is not a host, HOST:PORT or [IPv6]:PORT"),
        (["127.0.0.1", ""], 2, "MESSAGE: '' is not a message"),
        (["127.0.0.1", "x" * 70000], 1, "not sent: it takes 70065 bytes, and the limit is 65536"),
        ([], 2, "HOST is missing"),
    ],
)
def test_errors_are_one_line(arguments: list[str], status: int, error: str) -> None:
    got = run(*SEND, *arguments)
    assert got.returncode == status
    assert got.stdout == b""
    assert got.stderr.decode().startswith(f"selchat: {error}")
    assert got.stderr.count(b"\n") == 1


def test_a_full_server_is_reported() -> None:
    with Server("--max-clients=1") as server, Client(server.port, "Only"):
        server.expect("username: Only")
        got = run(*SEND, f"127.0.0.1:{server.port}", "hey")
        assert got.returncode == 1
        assert got.stderr == b"selchat: the server is full; 1 message was not acknowledged\n"


def test_send_survives_a_killed_server() -> None:
    with Server() as server:
        process = subprocess.Popen(
            [*SEND, f"127.0.0.1:{server.port}", "--name=S"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdin and process.stderr
        process.stdin.write(b"one\n")
        process.stdin.flush()
        server.expect_line("Received message from S: one")
        server.process.kill()
        server.process.wait()
        assert process.stderr.readline().startswith(b"selchat: Connection lost: ")
        process.stdin.write(b"two\n")
        process.stdin.close()
        with Server(port=server.port) as again:
            assert process.wait(DEADLINE) == 0
            again.expect(r"username: S\nReceived message from S: two\n")
        process.stderr.close()


def test_sigint_exits_with_130() -> None:
    with Server() as server:
        process = subprocess.Popen(
            [*SEND, f"127.0.0.1:{server.port}", "--name=S"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        server.expect("username: S")
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) == 130
        assert process.stderr.read() == b""  # type: ignore[union-attr]
        process.stdin.close()  # type: ignore[union-attr]
        process.stderr.close()  # type: ignore[union-attr]


@pytest.mark.usefixtures("short_guesses")
def test_send_to_a_classic_server() -> None:
    with paper_server() as server:
        got = run(*SEND, f"127.0.0.1:{server.port}", "--name=Michael", input=b"one\ntwo\n")
        assert got.returncode == 0
        assert got.stderr.startswith(b"selchat: NOT ENCRYPTED: the server has no TLS")
        eventually(lambda: len(server.lines) == 6)
        # A classic server takes the hello for a name.
        assert server.lines[0].startswith('Accepted new connection, username: {"type":"hello","version":1,')
        assert [line for line in server.lines if "hello" not in line] == [
            "Accepted new connection, username: Michael",
            "Received message from Michael: one",
            "Received message from Michael: two",
            "Closed connection, username: Michael",
        ]


@pytest.mark.usefixtures("short_guesses")
def test_progress_is_shown_on_a_terminal() -> None:
    # A listener that never accepts: the client can write everything, and no one closes.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with Terminal(*SEND, f"127.0.0.1:{port}", "hey", "--name=S") as terminal:
            terminal.shows("Waiting for the server to receive everything...")
            assert terminal.wait() == 0


def test_the_command_line_does_not_import_prompt_toolkit() -> None:
    code = "import sys, selchat.cli; sys.exit('prompt_toolkit' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_message_may_begin_with_a_dash(place: str) -> None:
    with Server() as server:
        target = f"127.0.0.1:{server.port}"
        words = ["--", target, "-x"] if place == "before" else [target, "--", "-x"]
        assert run(*SEND, "--name=ci", *words).returncode == 0
        server.expect_line("Received message from ci: -x")


# -- without a network -----------------------------------------------------------------------------------

_NO_NETWORK = ("unshare", "--user", "--map-root-user", "--net")


@pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run([*_NO_NETWORK, "true"], capture_output=True).returncode != 0,
    reason="needs network namespaces (unshare)",
)
@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("10.0.0.1", "network is unreachable; is this machine on that network?"),
        ("2001:db8::1", "; is this machine on that network?"),
        ("fe80::1", "fe80::1 is a link-local address: add the network interface, for example fe80::1%eth0"),
        ("127.0.0.1", "network is unreachable; is this machine on that network?"),
        ("nobody.example", "no such host"),
        ("a" * 64 + ".example", "no such host"),
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        (*SEND, "{}", "hi", "--name=x"),
        (*SEND, "{}", "--name=x"),
        (*SEND, "{}", "hi", "--name=x", "--classic"),
        (*CHAT, "{}", "--plain", "--name=x"),
    ],
    ids=["message", "lines", "classic", "chat"],
)
def test_without_a_network_the_client_says_why_and_exits_with_1(
    host: str, reason: str, command: tuple[str, ...]
) -> None:
    words = [word.format(host) for word in command]
    got = run(*_NO_NETWORK, sys.executable, *words[1:], input=b"one\ntwo\n")
    assert (got.returncode, got.stdout) == (1, b"")
    errors = got.stderr.decode()
    assert errors.startswith("selchat: cannot connect to ")
    assert reason in errors
    assert errors.count("\n") == 1
