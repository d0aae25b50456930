"""TCP proxy that delays, cuts, stalls and half-closes connections, in a separate thread.

As on a real network, a stream never has a hole in its middle; a cut loses the bytes in transit.
`tests.e2e.test_namespaces` loses packets.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from enum import Enum, auto

_RESET = b"\1\0\0\0\0\0\0\0"  # SO_LINGER: on, 0 s
_READ = 64 * 1024  # bytes


class Direction(Enum):
    """``UP`` is from the client to the server."""

    UP = auto()
    DOWN = auto()


class Proxy:
    """Forward connections from `port` to the port ``port`` of the server.

    These attributes change how, at any time. ``delay``: seconds, each way. ``piece``: bytes forwarded each
    millisecond; 0: all. ``stalled``: the directions that forward nothing. ``refuses``: whether new
    connections are closed at once.
    """

    def __init__(self, port: int) -> None:
        self.delay = 0.0
        self.piece = 0
        self.stalled: set[Direction] = set()
        self.refuses = False
        self.links = 0  # connections so far
        self._server_port = port
        self._lock = threading.Lock()  # guards the pipes
        self._pipes: list[_Pipe] = []
        self._cuts: dict[Direction, int] = {}
        self._stopping = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="proxy")
        self._thread.start()

    # -- faults of the open connections -------------------------------------------------------------------

    def reset(self) -> None:
        """Reset all connections; bytes in transit are lost."""
        with self._lock:
            for pipe in tuple(self._pipes):
                self._break(pipe, reset=True)

    def close(self) -> None:
        """Close all connections; bytes in transit are lost."""
        with self._lock:
            for pipe in tuple(self._pipes):
                self._break(pipe, reset=False)

    def half_close(self, direction: Direction) -> None:
        """End the streams in this direction only."""
        with self._lock:
            for pipe in self._pipes:
                if pipe.direction is direction and not pipe.ended:
                    pipe.ended = True
                    pipe.in_transit.clear()
                    _shut_down(pipe.target)

    def leave_half_open(self, direction: Direction) -> None:
        """Close one end without a word to the other: the receiver of this direction stays open."""
        with self._lock:
            for pipe in self._pipes:
                if pipe.direction is direction:
                    pipe.source.close()
                    pipe.ended = True
                    pipe.in_transit.clear()
                else:
                    pipe.ended = True

    def cut_after(self, direction: Direction, size: int) -> None:
        """Reset the next connection that forwards ``size`` bytes in this direction, even inside a frame."""
        with self._lock:
            self._cuts[direction] = size

    def heal(self) -> None:
        """Forward everything from now on."""
        with self._lock:
            self._cuts.clear()
        self.delay, self.piece, self.refuses = 0.0, 0, False
        self.stalled = set()

    def stop(self) -> None:
        """Stop the thread and close everything."""
        self._stopping = True
        self._thread.join()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- the thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopping:
                with self._lock:
                    self._accept()
                    for pipe in tuple(self._pipes):
                        self._move(pipe)
                time.sleep(0.001)
        finally:
            with self._lock:
                for pipe in tuple(self._pipes):
                    self._break(pipe, reset=False)
            self._listener.close()

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:
            return
        try:
            if self.refuses:
                raise ConnectionRefusedError
            server = socket.create_connection(("127.0.0.1", self._server_port))
        except ConnectionError:
            client.close()
            return
        self.links += 1
        for sock in (client, server):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pipes += (_Pipe(Direction.UP, client, server), _Pipe(Direction.DOWN, server, client))

    def _move(self, pipe: _Pipe) -> None:
        if pipe.source.fileno() == -1 or pipe.target.fileno() == -1 or pipe.direction in self.stalled:
            return
        now = time.monotonic()
        try:
            if not pipe.ended and len(pipe.in_transit) < 100:
                data = pipe.source.recv(self.piece or _READ)
                pipe.in_transit.append((now + self.delay, data))
                pipe.ended = not data
        except BlockingIOError:
            pass
        except ConnectionError:
            self._break(pipe, reset=True)
            return
        try:
            while pipe.in_transit and pipe.in_transit[0][0] <= now:
                due, data = pipe.in_transit[0]
                if not data:
                    pipe.in_transit.popleft()
                    _shut_down(pipe.target)
                    return
                left = self._cuts.get(pipe.direction)
                if left is not None and len(data) >= left:
                    pipe.target.send(data[:left])
                    del self._cuts[pipe.direction]
                    self._break(pipe, reset=True)
                    return
                sent = pipe.target.send(data)
                if left is not None:
                    self._cuts[pipe.direction] = left - sent
                if sent < len(data):
                    pipe.in_transit[0] = (due, data[sent:])
                    return
                pipe.in_transit.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._break(pipe, reset=True)

    def _break(self, pipe: _Pipe, *, reset: bool) -> None:
        for sock in (pipe.source, pipe.target):
            if sock.fileno() != -1 and reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            sock.close()
        self._pipes = [one for one in self._pipes if one.source.fileno() != -1 or one.target.fileno() != -1]


class _Pipe:
    """One direction of a connection.

    ``in_transit``: pieces and the time at which each is due; an empty piece is the end of the stream.
    """

    def __init__(self, direction: Direction, source: socket.socket, target: socket.socket) -> None:
        self.direction = direction
        self.source = source
        self.target = target
        self.in_transit: deque[tuple[float, bytes]] = deque()
        self.ended = False


def _shut_down(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass
