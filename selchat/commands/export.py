"""``selchat export``: print the message history, oldest first, as text or JSON lines.

It reads the history file and never changes it; a server may write to the file at the same time. It reads a
thousand messages at a time: one long read transaction would keep SQLite from checkpointing the write-ahead
log, which would then grow during the whole export. Direct messages are private and not exported.
"""

from __future__ import annotations

import io
import json
import os
import re
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from selchat.config.units import parse_duration
from selchat.errors import SettingError, UsageError, close_reason
from selchat.events import CIPHER_PREFIX
from selchat.limits import EXPORT_BATCH, EXPORT_PROGRESS_SECONDS, MAX_ROOMS_SHOWN
from selchat.log import schema
from selchat.log.check import open_read_only
from selchat.log.errors import HistoryError, UnusableHistoryError, cause
from selchat.log.lock import is_used_under_another_name
from selchat.log.salvage import Damage, Salvage, is_unreadable, read_until_damage, whole_rows
from selchat.paths import history_path
from selchat.streams import BROKEN_PIPE, INTERRUPTED, OutputError
from selchat.text import escape_controls, name_key

WHISPERS = "@"  # first character of the log's rooms for direct messages

_ENCRYPTED = "(encrypted"
_ESCAPES = tuple(r"\(nrtxuU")  # characters after a backslash that make an escape of it

_COLUMNS = "SELECT n, room, seq, at, author, id, cipher, body FROM message"
_SINCE = "n <= ? AND (at >= ? OR typeof(at) <> 'real')"  # without a time: the row is damaged
_ALL = f"{_COLUMNS} WHERE n > ? AND {_SINCE} ORDER BY n LIMIT {EXPORT_BATCH}"
_ROOM = f"{_COLUMNS} WHERE room = ? AND seq > ? AND {_SINCE} ORDER BY seq LIMIT {EXPORT_BATCH}"


class NoHistoryError(HistoryError):
    template = "there is no history file {path}; give its path with --history=PATH"


class DamagedHistoryError(HistoryError):
    """``damage``: the parts that could not be exported."""

    template = "the history {path} is damaged: {damage}"

    def __init__(self, path: Path, damage: Damage) -> None:
        super().__init__(path)
        self.args = (path, damage)
        self.damage = damage


class UnknownRoomError(UsageError):
    """The history has no such ``room``; ``rooms`` are its rooms."""

    def __init__(self, room: str, rooms: Sequence[str]) -> None:
        super().__init__(room, rooms)
        self.room = room
        self.rooms = rooms

    def __str__(self) -> str:
        if self.room.startswith(WHISPERS):
            return "direct messages are not exported"
        known = ", ".join(self.rooms[:MAX_ROOMS_SHOWN]) or "none"
        more = len(self.rooms) - MAX_ROOMS_SHOWN
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
    path = _history(options["--history"], options["--port"])
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
    `HistoryError`, `UnknownRoomError` and the errors of ``out``; `DamagedHistoryError` at the end, after all
    messages that can be read.
    """
    format_line = _FORMATS[format]
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise NoHistoryError(path) from None
    except OSError as error:
        raise UnusableHistoryError(path, cause(error)) from error
    if is_used_under_another_name(path):
        why = "a server uses this file under another name, where its newest messages are; give that path"
        raise UnusableHistoryError(path, why)
    written = 0
    try:
        with closing(open_read_only(path)) as db:
            schema.check(db, path)
            reader = _Reader(db, room, since)
            for lines in reader.read():
                out.writelines(map(format_line, lines))
                written += len(lines)
                if progress is not None:
                    progress(written)
            damage = reader.damage()
    except sqlite3.Error as error:
        raise UnusableHistoryError(path, cause(error)) from error
    if damage:
        raise DamagedHistoryError(path, damage)


_DURATION = re.compile(r"(?:[0-9]{1,30}[smhdw]){1,10}", re.IGNORECASE)  # or almost one


def parse_since(text: str, now: float) -> float:
    """Return the Unix time for ``2h``, ``1d12h``, ``2026-11-23`` or ``2026-11-23T14:03``.

    Dates and times are local unless they have a UTC offset. Raises `SettingError`.
    """
    try:
        return now - parse_duration(text, "--since")
    except SettingError as error:
        too_long = error
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        if _DURATION.fullmatch(text):
            raise too_long from None
        expected = "a date or time such as 2026-11-23T14:03, or a time span such as 2h, 7d or 1h10m"
        raise SettingError("--since", text, expected) from None


def _history(path: str | None, port: str | None) -> Path:
    """Return the history file for the options. Raises `SettingError`."""
    if port is None:
        if path == "":
            raise SettingError("--history", path, "a path")
        return history_path() if path is None else Path(path)
    if path is not None:
        raise SettingError("--port", port, "possible together with --history")
    if not re.fullmatch("[0-9]{1,5}", port) or not 1 <= int(port) <= 65_535:
        raise SettingError("--port", port, "a port number from 1 to 65535")
    return history_path(int(port))


class Progress:
    """Shows on a terminal how many messages were written, if the export takes a while."""

    def __init__(self, terminal: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._terminal = terminal
        self._clock = clock
        self._next = clock() + EXPORT_PROGRESS_SECONDS
        self._shown = 0

    def __call__(self, written: int) -> None:
        now = self._clock()
        if now >= self._next:
            self._next = now + EXPORT_PROGRESS_SECONDS / 10
            self._shown = written
            self._terminal.write(f"\r{written:,} messages")
            self._terminal.flush()

    def close(self) -> None:
        """End the line."""
        if self._shown:
            self._terminal.write("\n")


# -- reading ---------------------------------------------------------------------------------------------


class _Reader:
    """Reads the messages of ``room`` since ``since``; see `export`."""

    def __init__(self, db: sqlite3.Connection, room: str | None, since: float | None) -> None:
        self._db = db
        self._since = float("-inf") if since is None else since
        self._salvage = Salvage(db)
        self._all_rooms = self._salvage.rooms()
        # Of the rooms to export, by number.
        self._names = {
            number: name for number, (name, _) in self._all_rooms.items() if not name.startswith(WHISPERS)
        }
        self._number = None if room is None else _find(room, self._names)
        if self._number is not None:
            self._names = {self._number: self._names[self._number]}

    def read(self) -> Iterator[list[Line]]:
        """Yield the messages in batches. No query is open between two batches."""
        first, last = self._salvage.bounds()
        last_n, last_seq = first, 0
        while True:
            if self._number is None:
                query, start = _ALL, [last_n]
            else:
                query, start = _ROOM, [self._number, last_seq]
            rows, damaged = read_until_damage(self._db, query, [*start, last, self._since], is_unreadable)
            good = whole_rows(rows, last_n)
            if good:
                last_n, _, last_seq, *_ = good[-1]
                yield self._lines(good)
            if damaged or len(good) < len(rows):
                break
            if not rows:
                return
        # Read on in the order of arrival, without an index.
        for batch in self._salvage.messages(last_n, last):
            yield self._lines(row for row in batch if row[3] >= self._since)

    def _lines(self, rows: Iterable[Any]) -> list[Line]:
        lines = []
        for n, room, *rest in rows:
            name = self._names.get(room)
            if name is not None:
                lines.append(Line(name, *rest))
            elif room not in self._all_rooms:  # it could be a direct message
                self._salvage.lost.add(n)
        return lines

    def damage(self) -> Damage:
        """Return which of the messages could not be read."""
        found = self._salvage.damage(self._all_rooms)
        names = set(self._names.values())
        return found._replace(messages=[one for one in found.messages if one.room in names])


def _find(room: str, names: Mapping[int, str]) -> int:
    """Return the id of a room, in any spelling of its name."""
    key = name_key(room.removeprefix("#"))
    for number, name in names.items():
        if name == room or name_key(name) == key:
            return number
    raise UnknownRoomError(room, sorted(names.values()))


# -- writing ---------------------------------------------------------------------------------------------


def format_text(line: Line) -> str:
    r"""Return a message as text for people: ``TIME [ROOM] NAME > BODY``.

    It is unambiguous: no name, room or body can look like another message.

    - Only the first line of a message starts in the first column; the others are indented by four spaces.
    - Names and rooms with special characters are in double quotes, as in JSON.
    - Characters that could control a terminal are escapes such as ``\x1b``. A backslash that could be
      mistaken for one is doubled.
    - Only the server writes ``(encrypted...`` at the start of a body. A user's own is ``\(encrypted...``.
    """
    head = f"{_local_time(line.at)} [{_quoted(line.room, '[]')}] {_quoted(line.author, '>')} > "
    if line.cipher is not None and line.cipher.startswith(CIPHER_PREFIX):
        return f"{head}{_ENCRYPTED})\n"
    body = "\n    ".join(map(_escaped, line.body.split("\n")))
    if line.cipher is not None:
        head += f"{_ENCRYPTED}: {_quoted(line.cipher, '()')}) "
    elif body.startswith(_ENCRYPTED):
        head += "\\"
    return f"{head}{body}\n"


def _quoted(text: str, special: str) -> str:
    """Return the text; in quotes if it is empty or has special characters, escapes or outer spaces."""
    is_plain = text and text.strip() == text and escape_controls(text) == text
    if is_plain and not any(character in text for character in f'"\\{special}'):
        return text
    return _printable(json.dumps(text, ensure_ascii=False))


def _escaped(text: str) -> str:
    """Return a line of a body with escapes that can be reversed."""
    if "\\" not in text:
        return escape_controls(text)
    shown = list(map(escape_controls, text))
    for place, (one, following) in enumerate(zip(shown, [*shown[1:], ""], strict=True)):
        if one == "\\" and following.startswith(_ESCAPES):
            shown[place] = "\\\\"
    return "".join(shown)


def _local_time(at: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    except (ValueError, OverflowError, OSError):  # from a damaged file
        return "????-??-?? ??:??:??"


def format_json(line: Line) -> str:
    """Return a message as a line of JSON, with escapes for all characters that could control a terminal."""
    message: dict[str, object] = {
        "room": line.room,
        "seq": line.seq,
        "at": _utc(line.at),
        "from": line.author,
        "body": line.body,
    }
    if line.id:
        message["id"] = line.id
    if line.cipher is not None:
        message["cipher"] = line.cipher
    return _printable(json.dumps(message, ensure_ascii=False)) + "\n"


def _printable(text: str) -> str:
    """Return JSON with escapes for all characters that could control a terminal."""
    if text.isprintable():
        return text
    return "".join([one if one.isprintable() else json.dumps(one)[1:-1] for one in text])


def _utc(at: float) -> str | None:
    try:
        found = datetime.fromtimestamp(round(at, 3), UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):  # from a damaged file
        return None
    return found.replace("+00:00", "Z")


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
