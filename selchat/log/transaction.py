"""SQLite transactions on a connection with ``isolation_level=None``."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commit all changes of the block, or roll them back. Raises sqlite3.Error."""
    if db.in_transaction:  # the disk failed so badly that the last rollback failed too
        db.execute("ROLLBACK")
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # some errors end the transaction themselves
            db.execute("ROLLBACK")
        raise
