"""HTTP/1.1 codec for one server connection: h11 parses heads, this module adds limits and decodes bodies.

It knows no pages and no chat. It reads one request at a time; a pipelined request waits until the
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
from selchat.limits import CHUNK_OVERHEAD, CHUNKS_PER_CALL


class HttpError(ProtocolError):
    """A failed request. ``status`` and ``headers`` go into the response; ``why``: the reason in words.

    ``code``: the reason as a word for programs; empty: the usual one of the status.
    """

    def __init__(
        self, status: int, why: str, headers: Mapping[str, str] | None = None, code: str = ""
    ) -> None:
        super().__init__(status, why)
        self.status = status
        self.why = why
        self.headers = headers or {}
        self.code = code

    def __str__(self) -> str:
        return f"HTTP {self.status}: {self.why}"


_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,20})\r\n")
_CHUNK_SIZE_BEGINS = re.compile(rb"[0-9A-Fa-f]{0,20}\r?")
_LONGEST_CHUNK_SIZE = 22  # bytes
_LENGTH_HEADER = re.compile(rb"\r\ncontent-length:([^\r]*)", re.IGNORECASE)
_LENGTH = re.compile(rb"[ \t]*(?:0|[1-9][0-9]{0,19})[ \t]*")
_PATH = re.compile(rb"[A-Z]+ (/[^ ?\r\n]*)")
_BLANK = b" \t"
# Headers with one value, of which a proxy in front might use another one.
_SINGLE = frozenset(
    {"authorization", "content-type", "expect", "host", "idempotency-key", "origin", "transfer-encoding"}
)
# Quotes in h11's error messages. They can contain a token, and errors are logged.
_QUOTED = re.compile(r":? b(?:ytearray\(b)?['\"].*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request. ``path`` and ``query`` are not percent-decoded.

    ``headers`` are by name in lower case; repeated headers are joined with a comma. ``has_body``: a body
    follows, which `HttpConnection.read_body` returns. ``head``: the request line and headers, as they came.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    has_body: bool = False
    head: bytes = field(default=b"", repr=False)

    def header(self, name: str) -> str:
        """Return the header with that name (in lower case), or an empty string."""
        return self.headers.get(name, "")


@dataclass(frozen=True, slots=True)
class Response:
    """One response. ``headers``: in addition to the ones that every response has."""

    status: int
    body: bytes = b""
    type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


class HttpConnection:
    """The server's side of one HTTP connection.

    `next_request` returns each head as soon as it is complete, so that the caller can refuse the request
    before the body arrives. The caller then either reads the body or sends a response, which is the last one
    if the body is unread.

    ``body_limit`` and ``head_limit`` are in bytes, ``max_lines`` is for a head, ``max_chunks`` for a body.
    Each call parses one head or some chunks at most, so that no peer makes a tick of the event loop long.
    """

    __slots__ = (
        "_body",
        "_body_limit",
        "_buffer",
        "_chunks",
        "_connection",
        "_head_end",
        "_head_limit",
        "_in_trailer",
        "_is_chunked",
        "_is_head",
        "_line_start",
        "_lines",
        "_max_chunks",
        "_max_lines",
        "_request",
        "_scanned",
        "has_more_chunks",
        "overhead",
    )

    def __init__(self, body_limit: int, head_limit: int, max_lines: int, max_chunks: int) -> None:
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=head_limit)
        self._body_limit = body_limit
        self._head_limit = head_limit
        self._max_lines = max_lines
        self._max_chunks = max_chunks
        self._buffer = bytearray()  # bytes that were not parsed yet
        self._scanned = 0  # bytes of the buffer that `_find_blank_line` has searched
        self._line_start = 0  # where the line begins that contains the first byte not searched
        self._lines = 0
        self._head_end = 0  # bytes of the buffer that are a complete head; 0: it is incomplete
        self._request: Request | None = None  # the one to answer
        self._is_head = False  # the request to answer is a HEAD
        self._is_chunked = False
        self._body = bytearray()
        self._chunks = 0  # in the body so far
        self._in_trailer = False  # the last chunk is decoded
        self.has_more_chunks = (
            False  # `read_body` has left some in the buffer; call it again in the next tick
        )
        self.overhead = 0  # bytes that the last `read_body` counts in addition to the received ones

    @property
    def has_partial_request(self) -> bool:
        """Whether a part of an unanswered request has arrived."""
        states = {h11.IDLE, h11.DONE, h11.MUST_CLOSE, h11.CLOSED}
        return self._connection.their_state not in states or bool(self._buffer)

    @property
    def path(self) -> str:
        """The path of the request to answer, as far as it is known; even if the request is invalid."""
        if self._request is not None:
            return self._request.path
        match = _PATH.match(self._buffer)
        return match[1].decode("latin-1") if match is not None else ""

    @property
    def expects_continue(self) -> bool:
        """Whether the client sends the body only after a 100 response."""
        return bool(self._connection.they_are_waiting_for_100_continue)

    @property
    def trailing(self) -> bytes:
        """The bytes after the last request."""
        return bytes(self._buffer)

    def receive_data(self, data: bytes) -> None:
        """Feed the next bytes; `next_request` and `read_body` parse them."""
        self._buffer += data

    def find_head(self) -> bool:
        """Whether the head of the next request is complete, and the one before is answered.

        Raises `HttpError`; then the connection can only send a last response.
        """
        connection = self._connection
        if connection.our_state is h11.DONE and connection.their_state is h11.DONE:
            connection.start_next_cycle()
            self._request = None
            self._is_head = False
        if connection.their_state is not h11.IDLE:
            return False  # the request is unanswered, or the connection is over
        if not self._head_end:
            self._is_head = self._buffer.startswith(b"HEAD ")
            if self._buffer and self._buffer[0] < 0x21:  # as in TLS, for example
                raise HttpError(400, "illegal request line")
            self._head_end = self._find_blank_line()
        return self._head_end > 0

    def next_request(self) -> Request | None:
        """Parse the next head; return None if `find_head` is False. Raises `HttpError`, too."""
        if not self.find_head():
            return None
        end, self._head_end = self._head_end, 0
        head = bytes(self._buffer[:end])
        event = self._parse(head)
        assert isinstance(event, h11.Request)
        self._request = request = self._check(event, head)
        del self._buffer[:end]
        self._body = bytearray()
        self._chunks = 0
        self._in_trailer = False
        if not request.has_body:
            end_of_message = self._connection.next_event()
            assert isinstance(end_of_message, h11.EndOfMessage)
        return request

    def read_body(self) -> bytes | None:
        """Return the body of the request if it is complete. Raises `HttpError`."""
        self.overhead = 0
        request = self._request
        assert request is not None
        if not request.has_body:
            return b""
        if self._is_chunked:
            if not self._in_trailer:
                self._decode_chunks()
            end = self._find_blank_line() if self._in_trailer else 0
            if not end:
                return None
            # h11 needs only the end of the body, and checks the trailer.
            self._parse(b"0\r\n" + self._buffer[:end])
            del self._buffer[:end]
            return bytes(self._body)
        connection = self._connection
        if self._buffer:
            missing = int(request.header("content-length")) - len(self._body)
            event = self._parse(bytes(self._buffer[:missing]))
            assert isinstance(event, h11.Data)
            self._body += event.data
            del self._buffer[:missing]
            if isinstance(connection.next_event(), h11.EndOfMessage):
                return bytes(self._body)
        return None

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
        connection = self._connection
        close = close or connection.their_state is h11.SEND_BODY  # the body is unread
        if close:
            headers.append(("Connection", "close"))
        reason = HTTPStatus(response.status).phrase.encode()
        try:
            head = h11.Response(status_code=response.status, headers=headers, reason=reason)
            parts = [connection.send(head)]
            if not self._is_head:
                parts.append(connection.send(h11.Data(data=response.body)))
            parts.append(connection.send(h11.EndOfMessage()))
        except h11.LocalProtocolError:
            # After an invalid request, h11 sends nothing more; the client still gets the response.
            lines = [f"HTTP/1.1 {response.status} {reason.decode()}"]
            lines += [f"{key}: {value}" for key, value in headers]
            parts = ["\r\n".join([*lines, "", ""]).encode("latin-1")]
            if not self._is_head:
                parts.append(response.body)
        return b"".join(bytes(part) for part in parts if part)

    @property
    def must_close(self) -> bool:
        """Whether no request can follow the last response."""
        return self._connection.our_state is not h11.DONE or self._connection.their_state is not h11.DONE

    # ----------------------------------------------------------------------------------------------------

    def _find_blank_line(self) -> int:
        """Return the size of the lines up to the blank one that ends a head or a trailer; 0: incomplete.

        Raises `HttpError` for lines that a proxy in front might parse in another way (bare LF, folded lines),
        and for too many bytes or lines. Each line is searched once, and the first mistake counts, so the
        result does not depend on how the stream is cut.
        """
        buffer, limit = self._buffer, self._head_limit
        while (end := buffer.find(b"\n", self._scanned, limit)) >= 0:
            start = self._line_start
            if end == start or buffer[end - 1] != 0x0D:
                raise HttpError(400, "lines must end with CR LF")
            if buffer[start] in _BLANK:
                raise HttpError(400, "folded header lines are not supported")
            self._scanned = self._line_start = end + 1
            if end == start + 1:
                self._scanned = self._line_start = self._lines = 0
                return end + 1
            self._lines += 1
            if self._lines > self._max_lines:
                raise HttpError(431, f"the head or trailer has more than {self._max_lines} lines")
        if len(buffer) >= limit:
            raise HttpError(431, f"the head or trailer exceeds the limit of {limit} bytes")
        self._scanned = len(buffer)
        return 0

    def _parse(self, data: bytes) -> h11.Event:
        """Return the first event of ``data``, which h11 has to understand."""
        self._connection.receive_data(data)
        try:
            event = self._connection.next_event()
        except h11.RemoteProtocolError as error:
            raise HttpError(error.error_status_hint, _QUOTED.sub("", str(error))) from error
        assert isinstance(event, h11.Event)
        return event

    def _check(self, event: h11.Request, head: bytes) -> Request:
        """Return the request. Raises `HttpError` for requests that h11 accepts and this server does not."""
        path, _, query = event.target.decode("latin-1").partition("?")
        headers: dict[str, str] = {}
        for name, value in event.headers:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            if key in _SINGLE and key in headers:
                raise HttpError(400, f"the header {key} is repeated")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        if event.http_version not in {b"1.0", b"1.1"}:
            raise HttpError(505, "only HTTP/1.1 is supported")
        if not path.startswith("/"):
            raise HttpError(400, "the request target must begin with a slash")
        self._is_chunked = "transfer-encoding" in headers
        # A proxy in front might find another end of the body (request smuggling: RFC 9112, 6.1 and 11.2).
        if self._is_chunked and "content-length" in headers:
            raise HttpError(400, "Transfer-Encoding and Content-Length exclude each other")
        if self._is_chunked and event.http_version == b"1.0":
            raise HttpError(400, "HTTP/1.0 has no Transfer-Encoding")
        lengths = _LENGTH_HEADER.findall(head) if "content-length" in headers else []
        if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
            raise HttpError(400, "Content-Length must be one decimal number")
        if headers.get("expect", "100-continue").lower() != "100-continue":
            raise HttpError(417, "only Expect: 100-continue is supported")
        length = int(headers.get("content-length", "0"))
        if length > self._body_limit:
            raise self._too_long()
        return Request(
            event.method.decode("ascii"), path, query, headers, self._is_chunked or length > 0, head
        )

    def _decode_chunks(self) -> None:
        """Decode complete chunks from the buffer. Raises `HttpError`.

        h11 could do this too, in seven times the time, and accepts chunk extensions. Nobody uses these, and
        parsers disagree about them.
        """
        buffer, position = self._buffer, 0
        self.has_more_chunks = False
        for _ in range(CHUNKS_PER_CALL):
            match = _CHUNK_SIZE.match(buffer, position)
            if match is None:
                line = buffer[position : position + _LONGEST_CHUNK_SIZE]
                if _CHUNK_SIZE_BEGINS.fullmatch(line) is None:
                    raise HttpError(400, "illegal chunk header")
                break
            size, start = int(match[1], 16), match.end()
            if not size:
                position = start
                self._in_trailer = True
                break
            if len(self._body) + size > self._body_limit:
                raise self._too_long()
            if self._chunks >= self._max_chunks:
                raise HttpError(413, f"the body has more than {self._max_chunks} chunks")
            end = start + size
            last = buffer[end : end + 2]
            if not b"\r\n".startswith(last):
                raise HttpError(400, "a chunk does not end with CR LF")
            if len(last) < 2:
                break
            self._body += buffer[start:end]
            self._chunks += 1
            self.overhead += CHUNK_OVERHEAD
            position = end + 2
        else:
            self.has_more_chunks = True
        del buffer[:position]

    def _too_long(self) -> HttpError:
        return HttpError(413, f"the body exceeds the limit of {self._body_limit} bytes")
