"""Raw servers on loopback for tests of the client, and a reactor that runs until a condition holds."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from selchat.client.events import ClientEvent, Message
from selchat.config.settings import ClientSettings
from selchat.net.reactor import Reactor

DEADLINE = 20.0  # seconds: far more than anything here takes


def frame(payload: bytes | str) -> bytes:
    """Return a classic frame. Written out here, so that no test checks the package against itself."""
    if isinstance(payload, str):
        payload = payload.encode()
    return str(len(payload)).encode().ljust(10) + payload


def pair(user: str, body: str) -> bytes:
    return frame(user) + frame(body)


SECRET = "9yAq3eTzqv0l1cZr6mW8nA"


def settings(port: int = 33000, **more: object) -> ClientSettings:
    """Return settings, by default for the classic protocol. The secret keeps tests off the user's file."""
    given = {"host": "127.0.0.1", "port": port, "name": "Michael", "wire": "classic", "secret": SECRET}
    given |= {"frame_gap_seconds": 0.0}
    return ClientSettings(**given | more)  # type: ignore[arg-type]


class RawServer:
    """A listening socket, and the connections that the test accepted from it."""

    def __init__(self, port: int = 0, receive_buffer: int | None = None) -> None:
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen()
        self.port = self.listener.getsockname()[1]
        self.connections: list[RawConnection] = []

    def accept(self) -> RawConnection:
        self.listener.settimeout(DEADLINE)
        connection = RawConnection(self.listener.accept()[0])
        self.connections.append(connection)
        return connection

    def waiting(self) -> bool:
        """Whether a connection waits for `accept`."""
        return bool(select.select([self.listener], [], [], 0)[0])

    def close(self) -> None:
        self.listener.close()
        for connection in self.connections:
            connection.sock.close()

    def __enter__(self) -> RawServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RawConnection:
    """The server's end of a connection. ``received`` is all data so far, read without blocking."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._received = b""
        self._ended = False
        sock.setblocking(False)

    @property
    def received(self) -> bytes:
        while not self._ended:
            try:
                data = self.sock.recv(1 << 20)
            except BlockingIOError:
                break
            self._received += data
            self._ended = not data
        return self._received

    @property
    def ended(self) -> bool:
        """Whether the client has closed its side."""
        _ = self.received
        return self._ended

    def frames(self) -> list[str]:
        """Return the complete frames so far."""
        found, data = [], self.received
        while len(data) >= 10 and len(data) >= 10 + int(data[:10]):
            size = int(data[:10])
            found.append(data[10 : 10 + size].decode())
            data = data[10 + size :]
        return found

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()


class Recorder:
    """An `Interface` that records its calls."""

    def __init__(self) -> None:
        self.log: list[tuple[object, ...]] = []
        self.events: list[ClientEvent] = []

    def connected(self, address: str) -> None:
        self.log.append(("connected", address))

    @property
    def messages(self) -> list[tuple[str, str]]:
        return [(event.author, event.body) for event in self.events if isinstance(event, Message)]

    def received(self, events: list[ClientEvent]) -> None:
        assert events
        self.events += events

    def lost(self, reason: str, delay: float) -> None:
        self.log.append(("lost", reason))

    def drained(self) -> None:
        self.log.append(("drained",))

    def finished(self, problem: str | None) -> None:
        self.log.append(("finished", problem))


def fail(where: str, error: Exception) -> None:
    raise AssertionError(where) from error


def spin(reactor: Reactor, condition: Callable[[], object], what: str = "condition") -> None:
    """Run ticks until the condition holds."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"not in time: {what}"
        reactor.tick(0.01)


def eventually(condition: Callable[[], object], what: str = "condition") -> None:
    """Poll until the condition holds."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"not in time: {what}"
        select.select([], [], [], 0.005)


@contextmanager
def serving(script: Callable[[RawServer], object]) -> Iterator[RawServer]:
    """Run the server's part of a test in a thread; a failure there fails the test."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            script(server)
        except BaseException as error:
            errors.append(error)
            server.close()  # so that the client ends too

    with RawServer() as server:
        thread = threading.Thread(target=run, name="server")
        thread.start()
        try:
            yield server
        finally:
            thread.join(2 * DEADLINE)  # it may wait for the deadline itself
    assert not thread.is_alive(), "the server's part does not end"
    if errors:
        raise errors[0]


class PaperServer(threading.Thread):
    """The paper's server, as its text and figures describe it: ``select``, one recv for each part.

    It relays to the others, sends no rosters, and keeps a socket whose other end is half-closed.
    """

    def __init__(self) -> None:
        super().__init__(name="paper server")
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.port = self.listener.getsockname()[1]
        self.lines: list[str] = []
        self._stopped_end, self._stop_signal = socket.socketpair()
        self._forgotten: list[socket.socket] = []

    def run(self) -> None:
        sockets = [self.listener, self._stopped_end]
        clients: dict[socket.socket, dict[str, bytes]] = {}
        while True:
            readable, _, _ = select.select(sockets, [], [])
            for sock in readable:
                if sock is self._stopped_end:
                    for other in [*clients, *self._forgotten]:
                        other.close()
                    return
                if sock is self.listener:
                    client, _ = self.listener.accept()
                    user = self._receive(client)
                    if user is False:
                        self._forgotten.append(client)
                        continue
                    sockets.append(client)
                    clients[client] = user
                    self.lines.append(f"Accepted new connection, username: {user['data'].decode()}")
                else:
                    message = self._receive(sock)
                    user = clients[sock]
                    if message is False:
                        self.lines.append(f"Closed connection, username: {user['data'].decode()}")
                        sockets.remove(sock)
                        del clients[sock]
                        self._forgotten.append(sock)
                        continue
                    self.lines.append(
                        f"Received message from {user['data'].decode()}: {message['data'].decode()}"
                    )
                    for other in clients:
                        if other is not sock:
                            other.send(user["header"] + user["data"] + message["header"] + message["data"])

    @staticmethod
    def _receive(sock: socket.socket) -> dict[str, bytes] | bool:
        try:
            header = sock.recv(10)
            if not len(header):
                return False
            length = int(header.decode("utf-8").strip())
            return {"header": header, "data": sock.recv(length)}
        except (OSError, ValueError):
            return False

    def stop(self) -> None:
        self._stop_signal.send(b"x")
        self.join(DEADLINE)
        for sock in (self.listener, self._stop_signal, self._stopped_end):
            sock.close()


@contextmanager
def paper_server() -> Iterator[PaperServer]:
    server = PaperServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()
