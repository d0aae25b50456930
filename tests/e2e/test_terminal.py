"""The chat on a real terminal: a pty, and a screen that shows what a person would see."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from pathlib import Path

import pytest

from tests.client.support import eventually, paper_server
from tests.e2e.support import Client, Server
from tests.e2e.terminal_support import CHAT, RestartedServer, Terminal


def chat(port: int, *options: str, name: str = "Michael", key: str = "", **more: int) -> Terminal:
    return Terminal(*CHAT, f"127.0.0.1:{port}", f"--name={name}", f"--key={key}", *options, **more)


def test_the_papers_dialogue() -> None:
    """Figure 2, and what follows it."""
    with (
        Server("--no-roster") as server,
        Terminal(*CHAT) as michael,
        Client(server.port, "Venkat") as venkat,
        Client(server.port, "Narayan") as narayan,
    ):
        for question, answer in (
            ("Username:", "Michael"),
            ("Enter Server IP:", f"127.0.0.1:{server.port}"),
            ("Encryption Key:", "1024"),
        ):
            michael.ends_with(question)
            michael.type(f"{answer}\r")
        michael.shows("You >>")
        server.expect("username: Michael")
        venkat.send("Olf(")
        michael.shows("Venkat > He_!")
        narayan.send("Olssv'Uhyh\x80hu(")
        michael.shows("Narayan > Hello Narayan!")
        michael.type("Hey Guys!\r")
        assert venkat.read_until("Michael", "Ol\x80'N|\x80z(") == [("Narayan", "Olssv'Uhyh\x80hu(")]
        michael.ends_with(
            "Welcome To the Chat Room !",
            "Username: Michael",
            f"Enter Server IP: 127.0.0.1:{server.port}",
            "Encryption Key: 1024",
            "Connected to the Server: 127.0.0.1",
            "Venkat > He_!",
            "Narayan > Hello Narayan!",
            "You >> Hey Guys!",
            "You >>",
        )
        michael.type("/quit\r")
        assert michael.wait() == 0


@pytest.mark.parametrize("columns", [80, 24])
def test_a_half_typed_line_survives_incoming_messages(columns: int) -> None:
    with (
        Server("--no-roster") as server,
        Client(server.port, "Venkat") as venkat,
        chat(server.port, columns=columns) as michael,
    ):
        michael.shows("You >>")
        server.expect("username: Michael")
        michael.type("a line that is half ty")
        michael.until(lambda: "half ty" in "".join(michael.lines), "the half-typed line")
        for number in range(50):
            venkat.send(f"message {number}")
        michael.shows("Venkat > message 49")
        michael.until(lambda: "".join(michael.lines).endswith("a line that is half ty"), "the line")
        michael.type("ped\r")
        venkat.read_until("Michael", "a line that is half typed")
        shown = [line for line in michael.lines if line.startswith("Venkat > ")]
        last = len(shown)
        assert shown == [f"Venkat > message {number}" for number in range(50 - last, 50)]


def test_typing_in_the_middle_of_a_flood() -> None:
    with (
        Server("--no-roster") as server,
        Client(server.port, "Venkat") as venkat,
        chat(server.port) as michael,
    ):
        michael.shows("You >>")
        server.expect("username: Michael")
        text = "every key arrives, and in its place"
        for number, key in enumerate(text):
            for _ in range(20):
                venkat.send(f"{number} flood")
            michael.type(key)
            michael.shows(f"Venkat > {number} flood")
        michael.until(lambda: michael.lines[-1] == f"You >> {text}", "the line")
        assert {line for line in michael.lines[:-1] if not line.startswith("Venkat > ")} == set()
        michael.type("\r")
        venkat.read_until("Michael", text)


def test_a_wrong_key_gives_the_papers_figure_5() -> None:
    with (
        Server("--no-roster") as server,
        Client(server.port, "MICHAEL") as michael,
        chat(server.port, name="NARAYAN", key="1010") as narayan,
    ):
        narayan.shows("You >>")
        server.expect("username: NARAYAN")
        michael.send("Ol\x80'N|\x80z('Ov~'hyl'\x80v|'mllspun'{vkh\x80F")
        narayan.ends_with("MICHAEL > Mj~%Lz~x&%Mt|%fwj%~tz%kjjqnsl%ytif~D", "You >>")


def test_escape_sequences_do_nothing() -> None:
    hostile = "\x1b[2J\x1b[H\x1b]0;title\x07\x9b31m\rYou >> \x1b[?1049h\n\u202eevil\x08\x08"
    with (
        Server("--no-roster") as server,
        Client(server.port, "Venkat") as venkat,
        chat(server.port, key="1024") as michael,
    ):
        michael.shows("You >>")
        server.expect("username: Michael")
        michael.type("half")
        # Encrypted, so that it only becomes what it is when it is decrypted; and in the clear.
        venkat.send("".join(chr(ord(character) + 7) for character in hostile))
        michael.shows("Venkat > \\x1b[2J\\x1b[H\\x1b]0;title\\x07\\x9b31m\\rYou >> \\x1b[?1049h\\n\\u202ee")
        michael.shows("You >> half")
        assert michael.lines[0] == "Connected to the Server: 127.0.0.1"
        assert michael.screen.title == ""
        assert "evil\\x08\\x08" in "".join(michael.lines)


def test_a_server_that_is_killed_and_comes_back() -> None:
    with Server("--no-roster") as server, chat(server.port) as michael:
        michael.shows("You >>")
        server.expect("username: Michael")
        michael.type("half a l")
        michael.shows("You >> half a l")
        server.process.kill()
        server.process.wait()
        michael.shows("Connection lost: ")
        michael.ends_with("You >> half a l")
        michael.type("ine\r")
        michael.shows("Not connected now: this is kept, and sent when the server is back.")
        michael.type("and another\r")
        with RestartedServer(server.port) as again:
            stdout = again.process.stdout
            assert stdout is not None
            michael.until(lambda: michael.text.count("Connected to the Server") == 2, "that it is back")
            assert b"username: Michael" in stdout.readline()
            assert stdout.readline() == b"Received message from Michael: half a line\n"
            assert stdout.readline() == b"Received message from Michael: and another\n"


def test_someone_who_is_kicked_is_told() -> None:
    with Server() as server, chat(server.port) as michael:
        michael.shows("You >>")
        server.expect("username: Michael")
        server.type("/kick Michael")
        michael.shows("Server > The operator has removed you from this chat.")
        michael.shows("Connection lost: closed by the server")


@pytest.mark.parametrize(("keys", "status"), [("\x03", 0), ("half\x03\x03", 0), ("\x04", 0), ("/quit\r", 0)])
def test_leaving_leaves_the_terminal_as_it_was(keys: str, status: int) -> None:
    with Server() as server:
        command = f"{' '.join(CHAT)} 127.0.0.1:{server.port} --name=M --key= ; echo status $? ; stty -a"
        with Terminal("/bin/sh", "-c", command) as terminal:
            terminal.shows("You >>")
            terminal.type(keys)
            assert terminal.wait() == 0
            assert f"status {status}" in terminal.text
            words = terminal.text.replace(";", " ").split()
            assert "icanon" in words and "echo" in words and "isig" in words


def test_a_polite_kill_leaves_the_terminal_as_it_was() -> None:
    with Server() as server:
        command = f"{' '.join(CHAT)} 127.0.0.1:{server.port} --name=M --key= ; echo status $? ; stty -a"
        with Terminal("/bin/sh", "-c", command) as terminal:
            terminal.shows("You >>")
            child = Path(f"/proc/{terminal.pid}/task/{terminal.pid}/children").read_text().split()[0]
            os.kill(int(child), signal.SIGTERM)
            assert terminal.wait() == 0
            assert f"status {128 + signal.SIGTERM}" in terminal.text
            words = terminal.text.replace(";", " ").split()
            assert "icanon" in words and "echo" in words


def test_interrupted_while_nobody_answers() -> None:
    with socket.socket() as silent, contextlib.ExitStack() as fill:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        for _ in range(3):  # the backlog is full: further SYNs are dropped
            sock = fill.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(silent.getsockname())
        with Terminal(*CHAT, f"127.0.0.1:{silent.getsockname()[1]}", "--name=M") as terminal:
            terminal.ends_with("Encryption Key:")
            terminal.type("\r")
            terminal.until(lambda: terminal.screen.cursor.y == 2, "the line after it")
            # One that comes while the question still has the terminal is a key, and not a signal; one that
            # comes when Python is nearly gone ends it as any signal does.
            terminal.until(lambda: terminal.type("\x03") or terminal.ended, "the end")
            assert terminal.wait() in {130, -signal.SIGINT}
            assert "Traceback" not in terminal.text


def test_a_paste_of_several_lines_is_one_message() -> None:
    with (
        Server("--no-roster") as server,
        Client(server.port, "Venkat") as venkat,
        chat(server.port) as michael,
    ):
        michael.shows("You >>")
        server.expect("username: Michael")
        michael.type("see: \x1b[200~one\rtwo\r\x1b[201~")
        michael.shows("two")
        michael.type("\r")
        assert venkat.read_pair() == ("Michael", "see: one\ntwo")


def test_names_are_completed() -> None:
    with Server() as server, Client(server.port, "Venkat"), chat(server.port) as michael:
        michael.shows("Server > Users online (2): Michael, Venkat")
        michael.type("hello Ve\t")
        michael.ends_with("You >> hello Venkat")
        michael.type("\x03/u\t")
        michael.ends_with("You >> /users")


def test_between_two_people_with_wide_names() -> None:
    with (
        Server() as server,
        chat(server.port, name="Zo\u00eb \u65e5\u672c", columns=30) as zoe,
        chat(server.port, name="\u039d\u03b1\u03c1\u03ac\u03b3\u03b9\u03b1\u03bd") as narayan,
    ):
        for terminal in (zoe, narayan):
            terminal.shows("(2):")
        zoe.type("\u65e5\u672c\u8a9e " * 5 + "half")
        narayan.type("hey\r")
        zoe.until(lambda: any(line.endswith("> hey") for line in zoe.lines), "the message")
        zoe.until(lambda: zoe.lines[-1].endswith("half"), "the half-typed line")
        zoe.type(" whole\r")
        narayan.shows("half whole")


def test_the_papers_server() -> None:
    with paper_server() as server, chat(server.port, key="1024") as michael:
        michael.shows("You >>")
        with Terminal(*CHAT, f"127.0.0.1:{server.port}", "--name=Narayan", "--key=1024") as narayan:
            narayan.shows("You >>")
            eventually(lambda: len(server.lines) == 2)
            narayan.type("Hello Venkat! My Name is Narayan.\r")
            michael.ends_with("Narayan > Hello Venkat! My Name is Narayan.", "You >>")
            michael.type("/users\r")
            michael.shows("Heard so far, as this server sends no list: Narayan")
            narayan.type("\x04")
            assert narayan.wait() == 0


def test_nothing_asks_for_the_cursors_position() -> None:
    """A terminal that does not answer must not be waited for; the answer would show up as typed text."""
    with Server() as server, chat(server.port) as michael:
        asked = []
        michael.screen.report_device_status = lambda *a, **_: asked.append(a)  # type: ignore[method-assign]
        michael.shows("You >>")
        server.expect("username: Michael")
        server.type("hello")
        michael.shows("Server > hello")
        assert asked == []
