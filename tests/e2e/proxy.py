"""A bad link: a proxy on loopback, in a separate thread, that delays, cuts, stalls and half-closes.

It is between TCP and TCP, so nothing of a stream is ever missing in its middle, as on a real network; what is
under way when a link is cut is lost. (Packets are lost in `tests.e2e.test_namespaces`.)
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
    """Forwards connections to ``port``. These attributes control it, and may change at any time.

    ``delay``: seconds, each way. ``piece``: bytes that are passed on at a time, every millisecond; 0: all.
    ``stalled``: the directions in which nothing is passed on. ``refuses``: closes new connections.
    """

    def __init__(self, port: int) -> None:
        self.delay = 0.0
        self.piece = 0
        self.stalled: set[Direction] = set()
        self.refuses = False
        self.links = 0  # that were ever made
        self._to = port
        self._lock = threading.Lock()  # for the pipes
        self._pipes: list[_Pipe] = []
        self._cuts: dict[Direction, int] = {}
        self._stopping = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="proxy")
        self._thread.start()

    # -- what happens to the links that there are ---------------------------------------------------------

    def reset(self) -> None:
        """Reset all links, and lose the data in flight."""
        with self._lock:
            for pipe in tuple(self._pipes):
                self._break(pipe, reset=True)

    def close(self) -> None:
        """Close all links, and lose the data in flight."""
        with self._lock:
            for pipe in tuple(self._pipes):
                self._break(pipe, reset=False)

    def half_close(self, direction: Direction) -> None:
        """End the streams in that direction alone."""
        with self._lock:
            for pipe in self._pipes:
                if pipe.direction is direction and not pipe.ended:
                    pipe.ended = True
                    pipe.waiting.clear()
                    _shut_down(pipe.target)

    def forget(self, direction: Direction) -> None:
        """Leave the end to which that direction goes open, and close the other: nobody tells it."""
        with self._lock:
            for pipe in self._pipes:
                if pipe.direction is direction:
                    pipe.source.close()
                    pipe.ended = True
                    pipe.waiting.clear()
                else:
                    pipe.ended = True

    def cut_after(self, direction: Direction, size: int) -> None:
        """Break the next link that passes so many bytes in that direction, in the middle of anything."""
        with self._lock:
            self._cuts[direction] = size

    def heal(self) -> None:
        """Pass everything on from now on."""
        with self._lock:
            self._cuts.clear()
        self.delay, self.piece, self.refuses = 0.0, 0, False
        self.stalled = set()

    def stop(self) -> None:
        """End it."""
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
            server = socket.create_connection(("127.0.0.1", self._to))
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
            if not pipe.ended and len(pipe.waiting) < 100:
                data = pipe.source.recv(self.piece or _READ)
                pipe.waiting.append((now + self.delay, data))
                pipe.ended = not data
        except BlockingIOError:
            pass
        except ConnectionError:
            self._break(pipe, reset=True)
            return
        try:
            while pipe.waiting and pipe.waiting[0][0] <= now:
                due, data = pipe.waiting[0]
                if not data:
                    pipe.waiting.popleft()
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
                    pipe.waiting[0] = (due, data[sent:])
                    return
                pipe.waiting.popleft()
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
    """One direction of a link. ``waiting``: the next data with its due time; empty data is the end."""

    def __init__(self, direction: Direction, source: socket.socket, target: socket.socket) -> None:
        self.direction = direction
        self.source = source
        self.target = target
        self.waiting: deque[tuple[float, bytes]] = deque()
        self.ended = False


def _shut_down(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass
