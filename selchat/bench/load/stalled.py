"""Stalled readers: clients that sign in and then never read."""

from __future__ import annotations

import contextlib
import select
import socket
from typing import Any

from selchat.bench.errors import HandshakeError
from selchat.bench.load.client import ServerUnavailableError
from selchat.bench.load.connections import Connections
from selchat.bench.load.job import Job
from selchat.bench.wires.wire import Wire

_JOIN_SECONDS = 30.0
_RECEIVE_BUFFER = 4096  # bytes: small, so that the server soon notices that the client does not read


class StalledReaders:
    """The stalled readers of one worker."""

    def __init__(self, job: Job, wire: Wire, connections: Connections) -> None:
        self._job = job
        self._wire = wire
        self._connections = connections
        self._socks: list[socket.socket] = []

    def join(self, count: int) -> dict[str, Any]:
        """Add ``count`` stalled readers. `count_joined` tells how many of them are signed in."""
        job = self._job
        first = job.readers + job.senders + 10
        for number in range(first, first + count):
            sock = self._connections.new_socket(number)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            sock.settimeout(_JOIN_SECONDS)
            try:
                sock.connect(job.address)
                self._shake_hands(sock)
                sock.sendall(self._wire.hello(self._connections.name(number)))
            except OSError as error:
                raise ServerUnavailableError(
                    f"the server refuses connections: {error.strerror or error}"
                ) from None
            self._socks.append(sock)
        return {}

    def count_joined(self) -> dict[str, Any]:
        """Return how many have received something.

        A closed connection cannot be seen here: its end comes after the data that no one reads.
        """
        poll = select.poll()
        for sock in self._socks:
            poll.register(sock, select.POLLIN)
        return {"joined": len(poll.poll(0))}

    def send_keepalives(self) -> None:
        """Have all of them send a keepalive."""
        for sock in self._socks:
            with contextlib.suppress(OSError):
                sock.send(self._wire.keepalive)

    def leave(self) -> dict[str, Any]:
        """Close their connections."""
        for sock in self._socks:
            sock.close()
        self._socks.clear()
        return {}

    def _shake_hands(self, sock: socket.socket) -> None:
        """Do the WebSocket handshake, if any. Raises `ServerUnavailableError` and `OSError`."""
        framing = self._wire.framing
        request, response = framing.handshake_request(self._job.address), b""
        try:
            sock.sendall(request)
            while request and framing.after_handshake(response) is None:
                data = sock.recv(_RECEIVE_BUFFER)
                if not data:
                    raise HandshakeError("connection closed")
                response += data
        except HandshakeError as error:
            raise ServerUnavailableError(f"the server refuses connections: {error}") from None
