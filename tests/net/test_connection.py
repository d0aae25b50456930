from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from selchat.feed import Feed
from selchat.net.connection import _FIRST_READ, Connection, ConnectionState
from selchat.net.fanout import Fanout
from selchat.net.outbox import Outbox
from selchat.net.reactor import Reactor
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
