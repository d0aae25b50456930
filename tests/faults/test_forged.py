"""Forged Host and Origin headers: a foreign page in a user's browser gets nothing from this server.

Over a thousand variants of a foreign ``Host`` (DNS rebinding) and of a foreign ``Origin`` (cross-site
requests and WebSockets); a fifth of them without ``--run-slow``. The expected results are defined here and
not taken from the code under test.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from selchat.net.host_allowlist import HostAllowlist
from selchat.sessions.http.session import HttpSession
from tests.e2e.web_support import answers, opening, request
from tests.faults.world import Faults, world
from tests.sessions.http.test_session import HttpClient
from tests.sessions.test_selchat import FakeServer

_PORT = 33000
_OWN = ("localhost", "127.0.0.1", "[::1]", "hut", "hut.local", "chat.example", "192.168.43.158", "[fd00::1]")
_WRITTEN_OTHERWISE = ("LocalHost", "HUT", "[0:0:0:0:0:0:0:1]", "[FD00:0::1]", "Chat.Example")


def twisted(name: str) -> Iterator[str]:
    """Yield names that look like this one, or resolve to it, and are different."""
    bare = name.strip("[]")
    yield from (
        f"{name}.",
        f"{name}..",
        f".{name}",
        f"{name}.evil.example",
        f"evil.{name}",
        f"x{name}",
        f"{name}x",
    )
    yield from (f"-{name}", f"{name}-", f"_{name}", bare[:-1], f"{name}.nip.io", f"{name}.localhost")
    yield from (
        f"user@{name}",
        f"user:pass@{name}",
        f"{name}@evil.example",
        f"evil.example@{name}",
        f"@{name}",
    )
    yield from (f"{name}/", f"{name}/x", f"/{name}", f"//{name}", f"{name}\\", f"{name}\\@evil.example")
    yield from (
        f"{name}?",
        f"{name}#",
        f"{name}#@evil.example",
        f"{name};x",
        f"{name}&",
        f"{name}=",
        f"{name}|",
    )
    yield from (f"{name},evil.example", f"evil.example,{name}", f"{name}, {name}", f"{name} evil.example")
    yield from (f"{name}\tevil.example", f"evil.example {name}", f"{name} {name}", f'"{name}"', f"'{name}'")
    yield from (f"<{name}>", f"({name})", f"{{{name}}}", f"[{name}]", f"[{bare}", f"{bare}]", f"[[{bare}]]")
    yield from (f"{name}%00", f"%00{name}", f"{name}%20", f"{name}%2eevil.example", f"{name}%0d%0aX:%20y")
    yield "".join(f"%{ord(character):02x}" for character in name)
    yield from (
        f"{name[:1]}\0{name[1:]}",
        f"{name}\0",
        f"{name}\x0b",
        f"{name}\x7f",
        f"\xa0{name}",
        f"{name}\xad",
    )
    for place in range(0, len(bare), 3):
        yield f"{bare[:place]}%{ord(bare[place]):02x}{bare[place + 1 :]}"
    # Confusable names of other scripts, in UTF-8 and as punycode, and names that are equal after NFKC.
    wide = "".join(chr(ord(character) + 0xFEE0) for character in bare)
    for text in (
        wide,
        bare.replace("o", "\u043e", 1),
        bare.replace("a", "\u0430", 1),
        bare.replace(".", "\u3002"),
    ):
        if text != bare:
            yield text.encode().decode("latin-1")
    yield from (
        f"{name}\u200b".encode().decode("latin-1"),
        f"xn--{bare}",
        f"xn--{bare.replace('.', '-')}-dya",
    )


def ports(name: str) -> Iterator[str]:
    """Yield the name with invalid ports."""
    for port in (
        *(
            "",
            "0",
            "00",
            "65536",
            "99999",
            "100000",
            "033000",
            "+33000",
            "-1",
            "-33000",
            "33000:33000",
            ":33000",
        ),
        *(
            "33000x",
            "x",
            "0x80e8",
            " 33000",
            "33000 x",
            "33000,80",
            "33000/",
            "33000/ws",
            "33000?",
            "33000#",
            "3e4",
        ),
        *(
            "33000@evil.example",
            "33000.evil.example",
            "3300\xb2",
            "*",
            "%33%33",
            "http",
            "33000;80",
            "33_000",
        ),
    ):
        yield f"{name}:{port}"


def addresses() -> Iterator[str]:
    """Yield unusual spellings of 127.0.0.1, and foreign addresses."""
    yield from ("2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.1", "127.0.1", "017700000001")
    yield from (
        "127.000.000.001",
        "127.0.0.01",
        "127.0.0.1.1",
        "127.0.0",
        "127.0.0.256",
        "127.0.0.1e0",
        "0",
        "0.0.0.0",
    )
    yield from (
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[127.0.0.1]",
        "[::1%25lo]",
        "[::1%lo]",
    )
    yield from (
        "::1",
        "[::1",
        "::1]",
        "[::1]]",
        "[::1].evil.example",
        "[v1.x]",
        "[]",
        "[::g]",
        "[localhost]",
        "[cafe]",
    )
    yield from (
        "[fe80::1%25eth0]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[::2]",
        "127.0.0.2",
        "127.255.255.254",
    )
    yield from ("3232246686", "0xc0a82b9e", "192.168.11166", "192.11021214", "0300.0250.053.0236")
    chance = random.Random(6)
    for first in (
        "10.{}.{}.{}",
        "192.168.{}.{}",
        "172.16.{}.{}",
        "169.254.{}.{}",
        "100.64.{}.{}",
        "127.{}.{}.{}",
    ):
        for _ in range(30):
            yield first.format(*(chance.randint(2, 254) for _ in range(first.count("{}"))))
    for _ in range(40):
        yield f"[fe80::{chance.randrange(0xFFFF):x}:{chance.randrange(0xFFFF):x}]"
        yield f"[fd00::{chance.randrange(2, 0xFFFF):x}]"


_OTHERS = (
    *(
        "",
        "evil.example",
        "null",
        "*",
        ".",
        "-",
        "..",
        "local",
        "localhost.localdomain",
        "ip6-localhost",
        "lvh.me",
    ),
    *(
        "localtest.me",
        "hut.lan",
        "hut.home.arpa",
        "example",
        "chat.example.com",
        "chat",
        "chat-example",
        "hut.locals",
    ),
    *(
        "file://",
        "http://localhost",
        "https://127.0.0.1:33000/",
        "http://127.0.0.1",
        "localhost/ws",
        "about:blank",
    ),
)


def forged_hosts() -> Iterator[str]:
    yield from _OTHERS
    yield from addresses()
    for name in _OWN:
        yield from ports(name)
        yield from twisted(name)


def forged_origins(name: str) -> Iterator[str]:
    """Yield foreign origins for a request to that name and port 33000."""
    yield from (
        "null",
        "",
        "NULL",
        "file://",
        "file:///",
        "data:",
        "about:blank",
        "blob:null",
        "*",
        "http://",
    )
    true = f"{name}:{_PORT}"
    for scheme in (
        "ws",
        "wss",
        "ftp",
        "file",
        "chrome-extension",
        "moz-extension",
        "javascript",
        "httpx",
        "xhttp",
    ):
        yield f"{scheme}://{true}"
    yield from (
        true,
        f"//{true}",
        f"http:{true}",
        f"http:/{true}",
        f"http:///{true}",
        f"http://{true}/",
        f"http//{true}",
    )
    yield from (
        f"http://{true}/x",
        f"http://{true}?",
        f"http://{true}#",
        f"http://{true} http://{true}",
        f":// {true}",
    )
    yield from (
        f"http://{true}, http://{true}",
        f"http://evil.example http://{true}",
        f"http://http://{true}",
    )
    yield from (
        f"http ://{true}",
        f"http: //{true}",
        f"http:// {true}",
        f"http%3a//{true}",
        f"http:\\\\{true}",
    )
    yield from (
        f"http://{name}",
        f"http://{name}:80",
        f"http://{name}:33001",
        f"https://{name}",
        f"https://{name}:443",
    )
    for other in (*_OWN, *_OTHERS):
        if other != name:
            yield f"http://{other}:{_PORT}"
    for other in (*twisted(name), *list(addresses())[::7]):
        yield f"http://{other}:{_PORT}"
        yield f"https://{other}:{_PORT}"
    yield from (f"http://{other}" for other in ports(name))


@pytest.fixture
def server(tmp_path: Path) -> FakeServer:
    (tmp_path / "index.html").write_bytes(b"the page")
    server = FakeServer(files=tmp_path)
    own = HostAllowlist(
        ["Hut", "hut.local", "chat.example"], lambda: ["192.168.43.158", "fd00::1"], lambda: server.clock.now
    )
    server.site = replace(server.site, is_allowed_host=own.__contains__)
    server.context = replace(server.context, new_http_session=partial(HttpSession, server.site))
    return server


def test_there_are_over_a_thousand_variants() -> None:
    assert len(set(forged_hosts())) > 1000
    assert sum(len(set(forged_origins(name))) for name in _OWN) > 1000


def statuses(server: FakeServer, *streams: bytes) -> list[int]:
    """Return the status of the response to each request, each on a new connection."""
    found = []
    for stream in streams:
        visitor = HttpClient(server)
        found.append(visitor.exchange_one(stream).status)
        visitor.close()
    return found


@pytest.fixture
def stride(run_slow: bool) -> int:
    """The distance between two variants that a test takes."""
    return 1 if run_slow else 5


def test_forged_host_is_rejected(server: FakeServer, stride: int) -> None:
    for host in list(dict.fromkeys(forged_hosts()))[::stride]:
        got = statuses(server, request("/", host), opening("/ws", host))
        assert min(got) >= 400, f"{host!r}: {got}"


def test_forged_origin_is_rejected(server: FakeServer, stride: int) -> None:
    for start, name in enumerate(_OWN):
        host = f"{name}:{_PORT}"
        for number, origin in list(enumerate(dict.fromkeys(forged_origins(name))))[start % stride :: stride]:
            how = request("/", host, Origin=origin) if number % 2 else opening("/ws", host, Origin=origin)
            got = statuses(server, how)
            assert min(got) >= 400, f"{origin!r} at {host}: {got}"


@pytest.mark.parametrize("way", ["plain", "TLS", "remote"])
def test_forged_host_gets_no_redirect(server: FakeServer, way: str) -> None:
    site = replace(server.site, fingerprint="abcd", certificate="0123")
    server.context = replace(server.context, new_http_session=partial(HttpSession, site))
    for host in list(dict.fromkeys(forged_hosts()))[::5]:
        visitor = HttpClient(server, secure=way == "TLS", local=way == "plain")
        answer = visitor.exchange_one(request("/", host))
        assert answer.status >= 400, host
        assert "location" not in answer.headers
        assert "refresh" not in answer.headers
        visitor.close()


def test_over_tls_an_http_origin_is_rejected(server: FakeServer) -> None:
    for name in _OWN:
        host = f"{name}:{_PORT}"
        for origin in [f"http://{host}", *list(forged_origins(name))[::9]]:
            visitor = HttpClient(server, secure=True)
            assert visitor.exchange_one(opening("/ws", host, Origin=origin)).status >= 400, origin
            visitor.close()
        visitor = HttpClient(server, secure=True)
        assert visitor.exchange_one(opening("/ws", host, Origin=f"https://{host}")).status == 101


_FORGED_HEADS = {
    "two hosts": b"Host: localhost\r\nHost: evil.example",
    "two hosts, the true one last": b"Host: evil.example\r\nHost: localhost",
    "the same twice": b"Host: localhost\r\nHost: localhost",
    "none": b"X: y",
    "a space before the colon": b"Host : localhost",
    "a folded one": b"Host: evil.example\r\n localhost",
    "a folded true one": b"Host: localhost\r\n .evil.example",
    "a line feed in it": b"Host: evil.example\nHost: localhost",
    "a CR in it": b"Host: evil.example\rHost: localhost",
    "forwarded": b"Host: evil.example\r\nX-Forwarded-Host: localhost\r\nForwarded: host=localhost",
    "another header": b"Host: evil.example\r\nX-Host: localhost\r\nX-Original-Host: localhost",
    "another origin": b"Host: localhost\r\nOrigin: http://localhost\r\nOrigin: http://evil.example",
    "another origin first": b"Host: localhost\r\nOrigin: http://evil.example\r\nOrigin: http://localhost",
    "the same origin twice": b"Host: localhost\r\nOrigin: http://localhost\r\nOrigin: http://localhost",
    "a folded origin": b"Host: localhost\r\nOrigin: http://localhost\r\n .evil.example",
    "a prefix by a fold": b"Host: localhost\r\nOrigin:\r\n http://evil.example",
}


@pytest.mark.parametrize("name", _FORGED_HEADS)
def test_ambiguous_request_heads_are_rejected(server: FakeServer, name: str) -> None:
    for target in (b"/", b"/ws"):
        head = opening("/ws", None).split(b"\r\n", 1)[1]
        stream = b"GET " + target + b" HTTP/1.1\r\n" + _FORGED_HEADS[name] + b"\r\n" + head
        assert statuses(server, stream)[0] >= 400


@pytest.mark.parametrize(
    "target",
    [
        *(
            "http://localhost/",
            "http://localhost:33000/ws",
            "http://evil.example/ws",
            "HTTP://LOCALHOST/",
            "ws://localhost/ws",
        ),
        *(
            "*",
            "localhost",
            "localhost:33000",
            "evil.example:80",
            "?",
            "#",
            "ws",
            "\\ws",
            "%2fws",
            "https:/ws",
        ),
    ],
)
@pytest.mark.parametrize("host", ["localhost:33000", "evil.example"])
def test_targets_with_a_host_are_rejected(server: FakeServer, target: str, host: str) -> None:
    assert statuses(server, request(target, host))[0] >= 400
    assert statuses(server, opening(target, host))[0] >= 400
    assert statuses(server, request(target, host, "CONNECT"))[0] >= 400


@pytest.mark.parametrize("name", [*_OWN, *_WRITTEN_OTHERWISE])
def test_own_names_are_accepted(server: FakeServer, name: str) -> None:
    for host in (
        name,
        f"{name}:{_PORT}",
        f"{name}:80",
        f"{name}:443",
        f"{name}:65535",
        f"  {name}:{_PORT}\t",
    ):
        origin = f"http://{host.strip().lower()}"
        assert statuses(
            server,
            request("/", host),
            opening("/ws", host),
            request("/", host, Origin=origin),
            opening("/ws", host, Origin=origin),
            opening("/ws", host, Origin=origin.replace("http:", "https:")),  # TLS may end before this server
        ) == [200, 101, 200, 101, 101]


def test_default_port_may_be_omitted(server: FakeServer) -> None:
    assert (
        statuses(
            server,
            opening("/ws", "hut.local", Origin="http://hut.local:80"),
            opening("/ws", "hut.local:80", Origin="http://hut.local"),
            opening("/ws", "hut.local", Origin="https://hut.local:443"),
            opening("/ws", "hut.local:443", Origin="https://hut.local"),
        )
        == [101] * 4
    )
    got = statuses(
        server,
        opening("/ws", "hut.local:443", Origin="http://hut.local"),
        opening("/ws", "hut.local:80", Origin="https://hut.local"),
    )
    assert min(got) >= 400


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_whole_server_rejects_forged_headers(
    secure: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It uses the names and addresses that it finds itself."""
    scheme = "https" if secure else "http"
    with world(monkeypatch, tmp_path, Faults(), tls="auto", allowed_host=("chat.example",)) as this:
        at_rest = this.holdings()

        def status(stream: bytes) -> int:
            peer = this.connect(secure=secure)
            peer.send(stream)
            this.settle()
            found, _ = answers(peer.received)
            peer.close()
            return found[0].status

        hosts = list(dict.fromkeys(forged_hosts()))
        for host in [host for host in hosts[::17] if not host.startswith(("192.168.43", "[fd00", "hut"))]:
            assert status(opening("/ws", host)) >= 400, host
        for origin in list(forged_origins("localhost"))[::13]:
            assert status(opening("/ws", "localhost:33000", Origin=origin)) >= 400, origin
        for name in ("localhost", "127.0.0.1", "[::1]", "chat.example"):
            host = f"{name}:{_PORT}"
            assert status(opening("/ws", host)) == 101
            assert status(opening("/ws", host, Origin=f"{scheme}://{host}")) == 101
            assert status(request("/healthz", host, Origin=f"{scheme}://{host}")) == 200
        this.pass_time(60)
        assert this.failures == []
        assert this.holdings() == at_rest
