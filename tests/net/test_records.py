"""TLS records without data, and too many records: a stream, and a connection, that meet a flood of them."""

from __future__ import annotations

import random
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from selchat.limits import TLS_EMPTY_BURST, TLS_PADDING
from selchat.net.certificate import own_certificate
from selchat.net.connection import Connection
from selchat.net.fanout import Fanout
from selchat.net.records import RecordLimits
from selchat.net.tls import TlsError, TlsState, TlsStream, server_context
from tests.net.helpers import Errors, InspectableReactor, ManualTime, run_until
from tests.net.test_tls import End, Wire
from tests.net.tls_client import MAX_RECORD, RecordClient


class FakeClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def call_later(self, delay: float, callback: Callable[..., object], *arguments: object) -> object:
        raise AssertionError


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    return server_context(*own_certificate(tmp_path_factory.mktemp("certificate")))


class Talk:
    """A server's stream after the handshake with ``client``; ``send`` returns the data that comes out."""

    def __init__(
        self,
        context: ssl.SSLContext,
        folder: Path,
        rate: float = 0,
        burst: float = 0,
        step: int | None = None,
    ) -> None:
        self.clock = FakeClock()
        self.wire, answers = Wire(), Wire()
        self.wire.step = step
        self.waits: list[float] = []
        self.stream = TlsStream(
            End(self.wire, answers),
            context,
            server_side=True,
            on_blocked=lambda: None,
            on_buffered=lambda: None,
            limits=RecordLimits(self.clock, rate, burst),
            on_throttle=self.waits.append,
        )
        self.client = RecordClient(folder / "keys")
        self.send(self.client.hello())
        self.send(self.client.finish(answers.take(1 << 20)))
        assert self.stream.state is TlsState.OPEN

    def send(self, *records: bytes) -> bytes:
        self.wire.data += b"".join(records)
        data = b""
        while self.wire.data:
            try:
                data += self.stream.recv(4096)
            except BlockingIOError:
                pass
        return data


@pytest.fixture
def talk(context: ssl.SSLContext, tmp_path: Path) -> Talk:
    return Talk(context, tmp_path)


KINDS: dict[str, Callable[[RecordClient], bytes]] = {
    "key update": lambda client: client.key_update(),
    "key update that requests one": lambda client: client.key_update(requested=True),
    "empty record": lambda client: client.data(b""),
    "empty record with padding": lambda client: client.data(b"", 100),
    "mixed with single bytes": lambda client: client.key_update() + client.data(b"x"),
    "mixed with full records": lambda client: client.key_update() + client.data(b"x" * MAX_RECORD),
    "before data in padding": lambda client: client.key_update() + client.data(b"x", 50),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [None, 1000, 7])
def test_few_records_without_data_are_fine_and_many_end_the_stream(
    context: ssl.SSLContext, tmp_path: Path, kind: str, step: int | None
) -> None:
    talk = Talk(context, tmp_path, step=step)
    for _ in range(8):
        talk.send(KINDS[kind](talk.client))
    assert talk.send(talk.client.data(b"hello")) == b"hello"
    with pytest.raises(TlsError, match="too many records without data"):
        for _ in range(TLS_EMPTY_BURST):
            talk.send(KINDS[kind](talk.client))


def test_flood_in_one_read_ends_the_stream(talk: Talk) -> None:
    flood = b"".join(talk.client.key_update() for _ in range(150))
    assert len(flood) <= 4096
    with pytest.raises(TlsError, match="too many records without data"):
        talk.send(flood)


def test_alerts_end_the_stream(talk: Talk) -> None:
    with pytest.raises(TlsError):  # OpenSSL itself allows five in a row
        for _ in range(TLS_EMPTY_BURST + 1):
            talk.send(talk.client.alert(), talk.client.data(b"x"))


def test_records_without_data_are_allowed_again_after_some_time(talk: Talk) -> None:
    for _ in range(4):
        for _ in range(TLS_EMPTY_BURST // 2):
            talk.send(talk.client.key_update())
        talk.clock.now += 60
    assert talk.send(talk.client.data(b"hello")) == b"hello"


def test_moderate_padding_is_fine_and_too_much_ends_the_stream(talk: Talk) -> None:
    for _ in range(100):
        assert talk.send(talk.client.data(b"hello", 500)) == b"hello"
        talk.clock.now += 0.2
    with pytest.raises(TlsError, match="too many records without data"):
        for _ in range(TLS_EMPTY_BURST * TLS_PADDING // 16_000 + 1):
            talk.send(talk.client.data(b"x", 16_000))


@pytest.mark.parametrize("size", [1, 100, MAX_RECORD])
def test_records_with_data_never_count_as_empty(context: ssl.SSLContext, tmp_path: Path, size: int) -> None:
    talk = Talk(context, tmp_path, step=random.Random(size).randrange(1, 5000))
    for _ in range(200):
        assert len(talk.send(talk.client.data(b"x" * size))) == size
    together = [talk.client.data(b"x" * size) for _ in range(50)]
    assert len(talk.send(*together)) == 50 * size
    assert talk.waits == []


def test_handshake_in_many_records_ends_the_stream(context: ssl.SSLContext, tmp_path: Path) -> None:
    hello = RecordClient(tmp_path / "keys").hello()[5:]
    stream = TlsStream(
        End(wire := Wire(), Wire()),
        context,
        server_side=True,
        on_blocked=lambda: None,
        on_buffered=lambda: None,
        limits=RecordLimits(FakeClock(), 0, 0),
    )
    stream.start_handshake(b"")
    with pytest.raises(TlsError, match="too many records without data"):
        for byte in hello:
            wire.data += bytes([22, 3, 1, 0, 1, byte])
            with pytest.raises(BlockingIOError):
                stream.recv(4096)


def test_small_records_over_the_rate_pause_reading(context: ssl.SSLContext, tmp_path: Path) -> None:
    talk = Talk(context, tmp_path, rate=100, burst=50)
    for _ in range(40):
        talk.send(talk.client.data(b"x"))
    assert talk.waits == []
    talk.send(*(talk.client.data(b"x") for _ in range(60)))
    assert talk.waits == [pytest.approx(0.5, abs=0.1)]
    talk.clock.now += 1
    talk.waits.clear()
    talk.send(talk.client.data(b"x"))
    assert talk.waits == []


# -- a connection ------------------------------------------------------------------------------------------


class Handler:
    wire_name = "fake"

    def __init__(self) -> None:
        self.data = b""
        self.lost: list[str | None] = []

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> None:
        pass

    def connection_lost(self, reason: str | None) -> None:
        self.lost.append(reason)


class Line:
    """A connection by TLS over a socket pair."""

    def __init__(
        self, reactor: InspectableReactor, context: ssl.SSLContext, folder: Path, **rates: float
    ) -> None:
        self.reactor = reactor
        self.handler = Handler()
        self.closed: list[Connection] = []
        ours, self.peer = socket.socketpair()
        ours.setblocking(False)
        self.peer.setblocking(False)
        fanout = Fanout(1 << 20)
        reactor.at_tick_end(fanout.finish)
        self.connection = Connection(
            reactor,
            fanout,
            ours,
            "peer:1",
            read_size=65536,
            replies_limit=1 << 20,
            flush_seconds=10.0,
            linger_seconds=10.0,
            on_closed=self.closed.append,
            tls=context,
            **rates,
        )
        self.connection.open(self.handler)
        self.client = RecordClient(folder / "keys")
        self.connection.start_tls(self.client.hello())
        answer = b""
        while True:
            reactor.tick(0.01)
            try:
                answer = self.peer.recv(1 << 20)
                self.peer.sendall(self.client.finish(answer))
                break
            except (BlockingIOError, ssl.SSLWantReadError):
                pass


@pytest.fixture
def line(
    reactor: InspectableReactor, context: ssl.SSLContext, tmp_path: Path
) -> Iterator[Callable[..., Line]]:
    made: list[Line] = []

    def make(**rates: float) -> Line:
        made.append(Line(reactor, context, tmp_path, **rates))
        return made[-1]

    yield make
    for each in made:
        each.connection.abort(ConnectionAbortedError("end of the test"))
        each.peer.close()


def test_connection_that_sends_key_updates_is_closed(line: Callable[..., Line], errors: Errors) -> None:
    one = line()
    one.peer.sendall(b"".join(one.client.key_update() for _ in range(100)))
    run_until(one.reactor, lambda: one.closed)
    assert one.handler.lost == ["tls: too many records without data, such as key updates or padding"]


def test_connection_over_its_rate_of_records_is_read_later(
    line: Callable[..., Line], clock: ManualTime
) -> None:
    one = line(record_rate=100, record_burst=50)
    one.peer.sendall(b"".join(one.client.data(b"x") for _ in range(1000)))
    for _ in range(20):
        one.reactor.tick(0)
    first = len(one.handler.data)
    assert 50 <= first < 500
    one.connection.pause()
    one.connection.resume()
    for _ in range(20):
        one.reactor.tick(0)
    assert len(one.handler.data) == first, "the handler cannot end the pause"
    one.connection.pause()
    clock.advance(60)
    one.reactor.tick(0)
    assert len(one.handler.data) == first, "nor does its end override the handler's"
    one.connection.resume()
    for _ in range(100):
        clock.advance(1)
        one.reactor.tick(0)
    assert len(one.handler.data) == 1000


def test_connection_that_closes_while_it_is_throttled_ends(
    line: Callable[..., Line], clock: ManualTime
) -> None:
    one = line(record_rate=1, record_burst=10)
    one.peer.sendall(b"".join(one.client.data(b"x") for _ in range(1000)))
    for _ in range(20):
        one.reactor.tick(0)
    one.connection.close()
    for _ in range(20):
        clock.advance(1)
        one.reactor.tick(0)
    assert one.closed == [one.connection]
