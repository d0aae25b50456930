"""A session on the paper's wire: the first frame is a username, every other frame is a message."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Protocol

from selchat.chat.hub import Clock, Hub, Member
from selchat.errors import BadNameError, FrameTimeoutError, LoginTimeoutError, SelchatError
from selchat.events import Notice
from selchat.feed import Feed, Subscription
from selchat.settings import Settings
from selchat.wire.classic import ClassicFormat
from selchat.wire.frames import FrameDecoder


class Outbox(Protocol):
    """Where a session's bytes go."""

    def reply(self, data: bytes) -> None:
        """Send whole frames to this peer alone."""

    def subscribe(self, feed: Feed[Any]) -> Subscription[Any]:
        """Send that feed from now on."""


class Transport(Protocol):
    """The connection, as a session sees it."""

    @property
    def outbox(self) -> Outbox:
        """Where the session's bytes go."""

    @property
    def address(self) -> str:
        """Where the peer is, as ``host:port``."""

    def close(self, reason: str | None = None) -> None:
        """Close it when all is sent; `ClassicSession.connection_lost` is called at once."""


class Strangers(Protocol):
    """Who is told of connections that ended before they had a name."""

    def stranger_left(self, address: str, reason: str | None) -> None:
        """A connection without a username was closed."""


@dataclass(frozen=True, slots=True)
class ClassicContext:
    """What all classic sessions of a server share."""

    settings: Settings
    hub: Hub
    clock: Clock
    strangers: Strangers
    format: ClassicFormat
    lengths: dict[bytes, int] = field(default_factory=dict)  # for the decoders


class SessionState(Enum):
    """``NAMELESS`` becomes ``JOINED`` with the username; ``ENDED`` is final."""

    NAMELESS = auto()
    JOINED = auto()
    ENDED = auto()


class ClassicSession:
    """One peer. It is a `selchat.net.connection.Handler` for its connection and a `Peer` for the hub."""

    __slots__ = ("_context", "_decoder", "_member", "_timer", "_transport", "_unfinished_since", "state")

    def __init__(self, context: ClassicContext, transport: Transport) -> None:
        settings = context.settings
        self.state = SessionState.NAMELESS
        self._context = context
        self._transport = transport
        self._decoder = FrameDecoder(settings.header_length, settings.payload_limit, context.lengths)
        self._member: Member | None = None
        # One timer a session: for the username first, then only while a frame is unfinished.
        self._timer: Any = context.clock.call_later(settings.login_seconds, self._login_timed_out)
        self._unfinished_since: float | None = None

    # -- the connection's side -------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        decoder = self._decoder
        payloads = decoder.receive_data(data)
        member = self._member
        if member is None:
            if payloads:
                member = self._join(payloads.pop(0))
            if member is None:
                if decoder.error is not None:
                    self._break(decoder.error)
                return
        if payloads:
            # Broken UTF-8 would kill every client that decodes it; the rest of a body is opaque.
            bodies = [payload.decode("utf-8", "replace") for payload in payloads]
            self._context.hub.say(member, bodies)
        if decoder.error is not None:
            self._break(decoder.error)
        elif decoder.unfinished:
            self._watch_unfinished(bool(payloads))
        else:
            self._unfinished_since = None

    def eof_received(self) -> None:
        if self.state is SessionState.ENDED:
            return
        self._decoder.receive_eof()
        if self._decoder.error is not None:
            self._transport.close(str(self._decoder.error))

    def connection_lost(self, reason: str | None) -> None:
        self.state = SessionState.ENDED
        if self._timer is not None:
            self._timer.cancel()
        member, self._member = self._member, None
        if member is not None:
            self._context.hub.leave(member, reason)
        else:
            self._context.strangers.stranger_left(self._transport.address, reason)

    # -- the hub's side --------------------------------------------------------------------------------

    @property
    def format(self) -> ClassicFormat:
        return self._context.format

    def subscribe(self, feed: Feed[Any]) -> Subscription[Any]:
        return self._transport.outbox.subscribe(feed)

    def tell(self, notice: Notice) -> None:
        self._transport.outbox.reply(self.format.encode([notice]))

    def close(self, reason: str) -> None:
        self._transport.close(reason)

    # ----------------------------------------------------------------------------------------------------

    def _join(self, payload: bytes) -> Member | None:
        try:
            wanted = payload.decode()
        except UnicodeDecodeError:
            self._break(BadNameError())
            return None
        self._timer.cancel()
        self._timer = None
        self.state = SessionState.JOINED
        self._member = member = self._context.hub.join(wanted, self._transport.address, self)
        return member

    def _break(self, error: SelchatError) -> None:
        """Tell the peer why, as the only kind of message that it can read, and close."""
        if self.state is SessionState.ENDED:
            return
        self.tell(Notice(f"Closing this connection: {error}."))
        self._transport.close(str(error))

    def _login_timed_out(self) -> None:
        self._timer = None
        self._break(LoginTimeoutError(self._context.settings.login_seconds))

    def _watch_unfinished(self, is_new: bool) -> None:
        """Note since when the frame at the end of the input is unfinished; no timer is made for each read."""
        if is_new or self._unfinished_since is None:
            self._unfinished_since = self._context.clock.now
        if self._timer is None:
            self._timer = self._context.clock.call_later(
                self._context.settings.frame_seconds, self._check_unfinished
            )

    def _check_unfinished(self) -> None:
        self._timer = None
        if self._unfinished_since is None:
            return
        left = self._unfinished_since + self._context.settings.frame_seconds - self._context.clock.now
        if left > 0:
            self._timer = self._context.clock.call_later(left, self._check_unfinished)
        else:
            self._break(FrameTimeoutError(self._context.settings.frame_seconds))
