"""The terminal chat in this process, on prompt_toolkit's pipe input and with its output in memory.

test_transcript.py tests the lines for each event, and tests/e2e/test_terminal.py the look of a real screen.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output.vt100 import Vt100_Output

from selchat.client.terminal.app import TerminalChat, TerminalSession, Waits, ask
from selchat.wire.frames import FrameTooLongError
from tests.client.selchat_support import Fields, ack, encoded, error, said, users, welcome
from tests.client.support import (
    DEADLINE,
    RawConnection,
    RawServer,
    eventually,
    frame,
    pair,
    serving,
    settings,
)

LOGIN = frame("Michael")
GOODBYE: Fields = {"type": "bye", "reason": "goodbye", "retry_after": None}


class Keyboard:
    """A terminal of 80 columns: types keys, and records the complete output."""

    def __init__(self, source: PipeInput) -> None:
        self._source = source
        self.written = io.StringIO()

    def type(self, keys: str) -> None:
        self._source.send_text(keys)

    def shows(self, text: str) -> None:
        try:
            eventually(lambda: text in self.text)
        except AssertionError:
            pytest.fail(f"{text!r} is not in {self.text!r}")

    @property
    def text(self) -> str:
        """The output without attributes, and with ``\n`` as the end of a line."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self.written.getvalue()).replace("\r\n", "\n")


@pytest.fixture
def keyboard() -> Iterator[Keyboard]:
    with create_pipe_input() as source:
        keyboard = Keyboard(source)
        output = Vt100_Output(keyboard.written, lambda: Size(rows=24, columns=80), term="xterm")
        with create_app_session(input=source, output=output):
            yield keyboard


@contextmanager
def run_chat(
    keyboard: Keyboard,
    script: Callable[[RawServer], object],
    status: int = 0,
    waits: Waits | None = None,
    **more: object,
) -> Iterator[None]:
    def watched(server: RawServer) -> None:
        try:
            script(server)
        except BaseException:
            keyboard.type("\x03\x03")  # ends the chat too
            raise

    with serving(watched) as server:
        got = TerminalChat(settings(server.port, **more), jitter=lambda *_: 0.0, waits=waits or Waits()).run()
    assert got == status
    yield


def leave(keyboard: Keyboard, keys: str, peer: object) -> None:
    keyboard.type(keys)
    eventually(lambda: peer.received and peer.ended)  # type: ignore[attr-defined]
    peer.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("keys", ["/quit\r", "\x04", "\x03", "half a line\x03\x03"])
def test_each_way_to_leave_ends_the_chat(keyboard: Keyboard, keys: str) -> None:
    def script(server: RawServer) -> None:
        peer = server.accept()
        keyboard.shows("You >>")
        leave(keyboard, keys, peer)
        assert peer.received == LOGIN

    with run_chat(keyboard, script, status=130 if "\x03" in keys else 0):
        assert "Connected to the Server: 127.0.0.1\n" in keyboard.text


def test_typed_and_received_messages_are_shown(keyboard: Keyboard) -> None:
    def script(server: RawServer) -> None:
        peer = server.accept()
        keyboard.shows("You >>")
        peer.send(pair("Ve\x1b[2Jnkat", "Hey!\a\tx"))
        keyboard.shows(r"Ve\x1b\x5b2Jnkat > Hey!\x07    x")
        keyboard.type("Hello World!\r")
        eventually(lambda: peer.frames()[1:] == ["Hello World!"])
        keyboard.type("  \r\r//slash\r\x1b[200~two\r\nlines\r\n\x1b[201~\r")
        eventually(lambda: peer.frames()[2:] == ["/slash", "two\nlines"])
        keyboard.type("\x1b[A\x1b[A\x1b[A\r")  # up: history
        eventually(lambda: len(peer.frames()) == 5)
        leave(keyboard, "\x04", peer)

    with run_chat(keyboard, script):
        pass


def test_commands_answer_on_the_screen(keyboard: Keyboard) -> None:
    def script(server: RawServer) -> None:
        peer = server.accept()
        keyboard.shows("You >>")
        keyboard.type("/help\r")
        keyboard.shows("/quit           leave")
        keyboard.type("/nope\r")
        keyboard.shows("Unknown command /nope")
        names = ", ".join(f"name{number}" for number in range(40))
        peer.send(pair("Server", f"Users online (40): {names}"))
        keyboard.shows("Server > Users online (40): name0, ")
        keyboard.shows("…")
        assert "name39" not in keyboard.text
        keyboard.type("/users\r")
        keyboard.shows("name39")
        leave(keyboard, "/quit\r", peer)
        assert peer.received == LOGIN

    with run_chat(keyboard, script):
        pass


def test_a_too_long_line_is_not_sent_and_stays_in_the_input_history(keyboard: Keyboard) -> None:
    def script(server: RawServer) -> None:
        peer = server.accept()
        keyboard.shows("You >>")
        keyboard.type("x" * 21 + "\r")
        keyboard.shows("Not sent: it takes 21 bytes, and the limit is 20.")
        keyboard.type("\x1b[A\x7f\r")
        eventually(lambda: peer.frames()[1:] == ["x" * 20])
        leave(keyboard, "\x04", peer)

    with run_chat(keyboard, script, frame_limit=20):
        pass


def test_the_client_reconnects_and_sends_what_was_typed_during_an_outage(keyboard: Keyboard) -> None:
    def script(server: RawServer) -> None:
        peer = server.accept()
        keyboard.shows("You >>")
        eventually(lambda: peer.received == LOGIN)  # with unread data the kernel sends a reset
        server.listener.close()
        peer.close()
        keyboard.shows("Connection lost: closed by the server; retrying in 0.0 s")
        keyboard.shows("No connection yet: connection refused; retrying in 0.0 s")
        keyboard.type("kept\r")
        keyboard.shows("Not connected. The client sends this when the server is back.")
        with RawServer(server.port) as again:
            peer = again.accept()
            eventually(lambda: peer.frames() == ["Michael", "kept"])
            leave(keyboard, "\x04", peer)

    with run_chat(keyboard, script):
        assert keyboard.text.count("Connected to the Server: 127.0.0.1") == 2


def test_a_refused_connection_is_reported_before_any_prompt(keyboard: Keyboard) -> None:
    with RawServer() as server:
        port = server.port
    assert TerminalChat(settings(port)).run() == 1
    assert keyboard.text.endswith(
        f"selchat: cannot connect to 127.0.0.1:{port}: connection refused; is the server running there?\n"
    )
    assert "You >>" not in keyboard.text


def test_a_slow_exit_shows_its_progress(keyboard: Keyboard) -> None:
    def script(server: RawServer) -> None:
        peer = server.accept()
        keyboard.shows("You >>")
        server.listener.close()
        peer.close()
        keyboard.shows("Connection lost")
        keyboard.type("never sent\r")
        keyboard.shows("Not connected")
        keyboard.type("\x04")
        keyboard.shows("Connecting; 1 message to go... Press Ctrl-C to quit now.")

    with run_chat(keyboard, script, status=1, waits=Waits(progress_seconds=0.05), finish_seconds=1.0):
        assert "selchat: out of time; 1 message was not sent" in keyboard.text


def test_leaving_does_not_wait_for_the_server_to_close(keyboard: Keyboard) -> None:
    def script(server: RawServer) -> None:
        peer = server.accept()
        keyboard.shows("You >>")
        keyboard.type("\x04")
        eventually(lambda: peer.received and peer.ended)

    with run_chat(keyboard, script, drain_seconds=DEADLINE):
        pass


def test_an_internal_error_ends_the_chat(keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(TerminalSession, "received", broken)

    def script(server: RawServer) -> None:
        peer = server.accept()
        keyboard.shows("You >>")
        peer.send(pair("Venkat", "Hey!"))
        eventually(lambda: peer.received and peer.ended)

    with run_chat(keyboard, script, status=1):
        assert "RuntimeError: a bug" in keyboard.text


def test_ctrl_c_before_the_welcome_exits_with_130(keyboard: Keyboard) -> None:
    def script(server: RawServer) -> None:
        peer = server.accept()
        eventually(peer.frames, "hello")  # without a welcome
        os.kill(os.getpid(), signal.SIGINT)
        eventually(lambda: peer.received and peer.ended)

    with run_chat(keyboard, script, status=130, wire="selchat"):
        assert "You >>" not in keyboard.text


def test_ask_has_line_editing(keyboard: Keyboard) -> None:
    keyboard.type("Micheal\x7f\x7f\x7fael\r")
    assert ask("Username: ") == "Michael"
    keyboard.type("\x04")
    with pytest.raises(EOFError):
        ask("Username: ")
    keyboard.type("\x03")
    with pytest.raises(KeyboardInterrupt):
        ask("Username: ")
    assert "\x1b[6n" not in keyboard.written.getvalue()  # no cursor position request


# -- the selchat protocol --------------------------------------------------------------------------------


def sent_by(peer: RawConnection) -> list[Fields]:
    """Return the messages of the client after its hello."""
    return [json.loads(payload) for payload in peer.frames()][1:]


def kinds(peer: RawConnection) -> list[str]:
    return [message["type"] for message in sent_by(peer)]


def welcome_client(server: RawServer, *messages: Fields) -> RawConnection:
    """Accept a connection and answer the hello."""
    peer = server.accept()
    eventually(peer.frames, "hello")
    peer.send(encoded(*(messages or [welcome()])))
    return peer


def answer_users(peer: RawConnection) -> None:
    """Answer the two requests after login: the users for the screen and for completion."""
    eventually(lambda: kinds(peer).count("users") == 2)
    peer.send(encoded(users("lobby", 0, "Michael"), users("lobby", 0, "Michael")))


def say_goodbye(keyboard: Keyboard, peer: RawConnection) -> None:
    """Leave with a ``bye`` message, as this protocol requires."""
    keyboard.type("\x04")
    eventually(lambda: "bye" in kinds(peer), "bye")
    peer.send(encoded(GOODBYE))
    eventually(lambda: peer.received and peer.ended)
    peer.close()


def run_selchat(
    keyboard: Keyboard,
    script: Callable[[RawServer], object],
    status: int = 0,
    waits: Waits | None = None,
    **more: object,
) -> None:
    with run_chat(keyboard, script, status, waits, wire="selchat", **more):
        pass


def test_own_messages_appear_in_the_order_of_the_room(keyboard: Keyboard) -> None:
    def script(server: RawServer) -> None:
        peer = welcome_client(server)
        keyboard.shows("You >>")
        keyboard.type("mine\r")
        eventually(lambda: "say" in kinds(peer))
        [message] = [message for message in sent_by(peer) if message["type"] == "say"]
        peer.send(encoded(ack(message["id"], 2)))
        keyboard.shows("… mine")  # 1 is missing
        assert "You >> mine\n" not in keyboard.text.partition("… mine")[2]
        peer.send(encoded(said(1, body="before")))
        keyboard.shows("Venkat > before\nYou >> mine\n")
        say_goodbye(keyboard, peer)

    run_selchat(keyboard, script)


def test_history_is_dim(keyboard: Keyboard) -> None:
    def script(server: RawServer) -> None:
        peer = welcome_client(server, welcome(("lobby", 7)))
        eventually(lambda: "history" in kinds(peer))
        [question] = [message for message in sent_by(peer) if message["type"] == "history"]
        assert (question["limit"], question["before"]) == (20, 8)
        old = {key: value for key, value in said(7, body="old").items() if key not in {"type", "room"}}
        peer.send(encoded({"type": "history", "room": "lobby", "messages": [old], "more": True}))
        eventually(lambda: re.search(r"\x1b\[0;2m\S+ \S+ Venkat > old\x1b", keyboard.written.getvalue()))
        say_goodbye(keyboard, peer)

    run_selchat(keyboard, script)


@pytest.mark.parametrize("code", ["name-taken", "bad-name"])
def test_a_refused_name_is_asked_for_again(keyboard: Keyboard, code: str) -> None:
    def script(server: RawServer) -> None:
        welcome_client(server, error(code))
        keyboard.shows(f"About {code}.\n")
        keyboard.shows("Username:")
        keyboard.type("Micha\r")
        peer = welcome_client(server, {**welcome(), "name": "Micha"})
        assert json.loads(peer.frames()[0])["name"] == "Micha"
        keyboard.shows("You >>")
        assert "Your name here" not in keyboard.text
        say_goodbye(keyboard, peer)

    run_selchat(keyboard, script)


def test_a_too_long_name_is_asked_for_again(
    keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def script(server: RawServer) -> None:
        welcome_client(server, error("name-taken"))
        keyboard.shows("Username:")
        keyboard.type("x" * 200 + "\r")
        eventually(lambda: keyboard.text.count("Username:") > 1)
        keyboard.type("\x04")

    run_selchat(keyboard, script, status=1, frame_limit=200)
    assert str(FrameTooLongError(1, 200)).partition("over")[2] in capsys.readouterr().out


@pytest.mark.parametrize(("keys", "status"), [("\x04", 1), ("\x03", 130)])
def test_leaving_the_question_for_another_name(keyboard: Keyboard, keys: str, status: int) -> None:
    def script(server: RawServer) -> None:
        welcome_client(server, error("name-taken"))
        keyboard.shows("Username:")
        keyboard.type(keys)

    run_selchat(keyboard, script, status=status)


def test_any_other_refusal_ends_the_chat(keyboard: Keyboard) -> None:
    run_selchat(keyboard, lambda server: welcome_client(server, error("banned")), status=1)
    assert keyboard.text.endswith("selchat: the server said: about banned\n")
    assert "You >>" not in keyboard.text


def test_a_name_taken_during_an_outage_ends_the_chat(keyboard: Keyboard) -> None:
    def script(server: RawServer) -> None:
        peer = welcome_client(server)
        keyboard.shows("You >>")
        peer.close()
        welcome_client(server, error("name-taken"))

    run_selchat(keyboard, script, status=1)
    assert "selchat: the server said: about name-taken" in keyboard.text


def test_tab_completes_the_rooms_of_the_server(keyboard: Keyboard) -> None:
    def script(server: RawServer) -> None:
        peer = welcome_client(server)
        answer_users(peer)
        keyboard.shows("You are in lobby (1 here): Michael")
        keyboard.type("/join eng\t")
        eventually(lambda: "rooms" in kinds(peer))
        room = {"room": "engine-room", "members": 1, "topic": "", "seq": 0}
        peer.send(encoded({"type": "rooms", "rooms": [room], "total": 1}))
        keyboard.shows("/join engine-room")
        keyboard.type("\r")
        eventually(lambda: {"type": "join", "room": "engine-room"} in sent_by(peer))
        peer.send(encoded(users("engine-room", 0, "Michael")))
        keyboard.shows("You are in engine-room (1 here): Michael")
        say_goodbye(keyboard, peer)

    run_selchat(keyboard, script)


def test_tab_does_not_wait_for_a_server_that_lists_no_rooms(keyboard: Keyboard) -> None:
    def script(server: RawServer) -> None:
        peer = welcome_client(server)
        answer_users(peer)
        keyboard.shows("You are in lobby (1 here): Michael")
        keyboard.type("/join eng\t")
        # The second request shows that the client did not wait for the first answer.
        eventually(lambda: keyboard.type("\t") or kinds(peer).count("rooms") > 1)
        keyboard.type("ine\r")
        eventually(lambda: {"type": "join", "room": "engine"} in sent_by(peer))
        peer.send(encoded({"type": "rooms", "rooms": [], "total": 0}))  # too late
        say_goodbye(keyboard, peer)

    run_selchat(keyboard, script, waits=Waits(rooms_seconds=0.05))
