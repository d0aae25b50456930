"""What every session is given: what all of them share, and its own connection, as far as it may know it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from selchat.auth.login import Authenticator
from selchat.chat.hub import Hub
from selchat.clock import Clock
from selchat.config.settings import Settings
from selchat.errors import SelchatError
from selchat.feed import Feed, Lapped, Subscription
from selchat.wire.classic import ClassicFormat
from selchat.wire.responses import SelchatFormat


class Outbox(Protocol):
    """Where a session's bytes go."""

    def reply(self, data: bytes) -> None:
        """Send whole frames to this peer alone."""

    def when_replies_sent(self, callback: Callable[[], object]) -> None:
        """Call it when no reply waits any more; it must only note that."""

    def subscribe(
        self, feed: Feed[Any], on_lapped: Callable[[Lapped], bytes] | None = None
    ) -> Subscription[Any]:
        """Send that feed from now on."""

    def leave(self, subscription: Subscription[Any]) -> None:
        """Send that feed to its present end and no further."""

    @property
    def blocked(self) -> bool:
        """Whether something waits because the peer takes nothing now."""


class Session(Protocol):
    """The session of a connection, as the connection calls it."""

    @property
    def wire_name(self) -> str:
        """The protocol of the peer, as the metrics name it."""

    def data_received(self, data: bytes) -> None:
        """``data`` is never empty."""

    def eof_received(self) -> None:
        """The peer has closed its sending side."""

    def connection_lost(self, reason: str | None) -> None:
        """The end."""


class Transport(Protocol):
    """The connection, as a session sees it."""

    @property
    def outbox(self) -> Outbox:
        """Where the session's bytes go."""

    @property
    def address(self) -> str:
        """Where the peer is, as ``host:port``."""

    def set_handler(self, handler: Session) -> None:
        """Tell another session from now on."""

    def start_tls(self, first: bytes) -> None:
        """Encrypt everything from here on; ``first`` is how the peer's handshake begins."""

    def pause(self) -> None:
        """Read nothing until `resume`."""

    def resume(self) -> None:
        """Go on reading."""

    def close(self, reason: str | None = None, final_data: bytes = b"") -> None:
        """Close it when all is sent, ``final_data`` last; ``connection_lost`` is called at once."""


class ConnectionObserver(Protocol):
    """Who is told of connections that ended before they had a name."""

    def closed_before_login(self, address: str, reason: str | None) -> None:
        """A connection without a username was closed."""


class Web(Protocol):
    """What makes a session for a peer that speaks HTTP."""

    def __call__(
        self,
        context: Context,
        transport: Transport,
        deadline: float,
        refusal: SelchatError | None,
        *,
        tls: bool,
        local: bool,
    ) -> Session:
        """``tls``: it comes by TLS. ``local``: it comes from this machine. ``deadline``: of its first
        request.
        """


@dataclass(frozen=True, slots=True)
class Context:
    """What all sessions of a server share. ``operator`` runs an operator's line and returns the answer.

    ``gate``: where the password is checked; None: there is none. ``web``: None if what it needs is not
    installed.

    ``lengths`` and ``login_lengths`` are for the decoders: of those who are in, and of those who are not yet.
    """

    settings: Settings
    hub: Hub
    clock: Clock
    observer: ConnectionObserver
    classic: ClassicFormat
    selchat: SelchatFormat
    operator: Callable[[str], list[str]] = lambda line: []
    server: str = "selchat"
    gate: Authenticator | None = None
    web: Web | None = None
    lengths: dict[bytes, int] = field(default_factory=dict)
    login_lengths: dict[bytes, int] = field(default_factory=dict)
