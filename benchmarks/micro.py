"""Micro-benchmarks of each step of a message, to trace a slower server to its cause.

Usage: micro.py [--quick] [-o FILE] [options of pyperf]

The steps of a message, in order: framing, session and hub (of both protocols), log, feed, fan-out, outbox.
There are no sockets: sends return at once. pyperf parses the command line, because it runs this script again
for its workers: ``--fast`` takes less time, ``-o FILE`` writes a JSON file for ``python -m pyperf compare_to
OLD NEW``, and ``--help`` lists the rest. ``--quick`` runs everything once, to check that it works.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.load import payload
from harness.wires import SENDER, Classic

from selchat.bench.wires.framing import WEBSOCKET_FRAMES
from selchat.chat.hub import Hub
from selchat.config.settings import Settings
from selchat.events import Said
from selchat.feed import Feed, Subscription
from selchat.log.memory import MemoryLog
from selchat.log.port import Log
from selchat.log.sqlite import Retention, SqliteLog
from selchat.net.fanout import Fanout
from selchat.net.outbox import Outbox
from selchat.sessions.context import Context
from selchat.sessions.detect import DetectSession
from selchat.sessions.work import WorkLimits
from selchat.wire.classic import ClassicFormat
from selchat.wire.frames import FrameDecoder, encode_frame
from selchat.wire.requests import parse_request
from selchat.wire.responses import SelchatFormat

_READ_SIZE = 64 * 1024  # bytes
_BATCH = 256  # messages appended between two seals
_WIRE = Classic()
_STREAM = b"".join(_WIRE.publish(payload(i)) for i in range(_READ_SIZE))[:_READ_SIZE]
_FRAMES = _STREAM[: _READ_SIZE // len(_WIRE.publish(payload(0))) * len(_WIRE.publish(payload(0)))]
_DELIVERY = _WIRE.delivery(payload(0))


class FakeSocket:
    """A socket that accepts all bytes at once."""

    def send(self, data: bytes) -> int:
        return len(data)

    def sendmsg(self, buffers: list[memoryview]) -> int:
        return sum(map(len, buffers))


class FakeConnection:
    """The interface of a connection that an outbox and a session use."""

    def __init__(self) -> None:
        self.address = "127.0.0.1:1"
        socket: Any = FakeSocket()
        self.outbox = Outbox(socket, self, 1 << 20)
        self.handler: Any = None

    def set_handler(self, handler: object) -> None:
        self.handler = handler

    def schedule_flush(self) -> None:
        pass

    def watch_writable(self, enabled: bool) -> None:
        raise AssertionError("a fake socket is never full")

    def on_drained(self) -> None:
        pass

    def on_send_error(self, error: Exception) -> None:
        raise error

    def start_tls(self, first: bytes) -> None:
        raise AssertionError(first)

    def pause(self) -> None:
        raise AssertionError("this benchmark has no limits")

    resume = pause

    def close(self, reason: str | None = None, final_data: bytes = b"") -> None:
        raise AssertionError(reason)


class FakeClock:
    """A clock whose timers never fire, and an observer that ignores every event."""

    now = 0.0

    def call_later(self, _delay: float, _callback: Callable[..., object], *_arguments: object) -> FakeClock:
        return self

    def cancel(self) -> None:
        pass

    def _nothing(self, *_arguments: object) -> None:
        pass

    on_sign_in = on_published = on_sign_out = on_announcement_lost = on_log_state = closed_before_login = (
        _nothing
    )


def decode_whole() -> None:
    """Decode the data of one read under load."""
    FrameDecoder().receive_data(_FRAMES)


def decode_bytewise() -> None:
    """Decode 16 messages byte by byte."""
    decoder = FrameDecoder()
    for index in range(16 * len(_WIRE.publish(payload(0)))):
        decoder.receive_data(_FRAMES[index : index + 1])


def encode() -> None:
    """Encode one frame of 64 bytes."""
    encode_frame(_DELIVERY[:64])


def feed_with(readers: int) -> Callable[[], None]:
    """Benchmark: append a batch, seal it, and call that number of readers with the chunk."""
    feed: Feed[None] = Feed(1 << 20)
    for _ in range(readers):
        feed.subscribe(None, len)

    def run() -> None:
        for _ in range(_BATCH):
            feed.append(_DELIVERY)
        chunk = feed.seal()
        for send in feed.live.values():
            send(chunk)
        feed.trim()

    return run


def fanout_with(readers: int, batch: int) -> Callable[[], None]:
    """Benchmark: append a batch and deliver it to that number of fake connections."""
    fanout = Fanout(1 << 20)
    feed: Feed[Outbox] = Feed(1 << 20)
    connections = [FakeConnection() for _ in range(readers)]
    for connection in connections:
        connection.outbox.subscribe(feed)

    def run() -> None:
        for _ in range(batch):
            feed.append(_DELIVERY)
        fanout.deliver(feed)

    return run


def outbox_reply() -> Callable[[], None]:
    """Benchmark: queue one reply and flush it."""
    outbox = FakeConnection().outbox

    def run() -> None:
        outbox.reply(_DELIVERY)
        outbox.flush()

    return run


def outbox_author() -> Callable[[], None]:
    """Benchmark: an author skips its own message, and is a live reader again in the same tick."""
    fanout = Fanout(1 << 20)
    feed: Feed[Outbox] = Feed(1 << 20)
    subscription: Subscription[Outbox] = FakeConnection().outbox.subscribe(feed)

    def run() -> None:
        feed.append(_DELIVERY, subscription)
        fanout.deliver(feed)

    return run


class Chat:
    """A server without sockets, and one connection that signs in with ``hello``."""

    def __init__(self, hello: bytes) -> None:
        settings = Settings(roster=False, quiet=True, message_rate=0, byte_rate=0)
        clock = FakeClock()
        self.connection = FakeConnection()
        self.fanout = Fanout(1 << 20)
        self.hub = Hub(settings, MemoryLog(settings.log_limit), clock, clock)
        context = Context(
            settings, self.hub, clock, WorkLimits(settings, clock), clock, ClassicFormat(), SelchatFormat()
        )
        self.connection.handler = DetectSession(context, self.connection, None)
        self.receive(hello)

    def receive(self, data: bytes) -> None:
        """Process the bytes of one read, and end the tick."""
        self.connection.handler.data_received(data)
        for feed in self.hub.publish():
            self.fanout.deliver(feed)
        self.connection.outbox.end_tick()


def session_to_publish(data: bytes) -> Callable[[], None]:
    """Benchmark: the bytes of one read, through session and hub to a feed without other readers."""
    chat = Chat(encode_frame(SENDER.encode()))
    return lambda: chat.receive(data)


def say_requests(numbers: range) -> bytes:
    """Return messages of a selchat client with these numbers."""
    return b"".join(
        encode_frame(
            b'{"type":"say","room":"lobby","id":"5f2c-%010d","body":"%b"}' % (number, _DELIVERY[-64:])
        )
        for number in numbers
    )


def selchat_to_publish(count: int) -> Callable[[int], float]:
    """Benchmark: the same in the selchat protocol: parse, log, encode for others, acknowledge.

    Each message needs a new id, because the server ignores a repeated one. So the messages are made before
    the clock starts.
    """
    hello = {"type": "hello", "version": 1, "name": SENDER, "client": "0123456789abcdef"}
    chat = Chat(encode_frame(json.dumps(hello).encode()))
    numbers = itertools.count(0, count)

    def run(loops: int) -> float:
        reads = [say_requests(range(first, first + count)) for first in itertools.islice(numbers, loops)]
        start = time.perf_counter()
        for data in reads:
            chat.receive(data)
        return time.perf_counter() - start

    return run


def selchat_parse() -> None:
    """Parse one `say`."""
    parse_request(_SAY)


_SAY = say_requests(range(1))[10:]


def selchat_encode(messages: list[Said]) -> Callable[[], None]:
    """Benchmark: encode a batch for the readers, and the acks for its author."""
    format = SelchatFormat()

    def run() -> None:
        format.encode(messages)
        format.acks(messages)

    return run


def websocket_decode() -> Callable[[], None]:
    """Benchmark: decode the messages of one read from a browser."""
    # Any: the libraries that they need are optional.
    http: Any = importlib.import_module("selchat.wire.http")
    websocket: Any = importlib.import_module("selchat.wire.websocket")
    head = WEBSOCKET_FRAMES.handshake_request(("127.0.0.1", 33000))
    protocol, _ = websocket.open_websocket(http.Request("GET", "/ws", "", {}, head=head), 1 << 16)
    decoder = websocket.MessageDecoder(protocol, len)
    data = b"".join(WEBSOCKET_FRAMES.encode(_SAY) for _ in range(_BATCH))

    def run() -> None:
        decoder.receive_data(data)

    return run


def log_commit(log: Log) -> Callable[[], None]:
    """Benchmark: append a batch and commit it."""
    bodies = [_DELIVERY[-64:].decode()] * _BATCH
    numbers = itertools.count()

    def run() -> None:
        ids = [f"5f2c-{next(numbers):010}" for _ in bodies]
        log.append("lobby", SENDER, bodies, 1.7e9, ids, [None] * _BATCH, bytes(16))
        log.commit()

    return run


def main() -> int:
    """Run the script and return its exit status."""
    try:
        pyperf: Any = importlib.import_module("pyperf")  # Any: pyperf is optional, and so are its types
    except ImportError:
        print("micro.py needs pyperf. Run: pip install pyperf", file=sys.stderr)
        return 1
    if "--quick" in sys.argv:
        sys.argv.remove("--quick")
        sys.argv += ["--debug-single-value", "--quiet"]
    runner = pyperf.Runner(program_args=[__file__])
    message = _WIRE.publish(payload(0))
    batch = message * _BATCH
    runner.bench_func("frames: decode 64 KiB of 64-byte messages", decode_whole)
    runner.bench_func("frames: decode 16 messages byte by byte", decode_bytewise)
    runner.bench_func("frames: encode one message", encode)
    if all(map(importlib.util.find_spec, ("h11", "websockets"))):
        runner.bench_func(f"websocket: decode {_BATCH} messages", websocket_decode())
    runner.bench_func("session: one message to the feed", session_to_publish(message))
    runner.bench_func(f"session: {_BATCH} messages in one read to the feed", session_to_publish(batch))
    said = [
        Said("lobby", seq, SENDER, _DELIVERY[-64:].decode(), 1.7e9, f"5f2c-{seq:010}", None)
        for seq in range(1, _BATCH + 1)
    ]
    runner.bench_func("selchat: read one say", selchat_parse)
    runner.bench_func(f"selchat: encode {_BATCH} messages and their acks", selchat_encode(said))
    runner.bench_time_func("selchat: one message to the feed, with its ack", selchat_to_publish(1))
    name = f"selchat: {_BATCH} messages in one read to the feed, with acks"
    runner.bench_time_func(name, selchat_to_publish(_BATCH))
    runner.bench_func(f"log: {_BATCH} messages in memory", log_commit(MemoryLog(1 << 20)))
    with tempfile.TemporaryDirectory(prefix="selchat-micro-") as folder:
        durable = SqliteLog(Path(folder) / "history.sqlite", Retention())
        runner.bench_func(f"log: {_BATCH} messages in SQLite, with its fsync", log_commit(durable))
        durable.close()
    for readers in (0, 10, 1000):
        name = f"feed: append {_BATCH}, seal, {readers} readers"
        runner.bench_func(name, feed_with(readers))
    runner.bench_func("fan-out: one message to 1000 fake sockets", fanout_with(1000, 1))
    runner.bench_func(f"fan-out: {_BATCH} messages to 1000 fake sockets", fanout_with(1000, _BATCH))
    runner.bench_func("outbox: queue and flush one reply", outbox_reply())
    runner.bench_func("outbox: an author skips its own message", outbox_author())
    return 0


if __name__ == "__main__":
    sys.exit(main())
