from __future__ import annotations

import asyncio
from concurrent.futures import Future

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from selchat.client.commands import COMMANDS
from selchat.client.connection.link import LinkState
from selchat.client.events import Rooms, RoomSummary
from selchat.client.protocol.interface import UnsupportedError
from selchat.client.terminal.completion import Candidates, ChatCompleter, RoomNames, complete, expects_room

KNOWN = Candidates(
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
        ("/", list(COMMANDS)),
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
        ("/kick zo\u00eb \u65e5", ['/kick "Zo\u00eb \u65e5\u672c" ']),
        ("/unmute ra", ["/unmute Rao "]),
        ('/ban "zo', ['/ban "Zo\u00eb \u65e5\u672c" ']),
        ("/nope ra", ["/nope Rao"]),
    ],
)
def test_end_of_the_line_is_completed(before: str, found: list[str]) -> None:
    assert completed(before) == found


@given(st.text(alphabet=' "/#\nmMijoinsgZ\u00eb\u65e5', max_size=20))
def test_completion_replaces_only_the_end_of_the_line(before: str) -> None:
    for text, size in complete(before, KNOWN):
        assert text
        assert 0 <= size <= len(before)
        assert "\n" not in before[len(before) - size :]


@pytest.mark.parametrize("before", ["/join ", "/part x", "/users x", "/JOIN x"])
def test_room_commands_expect_a_room(before: str) -> None:
    assert expects_room(before)


@pytest.mark.parametrize("before", ["", "/join", "/join x y", "join x", "/msg x"])
def test_other_text_expects_no_room(before: str) -> None:
    assert not expects_room(before)


def test_the_completer_looks_up_names_and_rooms() -> None:
    requests: list[bool] = []

    async def look_up(rooms: bool) -> Candidates:
        requests.append(rooms)
        return KNOWN

    async def all_of(text: str) -> list[tuple[str, int]]:
        document, event = Document(text), CompleteEvent()
        assert not list(completer.get_completions(document, event))
        return [
            (completion.text, completion.start_position)
            async for completion in completer.get_completions_async(document, event)
        ]

    completer = ChatCompleter(look_up)
    assert asyncio.run(all_of("/join eng")) == [("Engine-Room", -3)]
    assert asyncio.run(all_of("hey mia")) == [("Mia", -3)]
    assert requests == [True, False]


# -- the names of rooms ------------------------------------------------------------------------------------


ROOMS = Rooms((RoomSummary("engine", 1, "", 1), RoomSummary("lobby", 1, "", 1)), 2)


class FakeLink:
    state = LinkState.ONLINE
    rooms = ("lobby",)
    names = ("Michael", "Venkat")
    requests = 0
    is_classic = False

    def get_rooms(self, *, tag: object = None) -> None:
        if self.is_classic:
            raise UnsupportedError("rooms")
        self.requests += 1
        self.tag = tag


class RoomNamesSetup:
    def __init__(self) -> None:
        self.link = FakeLink()
        self.room_names = RoomNames(self.link)  # type: ignore[arg-type]

    def look_up(self, *, rooms: bool = True) -> Future[Candidates]:
        answer: Future[Candidates] = Future()
        self.room_names.look_up(rooms, answer)
        return answer


def test_user_names_need_no_request() -> None:
    setup = RoomNamesSetup()
    assert setup.look_up(rooms=False).result(0) == Candidates(("Michael", "Venkat"), ("lobby",))
    assert setup.link.requests == 0


def test_room_names_come_from_the_server() -> None:
    setup = RoomNamesSetup()
    answer = setup.look_up()
    assert setup.link.requests == 1
    assert setup.room_names.receive(ROOMS)  # for the user, who requests first
    assert not answer.done()
    assert not setup.room_names.receive(ROOMS._replace(tag=setup.link.tag))
    assert answer.result(0).rooms == ("lobby", "engine")
    assert setup.room_names.receive(ROOMS)
    assert setup.look_up(rooms=False).result(0).rooms == ("lobby", "engine")


def test_without_a_connection_the_known_names_are_used() -> None:
    setup = RoomNamesSetup()
    answer = setup.look_up()
    setup.room_names.connection_lost()
    assert answer.result(0).rooms == ("lobby",)
    setup.link.state = LinkState.WAITING
    assert setup.look_up().result(0).rooms == ("lobby",)
    assert setup.link.requests == 1


def test_the_classic_protocol_has_no_rooms() -> None:
    setup = RoomNamesSetup()
    setup.link.is_classic = True
    assert setup.look_up().result(0).rooms == ("lobby",)


def test_a_cancelled_lookup_is_ignored() -> None:
    setup = RoomNamesSetup()
    answer = setup.look_up()
    answer.cancel()
    assert not setup.room_names.receive(ROOMS._replace(tag=setup.link.tag))
    assert answer.cancelled()
