"""What can be wrong with the file of a history. The text is the one line that the operator sees."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from selchat.errors import UsageError, close_reason

_CAUSES = {  # by SQLite's primary result code: its own words are meant for those who wrote the statement
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
    """A history that cannot be had; ``path`` is its file."""

    template = "cannot use the history {path}"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return self.template.format(**vars(self))


class UnusableHistoryError(HistoryError):
    """``why``: what the system says."""

    template = "cannot use the history {path}: {why}"

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(path)
        self.args = (path, why)
        self.why = why


class NotAHistoryError(HistoryError):
    template = "{path} is not a history of selchat, or is damaged"


class HistoryVersionError(HistoryError):
    """``version`` of the file, and ``known``, the newest one that this program knows."""

    def __init__(self, path: Path, version: int, known: int) -> None:
        super().__init__(path)
        self.args = (path, version, known)
        self.version = version
        self.known = known


class NewerHistoryError(HistoryVersionError):
    template = "the history {path} is of version {version}, and this selchat knows only up to {known}"


class OlderHistoryError(HistoryVersionError):
    template = (
        "the history {path} is of version {version}; a server that is started on it brings it to {known}"
    )


class HistoryInUseError(HistoryError):
    """``user``: the process that uses it, as a text; empty: unknown."""

    template = "the history {path} is in use by another server (process {user})"

    def __init__(self, path: Path, user: str) -> None:
        super().__init__(path)
        self.args = (path, user)
        self.user = user or "unknown"


def cause(error: Exception) -> str:
    """Return why something could not be read or stored, in a few words."""
    if isinstance(error, sqlite3.Error):
        # Errors of the sqlite3 module itself have no code. The low byte is the primary result code.
        return _CAUSES.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, str(error))
    if isinstance(error, UnicodeError):
        return "a text is not Unicode"
    return close_reason(error)
