"""Clients that mean no good, in a process of their own, until the end of its input.

Run as ``abusers.py flood PORT COUNT`` or ``abusers.py loris PORT COUNT``. A flooder says as much as the
server reads. A loris says a byte of its first header each second and never more; at the end, one line of JSON
says after how many seconds the server has closed each.
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
_FLOOD = encode_frame(b"x" * 64) * 64  # what a flooder offers at a time
_LORIS = b"5" + b" " * 8  # a header without its last byte, and never a payload
_BEAT = 1.0  # seconds between two bytes of a loris
_CONNECTS = 50  # connections that are made between two looks at the others


def flood(port: int, count: int) -> None:
    """Flooders on the paper's wire: they have no window that they would keep to."""
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
                    # What was taken in part goes on where it was: a flooder breaks no framing.
                    sent = sock.send(key.data[0])
                    key.data[0] = key.data[0][sent:] or _FLOOD
            except BlockingIOError:
                pass
            except OSError:
                selector.unregister(sock)


def loris(port: int, count: int) -> None:
    """Slow ones."""
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    born: dict[socket.socket, float] = {}
    lives: list[float] = []
    next_beat = 0.0
    while True:
        for _ in range(min(_CONNECTS, count - len(born) - len(lives))):
            sock = socket.create_connection((_HOST, port))
            sock.setblocking(False)
            selector.register(sock, selectors.EVENT_READ, iter(_LORIS))
            born[sock] = time.monotonic()
            if len(born) + len(lives) == count:
                print(json.dumps({"ready": count}), flush=True)
        ready: list[Any] = selector.select(0.01)
        for key, _ in ready:
            if key.fileobj == 0:
                print(json.dumps({"lives": lives, "open": len(born)}), flush=True)
                return
            sock = key.fileobj
            try:
                gone = not sock.recv(4096)
            except OSError:
                gone = True
            if gone:
                lives.append(time.monotonic() - born.pop(sock))
                selector.unregister(sock)
                sock.close()
        if time.monotonic() >= next_beat:
            next_beat = time.monotonic() + _BEAT
            for key in tuple(selector.get_map().values()):
                if key.fileobj in born:
                    try:
                        key.fileobj.send(bytes([next(key.data)]))
                    except (OSError, StopIteration):
                        pass


def main() -> int:
    """Do as the arguments say."""
    what, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    {"flood": flood, "loris": loris}[what](port, count)
    return 0


if __name__ == "__main__":
    sys.exit(main())
