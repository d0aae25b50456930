"""Fan-out load: one sender, N receivers, and a window of messages in flight.

It is a *closed loop*: the sender sends message ``k + window`` when every receiver has message ``k``. So no
server can look fast by leaving its slowest reader behind, and the size of its queues does not count.

The load must not be the bottleneck. So it has its own core, and for each ready receiver it does one
``recv_into`` into a shared buffer and two comparisons: it counts bytes and parses nothing. All deliveries of
a wire have the same size, so the counts tell exactly how many messages each receiver has. Afterwards the load
checks the whole stream of one receiver: every byte must equal the sent bytes, in order.

The load polls without sleeping. On one machine the server's ``send`` has to wake a sleeping reader, which on
a real network no server does. The cost of that (nothing, or as much as the rest of the ``send``) depends on
how deeply the processor sleeps.
"""

from __future__ import annotations

import contextlib
import gc
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

from harness.processes import machine_cpu_seconds
from harness.wires import Step, Wire

PAYLOAD_SIZE = 64  # bytes
_CYCLE = 4096  # sequence numbers before they repeat; more than any window, so that no mix-up goes unnoticed
_BUFFER_SIZE = 1 << 20
_ANSWER_SECONDS = 20.0  # for an answer while joining
_STALL_SECONDS = 6.0  # without a byte for any receiver; then the rest counts as lost
_SURPLUS_SECONDS = 0.05  # to wait for bytes that should not arrive
_CONNECT_BATCH = 50  # connections before a pause in which the server accepts them: its backlog may be 100
_NEVER = 1 << 62


@dataclass
class Run:
    """The measurements of one run. Times in seconds."""

    receivers: int
    window: int
    sent: int = 0  # messages
    seconds: float = 0.0  # from the first byte sent to the last byte received
    server_cpu: float = 0.0
    load_idle: float = 0.0  # time without anything to read
    lost: int = 0  # deliveries
    surplus: int = 0  # bytes that should not have arrived
    dropped: int = 0  # receivers whose connection the server closed
    in_order: bool | None = None  # the sampled receiver's stream equals the sent one; None: not checked
    others_cpu: float = 0.0  # cores that other processes used during the run
    latencies: list[float] = field(
        default_factory=list
    )  # of each message to its last receiver; window 1 only

    @property
    def delivered(self) -> int:
        """Deliveries: messages times receivers, without lost ones."""
        return self.sent * self.receivers - self.lost

    @property
    def cpu_us(self) -> float:
        """The server's CPU microseconds per delivery."""
        return self.server_cpu / max(1, self.delivered) * 1e6

    @property
    def flaws(self) -> str:
        """The defects of the run in words; empty if there were none."""
        found = []
        if self.dropped:
            found.append(f"dropped {self.dropped:,} of {self.receivers:,} receivers")
        if self.lost:
            found.append(f"lost {self.lost:,} of {self.sent * self.receivers:,} deliveries")
        if self.surplus:
            found.append(f"sent {self.surplus:,} bytes too many")
        if self.in_order is False:
            found.append("the sampled stream differs from the sent one")
        return ", ".join(found)


class LoadError(Exception):
    """The server closed a connection or did not let a client join."""


class FanoutLoad:
    """The sender and its receivers. ``sampled``: compare one receiver's whole stream with the sent one."""

    def __init__(self, wire: Wire, port: int, receivers: int, *, sampled: bool = True) -> None:
        self._wire = wire
        self._buffer = bytearray(_BUFFER_SIZE)
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._sampled_data: list[bytes] = []
        self._sampled = sampled
        self._size = len(wire.delivery(payload(0)))
        self._cycle = b"".join(wire.publish(payload(i)) for i in range(_CYCLE)) * 2
        self._publish_size = len(self._cycle) // (2 * _CYCLE)
        self._sent = 0  # messages, since the first run
        try:
            for index in range(receivers):
                sock = self._connect(port, index, wire.join_receiver(index))
                self._sockets[sock.fileno()] = sock
                if index % _CONNECT_BATCH == _CONNECT_BATCH - 1:
                    time.sleep(0.005)
            time.sleep(0.05)
            self._sender = self._connect(port, receivers, wire.join_sender())
            self._sender.settimeout(_ANSWER_SECONDS)
        except BaseException:
            self.close()
            raise
        # The loop looks up everything by descriptor in lists. Descriptors of other files have a count beyond
        # every target.
        size = max([*self._sockets, self._sender.fileno()]) + 1
        self._counts = [_NEVER] * size
        self._receive: list[Callable[[bytearray], int]] = [_fail_on_receive] * size
        for number, sock in self._sockets.items():
            self._counts[number] = 0
            self._receive[number] = sock.recv_into
            self._epoll.register(number, select.EPOLLIN)
        self._receive[self._sender.fileno()] = self._receive_as_sender
        self._epoll.register(self._sender.fileno(), select.EPOLLIN)
        self._sample = list(self._sockets)[len(self._sockets) // 2]

    def __enter__(self) -> FanoutLoad:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        for sock in self._sockets.values():
            sock.close()
        if hasattr(self, "_sender"):
            self._sender.close()
        self._epoll.close()

    def settle(self, wait_idle: Callable[[], None]) -> None:
        """Discard the messages about joins and the first pings, until the server is idle."""
        end = time.monotonic() + self._wire.settle_seconds
        while True:
            wait_idle()
            self._discard(max(0.0, end - time.monotonic()))
            if time.monotonic() >= end and not self._epoll.poll(0.05):
                break
        if self._sampled:
            self._receive[self._sample] = self._recording_receive(self._sockets[self._sample])

    def run(self, window: int, seconds: float, server_cpu: Callable[[], float]) -> Run:
        """Send for ``seconds``, then wait until everything has arrived."""
        run = Run(len(self._sockets), window)
        counts, receive, buffer, poll = self._counts, self._receive, self._buffer, self._epoll.poll
        clock, size, max_events = time.perf_counter, self._size, len(self._sockets) + 1
        latencies = run.latencies
        first = completed = sent = self._sent
        self._sampled_data.clear()
        gc.collect()
        gc.freeze()  # so that collections within the loop have almost nothing to visit
        cpu, load_cpu, all_cpu, start = server_cpu(), time.process_time(), machine_cpu_seconds(), clock()
        deadline = start + seconds
        last_byte = sent_at = start
        idle = 0.0
        while run.receivers > run.dropped:
            sent_at = clock()
            if sent_at < deadline and completed + window > sent:
                self._send(sent, completed + window)
                sent = completed + window
            elif completed == sent:
                break
            target = (completed + 1) * size
            # With a window of 1, usually no receiver has a part of the next message yet.
            pending = run.receivers - run.dropped if window == 1 else sum(1 for n in counts if n < target)
            while pending > 0:
                ready = poll(0, max_events)
                if not ready:
                    idle_since = clock()
                    while not ready and clock() < idle_since + _STALL_SECONDS:
                        ready = poll(0, max_events)
                    idle += clock() - idle_since
                    if not ready:
                        break
                number = -1
                try:
                    for number, _ in ready:
                        got = receive[number](buffer)
                        before = counts[number]
                        counts[number] = after = before + got
                        if before < target <= after:
                            pending -= 1
                        elif not got and before < _NEVER:
                            raise ConnectionAbortedError
                except OSError:
                    pending -= self._drop(run, number, sent, target)
            last_byte = clock()
            if pending > 0:
                break  # the server has stalled
            if window == 1:
                latencies.append(last_byte - sent_at)
            completed = min(min(counts) // size, sent)
        run.seconds = last_byte - start
        run.load_idle = idle
        load_cpu = time.process_time() - load_cpu
        all_cpu = machine_cpu_seconds() - all_cpu
        run.sent = sent - first
        self._sent = sent
        self._discard(_SURPLUS_SECONDS, into_counts=True)
        run.server_cpu = server_cpu() - cpu  # only now, because it is exact while the server sleeps
        run.others_cpu = max(0.0, all_cpu - load_cpu - run.server_cpu) / max(run.seconds, 1e-9)
        self._check(run, first)
        return run

    # ----------------------------------------------------------------------------------------------------

    def _connect(self, port: int, index: int, steps: list[Step]) -> socket.socket:
        sock = socket.socket()
        try:
            # Several source addresses, because each has a limited number of ports. The port is chosen on
            # connect.
            sock.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
            if index >= 5000:
                sock.bind((f"127.0.0.{2 + index // 5000}", 0))
            sock.settimeout(_ANSWER_SECONDS)
            sock.connect(("127.0.0.1", port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for step in steps:
                sock.sendall(step.send)
                answer = b""
                while step.expect not in answer:
                    data = sock.recv(65536)
                    if not data:
                        raise LoadError(f"closed client {index} after {answer[-200:]!r}")
                    answer += data
            sock.settimeout(None)
        except BaseException as error:
            sock.close()
            if isinstance(error, OSError):
                raise LoadError(f"client {index} could not join: {error}") from error
            raise
        return sock

    def _send(self, start: int, end: int) -> None:
        size = self._publish_size
        while start < end:
            place = start % _CYCLE
            count = min(end - start, _CYCLE)
            self._sender.sendall(memoryview(self._cycle)[place * size : (place + count) * size])
            start += count

    def _receive_as_sender(self, _buffer: bytearray) -> int:
        self._read_and_answer(self._sender)
        return 0

    def _read_and_answer(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(65536)
            answer = self._wire.answer(data)
            if answer:
                sock.sendall(answer)
        except OSError as error:
            raise LoadError(f"the server closed a connection: {error}") from error
        if not data:
            raise LoadError("the server closed a connection")

    def _recording_receive(self, sock: socket.socket) -> Callable[[bytearray], int]:
        sampled_data = self._sampled_data

        def receive(_buffer: bytearray) -> int:
            data = sock.recv(_BUFFER_SIZE)
            sampled_data.append(data)
            return len(data)

        return receive

    def _drop(self, run: Run, number: int, sent: int, target: int) -> int:
        """Record that the server dropped a receiver; return 1 if the loop waits for it."""
        self._epoll.unregister(number)
        run.dropped += 1
        count = self._counts[number]
        run.lost += max(0, sent - count // self._size)
        self._counts[number] = _NEVER
        return int(count < target)

    def _discard(self, seconds: float, *, into_counts: bool = False) -> None:
        """Read for ``seconds``, or once if that is 0; answer pings."""
        end = time.monotonic() + seconds
        while True:
            for number, _ in self._epoll.poll(max(0.0, end - time.monotonic())):
                if number == self._sender.fileno():
                    self._read_and_answer(self._sender)
                    continue
                if into_counts:
                    with contextlib.suppress(OSError):
                        self._counts[number] += self._receive[number](self._buffer)
                    continue
                self._read_and_answer(self._sockets[number])
            if time.monotonic() >= end:
                return

    def _check(self, run: Run, first: int) -> None:
        expected = self._sent * self._size
        for number in self._sockets:
            missing = expected - self._counts[number]
            if self._counts[number] >= _NEVER:
                continue  # dropped; `_drop` has counted it
            run.lost += -(-missing // self._size) if missing > 0 else 0
            run.surplus += max(0, -missing)
            self._counts[number] = expected  # so that the next run does not count it again
        if self._sampled and not run.dropped:
            place, received = first % _CYCLE, b"".join(self._sampled_data)
            once = b"".join(self._wire.delivery(payload(i)) for i in range(_CYCLE))
            cycles = (place + run.sent) // _CYCLE + 1
            run.in_order = received == (once * cycles)[place * self._size : (place + run.sent) * self._size]


def payload(number: int) -> bytes:
    """Return message ``number``: its sequence number, and padding that is valid in any text protocol."""
    text = b"%08d is the number of this message; the rest is padding" % (number % _CYCLE)
    return text.ljust(PAYLOAD_SIZE, b".")[:PAYLOAD_SIZE]


def _fail_on_receive(_buffer: bytearray) -> int:
    raise AssertionError("no receiver has this descriptor")
