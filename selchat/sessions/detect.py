"""The first session of every connection: it waits until it knows what is spoken, and hands over to one that
knows how to go on. What begins as TLS is decrypted first. A method of HTTP is a browser's; otherwise a
``hello`` is for the selchat protocol, and everything else is a username of the paper's.
"""

from __future__ import annotations

import errno
import os
from enum import Enum, auto
from typing import Any

from selchat.auth.login import PasswordNeededError
from selchat.errors import NOT_TRUSTED, RefusalError, SelchatError
from selchat.events import Notice
from selchat.sessions.classic import ClassicSession
from selchat.sessions.context import Context, Transport
from selchat.sessions.inbound import InboundStream, LoginTimeoutError
from selchat.sessions.selchat import SelchatSession
from selchat.wire.detect import DetectedProtocol, detect_protocol, is_hello
from selchat.wire.frames import FrameDecoder

# How browsers go: they open more connections than they need, and they ask their users whether they trust the
# certificate (which is a reset where something was still to be read).
_OF_BROWSERS = {None, NOT_TRUSTED, os.strerror(errno.ECONNRESET).lower()}
_MIN_SELCHAT_HEADER = 4  # bytes: an error has to fit into a frame
_WHY = b"The page of this server is not installed. Whoever runs it: python3 -m pip install 'selchat[web]'\n"
_NO_WEB = (
    b"HTTP/1.1 501 Not Implemented\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(_WHY), _WHY)
)


class DetectState(Enum):
    """What is known of a connection.

    =======  =======================================  =================================================
    state    means                                    next
    =======  =======================================  =================================================
    NEW      nothing yet                              SECURED, FRAMES, or another session for HTTP
    SECURED  it is TLS; nothing of what is within it  FRAMES, or another session for HTTP
    FRAMES   the first payload is awaited             another session for what is in it
    HTTP     there is no session for that here        (final)
    =======  =======================================  =================================================
    """

    NEW = auto()
    SECURED = auto()
    FRAMES = auto()
    HTTP = auto()


class DetectSession:
    """One peer that has not said anything yet.

    ``refusal``: it may not come in, and is told so in its own language once it has spoken. ``unsecured``: the
    same for one that does not begin as TLS. ``tls``: whether it may. ``local``: whether nobody can listen to
    what it says without that.
    """

    __slots__ = (
        "_context",
        "_deadline",
        "_first",
        "_local",
        "_refusal",
        "_stream",
        "_timer",
        "_tls",
        "_transport",
        "_unsecured",
        "state",
    )

    wire_name = "opening"

    def __init__(
        self,
        context: Context,
        transport: Transport,
        refusal: SelchatError | None = None,
        unsecured: SelchatError | None = None,
        *,
        tls: bool = False,
        local: bool = True,
    ) -> None:
        settings = context.settings
        seconds = settings.login_seconds if refusal is None else settings.linger_seconds
        self.state = DetectState.NEW
        self._context = context
        self._refusal = refusal
        self._unsecured = unsecured
        self._tls = tls
        self._local = local
        self._first = b""  # what is not enough to tell what it is
        self._transport = transport
        decoder = FrameDecoder(settings.header_length, settings.login_payload_limit, context.login_lengths)
        self._stream = InboundStream(context, decoder)
        self._deadline = context.clock.now + seconds
        self._timer: Any = context.clock.call_later(seconds, self._timed_out)

    def data_received(self, data: bytes) -> None:
        if self.state is not DetectState.FRAMES:
            data = self._first + data
            opening = detect_protocol(data)
            if opening is None:
                self._first = data
                return
            self._first = b""
            if opening is DetectedProtocol.HTTP:
                self._go_to_the_web(data)
                return
            if opening is DetectedProtocol.TLS and self._tls and self.state is DetectState.NEW:
                self.state = DetectState.SECURED
                self._transport.start_tls(data)
                return
            if self.state is DetectState.NEW:
                self._refusal = self._refusal or self._unsecured
            self.state = DetectState.FRAMES
        payload = self._stream.decoder.receive_one(data)
        if payload is not None:
            self._timer.cancel()
            self._hand_over(payload)
        elif self._stream.decoder.error is not None:
            self._fail(self._stream.decoder.error)

    def eof_received(self) -> None:
        self._stream.decoder.receive_one(self._first)
        error = self._stream.receive_eof()
        if error is not None:
            self._transport.close(str(error))

    def connection_lost(self, reason: str | None) -> None:
        self._timer.cancel()
        if self.state in {DetectState.SECURED, DetectState.HTTP} and reason in _OF_BROWSERS:
            return  # there are several of these for each page that is opened
        self._context.observer.closed_before_login(self._transport.address, reason)

    # ----------------------------------------------------------------------------------------------------

    def _go_to_the_web(self, data: bytes) -> None:
        self._timer.cancel()
        web = self._context.web
        if web is None:
            self.state = DetectState.HTTP
            self._transport.close(None, _NO_WEB)
            return
        tls = self.state is DetectState.SECURED
        session = web(
            self._context, self._transport, self._deadline, self._refusal, tls=tls, local=self._local
        )
        self._transport.set_handler(session)
        session.data_received(data)

    def _hand_over(self, payload: bytes) -> None:
        session: ClassicSession | SelchatSession
        settings = self._context.settings
        is_selchat = settings.header_length >= _MIN_SELCHAT_HEADER and is_hello(payload)
        if self._refusal is not None:
            self._refuse(self._refusal, is_selchat)
            return
        if is_selchat:
            session = SelchatSession(
                self._context,
                self._transport,
                self._stream,
                self._context.selchat,
                settings.ping_seconds,
                self._deadline,
            )
        elif self._context.gate is not None:
            self._fail(PasswordNeededError())  # there is no place for one on that wire
            return
        else:
            session = ClassicSession(self._context, self._transport, self._stream)
        self._transport.set_handler(session)
        session.first_payload_received(payload)

    def _fail(self, error: SelchatError) -> None:
        """Tell the peer why, in the way that most clients can read, and close."""
        notice = self._context.classic.encode([Notice(f"Closing this connection: {error}.")])
        self._transport.close(str(error), notice)

    def _refuse(self, refusal: SelchatError, is_selchat: bool) -> None:
        if not is_selchat:
            self._fail(refusal)
            return
        rich = self._context.selchat
        if isinstance(refusal, RefusalError):
            last = rich.error(refusal) + rich.bye(refusal.code)
        else:
            last = rich.bye("full", self._context.settings.full_retry)
        self._transport.close(str(refusal), last)

    def _timed_out(self) -> None:
        if self.state is DetectState.SECURED:
            # Mostly one that a browser has opened for later. It would take the paper's frames for an answer
            # to what it is just about to ask.
            self._transport.close(None)
        else:
            self._fail(self._refusal or LoginTimeoutError(self._context.settings.login_seconds))
