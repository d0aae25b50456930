"""Durable log in one SQLite file: after `SqliteLog.commit`, messages survive ``kill -9`` and a power loss.

It does not interpret rooms, which are strings, or records, which are texts. It has one connection and no
threads. A tick is one transaction with one ``fsync``, which is the price of durability. Programs that only
read (export, backup) can do so while the server writes, thanks to the write-ahead log
(https://sqlite.org/wal.html).
"""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from selchat.events import Said
from selchat.histogram import COMMIT_BUCKETS, Histogram
from selchat.limits import (
    CHECKPOINT_PAGES,
    DAMAGE_WARNING_SECONDS,
    EXPIRE_CHARACTERS,
    EXPIRE_MESSAGES,
    EXPIRED_ID_SHARE,
    MAX_EXPIRED_IDS,
    MAX_LOG_ROOMS,
    MAX_SKIPPED,
    SQLITE_BUSY_SECONDS,
    SQLITE_CACHE,
    WAL_LIMIT,
)
from selchat.log.errors import UnusableHistoryError, cause
from selchat.log.lock import ServerLock
from selchat.log.port import NotReadableError, NotStoredError, Sent
from selchat.log.retention import Retention
from selchat.log.salvage import Unreadable, is_damage, is_whole, ranges, read_until_damage
from selchat.log.schema import migrate
from selchat.log.transaction import transaction
from selchat.paths import make_private_folder

__all__ = ["Retention", "SqliteLog"]


# The first parameter is the name of the room, the first field of `Said`, which is not stored. CASE skips it
# at no cost. Adding two numbers to the tuple of a message takes half the time of building a tuple of eight.
# (Python 3.12.0 to 3.12.3 warn about numbered parameters such as ?2, which could skip it too.)
_INSERT = (
    "INSERT INTO message (seq, author, body, at, id, cipher, room, client)"
    " VALUES (CASE WHEN 0 THEN ? ELSE ? END, ?, ?, ?, ?, ?, ?, ?)"
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
_PLACE = "SELECT seq, n FROM message INDEXED BY message_by_room WHERE room = ?"
_NEXT = f"{_PLACE} AND seq >= ? ORDER BY seq LIMIT 1"
_PREVIOUS = f"{_PLACE} AND seq <= ? ORDER BY seq DESC LIMIT 1"
_ONE = "SELECT at, author, id, cipher, body FROM message WHERE n = ? AND room = ? AND seq = ?"
_REMEMBER = (
    "INSERT INTO expired (client, room, seq, at, id)"
    " SELECT client, room, seq, at, id FROM message WHERE client IS NOT NULL AND n"
)
_FORGET = (
    "DELETE FROM expired WHERE k <= min((SELECT max(k) FROM expired) - ?, (SELECT min(k) FROM expired) + ?)"
)
_EXPIRED = (
    "SELECT expired.id, room.name, seq, at FROM expired CROSS JOIN room ON room.id = expired.room"
    " WHERE client = ? ORDER BY k DESC LIMIT ?"
)
_OLDEST = "SELECT n, at, length(body) FROM message ORDER BY n LIMIT ?"
_ROOMS = (
    "SELECT name FROM (SELECT name,"
    " (SELECT n FROM message WHERE message.room = room.id ORDER BY seq DESC LIMIT 1) AS last FROM room)"
    " WHERE last IS NOT NULL ORDER BY last"
)
_OLDEST_IN_ROOM = "SELECT n, length(body) FROM message WHERE room = ? AND seq <= ? ORDER BY seq LIMIT ?"
_NEWEST_ROOMS = "SELECT id, name, newest FROM room ORDER BY id DESC LIMIT ?"
_ROOM = "SELECT id, name, newest FROM room WHERE name = ?"
_ROOM_WITHOUT_INDEX = "SELECT id, name, newest FROM room NOT INDEXED WHERE name = ?"
_HAS_MESSAGES = "SELECT EXISTS (SELECT 1 FROM message WHERE room = ?)"
_RANGE = "SELECT (SELECT min(n) FROM message), (SELECT max(n) FROM message)"
# The expression ``n >> 12`` must be spelled as in the index; otherwise SQLite does not use the index. The
# query for the generations with messages of one client takes 0.9 microseconds for each existing generation.
_GENERATIONS = (
    "WITH RECURSIVE generation (g) AS (SELECT max(n) >> 12 FROM message"
    " UNION ALL SELECT g - 1 FROM generation WHERE g > (SELECT min(n) >> 12 FROM message))"
    " SELECT g FROM generation WHERE EXISTS (SELECT 1 FROM message WHERE n >> 12 = g AND client = ?)"
)
_IN_GENERATION = "SELECT EXISTS (SELECT 1 FROM message WHERE n >> 12 = ? AND client = ?)"
_SENT = (
    "SELECT message.id, room.name, seq, at FROM message CROSS JOIN room ON room.id = message.room"
    " WHERE n >> 12 = ? AND client = ? ORDER BY n DESC LIMIT ?"
)


# Bytes of the headers of the write-ahead log and of each of its pages, and the parts of the header of its
# index that give the size of a page and the number of pages.
_LOG_HEADER, _FRAME_HEADER = 32, 24
_INDEX_HEADER = struct.Struct("=14xHI")


class SqliteLog:
    """The log in the file ``path``; missing files and folders are created.

    ``warn(text)`` tells the operator about damage and failures that the caller of a method does not see.
    ``busy_seconds`` is how long it waits for another program that writes to the file, and ``wal_limit`` the
    bytes to which SQLite truncates a write-ahead log that has grown longer. It keeps the numbers of up to
    ``max_rooms`` rooms in memory, and looks the others up in the file.

    Raises `HistoryError` if the file cannot be used, or another server uses it. Only `commit` and `expire`
    write to it. Methods that read raise `NotReadableError` if the disk fails.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        retention: Retention,
        *,
        warn: Callable[[str], object] = lambda text: None,
        busy_seconds: float = SQLITE_BUSY_SECONDS,
        wal_limit: int = WAL_LIMIT,
        max_rooms: int = MAX_LOG_ROOMS,
    ) -> None:
        self._path = Path(path).absolute()
        self._retention = retention
        self._warn = warn
        self._next_warning = 0.0  # monotonic time; earlier ones are left out
        self._unreadable: dict[str, list[tuple[int, int]]] = {}  # first and last ``seq`` by room
        self.commit_seconds = Histogram(COMMIT_BUCKETS)
        self._files: _OpenFiles | None = None
        self._lock, self._db = _open(self._path, busy_seconds, wal_limit)
        try:
            with _open_errors(self._path):
                # The first read creates the two files of the write-ahead log.
                [(self._id,)] = self._db.execute("SELECT id FROM log")
                # The rooms in memory: those used since the last call of `_make_space`, and older ones.
                self._max_recent = max(1, max_rooms // 2)
                self._older_rooms: dict[str, _Room] = {}
                self._rooms = {
                    name: _Room(number, name, last_seq)
                    for number, name, last_seq in self._db.execute(_NEWEST_ROOMS, (self._max_recent,))
                }
                [(self._last_room,)] = self._db.execute("SELECT ifnull(max(id), 0) FROM room")
                self._files = _OpenFiles(self._path, self._lock.file)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise UnusableHistoryError(self._path, cause(error)) from error
            raise
        self._dirty: list[_Room] = []  # rooms with uncommitted messages
        # Staged batches with the numbers of their room and client; staged records by kind and key.
        self._staged: list[tuple[list[Said], tuple[int, int | None]]] = []
        self._records: dict[tuple[str, str], str | None] = {}

    @property
    def id(self) -> str:
        """A unique id of this log, as old as the file."""
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
        client_id: bytes | None = None,
    ) -> list[Said]:
        """Stage messages; see `Log.append`."""
        if not bodies:
            return []
        found = self._rooms.get(room) or self._find(room) or self._create(room)
        seq = found.staged_seq
        messages: list[Said] = []
        new = tuple.__new__  # Said's own constructor does the same in twice the time
        for body, id, cipher in zip(
            bodies, ids or [""] * len(bodies), ciphers or [None] * len(bodies), strict=True
        ):
            seq += 1
            messages.append(new(Said, (room, seq, author, body, at, id, cipher)))
        if found.staged_seq == found.last_seq:
            self._dirty.append(found)
        found.staged_seq = seq
        client = None if client_id is None else _client_number(client_id)
        self._staged.append((messages, (found.number, client)))
        return messages

    def put(self, kind: str, key: str, value: str | None) -> None:
        """Stage a record, replacing the old one; None deletes it.

        Raises UnicodeEncodeError here, because in `commit` it would make every later commit fail as well.
        """
        f"{kind}{key}{value}".encode()
        self._records[kind, key] = value

    @property
    def staged(self) -> bool:
        """Whether anything is staged."""
        return bool(self._staged or self._records)

    def commit(self) -> None:
        """Store everything that is staged durably. Raises `NotStoredError`; see `Log.commit`."""
        if not self.staged:
            return
        started = time.perf_counter()
        try:
            self._check_files()
            with transaction(self._db):
                self._write()
        except (sqlite3.Error, OSError, UnicodeEncodeError, NotReadableError) as error:
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
            self.commit_seconds.observe(time.perf_counter() - started)

    def _check_files(self) -> None:
        """Raise `LostFileError` if a file was removed, replaced or truncated while it is open."""
        try:
            if self._files is not None:
                self._files.check(self._page_bytes)
        except LostFileError as error:
            if error.is_log:
                # It still exists while it is open. Save its messages, which kill -9 would lose.
                with suppress(sqlite3.Error):
                    self._db.execute("PRAGMA wal_checkpoint").fetchall()
            raise

    def _page_bytes(self) -> int:
        """Return the size that the file has if all pages of the write-ahead log are in it."""
        [(page,)] = self._rows("PRAGMA page_size")
        [(pages,)] = self._rows("PRAGMA page_count")
        return int(page * pages)

    def _write(self) -> None:
        db = self._db
        db.executemany(_INSERT, [message + rest for batch, rest in self._staged for message in batch])
        db.executemany(_SET_ROOM, [(room.number, room.name, room.staged_seq) for room in self._dirty])
        for (kind, key), value in self._records.items():
            if value is None:
                db.execute(_DROP_RECORD, (kind, key))
            else:
                db.execute(_SET_RECORD, (kind, key, value))

    @property
    def can_write(self) -> bool:
        """Return False if it is certain that a commit would fail."""
        try:
            self._check_files()
        except (OSError, NotReadableError):
            return False
        return True

    @property
    def free_disk(self) -> int | None:
        if not hasattr(os, "statvfs"):  # POSIX only
            return None
        try:
            found = os.statvfs(self._path)
        except OSError:
            return None  # `can_write` tells what is wrong
        return found.f_bavail * found.f_frsize

    def set_retention(self, retention: Retention) -> None:
        """Set the retention that `expire` applies."""
        self._retention = retention

    def expire(self, now: float) -> bool:
        """Delete the oldest messages that are past the retention at Unix time ``now``; return whether more
        are left.

        Each call is one short transaction. It deletes messages in order of arrival, in all rooms: if the
        clock was wrong, a message that is too old waits until the ones before it expire. Records and ``seq``
        numbers stay, and so do the ids of the newest deleted messages. A call that cannot write leaves its
        messages to the next one.
        """
        try:
            last = self._last_expired(now)
            if last is None:
                return False
            with transaction(self._db):
                self._db.execute(f"{_REMEMBER} <= ? ORDER BY n", (last,))
                self._db.execute("DELETE FROM message WHERE n <= ?", (last,))
                self._db.execute(_FORGET, (self._max_expired_ids(), 2 * EXPIRE_MESSAGES))
            return self._last_expired(now) is not None
        except sqlite3.Error as error:
            if is_damage(error):
                self._warn_sometimes("old messages cannot be deleted because the history is damaged")
            return False  # else `commit` reports a failing disk
        except NotReadableError:
            return False

    def delete(self, room: str, seq: int) -> bool:
        """Delete some of the room's messages up to ``seq``, in one short transaction; see `Log.delete`."""
        found = self._find(room)
        if found is None:
            return False
        size = EXPIRE_CHARACTERS
        numbers: list[tuple[int]] = []
        try:
            for n, length in self._rows(_OLDEST_IN_ROOM, (found.number, seq, EXPIRE_MESSAGES)):
                if size <= 0:
                    break
                numbers.append((n,))
                size -= length
            with transaction(self._db):
                self._db.executemany(f"{_REMEMBER} = ?", numbers)
                self._db.executemany("DELETE FROM message WHERE n = ?", numbers)
        except sqlite3.Error as error:
            raise NotStoredError(cause(error)) from error
        return bool(numbers)

    def _max_expired_ids(self) -> int:
        """Return how many ids of deleted messages the file keeps."""
        size = self._retention.size
        return MAX_EXPIRED_IDS if size is None else min(MAX_EXPIRED_IDS, size // EXPIRED_ID_SHARE)

    def _last_expired(self, now: float) -> int | None:
        """Return the ``n`` of the last message that the next call deletes; None: nothing has expired."""
        retention = self._retention
        if retention.days is None and retention.size is None:
            return None
        oldest = float("-inf") if retention.days is None else now - retention.days * 86_400
        excess, last = self._excess_messages(), None
        size = EXPIRE_CHARACTERS
        with self._reading():
            rows, damaged = read_until_damage(self._db, _OLDEST, (EXPIRE_MESSAGES,))
        if damaged and not rows:
            self._warn_sometimes("old messages cannot be deleted because the history is damaged")
        for place, (n, at, length) in enumerate(rows):
            if (at >= oldest and place >= excess) or size <= 0:
                break
            last = n
            size -= length
        return last

    def _excess_messages(self) -> int:
        """Estimate the number of messages above the size limit."""
        size = self.size
        if self._retention.size is None or size <= self._retention.size:
            return 0
        [(first, last)] = self._rows(_RANGE)
        return 0 if first is None else 1 + (size - self._retention.size) * (last - first + 1) // size

    @property
    def size(self) -> int:
        """Used bytes of the file. Deleted messages leave free space for new ones."""
        [(page,)] = self._rows("PRAGMA page_size")
        [(free,)] = self._rows("PRAGMA freelist_count")
        return self._page_bytes() - int(page * free)

    def close(self) -> None:
        """Close the file and discard everything staged."""
        self._db.close()
        if self._files is not None:
            self._files.close()
            self._files = None
        self._lock.close()

    # -- reading ---------------------------------------------------------------------------------------

    def last_seq(self, room: str) -> int:
        """Return the ``seq`` of the newest message of the room, expired or not; 0: it never had one."""
        found = self._find(room)
        return 0 if found is None else found.last_seq

    def after(self, room: str, seq: int, limit: int, size: int) -> list[Said]:
        """Return the oldest messages above ``seq``, oldest first; see `Log.after`."""
        found = self._find(room)
        if found is None or seq >= found.last_seq:  # also if it exceeds SQLite's 64 bits
            return []
        return self._select(found, _AFTER, max(seq, 0), limit, size, 1)

    def before(self, room: str, seq: int | None, limit: int, size: int) -> list[Said]:
        """Return the newest messages below ``seq``, oldest first; see `Log.before`."""
        found = self._find(room)
        if found is None:
            return []
        end = found.last_seq + 1 if seq is None else max(0, min(seq, found.last_seq + 1))
        messages = self._select(found, _BEFORE, end, limit, size, -1)
        messages.reverse()
        return messages

    def rooms(self) -> Sequence[str]:
        """Return the rooms that have messages; one index look-up for each room that ever existed."""
        with self._reading():
            rows, damaged = read_until_damage(self._db, _ROOMS, ())
            if not damaged:
                return [name for (name,) in rows]
            rows, _ = read_until_damage(self._db, "SELECT id, name FROM room ORDER BY id", ())
            return [name for number, name in rows if self._may_have_messages(number)]

    def _may_have_messages(self, room: int) -> bool:
        rows, damaged = read_until_damage(self._db, _HAS_MESSAGES, (room,))
        return damaged or bool(rows[0][0])

    def sent(self, client_id: bytes, limit: int) -> list[Sent]:
        """Return the newest messages of the client, deleted ones too; see `Log.sent`.

        If the file is damaged, some are missing: a repeated message may be stored twice then, but the client
        can go on.
        """
        found: list[tuple[str, str, int, float]] = []
        names: dict[str, str] = {}
        number = _client_number(client_id)
        with self._reading():
            for generation in self._generations(number):
                if len(found) >= limit:
                    break
                rows, _ = read_until_damage(self._db, _SENT, (generation, number, limit - len(found)))
                found += rows
            if len(found) < limit:
                rows, _ = read_until_damage(self._db, _EXPIRED, (number, limit - len(found)))
                found += rows
        found.reverse()
        # One text for each room, not one for each message.
        return [
            Sent(id, names.setdefault(room, room), seq, at) for id, room, seq, at in found if type(id) is str
        ]

    def _generations(self, client: int) -> list[int]:
        """Return the generations with messages of the client, the newest first."""
        rows, damaged = read_until_damage(self._db, _GENERATIONS, (client,))
        if not damaged:
            return [generation for (generation,) in rows]
        self._warn_sometimes("the history is damaged, so that a repeated message may be stored twice")
        newest, _ = read_until_damage(self._db, "SELECT max(n) >> 12 FROM message", ())
        return [
            generation
            for generation in range(newest[0][0] or 0 if newest else -1, -1, -1)
            if (1,) in read_until_damage(self._db, _IN_GENERATION, (generation, client))[0]
        ]

    def record(self, kind: str, key: str) -> str | None:
        """Return a record, staged or not; None: there is none."""
        if (kind, key) in self._records:
            return self._records[kind, key]
        found = self._rows("SELECT value FROM record WHERE kind = ? AND key = ?", (kind, key))
        return str(found[0][0]) if found else None

    def records(self, kind: str) -> Mapping[str, str]:
        """Return all records of a kind, by key, including staged ones."""
        records: dict[str, str] = dict(self._rows("SELECT key, value FROM record WHERE kind = ?", (kind,)))
        for (other_kind, key), value in self._records.items():
            if other_kind == kind:
                if value is None:
                    records.pop(key, None)
                else:
                    records[key] = value
        return records

    def _find(self, name: str) -> _Room | None:
        """Return the room, from the file if necessary; None: it never had a message."""
        room = self._rooms.get(name)
        if room is not None:
            return room
        room = self._older_rooms.get(name)
        if room is None:
            with self._reading():
                rows, damaged = read_until_damage(self._db, _ROOM, (name,))
                if damaged:
                    rows, _ = read_until_damage(self._db, _ROOM_WITHOUT_INDEX, (name,))
            if not rows:
                return None
            room = _Room(*rows[0])
        self._make_space()
        self._rooms[name] = room
        return room

    def _create(self, name: str) -> _Room:
        self._last_room += 1
        self._make_space()
        room = self._rooms[name] = _Room(self._last_room, name, 0)
        return room

    def _make_space(self) -> None:
        """Free the memory of rooms that nobody has used lately, if there are too many.

        It costs nothing per use: the recent half becomes the older one, and a room in use comes back from
        there.
        """
        if len(self._rooms) >= self._max_recent:
            self._older_rooms = self._rooms
            self._rooms = {room.name: room for room in self._dirty}  # the file does not have their numbers

    def _select(self, room: _Room, query: str, seq: int, limit: int, size: int, step: int) -> list[Said]:
        """Return the messages that the query finds, up to ``size`` characters, but at least one message.

        ``step``: 1 for messages above ``seq`` and -1 for those below it. Messages in damaged pages are left
        out.
        """
        messages: list[Said] = []
        # To SQLite, a negative LIMIT means no limit.
        while len(messages) < limit:
            with self._reading():
                # Always close the cursor: a query that is not read to its end blocks checkpoints.
                try:
                    with closing(self._db.execute(query, (room.number, seq, limit - len(messages)))) as rows:
                        for row in rows:
                            found, author, body, at, id, cipher = row
                            if not is_whole(at, author, id, cipher, body) or (found - seq) * step <= 0:
                                break
                            size -= len(body)
                            if size < 0 and messages:
                                return messages
                            messages.append(tuple.__new__(Said, (room.name, *row)))
                            seq = found
                        else:
                            return messages
                except sqlite3.Error as error:
                    if not is_damage(error):
                        raise
                try:
                    row = self._next_readable(room, seq + step, step)
                except NotReadableError:
                    if not messages:
                        raise
                    row = None
            if row is None:
                break
            size -= len(row[2])
            if size < 0 and messages:
                break
            messages.append(tuple.__new__(Said, (room.name, *row)))
            seq = row[0]
        return messages

    def _next_readable(self, room: _Room, seq: int, step: int) -> tuple[Any, ...] | None:
        """Return the first readable message from ``seq`` on; None: there is none.

        Raises `NotReadableError` if there are too many others before it; the next call skips these at once.
        """
        db, number = self._db, room.number
        bad: list[int] = []
        try:
            for _ in range(MAX_SKIPPED):
                for first, last in self._unreadable.get(room.name, ()):
                    if first <= seq <= last:
                        seq = last + 1 if step > 0 else first - 1
                if not 0 < seq <= room.last_seq:
                    return None
                rows, damaged = read_until_damage(db, _NEXT if step > 0 else _PREVIOUS, (number, seq))
                if damaged:  # from the other side, the index may show this one message
                    rows, _ = read_until_damage(db, _PREVIOUS if step > 0 else _NEXT, (number, seq))
                    rows = [row for row in rows if row[0] == seq]
                elif not rows:
                    return None
                if rows and type(rows[0][0]) is int and (rows[0][0] - seq) * step >= 0:
                    [(seq, n)] = rows
                    rows, _ = read_until_damage(db, _ONE, (n, number, seq))
                    if rows and is_whole(*rows[0]):
                        at, author, id, cipher, body = rows[0]
                        return seq, author, body, at, id, cipher
                bad.append(seq)
                seq += step
            raise NotReadableError("the file is damaged")
        finally:
            self._note_unreadable(room.name, bad)

    def _note_unreadable(self, room: str, seqs: list[int]) -> None:
        """Remember these messages, and warn the operator."""
        if not seqs:
            return
        found = ranges(sorted(seqs))
        merged: list[tuple[int, int]] = []
        for first, last in sorted([*self._unreadable.get(room, ()), *found]):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        self._unreadable[room] = merged
        text = "; ".join(str(Unreadable(room, first, last)) for first, last in found)
        self._warn_sometimes(f"the history is damaged, and these messages cannot be read: {text}")

    def _warn_sometimes(self, text: str) -> None:
        """Show the operator a warning, at most one in a minute."""
        now = time.monotonic()
        if now >= self._next_warning:
            self._next_warning = now + DAMAGE_WARNING_SECONDS
            self._warn(text)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Turn SQLite errors into `NotReadableError`, and warn the operator."""
        try:
            yield
        except sqlite3.Error as error:
            self._warn_sometimes(f"the history cannot be read: {cause(error)}")
            raise NotReadableError(cause(error)) from error

    def _rows(self, query: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        with self._reading():
            return self._db.execute(query, parameters).fetchall()


class _Room:
    """A room's ``number`` in the file, its last stored ``seq`` and the last ``seq`` that is staged."""

    __slots__ = ("last_seq", "name", "number", "staged_seq")

    def __init__(self, number: int, name: str, last_seq: int) -> None:
        self.number = number
        self.name = name
        self.last_seq = last_seq
        self.staged_seq = last_seq


class LostFileError(OSError):
    """A file of an open history was removed, replaced or truncated. ``is_log``: the write-ahead log."""

    def __init__(self, why: str, *, is_log: bool = False) -> None:
        super().__init__(errno.ENOENT, why)
        self.is_log = is_log


class _OpenFiles:
    """The files of an open history. ``file``: device and inode of the main file. Raises OSError."""

    def __init__(self, path: Path, file: tuple[int, int]) -> None:
        self._path = str(path)
        self._file = file
        # SQLite removes and creates these two only while nobody has the history open.
        self._log, self._index = f"{path}-wal", f"{path}-shm"
        self._log_file, self._index_file = _identity(_stat(self._log)), _identity(_stat(self._index))
        # It must stay open as long as the database: closing it releases SQLite's locks on this file.
        self._descriptor = os.open(self._index, os.O_RDONLY | os.O_CLOEXEC)
        self._size = 0  # bytes of the main file when it was checked last

    def close(self) -> None:
        """Close the descriptor, after the database."""
        os.close(self._descriptor)

    def check(self, page_bytes: Callable[[], int]) -> None:
        """Raise `LostFileError` if a file has changed its identity or has lost its end.

        ``page_bytes()`` returns the size of all pages. A check costs four system calls.
        """
        found = _stat(self._path)
        if found is None or _identity(found) != self._file:
            raise LostFileError("the file was removed or replaced")
        log = _stat(self._log)
        if log is None or _identity(log) != self._log_file:
            raise LostFileError("its write-ahead log (-wal) was removed or replaced", is_log=True)
        if _identity(_stat(self._index)) != self._index_file:
            raise LostFileError("its shared memory (-shm) was removed or replaced")
        if log.st_size < self._log_bytes():
            raise LostFileError("its write-ahead log (-wal) was truncated")
        if found.st_size < self._size and page_bytes() >= self._size:  # else VACUUM has shortened it
            raise LostFileError("the file was overwritten or truncated")
        self._size = found.st_size

    def _log_bytes(self) -> int:
        """Return the size of all frames in the write-ahead log (https://sqlite.org/walformat.html, 2.1)."""
        page, frames = _INDEX_HEADER.unpack(os.pread(self._descriptor, _INDEX_HEADER.size, 0))
        return _LOG_HEADER + frames * (_FRAME_HEADER + (page if page > 1 else 65_536)) if frames else 0


def _stat(path: str) -> os.stat_result | None:
    """Return the status of the file; None: there is no such file. Raises OSError."""
    try:
        return os.stat(path)  # noqa: PTH116 - a Path takes twice as long, in each commit
    except FileNotFoundError:
        return None


def _identity(found: os.stat_result | None) -> tuple[int, int] | None:
    """Return the device and inode of the file; None: there is no such file."""
    return None if found is None else (found.st_dev, found.st_ino)


def _open(path: Path, busy_seconds: float, wal_limit: int) -> tuple[ServerLock, sqlite3.Connection]:
    """Lock and open the file, and migrate it to the latest schema. Raises `HistoryError`."""
    try:
        make_private_folder(path.parent)
        lock = ServerLock(path)
    except OSError as error:
        raise UnusableHistoryError(path, cause(error)) from error
    db: sqlite3.Connection | None = None
    try:
        db = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None)
        migrate(db, path)
        _configure(db, path, wal_limit)
    except BaseException as error:
        if db is not None:
            db.close()
        lock.close()
        if isinstance(error, sqlite3.Error | OSError):
            raise UnusableHistoryError(path, cause(error)) from error
        raise
    return lock, db


def _configure(db: sqlite3.Connection, path: Path, wal_limit: int) -> None:
    [(mode,)] = db.execute("PRAGMA journal_mode = WAL")
    if mode != "wal":
        raise UnusableHistoryError(path, "this file system does not support a write-ahead log")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA fullfsync = ON")  # on macOS, fsync alone leaves data in the drive's cache
    db.execute("PRAGMA secure_delete = ON")  # overwrite deleted messages
    db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    db.execute(f"PRAGMA journal_size_limit = {wal_limit}")
    db.execute(f"PRAGMA cache_size = {-SQLITE_CACHE // 1024}")


@contextmanager
def _open_errors(path: Path) -> Iterator[None]:
    """Turn SQLite errors into `UnusableHistoryError`."""
    try:
        yield
    except sqlite3.Error as error:
        raise UnusableHistoryError(path, cause(error)) from error


@lru_cache(maxsize=10_000)
def _client_number(client_id: bytes) -> int:
    """Return a 64-bit integer that stands for the client.

    Two clients get the same one with a probability of 2^-64; that does no harm unless they also choose the
    same message id.
    """
    return int.from_bytes(hashlib.blake2b(client_id, digest_size=8).digest(), "big", signed=True)
