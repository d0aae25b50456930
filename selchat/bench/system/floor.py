"""The floor: a bare loop of sends, the minimum cost of a fan-out for any server.

It runs in its own process, like the server. The first connection is the sender. The floor passes its bytes to
all other connections with one blocking ``send`` each: no framing, no selector, no state. The sender writes
complete deliveries, as many bytes as in a batch of the server under test, and the floor reads them in pieces
as large as the chunks of that server. So its readers receive the same bytes in the same pieces, and the same
code reads them.

The floor ends when the sender or a reader is gone.
"""

from __future__ import annotations

import socket
import sys
from fractions import Fraction
from itertools import cycle, pairwise

_READ_SIZE = 64 * 1024  # bytes, if there are no batches
_CONNECT_SECONDS = 60.0  # until all clients have connected


def serve(sock: socket.socket, readers: int, size: int, chunks: Fraction) -> None:
    """Accept the sender and that many readers, and relay each batch of ``size`` bytes in ``chunks``.

    ``chunks`` is an average. With ``size`` 0, each read is a chunk.
    """
    sock.settimeout(_CONNECT_SECONDS)
    sender = sock.accept()[0]
    others = [sock.accept()[0] for _ in range(readers)]
    for end in (sender, *others):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end.settimeout(None)
    sends = [other.send for other in others]
    receive = sender.recv
    sizes = cycle(chunk_sizes(size, chunks) if size else [_READ_SIZE])
    flags = socket.MSG_WAITALL if size else 0
    try:
        while chunk := receive(next(sizes), flags):
            for send in sends:
                send(chunk)  # sends all of it, because the socket is blocking
    except ConnectionError:
        pass  # the load generator has ended
    for end in (sender, *others):
        end.close()


def chunk_sizes(size: int, chunks: Fraction) -> list[int]:
    """Return chunk sizes for as many batches as give that average; 5/2: two chunks, then three."""
    sizes: list[int] = []
    for number in range(chunks.denominator):
        count = int(chunks * (number + 1)) - int(chunks * number)
        edges = [size * part // count for part in range(count + 1)]
        sizes += [end - start for start, end in pairwise(edges)]
    return sizes


def main() -> None:
    """Take the readers, the bytes of a batch and its chunks as arguments; print the port."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(4096)
        print(sock.getsockname()[1], flush=True)
        try:
            serve(sock, int(sys.argv[1]), int(sys.argv[2]), Fraction(sys.argv[3]))
        except (TimeoutError, KeyboardInterrupt):
            return


if __name__ == "__main__":
    main()
