"""Check of a history for damaged pages, in the background.

It reads the whole file, slowly, in a separate thread and with a separate connection. No transaction stays
open for long: it would keep SQLite from checkpointing the write-ahead log.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from selchat.limits import CHECK_BATCH, CHECK_BUSY_SECONDS, CHECK_PAUSE, QUICK_CHECK_SIZE
from selchat.log.errors import cause
from selchat.log.salvage import Damage, Salvage, is_unreadable, read_until_damage

_READ = (
    "SELECT max(n), sum(length(author) + length(id) + length(cipher) + length(body))"
    " FROM (SELECT * FROM message WHERE n > ? AND n <= ? ORDER BY n LIMIT ?)"
)
_BY_ROOM = (
    "SELECT max(seq) FROM (SELECT seq FROM message INDEXED BY message_by_room"
    " WHERE room = ? AND seq > ? ORDER BY seq LIMIT ?)"
)
_BY_CLIENT = (
    "SELECT count(*) FROM message INDEXED BY message_by_client WHERE n >> 12 = ? AND client IS NOT NULL"
)
_OTHERS = (  # tables and indexes that are read at once, with what their damage means
    ("SELECT count(*), sum(length(value)) FROM record", "a name, a ban or a topic cannot be read"),
    ("SELECT count(*), sum(length(id)) FROM expired", "repeated messages may be stored twice"),
    (
        "SELECT count(*) FROM expired INDEXED BY expired_by_client WHERE client > -1e300",
        "repeated messages may be stored twice",
    ),
)
_INDEX = "an index is damaged, so that some messages cannot be found"


def open_read_only(path: Path) -> sqlite3.Connection:
    """Open a history for reading, even if its end is missing. Raises sqlite3.Error."""
    db = _connect(path, "mode=ro")
    try:
        db.execute("SELECT 1 FROM sqlite_master").fetchall()
    except sqlite3.OperationalError as error:
        # In a folder that is read-only, SQLite cannot create the index of the write-ahead log. Without such a
        # log, it needs none.
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CANTOPEN or Path(f"{path}-wal").exists():
            db.close()
            raise
        db.close()
        db = _connect(path, "mode=ro&immutable=1")
    except sqlite3.DatabaseError:
        pass  # the caller finds the damage
    # Without it, SQLite refuses a file that is shorter than its header says. It permits no more than that.
    db.execute("PRAGMA writable_schema = ON")
    return db


def _connect(path: Path, options: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?{options}",
        uri=True,
        timeout=CHECK_BUSY_SECONDS,
        isolation_level=None,
    )


def check(path: Path, pause: Callable[[float], bool]) -> str:
    """Return a warning for the operator if the history is damaged, else an empty text.

    ``pause(seconds)`` waits, and returns True to stop the check.
    """
    try:
        damage = find_damage(path, pause)
    except CancelledError:
        return ""
    except sqlite3.Error as error:
        return f"the history {path} could not be checked for damage: {cause(error)}"
    if not damage:
        return ""
    return f"the history {path} is damaged: {damage}. docs/history.rst says how to repair it"


def find_damage(path: Path, pause: Callable[[float], bool]) -> Damage:
    """Return the unreadable parts of the file.

    ``pause(seconds)`` waits, and returns True to stop the check. Raises `CancelledError` and sqlite3.Error.
    """
    with closing(open_read_only(path)) as db:
        return _Check(db, pause).run()


class _Check:
    def __init__(self, db: sqlite3.Connection, pause: Callable[[float], bool]) -> None:
        self._db = db
        self._pause = pause
        self._salvage = Salvage(db)

    def run(self) -> Damage:
        self._read_messages()
        rooms = self._salvage.rooms()
        damage = self._salvage.damage(rooms)
        if damage:
            return damage
        is_whole = all(self._read_index(room, newest) for room, (_, newest) in rooms.items())
        if not is_whole or not self._read_client_index():
            return Damage([], 0, _INDEX)
        for query, why in _OTHERS:
            if self._rows(query)[1]:
                return Damage([], 0, why)
        [(size,)] = self._db.execute(
            "SELECT page_size * page_count FROM pragma_page_size(), pragma_page_count()"
        ).fetchall()
        if size <= QUICK_CHECK_SIZE:
            [(found,), *_] = self._db.execute("PRAGMA quick_check(1)").fetchall()
            if found != "ok":
                return Damage([], 0, " ".join(found.removeprefix("*** in database main ***").split()))
        return damage

    def _read_messages(self) -> None:
        after, last = self._salvage.bounds()
        while after < last:
            rows, damaged = self._rows(_READ, after, last, CHECK_BATCH)
            if damaged:
                end = min(last, after + CHECK_BATCH)
                for _ in self._salvage.messages(after, end):
                    self._rest(0.01)
                after = end
            elif rows[0][0] is None:
                return
            else:
                after = rows[0][0]

    def _read_index(self, room: int, newest: int) -> bool:
        seq = 0
        while seq < newest:
            rows, damaged = self._rows(_BY_ROOM, room, seq, CHECK_BATCH)
            if damaged:
                return False
            if rows[0][0] is None:
                break
            seq = rows[0][0]
        return True

    def _read_client_index(self) -> bool:
        first, last = self._salvage.bounds()
        return not any(self._rows(_BY_CLIENT, n)[1] for n in range(first >> 12, (last >> 12) + 1))

    def _rows(self, query: str, *parameters: int) -> tuple[list[tuple[int | None]], bool]:
        started = time.perf_counter()
        result = read_until_damage(self._db, query, parameters, is_unreadable)
        self._rest(CHECK_PAUSE * (time.perf_counter() - started))
        return result

    def _rest(self, seconds: float) -> None:
        if self._pause(seconds):
            raise CancelledError
