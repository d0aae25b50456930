"""Hostile text: strings that try to move the cursor, reverse a line or forge one become harmless.

10,000 strings go through all code that writes to a terminal, to a log line or into a name: 100,000 with
``--run-slow``, 1,000,000 with ``--full``. The forbidden characters are defined here and not taken from the
code under test.
"""

from __future__ import annotations

import io
import json
import random
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

import pyte
import pytest
from prompt_toolkit.data_structures import Size
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.renderer import print_formatted_text
from prompt_toolkit.styles import Style

from selchat.chat.member import Member
from selchat.client import lines
from selchat.client.events import Message, Refused, Rooms, RoomSummary, Users, Whispered
from selchat.client.terminal import style
from selchat.commands import export
from selchat.events import Joined, Left, Said, Topic
from selchat.server.console import Console, JsonStyle, TextStyle
from selchat.text import clean_name, clean_room

_SEED = 5
_BATCH = 500  # strings on one screen
_COLUMNS, _ROWS = 80, 50

_PIECES = (
    # Control sequences: CSI, OSC, DCS, APC, in seven bits and in eight, and single characters.
    *("\x1b[2J", "\x1b[1;1H", "\x1b[31m", "\x1b]0;title\x07", "\x1b]52;c;cm0gLXJm\x1b\\", "\x1bP1$r\x1b\\"),
    *(
        "\x1b_x\x1b\\",
        "\x9b2J",
        "\x9d0;x\x9c",
        "\x90q\x9c",
        "\x1bc",
        "\x1b(0",
        "\x0e",
        "\x08",
        "\x7f",
        "\x05",
    ),
    *("\r", "\n", "\r\n", "\x0b", "\x0c", "\x85", "\u2028", "\u2029", "\t", "\0", "\x1a", "\x1b", "\x9b"),
    # Characters that reverse text or are invisible.
    *("\u202e", "\u202d", "\u202a", "\u202b", "\u202c", "\u2066", "\u2067", "\u2068", "\u2069", "\u200e"),
    *("\u200f", "\u061c", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u180e", "\U000e0001"),
    *("\U000e0067\U000e007f", "\ufe0f", "\u034f", "\u115f", "\u3164", "\ufff9", "\ufffb", "\U0001d173"),
    # Text that forges lines.
    "\nAccepted new connection from 192.0.2.1:1, username: Server",
    "\nReceived message from Venkat: yes",
    '"}\n{"time": "2026-01-01T00:00:00.000+00:00", "event": "message", "username": "Venkat"',
    *("Server > ", "\rServer > ", "* Venkat ", '\\"', "\\", "\\n", "%s", "{0}", "Venkat", "hello", " ", "é"),
    # Wide characters, tall ones, and noncharacters.
    *(
        "ＷＩＤＥ",
        "漢字",
        "e\u0301\u0323\u0336",
        "👩\u200d🚀",
        "\ufffd",
        "\uffff",
        "\U0010fffe",
        "\ue000",
        "\U000f0000",
    ),
)

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"


_JOINERS_AND_TAGS = "\u200c\u200d" + "".join(map(chr, range(0xE0020, 0xE0080)))


def _forbidden_on_lines() -> re.Pattern[str]:
    """Return a pattern for characters that act on a terminal, end a line or reverse text.

    Joiners and tags are allowed: some scripts and emoji need them, and they move nothing.
    """
    found = [
        character
        for character in map(chr, (*range(0x10000), *range(0xE0000, 0xE1000), *range(0x1D100, 0x1D200)))
        if unicodedata.category(character) in {"Cc", "Zl", "Zp", "Cf"} and character not in _JOINERS_AND_TAGS
    ]
    return re.compile(f"[{re.escape(''.join(found))}{_BIDI}\ud800-\udfff]")


_ON_LINES = _forbidden_on_lines()
_NOT_IN_NAMES = {"Cc", "Zl", "Zp", "Cs", "Cf", "Cn", "Co"}  # by category
_FROM_PROMPT_TOOLKIT = re.compile(r"\x1b\[[\d;]*m|\x1b\[\?7[hl]|\r\n")


def hostile_texts(count: int) -> Iterator[str]:
    """Yield ``count`` strings, the same in every run."""
    chance = random.Random(_SEED)
    for _ in range(count):
        parts = [
            chance.choice(_PIECES)
            if chance.random() < 0.8
            # Any character that can arrive: a lone surrogate cannot.
            else chr(chance.choice((chance.randrange(0xD800), chance.randrange(0xE000, 0x110000))))
            for _ in range(chance.randint(1, 6))
        ]
        yield "".join(parts)


@pytest.fixture
def count(full: bool, run_slow: bool) -> int:
    """The number of strings."""
    return 1_000_000 if full else 100_000 if run_slow else 10_000


@pytest.mark.timeout(0)
def test_clean_names_have_no_forbidden_characters(count: int) -> None:
    for text in hostile_texts(count):
        for name in (clean_name(text), clean_room(text)):
            assert not _NOT_IN_NAMES.intersection(map(unicodedata.category, name)), (text, name)
            assert len(name) <= 32, text


@pytest.mark.timeout(0)
def test_log_lines_cannot_be_forged(count: int) -> None:
    shown: list[str] = []
    styles = (TextStyle(1000), JsonStyle(1000))
    plain, as_json = (Console(shown.append, style, quiet=False) for style in styles)
    for number, text in enumerate(hostile_texts(count)):
        said = Said("lobby", 1, text, text, 0.0)
        member: Any = Member(text, "192.0.2.1:1", None)  # type: ignore[arg-type]
        for console in (plain, as_json):
            shown.clear()
            if number % 2:
                console.on_published([said])
            else:
                console.on_sign_out(member, text)
            assert len(shown) == 1
            for line in shown:
                assert not _ON_LINES.search(line), (text, line)
        for line in shown:
            assert line.isascii()
            fields = json.loads(line)
            assert fields["username"] == text
            assert fields.get("body", text) == text


@pytest.mark.timeout(0)
def test_exported_lines_cannot_be_forged(count: int) -> None:
    for text in hostile_texts(count // 10):
        line = export.Line(text, 1, 1.5, text, text, text, text)
        for number, part in enumerate(export.format_text(line).removesuffix("\n").split("\n")):
            assert not _ON_LINES.search(part), (text, part)
            assert number == 0 or part.startswith("    "), (text, part)
        shown = export.format_json(line)
        assert not _ON_LINES.search(shown.removesuffix("\n")), (text, shown)
        assert json.loads(shown)["body"] == text


@pytest.mark.timeout(0)
def test_lines_of_the_clients_are_harmless(count: int) -> None:
    for text in hostile_texts(count):
        for line in _lines(text):
            assert not _ON_LINES.search(line), (text, line)


def _lines(text: str) -> Iterator[str]:
    """Yield the lines that a client shows if a server sends this text in every field."""
    message = Message(text, text, text, 1, 1.5, cipher=text)
    yield lines.format_message(message, text)
    turn = len(text) % 8  # one kind of line for each string: all kinds share their code
    if turn == 0:
        yield style.text(style.message(message._replace(cipher=None), text, room=text))
    elif turn == 1:
        yield lines.format_message(Whispered(text, text, text, 1, 1.5))
        yield lines.refused(Refused(text, text, "1", text, text, text))
    elif turn == 2:
        yield str(lines.format_event(Topic(text, text, text, 0.0), text))
        yield lines.format_old_message(message)
    elif turn == 3:
        for change in (Joined, Left):
            yield str(lines.format_event(change(text, (text, text), 3)))
    elif turn == 4:
        users = Users(text, (text,), 2, text, 3, joined=True)
        yield from lines.answer(users)
        yield from map(style.text, (*style.entered(users, 80), *style.users(users, 80)))
    elif turn == 5:
        rooms = Rooms((RoomSummary(text, 1, text, 1),), 2)
        yield from (*lines.answer(rooms), *map(style.text, style.rooms(rooms, (text,), 80)))
    elif turn == 6:
        yield style.sent(text, text, text, text, here=False)
        yield style.pending(text, "", text, here=False)
    else:
        yield str(lines.Outage().line(text, 1.0))
        yield style.prompt(text)


@pytest.mark.timeout(0)
def test_terminal_gets_only_the_sequences_of_prompt_toolkit(count: int) -> None:
    """And each line is in its place."""
    texts = iter(hostile_texts(count // 50))
    attributes = Style.from_dict({"dim": "dim", "bold": "bold"})
    while batch := [text for _, text in zip(range(_BATCH), texts, strict=False)]:
        screen = pyte.HistoryScreen(_COLUMNS, _ROWS, history=1 << 20)
        stream = pyte.Stream(screen)
        for text in batch:
            line = style.message(Message(text, text), "Venkat")
            output = io.StringIO()
            vt100 = Vt100_Output(output, lambda: Size(rows=_ROWS, columns=_COLUMNS), term="xterm")
            print_formatted_text(vt100, [*line, ("", "\n")], attributes)
            written = output.getvalue()
            assert not _ON_LINES.search(_FROM_PROMPT_TOOLKIT.sub("", written)), (text, written)
            stream.feed(written)
            assert screen.cursor.x == 0, text
            assert screen.title == screen.icon_name == "", text
            stream.feed("* the next line\r\n")
            row = min(screen.cursor.y, _ROWS - 1) - 1
            assert screen.display[row].rstrip() == "* the next line", text
