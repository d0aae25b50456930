"""Fake sockets and outbox owners."""

from __future__ import annotations

from collections import deque


class FakeSocket:
    """Takes as many bytes as there is room for, and fewer in one call where ``script`` says so."""

    def __init__(self, room: int | None = None) -> None:
        self.room = room  # bytes that the peer's side still takes; None: any number
        self.script: deque[int] = deque()  # the most that each of the next calls takes
        self.dead = False
        self.refused = False  # whether it was tried after the death
        self.taken = bytearray()
        self.calls = 0
        self.unsent = 0  # pending bytes, as in a TlsStream

    def send(self, data: bytes | memoryview) -> int:
        return self._take(bytes(data))

    def sendmsg(self, buffers: list[memoryview]) -> int:
        assert 2 <= len(buffers) <= 64
        return self._take(b"".join(buffers))

    def _take(self, data: bytes) -> int:
        assert data, "a call for nothing"
        self.calls += 1
        if self.dead:
            self.refused = True
            raise ConnectionResetError(104, "Connection reset by peer")
        size = len(data)
        if self.room is not None:
            if not self.room:
                raise BlockingIOError(11, "Resource temporarily unavailable")
            size = min(size, self.room)
        if self.script:
            size = min(size, self.script.popleft())
        if self.room is not None:
            self.room -= size
        self.taken += data[:size]
        return size


class FakeOwner:
    """An outbox's owner that records its calls."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.errors: list[Exception] = []

    def schedule_flush(self) -> None:
        self.asked.append("flush")

    def watch_writable(self, enabled: bool) -> None:
        self.asked.append("writable" if enabled else "not writable")

    def on_drained(self) -> None:
        self.asked.append("sent all")

    def on_send_error(self, error: Exception) -> None:
        self.errors.append(error)
