"""Churn: clients that connect, send a few messages and leave, again and again."""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from typing import Any

from selchat.bench.errors import HandshakeError
from selchat.bench.load.connections import now_ns
from selchat.bench.load.generator import DRAIN_SECONDS, LoadGenerator
from selchat.errors import close_reason


class Churn:
    """The command that keeps short-lived clients coming while the readers check their messages."""

    def __init__(self, generator: LoadGenerator) -> None:
        self._generator = generator

    def run(self, seconds: float, slots: int, messages: int, rate: float, interval: float) -> dict[str, Any]:
        """Keep ``slots`` clients connected, each for ``messages`` messages; start ``rate`` lives a second.

        A leaving client sends a close frame or shuts down its sending side, and reads to the end, so that a
        reset cannot lose anything. The sequence numbers of a slot continue from life to life.
        """
        generator, recorder = self._generator, self._generator.recorder
        lives = _Lives(generator, slots, messages)
        recorder.begin(interval)
        start = time.monotonic()
        deadline = start + seconds
        end = deadline + DRAIN_SECONDS
        generator.connections.watch(lives.fileno(), _wake_up)
        while lives.open or not (generator.stopping or time.monotonic() > deadline):
            now = time.monotonic()
            if generator.ended or now > end or recorder.failure is not None:
                break
            if now < deadline and not generator.stopping:
                lives.begin(int((now - start) * rate) + 1 - lives.started if rate else slots)
            lives.read()
            generator.connections.poll(0.0 if lives.free and not rate else 0.005)
            generator.transcript.trim()
            generator.tick()
        recorder.lives = lives.started - len(lives.open)
        recorder.refused = lives.refused
        generator.connections.unwatch(lives.fileno())
        lives.close()
        transcript = generator.transcript
        transcript.expect(recorder.sent - transcript.goal)
        recorder.expected = recorder.sent
        generator.wait(lambda: not transcript.behind, DRAIN_SECONDS)
        return recorder.finish()


class _Lives:
    """The short-lived connections. Each uses a slot: a name, with a sequence of messages."""

    def __init__(self, generator: LoadGenerator, slots: int, messages: int) -> None:
        self.free = deque(range(slots))
        self.open: dict[int, tuple[socket.socket, int]] = {}  # by descriptor: the socket, and its slot
        self.started = 0
        self.refused = 0
        self._generator = generator
        self._connections = generator.connections
        self._framing = generator.wire.framing
        self._messages = messages
        job, wire = generator.job, generator.wire
        self._first = job.readers + job.senders + 10
        names = [self._connections.name(self._first + slot) for slot in range(slots)]
        self._generators = [wire.generator(name, job.payload) for name in names]
        self._hellos = [wire.hello(name) for name in names]  # the same device in each life of a slot
        self._request = self._framing.handshake_request(job.address)
        self._responses: dict[int, bytes] = {}  # by descriptor: the incomplete handshake response
        self._poll = select.epoll()

    def fileno(self) -> int:
        """Return a descriptor that is readable whenever one of the connections is."""
        return self._poll.fileno()

    def begin(self, count: int) -> None:
        """Start up to ``count`` lives, as far as there are free slots."""
        while self.free and count > 0:
            count -= 1
            slot = self.free.popleft()
            sock = self._connections.new_socket(self._first + slot)
            sock.settimeout(DRAIN_SECONDS)
            try:
                sock.connect(self._generator.job.address)
                if self._request:
                    sock.sendall(self._request)
                    self._responses[sock.fileno()] = b""
                else:
                    self._send_messages(sock, slot)
            except OSError as error:
                sock.close()
                self._generator.recorder.fail(f"the server refuses connections: {close_reason(error)}")
                return
            sock.setblocking(False)
            self._poll.register(sock.fileno(), select.EPOLLIN)
            self.open[sock.fileno()] = (sock, slot)
            self.started += 1

    def read(self) -> None:
        """Read from all ready connections, and close the ones that have ended."""
        view = self._connections.view
        for fd, _ in self._poll.poll(0):
            sock, slot = self.open[fd]
            try:
                size = sock.recv_into(view)
                if size and fd in self._responses:
                    self._responses[fd] += bytes(view[:size])
                    if self._framing.after_handshake(self._responses[fd]) is not None:
                        del self._responses[fd]
                        self._send_messages(sock, slot)
                if size:
                    continue
                self.refused += fd in self._responses
            except BlockingIOError:
                continue
            except HandshakeError as error:
                self._generator.recorder.fail(f"the server refuses connections: {error}")
            except OSError:
                self.refused += 1
            self._responses.pop(fd, None)
            self._poll.unregister(fd)
            sock.close()
            del self.open[fd]
            self.free.append(slot)

    def close(self) -> None:
        """Close all connections."""
        for sock, _ in self.open.values():
            sock.close()
        self._poll.close()

    def _send_messages(self, sock: socket.socket, slot: int) -> None:
        close_frame = self._framing.close_frame
        sock.settimeout(DRAIN_SECONDS)
        messages = self._generators[slot].generate(self._messages, now_ns())
        sock.sendall(self._hellos[slot] + messages + close_frame)
        self._generator.recorder.sent += self._messages
        if not close_frame:
            sock.shutdown(socket.SHUT_WR)
        sock.setblocking(False)


def _wake_up() -> None:
    """Do nothing: the wakeup itself lets the loop read."""
