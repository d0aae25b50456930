"""Client side of the selchat protocol (docs/protocol.rst), without I/O.

A client outlives its connections. It keeps each message until the server acknowledges it, and sends it again
with the same id after a reconnect. It knows the last message that it got in each room. So it neither loses a
message nor passes one on twice. It does not know the time: `selchat.client.connection.link` has the socket
and the timers.

::

    client = SelchatClient(settings, secret)
    client.say("hello")              # queued until the welcome
    client.connection_made()
    client.data_sent(sock.send(client.data_to_send()))
    for event in client.receive_data(sock.recv(65536)): ...
    client.connection_lost()         # and again from connection_made

Each call can add to `SelchatClient.data_to_send`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from enum import Enum, auto
from typing import Any, NamedTuple

from selchat.client.events import Bye, ClientEvent, Refused, Rooms, Users, Welcomed
from selchat.client.protocol.encryption import CAESAR, BodyCodec, EncryptedCodec, PlainCodec, RoomKeys
from selchat.client.protocol.fields import (
    Fields,
    FrameEncoder,
    NoSaltError,
    get_int,
    get_local_time,
    get_names,
    get_objects,
    get_optional_seconds,
    get_optional_text,
    get_room_summary,
    get_salt,
    get_seconds,
    get_text,
    replace_surrogates,
)
from selchat.client.protocol.interface import UnsentMessage
from selchat.client.protocol.messages import IncomingMessages, OutgoingMessages
from selchat.client.protocol.outbox import QueueFullError
from selchat.client.protocol.requests import ClientRequest, SentRequests
from selchat.client.protocol.rooms import JoinedRooms, Room, RoomMap, RoomState, UsersReason, clean_room_name
from selchat.config.settings import ClientSettings
from selchat.errors import LimitError, SelchatError
from selchat.events import LOBBY, Joined, Left, Topic
from selchat.limits import (
    FIELD_TEXT_LENGTH,
    HELLO_LIMIT,
    MAX_BARE_RESUME,
    MAX_EARLY_REQUESTS,
    MAX_HELD_KEYLESS_SIZE,
    TOKEN_LENGTH,
)
from selchat.text import name_key
from selchat.wire.frames import FrameDecoder
from selchat.wire.requests import VERSION, BadMessageError, parse_message
from selchat.wire.strict_json import BadJsonError

__all__ = ["CAESAR", "ClientState", "Limits", "QueueFullError", "SelchatClient"]

_IMMEDIATE = frozenset({"ping", "bye"})  # types that never wait for a key


class HeldTooMuchError(LimitError):
    template = "more than {limit} bytes arrived while the client derived a key from the passphrase"


class ClientState(Enum):
    """The state of a client's session.

    ========  ==========================================  ====================================================
    state     means                                       next
    ========  ==========================================  ====================================================
    OFFLINE   no connection                               GREETING by `SelchatClient.connection_made`
    GREETING  the client sent hello                       WELCOMED; PROVING by `SelchatClient.send_password`
    PROVING   the client sent hello with the password     WELCOMED
    WELCOMED  logged in                                   LEAVING by `SelchatClient.bye`
    LEAVING   the client sent bye, and still receives     (the server closes)
    BROKEN    the server does not speak this protocol     (``error`` says why)
    ========  ==========================================  ====================================================

    `SelchatClient.connection_lost` leads from each of them to OFFLINE.
    """

    OFFLINE = auto()
    GREETING = auto()
    PROVING = auto()
    WELCOMED = auto()
    LEAVING = auto()
    BROKEN = auto()


_LOGGING_IN = frozenset({ClientState.GREETING, ClientState.PROVING})


class Limits(NamedTuple):
    """Those limits of the server that a client needs: ``frame`` in bytes, ``topic`` in characters."""

    frame: int = 65536
    unacknowledged: int = 64
    history: int = 1000
    topic: int = 256


class SelchatClient:
    """One user, on any number of connections, one after the other.

    ``secret`` makes the name the user's own (`selchat.client.connection.secret`). ``members``: whether to
    request the members of each room, to know them before they join or leave. With a passphrase, the client
    calls ``request_key(salt)`` for each key that it needs, and `add_key` answers; messages that need the key
    wait for it. Raises `SettingError` for a bad key, and `FrameTooLongError` for a name that is too long.

    ``server`` is the name of the server's software, ``limits`` are its limits. ``error`` is the reason why
    the connection is broken, if it is.
    """

    unsent_word = "not acknowledged"
    gap_seconds = 0.0

    def __init__(
        self,
        settings: ClientSettings,
        secret: str,
        *,
        members: bool = False,
        request_key: Callable[[bytes], object] = lambda _salt: None,
    ) -> None:
        self.state = ClientState.OFFLINE
        self.server = ""
        self.limits = Limits()
        self._error: SelchatError | None = None
        self._settings = settings
        self._secret = secret
        self._keeps_members = members
        self._decoder = FrameDecoder(settings.header_length, settings.read_limit)
        self._encoder = FrameEncoder(settings)
        self._joined = JoinedRooms()
        self._keys = RoomKeys(request_key) if settings.passphrase else None
        codec: BodyCodec = PlainCodec(settings)
        if self._keys is not None:
            codec = EncryptedCodec(self._keys, self._joined.rooms)
        self._outgoing = OutgoingMessages(settings, codec, self._encoder)
        name = replace_surrogates(settings.name)
        self._incoming = IncomingMessages(name, self._joined.rooms, self._outgoing, codec)
        self._out = bytearray()
        self._sending = memoryview(b"")  # the next bytes to send, before _out
        self._events: list[ClientEvent] = []
        self._held: deque[tuple[Fields, int]] = deque()  # messages that wait for a key, with their sizes
        self._held_size = 0
        self._requests: list[ClientRequest] = []  # to send after the welcome
        self._sent = SentRequests()
        self._log: str | None = None  # the server's; None before the first welcome
        self._confirmed = 0  # the largest seq of a direct message that this connection confirmed
        # Encode a hello now, to reject a name that is too long before the first connection.
        self._encoder.encode(
            self._greeting(replace_surrogates(settings.password)), HELLO_LIMIT - MAX_BARE_RESUME
        )

    # -- state -----------------------------------------------------------------------------------------

    @property
    def error(self) -> SelchatError | None:
        return self._error

    @property
    def last_words(self) -> str | None:
        return None  # `Bye` says it

    @property
    def name(self) -> str:
        """The user's name, as the server has cleaned it."""
        return self._incoming.name

    @property
    def rooms(self) -> RoomMap:
        """The rooms that the user is in or has asked to join."""
        return self._joined.rooms

    @property
    def room_names(self) -> tuple[str, ...]:
        return tuple(room.name for room in self.rooms if room.is_active)

    def room(self, name: str) -> Room | None:
        return self.rooms.get(name)

    @property
    def unacknowledged(self) -> int:
        """The number of messages that the server has neither acknowledged nor refused."""
        return len(self._outgoing.outbox)

    @property
    def unanswered(self) -> int:
        return self._sent.tagged + sum(request.tag is not None for request in self._requests)

    @property
    def queued(self) -> int:
        """The size of these messages in bytes."""
        return self._outgoing.outbox.size

    @property
    def wants_retry(self) -> bool:
        return self._outgoing.wants_retry

    @property
    def names(self) -> tuple[str, ...]:
        """The known members of all rooms."""
        return tuple(dict.fromkeys(name for room in self.rooms for name in room.members))

    # -- connections -----------------------------------------------------------------------------------

    def connection_made(self) -> None:
        """Send hello on a new connection."""
        self.state = ClientState.GREETING
        self._error = None
        self._decoder = FrameDecoder(self._settings.header_length, self._settings.read_limit)
        hello, resumed = self._hello()
        self._out = bytearray(hello)
        self._sending = memoryview(b"")
        self._joined.connection_made(resumed)

    def set_password(self, password: str) -> None:
        """Send this password from now on, when the server asks for one."""
        self._settings = replace(self._settings, password=password)

    def send_password(self) -> bool:
        """Send hello again, with the password; return False without a password, or after the first time."""
        if self.state is not ClientState.GREETING or not self._settings.password:
            return False
        self.state = ClientState.PROVING
        hello, resumed = self._hello(replace_surrogates(self._settings.password))
        self._out += hello
        self._joined.connection_made(resumed)
        return True

    def connection_lost(self) -> None:
        """Keep the messages to send again; forget the state of the connection."""
        self.state = ClientState.OFFLINE
        self._out.clear()
        self._sending = memoryview(b"")
        self._held.clear()
        self._held_size = 0
        self._confirmed = 0
        self._outgoing.connection_lost()
        self._events += self._joined.connection_lost()
        self._requests[:0] = self._sent.take_tagged()

    def receive_data(self, data: bytes) -> list[ClientEvent]:
        """Handle received bytes and return their events.

        No data raises an exception: an impossible message sets ``error``, and the caller must close then.
        """
        events = self.events()
        if self.state in {ClientState.OFFLINE, ClientState.BROKEN}:
            return events
        for payload in self._decoder.receive_data(data):
            try:
                self._receive(parse_message(payload), len(payload), events)
            except (BadJsonError, BadMessageError, NoSaltError, HeldTooMuchError) as error:
                self._fail(error)
                return events
        if self._decoder.error is not None:
            self._fail(self._decoder.error)
        self._confirm()
        return events

    def add_key(self, salt: bytes, key: bytes) -> None:
        """Add a requested key, and handle the messages that waited for it; `events` returns their events."""
        if self._keys is None:
            return
        self._keys.add_key(salt, key)
        held, self._held, self._held_size = self._held, deque(), 0
        for fields, size in held:
            try:
                self._receive(fields, size, self._events)
            except (BadMessageError, NoSaltError) as error:
                self._fail(error)
                return
        self._confirm()

    def receive_eof(self) -> None:
        """Record that the server closed its side; inside a frame that is an ``error``."""
        self._decoder.receive_eof()
        if self._decoder.error is not None and self._error is None:
            self._fail(self._decoder.error)

    def data_to_send(self) -> memoryview:
        """Return the next bytes to send; there may be more after `data_sent`."""
        if not self._sending:
            self._fill()
            self._sending = memoryview(bytes(self._out))
            self._out.clear()
        return self._sending

    def data_sent(self, size: int) -> None:
        self._sending = self._sending[size:]

    def events(self) -> list[ClientEvent]:
        events, self._events = self._events, []
        return events

    def take_unsent(self) -> list[UnsentMessage]:
        return [UnsentMessage(one.room, one.to, one.body) for one in self._outgoing.outbox.clear()]

    # -- requests --------------------------------------------------------------------------------------

    def say(self, body: str, room: str = LOBBY) -> str:
        """Queue a message to a room and return its id, which a later `Acked` or `Refused` carries.

        Raises `FrameTooLongError` and `QueueFullError`.
        """
        return self._outgoing.send(body, room=clean_room_name(room))

    def whisper(self, to: str, body: str) -> str:
        """Queue a direct message; otherwise like `say`. For `Server`, it is a command for the console."""
        return self._outgoing.send(body, to=to)

    def join(self, room: str) -> None:
        """Join a room, now and after each reconnect; the reply is `Users` with ``joined``, or `Refused`.

        Raises `QueueFullError` and, as all requests about rooms do, `BadRoomError`.
        """
        room = clean_room_name(room)
        self._joined.join(room)
        if self.state is ClientState.WELCOMED:
            self._fill()  # the user sent those messages earlier
            self._request(ClientRequest({"type": "join", "room": room}, UsersReason.JOIN))

    def part(self, room: str) -> None:
        """Leave a room; the reply is `Parted`. The server may refuse messages to the room that still wait."""
        room = clean_room_name(room)
        if self.state is ClientState.WELCOMED:
            self._joined.part(room)
            self._fill()
            self._request(ClientRequest({"type": "part", "room": room}))
        else:
            self._events += self._joined.part_offline(room)

    def set_topic(self, room: str, topic: str) -> None:
        """Set a room's topic; the reply is `Topic`, or `Refused`."""
        fields = {"type": "topic", "room": clean_room_name(room), "topic": replace_surrogates(topic)}
        self._request_or_keep(ClientRequest(fields))

    def get_history(
        self,
        room: str,
        limit: int = 50,
        *,
        before: int | None = None,
        after: int | None = None,
        tag: object = None,
    ) -> None:
        """Request the newest ``limit`` messages, those below ``before``, or the oldest above ``after``.

        The reply is `History` or `Refused`, with this ``tag``.
        """
        fields: Fields = {"type": "history", "room": clean_room_name(room)}
        if before is not None:
            fields["before"] = before
        if after is not None:
            fields["after"] = after
        fields["limit"] = max(1, min(limit, self.limits.history))
        self._request_or_keep(ClientRequest(fields, tag=tag))

    def get_users(self, room: str = LOBBY, *, tag: object = None) -> None:
        """Request the members of a room; the reply is `Users`, or `Refused`."""
        fields = {"type": "users", "room": clean_room_name(room)}
        self._request_or_keep(ClientRequest(fields, UsersReason.LIST, tag))

    def get_rooms(self, *, tag: object = None) -> None:
        """Request the list of rooms; the reply is `Rooms`."""
        self._request_or_keep(ClientRequest({"type": "rooms"}, tag=tag))

    def ping(self) -> None:
        if self.state is not ClientState.OFFLINE:
            self._put({"type": "ping"})

    def retry(self) -> None:
        self._outgoing.retry()

    def bye(self) -> bool:
        """Log out: the server replies with `Bye` and closes."""
        if self.state is ClientState.WELCOMED:
            self._fill()
            self._put({"type": "bye"})
            self.state = ClientState.LEAVING
        return True

    # -- to the server ---------------------------------------------------------------------------------

    def _hello(self, password: str = "") -> tuple[bytes, dict[str, int]]:
        """Return the frame, and the rooms that it resumes: as many as fit."""
        fields = self._greeting(password)
        rooms: dict[str, int] = {}
        if self._log is not None:
            fields["resume"] = {"log": self._log, "rooms": rooms}
            left = min(HELLO_LIMIT, self.limits.frame) - self._encoder.payload_size(fields)
            left += 1  # no comma before the first
            for name, seq in self._joined.positions().items():
                left -= self._encoder.payload_size({name: seq}) - 1  # a comma, and no braces
                if left < 0:
                    break
                rooms[name] = seq
        return self._encoder.encode(fields, HELLO_LIMIT), rooms

    def _greeting(self, password: str = "") -> Fields:
        """Return the fields of a hello without a resume."""
        fields: Fields = {
            "type": "hello",
            "version": VERSION,
            "name": replace_surrogates(self._settings.name),
            "client": self._secret,
        }
        if self._settings.alongside:
            fields["beside"] = True
        if password:
            fields["password"] = password
        return fields

    def _request_or_keep(self, request: ClientRequest) -> None:
        if self.state is ClientState.WELCOMED:
            self._fill()
            self._request(request)
        elif len(self._requests) < MAX_EARLY_REQUESTS:
            self._requests.append(request)
        else:
            raise QueueFullError(MAX_EARLY_REQUESTS)

    def _request(self, request: ClientRequest) -> None:
        if request.reason is not None:
            self._joined.expected.append((request.reason, request.fields["room"]))
        self._sent.add(request)
        self._put(request.fields)

    def _refresh(self, room: Room) -> None:
        """Request the members of a room, to update the remembered ones."""
        is_expected = (UsersReason.REFRESH, room.name) in self._joined.expected
        if self._keeps_members and not is_expected and self.state is ClientState.WELCOMED:
            self._request(ClientRequest({"type": "users", "room": room.name}, UsersReason.REFRESH))

    def _fill(self) -> None:
        """Encode queued messages, as far as the window allows."""
        if self.state is ClientState.WELCOMED:
            self._events += self._outgoing.fill(
                self._out, self.name, window=self.limits.unacknowledged, frame_limit=self.limits.frame
            )

    def _confirm(self) -> None:
        if self._incoming.last_direct > self._confirmed and self.state is ClientState.WELCOMED:
            self._put({"type": "ack", "whisper": self._incoming.last_direct})
            self._confirmed = self._incoming.last_direct

    def _put(self, fields: Fields) -> None:
        self._out += self._encoder.encode(fields)

    # -- from the server -------------------------------------------------------------------------------

    def _receive(self, fields: Fields, size: int, events: list[ClientEvent]) -> None:
        """Handle a message; hold it and all after it while it waits for a key."""
        kind = fields["type"]
        if self.state in _LOGGING_IN and kind not in {"welcome", "error", "bye", "ping"}:
            return
        if kind not in _IMMEDIATE and (self._held or self._incoming.awaits_key(fields)):
            self._held_size += size
            if self._held_size > MAX_HELD_KEYLESS_SIZE:
                raise HeldTooMuchError(MAX_HELD_KEYLESS_SIZE)
            self._held.append((fields, size))
            return
        handle = _HANDLERS.get(kind)
        if handle is not None:
            events += handle(self, fields)

    def _on_welcome(self, fields: Fields) -> list[ClientEvent]:
        if self.state not in _LOGGING_IN:
            return []
        name, log = get_text(fields, "name"), get_text(fields, "log")
        server, whispers = get_text(fields, "server"), get_int(fields, "whispers")
        summaries = [get_room_summary(room) for room in get_objects(fields, "rooms")]
        self._set_salts(fields)
        again, renumbered = self._log is not None, self._log not in {None, log}
        self.state = ClientState.WELCOMED
        self.server, self.limits, self._log = server, _limits(fields.get("limits")), log
        self._incoming.name = name
        events: list[ClientEvent] = []
        if renumbered:
            self._incoming.last_direct = 0
            events += self._joined.reset_numbers()
        rooms, to_part = self._joined.split(summaries)
        for room in to_part:
            self._request(ClientRequest({"type": "part", "room": room}))
        if self._keys is not None and (renumbered or self._joined.is_behind(rooms)):
            self._keys.reset_numbers()
        events += self._joined.rewind(rooms)
        events.append(Welcomed(name, server, rooms, whispers, again, renumbered))
        events += self._joined.update(rooms)
        self._send_requests()
        return events

    def _set_salts(self, welcome: Fields) -> None:
        if self._keys is not None:
            self._keys.set_direct_salt(get_salt(welcome))
            for room in welcome["rooms"]:
                self._keys.set_room_salt(room["room"], get_salt(room))

    def _send_requests(self) -> None:
        """Send the requests that waited for the welcome."""
        for room in self.rooms:
            if room.state is RoomState.JOINING:
                self._request(ClientRequest({"type": "join", "room": room.name}, UsersReason.JOIN))
            elif room.state is RoomState.RESUMING:
                fields: Fields = {"type": "join", "room": room.name, "after": room.seq}
                self._request(ClientRequest(fields, UsersReason.RESUME))
            else:
                self._refresh(room)
        requests, self._requests = self._requests, []
        for request in requests:
            self._request(request)

    def _on_said(self, fields: Fields) -> list[ClientEvent]:
        return self._incoming.on_said(fields)

    def _on_whispered(self, fields: Fields) -> list[ClientEvent]:
        return self._incoming.on_whispered(fields)

    def _on_ack(self, fields: Fields) -> list[ClientEvent]:
        return self._incoming.on_ack(fields)

    def _on_history(self, fields: Fields) -> list[ClientEvent]:
        room = get_text(fields, "room")
        return self._incoming.on_history(room, fields, self._sent.answer({"history"}, room))

    def _on_gap(self, fields: Fields) -> list[ClientEvent]:
        after, before = get_int(fields, "after"), get_int(fields, "before")
        room = self.rooms.get(get_text(fields, "room"))
        if room is None or room.state is RoomState.JOINING:
            return []
        self._refresh(room)
        return self._incoming.on_gap(room, after, before)

    def _on_error(self, fields: Fields) -> list[ClientEvent]:
        refused = Refused(
            get_text(fields, "code"),
            _with_local_end(get_text(fields, "message", FIELD_TEXT_LENGTH), get_local_time(fields, "until")),
            get_optional_text(fields, "id"),
            get_optional_text(fields, "room"),
            get_optional_text(fields, "to"),
            retry_after=get_optional_seconds(fields, "retry_after") or 0.0,
        )
        if not refused.id and not refused.to:
            request = self._sent.refuse(refused.code, refused.room)
            if request is not None:
                refused = refused._replace(request=request.kind, tag=request.tag)
        events = self._incoming.on_refused(refused)
        if refused.room:
            events += self._joined.on_error(refused.code, refused.room, about_message=bool(refused.id))
        return events

    def _on_joined(self, fields: Fields) -> list[ClientEvent]:
        return self._joined.on_joined(Joined(*_change(fields)), self.name)

    def _on_left(self, fields: Fields) -> list[ClientEvent]:
        left = Left(*_change(fields))
        if name_key(self.name) in map(name_key, left.names):
            self._sent.answer({"part"}, left.room)
        return self._joined.on_left(left, self.name)

    def _on_topic(self, fields: Fields) -> list[ClientEvent]:
        topic = Topic(
            get_text(fields, "room"),
            get_text(fields, "topic", FIELD_TEXT_LENGTH),
            get_text(fields, "from"),
            get_seconds(fields, "at"),
        )
        if name_key(topic.author) == name_key(self.name):
            self._sent.answer({"topic"}, topic.room)
        return self._joined.on_topic(topic)

    def _on_users(self, fields: Fields) -> list[ClientEvent]:
        topic, seq = get_text(fields, "topic", FIELD_TEXT_LENGTH), get_int(fields, "seq")
        users = Users(*_change(fields), topic, seq, joined=False)
        self._sent.answer({"users", "join"}, users.room)
        if self._keys is not None:
            self._keys.set_room_salt(users.room, get_salt(fields))
        return self._joined.on_users(users)

    def _on_rooms(self, fields: Fields) -> list[ClientEvent]:
        rooms = tuple(map(get_room_summary, get_objects(fields, "rooms")))
        return [Rooms(rooms, get_int(fields, "total"), self._sent.answer({"rooms"}))]

    def _on_ping(self, fields: Fields) -> list[ClientEvent]:
        token = get_optional_text(fields, "token", TOKEN_LENGTH)
        if (
            self.state is not ClientState.LEAVING
        ):  # unread data can reset the connection before the server reads bye
            self._put({"type": "pong", **({"token": token} if token else {})})
        return []

    def _on_bye(self, fields: Fields) -> list[ClientEvent]:
        retry_after = get_optional_seconds(fields, "retry_after")
        return [Bye(get_text(fields, "reason"), retry_after, get_local_time(fields, "until"))]

    def _fail(self, error: SelchatError) -> None:
        self._error = error
        self.state = ClientState.BROKEN


_HANDLERS: dict[str, Callable[[SelchatClient, Fields], list[ClientEvent]]] = {
    "welcome": SelchatClient._on_welcome,
    "said": SelchatClient._on_said,
    "whispered": SelchatClient._on_whispered,
    "ack": SelchatClient._on_ack,
    "error": SelchatClient._on_error,
    "joined": SelchatClient._on_joined,
    "left": SelchatClient._on_left,
    "topic": SelchatClient._on_topic,
    "users": SelchatClient._on_users,
    "rooms": SelchatClient._on_rooms,
    "history": SelchatClient._on_history,
    "gap": SelchatClient._on_gap,
    "ping": SelchatClient._on_ping,
    "bye": SelchatClient._on_bye,
}


def _with_local_end(text: str, end: str) -> str:
    """Return a refusal's text with the end of the ban or mute in local time; the server's may be another."""
    return f"{text.rpartition(' until ')[0]} until {end}" if end and " until " in text else text


def _change(fields: Fields) -> tuple[str, tuple[str, ...], int]:
    """Return room, names and total of ``users``, ``joined`` or ``left``."""
    return get_text(fields, "room"), get_names(fields), get_int(fields, "total")


def _limits(value: Any) -> Limits:
    """Return the limits of a welcome, with defaults for missing and senseless ones."""
    fields = value if type(value) is dict else {}
    defaults = Limits()
    return Limits(
        *(
            limit if type(limit := fields.get(name)) is int and limit > 0 else getattr(defaults, name)
            for name in Limits._fields
        )
    )
