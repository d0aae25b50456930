"""Abusive clients: flooders and slow-loris connections, in one process, until the end of its input.

Usage: ``abusive_clients.py flood PORT COUNT`` or ``abusive_clients.py loris PORT COUNT``. A flooder sends as
much as the server reads. A slow-loris connection sends one byte of its first header each second. At the end,
one line of JSON tells after how many seconds the server closed each of them.
"""

from __future__ import annotations

import json
import resource
import selectors
import socket
import sys
import time
from typing import Any

from selchat.wire.frames import encode_frame

_HOST = "127.0.0.1"
_FLOOD = encode_frame(b"x" * 64) * 64  # bytes of one send of a flooder
_LORIS = b"5" + b" " * 8  # a header without its last byte
_BYTE_SECONDS = 1.0  # between two bytes of a slow-loris connection
_CONNECTS = 50  # connections to open between two polls of the others


def flood(port: int, count: int) -> None:
    """Flood the server with classic clients, which have no window."""
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    for number in range(count):
        sock = socket.create_connection((_HOST, port))
        sock.sendall(encode_frame(b"flooder%d" % number))
        sock.setblocking(False)
        selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE, [_FLOOD])
    buffer = bytearray(1 << 18)
    print(json.dumps({"ready": count}), flush=True)
    while True:
        for key, mask in selector.select():
            if key.fileobj == 0:
                return
            sock = key.fileobj  # type: ignore[assignment]
            try:
                if mask & selectors.EVENT_READ and not sock.recv_into(buffer):
                    selector.unregister(sock)
                elif mask & selectors.EVENT_WRITE:
                    # Continue a partly sent frame where it stopped: a flooder breaks no framing.
                    sent = sock.send(key.data[0])
                    key.data[0] = key.data[0][sent:] or _FLOOD
            except BlockingIOError:
                pass
            except OSError:
                selector.unregister(sock)


def loris(port: int, count: int) -> None:
    """Hold slow-loris connections open."""
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    opened: dict[socket.socket, float] = {}
    lives: list[float] = []
    next_byte = 0.0
    while True:
        for _ in range(min(_CONNECTS, count - len(opened) - len(lives))):
            sock = socket.create_connection((_HOST, port))
            sock.setblocking(False)
            selector.register(sock, selectors.EVENT_READ, iter(_LORIS))
            opened[sock] = time.monotonic()
            if len(opened) + len(lives) == count:
                print(json.dumps({"ready": count}), flush=True)
        ready: list[Any] = selector.select(0.01)
        for key, _ in ready:
            if key.fileobj == 0:
                print(json.dumps({"lives": lives, "open": len(opened)}), flush=True)
                return
            sock = key.fileobj
            try:
                closed = not sock.recv(4096)
            except OSError:
                closed = True
            if closed:
                lives.append(time.monotonic() - opened.pop(sock))
                selector.unregister(sock)
                sock.close()
        if time.monotonic() >= next_byte:
            next_byte = time.monotonic() + _BYTE_SECONDS
            for key in tuple(selector.get_map().values()):
                if key.fileobj in opened:
                    try:
                        key.fileobj.send(bytes([next(key.data)]))
                    except (OSError, StopIteration):
                        pass


def main() -> int:
    """Run the kind of client that the arguments name."""
    kind, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    {"flood": flood, "loris": loris}[kind](port, count)
    return 0


if __name__ == "__main__":
    sys.exit(main())
