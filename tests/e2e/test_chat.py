"""Plain chat as a real process, on pipes and on a terminal."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.client.support import eventually, paper_server
from tests.e2e.support import DEADLINE, Client, Server
from tests.e2e.terminal_support import CHAT, Terminal, run


class Piped:
    """A chat on pipes."""

    def __init__(self, port: int, *options: str) -> None:
        self.process = subprocess.Popen(
            [*CHAT, f"127.0.0.1:{port}", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdin and self.process.stdout and self.process.stderr
        self.stdin, self.stdout, self.stderr = self.process.stdin, self.process.stdout, self.process.stderr

    def type(self, text: str) -> None:
        self.stdin.write(text.encode())
        self.stdin.flush()

    def line(self) -> str:
        return self.stdout.readline().decode()

    def message(self) -> str:
        """Return the next line that is not a list of users."""
        while (line := self.line()).startswith("Server > Users online"):
            pass
        return line

    def status(self) -> str:
        return self.stderr.readline().decode()

    def end(self) -> int:
        self.stdin.close()
        return self.process.wait(DEADLINE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.stdin, self.stdout, self.stderr):
            stream.close()


@contextmanager
def piped(port: int, *options: str) -> Iterator[Piped]:
    chat = Piped(port, *options)
    try:
        yield chat
    finally:
        chat.close()


def wait_for_users(server: Server, count: int) -> None:
    """Wait until ``count`` more users have joined."""
    for _ in range(count):
        server.expect(r"Accepted new connection from \S+, username: ")


def test_three_users_and_the_operator_talk() -> None:
    with (
        Server("--no-roster") as server,
        piped(server.port, "--name=Michael") as michael,
        piped(server.port, "--name=Venkat") as venkat,
        Client(server.port, "Narayan") as narayan,
    ):
        wait_for_users(server, 3)
        venkat.type("Hey! Please Introduce yourself...\n")
        assert michael.line() == "Venkat > Hey! Please Introduce yourself...\n"
        assert narayan.read_pair() == ("Venkat", "Hey! Please Introduce yourself...")
        narayan.send("Hello Venkat!\x1b[2J")
        assert michael.line() == venkat.line() == "Narayan > Hello Venkat!\\x1b[2J\n"
        server.type("Good morning")
        assert michael.line() == venkat.line() == "Server > Good morning\n"
        assert (michael.end(), venkat.end()) == (0, 0)
        assert (michael.stdout.read(), venkat.stdout.read()) == (b"", b"")
        assert michael.stderr.read() == b"Connected to the Server: 127.0.0.1\n"


def test_the_end_of_the_input_exits_with_0() -> None:
    with Server() as server:
        got = run(*CHAT, f"127.0.0.1:{server.port}", "--name=M", input=b"one\ntwo")
        assert got.returncode == 0
        assert b"\x1b" not in got.stdout + got.stderr
        server.expect_line("Received message from M: one")
        server.expect_line("Received message from M: two")


def test_clients_with_a_key_understand_servers_with_and_without_one() -> None:
    for options in ((), ("--key=1024",)):
        with (
            Server("--no-roster", *options) as server,
            piped(server.port, "--name=A", "--key=1024") as a,
            piped(server.port, "--name=B", "--key=1024") as b,
            Client(server.port, "C") as classic,
        ):
            wait_for_users(server, 3)
            b.type("Hello\n")
            assert a.line() == "B > Hello\n"
            assert classic.read_pair() == ("B", "Olssv")
            classic.send("Olssv")
            assert a.line() == b.line() == "C > Hello\n"
            server.type("Good morning")
            assert a.line() == b.line() == "Server > Good morning\n"
            server.expect("Received message from B: Olssv")


def test_messages_go_to_their_room_or_recipient() -> None:
    with (
        Server() as server,
        piped(server.port, "--name=A") as a,
        piped(server.port, "--name=B") as b,
    ):
        wait_for_users(server, 2)
        for chat in (a, b):
            assert chat.status().startswith("Connected")
            chat.type("/join engine-room\n")
            while not chat.status().startswith("You are in engine-room"):
                pass
        a.type("in here\n/join lobby\nout there\n/msg B psst\n/me waves\n")
        lines = [b.line() for _ in range(4)]  # each room in order, but the rooms in any order
        assert [line for line in lines if line in {"A > out there\n", "* A waves\n"}] == [
            "A > out there\n",
            "* A waves\n",
        ]
        assert {"[engine-room] A > in here\n", "A whispers > psst\n"} < set(lines)
        b.type("/topic tea\n/history 1\n")
        while b.status() != "[engine-room] B set the topic: tea\n":
            pass
        a.type("/rooms\n")
        while a.status() != "engine-room (2): tea\n":
            pass
        assert (a.end(), b.end()) == (0, 0)


def test_a_direct_message_waits_for_an_absent_user() -> None:
    with Server() as server:
        address = f"127.0.0.1:{server.port}"
        assert run(*CHAT, address, "--name=B").returncode == 0
        assert run(*CHAT, address, "--name=A", input=b"/msg B psst\n").returncode == 0
        with piped(server.port, "--name=B") as b:
            assert b.line() == "A whispers > psst\n"
        assert run(*CHAT, address, "--name=C", input=b"/msg Nobody psst\n").returncode == 1


def test_a_name_belongs_to_its_first_user(tmp_path: Path) -> None:
    with Server() as server:
        command = [*CHAT, f"127.0.0.1:{server.port}", "--name=A"]
        assert run(*command, input=b"mine\n").returncode == 0
        other = {**os.environ, "XDG_DATA_HOME": str(tmp_path)}
        got = subprocess.run(command, input=b"mine\n", env=other, capture_output=True, check=False)
        new, _check, _key, refused = got.stderr.decode().splitlines()
        assert new == f"First connection to 127.0.0.1:{server.port}."
        assert (got.returncode, refused) == (
            1,
            "selchat: the server said: the name A is taken; choose another name with --name=NAME",
        )


def test_a_wrong_key_shows_figure_5_of_the_paper() -> None:
    with (
        Server("--no-roster") as server,
        piped(server.port, "--name=NARAYAN", "--key=1010") as narayan,
        piped(server.port, "--name=MICHAEL", "--key=1024") as michael,
    ):
        wait_for_users(server, 2)
        michael.type("Hey Guys! How are you feeling today?\n")
        assert narayan.line() == "MICHAEL > Mj~%Lz~x&%Mt|%fwj%~tz%kjjqnsl%ytif~D\n"


def test_the_chat_survives_a_killed_server() -> None:
    with Server("--no-roster") as server, piped(server.port, "--name=M") as chat:
        assert chat.status() == "Connected to the Server: 127.0.0.1\n"
        server.expect("username: M")
        server.process.kill()
        server.process.wait()
        assert chat.status().startswith("Connection lost: ")
        chat.type("typed during the outage\n")
        with Server(port=server.port) as again:
            again.expect(r"username: M\nReceived message from M: typed during the outage\n")
            assert chat.end() == 0
        assert "Connected to the Server: 127.0.0.1\n" in chat.stderr.read().decode()


def test_sigint_exits_with_130() -> None:
    with Server() as server, piped(server.port, "--name=M") as chat:
        assert chat.status().startswith("Connected")
        chat.process.send_signal(signal.SIGINT)
        assert chat.process.wait(DEADLINE) == 130
        assert chat.stderr.read() == b""


@pytest.mark.usefixtures("short_guesses")
@pytest.mark.slow
def test_users_chat_on_a_classic_server() -> None:
    with (
        paper_server() as server,
        piped(server.port, "--name=Michael", "--key=1024") as michael,
        piped(server.port, "--name=Narayan", "--key=1024") as narayan,
    ):
        for chat in (michael, narayan):
            assert chat.status().startswith("NOT ENCRYPTED")
            assert chat.status().startswith("Connected")
        eventually(lambda: len(server.lines) == 6)  # each client first tries the selchat protocol
        narayan.type("Hello Venkat! My Name is Narayan.\n/users\n")
        assert michael.line() == "Narayan > Hello Venkat! My Name is Narayan.\n"
        assert narayan.status().startswith("No users are known yet")
        michael.type("Hey Guys! This is Michael here.\n/users\n")
        assert narayan.line() == "Michael > Hey Guys! This is Michael here.\n"
        assert michael.status() == "This server sends no list of users. Seen so far: Narayan\n"
        assert (michael.end(), narayan.end()) == (0, 0)
        assert "Received message from Michael: Ol\x80'N|\x80z('[opz'pz'Tpjohls'olyl5" in server.lines


@pytest.mark.parametrize(
    ("arguments", "status", "error"),
    [
        ([], 2, "HOST is required when standard input is not a terminal"),
        (
            ["127.0.0.1:1"],
            1,
            "cannot connect to 127.0.0.1:1: connection refused; is the server running there?",
        ),
        (["127.0.0.1", "--key=1O"], 2, "--key: '1O' is not a number in digits 0 to 9"),
        (["127.0.0.1", "--nope"], 2, "unknown option --nope"),
        (["a", "b"], 2, "unexpected argument 'b'"),
    ],
)
def test_errors_are_one_line(arguments: list[str], status: int, error: str) -> None:
    got = run(*CHAT, *arguments)
    assert (got.returncode, got.stdout) == (status, b"")
    assert got.stderr.decode().startswith(f"selchat: {error}")
    assert got.stderr.count(b"\n") == 1


def test_help_is_printed() -> None:
    got = run(*CHAT, "--help")
    assert got.returncode == 0
    assert b"Exit status" in got.stdout


# -- plain on a terminal -------------------------------------------------------------------------------


def test_the_dialogue_in_plain_mode() -> None:
    with (
        Server() as server,
        Client(server.port, "Venkat") as venkat,
        Terminal(*CHAT, "--plain") as terminal,
    ):
        for question, answer in (
            ("Username: ", "Michael"),
            ("Enter Server IP: ", f"127.0.0.1:{server.port}"),
            ("Encryption Key: ", "12a"),
        ):
            terminal.shows(question.rstrip())
            terminal.type(f"{answer}\r")
        terminal.ends_with("'12a' is not a number in digits 0 to 9.", "Encryption Key:")
        terminal.type("\r")
        terminal.shows("Connected to the Server: 127.0.0.1")
        assert terminal.lines[:6] == [
            "Welcome To the Chat Room !",
            "Username: Michael",
            f"Enter Server IP: 127.0.0.1:{server.port}",
            "Encryption Key: 12a",
            "'12a' is not a number in digits 0 to 9.",
            "Encryption Key:",
        ]
        terminal.type("Hello\r")
        venkat.read_until("Michael", "Hello")
        venkat.send("Hey!")
        terminal.shows("Venkat > Hey!")
        terminal.type("/quit\r")
        assert terminal.wait() == 0


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize(("keys", "status"), [("\x04", 1), ("\x03", 130)])
def test_leaving_at_a_question(plain: bool, keys: str, status: int) -> None:
    with Terminal(*CHAT, *(["--plain"] if plain else [])) as terminal:
        terminal.shows("Username:")
        terminal.type(keys)
        assert terminal.wait() == status
        assert "Traceback" not in terminal.text


def test_questions_go_to_stderr_if_stdout_is_no_terminal(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with Server() as server:
        command = f"{' '.join(CHAT)} 127.0.0.1:{server.port} --key= > {out}"
        with Terminal("/bin/sh", "-c", command) as terminal:
            terminal.shows("Username:")
            terminal.type("Michael\r")
            terminal.shows("Connected to the Server")
            server.expect("username: Michael")
            server.type("Good morning")
            eventually(lambda: "Server > Good morning\n" in out.read_text())
            terminal.type("\x04")
            assert terminal.wait() == 0
        assert "Username" not in out.read_text()


def test_closed_standard_descriptors_are_accepted() -> None:
    with Server() as server:
        command = f"exec {' '.join(CHAT)} 127.0.0.1:{server.port} --name=M <&- >&- 2>&-"
        assert subprocess.run(["/bin/sh", "-c", command], timeout=DEADLINE * 2, check=False).returncode == 0
        server.expect("username: M")
