"""The HTTP codec: valid and invalid requests, cut anywhere, and responses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.wire.http import HEAD_LIMIT, HttpConnection, HttpError, Request, Response
from tests.e2e.web_support import Answer, answers, opening, request

_BODY_LIMIT = 100  # bytes
_OK = Response(200, b"fine")

CHUNKED = (
    request(method="POST", Transfer_Encoding="chunked")
    + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: x\r\n\r\n"
)

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
    "two Content-Length headers": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        [],
        400,
    ),
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


def read(*parts: bytes) -> tuple[list[Request], int | None, HttpConnection]:
    """Feed the parts and answer each request at once; return the requests and the error status."""
    http = HttpConnection(_BODY_LIMIT)
    found: list[Request] = []
    for part in parts:
        http.receive_data(part)
        try:
            while (one := http.next_request()) is not None:
                found.append(one)
                http.respond(_OK)
        except HttpError as error:
            return found, error.status, http
    return found, None, http


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("name", STREAMS)
def test_requests_and_error_are_the_same_at_any_chunking(name: str, size: int) -> None:
    stream, expected, status = STREAMS[name]
    found, broken, http = read(*(stream[start : start + size] for start in range(0, len(stream), size)))
    assert [(one.method, one.path, one.query, one.body) for one in found] == expected
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
    stream = request(X="x" * (HEAD_LIMIT - rest + over))
    if size == 1 and over == 40_000:
        size = 1024
    found, status, _ = read(*(stream[start : start + size] for start in range(0, len(stream), size)))
    assert (len(found), status) == ((0, 431) if over else (1, None))


def test_body_limit_includes_chunk_framing() -> None:
    head = request(method="POST", Transfer_Encoding="chunked")
    chunk = b"1;" + b"x" * 1000 + b"\r\ny\r\n"
    found, status, _ = read(head, chunk * 14, b"0\r\n\r\n")
    assert [one.body for one in found] == [b"y" * 14]
    for parts in ([chunk * 30], [chunk] * 30):
        assert read(head, *parts)[1] == 413
    found, status, _ = read((head + chunk * 10 + b"0\r\n\r\n") * 10)
    assert (len(found), status) == (10, None), "each has its own"


def test_repeated_headers_are_joined_in_order() -> None:
    [one], _, _ = read(b"GET /ws HTTP/1.1\r\nHost: x\r\nB: 1\r\nA:  2 \r\nb: 3\r\n\r\n")
    assert one.headers == {"host": "x", "b": "1, 3", "a": "2"}
    assert one.head == b"GET /ws HTTP/1.1\r\nhost: x\r\nb: 1\r\na: 2\r\nb: 3\r\n\r\n"
    assert (one.header("a"), one.header("none")) == ("2", "")
    assert not one.upgrades
    assert read(opening())[0][0].upgrades
    assert read(opening(Upgrade="h2c, WebSocket"))[0][0].upgrades


def test_partial_and_complete_requests_are_distinguished() -> None:
    http = HttpConnection(_BODY_LIMIT)
    assert not http.has_partial_request
    stream = request(method="POST", body=b"hello")
    for byte in stream[:-1]:
        http.receive_data(bytes([byte]))
        assert http.next_request() is None
        assert http.has_partial_request
    http.receive_data(stream[-1:] + b"GE")
    assert http.next_request() is not None
    assert http.next_request() is None, "one at a time"
    http.respond(_OK)
    assert not http.must_close
    assert http.next_request() is None
    assert http.has_partial_request


def test_expect_100_continue_is_reported_once() -> None:
    http = HttpConnection(_BODY_LIMIT)
    http.receive_data(request(method="POST", Content_Length="5", Expect="100-continue"))
    assert http.next_request() is None
    assert http.expects_continue
    assert http.continue_response().startswith(b"HTTP/1.1 100 ")
    assert not http.expects_continue
    http.receive_data(b"hello")
    one = http.next_request()
    assert one is not None and one.body == b"hello"


def test_expect_100_continue_of_a_large_body_gets_413() -> None:
    http = HttpConnection(_BODY_LIMIT)
    http.receive_data(request(method="POST", Content_Length="101", Expect="100-continue"))
    with pytest.raises(HttpError) as caught:
        http.next_request()
    assert caught.value.status == 413
    assert answers(http.respond(Response(413), close=True))[0][0].status == 413


# -- responses -------------------------------------------------------------------------------------------


def answer_to(stream: bytes, response: Response, *, close: bool = False) -> tuple[Answer, HttpConnection]:
    http = HttpConnection(_BODY_LIMIT)
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
    http = HttpConnection(_BODY_LIMIT)
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
        http = HttpConnection(_BODY_LIMIT)
        http.receive_data(stream)
        with pytest.raises(HttpError) as caught:
            http.next_request()
        assert "selchat_" not in str(caught.value)
        assert caught.value.why in {"illegal header line", "illegal request line"}
