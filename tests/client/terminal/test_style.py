from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.utils import get_cwidth

from selchat.client.events import Encryption, Message, Rooms, RoomSummary, Users, Whispered
from selchat.client.terminal import style
from selchat.client.terminal.style import BOLD, DIM, PLAIN

NOON = datetime(2026, 11, 23, 12, 0).timestamp()
HOSTILE = "\x1b[2J\u202e\n\x9b"
names = st.lists(st.text(max_size=12), max_size=30)


def test_the_prompt_names_the_room() -> None:
    assert style.prompt("") == style.prompt("lobby") == "You >> "
    assert style.prompt("engine") == "You in #engine >> "
    assert style.prompt("a\x1bb") == "You in #a\\x1bb >> "


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        (None, ""),
        (datetime(2026, 11, 23, 9, 5, 59).timestamp(), "09:05 "),
        (datetime(2026, 11, 22, 23, 59).timestamp(), "2026-11-22 23:59 "),
        (2.0**53, "??:?? "),
    ],
)
def test_time_has_the_date_unless_it_is_today(at: float | None, shown: str) -> None:
    assert style.time(at, NOON) == shown


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("hey", ((PLAIN, "Venkat > "), (PLAIN, "hey"))),
        ("hey michael!", ((PLAIN, "Venkat > "), (PLAIN, "hey "), (BOLD, "michael"), (PLAIN, "!"))),
        ("Michael", ((PLAIN, "Venkat > "), (BOLD, "Michael"))),
        ("Michaela and xMichael", ((PLAIN, "Venkat > "), (PLAIN, "Michaela and xMichael"))),
        ("* Venkat waves", ((PLAIN, "* Venkat "), (PLAIN, "waves"))),
        ("* Venkat greets Michael", ((PLAIN, "* Venkat "), (PLAIN, "greets "), (BOLD, "Michael"))),
        ("* Michael is dumb", ((PLAIN, "Venkat > "), (PLAIN, "* "), (BOLD, "Michael"), (PLAIN, " is dumb"))),
        ("", ((PLAIN, "Venkat > "),)),
    ],
)
def test_mentions_are_bold(body: str, line: style.Line) -> None:
    assert style.message(Message("Venkat", body), "Michael") == line


def test_a_message_of_another_room_shows_room_and_time() -> None:
    line = style.message(Message("Venkat", "hey"), "", room="engine", time="09:05 ")
    assert style.text(line) == "09:05 [engine] Venkat > hey"


def test_the_author_of_an_action_is_no_mention() -> None:
    line = style.message(Message("Michael", "it is me"), "Michael")
    assert BOLD not in dict(line)


def test_a_name_with_regex_characters_is_literal() -> None:
    line = style.message(Message("Venkat", "hi .*("), ".*(")
    assert (BOLD, ".*(") in line


def test_direct_messages() -> None:
    line = style.message(Whispered("Venkat", "tea?", "Michael", 1, NOON), "Michael", time="09:05 ")
    assert style.text(line) == "09:05 Venkat whispers > tea?"
    line = style.message(Whispered("Server", "ok", "Michael", 0, NOON), "Michael")
    assert style.text(line) == "Server > ok"


@pytest.mark.parametrize(
    ("room", "body", "here", "shown"),
    [
        ("lobby", "hey", True, "You >> hey"),
        ("lobby", "hey", False, "[lobby] You >> hey"),
        ("engine", "hey", True, "You in #engine >> hey"),
        ("engine", "hey", False, "[engine] You >> hey"),
        ("lobby", "* Michael waves", True, "* Michael waves"),
        ("engine", "* Michael waves", False, "[engine] * Michael waves"),
    ],
)
def test_own_message_shows_its_room(room: str, body: str, here: bool, shown: str) -> None:
    assert style.sent(room, "", body, "Michael", here=here) == shown
    own = Message("Michael", body, room, 1, NOON, own=True)
    assert style.own_message(own, here=here, time="09:05 ") == style.plain(f"09:05 {shown}")


def test_own_direct_message_shows_its_recipient() -> None:
    assert style.sent("", "Venkat", "tea?", "Michael", here=False) == "You to Venkat > tea?"


@pytest.mark.parametrize(
    ("room", "to", "here", "shown"),
    [
        ("lobby", "", True, "… hey"),
        ("lobby", "", False, "… [lobby] hey"),
        ("", "Venkat", False, "… to Venkat: hey"),
    ],
)
def test_pending_message_shows_its_room_or_recipient(room: str, to: str, here: bool, shown: str) -> None:
    assert style.pending(room, to, "hey", here=here) == shown


def test_dimmed_keeps_the_text() -> None:
    assert style.dimmed(((PLAIN, "a"), (BOLD, "b"))) == ((DIM, "ab"),)


def test_entering_a_room_lists_its_users_in_two_rows() -> None:
    shown = style.entered(Users("engine", ("Narayan", "Venkat"), 2, "oil", 3, joined=True), 80)
    assert shown == [style.dim("You are in engine (2 here): Narayan, Venkat"), style.dim("Topic: oil")]
    many = tuple(f"name{number}" for number in range(500))
    [line] = style.entered(Users("engine", many, 1500, "", 3, joined=True), 40)
    assert style.text(line).startswith("You are in engine (1500 here): name0, name1")
    assert style.text(line).endswith(" more")
    assert len(style.text(line)) <= 80


def test_the_answer_to_users_has_columns() -> None:
    found = style.users(Users("lobby", ("Bo", "Michael", "Venkat"), 7, "", 3, joined=False), 20)
    assert list(map(style.text, found)) == [
        "Users online (7):",
        "  Bo       Venkat",
        "  Michael",
        "  and 4 more",
    ]
    assert (
        style.text(style.users(Users("engine", (), 0, "", 3, joined=False), 20)[0]) == "Users in engine (0):"
    )


def test_the_answer_to_rooms_marks_the_users_own() -> None:
    summaries = (RoomSummary("lobby", 12, "", 3), RoomSummary("\u65e5\u672c", 3, "tea and " * 20, 3))
    found = style.rooms(Rooms(summaries, 5), ["Lobby"], 40)
    assert list(map(style.text, found)) == [
        "Rooms (5); * marks the rooms that you are in:",
        "* lobby  12 here",
        "  \u65e5\u672c    3 here  tea and tea and tea a…",
        "  and 3 more",
    ]


@given(names, st.integers(1, 200))
def test_columns_contain_every_name_once(listed: list[str], width: int) -> None:
    rows = style.columns(listed, width)
    widest = max((get_cwidth(style.lines.listed_name(name)) for name in listed), default=0)
    assert all(get_cwidth(row) <= max(width, widest + 2) for row in rows)
    text = "".join(rows)
    for name in listed:
        assert style.lines.listed_name(name) in text


@given(names, st.integers(0, 50), st.integers(1, 100))
def test_folded_list_counts_the_names_that_do_not_fit(listed: list[str], more: int, width: int) -> None:
    clean = [f"n{number}" for number, _ in enumerate(listed)]
    folded = style.fold(clean, len(clean) + more, width)
    shown, _, rest = folded.partition(" and ")
    count = len(shown.split(", ")) if shown else 0
    assert count + int(rest.split()[0] if rest else 0) == (len(clean) + more if clean else 0)
    assert get_cwidth(shown) <= width or count == 1


@given(st.text(), st.integers(1, 40))
def test_fit_cuts_text_to_the_width(text: str, width: int) -> None:
    safe = style.lines.safe(text)
    cut = style.fit(safe, width)
    assert get_cwidth(cut) <= width
    assert cut == safe or (cut.endswith("…") and safe.startswith(cut[:-1]))


def test_combining_marks_have_no_width() -> None:
    assert style.fit("e\u0301" * 5, 5) == "e\u0301" * 5
    assert style.fit("e\u0301" * 6, 5) == "e\u0301" * 4 + "…"
    assert style.fit("\u0301" * 100, 5).endswith("…")  # but the work is bounded


@given(st.text(), st.text(), st.text(max_size=8))
def test_no_line_has_control_characters(author: str, body: str, me: str) -> None:
    author, body = author + HOSTILE, body + HOSTILE
    shown = [
        style.message(Message(author, body), me, room=body),
        style.plain(style.sent(author, "", body, me, here=True)),
        style.plain(style.sent("", author, body, me, here=False)),
        style.plain(style.pending(author, "", body, here=False)),
        style.plain(style.pending("", author, body, here=False)),
        *style.entered(Users(author, (body,), 9, body, 1, joined=True), 40),
        *style.users(Users(author, (body,), 9, body, 1, joined=False), 40),
        *style.rooms(Rooms((RoomSummary(author, 1, body, 1),), 1), [], 40),
    ]
    for line in shown:
        assert not set(style.text(line)) & set(HOSTILE.replace("[2J", ""))


def test_an_unreadable_message_has_no_body_and_no_mentions() -> None:
    event = Message("Michael", "", encryption=Encryption.TAMPERED)
    assert style.message(event, "Michael") == ((PLAIN, "Michael > (cannot be read: changed in transit)"),)
    assert style.text(style.own_message(event, here=True)) == "You >> (cannot be read: changed in transit)"


def test_an_unencrypted_message_is_marked() -> None:
    event = Message("Venkat", "hey Michael", encryption=Encryption.UNENCRYPTED)
    assert style.message(event, "Michael") == (
        (PLAIN, "Venkat > (not encrypted) "),
        (PLAIN, "hey "),
        (BOLD, "Michael"),
    )
    event = Message("Venkat", "* Venkat waves", encryption=Encryption.UNENCRYPTED)
    assert style.text(style.message(event, "Michael")) == "Venkat > (not encrypted) * Venkat waves"
    assert style.text(style.own_message(event, here=True)) == "You >> (not encrypted) * Venkat waves"
