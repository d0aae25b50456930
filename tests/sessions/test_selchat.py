"""The selchat session as transcripts of requests and replies.

Each test runs twice: with the frames of the classic protocol and in WebSocket messages.
"""

from __future__ import annotations

import itertools
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
from selchat.events import Said
from selchat.log.port import NotReadableError
from selchat.net.fanout import Fanout
from selchat.net.memory_limit import MemoryLimit
from selchat.net.outbox import Outbox
from selchat.sessions.context import Context, Session
from selchat.sessions.detect import DetectSession
from selchat.sessions.http.api import MessageApi
from selchat.sessions.http.session import HttpSession
from selchat.sessions.http.static import Files, Operations, Site
from selchat.sessions.work import WorkLimits
from selchat.text import name_key
from selchat.wire.classic import ClassicFormat
from selchat.wire.frames import DecimalHeaders, FrameDecoder, encode_frame
from selchat.wire.responses import SelchatFormat
from selchat.wire.websocket import TextHeaders
from tests.chat.fakes import FakeClock, FakeObserver, RecordingLog, end_tick
from tests.client.selchat_support import take_data
from tests.e2e.web_support import CLOSE, PING, TEXT, answers, close_code, opening, server_frames, texts
from tests.net.fakes import FakeSocket

SECRETS = {name: (name * 16)[:22] for name in ("Michael", "Narayan", "Venkat")}


class FakeServer:
    """A server without sockets. ``files``: the folder of its page."""

    wire: type[Client]  # the client class of `connect`

    def __init__(
        self, log: RecordingLog | None = None, files: Path = Path("/none"), **settings: object
    ) -> None:
        pings = {"web_ping_seconds": 20.0}  # the same as for other clients
        self.settings = Settings(
            **{"roster": False, "message_rate": 0, "byte_rate": 0, **pings, **settings}  # type: ignore[arg-type]
        )
        self.clock = FakeClock()
        self.log = log or RecordingLog()
        self.observer = FakeObserver(self.log)
        self.fanout = Fanout(self.settings.feed_limit)
        self.hub = Hub(self.settings, self.log, self.clock, self.observer)
        self.commands = Commands(self.hub, lambda: None)
        header_length = self.settings.header_length
        format = SelchatFormat(DecimalHeaders(header_length))
        self.site = Site(
            Files(files),
            SelchatFormat(TextHeaders()),
            MessageApi(self.settings, self.hub, self.clock, format, TokenFile(Path("/none")), lambda _: None),
            Operations(lambda: (200, "ready"), lambda: b"", lambda: None),
            {"127.0.0.1", "localhost", "::1", "hut.local"}.__contains__,
        )
        self.context = Context(
            self.settings,
            self.hub,
            self.clock,
            WorkLimits(self.settings, self.clock),
            self.observer,
            ClassicFormat(header_length, self.settings.payload_limit),
            format,
            self.commands.remote,
            new_http_session=partial(HttpSession, self.site),
        )

    def connect(self) -> Client:
        """Connect a new client."""
        return self.wire(self)

    def tick(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        end_tick(self.hub, self.fanout)

    def settle(self) -> None:
        """Tick until no timer is due, so that all replays are sent."""
        for _ in range(100):
            self.tick()
            if not self.clock.due:
                break


class Client:
    """A selchat client, and the transport of its session."""

    address = "192.168.43.169:54494"

    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.sock = FakeSocket()
        self.outbox = Outbox(self.sock, self, 1 << 20)  # type: ignore[arg-type]
        self.closed: list[str | None] = []
        self.paused = False
        self.watched = False
        self.session: Session = DetectSession(server.context, self)
        self._decoder = FrameDecoder(server.settings.header_length, 1 << 20)

    def encoded(self, *messages: dict[str, Any] | bytes) -> bytes:
        """Return the messages as this client sends them."""
        payloads = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in messages]
        return b"".join([encode_frame(one, self.server.settings.header_length) for one in payloads])

    def send(self, *messages: dict[str, Any] | bytes) -> None:
        self.session.data_received(self.encoded(*messages))

    def read(self) -> list[dict[str, Any]]:
        """Return the new messages."""
        self.server.settle()
        payloads = self._decoder.receive_data(bytes(self.sock.taken)) if self.sock.taken else []
        assert self._decoder.error is None
        self.sock.taken.clear()
        return [json.loads(payload) for payload in payloads]

    def hang_up(self) -> None:
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
        self.server.fanout.schedule_flush(self.outbox)

    def watch_writable(self, enabled: bool) -> None:
        self.watched = enabled

    def on_drained(self) -> None:
        self.outbox.close()

    def on_send_error(self, error: Exception) -> None:
        raise AssertionError(error)


FakeServer.wire = Client


class Browser(Client):
    """A client with a WebSocket. ``ends``: code and reason of the close frame, the last one."""

    def __init__(self, server: FakeServer) -> None:
        super().__init__(server)
        self.ends: list[tuple[int | None, str]] = []
        self._answered = False
        self._rest = b""
        self.session.data_received(opening())

    def encoded(self, *messages: dict[str, Any] | bytes) -> bytes:
        return texts(*messages)

    def frames(self) -> list[tuple[int, bytes]]:
        """Return the opcodes and payloads of the new frames."""
        self.server.settle()
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

    def read(self) -> list[dict[str, Any]]:
        """Return the new messages. A WebSocket ping counts as the message `ping`."""
        kinds = {TEXT: json.loads, PING: lambda _: {"type": "ping"}}
        return [kinds[opcode](payload) for opcode, payload in self.frames() if opcode in kinds]


@pytest.fixture(autouse=True, params=[Client, Browser], ids=["frames", "WebSocket"])
def wire(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test with both kinds of clients."""
    monkeypatch.setattr(FakeServer, "wire", request.param)


def hello(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "hello", "version": 1, "name": name, "client": SECRETS.get(name, "x" * 20), **fields}


def say(body: str, id: str, room: str = "lobby", **fields: Any) -> dict[str, Any]:
    return {"type": "say", "room": room, "id": id, "body": body, **fields}


def whisper(to: str, body: str, id: str) -> dict[str, Any]:
    return {"type": "whisper", "to": to, "id": id, "body": body}


def log_in(server: FakeServer, *names: str, **fields: Any) -> list[Client]:
    clients = []
    for name in names:
        client = server.connect()
        client.send(hello(name, **fields))
        assert client.read()[0]["type"] == "welcome"
        clients.append(client)
    return clients


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    return [message["type"] for message in messages]


def codes(messages: list[dict[str, Any]]) -> list[str]:
    return [message["code"] for message in messages if message["type"] == "error"]


def bodies(messages: list[dict[str, Any]]) -> list[str]:
    return [message["body"] for message in messages if message["type"] == "said"]


# -- login and logout ------------------------------------------------------------------------------------


def test_welcome_has_the_name_the_rooms_and_the_limits() -> None:
    server = FakeServer()
    client = server.connect()
    client.send(hello(" Venkat "))
    [welcome] = client.read()
    assert welcome["name"] == "Venkat"
    salt = server.hub.lobby.salt
    assert welcome["rooms"] == [{"room": "lobby", "seq": 0, "topic": "", "members": 1, "salt": salt}]
    assert welcome["salt"] == server.hub.direct_salt != salt
    assert welcome["log"] == server.log.id
    assert welcome["limits"]["frame"] == 65536
    assert welcome["limits"]["unacknowledged"] == server.settings.unacknowledged
    rates = server.settings.message_rate, server.settings.message_burst, server.settings.byte_rate
    assert tuple(welcome["rates"][name] for name in ("messages", "burst", "bytes")) == rates


FILLINGS = {
    "ASCII": "x",
    "quotes": '"',
    "control characters": "\x01",
    "UTF-8": "\u00e9",
    "emoji": "\U0001f600",
}
HEADERS = {4: 9_487, 5: 65_536, 6: 65_536, 10: 65_536, 100: 65_536}


def filled(message: dict[str, Any], size: int, filling: str, *, ascii: bool) -> bytes:
    """Return the message with a body that makes its payload ``size`` bytes long."""

    def payload(body: str) -> bytes:
        return json.dumps({**message, "body": body}, ensure_ascii=ascii).encode()

    each = len(payload(filling)) - len(payload(""))
    body = filling * ((size - len(payload(""))) // each)
    body += "x" * (size - len(payload(body)))
    assert len(payload(body)) == size
    return payload(body)


@pytest.mark.parametrize("ascii", [False, True])
@pytest.mark.parametrize("filling", FILLINGS.values(), ids=FILLINGS)
@pytest.mark.parametrize("header_length", HEADERS)
def test_message_of_the_limit_arrives_whole_and_a_longer_one_is_refused(
    header_length: int, filling: str, ascii: bool
) -> None:
    # The longest names, and an author whose name takes four bytes for each character.
    author, reader, room = ("\U00020000" * 32, "\U00020001" * 32, "\U00020002" * 32)
    server = FakeServer(header_length=header_length)
    clients = []
    for number, name in enumerate((author, reader)):
        client = server.connect()
        client.send({**hello("x"), "name": name, "client": f"{number}" * 22})
        [welcome] = [one for one in client.read() if one["type"] == "welcome"]
        client.send({"type": "join", "room": room})
        client.read()
        clients.append(client)
    talker, listener = clients
    limit = welcome["limits"]["frame"]
    assert limit == HEADERS[header_length]
    for kind, target in (("say", {"room": room}), ("whisper", {"to": reader})):
        id = f"{kind}-" + "\U0001f600" * 55
        whole = filled({"type": kind, **target, "id": id}, limit, filling, ascii=ascii)
        talker.send(whole)
        assert kinds(talker.read()) == ["ack"]
        [got] = listener.read()
        assert got["body"] == json.loads(whole)["body"]
        if kind == "say":
            listener.send({"type": "history", "room": room, "limit": 1})
            [page] = listener.read()
            assert page["messages"][-1]["body"] == json.loads(whole)["body"]
        if limit < server.settings.payload_limit:
            talker.send(filled({"type": kind, **target, "id": "2"}, limit + 1, filling, ascii=ascii))
            [error] = talker.read()
            assert (error["code"], error["id"]) == ("too-long", "2")
            assert listener.read() == []
    assert talker.closed == []


@pytest.mark.parametrize("header_length", [4, 5])
def test_rooms_that_do_not_fit_into_the_welcome_are_refused(header_length: int) -> None:
    server = FakeServer(header_length=header_length)
    [venkat] = log_in(server, "Venkat")
    rooms = {f"room{number}": 0 for number in range(99)}
    for name in rooms:
        venkat.send({"type": "join", "room": name})
        venkat.send({"type": "topic", "room": name, "topic": "\U0001f600" * 256})
        venkat.read()
    again = server.connect()
    again.send(hello("Michael", resume={"log": server.log.id, "rooms": rooms}))
    welcome, *errors = [one for one in again.read() if one["type"] in {"welcome", "error"}]
    # WebSocket messages have no short header.
    assert {error["code"] for error in errors} == ({"too-many-rooms"} if server.wire is Client else set())
    listed = [room["room"] for room in welcome["rooms"]]
    assert listed
    assert [*listed, *(error["room"] for error in errors)] == list(rooms)
    member = server.hub.find_member("Michael")
    assert member is not None and [room.name for room in member.rooms] == listed
    assert again.closed == []


def test_every_request_over_the_limit_is_refused() -> None:
    server = FakeServer(header_length=4)
    [venkat] = log_in(server, "Venkat")
    pad = "x" * 9_500
    venkat.send(
        {"type": "users", "room": "lobby", "pad": pad}, {"type": "ping", "pad": pad}, {"type": "ping"}
    )
    assert [(one["type"], one.get("code")) for one in venkat.read()] == [
        ("error", "too-long"),
        ("error", "too-long"),
        ("pong", None),
    ]


def test_requests_work_byte_by_byte() -> None:
    server = FakeServer()
    [narayan] = log_in(server, "Narayan")
    client = server.connect()
    for byte in client.encoded(hello("Venkat"), say("hi", "1"), {"type": "rooms"}):
        client.session.data_received(bytes([byte]))
    assert kinds(client.read()) == ["welcome", "rooms", "ack"]
    assert bodies(narayan.read()) == ["hi"]


def test_bye_closes_after_the_earlier_messages_are_sent() -> None:
    server = FakeServer()
    venkat, narayan = log_in(server, "Venkat", "Narayan")
    narayan.send(say("one", "1"))
    venkat.send(say("two", "1"), {"type": "bye"})
    assert kinds(venkat.read()) == ["ack", "said", "bye"]
    assert bodies(narayan.read()[1:]) == ["two"]
    assert venkat.closed == [None]


def test_invalid_requests_before_hello_get_errors_and_keep_the_connection() -> None:
    server = FakeServer()
    client = server.connect()
    client.send({**hello("Venkat"), "version": 2}, say("x", "1"), hello(""), hello("Venkat"))
    messages = client.read()
    assert codes(messages) == ["version", "not-hello", "bad-name"]
    assert kinds(messages)[-1] == "welcome"


def test_second_hello_is_an_error() -> None:
    server = FakeServer()
    [venkat] = log_in(server, "Venkat")
    venkat.send(hello("Venkat"))
    assert codes(venkat.read()) == ["already-welcome"]


def test_client_without_a_valid_hello_is_closed_at_the_deadline() -> None:
    server = FakeServer()
    client = server.connect()
    server.tick(4)
    client.send(hello(""))
    server.tick(5.9)
    assert client.closed == []
    server.tick(0.2)
    assert client.closed == ["no username within 10 s"]
    assert client.read()[-1] == {"type": "bye", "reason": "timeout", "retry_after": None}


def test_invalid_json_gets_an_error_and_later_messages_arrive() -> None:
    server = FakeServer()
    venkat, narayan = log_in(server, "Venkat", "Narayan")
    venkat.send(say("one", "1"), b"{", b'{"type":"nonsense"}', {"type": "say"}, say("two", "2"))
    assert codes(venkat.read()) == ["bad-json", "unknown-type", "bad-message"]
    assert bodies(narayan.read()) == ["one", "two"]


def test_framing_error_closes_the_connection() -> None:
    server = FakeServer()
    [venkat] = log_in(server, "Venkat")
    venkat.session.data_received(b"not a header")
    assert venkat.read() == [{"type": "bye", "reason": "protocol", "retry_after": None}]
    assert len(venkat.closed) == 1


# -- messages --------------------------------------------------------------------------------------------


def test_message_goes_to_the_others_and_its_ack_to_the_author() -> None:
    server = FakeServer()
    venkat, narayan = log_in(server, "Venkat", "Narayan")
    venkat.send(say("hi\n\u0000é", "v-1", cipher="caesar"))
    [ack] = venkat.read()
    [said] = narayan.read()
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
    server = FakeServer()
    venkat, narayan = log_in(server, "Venkat", "Narayan")
    venkat.send(say("hi", "1"), say("hi", "1"))
    [ack] = venkat.read()
    venkat.send(say("hi", "1"), say("more", "2"))
    assert next((one["id"], one["seq"], one["at"]) for one in venkat.read()) == ("1", 1, ack["at"])
    assert bodies(narayan.read()) == ["hi", "more"]
    assert [said.body for said in server.log.committed] == ["hi", "more"]


def test_repeated_id_from_a_later_connection_gets_the_same_ack() -> None:
    server = FakeServer()
    [venkat] = log_in(server, "Venkat")
    venkat.send(say("hi", "1"))
    [ack] = venkat.read()
    venkat.hang_up()
    [venkat] = log_in(server, "Venkat")
    venkat.send(say("hi", "1"))
    assert venkat.read() == [ack]
    assert len(server.log.committed) == 1


def test_repeated_id_from_a_connection_of_the_same_tick_is_published_once() -> None:
    server = FakeServer()
    [venkat] = log_in(server, "Venkat")
    venkat.send(say("hi", "1"))
    again = server.connect()
    again.send(hello("Venkat"), say("hi", "1"))
    assert kinds(again.read()) == ["welcome", "said"]
    again.send(say("hi", "1"))
    assert [(one["type"], one["id"], one["seq"]) for one in again.read()] == [("ack", "1", 1)]
    assert len(server.log.committed) == 1


def test_classic_and_selchat_clients_share_a_room() -> None:
    server = FakeServer()
    [venkat] = log_in(server, "Venkat")
    classic = Client(server)
    classic.session.data_received(encode_frame(b"Michael") + encode_frame(b"hello"))
    [said] = venkat.read()
    assert (said["from"], said["body"], "id" in said) == ("Michael", "hello", False)
    venkat.send(say("hi", "1"))
    server.settle()
    assert bytes(classic.sock.taken) == encode_frame(b"Venkat") + encode_frame(b"hi")


def test_announcement_comes_from_server() -> None:
    server = FakeServer()
    [venkat] = log_in(server, "Venkat")
    server.hub.announce("lunch")
    assert [(one["from"], one["body"]) for one in venkat.read()] == [("Server", "lunch")]


def test_message_that_cannot_be_stored_is_refused_and_can_be_resent() -> None:
    server = FakeServer()
    venkat, narayan = log_in(server, "Venkat", "Narayan")
    server.log.fail("disk full")
    venkat.send(say("one", "1"), whisper("Narayan", "psst", "2"))
    server.hub.broadcast_notice("goes on")
    assert [(one["code"], one["id"]) for one in venkat.read()] == [("not-stored", "1"), ("not-stored", "2")]
    assert narayan.read() == []
    assert ("log state", "", "disk full") in server.observer.seen
    server.log.fail(None)
    venkat.send(say("one", "1"))
    assert [(one["type"], one["id"], one["seq"]) for one in venkat.read()] == [("ack", "1", 1)]
    assert bodies(narayan.read()) == ["one"]
    assert ("log state", "", None) in server.observer.seen


# -- rooms -----------------------------------------------------------------------------------------------


def test_messages_of_a_room_go_to_its_members_only() -> None:
    server = FakeServer()
    venkat, narayan, michael = log_in(server, "Venkat", "Narayan", "Michael")
    for client in (venkat, narayan):
        client.send({"type": "join", "room": "#Engine"})
        assert client.read()[-1]["room"] == "Engine"
    venkat.send(say("in", "1", "engine"))
    assert [one["room"] for one in narayan.read()] == ["Engine"]
    assert michael.read() == []
    narayan.send({"type": "part", "room": "ENGINE"})
    assert [(one["type"], one["names"], one["total"]) for one in narayan.read()] == [("left", ["Narayan"], 1)]
    venkat.send(say("more", "2", "engine"))
    assert narayan.read() == []
    narayan.send(say("out", "1", "engine"))
    assert [(one["code"], one["id"]) for one in narayan.read()] == [("not-in-room", "1")]


def test_joined_and_left_are_sent_in_batches() -> None:
    server = FakeServer(roster=True)
    [venkat] = log_in(server, "Venkat")
    server.tick(2)
    venkat.read()
    others = log_in(server, "Narayan", "Michael")
    server.tick(2)
    events = venkat.read()
    assert {name for one in events for name in one["names"]} == {"Narayan", "Michael"}
    others[0].hang_up()
    log_in(server, "Narayan")
    server.tick(2)
    assert venkat.read() == [], "who is back at once was not away"
    others[1].hang_up()
    server.tick(2)
    assert venkat.read() == [{"type": "left", "room": "lobby", "names": ["Michael"], "total": 2}]


def test_topic_is_sent_to_members_and_listed() -> None:
    server = FakeServer()
    venkat, narayan = log_in(server, "Venkat", "Narayan")
    venkat.send({"type": "topic", "room": "lobby", "topic": "tea"})
    for client in (venkat, narayan):
        [topic] = client.read()
        assert (topic["type"], topic["topic"], topic["from"]) == ("topic", "tea", "Venkat")
    narayan.send({"type": "rooms"}, {"type": "users", "room": "lobby"})
    rooms, users = narayan.read()
    assert rooms["rooms"] == [{"room": "lobby", "members": 2, "topic": "tea", "seq": 0}]
    assert (users["names"], users["total"], users["topic"]) == (["Narayan", "Venkat"], 2, "tea")


def test_topic_is_one_line_without_control_characters() -> None:
    server = FakeServer()
    venkat, narayan = log_in(server, "Venkat", "Narayan")
    venkat.send({"type": "topic", "room": "lobby", "topic": "\x1b[2Jtea\n10:00 \u202eMichael > I quit\x07"})
    for client in (venkat, narayan):
        [topic] = client.read()
        assert topic["topic"] == "[2Jtea 10:00 Michael > I quit"
    assert server.hub.lobby.topic == "[2Jtea 10:00 Michael > I quit"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "@x",
        "a b",
        "/x",
        "x" * 33,
        "\u200b",
        "##",
        "[lobby]",
        "lobby>",
        "a:b",
        "-a",
        "l\u043ebby",
        "1obby",
    ],
)
def test_invalid_room_name_is_refused(name: str) -> None:
    server = FakeServer()
    [venkat] = log_in(server, "Venkat")
    venkat.send({"type": "join", "room": name})
    assert codes(venkat.read()) == ["bad-room"]


def test_list_of_rooms_comes_in_pages() -> None:
    server = FakeServer(person_rooms=1000, rooms_per_member=1000)
    [venkat] = log_in(server, "Venkat")
    names = [f"room{number:03}" for number in range(450)]
    for name in names:
        server.hub.join_room(server.hub.members()[0], name)
    pages = []
    for start in (None, 200, 400, 600):
        venkat.send({"type": "rooms", "start": start})
        [page] = [message for message in venkat.read() if message["type"] == "rooms"]
        assert (page["start"], page["total"]) == (start or 0, 451)
        pages.append([room["room"] for room in page["rooms"]])
    assert [len(page) for page in pages] == [200, 200, 51, 0]
    assert [name for page in pages for name in page] == ["lobby", *names]


def test_costly_requests_are_answered_in_order_within_the_limits() -> None:
    server = FakeServer(connection_work=0.001)
    [venkat] = log_in(server, "Venkat")
    requests = [{"type": kind, "room": "lobby"} for kind in ("users", "rooms")] * 500
    venkat.send(*requests, say("hi", "1"))
    answers = []
    while len(answers) < 1001:
        assert venkat.paused or len(answers) > 990
        server.tick(0.05)
        answers += venkat.read()
    assert kinds(answers) == ["users", "rooms"] * 500 + ["ack"]


def test_long_messages_of_many_take_turns_and_keep_their_order() -> None:
    server = FakeServer(frame_limit=65_536)
    names = [f"User{number}" for number in range(16)]
    clients = [client for name in names for client in log_in(server, name, client=f"{name:x<20}")]
    for client in clients:
        client.send(say("short", "0"), say("x" * 30_000, "1"), say("after", "2"))
    counts = []
    for _ in range(50):
        server.tick()
        stored = server.log.after("lobby", 0, 100, 10_000_000)
        counts.append(sum(len(message.body) > 100 for message in stored))
    assert counts[-1] == 16
    # The requests came before the first tick, so that it publishes the messages of two.
    assert counts[0] <= 8
    assert max(after - before for before, after in itertools.pairwise(counts)) <= 4
    for name in names:
        assert [message.id for message in stored if message.author == name] == ["0", "1", "2"]


def test_resumed_history_waits_for_the_work_limits() -> None:
    server = FakeServer(connection_work=0.0003)
    venkat, michael = log_in(server, "Venkat", "Michael")
    for number in range(3000):
        venkat.send(say(f"message {number}", f"{number}"))
        server.tick()
    michael.hang_up()
    again = server.connect()
    again.send(hello("Michael", resume={"log": server.log.id, "rooms": {"lobby": 0}}))
    received = again.read()
    assert len(received) < 2000  # the rest has to wait
    for _ in range(1000):
        server.tick(0.05)
        received += again.read()
    said = [message for message in received if message["type"] == "said"]
    assert [message["seq"] for message in said] == list(range(1, 3001))


def test_number_of_rooms_is_limited() -> None:
    server = FakeServer(rooms_per_member=2)
    [venkat] = log_in(server, "Venkat")
    venkat.send({"type": "join", "room": "a"}, {"type": "join", "room": "a"}, {"type": "join", "room": "b"})
    assert codes(venkat.read()) == ["too-many-rooms"]
    assert server.hub.rooms.list(0, 10)[1] == 2


def test_empty_room_without_history_is_removed() -> None:
    server = FakeServer()
    [venkat] = log_in(server, "Venkat")
    venkat.send({"type": "join", "room": "a"}, {"type": "part", "room": "a"}, {"type": "users", "room": "a"})
    assert codes(venkat.read()) == ["no-such-room"]


def test_history_can_be_paged_in_both_directions() -> None:
    server = FakeServer()
    venkat, _ = log_in(server, "Venkat", "Narayan")
    venkat.send(*(say(str(i), str(i)) for i in range(1, 11)))
    venkat.read()

    def history(**fields: int) -> tuple[list[int], bool]:
        venkat.send({"type": "history", "room": "lobby", **fields})
        [answer] = venkat.read()
        return [one["seq"] for one in answer["messages"]], answer["more"]

    assert history(limit=3) == ([8, 9, 10], True)
    assert history(limit=3, before=4) == ([1, 2, 3], False)
    assert history(limit=3, after=4) == ([5, 6, 7], True)
    assert history(limit=100, after=4) == ([5, 6, 7, 8, 9, 10], False)
    assert history(limit=100, after=10) == ([], False)


# -- names -----------------------------------------------------------------------------------------------


def test_name_belongs_to_its_first_client() -> None:
    server = FakeServer()
    [venkat] = log_in(server, "Venkat")
    venkat.hang_up()
    other = server.connect()
    other.send({**hello("VENKAT"), "client": "someone else's secret"}, hello("Server"), hello("Other"))
    messages = other.read()
    assert codes(messages) == ["name-taken", "name-taken"]
    assert messages[-1]["name"] == "Other"
    classic = Client(server)
    classic.session.data_received(encode_frame(b"Venkat"))
    assert {member.name for member in server.hub.members()} == {"Other", "Venkat_2"}


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("Venkat > I quit", "Venkat I quit"),
        ("Venkat (whispers)", "Venkat whispers"),
        ("* Venkat", "Venkat"),
        ("[lobby] Venkat", "lobby Venkat"),
        ("Table for two", "Table for two"),
    ],
)
def test_name_that_imitates_a_line_is_cleaned(name: str, cleaned: str) -> None:
    client = FakeServer().connect()
    client.send(hello(name))
    assert client.read()[0]["name"] == cleaned


@pytest.mark.parametrize(
    "name",
    [
        "Server:",
        "Server > restart at 5",
        "[Server]",
        "\ua731\u1d07\u0280\u1d20\u1d07\u0280",
        "5erver",
        "Server 2",
    ],
)
def test_name_that_imitates_the_server_is_refused(name: str) -> None:
    client = FakeServer().connect()
    client.send(hello(name))
    answer = client.read()[0]
    assert answer["code"] == "name-taken"


def test_confusable_name_is_refused_and_the_error_names_the_other() -> None:
    server = FakeServer()
    [michael] = log_in(server, "Michael")
    classic = Client(server)
    classic.session.data_received(encode_frame(b"paypal"))
    other = server.connect()
    other.send(hello("rnichael"), hello("PaypaI"), hello("\u0405erver"), hello("Venkat"))
    taken, present, reserved, welcome = other.read()
    assert codes([taken, present]) == ["name-taken", "name-taken"]
    assert taken["message"] == "the name rnichael looks too much like Michael, which belongs to someone else"
    assert present["message"] == "the name PaypaI looks too much like paypal, which belongs to someone else"
    assert reserved["code"] == "bad-name"
    assert welcome["name"] == "Venkat"
    michael.hang_up()
    again = server.connect()
    again.send(hello("rnichael"))
    assert codes(again.read()) == ["name-taken"], "its owner is only away"


def test_one_client_may_have_confusable_names() -> None:
    server = FakeServer()
    log_in(server, "mike")
    again = server.connect()
    again.send({**hello("rnike"), "client": hello("mike")["client"]})
    assert again.read()[0]["name"] == "rnike"
    assert {member.name for member in server.hub.members()} == {"mike", "rnike"}


def test_mixed_script_name_is_refused_with_the_reason() -> None:
    server = FakeServer()
    client = server.connect()
    client.send(hello("Mich\u0430el"), hello("\u041c\u0438\u0445\u0430\u0438\u043b"))
    refused, welcome = client.read()
    assert (refused["code"], welcome["name"]) == ("bad-name", "\u041c\u0438\u0445\u0430\u0438\u043b")
    assert refused["message"] == (
        "the name Mich\u0430el mixes Cyrillic and Latin letters and could be mistaken for another name"
    )


def test_owners_keep_confusable_names_from_an_older_history() -> None:
    """Owners keep mixed-script names and confusable names, but get no more confusable spelling."""
    log = RecordingLog()
    owners = {"Mich\u0430el": "a" * 22, "mike": "b" * 22, "rnike": "c" * 22, "ian": "d" * 22}
    for name, secret in owners.items():
        record = {"name": name, "owner": hash_client_secret(secret).hex(), "used": round(time.time())}
        log.put("name", name_key(name), json.dumps(record))
    server = FakeServer(log)
    clients = {}
    for name, secret in owners.items():
        clients[name] = server.connect()
        clients[name].send({**hello(name), "client": secret})
        assert clients[name].read()[0]["name"] == name
    clients["Mich\u0430el"].send(say("here", "1"))
    assert kinds(clients["mike"].read()) == ["said"]
    again = server.connect()
    again.send({**hello("mich\u0430el"), "client": "a" * 22})
    assert again.read()[0]["name"] == "mich\u0430el"
    clients["ian"].hang_up()
    classic = Client(server)
    classic.session.data_received(encode_frame(b"lan"))
    assert server.hub.find_member("lan") is not None
    again = server.connect()
    again.send({**hello("Ian"), "client": "d" * 22}, {**hello("ian"), "client": "d" * 22})
    refused, welcome = again.read()
    assert (refused["code"], welcome["name"]) == ("name-taken", "ian")


def test_newer_connection_replaces_the_older_one() -> None:
    server = FakeServer()
    [old] = log_in(server, "Venkat")
    [new] = log_in(server, "Venkat")
    assert old.read()[-1] == {"type": "bye", "reason": "replaced", "retry_after": None}
    assert [member.name for member in server.hub.members()] == ["Venkat"]
    new.send(say("here", "1"))
    assert kinds(new.read()) == ["ack"]


def test_direct_message_reaches_only_its_recipient() -> None:
    server = FakeServer()
    venkat, narayan, michael = log_in(server, "Venkat", "Narayan", "Michael")
    venkat.send(whisper("narayan", "psst", "1"))
    [ack] = venkat.read()
    assert (ack["type"], ack["to"], ack["seq"]) == ("ack", "Narayan", 1)
    [whispered] = narayan.read()
    assert (whispered["from"], whispered["to"], whispered["body"], whispered["seq"]) == (
        "Venkat",
        "Narayan",
        "psst",
        1,
    )
    assert michael.read() == []
    venkat.send(whisper("Nobody", "psst", "2"))
    assert [(one["code"], one["id"]) for one in venkat.read()] == [("no-such-name", "2")]


def test_direct_messages_are_resent_until_they_are_acknowledged() -> None:
    server = FakeServer()
    venkat, narayan = log_in(server, "Venkat", "Narayan")
    narayan.hang_up()
    venkat.send(
        whisper("Narayan", "one", "1"), whisper("Narayan", "two", "2"), whisper("Narayan", "two", "2")
    )
    assert kinds(venkat.read()) == ["ack", "ack"]
    for _ in range(2):
        narayan = server.connect()
        narayan.send(hello("Narayan"))
        welcome, *whispers = narayan.read()
        assert welcome["whispers"] == 2
        assert [(one["seq"], one["body"]) for one in whispers] == [(1, "one"), (2, "two")]
        narayan.hang_up()
    narayan = server.connect()
    narayan.send(hello("Narayan"), {"type": "ack", "whisper": 1})
    narayan.read()
    narayan.hang_up()
    narayan = server.connect()
    narayan.send(hello("Narayan"))
    assert [one.get("body") for one in narayan.read()] == [None, "two"]


def test_classic_client_gets_direct_messages() -> None:
    server = FakeServer()
    [venkat] = log_in(server, "Venkat")
    classic = Client(server)
    classic.session.data_received(encode_frame(b"Michael"))
    venkat.send(whisper("Michael", "psst", "1"))
    assert kinds(venkat.read()) == ["ack"]
    assert bytes(classic.sock.taken) == encode_frame(b"Venkat (whispers)") + encode_frame(b"psst")


# -- operators -------------------------------------------------------------------------------------------


def test_operator_sends_commands_as_direct_messages_to_server() -> None:
    server = FakeServer()
    venkat, narayan = log_in(server, "Venkat", "Narayan")
    server.commands.run("/op Venkat")
    venkat.send(whisper("Server", "/kick Narayan", "1"), whisper("Server", "/quit", "2"))
    assert kinds(venkat.read()) == ["ack", "ack", "whispered"]
    assert narayan.read()[-1] == {"type": "bye", "reason": "kicked", "retry_after": None}
    [narayan] = log_in(server, "Narayan")
    narayan.send(whisper("Server", "/kick Venkat", "1"))
    assert codes(narayan.read()) == ["not-operator"]


def test_removed_operator_loses_the_rights_at_once() -> None:
    server = FakeServer(operators=("Venkat",))
    [venkat] = log_in(server, "Venkat")
    [(_, code)] = server.hub.operators.unclaimed()
    venkat.send(
        whisper("Server", "/bans", "1"),
        whisper("Server", "/claim 0000-0000-0000-0000", "2"),
        whisper("Server", f" /CLAIM\u00a0{code} ", "3"),
        whisper("Server", "/bans", "4"),
    )
    error, *answers = venkat.read()
    assert error["code"] == "not-operator"
    assert kinds(answers) == ["ack", "whispered"] * 3
    assert answers[1]["body"].startswith("Not changed: this is no operator code")
    assert answers[3]["body"].startswith("You are an operator now")
    server.hub.reconfigure(Settings(roster=False))
    venkat.send(whisper("Server", "/users", "5"))
    assert codes(venkat.read()) == ["not-operator"]
    server.hub.reconfigure(Settings(roster=False, operators=("ＶＥＮＫＡＴ",)))
    venkat.send(whisper("Server", "/bans", "6"))
    assert kinds(venkat.read()) == ["ack", "whispered"]


def test_ban_covers_the_name_the_client_and_the_address() -> None:
    server = FakeServer()
    [narayan] = log_in(server, "Narayan")
    assert server.commands.run("/ban Narayan for 1h10m")[0].startswith("Banned Narayan until ")
    assert narayan.read()[-1]["reason"] == "banned"
    for name in ("Narayan", "Michael"):
        client = server.connect()
        client.send({**hello(name), "client": SECRETS["Narayan"]})
        assert [one.get("code", one.get("reason")) for one in client.read()] == ["banned", "banned"]
    assert server.commands.run("/unban narayan") == ["narayan is no longer banned."]
    log_in(server, "Narayan")


def test_refused_user_is_told_the_end_in_unix_time() -> None:
    server = FakeServer()
    narayan, michael = log_in(server, "Narayan", "Michael")
    begun = server.hub.time()
    server.commands.run("/mute Narayan for 10m")
    narayan.send(say("one", "1"), {"type": "topic", "room": "lobby", "topic": "x"})
    muted = narayan.read()
    assert [(one["code"], round(one["until"] - begun)) for one in muted] == [("muted", 600)] * 2
    server.commands.run("/ban Narayan for 2h")
    [bye] = narayan.read()
    assert (bye["reason"], round(bye["until"] - begun)) == ("banned", 7200)
    client = server.connect()
    client.send({**hello("Narayan"), "client": SECRETS["Narayan"]})
    assert [one["until"] for one in client.read()] == [bye["until"]] * 2
    server.commands.run("/mute Michael")
    michael.send(say("one", "1"))
    assert "until" not in michael.read()[0]


def test_muted_user_can_read_but_not_send() -> None:
    server = FakeServer()
    venkat, narayan = log_in(server, "Venkat", "Narayan")
    server.commands.run("/mute Narayan")
    narayan.send(
        say("one", "1"), whisper("Venkat", "x", "2"), {"type": "topic", "room": "lobby", "topic": "x"}
    )
    assert codes(narayan.read()) == ["muted"] * 3
    venkat.send(say("two", "1"))
    assert bodies(narayan.read()) == ["two"]
    server.commands.run("/unmute Narayan")
    narayan.send(say("three", "3"))
    assert bodies(venkat.read()) == ["three"]


# -- breaks ----------------------------------------------------------------------------------------------


def resume(server: FakeServer, **rooms: int) -> dict[str, Any]:
    return {"log": server.log.id, "rooms": rooms}


def test_resume_replays_missed_messages_before_new_ones() -> None:
    server = FakeServer()
    venkat, narayan = log_in(server, "Venkat", "Narayan")
    venkat.send(*(say(str(i), str(i)) for i in range(1, 1001)))
    server.settle()
    narayan.hang_up()
    narayan = server.connect()
    narayan.send(hello("Narayan", resume=resume(server, lobby=7)))
    venkat.send(say("live", "live"))
    messages = [one for one in narayan.read() if one["type"] == "said"]
    assert [one["seq"] for one in messages] == list(range(8, 1002))
    venkat.send(say("live too", "live2"))
    assert bodies(narayan.read()) == ["live too"]


def test_resume_of_another_log_replays_everything() -> None:
    server = FakeServer()
    [venkat] = log_in(server, "Venkat")
    venkat.send(say("one", "1"), say("two", "2"))
    venkat.read()
    narayan = server.connect()
    narayan.send(hello("Narayan", resume={"log": "older", "rooms": {"lobby": 500}}))
    assert bodies(narayan.read()) == ["one", "two"]


def test_resume_before_the_oldest_message_gets_a_gap() -> None:
    log = RecordingLog()
    server = FakeServer(log)
    [venkat] = log_in(server, "Venkat")
    for i in range(10):
        venkat.send(say(str(i), str(i)))
        venkat.read()
    log.expire_before("lobby", 8)
    narayan = server.connect()
    narayan.send(hello("Narayan", resume=resume(server, lobby=2)))
    _, gap, *messages = narayan.read()
    assert gap == {"type": "gap", "room": "lobby", "after": 2, "before": 8}
    assert [one["seq"] for one in messages] == [8, 9, 10]


class DamagedLog(RecordingLog):
    """A log that cannot read some messages of the lobby, or ``failures`` times nothing at all."""

    def __init__(self, *unreadable: int, failures: int = 0) -> None:
        super().__init__()
        self.unreadable = unreadable
        self.failures = failures

    def after(self, room: str, seq: int, limit: int, size: int) -> list[Said]:
        if self.failures:
            self.failures -= 1
            raise NotReadableError("the disk fails")
        found = super().after(room, seq, 1 << 30, 1 << 30)
        return [said for said in found if said.seq not in self.unreadable][:limit]


def test_resume_over_unreadable_messages_gets_a_gap_for_each_run_of_them() -> None:
    server = FakeServer(DamagedLog(1, 3, 4, 8))
    [venkat] = log_in(server, "Venkat")
    for i in range(1, 9):
        venkat.send(say(str(i), str(i)))
        venkat.read()
    narayan = server.connect()
    narayan.send(hello("Narayan", resume=resume(server, lobby=0)))
    _, *messages = narayan.read()
    shown = [one.get("seq") or (one["after"], one["before"]) for one in messages]
    assert shown == [(0, 2), 2, (2, 5), 5, 6, 7, (7, 9)]
    venkat.send(say("live", "live"))
    assert narayan.read()[-1]["seq"] == 9


def test_resume_from_a_log_that_fails_gets_one_error_and_then_the_messages() -> None:
    log = DamagedLog()
    server = FakeServer(log)
    [venkat] = log_in(server, "Venkat")
    venkat.send(say("missed", "1"))
    venkat.read()
    log.failures = 3
    narayan = server.connect()
    narayan.send(hello("Narayan", resume=resume(server, lobby=0)))
    got = narayan.read()
    for _ in range(5):
        server.tick(1.0)
        got += narayan.read()
    assert [one["type"] for one in got] == ["welcome", "error", "said"]
    assert (got[1]["code"], got[1]["room"]) == ("not-readable", "lobby")


def test_resume_joins_only_its_rooms() -> None:
    server = FakeServer()
    client = server.connect()
    client.send(hello("Narayan", resume=resume(server, engine=0)))
    assert [room["room"] for room in client.read()[0]["rooms"]] == ["engine"]


def test_lapped_reader_gets_a_gap_and_a_replay() -> None:
    server = FakeServer(feed_limit=20_000)
    venkat, narayan = log_in(server, "Venkat", "Narayan")
    expected = []
    narayan.sock.room = 5_003  # in the middle of a frame
    for i in range(600):
        venkat.send(say(f"{i} " + "x" * 90, str(i)))
        expected.append(f"{i} " + "x" * 90)
        server.tick()
    assert narayan.closed == []
    narayan.sock.room = None
    narayan.outbox.flush()
    messages = narayan.read()
    [gap] = [one for one in messages if one["type"] == "gap"]
    assert gap["before"] == gap["after"] + 1
    assert bodies(messages) == expected
    venkat.send(say("live", "live"))
    assert bodies(narayan.read()) == ["live"]


def test_reader_lapped_by_the_memory_limit_gets_a_replay() -> None:
    server = FakeServer()
    venkat, narayan = log_in(server, "Venkat", "Narayan")
    budget = MemoryLimit(20_000)
    expected = []
    narayan.sock.room = 5_003  # in the middle of a frame
    for i in range(600):
        venkat.send(say(f"{i} " + "x" * 90, str(i)))
        expected.append(f"{i} " + "x" * 90)
        server.tick()
        budget.enforce([narayan.outbox] if narayan.outbox.blocked else [])
    assert (venkat.closed, narayan.closed) == ([], [])
    narayan.sock.room = None
    narayan.outbox.flush()
    messages = narayan.read()
    assert "gap" in kinds(messages)
    assert all(one["before"] == one["after"] + 1 for one in messages if one["type"] == "gap")
    assert bodies(messages) == expected


def test_second_session_with_beside_keeps_the_first() -> None:
    server = FakeServer()
    [venkat] = log_in(server, "Venkat")
    beside = server.connect()
    beside.send(hello("Venkat", beside=True), say("from a script", "1"))
    assert [one["name"] for one in beside.read() if one["type"] == "welcome"] == ["Venkat_2"]
    assert [(one["from"], one["body"]) for one in venkat.read()] == [("Venkat_2", "from a script")]
    beside.hang_up()
    assert venkat.closed == []
    other = server.connect()
    other.send({**hello("Venkat_2"), "client": "someone else's secret"})
    assert kinds(other.read()) == ["welcome"], "the name had no owner"
    alone = server.connect()
    alone.send({**hello("Michael"), "beside": True})
    assert alone.read()[0]["name"] == "Michael"


def test_join_with_after_replays_missed_messages() -> None:
    server = FakeServer()
    venkat, narayan = log_in(server, "Venkat", "Narayan")
    for client in (venkat, narayan):
        client.send({"type": "join", "room": "deck"})
    venkat.send(*(say(str(i), str(i), "deck") for i in range(1, 1001)))
    server.settle()
    narayan.hang_up()
    narayan = server.connect()
    narayan.send(hello("Narayan", resume=resume(server)), {"type": "join", "room": "deck", "after": 7})
    venkat.send(say("live", "live", "deck"))
    welcome, users, *messages = [one for one in narayan.read() if one["type"] not in ("joined", "left")]
    assert (welcome["rooms"], users["type"], users["seq"]) == ([], "users", 1000)
    assert [one["seq"] for one in messages] == list(range(8, 1002))
    venkat.send(say("more", "more", "deck"))
    assert bodies(narayan.read()) == ["more"]


@pytest.mark.parametrize("after", [3, 4, 1000])
def test_join_with_after_at_the_last_seq_replays_nothing(after: int) -> None:
    server = FakeServer()
    [venkat] = log_in(server, "Venkat")
    venkat.send({"type": "join", "room": "deck"}, *(say(str(i), str(i), "deck") for i in range(3)))
    [narayan] = log_in(server, "Narayan")
    narayan.send({"type": "join", "room": "deck", "after": after})
    assert bodies(narayan.read()) == []
    venkat.send(say("more", "more", "deck"))
    assert bodies(narayan.read()) == ["more"]


def test_join_with_after_before_the_oldest_message_gets_a_gap() -> None:
    server = FakeServer()
    [venkat] = log_in(server, "Venkat")
    venkat.send({"type": "join", "room": "deck"}, *(say(str(i), str(i), "deck") for i in range(1, 11)))
    server.settle()
    server.log.expire_before("deck", 5)
    [narayan] = log_in(server, "Narayan")
    narayan.send({"type": "join", "room": "deck", "after": 2})
    _, gap, *messages = narayan.read()
    assert gap == {"type": "gap", "room": "deck", "after": 2, "before": 5}
    assert [one["seq"] for one in messages if one["type"] == "said"] == list(range(5, 11))


def test_join_with_after_in_a_joined_room_replays_nothing() -> None:
    server = FakeServer()
    venkat, narayan = log_in(server, "Venkat", "Narayan")
    venkat.send(say("one", "1"))
    assert bodies(narayan.read()) == ["one"]
    narayan.send({"type": "join", "room": "lobby", "after": 0})
    assert kinds(narayan.read()) == ["users"]
    venkat.send(say("two", "2"))
    assert bodies(narayan.read()) == ["two"]


def test_part_right_after_join_cancels_the_replay() -> None:
    server = FakeServer()
    [venkat] = log_in(server, "Venkat")
    venkat.send({"type": "join", "room": "deck"}, *(say(str(i), str(i), "deck") for i in range(3)))
    [narayan] = log_in(server, "Narayan")
    narayan.send({"type": "join", "room": "deck", "after": 0}, {"type": "part", "room": "deck"})
    assert kinds(narayan.read()) == ["users", "left"]


def test_client_in_100_rooms_with_long_names_resumes_all_of_them() -> None:
    """Uses `SelchatClient`, which joins after login the rooms that do not fit into its hello."""
    server = FakeServer()
    names = [f"{number:02}" + "ø" * 30 for number in range(99)]
    [venkat] = log_in(server, "Venkat")
    core = SelchatClient(ClientSettings(host="x", name="Narayan"), SECRETS["Narayan"])
    heard: list[tuple[str, int]] = []

    def talk(client: Client) -> None:
        while data := take_data(core):
            client.send(*FrameDecoder().receive_data(data))
            said = b"".join(encode_frame(json.dumps(one).encode()) for one in client.read())
            events = core.receive_data(said)
            heard.extend((event.room, event.seq) for event in events if isinstance(event, Message))

    for name in names:
        core.join(name)
        venkat.send({"type": "join", "room": name})
    for turn in range(3):
        client = server.connect()
        core.connection_made()
        talk(client)
        for name in names:
            core.say(f"own {turn}", name)
        talk(client)
        client.hang_up()
        core.connection_lost()
        for name in names:
            venkat.send(say("while he is away", f"{turn} {name[:2]}", name))
    client = server.connect()
    core.connection_made()
    talk(client)
    assert core.unacknowledged == 0
    assert len(core.rooms) == 100
    assert {room.state for room in core.rooms} == {RoomState.JOINED}
    for name in names:
        assert [seq for room, seq in heard if room == name] == [1, 2, 3, 4, 5, 6]


# -- pings -----------------------------------------------------------------------------------------------


PING_MESSAGE = {"type": "ping"}
TIMEOUT_BYE = {"type": "bye", "reason": "timeout", "retry_after": 0}


def wait(server: FakeServer, seconds: float) -> None:
    """Advance the clock in steps of a second."""
    for _ in range(round(seconds)):
        server.tick(1.0)


def test_silent_client_gets_a_ping_and_then_a_timeout() -> None:
    server = FakeServer()
    [venkat] = log_in(server, "Venkat")
    wait(server, 19)
    assert venkat.read() == []
    wait(server, 1)
    assert venkat.read() == [PING_MESSAGE]
    wait(server, 13)
    assert venkat.closed == []
    wait(server, 1)
    assert venkat.closed == ["ping timeout: no data for 34 s"]
    assert venkat.read() == [TIMEOUT_BYE]
    assert not server.hub.members()
    wait(server, 100)
    assert venkat.read() == []
    assert server.clock.pending == 0


def test_pong_or_any_other_data_prevents_the_ping_timeout() -> None:
    server = FakeServer()
    venkat, narayan, michael = log_in(server, "Venkat", "Narayan", "Michael")
    for _ in range(5):
        wait(server, 20)
        assert venkat.read() == [PING_MESSAGE]
        assert narayan.read() == [PING_MESSAGE]
        venkat.send({"type": "pong"})
        narayan.send(b"not even JSON")
        assert codes(narayan.read()) == ["bad-json"]
    assert (venkat.closed, narayan.closed) == ([], [])
    assert michael.closed == ["ping timeout: no data for 34 s"]


def test_bytes_of_an_incomplete_frame_prevent_the_ping_timeout() -> None:
    server = FakeServer(frame_seconds=100.0)
    [venkat] = log_in(server, "Venkat")
    for byte in venkat.encoded(b'{"type":"pong"}')[:14]:
        wait(server, 4)
        venkat.session.data_received(bytes([byte]))
    assert (venkat.read(), venkat.closed) == ([], [])


def test_client_with_unsent_data_gets_no_ping_and_no_timeout() -> None:
    server = FakeServer()
    venkat, narayan = log_in(server, "Venkat", "Narayan")
    venkat.sock.room = 0
    narayan.send(say("are you there?", "1"))
    for _ in range(20):
        wait(server, 10)
        narayan.send({"type": "pong"})
    assert venkat.closed == []
    venkat.sock.room = None
    venkat.outbox.flush()
    assert kinds(venkat.read()) == ["said"]
    wait(server, 20)
    assert venkat.read() == [PING_MESSAGE]
    wait(server, 14)
    assert venkat.read() == [TIMEOUT_BYE]


def test_ping_timeout_is_postponed_while_data_is_unsent() -> None:
    server = FakeServer()
    venkat, narayan = log_in(server, "Venkat", "Narayan")
    wait(server, 15)
    narayan.send({"type": "pong"})
    wait(server, 5)
    assert venkat.read() == [PING_MESSAGE]
    venkat.sock.room = 0
    narayan.send(say("are you there?", "1"))
    wait(server, 14)
    assert venkat.closed == []
    venkat.sock.room = None
    venkat.outbox.flush()
    assert kinds(venkat.read()) == ["said"]
    wait(server, 19)
    assert venkat.read() == []
    wait(server, 1)
    assert venkat.read() == [PING_MESSAGE]


def test_rate_limited_client_gets_no_ping_timeout() -> None:
    """The server does not read a client over its rate, so it cannot see the pong either."""
    server = FakeServer(message_rate=0.01, message_burst=1)
    [venkat] = log_in(server, "Venkat")
    venkat.send(*(say(str(i), str(i)) for i in range(3)))
    assert venkat.paused
    wait(server, 99)
    assert [one for one in kinds(venkat.read()) if one != "ping"] == ["ack"]
    assert venkat.closed == []
    wait(server, 102)
    assert (venkat.paused, venkat.closed) == (False, [])
    assert [one for one in kinds(venkat.read()) if one != "ping"] == ["ack", "ack"]
    wait(server, 32)
    assert venkat.closed == []
    wait(server, 1)
    assert venkat.closed == ["ping timeout: no data for 34 s"]


def test_ping_and_pong_times_come_from_the_settings() -> None:
    server = FakeServer(ping_seconds=3.0, web_ping_seconds=3.0, pong_seconds=2.0)
    [venkat] = log_in(server, "Venkat")
    wait(server, 3)
    assert venkat.read() == [PING_MESSAGE]
    wait(server, 2)
    assert venkat.closed == ["ping timeout: no data for 5 s"]


def test_no_ping_before_login() -> None:
    server = FakeServer(login_seconds=60.0)
    client = server.connect()
    client.send(hello(""))
    wait(server, 59)
    assert codes(client.read()) == ["bad-name"]
    assert client.closed == []


# -- a password ------------------------------------------------------------------------------------------


class FakeAuthenticator:
    """An authenticator whose results the test chooses."""

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
def authenticator() -> FakeAuthenticator:
    return FakeAuthenticator()


@pytest.fixture
def locked(authenticator: FakeAuthenticator) -> FakeServer:
    server = FakeServer()
    server.context = replace(server.context, authenticator=authenticator)  # type: ignore[arg-type]
    return server


def test_requests_wait_while_the_password_is_checked(
    locked: FakeServer, authenticator: FakeAuthenticator
) -> None:
    client = locked.connect()
    client.send(hello("Venkat", password="tea at four"), say("hi", "1"), {"type": "ping"})
    assert authenticator.asked == [("tea at four", client.address)]
    assert client.paused
    client.session.data_received(b"")  # as if read before the pause
    assert client.read() == []
    assert locked.hub.members() == []
    authenticator.answer()
    assert not client.paused
    assert [one["type"] for one in client.read()] == ["welcome", "pong", "ack"]


def test_wrong_password_gets_an_error_and_another_hello_may_follow(
    locked: FakeServer, authenticator: FakeAuthenticator
) -> None:
    client = locked.connect()
    client.send(hello("Venkat", password="tea"), hello("Venkat", password="tea at four"))
    authenticator.answer(WrongPasswordError())
    assert [password for password, _ in authenticator.asked] == ["tea", "tea at four"]
    assert [one["code"] for one in client.read()] == ["wrong-password"]
    assert client.paused
    authenticator.answer()
    assert client.read()[0]["type"] == "welcome"


def test_missing_password_and_lockout_are_refused_without_a_check(
    locked: FakeServer, authenticator: FakeAuthenticator
) -> None:
    client = locked.connect()
    authenticator.raises = PasswordNeededError()
    client.send(hello("Venkat"))
    authenticator.raises = TooManyAttemptsError(3.2)
    client.send(hello("Venkat", password="tea"))
    assert not client.paused
    authenticator.raises = None
    authenticator.is_known = True
    client.send(hello("Venkat", password="tea at four"))
    needed, tries, welcome = client.read()
    assert needed == {
        "type": "error",
        "code": "password-needed",
        "message": "this server requires a password",
    }
    assert (tries["code"], tries["retry_after"]) == ("too-many-tries", 4)
    assert welcome["type"] == "welcome"


def test_version_is_checked_before_the_password_and_the_name_after_it(
    locked: FakeServer, authenticator: FakeAuthenticator
) -> None:
    authenticator.is_known = True
    log_in(locked, "Michael")
    authenticator.is_known = False
    client = locked.connect()
    client.send({**hello("Michael", password="tea"), "version": 2, "client": "y" * 20})
    assert client.read()[0]["code"] == "version"
    client.send({**hello("Michael", password="tea"), "client": "y" * 20})
    assert client.read() == []
    authenticator.answer()
    assert client.read()[0]["code"] == "name-taken"
    assert not client.paused
    client.send(hello("Narayan", password="tea"))
    authenticator.answer(WrongPasswordError())
    assert client.read()[0]["code"] == "wrong-password"


@pytest.mark.parametrize("how", ["gone", "too late", "server stops"])
def test_end_of_the_connection_cancels_the_password_check(
    locked: FakeServer, authenticator: FakeAuthenticator, how: str
) -> None:
    client = locked.connect()
    client.send(hello("Venkat", password="tea at four"), say("hi", "1"))
    if how == "too late":
        locked.tick(locked.settings.login_seconds)
        assert client.closed == ["no username within 10 s"]
        assert client.read() == [{"type": "bye", "reason": "timeout", "retry_after": None}]
    else:
        client.close("server shut down")
    assert authenticator.cancelled == 1
    assert locked.hub.members() == []
    assert not locked.clock.pending


def test_frame_timeout_does_not_outlive_the_password_check(
    locked: FakeServer, authenticator: FakeAuthenticator
) -> None:
    client = locked.connect()
    whole = client.encoded(hello("Venkat", password="tea at four"))
    client.session.data_received(whole[:20])
    client.session.data_received(whole[20:])
    authenticator.answer()
    locked.tick(locked.settings.frame_seconds + 1)
    assert client.closed == []
    assert client.read()[0]["type"] == "welcome"


def test_classic_client_is_refused_by_a_server_with_a_password(
    locked: FakeServer, authenticator: FakeAuthenticator
) -> None:
    client = Client(locked)
    client.send(b"Venkat")
    locked.tick()
    assert client.closed == ["this server requires a password"]
    assert bytes(client.sock.taken).startswith(b"6         Server")
    assert bytes(client.sock.taken).endswith(b"Closing this connection: this server requires a password.")
    assert authenticator.asked == []


# -- before login ----------------------------------------------------------------------------------------


def test_client_is_closed_after_too_many_invalid_hellos() -> None:
    server = FakeServer(login_messages=3)
    client = server.connect()
    client.send(hello(""), *[{"type": "rooms"}] * 1000)
    assert [one.get("code", one.get("reason")) for one in client.read()] == [
        "bad-name",
        "not-hello",
        "not-hello",
        "protocol",
    ]
    assert client.closed == ["no valid hello among 3 messages"]


def test_last_allowed_message_may_be_a_valid_hello() -> None:
    server = FakeServer(login_messages=3)
    client = server.connect()
    client.send(hello(""), {"type": "rooms"}, hello("Venkat"), *[{"type": "ping"}] * 10)
    assert kinds(client.read()) == ["error", "error", "welcome", *["pong"] * 10]
