from __future__ import annotations

import pytest

from selchat.client import lines
from selchat.client.core import ClassicClient, Message
from selchat.client.lines import Outage, Typed, UnknownCommandError
from selchat.client.link import QueueFullError
from selchat.errors import FrameTooLongError
from tests.client.support import pair, settings


@pytest.mark.parametrize(
    ("line", "asked", "text"),
    [
        ("", Typed.NOTHING, ""),
        ("hey", Typed.TEXT, "hey"),
        (" /quit", Typed.TEXT, " /quit"),
        ("//quit", Typed.TEXT, "/quit"),
        ("///", Typed.TEXT, "//"),
        ("/users", Typed.USERS, ""),
        ("/Users please", Typed.USERS, ""),
        ("/help", Typed.HELP, ""),
        ("/quit", Typed.QUIT, ""),
    ],
)
def test_parse(line: str, asked: Typed, text: str) -> None:
    assert lines.parse(line) == (asked, text)


@pytest.mark.parametrize("line", ["/", "/nope", "/ help", "/helpme"])
def test_unknown_commands(line: str) -> None:
    with pytest.raises(UnknownCommandError, match="unknown command /"):
        lines.parse(line)


def test_nothing_that_is_shown_can_act_on_a_terminal() -> None:
    message = Message("V\x1b[2J", "a\tb\x1b[31m\r\nYou >> \u202e\x07")
    assert lines.shown(message) == r"V\x1b[2J > a    b\x1b[31m\r\nYou >> \u202e\x07"


def test_users() -> None:
    client = ClassicClient(settings())
    assert lines.users(client).startswith("Nobody is known")
    client.receive_data(pair("Zo\x1b", "hey") + pair("Adam", "hey"))
    assert lines.users(client) == r"Heard so far, as this server sends no list: Zo\x1b, Adam"
    client.receive_data(pair("Server", "Users online (3): A, B, C"))
    assert lines.users(client) == "Users online (3): A, B, C"
    client.receive_data(pair("Server", "Users online (903): A, B, C and 900 more"))
    assert lines.users(client) == "Users online (903): A, B, C and 900 more"


def test_only_the_servers_rosters_are_rosters() -> None:
    assert lines.is_roster(Message("Server", "Users online (1): A"))
    assert not lines.is_roster(Message("Venkat", "Users online (1): A"))
    assert not lines.is_roster(Message("Server", "hey"))


def test_refusals() -> None:
    assert lines.refusal(FrameTooLongError(70000, 65536)) == "not sent: 70000 bytes, and the limit is 65536"
    assert lines.refusal(QueueFullError(10)) == "not sent: more than 10 bytes wait to be sent already"


def test_an_outage_is_not_told_again_and_again() -> None:
    outage = Outage()
    assert outage.line("closed", 1.26) == "Connection lost: closed; trying again in 1.3 s"
    assert outage.line("refused", 0) == "No connection yet: refused; trying again in 0.0 s"
    assert outage.line("refused", 3) is None
    outage.end()
    assert outage.line("refused", 3) == "Connection lost: refused; trying again in 3.0 s"
