"""The Python API against a scripted server, so that each server message comes exactly when it should."""

from __future__ import annotations

import json
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from selchat.client import (
    BannedError,
    BotEvent,
    CannotConnectError,
    Client,
    Connected,
    DisconnectedError,
    FrameTooLongError,
    Gap,
    Joined,
    Left,
    Lost,
    Message,
    NameTakenError,
    NoAnswerError,
    NotStored,
    Parted,
    PhaseError,
    QueueFullError,
    Refused,
    RefusedError,
    SelchatError,
    SettingError,
    StoppedError,
    Topic,
    UnsupportedError,
    Whispered,
)
from selchat.client.bot.client import Phase
from tests.client.selchat_support import Fields, ack, encoded, error, said, users, welcome
from tests.client.support import (
    DEADLINE,
    SECRET,
    PaperServer,
    RawConnection,
    RawServer,
    eventually,
    pair,
    paper_server,
    serving,
)


class Peer:
    """The server's end of one selchat protocol connection."""

    def __init__(self, server: RawServer) -> None:
        self.connection: RawConnection = server.accept()
        self._received = 0  # messages returned so far

    def expect(self, kind: str) -> Fields:
        """Return the client's next message, which must be of this type."""
        message = self.next_message()
        assert message["type"] == kind, message
        return message

    def next_message(self) -> Fields:
        """Return the client's next message, of any type."""
        eventually(lambda: len(self.connection.frames()) > self._received)
        message: Fields = json.loads(self.connection.frames()[self._received])
        self._received += 1
        return message

    def send(self, *messages: Fields) -> None:
        self.connection.send(encoded(*messages))

    def welcome(self, *rooms: tuple[str, int], **more: object) -> Fields:
        """Accept the client, and answer its request for the members of each room; return its hello."""
        hello = self.expect("hello")
        self.send(welcome(*rooms, **more))
        for room, seq in rooms or [("lobby", 0)]:
            assert self.expect("users")["room"] == room
            self.send(users(room, seq, "Michael", "Venkat"))
        return hello

    def leave(self) -> None:
        """Answer the client's goodbye."""
        self.expect("bye")
        self.send({"type": "bye", "reason": "goodbye", "retry_after": None})


Script = Callable[[Peer], object]  # the server's part on one connection


def client(port: int, **more: object) -> Client:
    return Client("127.0.0.1", port, "Michael", **{"secret": SECRET, "wire": "selchat", "tls": "off", **more})  # type: ignore[arg-type]


@contextmanager
def connected(*scripts: Script, rooms: tuple[tuple[str, int], ...] = (), **more: object) -> Iterator[Client]:
    """Yield a connected client, while the server runs one script on each connection and then says goodbye."""

    def play(server: RawServer) -> None:
        for script in scripts:
            peer = Peer(server)
            peer.welcome(*rooms)
            script(peer)
        peer.leave()

    with serving(play) as server:
        with client(server.port, **more) as chat:
            yield chat


def nothing(_peer: Peer) -> None:
    pass


def play_with_history(total: int, peer: Peer) -> None:
    """Answer requests for the history of the lobby, which has messages 1 to ``total``, in pages."""
    while (request := peer.next_message())["type"] == "history":
        before = min(request["before"], total + 1)
        seqs = range(max(1, before - request["limit"]), before)
        messages = [{"from": "Venkat", "seq": seq, "at": 1.5, "body": f"body {seq}"} for seq in seqs]
        peer.send({"type": "history", "room": "lobby", "messages": messages, "more": seqs.start > 1})
    peer.send({"type": "bye", "reason": "goodbye", "retry_after": None})


def received(chat: Client, count: int) -> list[BotEvent]:
    """Return the next ``count`` events other than `Connected` and `Lost`."""
    found: list[BotEvent] = []
    while len(found) < count:
        event = chat.receive(DEADLINE)
        assert event is not None, found
        if not isinstance(event, Connected | Lost):
            found.append(event)
    return found


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """Press Ctrl-C after so many seconds."""
    old = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


@contextmanager
def thread(target: Callable[[], object]) -> Iterator[None]:
    running = threading.Thread(target=target)
    running.start()
    try:
        yield
    finally:
        running.join(DEADLINE)
        assert not running.is_alive()


# -- settings ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"port": 0}, "port"),
        ({"host": "127.0.0.1:x"}, "HOST"),
        ({"secret": "too short, too"}, "secret"),
        ({"timeout": 0}, "timeout"),
        ({"history": -1}, "history"),
        ({"wire": "telex"}, "wire"),
    ],
)
def test_the_constructor_rejects_invalid_settings(arguments: dict[str, object], what: str) -> None:
    with pytest.raises(SettingError) as caught:
        Client(**{"host": "127.0.0.1", **arguments})  # type: ignore[arg-type]
    assert caught.value.name == what
    assert str(arguments.get("secret", "nothing")) not in str(caught.value)


def test_an_invalid_key_raises_in_connect() -> None:
    chat = client(1, key="x")
    with pytest.raises(SettingError, match="digits"):
        chat.connect()
    with pytest.raises(PhaseError):
        chat.say("hey")


def test_the_default_secret_is_in_the_users_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    hellos: list[Fields] = []

    def play(server: RawServer) -> None:
        for _ in range(2):
            peer = Peer(server)
            hellos.append(peer.welcome())
            peer.leave()

    with serving(play) as server:
        for _ in range(2):
            with Client(f"127.0.0.1:{server.port}", name="Michael", wire="selchat", tls="off"):
                pass
    assert hellos[0]["client"] == hellos[1]["client"]
    assert hellos[0]["client"] in (tmp_path / "selchat" / "client-secret").read_text()


# -- connecting ----------------------------------------------------------------------------------------


def test_client_attributes_follow_the_connection_from_new_to_closed() -> None:
    def play(server: RawServer) -> None:
        peer = Peer(server)
        hello = peer.welcome(name="Michael Two")
        assert (hello["name"], hello["client"]) == ("Michael", SECRET)
        peer.leave()

    with serving(play) as server:
        chat = client(server.port)
        assert (chat.name, chat.connected) == ("Michael", False)
        with chat:
            assert (chat.name, chat.connected) == ("Michael Two", True)
            assert chat.names() == chat.names("#Lobby") == ("Michael", "Venkat")
            assert chat.topic() == "about lobby"
            assert (chat.names("games"), chat.topic("games")) == ((), "")
            with pytest.raises(PhaseError, match="connected already"):
                chat.connect()
        assert not chat.connected
        chat.close()
        with pytest.raises(PhaseError, match="is closed"):
            chat.say("hey")
        with pytest.raises(PhaseError):
            chat.connect()
        assert list(chat) == []


def test_no_method_works_before_connect() -> None:
    chat = client(1)
    for call in (chat.receive, chat.flush, chat.users, chat.rooms, chat.history, chat.names, chat.topic):
        with pytest.raises(PhaseError, match="not connected") as caught:
            call()
        assert caught.value.phase is Phase.NEW
    with pytest.raises(PhaseError):
        list(chat)
    chat.close()


def test_connect_works_after_a_first_attempt_that_was_refused() -> None:
    with RawServer() as server:
        port = server.port
    chat = client(port)
    with pytest.raises(CannotConnectError, match="connection refused; is the server running there"):
        chat.connect()

    def play(peer: Peer) -> None:
        peer.welcome()
        peer.leave()

    with RawServer(port) as server, thread(lambda: play(Peer(server))):
        with chat:
            assert chat.connected


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (error("name-taken"), NameTakenError, "is taken$"),
        (error("version"), RefusedError, "about version"),
        (
            {"type": "bye", "reason": "full", "retry_after": 10},
            CannotConnectError,
            r"cannot connect to 127\.0\.0\.1:\d+: the server is full$",
        ),
        ({"type": "bye", "reason": "banned", "retry_after": None}, BannedError, "has banned you$"),
        (
            {"type": "bye", "reason": "replaced", "retry_after": None},
            CannotConnectError,
            "you signed in from somewhere else$",
        ),
        ({"type": "said"}, CannotConnectError, "no answer within 0.5 s$"),
        (welcome(), CannotConnectError, "no answer within 0.5 s$"),  # the list of members never comes
    ],
)
def test_a_failed_login_raises_its_reason(answer: Fields, kind: type[Exception], text: str) -> None:
    def play(server: RawServer) -> None:
        peer = Peer(server)
        peer.expect("hello")
        peer.send(answer)
        eventually(lambda: peer.connection.frames() and peer.connection.ended)

    with serving(play) as server:
        with pytest.raises(kind, match=text):
            client(server.port, timeout=0.5).connect()


def test_connect_raises_when_the_server_stays_silent() -> None:
    with RawServer() as server:
        with pytest.raises(CannotConnectError, match=r"no answer within 0\.05 s"):
            client(server.port, timeout=0.05).connect()


def test_connect_joins_the_rooms_and_leaves_the_lobby() -> None:
    def play(server: RawServer) -> None:
        peer = Peer(server)
        peer.expect("hello")
        peer.send(welcome())
        assert peer.expect("part")["room"] == "lobby"
        assert peer.expect("join")["room"] == "games"
        peer.send({"type": "left", "room": "lobby", "names": ["Michael"], "total": 1})
        peer.send(users("games", 3, "Michael", "Narayan"))
        peer.leave()

    with serving(play) as server:
        with client(server.port, rooms=["Games", "#games"]) as chat:
            assert chat.names("games") == ("Michael", "Narayan")
            assert chat.names() == ()


def test_connect_raises_when_a_room_cannot_be_joined() -> None:
    def play(server: RawServer) -> None:
        peer = Peer(server)
        peer.expect("hello")
        peer.send(welcome())
        peer.expect("join")
        peer.expect("users")
        peer.send(error("too-many-rooms", room="games"))
        eventually(lambda: peer.connection.received and peer.connection.ended)

    with serving(play) as server:
        with pytest.raises(RefusedError) as caught:
            client(server.port, rooms=["lobby", "games"]).connect()
        assert caught.value.code == "too-many-rooms"


def test_an_invalid_room_name_is_rejected() -> None:
    with pytest.raises(SelchatError, match="cannot be a room's name"):
        client(1, rooms="x" * 33).connect()


def test_history_comes_first_across_pages_and_without_duplicates() -> None:
    def entries(first: int, last: int) -> list[Fields]:
        return [
            {"seq": seq, "from": "Michael" if seq == 37 else "Venkat", "at": 1.0, "body": str(seq)}
            for seq in range(first, last + 1)
        ]

    def play(server: RawServer) -> None:
        peer = Peer(server)
        peer.expect("hello")
        peer.send(welcome(("lobby", 40)), said(41, body="41"))
        peer.expect("users")
        peer.send(users("lobby", 41, "Michael"), said(42, body="42"))
        request = peer.expect("history")
        assert (request["limit"], request["before"]) == (5, 41)
        peer.send({"type": "history", "room": "lobby", "messages": entries(39, 40), "more": True})
        request = peer.expect("history")
        assert (request["limit"], request["before"]) == (3, 39)
        peer.send(said(43, body="43"))
        peer.send({"type": "history", "room": "lobby", "messages": entries(36, 38), "more": True})
        peer.leave()

    with serving(play) as server:
        with client(server.port, history=5) as chat:
            assert isinstance(chat.receive(0), Connected)
            messages = received(chat, 7)
    assert [(event.body, event.missed) for event in messages if isinstance(event, Message)] == [
        ("36", True),
        ("38", True),
        ("39", True),
        ("40", True),
        ("41", False),
        ("42", False),
        ("43", False),
    ]


# -- events ----------------------------------------------------------------------------------------


def test_events_arrive_in_order_and_omit_the_bots_own() -> None:
    def play(peer: Peer) -> None:
        peer.send(
            said(1),
            said(2, "MICHAEL", body="by an earlier run of this bot"),
            {"type": "joined", "room": "lobby", "names": ["Michael", "Narayan"], "total": 3},
            {"type": "left", "room": "lobby", "names": ["Michael"], "total": 2},
            {"type": "left", "room": "lobby", "names": ["Narayan"], "total": 2},
            {"type": "topic", "room": "lobby", "topic": "Tea", "from": "Michael", "at": 1.0},
            {"type": "topic", "room": "lobby", "topic": "Coffee", "from": "Venkat", "at": 2.0},
            {"type": "whispered", "seq": 1, "from": "Venkat", "to": "Michael", "at": 1.0, "body": "psst"},
            said(5),
        )
        assert peer.expect("ack")["whisper"] == 1

    expected = [
        Message("Venkat", "body 1", seq=1, at=1.5),
        Joined("lobby", ("Narayan",), 3),
        Left("lobby", ("Narayan",), 2),
        Topic("lobby", "Coffee", "Venkat", 2.0),
        Whispered("Venkat", "psst", "Michael", 1, 1.0),
        Gap("lobby", 2, 5),
        Message("Venkat", "body 5", seq=5, at=1.5),
    ]
    with connected(play) as chat:
        assert received(chat, len(expected)) == expected
        assert chat.receive(0) is None
        assert chat.receive(0.01) is None
        assert chat.topic() == "Coffee"


def test_own_messages_come_if_requested() -> None:
    def play(peer: Peer) -> None:
        peer.send(said(1, "Michael", body="by an earlier run"))
        peer.send({"type": "topic", "room": "lobby", "topic": "Tea", "from": "Michael", "at": 1.0})
        peer.send(ack(peer.expect("say")["id"], 2))

    with connected(play, own=True) as chat:
        id = chat.say("by this one", wait=True)
        assert received(chat, 3) == [
            Message("Michael", "by an earlier run", seq=1, at=1.5, own=True),
            Topic("lobby", "Tea", "Michael", 1.0),
            Message("Michael", "by this one", seq=2, at=2.5, id=id, own=True),
        ]


def test_a_loop_yields_messages_and_passes_other_events_to_callbacks() -> None:
    def play(peer: Peer) -> None:
        peer.send({"type": "joined", "room": "lobby", "names": ["Narayan"], "total": 3})
        peer.send(said(1), said(2))

    with connected(play) as chat:
        called: list[object] = []
        chat.on_joined(called.append)
        chat.on_message(called.append)
        chat.on_connected(called.append)
        bodies = []
        for message in chat:
            bodies.append(message.body)
            if message.seq == 2:
                break
        assert bodies == ["body 1", "body 2"]
        assert called == [Connected("selchat 0.2.0", again=False), Joined("lobby", ("Narayan",), 3)]


def test_each_event_goes_to_its_callback() -> None:
    called: list[object] = []

    def play(server: RawServer) -> None:
        peer = Peer(server)
        peer.welcome()
        peer.send(
            said(1),
            {"type": "whispered", "seq": 0, "from": "Server", "to": "Michael", "at": 1.0, "body": "psst"},
            {"type": "gap", "room": "lobby", "after": 1, "before": 4},
            error("not-in-room", room="lobby"),
            {"type": "bye", "reason": "shutdown", "retry_after": 0},
        )
        peer.connection.close()
        peer = Peer(server)
        peer.expect("hello")
        peer.send(welcome(("lobby", 3)))
        for _ in range(2):
            peer.expect("users")
            peer.send(users("lobby", 3, "Michael"))
        peer.leave()

    with serving(play) as server:
        chat = client(server.port)

        @chat.on_connected
        def on_connected(event: Connected) -> None:
            called.append(event)
            if event.again:
                chat.users()
                chat.stop()

        for register in (
            chat.on_message,
            chat.on_whisper,
            chat.on_left,
            chat.on_topic,
            chat.on_lost,
            chat.on_refused,
            chat.on_gap,
            chat.on_parted,
        ):
            assert register(called.append) == called.append  # type: ignore[operator]
        chat.run()
        assert not chat.connected
    assert [type(event) for event in called] == [
        Connected,
        Message,
        Whispered,
        Gap,
        Refused,
        Parted,
        Lost,
        Connected,
    ]
    assert called[6].reason == "the server is shutting down"  # type: ignore[attr-defined]


def test_a_callback_may_send_requests() -> None:
    def play(peer: Peer) -> None:
        peer.send(said(1))
        peer.expect("users")
        peer.send(said(2), users("lobby", 2, "Michael", "Rishabh"))

    with connected(play) as chat:
        seen: list[object] = []

        @chat.on_message
        def ask(message: Message) -> None:
            seen.append(message.seq)
            if message.seq == 1:
                seen.append(chat.users())
            else:
                chat.stop()

        chat.run()
        assert seen == [1, ("Michael", "Rishabh"), 2]
        assert chat.connected  # run() leaves a client connected that was connected before


def test_a_callback_exception_propagates_and_later_events_remain() -> None:
    with connected(lambda peer: peer.send(said(1), said(2))) as chat:

        @chat.on_message
        def fail(message: Message) -> None:
            raise ZeroDivisionError(message.seq)

        with pytest.raises(ZeroDivisionError, match="1"):
            chat.run()
        with pytest.raises(ZeroDivisionError, match="2"):
            chat.run()


def test_events_without_a_callback_are_logged_with_escapes(caplog: pytest.LogCaptureFixture) -> None:
    def play(peer: Peer) -> None:
        id = peer.expect("say")["id"]
        peer.send(error("muted", id=id) | {"message": "no\x1b[2J"})
        peer.send({"type": "gap", "room": "lobby", "after": 0, "before": 4}, said(4))
        peer.expect("users")

    with connected(play) as chat, caplog.at_level(logging.WARNING, "selchat.client"):
        chat.say("hey")
        for _ in chat:
            break
        assert [record.getMessage() for record in caplog.records] == [
            r"refused: no\x1b[2J",
            "missed in lobby: the messages between 0 and 4",
        ]


def test_sleep_keeps_the_connection_and_queues_events() -> None:
    came_back = threading.Event()

    def second(peer: Peer) -> None:
        peer.send(said(1), said(2))
        came_back.set()

    with connected(lambda peer: peer.connection.close(), second) as chat:
        while not came_back.is_set():
            assert chat.sleep(0.01)
        assert chat.sleep(0.05)
        chat.stop()
        assert not chat.sleep(DEADLINE)
        assert [event.seq for event in received(chat, 2) if isinstance(event, Message)] == [1, 2]


# -- sending -------------------------------------------------------------------------------------------


def test_say_and_whisper_return_distinct_ids() -> None:
    def play(peer: Peer) -> None:
        first, second, third = peer.expect("say"), peer.expect("say"), peer.expect("whisper")
        assert [first["room"], second["room"], third["to"]] == ["lobby", "lobby", "Venkat"]
        peer.send(ack(first["id"], 1), ack(second["id"], 2))
        peer.send({"type": "ack", "id": third["id"], "to": "Venkat", "seq": 1, "at": 1.0})

    with connected(play) as chat:
        ids = [chat.say("one"), chat.say("two", "#lobby"), chat.whisper("Venkat", "three", wait=True)]
        assert len(set(ids)) == 3
        chat.flush(DEADLINE)
        assert chat.receive(0) == Connected("selchat 0.2.0", again=False)
        assert chat.receive(0) is None


def test_a_refusal_raises_in_the_call_that_waits() -> None:
    def play(peer: Peer) -> None:
        peer.send(error("no-such-name", id=peer.expect("whisper")["id"], to="Nobody"))
        peer.send(error("muted", id=peer.expect("say")["id"]))
        peer.send(error("no-such-name", id=peer.expect("whisper")["id"], to="Nobody"))

    with connected(play) as chat:
        with pytest.raises(RefusedError, match="about no-such-name"):
            chat.whisper("Nobody", "hey", wait=True)
        chat.say("hey")
        chat.whisper("Nobody", "hey")
        with pytest.raises(RefusedError) as caught:
            chat.flush()
        assert caught.value.code == "muted"
        chat.flush()  # reports each refusal once
        assert [event.code for event in received(chat, 2) if isinstance(event, Refused)] == [
            "muted",
            "no-such-name",
        ]


def test_a_message_that_is_too_long_raises_at_once() -> None:
    with connected(nothing) as chat:
        with pytest.raises(FrameTooLongError):
            chat.say("x" * 70_000)
        chat.flush()


def test_a_message_without_an_ack_in_time_is_still_delivered() -> None:
    asked = threading.Event()

    def play(peer: Peer) -> None:
        id = peer.expect("say")["id"]
        asked.wait(DEADLINE)
        peer.send(ack(id, 1))

    with connected(play, timeout=0.2) as chat:
        with pytest.raises(NoAnswerError, match=r"no answer within 0\.2 s"):
            chat.say("hey", wait=True)
        with pytest.raises(NoAnswerError, match=r"0\.01"):
            chat.flush(0.01)
        asked.set()
        chat.flush(DEADLINE)


def test_unacknowledged_messages_are_sent_again_with_the_same_id() -> None:
    ids: list[str] = []

    def first(peer: Peer) -> None:
        ids.append(peer.expect("say")["id"])
        peer.connection.reset()

    def second(peer: Peer) -> None:
        ids.append(peer.expect("say")["id"])
        peer.send(ack(ids[-1], 1))

    with connected(first, second) as chat:
        assert chat.say("hey", wait=True) == ids[0] == ids[1]


def test_say_raises_when_the_queue_stays_full() -> None:
    said_all = threading.Event()

    def play(server: RawServer) -> None:
        peer = Peer(server)
        peer.welcome()
        said_all.wait(DEADLINE)

    with serving(play) as server:
        with pytest.raises(QueueFullError), client(server.port, timeout=0.05) as chat:
            try:
                for _ in range(80):
                    chat.say("x" * 60_000)
            finally:
                said_all.set()


def test_a_bot_that_sends_without_receiving_loses_no_messages() -> None:
    sent = threading.Event()

    def play(peer: Peer) -> None:
        peer.send(*[said(seq) for seq in range(1, 2001)])
        sent.set()
        seq = 2000
        for _ in range(50):
            seq += 1
            peer.send(ack(peer.expect("say")["id"], seq))

    with connected(play) as chat:
        sent.wait(DEADLINE)
        for _ in range(50):
            chat.say("hey")
        chat.flush()
        assert [event.seq for event in received(chat, 2000) if isinstance(event, Message)] == list(
            range(1, 2001)
        )


# -- requests ------------------------------------------------------------------------------------------


def test_events_that_arrive_during_a_request_stay_queued() -> None:
    def play(peer: Peer) -> None:
        assert peer.expect("users")["room"] == "games"
        peer.send(said(1), users("games", 0, "Rishabh"), said(2))
        peer.expect("rooms")
        summary = {"room": "games", "members": 1, "topic": "chess", "seq": 9}
        peer.send({"type": "rooms", "rooms": [summary], "total": 1}, said(3))
        assert peer.expect("topic")["topic"] == "Tea"
        peer.send({"type": "topic", "room": "lobby", "topic": "Coffee", "from": "Venkat", "at": 1.0})
        peer.send({"type": "topic", "room": "lobby", "topic": "Tea", "from": "Michael", "at": 2.0})
        assert peer.expect("join")["room"] == "games"
        peer.send(users("games", 9, "Michael", "Rishabh"))
        peer.send(said(10, room="games"))
        assert peer.expect("part")["room"] == "games"
        peer.send({"type": "left", "room": "games", "names": ["Michael"], "total": 1})

    with connected(play) as chat:
        assert chat.users("games") == ("Rishabh",)
        assert [room.topic for room in chat.rooms()] == ["chess"]
        chat.set_topic("Tea")
        assert chat.topic() == "Tea"
        chat.join("#games")
        assert chat.names("games") == ("Michael", "Rishabh")
        chat.part("games")
        events = received(chat, 5)
        assert [event.seq for event in events if isinstance(event, Message)] == [1, 2, 3, 10]
        assert [event.topic for event in events if isinstance(event, Topic)] == ["Coffee"]
        assert chat.receive(0) is None


def test_history_reads_pages_in_both_directions() -> None:
    def page(*seqs: int, more: bool) -> Fields:
        messages = [{"seq": seq, "from": "Michael", "at": 1.0, "body": ""} for seq in seqs]
        return {"type": "history", "room": "lobby", "messages": messages, "more": more}

    def play(peer: Peer) -> None:
        assert peer.expect("history") == {"type": "history", "room": "lobby", "limit": 50}
        peer.send(page(8, 9, more=True))
        assert peer.expect("history") == {"type": "history", "room": "lobby", "limit": 48, "before": 8}
        peer.send(page(6, 7, more=False))
        assert peer.expect("history") == {"type": "history", "room": "lobby", "limit": 3, "after": 2}
        peer.send(page(3, 4, more=True))
        assert peer.expect("history") == {"type": "history", "room": "lobby", "limit": 1, "after": 4}
        peer.send(page(5, more=True))
        assert peer.expect("history")["before"] == 1
        peer.send(page(more=True))  # an empty page cannot have more

    with connected(play) as chat:
        assert [message.seq for message in chat.history()] == [6, 7, 8, 9]
        found = chat.history(limit=3, after=2)
        assert [(message.seq, message.own) for message in found] == [(3, True), (4, True), (5, True)]
        assert chat.history(before=1) == []
        assert chat.history(limit=0) == []
        with pytest.raises(SettingError):
            chat.history(before=1, after=2)


def test_a_refused_request_raises_the_servers_code() -> None:
    def play(peer: Peer) -> None:
        peer.expect("history")
        peer.send(error("not-in-room", room="games"))
        peer.expect("users")
        peer.send(error("no-such-room", room="Games"))
        peer.expect("rooms")
        peer.send(error("unknown-type"))

    with connected(play) as chat:
        for ask, code in (
            (lambda: chat.history("games"), "not-in-room"),
            (lambda: chat.users("Games"), "no-such-room"),
            (chat.rooms, "unknown-type"),
        ):
            with pytest.raises(RefusedError) as caught:
                ask()
            assert caught.value.code == code
        assert isinstance(chat.receive(0), Connected)
        assert chat.receive(0) is None


def test_a_late_response_does_not_go_to_the_next_request() -> None:
    late = threading.Event()

    def page(seq: int) -> Fields:
        messages = [{"seq": seq, "from": "Venkat", "at": 1.0, "body": ""}]
        return {"type": "history", "room": "lobby", "messages": messages, "more": False}

    def play(peer: Peer) -> None:
        peer.expect("history")
        late.wait(DEADLINE)
        peer.send(page(1))
        peer.expect("history")
        peer.send(page(2))

    with connected(play, timeout=0.3) as chat:
        with pytest.raises(NoAnswerError):
            chat.history(before=2)
        late.set()
        assert [message.seq for message in chat.history()] == [2]


def test_a_pending_request_is_sent_again_after_a_reconnection() -> None:
    def first(peer: Peer) -> None:
        peer.expect("rooms")
        peer.connection.reset()

    def second(peer: Peer) -> None:
        peer.expect("rooms")
        peer.send({"type": "rooms", "rooms": [], "total": 0})

    with connected(first, second) as chat:
        assert chat.rooms() == ()
        assert chat.connected


def test_join_while_offline_completes_after_the_reconnection() -> None:
    def second(server: RawServer) -> None:
        peer = Peer(server)
        peer.welcome()
        peer.connection.close()
        peer = Peer(server)
        assert "games" not in peer.expect("hello")["resume"]["rooms"]
        peer.send(welcome())
        while "users" not in (kinds := [json.loads(frame)["type"] for frame in peer.connection.frames()]):
            eventually(lambda kinds=kinds: len(peer.connection.frames()) > len(kinds))
        eventually(lambda: any('"join"' in frame for frame in peer.connection.frames()))
        peer.send(users("lobby", 0, "Michael"), users("games", 4, "Michael"))
        eventually(lambda: '"bye"' in peer.connection.frames()[-1])

    with serving(second) as server:
        with client(server.port) as chat:
            while not isinstance(chat.receive(DEADLINE), Lost):
                pass
            chat.join("games")
            assert chat.names("games") == ("Michael",)


# -- losing and closing ---------------------------------------------------------------------------------


def test_after_a_kick_every_call_raises_disconnected() -> None:
    def play(server: RawServer) -> None:
        peer = Peer(server)
        peer.welcome()
        peer.send(said(1), {"type": "bye", "reason": "kicked", "retry_after": None})

    with serving(play) as server:
        with (
            pytest.raises(DisconnectedError, match="the operator has removed you"),
            client(server.port) as chat,
        ):
            bodies = []
            try:
                bodies += (message.body for message in chat)
            finally:
                assert bodies == ["body 1"]  # events from before the kick come first
                assert not chat.connected
                for call in (
                    chat.users,
                    lambda: chat.say("hey"),
                    lambda: chat.receive(0),
                    lambda: chat.sleep(9),
                ):
                    with pytest.raises(DisconnectedError):
                        call()


def test_without_reconnect_a_lost_connection_ends_the_client() -> None:
    def play(server: RawServer) -> None:
        Peer(server).welcome()
        server.connections[0].close()

    with serving(play) as server:
        with pytest.raises(DisconnectedError, match="closed by the server"):
            with client(server.port, reconnect=False) as chat:
                chat.run()


def test_missed_messages_come_after_a_reconnection() -> None:
    hellos = []

    def play(server: RawServer) -> None:
        peer = Peer(server)
        peer.welcome()
        peer.send(said(1))
        peer.connection.close()
        peer = Peer(server)
        hellos.append(peer.welcome(("lobby", 3)))
        peer.send(said(2), said(3), said(4))
        peer.leave()

    with serving(play) as server:
        with client(server.port) as chat:
            messages = received(chat, 4)
    assert hellos[0]["resume"]["rooms"] == {"lobby": 1}
    assert [(event.seq, event.missed) for event in messages if isinstance(event, Message)] == [
        (1, False),
        (2, True),
        (3, True),
        (4, False),
    ]


def test_close_waits_for_all_acknowledgements() -> None:
    def play(peer: Peer) -> None:
        first, second = peer.expect("say"), peer.expect("say")
        peer.send(ack(first["id"], 1), ack(second["id"], 2))

    with connected(play) as chat:
        chat.say("one")
        chat.say("two")


def test_close_raises_when_a_message_is_not_acknowledged() -> None:
    with serving(lambda server: Peer(server).welcome()) as server:
        with pytest.raises(DisconnectedError, match="out of time; 1 message was not acknowledged"):
            with client(server.port, timeout=0.3) as chat:
                chat.say("hey")


def test_close_while_offline_does_not_raise() -> None:
    def play(server: RawServer) -> None:
        Peer(server).welcome()
        server.close()

    with serving(play) as server:
        with client(server.port) as chat:
            while not isinstance(chat.receive(DEADLINE), Lost):
                pass


def test_an_error_in_the_with_block_propagates_after_queued_messages_are_sent() -> None:
    bodies: list[str] = []

    def play(server: RawServer) -> None:
        peer = Peer(server)
        peer.welcome()
        bodies.append(peer.expect("say")["body"])

    with serving(play) as server:
        with pytest.raises(ZeroDivisionError):
            with client(server.port) as chat:
                chat.say("I do not feel so well")
                raise ZeroDivisionError
    assert bodies == ["I do not feel so well"]


def test_invalid_bytes_from_the_server_cause_a_reconnection() -> None:
    def first(peer: Peer) -> None:
        peer.connection.send(b"x" * 100)

    with connected(first, lambda peer: peer.send(said(1))) as chat:
        events = []
        while not events or not isinstance(events[-1], Message):
            events.append(chat.receive(DEADLINE))
        assert [type(event) for event in events] == [Connected, Lost, Connected, Message]


def test_a_message_that_was_not_stored_is_reported_once_and_sent_again() -> None:
    def play(peer: Peer) -> None:
        id = peer.expect("say")["id"]
        peer.send(error("not-stored", id=id))
        assert peer.expect("say")["id"] == id
        peer.send(ack(id, 1))

    with connected(play) as chat:
        chat.say("hey", wait=True)
        assert received(chat, 1) == [NotStored("about not-stored")]


# -- stopping ------------------------------------------------------------------------------------------


def test_stop_from_another_thread_ends_the_loop() -> None:
    with connected(nothing) as chat:
        looping = threading.Event()
        chat.on_connected(lambda _: looping.set())

        def stop() -> None:
            looping.wait(DEADLINE)
            chat.stop()

        with thread(stop):
            assert list(chat) == []
        assert chat.receive() is None
        assert chat.connected


def test_stop_from_a_signal_handler_ends_run() -> None:
    with connected(nothing) as chat:
        old = signal.signal(signal.SIGALRM, lambda *_: chat.stop())
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            chat.run()
        finally:
            signal.signal(signal.SIGALRM, old)
        assert chat.connected


def test_stop_before_run_prevents_the_connection() -> None:
    chat = client(1)
    chat.stop()
    chat.run()
    with pytest.raises(StoppedError):
        chat.connect()


def test_stop_ends_a_pending_connect() -> None:
    with RawServer() as server:
        chat = client(server.port)

        def stop() -> None:
            server.accept()
            chat.stop()

        with thread(stop):
            chat.run()
        assert not chat.connected


def test_close_from_another_thread_ends_run_and_requests() -> None:
    asked = threading.Event()

    def play(peer: Peer) -> None:
        peer.expect("users")
        asked.set()

    with connected(play) as chat:
        looping, ended = threading.Event(), []
        chat.on_connected(lambda _: looping.set())

        def loop() -> None:
            chat.run()
            ended.append("run")

        def ask() -> None:
            try:
                chat.users()
            except SelchatError as error:
                ended.append(type(error).__name__)

        with thread(loop), thread(ask):
            looping.wait(DEADLINE)
            assert asked.wait(DEADLINE)
            chat.close()
        assert sorted(ended) == ["StoppedError", "run"]


@pytest.mark.parametrize("waits", ["receive", "users", "flush"])
def test_an_interrupt_ends_a_wait_and_the_client_stays_usable(waits: str) -> None:
    def play(peer: Peer) -> None:
        if waits == "users":
            peer.expect("users")
        if waits == "flush":
            peer.send(ack(peer.expect("say")["id"], 1))
        assert peer.expect("say")["body"] == "bye"
        peer.send(ack(json.loads(peer.connection.frames()[-1])["id"], 2))

    with connected(play) as chat:
        received(chat, 0)
        with pytest.raises(KeyboardInterrupt), interrupted_after(0.05):
            if waits == "receive":
                list(chat)
            elif waits == "users":
                chat.users()
            else:
                chat.say("hey")
                while True:
                    chat.flush()
                    chat.receive()
        chat.say("bye", wait=True)


def test_an_interrupt_ends_the_wait_before_a_reconnection() -> None:
    def play(server: RawServer) -> None:
        peer = Peer(server)
        peer.welcome()
        peer.send({"type": "bye", "reason": "full", "retry_after": 3600})

    with serving(play) as server:
        with pytest.raises(KeyboardInterrupt), client(server.port) as chat:
            while not isinstance(chat.receive(DEADLINE), Lost):
                pass
            with interrupted_after(0.05):
                chat.receive()


def test_interrupt_ends_the_dns_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def getaddrinfo(_host: str, _port: int, *, flags: int = 0, **_: object) -> object:
        if not flags & socket.AI_NUMERICHOST:
            release.wait(DEADLINE)
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    try:
        with pytest.raises(KeyboardInterrupt), interrupted_after(0.05):
            client(1).connect()
    finally:
        release.set()


@pytest.mark.parametrize("form", ["loop", "body", "callback", "sleep", "connect"])
def test_interrupt_ends_a_program_with_status_130_and_without_a_traceback(form: str) -> None:
    def play(server: RawServer) -> None:
        peer = Peer(server)
        if form == "connect":
            eventually(lambda: peer.connection.ended)
            return
        peer.welcome()
        peer.send(said(1))
        peer.leave()

    with serving(play) as server:
        chat = client(server.port)

        @chat.on_message
        def busy(_message: Message) -> None:
            signal.raise_signal(signal.SIGINT)

        with pytest.raises(SystemExit) as info, interrupted_after(0.1):
            if form == "callback":
                chat.run()
            with chat:
                if form == "sleep":
                    chat.sleep(DEADLINE)
                for _ in chat:
                    if form == "body":
                        signal.raise_signal(signal.SIGINT)
    assert info.value.code == 130
    assert isinstance(info.value, KeyboardInterrupt)


# -- threads -------------------------------------------------------------------------------------------


def test_sleep_of_a_thread_returns_false_when_the_client_closes() -> None:
    results: list[bool] = []
    with connected(nothing) as chat:
        sleeping = threading.Thread(target=lambda: results.append(chat.sleep(DEADLINE)))
        sleeping.start()
    sleeping.join(DEADLINE)
    assert results == [False]
    assert chat.sleep(DEADLINE) is False


def test_threads_may_send_while_the_main_thread_waits() -> None:
    count, bodies = 200, []

    def play(peer: Peer) -> None:
        for seq in range(1, count + 1):
            message = peer.expect("say")
            bodies.append(message["body"])
            peer.send(ack(message["id"], seq))
        peer.send(said(count + 1, body="that is all"))

    with connected(play) as chat:
        ids: list[str] = []

        def talk(name: str) -> None:
            ids.extend(chat.say(f"{name} {number}") for number in range(count // 4))

        with thread(lambda: talk("a")), thread(lambda: talk("b")), thread(lambda: talk("c")):
            with thread(lambda: talk("d")):
                for message in chat:
                    assert message.body == "that is all"
                    break
        assert len(set(ids)) == count
    assert sorted(bodies) == sorted(f"{name} {number}" for name in "abcd" for number in range(count // 4))
    for name in "abcd":
        of_one = [body for body in bodies if body.startswith(name)]
        assert of_one == [f"{name} {number}" for number in range(count // 4)]


def test_threads_may_send_requests_while_the_main_thread_waits() -> None:
    def play(peer: Peer) -> None:
        for _ in range(40):
            request = peer.next_message()
            if request["type"] == "users":
                peer.send(users(request["room"], 0, request["room"]))
            else:
                peer.send({"type": "rooms", "rooms": [], "total": 0})
        peer.send(said(1))

    with connected(play) as chat:
        wrong: list[object] = []

        def ask(room: str) -> None:
            wrong.extend(room for _ in range(10) if chat.users(room) != (room,) or chat.rooms() != ())

        with thread(lambda: ask("one")), thread(lambda: ask("two")):
            assert isinstance(received(chat, 1)[0], Message)
        assert wrong == []


def test_several_threads_may_read_events() -> None:
    def play(peer: Peer) -> None:
        for seq in range(1, 301):
            peer.send(said(seq))

    with connected(play) as chat:
        found: list[int] = []

        def read() -> None:
            for message in chat:
                found.append(message.seq)
                if len(found) == 300:
                    chat.stop()

        with thread(read), thread(read), thread(read):
            pass
        assert sorted(found) == list(range(1, 301))


# -- the classic protocol -------------------------------------------------------------------------------


@pytest.fixture
def paper() -> Iterator[PaperServer]:
    with paper_server() as server:
        yield server


@pytest.mark.slow
def test_the_classic_protocol_supports_only_the_lobby(paper: PaperServer) -> None:
    with client(paper.port, wire="classic") as chat, client(paper.port, wire="classic") as other:
        eventually(lambda: len(paper.lines) == 2)
        assert chat.say("hey", wait=True) == ""
        assert received(other, 1) == [Message("Michael", "hey")]  # names have no owners on this protocol
        assert other.users() == other.names() == ("Michael",)
        assert other.names("games") == ()
        other.join("lobby")
        for call in (
            other.rooms,
            other.history,
            lambda: other.join("games"),
            lambda: other.part("lobby"),
            lambda: other.whisper("Michael", "hey"),
            lambda: other.set_topic("Tea"),
            lambda: other.say("hey", "games"),
        ):
            with pytest.raises(UnsupportedError):
                call()
        chat.flush()


def test_rooms_raise_on_the_classic_protocol(paper: PaperServer) -> None:
    for rooms in (["lobby", "games"], ["games"], []):
        with pytest.raises(UnsupportedError, match="rooms"):
            client(paper.port, wire="classic", rooms=rooms).connect()


def test_a_classic_server_is_detected() -> None:
    def play(server: RawServer) -> None:
        assert "hello" in Peer(server).expect("hello")["type"]
        server.connections[0].close()
        connection = server.accept()
        eventually(lambda: connection.frames() == ["Michael"])
        server.connections[1].send(b"6         Venkat3         hey")
        eventually(lambda: connection.ended or not connection.received)

    with serving(play) as server:
        with client(server.port, wire="auto", history=10) as chat:
            assert received(chat, 1) == [Message("Venkat", "hey")]


def test_a_classic_client_reconnects() -> None:
    def play(server: RawServer) -> None:
        server.accept().close()
        connection = server.accept()
        eventually(lambda: connection.frames() == ["Michael", "hey"])

    with serving(play) as server:
        with client(server.port, wire="classic") as chat:
            while not isinstance(event := chat.receive(DEADLINE), Connected) or not event.again:
                pass
            chat.say("hey", wait=True)


def test_a_request_times_out_even_while_messages_arrive() -> None:
    end = threading.Event()

    def play(peer: Peer) -> None:
        peer.expect("rooms")
        seq = 0
        while not end.wait(0.01):
            seq += 1
            peer.send(said(seq))

    with connected(play, timeout=0.3) as chat:
        started = time.monotonic()
        with pytest.raises(NoAnswerError):
            chat.rooms()
        assert time.monotonic() - started >= 0.3
        end.set()


# -- encryption ----------------------------------------------------------------------------------------


def test_an_invalid_passphrase_is_rejected_by_the_constructor() -> None:
    for wrong in ({"passphrase": ""}, {"passphrase": "x\ud800"}):
        with pytest.raises(SettingError, match=r"^passphrase: "):
            Client("lab", name="A", **wrong)
    with pytest.raises(SettingError, match=r"^wire: 'classic' is not selchat"):
        Client("lab", name="A", passphrase="words", wire="classic")
    with pytest.raises(SettingError, match=r"^key: "):
        Client("lab", name="A", passphrase="words", key="12")


def test_a_client_with_a_passphrase_never_uses_the_classic_protocol() -> None:
    def play(server: RawServer) -> None:
        peer = Peer(server)
        peer.expect("hello")
        peer.connection.send(pair("Server", "Welcome"))
        eventually(lambda: peer.connection.ended)
        assert not server.waiting()

    with serving(play) as server:
        with pytest.raises(CannotConnectError):
            client(server.port, wire="auto", passphrase="words").connect()


def test_a_long_history_leaves_room_for_connected() -> None:
    def play(server: RawServer) -> None:
        peer = Peer(server)
        peer.welcome(("lobby", 10_500))
        play_with_history(10_500, peer)

    with serving(play) as server, client(server.port, history=10_200) as chat:
        calls: list[object] = []
        chat.on_connected(calls.append)
        chat.on_gap(calls.append)
        for message in chat:
            if message.seq == 10_500:
                break
    assert calls == [Connected("selchat 0.2.0", again=False), Gap("lobby", 300, 501)]
