"""The HTTP codec: valid and invalid requests, cut anywhere, and responses."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.limits import CHUNK_OVERHEAD
from selchat.wire.http import HttpConnection, HttpError, Request, Response
from tests.e2e.web_support import Answer, answers, request

_BODY_LIMIT = 100  # bytes
_HEAD_LIMIT = 16 * 1024  # bytes
_MAX_LINES = 100
_MAX_CHUNKS = 40
_OK = Response(200, b"fine")

CHUNKED = (
    request(method="POST", Transfer_Encoding="chunked") + b"3\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n"
)


def chunked(*body: bytes) -> bytes:
    return request(method="POST", Transfer_Encoding="chunked") + b"".join(body)


def lengths(*values: str) -> bytes:
    """Return a request with a Content-Length header for each value, and a body of five bytes."""
    lines = "".join(f"Content-Length: {value}\r\n" for value in values)
    return f"POST / HTTP/1.1\r\nHost: x\r\n{lines}\r\nhello".encode()


# Each stream, its requests (method, path, query, body), and the status of its error (None: no error).
STREAMS: dict[str, tuple[bytes, list[tuple[str, str, str, bytes]], int | None]] = {
    "an empty stream": (b"", [], None),
    "one request": (request(), [("GET", "/", "", b"")], None),
    "a query": (request("/a%20b?c=d?e"), [("GET", "/a%20b", "c=d?e", b"")], None),
    "a body": (request("/x", method="POST", body=b"hello"), [("POST", "/x", "", b"hello")], None),
    "a chunked body": (CHUNKED + request(), [("POST", "/", "", b"abcde"), ("GET", "/", "", b"")], None),
    "three requests": (request() * 3, [("GET", "/", "", b"")] * 3, None),
    "a folded header": (b"GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n", [], 400),
    "the largest body": (request(method="POST", body=b"x" * 100), [("POST", "/", "", b"x" * 100)], None),
    "a body one byte over the limit": (request(method="POST", body=b"x" * 101), [], 413),
    "a chunked body one byte over the limit": (
        request(method="POST", Transfer_Encoding="chunked")
        + b"64\r\n"
        + b"x" * 100
        + b"\r\n1\r\nx\r\n0\r\n\r\n",
        [],
        413,
    ),
    "a request and garbage": (request() + b"\x01garbage\r\n\r\n", [("GET", "/", "", b"")], 400),
    "two Authorization headers": (request(Authorization="Bearer a\r\nauthorization: Bearer b"), [], 400),
    "two Content-Type headers": (request(Content_Type="text/plain\r\nContent-Type: text/plain"), [], 400),
    "two Origin headers": (request(Origin="http://x\r\nOrigin: http://x"), [], 400),
    "two Idempotency-Key headers": (request(Idempotency_Key="a\r\nIdempotency-Key: a"), [], 400),
    "two Accept headers": (request(Accept="a\r\nAccept: b"), [("GET", "/", "", b"")], None),
    "two Content-Length headers": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        [],
        400,
    ),
    "the same Content-Length twice": (lengths("5", "5"), [], 400),
    "a list of the same Content-Length": (lengths("5, 5"), [], 400),
    "a Content-Length and a list of it": (lengths("5,5", "5"), [], 400),
    "a Content-Length with a plus": (lengths("+5"), [], 400),
    "a Content-Length with a zero before": (lengths("05"), [], 400),
    "a Content-Length of two zeros": (lengths("00"), [], 400),
    "a Content-Length with a blank in it": (lengths("5 5"), [], 400),
    "a Content-Length with blanks around it": (lengths("  5 \t"), [("POST", "/", "", b"hello")], None),
    "an empty Content-Length": (lengths(""), [], 400),
    "a Content-Length in capitals, twice": (
        b"POST / HTTP/1.1\r\nHost: x\r\nCONTENT-LENGTH: 5\r\ncontent-length:5\r\n\r\nhello",
        [],
        400,
    ),
    "a Content-Length of zero": (
        request(method="POST", Content_Length="0") + request(),
        [("POST", "/", "", b""), ("GET", "/", "", b"")],
        None,
    ),
    "chunks in HTTP/1.0": (
        request(method="POST", version="HTTP/1.0", Transfer_Encoding="chunked") + b"0\r\n\r\n",
        [],
        400,
    ),
    "chunks twice": (request(method="POST", Transfer_Encoding="chunked, chunked"), [], 501),
    "the identity encoding": (request(method="POST", Transfer_Encoding="identity"), [], 501),
    "no chunks": (chunked(b"0\r\n\r\n", request()), [("POST", "/", "", b""), ("GET", "/", "", b"")], None),
    "a last chunk of several zeros": (chunked(b"000\r\n\r\n"), [("POST", "/", "", b"")], None),
    "a chunk extension": (chunked(b"1;x=y\r\nx\r\n0\r\n\r\n"), [], 400),
    "an extension of the last chunk": (chunked(b"1\r\nx\r\n0;x\r\n\r\n"), [], 400),
    "a blank after a chunk's size": (chunked(b"1 \r\nx\r\n0\r\n\r\n"), [], 400),
    "a blank before a chunk's size": (chunked(b" 1\r\nx\r\n0\r\n\r\n"), [], 400),
    "a tab after a chunk's size": (chunked(b"1\t\r\nx\r\n0\r\n\r\n"), [], 400),
    "a chunk's size with an underscore": (chunked(b"1_0\r\nx\r\n0\r\n\r\n"), [], 400),
    "a chunk's size with 0x": (chunked(b"0x1\r\nx\r\n0\r\n\r\n"), [], 400),
    "a chunk's size with a plus": (chunked(b"+1\r\nx\r\n0\r\n\r\n"), [], 400),
    "a chunk's size with a bare CR": (chunked(b"1\rx\r\n0\r\n\r\n"), [], 400),
    "a chunk's size with a null": (chunked(b"1\0\r\nx\r\n0\r\n\r\n"), [], 400),
    "a chunk's size of 21 digits": (chunked(b"0" * 20 + b"1\r\nx\r\n0\r\n\r\n"), [], 400),
    "a chunk of 2 to the 80 bytes": (chunked(b"f" * 20 + b"\r\nx"), [], 413),
    "a chunk that is longer than its size": (chunked(b"1\r\nxy\r\n0\r\n\r\n"), [], 400),
    "a chunk that ends with LF": (chunked(b"1\r\nx\n0\r\n\r\n"), [], 400),
    "as many chunks as the limit": (
        chunked(b"1\r\nx\r\n" * _MAX_CHUNKS, b"0\r\n\r\n"),
        [("POST", "/", "", b"x" * _MAX_CHUNKS)],
        None,
    ),
    "one chunk more than the limit": (chunked(b"1\r\nx\r\n" * (_MAX_CHUNKS + 1)), [], 413),
    "a trailer with a null": (chunked(b"0\r\nX: \0\r\n\r\n"), [], 400),
    "a folded trailer": (chunked(b"0\r\nX: a\r\n b\r\n\r\n"), [], 400),
    "a trailer without a colon": (chunked(b"0\r\nX\r\n\r\n"), [], 400),
    "a null in a header": (request(X="a\0b"), [], 400),
    "a bare CR in a header": (request(X="a\rb"), [], 400),
    "as many lines as the limit": (
        request().replace(b"\r\n\r\n", b"\r\n" + b"a:\r\n" * (_MAX_LINES - 2) + b"\r\n"),
        [("GET", "/", "", b"")],
        None,
    ),
    "one line more than the limit": (
        request().replace(b"\r\n\r\n", b"\r\n" + b"a:\r\n" * (_MAX_LINES - 1) + b"\r\n"),
        [],
        431,
    ),
    "too many lines before a bare LF": (
        request().replace(b"\r\n\r\n", b"\r\n" + b"a:\r\n" * _MAX_LINES + b"\n\r\n"),
        [],
        431,
    ),
    "too many lines of a trailer": (chunked(b"0\r\n" + b"a:\r\n" * (_MAX_LINES + 1)), [], 431),
    "a blank line first": (b"\r\n" + request(), [], 400),
    "Content-Length and chunks": (
        request(method="POST", body=b"abc", Transfer_Encoding="chunked"),
        [],
        400,
    ),
    "an unknown transfer encoding": (request(method="POST", Transfer_Encoding="gzip"), [], 501),
    "no Host header": (request(host=None), [], 400),
    "two Host headers": (b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", [], 400),
    "line feeds alone": (request().replace(b"\r\n", b"\n"), [], 400),
    "one line feed alone": (b"GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", [], 400),
    "a trailer with a line feed alone": (CHUNKED.replace(b"x\r\n\r\n", b"x\n\r\n"), [], 400),
    "a last line feed alone": (CHUNKED.replace(b"Trailer: x\r\n\r\n", b"\n"), [], 400),
    "a line feed after a chunk": (CHUNKED.replace(b"abc\r\n", b"abc\n"), [], 400),
    "an unknown expectation": (request(Expect="200-ok"), [], 417),
    "an unknown version": (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", [], 505),
    "HTTP/0.9": (b"GET /\r\n\r\n", [], 400),
    "an absolute target": (request("http://127.0.0.1:33000/"), [], 400),
    "an asterisk as the target": (request("*", method="OPTIONS"), [], 400),
}


def new_connection() -> HttpConnection:
    return HttpConnection(_BODY_LIMIT, _HEAD_LIMIT, _MAX_LINES, _MAX_CHUNKS)


def read(*parts: bytes) -> tuple[list[tuple[Request, bytes]], int | None, HttpConnection]:
    """Feed the parts and answer each request with its body read; return both, and the error status."""
    http = new_connection()
    found: list[tuple[Request, bytes]] = []
    pending: Request | None = None
    for part in parts:
        http.receive_data(part)
        try:
            while pending is not None or (pending := http.next_request()) is not None:
                body = http.read_body() if pending.has_body else b""
                if body is not None:
                    found.append((pending, body))
                    pending = None
                    http.respond(_OK)
                elif not http.has_more_chunks:
                    break
        except HttpError as error:
            return found, error.status, http
    return found, None, http


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("name", STREAMS)
def test_requests_and_error_are_the_same_at_any_chunking(name: str, size: int) -> None:
    stream, expected, status = STREAMS[name]
    found, broken, http = read(*(stream[start : start + size] for start in range(0, len(stream), size)))
    assert [(one.method, one.path, one.query, body) for one, body in found] == expected
    assert broken == status
    if status is None:
        assert not http.has_partial_request
        assert http.trailing == b""


@given(
    st.lists(
        st.sampled_from([request(), CHUNKED, request(method="PUT", body=b"x" * 50), b"GET", b"\r\n", b"\n"])
    ).map(b"".join),
    st.lists(st.integers(0, 1000), max_size=5),
)
def test_requests_are_the_same_at_random_cuts(stream: bytes, places: list[int]) -> None:
    ends = sorted({place % (len(stream) + 1) for place in places} | {len(stream)})
    parts = [stream[begin:end] for begin, end in zip([0, *ends], ends, strict=False) if end > begin]
    whole, status, _ = read(*([stream] if stream else []))
    found, broken, _ = read(*parts)
    assert found == whole
    assert broken == status


@pytest.mark.parametrize("size", [1, 4096, 100_000])
@pytest.mark.parametrize("over", [0, 1, 2, 40_000])
def test_head_limit_applies_to_a_single_read_too(over: int, size: int) -> None:
    rest = len(request(X=""))
    stream = request(X="x" * (_HEAD_LIMIT - rest + over))
    if size == 1 and over == 40_000:
        size = 1024
    found, status, _ = read(*(stream[start : start + size] for start in range(0, len(stream), size)))
    assert (len(found), status) == ((0, 431) if over else (1, None))


def test_one_call_decodes_a_few_chunks_and_charges_each() -> None:
    """A tick calls `read_body` once, so that one peer's tiny chunks do not make the others wait."""
    http = HttpConnection(100_000, _HEAD_LIMIT, _MAX_LINES, 10_000)
    http.receive_data(chunked(b"1\r\nx\r\n" * 2000))
    assert http.next_request() is not None
    decoded = []
    while not decoded or http.has_more_chunks:
        assert http.read_body() is None
        decoded.append(http.overhead // CHUNK_OVERHEAD)
    assert sum(decoded) == 2000
    assert max(decoded) <= 64
    http.receive_data(b"0\r\n\r\n")
    assert http.read_body() == b"x" * 2000
    assert http.overhead == 0


def test_head_is_returned_before_its_body() -> None:
    http = new_connection()
    stream = chunked(b"3\r\nabc\r\n0\r\n\r\n")
    http.receive_data(stream[:-13])
    one = http.next_request()
    assert one is not None and one.has_body
    assert http.read_body() is None
    assert http.next_request() is None, "one at a time"
    http.receive_data(stream[-13:])
    assert http.read_body() == b"abc"
    http.respond(_OK)
    assert not http.must_close


@pytest.mark.parametrize("body", [b"", b"he", b"hello", b"hello" + request()])
def test_response_before_the_body_is_read_is_the_last_one(body: bytes) -> None:
    http = new_connection()
    http.receive_data(request(method="POST", Content_Length="5") + body)
    assert http.next_request() is not None
    [answer], _ = answers(http.respond(Response(401)), "POST")
    assert answer.headers["connection"] == "close"
    assert http.must_close
    assert http.next_request() is None


@pytest.mark.parametrize(
    ("stream", "path"),
    [
        (request("/rooms/a/messages?id=1"), "/rooms/a/messages"),
        (request("/rooms/a/messages")[:30], "/rooms/a/messages"),
        (b"POST /rooms/a", "/rooms/a"),
        (request("/rooms/a", X="\0"), "/rooms/a"),
        (b"", ""),
        (b"POST", ""),
        (b"\x01 /rooms/a", ""),
    ],
)
def test_path_is_known_even_if_the_request_is_invalid(stream: bytes, path: str) -> None:
    http = new_connection()
    http.receive_data(stream)
    with suppress(HttpError):
        http.next_request()
    assert http.path == path


def test_repeated_headers_are_joined_in_order() -> None:
    stream = b"GET /ws HTTP/1.1\r\nHost: x\r\nB: 1\r\nA:  2 \r\nb: 3\r\n\r\n"
    [(one, _)], _, _ = read(stream)
    assert one.headers == {"host": "x", "b": "1, 3", "a": "2"}
    assert one.head == stream
    assert (one.header("a"), one.header("none")) == ("2", "")


def test_partial_and_complete_requests_are_distinguished() -> None:
    http = new_connection()
    assert not http.has_partial_request
    stream = request(method="POST", body=b"hello")
    for byte in stream[:-5]:
        http.receive_data(bytes([byte]))
        assert http.has_partial_request
        one = http.next_request()
    assert one is not None
    for byte in stream[-5:-1]:
        http.receive_data(bytes([byte]))
        assert http.read_body() is None
        assert http.has_partial_request
    http.receive_data(stream[-1:] + b"GE")
    assert http.read_body() == b"hello"
    assert http.next_request() is None, "one at a time"
    http.respond(_OK)
    assert not http.must_close
    assert http.next_request() is None
    assert http.has_partial_request


def test_expect_100_continue_is_reported_once() -> None:
    http = new_connection()
    http.receive_data(request(method="POST", Content_Length="5", Expect="100-continue"))
    assert http.next_request() is not None
    assert http.read_body() is None
    assert http.expects_continue
    assert http.continue_response().startswith(b"HTTP/1.1 100 ")
    assert not http.expects_continue
    http.receive_data(b"hello")
    assert http.read_body() == b"hello"


def test_expect_100_continue_of_a_large_body_gets_413() -> None:
    http = new_connection()
    http.receive_data(request(method="POST", Content_Length="101", Expect="100-continue"))
    with pytest.raises(HttpError) as caught:
        http.next_request()
    assert caught.value.status == 413
    assert answers(http.respond(Response(413), close=True))[0][0].status == 413


# -- responses -------------------------------------------------------------------------------------------


def answer_to(stream: bytes, response: Response, *, close: bool = False) -> tuple[Answer, HttpConnection]:
    http = new_connection()
    http.receive_data(stream)
    try:
        http.next_request()
    except HttpError:
        close = True
    method = stream.partition(b" ")[0].decode()
    [answer], rest = answers(http.respond(response, close=close), method)
    assert rest == b""
    return answer, http


def test_response_has_the_required_headers() -> None:
    answer, http = answer_to(request(), Response(200, b"caf\xe9", "text/x", {"X": "y"}))
    assert (answer.status, answer.body) == (200, b"caf\xe9")
    assert answer.headers["content-type"] == "text/x"
    assert answer.headers["content-length"] == "4"
    assert answer.headers["x"] == "y"
    assert answer.headers["date"].endswith("GMT")
    assert "connection" not in answer.headers
    assert not http.must_close


@pytest.mark.parametrize(
    "stream",
    [
        request(method="HEAD"),
        request(method="HEAD", Content_Length="1000"),  # more than the body limit
        b"HEAD / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost : x\r\n\r\n",
    ],
)
def test_head_gets_no_body_even_in_an_error(stream: bytes) -> None:
    answer, _ = answer_to(stream, Response(200, b"body"))
    assert answer.headers["content-length"] == "4"


def test_request_after_head_gets_a_body() -> None:
    http = new_connection()
    http.receive_data(request(method="HEAD") + request())
    http.next_request()
    http.respond(_OK)
    http.next_request()
    assert answers(http.respond(_OK))[0][0].body == b"fine"
    http.receive_data(b"\x01\r\n\r\n")
    with pytest.raises(HttpError):
        http.next_request()
    assert answers(http.respond(Response(400, b"why"), close=True))[0][0].body == b"why"


def test_304_has_no_body() -> None:
    answer, http = answer_to(request(), Response(304, headers={"ETag": '"x"'}))
    assert (answer.status, answer.body) == (304, b"")
    assert not {"content-length", "content-type"} & set(answer.headers)
    assert not http.must_close


@pytest.mark.parametrize(
    "stream", [request(Connection="close"), request(version="HTTP/1.0"), b"\x01\r\n\r\n"]
)
def test_last_response_has_connection_close(stream: bytes) -> None:
    answer, http = answer_to(stream, _OK)
    assert answer.headers["connection"] == "close"
    assert http.must_close


@pytest.mark.parametrize(
    "stream",
    [
        request(method="POST", Content_Length="50") + b"x",
        request(method="POST", Transfer_Encoding="chunked") + b"z\r\n",
        request(method="POST", Transfer_Encoding="chunked") + b"5\r\nab",
    ],
)
def test_broken_request_gets_a_response(stream: bytes) -> None:
    answer, http = answer_to(stream, Response(408, b"why", headers={"X": "y"}), close=True)
    assert (answer.status, answer.body, answer.headers["x"]) == (408, b"why", "y")
    assert answer.headers["connection"] == "close"
    assert http.must_close


@pytest.mark.parametrize(
    "line",
    [b"Authorization : Bearer selchat_5ec", b"Bearer selchat_5ec", b"X: '\"\x00selchat_5ec"],
    ids=range(3),
)
def test_error_does_not_repeat_the_input(line: bytes) -> None:
    """The error is logged, and the input may contain a token."""
    for stream in (b"GET / HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n\r\n", line + b"\r\n\r\n"):
        http = new_connection()
        http.receive_data(stream)
        with pytest.raises(HttpError) as caught:
            http.next_request()
        assert "selchat_" not in str(caught.value)
        assert caught.value.why in {"illegal header line", "illegal request line"}
