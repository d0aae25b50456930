from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from selchat.log.transaction import transaction


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute("CREATE TABLE t (x UNIQUE)")
    yield db
    db.close()


def rows(db: sqlite3.Connection) -> list[int]:
    assert not db.in_transaction
    return [x for (x,) in db.execute("SELECT x FROM t")]


def test_transaction_commits_all_of_it(db: sqlite3.Connection) -> None:
    with transaction(db):
        db.executemany("INSERT INTO t VALUES (?)", [(1,), (2,)])
    assert rows(db) == [1, 2]


@pytest.mark.parametrize("error", [sqlite3.IntegrityError, KeyboardInterrupt])
def test_failed_transaction_commits_nothing(db: sqlite3.Connection, error: type[BaseException]) -> None:
    with pytest.raises(error), transaction(db):
        db.executemany("INSERT INTO t VALUES (?)", [(1,), (2,)])
        if error is KeyboardInterrupt:
            raise KeyboardInterrupt
        db.execute("INSERT INTO t VALUES (1)")
    assert rows(db) == []


def test_error_that_already_rolled_back_is_passed_on(db: sqlite3.Connection) -> None:
    db.execute("CREATE TRIGGER no BEFORE INSERT ON t WHEN new.x = 2 BEGIN SELECT RAISE(ROLLBACK, 'no'); END")
    with pytest.raises(sqlite3.IntegrityError, match="no"), transaction(db):
        db.executemany("INSERT INTO t VALUES (?)", [(1,), (2,)])
    assert rows(db) == []


def test_next_transaction_rolls_back_a_stuck_one(db: sqlite3.Connection) -> None:
    db.execute("BEGIN")
    db.execute("INSERT INTO t VALUES (1)")
    with transaction(db):
        db.execute("INSERT INTO t VALUES (2)")
    assert rows(db) == [2]
