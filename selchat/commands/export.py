"""``selchat export``: what was said, oldest first, as lines for people or for programs.

It reads the file of the history, while a server writes it or not, and never changes it. It takes a thousand
messages at a time: a reader that held on to one state of the file would keep the server from moving its
write-ahead log into it, and the log would grow for as long as the export takes. Whispers are nobody else's
business and are not exported.
"""

from __future__ import annotations

import io
import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TextIO
from urllib.parse import quote

from selchat.config.units import parse_duration
from selchat.errors import SettingError, UsageError, close_reason
from selchat.events import CIPHER_PREFIX
from selchat.log import schema
from selchat.log.errors import HistoryError, UnusableHistoryError, cause
from selchat.paths import history_path
from selchat.text import escape_controls, name_key

WHISPERS = "@"  # what the names of the log's rooms for whispers begin with
_STEP = 1000  # messages read at a time
_BUSY_SECONDS = 5.0  # to wait for a server that has just been started, or killed
_PATIENCE = 2.0  # seconds before there is a word about the progress
_ROOMS_SHOWN = 50
_BROKEN_PIPE = 141  # as shells report a process that SIGPIPE has ended

_COLUMNS = "SELECT n, room, seq, at, author, id, cipher, body FROM message"
_ALL = f"{_COLUMNS} WHERE n > ? AND n <= ? AND at >= ? ORDER BY n LIMIT {_STEP}"
_ROOM = f"{_COLUMNS} WHERE room = ? AND seq > ? AND n <= ? AND at >= ? ORDER BY seq LIMIT {_STEP}"



class NoHistoryError(HistoryError):
    template = "there is no history {path}; --history=PATH says where it is"


class UnknownRoomError(UsageError):
    """``room`` that was asked for, and the ``rooms`` that there are."""

    def __init__(self, room: str, rooms: Sequence[str]) -> None:
        super().__init__(room, rooms)
        self.room = room
        self.rooms = rooms

    def __str__(self) -> str:
        if self.room.startswith(WHISPERS):
            return "whispers are not exported"
        known = ", ".join(self.rooms[:_ROOMS_SHOWN]) or "none"
        more = len(self.rooms) - _ROOMS_SHOWN
        return f"there is no room {self.room}; there are: {known}" + (f" and {more} more" if more > 0 else "")


class OutputError(UsageError):
    """``why`` the output cannot be written."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"cannot write what is exported: {self.why}"


class Line(NamedTuple):
    """A message of the history; ``at`` in seconds of Unix time."""

    room: str
    seq: int
    at: float
    author: str
    id: str
    cipher: str | None
    body: str


def main(options: Mapping[str, Any]) -> int:
    """Run ``selchat export`` with docopt's options and return the exit status. Raises `SelchatError`."""
    name = options["--format"]
    if name not in _FORMATS:
        raise SettingError("--format", name, "text or jsonl")
    since = None if options["--since"] is None else parse_since(options["--since"], time.time())
    path = history_path() if options["--history"] is None else Path(options["--history"])
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Programs read jsonl, in UTF-8 always; people read text, in what their terminal takes.
        sys.stdout.reconfigure(encoding="utf-8" if name == "jsonl" else None, errors="backslashreplace")
    progress = Progress(sys.stderr) if sys.stderr.isatty() and not sys.stdout.isatty() else None
    try:
        export(path, options["--room"], since, name, sys.stdout, progress=progress)
        sys.stdout.flush()
    except BrokenPipeError:
        _give_up(sys.stdout)
        return _BROKEN_PIPE
    except KeyboardInterrupt:
        _give_up(sys.stdout)
        return 130  # as shells report a process that SIGINT has ended
    except OSError as error:
        _give_up(sys.stdout)
        raise OutputError(close_reason(error)) from error
    finally:
        if progress is not None:
            progress.close()
    return 0


def export(
    path: Path,
    room: str | None,
    since: float | None,
    format: str,
    out: TextIO,
    *,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write the messages of a room (None: of all rooms, in the order in which they were said) to ``out``.

    ``since``: seconds of Unix time. ``format``: ``text`` or ``jsonl``. ``progress`` is told now and then how
    many were written. What is said after the start is not exported. Raises `HistoryError`,
    `UnknownRoomError` and what ``out`` does.
    """
    as_text = _FORMATS[format]
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise NoHistoryError(path) from None
    except OSError as error:
        raise UnusableHistoryError(path, cause(error)) from error
    written = 0
    try:
        with closing(_open(path)) as db:
            for lines in _read(db, room, since):
                out.writelines(map(as_text, lines))
                written += len(lines)
                if progress is not None:
                    progress(written)
    except sqlite3.Error as error:
        raise UnusableHistoryError(path, cause(error)) from error


def parse_since(text: str, now: float) -> float:
    """Return the Unix time that ``2h``, ``7d``, ``2026-11-23`` or ``2026-11-23T14:03`` stands for.

    Dates and times are local ones, if they do not say otherwise. Raises `SettingError`.
    """
    seconds = parse_duration(text)
    if seconds is not None:
        return now - seconds
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        wanted = "a date or time such as 2026-11-23T14:03, or how long ago, such as 2h or 7d"
        raise SettingError("--since", text, wanted) from None


class Progress:
    """Says on a terminal how many messages were written, when it takes a while."""

    def __init__(self, terminal: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._terminal = terminal
        self._clock = clock
        self._next = clock() + _PATIENCE
        self._shown = 0

    def __call__(self, written: int) -> None:
        now = self._clock()
        if now >= self._next:
            self._next = now + _PATIENCE / 10
            self._shown = written
            self._terminal.write(f"\r{written:,} messages")
            self._terminal.flush()

    def close(self) -> None:
        """End the line."""
        if self._shown:
            self._terminal.write("\n")


# -- reading ---------------------------------------------------------------------------------------------


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, timeout=_BUSY_SECONDS, isolation_level=None
    )
    try:
        schema.check(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _read(db: sqlite3.Connection, room: str | None, since: float | None) -> Iterator[list[Line]]:
    """Yield the messages in lists. No query is open while the caller has one of them."""
    names = {
        number: name
        for number, name in db.execute("SELECT id, name FROM room").fetchall()
        if not name.startswith(WHISPERS)
    }
    number = None if room is None else _find(room, names)
    [(last,)] = db.execute("SELECT max(n) FROM message").fetchall()
    place, oldest = 0, float("-inf") if since is None else since
    while last is not None:
        if number is None:
            rows = db.execute(_ALL, (place, last, oldest)).fetchall()
        else:
            rows = db.execute(_ROOM, (number, place, last, oldest)).fetchall()
        if not rows:
            return
        place = rows[-1][0 if number is None else 2]
        yield [Line(names[row[1]], *row[2:]) for row in rows if row[1] in names]


def _find(room: str, names: Mapping[int, str]) -> int:
    """Return the number of the room, however the name is written."""
    key = name_key(room.removeprefix("#"))
    for number, name in names.items():
        if name == room or name_key(name) == key:
            return number
    raise UnknownRoomError(room, sorted(names.values()))


# -- writing ---------------------------------------------------------------------------------------------


def _as_text(line: Line) -> str:
    """Return a message for people.

    Only the first line of a message begins in the first column: nothing that is said looks like a message of
    someone else's.
    """
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(line.at))
    head = escape_controls(f"{when} [{line.room}] {line.author} > ")
    if line.cipher is not None and line.cipher.startswith(CIPHER_PREFIX):
        return f"{head}(encrypted)\n"
    if line.cipher is not None:
        head += escape_controls(f"(encrypted: {line.cipher}) ")
    return head + "\n    ".join(map(escape_controls, line.body.split("\n"))) + "\n"


def _as_json(line: Line) -> str:
    """Return a message as a line of JSON, in which everything that a terminal could act on is an escape."""
    at = datetime.fromtimestamp(round(line.at, 3), UTC).isoformat(timespec="milliseconds")
    message: dict[str, object] = {
        "room": line.room,
        "seq": line.seq,
        "at": at.replace("+00:00", "Z"),
        "from": line.author,
        "body": line.body,
    }
    if line.id:
        message["id"] = line.id
    if line.cipher is not None:
        message["cipher"] = line.cipher
    text = json.dumps(message, ensure_ascii=False)
    if not text.isprintable():
        text = "".join([one if one.isprintable() else json.dumps(one)[1:-1] for one in text])
    return text + "\n"


_FORMATS: Mapping[str, Callable[[Line], str]] = {"text": _as_text, "jsonl": _as_json}


def _give_up(out: TextIO) -> None:
    """Have what is left for ``out`` go nowhere, so that Python does not try again when it ends."""
    try:
        descriptor = out.fileno()
    except (OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
