"""The sockets of a load generator: one epoll for all clients.

The epoll is level-triggered: each ready socket costs one ``recv_into`` into a shared buffer. With 900 readers
and chunks of 23 KB this must keep up with a server that does nothing but ``send``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import time
from collections.abc import Callable

from selchat.bench.errors import HandshakeError
from selchat.bench.histogram import Histogram
from selchat.bench.load.client import Client, Room, ServerUnavailableError
from selchat.bench.load.job import Job
from selchat.bench.system.proc import received_segments
from selchat.bench.verify.transcript import Counters
from selchat.bench.wires.messages import LOBBY, MessageGenerator
from selchat.bench.wires.wire import Wire
from selchat.errors import close_reason

_BUFFER = 256 * 1024  # bytes for one read
_PER_SOURCE = 20_000  # connections from one address; Linux has 28,232 ephemeral ports

_IP_BIND_ADDRESS_NO_PORT = (
    24  # Linux: connect chooses the port, so that each port serves every source address
)
_READ, _WRITE = 1, 4  # EPOLLIN, EPOLLOUT

now_ns = time.monotonic_ns


class Connections:
    """All connections of one worker.

    ``on_data(client, data, now)`` gets the bytes of each read. ``on_lost(client, reason)`` learns that the
    server has closed the connection of a client.
    """

    def __init__(self, job: Job, wire: Wire, counters: Counters) -> None:
        self.clients: dict[int, Client] = {}
        self.on_data: Callable[[Client, memoryview, int], None] = _ignore_data
        self.on_lost: Callable[[Client, str], None] = _ignore_loss
        self.connecting = 0
        self.handshakes = Histogram()
        self.view = memoryview(bytearray(_BUFFER))
        self._job = job
        self._wire = wire
        self._framing = wire.framing
        self._counters = counters
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], object]] = {}

    def name(self, number: int) -> bytes:
        """Return the name of the worker's client with that number."""
        return self._job.run.encode() + b"%05d" % (self._job.first + number)

    def watch(self, fd: int, callback: Callable[[], object]) -> None:
        """Call back whenever that descriptor is readable."""
        self._callbacks[fd] = callback
        self._epoll.register(fd, _READ)

    def unwatch(self, fd: int) -> None:
        """Stop watching that descriptor."""
        del self._callbacks[fd]
        self._epoll.unregister(fd)

    def new_socket(self, number: int) -> socket.socket:
        """Return an unconnected socket for the client with that number."""
        job = self._job
        family = socket.AF_INET6 if ":" in job.address[0] else socket.AF_INET
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            raise ServerUnavailableError(f"cannot create a socket: {close_reason(error)}") from None
        if job.source:
            sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((f"127.0.1.{1 + (job.first + number) // _PER_SOURCE}", 0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def open(
        self,
        number: int,
        room: Room,
        generator: MessageGenerator | None,
        marker_rooms: list[Room] | None = None,
    ) -> Client:
        """Start to connect a client, and sign it in. It joins ``room``, or all of ``marker_rooms``."""
        sock = self.new_socket(number)
        sock.setblocking(False)
        if generator is not None:
            # Room for a whole window. The 16 KiB of a new connection would split it.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        client = Client(sock, self.name(number), room, generator)
        client.connect_time = now_ns()
        self.connecting += 1
        error = sock.connect_ex(self._job.address)
        if error and error != errno.EINPROGRESS:
            sock.close()
            raise ServerUnavailableError(f"cannot reach the server: {os.strerror(error).lower()}")
        self.clients[client.fd] = client
        self._epoll.register(client.fd, _READ)
        if not self._job.floor:
            rooms = tuple(each.name for each in marker_rooms) if marker_rooms else (room.name,)
            hello = self._wire.hello(client.name, () if rooms == (LOBBY,) else rooms)
            request = self._framing.handshake_request(self._job.address)
            client.pending_hello = hello if request else b""
            self.send(client, request or hello)
            if not client.unsent and not request:
                self._record_handshake(client)
        else:
            self._record_handshake(client)
        return client

    def continue_handshake(self, client: Client, data: bytes) -> None:
        """Read the handshake response; when it is complete, send the client's hello."""
        client.unmatched += data
        try:
            rest = self._framing.after_handshake(client.unmatched)
        except HandshakeError as error:
            self.lose(client, str(error))
            return
        if rest is not None:
            client.unmatched = rest
            hello, client.pending_hello = client.pending_hello, b""
            self.send(client, hello)
            self._record_handshake(client)

    def _record_handshake(self, client: Client) -> None:
        self.handshakes.add((now_ns() - client.connect_time) // 1000)
        client.connect_time = 0
        self.connecting -= 1

    def send(self, client: Client, data: bytes) -> None:
        """Send now as much as the socket accepts, and the rest when it is writable."""
        if client.unsent:
            client.unsent += data
            return
        try:
            sent = client.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            client.send_error = close_reason(error)  # the next read closes the connection
            return
        if sent < len(data):
            client.unsent = data[sent:]
            if not client.watching_writes:
                client.watching_writes = True
                self._epoll.modify(client.fd, _READ | _WRITE)

    def _flush(self, client: Client) -> None:
        data, client.unsent = client.unsent, b""
        self.send(client, data)
        if not client.unsent and client.watching_writes:
            client.watching_writes = False
            self._epoll.modify(client.fd, _READ)
        if client.connect_time and not client.pending_hello and len(client.unsent) < len(data):
            self._record_handshake(client)

    def poll(self, timeout: float | None, precise: bool = False) -> None:
        """Wait until sockets are ready, and read from them. ``precise``: to the microsecond."""
        clients, on_data, view = self.clients, self.on_data, self.view
        if precise and timeout:
            # epoll waits in whole milliseconds, select in microseconds.
            select.select((self._epoll,), (), (), timeout)
            timeout = 0.0
        for fd, mask in self._epoll.poll(timeout, 2048):
            client = clients.get(fd)
            if client is None:
                if (callback := self._callbacks.get(fd)) is not None:
                    callback()
                continue
            if mask & _WRITE:
                self._flush(client)
                if not mask & ~_WRITE:
                    continue
            try:
                size = client.receive_into(view)
            except BlockingIOError:
                continue
            except OSError as error:
                self.lose(client, close_reason(error))
                continue
            if size:
                on_data(client, view[:size], now_ns())
            else:
                self.lose(client, "connection closed")
        if self._counters.pings:
            self._answer_pings()

    def _answer_pings(self) -> None:
        for reader, payload in self._counters.pings:
            assert isinstance(reader, Client)
            if self.clients.get(reader.fd) is reader:
                self.send(reader, self._framing.pong(payload))
        self._counters.pings.clear()

    def segments(self) -> tuple[int, int]:
        """Return the bytes and the data segments that one of the readers has received."""
        for client in self.clients.values():
            if client.generator is None:
                return received_segments(client.sock) or (0, 0)
        return 0, 0

    def lose(self, client: Client, reason: str) -> None:
        """Close the connection of a client that the server has dropped, and report it."""
        self._close_client(client)
        self.on_lost(client, client.send_error or reason)

    def leave(self, client: Client) -> None:
        """Close the connection of that client, with a WebSocket close frame where one is due."""
        if self._framing.close_frame and not (client.pending_hello or client.unsent or self._job.floor):
            with contextlib.suppress(OSError):
                client.sock.send(self._framing.close_frame)
        self._close_client(client)

    def _close_client(self, client: Client) -> None:
        self._epoll.unregister(client.fd)
        del self.clients[client.fd]
        client.sock.close()

    def close(self) -> None:
        """Close the epoll. The clients must have left."""
        self._epoll.close()


def _ignore_data(_client: Client, _data: memoryview, _now: int) -> None:
    """Drop the bytes: no command runs."""


def _ignore_loss(_client: Client, _reason: str) -> None:
    """Ignore the loss: no command runs."""
