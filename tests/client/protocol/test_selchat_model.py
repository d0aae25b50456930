"""Model-based test: the selchat client against a model of a server, under any events.

The model keeps a log for each room and does everything that docs/protocol.rst allows a server to do. It
replies late and in any permitted order, drops connections, restarts with its log or with another, expires
messages, laps slow readers, and cannot store for a while. The client must report exactly the log. With a
passphrase, the log has only ciphertext, and keys arrive late.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from selchat.client.events import (
    Acked,
    ClientEvent,
    Encryption,
    Gap,
    Message,
    NotStored,
    Parted,
    Refused,
    Users,
    Welcomed,
    Whispered,
)
from selchat.client.protocol import selchat
from selchat.client.protocol.encryption import direct_key_name
from selchat.client.protocol.selchat import ClientState, SelchatClient
from selchat.wire.e2ee import Encryptor
from tests.client.protocol.test_encryption import key_for, key_of, salt_of
from tests.client.selchat_support import LIMITS, Fields, decoded, encoded, take_data, users
from tests.client.support import SECRET, settings

ROOMS = ("lobby", "a", "b")
NAME = "Michael"


class Stored(NamedTuple):
    author: str
    id: str
    text: str
    fields: Fields  # of the body
    session: Session | None  # that received it


class Log:
    """The state that survives a restart, unless the server restarts with another log."""

    def __init__(self, number: int) -> None:
        self.name = f"log {number}"
        self.rooms: dict[str, list[Stored]] = {room: [] for room in ROOMS}
        self.expired = dict.fromkeys(ROOMS, 0)  # the last expired seq of each room
        self.announced: set[tuple[str, int]] = set()  # room and seq of messages in a gap that was sent
        self.acks: dict[str, Fields] = {}  # by the client's id
        self.whispers: list[Stored] = []
        self.confirmed = 0
        self.encryptors: dict[str, Encryptor] = {}  # of the other users

    def append(
        self, room: str, author: str, id: str, text: str, fields: Fields, session: Session | None
    ) -> int:
        self.rooms[room].append(Stored(author, id, text, fields, session))
        return len(self.rooms[room])

    def encrypt(self, room: str, author: str, text: str) -> Fields:
        place = "@" if room.startswith("@") else room
        encryptor = self.encryptors.setdefault(room, Encryptor(key_for(place, self.name)))
        return encryptor.encrypt(room, author, text)._asdict()


class Session:
    """The server's end of one connection."""

    def __init__(self, model: Model) -> None:
        self.log = model.log
        self.model = model
        self.rooms: dict[str, int] = {}  # the last seq that was sent of each
        self.refill: dict[str, int] = {}  # the seq up to which the user's own messages are sent too
        # Replies, each with the room that it joins and the seq to start after (None: the newest).
        self.replies: list[tuple[Fields, str, int | None]] = []
        self.whispers = self.log.confirmed  # the last seq that was sent of these
        self.ready = False

    def receive(self, message: Fields) -> None:
        getattr(self, f"on_{message['type']}")(message)

    def on_hello(self, message: Fields) -> None:
        resume = message.get("resume")
        if resume is None:
            self.rooms["lobby"] = len(self.log.rooms["lobby"])
        else:
            known = resume["log"] == self.log.name
            for room, seq in resume["rooms"].items():
                assert seq <= len(self.log.rooms[room]) or not known
                self.rooms[room] = seq if known else 0
                self.refill[room] = len(self.log.rooms[room])
        summaries = [
            {
                "room": room,
                "seq": len(self.log.rooms[room]),
                "topic": "",
                "members": 1,
                "salt": salt_of(room, self.log.name),
            }
            for room in self.rooms
        ]
        fields: Fields = {
            "version": 1,
            "name": NAME,
            "log": self.log.name,
            "server": "model",
            "rooms": summaries,
            "salt": salt_of("@", self.log.name),
        }
        limits = {**LIMITS, "unacknowledged": 3}
        self.reply({"type": "welcome", **fields, "whispers": 0, "limits": limits})
        self.ready = True

    def on_say(self, message: Fields) -> None:
        id, room = message["id"], message["room"]
        if id in self.log.acks:
            self.reply(self.log.acks[id])
        elif room not in self.rooms and not any(room == joined for _, joined, _ in self.replies):
            self.reply({"type": "error", "code": "not-in-room", "message": "", "id": id, "room": room})
        elif self.model.failing:
            self.reply({"type": "error", "code": "not-stored", "message": "", "id": id, "room": room})
        else:
            fields = {name: message[name] for name in ("body", "cipher") if name in message}
            seq = self.log.append(room, NAME, id, self.model.texts[id], fields, self)
            self.log.acks[id] = {"type": "ack", "id": id, "room": room, "seq": seq, "at": 1}
            self.reply(self.log.acks[id])

    def on_join(self, message: Fields) -> None:
        after = message.get("after")
        if after is not None:
            assert after <= len(self.log.rooms[message["room"]]), "it is of this log"
        self.reply(self.users_of(message["room"]), message["room"], after)

    def on_part(self, message: Fields) -> None:
        room = message["room"]
        while any(joined == room for _, joined, _ in self.replies):
            self.send_reply()  # replies are in order
        if self.rooms.pop(room, None) is None:
            self.reply({"type": "error", "code": "not-in-room", "message": "", "room": room})
        else:
            self.reply({"type": "left", "room": room, "names": [NAME], "total": 0})

    def on_users(self, message: Fields) -> None:
        self.reply(self.users_of(message["room"]))

    def users_of(self, room: str) -> Fields:
        return {**users(room, len(self.log.rooms[room]), NAME), "salt": salt_of(room, self.log.name)}

    def on_ack(self, message: Fields) -> None:
        self.log.confirmed = max(self.log.confirmed, message["whisper"])

    def reply(self, message: Fields, joined: str = "", after: int | None = None) -> None:
        self.replies.append((message, joined, after))

    def send_reply(self) -> None:
        message, joined, after = self.replies.pop(0)
        if joined and joined not in self.rooms:
            seq = len(self.log.rooms[joined])
            self.rooms[joined] = seq if after is None else after
            if after is not None:
                self.refill[joined] = seq
            message = {**message, "seq": seq}
        self.model.to_client += encoded(message)

    @property
    def is_welcome(self) -> bool:
        return self.ready and not any(message["type"] == "welcome" for message, _, _ in self.replies)

    def send_said(self, room: str) -> bool:
        """Send the next message of the room, or the gap in its place."""
        after = self.rooms[room]
        if self.log.expired[room] > after:
            self.send_gap(room, after, self.log.expired[room] + 1)
            return True
        while self.rooms[room] < len(self.log.rooms[room]):
            self.rooms[room] += 1
            seq = self.rooms[room]
            stored = self.log.rooms[room][seq - 1]
            if stored.session is self and seq > self.refill.get(room, 0):
                continue  # the server sends an ack instead
            fields = {
                "type": "said",
                "room": room,
                "seq": seq,
                "from": stored.author,
                "at": 1,
                **stored.fields,
            }
            self.model.to_client += encoded({**fields, "id": stored.id} if stored.id else fields)
            return True
        return False

    def send_gap(self, room: str, after: int, before: int) -> None:
        self.model.to_client += encoded({"type": "gap", "room": room, "after": after, "before": before})
        self.log.announced |= {(room, seq) for seq in range(after + 1, before)}
        self.rooms[room] = before - 1

    def send_whisper(self) -> bool:
        if self.whispers >= len(self.log.whispers):
            return False
        self.whispers += 1
        stored = self.log.whispers[self.whispers - 1]
        fields = {"type": "whispered", "seq": self.whispers, "from": stored.author, "to": NAME, "at": 1}
        self.model.to_client += encoded({**fields, **stored.fields})
        return True


class Model(RuleBasedStateMachine):
    @initialize(members=st.booleans(), encrypted=st.booleans(), room=st.sampled_from([0, 8, 16, 1000]))
    def begin(self, members: bool, encrypted: bool, room: int) -> None:
        """``room``: bytes in a hello for rooms to resume; each takes 5 or more."""
        self.encryption = Encryption.DECRYPTED if encrypted else Encryption.NONE
        self.requested: list[bytes] = []
        given = settings(wire="selchat", passphrase="three random words" if encrypted else "")
        self.client = SelchatClient(given, SECRET, members=members, request_key=self.requested.append)
        self.room = room
        self.texts: dict[str, str] = {}  # of the client's own messages, by id
        self.logs = [Log(1)]
        self.known_log: str | None = None  # from the last welcome
        self.session: Session | None = None
        self.to_client = b""
        self.to_server: list[Fields] = []
        self.failing = False
        self.count = 0
        # The state that the client's events show.
        self.seen_log = self.log  # the log whose numbers the events have
        self.position: dict[str, int] = {}
        self.ends: dict[str, str] = {}  # the final event of each id
        self.whispers_seen = 0
        self.outage_told = False

    @property
    def log(self) -> Log:
        return self.logs[-1]

    # -- users ----------------------------------------------------------------------------------------

    @rule(room=st.sampled_from(ROOMS))
    def say(self, room: str) -> None:
        self.count += 1
        self.texts[self.client.say(f"own {self.count}", room)] = f"own {self.count}"

    @rule(room=st.sampled_from(ROOMS), count=st.integers(1, 3))
    def others_say(self, room: str, count: int) -> None:
        for _ in range(count):
            self.count += 1
            text = f"others {self.count}"
            fields = self.fields_of(room, "Venkat", text)
            self.log.append(room, "Venkat", "1" if self.count % 2 else "", text, fields, None)

    @rule()
    def someone_whispers(self) -> None:
        self.count += 1
        text = f"whisper {self.count}"
        self.log.whispers.append(
            Stored("Zoe", "", text, self.fields_of(direct_key_name(NAME), "Zoe", text), None)
        )
        if self.session is not None:
            self.session.log.whispers = self.log.whispers

    @rule(room=st.sampled_from(ROOMS))
    def join(self, room: str) -> None:
        self.client.join(room)

    @rule(room=st.sampled_from(ROOMS))
    def part(self, room: str) -> None:
        self.client.part(room)

    def fields_of(self, room: str, author: str, text: str) -> Fields:
        return {"body": text} if self.encryption is Encryption.NONE else self.log.encrypt(room, author, text)

    @precondition(lambda self: self.requested)
    @rule()
    def derive(self) -> None:
        salt = self.requested.pop(0)
        self.client.add_key(salt, key_of(salt))
        self.see(self.client.events())
        assert self.client.error is None

    # -- connections ----------------------------------------------------------------------------------

    @precondition(lambda self: self.session is None)
    @rule()
    def connect(self) -> None:
        self.session = Session(self)
        hello = {"type": "hello", "version": 1, "name": NAME, "client": SECRET}
        hello["resume"] = {"log": self.known_log, "rooms": {}}
        size = len(json.dumps(hello, separators=(",", ":")))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(selchat, "HELLO_LIMIT", size + self.room)
            self.client.connection_made()

    @precondition(lambda self: self.session is not None)
    @rule()
    def drop(self) -> None:
        self.session = None
        self.to_client = b""
        self.to_server.clear()
        self.client.connection_lost()

    @precondition(lambda self: self.session is not None)
    @rule(count=st.integers(1, 4))
    def to_the_server(self, count: int) -> None:
        assert self.session is not None
        while data := take_data(self.client):
            self.to_server += decoded(data)
        encrypted = self.encryption is Encryption.DECRYPTED
        assert all(
            ("cipher" in message) is encrypted for message in self.to_server if message["type"] == "say"
        )
        assert sum(message["type"] == "say" for message in self.to_server) <= 3
        for message in self.to_server[:count]:
            self.session.receive(message)
        del self.to_server[:count]

    @precondition(lambda self: self.to_client)
    @rule(share=st.floats(0, 1))
    def to_the_client(self, share: float) -> None:
        size = round(share * len(self.to_client))
        data, self.to_client = self.to_client[:size], self.to_client[size:]
        self.see(self.client.receive_data(data))
        assert self.client.error is None

    # -- the server -----------------------------------------------------------------------------------

    @precondition(lambda self: self.session is not None and self.session.replies)
    @rule()
    def send_reply(self) -> None:
        assert self.session is not None
        self.session.send_reply()

    @precondition(lambda self: self.session is not None and self.session.is_welcome)
    @rule(room=st.sampled_from(ROOMS))
    def send_said(self, room: str) -> None:
        assert self.session is not None
        if room in self.session.rooms:
            self.session.send_said(room)

    @precondition(lambda self: self.session is not None and self.session.is_welcome)
    @rule()
    def send_whisper(self) -> None:
        assert self.session is not None
        self.session.send_whisper()

    @precondition(lambda self: self.session is not None and self.session.is_welcome)
    @rule(room=st.sampled_from(ROOMS))
    def lap(self, room: str) -> None:
        """Replay from the log, which has the reader's own messages too."""
        assert self.session is not None
        if room in self.session.rooms:
            after = self.session.rooms[room]
            self.session.send_gap(room, after, max(after, self.log.expired[room]) + 1)
            self.session.refill[room] = len(self.log.rooms[room])

    @rule(room=st.sampled_from(ROOMS), share=st.floats(0, 1))
    def expire(self, room: str, share: float) -> None:
        self.log.expired[room] = max(self.log.expired[room], round(share * len(self.log.rooms[room])))

    @rule()
    def fail_or_recover(self) -> None:
        self.failing = not self.failing

    @rule()
    def retry(self) -> None:
        self.client.retry()

    @rule()
    def begin_another_log(self) -> None:
        if self.session is not None:
            self.drop()
        self.logs.append(Log(len(self.logs) + 1))

    # -- events of the client -------------------------------------------------------------------------

    def see(self, events: list[ClientEvent]) -> None:
        for number, event in enumerate(events):
            if isinstance(event, Welcomed):
                self.see_welcome(event)
            elif isinstance(event, Users) and event.joined:
                self.position.setdefault(event.room, event.seq)
            elif isinstance(event, Parted):
                self.position.pop(event.room, None)
            elif isinstance(event, Message):
                stored = self.seen_log.rooms[event.room][event.seq - 1]
                assert (event.author, event.body, event.encryption) == (
                    stored.author,
                    stored.text,
                    self.encryption,
                )
                assert event.seq == self.position[event.room] + 1
                assert event.own == (stored.author == NAME)
                self.position[event.room] = event.seq
            elif isinstance(event, Gap):
                assert event.after == self.position[event.room] < event.before - 1
                over = [
                    later for later in events[number:] if isinstance(later, Welcomed) and later.renumbered
                ]
                over += [later for later in events[number:] if later == Parted(event.room)]
                missing = {(event.room, seq) for seq in range(event.after + 1, event.before)}
                assert over or missing <= self.seen_log.announced
                self.position[event.room] = event.before - 1
            elif isinstance(event, Acked):
                assert self.ends.setdefault(event.id, "acked") == "acked"
                assert any(log.acks.get(event.id, {}).get("seq") == event.seq for log in self.logs)
                self.outage_told = False
            elif isinstance(event, Refused):
                assert event.code == "not-in-room"
                assert not event.id or self.ends.setdefault(event.id, "refused") == "refused"
            elif isinstance(event, NotStored):
                assert not self.outage_told
                self.outage_told = True
            elif isinstance(event, Whispered):
                assert event.seq == self.whispers_seen + 1
                stored = self.seen_log.whispers[event.seq - 1]
                assert (event.body, event.encryption) == (stored.text, self.encryption)
                self.whispers_seen = event.seq

    def see_welcome(self, welcome: Welcomed) -> None:
        assert welcome.renumbered == (welcome.again and self.seen_log is not self.log)
        if not welcome.again:
            self.position = {room.room: room.seq for room in welcome.rooms}
        elif welcome.renumbered:
            self.position = dict.fromkeys(self.position, 0)
        if self.seen_log is not self.log:
            self.whispers_seen = 0
        self.seen_log = self.log
        self.known_log = self.log.name

    def teardown(self) -> None:
        """Finish everything; then no message may be missing."""
        if not hasattr(self, "client"):
            return
        self.failing = False
        if self.session is None:
            self.connect()
        assert self.session is not None
        moved = True
        while moved:
            self.client.retry()
            before = len(self.to_server)
            self.to_the_server(100)
            moved = bool(before or self.to_client or self.session.replies or self.client.wants_retry)
            moved = moved or bool(self.requested)
            while self.requested:
                self.derive()
            while self.session.replies:
                self.session.send_reply()
            if self.session.is_welcome:
                for room in tuple(self.session.rooms):
                    while self.session.send_said(room):
                        moved = True
                while self.session.send_whisper():
                    moved = True
            moved = moved or bool(self.to_client)
            self.to_the_client(1.0)
        assert self.client.state is ClientState.WELCOMED
        assert self.client.unacknowledged == 0
        assert self.position == {room: len(self.log.rooms[room]) for room in self.session.rooms}
        assert {room.name for room in self.client.rooms} == set(self.session.rooms)
        own: list[Any] = [
            stored.id for room in self.log.rooms.values() for stored in room if stored.author == NAME
        ]
        assert len(own) == len(set(own))
        acked = {id for id, end in self.ends.items() if end == "acked"}
        assert {id for log in self.logs for id in log.acks} == acked
        assert self.whispers_seen == len(self.log.whispers)
        assert self.log.confirmed == len(self.log.whispers)


class Reconnecting(Model):
    """The same with many reconnects, which single steps seldom reach, and without parts."""

    part = None  # type: ignore[assignment]

    @rule()
    def reconnect(self) -> None:
        """Drop the connection, if any, and log in again."""
        if self.session is not None:
            self.drop()
        self.connect()
        self.to_the_server(1)
        self.send_reply()
        self.to_the_client(1.0)
        assert self.client.state is ClientState.WELCOMED


TestSelchatClient = Model.TestCase
TestSelchatClient.settings = hypothesis_settings(stateful_step_count=60, deadline=None)
TestReconnecting = Reconnecting.TestCase
TestReconnecting.settings = TestSelchatClient.settings
