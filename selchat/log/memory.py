"""A log that lasts as long as the process and is bounded in size."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice

from selchat.events import Said


class MemoryLog:
    """``limit``: characters that are kept for each room; the newest message always is."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rooms: dict[str, _RoomLog] = {}
        self._staged: list[Said] = []

    def append(self, room: str, author: str, body: str, at: float) -> Said:
        """Stage a message and return it with its ``seq``."""
        log = self._rooms.get(room)
        if log is None:
            log = self._rooms[room] = _RoomLog()
        log.seq += 1
        said = Said(room, log.seq, author, body, at)
        self._staged.append(said)
        return said

    def commit(self) -> None:
        """Store all that is staged, and forget what is over the limit."""
        for said in self._staged:
            log = self._rooms[said.room]
            log.kept.append(said)
            log.size += _size(said)
            while log.size > self._limit and len(log.kept) > 1:
                log.size -= _size(log.kept.popleft())
        self._staged.clear()

    def last(self, room: str, limit: int) -> Sequence[Said]:
        """Return the newest stored messages of that room, ``limit`` at most, oldest first."""
        log = self._rooms.get(room)
        if log is None:
            return []
        newest = list(islice(reversed(log.kept), limit))
        newest.reverse()
        return newest


class _RoomLog:
    __slots__ = ("kept", "seq", "size")

    def __init__(self) -> None:
        self.seq = 0
        self.kept: deque[Said] = deque()
        self.size = 0


def _size(said: Said) -> int:
    return len(said.author) + len(said.body)
