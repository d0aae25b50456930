"""A link's talk with its server, one class for each wire: what is said to bytes, and bytes to events.

A conversation outlives the connections of its link. It has no socket and no timer: the link asks what is to
be written and says how much of it was. What a wire cannot do is a `UnsupportedError`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from selchat.client.events import Event, Heard, Message, Users
from selchat.client.protocol.classic import ClassicClient
from selchat.client.protocol.outgoing import QueueFullError
from selchat.client.protocol.selchat import SelchatClient
from selchat.config.settings import ClientSettings
from selchat.errors import UsageError
from selchat.events import LOBBY

_BATCH = 64 * 1024  # bytes of frames joined for one system call


class UnsupportedError(UsageError):
    """``what`` was asked for."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return f"this server speaks only the paper's wire, which has no {self.what}"


class Conversation(Protocol):
    """What a link needs of a wire, and its interface through it.

    ``queued`` bytes of ``waiting`` messages are not with the server yet: on the paper's wire until the kernel
    has taken them, on the selchat one until they are acknowledged. ``undone`` is the word for these.
    """

    undone: str

    @property
    def queued(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def names(self) -> tuple[str, ...]:
        """The names worth offering to someone who types."""

    @property
    def error(self) -> str | None:
        """What broke the connection, in words."""

    @property
    def last_words(self) -> str | None:
        """What the server has said about ending this connection, and about what it had not read by then."""

    def connection_made(self) -> None: ...
    def connection_lost(self) -> None: ...
    def receive_data(self, data: bytes) -> list[Event]: ...
    def receive_eof(self) -> None: ...
    def events(self) -> list[Event]:
        """Return what has happened without anything having come."""

    def data_to_send(self) -> memoryview:
        """Return what is to be written next, the same again until `sent`; empty: nothing."""

    def sent(self, size: int) -> None:
        """Note that so many bytes of it were written."""

    def give_up(self) -> list[tuple[str, str, str]]:
        """Forget what was said and is not with the server; return it: room, or to whom, and the body."""

    def say(self, body: str, room: str) -> str: ...
    def whisper(self, to: str, body: str) -> str: ...
    def join(self, room: str) -> None: ...
    def part(self, room: str) -> None: ...
    def set_topic(self, room: str, topic: str) -> None: ...
    def get_history(self, room: str, limit: int, before: int | None, after: int | None) -> None: ...
    def get_users(self, room: str) -> None: ...
    def get_rooms(self) -> None: ...


class ClassicConversation:
    """On the paper's wire, which has no acknowledgements: what the kernel has taken counts as sent.

    When a connection breaks, a message of which only a part was written is sent again whole, on the next one;
    those before it may have been lost on the way, and nobody can tell. Raises what `ClassicClient` does.
    """

    undone = "not sent"

    def __init__(self, settings: ClientSettings) -> None:
        self.client = ClassicClient(settings)
        self.client.login()  # now, so that a name that is too long is met before the first connection
        self.queued = 0
        self._settings = settings
        self._login = b""  # what this connection has not taken of it
        self._queue: deque[tuple[bytes, str]] = deque()  # of which the kernel has not taken the last byte
        self._written = 0  # bytes of the first of them that this connection has taken
        self._untold: list[Event] = []

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def names(self) -> tuple[str, ...]:
        return self.client.names

    @property
    def error(self) -> str | None:
        return None if self.client.error is None else str(self.client.error)

    @property
    def last_words(self) -> str | None:
        return self.client.last_words

    def connection_made(self) -> None:
        self.client = ClassicClient(self._settings)
        self._login = self.client.login()

    def connection_lost(self) -> None:
        """What was taken of an unfinished message is void."""
        self._login = b""
        self._written = 0

    def receive_data(self, data: bytes) -> list[Event]:
        return [Message(user, body) for user, body in self.client.receive_data(data)]

    def receive_eof(self) -> None:
        self.client.receive_eof()

    def events(self) -> list[Event]:
        events, self._untold = self._untold, []
        return events

    def data_to_send(self) -> memoryview:
        if self._login:
            return memoryview(self._login)
        batch = bytearray()
        for frame, _ in self._queue:
            batch += frame
            if len(batch) >= _BATCH:
                break
        return memoryview(batch)[self._written :]

    def sent(self, size: int) -> None:
        if self._login:
            self._login = self._login[size:]
            return
        self._written += size
        while self._queue and self._written >= len(self._queue[0][0]):
            size = len(self._queue.popleft()[0])
            self._written -= size
            self.queued -= size

    def give_up(self) -> list[tuple[str, str, str]]:
        bodies = [(LOBBY, "", body) for _, body in self._queue]
        self._queue.clear()
        self.queued = 0
        return bodies

    def say(self, body: str, room: str) -> str:
        if room != LOBBY:
            raise UnsupportedError("rooms")
        frame = self.client.say(body)
        if self.queued + len(frame) > self._settings.queue_limit:
            raise QueueFullError(self._settings.queue_limit)
        self._queue.append((frame, body))
        self.queued += len(frame)
        return ""

    def whisper(self, to: str, body: str) -> str:
        raise UnsupportedError("whispers")

    def join(self, room: str) -> None:
        if room != LOBBY:
            raise UnsupportedError("rooms")

    def part(self, room: str) -> None:
        raise UnsupportedError("rooms")

    def set_topic(self, room: str, topic: str) -> None:
        raise UnsupportedError("topics")

    def get_history(self, room: str, limit: int, before: int | None, after: int | None) -> None:
        raise UnsupportedError("history")

    def get_users(self, room: str) -> None:
        online = self.client.online
        self._untold.append(
            Heard(self.client.heard)
            if online is None
            else Users(LOBBY, online.names, online.total, "", 0, entered=False)
        )

    def get_rooms(self) -> None:
        raise UnsupportedError("rooms")


class SelchatConversation:
    """On the selchat protocol: what the server has acknowledged counts as sent. Raises what `SelchatClient` does."""

    undone = "not acknowledged"

    def __init__(
        self,
        settings: ClientSettings,
        secret: str,
        *,
        members: bool = False,
        want: Callable[[bytes], object] = lambda _salt: None,
    ) -> None:
        self.client = SelchatClient(settings, secret, members=members, want=want)
        self._data = memoryview(b"")  # what is to be written first
        self.last_words: str | None = None

    @property
    def queued(self) -> int:
        return self.client.queued

    @property
    def waiting(self) -> int:
        return self.client.unacknowledged

    @property
    def names(self) -> tuple[str, ...]:
        return self.client.names

    @property
    def error(self) -> str | None:
        return None if self.client.error is None else str(self.client.error)

    def connection_made(self) -> None:
        self.client.connection_made()

    def connection_lost(self) -> None:
        self.client.connection_lost()
        self._data = memoryview(b"")

    def receive_data(self, data: bytes) -> list[Event]:
        return self.client.receive_data(data)

    def receive_eof(self) -> None:
        self.client.receive_eof()

    def events(self) -> list[Event]:
        return self.client.events()

    def data_to_send(self) -> memoryview:
        if not self._data:
            self._data = memoryview(self.client.data_to_send())
        return self._data

    def sent(self, size: int) -> None:
        self._data = self._data[size:]

    def give_up(self) -> list[tuple[str, str, str]]:
        return [(message.room, message.to, message.body) for message in self.client.give_up()]

    def say(self, body: str, room: str) -> str:
        return self.client.say(body, room)

    def whisper(self, to: str, body: str) -> str:
        return self.client.whisper(to, body)

    def join(self, room: str) -> None:
        self.client.join(room)

    def part(self, room: str) -> None:
        self.client.part(room)

    def set_topic(self, room: str, topic: str) -> None:
        self.client.set_topic(room, topic)

    def get_history(self, room: str, limit: int, before: int | None, after: int | None) -> None:
        self.client.get_history(room, limit, before=before, after=after)

    def get_users(self, room: str) -> None:
        self.client.get_users(room)

    def get_rooms(self) -> None:
        self.client.get_rooms()
