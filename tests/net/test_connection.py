from __future__ import annotations

import errno
import random
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from selchat.feed import Feed
from selchat.net.certificate import own_certificate
from selchat.net.connection import _FIRST_READ, Connection, ConnectionState
from selchat.net.fanout import Fanout
from selchat.net.outbox import Outbox
from selchat.net.reactor import Reactor
from selchat.net.tls import client_context, server_context
from tests.net.helpers import Errors, run_until, settle

MANY = b"x" * (8 << 20)  # more than the kernel takes for a peer that does not read


class Recorder:
    """A handler that notes what happens, and does what ``on_data`` says."""

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
        ours, self.peer = pair
        ours.setblocking(False)
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
            reactor, fanout, ours, "peer:1", on_closed=self.closed.append, **{**settings, **how}
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
    """Make connections; whatever is still open at the end is closed."""
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


def test_what_the_peer_sends_comes_to_the_handler(reactor: Reactor, line: Callable[..., Line]) -> None:
    one = line()
    one.peer.sendall(b"hello ")
    run_until(reactor, lambda: one.handler.calls)
    one.peer.sendall(b"there")
    run_until(reactor, lambda: one.handler.data == b"hello there")
    assert one.connection.state is ConnectionState.OPEN


def test_a_flood_is_read_in_bounded_pieces_and_whole(reactor: Reactor, line: Callable[..., Line]) -> None:
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
    assert max(sizes) <= 20_000 + _FIRST_READ


def test_a_piece_of_exactly_the_first_read_is_all_there_is(
    reactor: Reactor, line: Callable[..., Line]
) -> None:
    one = line()
    one.peer.sendall(b"x" * _FIRST_READ)
    run_until(reactor, lambda: len(one.handler.data) == _FIRST_READ)
    one.peer.sendall(b"y" * _FIRST_READ)
    one.peer.shutdown(socket.SHUT_WR)
    run_until(reactor, lambda: one.closed)
    assert one.handler.data == b"x" * _FIRST_READ + b"y" * _FIRST_READ
    assert one.handler.calls[-2:] == ["eof", ("lost", None)]


def test_the_end_of_the_stream_closes_the_connection(reactor: Reactor, line: Callable[..., Line]) -> None:
    one = line()
    one.peer.sendall(b"bye")
    one.peer.shutdown(socket.SHUT_WR)
    run_until(reactor, lambda: one.closed)
    assert one.handler.calls == [b"bye", "eof", ("lost", None)]
    assert one.peer.recv(10) == b""


def test_a_reset_closes_the_connection_with_its_reason(reactor: Reactor, fanout: Fanout) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.create_connection(server.getsockname())
        one = Line(reactor, fanout, Recorder(), (server.accept()[0], peer))
    one.reset()
    run_until(reactor, lambda: one.closed)
    assert one.handler.calls == [("lost", "connection reset by peer")]


def test_last_words_arrive_before_the_end(reactor: Reactor, line: Callable[..., Line]) -> None:
    one = line()
    one.connection.outbox.subscribe(one.feed)
    one.connection.outbox.reply(b"why ")
    one.connection.close("kicked")
    assert one.handler.calls == [("lost", "kicked")], "the handler is told at once"
    assert one.connection.state is ConnectionState.DRAINING
    reactor.tick(0)
    assert one.connection.state is ConnectionState.LINGERING
    assert one.read_all() == b"why "
    one.peer.close()
    run_until(reactor, lambda: one.closed)
    assert one.connection.state is ConnectionState.CLOSED
    assert one.handler.calls == [("lost", "kicked")]


def test_unread_input_does_not_turn_the_end_into_a_reset(reactor: Reactor, fanout: Fanout) -> None:
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


def test_a_peer_that_does_not_close_is_waited_for_no_longer_than_it_may_linger(
    reactor: Reactor, line: Callable[..., Line]
) -> None:
    one = line(linger_seconds=0.01)
    one.connection.close()
    run_until(reactor, lambda: one.closed)
    assert one.peer.recv(10) == b""


def test_a_slow_reader_gets_everything_that_was_queued_before_the_close(
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


def test_a_peer_that_never_reads_is_closed_after_the_time_to_flush(
    reactor: Reactor, line: Callable[..., Line]
) -> None:
    one = line(flush_seconds=0.02)
    one.connection.outbox.reply(MANY)
    one.connection.close()
    run_until(reactor, lambda: one.closed)
    assert len(one.read_all()) < len(MANY)


def test_the_end_of_the_stream_never_spins(reactor: Reactor, line: Callable[..., Line]) -> None:
    one = line()
    one.connection.outbox.reply(MANY)
    settle(reactor)
    one.peer.shutdown(socket.SHUT_WR)
    run_until(reactor, lambda: "eof" in one.handler.calls)
    assert settle(reactor) <= 3
    assert one.connection.state is ConnectionState.DRAINING
    assert one.handler.calls == ["eof", ("lost", None)]


def test_a_peer_that_ends_while_its_output_drains_does_not_spin_either(
    reactor: Reactor, line: Callable[..., Line]
) -> None:
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


def test_an_idle_connection_costs_no_ticks(reactor: Reactor, line: Callable[..., Line]) -> None:
    one = line()
    one.connection.outbox.reply(b"hello")
    assert settle(reactor) <= 2
    one.connection.close()
    assert settle(reactor) <= 2


@pytest.mark.parametrize("what", ["data_received", "eof_received", "connection_lost"])
def test_a_handler_s_exception_closes_its_connection_alone_and_is_reported(
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


def test_a_peer_that_died_is_found_out_by_sending_and_closed_after_the_fan_out(
    reactor: Reactor, fanout: Fanout, line: Callable[..., Line]
) -> None:
    one, other = line(), line()
    feed: Feed[Outbox] = Feed(1000)
    for each in (one, other):
        each.connection.outbox.subscribe(feed)
    one.connection._sock.shutdown(socket.SHUT_WR)
    feed.append(b"hello")
    fanout.deliver(feed)
    assert not one.closed
    fanout.finish()
    assert one.closed
    assert one.handler.calls == [("lost", "broken pipe")]
    assert other.peer.recv(10) == b"hello"


def test_a_connection_closed_by_another_s_callback_in_the_same_batch_is_left_alone(
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


def test_a_connection_may_be_only_told_something_and_closed(
    reactor: Reactor, line: Callable[..., Line]
) -> None:
    one = line()
    one.connection._handler = None  # as `open(None)` has it
    one.connection.outbox.reply(b"server is full")
    one.connection.close()
    one.peer.sendall(b"7         Michael")
    reactor.tick()
    assert one.read_all() == b"server is full"
    one.peer.close()
    run_until(reactor, lambda: one.closed)
    assert one.handler.calls == []


def test_closing_again_does_nothing(reactor: Reactor, line: Callable[..., Line]) -> None:
    one = line()
    one.connection.close("first")
    one.connection.close("second")
    one.connection.abort(ConnectionAbortedError(0, "third"))
    one.connection.abort(ConnectionAbortedError(0, "fourth"))
    assert one.handler.calls == [("lost", "first")]
    assert one.closed == [one.connection]
    reactor.tick(0)


def test_an_aborted_connection_leaves_no_timer(reactor: Reactor, line: Callable[..., Line]) -> None:
    one = line()
    one.connection.close()
    reactor.tick(0)
    one.connection.abort(ConnectionAbortedError("now"))
    assert all(timer._reactor is None for _, _, timer in reactor._timers)


def test_a_peer_that_resets_while_output_drains_is_closed(reactor: Reactor, fanout: Fanout) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.create_connection(server.getsockname())
        one = Line(reactor, fanout, Recorder(), (server.accept()[0], peer))
    one.connection.outbox.reply(MANY)
    one.connection.close("kicked")
    settle(reactor)
    one.reset()
    run_until(reactor, lambda: one.closed)
    assert one.handler.calls == [("lost", "kicked")]


def test_what_cannot_be_shut_down_is_closed_at_once(reactor: Reactor, fanout: Fanout) -> None:
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


def test_a_paused_connection_reads_nothing_and_then_all(reactor: Reactor, line: Callable[..., Line]) -> None:
    recorder = Recorder()
    one = line(recorder)
    one.connection.pause()
    one.peer.sendall(b"later")
    settle(reactor)
    assert recorder.data == b""
    one.connection.resume()
    one.connection.resume()
    run_until(reactor, lambda: recorder.data == b"later")


def test_a_connection_paused_by_what_it_has_read_stays_so(
    reactor: Reactor, line: Callable[..., Line]
) -> None:
    recorder = Recorder(lambda _data: one.connection.pause())
    one = line(recorder)
    one.peer.sendall(b"x" * 3)
    run_until(reactor, lambda: recorder.data == b"xxx")
    one.peer.sendall(b"y")
    settle(reactor)
    assert recorder.data == b"xxx"


def test_a_paused_connection_can_send_and_can_be_closed_without_a_reset(
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


def test_the_end_of_a_paused_peer_is_met_when_reading_goes_on(
    reactor: Reactor, line: Callable[..., Line]
) -> None:
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
    """A handler that goes over to TLS with the first bytes."""

    connection: Connection

    def data_received(self, data: bytes) -> None:
        if not self.calls:
            self.calls.append("secured")
            self.connection.start_tls(data)
        else:
            super().data_received(data)


class TlsPeer:
    """Python's own TLS client on the peer's end. Whatever it waits for, the reactor goes on.

    ``step``: how many bytes it puts on the wire at a time.
    """

    def __init__(self, reactor: Reactor, one: Line, step: int = 1 << 30) -> None:
        self._reactor = reactor
        self._sock = one.peer
        self._sock.setblocking(False)
        self._step = step
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = client_context().wrap_bio(self._incoming, self._outgoing)

    def shakes_hands(self) -> None:
        self._does(self._tls.do_handshake)

    def sends(self, data: bytes) -> None:
        self._tls.write(data)
        self.flushes()

    def reads(self, size: int) -> bytes:
        """Return so many bytes, decrypted."""
        data = bytearray()
        while len(data) < size:
            data += self._does(partial(self._tls.read, min(size - len(data), 1 << 16)))
        return bytes(data)

    def reads_the_end(self) -> None:
        """Assert that a goodbye comes, and nothing before it. A cut would raise SSLEOFError."""
        try:
            assert self._does(lambda: self._tls.read(1)) == b""
        except ssl.SSLZeroReturnError:
            pass  # the same, for one who has said goodbye too

    def flushes(self) -> None:
        data = memoryview(self._outgoing.read())
        while data:
            try:
                data = data[self._sock.send(data[: self._step]) :]
            except BlockingIOError:
                pass
            self._reactor.tick(0)

    def _does(self, act: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 20.0
        while True:
            assert time.monotonic() < deadline, "it has not happened"
            try:
                result = act()
            except ssl.SSLWantReadError:
                self.flushes()
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
                self.flushes()
                return result


@pytest.fixture
def secure(
    reactor: Reactor, line: Callable[..., Line], context: ssl.SSLContext
) -> Callable[..., tuple[Line, TlsPeer]]:
    """Make connections that go over to TLS, and their peers."""

    def make(step: int = 1 << 30, **how: Any) -> tuple[Line, TlsPeer]:
        handler = Securing()
        one = line(handler, tls=context, **how)
        handler.connection = one.connection
        return one, TlsPeer(reactor, one, step)

    return make


def test_a_secured_connection_reads_and_sends(
    reactor: Reactor, fanout: Fanout, secure: Callable[..., tuple[Line, TlsPeer]]
) -> None:
    one, peer = secure()
    peer.shakes_hands()
    peer.sends(b"hello")
    run_until(reactor, lambda: one.handler.data == b"hello")
    one.connection.outbox.reply(b"good day; ")
    reactor.tick(0)
    one.connection.outbox.subscribe(one.feed)
    one.feed.append(b"said")
    fanout.deliver(one.feed)
    assert peer.reads(14) == b"good day; said"
    assert one.connection.outbox.queued == 0
    assert settle(reactor) <= 3


def test_a_secured_connection_byte_by_byte(
    reactor: Reactor, secure: Callable[..., tuple[Line, TlsPeer]]
) -> None:
    one, peer = secure(step=1)
    peer.shakes_hands()
    peer.sends(b"hello")
    run_until(reactor, lambda: one.handler.data == b"hello")
    one.connection.outbox.reply(b"good day")
    assert peer.reads(8) == b"good day"


def test_a_flood_over_tls_comes_whole(reactor: Reactor, secure: Callable[..., tuple[Line, TlsPeer]]) -> None:
    one, peer = secure()
    peer.shakes_hands()
    said = random.Random(1).randbytes(3 << 20)
    peer.sends(said)
    run_until(reactor, lambda: len(one.handler.data) == len(said))
    assert one.handler.data == said


def test_a_secured_peer_that_reads_nothing_for_a_while_gets_replies_and_feeds_whole(
    reactor: Reactor, fanout: Fanout, secure: Callable[..., tuple[Line, TlsPeer]]
) -> None:
    one, peer = secure()
    peer.shakes_hands()
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
    peer.sends(b"this is read all the same")
    run_until(reactor, lambda: one.handler.data == b"this is read all the same")
    assert peer.reads(len(replies)) == replies
    assert peer.reads(4 << 20) == b"".join(chunks)
    settle(reactor)
    assert not one.connection.outbox.blocked
    assert one.connection.outbox.queued == 0
    one.feed.append(b"live again")
    fanout.deliver(one.feed)
    assert peer.reads(10) == b"live again"


def test_what_is_fanned_out_over_tls_comes_whole_where_a_chunk_does_not_fit(
    reactor: Reactor, fanout: Fanout, secure: Callable[..., tuple[Line, TlsPeer]]
) -> None:
    """Live until a chunk that the socket takes a part of."""
    one, peer = secure()
    peer.shakes_hands()
    settle(reactor)
    one.connection.outbox.subscribe(one.feed)
    chunks = [random.Random(number).randbytes(777_777) for number in range(9)]
    for chunk in chunks:
        one.feed.append(chunk)
        fanout.deliver(one.feed)
    assert one.connection.outbox.blocked
    assert peer.reads(9 * 777_777) == b"".join(chunks)


@pytest.mark.parametrize("queued", [b"", MANY])
def test_last_words_over_tls_arrive_and_then_a_goodbye(
    queued: bytes, reactor: Reactor, secure: Callable[..., tuple[Line, TlsPeer]]
) -> None:
    one, peer = secure()
    peer.shakes_hands()
    if queued:
        one.connection.outbox.reply(queued)
    one.connection.close("kicked", b"goodbye")
    assert peer.reads(len(queued) + 7) == queued + b"goodbye"
    peer.reads_the_end()
    one.peer.close()
    run_until(reactor, lambda: one.closed)
    assert one.handler.calls == ["secured", ("lost", "kicked")]


def test_the_goodbye_of_a_secured_peer_ends_the_connection(
    reactor: Reactor, secure: Callable[..., tuple[Line, TlsPeer]]
) -> None:
    one, peer = secure()
    peer.shakes_hands()
    peer.sends(b"last words")
    with pytest.raises(ssl.SSLWantReadError):
        peer._tls.unwrap()
    peer.flushes()
    run_until(reactor, lambda: "eof" in one.handler.calls)
    assert one.handler.calls == ["secured", b"last words", "eof", ("lost", None)]
    peer.reads_the_end()


def test_last_words_and_goodbye_in_one_piece_are_both_heard(
    reactor: Reactor, secure: Callable[..., tuple[Line, TlsPeer]]
) -> None:
    one, peer = secure()
    peer.shakes_hands()
    settle(reactor)
    peer._tls.write(b"last words")
    with pytest.raises(ssl.SSLWantReadError):
        peer._tls.unwrap()
    one.peer.sendall(peer._outgoing.read())  # and the socket stays open
    run_until(reactor, lambda: "eof" in one.handler.calls)
    assert one.handler.calls == ["secured", b"last words", "eof", ("lost", None)]


def test_a_reset_in_the_handshake_is_the_end_of_that_connection_alone(
    reactor: Reactor, fanout: Fanout, context: ssl.SSLContext
) -> None:
    handler = Securing()
    with socket.create_server(("127.0.0.1", 0)) as server:
        sock = socket.create_connection(server.getsockname())
        one = Line(reactor, fanout, handler, (server.accept()[0], sock), tls=context)
    handler.connection = one.connection
    peer = TlsPeer(reactor, one)
    with pytest.raises(ssl.SSLWantReadError):
        peer._tls.do_handshake()
    peer.flushes()
    run_until(reactor, lambda: handler.calls == ["secured"])
    one.reset()
    run_until(reactor, lambda: one.closed)
    assert handler.calls == ["secured", ("lost", "connection reset by peer")]


@pytest.mark.parametrize("sent", [1, 5, 100, None])
def test_one_that_is_closed_in_the_handshake_gets_no_last_words_and_no_traceback(
    sent: int | None, reactor: Reactor, secure: Callable[..., tuple[Line, TlsPeer]]
) -> None:
    """The words would have to be in plain, which that peer could not read."""
    one, peer = secure()
    with pytest.raises(ssl.SSLWantReadError):
        peer._tls.do_handshake()
    one.peer.sendall(peer._outgoing.read()[:sent])
    run_until(reactor, lambda: one.handler.calls == ["secured"])
    one.connection.close("no username within 10 s", b"you have said nothing")
    run_until(reactor, lambda: one.closed)
    assert one.handler.calls == ["secured", ("lost", "no username within 10 s")]
    assert b"you have said nothing" not in one.read_all()


def test_noise_instead_of_a_handshake_ends_the_connection_with_an_alert(
    reactor: Reactor, secure: Callable[..., tuple[Line, TlsPeer]]
) -> None:
    one, _ = secure()
    one.peer.sendall(b"\x16\x03\x01\x00\x05hello")
    run_until(reactor, lambda: one.closed)
    [_, (word, reason)] = one.handler.calls
    assert word == "lost"
    assert reason.startswith("tls: ")
    assert one.read_all()[:1] in (b"", b"\x15")


def test_a_secured_connection_can_be_paused(
    reactor: Reactor, secure: Callable[..., tuple[Line, TlsPeer]]
) -> None:
    one, peer = secure()
    peer.shakes_hands()
    settle(reactor)
    one.connection.pause()
    peer.sends(b"later")
    settle(reactor)
    assert one.handler.data == b""
    one.connection.resume()
    run_until(reactor, lambda: one.handler.data == b"later")


# -- what cannot be watched ---


def test_one_that_cannot_be_watched_is_closed(
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
