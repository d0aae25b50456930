"""The first session of every connection: it waits for the first payload, and hands over to one that knows how
to go on. A ``hello`` is for the rich protocol, and everything else is a username of the paper's; what begins
as TLS is decrypted first.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any

from selchat.errors import LoginTimeoutError, PasswordNeededError, RefusalError, SelchatError
from selchat.events import Notice
from selchat.sessions.classic import ClassicSession
from selchat.sessions.context import Context, Transport
from selchat.sessions.framing import Framing
from selchat.sessions.rich import RichSession
from selchat.wire.sniff import Opening, is_hello, sniff

_LEAST_RICH_HEADER = 4  # bytes: an error has to fit into a frame


class OpeningState(Enum):
    """``NEW`` becomes ``PLAIN`` or ``SECURED`` with the first byte, and stays so."""

    NEW = auto()
    PLAIN = auto()
    SECURED = auto()


class OpeningSession:
    """One peer that has not said anything yet.

    ``refusal``: it may not come in, and is told so in its own language once it has spoken. ``unsecured``: the
    same for one that does not begin as TLS. ``tls``: whether it may.
    """

    __slots__ = (
        "_context",
        "_deadline",
        "_framing",
        "_refusal",
        "_timer",
        "_tls",
        "_transport",
        "_unsecured",
        "state",
    )

    def __init__(
        self,
        context: Context,
        transport: Transport,
        refusal: SelchatError | None = None,
        unsecured: SelchatError | None = None,
        *,
        tls: bool = False,
    ) -> None:
        settings = context.settings
        seconds = settings.login_seconds if refusal is None else settings.linger_seconds
        self.state = OpeningState.NEW
        self._context = context
        self._refusal = refusal
        self._unsecured = unsecured
        self._tls = tls
        self._transport = transport
        self._framing = Framing(context)
        self._deadline = context.clock.now + seconds
        self._timer: Any = context.clock.call_later(seconds, self._timed_out)

    def data_received(self, data: bytes) -> None:
        if self.state is OpeningState.NEW:
            if self._tls and sniff(data) is Opening.TLS:
                self.state = OpeningState.SECURED
                self._transport.secure(data)
                return
            self.state = OpeningState.PLAIN
            self._refusal = self._refusal or self._unsecured
        payload = self._framing.decoder.receive_one(data)
        if payload is not None:
            self._timer.cancel()
            self._hand_over(payload)
        elif self._framing.decoder.error is not None:
            self._break(self._framing.decoder.error)

    def eof_received(self) -> None:
        error = self._framing.receive_eof()
        if error is not None:
            self._transport.close(str(error))

    def connection_lost(self, reason: str | None) -> None:
        self._timer.cancel()
        self._context.strangers.stranger_left(self._transport.address, reason)

    # ----------------------------------------------------------------------------------------------------

    def _hand_over(self, payload: bytes) -> None:
        session: ClassicSession | RichSession
        is_rich = self._context.settings.header_length >= _LEAST_RICH_HEADER and is_hello(payload)
        if self._refusal is not None:
            self._refuse(self._refusal, is_rich)
            return
        if is_rich:
            session = RichSession(self._context, self._transport, self._framing, self._deadline)
        elif self._context.gate is not None:
            self._break(PasswordNeededError())  # there is no place for one on that wire
            return
        else:
            session = ClassicSession(self._context, self._transport, self._framing)
        self._transport.hand_over(session)
        session.first_received(payload)

    def _break(self, error: SelchatError) -> None:
        """Tell the peer why, in the way that most clients can read, and close."""
        notice = self._context.classic.encode([Notice(f"Closing this connection: {error}.")])
        self._transport.close(str(error), notice)

    def _refuse(self, refusal: SelchatError, is_rich: bool) -> None:
        if not is_rich:
            self._break(refusal)
            return
        rich = self._context.rich
        if isinstance(refusal, RefusalError):
            last = rich.error(refusal) + rich.frame("bye", reason=refusal.code, retry_after=None)
        else:
            last = rich.frame("bye", reason="full", retry_after=self._context.settings.full_retry)
        self._transport.close(str(refusal), last)

    def _timed_out(self) -> None:
        self._break(self._refusal or LoginTimeoutError(self._context.settings.login_seconds))
