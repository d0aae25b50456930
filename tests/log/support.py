"""Helpers: read a log, lock its file, and run scripts that write to it until they are killed."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selchat.events import Said
from selchat.log.port import Log
from selchat.log.retention import Retention
from selchat.log.sqlite import SqliteLog

ALL = 1 << 30
FOREVER = Retention()


@contextmanager
def opened(path: Path, retention: Retention = FOREVER, **options: Any) -> Iterator[SqliteLog]:
    log = SqliteLog(path, retention, **options)
    try:
        yield log
    finally:
        log.close()


def everything(log: Log, room: str) -> list[Said]:
    """Return all messages of a room; check that `after` and `before` agree."""
    found = log.after(room, 0, ALL, ALL)
    assert found == log.before(room, None, ALL, ALL)
    return found


def bodies(messages: list[Said]) -> list[str]:
    return [message.body for message in messages]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock the file as another program that writes to it does."""
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
    finally:
        other.close()


def check_integrity(path: Path) -> None:
    db = sqlite3.connect(path)
    try:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        db.close()


@contextmanager
def script(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run a Python script as a process; kill it at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
