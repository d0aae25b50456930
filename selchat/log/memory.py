"""In-memory log of bounded size. It ends with the process, and never fails."""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence

from selchat.events import Said
from selchat.histogram import COMMIT_BUCKETS, Histogram
from selchat.limits import (
    MAX_LOG_ROOMS,
    MAX_LOGGED_IDS,
    MAX_MEMORY_LOG_IDS,
    MAX_MEMORY_LOG_SEQS,
    MEMORY_LOG_SIZE,
    MESSAGE_OVERHEAD,
)
from selchat.log.port import Sent
from selchat.log.retention import Retention


class MemoryLog:
    """Keeps about ``limit`` characters for each room, and at least its last commit.

    If there are many rooms, each gets its share of ``max_total`` instead. A message counts as its body and
    256 characters, so that even empty messages reach the limit. ``max_ids`` and ``max_total_ids`` limit the
    ids of one client and of all clients that `sent` knows.

    If more than ``max_rooms`` rooms have messages, those that were used longest ago lose theirs. They keep
    their last ``seq``: each of the last ``max_seqs`` ones its own, and all others the highest of theirs. So
    a room's numbers may have a gap, or start above 1, but never repeat.
    """

    def __init__(
        self,
        limit: int,
        *,
        max_total: int = MEMORY_LOG_SIZE,
        max_ids: int = MAX_LOGGED_IDS,
        max_total_ids: int = MAX_MEMORY_LOG_IDS,
        max_rooms: int = MAX_LOG_ROOMS,
        max_seqs: int = MAX_MEMORY_LOG_SEQS,
    ) -> None:
        self._id = secrets.token_hex(8)
        self.commit_seconds = Histogram(COMMIT_BUCKETS)
        self._limit = limit
        self._max_total = max_total
        self._max_rooms = max_rooms
        self._max_seqs = max_seqs
        self._rooms: dict[str, _RoomLog] = {}
        self._last_seqs: OrderedDict[str, int] = OrderedDict()  # of rooms without messages, the oldest first
        self._floor = 0  # highest last ``seq`` of all other rooms
        self._commits = 0
        self._records: dict[str, dict[str, str]] = {}
        self._sent = _SentMessages(max_ids, max_total_ids)
        # Uncommitted: rooms with messages, messages by client, and the number of changed records. Records
        # need no staging, because this log never has to take one back.
        self._staged: list[_RoomLog] = []
        self._staged_sent: list[tuple[bytes, list[Said]]] = []
        self._staged_records = 0

    @property
    def id(self) -> str:
        """A unique id of this log, new at each start."""
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
        client_id: bytes | None = None,
    ) -> list[Said]:
        """Stage messages; see `Log.append`."""
        messages: list[Said] = []
        if not bodies:
            return messages
        log = self._rooms.get(room)
        if log is None:
            log = self._rooms[room] = _RoomLog(self._last_seqs.pop(room, self._floor))
        new = tuple.__new__  # Said's own constructor does the same in twice the time
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
        if client_id is not None:
            self._staged_sent.append((client_id, messages))
        return messages

    def put(self, kind: str, key: str, value: str | None) -> None:
        """Store a record, replacing the old one; None deletes it."""
        records = self._records.setdefault(kind, {})
        if value is None:
            records.pop(key, None)
        else:
            records[key] = value
        self._staged_records += 1

    @property
    def staged(self) -> bool:
        """Whether anything is staged."""
        return bool(self._staged or self._staged_records)

    def commit(self) -> None:
        """Store everything that is staged; delete messages over the limit."""
        self._commits += 1
        limit = min(self._limit, self._max_total // max(1, len(self._rooms)))
        for log in self._staged:
            log.commit(limit, self._commits)
        self._staged.clear()
        if len(self._rooms) > self._max_rooms:
            self._empty_oldest()
        for client_id, messages in self._staged_sent:
            self._sent.add(client_id, messages)
        self._staged_sent.clear()
        self._staged_records = 0

    def _empty_oldest(self) -> None:
        """Delete the messages of the rooms that were used longest ago, never those of this commit.

        It frees a twentieth of the rooms at a time, because it sorts them: 5 ms for 10,000.
        """
        oldest = sorted(
            (log.last_commit, room) for room, log in self._rooms.items() if log.last_commit < self._commits
        )
        kept = self._max_rooms - self._max_rooms // 20
        for _, room in oldest[: len(self._rooms) - kept]:
            self._last_seqs[room] = self._rooms.pop(room).seq
        while len(self._last_seqs) > self._max_seqs:
            _, seq = self._last_seqs.popitem(last=False)
            self._floor = max(self._floor, seq)

    @property
    def can_write(self) -> bool:
        """Return True: a commit never fails."""
        return True

    @property
    def free_disk(self) -> int | None:
        """Return None: there is no disk."""
        return None

    @property
    def size(self) -> int:
        """Approximate size of the messages in bytes: characters and overhead."""
        return sum(log.size for log in self._rooms.values())

    def set_retention(self, retention: Retention) -> None:
        """Do nothing: the limit of this log is fixed."""

    def expire(self, now: float) -> bool:
        """Do nothing: `commit` enforces the limit."""
        return False

    def delete(self, room: str, seq: int) -> bool:
        """Delete the room's messages up to ``seq``, in whole commits; return False."""
        log = self._rooms.get(room)
        if log is not None:
            log.delete(seq)
        return False

    def close(self) -> None:
        """Do nothing: this log has no resources."""

    # -- reading ---------------------------------------------------------------------------------------

    def last_seq(self, room: str) -> int:
        """Return the ``seq`` of the newest message of the room; 0: the room never had one."""
        log = self._rooms.get(room)
        return self._last_seqs.get(room, self._floor) if log is None else log.seq

    def after(self, room: str, seq: int, limit: int, size: int) -> list[Said]:
        """Return the oldest messages above ``seq``, oldest first; see `Log.after`."""
        log = self._rooms.get(room)
        found: list[Said] = []
        for block in log.blocks if log is not None else ():
            if block[-1].seq > seq:
                found += block[max(0, seq + 1 - block[0].seq) :]
                if len(found) >= limit:
                    break
        return _limited(found, limit, size)

    def before(self, room: str, seq: int | None, limit: int, size: int) -> list[Said]:
        """Return the newest messages below ``seq``, oldest first; see `Log.before`."""
        log = self._rooms.get(room)
        found: list[Said] = []
        for block in reversed(log.blocks if log is not None else ()):
            found += reversed(block if seq is None else block[: max(0, seq - block[0].seq)])
            if len(found) >= limit:
                break
        return _limited(found, limit, size)[::-1]

    def rooms(self) -> Sequence[str]:
        """Return the rooms that have messages, the one that was used last at the end."""
        used = [(log.blocks[-1][-1].at, room) for room, log in self._rooms.items() if log.blocks]
        return [room for _, room in sorted(used)]

    def sent(self, client_id: bytes, limit: int) -> list[Sent]:
        """Return the newest messages of the client, at most ``limit``, oldest first."""
        return self._sent.last(client_id, limit)

    def record(self, kind: str, key: str) -> str | None:
        """Return a record; None: there is none."""
        return self._records.get(kind, {}).get(key)

    def records(self, kind: str) -> Mapping[str, str]:
        """Return all records of a kind, by key, including staged ones."""
        return dict(self._records.get(kind, {}))


class _RoomLog:
    """The messages of one room, in one block for each commit.

    Deleting single messages would cost as much as storing them.
    """

    __slots__ = ("blocks", "last_commit", "seq", "size", "staged", "staged_seq")

    def __init__(self, seq: int) -> None:
        self.last_commit = 0  # its number
        self.seq = seq  # of the newest committed message
        self.staged_seq = seq  # of the newest message, staged or committed
        self.staged: list[Said] = []
        self.blocks: deque[list[Said]] = deque()
        self.size = 0

    def commit(self, limit: int, number: int) -> None:
        self.last_commit = number
        self.blocks.append(self.staged)
        self.size += _size(self.staged)
        self.staged = []
        self.seq = self.staged_seq
        while self.size > limit and len(self.blocks) > 1:
            self.size -= _size(self.blocks.popleft())

    def delete(self, seq: int) -> None:
        while self.blocks and self.blocks[0][-1].seq <= seq:
            self.size -= _size(self.blocks.popleft())


class _SentMessages:
    """The ids of sent messages. They outlive the messages, because a client may resend after a long absence.

    Over ``max_total``, the client that has been silent for longest is forgotten first.
    """

    def __init__(self, max_ids: int, max_total: int) -> None:
        self._max_ids = max_ids
        self._max_total = max_total
        self._clients: dict[bytes, deque[Sent]] = {}  # the latest sender last
        self._total = 0

    def add(self, client_id: bytes, messages: Iterable[Said]) -> None:
        sent = self._clients.pop(client_id, None)
        if sent is None:
            sent = deque(maxlen=self._max_ids)
        self._clients[client_id] = sent
        self._total -= len(sent)
        sent.extend([Sent(id, room, seq, at) for room, seq, _, _, at, id, _ in messages])
        self._total += len(sent)
        while self._total > self._max_total:
            self._total -= len(self._clients.pop(next(iter(self._clients))))

    def last(self, client_id: bytes, limit: int) -> list[Sent]:
        sent = self._clients.get(client_id, ())
        return list(sent)[max(0, len(sent) - max(0, limit)) :]


def _limited(messages: list[Said], limit: int, size: int) -> list[Said]:
    """Return the first ``limit`` messages with at most ``size`` characters, but at least one message."""
    del messages[max(0, limit) :]
    for place, message in enumerate(messages):
        size -= len(message.body)
        if size < 0 and place:
            return messages[:place]
    return messages


def _size(block: list[Said]) -> int:
    return sum([len(message.body) for message in block]) + MESSAGE_OVERHEAD * len(block)
