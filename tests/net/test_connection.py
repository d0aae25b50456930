from __future__ import annotations

import errno
import random
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from selchat.feed import Feed
from selchat.limits import DISCARD_PAUSE, FIRST_READ
from selchat.net.certificate import own_certificate
from selchat.net.connection import Connection, ConnectionState
from selchat.net.fanout import Fanout
from selchat.net.outbox import Outbox
from selchat.net.reactor import Reactor
from selchat.net.tls import client_context, server_context
from tests.net.helpers import Errors, InspectableReactor, ManualTime, run_until, settle

MANY = b"x" * (8 << 20)  # more than the kernel buffers for a peer that does not read


class Recorder:
    """A handler that records its calls and runs ``on_data``."""

    def __init__(self, on_data: Callable[[bytes], object] = lambda _data: None) -> None:
        self.calls: list[Any] = []
        self._on_data = on_data

    def data_received(self, data: bytes) -> None:
        self.calls.append(data)
        self._on_data(data)

    def eof_received(self) -> None:
        self.calls.append("eof")

    def connection_lost(self, reason: str | None) -> None:
        self.calls.append(("lost", reason))

    @property
    def data(self) -> bytes:
        return b"".join(call for call in self.calls if isinstance(call, bytes))


class Line:
    """A connection, its handler, and the peer's blocking socket."""

    def __init__(
        self,
        reactor: Reactor,
        fanout: Fanout,
        handler: Any,
        pair: tuple[socket.socket, socket.socket],
        **how: Any,
    ) -> None:
        self.sock, self.peer = pair
        self.sock.setblocking(False)
        self.peer.settimeout(10)
        self.handler = handler
        self.closed: list[Connection] = []
        self.feed: Feed[Outbox] = Feed(64 << 20)
        settings = {
            "read_size": 65536,
            "replies_limit": 64 << 20,
            "flush_seconds": 10.0,
            "linger_seconds": 10.0,
        }
        self.connection = Connection(
            reactor, fanout, self.sock, "peer:1", on_closed=self.closed.append, **{**settings, **how}
        )
        self.connection.open(handler)

    def reset(self) -> None:
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.peer.close()

    def read_all(self) -> bytes:
        data = bytearray()
        while part := self.peer.recv(1 << 20):
            data += part
        return bytes(data)


@pytest.fixture
def fanout(reactor: Reactor) -> Fanout:
    fanout = Fanout(64 << 20)
    reactor.at_tick_end(fanout.finish)
    return fanout


@pytest.fixture(params=["socketpair", "tcp"])
def line(request: pytest.FixtureRequest, reactor: Reactor, fanout: Fanout) -> Iterator[Callable[..., Line]]:
    """Make connections; close them after the test."""
    lines: list[Line] = []

    def pair() -> tuple[socket.socket, socket.socket]:
        if request.param == "socketpair":
            return socket.socketpair()
        with socket.create_server(("127.0.0.1", 0)) as server:
            peer = socket.create_connection(server.getsockname())
            return server.accept()[0], peer

    def make(handler: Any = None, **how: Any) -> Line:
        lines.append(Line(reactor, fanout, handler or Recorder(), pair(), **how))
        return lines[-1]

    yield make
    for each in lines:
        each.connection.abort(ConnectionAbortedError("end of the test"))
        assert each.closed == [each.connection], "on_closed is called once"
        each.peer.close()


def test_handler_gets_the_data_of_the_peer(reactor: Reactor, line: Callable[..., Line]) -> None:
    one = line()
    one.peer.sendall(b"hello ")
    run_until(reactor, lambda: one.handler.calls)
    one.peer.sendall(b"there")
    run_until(reactor, lambda: one.handler.data == b"hello there")
    assert one.connection.state is ConnectionState.OPEN


def test_flood_is_read_completely_in_bounded_pieces(reactor: Reactor, line: Callable[..., Line]) -> None:
    one = line(read_size=20_000)
    sent = bytes(range(256)) * 1000
    rest = sent
    one.peer.setblocking(False)
    while len(one.handler.data) < len(sent):
        if rest:
            try:
                rest = rest[one.peer.send(rest) :]
            except BlockingIOError:
                pass
        reactor.tick(0)
    assert one.handler.data == sent
    sizes = [len(call) for call in one.handler.calls]
    assert max(sizes) <= 20_000 + FIRST_READ


def test_data_of_exactly_the_first_read_size_needs_no_more_data(
    reactor: Reactor, line: Callable[..., Line]
) -> None:
    one = line()
    one.peer.sendall(b"x" * FIRST_READ)
    run_until(reactor, lambda: len(one.handler.data) == FIRST_READ)
    one.peer.sendall(b"y" * FIRST_READ)
    one.peer.shutdown(socket.SHUT_WR)
    run_until(reactor, lambda: one.closed)
    assert one.handler.data == b"x" * FIRST_READ + b"y" * FIRST_READ
    assert one.handler.calls[-2:] == ["eof", ("lost", None)]


def test_end_of_the_stream_closes_the_connection(reactor: Reactor, line: Callable[..., Line]) -> None:
    one = line()
    one.peer.sendall(b"bye")
    one.peer.shutdown(socket.SHUT_WR)
    run_until(reactor, lambda: one.closed)
    assert one.handler.calls == [b"bye", "eof", ("lost", None)]
    assert one.peer.recv(10) == b""


def test_reset_closes_the_connection_with_its_reason(reactor: Reactor, fanout: Fanout) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.create_connection(server.getsockname())
        one = Line(reactor, fanout, Recorder(), (server.accept()[0], peer))
    one.reset()
    run_until(reactor, lambda: one.closed)
    assert one.handler.calls == [("lost", "connection reset by peer")]


def test_final_data_arrives_before_the_end(reactor: Reactor, line: Callable[..., Line]) -> None:
    one = line()
    one.connection.outbox.subscribe(one.feed)
    one.connection.outbox.reply(b"why ")
    one.connection.close("kicked")
    assert one.handler.calls == [("lost", "kicked")], "connection_lost is called at once"
    assert one.connection.state is ConnectionState.DRAINING
    reactor.tick(0)
    assert one.connection.state is ConnectionState.LINGERING
    assert one.read_all() == b"why "
    one.peer.close()
    run_until(reactor, lambda: one.closed)
    assert one.connection.state is ConnectionState.CLOSED
    assert one.handler.calls == [("lost", "kicked")]


def test_unread_input_does_not_cause_a_reset(reactor: Reactor, fanout: Fanout) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.create_connection(server.getsockname())
        one = Line(reactor, fanout, Recorder(), (server.accept()[0], peer))
    one.peer.sendall(b"unread" * 1000)
    one.connection.outbox.reply(b"why")
    one.connection.close()
    run_until(reactor, lambda: one.connection.state is ConnectionState.LINGERING)
    one.peer.sendall(b"and more of it")
    settle(reactor)
    assert one.read_all() == b"why"
    assert one.handler.data == b""
    one.peer.close()
    run_until(reactor, lambda: one.closed)


def test_peer_that_does_not_close_is_closed_after_linger_seconds(
    reactor: Reactor, line: Callable[..., Line]
) -> None:
    one = line(linger_seconds=0.01)
    one.connection.close()
    run_until(reactor, lambda: one.closed)
    assert one.peer.recv(10) == b""


def test_slow_reader_gets_everything_queued_before_the_close(
    reactor: Reactor, line: Callable[..., Line]
) -> None:
    one = line()
    one.connection.outbox.reply(MANY)
    one.connection.close()
    reactor.tick(0)
    assert one.connection.state is ConnectionState.DRAINING
    got = bytearray()
    one.peer.setblocking(False)
    while not one.closed:
        reactor.tick(0.01)
        try:
            part = one.peer.recv(1 << 20)
        except BlockingIOError:
            continue
        if not part:
            one.peer.close()
            run_until(reactor, lambda: one.closed)
        got += part
    assert bytes(got) == MANY


def test_peer_that_never_reads_is_closed_after_flush_seconds(
    reactor: Reactor, line: Callable[..., Line]
) -> None:
    one = line(flush_seconds=0.02)
    one.connection.outbox.reply(MANY)
    one.connection.close()
    run_until(reactor, lambda: one.closed)
    assert len(one.read_all()) < len(MANY)


def test_end_of_the_stream_does_not_spin(reactor: Reactor, line: Callable[..., Line]) -> None:
    one = line()
    one.connection.outbox.reply(MANY)
    settle(reactor)
    one.peer.shutdown(socket.SHUT_WR)
    run_until(reactor, lambda: "eof" in one.handler.calls)
    assert settle(reactor) <= 3
    assert one.connection.state is ConnectionState.DRAINING
    assert one.handler.calls == ["eof", ("lost", None)]


def test_end_of_the_stream_while_draining_does_not_spin(reactor: Reactor, line: Callable[..., Line]) -> None:
    one = line()
    one.connection.outbox.reply(MANY)
    one.connection.close()
    settle(reactor)
    one.peer.sendall(b"thrown away")
    one.peer.shutdown(socket.SHUT_WR)
    assert settle(reactor) <= 4
    assert one.connection.state is ConnectionState.DRAINING
    one.peer.close()
    run_until(reactor, lambda: one.closed)


def test_idle_connection_costs_no_ticks(reactor: Reactor, line: Callable[..., Line]) -> None:
    one = line()
    one.connection.outbox.reply(b"hello")
    assert settle(reactor) <= 2
    one.connection.close()
    assert settle(reactor) <= 2


@pytest.mark.parametrize("what", ["data_received", "eof_received", "connection_lost"])
def test_exception_in_a_handler_closes_only_its_connection_and_is_reported(
    what: str, reactor: Reactor, errors: Errors, line: Callable[..., Line]
) -> None:
    def fail(*_arguments: object) -> None:
        raise ZeroDivisionError

    bad, good = line(), line()
    setattr(bad.handler, what, fail)
    bad.peer.sendall(b"x")
    bad.peer.shutdown(socket.SHUT_WR)
    good.peer.sendall(b"y")
    run_until(reactor, lambda: bad.closed and good.handler.calls)
    settle(reactor)
    assert good.handler.calls == [b"y"]
    assert good.connection.state is ConnectionState.OPEN
    [(where, error)] = errors
    assert "peer:1" in where
    assert isinstance(error, ZeroDivisionError)
    if what != "connection_lost":
        assert bad.handler.calls[-1] == ("lost", "internal error (ZeroDivisionError)")
    errors.clear()


def test_dead_peer_is_closed_after_the_fan_out_that_finds_it(
    reactor: Reactor, fanout: Fanout, line: Callable[..., Line]
) -> None:
    one, other = line(), line()
    feed: Feed[Outbox] = Feed(1000)
    for each in (one, other):
        each.connection.outbox.subscribe(feed)
    one.sock.shutdown(socket.SHUT_WR)
    feed.append(b"hello")
    fanout.deliver(feed)
    assert not one.closed
    fanout.finish()
    assert one.closed
    assert one.handler.calls == [("lost", "broken pipe")]
    assert other.peer.recv(10) == b"hello"


def test_connection_closed_by_another_callback_in_the_same_batch_gets_no_call(
    reactor: Reactor, line: Callable[..., Line]
) -> None:
    lines: list[Line] = []

    def close_the_others(_data: bytes) -> None:
        for each in lines:
            each.connection.abort(ConnectionAbortedError(0, "closed by another"))

    lines += [line(Recorder(close_the_others)), line(Recorder(close_the_others))]
    for each in lines:
        each.peer.sendall(b"x")
    reactor.tick()
    assert sorted(len(each.handler.calls) for each in lines) == [1, 2]
    assert all(each.closed for each in lines)


def test_reply_before_a_close_without_input_arrives(reactor: Reactor, line: Callable[..., Line]) -> None:
    one = line()
    one.connection.outbox.reply(b"server is full")
    one.connection.close()
    one.peer.sendall(b"7         Michael")
    reactor.tick()
    assert one.read_all() == b"server is full"
    one.peer.close()
    run_until(reactor, lambda: one.closed)
    assert one.handler.calls == [("lost", None)]


def test_second_close_does_nothing(reactor: Reactor, line: Callable[..., Line]) -> None:
    one = line()
    one.connection.close("first")
    one.connection.close("second")
    one.connection.abort(ConnectionAbortedError(0, "third"))
    one.connection.abort(ConnectionAbortedError(0, "fourth"))
    assert one.handler.calls == [("lost", "first")]
    assert one.closed == [one.connection]
    reactor.tick(0)


def test_aborted_connection_leaves_no_timer(reactor: InspectableReactor, line: Callable[..., Line]) -> None:
    one = line()
    one.connection.close()
    reactor.tick(0)
    one.connection.abort(ConnectionAbortedError("now"))
    assert reactor.pending_timers == []


def test_reset_while_draining_closes_the_connection(reactor: Reactor, fanout: Fanout) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.create_connection(server.getsockname())
        one = Line(reactor, fanout, Recorder(), (server.accept()[0], peer))
    one.connection.outbox.reply(MANY)
    one.connection.close("kicked")
    settle(reactor)
    one.reset()
    run_until(reactor, lambda: one.closed)
    assert one.handler.calls == [("lost", "kicked")]


def test_socket_that_cannot_shut_down_is_closed_at_once(reactor: Reactor, fanout: Fanout) -> None:
    class Unsociable(socket.socket):
        def shutdown(self, _how: int) -> None:
            raise OSError(107, "Transport endpoint is not connected")

    ours, peer = socket.socketpair()
    one = Line(reactor, fanout, Recorder(), (Unsociable(fileno=ours.detach()), peer))
    one.connection.close()
    reactor.tick(0)
    assert one.closed
    one.peer.close()


# -- pausing ---------------------------------------------------------------------------------------------


def test_paused_connection_reads_nothing_until_resume(reactor: Reactor, line: Callable[..., Line]) -> None:
    recorder = Recorder()
    one = line(recorder)
    one.connection.pause()
    one.peer.sendall(b"later")
    settle(reactor)
    assert recorder.data == b""
    one.connection.resume()
    one.connection.resume()
    run_until(reactor, lambda: recorder.data == b"later")


def test_handler_may_pause_the_connection_while_it_reads(reactor: Reactor, line: Callable[..., Line]) -> None:
    recorder = Recorder(lambda _data: one.connection.pause())
    one = line(recorder)
    one.peer.sendall(b"x" * 3)
    run_until(reactor, lambda: recorder.data == b"xxx")
    one.peer.sendall(b"y")
    settle(reactor)
    assert recorder.data == b"xxx"


def test_paused_connection_can_send_and_close_without_a_reset(
    reactor: Reactor, line: Callable[..., Line]
) -> None:
    one = line(Recorder())
    one.connection.pause()
    one.peer.sendall(b"unread")
    one.connection.outbox.reply(b"still here; ")
    settle(reactor)
    assert one.peer.recv(100) == b"still here; "
    one.connection.close("done", b"goodbye")
    settle(reactor)
    assert one.read_all() == b"goodbye"
    one.peer.close()
    run_until(reactor, lambda: bool(one.closed))


def test_end_of_the_stream_is_read_after_resume(reactor: Reactor, line: Callable[..., Line]) -> None:
    recorder = Recorder()
    one = line(recorder)
    one.connection.pause()
    one.peer.close()
    settle(reactor)
    assert recorder.calls == []
    one.connection.resume()
    run_until(reactor, lambda: bool(one.closed))
    assert recorder.calls == ["eof", ("lost", None)]


# -- TLS -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    return server_context(*own_certificate(tmp_path_factory.mktemp("certificate")))


class Securing(Recorder):
    """A handler that starts TLS with the first bytes."""

    connection: Connection

    def data_received(self, data: bytes) -> None:
        if not self.calls:
            self.calls.append("tls")
            self.connection.start_tls(data)
        else:
            super().data_received(data)


class TlsPeer:
    """Python's own TLS client as the peer. The reactor runs while the client waits.

    ``step``: bytes that it sends at a time.
    """

    def __init__(self, reactor: Reactor, one: Line, step: int = 1 << 30) -> None:
        self._reactor = reactor
        self._sock = one.peer
        self._sock.setblocking(False)
        self._step = step
        self._incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = client_context().wrap_bio(self._incoming, self.outgoing)

    def handshake(self) -> None:
        self._complete(self.tls.do_handshake)

    def send(self, data: bytes) -> None:
        self.tls.write(data)
        self.flush()

    def read(self, size: int) -> bytes:
        """Return ``size`` decrypted bytes."""
        data = bytearray()
        while len(data) < size:
            data += self._complete(partial(self.tls.read, min(size - len(data), 1 << 16)))
        return bytes(data)

    def read_close_notify(self) -> None:
        """Assert that close_notify is next. A truncated stream would raise SSLEOFError."""
        try:
            assert self._complete(lambda: self.tls.read(1)) == b""
        except ssl.SSLZeroReturnError:
            pass  # the same, after our own close_notify

    def flush(self) -> None:
        data = memoryview(self.outgoing.read())
        while data:
            try:
                data = data[self._sock.send(data[: self._step]) :]
            except BlockingIOError:
                pass
            self._reactor.tick(0)

    def _complete(self, act: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 20.0
        while True:
            assert time.monotonic() < deadline, "the condition did not become true"
            try:
                result = act()
            except ssl.SSLWantReadError:
                self.flush()
                self._reactor.tick(0.001)
                try:
                    data = self._sock.recv(1 << 18)
                except BlockingIOError:
                    continue
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            else:
                self.flush()
                return result


@pytest.fixture
def secure(
    reactor: Reactor, line: Callable[..., Line], context: ssl.SSLContext
) -> Callable[..., tuple[Line, TlsPeer]]:
    """Make connections that start TLS, and their peers."""

    def make(step: int = 1 << 30, **how: Any) -> tuple[Line, TlsPeer]:
        handler = Securing()
        one = line(handler, tls=context, **how)
        handler.connection = one.connection
        return one, TlsPeer(reactor, one, step)

    return make


def test_tls_connection_reads_and_sends(
    reactor: Reactor, fanout: Fanout, secure: Callable[..., tuple[Line, TlsPeer]]
) -> None:
    one, peer = secure()
    peer.handshake()
    peer.send(b"hello")
    run_until(reactor, lambda: one.handler.data == b"hello")
    one.connection.outbox.reply(b"good day; ")
    reactor.tick(0)
    one.connection.outbox.subscribe(one.feed)
    one.feed.append(b"said")
    fanout.deliver(one.feed)
    assert peer.read(14) == b"good day; said"
    assert one.connection.outbox.queued == 0
    assert settle(reactor) <= 3


def test_tls_connection_works_byte_by_byte(
    reactor: Reactor, secure: Callable[..., tuple[Line, TlsPeer]]
) -> None:
    one, peer = secure(step=1)
    peer.handshake()
    peer.send(b"hello")
    run_until(reactor, lambda: one.handler.data == b"hello")
    one.connection.outbox.reply(b"good day")
    assert peer.read(8) == b"good day"


def test_flood_over_tls_arrives_complete(
    reactor: Reactor, secure: Callable[..., tuple[Line, TlsPeer]]
) -> None:
    one, peer = secure()
    peer.handshake()
    said = random.Random(1).randbytes(3 << 20)
    peer.send(said)
    run_until(reactor, lambda: len(one.handler.data) == len(said))
    assert one.handler.data == said


def test_slow_tls_peer_gets_replies_and_feeds_complete(
    reactor: Reactor, fanout: Fanout, secure: Callable[..., tuple[Line, TlsPeer]]
) -> None:
    one, peer = secure()
    peer.handshake()
    replies = random.Random(1).randbytes(5 << 20)
    chunks = [random.Random(number).randbytes(1 << 20) for number in range(4)]
    one.connection.outbox.subscribe(one.feed)
    one.connection.outbox.reply(replies)
    settle(reactor)
    assert one.connection.outbox.blocked
    assert 0 < one.connection.outbox.queued <= len(replies) + (1 << 20)
    for chunk in chunks:
        one.feed.append(chunk)
        fanout.deliver(one.feed)
    peer.send(b"this is read all the same")
    run_until(reactor, lambda: one.handler.data == b"this is read all the same")
    assert peer.read(len(replies)) == replies
    assert peer.read(4 << 20) == b"".join(chunks)
    settle(reactor)
    assert not one.connection.outbox.blocked
    assert one.connection.outbox.queued == 0
    one.feed.append(b"live again")
    fanout.deliver(one.feed)
    assert peer.read(10) == b"live again"


def test_chunk_that_does_not_fit_the_socket_arrives_complete_over_tls(
    reactor: Reactor, fanout: Fanout, secure: Callable[..., tuple[Line, TlsPeer]]
) -> None:
    """Live until a chunk that the socket takes a part of."""
    one, peer = secure()
    peer.handshake()
    settle(reactor)
    one.connection.outbox.subscribe(one.feed)
    chunks = [random.Random(number).randbytes(777_777) for number in range(9)]
    for chunk in chunks:
        one.feed.append(chunk)
        fanout.deliver(one.feed)
    assert one.connection.outbox.blocked
    assert peer.read(9 * 777_777) == b"".join(chunks)


@pytest.mark.parametrize("queued", [b"", MANY])
def test_final_data_over_tls_arrives_before_close_notify(
    queued: bytes, reactor: Reactor, secure: Callable[..., tuple[Line, TlsPeer]]
) -> None:
    one, peer = secure()
    peer.handshake()
    if queued:
        one.connection.outbox.reply(queued)
    one.connection.close("kicked", b"goodbye")
    assert peer.read(len(queued) + 7) == queued + b"goodbye"
    peer.read_close_notify()
    one.peer.close()
    run_until(reactor, lambda: one.closed)
    assert one.handler.calls == ["tls", ("lost", "kicked")]


def test_close_notify_of_the_peer_closes_the_connection(
    reactor: Reactor, secure: Callable[..., tuple[Line, TlsPeer]]
) -> None:
    one, peer = secure()
    peer.handshake()
    peer.send(b"last words")
    with pytest.raises(ssl.SSLWantReadError):
        peer.tls.unwrap()
    peer.flush()
    run_until(reactor, lambda: "eof" in one.handler.calls)
    assert one.handler.calls == ["tls", b"last words", "eof", ("lost", None)]
    peer.read_close_notify()


def test_data_and_close_notify_in_one_read_are_both_processed(
    reactor: Reactor, secure: Callable[..., tuple[Line, TlsPeer]]
) -> None:
    one, peer = secure()
    peer.handshake()
    settle(reactor)
    peer.tls.write(b"last words")
    with pytest.raises(ssl.SSLWantReadError):
        peer.tls.unwrap()
    one.peer.sendall(peer.outgoing.read())  # and the socket stays open
    run_until(reactor, lambda: "eof" in one.handler.calls)
    assert one.handler.calls == ["tls", b"last words", "eof", ("lost", None)]


def test_reset_during_the_handshake_closes_the_connection(
    reactor: Reactor, fanout: Fanout, context: ssl.SSLContext
) -> None:
    handler = Securing()
    with socket.create_server(("127.0.0.1", 0)) as server:
        sock = socket.create_connection(server.getsockname())
        one = Line(reactor, fanout, handler, (server.accept()[0], sock), tls=context)
    handler.connection = one.connection
    peer = TlsPeer(reactor, one)
    with pytest.raises(ssl.SSLWantReadError):
        peer.tls.do_handshake()
    peer.flush()
    run_until(reactor, lambda: handler.calls == ["tls"])
    one.reset()
    run_until(reactor, lambda: one.closed)
    assert handler.calls == ["tls", ("lost", "connection reset by peer")]


@pytest.mark.parametrize("sent", [1, 5, 100, None])
def test_close_during_the_handshake_sends_no_final_data_and_logs_no_traceback(
    sent: int | None, reactor: Reactor, secure: Callable[..., tuple[Line, TlsPeer]]
) -> None:
    """The server could send them only in plaintext, which that peer cannot read."""
    one, peer = secure()
    with pytest.raises(ssl.SSLWantReadError):
        peer.tls.do_handshake()
    one.peer.sendall(peer.outgoing.read()[:sent])
    run_until(reactor, lambda: one.handler.calls == ["tls"])
    one.connection.close("no username within 10 s", b"you have said nothing")
    run_until(reactor, lambda: one.closed)
    assert one.handler.calls == ["tls", ("lost", "no username within 10 s")]
    assert b"you have said nothing" not in one.read_all()


def test_garbage_instead_of_a_handshake_gets_an_alert_and_closes_the_connection(
    reactor: Reactor, secure: Callable[..., tuple[Line, TlsPeer]]
) -> None:
    one, _ = secure()
    one.peer.sendall(b"\x16\x03\x01\x00\x05hello")
    run_until(reactor, lambda: one.closed)
    [_, (word, reason)] = one.handler.calls
    assert word == "lost"
    assert reason.startswith("tls: ")
    assert one.read_all()[:1] in (b"", b"\x15")


def test_tls_connection_can_be_paused(reactor: Reactor, secure: Callable[..., tuple[Line, TlsPeer]]) -> None:
    one, peer = secure()
    peer.handshake()
    settle(reactor)
    one.connection.pause()
    peer.send(b"later")
    settle(reactor)
    assert one.handler.data == b""
    one.connection.resume()
    run_until(reactor, lambda: one.handler.data == b"later")


# -- errors of the selector -----------------------------------------------------------------------------


def test_connection_that_cannot_be_watched_is_closed(
    reactor: Reactor, line: Callable[..., Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()

    def fail(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(reactor, "watch", fail)
        one = line(recorder)
    run_until(reactor, lambda: bool(one.closed))
    assert recorder.calls == [("lost", "no space left on device")]


def test_closing_connection_discards_a_flood_slowly(
    reactor: InspectableReactor, line: Callable[..., Line], clock: ManualTime
) -> None:
    one = line()
    one.peer.setblocking(False)
    one.connection.close("too many")
    sent: list[int] = []
    for _ in range(50):
        with suppress(BlockingIOError):
            while True:
                sent.append(one.peer.send(MANY))
        reactor.tick(0)
    assert sum(sent) < len(MANY), "the clock stands still, so little more is read than the kernel buffers"
    clock.advance(DISCARD_PAUSE)
    reactor.tick(0)
    assert one.connection.state is ConnectionState.LINGERING
    one.peer.close()
    for _ in range(1000):
        clock.advance(DISCARD_PAUSE)
        reactor.tick(0)
        if one.closed:
            break
    assert one.closed
