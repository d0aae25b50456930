"""The selchat session as transcripts: what a client sends, and what it reads.

Each is held twice, with headers of the paper's kind and in WebSocket messages: nothing else differs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from selchat.auth.login import PasswordNeededError, TooManyAttemptsError, WrongPasswordError
from selchat.auth.tokens import TokenFile
from selchat.chat.commands import Commands
from selchat.chat.hub import Hub
from selchat.chat.people import hash_client_secret
from selchat.client.events import Message
from selchat.client.protocol.rooms import RoomState
from selchat.client.protocol.selchat import SelchatClient
from selchat.config.settings import ClientSettings, Settings
from selchat.errors import RefusalError
from selchat.net.fanout import Fanout
from selchat.net.memory_limit import MemoryLimit
from selchat.net.outbox import Outbox
from selchat.sessions.context import Context, Session
from selchat.sessions.detect import DetectSession
from selchat.sessions.http.api import MessageApi
from selchat.sessions.http.session import HttpSession
from selchat.sessions.http.static import Files, Operations, Site
from selchat.text import name_key
from selchat.wire.classic import ClassicFormat
from selchat.wire.frames import FrameDecoder, encode_frame
from selchat.wire.responses import SelchatFormat
from selchat.wire.websocket import TextHeaders
from tests.chat.fakes import FakeClock, FakeObserver, RecordingLog, end_tick
from tests.client.selchat_support import take_data
from tests.e2e.web_support import CLOSE, PING, TEXT, answers, close_code, opening, server_frames, texts
from tests.net.fakes import FakeSocket

SECRETS = {name: (name * 16)[:22] for name in ("Michael", "Narayan", "Venkat")}


class House:
    """What a server has, without a socket. ``files``: the folder of its page."""

    wire: type[Client]  # how people come to it

    def __init__(
        self, log: RecordingLog | None = None, files: Path = Path("/none"), **settings: object
    ) -> None:
        pings = {"web_ping_seconds": 20.0}  # as the others are asked
        self.settings = Settings(
            **{"roster": False, "message_rate": 0, "byte_rate": 0, **pings, **settings}  # type: ignore[arg-type]
        )
        self.clock = FakeClock()
        self.log = log or RecordingLog()
        self.observer = FakeObserver(self.log)
        self.fanout = Fanout(self.settings.feed_limit)
        self.hub = Hub(self.settings, self.log, self.clock, self.observer)
        self.commands = Commands(self.hub, lambda: None)
        rich = SelchatFormat()
        self.site = Site(
            Files(files),
            SelchatFormat(TextHeaders()),
            MessageApi(self.settings, self.hub, self.clock, rich, TokenFile(Path("/none")), lambda _: None),
            Operations(lambda: (200, "ready"), lambda: b"", lambda: None),
            {"127.0.0.1", "localhost", "::1", "hut.local"}.__contains__,
        )
        self.context = Context(
            self.settings,
            self.hub,
            self.clock,
            self.observer,
            ClassicFormat(),
            rich,
            self.commands.run_remote,
            new_http_session=partial(HttpSession, self.site),
        )

    def connects(self) -> Client:
        """Have someone come."""
        return self.wire(self)

    def tick(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        end_tick(self.hub, self.fanout)

    def settle(self) -> None:
        """Tick until everyone has caught up with the log."""
        for _ in range(100):
            self.tick()
            if not self.clock.due:
                break


class Client:
    """A peer, and the transport of its session. ``room``: bytes that its socket takes; None: all."""

    address = "192.168.43.169:54494"

    def __init__(self, house: House) -> None:
        self.house = house
        self.sock = FakeSocket()
        self.outbox = Outbox(self.sock, self, 1 << 20)  # type: ignore[arg-type]
        self.closed: list[str | None] = []
        self.paused = False
        self.watched = False
        self.session: Session = DetectSession(house.context, self)
        self._decoder = FrameDecoder(10, 1 << 20)

    def encoded(self, *messages: dict[str, Any] | bytes) -> bytes:
        """These as they are sent."""
        payloads = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in messages]
        return b"".join(map(encode_frame, payloads))

    def sends(self, *messages: dict[str, Any] | bytes) -> None:
        self.session.data_received(self.encoded(*messages))

    def reads(self) -> list[dict[str, Any]]:
        """Take what has come."""
        self.house.settle()
        payloads = self._decoder.receive_data(bytes(self.sock.taken)) if self.sock.taken else []
        assert self._decoder.error is None
        self.sock.taken.clear()
        return [json.loads(payload) for payload in payloads]

    def hangs_up(self) -> None:
        self.session.eof_received()
        self.close()

    def set_handler(self, session: Session) -> None:
        self.session = session

    def start_tls(self, first: bytes) -> None:
        raise AssertionError

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def close(self, reason: str | None = None, final_data: bytes = b"") -> None:
        if not self.closed:
            self.closed.append(reason)
            self.session.connection_lost(reason)
            self.outbox.finish(final_data)

    def schedule_flush(self) -> None:
        self.house.fanout.schedule_flush(self.outbox)

    def watch_writable(self, enabled: bool) -> None:
        self.watched = enabled

    def on_drained(self) -> None:
        self.outbox.close()

    def on_send_error(self, error: Exception) -> None:
        raise AssertionError(error)


House.wire = Client


class Browser(Client):
    """The same by WebSocket. ``ends``: code and reason of what closed it; nothing may come after."""

    def __init__(self, house: House) -> None:
        super().__init__(house)
        self.ends: list[tuple[int | None, str]] = []
        self._answered = False
        self._rest = b""
        self.session.data_received(opening())

    def encoded(self, *messages: dict[str, Any] | bytes) -> bytes:
        return texts(*messages)

    def frames(self) -> list[tuple[int, bytes]]:
        """Take what has come: opcodes and payloads."""
        self.house.settle()
        taken = self._rest + bytes(self.sock.taken)
        self.sock.taken.clear()
        if not self._answered:
            [answer], taken = answers(taken)
            assert answer.status == 101
            self._answered = True
        frames, self._rest = server_frames(taken)
        for opcode, payload in frames:
            assert not self.ends, f"{opcode} {payload!r} after the end"
            if opcode == CLOSE:
                self.ends.append(close_code(payload))
        return frames

    def reads(self) -> list[dict[str, Any]]:
        """Take what was said; a ping is one of WebSocket's own."""
        kinds = {TEXT: json.loads, PING: lambda _: {"type": "ping"}}
        return [kinds[opcode](payload) for opcode, payload in self.frames() if opcode in kinds]


@pytest.fixture(autouse=True, params=[Client, Browser], ids=["frames", "WebSocket"])
def wire(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold each of these on both wires."""
    monkeypatch.setattr(House, "wire", request.param)


def hello(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "hello", "version": 1, "name": name, "client": SECRETS.get(name, "x" * 20), **fields}


def say(body: str, id: str, room: str = "lobby", **fields: Any) -> dict[str, Any]:
    return {"type": "say", "room": room, "id": id, "body": body, **fields}


def whisper(to: str, body: str, id: str) -> dict[str, Any]:
    return {"type": "whisper", "to": to, "id": id, "body": body}


def come(house: House, *names: str, **fields: Any) -> list[Client]:
    clients = []
    for name in names:
        client = house.connects()
        client.sends(hello(name, **fields))
        assert client.reads()[0]["type"] == "welcome"
        clients.append(client)
    return clients


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    return [message["type"] for message in messages]


def codes(messages: list[dict[str, Any]]) -> list[str]:
    return [message["code"] for message in messages if message["type"] == "error"]


def bodies(messages: list[dict[str, Any]]) -> list[str]:
    return [message["body"] for message in messages if message["type"] == "said"]


# -- coming and going ----------------------------------------------------------------------------------


def test_welcome_has_the_name_the_rooms_and_the_limits() -> None:
    house = House()
    client = house.connects()
    client.sends(hello(" Venkat "))
    [welcome] = client.reads()
    assert welcome["name"] == "Venkat"
    salt = house.hub.lobby.salt
    assert welcome["rooms"] == [{"room": "lobby", "seq": 0, "topic": "", "members": 1, "salt": salt}]
    assert welcome["salt"] == house.hub.direct_salt != salt
    assert welcome["log"] == house.log.id
    assert welcome["limits"]["frame"] == 65536
    assert welcome["limits"]["unacknowledged"] == house.settings.unacknowledged


def test_requests_work_byte_by_byte() -> None:
    house = House()
    [narayan] = come(house, "Narayan")
    client = house.connects()
    for byte in client.encoded(hello("Venkat"), say("hi", "1"), {"type": "rooms"}):
        client.session.data_received(bytes([byte]))
    assert kinds(client.reads()) == ["welcome", "rooms", "ack"]
    assert bodies(narayan.reads()) == ["hi"]


def test_bye_closes_after_the_earlier_messages_are_sent() -> None:
    house = House()
    venkat, narayan = come(house, "Venkat", "Narayan")
    narayan.sends(say("one", "1"))
    venkat.sends(say("two", "1"), {"type": "bye"})
    assert kinds(venkat.reads()) == ["ack", "said", "bye"]
    assert bodies(narayan.reads()[1:]) == ["two"]
    assert venkat.closed == [None]


def test_invalid_requests_before_hello_get_errors_and_keep_the_connection() -> None:
    house = House()
    client = house.connects()
    client.sends({**hello("Venkat"), "version": 2}, say("x", "1"), hello(""), hello("Venkat"))
    messages = client.reads()
    assert codes(messages) == ["version", "not-hello", "bad-name"]
    assert kinds(messages)[-1] == "welcome"


def test_second_hello_is_an_error() -> None:
    house = House()
    [venkat] = come(house, "Venkat")
    venkat.sends(hello("Venkat"))
    assert codes(venkat.reads()) == ["already-welcome"]


def test_client_without_a_valid_hello_is_closed_at_the_deadline() -> None:
    house = House()
    client = house.connects()
    house.tick(4)
    client.sends(hello(""))
    house.tick(5.9)
    assert client.closed == []
    house.tick(0.2)
    assert client.closed == ["no username within 10 s"]
    assert client.reads()[-1] == {"type": "bye", "reason": "timeout", "retry_after": None}


def test_invalid_json_gets_an_error_and_later_messages_arrive() -> None:
    house = House()
    venkat, narayan = come(house, "Venkat", "Narayan")
    venkat.sends(say("one", "1"), b"{", b'{"type":"nonsense"}', {"type": "say"}, say("two", "2"))
    assert codes(venkat.reads()) == ["bad-json", "unknown-type", "bad-message"]
    assert bodies(narayan.reads()) == ["one", "two"]


def test_framing_error_closes_the_connection() -> None:
    house = House()
    [venkat] = come(house, "Venkat")
    venkat.session.data_received(b"not a header")
    assert venkat.reads() == [{"type": "bye", "reason": "protocol", "retry_after": None}]
    assert len(venkat.closed) == 1


# -- messages ------------------------------------------------------------------------------------------


def test_message_goes_to_the_others_and_its_ack_to_the_author() -> None:
    house = House()
    venkat, narayan = come(house, "Venkat", "Narayan")
    venkat.sends(say("hi\n\u0000é", "v-1", cipher="caesar"))
    [ack] = venkat.reads()
    [said] = narayan.reads()
    assert (ack["id"], ack["room"], ack["seq"]) == ("v-1", "lobby", 1)
    assert said == {
        "type": "said",
        "room": "lobby",
        "seq": 1,
        "from": "Venkat",
        "at": ack["at"],
        "id": "v-1",
        "body": "hi\n\u0000é",
        "cipher": "caesar",
    }


def test_repeated_id_gets_the_same_ack_and_is_published_once() -> None:
    house = House()
    venkat, narayan = come(house, "Venkat", "Narayan")
    venkat.sends(say("hi", "1"), say("hi", "1"))
    [ack] = venkat.reads()
    venkat.sends(say("hi", "1"), say("more", "2"))
    assert next((one["id"], one["seq"], one["at"]) for one in venkat.reads()) == ("1", 1, ack["at"])
    assert bodies(narayan.reads()) == ["hi", "more"]
    assert [said.body for said in house.log.committed] == ["hi", "more"]


def test_repeated_id_from_a_later_connection_gets_the_same_ack() -> None:
    house = House()
    [venkat] = come(house, "Venkat")
    venkat.sends(say("hi", "1"))
    [ack] = venkat.reads()
    venkat.hangs_up()
    [venkat] = come(house, "Venkat")
    venkat.sends(say("hi", "1"))
    assert venkat.reads() == [ack]
    assert len(house.log.committed) == 1


def test_repeated_id_from_a_connection_of_the_same_tick_is_published_once() -> None:
    house = House()
    [venkat] = come(house, "Venkat")
    venkat.sends(say("hi", "1"))
    again = house.connects()
    again.sends(hello("Venkat"), say("hi", "1"))
    assert kinds(again.reads()) == ["welcome", "said"]
    again.sends(say("hi", "1"))
    assert [(one["type"], one["id"], one["seq"]) for one in again.reads()] == [("ack", "1", 1)]
    assert len(house.log.committed) == 1


def test_classic_and_selchat_clients_share_a_room() -> None:
    house = House()
    [venkat] = come(house, "Venkat")
    classic = Client(house)
    classic.session.data_received(encode_frame(b"Michael") + encode_frame(b"hello"))
    [said] = venkat.reads()
    assert (said["from"], said["body"], "id" in said) == ("Michael", "hello", False)
    venkat.sends(say("hi", "1"))
    house.settle()
    assert bytes(classic.sock.taken) == encode_frame(b"Venkat") + encode_frame(b"hi")


def test_announcement_comes_from_server() -> None:
    house = House()
    [venkat] = come(house, "Venkat")
    house.hub.announce("lunch")
    assert [(one["from"], one["body"]) for one in venkat.reads()] == [("Server", "lunch")]


def test_message_that_cannot_be_stored_is_refused_and_can_be_resent() -> None:
    house = House()
    venkat, narayan = come(house, "Venkat", "Narayan")
    house.log.fail("disk full")
    venkat.sends(say("one", "1"), whisper("Narayan", "psst", "2"))
    house.hub.broadcast_notice("goes on")
    assert [(one["code"], one["id"]) for one in venkat.reads()] == [("not-stored", "1"), ("not-stored", "2")]
    assert narayan.reads() == []
    assert ("log state", "", "disk full") in house.observer.seen
    house.log.fail(None)
    venkat.sends(say("one", "1"))
    assert [(one["type"], one["id"], one["seq"]) for one in venkat.reads()] == [("ack", "1", 1)]
    assert bodies(narayan.reads()) == ["one"]
    assert ("log state", "", None) in house.observer.seen


# -- rooms ---------------------------------------------------------------------------------------------


def test_messages_of_a_room_go_to_its_members_only() -> None:
    house = House()
    venkat, narayan, michael = come(house, "Venkat", "Narayan", "Michael")
    for client in (venkat, narayan):
        client.sends({"type": "join", "room": "#Engine"})
        assert client.reads()[-1]["room"] == "Engine"
    venkat.sends(say("in", "1", "engine"))
    assert [one["room"] for one in narayan.reads()] == ["Engine"]
    assert michael.reads() == []
    narayan.sends({"type": "part", "room": "ENGINE"})
    assert [(one["type"], one["names"], one["total"]) for one in narayan.reads()] == [
        ("left", ["Narayan"], 1)
    ]
    venkat.sends(say("more", "2", "engine"))
    assert narayan.reads() == []
    narayan.sends(say("out", "1", "engine"))
    assert [(one["code"], one["id"]) for one in narayan.reads()] == [("not-in-room", "1")]


def test_joined_and_left_are_sent_in_batches() -> None:
    house = House(roster=True)
    [venkat] = come(house, "Venkat")
    house.tick(2)
    venkat.reads()
    others = come(house, "Narayan", "Michael")
    house.tick(2)
    events = venkat.reads()
    assert {name for one in events for name in one["names"]} == {"Narayan", "Michael"}
    others[0].hangs_up()
    come(house, "Narayan")
    house.tick(2)
    assert venkat.reads() == [], "who is back at once was not away"
    others[1].hangs_up()
    house.tick(2)
    assert venkat.reads() == [{"type": "left", "room": "lobby", "names": ["Michael"], "total": 2}]


def test_topic_is_sent_to_members_and_listed() -> None:
    house = House()
    venkat, narayan = come(house, "Venkat", "Narayan")
    venkat.sends({"type": "topic", "room": "lobby", "topic": "tea"})
    for client in (venkat, narayan):
        [topic] = client.reads()
        assert (topic["type"], topic["topic"], topic["from"]) == ("topic", "tea", "Venkat")
    narayan.sends({"type": "rooms"}, {"type": "users", "room": "lobby"})
    rooms, users = narayan.reads()
    assert rooms["rooms"] == [{"room": "lobby", "members": 2, "topic": "tea", "seq": 0}]
    assert (users["names"], users["total"], users["topic"]) == (["Narayan", "Venkat"], 2, "tea")


@pytest.mark.parametrize("name", ["", "@x", "a b", "/x", "x" * 33, "\u200b", "##"])
def test_invalid_room_name_is_refused(name: str) -> None:
    house = House()
    [venkat] = come(house, "Venkat")
    venkat.sends({"type": "join", "room": name})
    assert codes(venkat.reads()) == ["bad-room"]


def test_number_of_rooms_is_limited() -> None:
    house = House(rooms_per_member=2)
    [venkat] = come(house, "Venkat")
    venkat.sends({"type": "join", "room": "a"}, {"type": "join", "room": "a"}, {"type": "join", "room": "b"})
    assert codes(venkat.reads()) == ["too-many-rooms"]
    assert house.hub.rooms.list(10)[1] == 2


def test_empty_room_without_history_is_removed() -> None:
    house = House()
    [venkat] = come(house, "Venkat")
    venkat.sends({"type": "join", "room": "a"}, {"type": "part", "room": "a"}, {"type": "users", "room": "a"})
    assert codes(venkat.reads()) == ["no-such-room"]


def test_history_can_be_paged_in_both_directions() -> None:
    house = House()
    venkat, _ = come(house, "Venkat", "Narayan")
    venkat.sends(*(say(str(i), str(i)) for i in range(1, 11)))
    venkat.reads()

    def history(**fields: int) -> tuple[list[int], bool]:
        venkat.sends({"type": "history", "room": "lobby", **fields})
        [answer] = venkat.reads()
        return [one["seq"] for one in answer["messages"]], answer["more"]

    assert history(limit=3) == ([8, 9, 10], True)
    assert history(limit=3, before=4) == ([1, 2, 3], False)
    assert history(limit=3, after=4) == ([5, 6, 7], True)
    assert history(limit=100, after=4) == ([5, 6, 7, 8, 9, 10], False)
    assert history(limit=100, after=10) == ([], False)


# -- names ---------------------------------------------------------------------------------------------


def test_name_belongs_to_its_first_client() -> None:
    house = House()
    [venkat] = come(house, "Venkat")
    venkat.hangs_up()
    other = house.connects()
    other.sends({**hello("VENKAT"), "client": "someone else's secret"}, hello("Server"), hello("Other"))
    messages = other.reads()
    assert codes(messages) == ["name-taken", "name-taken"]
    assert messages[-1]["name"] == "Other"
    classic = Client(house)
    classic.session.data_received(encode_frame(b"Venkat"))
    assert {member.name for member in house.hub.members()} == {"Other", "Venkat_2"}


def test_confusable_name_is_refused_and_the_error_names_the_other() -> None:
    house = House()
    [michael] = come(house, "Michael")
    classic = Client(house)
    classic.session.data_received(encode_frame(b"paypal"))
    other = house.connects()
    other.sends(hello("rnichael"), hello("PaypaI"), hello("\u0405erver"), hello("Venkat"))
    taken, present, server, welcome = other.reads()
    assert codes([taken, present]) == ["name-taken", "name-taken"]
    assert taken["message"] == "the name rnichael looks too much like Michael, which belongs to someone else"
    assert present["message"] == "the name PaypaI looks too much like paypal, which belongs to someone else"
    assert server["code"] == "bad-name"
    assert welcome["name"] == "Venkat"
    michael.hangs_up()
    again = house.connects()
    again.sends(hello("rnichael"))
    assert codes(again.reads()) == ["name-taken"], "its owner is only away"


def test_one_client_may_have_confusable_names() -> None:
    house = House()
    come(house, "mike")
    again = house.connects()
    again.sends({**hello("rnike"), "client": hello("mike")["client"]})
    assert again.reads()[0]["name"] == "rnike"
    assert {member.name for member in house.hub.members()} == {"mike", "rnike"}


def test_mixed_script_name_is_refused_with_the_reason() -> None:
    house = House()
    client = house.connects()
    client.sends(hello("Mich\u0430el"), hello("\u041c\u0438\u0445\u0430\u0438\u043b"))
    refused, welcome = client.reads()
    assert (refused["code"], welcome["name"]) == ("bad-name", "\u041c\u0438\u0445\u0430\u0438\u043b")
    assert refused["message"] == (
        "the name Mich\u0430el mixes Cyrillic and Latin letters and could be mistaken for another name"
    )


def test_owners_keep_confusable_names_from_an_older_history() -> None:
    """Mixed ones, and those of several owners that look alike; but not in a new spelling that looks worse."""
    log = RecordingLog()
    owners = {"Mich\u0430el": "a" * 22, "mike": "b" * 22, "rnike": "c" * 22, "ian": "d" * 22}
    for name, secret in owners.items():
        record = {"name": name, "owner": hash_client_secret(secret).hex(), "used": round(time.time())}
        log.put("name", name_key(name), json.dumps(record))
    house = House(log)
    clients = {}
    for name, secret in owners.items():
        clients[name] = house.connects()
        clients[name].sends({**hello(name), "client": secret})
        assert clients[name].reads()[0]["name"] == name
    clients["Mich\u0430el"].sends(say("here", "1"))
    assert kinds(clients["mike"].reads()) == ["said"]
    again = house.connects()
    again.sends({**hello("mich\u0430el"), "client": "a" * 22})
    assert again.reads()[0]["name"] == "mich\u0430el"
    clients["ian"].hangs_up()
    classic = Client(house)
    classic.session.data_received(encode_frame(b"lan"))
    assert house.hub.find_member("lan") is not None
    again = house.connects()
    again.sends({**hello("Ian"), "client": "d" * 22}, {**hello("ian"), "client": "d" * 22})
    refused, welcome = again.reads()
    assert (refused["code"], welcome["name"]) == ("name-taken", "ian")


def test_newer_connection_replaces_the_older_one() -> None:
    house = House()
    [old] = come(house, "Venkat")
    [new] = come(house, "Venkat")
    assert old.reads()[-1] == {"type": "bye", "reason": "replaced", "retry_after": None}
    assert [member.name for member in house.hub.members()] == ["Venkat"]
    new.sends(say("here", "1"))
    assert kinds(new.reads()) == ["ack"]


def test_direct_message_reaches_only_its_recipient() -> None:
    house = House()
    venkat, narayan, michael = come(house, "Venkat", "Narayan", "Michael")
    venkat.sends(whisper("narayan", "psst", "1"))
    [ack] = venkat.reads()
    assert (ack["type"], ack["to"], ack["seq"]) == ("ack", "Narayan", 1)
    [whispered] = narayan.reads()
    assert (whispered["from"], whispered["to"], whispered["body"], whispered["seq"]) == (
        "Venkat",
        "Narayan",
        "psst",
        1,
    )
    assert michael.reads() == []
    venkat.sends(whisper("Nobody", "psst", "2"))
    assert [(one["code"], one["id"]) for one in venkat.reads()] == [("no-such-name", "2")]


def test_direct_messages_are_resent_until_they_are_acknowledged() -> None:
    house = House()
    venkat, narayan = come(house, "Venkat", "Narayan")
    narayan.hangs_up()
    venkat.sends(
        whisper("Narayan", "one", "1"), whisper("Narayan", "two", "2"), whisper("Narayan", "two", "2")
    )
    assert kinds(venkat.reads()) == ["ack", "ack"]
    for _ in range(2):
        narayan = house.connects()
        narayan.sends(hello("Narayan"))
        welcome, *whispers = narayan.reads()
        assert welcome["whispers"] == 2
        assert [(one["seq"], one["body"]) for one in whispers] == [(1, "one"), (2, "two")]
        narayan.hangs_up()
    narayan = house.connects()
    narayan.sends(hello("Narayan"), {"type": "ack", "whisper": 1})
    narayan.reads()
    narayan.hangs_up()
    narayan = house.connects()
    narayan.sends(hello("Narayan"))
    assert [one.get("body") for one in narayan.reads()] == [None, "two"]


def test_classic_client_gets_direct_messages() -> None:
    house = House()
    [venkat] = come(house, "Venkat")
    classic = Client(house)
    classic.session.data_received(encode_frame(b"Michael"))
    venkat.sends(whisper("Michael", "psst", "1"))
    assert kinds(venkat.reads()) == ["ack"]
    assert bytes(classic.sock.taken) == encode_frame(b"Venkat (whispers)") + encode_frame(b"psst")


# -- operators -----------------------------------------------------------------------------------------


def test_operator_sends_commands_as_direct_messages_to_server() -> None:
    house = House(operators=("Venkat",))
    venkat, narayan = come(house, "Venkat", "Narayan")
    venkat.sends(whisper("Server", "/kick Narayan", "1"), whisper("Server", "/quit", "2"))
    assert kinds(venkat.reads()) == ["ack", "ack", "whispered"]
    assert narayan.reads()[-1] == {"type": "bye", "reason": "kicked", "retry_after": None}
    [narayan] = come(house, "Narayan")
    narayan.sends(whisper("Server", "/kick Venkat", "1"))
    assert codes(narayan.reads()) == ["not-operator"]


def test_removed_operator_loses_the_rights_at_once() -> None:
    house = House(operators=("Venkat",))
    venkat, narayan = come(house, "Venkat", "Narayan")
    house.hub.reconfigure(Settings(roster=False, operators=("ＮＡＲＡＹＡＮ",)))
    venkat.sends(whisper("Server", "/users", "1"))
    assert codes(venkat.reads()) == ["not-operator"]
    narayan.sends(whisper("Server", "/bans", "1"))
    assert kinds(narayan.reads()) == ["ack", "whispered"]


def test_ban_covers_the_name_the_client_and_the_address() -> None:
    house = House()
    [narayan] = come(house, "Narayan")
    assert house.commands.run("/ban Narayan for 1h10m")[0].startswith("Banned Narayan until ")
    assert narayan.reads()[-1]["reason"] == "banned"
    for name in ("Narayan", "Michael"):
        client = house.connects()
        client.sends({**hello(name), "client": SECRETS["Narayan"]})
        assert [one.get("code", one.get("reason")) for one in client.reads()] == ["banned", "banned"]
    assert house.commands.run("/unban narayan") == ["narayan is no longer banned."]
    come(house, "Narayan")


def test_muted_user_can_read_but_not_send() -> None:
    house = House()
    venkat, narayan = come(house, "Venkat", "Narayan")
    house.commands.run("/mute Narayan")
    narayan.sends(
        say("one", "1"), whisper("Venkat", "x", "2"), {"type": "topic", "room": "lobby", "topic": "x"}
    )
    assert codes(narayan.reads()) == ["muted"] * 3
    venkat.sends(say("two", "1"))
    assert bodies(narayan.reads()) == ["two"]
    house.commands.run("/unmute Narayan")
    narayan.sends(say("three", "3"))
    assert bodies(venkat.reads()) == ["three"]


# -- breaks --------------------------------------------------------------------------------------------


def resume(house: House, **rooms: int) -> dict[str, Any]:
    return {"log": house.log.id, "rooms": rooms}


def test_resume_replays_missed_messages_before_new_ones() -> None:
    house = House()
    venkat, narayan = come(house, "Venkat", "Narayan")
    venkat.sends(*(say(str(i), str(i)) for i in range(1, 1001)))
    house.settle()
    narayan.hangs_up()
    narayan = house.connects()
    narayan.sends(hello("Narayan", resume=resume(house, lobby=7)))
    venkat.sends(say("live", "live"))
    messages = [one for one in narayan.reads() if one["type"] == "said"]
    assert [one["seq"] for one in messages] == list(range(8, 1002))
    venkat.sends(say("live too", "live2"))
    assert bodies(narayan.reads()) == ["live too"]


def test_resume_of_another_log_replays_everything() -> None:
    house = House()
    [venkat] = come(house, "Venkat")
    venkat.sends(say("one", "1"), say("two", "2"))
    venkat.reads()
    narayan = house.connects()
    narayan.sends(hello("Narayan", resume={"log": "older", "rooms": {"lobby": 500}}))
    assert bodies(narayan.reads()) == ["one", "two"]


def test_resume_before_the_oldest_message_gets_a_gap() -> None:
    log = RecordingLog()
    house = House(log)
    [venkat] = come(house, "Venkat")
    for i in range(10):
        venkat.sends(say(str(i), str(i)))
        venkat.reads()
    log.expire_before("lobby", 8)
    narayan = house.connects()
    narayan.sends(hello("Narayan", resume=resume(house, lobby=2)))
    _, gap, *messages = narayan.reads()
    assert gap == {"type": "gap", "room": "lobby", "after": 2, "before": 8}
    assert [one["seq"] for one in messages] == [8, 9, 10]


def test_resume_joins_only_its_rooms() -> None:
    house = House()
    client = house.connects()
    client.sends(hello("Narayan", resume=resume(house, engine=0)))
    assert [room["room"] for room in client.reads()[0]["rooms"]] == ["engine"]


def test_lapped_reader_gets_a_gap_and_a_replay() -> None:
    house = House(feed_limit=20_000)
    venkat, narayan = come(house, "Venkat", "Narayan")
    expected = []
    narayan.sock.room = 5_003  # in the middle of a frame
    for i in range(600):
        venkat.sends(say(f"{i} " + "x" * 90, str(i)))
        expected.append(f"{i} " + "x" * 90)
        house.tick()
    assert narayan.closed == []
    narayan.sock.room = None
    narayan.outbox.flush()
    messages = narayan.reads()
    [gap] = [one for one in messages if one["type"] == "gap"]
    assert gap["before"] == gap["after"] + 1
    assert bodies(messages) == expected
    venkat.sends(say("live", "live"))
    assert bodies(narayan.reads()) == ["live"]


def test_reader_lapped_by_the_memory_limit_gets_a_replay() -> None:
    house = House()
    venkat, narayan = come(house, "Venkat", "Narayan")
    budget = MemoryLimit(20_000)
    expected = []
    narayan.sock.room = 5_003  # in the middle of a frame
    for i in range(600):
        venkat.sends(say(f"{i} " + "x" * 90, str(i)))
        expected.append(f"{i} " + "x" * 90)
        house.tick()
        budget.enforce([narayan.outbox] if narayan.outbox.blocked else [])
    assert (venkat.closed, narayan.closed) == ([], [])
    narayan.sock.room = None
    narayan.outbox.flush()
    messages = narayan.reads()
    assert "gap" in kinds(messages)
    assert all(one["before"] == one["after"] + 1 for one in messages if one["type"] == "gap")
    assert bodies(messages) == expected


def test_second_session_with_beside_keeps_the_first() -> None:
    house = House()
    [venkat] = come(house, "Venkat")
    beside = house.connects()
    beside.sends(hello("Venkat", beside=True), say("from a script", "1"))
    assert [one["name"] for one in beside.reads() if one["type"] == "welcome"] == ["Venkat_2"]
    assert [(one["from"], one["body"]) for one in venkat.reads()] == [("Venkat_2", "from a script")]
    beside.hangs_up()
    assert venkat.closed == []
    other = house.connects()
    other.sends({**hello("Venkat_2"), "client": "someone else's secret"})
    assert kinds(other.reads()) == ["welcome"], "it was nobody's name"
    alone = house.connects()
    alone.sends({**hello("Michael"), "beside": True})
    assert alone.reads()[0]["name"] == "Michael"


def test_join_with_after_replays_missed_messages() -> None:
    house = House()
    venkat, narayan = come(house, "Venkat", "Narayan")
    for client in (venkat, narayan):
        client.sends({"type": "join", "room": "deck"})
    venkat.sends(*(say(str(i), str(i), "deck") for i in range(1, 1001)))
    house.settle()
    narayan.hangs_up()
    narayan = house.connects()
    narayan.sends(hello("Narayan", resume=resume(house)), {"type": "join", "room": "deck", "after": 7})
    venkat.sends(say("live", "live", "deck"))
    welcome, users, *messages = [one for one in narayan.reads() if one["type"] not in ("joined", "left")]
    assert (welcome["rooms"], users["type"], users["seq"]) == ([], "users", 1000)
    assert [one["seq"] for one in messages] == list(range(8, 1002))
    venkat.sends(say("more", "more", "deck"))
    assert bodies(narayan.reads()) == ["more"]


@pytest.mark.parametrize("after", [3, 4, 1000])
def test_join_with_after_at_the_last_seq_replays_nothing(after: int) -> None:
    house = House()
    [venkat] = come(house, "Venkat")
    venkat.sends({"type": "join", "room": "deck"}, *(say(str(i), str(i), "deck") for i in range(3)))
    [narayan] = come(house, "Narayan")
    narayan.sends({"type": "join", "room": "deck", "after": after})
    assert bodies(narayan.reads()) == []
    venkat.sends(say("more", "more", "deck"))
    assert bodies(narayan.reads()) == ["more"]


def test_join_with_after_before_the_oldest_message_gets_a_gap() -> None:
    house = House()
    [venkat] = come(house, "Venkat")
    venkat.sends({"type": "join", "room": "deck"}, *(say(str(i), str(i), "deck") for i in range(1, 11)))
    house.settle()
    house.log.expire_before("deck", 5)
    [narayan] = come(house, "Narayan")
    narayan.sends({"type": "join", "room": "deck", "after": 2})
    _, gap, *messages = narayan.reads()
    assert gap == {"type": "gap", "room": "deck", "after": 2, "before": 5}
    assert [one["seq"] for one in messages if one["type"] == "said"] == list(range(5, 11))


def test_join_with_after_in_a_joined_room_replays_nothing() -> None:
    house = House()
    venkat, narayan = come(house, "Venkat", "Narayan")
    venkat.sends(say("one", "1"))
    assert bodies(narayan.reads()) == ["one"]
    narayan.sends({"type": "join", "room": "lobby", "after": 0})
    assert kinds(narayan.reads()) == ["users"]
    venkat.sends(say("two", "2"))
    assert bodies(narayan.reads()) == ["two"]


def test_part_right_after_join_cancels_the_replay() -> None:
    house = House()
    [venkat] = come(house, "Venkat")
    venkat.sends({"type": "join", "room": "deck"}, *(say(str(i), str(i), "deck") for i in range(3)))
    [narayan] = come(house, "Narayan")
    narayan.sends({"type": "join", "room": "deck", "after": 0}, {"type": "part", "room": "deck"})
    assert kinds(narayan.reads()) == ["users", "left"]


def test_client_in_100_rooms_with_long_names_resumes_all_of_them() -> None:
    """With the client's own core: what does not fit into its hello is joined after it."""
    house = House()
    names = [f"{number:02}" + "ø" * 30 for number in range(99)]
    [venkat] = come(house, "Venkat")
    core = SelchatClient(ClientSettings(host="x", name="Narayan"), SECRETS["Narayan"])
    heard: list[tuple[str, int]] = []

    def talk(client: Client) -> None:
        while data := take_data(core):
            client.sends(*FrameDecoder().receive_data(data))
            said = b"".join(encode_frame(json.dumps(one).encode()) for one in client.reads())
            events = core.receive_data(said)
            heard.extend((event.room, event.seq) for event in events if isinstance(event, Message))

    for name in names:
        core.join(name)
        venkat.sends({"type": "join", "room": name})
    for turn in range(3):
        client = house.connects()
        core.connection_made()
        talk(client)
        for name in names:
            core.say(f"own {turn}", name)
        talk(client)
        client.hangs_up()
        core.connection_lost()
        for name in names:
            venkat.sends(say("while he is away", f"{turn} {name[:2]}", name))
    client = house.connects()
    core.connection_made()
    talk(client)
    assert core.unacknowledged == 0
    assert len(core.rooms) == 100
    assert {room.state for room in core.rooms} == {RoomState.JOINED}
    for name in names:
        assert [seq for room, seq in heard if room == name] == [1, 2, 3, 4, 5, 6]


# -- signs of life -------------------------------------------------------------------------------------


ASKED = {"type": "ping"}
TIMED_OUT = {"type": "bye", "reason": "timeout", "retry_after": 0}


def wait(house: House, seconds: float) -> None:
    """Let the time pass, a second after the other."""
    for _ in range(round(seconds)):
        house.tick(1.0)


def test_silent_client_gets_a_ping_and_then_a_timeout() -> None:
    house = House()
    [venkat] = come(house, "Venkat")
    wait(house, 19)
    assert venkat.reads() == []
    wait(house, 1)
    assert venkat.reads() == [ASKED]
    wait(house, 13)
    assert venkat.closed == []
    wait(house, 1)
    assert venkat.closed == ["ping timeout: no data for 34 s"]
    assert venkat.reads() == [TIMED_OUT]
    assert not house.hub.members()
    wait(house, 100)
    assert venkat.reads() == []
    assert house.clock.pending == 0


def test_pong_or_any_other_data_prevents_the_ping_timeout() -> None:
    house = House()
    venkat, narayan, michael = come(house, "Venkat", "Narayan", "Michael")
    for _ in range(5):
        wait(house, 20)
        assert venkat.reads() == [ASKED]
        assert narayan.reads() == [ASKED]
        venkat.sends({"type": "pong"})
        narayan.sends(b"not even JSON")
        assert codes(narayan.reads()) == ["bad-json"]
    assert (venkat.closed, narayan.closed) == ([], [])
    assert michael.closed == ["ping timeout: no data for 34 s"]


def test_bytes_of_an_incomplete_frame_prevent_the_ping_timeout() -> None:
    house = House(frame_seconds=100.0)
    [venkat] = come(house, "Venkat")
    for byte in venkat.encoded(b'{"type":"pong"}')[:14]:
        wait(house, 4)
        venkat.session.data_received(bytes([byte]))
    assert (venkat.reads(), venkat.closed) == ([], [])


def test_client_with_unsent_data_gets_no_ping_and_no_timeout() -> None:
    house = House()
    venkat, narayan = come(house, "Venkat", "Narayan")
    venkat.sock.room = 0
    narayan.sends(say("are you there?", "1"))
    for _ in range(20):
        wait(house, 10)
        narayan.sends({"type": "pong"})
    assert venkat.closed == []
    venkat.sock.room = None
    venkat.outbox.flush()
    assert kinds(venkat.reads()) == ["said"]
    wait(house, 20)
    assert venkat.reads() == [ASKED]
    wait(house, 14)
    assert venkat.reads() == [TIMED_OUT]


def test_ping_timeout_is_postponed_while_data_is_unsent() -> None:
    house = House()
    venkat, narayan = come(house, "Venkat", "Narayan")
    wait(house, 15)
    narayan.sends({"type": "pong"})
    wait(house, 5)
    assert venkat.reads() == [ASKED]
    venkat.sock.room = 0
    narayan.sends(say("are you there?", "1"))
    wait(house, 14)
    assert venkat.closed == []
    venkat.sock.room = None
    venkat.outbox.flush()
    assert kinds(venkat.reads()) == ["said"]
    wait(house, 19)
    assert venkat.reads() == []
    wait(house, 1)
    assert venkat.reads() == [ASKED]


def test_rate_limited_client_gets_no_ping_timeout() -> None:
    """The rate holds back what was said, and perhaps the answer."""
    house = House(message_rate=0.01, message_burst=1)
    [venkat] = come(house, "Venkat")
    venkat.sends(*(say(str(i), str(i)) for i in range(3)))
    assert venkat.paused
    wait(house, 99)
    assert [one for one in kinds(venkat.reads()) if one != "ping"] == ["ack"]
    assert venkat.closed == []
    wait(house, 102)
    assert (venkat.paused, venkat.closed) == (False, [])
    assert [one for one in kinds(venkat.reads()) if one != "ping"] == ["ack", "ack"]
    wait(house, 32)
    assert venkat.closed == []
    wait(house, 1)
    assert venkat.closed == ["ping timeout: no data for 34 s"]


def test_ping_and_pong_times_come_from_the_settings() -> None:
    house = House(ping_seconds=3.0, web_ping_seconds=3.0, pong_seconds=2.0)
    [venkat] = come(house, "Venkat")
    wait(house, 3)
    assert venkat.reads() == [ASKED]
    wait(house, 2)
    assert venkat.closed == ["ping timeout: no data for 5 s"]


def test_no_ping_before_login() -> None:
    house = House(login_seconds=60.0)
    client = house.connects()
    client.sends(hello(""))
    wait(house, 59)
    assert codes(client.reads()) == ["bad-name"]
    assert client.closed == []


# -- a password ----------------------------------------------------------------------------------------


class Door:
    """A gate whose answers are the test's."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.answers: list[Callable[[RefusalError | None], object]] = []
        self.raises: RefusalError | None = None
        self.is_known = False
        self.cancelled = 0

    def check(self, password: str, address: str, answer: Callable[[RefusalError | None], object]) -> Any:
        self.asked.append((password, address))
        if self.raises is not None:
            raise self.raises
        if self.is_known:
            return None
        self.answers.append(answer)
        return self

    def cancel(self) -> None:
        self.cancelled += 1
        self.answers.clear()

    def answer(self, error: RefusalError | None = None) -> None:
        self.answers.pop(0)(error)


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture
def locked(door: Door) -> House:
    house = House()
    house.context = replace(house.context, authenticator=door)  # type: ignore[arg-type]
    return house


def test_requests_wait_while_the_password_is_checked(locked: House, door: Door) -> None:
    client = locked.connects()
    client.sends(hello("Venkat", password="tea at four"), say("hi", "1"), {"type": "ping"})
    assert door.asked == [("tea at four", client.address)]
    assert client.paused
    client.session.data_received(b"")  # as if it had been read before the pause
    assert client.reads() == []
    assert locked.hub.members() == []
    door.answer()
    assert not client.paused
    assert [one["type"] for one in client.reads()] == ["welcome", "pong", "ack"]


def test_wrong_password_gets_an_error_and_another_hello_may_follow(locked: House, door: Door) -> None:
    client = locked.connects()
    client.sends(hello("Venkat", password="tea"), hello("Venkat", password="tea at four"))
    door.answer(WrongPasswordError())
    assert [password for password, _ in door.asked] == ["tea", "tea at four"]
    assert [one["code"] for one in client.reads()] == ["wrong-password"]
    assert client.paused
    door.answer()
    assert client.reads()[0]["type"] == "welcome"


def test_missing_password_and_lockout_are_refused_without_a_check(locked: House, door: Door) -> None:
    client = locked.connects()
    door.raises = PasswordNeededError()
    client.sends(hello("Venkat"))
    door.raises = TooManyAttemptsError(3.2)
    client.sends(hello("Venkat", password="tea"))
    assert not client.paused
    door.raises = None
    door.is_known = True
    client.sends(hello("Venkat", password="tea at four"))
    needed, tries, welcome = client.reads()
    assert needed == {
        "type": "error",
        "code": "password-needed",
        "message": "this server requires a password",
    }
    assert (tries["code"], tries["retry_after"]) == ("too-many-tries", 4)
    assert welcome["type"] == "welcome"


def test_version_is_checked_before_the_password_and_the_name_after_it(locked: House, door: Door) -> None:
    door.is_known = True
    come(locked, "Michael")
    door.is_known = False
    client = locked.connects()
    client.sends({**hello("Michael", password="tea"), "version": 2, "client": "y" * 20})
    assert client.reads()[0]["code"] == "version"
    client.sends({**hello("Michael", password="tea"), "client": "y" * 20})
    assert client.reads() == []
    door.answer()
    assert client.reads()[0]["code"] == "name-taken"
    assert not client.paused
    client.sends(hello("Narayan", password="tea"))
    door.answer(WrongPasswordError())
    assert client.reads()[0]["code"] == "wrong-password"


@pytest.mark.parametrize("how", ["gone", "too late", "server stops"])
def test_end_of_the_connection_cancels_the_password_check(locked: House, door: Door, how: str) -> None:
    client = locked.connects()
    client.sends(hello("Venkat", password="tea at four"), say("hi", "1"))
    if how == "too late":
        locked.tick(locked.settings.login_seconds)
        assert client.closed == ["no username within 10 s"]
        assert client.reads() == [{"type": "bye", "reason": "timeout", "retry_after": None}]
    else:
        client.close("server shut down")
    assert door.cancelled == 1
    assert locked.hub.members() == []
    assert not locked.clock.pending


def test_frame_timeout_does_not_outlive_the_password_check(locked: House, door: Door) -> None:
    client = locked.connects()
    whole = client.encoded(hello("Venkat", password="tea at four"))
    client.session.data_received(whole[:20])
    client.session.data_received(whole[20:])
    door.answer()
    locked.tick(locked.settings.frame_seconds + 1)
    assert client.closed == []
    assert client.reads()[0]["type"] == "welcome"


def test_classic_client_is_refused_by_a_server_with_a_password(locked: House, door: Door) -> None:
    client = Client(locked)
    client.sends(b"Venkat")
    locked.tick()
    assert client.closed == ["this server requires a password"]
    assert bytes(client.sock.taken).startswith(b"6         Server")
    assert bytes(client.sock.taken).endswith(b"Closing this connection: this server requires a password.")
    assert door.asked == []


# -- before one is in ------------------------------------------------------------------------------------


def test_client_is_closed_after_too_many_invalid_hellos() -> None:
    house = House(login_messages=3)
    client = house.connects()
    client.sends(hello(""), *[{"type": "rooms"}] * 1000)
    assert [one.get("code", one.get("reason")) for one in client.reads()] == [
        "bad-name",
        "not-hello",
        "not-hello",
        "protocol",
    ]
    assert client.closed == ["no valid hello among 3 messages"]


def test_last_allowed_message_may_be_a_valid_hello() -> None:
    house = House(login_messages=3)
    client = house.connects()
    client.sends(hello(""), {"type": "rooms"}, hello("Venkat"), *[{"type": "ping"}] * 10)
    assert kinds(client.reads()) == ["error", "error", "welcome", *["pong"] * 10]
