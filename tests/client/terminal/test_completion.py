from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from selchat.client import lines
from selchat.client.terminal.completion import Completions, Known, complete, wants_rooms

KNOWN = Known(
    ("Michael", "Mia", "\u00c9va", "esc\x1b", "Zo\u00eb \u65e5\u672c", "Rao"), ("lobby", "Engine-Room")
)


def completed(before: str) -> list[str]:
    return [before[: len(before) - size] + text for text, size in complete(before, KNOWN)]


@pytest.mark.parametrize(
    ("before", "found"),
    [
        ("", []),
        ("mi", ["Michael", "Mia"]),
        ("hello MI", ["hello Michael", "hello Mia"]),
        ("two\nlines\nmich", ["two\nlines\nMichael"]),
        ("x", []),
        ("mi ", []),
        ("\u00e9v", ["\u00c9va"]),
        ("esc", [r"esc\x1b"]),
        ("hey zo\u00eb", ["hey Zo\u00eb \u65e5\u672c"]),
        ("hey zo\u00eb \u65e5", ["hey Zo\u00eb \u65e5\u672c"]),
        ("/", list(lines.COMMANDS)),
        ("/US", ["/users"]),
        ("a /u", []),
        ("/me greets mia", ["/me greets Mia"]),
        ("/join ", ["/join lobby", "/join Engine-Room"]),
        ("/JOIN eng", ["/JOIN Engine-Room"]),
        ("/join #eng", ["/join #Engine-Room"]),
        ("/part lo", ["/part lobby"]),
        ("/users e", ["/users Engine-Room"]),
        ("/join lobby mi", ["/join lobby Michael", "/join lobby Mia"]),
        ("/msg m", ["/msg Michael ", "/msg Mia "]),
        ("/msg zo", ['/msg "Zo\u00eb \u65e5\u672c" ']),
        ('/msg "zo\u00eb \u65e5', ['/msg "Zo\u00eb \u65e5\u672c" ']),
        ('/msg "Zo\u00eb \u65e5\u672c" ask mia', ['/msg "Zo\u00eb \u65e5\u672c" ask Mia']),
        ("/msg Mia ask rao", ["/msg Mia ask Rao"]),
        ("/kick zo\u00eb \u65e5", ["/kick Zo\u00eb \u65e5\u672c"]),
        ("/unmute ra", ["/unmute Rao"]),
        ("/nope ra", ["/nope Rao"]),
    ],
)
def test_complete(before: str, found: list[str]) -> None:
    assert completed(before) == found


@given(st.text(alphabet=' "/#\nmMijoinsgZ\u00eb\u65e5', max_size=20))
def test_only_the_end_is_replaced(before: str) -> None:
    for text, size in complete(before, KNOWN):
        assert text
        assert 0 <= size <= len(before)
        assert "\n" not in before[len(before) - size :]


@pytest.mark.parametrize("before", ["/join ", "/part x", "/users x", "/JOIN x"])
def test_rooms_are_wanted(before: str) -> None:
    assert wants_rooms(before)


@pytest.mark.parametrize("before", ["", "/join", "/join x y", "join x", "/msg x"])
def test_rooms_are_not_wanted(before: str) -> None:
    assert not wants_rooms(before)


def test_what_is_known_is_looked_up_when_it_is_wanted() -> None:
    asked: list[bool] = []

    async def look_up(rooms: bool) -> Known:
        asked.append(rooms)
        return KNOWN

    async def all_of(text: str) -> list[tuple[str, int]]:
        document, event = Document(text), CompleteEvent()
        assert not list(completer.get_completions(document, event))
        return [
            (completion.text, completion.start_position)
            async for completion in completer.get_completions_async(document, event)
        ]

    completer = Completions(look_up)
    assert asyncio.run(all_of("/join eng")) == [("Engine-Room", -3)]
    assert asyncio.run(all_of("hey mia")) == [("Mia", -3)]
    assert asked == [True, False]
