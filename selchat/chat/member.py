"""Someone who is here, and the session that speaks for them, as the hub sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from selchat.chat.room import Format, Room
from selchat.errors import RefusalError
from selchat.events import Notice, Said
from selchat.feed import Subscription
from selchat.log.port import Sent


class Farewell(NamedTuple):
    """Why the server ends a session: in a word (docs/protocol.rst), for the peer, and for the operator.

    ``retry_after``: seconds after which the peer should come back; None: not by itself.
    """

    word: str
    notice: str
    reason: str
    retry_after: float | None = None


class Peer(Protocol):
    """A member's session, as the hub sees it."""

    @property
    def format(self) -> Format:
        """The wire format in which it reads."""

    def tell(self, notice: Notice) -> None:
        """Say something to this member alone."""

    def stored(self, messages: Sequence[Said]) -> None:
        """These of its own messages are in the log now; said to members whose name is their own."""

    def repeated(self, messages: Sequence[Sent]) -> None:
        """These it has sent again; they have been in the log already."""

    def refused(self, error: RefusalError, ids: Sequence[str]) -> None:
        """The messages with these ids are not, and will not be."""

    def whispered(self, message: Said, to: str) -> None:
        """Someone has said that to this member alone; a ``seq`` of 0: it is not in the log."""

    def dismiss(self, farewell: Farewell) -> None:
        """End the session, once what was said so far is sent; it calls `Hub.leave`."""


class Member:
    """Someone who is here. ``address``: where from, as ``host:port``, for the operator's eyes.

    ``client`` is the hash of the secret that makes the name theirs; None: their wire has none. ``rooms`` are
    those they are in, with what they read of it; None: the session still catches up with the log.
    """

    __slots__ = ("address", "client", "name", "peer", "rooms")

    def __init__(self, name: str, address: str, peer: Peer, client: bytes | None = None) -> None:
        self.name = name
        self.address = address
        self.peer = peer
        self.client = client
        self.rooms: dict[Room, Subscription[Any] | None] = {}

    @property
    def host(self) -> str:
        """Where from, without the port."""
        return self.address.rpartition(":")[0].strip("[]")
