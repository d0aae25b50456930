"""A session with a browser, or with whoever else speaks HTTP: files, and the way to a WebSocket.

The WebSocket itself is a session on the selchat protocol like any other (`selchat.sessions.selchat`), to which the
connection is handed over.

No page from elsewhere may use this server by way of its readers' browsers. A request has to name this server
by one of its own names (``Host``), so that nobody's own domain can be made to lead here (DNS rebinding), and
if a page has made it (``Origin``), that page has to be from here.
"""

from __future__ import annotations

import html
import ipaddress
import math
import re
from collections.abc import Callable
from dataclasses import replace
from enum import Enum, auto
from typing import Any
from urllib.parse import parse_qsl, unquote

from selchat.errors import MissingExtraError, RefusalError, SelchatError
from selchat.sessions.context import Context, Transport
from selchat.sessions.http.api import CONTENT_TYPE, Answer
from selchat.sessions.http.security_txt import NONE
from selchat.sessions.http.static import File, Site
from selchat.sessions.inbound import InboundStream, message_bucket
from selchat.sessions.selchat import SelchatSession
from selchat.wire.http import HttpConnection, HttpError, Request, Response
from selchat.wire.websocket import MessageDecoder, open_websocket

# The text format of Prometheus, https://prometheus.io/docs/instrumenting/exposition_formats/
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LASTING = "public, max-age=31536000, immutable"
_FRESH = {"Cache-Control": "no-store"}
_EVERY = {
    # Nothing from elsewhere, nothing inline, nobody's frame.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_AUTHORITY = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[0-9a-z._-]+)(?::(?P<port>[1-9][0-9]{0,4}))?\Z")
_POST = re.compile(r"/rooms/(?P<room>[^/]+)/messages\Z")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


class HttpState(Enum):
    """Where a session is in its life.

    =========  =====================================  ===================================
    state      means                                  next
    =========  =====================================  ===================================
    READING    a request is awaited, or is not whole  ANSWERING, SENDING; ENDED, also by a
                                                      WebSocket, which is another session
    ANSWERING  what was posted is with the log, and   SENDING
               nothing is read
    SENDING    an answer is on its way, and nothing   READING when all of it is sent, and it
               is read                                is time for another request
    ENDED      the connection is closed, or closing   (final)
    =========  =====================================  ===================================
    """

    READING = auto()
    ANSWERING = auto()
    SENDING = auto()
    ENDED = auto()


class HttpSession:
    """One peer that speaks HTTP. See `selchat.sessions.context.Web` for what it is made of."""

    __slots__ = (
        "_context",
        "_http",
        "_local",
        "_refusal",
        "_requests",
        "_site",
        "_timer",
        "_tls",
        "_transport",
        "state",
    )

    wire_name = "http"

    def __init__(
        self,
        site: Site,
        context: Context,
        transport: Transport,
        deadline: float,
        refusal: SelchatError | None,
        *,
        tls: bool,
        local: bool,
    ) -> None:
        self.state = HttpState.READING
        self._site = site
        self._context = context
        self._transport = transport
        self._refusal = refusal
        self._tls = tls
        self._local = local
        self._http = HttpConnection(site.posting.body_limit)
        self._requests = message_bucket(context.settings, context.clock.now)
        self._timer: Any = context.clock.call_later(deadline - context.clock.now, self._timed_out)

    # -- the connection's side -------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._http.receive_data(data)
        if self.state is HttpState.READING:
            self._read()

    def eof_received(self) -> None:
        # Whoever has asked and then closed its side has its answer all the same: it is queued.
        if self.state is HttpState.READING and self._http.begun:
            self._close_with(HttpError(400, "the request ended before it was whole"))

    def connection_lost(self, reason: str | None) -> None:
        at_rest = self.state is HttpState.READING and not self._http.begun
        self.state = HttpState.ENDED
        self._timer.cancel()
        if reason is not None and not at_rest:  # else a browser has got what it wanted
            self._context.observer.closed_before_login(self._transport.address, reason)

    # ----------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Answer the next request, if it is whole."""
        try:
            request = self._http.next_request()
        except HttpError as error:
            self._close_with(error)
            return
        if request is None:
            if self._http.wants_continue:
                self._transport.outbox.reply(self._http.go_on())
            return
        self._timer.cancel()
        try:
            self._check(request)
            self._answer(request)
        except HttpError as error:
            self._send(_told(error))

    def _check(self, request: Request) -> None:
        """Raise `HttpError` for whoever may not have anything here."""
        if self._refusal is not None:
            status = 403 if isinstance(self._refusal, RefusalError) else 503
            soon = {"Retry-After": f"{math.ceil(self._context.settings.full_retry)}"}
            raise HttpError(status, f"{self._refusal}", soon if status == 503 else None)
        found = _authority(request.header("host"))
        if found is None:
            raise HttpError(400, "a request names its host here")
        name = found["name"].strip("[]")
        if not self._site.is_ours(name):
            raise HttpError(
                421, f"this server is not called {name}; if it should be: selchat serve --allowed-host={name}"
            )
        if "origin" in request.headers and not _is_of(request.header("origin"), found, self._tls):
            raise HttpError(403, "pages from elsewhere cannot use this server")

    def _answer(self, request: Request) -> None:
        if self._site.fingerprint and not self._tls and not self._local:
            self._send(self._to_tls(request))
            return
        room = _POST.match(request.path)
        if room is not None:
            self._post(request, room["room"])
        else:
            _ROUTES.get(request.path, HttpSession._file)(self, request)

    def _file(self, request: Request) -> None:
        file = self._site.files.find(request.path)
        if file is None:
            raise HttpError(404, f"there is nothing at {request.path}; the chat is at /")
        _check_reads(request)
        self._send(_sent(file, request))

    def _health(self, request: Request) -> None:
        """Say that the loop goes round: whoever reads this knows."""
        _check_reads(request)
        self._send(Response(200, b"ok\n", headers=_FRESH))

    def _readiness(self, request: Request) -> None:
        _check_reads(request)
        status, text = self._site.operations.ready()
        self._send(Response(status, f"{text}\n".encode(), headers=_FRESH))

    def _metrics(self, request: Request) -> None:
        _check_reads(request)
        try:
            body = self._site.operations.metrics()
        except MissingExtraError as error:
            raise HttpError(501, str(error)) from error
        self._send(Response(200, body, METRICS_TYPE, _FRESH))

    def _security_txt(self, request: Request) -> None:
        _check_reads(request)
        text = self._site.operations.security_txt()
        if text is None:
            raise HttpError(404, NONE.rstrip())
        self._send(Response(200, text.encode(), headers=_FRESH))

    def _post(self, request: Request, room: str) -> None:
        """Say something for a script, and answer when the log has it."""
        if request.method != "POST":
            raise HttpError(
                405, "this is where messages are posted; docs/http.rst says how", {"Allow": "POST"}
            )
        try:
            name = unquote(room, errors="strict")
        except UnicodeDecodeError:
            raise HttpError(400, "the name of the room is not UTF-8") from None
        query = dict(parse_qsl(request.query, keep_blank_values=True))
        self.state = HttpState.ANSWERING
        self._transport.pause()
        self._site.posting.post(
            name, request.headers, query, request.body, self._transport.address, self._posted
        )

    def _posted(self, answer: Answer) -> None:
        if self.state is HttpState.ANSWERING:
            headers = {**dict(answer.headers), **_FRESH}
            self._send(Response(answer.status, answer.body, CONTENT_TYPE, headers))

    def _open_websocket(self, request: Request) -> None:
        """Go on as a session on the selchat protocol, in WebSocket messages."""
        if request.method != "GET":
            raise HttpError(405, "a WebSocket is opened by GET", {"Allow": "GET"})
        context, transport = self._context, self._transport
        settings = context.settings
        protocol, answer = open_websocket(request, settings.login_payload_limit)
        stream = InboundStream(context, MessageDecoder(protocol, transport.outbox.reply))
        deadline = context.clock.now + settings.login_seconds
        session = SelchatSession(
            context, transport, stream, self._site.format, settings.web_ping_seconds, deadline
        )
        self.state = HttpState.ENDED
        transport.set_handler(session)
        transport.outbox.reply(answer)
        if self._http.trailing:
            session.data_received(self._http.trailing)

    def _to_tls(self, request: Request) -> Response:
        """Send a browser to the same place by TLS, and tell whoever reads it why it is going to warn.

        A person reads that, and then goes on; a program goes there at once. What is posted is refused, as
        whoever sent a token with it should know that it was heard.
        """
        if request.method not in {"GET", "HEAD"}:
            raise HttpError(
                403, "this came unencrypted, and with all that is in it; use https://, and another token"
            )
        target = f"https://{request.header('host')}{request.path}"
        if request.query:
            target += f"?{request.query}"
        body = _WHY_IT_WARNS.format(
            target=html.escape(target), key=self._site.fingerprint, certificate=self._site.certificate
        ).encode()
        type = "text/html; charset=utf-8"
        if request.path == "/" and "text/html" in request.header("accept"):
            return Response(200, body, type, _FRESH)
        return Response(308, body, type, {"Location": target, **_FRESH})

    # ----------------------------------------------------------------------------------------------------

    def _send(self, response: Response) -> None:
        self.state = HttpState.SENDING
        close = self._refusal is not None
        self._transport.outbox.reply(self._http.respond(_guarded(response), close=close))
        if self._http.must_close:
            self._transport.close(None if self._refusal is None else str(self._refusal))
            return
        self._transport.pause()
        self._timer = self._context.clock.call_later(self._context.settings.frame_seconds, self._timed_out)
        self._transport.outbox.when_replies_sent(self._sent)

    def _sent(self) -> None:
        self._timer.cancel()
        # In a tick of its own: this is called from within the sending.
        self._timer = self._context.clock.call_later(self._wait(), self._go_on)

    def _wait(self) -> float:
        """Return the seconds until the next request may be read.

        The message rate also limits requests: a request costs more than a message, and needs no login.
        """
        self._requests.refill(self._context.clock.now)
        self._requests.tokens -= 1
        return self._requests.wait(0)

    def _go_on(self) -> None:
        """Read the next request."""
        if self.state is not HttpState.SENDING:
            return
        self.state = HttpState.READING
        clock, settings = self._context.clock, self._context.settings
        self._timer = clock.call_later(settings.login_seconds, self._timed_out)
        self._transport.resume()
        self._read()

    def _timed_out(self) -> None:
        if self.state is HttpState.SENDING:
            self._transport.close("an answer not taken in time")
        elif self._http.begun:
            self._close_with(HttpError(408, "a request not finished in time"))
        else:
            self._transport.close(None)

    def _close_with(self, error: HttpError) -> None:
        """Answer what is no request, or none that can be read to its end."""
        self._transport.close(str(error), self._http.respond(_guarded(_told(error)), close=True))


_ROUTES: dict[str, Callable[[HttpSession, Request], None]] = {
    "/ws": HttpSession._open_websocket,
    "/healthz": HttpSession._health,
    "/readyz": HttpSession._readiness,
    "/metrics": HttpSession._metrics,
    "/.well-known/security.txt": HttpSession._security_txt,
}


def _check_reads(request: Request) -> None:
    if request.method not in {"GET", "HEAD"}:
        raise HttpError(405, "this is only to be read", {"Allow": "GET, HEAD"})


def _guarded(response: Response) -> Response:
    """Return it with what every answer tells browsers not to do."""
    return replace(response, headers={**_EVERY, **response.headers})


def _told(error: HttpError) -> Response:
    return Response(error.status, f"{error.why}\n".encode(), headers={**_FRESH, **error.headers})


def _sent(file: File, request: Request) -> Response:
    headers = {
        "Cache-Control": _LASTING if file.lasting else "no-cache",
        "ETag": file.tag,
        "Vary": "Accept-Encoding",
    }
    known = request.header("if-none-match")
    if file.tag.removeprefix("W/") in known or known == "*":
        return Response(304, headers=headers)
    if file.packed and _takes_gzip(request.header("accept-encoding")):
        return Response(200, file.packed, file.type, {**headers, "Content-Encoding": "gzip"})
    return Response(200, file.body, file.type, headers)


def _takes_gzip(accepted: str) -> bool:
    for one in accepted.lower().split(","):
        name, _, weight = one.partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


def _authority(text: str) -> re.Match[str] | None:
    """Return the ``name`` and the ``port`` (None: the default) of a host in a URL; None: it is none."""
    found = _AUTHORITY.match(text.lower())
    if found is None or int(found["port"] or 1) > 65535:
        return None
    if text.startswith("["):
        try:
            ipaddress.IPv6Address(found["name"].strip("[]"))
        except ValueError:
            return None
    return found


def _is_of(origin: str, host: re.Match[str], tls: bool) -> bool:
    """Whether that origin (RFC 6454) is of a page of this server, as it was asked for by that host.

    By TLS it has to be one that came by TLS. Without, the TLS may end at a proxy before this server.
    """
    scheme, _, authority = origin.lower().partition("://")
    found = _authority(authority)
    if scheme not in _DEFAULT_PORTS or (tls and scheme != "https"):
        return False
    if found is None or found["name"] != host["name"]:
        return False
    default = _DEFAULT_PORTS[scheme]
    return (found["port"] or default) == (host["port"] or default)


_WHY_IT_WARNS = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>selchat: one step more</title>
<h1>One step more</h1>
<p>This chat talks encrypted, and your browser is about to warn you: <em>your connection is not private</em>.
Nobody but this server vouches for who it is, because that takes a name on the internet, and this is a
server of your own network.
<p>When the warning comes, open its details, and look at the certificate. If its SHA-256 fingerprint is the
one below, and the one that whoever runs the server reads to you from its terminal, it is this server: go on.
<dl>
<dt>Of the certificate<dd><code>{certificate}</code>
<dt>Of its public key<dd><code>{key}</code>
</dl>
<p>This page itself came unencrypted: whoever can change what your network carries can change this page as
well. That is why the terminal of the server has the last word.
<p><a href="{target}">Go on to {target}</a>
</html>
"""
