"""HTTP/1.1 codec for one server connection: h11 parses, this module adds limits.

It knows no paths, no pages and no chat. It reads one request at a time; a pipelined request waits until the
response to the one before is written (RFC 9112, 9.3.2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus

import h11

from selchat.errors import ProtocolError


class HttpError(ProtocolError):
    """A failed request. ``status`` and ``headers`` go into the response; ``why``: the reason in words."""

    def __init__(self, status: int, why: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, why)
        self.status = status
        self.why = why
        self.headers = headers or {}

    def __str__(self) -> str:
        return f"HTTP {self.status}: {self.why}"


HEAD_LIMIT = 16 * 1024  # bytes of a request line and headers; nginx: 4 x 8 KiB, Apache: 8 KiB a line
_PIECE = 2048  # bytes passed to h11 at a time: h11 copies its buffer for each event
_FOLDS = (b"\r\n ", b"\r\n\t")
# Quotes in h11's error messages. They can contain a token, and errors are logged.
_QUOTED = re.compile(r":? b(?:ytearray\(b)?['\"].*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Request:
    """One complete request. ``path`` and ``query`` are not percent-decoded.

    ``headers`` are by name in lower case; repeated headers are joined with a comma.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""
    head: bytes = field(default=b"", repr=False)  # request line and headers, serialised again

    def header(self, name: str) -> str:
        """Return the header with that name (in lower case), or an empty string."""
        return self.headers.get(name, "")

    @property
    def upgrades(self) -> bool:
        """Whether the client requests a WebSocket."""
        return "websocket" in (name.strip() for name in self.header("upgrade").lower().split(","))


@dataclass(frozen=True, slots=True)
class Response:
    """One response. ``headers``: in addition to the ones that every response has."""

    status: int
    body: bytes = b""
    type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


class HttpConnection:
    """The server's side of one HTTP connection. Bodies have up to ``body_limit`` bytes."""

    __slots__ = (
        "_body",
        "_body_limit",
        "_connection",
        "_head",
        "_head_limit",
        "_head_only",
        "_lines",
        "_raw_body_size",
        "_unparsed",
    )

    def __init__(self, body_limit: int, head_limit: int = HEAD_LIMIT) -> None:
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=head_limit)
        self._body_limit = body_limit
        self._head_limit = head_limit
        self._head_only = False  # the last request was a HEAD
        self._head: h11.Request | None = None  # of the request whose body is incomplete
        self._body = bytearray()
        self._raw_body_size = 0  # bytes of the body with its chunk headers
        self._unparsed = bytearray()  # bytes not passed to h11 yet
        self._lines = b""  # the head, or the trailer of a chunked body, as far as it is parsed

    @property
    def has_partial_request(self) -> bool:
        """Whether a part of an unanswered request has arrived."""
        states = {h11.IDLE, h11.DONE, h11.MUST_CLOSE, h11.CLOSED}
        return self._connection.their_state not in states or bool(self.trailing)

    @property
    def expects_continue(self) -> bool:
        """Whether the client sends the body only after a 100 response."""
        return bool(self._connection.they_are_waiting_for_100_continue)

    @property
    def trailing(self) -> bytes:
        """The bytes after the last request."""
        return bytes(self._connection.trailing_data[0]) + self._unparsed

    def receive_data(self, data: bytes) -> None:
        """Feed the next bytes; `next_request` parses them."""
        self._unparsed += data

    def next_request(self) -> Request | None:
        """Return the next request if it is complete and the one before is answered. Raises `HttpError`."""
        connection = self._connection
        before: bytes | bytearray = b""
        try:
            if connection.our_state is h11.DONE and connection.their_state is h11.DONE:
                connection.start_next_cycle()
                self._head_only = False
            while True:
                before = connection.trailing_data[0]
                event = connection.next_event()
                self._lines += before[: len(before) - len(connection.trailing_data[0])]
                if isinstance(event, h11.Request):
                    self._head_only = event.method == b"HEAD"
                    self._check_lines()
                    self._check(event)
                    self._head = event
                elif isinstance(event, h11.Data):
                    self._body += event.data
                    self._lines = b""  # h11 checks the lines between chunks strictly
                    if len(self._body) > self._body_limit:
                        raise HttpError(413, f"the body exceeds the limit of {self._body_limit} bytes")
                elif isinstance(event, h11.EndOfMessage):
                    self._check_lines()
                    return self._request()
                elif event is h11.NEED_DATA and self._unparsed:
                    self._feed()
                else:  # h11 needs more data or the response, or the connection is over
                    return None
        except h11.RemoteProtocolError as error:
            if self._head is None:
                self._head_only = before.startswith(b"HEAD ")
            raise HttpError(error.error_status_hint, _QUOTED.sub("", str(error))) from error

    def continue_response(self) -> bytes:
        """Return the 100 response for a client that `expects_continue`."""
        return bytes(self._connection.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")

    def respond(self, response: Response, *, close: bool = False) -> bytes:
        """Return the response to the last request, valid or not; without the body for a HEAD.

        ``close``: the server reads no further request.
        """
        headers = [("Date", formatdate(usegmt=True)), *response.headers.items()]
        if response.status != HTTPStatus.NOT_MODIFIED:
            headers += [("Content-Type", response.type), ("Content-Length", str(len(response.body)))]
        if close:
            headers.append(("Connection", "close"))
        connection = self._connection
        reason = HTTPStatus(response.status).phrase.encode()
        try:
            head = h11.Response(status_code=response.status, headers=headers, reason=reason)
            parts = [connection.send(head)]
            if not self._head_only:
                parts.append(connection.send(h11.Data(data=response.body)))
            parts.append(connection.send(h11.EndOfMessage()))
        except h11.LocalProtocolError:
            # After an invalid request, h11 sends nothing more; the client still gets the response.
            lines = [f"HTTP/1.1 {response.status} {reason.decode()}"]
            lines += [f"{key}: {value}" for key, value in headers]
            parts = ["\r\n".join([*lines, "", ""]).encode("latin-1")]
            if not self._head_only:
                parts.append(response.body)
        return b"".join(bytes(part) for part in parts if part)

    @property
    def must_close(self) -> bool:
        """Whether no request can follow the last response."""
        return self._connection.our_state is not h11.DONE or self._connection.their_state is not h11.DONE

    # ----------------------------------------------------------------------------------------------------

    def _feed(self) -> None:
        """Feed h11 the next piece. Raises `HttpError` for a body that is mostly chunk headers."""
        piece = bytes(self._unparsed[:_PIECE])
        del self._unparsed[:_PIECE]
        if self._head is not None:
            self._raw_body_size += len(piece)
            if self._raw_body_size > self._body_limit + self._head_limit:
                raise HttpError(413, "the chunk headers of the body are too large")
        self._connection.receive_data(piece)

    def _check_lines(self) -> None:
        """Raise `HttpError` for heads that h11 accepts: a large one in one piece, bare LF, folded lines.

        A proxy in front might parse such lines in another way.
        """
        lines, self._lines = self._lines, b""
        if len(lines) > self._head_limit:
            raise HttpError(431, f"the head exceeds the limit of {self._head_limit} bytes")
        if lines.count(b"\n") != lines.count(b"\r\n"):
            raise HttpError(400, "lines must end with CR LF")
        if any(fold in lines for fold in _FOLDS):
            raise HttpError(400, "folded header lines are not supported")

    def _check(self, head: h11.Request) -> None:
        names = [name for name, _ in head.headers]
        if b"transfer-encoding" in names and b"content-length" in names:
            # A proxy in front might use the other of the two (request smuggling: RFC 9112, 6.1).
            raise HttpError(400, "Transfer-Encoding and Content-Length exclude each other")
        if head.http_version not in {b"1.0", b"1.1"}:
            raise HttpError(505, "only HTTP/1.1 is supported")
        if not head.target.startswith(b"/"):
            raise HttpError(400, "the request target must begin with a slash")
        for name, value in head.headers:
            if name == b"expect" and value.lower() != b"100-continue":
                raise HttpError(417, "only Expect: 100-continue is supported")
            if name == b"content-length" and int(value) > self._body_limit:
                raise HttpError(413, f"the body exceeds the limit of {self._body_limit} bytes")

    def _request(self) -> Request:
        head, self._head = self._head, None
        body, self._body, self._raw_body_size = bytes(self._body), bytearray(), 0
        assert head is not None
        headers: dict[str, str] = {}
        for name, value in head.headers:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        path, _, query = head.target.decode("latin-1").partition("?")
        lines = [b"%b %b HTTP/%b" % (head.method, head.target, head.http_version)]
        lines += [b"%b: %b" % pair for pair in head.headers]
        return Request(
            head.method.decode("ascii"), path, query, headers, body, b"\r\n".join([*lines, b"", b""])
        )
