"""Servers of these tests: small relays that can lose, repeat, renumber or reject messages."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from selchat.wire.frames import FrameDecoder, encode_frame
from tests.e2e.support import DEADLINE

QUICK = ["--clients=6", "--duration=0.1", "--ramp=0.05"]


@contextmanager
def serving(handle: Callable[[socket.socket], None]) -> Iterator[tuple[str, int]]:
    """Call ``handle`` for each connection, in its own thread; yield the server's address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        over = threading.Event()
        threads: list[threading.Thread] = []

        def accept() -> None:
            while not over.is_set():
                try:
                    sock, _ = listener.accept()
                except TimeoutError:
                    continue
                sock.settimeout(DEADLINE)
                threads.append(threading.Thread(target=_handle_until_reset, args=(handle, sock)))
                threads[-1].start()

        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield listener.getsockname()[:2]
        finally:
            over.set()
            acceptor.join()
            for thread in threads:
                thread.join()


def _handle_until_reset(handle: Callable[[socket.socket], None], sock: socket.socket) -> None:
    """Handle the connection. A load generator that leaves early is no fault of the server."""
    with contextlib.suppress(ConnectionError):
        handle(sock)


def send_json(sock: socket.socket, fields: dict[str, object], count: int = 1) -> None:
    with contextlib.suppress(OSError):
        sock.sendall(encode_frame(json.dumps(fields, separators=(",", ":")).encode()) * count)


class ClassicRelay:
    """A classic server. ``deliver(number, pair)`` returns the pairs that it sends for each message."""

    def __init__(self, deliver: Callable[[int, bytes], list[bytes]]) -> None:
        self._deliver = deliver
        self._lock = threading.Lock()
        self._members: dict[socket.socket, bytes] = {}
        self._relayed = 0

    def __call__(self, sock: socket.socket) -> None:
        decoder = FrameDecoder()
        try:
            while data := sock.recv(65536):
                for payload in decoder.receive_data(data):
                    with self._lock:
                        self._handle_payload(sock, payload)
        except OSError:
            pass
        with self._lock:
            self._members.pop(sock, None)
        sock.close()

    def _handle_payload(self, sock: socket.socket, payload: bytes) -> None:
        if sock not in self._members:
            self._members[sock] = encode_frame(payload)
            return
        pairs = [self._members[sock] + encode_frame(payload)]
        if b"-" not in payload:  # not a probe or a marker
            pairs = self._deliver(self._relayed, pairs[0])
            self._relayed += 1
        for member in self._members:
            if member is not sock:
                with contextlib.suppress(OSError):
                    member.sendall(b"".join(pairs))


class SelchatRelay:
    """A server of the selchat protocol with one room.

    ``alter(kind, number)`` returns, for the "said" and for the "ack" of each message, how often the server
    sends it, and a number to add to its seq. ``reject(fields)`` tells whether it rejects a message instead.
    """

    def __init__(
        self,
        alter: Callable[[str, int], tuple[int, int]] = lambda kind, number: (1, 0),
        reject: Callable[[dict[str, str]], bool] = lambda fields: False,
    ) -> None:
        self._alter = alter
        self._reject = reject
        self._lock = threading.Lock()
        self._members: dict[socket.socket, str] = {}
        self._seq = 0
        self._relayed = 0

    def __call__(self, sock: socket.socket) -> None:
        decoder = FrameDecoder()
        try:
            while data := sock.recv(65536):
                for payload in decoder.receive_data(data):
                    with self._lock:
                        self._handle_message(sock, json.loads(payload))
        except OSError:
            pass
        with self._lock:
            self._members.pop(sock, None)
        sock.close()

    def _handle_message(self, sock: socket.socket, fields: dict[str, str]) -> None:
        if sock not in self._members:
            self._members[sock] = fields["name"]
            self._send(sock, {"type": "welcome", "version": 1})
            return
        if fields["type"] == "pong":
            return  # a keepalive
        counted = "-start-" not in fields["body"]
        if counted and self._reject(fields):
            self._send(sock, {"type": "error", "code": "muted", "id": fields["id"]})
            return
        self._seq += 1
        author, common = self._members[sock], {"room": fields["room"], "id": fields["id"]}
        said, ack = ((self._alter(kind, self._relayed) if counted else (1, 0)) for kind in ("said", "ack"))
        self._relayed += counted
        entry = {
            "type": "said",
            "from": author,
            "seq": self._seq + said[1],
            **common,
            "body": fields["body"],
        }
        for member in self._members:
            if member is not sock:
                self._send(member, entry, said[0])
        self._send(sock, {"type": "ack", "seq": self._seq + ack[1], **common}, ack[0])

    def _send(self, sock: socket.socket, fields: dict[str, object], count: int = 1) -> None:
        send_json(sock, fields, count)


class WebSocketRelay(SelchatRelay):
    """The same over WebSockets, with the ``websockets`` library.

    It pings all clients after every fifth message. It accepts only the first ``max_accepted`` connections.
    """

    def __init__(self, max_accepted: int = 1 << 30) -> None:
        super().__init__()
        self._library = pytest.importorskip("websockets.server")
        self._opcodes = pytest.importorskip("websockets.frames").Opcode
        self._protocols: dict[socket.socket, Any] = {}
        self._left = max_accepted
        self.pings = 0
        self.pongs: list[bytes] = []
        self.close_codes: list[int] = []

    def __call__(self, sock: socket.socket) -> None:
        protocol = self._library.ServerProtocol()
        try:
            while data := sock.recv(65536):
                with self._lock:
                    protocol.receive_data(data)
                    for event in protocol.events_received():
                        self._handle_event(sock, protocol, event)
                    self._flush(sock, protocol)
        except OSError:
            pass
        with self._lock:
            self._members.pop(sock, None)
        sock.close()

    def _handle_event(self, sock: socket.socket, protocol: Any, event: Any) -> None:
        if sock not in self._protocols:
            self._protocols[sock] = protocol
            self._left -= 1
            response = protocol.accept(event) if self._left >= 0 else protocol.reject(503, "full")
            protocol.send_response(response)
        elif event.opcode is self._opcodes.TEXT:
            self._handle_message(sock, json.loads(event.data))
        elif event.opcode is self._opcodes.PONG:
            self.pongs.append(event.data)
        elif event.opcode is self._opcodes.CLOSE:
            self.close_codes.append(int.from_bytes(event.data[:2], "big"))

    def _handle_message(self, sock: socket.socket, fields: dict[str, str]) -> None:
        relayed = self._relayed
        super()._handle_message(sock, fields)
        if self._relayed > relayed and self._relayed % 5 == 0:
            self.pings += 1
            for member in self._members:
                self._protocols[member].send_ping(b"%d" % self.pings)
                self._flush(member, self._protocols[member])

    def _send(self, sock: socket.socket, fields: dict[str, object], count: int = 1) -> None:
        for _ in range(count):
            self._protocols[sock].send_text(json.dumps(fields, separators=(",", ":")).encode())
        self._flush(sock, self._protocols[sock])

    def _flush(self, sock: socket.socket, protocol: Any) -> None:
        with contextlib.suppress(OSError):
            sock.sendall(b"".join(protocol.data_to_send()))
