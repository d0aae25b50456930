"""Transcripts of the selchat protocol from the client's end."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.client.events import (
    Acked,
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
    Users,
    Welcomed,
    Whispered,
)
from selchat.client.protocol import rooms, selchat
from selchat.client.protocol.outbox import QueueFullError
from selchat.client.protocol.rooms import RoomState
from selchat.client.protocol.selchat import ClientState, SelchatClient
from selchat.errors import BadRoomError, SettingError
from selchat.events import Joined, Left, Topic
from selchat.limits import HELLO_LIMIT
from selchat.wire.frames import BadHeaderError, FrameTooLongError, TruncatedFrameError
from selchat.wire.requests import BadMessageError
from selchat.wire.strict_json import BadJsonError
from tests.client.selchat_support import (
    LIMITS,
    Fields,
    Talk,
    ack,
    decoded,
    encoded,
    error,
    said,
    take_data,
    users,
    welcome,
)
from tests.client.support import SECRET, frame, settings

# -- hello ---------------------------------------------------------------------------------------------


def test_hello_is_answered_by_a_welcome() -> None:
    talk = Talk()
    assert take_data(talk.client) == b""
    talk.client.connection_made()
    assert take_data(talk.client) == frame(
        '{"type":"hello","version":1,"name":"Michael","client":"9yAq3eTzqv0l1cZr6mW8nA"}'
    )
    assert talk.client.state is ClientState.GREETING
    assert talk.receive(welcome(("lobby", 41), name="Michael 2", whispers=3)) == [
        Welcomed(
            "Michael 2",
            "selchat 0.2.0",
            (RoomSummary("lobby", 3, "about lobby", 41),),
            3,
            again=False,
            renumbered=False,
        )
    ]
    assert talk.client.name == "Michael 2"
    assert talk.client.state is ClientState.WELCOMED
    assert talk.sent() == []


def test_refused_hello_is_an_event() -> None:
    talk = Talk()
    talk.client.connection_made()
    assert talk.receive(error("name-taken")) == [Refused("name-taken", "about name-taken")]
    assert talk.client.state is ClientState.GREETING


def test_other_messages_before_the_welcome_are_ignored() -> None:
    talk = Talk()
    talk.client.connection_made()
    assert talk.receive(said(1), ack("x", 1), users("lobby"), {"type": "pong"}, {"type": "new"}) == []
    assert talk.receive(welcome(), welcome(name="Eve")) != []
    assert talk.client.name == "Michael"


@pytest.mark.parametrize("limits", [None, 7, [], {}, {"frame": "x", "unacknowledged": 0, "history": True}])
def test_senseless_limits_become_the_defaults(limits: object) -> None:
    talk = Talk()
    talk.connect(welcome(limits=limits))
    assert talk.client.limits == selchat.Limits()


def test_long_name_and_bad_key_are_rejected() -> None:
    with pytest.raises(FrameTooLongError):
        SelchatClient(settings(name="x" * 100, frame_limit=50), SECRET)
    with pytest.raises(SettingError):
        SelchatClient(settings(key="12a"), SECRET)


# -- sending ------------------------------------------------------------------------------------------


def test_acknowledged_message_gets_its_place_in_the_room() -> None:
    talk = Talk()
    talk.connect(welcome(("lobby", 41)))
    id = talk.client.say("hello, everyone")
    assert talk.sent() == [{"type": "say", "room": "lobby", "id": id, "body": "hello, everyone"}]
    assert talk.receive(said(43, "Michael B")) == []
    assert talk.receive(ack(id, 42)) == [
        Acked(id, "lobby", "", 42, 2.5),
        Message("Michael", "hello, everyone", "lobby", 42, 2.5, id, own=True),
        Message("Michael B", "body 43", "lobby", 43, 1.5),
    ]
    assert talk.client.unacknowledged == talk.client.queued == 0
    assert talk.receive(ack(id, 42), ack("unknown", 44)) == []


def test_ids_are_unique() -> None:
    ids = {client.say("x") for client in (Talk().client, Talk().client) for _ in range(100)}
    assert len(ids) == 200
    assert max(map(len, ids)) <= 64


def test_messages_before_the_welcome_are_queued() -> None:
    talk = Talk()
    first = talk.client.say("first")
    talk.client.connection_made()
    second = talk.client.whisper("Venkat", "second")
    assert [message["type"] for message in talk.sent()] == ["hello"]
    talk.receive(welcome())
    assert talk.sent() == [
        {"type": "say", "room": "lobby", "id": first, "body": "first"},
        {"type": "whisper", "to": "Venkat", "id": second, "body": "second"},
    ]
    ack_of_whisper = {"type": "ack", "id": second, "to": "Venkat", "seq": 7, "at": 2.5}
    assert talk.receive(ack_of_whisper) == [Acked(second, "", "Venkat", 7, 2.5)]


def test_window_limits_unacknowledged_messages() -> None:
    talk = Talk()
    talk.connect(welcome(limits={**LIMITS, "unacknowledged": 3}))
    ids = [talk.client.say(str(number)) for number in range(5)]
    assert [message["id"] for message in talk.sent()] == ids[:3]
    assert talk.sent() == []
    talk.receive(ack(ids[0], 1))
    assert [message["id"] for message in talk.sent()] == ids[3:4]
    talk.receive(error("muted", id=ids[1]), ack(ids[2], 2))
    assert [message["id"] for message in talk.sent()] == ids[4:]


def test_many_messages_are_encoded_in_batches() -> None:
    talk = Talk()
    talk.connect()
    ids = [talk.client.say("x" * 50_000) for _ in range(20)]
    assert len(take_data(talk.client)) < 400_000
    assert [message["id"] for message in talk.sent()] == ids[6:]


def test_refusal_carries_the_refused_message() -> None:
    talk = Talk()
    talk.connect()
    id = talk.client.say("hey", "engine-room")
    assert talk.receive(error("not-in-room", id=id, room="engine-room")) == [
        Refused("not-in-room", "about not-in-room", id, "engine-room", "", "hey")
    ]
    id = talk.client.whisper("Nobody", "hey")
    assert talk.receive(error("no-such-name", id=id, to="Nobody")) == [
        Refused("no-such-name", "about no-such-name", id, "", "Nobody", "hey")
    ]
    assert talk.client.unacknowledged == 0
    assert talk.receive(error("bad-json"), error("muted", id="of another life")) == [
        Refused("bad-json", "about bad-json"),
        Refused("muted", "about muted", "of another life"),
    ]


def test_refusal_releases_messages_that_waited_for_the_ack() -> None:
    talk = Talk()
    talk.connect()
    id = talk.client.say("hey")
    talk.sent()
    assert talk.receive(said(2)) == []
    assert talk.receive(error("muted", id=id))[1:] == [
        Gap("lobby", 0, 2),
        Message(*("Venkat", "body 2", "lobby", 2, 1.5)),
    ]


def test_frame_and_queue_limits_reject_messages() -> None:
    client = Talk(frame_limit=200, queue_limit=1000).client
    with pytest.raises(FrameTooLongError) as caught:
        client.say('"' * 100)
    assert (caught.value.length > 250, caught.value.limit) == (True, 200)
    for _ in range(7):
        client.say("x" * 60)
    with pytest.raises(QueueFullError):
        client.say("x" * 60)
    assert client.unacknowledged == 7
    assert client.queued <= 1000


def test_message_over_the_servers_limit_is_refused_locally() -> None:
    talk = Talk()
    id = talk.client.say("x" * 500)
    other = talk.client.say("ok")
    talk.connect(welcome(limits={**LIMITS, "frame": 400}))
    assert [message["id"] for message in talk.sent()] == [other]
    [refused] = talk.client.events()
    assert isinstance(refused, Refused)
    assert refused[:1] + refused[2:6] == ("too-long", id, "lobby", "", "x" * 500)
    assert refused.text.endswith("bytes is over the limit of 400")


def test_lone_surrogates_are_replaced() -> None:
    talk = Talk(name="M\udce4")
    assert talk.connect()["name"] == "M\ufffd"
    talk.client.say("a\udce4\ud800\U0001f600\u2028\0")
    [message] = talk.sent()
    assert message["body"] == "a\ufffd\ufffd\U0001f600\u2028\0"


# -- reconnecting -------------------------------------------------------------------------------------


def test_reconnect_loses_and_repeats_nothing() -> None:
    talk = Talk()
    talk.connect(welcome(("lobby", 41)))
    ids = [talk.client.say(body) for body in ("one", "two", "three")]
    talk.sent()
    talk.receive(said(42), ack(ids[0], 43))
    assert talk.reconnect(welcome(("lobby", 47)))["resume"] == {"log": "log 1", "rooms": {"lobby": 43}}
    # The server stored "two", and its ack was lost.
    assert talk.receive(said(44), said(45, "Michael", "two", id=ids[1]), said(46), said(47)) == [
        Message("Venkat", "body 44", "lobby", 44, 1.5, missed=True),
        Acked(ids[1], "lobby", "", 45, 1.5),
        Message("Michael", "two", "lobby", 45, 1.5, ids[1], own=True, missed=True),
        Message("Venkat", "body 46", "lobby", 46, 1.5, missed=True),
        Message("Venkat", "body 47", "lobby", 47, 1.5, missed=True),
    ]
    assert [message["id"] for message in talk.sent()] == [ids[2]]
    assert talk.receive(said(48), ack(ids[1], 45))[0] == Message("Venkat", "body 48", "lobby", 48, 1.5)


def test_ack_of_a_repeated_message_may_arrive_before_the_replay() -> None:
    talk = Talk()
    talk.connect()
    ids = [talk.client.say(body) for body in ("one", "two")]
    talk.sent()
    talk.receive(said(3))
    talk.reconnect(welcome(("lobby", 4)))
    assert [message["id"] for message in talk.sent()] == ids
    assert talk.receive(ack(ids[0], 2)) == [Acked(ids[0], "lobby", "", 2, 2.5)]
    got = talk.receive(said(1), said(2, "Michael", "one", id=ids[0]), said(3), said(4))
    assert [event.seq for event in got if isinstance(event, Message)] == [1, 2, 3, 4]


def test_same_id_of_another_user_is_not_an_ack() -> None:
    talk = Talk()
    talk.connect()
    id = talk.client.say("hey")
    talk.sent()
    assert talk.receive(said(1, "Eve", id=id)) == [Message("Eve", "body 1", "lobby", 1, 1.5, id)]
    assert talk.client.unacknowledged == 1
    # The same name, but from an earlier run of the program.
    assert talk.receive(said(2, "Michael", id="5f2c-1")) == [
        Message("Michael", "body 2", "lobby", 2, 1.5, "5f2c-1")
    ]


def test_another_log_resets_all_numbers() -> None:
    talk = Talk()
    talk.connect(welcome(("lobby", 41)))
    id = talk.client.say("hey")
    talk.sent()
    talk.receive(said(43))
    talk.client.connection_lost()
    talk.client.connection_made()
    talk.sent()
    events = talk.receive(welcome(("lobby", 2), log="log 2"))
    assert events[:2] == [Gap("lobby", 41, 43), Message("Venkat", "body 43", "lobby", 43, 1.5)]
    assert isinstance(events[2], Welcomed)
    assert events[2][-2:] == (True, True)
    assert [message["id"] for message in talk.sent()] == [id]
    assert len(talk.receive(said(1), said(2), ack(id, 3))) == 4
    assert talk.reconnect()["resume"] == {"log": "log 2", "rooms": {"lobby": 3}}


def test_server_restored_from_a_backup_continues_at_its_position() -> None:
    talk = Talk()
    talk.connect(welcome(("lobby", 41)))
    talk.client.say("hey")
    talk.sent()
    talk.receive(said(43))
    talk.client.connection_lost()
    talk.client.connection_made()
    talk.sent()
    events = talk.receive(welcome(("lobby", 30)))
    assert [type(event) for event in events] == [Gap, Message, Welcomed]
    assert talk.receive(said(31)) == [Message("Venkat", "body 31", "lobby", 31, 1.5)]


def test_rooms_are_resumed_or_joined_after_a_disconnect() -> None:
    talk = Talk()
    talk.connect()
    for room in ("a", "b", "c", "d", "e"):
        talk.client.join(room)
    talk.sent()
    talk.receive(users("a", 7), users("b", 8), users("c"), users("d"))
    talk.client.part("b")
    talk.client.part("d")
    talk.client.join("d")
    talk.client.connection_lost()
    talk.client.connection_made()
    [hello] = talk.sent()
    assert hello["resume"]["rooms"] == {"lobby": 0, "a": 7, "c": 0}
    events = talk.receive(welcome(("lobby", 0), ("A", 9)))
    assert [event for event in events if not isinstance(event, Welcomed)] == [Parted("b"), Parted("c")]
    assert [(message["type"], message["room"]) for message in talk.sent()] == [("join", "e"), ("join", "d")]
    assert [room.name for room in talk.client.rooms] == ["lobby", "A", "e", "d"]
    assert [
        event.seq
        for event in talk.receive(said(8, room="A"), said(9, room="a"))
        if isinstance(event, Message)
    ] == [
        8,
        9,
    ]


def test_room_can_be_left_before_the_welcome() -> None:
    talk = Talk()
    talk.connect(welcome(("lobby", 0), ("a", 0)))
    talk.client.connection_lost()
    talk.client.connection_made()
    talk.client.part("a")
    talk.sent()
    assert Parted("a") in talk.receive(welcome(("lobby", 0), ("a", 0)))
    assert talk.sent() == [{"type": "part", "room": "a"}]
    assert talk.receive(said(1, room="a")) == []


def test_lobby_can_be_left_before_the_welcome() -> None:
    talk = Talk()
    talk.client.part("lobby")
    talk.client.join("a")
    talk.connect()
    assert talk.sent() == [{"type": "part", "room": "lobby"}, {"type": "join", "room": "a"}]
    talk.receive(
        {"type": "left", "room": "lobby", "names": ["Michael"], "total": 0}, users("a", 3, "Michael")
    )
    assert talk.reconnect(welcome(("a", 3)))["resume"]["rooms"] == {"a": 3}


# -- not stored ----------------------------------------------------------------------------------------


def test_message_that_was_not_stored_is_sent_again() -> None:
    talk = Talk()
    talk.connect()
    ids = [talk.client.say(body) for body in ("one", "two", "three")]
    talk.sent()
    assert talk.receive(error("not-stored", id=ids[0]), error("not-stored", id=ids[2])) == [
        NotStored("about not-stored")
    ]
    assert talk.client.wants_retry
    ids.append(talk.client.say("four"))
    assert talk.sent() == []
    talk.receive(ack(ids[1], 1), error("not-stored", id=ids[0]))
    talk.client.retry()
    assert not talk.client.wants_retry
    assert [message["id"] for message in talk.sent()] == [ids[0]]  # one message first, as a probe
    assert talk.receive(error("not-stored", id=ids[0])) == []  # one event per outage
    talk.client.retry()
    assert [message["id"] for message in talk.sent()] == [ids[0]]
    talk.receive(ack(ids[0], 2))
    assert [message["id"] for message in talk.sent()] == ids[2:]
    talk.receive(ack(ids[2], 3), ack(ids[3], 4))
    ids = [talk.client.say("five")]
    talk.sent()
    assert talk.receive(error("not-stored", id=ids[0])) == [NotStored("about not-stored")]
    talk.reconnect()
    assert [message["id"] for message in talk.sent()] == ids
    assert talk.receive(error("not-stored", room="lobby")) == [
        Refused("not-stored", "about not-stored", room="lobby")
    ]


def test_ack_shows_that_the_server_can_store_again() -> None:
    talk = Talk()
    talk.connect()
    ids = [talk.client.say(body) for body in ("one", "two")]
    talk.sent()
    talk.receive(error("not-stored", id=ids[0]), ack(ids[1], 1))
    assert not talk.client.wants_retry
    assert [message["id"] for message in talk.sent()] == ids[:1]
    talk.receive(ack(ids[0], 2))
    assert talk.client.unacknowledged == 0


# -- rooms ---------------------------------------------------------------------------------------------


def test_room_is_joined_and_left() -> None:
    talk = Talk()
    talk.connect()
    talk.client.join("Engine-Room")
    assert talk.sent() == [{"type": "join", "room": "Engine-Room"}]
    assert talk.receive(said(7, room="engine-room")) == []  # not joined yet
    assert talk.receive(users("engine-room", 7, "Michael", "Venkat"), said(8, room="engine-room")) == [
        Users("engine-room", ("Michael", "Venkat"), 2, "about engine-room", 7, joined=True),
        Message("Venkat", "body 8", "engine-room", 8, 1.5),
    ]
    talk.client.part("ENGINE-ROOM")
    assert talk.sent() == [{"type": "part", "room": "ENGINE-ROOM"}]
    left: Fields = {"type": "left", "room": "engine-room", "names": ["Venkat"], "total": 1}
    assert talk.receive(left) == [Left("engine-room", ("Venkat",), 1)]
    assert talk.receive({**left, "names": ["michael"], "total": 0}) == [Parted("engine-room")]
    assert talk.receive(said(9, room="engine-room"), left) == []


def test_repeated_join_gives_users_and_keeps_the_position() -> None:
    talk = Talk()
    talk.connect()
    talk.client.join("lobby")
    [event] = talk.receive(users("lobby", 7, "Michael"))
    assert isinstance(event, Users)
    assert event.joined
    assert talk.receive(said(1)) != []


def test_room_can_be_left_and_joined_without_waiting() -> None:
    talk = Talk()
    talk.connect()
    talk.client.part("lobby")
    talk.client.join("lobby")
    assert [message["type"] for message in talk.sent()] == ["part", "join"]
    assert talk.receive({"type": "left", "room": "lobby", "names": ["Michael"], "total": 0}) == [
        Parted("lobby")
    ]
    [event] = talk.receive(users("lobby", 7, "Michael"))
    assert isinstance(event, Users)
    assert event.joined
    assert talk.receive(said(7)) == []
    assert len(talk.receive(said(8))) == 1
    talk.client.join("a")
    talk.client.part("a")
    assert not talk.client.rooms.get("a").is_active  # type: ignore[union-attr]
    [event] = talk.receive(users("a", 3, "Michael"))
    assert isinstance(event, Users)
    assert not event.joined
    assert talk.receive({"type": "left", "room": "a", "names": ["Michael"], "total": 0}) == [Parted("a")]


def test_unknown_room_can_be_left_and_then_joined() -> None:
    talk = Talk()
    talk.connect()
    talk.client.join("a")
    talk.client.part("a")
    talk.client.join("a")
    got = talk.receive(error("too-many-rooms", room="a"), error("not-in-room", room="a"), users("a", 3))
    assert [type(event) for event in got] == [Refused, Refused, Users]
    assert talk.receive(said(4, room="a")) != []
    talk = Talk()
    talk.connect(welcome(("lobby", 0), ("a", 0)))
    talk.client.part("a")
    talk.client.join("a")
    talk.receive(error("not-in-room", room="a"), users("a", 3))
    assert talk.receive(said(4, room="a")) != []


def test_room_that_refuses_the_join_is_forgotten() -> None:
    talk = Talk()
    talk.connect()
    for code in ("bad-room", "too-many-rooms"):
        talk.client.join("x")
        assert talk.receive(error(code, room="x")) == [
            Refused(code, f"about {code}", room="x", request="join")
        ]
        assert talk.client.rooms.get("x") is None
    for room in ("", "#", "\u200b", "x" * 33):
        for ask in (talk.client.join, talk.client.part, talk.client.get_users, talk.client.get_history):
            with pytest.raises(BadRoomError):
                ask(room)  # type: ignore[operator]
    talk.client.part("x")
    assert talk.receive(error("not-in-room", room="x")) == [
        Refused("not-in-room", "about not-in-room", room="x", request="part")
    ]
    assert talk.receive(error("not-in-room", room="lobby")) == [
        Refused("not-in-room", "about not-in-room", room="lobby"),
        Parted("lobby"),
    ]


def test_room_takes_the_servers_spelling() -> None:
    talk = Talk()
    talk.connect()
    talk.client.join("#x")
    talk.client.join("y")
    id = talk.client.say("hey", "#x")
    assert [message["room"] for message in talk.sent()] == ["x", "y", "x"]
    [event] = talk.receive(users("xx", 3))  # cleaned by rules that the client does not know
    assert isinstance(event, Users)
    assert event.joined
    assert [room.name for room in talk.client.rooms] == ["lobby", "y", "xx"]
    assert talk.receive(ack(id, 4, "xx"), said(5, room="xx"))[-1] == Message("Venkat", "body 5", "xx", 5, 1.5)


def test_refused_request_is_an_event() -> None:
    talk = Talk()
    talk.connect()
    talk.client.get_users("nowhere")
    talk.client.join("a")
    got = talk.receive(
        error("too-many-rooms", room="of a resume"), error("no-such-room", room="nowhere"), users("a", 3)
    )
    assert isinstance(got[-1], Users)
    assert got[-1].joined
    assert talk.receive(users("lobby"))[0] == Users("lobby", (), 0, "about lobby", 0, joined=False)


def test_members_follow_joins_and_parts() -> None:
    talk = Talk(members=True)
    talk.connect()
    assert talk.sent() == [{"type": "users", "room": "lobby"}]
    assert talk.receive(users("lobby", 0, "Michael", "Zoe")) == []
    joined: Fields = {"type": "joined", "room": "lobby", "names": ["Adam"], "total": 3}
    assert talk.receive(joined) == [Joined("lobby", ("Adam",), 3)]
    assert talk.client.names == ("Adam", "Michael", "Zoe")
    assert talk.receive({**joined, "type": "left", "names": ["ZOE", "Nobody"], "total": 2}) == [
        Left("lobby", ("ZOE", "Nobody"), 2)
    ]
    assert talk.client.names == ("Adam", "Michael")
    topic = {"type": "topic", "room": "lobby", "topic": "tea", "from": "Adam", "at": 3.5}
    assert talk.receive(topic) == [Topic("lobby", "tea", "Adam", 3.5)]
    room = talk.client.rooms.get("lobby")
    assert room is not None
    assert (room.topic, room.total) == ("tea", 2)
    for stranger in (joined, {**joined, "type": "left"}, topic):
        assert talk.receive({**stranger, "room": "elsewhere"}) == []


def test_members_are_requested_after_a_gap_and_a_reconnect() -> None:
    talk = Talk(members=True)
    talk.connect()
    talk.sent()
    gap: Fields = {"type": "gap", "room": "lobby", "after": 0, "before": 1}
    assert talk.receive(gap) == []
    assert talk.sent() == []  # the request is on its way already
    talk.receive(users("lobby"))
    assert talk.receive({**gap, "before": 4}, said(4))[0] == Gap("lobby", 0, 4)
    assert talk.sent() == [{"type": "users", "room": "lobby"}]
    talk.client.get_users("Lobby")
    assert talk.receive(users("lobby")) == []
    [event] = talk.receive(users("lobby"))
    assert isinstance(event, Users)
    assert not event.joined
    talk.reconnect()
    assert talk.sent() == [{"type": "users", "room": "lobby"}]


# -- requests -----------------------------------------------------------------------------------------


def test_replies_match_their_requests() -> None:
    talk = Talk()
    talk.client.get_rooms()
    talk.connect(welcome(limits={**LIMITS, "history": 30}))
    talk.client.get_history("lobby")
    talk.client.get_history("lobby", 0, before=7)
    talk.client.get_history("lobby", 10, after=7)
    talk.client.set_topic("lobby", "tea")
    talk.client.get_users("a")
    talk.client.ping()
    assert talk.sent() == [
        {"type": "rooms"},
        {"type": "history", "room": "lobby", "limit": 30},
        {"type": "history", "room": "lobby", "before": 7, "limit": 1},
        {"type": "history", "room": "lobby", "after": 7, "limit": 10},
        {"type": "topic", "room": "lobby", "topic": "tea"},
        {"type": "users", "room": "a"},
        {"type": "ping"},
    ]
    rooms: Fields = {
        "type": "rooms",
        "rooms": [{"room": "a", "members": 1, "topic": "", "seq": 4}],
        "total": 9,
    }
    assert talk.receive(rooms, users("a", 4, "Zoe"), {"type": "pong"}) == [
        Rooms((RoomSummary("a", 1, "", 4),), 9),
        Users("a", ("Zoe",), 1, "about a", 4, joined=False),
    ]
    entry = said(3, id="1")
    del entry["type"], entry["room"]
    assert talk.receive({"type": "history", "room": "lobby", "messages": [entry], "more": True}) == [
        History("lobby", (Message("Venkat", "body 3", "lobby", 3, 1.5, "1"),), more=True)
    ]


def test_number_of_waiting_requests_is_bounded() -> None:
    client = Talk().client
    for _ in range(100):
        client.get_users()
    with pytest.raises(QueueFullError):
        client.get_users()


def test_ping_of_the_server_is_answered() -> None:
    talk = Talk()
    talk.connect()
    talk.receive({"type": "ping", "token": "x"}, {"type": "ping"}, {"type": "ping", "token": None})
    assert talk.sent() == [{"type": "pong", "token": "x"}, {"type": "pong"}, {"type": "pong"}]


def test_bye_ends_the_session() -> None:
    talk = Talk()
    talk.client.ping()
    talk.client.bye()
    talk.connect()
    id = talk.client.say("last")
    talk.client.bye()
    assert [message["type"] for message in talk.sent()] == ["say", "bye"]
    talk.client.say("too late")
    assert talk.sent() == []
    assert talk.receive(
        {"type": "ping"}, ack(id, 1), {"type": "bye", "reason": "goodbye", "retry_after": None}
    )[2:] == [Bye("goodbye", None)]
    assert talk.sent() == []
    assert talk.receive({"type": "bye", "reason": "shutdown", "retry_after": 2}) == [Bye("shutdown", 2.0)]


@pytest.mark.parametrize(
    ("until", "shown"),
    [
        (1_796_137_200, "2026-12-01 20:30 IST"),
        (1_796_137_200.5, "2026-12-01 20:30 IST"),
        *((absurd, "2026-12-01 15:00 UTC") for absurd in (1e300, 10**30, -1e300, True, "soon", None)),
    ],
)
def test_end_of_a_ban_or_mute_is_in_the_time_of_the_user(
    until: object, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        talk = Talk()
        talk.connect()
        text = "the operator has muted you until 2026-12-01 15:00 UTC"
        [refused] = talk.receive(
            {"type": "error", "code": "muted", "message": text, "room": "x", "until": until}
        )
        assert isinstance(refused, Refused)
        assert refused.text == f"the operator has muted you until {shown}"
        [bye] = talk.receive({"type": "bye", "reason": "banned", "retry_after": None, "until": until})
        assert bye == Bye("banned", None, shown if shown.endswith("IST") else "")
    finally:
        monkeypatch.undo()
        time.tzset()


# -- direct messages ----------------------------------------------------------------------------------


def whispered(seq: int, author: str = "Venkat", **more: object) -> Fields:
    fields = {
        "type": "whispered",
        "seq": seq,
        "from": author,
        "to": "Michael",
        "at": 1.5,
        "body": f"body {seq}",
    }
    return {**fields, **more}


def test_direct_messages_are_confirmed_and_arrive_once() -> None:
    talk = Talk()
    talk.connect()
    assert talk.receive(whispered(1), whispered(2, id="1")) == [
        Whispered("Venkat", "body 1", "Michael", 1, 1.5),
        Whispered("Venkat", "body 2", "Michael", 2, 1.5, "1"),
    ]
    assert talk.sent() == [{"type": "ack", "whisper": 2}]
    assert talk.receive(whispered(0, "Server")) == [Whispered("Server", "body 0", "Michael", 0, 1.5)]
    assert talk.sent() == []
    talk.reconnect(welcome(whispers=1))
    assert talk.sent() == [{"type": "ack", "whisper": 2}]
    assert [event[3] for event in talk.receive(whispered(2), whispered(3))] == [3]
    assert talk.sent() == [{"type": "ack", "whisper": 3}]
    talk.reconnect(welcome(log="log 2"))
    assert talk.sent() == []
    assert len(talk.receive(whispered(1))) == 1


# -- the classic cipher -------------------------------------------------------------------------------


def test_key_encrypts_and_decrypts_bodies() -> None:
    talk = Talk(key="1024")
    talk.connect()
    talk.client.say("heli")
    talk.client.whisper("Venkat", "heli")
    talk.client.whisper("server", "/help")
    assert [(message["body"], message.get("cipher")) for message in talk.sent()] == [
        ("olsp", "caesar"),
        ("olsp", "caesar"),
        ("/help", None),
    ]
    got = talk.receive(
        said(1, body="olsp", cipher="caesar", id="1"),
        said(2, body="olsp"),  # by a classic client, which cannot say that it encrypts
        said(3, body="plain", id="1"),
        said(4, "Server", "plain"),
        said(5, body="olsp", cipher="rot13", id="1"),
        whispered(1, body="olsp", cipher="caesar"),
    )
    assert [event.body for event in got if isinstance(event, Message | Whispered)] == [
        "heli",
        "heli",
        "plain",
        "plain",
        "olsp",
        "heli",
    ]
    assert [event.cipher for event in got if isinstance(event, Message)] == [None, None, None, None, "rot13"]
    assert {event.encryption for event in got if isinstance(event, Message | Whispered)} == {Encryption.NONE}


def test_without_a_key_the_cipher_is_named() -> None:
    talk = Talk()
    talk.connect()
    [event] = talk.receive(said(1, body="olsp", cipher="caesar"))
    assert isinstance(event, Message)
    assert (event.body, event.cipher) == ("olsp", "caesar")


# -- protocol errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [
        b"Server",
        b"",
        b"[]",
        b"7",
        b"{}",
        b'{"type":7}',
        b"\xff",
        b'{"type":"said","type":"said"}',
        b"[" * 60_000,
    ],
)
def test_payload_that_is_no_object_is_a_protocol_error(payload: bytes) -> None:
    talk = Talk()
    talk.connect()
    events = talk.client.receive_data(encoded(said(1)) + frame(payload) + encoded(said(2)))
    assert len(events) == 1
    assert isinstance(talk.client.error, BadJsonError)
    assert talk.client.state is ClientState.BROKEN
    assert talk.client.receive_data(encoded(said(2))) == []
    talk.reconnect(welcome(("lobby", 2)))
    assert talk.client.error is None
    assert len(talk.receive(said(2))) == 1


def test_bad_frame_is_a_protocol_error() -> None:
    talk = Talk()
    talk.connect()
    assert len(talk.client.receive_data(encoded(said(1)) + b"HTTP/1.1 400")) == 1
    assert isinstance(talk.client.error, BadHeaderError)
    talk.reconnect()
    talk.client.receive_data(b"9         x")
    talk.client.receive_eof()
    assert isinstance(talk.client.error, TruncatedFrameError)
    talk.reconnect()
    talk.client.receive_eof()
    assert talk.client.error is None


GOOD: list[Fields] = [
    said(1, id="1", cipher="x"),
    whispered(1, id="1", cipher="x"),
    ack("1", 1),
    error("muted", id="1", room="lobby", to="x"),
    users("lobby", 1, "A"),
    {"type": "joined", "room": "lobby", "names": ["A"], "total": 1},
    {"type": "left", "room": "lobby", "names": ["A"], "total": 1},
    {"type": "topic", "room": "lobby", "topic": "x", "from": "A", "at": 1.5},
    {"type": "rooms", "rooms": [{"room": "a", "members": 1, "topic": "", "seq": 4}], "total": 9},
    {
        "type": "history",
        "room": "lobby",
        "messages": [{"seq": 1, "from": "A", "at": 1, "body": ""}],
        "more": False,
    },
    {"type": "gap", "room": "lobby", "after": 1, "before": 2},
    {"type": "ping", "token": "x"},
    {"type": "pong", "token": "x"},
    {"type": "bye", "reason": "kicked", "retry_after": 1.5},
]
REQUIRED = [
    (message["type"], field)
    for message in [welcome(), *GOOD]
    for field in message
    if field not in {"type", "id", "cipher", "to", "token", "version", "limits", "retry_after"}
    and (message["type"], field) not in {("ack", "room"), ("error", "room")}
]


def example(kind: str) -> Fields:
    return next(message for message in [welcome(), *GOOD] if message["type"] == kind)


@pytest.mark.parametrize(("kind", "field"), REQUIRED)
@pytest.mark.parametrize("value", [None, {"a": []}, "x" * 1_000_000, -1, 2**60, [7], ["x" * 300], ...])
def test_missing_and_wrong_fields_are_protocol_errors(kind: str, field: str, value: object) -> None:
    talk = Talk()
    if kind == "welcome":
        talk.client.connection_made()
    else:
        talk.connect()
    message = {**example(kind), field: value}
    if value is ...:
        del message[field]
    if (kind, field) == ("topic", "topic") or isinstance(value, str):
        # Some of these fields must be strings; then only the size is wrong.
        talk.client.receive_data(encoded(message))
        assert field == "body" or isinstance(talk.client.error, BadMessageError)
        return
    assert talk.client.receive_data(encoded(message)) == []
    assert isinstance(talk.client.error, BadMessageError)
    assert f"{kind}: {field} is not " in str(talk.client.error) or field in {"rooms", "messages"}


def test_unknown_types_and_fields_are_ignored() -> None:
    talk = Talk()
    talk.connect()
    assert talk.receive({"type": "telepathy", "room": 7}, said(1, mood={"a": [None]}))[0][1] == "body 1"


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "lobby", "a", "Michael", "Server", "not-stored", "not-in-room", "1"]),
    st.lists(st.sampled_from(["A", "Michael", 7]), max_size=3),
)
FIELDS = st.sampled_from(sorted({field for message in [welcome(), *GOOD] for field in message} - {"type"}))
MESSAGES = st.builds(
    lambda message, changes: {**message, **changes},
    st.sampled_from([welcome(), *GOOD]),
    st.dictionaries(FIELDS, VALUES, max_size=3),
)


@given(st.lists(MESSAGES, max_size=20), st.booleans())
def test_any_objects_give_events_or_one_error(messages: list[Fields], members: bool) -> None:
    talk = Talk(members=members, key="1024")
    talk.client.say("hey")
    talk.client.join("a")
    talk.client.connection_made()
    talk.client.receive_data(encoded(*messages))
    take_data(talk.client)
    talk.client.connection_lost()
    talk.connect()
    assert talk.client.state is ClientState.WELCOMED


@given(st.binary(max_size=200))
def test_any_bytes_give_events_or_one_error(data: bytes) -> None:
    client = Talk().client
    client.connection_made()
    client.receive_data(data)
    client.receive_eof()


@given(st.data())
def test_events_survive_any_fragmentation(data: st.DataObject) -> None:
    stream = encoded(welcome(), *(message for message in GOOD if message["type"] != "bye"), said(2), said(3))
    whole, cut = Talk().client, Talk().client
    for client in (whole, cut):
        client.connection_made()
    events, start = [], 0
    while start < len(stream):
        size = data.draw(st.integers(1, len(stream) - start))
        events += cut.receive_data(stream[start : start + size])
        start += size
    assert events == whole.receive_data(stream)
    assert whole.error is cut.error is None


def test_events_survive_single_bytes() -> None:
    stream = encoded(welcome(), *GOOD)
    whole, cut = Talk().client, Talk().client
    for client in (whole, cut):
        client.connection_made()
    events = [event for byte in stream for event in cut.receive_data(bytes([byte]))]
    assert events == whole.receive_data(stream)


# -- bounds -------------------------------------------------------------------------------------------


def test_numbers_of_members_and_rooms_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "MAX_MEMBERS", 5)
    monkeypatch.setattr(rooms, "MAX_CLIENT_ROOMS", 3)
    talk = Talk()
    talk.connect(welcome(*((f"room {number}", 0) for number in range(10))))
    assert len(talk.client.rooms) == 3
    for start in range(0, 20, 2):
        names = [f"name {start}", f"name {start + 1}"]
        talk.receive({"type": "joined", "room": "room 0", "names": names, "total": 20})
    assert talk.client.names == tuple(f"name {number}" for number in range(5))
    with pytest.raises(QueueFullError):
        talk.client.join("another")
    talk.client.join("room 0")


# -- rooms that do not fit into a hello ----------------------------------------------------------------


def crowded(monkeypatch: pytest.MonkeyPatch, *rooms: tuple[str, int], **more: object) -> Talk:
    """Return a disconnected client that was in these rooms; only the first of them fits into a hello."""
    talk = Talk(**more)  # type: ignore[arg-type]
    talk.connect(welcome(*rooms))
    talk.client.connection_lost()
    room, seq = rooms[0]
    fields = greeting({room: seq})
    monkeypatch.setattr(selchat, "HELLO_LIMIT", len(json.dumps(fields, separators=(",", ":"))))
    return talk


def greeting(rooms: dict[str, int]) -> Fields:
    resume = {"log": "log 1", "rooms": rooms}
    return {"type": "hello", "version": 1, "name": "Michael", "client": SECRET, "resume": resume}


def reconnect(talk: Talk, *messages: Fields) -> list[Fields]:
    """Connect with a welcome; return the messages that the client sends after the hello."""
    talk.client.connection_made()
    [hello] = talk.sent()
    assert hello == greeting({"lobby": 41})
    talk.receive(*messages)
    return talk.sent()


def test_hello_resumes_as_many_rooms_as_fit() -> None:
    talk = Talk()
    names = [f"{number:03}-" + "ø" * 20 for number in range(100)]
    talk.connect(welcome(*((name, 10 * number) for number, name in enumerate(names))))
    talk.client.connection_lost()
    talk.client.connection_made()
    data = take_data(talk.client)
    size = int(data[:10])
    [hello] = decoded(data)
    resumed = hello["resume"]["rooms"]
    assert list(resumed) == names[: len(resumed)]
    assert HELLO_LIMIT - len(f'"{names[0]}":1000,'.encode()) <= size <= HELLO_LIMIT == 4096
    talk.receive(welcome(*((name, 0) for name in resumed)))
    joins = talk.sent()
    assert [join["room"] for join in joins] == names[len(resumed) :]
    assert len(joins) > 10


def test_other_rooms_are_resumed_silently_after_the_welcome(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    talk = crowded(monkeypatch, ("lobby", 41), ("a", 7), ("b", 8))
    assert reconnect(talk, welcome(("lobby", 41))) == [
        {"type": "join", "room": "a", "after": 7},
        {"type": "join", "room": "b", "after": 8},
    ]
    assert [room.state for room in talk.client.rooms] == [RoomState.JOINED] + [RoomState.RESUMING] * 2
    assert talk.receive(users("a", 9, "Michael", "Zoe"), users("b", 8)) == []
    assert [room.state for room in talk.client.rooms] == [RoomState.JOINED] * 3
    assert talk.client.names == ("Michael", "Zoe")
    assert talk.receive(said(8, room="a"), said(9, room="a"), said(10, room="a"), said(9, room="b")) == [
        Message("Venkat", "body 8", "a", 8, 1.5, missed=True),
        Message("Venkat", "body 9", "a", 9, 1.5, missed=True),
        Message("Venkat", "body 10", "a", 10, 1.5),
        Message("Venkat", "body 9", "b", 9, 1.5),
    ]


def test_gap_in_a_room_resumed_after_the_welcome(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = crowded(monkeypatch, ("lobby", 41), ("a", 7))
    reconnect(talk, welcome(("lobby", 41)))
    gap = {"type": "gap", "room": "a", "after": 7, "before": 20}
    assert talk.receive(users("a", 20), gap, said(20, room="a")) == [
        Gap("a", 7, 20),
        Message("Venkat", "body 20", "a", 20, 1.5, missed=True),
    ]


def test_messages_are_sent_again_after_a_room_is_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = Talk()
    talk.connect(welcome(("lobby", 41), ("a", 7)))
    id = talk.client.say("hey", "a")
    talk.client.connection_lost()
    monkeypatch.setattr(
        selchat, "HELLO_LIMIT", len(json.dumps(greeting({"lobby": 41}), separators=(",", ":")))
    )
    sent = reconnect(talk, welcome(("lobby", 41)))
    assert [message["type"] for message in sent] == ["join", "say"]
    # The server had stored it, and the ack arrives before the replay.
    assert talk.receive(users("a", 9), ack(id, 9, "a")) == [Acked(id, "a", "", 9, 2.5)]
    assert [
        event.seq for event in talk.receive(said(8, room="a"), said(9, "Michael", "hey", "a", id=id))
    ] == [
        8,
        9,
    ]  # type: ignore[union-attr]


def test_another_log_resets_rooms_resumed_after_the_welcome(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = crowded(monkeypatch, ("lobby", 41), ("a", 7))
    assert reconnect(talk, welcome(("lobby", 2), log="log 2")) == [{"type": "join", "room": "a", "after": 0}]
    assert talk.receive(users("a", 3)) == []
    assert len(talk.receive(said(1, room="a"), said(2, room="a"), said(3, room="a"))) == 3


def test_restored_server_rewinds_rooms_resumed_after_the_welcome(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    talk = crowded(monkeypatch, ("lobby", 41), ("a", 7))
    reconnect(talk, welcome(("lobby", 41)))
    assert talk.receive(users("a", 3), said(4, room="a")) == [Message("Venkat", "body 4", "a", 4, 1.5)]


def test_room_is_resumed_after_repeated_disconnects(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = crowded(monkeypatch, ("lobby", 41), ("a", 7))
    for _ in range(3):
        assert reconnect(talk, welcome(("lobby", 41))) == [{"type": "join", "room": "a", "after": 7}]
        talk.client.connection_lost()
    monkeypatch.undo()
    talk.client.connection_made()
    assert talk.sent() == [greeting({"lobby": 41, "a": 7})]
    talk.receive(welcome(("lobby", 41), ("a", 7)))
    assert talk.sent() == []


def test_refused_resume_leaves_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = crowded(monkeypatch, ("lobby", 41), ("a", 7), ("b", 8))
    reconnect(talk, welcome(("lobby", 41)))
    talk.client.join("b")
    [refused, parted] = talk.receive(error("too-many-rooms", room="a"))
    assert isinstance(refused, Refused)
    assert parted == Parted("a")
    [refused, parted] = talk.receive(error("too-many-rooms", room="b"))
    assert parted == Parted("b")
    assert [room.name for room in talk.client.rooms] == ["lobby", "b"], "the link requests it again"
    assert talk.receive(users("b", 9))[0] == Users("b", (), 0, "about b", 9, joined=True)
    assert talk.receive(said(10, room="b")) == [Message("Venkat", "body 10", "b", 10, 1.5)]


def test_join_of_a_resuming_room_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = crowded(monkeypatch, ("lobby", 41), ("a", 7))
    reconnect(talk, welcome(("lobby", 41)))
    talk.client.join("a")
    assert talk.sent() == [{"type": "join", "room": "a"}]
    [event] = talk.receive(users("a", 7), users("a", 7))
    assert event == Users("a", (), 0, "about a", 7, joined=True)


@pytest.mark.parametrize("when", ["offline", "greeting", "joining"])
def test_resuming_room_can_be_left_at_any_time(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    talk = crowded(monkeypatch, ("lobby", 41), ("a", 7))
    if when == "offline":
        talk.client.part("a")
        assert talk.client.events() == [Parted("a")]
        assert reconnect(talk, welcome(("lobby", 41))) == []
    elif when == "greeting":
        talk.client.connection_made()
        talk.client.part("a")
        assert Parted("a") in talk.receive(welcome(("lobby", 41)))
        assert [message["type"] for message in talk.sent()] == ["hello"]
    else:
        reconnect(talk, welcome(("lobby", 41)))
        talk.client.part("a")
        assert talk.sent() == [{"type": "part", "room": "a"}]
        left = {"type": "left", "room": "a", "names": ["Michael"], "total": 0}
        assert talk.receive(users("a", 7), left) == [Parted("a")]
    assert [room.name for room in talk.client.rooms] == ["lobby"]


def test_refused_resume_after_a_part_leaves_the_room_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    talk = crowded(monkeypatch, ("lobby", 41), ("a", 7))
    reconnect(talk, welcome(("lobby", 41)))
    talk.client.part("a")
    assert talk.receive(error("too-many-rooms", room="a"))[-1] == Parted("a")
    assert [type(event) for event in talk.receive(error("not-in-room", room="a"))] == [Refused]
    assert [room.name for room in talk.client.rooms] == ["lobby"]


def test_members_are_requested_once(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = crowded(monkeypatch, ("lobby", 41), ("a", 7), members=True)
    assert [message["type"] for message in reconnect(talk, welcome(("lobby", 41)))] == ["users", "join"]


def test_name_too_long_for_a_hello_is_rejected() -> None:
    with pytest.raises(FrameTooLongError):
        SelchatClient(settings(name="x" * 4096), SECRET)
    name = "\x01" * 256  # the longest name that a server reads
    talk = Talk(name=name)
    talk.connect(welcome(log="\x02" * 256))
    assert talk.reconnect()["resume"]["rooms"] == {"lobby": 0}


# -- sizes and encoding -------------------------------------------------------------------------------


def test_frame_over_the_read_limit_is_a_protocol_error() -> None:
    talk = Talk(read_limit=1000)
    talk.connect()
    talk.client.receive_data(b"1001      ")
    assert isinstance(talk.client.error, FrameTooLongError)


def test_messages_are_sent_as_json_on_one_line() -> None:
    talk = Talk()
    talk.client.connection_made()
    take_data(talk.client)
    talk.receive(welcome())
    talk.client.say("\u20ac\n")
    data = take_data(talk.client)
    payload = data[10:].decode()
    assert int(data[:10]) == len(data) - 10
    assert "\u20ac\\n" in payload
    assert json.loads(payload)["body"] == "\u20ac\n"
