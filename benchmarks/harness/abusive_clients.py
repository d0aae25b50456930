"""Abusive clients of one kind, in one process, until the end of its input.

Usage: ``abusive_clients.py KIND PORT COUNT``, where ``KIND`` is one of `ATTACKS` or `OTHERS`. Each of the
``COUNT`` connections sends as much as the server reads, and reconnects when the server closes it. A
slow-loris connection sends one byte of its first header each second instead, and does not reconnect. At the
end, one line of JSON says how often the clients connected, how many bytes the server took, and after how many
seconds it closed each slow-loris connection.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import resource
import selectors
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from selchat.net.tls import client_context
from selchat.wire.frames import encode_frame

_HOST = "127.0.0.1"
_LORIS = b"5" + b" " * 8  # a header without its last byte
_BYTE_SECONDS = 1.0  # between two bytes of a slow-loris connection
_CONNECTS = 50  # connections to open between two polls of the others
_ROOMS = 99  # rooms of each client that makes rooms
_RETRY_SECONDS = 0.01  # between two connections in one place
_MASK = b"\0\0\0\0"
_numbers = itertools.count()


class Attack(NamedTuple):
    """What a connection sends. ``opening(number)``: once; ``request``: again and again after that.

    An attack without a request closes its connection as soon as the server answers, and connects again.
    """

    opening: Callable[[int], bytes]
    request: bytes = b""


def request(**fields: Any) -> bytes:
    """Return a request of the selchat protocol."""
    return encode_frame(json.dumps(fields).encode())


def hello(number: int) -> bytes:
    """Return the `hello` of a client, always the same for a number."""
    return request(type="hello", version=1, name=f"abuser{number}", client=f"abuser{number:016}")


def new_hello(_number: int) -> bytes:
    """Return the `hello` of a user that never came before."""
    number = f"{os.getpid()}x{next(_numbers)}"
    return request(type="hello", version=1, name=f"new{number}", client=f"{number:x>22}")


def make_rooms(number: int) -> bytes:
    """Return the requests that make many rooms with a word in each."""
    requests = [hello(number)]
    for room in range(_ROOMS):
        name = f"room{number}x{room}"
        requests.append(request(type="join", room=name))
        requests.append(request(type="say", room=name, id=f"{room}", body="x"))
    return b"".join(requests)


def fill_history(number: int) -> bytes:
    """Return a hello and messages that fill some pages of history."""
    says = (request(type="say", room="lobby", id=f"{id}", body="x" * 64) for id in range(40))
    return hello(number) + b"".join(says)


def classic(number: int) -> bytes:
    """Return the name of a classic client."""
    return encode_frame(b"flooder%d" % number)


def websocket(number: int) -> bytes:
    """Return the handshake and the `hello` of a browser."""
    fields = {"type": "hello", "version": 1, "name": f"abuser{number}", "client": f"abuser{number:016}"}
    payload = json.dumps(fields).encode()
    key = base64.b64encode(b"%016d" % number).decode()
    return (
        "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    ).encode() + b"".join((bytes((0x81, 0x80 | 126)), len(payload).to_bytes(2, "big"), _MASK, payload))


def _nothing(_number: int) -> bytes:
    return b""


_CHUNKED = b"POST /rooms/lobby/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n"
_GET = b"GET /%b HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept-Encoding: gzip\r\n\r\n"
_FRAGMENT = b"\x01\x80" + _MASK
_CONTINUATION = b"\x00\x81" + _MASK + b"x"

ATTACKS: dict[str, Attack] = {
    "messages": Attack(classic, encode_frame(b"x" * 64) * 64),
    "control characters": Attack(classic, encode_frame(b"\x01" * 65_000)),
    "rooms": Attack(make_rooms, request(type="rooms") * 64),
    "users": Attack(hello, request(type="users", room="lobby") * 64),
    "history": Attack(fill_history, request(type="history", room="lobby", limit=1000) * 64),
    "resumes": Attack(lambda number: hello(number) + request(type="join", room="x", after=0)),
    "joins": Attack(hello, (request(type="join", room="x") + request(type="part", room="x")) * 64),
    "topics": Attack(hello, request(type="topic", room="lobby", topic="x" * 256) * 64),
    "direct messages": Attack(hello, request(type="whisper", to="abuser0", id="1", body="x" * 1000) * 64),
    "new names": Attack(new_hello),
    "guests": Attack(lambda _number: encode_frame(b"")),
    "HTTP heads": Attack(_nothing, _GET % b"healthz" * 64),
    "HTTP files": Attack(_nothing, _GET % b"" * 64),
    "HTTP chunks": Attack(lambda _number: _CHUNKED + b"\r\n", b"1\r\nx\r\n" * 4096),
    "HTTP chunks with a bad token": Attack(
        lambda _number: _CHUNKED + b"Authorization: Bearer x\r\n\r\n", b"1\r\nx\r\n" * 4096
    ),
    "WebSocket fragments": Attack(websocket, _FRAGMENT + _CONTINUATION * 4096),
    "WebSocket pings": Attack(websocket, (b"\x89\x80" + _MASK) * 4096),
}
# These need more than bytes.
OTHERS = ("TLS handshakes", "TLS key updates", "loris")


class Report:
    """What the clients did."""

    def __init__(self) -> None:
        self.connections = 0
        self.bytes = 0
        self.lives: list[float] = []  # seconds until the server closed each slow-loris connection
        self.open = 0

    def print(self) -> None:
        """Print it as one line of JSON."""
        print(json.dumps(vars(self)), flush=True)


def attack(kind: Attack, port: int, count: int) -> Report:
    """Attack with ``count`` connections until standard input ends."""
    report = Report()
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    absent = list(range(count))  # the numbers of the clients that have to connect
    next_connect = 0.0
    is_ready = False
    buffer = bytearray(1 << 18)
    while True:
        if absent and time.monotonic() >= next_connect:
            next_connect = time.monotonic() + _RETRY_SECONDS
            for number in absent[:_CONNECTS]:
                sock = socket.create_connection((_HOST, port))
                sock.setblocking(False)
                report.connections += 1
                data = [kind.opening(number) or kind.request, number]
                selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE, data)
            del absent[:_CONNECTS]
        if not absent and not is_ready:
            is_ready = True
            print(json.dumps({"ready": count}), flush=True)
        for key, mask in selector.select(_RETRY_SECONDS if absent else None):
            if key.fileobj == 0:
                return report
            sock = key.fileobj  # type: ignore[assignment]
            is_over = False
            try:
                if mask & selectors.EVENT_READ:
                    is_over = not sock.recv_into(buffer) or not kind.request
                if mask & selectors.EVENT_WRITE and not is_over:
                    # Continue a partly sent request where it stopped: the framing stays intact.
                    sent = sock.send(key.data[0])
                    report.bytes += sent
                    key.data[0] = key.data[0][sent:] or kind.request
                    if not key.data[0]:
                        selector.modify(sock, selectors.EVENT_READ, key.data)
            except BlockingIOError:
                pass
            except OSError:
                is_over = True
            if is_over:
                selector.unregister(sock)
                sock.close()
                absent.append(key.data[1])


def handshakes(port: int, count: int) -> Report:
    """Start TLS handshakes on ``count`` connections at a time, and leave after the server's answer."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        client_context().wrap_bio(incoming, outgoing).do_handshake()
    except ssl.SSLWantReadError:
        pass
    first = outgoing.read()  # the server cannot see that all are the same
    return attack(Attack(lambda _number: first), port, count)


def key_updates(port: int, count: int) -> Report:
    """Send TLS key updates on ``count`` connections, with OpenSSL's test client: each line K is one."""
    report = Report()

    def connect() -> subprocess.Popen[bytes]:
        report.connections += 1
        return subprocess.Popen(
            [shutil.which("openssl") or "openssl", "s_client", "-connect", f"{_HOST}:{port}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    clients = [connect() for _ in range(count)]
    print(json.dumps({"ready": count}), flush=True)
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    while not selector.select(0.001):
        for place, client in enumerate(clients):
            try:
                assert client.stdin is not None
                os.set_blocking(client.stdin.fileno(), False)
                report.bytes += os.write(client.stdin.fileno(), b"K\n" * 16)
            except BlockingIOError:
                pass
            except OSError:
                client.wait()
                clients[place] = connect()
    for client in clients:
        client.kill()
        client.wait()
    return report


def loris(port: int, count: int) -> Report:
    """Hold slow-loris connections open."""
    report = Report()
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    opened: dict[socket.socket, float] = {}
    next_byte = 0.0
    while True:
        for _ in range(min(_CONNECTS, count - report.connections)):
            sock = socket.create_connection((_HOST, port))
            sock.setblocking(False)
            selector.register(sock, selectors.EVENT_READ, iter(_LORIS))
            opened[sock] = time.monotonic()
            report.connections += 1
            if report.connections == count:
                print(json.dumps({"ready": count}), flush=True)
        ready: list[Any] = selector.select(0.01)
        for key, _ in ready:
            if key.fileobj == 0:
                report.open = len(opened)
                return report
            sock = key.fileobj
            try:
                closed = not sock.recv(4096)
            except OSError:
                closed = True
            if closed:
                report.lives.append(time.monotonic() - opened.pop(sock))
                selector.unregister(sock)
                sock.close()
        if time.monotonic() >= next_byte:
            next_byte = time.monotonic() + _BYTE_SECONDS
            for key in tuple(selector.get_map().values()):
                if key.fileobj in opened:
                    report.bytes += _send_next(key.fileobj, key.data)


def _send_next(sock: Any, data: Iterator[int]) -> int:
    try:
        return int(sock.send(bytes([next(data)])))
    except (OSError, StopIteration):
        return 0


def main() -> int:
    """Run the kind of client that the arguments name."""
    kind, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.nice(10)  # the normal senders, on the same core, come first: the latency is the server's
    if kind in ATTACKS:
        report = attack(ATTACKS[kind], port, count)
    else:
        others = dict(zip(OTHERS, (handshakes, key_updates, loris), strict=True))
        report = others[kind](port, count)
    report.print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
