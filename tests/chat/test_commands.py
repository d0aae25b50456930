from __future__ import annotations

from collections.abc import Callable

import pytest

from selchat.chat.commands import Commands
from tests.chat.test_hub import Chat, bodies


class Operator:
    def __init__(self) -> None:
        self.chat = Chat()
        self.quits = 0
        commands = Commands(self.chat.hub, self._quit)
        self.run: Callable[[str], list[str]] = commands.run
        self.run_remote: Callable[[str], list[str]] = commands.run_remote

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


@pytest.mark.parametrize(
    ("line", "usage"),
    [
        ("/kick", "/kick NAME"),
        ("/ban", "/ban NAME|ADDRESS [for 1h10m]"),
        ("/unban", "/unban NAME|ADDRESS"),
        ("/mute", "/mute NAME [for 1h10m]"),
        ("/unmute", "/unmute NAME"),
    ],
)
def test_command_without_its_name_shows_its_usage(line: str, usage: str) -> None:
    operator = Operator()
    assert operator.run(line) == [f"Usage: {usage}"]
    assert operator.run("/bans") == ["Nobody is banned or muted."]


def test_bans_and_mutes_are_listed_until_they_are_lifted() -> None:
    operator = Operator()
    michael, narayan = operator.chat.sign_in("Michael", "Narayan")
    assert operator.run("/ban michael") == ["Banned michael. Disconnected: Michael."]
    assert operator.run("/mute Narayan") == ["Muted Narayan."]
    assert operator.run("/ban 192.0.2.0/24 ") == ["Banned 192.0.2.0/24."]
    assert operator.run("/bans") == ["Banned: michael", "Banned: 192.0.2.0/24", "Muted: Narayan"]
    assert (michael.closed_for, narayan.closed_for) == (["banned by the operator"], [])
    assert operator.run("/unban Michael") == ["Michael is no longer banned."]
    assert operator.run("/unban Michael") == ["Michael is not banned. Type /bans to see who is."]
    assert operator.run("/unban 192.0.2.0/24") == ["192.0.2.0/24 is no longer banned."]
    assert operator.run("/unmute narayan") == ["narayan is no longer muted."]
    assert operator.run("/unmute narayan") == ["narayan is not muted. Type /bans to see who is."]
    assert operator.run("/bans") == ["Nobody is banned or muted."]


@pytest.mark.parametrize(("command", "answer"), [("/ban", "Not banned"), ("/mute", "Not muted")])
def test_sanction_with_an_invalid_duration_does_nothing(command: str, answer: str) -> None:
    operator = Operator()
    [michael] = operator.chat.sign_in("Michael")
    [line] = operator.run(f"{command} Michael for ever")
    assert line.startswith(f"{answer}: for: 'ever' is not a ")
    assert michael.closed_for == []
    assert operator.run("/bans") == ["Nobody is banned or muted."]


def test_rooms_are_listed_with_members_messages_and_topics() -> None:
    operator = Operator()
    [michael] = operator.chat.sign_in("Michael")
    engine = michael.join_room("engine")
    operator.chat.hub.set_topic(michael.member, engine, "oil")
    operator.run("tea")
    operator.chat.tick()
    assert operator.run("/rooms") == [
        "Rooms (2):",
        "  engine  1 online, 0 messages, topic: oil",
        "  lobby  1 online, 1 messages",
    ]


def test_remote_operator_can_run_commands_but_not_quit_or_announce() -> None:
    operator = Operator()
    operator.chat.sign_in("Michael")
    assert operator.run_remote("/users")[0] == "Users online (1):"
    [answer] = operator.run_remote(" /QUIT now")
    assert answer == "Not stopped: /quit works only in the server's own terminal."
    assert operator.run_remote("hello") == ["Commands begin with a slash. Type /help to list them."]
    operator.chat.tick()
    assert operator.quits == 0
    assert operator.chat.sent() == []


def test_rooms_drop_deletes_a_room_with_its_messages() -> None:
    operator = Operator()
    [michael] = operator.chat.sign_in("Michael")
    hub = operator.chat.hub
    plans = hub.join_room(michael.member, "plans")
    hub.send(michael.member, plans, ["x"])
    operator.chat.tick()
    assert operator.run("/rooms drop plans") == [
        "Not deleted: Michael joined plans. They have to leave it first; see /kick."
    ]
    hub.leave_room(michael.member, plans)
    assert operator.run("/rooms DROP #Plans") == ["Deleted the room plans and its 1 messages."]
    while hub.rooms.delete_dropped():
        pass
    assert hub.log.after("plans", 0, 10, 1000) == []
    assert operator.run("/rooms drop plans") == ["There is no room plans. Type /rooms to list the rooms."]
    assert operator.run("/rooms drop lobby") == ["Not deleted: everyone joins the lobby first."]


@pytest.mark.parametrize("line", ["/rooms drop", "/rooms plans", "/rooms remove plans"])
def test_rooms_with_unclear_words_shows_its_usage(line: str) -> None:
    assert Operator().run(line) == ["Usage: /rooms, or /rooms drop ROOM"]


def test_quit_stops_the_server() -> None:
    operator = Operator()
    assert operator.run("/quit") == []
    assert operator.quits == 1


def test_help_lists_every_command() -> None:
    assert Operator().run("/help") == [
        "/users                         list who is online, with addresses",
        "/rooms [drop ROOM]             list the rooms, or delete one with its messages",
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
