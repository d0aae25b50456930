"""The terminal chat in this process, on prompt_toolkit's pipe input and an output that is kept as text.

What a screen then looks like is tested in tests/e2e/test_terminal.py.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.data_structures import Size
from prompt_toolkit.document import Document
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output.vt100 import Vt100_Output

from selchat.client import terminal
from selchat.client.terminal import Completions, Screen, TerminalChat, ask
from tests.client.support import DEADLINE, RawServer, eventually, frame, pair, serving, settings

LOGIN = frame("Michael")


class Keyboard:
    """A terminal of 80 columns: what is typed into it, and everything that was ever written to it."""

    def __init__(self, source: PipeInput) -> None:
        self._source = source
        self.written = io.StringIO()

    def type(self, keys: str) -> None:
        self._source.send_text(keys)

    def shows(self, text: str) -> None:
        eventually(lambda: text in self.written.getvalue(), f"{text!r} on the screen")


@pytest.fixture
def keyboard() -> Iterator[Keyboard]:
    with create_pipe_input() as source:
        keyboard = Keyboard(source)
        output = Vt100_Output(keyboard.written, lambda: Size(rows=24, columns=80), term="xterm")
        with create_app_session(input=source, output=output):
            yield keyboard


@contextmanager
def talking(
    keyboard: Keyboard, script: Callable[[RawServer], object], status: int = 0, **more: object
) -> Iterator[None]:
    def watched(server: RawServer) -> None:
        try:
            script(server)
        except BaseException:
            keyboard.type("\x03\x03")  # so that the chat ends too
            raise

    with serving(watched) as server:
        got = TerminalChat(settings(server.port, **more), jitter=lambda *_: 0.0).run()
    assert got == status
    yield


def leave(keyboard: Keyboard, keys: str, peer: object) -> None:
    keyboard.type(keys)
    eventually(lambda: peer.received and peer.ended)  # type: ignore[attr-defined]
    peer.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("keys", ["/quit\r", "\x04", "\x03", "half a line\x03\x03"])
def test_ways_to_leave(keyboard: Keyboard, keys: str) -> None:
    def script(server: RawServer) -> None:
        peer = server.accept()
        keyboard.shows("You >>")
        leave(keyboard, keys, peer)
        assert peer.received == LOGIN

    with talking(keyboard, script):
        assert "Connected to the Server: 127.0.0.1\n" in keyboard.written.getvalue()


def test_talking(keyboard: Keyboard) -> None:
    def script(server: RawServer) -> None:
        peer = server.accept()
        keyboard.shows("You >>")
        peer.send(pair("Ve\x1b[2Jnkat", "Hey!\a\tx"))
        keyboard.shows(r"Ve\x1b[2Jnkat > Hey!\x07    x")
        keyboard.type("Hello World!\r")
        eventually(lambda: peer.frames()[1:] == ["Hello World!"])
        keyboard.type("  \r\r//slash\r\x1b[200~two\r\nlines\r\n\x1b[201~\r")
        eventually(lambda: peer.frames()[2:] == ["/slash", "two\nlines"])
        keyboard.type("\x1b[A\x1b[A\x1b[A\r")  # up: history
        eventually(lambda: len(peer.frames()) == 5)
        leave(keyboard, "\x04", peer)

    with talking(keyboard, script):
        pass


def test_commands(keyboard: Keyboard) -> None:
    def script(server: RawServer) -> None:
        peer = server.accept()
        keyboard.shows("You >>")
        keyboard.type("/help\r")
        keyboard.shows("/quit   leave")
        keyboard.type("/nope\r")
        keyboard.shows("unknown command /nope")
        names = ", ".join(f"name{number}" for number in range(40))
        peer.send(pair("Server", f"Users online (40): {names}"))
        keyboard.shows("Server > Users online (40): name0, ")
        keyboard.shows("…")
        assert "name39" not in keyboard.written.getvalue()
        keyboard.type("/users\r")
        keyboard.shows("name39")
        leave(keyboard, "/quit\r", peer)
        assert peer.received == LOGIN

    with talking(keyboard, script):
        pass


def test_what_is_too_long_is_refused_and_stays_in_the_history(keyboard: Keyboard) -> None:
    def script(server: RawServer) -> None:
        peer = server.accept()
        keyboard.shows("You >>")
        keyboard.type("x" * 21 + "\r")
        keyboard.shows("This was not sent: 21 bytes, and the limit is 20.")
        keyboard.type("\x1b[A\x7f\r")
        eventually(lambda: peer.frames()[1:] == ["x" * 20])
        leave(keyboard, "\x04", peer)

    with talking(keyboard, script, frame_limit=20):
        pass


def test_an_outage(keyboard: Keyboard) -> None:
    def script(server: RawServer) -> None:
        peer = server.accept()
        keyboard.shows("You >>")
        eventually(lambda: peer.received == LOGIN)  # unread, it would make the kernel send a reset
        server.listener.close()
        peer.close()
        keyboard.shows("Connection lost: closed by the server; trying again in 0.0 s")
        keyboard.shows("No connection yet: connection refused; trying again in 0.0 s")
        keyboard.type("kept\r")
        keyboard.shows("Not connected now: this is kept, and sent when the server is back.")
        with RawServer(server.port) as again:
            peer = again.accept()
            eventually(lambda: peer.frames() == ["Michael", "kept"])
            leave(keyboard, "\x04", peer)

    with talking(keyboard, script):
        assert keyboard.written.getvalue().count("Connected to the Server: 127.0.0.1") == 2


def test_nobody_there(keyboard: Keyboard) -> None:
    with RawServer() as server:
        port = server.port
    assert TerminalChat(settings(port)).run() == 1
    assert keyboard.written.getvalue().endswith(
        f"selchat: cannot connect to 127.0.0.1:{port}: connection refused; is the server running there?\n"
    )
    assert "You >>" not in keyboard.written.getvalue()


def test_leaving_says_what_it_waits_for(keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "_PATIENCE", 0.05)

    def script(server: RawServer) -> None:
        peer = server.accept()
        keyboard.shows("You >>")
        server.listener.close()
        peer.close()
        keyboard.shows("Connection lost")
        keyboard.type("never sent\r")
        keyboard.shows("Not connected")
        keyboard.type("\x04")
        keyboard.shows("Connecting; 1 message to go... Ctrl-C leaves at once.")

    with talking(keyboard, script, status=1, finish_seconds=1.0):
        assert "selchat: out of time; 1 message was not sent" in keyboard.written.getvalue()


def test_a_server_that_does_not_close_is_not_waited_for(keyboard: Keyboard) -> None:
    def script(server: RawServer) -> None:
        peer = server.accept()
        keyboard.shows("You >>")
        keyboard.type("\x04")
        eventually(lambda: peer.received and peer.ended)

    with talking(keyboard, script, drain_seconds=DEADLINE):
        pass


def test_a_bug_is_shown_and_ends_it(keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(TerminalChat, "received", broken)

    def script(server: RawServer) -> None:
        peer = server.accept()
        keyboard.shows("You >>")
        peer.send(pair("Venkat", "Hey!"))
        eventually(lambda: peer.received and peer.ended)

    with talking(keyboard, script, status=1):
        assert "RuntimeError: a bug" in keyboard.written.getvalue()


def test_interrupted_while_connecting(keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupted(chat: TerminalChat) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(TerminalChat, "_chat", interrupted)
    assert TerminalChat(settings(1)).run() == 130


def test_asking(keyboard: Keyboard) -> None:
    keyboard.type("Micheal\x7f\x7f\x7fael\r")
    assert ask("Username: ") == "Michael"
    keyboard.type("\x04")
    with pytest.raises(EOFError):
        ask("Username: ")
    keyboard.type("\x03")
    with pytest.raises(KeyboardInterrupt):
        ask("Username: ")
    assert "\x1b[6n" not in keyboard.written.getvalue()  # nothing waits for the terminal's answers


def test_a_terminal_that_takes_nothing_has_a_bounded_backlog(
    keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "_MOST_WAITING", 10)

    async def show() -> None:
        screen = Screen(terminal._prompt_session(), asyncio.get_running_loop())
        for number in range(20):
            screen.show(f"line {number}")
        screen.flush()
        screen.flush()

    asyncio.run(show())
    assert keyboard.written.getvalue().endswith(
        "line 0\nline 1\n(18 lines are not shown, because the terminal was held up)\n"
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("mi", ["Michael", "Mia"]),
        ("hello MI", ["Michael", "Mia"]),
        ("two\nlines\nmich", ["Michael"]),
        ("x", []),
        ("\u00e9v", ["\u00c9va"]),
        ("esc", [r"esc\x1b"]),
        ("/", ["/users", "/help", "/quit"]),
        ("/u", ["/users"]),
        ("/u m", ["Michael", "Mia"]),
        ("a /u", []),
    ],
)
def test_completions(text: str, found: list[str]) -> None:
    completer = Completions(lambda: ["Michael", "Mia", "\u00c9va", "esc\x1b"])
    got = list(completer.get_completions(Document(text), CompleteEvent()))
    assert [completion.text for completion in got] == found
