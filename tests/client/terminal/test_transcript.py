"""The transcript: its lines for the events of a fake link."""

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
from selchat.client.terminal.transcript import HeldEvents, Transcript
from selchat.errors import SelchatError
from selchat.events import Joined, Left, Topic
from selchat.limits import MAX_HELD_EVENTS, MAX_HELD_WHISPERS
from selchat.wire.frames import FrameTooLongError

AT = 1.0e9
LISTED = "/help lists the commands, //text sends /text"


class FakeLink:
    """Records the requests, and gives sent messages the ids 1, 2, 3."""

    def __init__(self) -> None:
        self.state = LinkState.ONLINE
        self.name = "Michael"
        self.rooms: tuple[str, ...] = ("lobby",)
        self.names = ("Michael", "Venkat")
        self.requests: list[tuple[object, ...]] = []
        self.tags: list[object] = []  # of the requests for history and rooms
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

    def set_topic(self, room: str, topic: str) -> None:
        self.requests.append(("topic", room, topic))

    def join(self, room: str) -> None:
        self._check()
        self.requests.append(("join", room))

    def part(self, room: str) -> None:
        self.requests.append(("part", room))

    def get_history(self, room: str, limit: int, *, before: int | None = None, tag: object = None) -> None:
        self._check()
        self.requests.append(("history", room, limit, before))
        self.tags.append(tag)

    def get_users(self, room: str, *, tag: object = None) -> None:
        self.requests.append(("users", room))

    def get_rooms(self, *, tag: object = None) -> None:
        self._check()
        self.requests.append(("rooms",))
        self.tags.append(tag)

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

    def receive(self, *events: ClientEvent) -> list[str]:
        """Receive these events, and return the new lines. Each answer is for the oldest request."""
        self.transcript.receive([self._tagged(event) for event in events])
        return self.shown()

    def _tagged(self, event: ClientEvent) -> ClientEvent:
        if isinstance(event, (History, Rooms)) or (isinstance(event, Refused) and event.request == "history"):
            return event._replace(tag=self.link.tags.pop(0))
        return event

    def type(self, line: str) -> list[str]:
        self.transcript.run(line)
        return self.shown()

    def shown(self) -> list[str]:
        """Return the new lines, with dim ones in braces."""
        shown = [
            f"{{{style.text(line)}}}" if dict(line).keys() == {style.DIM} else style.text(line)
            for line in self.lines
        ]
        self.lines.clear()
        return shown

    def requests(self) -> list[tuple[object, ...]]:
        requests, self.link.requests = self.link.requests, []
        return requests

    def pending(self) -> list[str]:
        return [message.old for message in self.transcript.live().pending]

    def enter(self, room: str, seq: int, *names: str) -> list[str]:
        self.link.rooms = tuple(dict.fromkeys((*self.link.rooms, room)))
        return self.receive(Users(room, names, len(names), "", seq, joined=True))


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


# -- login -----------------------------------------------------------------------------------------------


def test_login_shows_the_users_and_the_topic(chat: Chat) -> None:
    assert chat.receive(welcomed()) == []
    assert chat.requests() == [("users", "lobby")]
    users = Users("lobby", ("Michael", "Venkat"), 2, "tea", 0, joined=False)
    assert chat.receive(users) == ["{You are in lobby (2 here): Michael, Venkat}", "{Topic: tea}"]
    assert chat.receive(users)[0] == "Users online (2):"  # the answer to /users


def test_new_messages_appear_below_the_history(chat: Chat) -> None:
    chat.receive(welcomed(("lobby", 41)))
    assert chat.requests() == [("users", "lobby"), ("history", "lobby", 20, 42)]
    assert (
        chat.receive(said(42, "new"), Joined("lobby", ("Narayan",), 3), Topic("lobby", "t", "Bo", AT)) == []
    )
    assert chat.receive(Gap("lobby", 42, 44)) == []
    shown = chat.receive(History("lobby", (said(40, "old"), own(41, "old id", "mine")), more=True))
    assert shown == [
        f"{{{WHEN}Venkat > old}}",
        f"{{{WHEN}You >> mine}}",
        "Venkat > new",
        "{Narayan joined (3 here)}",
        "{Bo set the topic: t}",
        f"{{{lines.format_event(Gap('lobby', 42, 44))}}}",
    ]
    assert chat.receive(said(44, "newer")) == ["Venkat > newer"]


@pytest.mark.parametrize("end", ["lost", "refused", "parted"])
def test_a_missing_history_does_not_hold_events(chat: Chat, end: str) -> None:
    chat.receive(welcomed(("lobby", 41)))
    assert chat.receive(said(42, "new")) == []
    if end == "lost":
        chat.transcript.connection_lost()
    elif end == "refused":
        chat.receive(Refused("not-in-room", "no", room="Lobby", request="history"))
    else:
        chat.receive(Parted("lobby"))
    assert "Venkat > new" in chat.shown() or end != "lost"
    assert chat.receive(said(43, "newer"))[-1] == "Venkat > newer"


def test_held_events_are_bounded(chat: Chat) -> None:
    chat.receive(welcomed(("lobby", 41)))
    events = [said(42 + number, str(number)) for number in range(MAX_HELD_EVENTS)]
    assert chat.receive(*events[:-1]) == []
    assert chat.receive(events[-1]) == [f"Venkat > {number}" for number in range(MAX_HELD_EVENTS)]
    assert chat.receive(History("lobby", (said(41, "late"),), more=False)) == [f"{{{WHEN}Venkat > late}}"]


def test_a_changed_name_is_shown() -> None:
    chat = Chat(name="Mi\tchael ")
    chat.link.name = "Michael"
    assert chat.receive(welcomed()) == ["Your name here is Michael."]
    assert Chat().receive(welcomed()) == []


def test_missed_direct_messages_appear_below_the_history_with_their_times(chat: Chat) -> None:
    assert chat.receive(welcomed(("lobby", 1), whispers=1), Whispered("Bo", "kept", "Michael", 1, AT)) == []
    assert chat.receive(Users("lobby", ("Bo",), 1, "", 1, joined=False)) == [
        "{You are in lobby (1 here): Bo}"
    ]
    assert chat.receive(History("lobby", (said(1),), more=False))[1:] == [f"{WHEN}Bo whispers > kept"]
    assert chat.receive(Whispered("Bo", "new", "Michael", 2, AT)) == ["Bo whispers > new"]
    assert chat.receive(Whispered("Server", "answer", "Michael", 0, AT)) == ["Server > answer"]


@pytest.mark.parametrize("end", ["lost", "refused", "many"])
def test_held_direct_messages_are_released(chat: Chat, end: str) -> None:
    assert chat.receive(welcomed(), Whispered("Bo", "tea?", "Michael", 1, AT)) == []
    if end == "lost":
        chat.transcript.connection_lost()
        assert chat.shown() == ["Bo whispers > tea?"]
    elif end == "refused":
        assert (
            chat.receive(Refused("not-in-room", "no", room="lobby", request="users"))[-1]
            == "Bo whispers > tea?"
        )
    else:
        more = [Whispered("Bo", "tea!", "Michael", seq, AT) for seq in range(2, MAX_HELD_WHISPERS + 1)]
        assert chat.receive(*more[:-1]) == []
        assert len(chat.receive(more[-1])) == MAX_HELD_WHISPERS


def test_a_reconnection_shows_missed_messages_with_their_times(chat: Chat) -> None:
    chat.receive(welcomed(("lobby", 1)))
    chat.receive(History("lobby", (said(1),), more=False))
    chat.requests()
    chat.transcript.connection_lost()
    shown = chat.receive(
        welcomed(("lobby", 9), again=True), said(2, missed=True), Gap("lobby", 2, 9), said(9, "now")
    )
    assert shown == [
        f"{WHEN}Venkat > hey",
        f"{{{lines.format_event(Gap('lobby', 2, 9))}}}",
        "Venkat > now",
    ]
    assert chat.requests() == []


def test_a_reconnection_to_a_new_history(chat: Chat) -> None:
    chat.receive(welcomed())
    shown = chat.receive(welcomed(("lobby", 1), again=True, renumbered=True), said(1, missed=True))
    assert shown == ["{The server has started a new history}", f"{WHEN}Venkat > hey"]


# -- rooms -----------------------------------------------------------------------------------------------


def test_joining_a_room_changes_the_prompt_and_shows_its_history(chat: Chat) -> None:
    chat.receive(welcomed())
    chat.requests()
    assert chat.type("/join engine") == ["{You >> /join engine}"]
    assert chat.transcript.live().prompt == "You in #engine >> "  # without waiting for the server
    assert chat.requests() == [("join", "engine")]
    assert chat.enter("Engine", 7, "Michael", "Bo") == ["{You are in Engine (2 here): Michael, Bo}"]
    assert chat.requests() == [("history", "Engine", 20, 8)]
    assert chat.transcript.live().prompt == "You in #Engine >> "
    chat.receive(History("Engine", (), more=False))
    assert chat.enter("Engine", 9, "Michael") == [
        "{You are in Engine (1 here): Michael}"
    ]  # no history: already in it
    assert chat.requests() == []


def test_a_room_command_inside_a_text_stays_as_it_is(chat: Chat) -> None:
    chat.type("/me types /join #engine")
    assert chat.pending() == ["… * Michael types /join #engine"]


def test_room_commands_accept_a_hash_sign(chat: Chat) -> None:
    assert chat.type("/Join #engine") == ["{You >> /Join #engine}"]
    chat.type("/users  #engine")
    chat.type("/part #engine")
    assert chat.requests() == [("join", "engine"), ("users", "engine"), ("part", "engine")]


def test_lines_of_other_rooms_have_their_name() -> None:
    chat = Chat("lobby", "engine", room="engine")
    assert chat.receive(said(1, room="Engine"), said(1), Joined("lobby", ("Bo",), 2)) == [
        "Venkat > hey",
        "[lobby] Venkat > hey",
        "{[lobby] Bo joined (2 here)}",
    ]
    assert chat.receive(own(2, "x", room="engine"), own(2, "y")) == [
        "You in #engine >> hey",
        "[lobby] You >> hey",
    ]
    chat.link.rooms = ("engine",)
    assert chat.receive(Parted("lobby"), said(3, room="engine")) == [
        "{You are no longer in lobby}",
        "Venkat > hey",
    ]


def test_leaving_the_current_room_switches_to_another(chat: Chat) -> None:
    chat.type("/join engine")
    chat.enter("engine", 0)
    chat.type("/part")
    assert chat.requests() == [("join", "engine"), ("part", "engine")]
    chat.link.rooms = ("lobby",)
    assert chat.receive(Parted("engine")) == [
        "{You are no longer in engine}",
        "Your messages now go to lobby",
    ]
    assert chat.transcript.live().prompt == "You >> "
    chat.type("/join engine")
    chat.enter("engine", 4)
    assert ("history", "engine", 20, 5) in chat.requests()  # it counts as new


def test_a_refused_room_switches_back(chat: Chat) -> None:
    chat.type("/join engine")
    assert chat.receive(Refused("too-many-rooms", "the limit of 100 rooms is reached", room="engine")) == [
        "The limit of 100 rooms is reached",
        "Your messages now go to lobby",
    ]
    assert chat.transcript.live().prompt == "You >> "


def test_without_a_room_nothing_is_sent(chat: Chat) -> None:
    chat.link.rooms = ()
    chat.receive(Parted("lobby"))
    assert chat.type("hello") == ["Not sent: you are in no room; type /join ROOM to enter one."]
    assert chat.type("/history") == ["{You >> /history}", "You are in no room; type /join ROOM to enter one"]


def test_many_joins_and_leaves_share_a_line(chat: Chat) -> None:
    names = tuple(f"n{number}" for number in range(1000))
    [joined] = chat.receive(Joined("lobby", names, 1001))
    [left] = chat.receive(Left("lobby", names, 1))
    assert joined.endswith("n9 and 990 more joined (1001 here)}")
    assert left.endswith("n9 and 990 more left (1 here)}")


# -- own messages ----------------------------------------------------------------------------------------


def test_a_message_is_pending_until_the_room_shows_it(chat: Chat) -> None:
    assert chat.type("mine") == []
    live = chat.transcript.live()
    assert [(message.new, message.old) for message in live.pending] == [("You >> mine", "… mine")]
    assert (live.total, live.note) == (1, "")
    assert chat.receive(Acked("1", "lobby", "", 3, AT)) == []  # 2 has not arrived
    assert chat.pending() == ["… mine"]
    assert chat.receive(said(2, "before"), own(3, "1", "mine")) == ["Venkat > before", "You >> mine"]
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
def test_an_acknowledged_message_that_the_room_has_passed_is_shown(chat: Chat, then: ClientEvent) -> None:
    chat.type("mine")
    assert chat.receive(Acked("1", "lobby", "", 3, AT)) == []
    if isinstance(then, Parted):
        chat.link.rooms = ()
    assert any(line.endswith("You >> mine") for line in chat.receive(then))
    assert chat.pending() == []


def test_a_late_ack_shows_the_message(chat: Chat) -> None:
    chat.type("mine")
    chat.receive(Gap("lobby", 1, 9))
    assert chat.receive(Acked("1", "lobby", "", 3, AT)) == ["You >> mine"]


def test_an_own_message_from_elsewhere_is_shown(chat: Chat) -> None:
    assert chat.receive(own(1, "from elsewhere"), Acked("unknown", "", "Bo", 1, AT)) == ["You >> hey"]


def test_an_acknowledged_direct_message_becomes_final(chat: Chat) -> None:
    assert chat.type("/msg Bo tea?") == []
    assert chat.pending() == ["… to Bo: tea?"]
    assert chat.receive(Acked("1", "", "Bo", 1, AT)) == ["You to Bo > tea?"]
    assert chat.pending() == []


def test_an_action_is_pending_too(chat: Chat) -> None:
    assert chat.type("/me waves") == []
    assert chat.pending() == ["… * Michael waves"]
    assert chat.receive(own(1, "1", "* Michael waves")) == ["* Michael waves"]


def test_a_refused_message_is_shown_with_the_reason(chat: Chat) -> None:
    chat.type("mine")
    refused = Refused("muted", "the operator has muted you", "1", "lobby", "", "mine")
    assert chat.receive(refused) == ["Not sent (mine): the operator has muted you."]
    assert chat.pending() == []
    assert chat.receive(Refused("no-such-room", "there is no room x", room="x")) == ["There is no room x"]


def test_the_note_says_why_messages_are_pending(chat: Chat) -> None:
    chat.receive(NotStored("disk full\x1b"))
    assert chat.transcript.live().note == ""  # no message is pending
    chat.type("mine")
    assert chat.transcript.live().note == "waiting for the server: disk full\\x1b"
    chat.receive(Acked("0", "lobby", "", 1, AT))  # the server stores again
    assert chat.transcript.live().note == ""
    chat.link.state = LinkState.WAITING
    assert chat.transcript.live().note == "waiting for the server"
    chat.receive(NotStored("disk full"))
    chat.transcript.connection_lost()
    assert chat.transcript.live().note == "waiting for the server"


def test_only_the_newest_pending_messages_are_drawn(chat: Chat) -> None:
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
        (FrameTooLongError(70, 60), "Not sent: it takes 70 bytes, and the limit is 60."),
        (QueueFullError(9), "Not sent: more than 9 bytes are waiting to be sent already."),
    ],
)
def test_a_message_that_the_link_rejects_is_reported(chat: Chat, error: SelchatError, shown: str) -> None:
    chat.link.error = error
    assert chat.type("mine") == [shown]
    assert chat.pending() == []


# -- the classic protocol --------------------------------------------------------------------------------


def test_on_the_classic_protocol_own_messages_appear_at_once(chat: Chat) -> None:
    chat.link.has_ids = False
    assert chat.type("mine") == ["You >> mine"]
    chat.link.state = LinkState.WAITING
    assert chat.type("kept") == [
        "You >> kept",
        "Not connected. The client sends this when the server is back.",
    ]
    assert chat.pending() == []


def test_a_roster_has_at_most_two_rows(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    names = ", ".join(f"name{number}" for number in range(40))
    [line] = chat.receive(Message("Server", f"Users online (40): {names}"))
    assert line.startswith("Server > Users online (40): name0") and line.endswith("…")
    assert len(line) <= 80
    [line] = chat.receive(Message("Venkat", f"Users online (40): {names}"))
    assert line.endswith("name39")


def test_the_classic_protocol_lists_the_seen_authors(chat: Chat) -> None:
    assert chat.receive(SeenAuthors(("Bo",))) == ["This server sends no list of users. Seen so far: Bo"]


def test_the_classic_protocol_has_no_rooms_or_history(chat: Chat) -> None:
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
def test_local_commands_send_nothing(chat: Chat, line: str, asked: CommandKind, shown: list[str]) -> None:
    assert chat.transcript.run(line) is asked
    assert chat.shown() == shown
    assert chat.pending() == []


def test_history_and_search_show_the_requested_messages(chat: Chat) -> None:
    assert chat.type("/history 2") == ["{You >> /history 2}"]
    assert chat.requests() == [("history", "lobby", 2, None)]
    assert chat.receive(History("lobby", (said(1),), more=False)) == [f"{{{WHEN}Venkat > hey}}"]
    chat.type("/search hey")
    assert chat.receive(History("lobby", (said(1),), more=False)) == [
        f"{WHEN}Venkat > hey",
        "1 message with hey among the last 1 message of lobby",
    ]


def test_a_refused_topic_does_not_end_a_search(chat: Chat) -> None:
    chat.type("/search hey")
    chat.type("/topic x")
    assert chat.receive(Refused("muted", "be quiet", room="lobby", request="topic")) == ["Be quiet"]
    chat.requests()
    assert chat.receive(History("lobby", (said(5), said(6, "x")), more=True)) == []
    assert chat.requests() == [("history", "lobby", 1000, 5)]
    assert chat.receive(History("lobby", (said(4),), more=False)) == [
        f"{WHEN}Venkat > hey",
        f"{WHEN}Venkat > hey",
        "2 messages with hey among the last 3 messages of lobby",
    ]


def test_users_and_rooms_are_listed(chat: Chat) -> None:
    assert chat.type("/users") == ["{You >> /users}"]
    assert chat.type("/rooms") == ["{You >> /rooms}"]
    assert chat.requests() == [("users", "lobby"), ("rooms",)]
    assert chat.receive(Users("lobby", ("Bo",), 1, "", 1, joined=False)) == ["Users online (1):", "  Bo"]
    assert chat.receive(Rooms((RoomSummary("lobby", 1, "", 1),), 1)) == [
        "Rooms (1); * marks the rooms that you are in:",
        "* lobby  1 here",
    ]
    answer: Future[Candidates] = Future()
    chat.transcript.room_names.look_up(True, answer)
    assert chat.receive(Rooms((RoomSummary("engine", 1, "", 1),), 1)) == []
    assert answer.result(0).rooms == ("lobby", "engine")


def test_help_is_shown(chat: Chat) -> None:
    assert "/quit           leave the chat" in chat.type("/help")


# -- held events -------------------------------------------------------------------------------------------


def test_held_events_keep_their_order() -> None:
    held = HeldEvents()
    events: list[ClientEvent] = [
        said(1),
        Joined("lobby", ("Bo",), 2),
        Left("Lobby", ("Bo",), 1),
        Topic("lobby", "t", "Bo", 1.0),
        Gap("lobby", 1, 3),
        said(3),
    ]
    assert held.add(events[0]) == events[:1]  # no room is held
    held.hold("LOBBY")
    assert len(held) == 1
    assert [held.add(event) for event in events] == [[]] * len(events)
    held.hold("lobby")  # a second call loses nothing
    assert held.release("lobby") == events
    assert held.release("lobby") == []
    assert held.add(said(4)) == [said(4)]
    assert not held


def test_only_events_of_the_room_are_held() -> None:
    held = HeldEvents()
    held.hold("lobby")
    whisper = Whispered("Venkat", "tea?", "Michael", 1, 1.0)
    for event in (said(1, room="engine"), whisper):
        assert held.add(event) == [event]


def test_release_all_returns_the_events_of_every_room() -> None:
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
