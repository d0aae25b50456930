"""A log that lasts as long as the process and is bounded in size."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from selchat.events import Said

_OVERHEAD = 256  # what a message takes besides its body, in bytes


class MemoryLog:
    """``limit``: characters that are kept for each room; what the newest commit brought always is.

    A message counts as its body and 256 characters, so that empty ones are not kept without limit.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rooms: dict[str, _RoomLog] = {}
        self._staged: list[_RoomLog] = []  # rooms with messages that are not committed

    def append(self, room: str, author: str, bodies: Sequence[str], at: float) -> list[Said]:
        """Stage messages and return them, each with its ``seq``."""
        log = self._rooms.get(room)
        if log is None:
            log = self._rooms[room] = _RoomLog()
        if not log.staged:
            self._staged.append(log)
        messages: list[Said] = []
        new = tuple.__new__  # Said's own constructor calls just this, in twice the time
        seq = log.seq
        for body in bodies:
            seq += 1
            messages.append(new(Said, (room, seq, author, body, at)))
        log.seq = seq
        log.staged += messages
        return messages

    def commit(self) -> None:
        """Store all that is staged, and forget what is over the limit."""
        for log in self._staged:
            log.commit(self._limit)
        self._staged.clear()

    def last(self, room: str, limit: int) -> Sequence[Said]:
        """Return the newest stored messages of that room, ``limit`` at most, oldest first."""
        newest: list[Said] = []
        log = self._rooms.get(room)
        for block in reversed(log.blocks if log is not None else ()):
            newest.extend(reversed(block))
            if len(newest) >= limit:
                break
        return newest[:limit][::-1]


class _RoomLog:
    """The messages of one room, in blocks of one commit each: forgetting them one by one would cost as much
    as storing them.
    """

    __slots__ = ("_size", "blocks", "seq", "staged")

    def __init__(self) -> None:
        self.seq = 0
        self.staged: list[Said] = []
        self.blocks: deque[list[Said]] = deque()
        self._size = 0

    def commit(self, limit: int) -> None:
        self.blocks.append(self.staged)
        self._size += _size(self.staged)
        self.staged = []
        while self._size > limit and len(self.blocks) > 1:
            self._size -= _size(self.blocks.popleft())


def _size(block: list[Said]) -> int:
    return sum([len(message.body) for message in block]) + _OVERHEAD * len(block)
