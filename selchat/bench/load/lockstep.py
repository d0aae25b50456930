"""Agreement between the workers that make one load in lockstep.

The first worker is the leader. The others report to it that all of their readers have every message, and it
tells them when the next batch begins.
"""

from __future__ import annotations

import socket
import struct

_BATCH, _END = b"b", b"e"
_LINK = struct.Struct("=cQ")  # kind, and a number of messages


class Lockstep:
    """The links of one worker: from the leader to all others, or from another worker to the leader."""

    def __init__(self, descriptors: tuple[int, ...], leader: bool) -> None:
        self.leader = leader
        self.links = [socket.socket(fileno=fd) for fd in descriptors]
        self.batches = 0  # batch messages received over all links
        self.final_count: int | None = None  # messages in all, once the leader has ended the load
        self.ended = False  # another worker is gone
        self.awaited = 0  # batch messages that the leader has waited for
        for link in self.links:
            link.setblocking(False)

    def read(self, link: socket.socket) -> None:
        """Read one message."""
        data = link.recv(_LINK.size)
        if not data:
            self.ended = True
            return
        kind, count = _LINK.unpack(data)
        if kind == _BATCH:
            self.batches += 1
        else:
            self.final_count = count

    def announce_batch(self, count: int = 0) -> None:
        """Tell the others: this batch is complete, or the next one begins."""
        self._send(_BATCH, count)

    def announce_end(self, count: int) -> None:
        """Tell the others that the load ends after ``count`` messages in all."""
        self._send(_END, count)

    def take_final_count(self) -> int | None:
        """Return and reset `final_count`."""
        count, self.final_count = self.final_count, None
        return count

    def close(self) -> None:
        """Close all links."""
        for link in self.links:
            link.close()

    def _send(self, kind: bytes, count: int) -> None:
        for link in self.links:
            link.send(_LINK.pack(kind, count))
