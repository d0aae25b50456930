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
        ('/join "engine-room"', Command(CommandKind.JOIN, "engine-room")),
        ("/part \u201cengine-room\u201d", Command(CommandKind.PART, "engine-room")),
        ('/users "a" b', Command(CommandKind.USERS, '"a" b')),
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
        ("/ops", Command(CommandKind.OPERATOR, text="/ops")),
        ("/claim 7K3M-9QRT", Command(CommandKind.OPERATOR, text="/claim 7K3M-9QRT")),
        ("/rooms drop plans", Command(CommandKind.OPERATOR, text="/rooms drop plans")),
        ("/msg Table for two hi", Command(CommandKind.MSG, "Table for two", "hi")),
        ("/msg table  FOR two for four", Command(CommandKind.MSG, "table FOR two", "for four")),
        ("/msg Table hi", Command(CommandKind.MSG, "Table", "hi")),
        ("/msg @Venkat hi", Command(CommandKind.MSG, "Venkat", "hi")),
        ('/msg "Table for two" hi', Command(CommandKind.MSG, "Table for two", "hi")),
        ("/msg \u201cTable for\u201d two", Command(CommandKind.MSG, "Table for", "two")),
    ],
)
def test_typed_line_is_parsed_as_a_command(line: str, command: Command) -> None:
    assert parse(line, ("Table for two", "Venkat")) == command


@pytest.mark.parametrize("line", ["/", "/nope", "/ help", "/helpme", "/kick and so on x", "/\n"])
def test_unknown_commands_are_errors(line: str) -> None:
    if line.startswith("/kick"):
        assert parse(line).text == line  # the server judges its arguments
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
        '/msg "Venkat"',
        "/msg Table for two",
        "/me",
        "/search ",
        "/history x",
        "/history 0",
        "/history -1",
        "/history 99999999999999999999",
        "/history ²",
    ],
)
def test_a_malformed_command_shows_its_usage(line: str) -> None:
    with pytest.raises(CommandUsageError, match="Usage: /"):
        parse(line, ("Table for two",))


def test_the_help_lists_every_command() -> None:
    text = "\n".join(HELP)
    for command in COMMANDS:
        assert command in text


# -- running -----------------------------------------------------------------------------------------------


class FakeLink:
    """Records its calls."""

    def __init__(self) -> None:
        self.calls_made: list[tuple[object, ...]] = []
        self.rooms: tuple[str, ...] = ("lobby",)
        self.names: tuple[str, ...] = ("Venkat", "Table for two")
        self.name = "Michael"
        self.topics = {"lobby": "tea\x07"}
        self.tags: list[object] = []

    def topic(self, room: str) -> str:
        return self.topics.get(room, "")

    def __getattr__(self, name: str) -> Any:
        def call(*values: object, tag: object = None, **more: object) -> None:
            self.calls_made.append((name, *values, *more.values()))
            self.tags += [] if tag is None else [tag]

        return call


class Setup:
    def __init__(self) -> None:
        self.link = FakeLink()
        self.shown: list[str] = []
        self.runner = CommandRunner(self.link, "lobby", self.shown.append)  # type: ignore[arg-type]

    def calls(self, line: str) -> list[tuple[object, ...]]:
        """Run the line and return the calls of the link that the line makes."""
        self.link.calls_made.clear()
        self.runner.run(line)
        return self.link.calls_made

    def shows(self, event: ClientEvent) -> list[str]:
        """Return the lines for an event; an answer is for the oldest request."""
        self.shown.clear()
        if isinstance(event, History):
            event = event._replace(tag=self.link.tags.pop(0))
        assert self.runner.handle(event)
        return self.shown


def entered(room: str) -> Users:
    return Users(room, (), 0, "", 0, joined=True)


@pytest.mark.parametrize(
    ("line", "calls"),
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
def test_each_command_calls_the_link(line: str, calls: list[tuple[object, ...]]) -> None:
    assert Setup().calls(line) == calls


def test_run_returns_the_kind_of_the_line() -> None:
    runner = Setup().runner
    assert runner.run("/quit") is CommandKind.QUIT
    assert runner.run("hey") is CommandKind.TEXT
    with pytest.raises(CommandUsageError):
        runner.run("/join")


def test_help_and_topic_need_no_request() -> None:
    setup = Setup()
    setup.runner.run("/help")
    assert setup.shown == list(HELP)
    setup.shown.clear()
    setup.runner.run("/topic")
    setup.link.topics.clear()
    setup.runner.run("/topic")
    assert setup.shown == [r"The topic of lobby: tea\x07", "There is no topic"]


def test_text_goes_to_the_room_joined_last() -> None:
    setup = Setup()
    setup.runner.run("/join a")
    assert setup.calls("hey") == [("say", "hey", "a")]
    setup.link.rooms = ("lobby", "A")
    assert not setup.runner.handle(entered("A"))
    assert setup.runner.room == "A"  # in the spelling of the server
    assert not setup.runner.handle(entered("b"))
    assert setup.runner.room == "A"


def test_parting_switches_to_another_room() -> None:
    setup = Setup()
    setup.link.rooms = ("lobby",)
    setup.runner.run("/join a")
    setup.runner.run("/part")
    assert setup.runner.room == "lobby"
    assert setup.shown == ["Your messages now go to lobby"]
    setup.link.rooms = ()
    assert not setup.runner.handle(Parted("lobby"))
    for line in ("hey", "/me waves", "/part", "/topic", "/history", "/search x"):
        with pytest.raises(NotInRoomsError, match="in no room"):
            setup.runner.run(line)
    assert setup.calls("/users") == [("get_users", "lobby")]


@pytest.mark.parametrize("code", ["bad-room", "too-many-rooms"])
def test_a_refused_room_is_not_the_current_room(code: str) -> None:
    setup = Setup()
    setup.runner.run("/join a")
    assert not setup.runner.handle(Refused(code, "no", room="a"))
    assert setup.runner.room == "lobby"


def test_other_events_are_left_to_the_caller() -> None:
    setup = Setup()
    for event in (
        Message("A", "hey"),
        Parted("elsewhere"),
        Refused("muted", "no", id="1", room="lobby"),
        Welcomed("A", "", (), 0, again=False, renumbered=False),
    ):
        assert not setup.runner.handle(event)
    assert setup.shown == []


def test_answers_are_shown() -> None:
    setup = Setup()
    assert setup.shows(Users("lobby", ("A",), 1, "", 0, joined=False)) == ["Users online (1): A"]
    assert setup.shows(SeenAuthors(("A",))) == ["This server sends no list of users. Seen so far: A"]
    assert setup.shows(Rooms((), 0)) == []
    setup.runner.run("/history")
    assert setup.shows(History("lobby", (Message("A", "hey"),), more=True)) == ["[lobby] A > hey"]


def page(first: int, last: int, *, more: bool) -> History:
    messages = (
        Message("A", f"{'Tea' if seq % 2 else 'x'} {seq}", "lobby", seq) for seq in range(first, last + 1)
    )
    return History("lobby", tuple(messages), more)


def test_a_search_reads_page_by_page() -> None:
    setup = Setup()
    assert setup.calls("/search tea") == [("get_history", "lobby", 1000)]
    assert setup.calls("/history 1") == [("get_history", "lobby", 1)]
    setup.link.calls_made.clear()
    assert setup.shows(page(5, 8, more=True)) == []
    assert setup.link.calls_made == [("get_history", "lobby", 1000, 5)]
    assert setup.shows(History("lobby", (Message("A", "the history"),), more=True)) == [
        "[lobby] A > the history"
    ]
    assert setup.shows(page(1, 4, more=False)) == [
        "[lobby] A > Tea 1",
        "[lobby] A > Tea 3",
        "[lobby] A > Tea 5",
        "[lobby] A > Tea 7",
        "4 messages with tea among the last 8 messages of lobby",
    ]


def test_a_search_is_bounded() -> None:
    setup = Setup()
    setup.runner.run("/search tea")
    shown = setup.shows(page(1001, 2000, more=True))
    assert shown[0] == "[lobby] A > Tea 1601"
    assert shown[-1] == "200 messages with tea among the last 1000 messages of lobby"
    setup.runner.run("/search nothing of that")
    for number in range(4):
        assert setup.shows(page(5001 - 1000 * number, 6000 - 1000 * number, more=True)) == []
    assert setup.shows(page(1001, 2000, more=True)) == [
        "0 messages with nothing of that among the last 5000 messages of lobby"
    ]


def test_a_refused_page_ends_a_search_with_its_matches() -> None:
    setup = Setup()
    setup.runner.run("/search tea")
    refused = Refused("not-readable", "no", room="lobby", request="history")
    assert not setup.runner.handle(refused._replace(tag=setup.link.tags[0]))
    assert setup.shown == []
    setup.shows(page(1, 2, more=True))
    assert not setup.runner.handle(refused._replace(tag=setup.link.tags.pop()))
    assert setup.shown == [
        "[lobby] A > Tea 1",
        "1 message with tea among the last 2 messages of lobby",
    ]


def test_white_space_in_a_text_is_the_users() -> None:
    assert parse("/me\twaves\t\tand  smiles") == Command(CommandKind.ME, text="waves\t\tand  smiles")
    assert parse("/msg Zoe\ta\tb\n  c") == Command(CommandKind.MSG, "Zoe", "a\tb\n  c")
    assert parse("/me\nwaves") == Command(CommandKind.ME, text="waves")
    for line in ("/join a\tb", "/join a\nb"):
        with pytest.raises(CommandUsageError):
            parse(line)


def test_a_long_unknown_command_is_cut() -> None:
    with pytest.raises(UnknownCommandError) as caught:
        parse("/" + "x" * 64_000)
    assert len(str(caught.value)) < 200
