"""What is shown of a chat, for events as a link tells them; a link is as much of one as that needs."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from selchat.client import lines
from selchat.client.commands import CommandKind
from selchat.client.connection.link import LinkState, QueueFullError
from selchat.client.events import (
    Acked,
    ClientEvent,
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
from selchat.client.protocol.interface import UnsupportedError
from selchat.client.terminal import style
from selchat.client.terminal.completion import Candidates
from selchat.client.terminal.transcript import MAX_HELD, MAX_HELD_WHISPERS, HeldEvents, Transcript
from selchat.errors import SelchatError
from selchat.events import Joined, Left, Topic
from selchat.wire.frames import FrameTooLongError

AT = 1.0e9
LISTED = "/help lists the commands, //text sends /text"


class FakeLink:
    """Writes down what is asked of it; what is said on it gets the ids 1, 2, 3."""

    def __init__(self) -> None:
        self.state = LinkState.ONLINE
        self.name = "Michael"
        self.rooms: tuple[str, ...] = ("lobby",)
        self.names = ("Michael", "Venkat")
        self.asked: list[tuple[object, ...]] = []
        self.error: SelchatError | None = None
        self.has_ids = True
        self.chat: Transcript | None = None
        self._count = 0

    def say(self, text: str, room: str) -> None:
        self._said(room, "", text)

    def whisper(self, to: str, text: str) -> None:
        self._said("", to, text)

    def _said(self, room: str, to: str, text: str) -> None:
        self._check()
        self._count += 1
        assert self.chat is not None
        self.chat.message_sent(str(self._count) if self.has_ids else "", room, to, text)

    def join(self, room: str) -> None:
        self._check()
        self.asked.append(("join", room))

    def part(self, room: str) -> None:
        self.asked.append(("part", room))

    def get_history(self, room: str, limit: int, *, before: int | None = None) -> None:
        self._check()
        self.asked.append(("history", room, limit, before))

    def get_users(self, room: str) -> None:
        self.asked.append(("users", room))

    def get_rooms(self) -> None:
        self._check()
        self.asked.append(("rooms",))

    def _check(self) -> None:
        if self.error is not None:
            raise self.error


class Chat:
    def __init__(self, *rooms: str, name: str = "Michael", room: str = "lobby") -> None:
        self.link = FakeLink()
        self.link.rooms = rooms or ("lobby",)
        self.lines: list[style.Line] = []
        self.transcript = Transcript(self.link, name, room, self.lines.append)  # type: ignore[arg-type]
        self.link.chat = self.transcript

    def comes(self, *events: ClientEvent) -> list[str]:
        """Take these, and return what is shown of them."""
        self.transcript.receive(list(events))
        return self.shown()

    def type(self, line: str) -> list[str]:
        self.transcript.run(line)
        return self.shown()

    def shown(self) -> list[str]:
        """What is new, with dim lines in braces."""
        shown = [
            f"{{{style.text(line)}}}" if dict(line).keys() == {style.DIM} else style.text(line)
            for line in self.lines
        ]
        self.lines.clear()
        return shown

    def asked(self) -> list[tuple[object, ...]]:
        asked, self.link.asked = self.link.asked, []
        return asked

    def waiting(self) -> list[str]:
        return [message.old for message in self.transcript.live().pending]

    def enter(self, room: str, seq: int, *names: str) -> list[str]:
        self.link.rooms = tuple(dict.fromkeys((*self.link.rooms, room)))
        return self.comes(Users(room, names, len(names), "", seq, joined=True))


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def chat() -> Chat:
    return Chat()


def said(seq: int, body: str = "hey", room: str = "lobby", author: str = "Venkat", **more: object) -> Message:
    return Message(author, body, room, seq, AT, **more)  # type: ignore[arg-type]


def own(seq: int, id: str, body: str = "hey", room: str = "lobby") -> Message:
    return said(seq, body, room, "Michael", id=id, own=True)


def welcomed(*rooms: tuple[str, int], name: str = "Michael", whispers: int = 0, **more: bool) -> Welcomed:
    summaries = tuple(RoomSummary(room, 2, "", seq) for room, seq in rooms or (("lobby", 0),))
    return Welcomed(name, "selchat", summaries, whispers, **{"again": False, "renumbered": False, **more})


WHEN = style.time(AT, AT + 1e8)


# -- coming in -------------------------------------------------------------------------------------------


def test_coming_in_to_a_new_server(chat: Chat) -> None:
    assert chat.comes(welcomed()) == []
    assert chat.asked() == [("users", "lobby")]
    users = Users("lobby", ("Michael", "Venkat"), 2, "tea", 0, joined=False)
    assert chat.comes(users) == ["{You are in lobby (2 here): Michael, Venkat}", "{Topic: tea}"]
    assert chat.comes(users)[0] == "Users online (2):"  # what was asked for


def test_the_past_comes_before_what_is_said_meanwhile(chat: Chat) -> None:
    chat.comes(welcomed(("lobby", 41)))
    assert chat.asked() == [("users", "lobby"), ("history", "lobby", 20, 42)]
    assert chat.comes(said(42, "new"), Joined("lobby", ("Narayan",), 3), Topic("lobby", "t", "Bo", AT)) == []
    assert chat.comes(Gap("lobby", 42, 44)) == []
    shown = chat.comes(History("lobby", (said(40, "old"), own(41, "old id", "mine")), more=True))
    assert shown == [
        f"{{{WHEN}Venkat > old}}",
        f"{{{WHEN}You >> mine}}",
        "Venkat > new",
        "{Narayan joined (3 here)}",
        "{Bo set the topic: t}",
        f"{{{lines.format_event(Gap('lobby', 42, 44))}}}",
    ]
    assert chat.comes(said(44, "newer")) == ["Venkat > newer"]


@pytest.mark.parametrize("end", ["lost", "refused", "parted"])
def test_a_past_that_does_not_come_holds_up_nothing(chat: Chat, end: str) -> None:
    chat.comes(welcomed(("lobby", 41)))
    assert chat.comes(said(42, "new")) == []
    if end == "lost":
        chat.transcript.connection_lost()
    elif end == "refused":
        chat.comes(Refused("not-in-room", "no", room="Lobby"))
    else:
        chat.comes(Parted("lobby"))
    assert "Venkat > new" in chat.shown() or end != "lost"
    assert chat.comes(said(43, "newer"))[-1] == "Venkat > newer"


def test_held_events_are_bounded(chat: Chat) -> None:
    chat.comes(welcomed(("lobby", 41)))
    events = [said(42 + number, str(number)) for number in range(MAX_HELD)]
    assert chat.comes(*events[:-1]) == []
    assert chat.comes(events[-1]) == [f"Venkat > {number}" for number in range(MAX_HELD)]
    assert chat.comes(History("lobby", (said(41, "late"),), more=False)) == [f"{{{WHEN}Venkat > late}}"]


def test_another_name_than_was_asked_for() -> None:
    chat = Chat(name="Mi\tchael ")
    chat.link.name = "Michael"
    assert chat.comes(welcomed()) == ["Your name here is Michael."]
    assert Chat().comes(welcomed()) == []


def test_whispers_that_were_kept_come_after_the_past_with_their_times(chat: Chat) -> None:
    assert chat.comes(welcomed(("lobby", 1), whispers=1), Whispered("Bo", "kept", "Michael", 1, AT)) == []
    assert chat.comes(Users("lobby", ("Bo",), 1, "", 1, joined=False)) == ["{You are in lobby (1 here): Bo}"]
    assert chat.comes(History("lobby", (said(1),), more=False))[1:] == [f"{WHEN}Bo whispers > kept"]
    assert chat.comes(Whispered("Bo", "new", "Michael", 2, AT)) == ["Bo whispers > new"]
    assert chat.comes(Whispered("Server", "answer", "Michael", 0, AT)) == ["Server > answer"]


@pytest.mark.parametrize("end", ["lost", "refused", "many"])
def test_whispers_do_not_wait_for_ever(chat: Chat, end: str) -> None:
    assert chat.comes(welcomed(), Whispered("Bo", "tea?", "Michael", 1, AT)) == []
    if end == "lost":
        chat.transcript.connection_lost()
        assert chat.shown() == ["Bo whispers > tea?"]
    elif end == "refused":
        assert chat.comes(Refused("not-in-room", "no", room="lobby"))[-1] == "Bo whispers > tea?"
    else:
        more = [Whispered("Bo", "tea!", "Michael", seq, AT) for seq in range(2, MAX_HELD_WHISPERS + 1)]
        assert chat.comes(*more[:-1]) == []
        assert len(chat.comes(more[-1])) == MAX_HELD_WHISPERS


def test_coming_back(chat: Chat) -> None:
    chat.comes(welcomed(("lobby", 1)), History("lobby", (said(1),), more=False))
    chat.asked()
    chat.transcript.connection_lost()
    shown = chat.comes(
        welcomed(("lobby", 9), again=True), said(2, missed=True), Gap("lobby", 2, 9), said(9, "now")
    )
    assert shown == [
        f"{WHEN}Venkat > hey",
        f"{{{lines.format_event(Gap('lobby', 2, 9))}}}",
        "Venkat > now",
    ]
    assert chat.asked() == []


def test_coming_back_to_another_log(chat: Chat) -> None:
    chat.comes(welcomed())
    shown = chat.comes(welcomed(("lobby", 1), again=True, renumbered=True), said(1, missed=True))
    assert shown == ["{The server has started a new history}", f"{WHEN}Venkat > hey"]


# -- rooms -----------------------------------------------------------------------------------------------


def test_joining_a_room(chat: Chat) -> None:
    chat.comes(welcomed())
    chat.asked()
    assert chat.type("/join engine") == ["{You >> /join engine}"]
    assert chat.transcript.live().prompt == "You in #engine >> "  # at once: what is typed now is for it
    assert chat.asked() == [("join", "engine")]
    assert chat.enter("Engine", 7, "Michael", "Bo") == ["{You are in Engine (2 here): Michael, Bo}"]
    assert chat.asked() == [("history", "Engine", 20, 8)]
    assert chat.transcript.live().prompt == "You in #Engine >> "
    chat.comes(History("Engine", (), more=False))
    assert chat.enter("Engine", 9, "Michael") == ["{You are in Engine (1 here): Michael}"]  # only back to it
    assert chat.asked() == []


def test_a_room_as_the_prompt_writes_it(chat: Chat) -> None:
    assert chat.type("/Join #engine") == ["{You >> /Join #engine}"]
    chat.type("/users  #engine")
    chat.type("/part #engine")
    assert chat.asked() == [("join", "engine"), ("users", "engine"), ("part", "engine")]


def test_lines_of_several_rooms() -> None:
    chat = Chat("lobby", "engine", room="engine")
    assert chat.comes(said(1, room="Engine"), said(1), Joined("lobby", ("Bo",), 2)) == [
        "Venkat > hey",
        "[lobby] Venkat > hey",
        "{[lobby] Bo joined (2 here)}",
    ]
    assert chat.comes(own(2, "x", room="engine"), own(2, "y")) == [
        "You in #engine >> hey",
        "[lobby] You >> hey",
    ]
    chat.link.rooms = ("engine",)
    assert chat.comes(Parted("lobby"), said(3, room="engine")) == [
        "{You are no longer in lobby}",
        "Venkat > hey",
    ]


def test_leaving_the_room_that_one_talks_in(chat: Chat) -> None:
    chat.type("/join engine")
    chat.enter("engine", 0)
    chat.type("/part")
    assert chat.asked() == [("join", "engine"), ("part", "engine")]
    chat.link.rooms = ("lobby",)
    assert chat.comes(Parted("engine")) == [
        "{You are no longer in engine}",
        "Your messages now go to lobby",
    ]
    assert chat.transcript.live().prompt == "You >> "
    chat.type("/join engine")
    chat.enter("engine", 4)
    assert ("history", "engine", 20, 5) in chat.asked()  # it is new again


def test_a_room_that_one_cannot_have(chat: Chat) -> None:
    chat.type("/join engine")
    assert chat.comes(Refused("too-many-rooms", "the limit of 100 rooms is reached", room="engine")) == [
        "The limit of 100 rooms is reached",
        "Your messages now go to lobby",
    ]
    assert chat.transcript.live().prompt == "You >> "


def test_nowhere(chat: Chat) -> None:
    chat.link.rooms = ()
    chat.comes(Parted("lobby"))
    assert chat.type("hello") == ["Not sent: you are in no room; type /join ROOM to enter one."]
    assert chat.type("/history") == ["{You >> /history}", "You are in no room; type /join ROOM to enter one"]


def test_many_who_come_and_go_are_one_line(chat: Chat) -> None:
    names = tuple(f"n{number}" for number in range(1000))
    [joined] = chat.comes(Joined("lobby", names, 1001))
    [left] = chat.comes(Left("lobby", names, 1))
    assert joined.endswith("n9 and 990 more joined (1001 here)}")
    assert left.endswith("n9 and 990 more left (1 here)}")


# -- what one says ---------------------------------------------------------------------------------------


def test_a_message_waits_until_it_has_its_place(chat: Chat) -> None:
    assert chat.type("mine") == []
    live = chat.transcript.live()
    assert [(message.new, message.old) for message in live.pending] == [("You >> mine", "… mine")]
    assert (live.total, live.note) == (1, "")
    assert chat.comes(Acked("1", "lobby", "", 3, AT)) == []  # 2 is still to come
    assert chat.waiting() == ["… mine"]
    assert chat.comes(said(2, "before"), own(3, "1", "mine")) == ["Venkat > before", "You >> mine"]
    assert chat.transcript.live() == chat.transcript.live()._replace(pending=(), total=0, note="")


@pytest.mark.parametrize(
    "then",
    [
        Gap("lobby", 1, 4),
        said(4),
        Users("lobby", (), 0, "", 4, joined=True),
        welcomed(again=True),
        Parted("lobby"),
    ],
)
def test_what_is_stored_and_gets_no_place_is_shown_all_the_same(chat: Chat, then: ClientEvent) -> None:
    chat.type("mine")
    assert chat.comes(Acked("1", "lobby", "", 3, AT)) == []
    if isinstance(then, Parted):
        chat.link.rooms = ()
    assert any(line.endswith("You >> mine") for line in chat.comes(then))
    assert chat.waiting() == []


def test_an_ack_that_comes_when_the_room_is_beyond_it(chat: Chat) -> None:
    chat.type("mine")
    chat.comes(Gap("lobby", 1, 9))
    assert chat.comes(Acked("1", "lobby", "", 3, AT)) == ["You >> mine"]


def test_one_that_is_known_to_no_one_here_is_shown(chat: Chat) -> None:
    assert chat.comes(own(1, "from elsewhere"), Acked("unknown", "", "Bo", 1, AT)) == ["You >> hey"]


def test_a_whisper_stays_when_it_is_acknowledged(chat: Chat) -> None:
    assert chat.type("/msg Bo tea?") == []
    assert chat.waiting() == ["… to Bo: tea?"]
    assert chat.comes(Acked("1", "", "Bo", 1, AT)) == ["You to Bo > tea?"]
    assert chat.waiting() == []


def test_an_action(chat: Chat) -> None:
    assert chat.type("/me waves") == []
    assert chat.waiting() == ["… * Michael waves"]
    assert chat.comes(own(1, "1", "* Michael waves")) == ["* Michael waves"]


def test_what_is_refused_is_shown_with_the_reason(chat: Chat) -> None:
    chat.type("mine")
    refused = Refused("muted", "the operator has muted you", "1", "lobby", "", "mine")
    assert chat.comes(refused) == ["Not sent (mine): the operator has muted you."]
    assert chat.waiting() == []
    assert chat.comes(Refused("no-such-room", "there is no room x", room="x")) == ["There is no room x"]


def test_why_it_waits(chat: Chat) -> None:
    chat.comes(NotStored("disk full\x1b"))
    assert chat.transcript.live().note == ""  # nothing waits
    chat.type("mine")
    assert chat.transcript.live().note == "waiting for the server: disk full\\x1b"
    chat.comes(Acked("0", "lobby", "", 1, AT))  # it stores again
    assert chat.transcript.live().note == ""
    chat.link.state = LinkState.WAITING
    assert chat.transcript.live().note == "waiting for the server"
    chat.comes(NotStored("disk full"))
    chat.transcript.connection_lost()
    assert chat.transcript.live().note == "waiting for the server"


def test_only_the_last_of_many_are_drawn(chat: Chat) -> None:
    for number in range(100):
        chat.type(str(number))
    live = chat.transcript.live()
    assert live.total == 100
    assert live.pending[-1].old == "… 99"
    assert len(live.pending) < 20
    assert live.since <= live.pending[0].since


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (FrameTooLongError(70, 60), "Not sent: 70 bytes, and the limit is 60."),
        (QueueFullError(9), "Not sent: more than 9 bytes are waiting to be sent already."),
    ],
)
def test_what_cannot_be_sent(chat: Chat, error: SelchatError, shown: str) -> None:
    chat.link.error = error
    assert chat.type("mine") == [shown]
    assert chat.waiting() == []


# -- the paper's wire ------------------------------------------------------------------------------------


def test_on_the_papers_wire_what_is_said_is_shown_at_once(chat: Chat) -> None:
    chat.link.has_ids = False
    assert chat.type("mine") == ["You >> mine"]
    chat.link.state = LinkState.WAITING
    assert chat.type("kept") == [
        "You >> kept",
        "Not connected. The client sends this when the server is back.",
    ]
    assert chat.waiting() == []


def test_a_roster_has_two_rows_at_most(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    names = ", ".join(f"name{number}" for number in range(40))
    [line] = chat.comes(Message("Server", f"Users online (40): {names}"))
    assert line.startswith("Server > Users online (40): name0") and line.endswith("…")
    assert len(line) <= 80
    [line] = chat.comes(Message("Venkat", f"Users online (40): {names}"))
    assert line.endswith("name39")


def test_who_was_heard(chat: Chat) -> None:
    assert chat.comes(SeenAuthors(("Bo",))) == ["This server sends no list of users. Seen so far: Bo"]


def test_what_that_wire_has_not(chat: Chat) -> None:
    chat.link.error = UnsupportedError("rooms")
    assert chat.type("/join engine") == [
        "{You >> /join engine}",
        "This server speaks only the classic protocol, which has no rooms",
    ]
    assert chat.transcript.live().prompt == "You >> "
    assert chat.type("/search x")[1:] == ["This server speaks only the classic protocol, which has no rooms"]


# -- commands --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "asked", "shown"),
    [
        ("/quit", CommandKind.QUIT, []),
        ("", CommandKind.NOTHING, []),
        ("  \t", CommandKind.TEXT, []),
        ("/nope x", CommandKind.NOTHING, ["{You >> /nope x}", f"Unknown command /nope; {LISTED}"]),
        ("/join", CommandKind.NOTHING, ["{You >> /join}", "Usage: /join ROOM"]),
        ("/n\x1b[2J", CommandKind.NOTHING, [r"{You >> /n\x1b[2J}", rf"Unknown command /n\x1b[2J; {LISTED}"]),
    ],
)
def test_what_says_nothing(chat: Chat, line: str, asked: CommandKind, shown: list[str]) -> None:
    assert chat.transcript.run(line) is asked
    assert chat.shown() == shown
    assert chat.waiting() == []


def test_asking_for_the_past(chat: Chat) -> None:
    assert chat.type("/history 2") == ["{You >> /history 2}"]
    assert chat.asked() == [("history", "lobby", 2, None)]
    assert chat.comes(History("lobby", (said(1),), more=False)) == [f"{{{WHEN}Venkat > hey}}"]
    chat.type("/search hey")
    assert chat.comes(History("lobby", (said(1),), more=False)) == [
        f"{WHEN}Venkat > hey",
        "1 message with hey among the last 1 message of lobby",
    ]


def test_asking_for_people_and_rooms(chat: Chat) -> None:
    assert chat.type("/users") == ["{You >> /users}"]
    assert chat.type("/rooms") == ["{You >> /rooms}"]
    assert chat.asked() == [("users", "lobby"), ("rooms",)]
    assert chat.comes(Users("lobby", ("Bo",), 1, "", 1, joined=False)) == ["Users online (1):", "  Bo"]
    assert chat.comes(Rooms((RoomSummary("lobby", 1, "", 1),), 1)) == [
        "Rooms (1); * marks the rooms that you are in:",
        "* lobby  1 here",
    ]
    answer: Future[Candidates] = Future()
    chat.transcript.room_names.look_up(True, answer)
    assert chat.comes(Rooms((RoomSummary("engine", 1, "", 1),), 1)) == []
    assert answer.result(0).rooms == ("lobby", "engine")


def test_help(chat: Chat) -> None:
    assert "/quit           leave the chat" in chat.type("/help")


# -- held events -------------------------------------------------------------------------------------------


def test_what_happens_in_a_room_is_held_in_order() -> None:
    held = HeldEvents()
    events: list[ClientEvent] = [
        said(1),
        Joined("lobby", ("Bo",), 2),
        Left("Lobby", ("Bo",), 1),
        Topic("lobby", "t", "Bo", 1.0),
        Gap("lobby", 1, 3),
        said(3),
    ]
    assert held.add(events[0]) == events[:1]  # nothing is awaited
    held.hold("LOBBY")
    assert len(held) == 1
    assert [held.add(event) for event in events] == [[]] * len(events)
    held.hold("lobby")  # once more loses nothing
    assert held.release("lobby") == events
    assert held.release("lobby") == []
    assert held.add(said(4)) == [said(4)]
    assert not held


def test_other_rooms_and_other_things_go_on() -> None:
    held = HeldEvents()
    held.hold("lobby")
    whisper = Whispered("Venkat", "tea?", "Michael", 1, 1.0)
    for event in (said(1, room="engine"), whisper):
        assert held.add(event) == [event]


def test_everything_at_once() -> None:
    held = HeldEvents()
    held.hold("lobby")
    held.hold("engine")
    for event in (said(1), said(1, room="engine"), said(2)):
        held.add(event)
    assert held.release_all() == [said(1), said(2), said(1, room="engine")]
    assert not held


@pytest.mark.parametrize("held", [HeldEvents(max_events=3), HeldEvents(max_size=3)], ids=["events", "size"])
def test_too_many_events_are_released(held: HeldEvents) -> None:
    held.hold("lobby")
    assert held.add(said(1, body="x")) == held.add(said(2, body="y")) == []
    assert held.add(said(3, body="z")) == [said(1, body="x"), said(2, body="y"), said(3, body="z")]
    assert held.add(said(4)) == [said(4)]
