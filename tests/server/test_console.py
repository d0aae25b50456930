from __future__ import annotations

import json
import unicodedata
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.chat.commands import Commands
from selchat.chat.hub import Member
from selchat.events import Notice, Said
from selchat.log.port import NotStoredError
from selchat.server.console import Console, JsonStyle, Style, TextStyle
from tests.chat.test_hub import Chat

VENKAT: Any = Member("Venkat", "192.168.43.169:54494", None, None)  # type: ignore[arg-type]
STYLES = st.sampled_from([TextStyle, JsonStyle])
TEXTS = st.text(
    st.characters() | st.characters(categories=["Cc", "Cf", "Zl", "Zp", "Cs"]) | st.sampled_from('"\\\n')
)


class Screen:
    def __init__(self, style: Style | None = None, quiet: bool = False) -> None:
        self.lines: list[str] = []
        self.console = Console(self.lines.append, style or TextStyle(), quiet)


def said(author: str, body: str) -> Said:
    return Said("lobby", 1, author, body, 0.0)


def show_everything(console: Console) -> None:
    console.listening("0.0.0.0:33000")
    console.reloaded(["roster true -> false", "password"])
    console.reloaded([])
    console.on_sign_in(VENKAT)
    console.on_published(
        [
            said("Venkat", "Hey! ..."),
            said("Server", "not shown: the operator has typed it"),
            Notice("nor this"),
        ]
    )
    console.on_sign_out(VENKAT, None)
    console.on_sign_out(VENKAT, "kicked by the operator")
    console.closed_before_login("192.168.43.170:54500", "no username within 10 s")
    console.closed_before_login("192.168.43.170:54501", None)
    console.warn("accepting rests")
    console.failed("callback", ZeroDivisionError("division by zero"))


def test_the_lines_are_those_of_the_paper() -> None:
    screen = Screen()
    show_everything(screen.console)
    assert screen.lines == [
        "Listening for connections on 0.0.0.0:33000...",
        "Settings reloaded: roster true -> false, password",
        "Settings reloaded: nothing has changed",
        "Accepted new connection from 192.168.43.169:54494, username: Venkat",
        "Received message from Venkat: Hey! ...",
        "Closed connection from 192.168.43.169:54494, username: Venkat",
        "Closed connection from 192.168.43.169:54494, username: Venkat (kicked by the operator)",
        "Closed connection from 192.168.43.170:54500 (no username within 10 s)",
        "Closed connection from 192.168.43.170:54501",
        "Warning: accepting rests",
        "Error: callback: ZeroDivisionError: division by zero\\n",
    ]


def test_browsers_are_invited_in_lines_and_in_a_picture_or_as_one_object() -> None:
    text, machine = Screen(quiet=True), Screen(JsonStyle(), quiet=True)
    addresses = ["https://192.168.43.158:33000/", "http://localhost:33000/"]
    for screen in (text, machine):
        screen.console.invited(addresses, ["\u2588\u2580 \u2584\u2588"])
        screen.console.no_page("h11 is not installed")
    assert text.lines == [
        "In a browser: https://192.168.43.158:33000/",
        "In a browser on this machine: http://localhost:33000/",
        "\u2588\u2580 \u2584\u2588",
        "Nothing for browsers: h11 is not installed",
    ]
    invited, none = map(json.loads, machine.lines)
    assert (invited["event"], invited["addresses"]) == ("invited", addresses)
    assert (none["event"], none["reason"]) == ("no-page", "h11 is not installed")


def test_wrong_passwords_are_shown_to_a_quiet_operator_too() -> None:
    text, machine = Screen(quiet=True), Screen(JsonStyle(), quiet=True)
    for screen in (text, machine):
        screen.console.password_failed("192.168.43.170:54500", 0.0)
        screen.console.password_failed("192.168.43.170:54501", 4.0)
        screen.console.passwords_failed(15)
    assert text.lines == [
        "Wrong password from 192.168.43.170:54500",
        "Wrong password from 192.168.43.170:54501; nothing more is checked from there for 4 s",
        "Warning: 15 more wrong passwords within a minute",
    ]
    assert [{**json.loads(line), "time": ""} for line in machine.lines[:2]] == [
        {"time": "", "event": "wrong-password", "address": "192.168.43.170:54500", "delay": 0.0},
        {"time": "", "event": "wrong-password", "address": "192.168.43.170:54501", "delay": 4.0},
    ]


def test_json_has_one_object_a_line() -> None:
    screen = Screen(JsonStyle())
    before = datetime.now(UTC).replace(microsecond=0)
    show_everything(screen.console)
    objects = [json.loads(line) for line in screen.lines]
    for each in objects:
        assert before <= datetime.fromisoformat(each.pop("time")) <= datetime.now(UTC)
    venkat = {"address": "192.168.43.169:54494", "username": "Venkat"}
    stranger = {"event": "closed", "username": None}
    assert objects == [
        {"event": "listening", "address": "0.0.0.0:33000"},
        {"event": "reloaded", "changes": ["roster true -> false", "password"]},
        {"event": "reloaded", "changes": []},
        {"event": "accepted", **venkat},
        {"event": "message", "room": "lobby", "username": "Venkat", "body": "Hey! ..."},
        {"event": "closed", **venkat, "reason": None},
        {"event": "closed", **venkat, "reason": "kicked by the operator"},
        {**stranger, "address": "192.168.43.170:54500", "reason": "no username within 10 s"},
        {**stranger, "address": "192.168.43.170:54501", "reason": None},
        {"event": "warning", "text": "accepting rests"},
        {"event": "error", "where": "callback", "traceback": "ZeroDivisionError: division by zero\n"},
    ]


def test_quiet_shows_the_start_and_what_goes_wrong() -> None:
    screen = Screen(quiet=True)
    show_everything(screen.console)
    assert [line.split(":")[0] for line in screen.lines] == [
        "Listening for connections on 0.0.0.0",
        "Settings reloaded",
        "Settings reloaded",
        "Warning",
        "Error",
    ]


def test_how_it_is_shown_can_change() -> None:
    screen = Screen()
    screen.console.restyle(JsonStyle(), True)
    screen.console.on_sign_in(VENKAT)
    screen.console.warn("x")
    [line] = screen.lines
    assert json.loads(line)["event"] == "warning"


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("hi\nClosed connection from 10.0.0.1:1", "hi\\nClosed connection from 10.0.0.1:1"),
        ("\x1b[2J\x1b[1;1H", "\\x1b[2J\\x1b[1;1H"),
        ("Olssv'Uhyh\x80hu", "Olssv'Uhyh\\x80hu"),
        ("\r\u2028\u202e", "\\r\\u2028\\u202e"),
    ],
)
def test_a_forged_line_is_shown_as_what_it_is(body: str, shown: str) -> None:
    screen = Screen()
    screen.console.on_published([said("Venkat", body)])
    assert screen.lines == [f"Received message from Venkat: {shown}"]


@given(TEXTS, STYLES)
def test_whatever_comes_gives_one_line_without_controls(text: str, style: type[Style]) -> None:
    screen = Screen(style())
    console = screen.console
    member: Any = Member(text, text, None, None)  # type: ignore[arg-type]
    for show in (
        lambda: console.on_published([said(text + "x", text)]),
        lambda: console.on_sign_in(member),
        lambda: console.on_sign_out(member, text),
        lambda: console.closed_before_login(text, text),
        lambda: console.warn(text),
        lambda: console.listening(text),
        lambda: console.reloaded([text, text]),
        lambda: console.failed(text, ValueError(text)),
    ):
        screen.lines.clear()
        show()
        [line] = screen.lines
        assert len(line.splitlines()) == 1
        assert not {unicodedata.category(character) for character in line} & {"Cc", "Cs", "Zl", "Zp"}
        assert not set(line) & set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@given(TEXTS)
def test_json_says_exactly_what_came(text: str) -> None:
    screen = Screen(JsonStyle())
    screen.console.on_published([said("Venkat", text)])
    [line] = screen.lines
    assert line.isascii()
    assert json.loads(line)["body"] == text


def test_the_operator_s_lines_are_commands_and_their_answers_are_shown() -> None:
    chat = Chat()
    screen = Screen(quiet=True)
    screen.console.typed("/users")
    assert screen.lines == [], "nobody listens yet"
    screen.console.take_commands(Commands(chat.hub, lambda: None))
    screen.console.typed("/users")
    screen.console.typed("/nonsense\x1b")
    screen.console.typed("said to all")
    assert screen.lines == [
        "Nobody is online.",
        "Unknown command /nonsense\\x1b; /help lists the commands, //text says /text to everyone.",
    ]
    chat.come("Michael")
    chat.tick()
    assert chat.said() == [("Server", "said to all")]


def test_answers_in_json_are_json_too() -> None:
    screen = Screen(JsonStyle())
    screen.console.take_commands(Commands(Chat().hub, lambda: None))
    screen.console.typed("/users")
    answer = json.loads(screen.lines[0])
    assert (answer["event"], answer["text"]) == ("reply", "Nobody is online.")


def test_what_is_encrypted_end_to_end_is_not_shown() -> None:
    message = said("Venkat", "Zm9v")._replace(cipher="selchat1 AAAA 1 BBBB")
    text, machine = Screen(), Screen(JsonStyle())
    for screen in (text, machine):
        screen.console.on_published([message, message._replace(cipher="caesar")])
    assert text.lines == [
        "Received message from Venkat: (encrypted)",
        "Received message from Venkat: Zm9v",
    ]
    assert [json.loads(line)["body"] for line in machine.lines] == [None, "Zm9v"]


def test_the_operator_is_told_what_nobody_has_heard() -> None:
    shown: list[str] = []
    console = Console(shown.append, TextStyle(), quiet=True)
    message = Said("lobby", 0, "Server", "tea is\nready", 1.5)
    console.on_announcement_lost([message], NotStoredError("the disk is full"))
    assert shown == [r"Warning: not said: tea is\nready (the disk is full)"]
