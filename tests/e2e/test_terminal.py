"""The chat as a process on a pty, with a pyte screen that shows its output."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.client.support import eventually, paper_server
from tests.e2e.support import Client, Server
from tests.e2e.terminal_support import CHAT, Terminal


def chat(port: int, *options: str, name: str = "Michael", key: str = "", **more: Any) -> Terminal:
    return Terminal(*CHAT, f"127.0.0.1:{port}", f"--name={name}", f"--key={key}", *options, **more)


def other_account(path: Path) -> dict[str, str]:
    """Return the environment of another user's account."""
    return {"XDG_DATA_HOME": str(path)}


def chat_lines(terminal: Terminal) -> list[str]:
    """Return the lines on the screen without times, and without joins and leaves."""
    lines = [re.sub(r"^(\d{4}-\d\d-\d\d )?\d\d:\d\d ", "", line) for line in terminal.lines]
    return [line for line in lines if not re.search(r" (joined|left) \(\d here\)$", line)]


def ends_with(terminal: Terminal, *lines: str) -> None:
    """Wait until these are the last lines on the screen, as `chat_lines` returns them."""
    terminal.until(lambda: chat_lines(terminal)[-len(lines) :] == list(lines), repr(lines))


def test_prompts_match_the_dialogue_of_the_paper() -> None:
    """Figure 2 of the paper."""
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
        figure = [
            "Welcome To the Chat Room !",
            "Username: Michael",
            f"Enter Server IP: 127.0.0.1:{server.port}",
            "Encryption Key: 1024",
            "Connected to the Server: 127.0.0.1",
            "Venkat > He_!",
            "Narayan > Hello Narayan!",
            "You >> Hey Guys!",
            "You >>",
        ]
        michael.until(
            lambda: (
                [line for line in chat_lines(michael) if not line.startswith("You are in lobby (")] == figure
            ),
            "the figure",
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


def test_typing_during_a_flood() -> None:
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


def test_a_wrong_key_shows_figure_5_of_the_paper() -> None:
    with (
        Server("--no-roster") as server,
        Client(server.port, "MICHAEL") as michael,
        chat(server.port, name="NARAYAN", key="1010") as narayan,
    ):
        narayan.shows("You >>")
        server.expect("username: NARAYAN")
        michael.send("Ol\x80'N|\x80z('Ov~'hyl'\x80v|'mllspun'{vkh\x80F")
        narayan.ends_with("MICHAEL > Mj~%Lz~x&%Mt|%fwj%~tz%kjjqnsl%ytif~D", "You >>")


def test_escape_sequences_have_no_effect() -> None:
    hostile = "\x1b[2J\x1b[H\x1b]0;title\x07\x9b31m\rYou >> \x1b[?1049h\n\u202eevil\x08\x08"
    with (
        Server("--no-roster") as server,
        Client(server.port, "Venkat") as venkat,
        chat(server.port, key="1024") as michael,
    ):
        michael.shows("You >>")
        server.expect("username: Michael")
        michael.type("half")
        # Encrypted: the client finds the sequences only after decryption.
        venkat.send("".join(chr(ord(character) + 7) for character in hostile))
        michael.shows("Venkat > \\x1b[2J\\x1b[H\\x1b]0;title\\x07\\x9b31m\\rYou >> \\x1b[?1049h\\n\\u202ee")
        michael.shows("You >> half")
        assert michael.lines[0] == "Connected to the Server: 127.0.0.1"
        assert michael.screen.title == ""
        assert "evil\\x08\\x08" in "".join(michael.lines)


def test_a_kicked_user_sees_the_reason() -> None:
    with Server() as server, chat(server.port) as michael:
        michael.shows("You >>")
        server.expect("username: Michael")
        server.type("/kick Michael")
        michael.ends_with("selchat: the operator has removed you")
        assert michael.wait() == 1


def test_leaving_restores_the_terminal() -> None:
    with Server() as server:
        command = f"{' '.join(CHAT)} 127.0.0.1:{server.port} --name=M --key= ; echo status $? ; stty -a"
        for keys in ("\x03", "half\x03\x03", "\x04", "/quit\r", signal.SIGTERM):
            with Terminal("/bin/sh", "-c", command) as terminal:
                terminal.shows("You >>")
                if isinstance(keys, str):
                    terminal.type(keys)
                else:
                    child = Path(f"/proc/{terminal.pid}/task/{terminal.pid}/children").read_text().split()[0]
                    os.kill(int(child), keys)
                assert terminal.wait() == 0
                status = {"\x04": 0, "/quit\r": 0, signal.SIGTERM: 128 + signal.SIGTERM}.get(keys, 130)
                assert f"status {status}\n" in terminal.text, keys
                words = terminal.text.replace(";", " ").split()
                assert "icanon" in words and "echo" in words and "isig" in words, keys


def test_ctrl_c_ends_a_pending_connection_attempt() -> None:
    with socket.socket() as silent, contextlib.ExitStack() as fill:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        for _ in range(3):  # with a full backlog, the kernel drops further SYNs
            sock = fill.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(silent.getsockname())
        with Terminal(*CHAT, "--name=M") as terminal:
            terminal.ends_with("Enter Server IP:")
            terminal.type(f"127.0.0.1:{silent.getsockname()[1]}\r")
            terminal.ends_with("Encryption Key:")
            terminal.type("\r")
            terminal.until(lambda: terminal.screen.cursor.y == 3, "the line after it")
            # During the question, Ctrl-C is a key and not a signal. At the very end of Python, it ends the
            # process like any signal.
            while not terminal.ended:
                terminal.type("\x03")
                soon = time.monotonic() + 0.05  # the repeat rate of a key that is held down
                terminal.until(lambda: terminal.ended or time.monotonic() > soon, "the next key")  # noqa: B023
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


def test_tab_completes_names_and_commands() -> None:
    with Server() as server, Client(server.port, "Venkat"), chat(server.port) as michael:
        michael.shows("You are in lobby (2 here): Michael, Venkat")
        michael.type("hello Ve\t")
        michael.ends_with("You >> hello Venkat")
        michael.type("\x03")
        michael.ends_with("You >>")
        michael.type("hello ve\t")
        michael.shows("You >> hello Venkat")
        michael.type("\x03")
        michael.ends_with("You >>")
        michael.type("/us\t")
        michael.ends_with("You >> /users")


def test_tab_completes_rooms_and_names_with_spaces(tmp_path: Path) -> None:
    with (
        Server() as server,
        chat(server.port, name="Zo\u00eb \u65e5\u672c", environment=other_account(tmp_path)) as zoe,
        chat(server.port) as michael,
    ):
        zoe.shows("You >>")
        zoe.type("/join Engine-Room\r")
        zoe.shows("You in #Engine-Room >>")
        michael.shows("Zo\u00eb \u65e5\u672c")
        michael.type("/JOIN eng\t")
        michael.shows("You >> /JOIN Engine-Room")
        michael.type("\r")
        michael.shows("You are in Engine-Room (2 here): Michael, Zo\u00eb \u65e5\u672c")
        michael.type("/msg zo\t")
        michael.shows('>> /msg "Zo\u00eb \u65e5\u672c"')
        michael.type("tea?\r")
        zoe.shows("Michael whispers > tea?")
        michael.shows("You to Zo\u00eb \u65e5\u672c > tea?")


def test_wide_characters_in_names_and_lines() -> None:
    with (
        Server() as server,
        chat(server.port, name="Zo\u00eb \u65e5\u672c", columns=30) as zoe,
        chat(server.port, name="\u039d\u03b1\u03c1\u03ac\u03b3\u03b9\u03b1\u03bd") as narayan,
    ):
        for terminal in (zoe, narayan):
            terminal.shows("(2 here)")
        zoe.type("\u65e5\u672c\u8a9e " * 5 + "half")
        narayan.type("hey\r")
        zoe.until(lambda: any(line.endswith("> hey") for line in zoe.lines), "the message")
        zoe.until(lambda: zoe.lines[-1].endswith("half"), "the half-typed line")
        zoe.type(" whole\r")
        narayan.shows("half whole")


@pytest.mark.usefixtures("short_guesses")
def test_users_chat_on_a_classic_server() -> None:
    with paper_server() as server, chat(server.port, key="1024") as michael:
        michael.shows("You >>")
        with Terminal(*CHAT, f"127.0.0.1:{server.port}", "--name=Narayan", "--key=1024") as narayan:
            narayan.shows("You >>")
            eventually(lambda: any(line.endswith("username: Narayan") for line in server.lines))
            narayan.type("Hello Venkat! My Name is Narayan.\r")
            michael.ends_with("Narayan > Hello Venkat! My Name is Narayan.", "You >>")
            michael.type("/users\r")
            michael.shows("This server sends no list of users. Seen so far: Narayan")
            narayan.type("\x04")
            assert narayan.wait() == 0


def test_the_client_never_queries_the_cursor_position() -> None:
    """A terminal need not answer, and a late answer would appear as typed text."""
    with Server() as server, chat(server.port) as michael:
        asked = []
        michael.screen.report_device_status = lambda *a, **_: asked.append(a)  # type: ignore[method-assign]
        michael.shows("You >>")
        server.expect("username: Michael")
        server.type("hello")
        michael.shows("Server > hello")
        assert asked == []


# -- the selchat protocol --------------------------------------------------------------------------------


def test_four_users_one_of_them_on_a_classic_client() -> None:
    with (
        Server() as server,
        Client(server.port, "Venkat") as venkat,
        chat(server.port) as michael,
        chat(server.port, name="Narayan", columns=50) as narayan,
    ):
        for terminal in (michael, narayan):
            terminal.shows("(3 here)")
        venkat.send("one for Michael")
        for terminal in (michael, narayan):
            terminal.shows("Venkat > one for Michael")
        michael.type("two\r")
        narayan.shows("Michael > two")
        narayan.type("/me counts to three\r")
        for terminal in (michael, narayan):
            terminal.shows("* Narayan counts to three")
        assert venkat.read_until("Michael", "two")
        assert venkat.read_until("Narayan", "* Narayan counts to three") is not None
        row = next(row for row, line in enumerate(michael.lines) if line == "Venkat > one for Michael")
        bold = {column for column in range(80) if michael.screen.buffer[row][column].bold}
        assert bold == set(range(len("Venkat > one for "), len("Venkat > one for Michael")))
        with chat(server.port, name="Zoe") as zoe:
            zoe.ends_with("You >>")
            before = ("Venkat > one for Michael", "Michael > two", "* Narayan counts to three")
            ends_with(zoe, *before, "You >>")
            assert all(map(zoe.is_dim, (*before, "You are in lobby (4 here)")))
            assert all(
                re.search(rf"^\d\d:\d\d {re.escape(line)}$", zoe.text, re.MULTILINE) for line in before
            )
            michael.type("four\r")
            ends_with(zoe, *before, "Michael > four", "You >>")
            assert not zoe.is_dim("Michael > four")
            michael.shows("Zoe joined (4 here)")
            assert michael.is_dim("Zoe joined (4 here)")


def test_messages_are_pending_while_the_server_is_stopped() -> None:
    with (
        Server() as server,
        Client(server.port, "Venkat") as venkat,
        chat(server.port) as michael,
    ):
        michael.shows("(2 here)")
        server.process.send_signal(signal.SIGSTOP)
        try:
            venkat.send("said before them")
            michael.type("one\rtwo\rhalf")
            michael.ends_with("… one", "… two", "You >> half")
            assert michael.is_dim("… one") and michael.is_dim("… two")
            michael.ends_with("… one", "… two", "(waiting for the server)", "You >> half")
        finally:
            server.process.send_signal(signal.SIGCONT)
        ends_with(michael, "Venkat > said before them", "You >> one", "You >> two", "You >> half")
        assert not michael.is_dim("You >> two")
        assert "…" not in michael.text and "waiting" not in michael.text


def test_chat_can_be_left_while_the_server_is_stopped() -> None:
    with Server() as server, chat(server.port) as michael:
        michael.shows("You are in lobby (1 here)")
        server.process.send_signal(signal.SIGSTOP)
        try:
            michael.type("one\r")
            michael.ends_with("… one", "You >>")
            michael.type("\x04")
            michael.ends_with("Sending; 1 message to go... Press Ctrl-C to quit now.")
            michael.type("\x03")
            assert michael.wait() == 128 + signal.SIGINT
        finally:
            server.process.send_signal(signal.SIGCONT)


def test_the_chat_survives_a_killed_server_with_its_history(tmp_path: Path) -> None:
    history = f"--history={tmp_path / 'history.sqlite'}"
    with (
        Server(history) as server,
        chat(server.port, columns=100, rows=40) as michael,
        chat(server.port, name="Narayan", columns=100, rows=40) as narayan,
    ):
        for terminal in (michael, narayan):
            terminal.shows("(2 here)")
        michael.type("before\r")
        for terminal in (michael, narayan):
            terminal.shows("before")
        michael.type("half a l")
        michael.shows("You >> half a l")
        server.process.kill()
        server.process.wait()
        michael.shows("Connection lost: ")
        michael.ends_with("You >> half a l")
        michael.type("ine\rand another\rhalf")
        narayan.shows("Connection lost: ")
        narayan.type("mine\r")
        michael.ends_with("… half a line", "… and another", "(waiting for the server)", "You >> half")
        narayan.ends_with("… mine", "(waiting for the server)", "You >>")
        with Server(history, port=server.port), Client(server.port, "Venkat") as venkat:
            venkat.send("hello again")
            bodies = ("before", "half a line", "and another", "mine", "hello again")
            for terminal in (michael, narayan):
                terminal.until(
                    lambda: all(map(terminal.text.__contains__, bodies)) and "…" not in terminal.text,  # noqa: B023
                    "all messages",
                )
            michael.ends_with("You >> half")
            michael.type(" is whole now\r")
            for terminal in (michael, narayan):
                terminal.shows("half is whole now")
                shown = [line for line in chat_lines(terminal) if line.endswith((*bodies, "whole now"))]
                assert len(shown) == 6, terminal.text
            orders = [
                [line.rpartition("> ")[2] for line in chat_lines(terminal) if line.endswith(bodies)]
                for terminal in (michael, narayan)
            ]
            assert orders[0] == orders[1]
            assert orders[0].index("half a line") + 1 == orders[0].index("and another")


def test_missed_messages_show_their_time(tmp_path: Path) -> None:
    history = f"--history={tmp_path / 'history.sqlite'}"
    with Server(history) as server, chat(server.port) as michael:
        michael.shows("You >>")
        server.process.kill()
        server.process.wait()
        michael.shows("Connection lost")
        michael.signal(signal.SIGSTOP)
        with Server(history, port=server.port) as again, Client(again.port, "Venkat") as venkat:
            venkat.send("missed")
            again.expect("missed")
            michael.signal(signal.SIGCONT)
            michael.until(lambda: re.search(r"^\d\d:\d\d Venkat > missed$", michael.text, re.M), "it")
            assert not michael.is_dim("Venkat > missed")
            venkat.send("live")
            ends_with(michael, "Venkat > missed", "Venkat > live", "You >>")
            assert "\nVenkat > live" in michael.text


def test_rooms_work_in_the_terminal() -> None:
    with (
        Server() as server,
        Client(server.port, "Venkat") as venkat,
        chat(server.port) as michael,
        chat(server.port, name="Narayan") as narayan,
    ):
        for terminal in (michael, narayan):
            terminal.shows("(3 here)")
        narayan.type("/join engine\roil pressure is fine\r")
        ends_with(narayan, "You in #engine >> oil pressure is fine", "You in #engine >>")
        michael.type("/join engine\r")
        ends_with(
            michael,
            "You are in engine (2 here): Michael, Narayan",
            "Narayan > oil pressure is fine",
            "You in #engine >>",
        )
        assert michael.is_dim("Narayan > oil pressure is fine")
        venkat.send("anyone here?")
        ends_with(michael, "[lobby] Venkat > anyone here?", "You in #engine >>")
        michael.type("yes\r")
        ends_with(narayan, "[lobby] Venkat > anyone here?", "Michael > yes", "You in #engine >>")
        michael.type("/topic oil\r")
        ends_with(narayan, "Michael set the topic: oil", "You in #engine >>")
        michael.type("/rooms\r")
        ends_with(michael, "* lobby   3 here", "* engine  2 here  oil", "You in #engine >>")
        michael.type("/join lobby\r")
        ends_with(michael, "You are in lobby (3 here): Michael, Narayan, Venkat", "You >>")
        michael.type("here\r")
        assert venkat.read_until("Michael", "here") is not None
        narayan.type("still in the engine room\r")
        ends_with(michael, "You >> here", "[engine] Narayan > still in the engine room", "You >>")
        michael.type("/part engine\r")
        ends_with(michael, "You are no longer in engine", "You >>")
        michael.type("/users engine\r")
        ends_with(michael, "Users in engine (1):", "  Narayan", "You >>")
        michael.type("/search HERE\r")
        ends_with(
            michael,
            "Venkat > anyone here?",
            "You >> here",
            "2 messages with HERE among the last 2 messages of lobby",
            "You >>",
        )


def test_a_direct_message_waits_for_an_absent_user(tmp_path: Path) -> None:
    with Server() as server, chat(server.port) as michael:
        michael.shows("You >>")
        with chat(server.port, name="Narayan", environment=other_account(tmp_path)) as narayan:
            narayan.shows("You >>")
            michael.type("/msg narayan tea?\r")
            ends_with(michael, "You to narayan > tea?", "You >>")
            ends_with(narayan, "Michael whispers > tea?", "You >>")
            narayan.type("/quit\r")
            assert narayan.wait() == 0
        michael.type("/msg narayan it is ready\r")
        ends_with(michael, "You to narayan > it is ready", "You >>")
        michael.type("/msg nobody tea?\r")
        refusal = "Not sent (tea?): there is no one named nobody. Type /users to see who is here."
        ends_with(michael, refusal, "You >>")
        with chat(server.port, name="Narayan", environment=other_account(tmp_path)) as narayan:
            ends_with(narayan, "Michael whispers > it is ready", "You >>")
            assert "Michael whispers > tea?" not in narayan.text


def test_a_taken_name_is_asked_for_again(tmp_path: Path) -> None:
    with Server() as server, chat(server.port) as michael:
        michael.shows("You >>")
        with chat(server.port, environment=other_account(tmp_path)) as other:
            other.ends_with("The name Michael is taken.", "Username:")
            other.type("Micha\r")
            ends_with(other, "You are in lobby (2 here): Micha, Michael", "You >>")
            other.type("hello\r")
            michael.shows("Micha > hello")


def test_no_color_disables_dim_and_bold() -> None:
    with Server() as server, Client(server.port, "Venkat") as venkat:
        venkat.send("before")
        server.expect("before")
        for variable in ("NO_COLOR", "PLAIN"):
            with chat(server.port, environment={variable: "1"}) as michael:
                michael.shows("You are in lobby (2 here): Michael, Venkat")
                venkat.send(f"hello Michael, {variable}")
                michael.shows(f"Venkat > hello Michael, {variable}")
                has_attributes = re.search(rb"\x1b\[[0-9;]*\b[12]m", michael.written) is not None
                assert has_attributes is (variable != "NO_COLOR")
                colours = rb"\x1b\[[0-9;]*\b([34]\d|9\d|10\d)(;[0-9;]*)?m"
                assert not re.search(colours, michael.written)
                michael.type("/quit\r")
                assert michael.wait() == 0


# -- the server's password -------------------------------------------------------------------------------

RIGHT = "tea at four"


def password_hash() -> str:
    made = subprocess.run(
        [*CHAT[:-1], "hash-password"], input=f"{RIGHT}\n", capture_output=True, text=True, check=True
    )
    return made.stdout.strip()


def test_wrong_passwords_leave_nothing_to_the_shell() -> None:
    with Server("--no-history", f"--password={password_hash()}") as server:
        chat = f"{' '.join(CHAT)} 127.0.0.1:{server.port} --name=M"
        command = f"trap : INT; {chat}; echo status $?; stty -echo; exec cat -v"
        with Terminal("/bin/sh", "-c", command, columns=120, rows=60) as terminal:
            for number in range(6):
                terminal.until(lambda: terminal.text.count("Password:") == number + 1, "the question")  # noqa: B023
                terminal.type("wrong\r")
            terminal.shows("s before the next password. Press Ctrl-C to leave.")
            terminal.type("early\r")
            terminal.until(lambda: terminal.text.count("Password:") == 7, "the question")
            terminal.type("late\x03")
            terminal.shows("status 130")
            terminal.type("visible\r\x04")
            terminal.shows("visible")
            for word in ("wrong\n", "early", "late"):
                assert word not in terminal.text


@pytest.mark.slow
def test_the_right_password_after_a_lockout_enters_the_chat() -> None:
    with Server("--no-history", f"--password={password_hash()}") as server:
        with Terminal(*CHAT, f"127.0.0.1:{server.port}", "--name=M", columns=120, rows=60) as terminal:
            for number in range(6):
                terminal.until(lambda: terminal.text.count("Password:") == number + 1, "the question")  # noqa: B023
                terminal.type("wrong\r")
            terminal.until(lambda: terminal.text.count("Password:") == 7, "the question")
            terminal.type(f"{RIGHT}\r")
            terminal.shows("You >>")
            terminal.type("/quit\r")
            assert terminal.wait() == 0
