"""Protocol detection: the first session of every connection.

The first bytes decide: TLS is decrypted first, an HTTP method begins an HTTP session, a `hello` a selchat
session, and everything else is the username of a classic client.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from typing import Any

from selchat.auth.login import PasswordNeededError
from selchat.config.settings import Costs
from selchat.errors import NOT_TRUSTED, RefusalError, SelchatError
from selchat.events import Notice
from selchat.sessions.classic import ClassicSession
from selchat.sessions.context import Context, Transport
from selchat.sessions.inbound import InboundStream, LoginTimeoutError
from selchat.sessions.selchat import SelchatSession
from selchat.wire.detect import DetectedProtocol, detect_protocol, is_hello
from selchat.wire.frames import FrameDecoder

# How browsers close connections: they open more than they need, and they close while they ask the user about
# the certificate (with a reset if unread data is left).
_BROWSER_REASONS = {None, NOT_TRUSTED, os.strerror(errno.ECONNRESET).lower()}
_MIN_SELCHAT_HEADER = 4  # bytes; in a shorter header, no error fits into a frame
_NO_PAGE = (
    "The web page of this server is disabled because a package is missing. "
    "Its operator can run: python3 -m pip install 'selchat[web]'"
)


class DetectState(Enum):
    """The progress of detection.

    =======  ===========================================  =============================================
    state    means                                        next
    =======  ===========================================  =============================================
    NEW      no protocol is known                         SECURED, FRAMES, HTTP or an HTTP session
    SECURED  TLS; the protocol inside it is not known     FRAMES, HTTP or an HTTP session
    FRAMES   frames; the first payload is incomplete      a classic or selchat session
    HTTP     HTTP, which this server cannot answer        (final)
    =======  ===========================================  =============================================
    """

    NEW = auto()
    SECURED = auto()
    FRAMES = auto()
    HTTP = auto()


class DetectSession:
    """One peer whose protocol is not known yet.

    ``refusal``: why the server refuses this peer. The session sends it in the peer's protocol once that is
    known. ``plaintext_refusal``: the same for a peer that does not use TLS. ``tls``: the server supports TLS.
    ``local``: the peer is on this machine, so that plaintext is safe.
    """

    __slots__ = (
        "_context",
        "_deadline",
        "_first",
        "_local",
        "_meter",
        "_plaintext_refusal",
        "_refusal",
        "_stream",
        "_timer",
        "_tls",
        "_transport",
        "state",
    )

    wire_name = "opening"

    def __init__(
        self,
        context: Context,
        transport: Transport,
        refusal: SelchatError | None = None,
        plaintext_refusal: SelchatError | None = None,
        *,
        tls: bool = False,
        local: bool = True,
    ) -> None:
        settings = context.settings
        seconds = settings.login_seconds if refusal is None else settings.linger_seconds
        self.state = DetectState.NEW
        self._context = context
        self._refusal = refusal
        self._plaintext_refusal = plaintext_refusal
        self._tls = tls
        self._local = local
        self._first = b""  # bytes that do not decide yet
        self._transport = transport
        decoder = FrameDecoder(settings.header_length, settings.login_payload_limit, context.login_lengths)
        self._meter = context.work.meter(transport.address)
        self._meter.charge_later(Costs.CONNECTION)
        self._stream = InboundStream(context, decoder, self._meter)
        self._deadline = context.clock.now + seconds
        self._timer: Any = context.clock.call_later(seconds, self._timed_out)

    def data_received(self, data: bytes) -> None:
        if self.state is not DetectState.FRAMES:
            data = self._first + data
            protocol = detect_protocol(data)
            if protocol is None:
                self._first = data
                return
            self._first = b""
            if protocol is DetectedProtocol.HTTP:
                self._start_http(data)
                return
            if protocol is DetectedProtocol.TLS and self._tls and self.state is DetectState.NEW:
                self.state = DetectState.SECURED
                self._when_admitted(Costs.HANDSHAKE, self._transport.start_tls, data)
                return
            if self.state is DetectState.NEW:
                self._refusal = self._refusal or self._plaintext_refusal
            self.state = DetectState.FRAMES
        payload = self._stream.decoder.receive_one(data)
        if payload is not None:
            self._when_admitted(Costs.SIGN_IN, self._start_session, payload)
        elif self._stream.decoder.error is not None:
            self._fail(self._stream.decoder.error)

    def eof_received(self) -> None:
        self._stream.decoder.receive_one(self._first)
        error = self._stream.receive_eof()
        if error is not None:
            self._transport.close(str(error))

    def connection_lost(self, reason: str | None) -> None:
        self._timer.cancel()
        self._meter.close()
        if self.state in {DetectState.SECURED, DetectState.HTTP} and reason in _BROWSER_REASONS:
            return  # not worth a log line: browsers cause several of these for each page
        self._context.observer.closed_before_login(self._transport.address, reason)

    # ----------------------------------------------------------------------------------------------------

    def _when_admitted(
        self, cost: float, proceed: Callable[[bytes], object], data: bytes, *, paused: bool = False
    ) -> None:
        """Call ``proceed(data)`` once the work limits admit it, and read nothing before."""
        if not self._meter.admit(cost):
            self._transport.pause()
            self._meter.call_when_free(partial(self._when_admitted, cost, proceed, data, paused=True))
            return
        if paused:
            self._transport.resume()
        proceed(data)

    def _start_http(self, data: bytes) -> None:
        self._timer.cancel()
        new_http_session = self._context.new_http_session
        if new_http_session is None:
            self.state = DetectState.HTTP
            self._transport.close(None, _no_http(data))
            return
        tls = self.state is DetectState.SECURED
        session = new_http_session(
            self._context,
            self._transport,
            self._meter,
            self._deadline,
            self._refusal,
            tls=tls,
            local=self._local,
        )
        self._transport.set_handler(session)
        session.data_received(data)

    def _start_session(self, payload: bytes) -> None:
        self._timer.cancel()
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
        elif self._context.authenticator is not None:
            self._fail(PasswordNeededError())  # the classic protocol has no place for a password
            return
        else:
            session = ClassicSession(self._context, self._transport, self._stream)
        self._transport.set_handler(session)
        session.first_payload_received(payload)

    def _fail(self, error: SelchatError) -> None:
        """Send the reason as a classic message, which most clients can show, and close the connection."""
        notice = self._context.classic.encode([Notice(f"Closing this connection: {error}.")])
        self._transport.close(str(error), notice)

    def _refuse(self, refusal: SelchatError, is_selchat: bool) -> None:
        if not is_selchat:
            self._fail(refusal)
            return
        format = self._context.selchat
        if isinstance(refusal, RefusalError):
            frames = format.error(refusal) + format.bye(refusal.code)
        else:
            frames = format.bye("full", self._context.settings.full_retry)
        self._transport.close(str(refusal), frames)

    def _timed_out(self) -> None:
        if self.state is DetectState.SECURED:
            # Usually a browser preconnect; a frame would look like its HTTP response.
            self._transport.close(None)
        else:
            self._fail(self._refusal or LoginTimeoutError(self._context.settings.login_seconds))


def _no_http(request: bytes) -> bytes:
    """Return the response of a server that cannot speak HTTP: JSON for a script, as in docs/http.rst.

    ``request`` may have no more than its method. Only scripts post.
    """
    if request.startswith(b"POST "):
        kind, text = "application/json", json.dumps({"error": "not-supported", "message": _NO_PAGE})
    else:
        kind, text = "text/plain; charset=utf-8", _NO_PAGE
    body = f"{text}\n".encode()
    head = f"HTTP/1.1 501 Not Implemented\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body
