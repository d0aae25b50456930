from __future__ import annotations

import errno
import pickle
import sqlite3
from pathlib import Path

import pytest

from selchat.errors import UsageError
from selchat.log.errors import (
    HistoryError,
    HistoryInUseError,
    NewerHistoryError,
    NotAHistoryError,
    OlderHistoryError,
    UnusableHistoryError,
    cause,
)

PATH = Path("/srv/h")

TEXTS = [
    (HistoryError(PATH), "cannot use the history /srv/h"),
    (UnusableHistoryError(PATH, "no space"), "cannot use the history /srv/h: no space"),
    (NotAHistoryError(PATH), "/srv/h is not a selchat history, or it is damaged"),
    (
        NewerHistoryError(PATH, 3, 1),
        "the history /srv/h has version 3, but this selchat supports versions up to 1; use a newer selchat",
    ),
    (
        OlderHistoryError(PATH, 1, 3),
        "the history /srv/h has version 1, but this command needs version 3; "
        "start a server with it once to upgrade it",
    ),
    (HistoryInUseError(PATH, "42"), "the history /srv/h is in use by another server (process 42)"),
]


@pytest.mark.parametrize(("error", "text"), TEXTS, ids=lambda value: type(value).__name__)
def test_error_text_is_one_line(error: HistoryError, text: str) -> None:
    assert str(error) == text
    assert error.path == PATH
    assert isinstance(error, UsageError)
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied), str(copied)) == (type(error), text)


def failure(code: int, text: str = "SQLite's own message") -> sqlite3.Error:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (failure(sqlite3.SQLITE_FULL), "the disk is full"),
        (failure(sqlite3.SQLITE_IOERR_WRITE), "the disk fails"),
        (failure(sqlite3.SQLITE_READONLY_DBMOVED), "the file is read-only"),
        (failure(sqlite3.SQLITE_BUSY_SNAPSHOT), "another program has locked the file"),
        (failure(sqlite3.SQLITE_CORRUPT_VTAB), "the file is damaged"),
        (failure(sqlite3.SQLITE_CANTOPEN_ISDIR), "the file cannot be opened"),
        (failure(sqlite3.SQLITE_SCHEMA), "SQLite's own message"),
        (sqlite3.ProgrammingError("no code"), "no code"),
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on device"),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "no"), "a text is not valid Unicode"),
        (ZeroDivisionError("detail"), "internal error (ZeroDivisionError)"),
    ],
)
def test_cause_is_a_short_phrase(error: Exception, text: str) -> None:
    assert cause(error) == text
