from __future__ import annotations

from typing import Any

import pytest

from selchat.client.commands import (
    COMMANDS,
    HELP,
    Command,
    CommandKind,
    CommandRunner,
    CommandUsageError,
    NotInRoomsError,
    UnknownCommandError,
    parse,
)
from selchat.client.events import (
    ClientEvent,
    History,
    Message,
    Parted,
    Refused,
    Rooms,
    SeenAuthors,
    Users,
    Welcomed,
)

# -- parsing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("", Command(CommandKind.NOTHING)),
        ("hey", Command(CommandKind.TEXT, text="hey")),
        (" /quit", Command(CommandKind.TEXT, text=" /quit")),
        ("//quit", Command(CommandKind.TEXT, text="/quit")),
        ("///", Command(CommandKind.TEXT, text="//")),
        ("/users", Command(CommandKind.USERS)),
        ("/Users  engine-room ", Command(CommandKind.USERS, "engine-room")),
        ("/help", Command(CommandKind.HELP)),
        ("/quit", Command(CommandKind.QUIT)),
        ("/quit now", Command(CommandKind.QUIT, "now")),
        ("/join engine-room", Command(CommandKind.JOIN, "engine-room")),
        ("/part", Command(CommandKind.PART)),
        ("/part engine-room", Command(CommandKind.PART, "engine-room")),
        ("/rooms", Command(CommandKind.ROOMS)),
        ("/msg Venkat hey  you", Command(CommandKind.MSG, "Venkat", "hey  you")),
        ("/msg\tVenkat\they", Command(CommandKind.MSG, "Venkat", "hey")),
        ('/msg "Venkat Rao"hey', Command(CommandKind.MSG, "Venkat Rao", "hey")),
        ("/msg Venkat two\nlines", Command(CommandKind.MSG, "Venkat", "two\nlines")),
        ("/me waves", Command(CommandKind.ME, text="waves")),
        ("/topic", Command(CommandKind.TOPIC)),
        ("/topic a b", Command(CommandKind.TOPIC, text="a b")),
        ("/history", Command(CommandKind.HISTORY, number=20)),
        ("/history 7", Command(CommandKind.HISTORY, number=7)),
        ("/search a b", Command(CommandKind.SEARCH, text="a b")),
        ("/KICK Venkat Rao", Command(CommandKind.OPERATOR, text="/kick Venkat Rao")),
        ("/bans", Command(CommandKind.OPERATOR, text="/bans")),
    ],
)
def test_parse(line: str, command: Command) -> None:
    assert parse(line) == command


@pytest.mark.parametrize("line", ["/", "/nope", "/ help", "/helpme", "/kick and so on x", "/\n"])
def test_unknown_commands(line: str) -> None:
    if line.startswith("/kick"):
        assert parse(line).text == line  # the server will say what it thinks of it
        return
    with pytest.raises(UnknownCommandError, match="unknown command /"):
        parse(line)


@pytest.mark.parametrize(
    "line",
    [
        "/join",
        "/join a b",
        "/msg",
        "/msg Venkat",
        '/msg "Venkat hey',
        '/msg "" hey',
        "/me",
        "/search ",
        "/history x",
        "/history 0",
        "/history -1",
        "/history 99999999999999999999",
        "/history ²",
    ],
)
def test_commands_that_are_typed_wrong(line: str) -> None:
    with pytest.raises(CommandUsageError, match="usage: /"):
        parse(line)


def test_every_command_is_completed_and_helped_with() -> None:
    text = "\n".join(HELP)
    for command in COMMANDS:
        assert command in text


# -- running -----------------------------------------------------------------------------------------------


class FakeLink:
    """Writes down what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.rooms: tuple[str, ...] = ("lobby",)
        self.name = "Michael"
        self.topics = {"lobby": "tea\x07"}

    def topic(self, room: str) -> str:
        return self.topics.get(room, "")

    def __getattr__(self, name: str) -> Any:
        return lambda *values, **more: self.asked.append((name, *values, *more.values()))


class Desk:
    def __init__(self) -> None:
        self.link = FakeLink()
        self.shown: list[str] = []
        self.runner = CommandRunner(self.link, "lobby", self.shown.append)  # type: ignore[arg-type]

    def asks(self, line: str) -> list[tuple[object, ...]]:
        """What typing the line asks of the link."""
        self.link.asked.clear()
        self.runner.run(line)
        return self.link.asked

    def shows(self, event: ClientEvent) -> list[str]:
        self.shown.clear()
        assert self.runner.handle(event)
        return self.shown


def entered(room: str) -> Users:
    return Users(room, (), 0, "", 0, joined=True)


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("", []),
        ("hey", [("say", "hey", "lobby")]),
        ("//x", [("say", "/x", "lobby")]),
        ("/me waves", [("say", "* Michael waves", "lobby")]),
        ("/users", [("get_users", "lobby")]),
        ("/users a", [("get_users", "a")]),
        ("/rooms", [("get_rooms",)]),
        ("/msg Zoe hey", [("whisper", "Zoe", "hey")]),
        ("/KICK Zoe", [("whisper", "Server", "/kick Zoe")]),
        ("/topic coffee", [("set_topic", "lobby", "coffee")]),
        ("/topic -", [("set_topic", "lobby", "")]),
        ("/history", [("get_history", "lobby", 20)]),
        ("/history 7000", [("get_history", "lobby", 1000)]),
        ("/part", [("part", "lobby")]),
        ("/part a", [("part", "a")]),
        ("/join a", [("join", "a")]),
        ("/quit", []),
    ],
)
def test_what_is_typed_is_asked_of_the_link(line: str, asked: list[tuple[object, ...]]) -> None:
    assert Desk().asks(line) == asked


def test_what_is_left_to_the_caller_is_returned() -> None:
    runner = Desk().runner
    assert runner.run("/quit") is CommandKind.QUIT
    assert runner.run("hey") is CommandKind.TEXT
    with pytest.raises(CommandUsageError):
        runner.run("/join")


def test_help_and_the_topic_are_shown_at_once() -> None:
    desk = Desk()
    desk.runner.run("/help")
    assert desk.shown == list(HELP)
    desk.shown.clear()
    desk.runner.run("/topic")
    desk.link.topics.clear()
    desk.runner.run("/topic")
    assert desk.shown == [r"The topic of lobby: tea\x07", "There is no topic"]


def test_what_is_typed_goes_to_the_room_that_was_joined_last() -> None:
    desk = Desk()
    desk.runner.run("/join a")
    assert desk.asks("hey") == [("say", "hey", "a")]
    desk.link.rooms = ("lobby", "A")
    assert not desk.runner.handle(entered("A"))
    assert desk.runner.room == "A"  # as the server writes it
    assert not desk.runner.handle(entered("b"))
    assert desk.runner.room == "A"


def test_who_parts_talks_in_another_room() -> None:
    desk = Desk()
    desk.link.rooms = ("lobby",)
    desk.runner.run("/join a")
    desk.runner.run("/part")
    assert desk.runner.room == "lobby"
    assert desk.shown == ["Your messages now go to lobby"]
    desk.link.rooms = ()
    assert not desk.runner.handle(Parted("lobby"))
    for line in ("hey", "/me waves", "/part", "/topic", "/history", "/search x"):
        with pytest.raises(NotInRoomsError, match="in no room"):
            desk.runner.run(line)
    assert desk.asks("/users") == [("get_users", "lobby")]


@pytest.mark.parametrize("code", ["bad-room", "too-many-rooms"])
def test_a_room_that_cannot_be_joined_is_not_talked_to(code: str) -> None:
    desk = Desk()
    desk.runner.run("/join a")
    assert not desk.runner.handle(Refused(code, "no", room="a"))
    assert desk.runner.room == "lobby"


def test_what_is_no_answer_is_left_to_the_caller() -> None:
    desk = Desk()
    for event in (
        Message("A", "hey"),
        Parted("elsewhere"),
        Refused("muted", "no", id="1", room="lobby"),
        Welcomed("A", "", (), 0, again=False, renumbered=False),
    ):
        assert not desk.runner.handle(event)
    assert desk.shown == []


def test_answers_are_shown() -> None:
    desk = Desk()
    assert desk.shows(Users("lobby", ("A",), 1, "", 0, joined=False)) == ["Users online (1): A"]
    assert desk.shows(SeenAuthors(("A",))) == ["This server sends no list of users. Seen so far: A"]
    assert desk.shows(Rooms((), 0)) == []
    desk.runner.run("/history")
    assert desk.shows(History("lobby", (Message("A", "hey"),), more=True)) == ["[lobby] A > hey"]


def page(first: int, last: int, *, more: bool) -> History:
    messages = (
        Message("A", f"{'Tea' if seq % 2 else 'x'} {seq}", "lobby", seq) for seq in range(first, last + 1)
    )
    return History("lobby", tuple(messages), more)


def test_a_search_looks_page_by_page() -> None:
    desk = Desk()
    assert desk.asks("/search tea") == [("get_history", "lobby", 1000)]
    assert desk.asks("/history 1") == [("get_history", "lobby", 1)]
    desk.link.asked.clear()
    assert desk.shows(page(5, 8, more=True)) == []
    assert desk.link.asked == [("get_history", "lobby", 1000, 5)]
    assert desk.shows(History("lobby", (Message("A", "the history"),), more=True)) == [
        "[lobby] A > the history"
    ]
    assert desk.shows(page(1, 4, more=False)) == [
        "[lobby] A > Tea 1",
        "[lobby] A > Tea 3",
        "[lobby] A > Tea 5",
        "[lobby] A > Tea 7",
        "4 messages with tea among the last 8 messages of lobby",
    ]


def test_a_search_has_an_end() -> None:
    desk = Desk()
    desk.runner.run("/search tea")
    shown = desk.shows(page(1001, 2000, more=True))
    assert shown[0] == "[lobby] A > Tea 1601"
    assert shown[-1] == "200 messages with tea among the last 1000 messages of lobby"
    desk.runner.run("/search nothing of that")
    for number in range(4):
        assert desk.shows(page(5001 - 1000 * number, 6000 - 1000 * number, more=True)) == []
    assert desk.shows(page(1001, 2000, more=True)) == [
        "0 messages with nothing of that among the last 5000 messages of lobby"
    ]


def test_what_was_asked_on_a_connection_that_is_gone_is_forgotten() -> None:
    desk = Desk()
    desk.runner.run("/search tea")
    desk.runner.connection_lost()
    assert desk.shows(page(1, 1, more=False)) == ["[lobby] A > Tea 1"]
