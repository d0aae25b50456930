"""Interface between a link and the client side of a protocol, without I/O.

A link owns the sockets and the timers. A `ProtocolClient` outlives the connections of its link: it turns
requests into bytes, and bytes into events.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from selchat.client.events import ClientEvent
from selchat.client.protocol.rooms import Room
from selchat.errors import SelchatError, UsageError
from selchat.events import LOBBY


class UnsupportedError(UsageError):
    """``what`` the caller asked for, and the protocol does not have."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return f"this server speaks only the classic protocol, which has no {self.what}"


class UnsentMessage(NamedTuple):
    """A message to a ``room`` or to one person; the other of the two is empty."""

    room: str
    to: str
    body: str


class ProtocolClient(Protocol):
    """One user of one server, on any number of connections, one after the other.

    ``queued`` bytes of ``unacknowledged`` messages have not reached the server yet: on the classic protocol
    until the kernel takes them, on the selchat protocol until the server acknowledges them. ``unsent_word``
    describes them to the user.
    """

    unsent_word: str

    @property
    def queued(self) -> int: ...
    @property
    def unacknowledged(self) -> int: ...
    @property
    def unanswered(self) -> int:
        """The number of requests with a ``tag`` that the server has neither answered nor refused."""

    @property
    def name(self) -> str:
        """The user's name, as the server writes it."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names to offer for completion."""

    @property
    def room_names(self) -> tuple[str, ...]:
        """The rooms that the user is in or has asked to join."""

    @property
    def error(self) -> SelchatError | None:
        """The protocol error that broke the connection."""

    @property
    def last_words(self) -> str | None:
        """The server's explanation for closing this connection. It may not have read the latest messages."""

    def room(self, name: str) -> Room | None:
        """Return a room that the user is in or has asked to join; None on a protocol without rooms."""

    # -- connections -----------------------------------------------------------------------------------

    def connection_made(self) -> None: ...
    def connection_lost(self) -> None: ...
    def receive_data(self, data: bytes) -> list[ClientEvent]: ...
    def receive_eof(self) -> None: ...
    def events(self) -> list[ClientEvent]:
        """Remove and return the events that no received data caused."""

    def data_to_send(self) -> memoryview:
        """Return the next bytes to send, the same ones until `data_sent`; empty if all are sent."""

    def data_sent(self, size: int) -> None:
        """Record that the kernel took the first ``size`` bytes of `data_to_send`."""

    @property
    def gap_seconds(self) -> float:
        """Seconds to wait before the next `data_to_send`; 0: none."""

    def take_unsent(self) -> list[UnsentMessage]:
        """Remove and return the messages that the server does not have, in order."""

    # -- requests --------------------------------------------------------------------------------------
    # All of them raise `UnsupportedError` if the protocol cannot express them. `History` and `Refused` return
    # a ``tag``; the client repeats a request with a tag after a lost connection.

    def say(self, body: str, room: str = LOBBY) -> str: ...
    def whisper(self, to: str, body: str) -> str: ...
    def join(self, room: str) -> None: ...
    def part(self, room: str) -> None: ...
    def set_topic(self, room: str, topic: str) -> None: ...
    def get_history(
        self,
        room: str,
        limit: int = 50,
        *,
        before: int | None = None,
        after: int | None = None,
        tag: object = None,
    ) -> None: ...
    def get_users(self, room: str = LOBBY, *, tag: object = None) -> None: ...
    def get_rooms(self, *, tag: object = None) -> None: ...

    # -- features of the selchat protocol alone --------------------------------------------------------
    # On the classic protocol these do nothing and return False.

    @property
    def wants_retry(self) -> bool:
        """Whether the server could not store a message, so that the link should call `retry` later."""

    def retry(self) -> None:
        """Send the messages again that the server could not store."""

    def ping(self) -> None:
        """Make a server that is still there answer."""

    def add_key(self, salt: bytes, key: bytes) -> None:
        """Add an encryption key that the client requested."""

    def send_password(self) -> bool:
        """Log in again, with the password; return False without a password, or after the first time."""

    def bye(self) -> bool:
        """Log out; return False if only the end of the connection can say it."""
