"""A client on the selchat protocol (docs/protocol.rst), without I/O: calls to bytes, and bytes to events.

One of these outlives any connection. It keeps what was said until the server has acknowledged it, says it
again after a break with the same id, knows in each room how far it has heard, and so neither loses a message
nor hands one on twice. It must not know where the bytes go, what time it is, or how anything is shown: who
drives it has the socket and the timers (`selchat.client.connection.link`).

::

    client = SelchatClient(settings, secret)
    client.say("hello")              # kept, and sent when there is a welcome
    client.connection_made()
    sock.sendall(client.data_to_send())
    for event in client.receive_data(sock.recv(65536)): ...
    client.connection_lost()         # and again from connection_made

After each call there may be something in `SelchatClient.data_to_send`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, NamedTuple

from selchat.client.events import Bye, Event, Refused, Rooms, Users, Welcomed
from selchat.client.protocol import reading
from selchat.client.protocol.bodies import CAESAR, Bodies, OpenBodies, SealedBodies
from selchat.client.protocol.hearing import Hearing
from selchat.client.protocol.membership import Asked, Membership, room_name
from selchat.client.protocol.outgoing import Outgoing, QueueFullError
from selchat.client.protocol.reading import Fields, NoSaltError
from selchat.client.protocol.rooms import Presence, Room, RoomBook
from selchat.client.protocol.saying import Saying
from selchat.client.protocol.vault import Vault
from selchat.client.protocol.writing import Writer, scalar_values
from selchat.config.settings import MIB, ClientSettings
from selchat.errors import LimitError, SelchatError
from selchat.events import LOBBY, Joined, Left, Topic
from selchat.wire.frames import FrameDecoder
from selchat.wire.requests import (
    HELLO_LIMIT,
    TOKEN_LENGTH,
    VERSION,
    BadMessageError,
    parse_message,
)
from selchat.wire.strict_json import BadJsonError

__all__ = ["CAESAR", "ClientState", "Limits", "QueueFullError", "SelchatClient"]

_RESUME_MOST = 1600  # bytes of a resume without rooms, whatever the server has called its log
_MAX_QUESTIONS = 100  # asked while there is no welcome
_MAX_HELD = 16 * MIB  # bytes that came while a key was awaited
_AT_ONCE = frozenset({"ping", "bye"})  # what does not wait for a key


class HeldTooMuchError(LimitError):
    template = "more than {limit} bytes came while a key was derived from the passphrase"


class ClientState(Enum):
    """Where a client is with its server.

    ========  ==========================================  ====================================================
    state     means                                       next
    ========  ==========================================  ====================================================
    OFFLINE   no connection                               GREETING by `SelchatClient.connection_made`
    GREETING  hello is said, and not yet answered         WELCOMED; PROVING by `SelchatClient.tell_password`
    PROVING   hello is said again, with the password      WELCOMED
    WELCOMED  everything goes                             LEAVING by `SelchatClient.bye`
    LEAVING   bye is said; what still comes is taken      (the server closes)
    BROKEN    the server does not speak this protocol     (``error`` says why)
    ========  ==========================================  ====================================================

    From each of them `SelchatClient.connection_lost` leads to OFFLINE.
    """

    OFFLINE = auto()
    GREETING = auto()
    PROVING = auto()
    WELCOMED = auto()
    LEAVING = auto()
    BROKEN = auto()


_OUTSIDE = frozenset({ClientState.GREETING, ClientState.PROVING})


class Limits(NamedTuple):
    """The server's limits, as far as a client needs them: ``frame`` in bytes, the others as named there."""

    frame: int = 65536
    unacknowledged: int = 64
    history: int = 1000
    topic: int = 256


class SelchatClient:
    """One user, on any number of connections, one after the other.

    ``secret`` is what makes the name one's own (`selchat.client.connection.secret`). ``members``: whether to ask who
    is in each room, to know them before they come or go. With a passphrase, ``want(salt)`` is called for each
    key that is needed, and `take_key` brings it; what cannot be read or said without it waits. Raises
    `SettingError` for a key that is none and `FrameTooLongError` for a name that is too long.

    ``name`` is as the server has cleaned it, ``server`` what it calls itself, ``limits`` are its own;
    ``rooms`` are those that one is in or has asked for. ``error`` is what broke the connection, if it broke.
    """

    def __init__(
        self,
        settings: ClientSettings,
        secret: str,
        *,
        members: bool = False,
        want: Callable[[bytes], object] = lambda _salt: None,
    ) -> None:
        self.state = ClientState.OFFLINE
        self.server = ""
        self.limits = Limits()
        self.error: SelchatError | None = None
        self._settings = settings
        self._secret = secret
        self._keeps_members = members
        self._decoder = FrameDecoder(settings.header_length, settings.read_limit)
        self._writer = Writer(settings)
        self._membership = Membership()
        self._vault = Vault(want) if settings.passphrase else None
        bodies: Bodies = OpenBodies(settings)
        if self._vault is not None:
            bodies = SealedBodies(self._vault, self._membership.rooms)
        self._saying = Saying(settings, bodies, self._writer)
        self._hearing = Hearing(scalar_values(settings.name), self._membership.rooms, self._saying, bodies)
        self._out = bytearray()
        self._untold: list[Event] = []  # for the next who asks
        self._held: deque[tuple[Fields, int]] = deque()  # what waits for a key, each with its size
        self._held_size = 0
        self._questions: list[tuple[Asked | None, Fields]] = []  # to be asked after the welcome
        self._log: str | None = None  # None: never welcomed
        self._confirmed = 0  # the largest seq of a whisper that was confirmed on this connection
        # Now, so that a name that is too long is met before the first connection.
        self._writer.frame(self._greeting(scalar_values(settings.password)), HELLO_LIMIT - _RESUME_MOST)

    # -- what is known ---------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The user's name, as the server has cleaned it."""
        return self._hearing.name

    @property
    def rooms(self) -> RoomBook:
        """The rooms that one is in or has asked for."""
        return self._membership.rooms

    @property
    def unacknowledged(self) -> int:
        """How many messages were said and are neither acknowledged nor refused."""
        return len(self._saying.outbound)

    @property
    def queued(self) -> int:
        """How many bytes these are."""
        return self._saying.outbound.size

    @property
    def wants_retry(self) -> bool:
        """Whether the server could not store something, so that `retry` is to be called after a while."""
        return self._saying.wants_retry

    @property
    def names(self) -> tuple[str, ...]:
        """The names that are known to be in one of the rooms."""
        return tuple(dict.fromkeys(name for room in self.rooms for name in room.members))

    # -- the connection --------------------------------------------------------------------------------

    def connection_made(self) -> None:
        """Say hello on a new connection."""
        self.state = ClientState.GREETING
        self.error = None
        self._decoder = FrameDecoder(self._settings.header_length, self._settings.read_limit)
        hello, resumed = self._hello()
        self._out = bytearray(hello)
        self._membership.connection_made(resumed)

    def tell_password(self) -> bool:
        """Say hello again, with the password; return False if there is none or it was said already."""
        if self.state is not ClientState.GREETING or not self._settings.password:
            return False
        self.state = ClientState.PROVING
        hello, resumed = self._hello(scalar_values(self._settings.password))
        self._out += hello
        self._membership.connection_made(resumed)
        return True

    def connection_lost(self) -> None:
        """Keep what has to be said again; forget what the connection had."""
        self.state = ClientState.OFFLINE
        self._out.clear()
        self._held.clear()
        self._held_size = 0
        self._confirmed = 0
        self._saying.connection_lost()
        self._untold += self._membership.connection_lost()

    def receive_data(self, data: bytes) -> list[Event]:
        """Take the next bytes from the server and return what they say.

        Whatever a server sends gives events, or sets ``error``; a connection with an error is to be closed.
        """
        events = self.events()
        if self.state in {ClientState.OFFLINE, ClientState.BROKEN}:
            return events
        for payload in self._decoder.receive_data(data):
            try:
                self._receive(parse_message(payload), len(payload), events)
            except (BadJsonError, BadMessageError, NoSaltError, HeldTooMuchError) as error:
                self._break(error)
                return events
        if self._decoder.error is not None:
            self._break(self._decoder.error)
        self._confirm()
        return events

    def take_key(self, salt: bytes, key: bytes) -> None:
        """Take a key that was wanted, and with it what has waited for it; `events` says what that was."""
        if self._vault is None:
            return
        self._vault.put_key(salt, key)
        held, self._held, self._held_size = self._held, deque(), 0
        for fields, size in held:
            try:
                self._receive(fields, size, self._untold)
            except (BadMessageError, NoSaltError) as error:
                self._break(error)
                return
        self._confirm()

    def receive_eof(self) -> None:
        """Note that the server has closed its side; inside a frame that is an ``error``."""
        self._decoder.receive_eof()
        if self._decoder.error is not None and self.error is None:
            self._break(self._decoder.error)

    def data_to_send(self) -> bytes:
        """Return what is to be sent now, each byte once; empty: nothing. Not all comes at once."""
        self._fill()
        data = bytes(self._out)
        self._out.clear()
        return data

    def events(self) -> list[Event]:
        """Return what has happened without anything having come."""
        events, self._untold = self._untold, []
        return events

    # -- talking ---------------------------------------------------------------------------------------

    def say(self, body: str, room: str = LOBBY) -> str:
        """Say it in a room, now or when that can be; return its id, which `Acked` or `Refused` will name.

        Raises `FrameTooLongError` and `QueueFullError`.
        """
        return self._saying.say(body, room=room_name(room))

    def whisper(self, to: str, body: str) -> str:
        """Say it to one person alone; as `say`. To `Server`, it is a command for the operator's console."""
        return self._saying.say(body, to=to)

    def join(self, room: str) -> None:
        """Enter a room, now and after each break; the answer is `Users` with ``entered``, or `Refused`.

        Raises `QueueFullError` and, as all that take a room do, `BadRoomError`.
        """
        room = room_name(room)
        self._membership.join(room)
        if self.state is ClientState.WELCOMED:
            self._fill()  # as it was said before
            self._ask(Asked.JOIN, {"type": "join", "room": room})

    def part(self, room: str) -> None:
        """Leave a room; the answer is `Parted`. What waits to be said in there may be refused then."""
        room = room_name(room)
        if self.state is ClientState.WELCOMED:
            self._membership.part(room)
            self._fill()
            self._put({"type": "part", "room": room})
        else:
            self._untold += self._membership.forget(room)

    def set_topic(self, room: str, topic: str) -> None:
        """Set a room's topic; the answer is `Topic`, or `Refused`."""
        self._question(None, {"type": "topic", "room": room_name(room), "topic": scalar_values(topic)})

    def get_history(
        self, room: str, limit: int = 50, *, before: int | None = None, after: int | None = None
    ) -> None:
        """Ask for the newest ``limit`` messages, those below ``before``, or the oldest above ``after``.

        The answer is `History`, or `Refused`.
        """
        fields: Fields = {"type": "history", "room": room_name(room)}
        if before is not None:
            fields["before"] = before
        if after is not None:
            fields["after"] = after
        self._question(None, {**fields, "limit": max(1, min(limit, self.limits.history))})

    def get_users(self, room: str = LOBBY) -> None:
        """Ask who is in a room; the answer is `Users`, or `Refused`."""
        self._question(Asked.USERS, {"type": "users", "room": room_name(room)})

    def get_rooms(self) -> None:
        """Ask which rooms there are; the answer is `Rooms`."""
        self._question(None, {"type": "rooms"})

    def ping(self) -> None:
        """Ask whether the server is there; it answers something."""
        if self.state is not ClientState.OFFLINE:
            self._put({"type": "ping"})

    def retry(self) -> None:
        """Say again what the server could not store."""
        self._saying.retry()

    def bye(self) -> None:
        """Leave: the server answers with `Bye` and closes."""
        if self.state is ClientState.WELCOMED:
            self._fill()
            self._put({"type": "bye"})
            self.state = ClientState.LEAVING

    def give_up(self) -> list[Outgoing]:
        """Forget what is not acknowledged, and return it in order: somebody else sees to it."""
        return self._saying.outbound.clear()

    # -- to the server ---------------------------------------------------------------------------------

    def _hello(self, password: str = "") -> tuple[bytes, dict[str, int]]:
        """Return the frame, and the rooms that it takes up: as many as fit."""
        fields = self._greeting(password)
        rooms: dict[str, int] = {}
        if self._log is not None:
            fields["resume"] = {"log": self._log, "rooms": rooms}
            left = min(HELLO_LIMIT, self.limits.frame) - self._writer.size(fields)
            left += 1  # no comma before the first
            for name, seq in self._membership.resume().items():
                left -= self._writer.size({name: seq}) - 1  # a comma, and no braces
                if left < 0:
                    break
                rooms[name] = seq
        return self._writer.frame(fields, HELLO_LIMIT), rooms

    def _greeting(self, password: str = "") -> Fields:
        """Return a hello as it is the first time."""
        fields: Fields = {
            "type": "hello",
            "version": VERSION,
            "name": scalar_values(self._settings.name),
            "client": self._secret,
        }
        if self._settings.alongside:
            fields["beside"] = True
        if password:
            fields["password"] = password
        return fields

    def _question(self, asked: Asked | None, fields: Fields) -> None:
        if self.state is ClientState.WELCOMED:
            self._fill()
            self._ask(asked, fields)
        elif len(self._questions) < _MAX_QUESTIONS:
            self._questions.append((asked, fields))
        else:
            raise QueueFullError(_MAX_QUESTIONS)

    def _ask(self, asked: Asked | None, fields: Fields) -> None:
        if asked is not None:
            self._membership.asked.append((asked, fields["room"]))
        self._put(fields)

    def _refresh(self, room: Room) -> None:
        """Ask who is in the room, for the members that are remembered."""
        asked = (Asked.REFRESH, room.name) in self._membership.asked
        if self._keeps_members and not asked and self.state is ClientState.WELCOMED:
            self._ask(Asked.REFRESH, {"type": "users", "room": room.name})

    def _fill(self) -> None:
        """Make ready what was said, as far as the window allows."""
        if self.state is ClientState.WELCOMED:
            self._untold += self._saying.fill(
                self._out, self.name, window=self.limits.unacknowledged, frame_limit=self.limits.frame
            )

    def _confirm(self) -> None:
        if self._hearing.whispers > self._confirmed and self.state is ClientState.WELCOMED:
            self._put({"type": "ack", "whisper": self._hearing.whispers})
            self._confirmed = self._hearing.whispers

    def _put(self, fields: Fields) -> None:
        self._out += self._writer.frame(fields)

    # -- from the server -------------------------------------------------------------------------------

    def _receive(self, fields: Fields, size: int, events: list[Event]) -> None:
        """Add what a message says to ``events``, or hold it and all after it until a key is there."""
        kind = fields["type"]
        if self.state in _OUTSIDE and kind not in {"welcome", "error", "bye", "ping"}:
            return
        if kind not in _AT_ONCE and (self._held or self._hearing.lacks_key(fields)):
            self._held_size += size
            if self._held_size > _MAX_HELD:
                raise HeldTooMuchError(_MAX_HELD)
            self._held.append((fields, size))
            return
        take = _TAKERS.get(kind)
        if take is not None:
            events += take(self, fields)

    def _take_welcome(self, fields: Fields) -> list[Event]:
        if self.state not in _OUTSIDE:
            return []
        name, log = reading.text(fields, "name"), reading.text(fields, "log")
        server, whispers = reading.text(fields, "server"), reading.number(fields, "whispers")
        summaries = [reading.summary(room) for room in reading.objects(fields, "rooms")]
        self._learn_salts(fields)
        again, renumbered = self._log is not None, self._log not in {None, log}
        self.state = ClientState.WELCOMED
        self.server, self.limits, self._log = server, _limits(fields.get("limits")), log
        self._hearing.name = name
        events: list[Event] = []
        if renumbered:
            self._hearing.whispers = 0
            events += self._membership.renumber()
        rooms, unwanted = self._membership.sort(summaries)
        for room in unwanted:
            self._put({"type": "part", "room": room})
        if self._vault is not None and (renumbered or self._membership.goes_back(rooms)):
            self._vault.begin()
        events += self._membership.rewind(rooms)
        events.append(Welcomed(name, server, rooms, whispers, again, renumbered))
        events += self._membership.welcome(rooms)
        self._go_on()
        return events

    def _learn_salts(self, welcome: Fields) -> None:
        if self._vault is not None:
            self._vault.learn_whispers(reading.salt(welcome))
            for room in welcome["rooms"]:
                self._vault.learn(room["room"], reading.salt(room))

    def _go_on(self) -> None:
        """Ask for what has waited for the welcome."""
        for room in self.rooms:
            if room.presence is Presence.JOINING:
                self._ask(Asked.JOIN, {"type": "join", "room": room.name})
            elif room.presence is Presence.RESUMING:
                self._ask(Asked.RESUME, {"type": "join", "room": room.name, "after": room.seq})
            else:
                self._refresh(room)
        questions, self._questions = self._questions, []
        for asked, question in questions:
            self._ask(asked, question)

    def _take_said(self, fields: Fields) -> list[Event]:
        return self._hearing.said(fields)

    def _take_whispered(self, fields: Fields) -> list[Event]:
        return self._hearing.whispered(fields)

    def _take_ack(self, fields: Fields) -> list[Event]:
        return self._hearing.acked(fields)

    def _take_history(self, fields: Fields) -> list[Event]:
        return self._hearing.history(fields)

    def _take_gap(self, fields: Fields) -> list[Event]:
        after, before = reading.number(fields, "after"), reading.number(fields, "before")
        room = self.rooms.get(reading.text(fields, "room"))
        if room is None or room.presence is Presence.JOINING:
            return []
        self._refresh(room)
        return self._hearing.gap(room, after, before)

    def _take_error(self, fields: Fields) -> list[Event]:
        refused = Refused(
            reading.text(fields, "code"),
            reading.text(fields, "message", reading.TEXT_LENGTH),
            reading.optional_text(fields, "id"),
            reading.optional_text(fields, "room"),
            reading.optional_text(fields, "to"),
            retry_after=reading.optional_seconds(fields, "retry_after") or 0.0,
        )
        events = self._hearing.refused(refused)
        if refused.room:
            events += self._membership.refused(refused.code, refused.room, about_message=bool(refused.id))
        return events

    def _take_joined(self, fields: Fields) -> list[Event]:
        return self._membership.joined(Joined(*_change(fields)), self.name)

    def _take_left(self, fields: Fields) -> list[Event]:
        return self._membership.left(Left(*_change(fields)), self.name)

    def _take_topic(self, fields: Fields) -> list[Event]:
        topic = Topic(
            reading.text(fields, "room"),
            reading.text(fields, "topic", reading.TEXT_LENGTH),
            reading.text(fields, "from"),
            reading.seconds(fields, "at"),
        )
        return self._membership.topic(topic)

    def _take_users(self, fields: Fields) -> list[Event]:
        topic, seq = reading.text(fields, "topic", reading.TEXT_LENGTH), reading.number(fields, "seq")
        users = Users(*_change(fields), topic, seq, entered=False)
        if self._vault is not None:
            self._vault.learn(users.room, reading.salt(fields))
        return self._membership.users(users)

    def _take_rooms(self, fields: Fields) -> list[Event]:
        rooms = tuple(map(reading.summary, reading.objects(fields, "rooms")))
        return [Rooms(rooms, reading.number(fields, "total"))]

    def _take_ping(self, fields: Fields) -> list[Event]:
        token = reading.optional_text(fields, "token", TOKEN_LENGTH)
        if self.state is not ClientState.LEAVING:  # what a server leaves unread can take its last words away
            self._put({"type": "pong", **({"token": token} if token else {})})
        return []

    def _take_bye(self, fields: Fields) -> list[Event]:
        return [Bye(reading.text(fields, "reason"), reading.optional_seconds(fields, "retry_after"))]

    def _break(self, error: SelchatError) -> None:
        self.error = error
        self.state = ClientState.BROKEN


_TAKERS: dict[str, Callable[[SelchatClient, Fields], list[Event]]] = {
    "welcome": SelchatClient._take_welcome,
    "said": SelchatClient._take_said,
    "whispered": SelchatClient._take_whispered,
    "ack": SelchatClient._take_ack,
    "error": SelchatClient._take_error,
    "joined": SelchatClient._take_joined,
    "left": SelchatClient._take_left,
    "topic": SelchatClient._take_topic,
    "users": SelchatClient._take_users,
    "rooms": SelchatClient._take_rooms,
    "history": SelchatClient._take_history,
    "gap": SelchatClient._take_gap,
    "ping": SelchatClient._take_ping,
    "bye": SelchatClient._take_bye,
}


def _change(fields: Fields) -> tuple[str, tuple[str, ...], int]:
    """Return the room, the names and the total of who is there, comes or goes."""
    return reading.text(fields, "room"), reading.names(fields), reading.number(fields, "total")


def _limits(value: Any) -> Limits:
    """Return the limits of a welcome; what is missing there, or makes no sense, is as usual."""
    fields = value if type(value) is dict else {}
    usual = Limits()
    return Limits(
        *(
            found if type(found := fields.get(name)) is int and found > 0 else getattr(usual, name)
            for name in Limits._fields
        )
    )
