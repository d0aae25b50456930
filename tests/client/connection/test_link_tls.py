"""Links over TLS: to servers with TLS, without it, no longer with it, and with a changed key."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from selchat.client.connection.link import Link, LinkState, Tls, Wire
from selchat.client.connection.trust import KnownServers, KnownServersError
from selchat.client.events import Trusted, Unencrypted
from selchat.net.certificate import group_digits, own_certificate, read_fingerprint
from selchat.net.reactor import Reactor
from selchat.net.tls import TlsState, TlsStream, server_context
from tests.client.selchat_support import encoded, error, welcome
from tests.client.support import RawConnection, RawServer, Recorder, fail, frame, settings, spin


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    reactor = Reactor(fail)
    yield reactor
    reactor.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return own_certificate(tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def other_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return own_certificate(tmp_path_factory.mktemp("other"))


class TlsServerEnd:
    """The server's end of a TLS connection."""

    def __init__(self, connection: RawConnection, files: tuple[Path, Path]) -> None:
        self.connection = connection
        self.stream = TlsStream(
            connection.sock,
            server_context(*files),
            server_side=True,
            on_blocked=lambda: None,
            on_buffered=lambda: None,
        )
        self.plain = b""
        self.ended = False

    def pump(self) -> bytes:
        """Read, and return all plain text so far."""
        try:
            while not self.ended:
                data = self.stream.recv(1 << 16)
                self.plain += data
                self.ended = not data
        except BlockingIOError:
            pass
        return self.plain

    def send(self, data: bytes) -> None:
        assert self.stream.send(data) == len(data)


class LinkToServer:
    """An open link to a server, with a recorder."""

    def __init__(self, reactor: Reactor, server: RawServer, **more: Any) -> None:
        self.reactor = reactor
        self.recorder = Recorder()
        more = {"wire": "selchat", "tls": "auto", "hello_seconds": 0.5, **more}
        self.link = Link(reactor, settings(server.port, **more), self.recorder, jitter=lambda _a, _b: 0.0)
        self.link.open()

    def spin(self, condition: Any, what: str = "condition") -> None:
        spin(self.reactor, condition, what)

    def accept_tls(self, server: RawServer, files: tuple[Path, Path]) -> TlsServerEnd:
        self.spin(server.waiting, "a connection")
        end = TlsServerEnd(server.accept(), files)

        def done() -> bool:
            end.pump()
            return end.stream.state is not TlsState.HANDSHAKE and bool(end.plain)

        self.spin(done, "the handshake and a hello")
        return end


@pytest.fixture
def server() -> Iterator[RawServer]:
    with RawServer() as server:
        yield server


def test_key_of_a_new_server_is_pinned_and_reported(
    reactor: Reactor, server: RawServer, files: tuple[Path, Path]
) -> None:
    client = LinkToServer(reactor, server)
    assert client.link.tls is Tls.GUESSED
    end = client.accept_tls(server, files)
    assert b'"type":"hello"' in end.plain
    end.send(encoded(welcome()))
    client.spin(lambda: client.link.state is LinkState.ONLINE)
    shown = read_fingerprint(files[0])
    assert client.recorder.events[0] == Trusted(f"127.0.0.1:{server.port}", group_digits(shown))
    assert client.link.tls is Tls.ON
    assert KnownServers().find("127.0.0.1", server.port) == (shown, 2)
    client.link.say("hello by TLS")
    client.spin(lambda: b"hello by TLS" in end.pump())
    client.link.close()


def test_pinned_key_is_not_reported_again(
    reactor: Reactor, server: RawServer, files: tuple[Path, Path]
) -> None:
    KnownServers().add("127.0.0.1", server.port, read_fingerprint(files[0]))
    client = LinkToServer(reactor, server)
    assert client.link.tls is Tls.ON
    end = client.accept_tls(server, files)
    end.send(encoded(welcome()))
    client.spin(lambda: client.link.state is LinkState.ONLINE)
    assert not any(isinstance(event, Trusted | Unencrypted) for event in client.recorder.events)
    client.link.close()


@pytest.mark.parametrize("tls", ["auto", "require"])
def test_changed_key_closes_the_link_before_anything_is_sent(
    reactor: Reactor, server: RawServer, files: tuple[Path, Path], other_files: tuple[Path, Path], tls: str
) -> None:
    KnownServers().add("127.0.0.1", server.port, read_fingerprint(other_files[0]))
    client = LinkToServer(reactor, server, tls=tls)
    client.link.say("secret")
    client.spin(server.waiting)
    end = TlsServerEnd(server.accept(), files)
    client.spin(lambda: end.pump() or client.link.state is LinkState.CLOSED)
    [(_, problem)] = client.recorder.log
    assert "has changed. Expected" in str(problem)
    assert group_digits(read_fingerprint(files[0])) in str(problem)
    assert "1 message was" in str(problem)
    end.pump()
    assert end.plain == b""
    assert not server.waiting(), "nor is it tried in plain"


def test_changed_key_at_a_reconnect_closes_the_link(
    reactor: Reactor, server: RawServer, files: tuple[Path, Path], other_files: tuple[Path, Path]
) -> None:
    client = LinkToServer(reactor, server)
    end = client.accept_tls(server, files)
    end.send(encoded(welcome()))
    client.spin(lambda: client.link.state is LinkState.ONLINE)
    end.connection.reset()
    client.spin(server.waiting)
    again = TlsServerEnd(server.accept(), other_files)
    client.spin(lambda: again.pump() or client.link.state is LinkState.CLOSED)
    assert "has changed. Expected" in str(client.recorder.log[-1])


@pytest.mark.parametrize("how", ["closes", "resets", "answers", "is silent"])
def test_server_without_tls_is_used_in_plain_and_reported(
    reactor: Reactor, server: RawServer, how: str
) -> None:
    client = LinkToServer(reactor, server)
    client.spin(server.waiting)
    first = server.accept()
    client.spin(lambda: first.received[:1] == b"\x16")
    if how == "closes":
        first.close()
    elif how == "resets":
        first.reset()
    elif how == "answers":
        first.send(frame("Server") + frame("Closing this connection: what is that?"))
    client.spin(server.waiting, "it comes again")
    second = server.accept()
    client.spin(second.frames)
    second.send(encoded(welcome()))
    client.spin(lambda: client.link.state is LinkState.ONLINE)
    assert isinstance(client.recorder.events[0], Unencrypted)
    assert KnownServers().find("127.0.0.1", server.port) is None
    assert client.link.tls is Tls.OFF
    client.link.close()


def test_fallback_from_tls_and_selchat_to_classic(reactor: Reactor, server: RawServer) -> None:
    client = LinkToServer(reactor, server, wire="auto")
    for _ in range(2):  # TLS, and then the selchat protocol
        client.spin(server.waiting)
        server.accept().close()
    client.spin(server.waiting)
    third = server.accept()
    client.spin(lambda: third.frames() == ["Michael"])
    client.spin(lambda: client.link.state is LinkState.ONLINE)
    assert client.link.wire is Wire.CLASSIC
    client.link.close()


def test_server_that_had_tls_is_never_used_in_plain(reactor: Reactor, server: RawServer) -> None:
    KnownServers().add("127.0.0.1", server.port, "1" * 64)
    client = LinkToServer(reactor, server)
    client.spin(server.waiting)
    server.accept().close()
    client.spin(lambda: client.link.state is LinkState.CLOSED)
    assert "no TLS (" in str(client.recorder.log)
    assert not server.waiting()


def test_required_tls_prevents_plaintext(reactor: Reactor, server: RawServer) -> None:
    client = LinkToServer(reactor, server, tls="require")
    client.spin(server.waiting)
    server.accept().send(b"what is that?")
    client.spin(lambda: client.link.state is LinkState.CLOSED)
    assert "no TLS (wrong version number), but this client requires it" in str(client.recorder.log)


def test_failed_handshake_at_a_reconnect_is_retried(
    reactor: Reactor, server: RawServer, files: tuple[Path, Path]
) -> None:
    client = LinkToServer(reactor, server)
    end = client.accept_tls(server, files)
    end.send(encoded(welcome()))
    client.spin(lambda: client.link.state is LinkState.ONLINE)
    end.connection.reset()
    client.spin(server.waiting)
    server.accept().reset()
    client.spin(server.waiting, "it tries again")
    again = client.accept_tls(server, files)
    again.send(encoded(welcome()))
    client.spin(lambda: client.link.state is LinkState.ONLINE)
    client.link.close()


@pytest.mark.parametrize("given", [{"tls": "off"}, {"wire": "classic", "tls": "auto"}])
def test_no_handshake_is_tried_without_tls(
    reactor: Reactor, server: RawServer, given: dict[str, str]
) -> None:
    client = LinkToServer(reactor, server, **given)
    client.spin(server.waiting)
    connection = server.accept()
    client.spin(connection.frames)
    client.link.close()


def test_classic_protocol_works_over_tls(
    reactor: Reactor, server: RawServer, files: tuple[Path, Path]
) -> None:
    client = LinkToServer(reactor, server, wire="classic", tls="require")
    end = client.accept_tls(server, files)
    assert end.plain == frame("Michael")
    end.send(frame("Venkat") + frame("hello"))
    client.spin(lambda: client.recorder.messages == [("Venkat", "hello")])
    client.link.say("bye")
    client.link.finish()
    client.spin(lambda: end.pump() and end.ended)
    assert end.plain == frame("Michael") + frame("bye")
    end.connection.close()
    client.spin(lambda: client.recorder.log[-1] == ("finished", None))


def test_data_with_the_end_of_the_handshake_is_read(
    reactor: Reactor, server: RawServer, files: tuple[Path, Path]
) -> None:
    client = LinkToServer(reactor, server, wire="classic", tls="require")
    client.spin(server.waiting)
    connection = server.accept()
    end = TlsServerEnd(connection, files)
    client.spin(
        lambda: end.pump() or end.stream.state is TlsState.OPEN or client.link.state is LinkState.ONLINE
    )
    end.pump()
    end.send(frame("Server") + frame("early"))
    client.spin(lambda: client.recorder.messages == [("Server", "early")])
    client.link.close()


def test_slow_reader_gets_everything(reactor: Reactor, server: RawServer, files: tuple[Path, Path]) -> None:
    client = LinkToServer(reactor, server, wire="classic", tls="require")
    end = client.accept_tls(server, files)
    said = [f"{number:05}" * 2000 for number in range(300)]
    for body in said[:100]:
        client.link.say(body)
    for _ in range(50):
        reactor.tick(0)
    for body in said[100:]:
        client.link.say(body)
    client.link.finish()
    client.spin(lambda: end.pump() and end.ended, "all has come")
    assert end.plain == frame("Michael") + b"".join(map(frame, said))
    end.connection.close()
    client.spin(lambda: client.recorder.log[-1] == ("finished", None))


def test_password_is_sent_over_tls(
    reactor: Reactor, server: RawServer, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "selchat.client.connection.link.may_send_password", lambda address, *, encrypted: encrypted
    )
    client = LinkToServer(reactor, server, password="tea at four")
    end = client.accept_tls(server, files)
    assert b"tea at four" not in end.plain
    end.send(encoded(error("password-needed")))
    client.spin(lambda: b'"password":"tea at four"' in end.pump())
    end.send(encoded(welcome()))
    client.spin(lambda: client.link.state is LinkState.ONLINE)
    client.link.close()


def test_damaged_known_servers_file_is_an_error(reactor: Reactor, server: RawServer) -> None:
    known = KnownServers()
    known.path.parent.mkdir(parents=True)
    known.path.write_text("nonsense\n")
    with pytest.raises(KnownServersError):
        LinkToServer(reactor, server)


def test_server_with_a_blocking_tls_library_works(
    reactor: Reactor, server: RawServer, files: tuple[Path, Path]
) -> None:
    """Python's own blocking TLS, which reads record by record, at the other end."""
    client = LinkToServer(reactor, server)
    client.spin(server.waiting)
    raw = server.accept().sock
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    wrapped: ssl.SSLSocket | None = None
    raw.setblocking(False)
    wrapped = context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False)
    try:

        def shaken() -> bool:
            try:
                wrapped.do_handshake()
            except ssl.SSLWantReadError:
                return False
            return True

        client.spin(shaken)
        data = b""

        def said_hello() -> bool:
            nonlocal data
            try:
                data += wrapped.recv(1 << 16)
            except ssl.SSLWantReadError:
                pass
            return b'"hello"' in data

        client.spin(said_hello)
        wrapped.sendall(encoded(welcome()))
        client.spin(lambda: client.link.state is LinkState.ONLINE)
        client.link.close()
    finally:
        wrapped.close()
