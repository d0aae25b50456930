"""HTTP session: static files, the message API and the WebSocket handshake.

After the handshake, a `SelchatSession` takes over the connection.

The session rejects requests that a foreign page makes through a user's browser. The ``Host`` header must be a
name of this server, so that an attacker's domain cannot resolve to this server (DNS rebinding). The
``Origin`` header, which browsers send with the requests of a page, must be this server too.
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

from selchat.addresses import host_of
from selchat.config.settings import Costs
from selchat.errors import BannedError, MissingExtraError, RefusalError, SelchatError
from selchat.limits import MAX_PATH_SHOWN, MAX_QUERY_FIELDS, MAX_REDIRECT_TARGET, ROOM_LENGTH
from selchat.sessions.context import Context, Transport
from selchat.sessions.http.api import (
    CONTENT_TYPE,
    ApiResponse,
    Posting,
    error_response,
    http_error_response,
)
from selchat.sessions.http.security_txt import NO_CONTACT
from selchat.sessions.http.static import File, Site
from selchat.sessions.inbound import InboundStream, byte_bucket, message_bucket
from selchat.sessions.selchat import SelchatSession
from selchat.sessions.work import Meter
from selchat.wire.http import HttpConnection, HttpError, Request, Response
from selchat.wire.websocket import MessageDecoder, open_websocket

# Prometheus's text format, https://prometheus.io/docs/instrumenting/exposition_formats/
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
IMMUTABLE = "public, max-age=31536000, immutable"
NO_STORE = {"Cache-Control": "no-store"}
SECURITY_HEADERS = {
    # No foreign sources, no inline code, no framing.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_AUTHORITY = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[0-9a-z._-]+)(?::(?P<port>[1-9][0-9]{0,4}))?\Z")
_MESSAGES_PATH = re.compile(r"/rooms/(?P<room>[^/]+)/messages\Z")
_API_PATH = "/rooms/"
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LONGEST_ROOM = 12 * ROOM_LENGTH  # characters: each byte of UTF-8 is percent-encoded
_MAX_HOST = 255 + len(":65535")  # characters; RFC 1035, 2.3.4
_GZIP = re.compile(r"(?:^|,)\s*gzip\s*(?:;\s*q\s*=\s*([0-9.]+)\s*)?(?:,|$)")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


class HttpState(Enum):
    """The life of a session. The server reads only in READING and BODY.

    =========  ======================================  ====================================
    state      means                                   next
    =========  ======================================  ====================================
    READING    the server waits for a head             WAITING, BODY, SENDING; ENDED after
                                                       a WebSocket handshake
    WAITING    a head is complete, but has to wait:    READING
               others have used up this tick
    BODY       the head of a posted message is         ANSWERING
               accepted; its body is incomplete
    ANSWERING  the log stores the posted message       SENDING
    SENDING    the response is not sent completely,    READING
               or the next request is rate limited
    ENDED      the connection is closing or closed,    (final)
               or a `SelchatSession` has it
    =========  ======================================  ====================================
    """

    READING = auto()
    WAITING = auto()
    BODY = auto()
    ANSWERING = auto()
    SENDING = auto()
    ENDED = auto()


class HttpSession:
    """One HTTP client. `selchat.sessions.context.HttpSessionFactory` documents the parameters."""

    __slots__ = (
        "_bytes",
        "_context",
        "_deadline",
        "_http",
        "_local",
        "_meter",
        "_next_step",
        "_posting",
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
        meter: Meter,
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
        self._meter = meter
        self._refusal = refusal
        self._tls = tls
        self._local = local
        settings, now = context.settings, context.clock.now
        self._http = HttpConnection(
            site.api.body_limit, settings.http_head_limit, settings.http_headers, settings.http_chunks
        )
        self._posting: Posting | None = None  # the message whose body is incomplete
        self._requests = message_bucket(settings, now)
        self._bytes = byte_bucket(settings, now)
        self._deadline = deadline
        self._timer: Any = context.clock.call_later(deadline - now, self._timed_out)
        self._next_step: Any = None  # the timer that continues to read; None: not before new data comes

    # -- calls from the connection ---------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._count_bytes(len(data))
        self._http.receive_data(data)
        if self._reads and self._next_step is None:
            self._read()

    def eof_received(self) -> None:
        # A client that closes its side after a whole request still gets the response, which is queued.
        if self._reads and self._http.has_partial_request:
            self._close_with(HttpError(400, "the request is incomplete"))

    def connection_lost(self, reason: str | None) -> None:
        idle = self.state is HttpState.READING and not self._http.has_partial_request
        self.state = HttpState.ENDED
        self._cancel_timers()
        self._meter.close()
        if reason is not None and not idle:  # browsers close idle connections
            self._context.observer.closed_before_login(self._transport.address, reason)

    # ----------------------------------------------------------------------------------------------------

    @property
    def _reads(self) -> bool:
        return self.state is HttpState.READING or self.state is HttpState.BODY

    def _read(self) -> None:
        """Parse one head, or a part of a body; then wait for data, or for the next step."""
        try:
            if self.state is HttpState.READING:
                self._read_head()
            if self.state is HttpState.BODY:
                self._read_body()
        except HttpError as error:
            self._close_with(error)
            return
        if self._reads:
            self._pace()

    def _read_head(self) -> None:
        """Answer the next request if its head is complete, or begin to read its body."""
        if not self._http.find_head():
            return
        if self._refusal is None and not self._meter.admit(Costs.REQUEST):
            self.state = HttpState.WAITING
            self._timer.cancel()  # the client has done its part
            self._transport.pause()
            self._meter.call_when_free(self._work_is_free)
            return
        request = self._http.next_request()
        assert request is not None
        try:
            self._check(request)
            self._answer(request)
        except HttpError as error:
            self._send(self._error_response(error))

    def _read_body(self) -> None:
        """Send the posted message if its body is complete."""
        body = self._http.read_body()
        self._count_bytes(self._http.overhead)
        if body is not None:
            posting, self._posting = self._posting, None
            assert posting is not None
            self._timer.cancel()
            self.state = HttpState.ANSWERING
            self._transport.pause()
            self._site.api.finish(posting, body, self._send_api_response)
        elif self._http.expects_continue:
            self._transport.outbox.reply(self._http.continue_response())

    def _count_bytes(self, size: int) -> None:
        self._bytes.refill(self._context.clock.now)
        self._bytes.tokens -= size

    def _pace(self) -> None:
        """Pause reading while this client is over its byte rate, or has more to parse in the next tick."""
        self._bytes.refill(self._context.clock.now)
        wait = self._bytes.wait(0)
        if not wait and not self._http.has_more_chunks:
            return
        self._transport.pause()
        self._next_step = self._context.clock.call_later(wait, self._continue)
        if wait:  # the client cannot send the rest before
            self._set_deadline(self._deadline + wait)

    def _continue(self) -> None:
        self._next_step = None
        self._read()
        if self._reads and self._next_step is None:
            self._transport.resume()

    def _work_is_free(self) -> None:
        if self.state is HttpState.WAITING:
            self._start_reading()

    def _set_deadline(self, deadline: float) -> None:
        """Set when the request must be complete, on the clock."""
        self._timer.cancel()
        self._deadline = deadline
        self._timer = self._context.clock.call_later(deadline - self._context.clock.now, self._timed_out)

    def _cancel_timers(self) -> None:
        self._timer.cancel()
        if self._next_step is not None:
            self._next_step.cancel()
            self._next_step = None

    def _check(self, request: Request) -> None:
        """Raise `HttpError` if this client or this page may not use the server."""
        try:  # again for each request: the connection may be older than a ban
            self._context.hub.moderation.check_address(host_of(self._transport.address))
        except BannedError as error:
            self._refusal = error
        if self._refusal is not None:
            status = 403 if isinstance(self._refusal, RefusalError) else 503
            retry_after = {"Retry-After": f"{math.ceil(self._context.settings.full_retry)}"}
            code = self._refusal.code if isinstance(self._refusal, RefusalError) else "full"
            raise HttpError(status, f"{self._refusal}", retry_after if status == 503 else None, code)
        host = _parse_authority(request.header("host"))
        if host is None:
            raise HttpError(400, "the Host header is missing or invalid")
        name = host["name"].strip("[]")
        if not self._site.is_allowed_host(name):
            raise HttpError(
                421,
                f"{name} is not a name of this server. To allow it, its operator can run: "
                f"selchat serve --allowed-host={name}",
            )
        if "origin" in request.headers and not _is_same_origin(request.header("origin"), host, self._tls):
            raise HttpError(403, "pages from other sites cannot use this server", code="other-site")

    def _answer(self, request: Request) -> None:
        if self._site.fingerprint and not self._tls and not self._local:
            self._send(self._redirect_to_tls(request))
            return
        room = _MESSAGES_PATH.match(request.path)
        if room is not None:
            self._post(request, room["room"])
        else:
            _ROUTES.get(request.path, HttpSession._file)(self, request)

    def _file(self, request: Request) -> None:
        file = self._site.files.find(request.path)
        if file is None:
            raise HttpError(404, f"nothing at {request.path[:MAX_PATH_SHOWN]}. The chat is at /")
        _check_read_only(request)
        self._send(_file_response(file, request))

    def _health(self, request: Request) -> None:
        """Answer at all: that shows that the event loop runs."""
        _check_read_only(request)
        self._send(Response(200, b"ok\n", headers=NO_STORE))

    def _readiness(self, request: Request) -> None:
        _check_read_only(request)
        status, text = self._site.operations.ready()
        self._send(Response(status, f"{text}\n".encode(), headers=NO_STORE))

    def _metrics(self, request: Request) -> None:
        _check_read_only(request)
        self._meter.charge(Costs.METRICS)
        try:
            body = self._site.operations.metrics()
        except MissingExtraError as error:
            raise HttpError(501, str(error)) from error
        self._send(Response(200, body, METRICS_TYPE, NO_STORE))

    def _security_txt(self, request: Request) -> None:
        _check_read_only(request)
        text = self._site.operations.security_txt()
        if text is None:
            raise HttpError(404, NO_CONTACT.rstrip())
        self._send(Response(200, text.encode(), headers=NO_STORE))

    def _post(self, request: Request, room: str) -> None:
        """Read a message for a room, if the head of the request shows that its sender may send it."""
        if request.method != "POST":
            raise HttpError(405, "use POST to send a message; see docs/http.rst", {"Allow": "POST"})
        if _BAD_ESCAPE.search(room) is not None:  # `unquote` would take it for a part of the name
            raise HttpError(400, "a % in the room name must be written as %25")
        try:
            name = unquote(room, errors="strict") if len(room) <= _LONGEST_ROOM else room[:MAX_PATH_SHOWN]
        except UnicodeDecodeError:
            raise HttpError(400, "the room name is not UTF-8") from None
        try:
            query = parse_qsl(request.query, True, errors="strict", max_num_fields=MAX_QUERY_FIELDS)
        except UnicodeDecodeError:  # two ids must not become the same one
            raise HttpError(400, "the query is not UTF-8") from None
        except ValueError:
            raise HttpError(400, f"the query has more than {MAX_QUERY_FIELDS} fields") from None
        ids = tuple(value for key, value in query if key == "id")
        try:
            self._posting = self._site.api.begin(name, request.headers, ids, self._transport.address)
        except RefusalError as error:
            self._send(_api_response(error_response(error)))
            return
        self.state = HttpState.BODY

    def _send_api_response(self, response: ApiResponse) -> None:
        if self.state is HttpState.ANSWERING:
            self._send(_api_response(response))

    def _open_websocket(self, request: Request) -> None:
        """Accept the handshake and hand the connection over to a `SelchatSession`."""
        if request.method != "GET":
            raise HttpError(405, "use GET to open a WebSocket", {"Allow": "GET"})
        context, transport = self._context, self._transport
        settings = context.settings
        protocol, response = open_websocket(request, settings.login_payload_limit)
        self._meter.charge(Costs.SIGN_IN)
        stream = InboundStream(context, MessageDecoder(protocol, transport.outbox.reply), self._meter)
        deadline = context.clock.now + settings.login_seconds
        session = SelchatSession(
            context, transport, stream, self._site.format, settings.web_ping_seconds, deadline
        )
        self.state = HttpState.ENDED
        self._cancel_timers()
        transport.set_handler(session)
        transport.resume()  # `_read_next` has called this
        transport.outbox.reply(response)
        if self._http.trailing:
            session.data_received(self._http.trailing)

    def _redirect_to_tls(self, request: Request) -> Response:
        """Return a redirect to HTTPS with a page that explains the browser's certificate warning.

        For the chat's own address, the page comes without a redirect, so that the user can read it first.
        Posted messages are refused: their token was sent unencrypted, and its owner has to learn that.
        """
        if request.method not in {"GET", "HEAD"}:
            raise HttpError(
                403,
                "this request was not encrypted, so others can know its token; use https:// and a new token",
                code="not-encrypted",
            )
        target = f"https://{request.header('host')}{request.path}"
        if request.query:
            target += f"?{request.query}"
        if len(target) > MAX_REDIRECT_TARGET:  # the page contains it twice, with escapes
            raise HttpError(414, f"the address has more than {MAX_REDIRECT_TARGET} characters")
        body = _WARNING_PAGE.format(
            target=html.escape(target), key=self._site.fingerprint, certificate=self._site.certificate
        ).encode()
        type = "text/html; charset=utf-8"
        if request.path == "/" and "text/html" in request.header("accept"):
            return Response(200, body, type, NO_STORE)
        return Response(308, body, type, {"Location": target, **NO_STORE})

    # ----------------------------------------------------------------------------------------------------

    def _send(self, response: Response) -> None:
        self.state = HttpState.SENDING
        self._timer.cancel()
        close = self._refusal is not None
        self._transport.outbox.reply(self._http.respond(_add_security_headers(response), close=close))
        if self._http.must_close:
            self._transport.close(None if self._refusal is None else str(self._refusal))
            return
        self._transport.pause()
        self._timer = self._context.clock.call_later(self._context.settings.frame_seconds, self._timed_out)
        self._transport.outbox.when_replies_sent(self._response_sent)

    def _response_sent(self) -> None:
        self._timer.cancel()
        # In a separate tick, because this call comes from inside a flush.
        self._next_step = self._context.clock.call_later(self._throttle(), self._read_next)

    def _throttle(self) -> float:
        """Return the seconds until the next request may be read.

        The message rate also limits requests: a request costs more than a message, and needs no login.
        """
        self._requests.refill(self._context.clock.now)
        self._bytes.refill(self._context.clock.now)
        self._requests.tokens -= 1
        return max(self._requests.wait(0), self._bytes.wait(0))

    def _read_next(self) -> None:
        """Read the next request."""
        if self.state is HttpState.SENDING:
            self._start_reading()

    def _start_reading(self) -> None:
        self.state = HttpState.READING
        self._set_deadline(self._context.clock.now + self._context.settings.login_seconds)
        self._continue()

    def _timed_out(self) -> None:
        if self.state is HttpState.SENDING:
            self._transport.close("the client did not read the response in time")
        elif self._http.has_partial_request:
            self._close_with(HttpError(408, "the request was not completed in time"))
        else:
            self._transport.close(None)

    def _close_with(self, error: HttpError) -> None:
        """Respond to an invalid or incomplete request, and close the connection."""
        response = _add_security_headers(self._error_response(error))
        self._transport.close(str(error), self._http.respond(response, close=True))

    def _error_response(self, error: HttpError) -> Response:
        """Return the response: JSON for scripts, and a line of text for people."""
        if self._http.path.startswith(_API_PATH):
            return _api_response(http_error_response(error.status, error.why, error.headers, error.code))
        return Response(error.status, f"{error.why}\n".encode(), headers={**NO_STORE, **error.headers})


_ROUTES: dict[str, Callable[[HttpSession, Request], None]] = {
    "/ws": HttpSession._open_websocket,
    "/healthz": HttpSession._health,
    "/readyz": HttpSession._readiness,
    "/metrics": HttpSession._metrics,
    "/.well-known/security.txt": HttpSession._security_txt,
}


def _check_read_only(request: Request) -> None:
    if request.method not in {"GET", "HEAD"}:
        raise HttpError(405, "this address is read-only", {"Allow": "GET, HEAD"})


def _add_security_headers(response: Response) -> Response:
    return replace(response, headers={**SECURITY_HEADERS, **response.headers})


def _api_response(response: ApiResponse) -> Response:
    headers = {**dict(response.headers), **NO_STORE}
    return Response(response.status, response.body, CONTENT_TYPE, headers)


def _file_response(file: File, request: Request) -> Response:
    headers = {
        "Cache-Control": IMMUTABLE if file.immutable else "no-cache",
        "ETag": file.etag,
        "Vary": "Accept-Encoding",
    }
    cached = request.header("if-none-match")
    if file.etag.removeprefix("W/") in cached or cached == "*":
        return Response(304, headers=headers)
    if file.gzipped and _accepts_gzip(request.header("accept-encoding")):
        return Response(200, file.gzipped, file.type, {**headers, "Content-Encoding": "gzip"})
    return Response(200, file.body, file.type, headers)


def _accepts_gzip(accepted: str) -> bool:
    match = _GZIP.search(accepted.lower())
    return match is not None and match[1] not in {"0", "0.", "0.0", "0.00", "0.000"}


def _parse_authority(text: str) -> re.Match[str] | None:
    """Return ``name`` and ``port`` (None: the default) of a URL's authority; None if it is invalid."""
    match = _AUTHORITY.match(text.lower()) if len(text) <= _MAX_HOST else None
    if match is None or int(match["port"] or 1) > 65535:
        return None
    if text.startswith("["):
        try:
            ipaddress.IPv6Address(match["name"].strip("[]"))
        except ValueError:
            return None
    return match


def _is_same_origin(origin: str, host: re.Match[str], tls: bool) -> bool:
    """Whether an Origin (RFC 6454) names the server of the request's ``host``.

    With TLS, the origin must be https. Without, it may be https too: a proxy in front may end TLS.
    """
    scheme, _, authority = origin.lower().partition("://")
    match = _parse_authority(authority)
    if scheme not in _DEFAULT_PORTS or (tls and scheme != "https"):
        return False
    if match is None or match["name"] != host["name"]:
        return False
    default = _DEFAULT_PORTS[scheme]
    return (match["port"] or default) == (host["port"] or default)


_WARNING_PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>selchat: check the certificate</title>
<h1>Check the certificate</h1>
<p>This chat is encrypted, and your browser will warn you: <em>your connection is not private</em>. The
warning appears because only the server itself vouches for its certificate. A certificate that browsers trust
needs a name on the internet, and this server is on your own network.
<p>When the warning appears, open its details and look at the certificate. Compare its SHA-256 fingerprint
with the one below, and with the one in the server's terminal: ask the operator. If all are the same,
continue.
<dl>
<dt>Certificate fingerprint<dd><code>{certificate}</code>
<dt>Public key fingerprint<dd><code>{key}</code>
</dl>
<p>This page itself is not encrypted, so an attacker on your network could change it. Trust the fingerprint in
the server's terminal more than this page.
<p><a href="{target}">Continue to {target}</a>
</html>
"""
