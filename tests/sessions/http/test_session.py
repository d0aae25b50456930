"""HTTP session without a socket: files, access checks, timeouts and redirects."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from selchat.auth.tokens import TokenFile, new_token
from selchat.errors import BannedError, SelchatError
from selchat.net.admission import AddressFullError, ServerFullError
from selchat.net.host_allowlist import HostAllowlist
from selchat.sessions.context import Session
from selchat.sessions.detect import DetectSession
from selchat.sessions.http.api import MessageApi
from selchat.sessions.http.session import HttpSession, HttpState
from selchat.sessions.http.static import Files
from tests.e2e.web_support import Answer, answers, opening, request
from tests.sessions.test_selchat import Client, FakeServer

SCRIPT = b"// a script\n" * 200
KEY, CERTIFICATE = "abcd " * 15 + "abcd", "0123 " * 15 + "0123"
HOST = "127.0.0.1:33000"


class HttpClient(Client):
    """An HTTP client. ``how``: parameters of its `DetectSession`.

    ``secure``: over TLS, of which this fake has only the first byte.
    """

    def __init__(self, server: FakeServer, *, secure: bool = False, **how: Any) -> None:
        super().__init__(server)
        self.session.connection_lost(None)  # replaced below
        server.observer.seen.clear()
        self.secured = False
        self.methods: list[str] = []
        self.session: Session = DetectSession(server.context, self, **{"tls": True, **how})
        if secure:
            self.session.data_received(b"\x16")
            assert self.secured

    def start_tls(self, first: bytes) -> None:
        self.secured = True

    def exchange(self, *streams: bytes) -> list[Answer]:
        """Send the streams; return the new responses."""
        for stream in streams:
            self.methods.append(stream.partition(b" ")[0].decode("latin-1"))
            self.session.data_received(stream)
        return self.responses()

    def responses(self) -> list[Answer]:
        self.server.settle()
        found, rest = answers(bytes(self.sock.taken), *self.methods)
        assert rest == b""
        self.sock.taken.clear()
        del self.methods[: len(found)]
        return found

    def exchange_one(self, stream: bytes) -> Answer:
        [answer] = self.exchange(stream)
        return answer


def assert_no_timers(server: FakeServer) -> None:
    """Fail if a session has left a timer."""
    assert server.clock.pending == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, body in {
        "index.html": b"<!DOCTYPE html><title>selchat</title>" + b" " * 500,
        "app.4F7Q2ZKA.js": SCRIPT,
        "style.css": b"b{}",
        "logo.png": bytes(range(256)),
        "notes.unknown": b"x",
        ".hidden": b"x",
    }.items():
        (tmp_path / name).write_bytes(body)
    (tmp_path / "folder.js").mkdir()
    return tmp_path


@pytest.fixture
def server(folder: Path) -> FakeServer:
    return FakeServer(files=folder)


@pytest.fixture
def ci(server: FakeServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A token of the server, for the name ci."""
    return add_token(server, tmp_path_factory.mktemp("data"))


def add_token(server: FakeServer, folder: Path) -> str:
    tokens = TokenFile(folder / "tokens")
    secret, token = new_token("ci")
    tokens.add(token)
    api = MessageApi(
        server.settings, server.hub, server.clock, server.context.selchat, tokens, lambda text: None
    )
    server.site = replace(server.site, api=api)
    server.context = replace(server.context, new_http_session=partial(HttpSession, server.site))
    return secret


def post(token: str, body: bytes = b"", path: str = "/rooms/lobby/messages", **headers: str | None) -> bytes:
    authorization = f"Bearer {token}" if token else None
    return request(path, method="POST", body=body, Authorization=authorization, **headers)


def chunked(token: str, body: bytes, **headers: str | None) -> bytes:
    return post(token, Transfer_Encoding="chunked", **headers) + body


def with_tls(server: FakeServer) -> FakeServer:
    site = replace(server.site, fingerprint=KEY, certificate=CERTIFICATE)
    server.context = replace(server.context, new_http_session=partial(HttpSession, site))
    return server


def check_headers(answer: Answer) -> None:
    """Check the headers that every response has."""
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["form-action"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "date" in answer.headers
    assert not {"set-cookie", "access-control-allow-origin", "server", "x-powered-by"} & set(answer.headers)
    if answer.status != 304:
        assert answer.headers["content-type"]


# -- files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/index.html", "text/html; charset=utf-8"),
        ("/app.4F7Q2ZKA.js", "text/javascript; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/logo.png", "image/png"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_file_is_sent_with_its_type_and_cache_headers(
    server: FakeServer, folder: Path, path: str, kind: str, method: str
) -> None:
    body = (folder / (path[1:] or "index.html")).read_bytes()
    visitor = HttpClient(server)
    answer = visitor.exchange_one(request(path, method=method))
    check_headers(answer)
    assert answer.status == 200
    assert answer.headers["content-type"] == kind
    assert answer.headers["content-length"] == str(len(body))
    assert answer.body == (body if method == "GET" else b"")
    assert "content-encoding" not in answer.headers
    lasting = path == "/app.4F7Q2ZKA.js"
    assert answer.headers["cache-control"] == (
        "public, max-age=31536000, immutable" if lasting else "no-cache"
    )
    assert answer.headers["vary"] == "Accept-Encoding"
    visitor.close()
    assert_no_timers(server)


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5, *;q=0", True),
        ("deflate,gzip ; q=1", True),
        ("", False),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("x-gzip-not", False),
    ],
)
def test_gzip_is_used_only_if_accepted(server: FakeServer, accepted: str, packed: bool) -> None:
    visitor = HttpClient(server)
    answer = visitor.exchange_one(request("/app.4F7Q2ZKA.js", Accept_Encoding=accepted))
    assert (answer.headers.get("content-encoding") == "gzip") == packed
    assert (gzip.decompress(answer.body) if packed else answer.body) == SCRIPT
    head = visitor.exchange_one(request("/app.4F7Q2ZKA.js", method="HEAD", Accept_Encoding=accepted))
    assert {**head.headers, "date": ""} == {**answer.headers, "date": ""}


def test_file_that_gzip_does_not_shrink_is_sent_as_it_is(server: FakeServer) -> None:
    answer = HttpClient(server).exchange_one(request("/style.css", Accept_Encoding="gzip"))
    assert answer.body == b"b{}"


def test_matching_etag_gets_304(server: FakeServer) -> None:
    visitor = HttpClient(server)
    tag = visitor.exchange_one(request()).headers["etag"]
    assert tag.startswith('W/"'), "weak, because gzip does not change it"
    for known in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
        answer = visitor.exchange_one(request(If_None_Match=known, Accept_Encoding="gzip"))
        check_headers(answer)
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers["etag"] == tag
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["vary"] == "Accept-Encoding"
        assert "content-length" not in answer.headers
    assert visitor.exchange_one(request(If_None_Match='"other"')).status == 200
    other = visitor.exchange_one(request("/style.css", If_None_Match=tag))
    assert other.status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/folder.js",
        "/notes.unknown",
        "/.hidden",
        "/../setup.cfg",
        "/%2e%2e/setup.cfg",
        "//",
        "/index.html/",
        "/INDEX.HTML",
        "/./index.html",
        "/style.css%00",
        "//evil.example/%2e%2e",
        "/ws/",
    ],
)
def test_other_paths_get_404(server: FakeServer, path: str) -> None:
    answer = HttpClient(server).exchange_one(request(path))
    check_headers(answer)
    assert answer.status == 404
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert path.encode() in answer.body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"])
@pytest.mark.parametrize("path", ["/", "/ws", "/healthz"])
def test_other_methods_get_405(server: FakeServer, method: str, path: str) -> None:
    visitor = HttpClient(server)
    answer = visitor.exchange_one(request(path, method=method))
    check_headers(answer)
    assert answer.status == 405
    assert answer.headers["allow"] == ("GET" if path == "/ws" else "GET, HEAD")
    if method != "CONNECT":
        assert visitor.exchange_one(request()).status == 200, "the connection stays open"


def test_files_of_an_explicit_folder_replace_those_of_the_package() -> None:
    Files()  # works with and without a built page
    assert Files(Path("/none")).find("/") is None


# -- Host and Origin -------------------------------------------------------------------------------------

SAME_SITE = [  # Host, Origin (None: the browser sent none), TLS
    ("hut.local:33000", None, False),
    ("hut.local:33000", None, True),
    ("hut.local:33000", "http://hut.local:33000", False),
    ("hut.local:33000", "https://hut.local:33000", False),  # a proxy in front may end TLS
    ("hut.local:33000", "https://hut.local:33000", True),
    ("HUT.local:33000", "https://hut.LOCAL:33000", True),
    ("hut.local", "HTTPS://hut.local", True),
    ("hut.local", "https://hut.local:443", True),
    ("hut.local:443", "https://hut.local", True),
    ("hut.local", "http://hut.local:80", False),
    ("hut.local:80", "http://hut.local", False),
    ("[::1]:33000", "https://[::1]:33000", True),
]
OTHER_SITE = [
    ("hut.local:33000", "http://hut.local:33000", True),  # an attacker on the network can forge http pages
    ("hut.local", "http://hut.local", True),
    ("hut.local:443", "http://hut.local:443", True),
    ("hut.local:33000", "https://hut.local:33001", True),
    ("hut.local:33000", "https://hut.local", True),
    ("hut.local:33000", "https://hut.local:443", True),
    ("hut.local", "https://hut.local:80", True),
    ("hut.local:80", "https://hut.local", True),
    ("hut.local:443", "http://hut.local", False),
    ("hut.local:80", "https://hut.local", False),
    ("hut.local:33000", "https://localhost:33000", True),
    ("hut.local:33000", "ftp://hut.local:33000", False),
    ("hut.local:33000", "wss://hut.local:33000", True),
    ("hut.local:33000", "hut.local:33000", True),
    ("hut.local:33000", "null", True),
    ("hut.local:33000", "", True),
]


@pytest.mark.parametrize(("host", "origin", "tls"), SAME_SITE)
def test_page_of_the_same_origin_may_use_the_server(
    server: FakeServer, host: str, origin: str | None, tls: bool
) -> None:
    assert HttpClient(server, secure=tls).exchange_one(request("/", host, Origin=origin)).status == 200
    assert HttpClient(server, secure=tls).exchange_one(opening("/ws", host, Origin=origin)).status == 101


@pytest.mark.parametrize(("host", "origin", "tls"), OTHER_SITE)
def test_page_of_another_origin_may_not_use_the_server(
    server: FakeServer, host: str, origin: str, tls: bool
) -> None:
    for stream in (request("/", host, Origin=origin), opening("/ws", host, Origin=origin)):
        answer = HttpClient(server, secure=tls).exchange_one(stream)
        assert answer.status == 403
        assert answer.body == b"pages from other sites cannot use this server\n"


# -- one connection --------------------------------------------------------------------------------------


def test_connection_serves_several_requests(server: FakeServer) -> None:
    visitor = HttpClient(server)
    for _ in range(3):
        assert visitor.exchange_one(request()).status == 200
        assert not visitor.paused
        server.tick(5)
    assert visitor.closed == []
    assert server.clock.pending == 1
    visitor.hang_up()
    assert server.observer.seen == [], "a browser that leaves after a response is not logged"
    assert_no_timers(server)


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_pipelined_requests_are_answered_in_order(server: FakeServer, size: int) -> None:
    visitor = HttpClient(server)
    paths = ["/style.css", "/nothing", "/", "/app.4F7Q2ZKA.js", "/style.css"]
    methods = ["GET", "GET", "HEAD", "GET", "POST"]
    stream = b"".join(map(request, paths, [HOST] * 5, methods))
    visitor.methods = list(methods)
    for start in range(0, len(stream), size):
        visitor.session.data_received(stream[start : start + size])
    found = visitor.responses()
    assert [answer.status for answer in found] == [200, 404, 200, 200, 405]
    assert found[3].body == SCRIPT
    assert not visitor.paused
    visitor.close()
    assert_no_timers(server)


def test_next_request_is_read_only_when_the_response_is_sent(server: FakeServer) -> None:
    visitor = HttpClient(server)
    visitor.sock.room = 10
    assert not visitor.paused
    visitor.session.data_received(request() * 2)
    assert visitor.paused
    server.settle()
    assert len(visitor.sock.taken) == 10
    assert isinstance(visitor.session, HttpSession)
    assert visitor.session.state is HttpState.SENDING
    visitor.sock.room = None
    visitor.outbox.flush()
    assert [answer.status for answer in visitor.responses()] == [200, 200]
    assert not visitor.paused


@pytest.mark.parametrize("how", [{"Connection": "close"}, {"version": "HTTP/1.0"}])
def test_connection_close_and_http_1_0_close_after_the_response(
    server: FakeServer, how: dict[str, str]
) -> None:
    visitor = HttpClient(server)
    answer = visitor.exchange_one(request(**how))
    assert answer.status == 200
    assert answer.headers["connection"] == "close"
    assert visitor.closed == [None]
    assert_no_timers(server)


def test_half_closed_client_gets_its_response(server: FakeServer) -> None:
    visitor = HttpClient(server)
    visitor.session.data_received(request("/style.css"))
    visitor.hang_up()
    [answer] = visitor.responses()
    assert answer.body == b"b{}"
    assert_no_timers(server)


def test_incomplete_request_at_the_end_of_the_stream_gets_400(server: FakeServer) -> None:
    visitor = HttpClient(server)
    visitor.session.data_received(request()[:-1])
    visitor.hang_up()
    [answer] = visitor.responses()
    check_headers(answer)
    assert answer.status == 400
    assert_no_timers(server)


def test_posted_body_is_read_after_100_continue(server: FakeServer, ci: str) -> None:
    visitor = HttpClient(server)
    first = visitor.exchange(post(ci, Content_Length="5", Expect="100-continue"))
    assert [answer.status for answer in first] == [100]
    visitor.session.data_received(b"hello")
    assert [answer.status for answer in visitor.responses()] == [201]
    assert visitor.exchange_one(request()).status == 200


@pytest.mark.parametrize(
    ("stream", "status"),
    [
        (request(method="POST", Content_Length="65537"), 413),
        (request(method="POST", Content_Length="65537", Expect="100-continue"), 413),
        (request(method="HEAD", Content_Length="65537"), 413),
        (request(Expect="the unexpected"), 417),
        (request(X="x" * 20_000), 431),
        (request(X="x" * 20_000)[:17_000], 431),
        (request(version="HTTP/2.0"), 505),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (request(Transfer_Encoding="gzip"), 501),
    ],
)
def test_invalid_request_gets_an_error_and_a_close(server: FakeServer, stream: bytes, status: int) -> None:
    visitor = HttpClient(server)
    answer = visitor.exchange_one(stream)
    check_headers(answer)
    assert answer.status == status
    assert answer.headers["connection"] == "close"
    assert len(visitor.closed) == 1
    assert str(visitor.closed[0]).startswith(f"HTTP {status}: ")
    assert server.observer.seen == [("stranger left", visitor.address, visitor.closed[0])]
    assert_no_timers(server)


# -- time ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", ["head", "body", "chunk"])
def test_incomplete_request_times_out_with_408(server: FakeServer, ci: str, stream: str) -> None:
    parts = {
        "head": request()[:10],
        "body": post(ci, Content_Length="9") + b"x",
        "chunk": chunked(ci, b"2\r\nx"),
    }
    visitor = HttpClient(server)
    server.tick(4)
    for byte in parts[stream]:
        visitor.session.data_received(bytes([byte]))
    server.tick(5.9)
    assert visitor.closed == []
    server.tick(0.2)
    [answer] = visitor.responses()
    check_headers(answer)
    assert answer.status == 408
    assert answer.headers["connection"] == "close"
    assert visitor.closed == ["HTTP 408: the request was not completed in time"]
    server.tick(60)  # the name of the token signs out
    assert_no_timers(server)


def test_each_request_has_its_own_timeout(server: FakeServer) -> None:
    visitor = HttpClient(server)
    for _ in range(3):
        server.tick(9)
        assert visitor.exchange_one(request()).status == 200
    server.tick(9)
    visitor.session.data_received(b"GET")
    server.tick(1.1)
    assert visitor.responses()[0].status == 408
    assert_no_timers(server)


def test_idle_connection_is_closed_without_a_response_or_log_line(server: FakeServer) -> None:
    visitor = HttpClient(server)
    assert visitor.exchange_one(request()).status == 200
    server.tick(10.1)
    assert visitor.closed == [None]
    assert visitor.responses() == []
    assert server.observer.seen == []
    assert_no_timers(server)


def test_unread_response_times_out(server: FakeServer) -> None:
    visitor = HttpClient(server)
    visitor.sock.room = 10
    visitor.session.data_received(request())
    server.tick(29.9)
    assert visitor.closed == []
    server.tick(0.2)
    assert visitor.closed == ["the client did not read the response in time"]
    visitor.outbox.close()
    assert_no_timers(server)


def test_response_read_just_before_the_timeout_is_complete(server: FakeServer) -> None:
    visitor = HttpClient(server)
    visitor.sock.room = 10
    visitor.session.data_received(request())
    server.tick(29)
    visitor.sock.room = None
    visitor.outbox.flush()
    assert visitor.responses()[0].status == 200
    server.tick(9)
    assert visitor.exchange_one(request()).status == 200
    assert visitor.closed == []


@pytest.mark.parametrize("when", ["reading", "sending", "between"])
def test_lost_connection_leaves_no_timer(server: FakeServer, when: str) -> None:
    visitor = HttpClient(server)
    visitor.sock.room = 0 if when == "sending" else None
    visitor.session.data_received(request()[: -1 if when == "reading" else None])
    if when == "between":
        server.tick()  # the response is sent; the next read is due in the next tick
    visitor.close("connection reset by peer")
    visitor.outbox.close()
    server.settle()
    assert server.observer.seen == [("stranger left", visitor.address, "connection reset by peer")]
    assert_no_timers(server)


# -- refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refusal", "status"), [(ServerFullError(5), 503), (AddressFullError(64), 503), (BannedError(), 403)]
)
@pytest.mark.parametrize("stream", [request(), opening(), request(host="evil.example"), request("/healthz")])
def test_refused_client_gets_the_reason_and_a_close(
    refusal: SelchatError, status: int, stream: bytes, folder: Path
) -> None:
    server = FakeServer(files=folder, full_retry=6.5)
    visitor = HttpClient(server, refusal=refusal)
    answer = visitor.exchange_one(stream)
    check_headers(answer)
    assert answer.status == status
    assert answer.headers["connection"] == "close"
    assert answer.headers.get("retry-after") == ("7" if status == 503 else None)
    assert str(refusal).encode() in answer.body
    assert visitor.closed == [str(refusal)]
    assert_no_timers(server)


def test_refused_client_has_a_shorter_deadline(server: FakeServer) -> None:
    visitor = HttpClient(server, refusal=ServerFullError(5))
    visitor.session.data_received(b"GET / ")
    server.tick(1.1)
    assert visitor.closed != []
    assert_no_timers(server)


# -- plain HTTP from elsewhere ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/ws", "/app.4F7Q2ZKA.js?a=%20b&c", "/nothing", "//evil.example"])
def test_plain_http_from_another_machine_is_redirected_to_https(server: FakeServer, path: str) -> None:
    visitor = HttpClient(with_tls(server), local=False)
    answer = visitor.exchange_one(request(path, host="hut.local:33000"))
    check_headers(answer)
    assert answer.status == 308
    assert answer.headers["location"] == f"https://hut.local:33000{path}"
    assert answer.headers["cache-control"] == "no-store"
    assert "refresh" not in answer.headers
    for text in (KEY, CERTIFICATE):
        assert text.encode() in answer.body
    assert b"<script" not in answer.body
    assert b"style=" not in answer.body


def test_browser_gets_the_certificate_page_without_a_redirect(server: FakeServer) -> None:
    visitor = HttpClient(with_tls(server), local=False)
    answer = visitor.exchange_one(request(Accept="text/html,*/*;q=0.8", host="[::1]:33000"))
    check_headers(answer)
    assert answer.status == 200
    assert b'<a href="https://[::1]:33000/">' in answer.body
    assert "refresh" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"
    assert CERTIFICATE.encode() in answer.body
    head = visitor.exchange_one(request(Accept="text/html", method="HEAD"))
    assert (head.status, head.body) == (200, b"")


def test_unencrypted_post_is_refused_without_a_redirect(server: FakeServer) -> None:
    visitor = HttpClient(with_tls(server), local=False)
    answer = visitor.exchange_one(request("/rooms/lobby/messages", method="POST", body=b"hello"))
    check_headers(answer)
    assert answer.status == 403
    assert b"not encrypted" in answer.body
    assert "location" not in answer.headers


def test_redirect_target_is_escaped_in_the_page(server: FakeServer) -> None:
    visitor = HttpClient(with_tls(server), local=False)
    answer = visitor.exchange_one(request("/\"><b>'&{key}", host="hut.local"))
    assert answer.status == 308
    assert b"<b>" not in answer.body
    assert b"&quot;&gt;&lt;b&gt;&#x27;&amp;{key}" in answer.body


def test_long_target_is_not_redirected(server: FakeServer) -> None:
    """The page would have twelve times its size."""
    server = with_tls(server)
    assert HttpClient(server, local=False).exchange_one(request("/" + '"' * 2000)).status == 308
    answer = HttpClient(server, local=False).exchange_one(request("/" + '"' * 15_000))
    assert answer.status == 414
    answer = HttpClient(server, local=False).exchange_one(request("/rooms/" + '"' * 15_000))
    assert_api_error(answer, 414, "address-too-long")


def test_host_is_checked_before_the_redirect(server: FakeServer) -> None:
    answer = HttpClient(with_tls(server), local=False).exchange_one(request(host="evil.example"))
    assert answer.status == 421
    assert "location" not in answer.headers


@pytest.mark.parametrize("how", [{"secure": True, "local": False}, {"local": True}])
def test_no_redirect_over_tls_or_on_the_same_machine(server: FakeServer, how: dict[str, bool]) -> None:
    visitor = HttpClient(with_tls(server), **how)
    assert visitor.exchange_one(request()).body.startswith(b"<!DOCTYPE html><title>selchat")
    assert visitor.exchange_one(opening()).status == 101


def test_no_redirect_if_the_server_has_no_tls(server: FakeServer) -> None:
    visitor = HttpClient(server, local=False)
    assert visitor.exchange_one(request()).body.startswith(b"<!DOCTYPE html><title>selchat")


# -- the way to a WebSocket ------------------------------------------------------------------------------


def test_websocket_handshake_works_after_other_requests(server: FakeServer) -> None:
    visitor = HttpClient(server)
    found = visitor.exchange(request(), opening())
    assert [answer.status for answer in found] == [200, 101]
    assert not visitor.paused
    assert not isinstance(visitor.session, HttpSession)
    visitor.close()
    assert_no_timers(server)


@pytest.mark.parametrize(
    ("stream", "status"), [(request("/ws"), 426), (opening(Sec_WebSocket_Key=None), 400), (opening("/"), 200)]
)
def test_invalid_websocket_handshake_keeps_the_connection(
    server: FakeServer, stream: bytes, status: int
) -> None:
    visitor = HttpClient(server)
    answer = visitor.exchange_one(stream)
    check_headers(answer)
    assert answer.status == status
    assert visitor.exchange_one(opening()).status == 101


def test_misdirected_request_names_the_option_that_allows_the_host(server: FakeServer) -> None:
    for host, name in {"Chat.example:33000": "chat.example", "[2001:db8::1]:33000": "2001:db8::1"}.items():
        answer = HttpClient(server).exchange_one(request(host=host))
        assert answer.status == 421
        assert f"--allowed-host={name}\n".encode() in answer.body
        assert name in HostAllowlist([name], list, lambda: 0.0)


def test_message_rate_limits_requests(folder: Path) -> None:
    """Otherwise one connection, of somebody without a name, has all of the server's time."""
    server = FakeServer(files=folder, message_rate=5, message_burst=20)
    visitor = HttpClient(server)
    answered = len(visitor.exchange(request("/healthz") * 40))
    for _ in range(40):
        server.clock.advance(0)
        answered += len(visitor.responses())
    assert 20 <= answered <= 21
    assert visitor.paused
    for _ in range(10):
        server.clock.advance(0.1001)
        answered += len(visitor.responses())
    assert 25 <= answered <= 26
    visitor.session.connection_lost(None)
    assert_no_timers(server)


# -- posted messages -------------------------------------------------------------------------------------


# Status and code of each error in the table of the document.
DOCUMENTED = {
    (int(status), code)
    for status, codes in re.findall(
        r"^([45][0-9]{2})  +([a-z-]+(?:, [a-z-]+)*)  ",
        (Path(__file__).parents[3] / "docs/http.rst").read_text(),
        re.MULTILINE,
    )
    for code in codes.split(", ")
}


def assert_api_error(answer: Answer, status: int, code: str) -> None:
    check_headers(answer)
    assert (status, code) in DOCUMENTED
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    assert answer.headers["cache-control"] == "no-store"
    document = json.loads(answer.body)
    assert document.keys() == {"error", "message"}
    assert document["error"] == code
    assert document["message"]


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_posted_message_is_stored_at_any_cut(server: FakeServer, ci: str, framing: str, size: int) -> None:
    stream = post(ci, b"hello") if framing == "length" else chunked(ci, b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n")
    visitor = HttpClient(server)
    for start in range(0, 2 * len(stream), size):
        visitor.session.data_received((stream * 2)[start : start + size])
    visitor.methods = ["POST", "POST"]
    assert [answer.status for answer in visitor.responses()] == [201, 201]
    assert [one.body for one in server.log.committed] == ["hello", "hello"]
    assert not visitor.paused
    visitor.close()


UNREAD: list[tuple[dict[str, str], int, str]] = [
    ({"token": ""}, 401, "bad-token"),
    ({"token": "selchat_" + "0" * 64}, 401, "bad-token"),
    ({"path": "/rooms/@x/messages"}, 400, "bad-room"),
    ({"path": "/rooms/" + "x" * 33 + "/messages"}, 400, "bad-room"),
    ({"path": "/rooms/" + "%41" * 5000 + "/messages"}, 400, "bad-room"),
    ({"path": "/rooms/a%2Fb%20c/messages"}, 400, "bad-room"),
    ({"path": "/rooms/%00%01/messages"}, 400, "bad-room"),
    ({"path": "/rooms/%FF/messages"}, 400, "bad-request"),
    ({"path": "/rooms/%zz/messages"}, 400, "bad-request"),
    ({"path": "/rooms/100%/messages"}, 400, "bad-request"),
    ({"path": "/rooms/lobby/messages?" + "a&" * 8000}, 400, "bad-request"),
    ({"path": "/rooms/lobby/messages?id=%FF"}, 400, "bad-request"),
    ({"path": "/rooms/lobby"}, 404, "not-found"),
    ({"path": "/rooms/"}, 404, "not-found"),
    ({"path": "/rooms/lobby/messages/"}, 404, "not-found"),
    ({"method": "PUT"}, 405, "bad-method"),
    ({"method": "GET"}, 405, "bad-method"),
    ({"Origin": "https://evil.example"}, 403, "other-site"),
    ({"host": "evil.example"}, 421, "wrong-host"),
    ({"host": "x" * 300}, 400, "bad-request"),
    ({"Expect": "200-ok"}, 417, "bad-expectation"),
    ({"version": "HTTP/1.2"}, 505, "bad-version"),
    ({"X": "x" * 17_000}, 431, "head-too-long"),
    ({"X": "\0"}, 400, "bad-request"),
]


@pytest.mark.parametrize("body", [{"Content_Length": "6"}, {"Transfer_Encoding": "chunked"}, {}])
@pytest.mark.parametrize("changes", UNREAD)
def test_refused_post_gets_json_before_its_body_arrives(
    server: FakeServer, ci: str, changes: tuple[dict[str, str], int, str], body: dict[str, str]
) -> None:
    fields, status, code = changes
    token = fields.get("token", ci)
    authorization = {"Authorization": f"Bearer {token}"} if token else {}
    how = {"path": "/rooms/lobby/messages", "method": "POST", **authorization, **fields, **body}
    how.pop("token", None)
    visitor = HttpClient(server)
    answer = visitor.exchange_one(request(**how))  # type: ignore[arg-type]
    assert_api_error(answer, status, code)
    if body:
        assert answer.headers["connection"] == "close"
        assert visitor.closed
    assert server.log.committed == []
    visitor.session.connection_lost(None)


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        ({"Content_Length": "65537"}, b"", 413, "too-long"),
        ({"Content_Length": "65537", "Expect": "100-continue"}, b"", 413, "too-long"),
        ({"Transfer_Encoding": "chunked"}, b"10001\r\n", 413, "too-long"),
        ({"Transfer_Encoding": "chunked"}, b"8001\r\n" + b"x" * 0x8001 + b"\r\n8000\r\n", 413, "too-long"),
        ({"Transfer_Encoding": "chunked"}, b"1\r\nx\r\n" * 1025, 413, "too-long"),
        ({"Transfer_Encoding": "chunked"}, b"1;x\r\n", 400, "bad-request"),
        ({"Transfer_Encoding": "gzip"}, b"", 501, "not-supported"),
        ({"Transfer_Encoding": "chunked", "Content_Length": "5"}, b"", 400, "bad-request"),
        ({"Content_Length": "5, 5"}, b"", 400, "bad-request"),
    ],
)
def test_badly_framed_body_gets_json_and_a_close(
    server: FakeServer, ci: str, headers: dict[str, str], body: bytes, status: int, code: str
) -> None:
    visitor = HttpClient(server)
    assert_api_error(visitor.exchange_one(post(ci, **headers) + body), status, code)
    assert visitor.closed
    assert server.log.committed == []


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "bad-json"),
        (b"{}", "application/json", 400, "bad-message"),
        (b"x", "image/png", 415, "media-type"),
    ],
)
def test_refused_body_gets_json_and_keeps_the_connection(
    server: FakeServer, ci: str, body: bytes, content_type: str, status: int, code: str
) -> None:
    visitor = HttpClient(server)
    assert_api_error(visitor.exchange_one(post(ci, body, Content_Type=content_type)), status, code)
    assert visitor.exchange_one(post(ci, b"hello")).status == 201


def test_slow_post_gets_408_in_json(server: FakeServer, ci: str) -> None:
    for stream in (post(ci, Content_Length="5"), post(ci)[:50]):
        visitor = HttpClient(server)
        visitor.exchange(stream)
        server.tick(10.1)
        assert_api_error(visitor.responses()[0], 408, "timeout")


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [(ServerFullError(5), 503, "full"), (AddressFullError(64), 503, "full"), (BannedError(), 403, "banned")],
)
def test_refused_client_gets_json_for_its_post(
    server: FakeServer, ci: str, refusal: SelchatError, status: int, code: str
) -> None:
    visitor = HttpClient(server, refusal=refusal)
    answer = visitor.exchange_one(post(ci, b"hello"))
    assert_api_error(answer, status, code)
    assert ("retry-after" in answer.headers) == (status == 503)
    assert server.log.committed == []


def test_unencrypted_post_gets_403_in_json(server: FakeServer, ci: str) -> None:
    visitor = HttpClient(with_tls(server), local=False)
    assert_api_error(visitor.exchange_one(post(ci, b"hello")), 403, "not-encrypted")


def test_head_of_a_room_gets_405_without_a_body(server: FakeServer) -> None:
    answer = HttpClient(server).exchange_one(request("/rooms/lobby/messages", method="HEAD"))
    assert (answer.status, answer.headers["content-type"], answer.body) == (405, "application/json", b"")


def test_two_different_ids_in_the_query_are_refused(server: FakeServer, ci: str) -> None:
    visitor = HttpClient(server)
    path = "/rooms/lobby/messages?id=a&id="
    assert_api_error(visitor.exchange_one(post(ci, b"hello", f"{path}b")), 400, "bad-message")
    assert visitor.exchange_one(post(ci, b"hello", f"{path}a")).status == 201


def test_a_tick_decodes_a_few_chunks_of_each_client(folder: Path, tmp_path: Path) -> None:
    """Tiny chunks cost more than their bytes. Another client waits for one step of each flooder."""
    server = FakeServer(files=folder)
    ci = add_token(server, tmp_path)
    flooders = [HttpClient(server) for _ in range(10)]
    visitor = HttpClient(server)
    for flooder in flooders:
        flooder.session.data_received(chunked(ci, b"1\r\nx\r\n" * 1024 + b"0\r\n\r\n"))
        assert flooder.paused
    server.tick()
    assert server.log.committed == []
    assert visitor.exchange_one(request("/healthz")).status == 200
    server.settle()
    assert [flooder.responses()[0].status for flooder in flooders] == [201] * 10
    assert not any(flooder.paused for flooder in flooders)


def test_byte_rate_counts_each_chunk_and_extends_the_deadline(folder: Path, tmp_path: Path) -> None:
    server = FakeServer(files=folder, byte_rate=4 * 1024, frame_limit=64 * 1024, login_seconds=10)
    ci = add_token(server, tmp_path)
    visitor = HttpClient(server)
    visitor.session.data_received(chunked(ci, b"1\r\nx\r\n" * 1000))
    seconds = 0
    while visitor.paused and not visitor.closed:
        server.tick(1.0)
        seconds += 1
    assert not visitor.closed
    assert 105 <= seconds <= 120, "512 KB for 1,000 chunks, after a burst of 68 KiB"
    visitor.session.data_received(b"0\r\n\r\n")
    [answer] = visitor.responses()
    assert answer.status == 201
    server.tick(1.0)
    assert not visitor.paused, "the debt is paid"
    visitor.session.connection_lost(None)


def test_byte_rate_limits_heads(folder: Path) -> None:
    server = FakeServer(files=folder, byte_rate=1000, frame_limit=1000)
    visitor = HttpClient(server)
    assert len(visitor.exchange(request(X="x" * 900) * 10)) == 1
    assert visitor.paused
    answered = 1
    for _ in range(10):
        server.tick(1.0)
        answered += len(visitor.responses())
    assert 8 <= answered <= 10
    visitor.session.connection_lost(None)
    assert_no_timers(server)


def test_requests_over_the_work_of_a_tick_wait_in_order(folder: Path) -> None:
    """However many clients ask at once, each tick stays short; nobody is refused, however long it takes."""
    server = FakeServer(files=folder, tick_work=0.001, connection_work=0, address_work=0)
    visitors = [HttpClient(server) for _ in range(30)]
    for visitor in visitors:
        visitor.session.data_received(request("/healthz"))

    def waiting() -> list[int]:
        sessions = [visitor.session for visitor in visitors]
        return [
            number
            for number, session in enumerate(sessions)
            if isinstance(session, HttpSession) and session.state is HttpState.WAITING
        ]

    before = waiting()
    assert before == list(range(8, 30)), "a request costs an eighth of the tick"
    visitors[29].close()
    server.tick()
    assert waiting() == list(range(16, 29))
    server.tick(60.0)
    assert waiting() == list(range(24, 29))
    assert not any(visitor.closed for visitor in visitors[16:29]), "they wait for the server"
    for visitor in visitors[16:29]:
        visitor.methods = ["GET"]
        assert [answer.status for answer in visitor.responses()] == [200]
        assert not visitor.paused


def test_address_over_its_share_of_work_waits_alone(folder: Path) -> None:
    server = FakeServer(files=folder, tick_work=1.0, connection_work=0.0002, address_work=0)
    visitor, other = HttpClient(server), HttpClient(server)
    answered = len(visitor.exchange(request("/healthz") * 100))
    for _ in range(40):
        server.tick()
        answered += len(visitor.responses())
    assert 14 <= answered <= 16, "two milliseconds at 130 microseconds, less the connection"
    assert other.exchange_one(request("/healthz")).status == 200
    server.tick(0.66)
    assert len(visitor.responses()) == 1


@pytest.mark.parametrize("target", ["ci", Client.address.rpartition(":")[0]])
def test_ban_ends_posting_on_an_open_connection(server: FakeServer, ci: str, target: str) -> None:
    visitor = HttpClient(server)
    assert visitor.exchange_one(post(ci, b"hello")).status == 201
    server.commands.run(f"/ban {target}")
    if not visitor.closed:
        assert_api_error(visitor.exchange_one(post(ci, b"again")), 403, "banned")
    assert_api_error(HttpClient(server).exchange_one(post(ci, b"again")), 403, "banned")
    server.commands.run(f"/unban {target}")
    assert HttpClient(server).exchange_one(post(ci, b"again")).status == 201
    assert len(server.log.committed) == 2


def test_ban_while_the_body_arrives_refuses_the_message(server: FakeServer, ci: str) -> None:
    visitor = HttpClient(server)
    stream = post(ci, b"hello")
    visitor.exchange(stream[:-1])
    server.commands.run("/ban ci")
    visitor.session.data_received(stream[-1:])
    assert_api_error(visitor.responses()[0], 403, "banned")
    assert server.log.committed == []


def test_refused_client_does_not_wait_for_work(folder: Path) -> None:
    server = FakeServer(files=folder, tick_work=0.001, connection_work=0, address_work=0)
    for _ in range(10):
        HttpClient(server).session.data_received(request("/healthz"))
    visitor = HttpClient(server, refusal=ServerFullError(5))
    visitor.session.data_received(request("/healthz"))
    assert visitor.closed, "its place is free for someone else"
