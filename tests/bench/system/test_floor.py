"""The floor relays everything, in chunks of the requested size."""

from __future__ import annotations

import socket
import threading
from fractions import Fraction

from selchat.bench.system.floor import chunk_sizes, serve


def test_floor_relays_everything_to_its_readers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        floor = threading.Thread(target=serve, args=(listener, 1, 10, Fraction(3)))
        floor.start()
        with (
            socket.create_connection(listener.getsockname()) as sender,
            socket.create_connection(listener.getsockname()) as reader,
        ):
            sender.sendall(b"0123456789abcdefghij")
            data = b""
            while len(data) < 20:
                data += reader.recv(100)
            assert data == b"0123456789abcdefghij"
            sender.shutdown(socket.SHUT_WR)
            assert reader.recv(1) == b""
        floor.join()


def test_chunk_sizes_have_the_requested_average() -> None:
    assert chunk_sizes(10, Fraction(3)) == [3, 3, 4]
    assert chunk_sizes(12, Fraction(5, 2)) == [6, 6, 4, 4, 4]
    assert chunk_sizes(10, Fraction(1)) == [10]
