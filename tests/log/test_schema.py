from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

import pytest

from selchat.log import schema
from selchat.log.errors import NewerHistoryError, NotAHistoryError, OlderHistoryError, UnusableHistoryError
from selchat.log.port import Sent
from selchat.log.schema import APPLICATION_ID, MIGRATIONS, VERSION
from tests.log.support import FOREVER, bodies, check_integrity, everything, opened

CLIENT = b"the id of a client"
ADDED = (*MIGRATIONS, ("CREATE TABLE added (x)", "ALTER TABLE room ADD COLUMN added TEXT"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite"


def build(path: Path, version: int) -> None:
    """Write a file as a program of that version did, with two messages."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    for statements in MIGRATIONS[:version]:
        for statement in statements:
            db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {version}")
    db.execute("UPDATE log SET id = 'b1946ac92492d234'")
    db.execute("INSERT INTO room (id, name, newest) VALUES (1, 'lobby', 9)")
    client_number = int.from_bytes(hashlib.blake2b(CLIENT, digest_size=8).digest(), "big", signed=True)
    for seq, client in ((8, None), (9, client_number)):
        db.execute(
            "INSERT INTO message (room, seq, at, author, client, id, cipher, body)"
            " VALUES (1, ?, 2.5, 'Venkat', ?, 'a7', 'toy', 'Hey!')",
            (seq, client),
        )
    db.execute("INSERT INTO record VALUES ('topic', 'lobby', 'tea')")
    db.close()


def shape(path: Path) -> set[tuple[str, ...]]:
    """Return the schema of a file."""
    db = sqlite3.connect(path)
    try:
        return set(db.execute("SELECT type, name, sql FROM sqlite_master"))
    finally:
        db.close()


def version_of(path: Path) -> tuple[int, int]:
    db = sqlite3.connect(path)
    try:
        return db.execute("PRAGMA application_id").fetchone() + db.execute("PRAGMA user_version").fetchone()
    finally:
        db.close()


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_file_of_every_version_works(path: Path, version: int) -> None:
    build(path, version)
    with opened(path) as log:
        assert log.id == "b1946ac92492d234"
        assert bodies(everything(log, "lobby")) == ["Hey!", "Hey!"]
        assert log.last_seq("lobby") == 9
        assert log.sent(CLIENT, 9) == [Sent("a7", "lobby", 9, 2.5)]
        assert log.records("topic") == {"lobby": "tea"}
        log.append("lobby", "Michael", ["hi"], 3.5)
        log.commit()
    with opened(path) as log:
        assert [said.seq for said in everything(log, "lobby")] == [8, 9, 10]
    assert version_of(path) == (APPLICATION_ID, VERSION)
    with opened(path.with_name("new")):
        pass
    assert shape(path) == shape(path.with_name("new"))
    check_integrity(path)


def test_older_file_is_migrated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(path, VERSION)
    before = shape(path)
    monkeypatch.setattr(schema, "MIGRATIONS", ADDED)
    monkeypatch.setattr(schema, "VERSION", VERSION + 1)
    with opened(path) as log:
        assert bodies(everything(log, "lobby")) == ["Hey!", "Hey!"]
    assert version_of(path) == (APPLICATION_ID, VERSION + 1)
    assert {name for _, name, _ in shape(path)} == {name for _, name, _ in before} | {"added"}
    monkeypatch.undo()
    with pytest.raises(NewerHistoryError) as caught, opened(path):
        pass
    assert (caught.value.version, caught.value.known) == (VERSION + 1, VERSION)
    text = f"has version {VERSION + 1}, but this selchat supports versions up to {VERSION};"
    assert text in str(caught.value)


def test_failed_migration_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(path, VERSION)
    before = shape(path)
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, ("CREATE TABLE added (x)", "DROP TABLE missing")))
    monkeypatch.setattr(schema, "VERSION", VERSION + 1)
    with pytest.raises(UnusableHistoryError), opened(path):
        pass
    assert shape(path) == before
    assert version_of(path) == (APPLICATION_ID, VERSION)
    monkeypatch.undo()
    with opened(path) as log:
        assert bodies(everything(log, "lobby")) == ["Hey!", "Hey!"]


def test_empty_file_becomes_a_history(path: Path) -> None:
    path.touch()
    with opened(path) as log:
        assert log.rooms() == []
    assert version_of(path) == (APPLICATION_ID, VERSION)


def test_reader_does_not_migrate(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(path, VERSION)
    before = shape(path)
    db = sqlite3.connect(path)
    try:
        schema.check(db, path)
        monkeypatch.setattr(schema, "MIGRATIONS", ADDED)
        monkeypatch.setattr(schema, "VERSION", VERSION + 1)
        with pytest.raises(OlderHistoryError) as caught:
            schema.check(db, path)
    finally:
        db.close()
    assert f"this command needs version {VERSION + 1};" in str(caught.value)
    assert shape(path) == before


def test_reader_rejects_an_empty_file(path: Path) -> None:
    db = sqlite3.connect(path)
    try:
        with pytest.raises(NotAHistoryError):
            schema.check(db, path)
    finally:
        db.close()


@pytest.mark.parametrize("pragma", ["user_version = 0", "user_version = -1", "application_id = 1"])
def test_file_with_a_wrong_pragma_is_no_history(path: Path, pragma: str) -> None:
    build(path, VERSION)
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA {pragma}")
    db.close()
    with pytest.raises(NotAHistoryError), opened(path, FOREVER):
        pass
