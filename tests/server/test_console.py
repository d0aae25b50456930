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
        self.console = Console(self.lines.append, style or TextStyle(1000), quiet)


def message(author: str, body: str) -> Said:
    return Said("lobby", 1, author, body, 0.0)


def show_everything(console: Console) -> None:
    console.show_listening("0.0.0.0:33000")
    console.show_reload(["roster true -> false", "password"])
    console.show_reload([])
    console.on_sign_in(VENKAT)
    console.on_published(
        [
            message("Venkat", "Hey! ..."),
            message("Server", "not shown: the operator typed it"),
            Notice("not shown either"),
        ]
    )
    console.on_sign_out(VENKAT, None)
    console.on_sign_out(VENKAT, "kicked by the operator")
    console.closed_before_login("192.168.43.170:54500", "no username within 10 s")
    console.closed_before_login("192.168.43.170:54501", None)
    console.warn("accepting rests")
    console.on_error("callback", ZeroDivisionError("division by zero"))


def test_text_lines_match_the_paper() -> None:
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


def test_urls_are_lines_with_a_qr_code_in_text_and_one_object_in_json() -> None:
    text, machine = Screen(quiet=True), Screen(JsonStyle(1000), quiet=True)
    addresses = ["https://192.168.43.158:33000/", "http://localhost:33000/"]
    for screen in (text, machine):
        screen.console.show_urls(addresses, ["\u2588\u2580 \u2584\u2588"])
        screen.console.show_page_disabled("h11 is not installed")
    assert text.lines == [
        "In a browser: https://192.168.43.158:33000/",
        "In a browser on this machine: http://localhost:33000/",
        "\u2588\u2580 \u2584\u2588",
        "The web page is disabled: h11 is not installed",
    ]
    invited, none = map(json.loads, machine.lines)
    assert (invited["event"], invited["addresses"]) == ("invited", addresses)
    assert (none["event"], none["reason"]) == ("no-page", "h11 is not installed")


def test_quiet_console_shows_wrong_passwords() -> None:
    text, machine = Screen(quiet=True), Screen(JsonStyle(1000), quiet=True)
    for screen in (text, machine):
        screen.console.password_failed("192.168.43.170:54500", 0.0)
        screen.console.password_failed("192.168.43.170:54501", 4.0)
        screen.console.more_passwords_failed(15)
    assert text.lines == [
        "Wrong password from 192.168.43.170:54500",
        "Wrong password from 192.168.43.170:54501; logins from this address are refused for 4 s",
        "Warning: 15 more wrong passwords within a minute",
    ]
    assert [{**json.loads(line), "time": ""} for line in machine.lines[:2]] == [
        {"time": "", "event": "wrong-password", "address": "192.168.43.170:54500", "delay": 0.0},
        {"time": "", "event": "wrong-password", "address": "192.168.43.170:54501", "delay": 4.0},
    ]


def test_json_has_one_object_per_line() -> None:
    screen = Screen(JsonStyle(1000))
    before = datetime.now(UTC).replace(microsecond=0)
    show_everything(screen.console)
    objects = [json.loads(line) for line in screen.lines]
    for each in objects:
        assert before <= datetime.fromisoformat(each.pop("time")) <= datetime.now(UTC)
    venkat = {"address": "192.168.43.169:54494", "username": "Venkat"}
    unnamed = {"event": "closed", "username": None}
    assert objects == [
        {"event": "listening", "address": "0.0.0.0:33000"},
        {"event": "reloaded", "changes": ["roster true -> false", "password"]},
        {"event": "reloaded", "changes": []},
        {"event": "accepted", **venkat},
        {"event": "message", "room": "lobby", "username": "Venkat", "body": "Hey! ..."},
        {"event": "closed", **venkat, "reason": None},
        {"event": "closed", **venkat, "reason": "kicked by the operator"},
        {**unnamed, "address": "192.168.43.170:54500", "reason": "no username within 10 s"},
        {**unnamed, "address": "192.168.43.170:54501", "reason": None},
        {"event": "warning", "text": "accepting rests"},
        {"event": "error", "where": "callback", "traceback": "ZeroDivisionError: division by zero\n"},
    ]


def test_quiet_console_shows_the_banner_and_warnings_only() -> None:
    screen = Screen(quiet=True)
    show_everything(screen.console)
    assert [line.split(":")[0] for line in screen.lines] == [
        "Listening for connections on 0.0.0.0",
        "Settings reloaded",
        "Settings reloaded",
        "Warning",
        "Error",
    ]


def test_set_style_changes_the_format_of_later_lines() -> None:
    screen = Screen()
    screen.console.set_style(JsonStyle(1000), True)
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
def test_control_characters_in_a_message_are_escaped(body: str, shown: str) -> None:
    screen = Screen()
    screen.console.on_published([message("Venkat", body)])
    assert screen.lines == [f"Received message from Venkat: {shown}"]


@given(TEXTS, STYLES)
def test_any_text_gives_one_line_without_control_characters(
    text: str, style: type[TextStyle | JsonStyle]
) -> None:
    screen = Screen(style(1000))
    console = screen.console
    member: Any = Member(text, text, None, None)  # type: ignore[arg-type]
    for show in (
        lambda: console.on_published([message(text + "x", text)]),
        lambda: console.on_sign_in(member),
        lambda: console.on_sign_out(member, text),
        lambda: console.closed_before_login(text, text),
        lambda: console.warn(text),
        lambda: console.show_listening(text),
        lambda: console.show_reload([text, text]),
        lambda: console.on_error(text, ValueError(text)),
    ):
        screen.lines.clear()
        show()
        [line] = screen.lines
        assert len(line.splitlines()) == 1
        assert not {unicodedata.category(character) for character in line} & {"Cc", "Cs", "Zl", "Zp"}
        assert not set(line) & set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@given(TEXTS)
def test_json_keeps_the_exact_text_of_a_message(text: str) -> None:
    screen = Screen(JsonStyle(1000))
    screen.console.on_published([message("Venkat", text)])
    [line] = screen.lines
    assert line.isascii()
    assert json.loads(line)["body"] == text


def test_operators_lines_run_as_commands_and_show_their_output() -> None:
    chat = Chat()
    screen = Screen(quiet=True)
    screen.console.on_line("/users")
    assert screen.lines == [], "there are no commands yet"
    screen.console.set_commands(Commands(chat.hub, lambda: None))
    screen.console.on_line("/users")
    screen.console.on_line("/nonsense\x1b")
    screen.console.on_line("hello all")
    assert screen.lines == [
        "Nobody is online.",
        "Unknown command /nonsense\\x1b. "
        "Type /help to list the commands, or //text to send /text to everyone.",
    ]
    chat.sign_in("Michael")
    chat.tick()
    assert chat.sent() == [("Server", "hello all")]


def test_command_output_is_json_in_json_format() -> None:
    screen = Screen(JsonStyle(1000))
    screen.console.set_commands(Commands(Chat().hub, lambda: None))
    screen.console.on_line("/users")
    answer = json.loads(screen.lines[0])
    assert (answer["event"], answer["text"]) == ("reply", "Nobody is online.")


def test_end_to_end_encrypted_body_is_not_shown() -> None:
    sealed = message("Venkat", "Zm9v")._replace(cipher="selchat1 AAAA 1 BBBB")
    text, machine = Screen(), Screen(JsonStyle(1000))
    for screen in (text, machine):
        screen.console.on_published([sealed, sealed._replace(cipher="caesar")])
    assert text.lines == [
        "Received message from Venkat: (encrypted)",
        "Received message from Venkat: Zm9v",
    ]
    assert [json.loads(line)["body"] for line in machine.lines] == [None, "Zm9v"]


def test_console_warns_of_an_announcement_that_was_not_stored() -> None:
    shown: list[str] = []
    console = Console(shown.append, TextStyle(1000), quiet=True)
    message = Said("lobby", 0, "Server", "tea is\nready", 1.5)
    console.on_announcement_lost([message], NotStoredError("the disk is full"))
    assert shown == [r"Warning: not sent (the disk is full): tea is\nready"]


def test_console_warns_when_the_log_fails_and_when_it_works_again() -> None:
    screen = Screen(quiet=True)
    screen.console.on_log_state(NotStoredError("the disk is full"))
    screen.console.on_log_state(None)
    assert screen.lines == [
        "Warning: MESSAGES CANNOT BE STORED, so the server accepts none: the disk is full",
        "Warning: messages can be stored again",
    ]


def test_long_body_is_cut_in_the_log_lines() -> None:
    text, machine = Screen(TextStyle(5)), Screen(JsonStyle(5))
    for screen in (text, machine):
        screen.console.on_published(
            [message("Venkat", body) for body in ("12345", "123456", "\x01" * 65_000)]
        )
    assert text.lines == [
        "Received message from Venkat: 12345",
        "Received message from Venkat: 12345… (1 more character)",
        "Received message from Venkat: " + "\\x01" * 5 + "… (64995 more characters)",
    ]
    lines = [json.loads(line) for line in machine.lines]
    assert [(line["body"], line.get("more")) for line in lines] == [
        ("12345", None),
        ("12345", 1),
        ("\x01" * 5, 64_995),
    ]
    assert max(map(len, machine.lines)) < 200


def test_long_announcement_is_cut_in_the_warning() -> None:
    screen = Screen()
    screen.console.on_announcement_lost([message("Server", "x" * 60_000)], NotStoredError("the disk is full"))
    [line] = screen.lines
    assert line.endswith("xx… (59800 more characters)")
