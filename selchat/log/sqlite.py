"""A log in one SQLite file: what `SqliteLog.commit` has returned from survives ``kill -9`` and a power loss.

It must not know who asks: rooms are strings and records are texts. There is one connection and no thread;
what a tick brings is one transaction, and its ``fsync`` is the price of the promise. Programs that only read
(export, backup) do so while the server writes, which is what the write-ahead log is for
(https://sqlite.org/wal.html).
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from selchat.config.settings import KIB, MIB
from selchat.events import Said
from selchat.histogram import COMMIT_BUCKETS, Histogram
from selchat.log.errors import UnusableHistoryError, cause
from selchat.log.lock import ServerLock
from selchat.log.port import NotReadableError, NotStoredError, Sent
from selchat.log.retention import Retention
from selchat.log.schema import migrate
from selchat.log.transaction import transaction
from selchat.paths import make_private_folder

__all__ = ["Retention", "SqliteLog"]

_PRIVATE = 0o600
_BUSY_SECONDS = 0.05  # to wait for another program that writes; the whole server waits with us

# Pages in the write-ahead log after which a commit moves them into the file. Measured with commits of 256 at
# 140,000 messages a second: with 1,000 pages the slowest of 100 commits takes 6 ms and the slowest of all 8;
# with 4,000 and 16,000 pages that one takes 20 and 52 ms, and the mean is no better. Moving is `PASSIVE`: it
# waits for no reader, and the log is written from its start again when a commit finds all of it moved.
_CHECKPOINT_PAGES = 1000
_WAL_LIMIT = 16 * MIB  # bytes to which it is cut when a reader, who stops the moving, has made it longer
_CACHE = 8 * MIB  # bytes of pages in memory

# A step of forgetting takes so many messages at most, and about so many characters of theirs. That is 1.5 ms,
# with messages of 64 bytes as with those of 64 KiB.
_FORGOTTEN = 500
_FORGOTTEN_SIZE = 256 * KIB

# The first parameter is the name of the room, which comes first in `Said` and is not stored: a message and
# the two numbers behind it are joined in half the time that it takes to build a tuple of eight.
_INSERT = (
    "INSERT INTO message (seq, author, body, at, id, cipher, room, client)"
    " VALUES (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
)
_SET_ROOM = (
    "INSERT INTO room (id, name, newest) VALUES (?, ?, ?)"
    " ON CONFLICT (id) DO UPDATE SET newest = excluded.newest"
)
_SET_RECORD = (
    "INSERT INTO record (kind, key, value) VALUES (?, ?, ?)"
    " ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value"
)
_DROP_RECORD = "DELETE FROM record WHERE kind = ? AND key = ?"
_COLUMNS = "SELECT seq, author, body, at, id, cipher FROM message"
_AFTER = f"{_COLUMNS} WHERE room = ? AND seq > ? ORDER BY seq LIMIT ?"
_BEFORE = f"{_COLUMNS} WHERE room = ? AND seq < ? ORDER BY seq DESC LIMIT ?"
_OLDEST = "SELECT n, at, length(body) FROM message ORDER BY n LIMIT ?"
_ROOMS = "SELECT name FROM room WHERE EXISTS (SELECT 1 FROM message WHERE message.room = room.id)"
_RANGE = "SELECT (SELECT min(n) FROM message), (SELECT max(n) FROM message)"
# The generation's bits are written as they are in the index, which is not used otherwise. The query for the
# generations with a message of that client takes 0.9 microseconds for each one that there is.
_GENERATIONS = (
    "WITH RECURSIVE generation (g) AS (SELECT max(n) >> 12 FROM message"
    " UNION ALL SELECT g - 1 FROM generation WHERE g > (SELECT min(n) >> 12 FROM message))"
    " SELECT g FROM generation WHERE EXISTS (SELECT 1 FROM message WHERE n >> 12 = g AND client = ?)"
)
_SENT = (
    "SELECT message.id, room.name, seq, at FROM message CROSS JOIN room ON room.id = message.room"
    " WHERE n >> 12 = ? AND client = ? ORDER BY n DESC LIMIT ?"
)


class SqliteLog:
    """The log in the file ``path``, which is made if there is none, and its folder too.

    Raises `HistoryError` if the file cannot be used, or another server uses it. Nothing but `commit` and
    `expire` writes. The methods that read raise `NotReadableError` when the disk fails.
    """

    def __init__(self, path: str | os.PathLike[str], retention: Retention) -> None:
        self._path = Path(path).absolute()
        self._retention = retention
        self.commit_seconds = Histogram(COMMIT_BUCKETS)
        self._lock, self._db = _open(self._path)
        try:
            with _opening(self._path):
                [(self._id,)] = self._db.execute("SELECT id FROM log")
                self._rooms = {
                    name: _Room(number, name, last_seq)
                    for number, name, last_seq in self._db.execute("SELECT id, name, newest FROM room")
                }
            self._file = _identity(self._path)
        except BaseException:
            self.close()
            raise
        self._last_room = max((room.number for room in self._rooms.values()), default=0)
        self._dirty: list[_Room] = []  # rooms with messages that are not committed
        # Staged messages with the numbers of their room and client; staged records by kind and key.
        self._staged: list[tuple[list[Said], tuple[int, int | None]]] = []
        self._records: dict[tuple[str, str], str | None] = {}

    @property
    def id(self) -> str:
        """Names this log; it was made with the file."""
        return str(self._id)

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
        if not bodies:
            return []
        found = self._rooms.get(room)
        if found is None:
            self._last_room += 1
            found = self._rooms[room] = _Room(self._last_room, room, 0)
        seq = found.staged_seq
        messages: list[Said] = []
        new = tuple.__new__  # Said's own constructor calls just this, in twice the time
        for body, id, cipher in zip(
            bodies, ids or [""] * len(bodies), ciphers or [None] * len(bodies), strict=True
        ):
            seq += 1
            messages.append(new(Said, (room, seq, author, body, at, id, cipher)))
        if found.staged_seq == found.last_seq:
            self._dirty.append(found)
        found.staged_seq = seq
        self._staged.append((messages, (found.number, None if client is None else _client_number(client))))
        return messages

    def put(self, kind: str, key: str, value: str | None) -> None:
        """Stage a record, in the place of the one that was there; None: of none.

        Raises UnicodeEncodeError: in `commit` it would come again each time.
        """
        f"{kind}{key}{value}".encode()
        self._records[kind, key] = value

    @property
    def staged(self) -> bool:
        """Whether there is something to commit."""
        return bool(self._staged or self._records)

    def commit(self) -> None:
        """Store all that is staged, for good. Raises `NotStoredError`; see `Log.commit`."""
        if not self.staged:
            return
        begun = time.perf_counter()
        try:
            self._check_file()
            with transaction(self._db):
                self._write()
        except (sqlite3.Error, OSError, UnicodeEncodeError) as error:
            raise NotStoredError(cause(error)) from error
        else:
            for room in self._dirty:
                room.last_seq = room.staged_seq
            self._records.clear()
        finally:
            for room in self._dirty:
                room.staged_seq = room.last_seq
            self._dirty.clear()
            self._staged.clear()
            self.commit_seconds.observe(time.perf_counter() - begun)

    def _check_file(self) -> None:
        """Raise OSError if others no longer see the file that we write. It costs three microseconds."""
        try:
            found = _identity(self._path)
        except FileNotFoundError:
            found = None
        if found != self._file:
            raise FileNotFoundError(0, "the file was removed or replaced")

    def _write(self) -> None:
        db = self._db
        db.executemany(_INSERT, [message + rest for batch, rest in self._staged for message in batch])
        db.executemany(_SET_ROOM, [(room.number, room.name, room.staged_seq) for room in self._dirty])
        for (kind, key), value in self._records.items():
            if value is None:
                db.execute(_DROP_RECORD, (kind, key))
            else:
                db.execute(_SET_RECORD, (kind, key, value))

    def set_retention(self, retention: Retention) -> None:
        """Let `expire` go by that from now on."""
        self._retention = retention

    def expire(self, now: float) -> bool:
        """Forget the oldest of what is past the retention at that Unix time; return whether there is more.

        A step is one short transaction. Messages are forgotten in the order in which they came, in all rooms:
        one that is too old waits for those before it, if the clock was wrong when they were said. Records
        and the numbers of rooms stay. A step that cannot be stored is left for the next time.
        """
        try:
            last = self._last_to_forget(now)
            if last is None:
                return False
            with transaction(self._db):
                self._db.execute("DELETE FROM message WHERE n <= ?", (last,))
            return self._last_to_forget(now) is not None
        except (sqlite3.Error, NotReadableError):
            return False  # that the disk fails is for `commit` to say

    def _last_to_forget(self, now: float) -> int | None:
        """Return the ``n`` of the last message that the next step should forget."""
        retention = self._retention
        if retention.days is None and retention.size is None:
            return None
        oldest = float("-inf") if retention.days is None else now - retention.days * 86_400
        most, last = self._most_to_forget(), None
        size = _FORGOTTEN_SIZE
        with _reading(), closing(self._db.execute(_OLDEST, (_FORGOTTEN,))) as rows:
            for place, (n, at, length) in enumerate(rows):
                if (at >= oldest and place >= most) or size <= 0:
                    break
                last = n
                size -= length
        return last

    def _most_to_forget(self) -> int:
        """Return about how many messages there are beyond the size."""
        size = self.size
        if self._retention.size is None or size <= self._retention.size:
            return 0
        [(first, last)] = self._rows(_RANGE)
        return 0 if first is None else 1 + (size - self._retention.size) * (last - first + 1) // size

    @property
    def size(self) -> int:
        """Bytes of the file that are in use. What is forgotten makes room for new messages in it."""
        [(page,)] = self._rows("PRAGMA page_size")
        [(pages,)] = self._rows("PRAGMA page_count")
        [(free,)] = self._rows("PRAGMA freelist_count")
        return int(page * (pages - free))

    def close(self) -> None:
        """Close the file. What is staged is not stored."""
        self._db.close()
        self._lock.close()

    # -- reading ---------------------------------------------------------------------------------------

    def last_seq(self, room: str) -> int:
        """Return the ``seq`` of the newest message of that room, forgotten or not; 0: there was none."""
        found = self._rooms.get(room)
        return 0 if found is None else found.last_seq

    def after(self, room: str, seq: int, limit: int, size: int) -> list[Said]:
        """Return the oldest kept messages above ``seq``, oldest first; see `Log.after`."""
        found = self._rooms.get(room)
        if found is None or seq >= found.last_seq:  # a number for which SQLite's 64 bits are too few, too
            return []
        return self._select(room, _AFTER, (found.number, max(seq, 0), limit), size)

    def before(self, room: str, seq: int | None, limit: int, size: int) -> list[Said]:
        """Return the newest messages below ``seq``, oldest first; see `Log.before`."""
        found = self._rooms.get(room)
        if found is None:
            return []
        end = found.last_seq + 1 if seq is None else max(0, min(seq, found.last_seq + 1))
        messages = self._select(room, _BEFORE, (found.number, end, limit), size)
        messages.reverse()
        return messages

    def rooms(self) -> Sequence[str]:
        """Return the rooms that have a message: one look into the index for each room that there ever was."""
        return [name for (name,) in self._rows(_ROOMS)]

    def sent(self, client: bytes, limit: int) -> list[Sent]:
        """Return the newest messages of that client, ``limit`` at most, oldest first."""
        found: list[Sent] = []
        number = _client_number(client)
        for (generation,) in self._rows(_GENERATIONS, (number,)):
            if len(found) >= limit:
                break
            found += map(Sent._make, self._rows(_SENT, (generation, number, limit - len(found))))
        found.reverse()
        return found

    def records(self, kind: str) -> Mapping[str, str]:
        """Return all records of that kind, by key, staged ones included."""
        records: dict[str, str] = dict(self._rows("SELECT key, value FROM record WHERE kind = ?", (kind,)))
        for (of, key), value in self._records.items():
            if of == kind:
                if value is None:
                    records.pop(key, None)
                else:
                    records[key] = value
        return records

    def _select(self, room: str, query: str, parameters: tuple[int, int, int], size: int) -> list[Said]:
        """Return what the query finds, as far as ``size`` characters of bodies go, but one at least."""
        messages: list[Said] = []
        if parameters[-1] <= 0:  # SQLite takes a negative limit for none
            return messages
        # Closed in any case: a query that is not read to its end would stop the checkpoints.
        with _reading(), closing(self._db.execute(query, parameters)) as rows:
            for row in rows:
                size -= len(row[2])
                if size < 0 and messages:
                    break
                messages.append(tuple.__new__(Said, (room, *row)))
        return messages

    def _rows(self, query: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        with _reading():
            return self._db.execute(query, parameters).fetchall()


class _Room:
    """A room's ``number`` in the file, its last stored ``seq`` and the last ``seq`` that is staged."""

    __slots__ = ("last_seq", "name", "number", "staged_seq")

    def __init__(self, number: int, name: str, last_seq: int) -> None:
        self.number = number
        self.name = name
        self.last_seq = last_seq
        self.staged_seq = last_seq


def _open(path: Path) -> tuple[ServerLock, sqlite3.Connection]:
    """Return the lock on the file and a connection to it, with the newest schema. Raises `HistoryError`."""
    try:
        make_private_folder(path.parent)
        lock = ServerLock(path.resolve())  # of the file, by whatever name it is called
    except OSError as error:
        raise UnusableHistoryError(path, cause(error)) from error
    db: sqlite3.Connection | None = None
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, _PRIVATE)
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        os.close(descriptor)
        if not regular:
            raise UnusableHistoryError(path, "it is not a file")
        db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        migrate(db, path)
        _configure(db, path)
    except BaseException as error:
        if db is not None:
            db.close()
        lock.close()
        if isinstance(error, sqlite3.Error | OSError):
            raise UnusableHistoryError(path, cause(error)) from error
        raise
    return lock, db


def _configure(db: sqlite3.Connection, path: Path) -> None:
    [(mode,)] = db.execute("PRAGMA journal_mode = WAL")
    if mode != "wal":
        raise UnusableHistoryError(path, "there is no write-ahead log on this file system")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA fullfsync = ON")  # macOS: there fsync alone leaves it in the drive's cache
    db.execute("PRAGMA secure_delete = ON")  # what is forgotten is overwritten
    db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    db.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")
    db.execute(f"PRAGMA cache_size = {-_CACHE // 1024}")


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    """Have an error of SQLite say which file it is about."""
    try:
        yield
    except sqlite3.Error as error:
        raise UnusableHistoryError(path, cause(error)) from error


@contextmanager
def _reading() -> Iterator[None]:
    """Have an error of SQLite say what someone who asks for messages may know."""
    try:
        yield
    except sqlite3.Error as error:
        raise NotReadableError(cause(error)) from error


def _identity(path: Path) -> tuple[int, int]:
    """Return what tells this file from others. Raises OSError."""
    found = path.stat()
    return found.st_dev, found.st_ino


@lru_cache(maxsize=10_000)
def _client_number(client: bytes) -> int:
    """Return a client as an integer of 64 bits.

    Two clients have the same one with a probability of 2^-64, and it would do no harm before they made the
    same id as well.
    """
    return int.from_bytes(hashlib.blake2b(client, digest_size=8).digest(), "big", signed=True)
