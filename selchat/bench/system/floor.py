"""The floor: the least that any server must pay for a fan-out. A process of its own, like the server.

The talker is the first connection. What comes from it is handed to all others with one blocking ``send``
each: no framing, no selector, no state. The talker writes what a server would have relayed, so many
bytes in a turn, and it is read in pieces as large as the chunks that the server under test has formed: the
readers get the same bytes in the same pieces, and are read by the same code as the server's.

It ends when the talker does, or when a reader is gone.
"""

from __future__ import annotations

import socket
import sys
from fractions import Fraction
from itertools import cycle, pairwise

_READ_SIZE = 64 * 1024  # bytes, where there are no turns
_PATIENCE = 60.0  # seconds for all to connect


def serve(sock: socket.socket, readers: int, turn: int, chunks: Fraction) -> None:
    """Accept the talker and that many readers, and relay each ``turn`` bytes in ``chunks``, on average.

    With ``turn`` 0, whatever has come is a chunk.
    """
    sock.settimeout(_PATIENCE)
    talker = sock.accept()[0]
    others = [sock.accept()[0] for _ in range(readers)]
    for end in (talker, *others):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end.settimeout(None)
    sends = [other.send for other in others]
    receive = talker.recv
    sizes = cycle(chunk_sizes(turn, chunks) if turn else [_READ_SIZE])
    flags = socket.MSG_WAITALL if turn else 0
    try:
        while chunk := receive(next(sizes), flags):
            for send in sends:
                send(chunk)  # takes all of it: the socket is a blocking one
    except ConnectionError:
        pass  # the generator has ended
    for end in (talker, *others):
        end.close()


def chunk_sizes(turn: int, chunks: Fraction) -> list[int]:
    """Return the sizes for so many turns that ``chunks`` is their average: with 5/2, for two and three."""
    sizes: list[int] = []
    for number in range(chunks.denominator):
        count = int(chunks * (number + 1)) - int(chunks * number)
        edges = [turn * part // count for part in range(count + 1)]
        sizes += [end - start for start, end in pairwise(edges)]
    return sizes


def main() -> None:
    """Take the number of readers, the bytes of a turn and its chunks; print the port that it listens on."""
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
