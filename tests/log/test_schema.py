from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from selchat.log import schema
from selchat.log.errors import NewerHistoryError, NotAHistoryError, OlderHistoryError, UnusableHistoryError
from selchat.log.port import Sent
from selchat.log.schema import APPLICATION_ID, MIGRATIONS, VERSION
from tests.log.support import FOREVER, bodies, check_integrity, everything, opened

ADDED = (*MIGRATIONS, ("CREATE TABLE added (x)", "ALTER TABLE room ADD COLUMN added TEXT"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite"


def build(path: Path, version: int) -> None:
    """Make the file that a program of that version has left behind, with two messages in it."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    for statements in MIGRATIONS[:version]:
        for statement in statements:
            db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {version}")
    db.execute("UPDATE log SET id = 'b1946ac92492d234'")
    db.execute("INSERT INTO room (id, name, newest) VALUES (1, 'lobby', 9)")
    for seq, client in ((8, None), (9, 0x4142434445464748)):
        db.execute(
            "INSERT INTO message (room, seq, at, author, client, id, cipher, body)"
            " VALUES (1, ?, 2.5, 'Venkat', ?, 'a7', 'toy', 'Hey!')",
            (seq, client),
        )
    db.execute("INSERT INTO record VALUES ('topic', 'lobby', 'tea')")
    db.close()


def shape(path: Path) -> set[tuple[str, ...]]:
    """Return what a file is made of."""
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
def test_a_file_of_every_version_can_be_used(
    path: Path, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selchat.log.sqlite._client_number", lambda client: int.from_bytes(client, "big"))
    build(path, version)
    with opened(path) as log:
        assert log.id == "b1946ac92492d234"
        assert bodies(everything(log, "lobby")) == ["Hey!", "Hey!"]
        assert log.last_seq("lobby") == 9
        assert log.sent(b"ABCDEFGH", 9) == [Sent("a7", "lobby", 9, 2.5)]
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


def test_a_file_of_the_version_before_is_migrated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    expected = f"the history {path} is of version {VERSION + 1}, and this selchat knows only up to {VERSION}"
    assert str(caught.value) == expected


def test_a_migration_is_done_as_a_whole_or_not_at_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_an_empty_file_becomes_a_history(path: Path) -> None:
    path.touch()
    with opened(path) as log:
        assert log.rooms() == []
    assert version_of(path) == (APPLICATION_ID, VERSION)


def test_those_that_only_read_migrate_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert f"a server that is started on it brings it to {VERSION + 1}" in str(caught.value)
    assert shape(path) == before


def test_an_empty_file_has_nothing_to_read(path: Path) -> None:
    db = sqlite3.connect(path)
    try:
        with pytest.raises(NotAHistoryError):
            schema.check(db, path)
    finally:
        db.close()


@pytest.mark.parametrize("pragma", ["user_version = 0", "user_version = -1", "application_id = 1"])
def test_what_is_almost_a_history_is_none(path: Path, pragma: str) -> None:
    build(path, VERSION)
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA {pragma}")
    db.close()
    with pytest.raises(NotAHistoryError), opened(path, FOREVER):
        pass
