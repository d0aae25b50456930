"""A log that lasts as long as the process and is bounded in size. It never fails."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from selchat.config.settings import MIB
from selchat.events import Said
from selchat.histogram import COMMIT_BUCKETS, Histogram
from selchat.log.port import Sent
from selchat.log.retention import Retention

_MAX_KEPT = 64 * MIB  # characters of all rooms, counted as in `MemoryLog`; about five bytes each
_MAX_SENT = 4096  # messages of one client that are remembered by their ids: what docs/protocol.rst promises
_MAX_SENT_IN_ALL = 250_000  # of all clients, at about 200 bytes each
_OVERHEAD = 256  # what a message takes besides its body, in bytes


class MemoryLog:
    """``limit``: characters that are kept for each room, or its share of `_MAX_KEPT` where there are many;
    what the newest commit brought always is.

    A message counts as its body and 256 characters, so that empty ones are not kept without limit.
    """

    def __init__(self, limit: int) -> None:
        self._id = secrets.token_hex(8)
        self.commit_seconds = Histogram(COMMIT_BUCKETS)
        self._limit = limit
        self._rooms: dict[str, _RoomLog] = {}
        self._records: dict[str, dict[str, str]] = {}
        self._sent = _SentMessages()
        # What is not committed: rooms with messages, messages by client, and how many records were put. These
        # can be read at once and need not be taken back.
        self._staged: list[_RoomLog] = []
        self._staged_sent: list[tuple[bytes, list[Said]]] = []
        self._staged_records = 0

    @property
    def id(self) -> str:
        """Names this log: another one at each start."""
        return self._id

    # -- writing ---------------------------------------------------------------------------------------

    def append(
        self,
        room: str,
        author: str,
        bodies: Sequence[str],
        at: float,
        ids: Sequence[str] = (),
        ciphers: Sequence[str | None] = (),
        client: bytes | None = None,
    ) -> list[Said]:
        """Stage messages and return them, each with its ``seq``; see `Log.append`."""
        messages: list[Said] = []
        if not bodies:
            return messages
        log = self._rooms.get(room)
        if log is None:
            log = self._rooms[room] = _RoomLog()
        new = tuple.__new__  # Said's own constructor calls just this, in twice the time
        seq = log.staged_seq
        if ids or ciphers:
            for body, id, cipher in zip(
                bodies, ids or [""] * len(bodies), ciphers or [None] * len(bodies), strict=True
            ):
                seq += 1
                messages.append(new(Said, (room, seq, author, body, at, id, cipher)))
        else:
            for body in bodies:
                seq += 1
                messages.append(new(Said, (room, seq, author, body, at, "", None)))
        if not log.staged:
            self._staged.append(log)
        log.staged_seq = seq
        log.staged += messages
        if client is not None:
            self._staged_sent.append((client, messages))
        return messages

    def put(self, kind: str, key: str, value: str | None) -> None:
        """Keep a record, in the place of the one that was there; None: forget it."""
        records = self._records.setdefault(kind, {})
        if value is None:
            records.pop(key, None)
        else:
            records[key] = value
        self._staged_records += 1

    @property
    def staged(self) -> bool:
        """Whether there is something to commit."""
        return bool(self._staged or self._staged_records)

    def commit(self) -> None:
        """Store all that is staged, and forget what is over the limit."""
        limit = min(self._limit, _MAX_KEPT // max(1, len(self._rooms)))
        for log in self._staged:
            log.commit(limit)
        self._staged.clear()
        for client, messages in self._staged_sent:
            self._sent.add(client, messages)
        self._staged_sent.clear()
        self._staged_records = 0

    @property
    def size(self) -> int:
        """Bytes that the messages take, or about so: characters, and what there is beside them."""
        return sum(log.size for log in self._rooms.values())

    def set_retention(self, retention: Retention) -> None:
        """It has a limit of its own."""

    def expire(self, now: float) -> bool:
        """Forget nothing: the limit is kept by `commit`."""
        return False

    def close(self) -> None:
        """There is nothing to give back."""

    # -- reading ---------------------------------------------------------------------------------------

    def last_seq(self, room: str) -> int:
        """Return the ``seq`` of the newest message of that room; 0: there was none."""
        log = self._rooms.get(room)
        return 0 if log is None else log.seq

    def after(self, room: str, seq: int, limit: int, size: int) -> list[Said]:
        """Return the oldest kept messages above ``seq``, oldest first; see `Log.after`."""
        log = self._rooms.get(room)
        found: list[Said] = []
        for block in log.blocks if log is not None else ():
            if block[-1].seq > seq:
                found += block[max(0, seq + 1 - block[0].seq) :]
                if len(found) >= limit:
                    break
        return _fitting(found, limit, size)

    def before(self, room: str, seq: int | None, limit: int, size: int) -> list[Said]:
        """Return the newest messages below ``seq``, oldest first; see `Log.before`."""
        log = self._rooms.get(room)
        found: list[Said] = []
        for block in reversed(log.blocks if log is not None else ()):
            found += reversed(block if seq is None else block[: max(0, seq - block[0].seq)])
            if len(found) >= limit:
                break
        return _fitting(found, limit, size)[::-1]

    def rooms(self) -> Sequence[str]:
        """Return the rooms that have a message."""
        return [room for room, log in self._rooms.items() if log.blocks]

    def sent(self, client: bytes, limit: int) -> list[Sent]:
        """Return the newest messages of that client, ``limit`` at most, oldest first."""
        return self._sent.of(client, limit)

    def records(self, kind: str) -> Mapping[str, str]:
        """Return all records of that kind, by key, staged ones included."""
        return dict(self._records.get(kind, {}))


class _RoomLog:
    """The messages of one room, in blocks of one commit each: forgetting them one by one would cost as much
    as storing them.
    """

    __slots__ = ("blocks", "seq", "size", "staged", "staged_seq")

    def __init__(self) -> None:
        self.seq = 0  # of the newest message that is committed
        self.staged_seq = 0  # of the newest one
        self.staged: list[Said] = []
        self.blocks: deque[list[Said]] = deque()
        self.size = 0

    def commit(self, limit: int) -> None:
        self.blocks.append(self.staged)
        self.size += _size(self.staged)
        self.staged = []
        self.seq = self.staged_seq
        while self.size > limit and len(self.blocks) > 1:
            self.size -= _size(self.blocks.popleft())


class _SentMessages:
    """What clients have sent, longer than the messages are kept: those who have been away send them again.

    When there are too many, the clients that have been silent for the longest time are forgotten first.
    """

    def __init__(self) -> None:
        self._clients: dict[bytes, deque[Sent]] = {}  # those who spoke last at the end
        self._total = 0

    def add(self, client: bytes, messages: Iterable[Said]) -> None:
        sent = self._clients.pop(client, None)
        if sent is None:
            sent = deque(maxlen=_MAX_SENT)
        self._clients[client] = sent
        self._total -= len(sent)
        sent.extend([Sent(id, room, seq, at) for room, seq, _, _, at, id, _ in messages])
        self._total += len(sent)
        while self._total > _MAX_SENT_IN_ALL:
            self._total -= len(self._clients.pop(next(iter(self._clients))))

    def of(self, client: bytes, limit: int) -> list[Sent]:
        sent = self._clients.get(client, ())
        return list(sent)[max(0, len(sent) - max(0, limit)) :]


def _fitting(messages: list[Said], limit: int, size: int) -> list[Said]:
    """Return the first ``limit`` of them, as far as ``size`` characters of bodies go, but one at least."""
    del messages[max(0, limit) :]
    for place, message in enumerate(messages):
        size -= len(message.body)
        if size < 0 and place:
            return messages[:place]
    return messages


def _size(block: list[Said]) -> int:
    return sum([len(message.body) for message in block]) + _OVERHEAD * len(block)
