"""Interfaces and shared state that sessions depend on.

A session knows its connection only as a `Transport`. `Context` holds what all sessions of a server share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from selchat.auth.login import Authenticator
from selchat.chat.hub import Hub
from selchat.chat.member import Member
from selchat.clock import Clock
from selchat.config.settings import Settings
from selchat.errors import SelchatError
from selchat.feed import Feed, Lapped, Subscription
from selchat.sessions.work import Meter, WorkLimits
from selchat.wire.classic import ClassicFormat
from selchat.wire.responses import SelchatFormat


class Outbox(Protocol):
    """The output queue of one connection."""

    def reply(self, data: bytes) -> None:
        """Send whole frames to this peer only."""

    def when_replies_sent(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` when all replies are sent: inside a flush, so it may only schedule work."""

    def subscribe(
        self, feed: Feed[Any], on_lapped: Callable[[Lapped], bytes] | None = None
    ) -> Subscription[Any]:
        """Send the feed from its current end on."""

    def leave(self, subscription: Subscription[Any]) -> None:
        """Send the feed up to its current end and no further."""

    @property
    def blocked(self) -> bool:
        """Whether output is queued because the peer does not read."""


class Session(Protocol):
    """The session of a connection, as the connection calls it."""

    @property
    def wire_name(self) -> str:
        """The protocol of the peer, as the metrics name it."""

    def data_received(self, data: bytes) -> None:
        """Handle received bytes, at least one."""

    def eof_received(self) -> None:
        """Handle the end of the peer's stream."""

    def connection_lost(self, reason: str | None) -> None:
        """Handle the end of the connection. This is the last call."""


class Transport(Protocol):
    """A connection, as its session sees it."""

    @property
    def outbox(self) -> Outbox:
        """The output queue."""

    @property
    def address(self) -> str:
        """The peer's address as ``host:port``."""

    def set_handler(self, handler: Session) -> None:
        """Pass all further calls to another session."""

    def start_tls(self, first: bytes) -> None:
        """Encrypt everything from here on. ``first``: bytes of the handshake that were read already."""

    def pause(self) -> None:
        """Stop reading until `resume`."""

    def resume(self) -> None:
        """Read again."""

    def close(self, reason: str | None = None, final_data: bytes = b"") -> None:
        """Send the queued output and ``final_data``, then close. Calls ``connection_lost`` at once."""


class ConnectionObserver(Protocol):
    """The log of connections that never logged in."""

    def closed_before_login(self, address: str, reason: str | None) -> None:
        """Report a connection that closed without a username."""


class HttpSessionFactory(Protocol):
    """Create the session of a peer that speaks HTTP."""

    def __call__(
        self,
        context: Context,
        transport: Transport,
        meter: Meter,
        deadline: float,
        refusal: SelchatError | None,
        *,
        tls: bool,
        local: bool,
    ) -> Session:
        """Return the session.

        ``meter``: charges the work of this connection. ``deadline``: when the first request must be complete,
        on the clock. ``refusal``: why the server refuses this peer. ``tls``: the connection is encrypted.
        ``local``: the peer is on this machine.
        """


@dataclass(frozen=True, slots=True)
class Context:
    """State that all sessions of a server share.

    ``work``: limits the loop time of costly requests. ``observer``: reports connections that never logged in.
    ``command``: returns the function that runs a member's command line and returns its output, or raises
    `NotOperatorError`. ``software``: name and version that `welcome` reports. ``authenticator``: checks the
    server password; None: there is no password. ``new_http_session``: None if the packages for HTTP are not
    installed. ``lengths`` and ``login_lengths``: header caches for decoders after and before login; each
    context has its own, because its settings have the limits that the headers passed.
    """

    settings: Settings
    hub: Hub
    clock: Clock
    work: WorkLimits
    observer: ConnectionObserver
    classic: ClassicFormat
    selchat: SelchatFormat
    command: Callable[[str, Member], Callable[[], list[str]]] = lambda line, member: list
    software: str = "selchat"
    authenticator: Authenticator | None = None
    new_http_session: HttpSessionFactory | None = None
    lengths: dict[bytes, int] = field(default_factory=dict, init=False)
    login_lengths: dict[bytes, int] = field(default_factory=dict, init=False)

    @property
    def message_limit(self) -> int:
        """Bytes of a payload of a selchat client; below ``settings.payload_limit`` if headers are short."""
        settings = self.settings
        return min(settings.payload_limit, self.selchat.message_limit(settings.name_length))
