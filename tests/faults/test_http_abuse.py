"""Attacks on HTTP parsers get a 4xx or 5xx and a close, unless the request is legal.

A request that two parsers read in two ways is how one is smuggled past a proxy. Whatever is in doubt is
refused, and nothing that comes after it is read as a request.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from selchat.auth.tokens import TokenFile, new_token
from tests.e2e.web_support import Answer, answers, opening, request
from tests.faults.world import Faults, Peer, World, world

_HOST = b"Host: 127.0.0.1\r\n"
# A smuggled request: a 200 shows that the server has read it as one.
_SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


_SECRET, _TOKEN = new_token("ci")


def post(*headers: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    """Return a request that posts a message. Bodies of others are never read."""
    head = b"POST /rooms/lobby/messages HTTP/%b\r\n" % version + _HOST
    head += b"Authorization: Bearer %b\r\n" % _SECRET.encode()
    return head + b"".join(one + b"\r\n" for one in headers) + b"\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked"

# The stream, and the status of its only response, before a close.
BAD: dict[str, tuple[bytes, int | tuple[int, ...]]] = {
    # Two lengths
    "CL and TE": (post(b"Content-Length: 5", CHUNKED, body=b"0\r\n\r\n" + _SMUGGLED), 400),
    "TE and CL": (post(CHUNKED, b"Content-Length: 5", body=b"0\r\n\r\n" + _SMUGGLED), 400),
    "two CL": (post(b"Content-Length: 5", b"Content-Length: 6", body=b"hello!" + _SMUGGLED), 400),
    "two CL in one": (post(b"Content-Length: 5, 6", body=b"hello!" + _SMUGGLED), 400),
    "the same CL twice": (post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello" + _SMUGGLED), 400),
    "the same CL twice in one": (post(b"Content-Length: 5, 5", body=b"hello" + _SMUGGLED), 400),
    "a CL with zeros": (post(b"Content-Length: 0005", body=b"hello" + _SMUGGLED), 400),
    "a CL of nothing": (post(b"Content-Length:", body=_SMUGGLED), 400),
    "a negative CL": (post(b"Content-Length: -5", body=_SMUGGLED), 400),
    "a CL with a plus": (post(b"Content-Length: +5", body=b"hello" + _SMUGGLED), 400),
    "a CL in hex": (post(b"Content-Length: 0x5", body=b"hello" + _SMUGGLED), 400),
    "a CL with an underscore": (post(b"Content-Length: 1_0", body=b"hello" + _SMUGGLED), 400),
    "a CL with a fraction": (post(b"Content-Length: 5.0", body=b"hello" + _SMUGGLED), 400),
    "a CL with an exponent": (post(b"Content-Length: 1e1", body=b"hello" + _SMUGGLED), 400),
    "a CL with a space in it": (post(b"Content-Length: 1 0", body=b"hello" + _SMUGGLED), 400),
    "a CL of other digits": (post("Content-Length: ５".encode(), body=b"hello" + _SMUGGLED), 400),
    "a CL of superscripts": (post(b"Content-Length: \xb2", body=b"hello" + _SMUGGLED), 400),
    "a huge CL": (post(b"Content-Length: 99999999999999999999"), 413),
    "an absurd CL": (post(b"Content-Length: " + b"9" * 5000), 400),
    "a CL that overflows": (post(b"Content-Length: 18446744073709551621", body=b"hello"), 413),
    "a space before the colon": (post(b"Content-Length : 5", body=b"hello" + _SMUGGLED), 400),
    "a tab before the colon": (post(b"Content-Length\t: 5", body=b"hello" + _SMUGGLED), 400),
    # Encodings that parsers read in different ways
    "TE twice": (post(CHUNKED, CHUNKED, body=b"0\r\n\r\n" + _SMUGGLED), (400, 501)),
    "TE identity": (post(b"Transfer-Encoding: identity", body=_SMUGGLED), 501),
    "TE of something": (post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n" + _SMUGGLED), 501),
    "TE chunked and more": (
        post(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n" + _SMUGGLED),
        501,
    ),
    "TE more and chunked": (post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n" + _SMUGGLED), 501),
    "TE twice and different": (
        post(CHUNKED, b"Transfer-Encoding: x", body=b"0\r\n\r\n" + _SMUGGLED),
        (400, 501),
    ),
    "TE with a semicolon": (post(b"Transfer-Encoding: chunked;x", body=b"0\r\n\r\n" + _SMUGGLED), 501),
    "TE in quotes": (post(b'Transfer-Encoding: "chunked"', body=b"0\r\n\r\n" + _SMUGGLED), 501),
    "TE with a vertical tab": (post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n" + _SMUGGLED), 400),
    "TE with a null": (post(b"Transfer-Encoding: chunked\0", body=b"0\r\n\r\n" + _SMUGGLED), 400),
    "TE with a space before": (
        post(b" Transfer-Encoding: chunked", body=b"0\r\n\r\n" + _SMUGGLED),
        400,
    ),
    "TE with a space before the colon": (
        post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n" + _SMUGGLED),
        400,
    ),
    "TE in a folded line": (
        post(b"Transfer-Encoding:\r\n chunked", b"Content-Length: 5", body=b"0\r\n\r\n" + _SMUGGLED),
        400,
    ),
    "TE behind a bare CR": (post(b"X: y\rTransfer-Encoding: chunked", body=b"0\r\n\r\n" + _SMUGGLED), 400),
    "TE behind a bare LF": (post(b"X: y\nTransfer-Encoding: chunked", body=b"0\r\n\r\n" + _SMUGGLED), 400),
    "TE behind LF CR": (post(b"X: y\n\rTransfer-Encoding: chunked", body=b"0\r\n\r\n" + _SMUGGLED), 400),
    "TE in HTTP/1.0": (post(CHUNKED, body=b"0\r\n\r\n" + _SMUGGLED, version=b"1.0"), 400),
    # Chunks
    "a chunk with an extension": (post(CHUNKED, body=b"1;x=y\r\nx\r\n0\r\n\r\n" + _SMUGGLED), 400),
    "a chunk with a space": (post(CHUNKED, body=b"1 \r\nx\r\n0\r\n\r\n" + _SMUGGLED), 400),
    "a chunk with a sign": (post(CHUNKED, body=b"+1\r\nx\r\n0\r\n\r\n" + _SMUGGLED), 400),
    "a negative chunk": (post(CHUNKED, body=b"-1\r\nx\r\n0\r\n\r\n" + _SMUGGLED), 400),
    "a chunk with 0x": (post(CHUNKED, body=b"0x1\r\nx\r\n0\r\n\r\n" + _SMUGGLED), 400),
    "a chunk with an underscore": (post(CHUNKED, body=b"1_0\r\nx\r\n0\r\n\r\n" + _SMUGGLED), 400),
    "a chunk of no size": (post(CHUNKED, body=b"\r\nx\r\n0\r\n\r\n" + _SMUGGLED), 400),
    "a huge chunk": (post(CHUNKED, body=b"ffffffffffffffffffff\r\n" + b"x" * 70_000), 413),
    "a chunk of too many digits": (post(CHUNKED, body=b"0" * 21 + b"1\r\nx\r\n0\r\n\r\n" + _SMUGGLED), 400),
    "a chunk that is longer": (post(CHUNKED, body=b"1\r\nxy\r\n0\r\n\r\n" + _SMUGGLED), 400),
    "a chunk that is shorter": (post(CHUNKED, body=b"3\r\nxy\r\n0\r\n\r\n" + _SMUGGLED), 400),
    "a chunk without its end": (post(CHUNKED, body=b"1\r\nx0\r\n\r\n" + _SMUGGLED), 400),
    "a chunk's end of other bytes": (post(CHUNKED, body=b"1\r\nxXX0\r\n\r\n" + _SMUGGLED), 400),
    "a chunk's line with LF": (post(CHUNKED, body=b"1\nx\r\n0\r\n\r\n" + _SMUGGLED), 400),
    "a chunk's end with LF": (post(CHUNKED, body=b"1\r\nx\n0\r\n\r\n" + _SMUGGLED), 400),
    "a chunk's extension with LF": (post(CHUNKED, body=b"1;a\nb\r\nx\r\n0\r\n\r\n" + _SMUGGLED), 400),
    "a chunk's extension without end": (post(CHUNKED, body=b"1;" + b"a" * 20_000), 400),
    "the last chunk with LF": (post(CHUNKED, body=b"0\n\n" + _SMUGGLED), 400),
    "a trailer without end": (post(CHUNKED, body=b"0\r\n" + b"X: y\r\n" * 4000), 431),
    "a trailer with a space before the colon": (post(CHUNKED, body=b"0\r\nX : y\r\n\r\n" + _SMUGGLED), 400),
    "too much in small chunks": (post(CHUNKED, body=b"1\r\nx\r\n" * 13_000 + b"0\r\n\r\n"), 413),
    # Lines
    "bare LF": (request().replace(b"\r\n", b"\n"), 400),
    "a bare CR": (request().replace(b"\r\n", b"\r") + b"\r\n\r\n", 400),
    "a bare CR in a header": (request(X="a\rb"), 400),
    "a bare CR at the end": (request(X="a\r"), 400),
    "CR CR LF": (request().replace(b"\r\n", b"\r\r\n", 1), 400),
    "LF CR": (request().replace(b"\r\n", b"\n\r", 1), 400),
    "a null in the target": (b"GET /\0 HTTP/1.1\r\n" + _HOST + b"\r\n", 400),
    "a null in a name": (b"GET / HTTP/1.1\r\n" + _HOST + b"X\0: y\r\n\r\n", 400),
    "a null in a value": (b"GET / HTTP/1.1\r\n" + _HOST + b"X: y\0\r\n\r\n", 400),
    "a header without a colon": (b"GET / HTTP/1.1\r\n" + _HOST + b"X\r\n\r\n", 400),
    "a header without a name": (b"GET / HTTP/1.1\r\n" + _HOST + b": y\r\n\r\n", 400),
    "a name with a space": (b"GET / HTTP/1.1\r\n" + _HOST + b"X Y: z\r\n\r\n", 400),
    "a name that is no ASCII": (b"GET / HTTP/1.1\r\n" + _HOST + "Ü: z\r\n\r\n".encode(), 400),
    "a folded line": (b"GET /healthz HTTP/1.1\r\n" + _HOST + b"X: a\r\n\tb\r\n\r\n" + _SMUGGLED, 400),
    "a folded line of nothing": (b"GET / HTTP/1.1\r\n" + _HOST + b"X: a\r\n \r\n\r\n" + _SMUGGLED, 400),
    "a folded trailer": (post(CHUNKED, body=b"0\r\nX: a\r\n b\r\n\r\n" + _SMUGGLED), 400),
    "a fold before any header": (b"GET / HTTP/1.1\r\n " + _HOST + b"\r\n", 400),
    # Request lines
    "two spaces": (b"GET  / HTTP/1.1\r\n" + _HOST + b"\r\n", 400),
    "a tab": (b"GET /\tHTTP/1.1\r\n" + _HOST + b"\r\n", 400),
    "a space in the target": (b"GET /a b HTTP/1.1\r\n" + _HOST + b"\r\n", 400),
    "a space at the end": (b"GET / HTTP/1.1 \r\n" + _HOST + b"\r\n", 400),
    "no version": (b"GET /\r\n" + _HOST + b"\r\n", 400),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "HTTP/0.9 with a line feed": (b"GET /\n\n", 400),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\n" + _HOST + b"\r\n", 505),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\n" + _HOST + b"\r\n", 505),
    "HTTP/2": (b"GET / HTTP/2\r\n" + _HOST + b"\r\n", 400),
    "http/1.1": (b"GET / http/1.1\r\n" + _HOST + b"\r\n", 400),
    "HTTP/1.10": (b"GET / HTTP/1.10\r\n" + _HOST + b"\r\n", 400),
    "HTTP/ 1.1": (b"GET / HTTP/ 1.1\r\n" + _HOST + b"\r\n", 400),
    "HTTP/1,1": (b"GET / HTTP/1,1\r\n" + _HOST + b"\r\n", 400),
    "the beginning of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(50), (400, 505)),
    "CONNECT": (b"CONNECT evil.example:443 HTTP/1.1\r\n" + _HOST + b"\r\n" + _SMUGGLED, 400),
    "OPTIONS for all": (b"OPTIONS * HTTP/1.1\r\n" + _HOST + b"\r\n", 400),
    "an absolute target": (b"GET http://127.0.0.1/ HTTP/1.1\r\n" + _HOST + b"\r\n", 400),
    # Too much
    "a line without end": (b"GET /" + b"x" * 100_000, 431),
    "a long target": (b"GET /" + b"x" * 17_000 + b" HTTP/1.1\r\n" + _HOST + b"\r\n", 431),
    "a long header": (request(X="x" * 17_000), 431),
    "a header without end": (request(X="x" * 100_000)[:-4], 431),
    "many headers": (b"GET / HTTP/1.1\r\n" + _HOST + b"a: b\r\n" * 3000 + b"\r\n", 431),
    "many headers without end": (b"GET / HTTP/1.1\r\n" + _HOST + b"a:\r\n" * 30_000, 431),
    "folds without end": (b"GET / HTTP/1.1\r\n" + _HOST + b"a: b\r\n" + b" c\r\n" * 30_000, 400),
    # Expectations, hosts
    "an expectation": (request(Expect="x"), 417),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\n" + _HOST * 2 + b"\r\n", 400),
}

# Legal requests: the statuses of their response and of the next one. The server does not read the next one if
# the first one has an unread body.
LEGAL: dict[str, tuple[bytes, list[int]]] = {
    "a body": (post(b"Content-Length: 5", body=b"hello") + _SMUGGLED, [201, 200]),
    "no body": (post() + _SMUGGLED, [201, 200]),
    "a CL of zero": (post(b"Content-Length: 0") + _SMUGGLED, [201, 200]),
    "a GET with a body": (request("/healthz", body=_SMUGGLED) + _SMUGGLED, [200]),
    "a GET with chunks": (request("/healthz", Transfer_Encoding="chunked") + b"1;x\n", [200]),
    "chunks": (post(CHUNKED, body=b"A\r\n0123456789\r\n0\r\nX: y\r\n\r\n") + _SMUGGLED, [201, 200]),
    "TE in capitals": (post(b"TRANSFER-ENCODING:CHUNKED", body=b"0\r\n\r\n") + _SMUGGLED, [201, 200]),
    "a value of other bytes": (request("/healthz", X="\xff\x80") + _SMUGGLED, [200, 200]),
    "an unknown method": (request("/healthz", method="DELETE") + _SMUGGLED, [405, 200]),
    "an unknown method with a body": (request("/healthz", method="DELETE", body=b"x") + _SMUGGLED, [405]),
    "TRACE": (request("/healthz", method="TRACE") + _SMUGGLED, [405, 200]),
    "h2c": (
        request("/healthz", Upgrade="h2c", Connection="Upgrade, HTTP2-Settings", HTTP2_Settings="")
        + _SMUGGLED,
        [200, 200],
    ),
    "CONNECT to a path": (b"CONNECT /healthz HTTP/1.1\r\n" + _HOST + b"\r\n", [405]),
    "a body that looks like a request": (post(b"Content-Length: %d" % len(_SMUGGLED), body=_SMUGGLED), [201]),
    "no token": (post(CHUNKED, body=_SMUGGLED).replace(b"Bearer", b"Basic"), [401]),
    "HTTP/1.0": (request("/healthz", version="HTTP/1.0"), [200]),
}


@pytest.fixture
def this(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    TokenFile().add(_TOKEN)
    with world(monkeypatch, tmp_path, Faults(), tls="auto") as this:
        at_rest = this.holdings()
        yield this
        this.pass_time(200)
        assert this.failures == []
        assert this.holdings() == at_rest


def answered(peer: Peer) -> list[Answer]:
    found, rest = answers(peer.received)
    assert rest == b""
    return found


_CUTS = [1_000_000, 4_000, 100, 1]  # bytes at a time; the shortest only for short streams


def cut(stream: bytes) -> list[list[bytes]]:
    return [
        [stream[start : start + size] for start in range(0, len(stream), size)]
        for size in _CUTS
        if len(stream) / size < 500
    ]


@pytest.mark.parametrize("name", BAD)
def test_ambiguous_request_is_rejected_and_closed(name: str, this: World) -> None:
    stream, expected = BAD[name]
    allowed = expected if isinstance(expected, tuple) else (expected,)
    for secure in (False, True):
        for parts in cut(stream) if not secure else [[stream]]:
            peer = this.connect(secure=secure)
            for part in parts:
                peer.send(part)
            this.pass_time(9)  # for the byte rate
            found = answered(peer)
            assert len(found) == 1, f"{name}: {[answer.status for answer in found]}"
            assert found[0].status in allowed, f"{name}: {found[0].status} {found[0].body!r}"
            if found[0].status >= 400:
                if b"POST /rooms/" in stream:
                    assert json.loads(found[0].body)["error"]
                assert found[0].headers["connection"] == "close"
                assert found[0].headers["x-content-type-options"] == "nosniff"
                # The server has closed its side, and waits only for ours.
                assert peer.ended
            peer.close()


@pytest.mark.parametrize("name", LEGAL)
def test_legal_request_and_the_next_one_are_answered(name: str, this: World) -> None:
    stream, expected = LEGAL[name]
    for parts in cut(stream):
        peer = this.connect()
        for part in parts:
            peer.send(part)
        this.pass_time(0.1)
        assert [answer.status for answer in answered(peer)] == expected
        peer.close()


@pytest.mark.parametrize("name", BAD)
def test_bad_request_after_a_good_one_is_rejected(name: str, this: World) -> None:
    stream, expected = BAD[name]
    allowed = expected if isinstance(expected, tuple) else (expected,)
    peer = this.connect()
    peer.send(_SMUGGLED + stream)
    this.pass_time(9)
    first, second = answered(peer)
    assert first.status == 200
    assert second.status in allowed
    peer.close()


_SLOW = {
    "half a method": (b"GE", None),
    "a method": (b"GET ", 408),
    "a line": (b"GET / HTTP/1.1\r\n", 408),
    "half a head": (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: y", 408),
    "no body": (post(b"Content-Length: 5"), 408),
    "half a body": (post(b"Content-Length: 5", body=b"he"), 408),
    "half a chunk": (post(CHUNKED, body=b"5\r\nhe"), 408),
    "half of the end": (post(CHUNKED, body=b"0\r\n"), 408),
    "an expectation and no body": (post(b"Content-Length: 5", b"Expect: 100-continue"), 408),
}


@pytest.mark.parametrize("name", _SLOW)
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_slow_request_times_out(name: str, secure: bool, this: World) -> None:
    stream, status = _SLOW[name]
    peer = this.connect(secure=secure)
    for byte in stream:
        peer.send(bytes([byte]))
        this.pass_time(0.01)
    this.pass_time(8)
    assert not peer.ended
    this.pass_time(2)
    assert peer.ended
    if status is not None:
        assert [answer.status for answer in answered(peer)][-1] == status
    peer.close()


@pytest.mark.parametrize("pause", [1.0, 5.0, 9.0])
def test_trickled_bytes_do_not_extend_the_request_timeout(pause: float, this: World) -> None:
    peer = this.connect()
    stream = request(X="x" * 100)
    peer.send(stream[:4])
    passed = 0.0
    for byte in stream[4:]:
        if peer.ended:
            break
        peer.send(bytes([byte]))
        this.pass_time(pause)
        passed += pause
    assert peer.ended
    assert passed < 20
    assert answered(peer)[-1].status == 408
    peer.close()


def test_no_http_request_is_read_after_the_websocket_handshake(this: World) -> None:
    peer = this.connect()
    peer.send(opening() + _SMUGGLED)
    this.pass_time(0.1)
    found, rest = answers(peer.received)
    assert [answer.status for answer in found] == [101]
    assert b"HTTP" not in rest
    assert peer.ended, "a request is no frame"
    peer.close()


@pytest.mark.parametrize(
    "garbage", [b"\0" * 100, b"\xff" * 100, b"1         a", b"\r\n\r\n", b" ", b"\x16\x03\x01"]
)
def test_garbage_after_a_request_closes_the_connection(garbage: bytes, this: World) -> None:
    peer = this.connect()
    peer.send(_SMUGGLED + garbage)
    this.pass_time(15)
    first, *others = answered(peer)
    assert first.status == 200
    assert {answer.status for answer in others} <= {400, 408}
    assert peer.ended
    peer.close()


def test_pipelined_requests_are_answered_in_order(this: World) -> None:
    """Many requests in one read do not delay another client, and the rate limit applies to them."""
    peer, other = this.connect(), this.connect()
    peer.send(_SMUGGLED * 500 + request("/nothing"))
    other.send(request("/healthz"))
    this.pass_time(1)
    assert 20 <= len(answered(peer)) <= 26, "the message rate"
    assert [answer.status for answer in answered(other)] == [200]
    this.pass_time(100)
    assert [answer.status for answer in answered(peer)] == [200] * 500 + [404]
    assert [answer.status for answer in answered(other)] == [200]
    for one in (peer, other):
        one.close()


def test_server_stops_reading_a_client_that_reads_no_responses(this: World) -> None:
    peer = this.connect()
    peer.reads = False
    for _ in range(50):
        peer.send(request("/nothing", X="x" * 1000) * 20)
    this.pass_time(29)
    assert sum(connection.outbox.queued for connection in this.server.connections) < 70_000
    this.pass_time(10)
    assert not this.server.connections
    peer.reads = True
    peer.read()
    assert peer.ended
    peer.close()


# -- work --------------------------------------------------------------------------------------------------


def test_chunks_without_a_token_are_not_read(this: World) -> None:
    """13,000 chunks of one byte took 100 ms each time, without a token."""
    peers = [this.connect() for _ in range(16)]
    stream = post(CHUNKED, body=b"1\r\nx\r\n" * 13_000 + b"0\r\n\r\n").replace(b"Bearer", b"Basic")
    for peer in peers:
        peer.queue(stream)
    this.pass_time(0.1)
    for peer in peers:
        [answer] = answered(peer)
        assert (answer.status, json.loads(answer.body)["error"]) == (401, "bad-token")
        assert peer.ended
        peer.close()


@pytest.mark.parametrize(
    "head",
    [
        post(CHUNKED).replace(_SECRET.encode(), b"selchat_" + b"0" * 64),
        post(CHUNKED).replace(b"/rooms/", b"/nothing/"),
        post(CHUNKED).replace(b"POST", b"PUT"),
        post(CHUNKED).replace(b"127.0.0.1", b"evil.example"),
        post(CHUNKED, b"Origin: http://evil.example"),
        post(b"Content-Length: 65537"),
        post(b"Content-Length: 5", b"Expect: 100-continue").replace(b"Bearer", b"Basic"),
    ],
    ids=range(7),
)
def test_head_is_enough_for_a_refusal(head: bytes, this: World) -> None:
    peer = this.connect()
    peer.send(head)
    [answer] = answered(peer)
    assert 400 <= answer.status < 500
    assert peer.ended
    peer.close()


def test_chunks_of_one_byte_are_read_slowly(this: World) -> None:
    """Each counts 512 bytes more: 1,000 take seconds, and the client's timeout stops for as long."""
    peer, other = this.connect(), this.connect()
    peer.send(post(CHUNKED, body=b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n"))
    this.pass_time(5)
    assert answered(peer) == []
    other.send(post(b"Content-Length: 5", body=b"hello"))
    assert [answer.status for answer in answered(other)] == [201]
    this.pass_time(5)
    assert [answer.status for answer in answered(peer)] == [201]
    for one in (peer, other):
        one.close()


def test_a_tick_answers_a_few_requests_of_all_clients(this: World) -> None:
    peers = [this.connect() for _ in range(40)]
    for peer in peers:
        peer.queue(request("/healthz") * 5)
    done = ticks = 0
    while done < 200:
        this.tick()
        ticks += 1
        assert ticks < 1000
        for peer in peers:
            peer.read()
        before, done = done, sum(len(answered(peer)) for peer in peers)
        assert done - before <= 8
    assert done == 200
    for peer in peers:
        peer.close()


def test_handshakes_that_fail_are_limited_as_other_requests(this: World) -> None:
    peer = this.connect()
    peer.send(opening(Sec_WebSocket_Version="8") * 100)
    this.pass_time(1)
    found = answered(peer)
    assert 20 <= len(found) <= 26, "the message rate"
    assert {answer.status for answer in found} == {400}
    this.pass_time(30)
    peer.close()
