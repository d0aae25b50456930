"""``selchat export``: print the message history, oldest first, as text or JSON lines.

It reads the history file and never changes it; a server may write to the file at the same time. It reads a
thousand messages at a time: one long read transaction would keep SQLite from checkpointing the write-ahead
log, which would then grow during the whole export. Direct messages are private and not exported.
"""

from __future__ import annotations

import io
import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
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
from selchat.streams import BROKEN_PIPE, INTERRUPTED, OutputError
from selchat.text import escape_controls, name_key

WHISPERS = "@"  # first character of the log's rooms for direct messages
_BATCH = 1000  # messages per query
_BUSY_SECONDS = 5.0  # SQLite's busy timeout, for a server that is starting or was killed
_PROGRESS_DELAY = 2.0  # seconds before the first progress line
_ROOMS_SHOWN = 50

_COLUMNS = "SELECT n, room, seq, at, author, id, cipher, body FROM message"
_ALL = f"{_COLUMNS} WHERE n > ? AND n <= ? AND at >= ? ORDER BY n LIMIT {_BATCH}"
_ROOM = f"{_COLUMNS} WHERE room = ? AND seq > ? AND n <= ? AND at >= ? ORDER BY seq LIMIT {_BATCH}"


class NoHistoryError(HistoryError):
    template = "there is no history file {path}; give its path with --history=PATH"


class UnknownRoomError(UsageError):
    """The history has no such ``room``; ``rooms`` are its rooms."""

    def __init__(self, room: str, rooms: Sequence[str]) -> None:
        super().__init__(room, rooms)
        self.room = room
        self.rooms = rooms

    def __str__(self) -> str:
        if self.room.startswith(WHISPERS):
            return "direct messages are not exported"
        known = ", ".join(self.rooms[:_ROOMS_SHOWN]) or "none"
        more = len(self.rooms) - _ROOMS_SHOWN
        others = f" and {more} more" if more > 0 else ""
        return f"there is no room {self.room}; the rooms are: {known}{others}"


class Line(NamedTuple):
    """A message of the history. ``at`` is Unix time in seconds."""

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
        # JSON lines are for programs and always UTF-8; text is for people, in the encoding of their terminal.
        sys.stdout.reconfigure(encoding="utf-8" if name == "jsonl" else None, errors="backslashreplace")
    progress = Progress(sys.stderr) if sys.stderr.isatty() and not sys.stdout.isatty() else None
    try:
        export(path, options["--room"], since, name, sys.stdout, progress=progress)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard(sys.stdout)
        return BROKEN_PIPE
    except KeyboardInterrupt:
        _discard(sys.stdout)
        return INTERRUPTED
    except OSError as error:
        _discard(sys.stdout)
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
    """Write the messages of a room to ``out``; None: of all rooms, in the order of their arrival.

    ``since`` is Unix time in seconds. ``format`` is ``text`` or ``jsonl``. ``progress`` gets the number of
    written messages now and then. Messages that arrive after the start are not exported. Raises
    `HistoryError`, `UnknownRoomError` and the errors of ``out``.
    """
    format_line = _FORMATS[format]
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
                out.writelines(map(format_line, lines))
                written += len(lines)
                if progress is not None:
                    progress(written)
    except sqlite3.Error as error:
        raise UnusableHistoryError(path, cause(error)) from error


def parse_since(text: str, now: float) -> float:
    """Return the Unix time for ``2h``, ``1d12h``, ``2026-11-23`` or ``2026-11-23T14:03``.

    Dates and times are local unless they have a UTC offset. Raises `SettingError`.
    """
    with suppress(SettingError):
        return now - parse_duration(text, "--since")
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        expected = "a date or time such as 2026-11-23T14:03, or a time span such as 2h, 7d or 1h10m"
        raise SettingError("--since", text, expected) from None


class Progress:
    """Shows on a terminal how many messages were written, if the export takes a while."""

    def __init__(self, terminal: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._terminal = terminal
        self._clock = clock
        self._next = clock() + _PROGRESS_DELAY
        self._shown = 0

    def __call__(self, written: int) -> None:
        now = self._clock()
        if now >= self._next:
            self._next = now + _PROGRESS_DELAY / 10
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
    """Yield the messages in batches. No query is open between two batches."""
    names = {
        number: name
        for number, name in db.execute("SELECT id, name FROM room").fetchall()
        if not name.startswith(WHISPERS)
    }
    number = None if room is None else _find(room, names)
    [(last,)] = db.execute("SELECT max(n) FROM message").fetchall()
    last_read, oldest = 0, float("-inf") if since is None else since
    while last is not None:
        if number is None:
            rows = db.execute(_ALL, (last_read, last, oldest)).fetchall()
        else:
            rows = db.execute(_ROOM, (number, last_read, last, oldest)).fetchall()
        if not rows:
            return
        last_read = rows[-1][0 if number is None else 2]
        yield [Line(names[row[1]], *row[2:]) for row in rows if row[1] in names]


def _find(room: str, names: Mapping[int, str]) -> int:
    """Return the id of a room, in any spelling of its name."""
    key = name_key(room.removeprefix("#"))
    for number, name in names.items():
        if name == room or name_key(name) == key:
            return number
    raise UnknownRoomError(room, sorted(names.values()))


# -- writing ---------------------------------------------------------------------------------------------


def format_text(line: Line) -> str:
    """Return a message as text for people.

    Only the first line of a message starts in the first column, so that no body can forge another message.
    """
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(line.at))
    head = escape_controls(f"{when} [{line.room}] {line.author} > ")
    if line.cipher is not None and line.cipher.startswith(CIPHER_PREFIX):
        return f"{head}(encrypted)\n"
    if line.cipher is not None:
        head += escape_controls(f"(encrypted: {line.cipher}) ")
    return head + "\n    ".join(map(escape_controls, line.body.split("\n"))) + "\n"


def format_json(line: Line) -> str:
    """Return a message as a line of JSON, with escapes for all characters that could control a terminal."""
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


_FORMATS: Mapping[str, Callable[[Line], str]] = {"text": format_text, "jsonl": format_json}


def _discard(out: TextIO) -> None:
    """Redirect ``out`` to /dev/null, so that Python does not write the rest at exit and fail again."""
    try:
        descriptor = out.fileno()
    except (OSError, ValueError):
        return
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, descriptor)
    os.close(devnull)
