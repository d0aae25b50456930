"""The floor: a bare loop of ``send`` calls, the minimum cost for any server.

It knows no protocol. It counts the bytes from the sender, and for every message in them each receiver is due
one delivery. After each read it sends all due deliveries as one chunk, with one ``send`` for each receiver:
the same chunks to the same number of loopback sockets as selchat, and nothing else.

Usage: floor.py PUBLISH_SIZE DELIVERY
"""

from __future__ import annotations

import socket
import sys

publish_size = int(sys.argv[1])  # bytes that the sender sends for a message
delivery = sys.argv[2].encode()  # bytes that a receiver gets for a message

listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(4096)
print(f"Listening on 127.0.0.1:{listener.getsockname()[1]}", flush=True)

receivers = []
while True:
    peer, _ = listener.accept()
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if b"sender" in peer.recv(4096):
        break
    receivers.append(peer)

sends = [receiver.send for receiver in receivers]
chunks: dict[int, bytes] = {}
unfinished = 0
while data := peer.recv(65536):
    count, unfinished = divmod(unfinished + len(data), publish_size)
    chunk = chunks.get(count)
    if chunk is None:
        chunk = chunks[count] = delivery * count
    if chunk:
        for send in sends:
            send(chunk)
