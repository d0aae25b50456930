from __future__ import annotations

import pytest

from selchat.client import lines
from selchat.client.connection.link import QueueFullError
from selchat.client.events import (
    Bye,
    Gap,
    History,
    Message,
    NotStored,
    Parted,
    Refused,
    Rooms,
    RoomSummary,
    Seal,
    SeenAuthors,
    Users,
    Welcomed,
    Whispered,
)
from selchat.client.lines import Command, CommandUsageError, Outage, Typed, UnknownCommandError
from selchat.events import Joined, Left, Topic
from selchat.wire.frames import FrameTooLongError


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("", Command(Typed.NOTHING)),
        ("hey", Command(Typed.TEXT, text="hey")),
        (" /quit", Command(Typed.TEXT, text=" /quit")),
        ("//quit", Command(Typed.TEXT, text="/quit")),
        ("///", Command(Typed.TEXT, text="//")),
        ("/users", Command(Typed.USERS)),
        ("/Users  engine-room ", Command(Typed.USERS, "engine-room")),
        ("/help", Command(Typed.HELP)),
        ("/quit", Command(Typed.QUIT)),
        ("/quit now", Command(Typed.QUIT, "now")),
        ("/join engine-room", Command(Typed.JOIN, "engine-room")),
        ("/part", Command(Typed.PART)),
        ("/part engine-room", Command(Typed.PART, "engine-room")),
        ("/rooms", Command(Typed.ROOMS)),
        ("/msg Venkat hey  you", Command(Typed.MSG, "Venkat", "hey  you")),
        ("/msg\tVenkat\they", Command(Typed.MSG, "Venkat", "hey")),
        ('/msg "Venkat Rao"hey', Command(Typed.MSG, "Venkat Rao", "hey")),
        ("/msg Venkat two\nlines", Command(Typed.MSG, "Venkat", "two\nlines")),
        ("/me waves", Command(Typed.ME, text="waves")),
        ("/topic", Command(Typed.TOPIC)),
        ("/topic a b", Command(Typed.TOPIC, text="a b")),
        ("/history", Command(Typed.HISTORY, number=20)),
        ("/history 7", Command(Typed.HISTORY, number=7)),
        ("/search a b", Command(Typed.SEARCH, text="a b")),
        ("/KICK Venkat Rao", Command(Typed.OPERATOR, text="/kick Venkat Rao")),
        ("/bans", Command(Typed.OPERATOR, text="/bans")),
    ],
)
def test_parse(line: str, command: Command) -> None:
    assert lines.parse(line) == command


@pytest.mark.parametrize("line", ["/", "/nope", "/ help", "/helpme", "/kick and so on x", "/\n"])
def test_unknown_commands(line: str) -> None:
    if line.startswith("/kick"):
        assert lines.parse(line).text == line  # the server will say what it thinks of it
        return
    with pytest.raises(UnknownCommandError, match="unknown command /"):
        lines.parse(line)


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
    with pytest.raises(CommandUsageError, match="it is typed so: /"):
        lines.parse(line)


def test_every_command_is_completed_and_helped_with() -> None:
    text = "\n".join(lines.HELP)
    for command in lines.COMMANDS:
        assert command in text


def test_nothing_that_is_shown_can_act_on_a_terminal() -> None:
    message = Message("V\x1b[2J", "a\tb\x1b[31m\r\nYou >> \u202e\x07")
    assert lines.shown(message) == r"V\x1b[2J > a    b\x1b[31m\r\nYou >> \u202e\x07"
    evil = "\x1b[2J\n"
    names = (evil,)
    for event in (
        Joined(evil, names, 1),
        Left(evil, names, 1),
        Topic(evil, evil, evil, 0.0),
        Users(evil, names, 1, evil, 1, joined=True),
        Parted(evil),
        NotStored(evil),
        Gap(evil, 1, 3),
    ):
        line = lines.news(event, evil)
        assert line is not None
        assert line.isprintable()
    for event in (
        Users(evil, names, 1, evil, 1, joined=False),
        SeenAuthors(names),
        Rooms((RoomSummary(evil, 1, evil, 1),), 1),
        History(evil, (Message(evil, evil, evil, 1, 1.0, cipher=evil),), more=False),
        History(evil, (), more=False),
    ):
        for line in lines.answer(event):
            assert line.isprintable()
    for line in (
        lines.shown(Whispered(evil, evil, evil, 1, 1.0), evil),
        lines.refused(Refused(evil, evil, body=evil)),
        lines.refused(Refused(evil, "")),
        *lines.found([Message(evil, evil, evil)], evil, 1, evil),
    ):
        assert line.isprintable()


def test_messages() -> None:
    assert lines.shown(Message("Venkat", "hey"), "engine-room") == "[engine-room] Venkat > hey"
    assert lines.shown(Whispered("Venkat", "hey", "Michael", 1, 1.0)) == "Venkat whispers > hey"
    assert lines.shown(Whispered("Server", "done", "Michael", 0, 1.0)) == "Server > done"
    assert lines.shown(Message("Venkat", "olsp", cipher="caesar")) == "Venkat > (encrypted: caesar) olsp"


def test_actions_are_shown_as_such_and_nobody_acts_as_another() -> None:
    assert lines.shown(Message("Venkat Rao", lines.action("Venkat Rao", "waves"))) == "* Venkat Rao waves"
    assert lines.shown(Message("Eve", lines.action("Venkat Rao", "waves"))) == "Eve > * Venkat Rao waves"
    assert lines.shown(Message("V\x1b", "* V\x1b waves"), "x") == r"[x] * V\x1b waves"


def test_news() -> None:
    assert lines.news(Joined("lobby", ("A", "B"), 5)) == "A, B joined (5 here)"
    many = tuple(f"n{number}" for number in range(12))
    assert lines.news(Left("x", many, 5), "x") == (
        "[x] n0, n1, n2, n3, n4, n5, n6, n7, n8, n9 and 2 more left (5 here)"
    )
    assert lines.news(Topic("lobby", "tea", "A", 1.0)) == "A set the topic: tea"
    assert lines.news(Topic("lobby", "", "A", 1.0)) == "A removed the topic"
    assert lines.news(Users("x", ("A",), 1, "tea", 0, joined=True)) == "You are in x (1 here): tea"
    assert lines.news(Parted("x")) == "You are no longer in x"
    assert (
        lines.news(Gap("x", 4, 6)) == "1 message missing here, because the server does not have them any more"
    )
    welcomed = Welcomed("A", "selchat", (), 0, again=True, renumbered=False)
    assert lines.news(welcomed) is None
    assert lines.news(welcomed._replace(renumbered=True)) == "The server has begun a new history"
    assert lines.news(Bye("kicked", None), "x") is None


def test_answers() -> None:
    assert lines.answer(Users("lobby", ("A", "B"), 2, "", 0, joined=False)) == ["Users online (2): A, B"]
    assert lines.answer(Users("x", ("A",), 901, "", 0, joined=False)) == ["Users in x (901): A and 900 more"]
    assert lines.answer(SeenAuthors(("Zo\x1b", "Adam"))) == [
        r"SeenAuthors so far, as this server sends no list: Zo\x1b, Adam"
    ]
    assert lines.answer(SeenAuthors(()))[0].startswith("Nobody is known")
    assert lines.answer(Rooms((RoomSummary("x", 3, "tea", 9), RoomSummary("y", 0, "", 1)), 5)) == [
        "x (3): tea",
        "y (0)",
        "and 3 more",
    ]
    assert lines.answer(History("x", (), more=False)) == ["Nothing has been said in x"]
    [line] = lines.answer(History("x", (Message("A", "hey", "x", 1, 1763900000.0),), more=False))
    assert line.endswith(" [x] A > hey")
    assert line.startswith("2025-11-2")
    assert lines.past(Message("A", "hey", "x", 1, 2.0**52)) == "????-??-?? ??:??:?? [x] A > hey"
    assert lines.past(Message("A", "hey", "x")) == "[x] A > hey"
    assert lines.answer(Bye("kicked", None)) == []


def test_searching() -> None:
    message = Message("Venkat", "The KETTLE is on")
    assert lines.has_words(message, "kettle venkat")
    assert not lines.has_words(message, "kettle off")
    assert lines.found([message], "kettle", 70, "lobby") == [
        "[lobby] Venkat > The KETTLE is on",
        "1 message with kettle among the last 70 messages of lobby",
    ]


def test_only_the_servers_rosters_are_rosters() -> None:
    assert lines.is_roster(Message("Server", "Users online (1): A"))
    assert not lines.is_roster(Message("Venkat", "Users online (1): A"))
    assert not lines.is_roster(Message("Server", "hey"))


def test_refusals() -> None:
    assert lines.refusal(FrameTooLongError(70000, 65536)) == "not sent: 70000 bytes, and the limit is 65536"
    assert lines.refusal(QueueFullError(10)) == "not sent: more than 10 bytes are waiting to be sent already"
    assert lines.refused(Refused("muted", "be quiet", "1", "lobby", "", "x" * 50)) == (
        f"not said: {'x' * 39}…: be quiet"
    )
    assert lines.refused(Refused("bad-room", "", room="#")) == "bad-room"


def test_an_outage_is_not_told_again_and_again() -> None:
    outage = Outage()
    assert outage.line("full", 1) == "No connection yet: full; trying again in 1.0 s"
    outage.end()
    assert outage.line("closed", 1.26) == "Connection lost: closed; trying again in 1.3 s"
    assert outage.line("refused", 0) == "No connection yet: refused; trying again in 0.0 s"
    assert outage.line("refused", 3) is None
    outage.end()
    assert outage.line("refused", 3) == "Connection lost: refused; trying again in 3.0 s"


# -- what was encrypted --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seal", "cipher", "line"),
    [
        (Seal.NONE, None, "Venkat > hey\\x1b"),
        (Seal.OPENED, None, "Venkat > hey\\x1b"),
        (Seal.CLEAR, None, "Venkat > (not encrypted) hey\\x1b"),
        (Seal.CLEAR, "cae\nsar", "Venkat > (encrypted otherwise: cae\\nsar) hey\\x1b"),
        (Seal.LOCKED, "selchat1 x", "Venkat > (encrypted; read it with --passphrase-file)"),
        (Seal.OTHER_PASSPHRASE, "x", "Venkat > (cannot be read: encrypted with another passphrase)"),
        (Seal.DAMAGED, "x", "Venkat > (cannot be read: changed on the way)"),
        (Seal.REPLAYED, "x", "Venkat > (not shown: an old message that was delivered again)"),
        (Seal.REORDERED, "x", "Venkat > (not shown: delivered in the wrong order)"),
    ],
)
def test_how_a_message_came_is_said_where_it_matters(seal: Seal, cipher: str | None, line: str) -> None:
    body = "hey\x1b" if seal.is_readable else ""
    assert lines.shown(Message("Venkat", body, seal=seal, cipher=cipher)) == line
    whisper = Whispered("Venkat", body, "Michael", 1, 1.0, "", cipher, seal)
    assert lines.shown(whisper) == line.replace("Venkat >", "Venkat whispers >")


def test_nobody_acts_who_is_not_known_to_have_the_passphrase() -> None:
    message = Message("Venkat", "* Venkat waves")
    assert lines.shown(message._replace(seal=Seal.OPENED)) == "* Venkat waves"
    assert lines.shown(message._replace(seal=Seal.CLEAR)) == "Venkat > (not encrypted) * Venkat waves"


def test_every_seal_says_whether_there_is_a_body() -> None:
    assert [seal for seal in Seal if seal.is_readable] == [Seal.NONE, Seal.OPENED, Seal.CLEAR]
