from __future__ import annotations

from collections.abc import Callable

import pytest

from selchat.chat.commands import Commands
from tests.chat.test_hub import Chat, bodies


class Operator:
    def __init__(self) -> None:
        self.chat = Chat()
        self.quits = 0
        self.run: Callable[[str], list[str]] = Commands(self.chat.hub, self._quit).run

    def _quit(self) -> None:
        self.quits += 1


def test_plain_line_goes_to_everyone() -> None:
    operator = Operator()
    [michael] = operator.chat.sign_in("Michael")
    assert operator.run("Lunch is ready  ") == []
    operator.chat.tick()
    assert bodies(michael) == [b"Lunch is ready"]
    assert operator.chat.sent() == [("Server", "Lunch is ready")]


@pytest.mark.parametrize("line", ["", "   ", "\t", "\r"])
def test_empty_line_sends_nothing(line: str) -> None:
    operator = Operator()
    operator.chat.sign_in("Michael")
    assert operator.run(line) == []
    operator.chat.tick()
    assert operator.chat.sent() == []


def test_double_slash_sends_a_line_with_one_slash() -> None:
    operator = Operator()
    operator.chat.sign_in("Michael")
    assert operator.run("//help is for the operator") == []
    operator.chat.tick()
    assert operator.chat.sent() == [("Server", "/help is for the operator")]


def test_users_are_listed_with_their_addresses() -> None:
    operator = Operator()
    assert operator.run("/users") == ["Nobody is online."]
    operator.chat.sign_in("venkat", "Michael")
    assert operator.run("/USERS") == [
        "Users online (2):",
        "  Michael  192.168.43.169:54494",
        "  venkat  192.168.43.169:54494",
    ]


def test_kick_disconnects_the_named_member() -> None:
    operator = Operator()
    michael, narayan = operator.chat.sign_in("Michael Jackson", "Narayan")
    assert operator.run("/kick   michael jackson ") == []
    operator.chat.tick()
    assert michael.gone
    assert not narayan.gone
    assert operator.run("/kick Michael Jackson") == [
        "There is no one named Michael Jackson. Type /users to see who is online."
    ]


def test_kick_needs_a_name() -> None:
    assert Operator().run("/kick") == ["Usage: /kick NAME"]


def test_quit_stops_the_server() -> None:
    operator = Operator()
    assert operator.run("/quit") == []
    assert operator.quits == 1


def test_help_lists_every_command() -> None:
    assert Operator().run("/help") == [
        "/users                         list who is online, with addresses",
        "/rooms                         list the rooms",
        "/kick NAME                     disconnect someone",
        "/ban NAME|ADDRESS [for 1h10m]  disconnect someone and keep them out",
        "/unban NAME|ADDRESS            lift a ban",
        "/mute NAME [for 1h10m]         let someone read but not send",
        "/unmute NAME                   lift a mute",
        "/bans                          list bans and mutes, and when they end",
        "/help                          show this list",
        "/quit                          tell everyone and stop the server",
        "Any other text goes to everyone in the lobby, from Server.",
    ]


@pytest.mark.parametrize("line", ["/", "/nonsense", "/usersx", "/quit!"])
def test_unknown_command_is_not_sent_to_everyone(line: str) -> None:
    operator = Operator()
    operator.chat.sign_in("Michael")
    assert operator.run(line) == [
        f"Unknown command {line}. Type /help to list the commands, or //text to send /text to everyone."
    ]
    operator.chat.tick()
    assert operator.chat.sent() == []
    assert operator.quits == 0
