"""HTTP/1.1 requests and answers, as bytes: the parsing is h11's, the limits are ours.

It must not know what is asked for: no path, no page, no chat. One request is read at a time; what follows
it waits until it has been answered (RFC 9112, 9.3.2).
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
    """A request that cannot be answered as it wants to be.

    ``status`` and ``headers``: the answer that it gets; ``why``: in words.
    """

    def __init__(self, status: int, why: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, why)
        self.status = status
        self.why = why
        self.headers = headers or {}

    def __str__(self) -> str:
        return f"HTTP {self.status}: {self.why}"


HEAD_LIMIT = 16 * 1024  # bytes of a request line and headers; nginx: 4 x 8 KiB, Apache: 8 KiB a line
_PIECE = 2048  # bytes that h11 is given at a time: what it holds is copied for each of its events
_FOLDS = (b"\r\n ", b"\r\n\t")
# What h11 quotes in its errors. It can be a whole line, with a token in it, and these errors are logged.
_QUOTED = re.compile(r":? b(?:ytearray\(b)?['\"].*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Request:
    """One request, whole. ``path`` and ``query`` as they were sent, with their escapes.

    ``headers`` by their names in lower case; those that came more than once are joined by a comma.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""
    head: bytes = field(default=b"", repr=False)  # the same without the body, written anew

    def header(self, name: str) -> str:
        """Return the header of that name (in lower case), empty if there is none."""
        return self.headers.get(name, "")

    @property
    def upgrades(self) -> bool:
        """Whether it asks to go on as a WebSocket."""
        return "websocket" in (one.strip() for one in self.header("upgrade").lower().split(","))


@dataclass(frozen=True, slots=True)
class Response:
    """One answer. ``headers`` beside those that every answer has."""

    status: int
    body: bytes = b""
    type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


class HttpConnection:
    """The server's side of one connection that speaks HTTP. Bodies have up to ``body_limit`` bytes."""

    __slots__ = (
        "_body",
        "_body_limit",
        "_connection",
        "_head",
        "_head_limit",
        "_head_only",
        "_lines",
        "_spent",
        "_waiting",
    )

    def __init__(self, body_limit: int, head_limit: int = HEAD_LIMIT) -> None:
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=head_limit)
        self._body_limit = body_limit
        self._head_limit = head_limit
        self._head_only = False  # the request that was read last was a HEAD
        self._head: h11.Request | None = None  # of the request whose body is being read
        self._body = bytearray()
        self._spent = 0  # bytes on it, with what is around its chunks
        self._waiting = bytearray()  # what h11 has not been given yet
        self._lines = b""  # of a head, or of what ends a body, as far as they have been read

    @property
    def begun(self) -> bool:
        """Whether a part of a request is here that is not answered."""
        states = {h11.IDLE, h11.DONE, h11.MUST_CLOSE, h11.CLOSED}
        return self._connection.their_state not in states or bool(self.trailing)

    @property
    def wants_continue(self) -> bool:
        """Whether the peer sends the body only when it is told to go on."""
        return bool(self._connection.they_are_waiting_for_100_continue)

    @property
    def trailing(self) -> bytes:
        """What came after a request that was read."""
        return bytes(self._connection.trailing_data[0]) + self._waiting

    def receive_data(self, data: bytes) -> None:
        """Take the next bytes; `next_request` says what they are."""
        self._waiting += data

    def next_request(self) -> Request | None:
        """Return the next request if it is whole and the one before is answered. Raises `HttpError`."""
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
                    self._lines = b""  # h11 is strict about those between chunks
                    if len(self._body) > self._body_limit:
                        raise HttpError(413, f"a body has up to {self._body_limit} bytes here")
                elif isinstance(event, h11.EndOfMessage):
                    self._check_lines()
                    return self._request()
                elif event is h11.NEED_DATA and self._waiting:
                    self._give()
                else:  # it waits for more, or for the answer, or is over
                    return None
        except h11.RemoteProtocolError as error:
            if self._head is None:
                self._head_only = before.startswith(b"HEAD ")
            raise HttpError(error.error_status_hint, _QUOTED.sub("", str(error))) from error

    def go_on(self) -> bytes:
        """Return what tells a peer that `wants_continue` to go on."""
        return bytes(self._connection.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")

    def respond(self, response: Response, *, close: bool = False) -> bytes:
        """Return the answer to the request that was read last, or to what was none; to a HEAD without a body.

        ``close``: nothing is read any more.
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
            # To a stream that broke in the middle of a request h11 says nothing more; the peer is told still.
            lines = [f"HTTP/1.1 {response.status} {reason.decode()}"]
            lines += [f"{key}: {value}" for key, value in headers]
            parts = ["\r\n".join([*lines, "", ""]).encode("latin-1")]
            if not self._head_only:
                parts.append(response.body)
        return b"".join(bytes(part) for part in parts if part)

    @property
    def must_close(self) -> bool:
        """Whether nothing can follow what was answered last."""
        return self._connection.our_state is not h11.DONE or self._connection.their_state is not h11.DONE

    # ----------------------------------------------------------------------------------------------------

    def _give(self) -> None:
        """Give h11 some more. Raises `HttpError` for a body that is mostly what is around its chunks."""
        piece = bytes(self._waiting[:_PIECE])
        del self._waiting[:_PIECE]
        if self._head is not None:
            self._spent += len(piece)
            if self._spent > self._body_limit + self._head_limit:
                raise HttpError(413, "there is too much around the chunks of this body")
        self._connection.receive_data(piece)

    def _check_lines(self) -> None:
        """Raise `HttpError` for what h11 lets pass: too much that comes at once, lines that do not end with
        CR and LF, and folded ones. A proxy in between may find other lines there.
        """
        lines, self._lines = self._lines, b""
        if len(lines) > self._head_limit:
            raise HttpError(431, f"a head has up to {self._head_limit} bytes here")
        if lines.count(b"\n") != lines.count(b"\r\n"):
            raise HttpError(400, "lines end with CR and LF")
        if any(fold in lines for fold in _FOLDS):
            raise HttpError(400, "lines are not folded any more")

    def _check(self, head: h11.Request) -> None:
        names = [name for name, _ in head.headers]
        if b"transfer-encoding" in names and b"content-length" in names:
            # Whichever of the two a proxy in between goes by, it is not known to be ours (RFC 9112, 6.1).
            raise HttpError(400, "Transfer-Encoding and Content-Length exclude each other")
        if head.http_version not in {b"1.0", b"1.1"}:
            raise HttpError(505, "HTTP/1.1 is spoken here")
        if not head.target.startswith(b"/"):
            raise HttpError(400, "the target of a request begins with a slash here")
        for name, value in head.headers:
            if name == b"expect" and value.lower() != b"100-continue":
                raise HttpError(417, "nothing but 100-continue can be expected here")
            if name == b"content-length" and int(value) > self._body_limit:
                raise HttpError(413, f"a body has up to {self._body_limit} bytes here")

    def _request(self) -> Request:
        head, self._head = self._head, None
        body, self._body, self._spent = bytes(self._body), bytearray(), 0
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
