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
    (NotAHistoryError(PATH), "/srv/h is not a history of selchat, or is damaged"),
    (
        NewerHistoryError(PATH, 3, 1),
        "the history /srv/h is of version 3, and this selchat knows only up to 1",
    ),
    (
        OlderHistoryError(PATH, 1, 3),
        "the history /srv/h is of version 1; a server that is started on it brings it to 3",
    ),
    (HistoryInUseError(PATH, "42"), "the history /srv/h is in use by another server (process 42)"),
]


@pytest.mark.parametrize(("error", "text"), TEXTS, ids=lambda value: type(value).__name__)
def test_each_error_says_in_one_line_what_happened(error: HistoryError, text: str) -> None:
    assert str(error) == text
    assert error.path == PATH
    assert isinstance(error, UsageError)
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied), str(copied)) == (type(error), text)


def failure(code: int, text: str = "the words of SQLite") -> sqlite3.Error:
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
        (failure(sqlite3.SQLITE_SCHEMA), "the words of SQLite"),
        (sqlite3.ProgrammingError("no code"), "no code"),
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on device"),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "no"), "a text is not Unicode"),
        (ZeroDivisionError("detail"), "internal error (ZeroDivisionError)"),
    ],
)
def test_a_cause_is_a_few_words(error: Exception, text: str) -> None:
    assert cause(error) == text
