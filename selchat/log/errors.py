"""Errors of a history file. Their text is the one line that the operator sees."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from selchat.errors import UsageError, close_reason

_CAUSES = {  # by SQLite's primary result code; its own messages address the author of the statement
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk fails",
    sqlite3.SQLITE_READONLY: "the file is read-only",
    sqlite3.SQLITE_BUSY: "another program has locked the file",
    sqlite3.SQLITE_LOCKED: "another program has locked the file",
    sqlite3.SQLITE_CORRUPT: "the file is damaged",
    sqlite3.SQLITE_NOTADB: "the file is damaged",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened",
    sqlite3.SQLITE_PERM: "permission denied",
}


class HistoryError(UsageError):
    """A history file that selchat cannot use; ``path`` is the file."""

    template = "cannot use the history {path}"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return self.template.format(**vars(self))


class UnusableHistoryError(HistoryError):
    """``why``: the cause, as the system reports it."""

    template = "cannot use the history {path}: {why}"

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(path)
        self.args = (path, why)
        self.why = why


class NotAHistoryError(HistoryError):
    template = "{path} is not a selchat history, or it is damaged"


class HistoryVersionError(HistoryError):
    """``version`` of the file; ``known``: the latest version that this program supports."""

    def __init__(self, path: Path, version: int, known: int) -> None:
        super().__init__(path)
        self.args = (path, version, known)
        self.version = version
        self.known = known


class NewerHistoryError(HistoryVersionError):
    template = (
        "the history {path} has version {version}, but this selchat supports versions up to {known}; "
        "use a newer selchat"
    )


class OlderHistoryError(HistoryVersionError):
    template = (
        "the history {path} has version {version}, but this command needs version {known}; "
        "start a server with it once to upgrade it"
    )


class HistoryInUseError(HistoryError):
    """``user``: the id of the process that uses the file, as text; empty: unknown."""

    template = "the history {path} is in use by another server (process {user})"

    def __init__(self, path: Path, user: str) -> None:
        super().__init__(path)
        self.args = (path, user)
        self.user = user or "unknown"


def cause(error: Exception) -> str:
    """Return the cause of a failed read or write in a few words."""
    if isinstance(error, sqlite3.Error):
        # Errors of Python's sqlite3 module itself have no code. The low byte is the primary result code.
        return _CAUSES.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, str(error))
    if isinstance(error, UnicodeError):
        return "a text is not valid Unicode"
    return close_reason(error)
