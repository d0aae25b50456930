"""Protocols between the hub, rooms and sessions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from selchat.errors import RefusalError
from selchat.events import Event, Notice, Said
from selchat.log.port import Sent


class Farewell(NamedTuple):
    """Why the server ends a session: ``code`` is for the peer's program (docs/protocol.rst), ``notice`` for
    its user and ``reason`` for the operator.

    ``retry_after``: seconds after which the client should reconnect; None: it should not reconnect
    automatically. ``until``: the end of a ban in Unix time; None: there is none.
    """

    code: str
    notice: str
    reason: str
    retry_after: float | None = None
    until: float | None = None


class Format(Protocol):
    """A wire format, as far as a room uses it. Members with the same format share one feed."""

    def encode(self, events: Sequence[Event]) -> bytes:
        """Return the events as whole frames; no bytes for events that this wire cannot express."""


class Peer(Protocol):
    """A member's session, as the hub sees it."""

    @property
    def format(self) -> Format:
        """The wire format that the peer reads."""

    def send_notice(self, notice: Notice) -> None:
        """Send a notice to this member only."""

    def acknowledge(self, messages: Sequence[Said]) -> None:
        """Acknowledge this member's own messages, which the log has stored in this tick.

        The hub calls this only for members who own their name.
        """

    def acknowledge_repeated(self, messages: Sequence[Sent]) -> None:
        """Acknowledge messages that the client has sent again and that the log already has."""

    def reject(self, error: RefusalError, ids: Sequence[str]) -> None:
        """Report that the messages with these ids are not stored and will not be."""

    def deliver_direct(self, message: Said, to: str) -> None:
        """Deliver a direct message; ``seq`` is 0 if the log does not keep it."""

    def disconnect(self, farewell: Farewell) -> None:
        """End the session once its pending output is sent; the session calls `Hub.sign_out`."""


class Named(Protocol):
    """Anyone with a name: all that a roster or a room needs to know of a member."""

    name: str


class Author(Named, Protocol):
    """The member who sent a message, as far as a room passes it on.

    ``client_id``: see `selchat.chat.member.Member`.
    """

    client_id: bytes | None
    peer: Peer
