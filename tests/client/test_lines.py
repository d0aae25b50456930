from __future__ import annotations

import pytest

from selchat.client import lines
from selchat.client.connection.link import QueueFullError
from selchat.client.events import (
    Bye,
    Encryption,
    Gap,
    History,
    Message,
    NotStored,
    Parted,
    Refused,
    Rooms,
    RoomSummary,
    SeenAuthors,
    Users,
    Welcomed,
    Whispered,
)
from selchat.client.lines import Outage
from selchat.events import Joined, Left, Topic
from selchat.wire.frames import FrameTooLongError


def test_no_line_has_control_characters() -> None:
    message = Message("V\x1b[2J", "a\tb\x1b[31m\r\nYou >> \u202e\x07")
    assert lines.format_message(message) == r"V\x1b\x5b2J > a    b\x1b[31m\r\nYou >> \u202e\x07"
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
        line = lines.format_event(event, evil)
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
        lines.format_message(Whispered(evil, evil, evil, 1, 1.0), evil),
        lines.refused(Refused(evil, evil, body=evil)),
        lines.refused(Refused(evil, "")),
        *lines.found([Message(evil, evil, evil)], evil, 1, evil),
    ):
        assert line.isprintable()


def test_messages_are_formatted_as_lines() -> None:
    assert lines.format_message(Message("Venkat", "hey"), "engine-room") == "[engine-room] Venkat > hey"
    assert lines.format_message(Whispered("Venkat", "hey", "Michael", 1, 1.0)) == "Venkat whispers > hey"
    assert lines.format_message(Whispered("Server", "done", "Michael", 0, 1.0)) == "Server > done"
    encrypted = Message("Venkat", "olsp", cipher="caesar")
    assert lines.format_message(encrypted) == (
        "Venkat > (encrypted with another cipher: caesar; read it with --key)"
    )


def test_an_action_needs_the_name_of_its_author() -> None:
    action = lines.action("Venkat Rao", "waves")
    assert lines.format_message(Message("Venkat Rao", action)) == '* "Venkat Rao" waves'
    assert lines.format_message(Message("Eve", action)) == "Eve > * Venkat Rao waves"
    assert lines.format_message(Message("V\x1b", "* V\x1b waves"), "x") == r"[x] * V\x1b waves"


def test_events_are_formatted_as_lines() -> None:
    assert lines.format_event(Joined("lobby", ("A", "B"), 5)) == "A, B joined (5 here)"
    many = tuple(f"n{number}" for number in range(12))
    assert lines.format_event(Left("x", many, 5), "x") == (
        "[x] n0, n1, n2, n3, n4, n5, n6, n7, n8, n9 and 2 more left (5 here)"
    )
    assert lines.format_event(Topic("lobby", "tea", "A", 1.0)) == "A set the topic: tea"
    assert lines.format_event(Topic("lobby", "", "A", 1.0)) == "A removed the topic"
    assert lines.format_event(Users("x", ("A",), 1, "tea", 0, joined=True)) == "You are in x (1 here): tea"
    assert lines.format_event(Parted("x")) == "You are no longer in x"
    assert lines.format_event(Gap("x", 4, 6)) == "1 message is missing here: the server no longer has it"
    welcomed = Welcomed("A", "selchat", (), 0, again=True, renumbered=False)
    assert lines.format_event(welcomed) is None
    assert lines.format_event(welcomed._replace(renumbered=True)) == "The server has started a new history"
    assert lines.format_event(Bye("kicked", None), "x") is None


def test_answers_are_formatted_as_lines() -> None:
    assert lines.answer(Users("lobby", ("A", "B"), 2, "", 0, joined=False)) == ["Users online (2): A, B"]
    assert lines.answer(Users("x", ("A",), 901, "", 0, joined=False)) == ["Users in x (901): A and 900 more"]
    assert lines.answer(SeenAuthors(("Zo\x1b", "Adam"))) == [
        r"This server sends no list of users. Seen so far: Zo\x1b, Adam"
    ]
    assert lines.answer(SeenAuthors(())) == [
        "No users are known yet: the server has sent no list and no messages."
    ]
    assert lines.answer(Rooms((RoomSummary("x", 3, "tea", 9), RoomSummary("y", 0, "", 1)), 5)) == [
        "x (3): tea",
        "y (0)",
        "and 3 more",
    ]
    assert lines.answer(History("x", (), more=False)) == ["There are no messages in x"]
    [line] = lines.answer(History("x", (Message("A", "hey", "x", 1, 1763900000.0),), more=False))
    assert line.endswith(" [x] A > hey")
    assert line.startswith("2025-11-2")
    assert lines.format_old_message(Message("A", "hey", "x", 1, 2.0**52)) == "????-??-?? ??:??:?? [x] A > hey"
    assert lines.format_old_message(Message("A", "hey", "x")) == "[x] A > hey"
    assert lines.answer(Bye("kicked", None)) == []


def test_search_words_match_author_and_body() -> None:
    message = Message("Venkat", "The KETTLE is on")
    assert lines.has_words(message, "kettle venkat")
    assert not lines.has_words(message, "kettle off")
    for body in ("at the café", "at the cafe\u0301", "AT THE CAFÉ", "at the ｃａｆé"):
        for words in ("café", "cafe\u0301", "CAFE\u0301"):
            assert lines.has_words(Message("Venkat", body), words)
    assert lines.found([message], "kettle", 70, "lobby") == [
        "[lobby] Venkat > The KETTLE is on",
        "1 message with kettle among the last 70 messages of lobby",
    ]


def test_only_the_server_sends_rosters() -> None:
    assert lines.is_roster(Message("Server", "Users online (1): A"))
    assert not lines.is_roster(Message("Venkat", "Users online (1): A"))
    assert not lines.is_roster(Message("Server", "hey"))


def test_refusals_are_formatted_as_lines() -> None:
    too_long = FrameTooLongError(70000, 65536)
    assert lines.not_sent(too_long) == "not sent: it takes 70000 bytes, and the limit is 65536"
    assert lines.not_sent(QueueFullError(10)) == "not sent: more than 10 bytes are waiting to be sent already"
    assert lines.refused(Refused("muted", "be quiet", "1", "lobby", "", "x" * 50)) == (
        f"not sent ({'x' * 39}…): be quiet"
    )
    assert lines.refused(Refused("bad-room", "", room="#")) == "bad-room"


def test_an_outage_has_one_line_for_each_new_reason() -> None:
    outage = Outage()
    assert outage.line("full", 1) == "No connection yet: full; retrying in 1.0 s"
    outage.end()
    assert outage.line("closed", 1.26) == "Connection lost: closed; retrying in 1.3 s"
    assert outage.line("refused", 0) == "No connection yet: refused; retrying in 0.0 s"
    assert outage.line("refused", 3) is None
    outage.end()
    assert outage.line("refused", 3) == "Connection lost: refused; retrying in 3.0 s"


# -- encryption ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encryption", "cipher", "line"),
    [
        (Encryption.NONE, None, "Venkat > hey\\x1b"),
        (Encryption.DECRYPTED, None, "Venkat > hey\\x1b"),
        (Encryption.UNENCRYPTED, None, "Venkat > (not encrypted) hey\\x1b"),
        (Encryption.NONE, "cae\nsar", "Venkat > (encrypted with another cipher: cae\\nsar)"),
        (Encryption.OTHER_CIPHER, "caesar", "Venkat > (cannot be read: encrypted with another cipher)"),
        (Encryption.NO_PASSPHRASE, "selchat1 x", "Venkat > (encrypted; read it with --passphrase-file)"),
        (Encryption.OTHER_PASSPHRASE, "x", "Venkat > (cannot be read: encrypted with another passphrase)"),
        (Encryption.TAMPERED, "x", "Venkat > (cannot be read: changed in transit)"),
        (Encryption.REPLAYED, "x", "Venkat > (not shown: an old message that was delivered again)"),
        (Encryption.REORDERED, "x", "Venkat > (not shown: delivered in the wrong order)"),
    ],
)
def test_a_message_shows_its_encryption_if_it_matters(
    encryption: Encryption, cipher: str | None, line: str
) -> None:
    body = "hey\x1b" if encryption.is_readable else ""
    assert lines.format_message(Message("Venkat", body, encryption=encryption, cipher=cipher)) == line
    whisper = Whispered("Venkat", body, "Michael", 1, 1.0, "", cipher, encryption)
    assert lines.format_message(whisper) == line.replace("Venkat >", "Venkat whispers >")


@pytest.mark.parametrize(
    "body", ["(not encrypted) hey", "(encrypted) hey", "(cannot be read: changed in transit)"]
)
@pytest.mark.parametrize("encryption", [Encryption.NONE, Encryption.DECRYPTED, Encryption.UNENCRYPTED])
def test_no_text_looks_like_a_note(encryption: Encryption, body: str) -> None:
    note = "(not encrypted) " if encryption is Encryption.UNENCRYPTED else ""
    shown = lines.format_message(Message("Venkat", body, encryption=encryption))
    assert shown == f"Venkat > {note}\\x28{body[1:]}"


def test_an_unencrypted_action_is_shown_as_a_message() -> None:
    message = Message("Venkat", "* Venkat waves")
    assert lines.format_message(message._replace(encryption=Encryption.DECRYPTED)) == "* Venkat waves"
    unencrypted = message._replace(encryption=Encryption.UNENCRYPTED)
    assert lines.format_message(unencrypted) == "Venkat > (not encrypted) * Venkat waves"


def test_only_three_encryption_results_are_readable() -> None:
    assert [encryption for encryption in Encryption if encryption.is_readable] == [
        Encryption.NONE,
        Encryption.DECRYPTED,
        Encryption.UNENCRYPTED,
    ]
