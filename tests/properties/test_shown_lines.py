"""Log lines cannot be forged: what the console shows parses back to exactly who sent what, and where."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import event, example, given
from hypothesis import strategies as st

from selchat.chat.commands import Commands
from selchat.chat.confusables import resembles_server
from selchat.chat.member import Member
from selchat.errors import BadRoomError
from selchat.events import CIPHER_PREFIX, LOBBY, Said
from selchat.server.console import Console, JsonStyle, TextStyle
from selchat.text import clean_line, clean_name, clean_room, cut, escape_controls
from tests.chat.test_hub import Chat

_CUT = 60  # characters of a body
PIECES = st.sampled_from(
    [
        *(
            " > ",
            ": ",
            " in ",
            " from ",
            "[",
            "] ",
            "(",
            ")",
            ", username: ",
            "\n",
            "\r",
            "\u2028",
            "\x1b[2J",
            "  ",
        ),
        *(
            "Received message from Venkat: hi",
            "Closed connection from 10.0.0.1:5",
            "Accepted new connection from ",
        ),
        *(
            "Warning: ",
            "Server",
            "Venkat",
            "\u202e",
            "\u200b",
            "(encrypted)",
            "… (3 more characters)",
            "\\n",
            "\uff1a",
        ),
        *("topic: x", " online, 3 messages", '","username":"Venkat', "\ud800"),
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=8), max_size=8).map("".join)
NAMES = TEXTS.map(clean_name).filter(lambda name: name and not resembles_server(name))
ROOMS = st.just(LOBBY) | st.text().map(clean_room).filter(bool) | TEXTS.map(clean_room).filter(bool)
REASONS = st.none() | st.sampled_from(
    ["kicked by the operator", "connection lost", "ping timeout: no data for 34 s"]
)

RECEIVED = re.compile(r"Received message(?: in (?P<room>\S+))? from (?P<author>[^:]+): (?P<body>.*)")
ACCEPTED = re.compile(r"Accepted new connection from (?P<address>\S+), username: (?P<name>[^()]+)")
CLOSED = re.compile(
    r"Closed connection from (?P<address>\S+), username: (?P<name>[^()]+?)(?: \((?P<reason>.*)\))?"
)
USER = re.compile(r"  (?P<name>\S+(?: \S+)*)  (?P<address>\S+)")
ROOM = re.compile(
    r"  (?P<room>\S+)  (?P<online>\d+) online, (?P<seq>\d+) messages(?:, topic: (?P<topic>.+))?"
)


def shown(style: TextStyle | JsonStyle, message: Said) -> str:
    lines: list[str] = []
    Console(lines.append, style, quiet=False).on_published([message])
    [line] = lines
    assert len(line.splitlines()) == 1
    return line


@given(ROOMS, NAMES, TEXTS)
@example(LOBBY, "Venkat in dev from Michael", "hi")
@example("dev", "Venkat from Michael", "Received message from Michael: hi")
def test_text_line_of_a_message_says_who_sent_what_and_where(room: str, author: str, body: str) -> None:
    line = shown(TextStyle(_CUT), Said(room, 1, author, body, 0.0))
    match = RECEIVED.fullmatch(line)
    assert match is not None
    assert (match["room"] or LOBBY, match["author"]) == (room, author)
    assert match["body"] == escape_controls(cut(body, _CUT))


@given(ROOMS, NAMES, TEXTS)
def test_json_line_of_a_message_says_who_sent_what_and_where(room: str, author: str, body: str) -> None:
    fields = json.loads(shown(JsonStyle(_CUT), Said(room, 1, author, body, 0.0)))
    assert (fields["event"], fields["room"], fields["username"]) == ("message", room, author)
    assert fields["body"] == body[:_CUT]
    assert len(fields["body"]) + fields.get("more", 0) == len(body)


@given(NAMES, REASONS)
def test_lines_about_connections_say_whose_they_were(name: str, reason: str | None) -> None:
    member: Any = Member(name, "192.0.2.7:54494", None, None)  # type: ignore[arg-type]
    lines: list[str] = []
    console = Console(lines.append, TextStyle(_CUT), quiet=False)
    console.on_sign_in(member)
    console.on_sign_out(member, reason)
    accepted, closed = ACCEPTED.fullmatch(lines[0]), CLOSED.fullmatch(lines[1])
    assert accepted is not None
    assert closed is not None
    assert (accepted["address"], accepted["name"]) == (member.address, name)
    assert (closed["address"], closed["name"], closed["reason"]) == (member.address, name, reason)


@given(st.lists(NAMES, max_size=4))
def test_list_of_users_has_one_line_for_each(names: list[str]) -> None:
    chat = Chat()
    peers = chat.sign_in(*names)
    first, *lines = Commands(chat.hub, lambda: None).run("/users")
    if not names:
        return
    assert first == f"Users online ({len(names)}):"
    found = [USER.fullmatch(line) for line in lines]
    assert sorted(match["name"] for match in found if match) == sorted(
        peer.member.name for peer in peers if peer.member
    )


@given(ROOMS, TEXTS)
def test_list_of_rooms_has_one_line_for_each(name: str, topic: str) -> None:
    chat = Chat()
    [michael] = chat.sign_in("Michael")
    assert michael.member is not None
    room = michael.join_room(LOBBY)
    try:
        room = michael.join_room(name)
    except BadRoomError as error:
        event(type(error).__name__)
    chat.hub.set_topic(michael.member, room, topic)
    _, *lines = Commands(chat.hub, lambda: None).run("/rooms")
    found = {match["room"]: match["topic"] or "" for match in map(ROOM.fullmatch, lines) if match}
    assert len(found) == len(lines)
    assert found[room.name] == clean_line(topic)


def test_encrypted_body_is_not_shown() -> None:
    sealed = Said(LOBBY, 1, "Venkat", "Zm9v", 0.0, "1", f"{CIPHER_PREFIX}AAAA 1 BBBB")
    assert shown(TextStyle(_CUT), sealed) == "Received message from Venkat: (encrypted)"
