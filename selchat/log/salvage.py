"""Reader for a damaged history: all rows that can be read, and which ones cannot.

SQLite ends a query at the first damaged page. This module continues after it, one row at a time. It only
reads, and knows nothing about servers and formats.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any, NamedTuple

from selchat.limits import MAX_RANGES_SHOWN, SALVAGE_BATCH
from selchat.text import escape_controls

_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_BAD_SECTOR = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ}

_COLUMNS = "SELECT n, room, seq, at, author, id, cipher, body FROM message"
_RANGE = f"{_COLUMNS} WHERE n > ? AND n <= ? ORDER BY n LIMIT ?"
_ONE = f"{_COLUMNS} WHERE n = ?"
_PLACES = (
    "SELECT seq, n FROM message INDEXED BY message_by_room WHERE room = ? AND seq > ? ORDER BY seq LIMIT ?"
)
_PLACE = "SELECT n FROM message INDEXED BY message_by_room WHERE room = ? AND seq = ?"


class Unreadable(NamedTuple):
    """Messages ``first`` to ``last`` (their ``seq``) of a room that cannot be read."""

    room: str
    first: int
    last: int

    def __str__(self) -> str:
        # The room of direct messages is "@" and the name of their recipient.
        room = f"to {self.room[1:]}" if self.room.startswith("@") else self.room
        numbers = f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"
        return f"{escape_controls(room)}: {numbers}"


class Damage(NamedTuple):
    """Unreadable parts of a history: ``messages``, and ``unknown``, a number of others without a room.

    ``why`` describes damage to other parts of the file; empty: no such damage.
    """

    messages: list[Unreadable]
    unknown: int = 0
    why: str = ""

    @property
    def total(self) -> int:
        """The number of messages that cannot be read."""
        return self.unknown + sum(last - first + 1 for _, first, last in self.messages)

    def __bool__(self) -> bool:
        return bool(self.total or self.why)

    def __str__(self) -> str:
        parts = [str(found) for found in self.messages[:MAX_RANGES_SHOWN]]
        more = len(self.messages) - MAX_RANGES_SHOWN
        if more > 0:
            parts.append(f"and {more} more ranges")
        if self.unknown:
            parts.append(f"{self.unknown} whose room cannot be read")
        if not self.total:
            return self.why
        return f"{self.total} message{'s' if self.total > 1 else ''} cannot be read ({'; '.join(parts)})"


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether the error is about the file's contents, not about the disk or a lock."""
    code = getattr(error, "sqlite_errorcode", None)
    # Python's own error for a text that is not UTF-8 has no code.
    return isinstance(error, sqlite3.OperationalError) if code is None else code & 0xFF in _DAMAGE


def is_unreadable(error: sqlite3.Error) -> bool:
    """Return whether it is damage or a bad sector of the disk: the rest of the file may be readable."""
    return is_damage(error) or getattr(error, "sqlite_errorcode", 0) in _BAD_SECTOR


def is_whole(at: object, author: object, id: object, cipher: object, body: object) -> bool:
    """Return whether the values have the types that they were stored with."""
    return (
        type(body) is str
        and type(author) is str
        and type(id) is str
        and type(at) is float
        and (cipher is None or type(cipher) is str)
    )


def read_until_damage(
    db: sqlite3.Connection,
    query: str,
    parameters: Iterable[Any],
    is_local: Callable[[sqlite3.Error], bool] = is_damage,
) -> tuple[list[Any], bool]:
    """Return the rows of a query up to the first damage, and whether there is any. Raises sqlite3.Error.

    ``is_local(error)`` returns whether an error means damage, and not a failure of the whole file.
    """
    rows: list[Any] = []
    try:
        with closing(db.execute(query, tuple(parameters))) as found:
            for row in found:
                rows.append(row)  # noqa: PERF402 - keeps the rows before an error
    except sqlite3.Error as error:
        if not is_local(error):
            raise
        return rows, True
    return rows, False


class Salvage:
    """Reads messages in the order of their arrival (``n``). ``lost``: the ``n`` that could not be read."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.lost: set[int] = set()
        self._missing: set[int] = set()  # deleted, or lost without an error
        self._is_index_damaged = False

    def bounds(self) -> tuple[int, int]:
        """Return numbers ``n`` below and not below that of every message."""
        bounds = []
        for which in ("min", "max"):
            # The second query reads the whole index.
            for query in (
                "SELECT {}(n) FROM message",
                "SELECT {}(n) FROM message INDEXED BY message_by_room",
            ):
                rows, damaged = self._read(query.format(which), ())
                if not damaged:
                    bounds.append(rows[0][0] or 0)
                    break
            else:
                rows, _ = self._read("SELECT sum(newest) FROM room", ())
                bounds.append(rows[0][0] or 0 if rows and which == "max" else 1)
        return bounds[0] - 1, bounds[1]

    def messages(self, after: int, last: int) -> Iterator[list[Any]]:
        """Yield all readable rows with ``after < n <= last`` in batches; their columns are
        ``n``, ``room``, ``seq``, ``at``, ``author``, ``id``, ``cipher`` and ``body``.

        No query is open between two batches. Raises sqlite3.Error if the disk fails.
        """
        while after < last:
            rows, damaged = self._read(_RANGE, (after, last, SALVAGE_BATCH))
            good = whole_rows(rows, after)
            if good:
                yield good
                after = good[-1][0]
            if damaged or len(good) < len(rows):
                end = min(last, after + SALVAGE_BATCH)
                found = [row for n in range(after + 1, end + 1) for row in self._one(n)]
                if found:
                    yield found
                after = end
            elif not rows:
                return

    def _one(self, n: int) -> list[Any]:
        rows, damaged = self._read(_ONE, (n,))
        if damaged or len(whole_rows(rows, n - 1)) < len(rows):
            self.lost.add(n)
            return []
        if not rows:
            self._missing.add(n)
        return rows

    def rooms(self) -> dict[int, tuple[str, int]]:
        """Return the readable rooms by number: the name and the newest ``seq``."""
        found, damaged = self._read("SELECT id, name, newest FROM room", ())
        if damaged:
            [(last,)] = self._db.execute("SELECT max(room) FROM message").fetchall()
            one = "SELECT id, name, newest FROM room WHERE id = ?"
            found = [row for id in range((last or 0) + 1) for row in self._read(one, (id,))[0]]
        return {id: (name, newest) for id, name, newest in found if type(name) is str}

    def _read(self, query: str, parameters: Iterable[Any]) -> tuple[list[Any], bool]:
        return read_until_damage(self._db, query, parameters, is_unreadable)

    def damage(self, rooms: Mapping[int, tuple[str, int]]) -> Damage:
        """Return the rooms and numbers of the lost messages, from the index by room."""
        lost, found = self.lost | self._missing, []
        for number, (name, newest) in rooms.items() if lost else ():
            seqs = []
            for seq, n in self._places(number, newest):
                if n in lost:
                    lost.discard(n)
                    seqs.append(seq)
            found += [Unreadable(name, first, last) for first, last in ranges(seqs)]
        # Without the whole index, it is unknown whether a missing message was deleted.
        return Damage(found, len(lost if self._is_index_damaged else lost & self.lost))

    def _places(self, room: int, newest: int) -> Iterator[tuple[int, int]]:
        """Yield the ``seq`` and ``n`` of a room's messages, as far as the index is readable."""
        seq = 0
        while seq < newest:
            rows, damaged = self._read(_PLACES, (room, seq, SALVAGE_BATCH))
            yield from rows
            seq = rows[-1][0] if rows else seq
            if damaged:
                self._is_index_damaged = True
                end = min(newest, seq + SALVAGE_BATCH)
                for place in range(seq + 1, end + 1):
                    for (n,) in self._read(_PLACE, (room, place))[0]:
                        yield place, n
                seq = end
            elif not rows:
                return


def ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Return the first and last number of each run of ascending numbers."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def whole_rows(rows: list[Any], after: int) -> list[Any]:
    """Return the rows before the first one that is not as the server wrote it.

    They must be in the order of their ``n``, above ``after``, with the columns of `Salvage.messages`.
    """
    for place, (n, room, seq, *rest) in enumerate(rows):
        if type(n) is not int or n <= after or type(room) is not int or type(seq) is not int:
            return rows[:place]
        if not is_whole(*rest):
            return rows[:place]
        after = n
    return rows
