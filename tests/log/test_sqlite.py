"""Tests of `SqliteLog` alone: durability, failures and expiry. ``test_logs`` has the tests for every log."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from selchat.log.errors import HistoryError, HistoryInUseError, NotAHistoryError, UnusableHistoryError
from selchat.log.port import NotReadableError, NotStoredError, Sent
from selchat.log.retention import Retention
from selchat.log.sqlite import SqliteLog
from tests.chat.support import reachable_objects
from tests.log.support import ALL, FOREVER, bodies, check_integrity, everything, locked, opened, script

DAY = 86_400.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "history.sqlite"


@pytest.fixture
def log(path: Path) -> Iterator[SqliteLog]:
    with opened(path) as log:
        yield log


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """The connections that are opened from now on."""
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def connect_and_record(*arguments: Any, **options: Any) -> sqlite3.Connection:
        opened.append(connect(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", connect_and_record)
    return opened


# -- durability ----------------------------------------------------------------------------------------------


def test_reopened_log_has_every_commit_and_nothing_else(path: Path) -> None:
    with opened(path) as log:
        said = log.append("lobby", "Venkat", ["a", "b"], 1.25, ["1", "2"], ["toy", None], b"venkat")
        log.append("attic", "Michael", ["c"], 2.5)
        log.put("topic", "lobby", "tea")
        log.commit()
        log.append("lobby", "Venkat", ["never committed"], 3)
        log.put("topic", "attic", "nor this")
        id = log.id
    with opened(path) as log:
        assert log.id == id
        assert everything(log, "lobby") == said
        assert sorted(log.rooms()) == ["attic", "lobby"]
        assert (log.last_seq("lobby"), log.last_seq("attic")) == (2, 1)
        assert log.sent(b"venkat", 9) == [Sent("1", "lobby", 1, 1.25), Sent("2", "lobby", 2, 1.25)]
        assert log.records("topic") == {"lobby": "tea"}
        assert [one.seq for one in log.append("lobby", "Venkat", ["d"], 4)] == [3]
        assert [one.seq for one in log.append("cellar", "Venkat", ["d"], 4)] == [1]
        log.commit()
    with opened(path) as log:
        assert (log.last_seq("lobby"), log.last_seq("cellar")) == (3, 1)
    check_integrity(path)


def test_commit_is_in_the_file_before_close(log: SqliteLog, path: Path) -> None:
    log.append("lobby", "Venkat", ["Hey!"], 1)
    log.commit()
    copy = path.parent / "copy"
    for suffix in ("", "-wal"):  # the state after a crash at this moment
        shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
    with opened(copy) as found:
        assert bodies(everything(found, "lobby")) == ["Hey!"]


def test_commit_syncs_to_the_disk(connections: list[sqlite3.Connection], path: Path) -> None:
    with opened(path):
        [db] = connections
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


WRITER = """
import sys
from selchat.log.sqlite import Retention, SqliteLog
log = SqliteLog(sys.argv[1], Retention(size=1 << 20))
start = int(sys.argv[2])
for number in range(start, start + 1_000_000):
    for room in ("lobby", "attic"):
        ids = [f"{room}-{number}-{part}" for part in range(3)]
        said = log.append(room, "me", ["x" * 200] * 3, number, ids, (), b"client")
    log.put("newest", "lobby", str(said[-1].seq))
    log.commit()
    print(said[-1].seq, flush=True)
    if number % 7 == 0:
        log.expire(number)
"""


def test_commit_survives_kill_9(path: Path) -> None:
    last = 0
    for commits in (1, 40, 25, 400):
        with script(WRITER, path, last) as process:
            assert process.stdout is not None
            for _ in range(commits):
                last = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            last = int((process.stdout.read().split() or [last])[-1])
        with opened(path) as log:
            for room in ("lobby", "attic"):
                seqs = [said.seq for said in everything(log, room)]
                assert seqs == list(range(seqs[0], seqs[-1] + 1)), "no gaps, no duplicates"
                assert log.last_seq(room) == seqs[-1]
                assert seqs[-1] in {last, last + 3}, (
                    "every reported commit, and at most one that was not reported yet"
                )
                assert seqs[-1] % 3 == 0, "no partial batch"
            assert log.last_seq("attic") == log.last_seq("lobby")
            assert log.records("newest") == {"lobby": str(log.last_seq("lobby"))}
            assert len({(sent.room, sent.seq) for sent in log.sent(b"client", ALL)}) == 2 * len(seqs)
            last = log.last_seq("lobby")
        check_integrity(path)


# -- access ------------------------------------------------------------------------------------------


def test_files_and_folders_are_private(log: SqliteLog, path: Path) -> None:
    log.append("lobby", "Venkat", ["Hey!"], 1)
    log.commit()
    names = {"history.sqlite", "history.sqlite-wal", "history.sqlite-shm", "history.sqlite.lock"}
    assert {file.name for file in path.parent.iterdir()} == names
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_existing_files_keep_their_mode(path: Path) -> None:
    path.parent.mkdir(mode=0o750)
    path.touch(mode=0o640)
    with opened(path):
        pass
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750


def test_second_server_is_refused(log: SqliteLog, path: Path) -> None:
    alias = path.parent.parent / "alias"
    alias.symlink_to(path)
    for name in (path, str(path), alias, path.parent / ".." / "data" / "history.sqlite"):
        with pytest.raises(HistoryInUseError) as caught:
            SqliteLog(name, FOREVER)
        assert caught.value.user == str(os.getpid())
        assert f"in use by another server (process {os.getpid()})" in str(caught.value)
    log.close()
    with opened(path) as again:
        assert again.rooms() == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot lock the file itself")
def test_second_server_with_another_hard_link_is_refused(log: SqliteLog, path: Path) -> None:
    (path.parent / "elsewhere").mkdir()
    link = path.parent / "elsewhere" / "link"
    link.hardlink_to(path)
    with pytest.raises(HistoryInUseError) as caught:
        SqliteLog(link, FOREVER)
    assert caught.value.path == link
    (path.parent / "history.sqlite.lock").unlink()
    with pytest.raises(HistoryInUseError):
        SqliteLog(path, FOREVER)
    log.append("lobby", "n", ["x"], 0)
    log.commit()
    log.close()
    with opened(link) as again:
        assert bodies(everything(again, "lobby")) == ["x"]


def test_another_process_can_read_during_writes(log: SqliteLog, path: Path) -> None:
    log.append("lobby", "Venkat", ["a"], 1)
    log.commit()
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT body FROM message").fetchall() == [("a",)]
        log.append("lobby", "Venkat", ["b"], 1)
        log.commit()
        assert reader.execute("SELECT body FROM message").fetchall() == [("a",)]
    reader.close()
    assert bodies(everything(log, "lobby")) == ["a", "b"]


@pytest.mark.parametrize("name", ["a b", "ü", ":memory:", "file:x?mode=memory", "a%20b", "x?y#z"])
def test_file_may_have_any_name(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        with opened(Path(name)) as log:
            assert [said.seq for said in log.append("lobby", "n", ["x"], 0)] == [number]
            log.commit()
    assert (tmp_path / name).is_file()


@pytest.mark.parametrize(
    "content", [b"xy", b"not a database, but long enough to have been one" * 99, b"SQLite format 3"]
)
def test_other_kind_of_file_is_refused_and_unchanged(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(NotAHistoryError) as caught:
        SqliteLog(path, FOREVER)
    assert str(caught.value) == f"{path} is not a selchat history, or it is damaged"
    assert path.read_bytes() == content


def test_database_of_another_program_is_refused_and_unchanged(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE message (n)")
    other.close()
    content = path.read_bytes()
    with pytest.raises(NotAHistoryError):
        SqliteLog(path, FOREVER)
    assert path.read_bytes() == content


def test_folder_pipe_and_path_through_a_file_are_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "folder", Path("/")):
        folder.mkdir(exist_ok=True)
        with pytest.raises(UnusableHistoryError, match="it is a directory"):
            SqliteLog(folder, FOREVER)
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnusableHistoryError, match="it is not a file"):
        SqliteLog(tmp_path / "pipe", FOREVER)
    (tmp_path / "file").touch()
    with pytest.raises(UnusableHistoryError):
        SqliteLog(tmp_path / "file" / "history", FOREVER)


def test_folder_that_cannot_be_created_is_refused() -> None:
    with pytest.raises(UnusableHistoryError):
        SqliteLog("/proc/selchat/history", FOREVER)


@pytest.mark.parametrize("page", [0, 1, 2])
def test_file_with_a_damaged_schema_or_rooms_is_refused(path: Path, page: int) -> None:
    with opened(path) as log:
        log.append("lobby", "n", ["x"], 0)
        log.commit()
    with path.open("r+b") as file:
        file.seek(4096 * page + (100 if page == 0 else 0))
        file.write(b"\xa5" * (4096 - (100 if page == 0 else 0)))
    with pytest.raises(HistoryError) as caught:
        SqliteLog(path, FOREVER)
    assert str(path) in str(caught.value)
    assert "damaged" in str(caught.value)


def test_locked_file_is_refused(path: Path) -> None:
    path.parent.mkdir()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(UnusableHistoryError, match="another program has locked the file"):
        SqliteLog(path, FOREVER, busy_seconds=0.0)
    other.close()
    with opened(path) as log:
        assert log.rooms() == []


def test_file_system_must_support_a_write_ahead_log(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda _path, **options: connect(":memory:", **options))
    with pytest.raises(UnusableHistoryError, match="this file system does not support a write-ahead log"):
        SqliteLog(path, FOREVER)


# -- failure and recovery -----------------------------------------------------------------------------------


def test_failed_commit_stores_nothing_and_reuses_its_numbers(path: Path) -> None:
    with opened(path, busy_seconds=0.0) as log:
        kept = log.append("lobby", "n", ["a"], 0)
        log.commit()
        log.append("lobby", "n", ["lost", "lost"], 0, ["1", "2"], (), b"client")
        log.append("new", "n", ["lost"], 0)
        log.put("topic", "lobby", "tea")
        with locked(path), pytest.raises(NotStoredError) as caught:
            log.commit()
        assert caught.value.why == "another program has locked the file"
        assert everything(log, "lobby") == kept
        assert (log.last_seq("lobby"), log.last_seq("new"), log.rooms()) == (1, 0, ["lobby"])
        assert log.sent(b"client", 9) == []
        assert log.staged, "records stay staged"
        assert log.records("topic") == {"lobby": "tea"}
        again = log.append("lobby", "n", ["b"], 0) + log.append("new", "n", ["c"], 0)
        assert [(said.room, said.seq) for said in again] == [("lobby", 2), ("new", 1)]
        log.commit()
        assert not log.staged
    with opened(path) as log:
        assert bodies(everything(log, "lobby")) == ["a", "b"]
        assert bodies(everything(log, "new")) == ["c"]
        assert log.records("topic") == {"lobby": "tea"}


def test_commit_that_fails_halfway_stores_nothing(log: SqliteLog) -> None:
    log.append("lobby", "n", ["good", "bad \ud800", "good"], 0)
    with pytest.raises(NotStoredError, match="a text is not valid Unicode"):
        log.commit()
    assert (everything(log, "lobby"), log.last_seq("lobby")) == ([], 0)
    assert not log.staged
    log.append("lobby", "n", ["good"], 0)
    log.commit()
    assert [said.seq for said in everything(log, "lobby")] == [1]


def test_record_that_can_never_be_stored_is_refused_at_once(log: SqliteLog) -> None:
    for arguments in (("\ud800", "", ""), ("", "\ud800", ""), ("", "", "\ud800"), ("", "\ud800", None)):
        with pytest.raises(UnicodeEncodeError):
            log.put(*arguments)
    assert not log.staged


def test_removed_or_replaced_file_gets_no_messages(log: SqliteLog, path: Path) -> None:
    aside = path.with_name("aside")
    path.rename(aside)
    for replaced in (False, True):
        if replaced:
            path.touch()
        log.append("lobby", "n", ["x"], 0)
        with pytest.raises(NotStoredError, match="the file was removed or replaced"):
            log.commit()
    aside.rename(path)
    log.append("lobby", "n", ["y"], 0)
    log.commit()
    assert [(said.seq, said.body) for said in everything(log, "lobby")] == [(1, "y")]


@pytest.mark.parametrize(("suffix", "name"), [("-wal", "write-ahead log"), ("-shm", "shared memory")])
@pytest.mark.parametrize("replaced", [False, True])
def test_removed_or_replaced_log_gets_no_messages(
    log: SqliteLog, path: Path, suffix: str, name: str, replaced: bool
) -> None:
    log.append("lobby", "n", ["stored"], 0)
    log.commit()
    assert log.can_write
    file = Path(f"{path}{suffix}")
    aside = file.with_name("aside")
    file.rename(aside)
    if replaced:
        file.touch()
    assert not log.can_write
    log.append("lobby", "n", ["lost"], 0)
    with pytest.raises(NotStoredError, match=f"its {name} .* was removed or replaced"):
        log.commit()
    aside.rename(file)
    assert log.can_write
    log.append("lobby", "n", ["stored too"], 0)
    log.commit()
    assert bodies(everything(log, "lobby")) == ["stored", "stored too"]


@pytest.mark.parametrize("size", [0, 32, 5000])
def test_truncated_log_gets_no_messages(log: SqliteLog, path: Path, size: int) -> None:
    for number in range(20):
        log.append("lobby", "n", [f"{number}"], 0)
        log.commit()
        assert log.can_write
    os.truncate(f"{path}-wal", size)
    assert not log.can_write
    log.append("lobby", "n", ["x"], 0)
    with pytest.raises(NotStoredError, match=r"its write-ahead log \(-wal\) was truncated"):
        log.commit()


def test_log_that_a_checkpoint_has_truncated_is_used_on(log: SqliteLog, path: Path) -> None:
    for number in range(3):
        log.append("lobby", "n", [f"{number}"], 0)
        log.commit()
        with sqlite3.connect(path) as other:
            assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
        other.close()
        assert Path(f"{path}-wal").stat().st_size == 0
        assert log.can_write
    assert bodies(everything(log, "lobby")) == ["0", "1", "2"]


def test_messages_of_a_removed_log_survive_kill_9(log: SqliteLog, path: Path) -> None:
    log.append("lobby", "n", ["stored"], 0)
    log.commit()
    Path(f"{path}-wal").unlink()
    assert not log.can_write
    copy = path.with_name("copy")
    shutil.copyfile(path, copy)  # what kill -9 would leave
    with opened(copy) as found:
        assert bodies(everything(found, "lobby")) == ["stored"]


@pytest.mark.parametrize("size", [0, 100, 4096, 4097])
def test_truncated_file_gets_no_messages(log: SqliteLog, path: Path, size: int) -> None:
    write_megabytes(log, 9)
    os.truncate(path, size)
    assert not log.can_write
    log.append("lobby", "n", ["x"], 0)
    with pytest.raises(NotStoredError, match="the file was overwritten or truncated"):
        log.commit()


def test_file_overwritten_by_a_backup_gets_no_messages(log: SqliteLog, path: Path) -> None:
    backup = path.with_name("backup")
    with opened(backup) as other:
        other.append("lobby", "n", ["old"], 0)
        other.commit()
    write_megabytes(log, 9)
    shutil.copyfile(backup, path)
    log.append("lobby", "n", ["x"], 0)
    with pytest.raises(NotStoredError, match="the file was overwritten or truncated"):
        log.commit()


def test_file_that_vacuum_has_shortened_is_used_on(path: Path) -> None:
    with opened(path, Retention(days=1)) as log:
        write_megabytes(log, 5)
        expire_all(log, 9 * DAY)
        log.append("lobby", "n", ["one"], 9 * DAY)
        log.commit()
        before = path.stat().st_size
        with sqlite3.connect(path) as other:
            other.execute("VACUUM")
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.close()
        assert path.stat().st_size < before / 2
        log.append("lobby", "n", ["two"], 9 * DAY)
        log.commit()
        assert bodies(everything(log, "lobby")) == ["one", "two"]
    check_integrity(path)


FULL_DISK = """
import resource, signal, sys
from selchat.log.port import NotReadableError, NotStoredError
from selchat.log.sqlite import Retention, SqliteLog
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = SqliteLog(sys.argv[1], Retention())
log.append("lobby", "me", ["x"], 0)
log.commit()
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for size in (1 << 18, 6 << 20):  # first the write-ahead log hits the limit, then the file itself
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    failed = 0
    while failed < 3:
        newest = log.last_seq("lobby")
        said = log.append("lobby", "me", ["x" * 1000] * 40, 0)
        assert said[0].seq == newest + 1
        log.put("newest", "lobby", str(said[-1].seq))
        try:
            log.commit()
            assert not failed
        except NotStoredError as error:
            failed += 1
            why = error.why
            assert log.last_seq("lobby") == newest
            assert log.after("lobby", newest, 99, 99) == []
            assert log.before("lobby", None, 1, 99)[0].seq == newest
    print(newest, why, flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    log.put("newest", "lobby", str(newest))
    log.commit()
    assert log.records("newest") == {"lobby": str(newest)}
"""


def test_full_disk_loses_nothing_and_recovers(path: Path) -> None:
    with script(FULL_DISK, path) as process:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
    for line in output.splitlines():
        stored, _, why = line.partition(" ")
        assert int(stored) > 1
        assert why in {"the disk fails", "the disk is full"}
    with opened(path) as log:
        assert [said.seq for said in everything(log, "lobby")] == list(range(1, int(stored) + 1))
        assert log.records("newest") == {"lobby": stored}
    check_integrity(path)


def write_megabytes(log: SqliteLog, count: int) -> None:
    for _ in range(count):
        log.append("lobby", "n", ["x" * 1000] * 1000, 0)
        log.commit()


def test_write_ahead_log_shrinks_after_a_long_reader(path: Path) -> None:
    wal = Path(f"{path}-wal")
    with opened(path, wal_limit=1 << 20) as log:
        write_megabytes(log, 1)
        with sqlite3.connect(path, isolation_level=None) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM message").fetchall()
            write_megabytes(log, 10)
            assert wal.stat().st_size > 10 << 20
        reader.close()
        write_megabytes(log, 3)
        assert wal.stat().st_size < 6 << 20


def test_write_ahead_log_is_bounded(log: SqliteLog, path: Path) -> None:
    sizes = []
    for number in range(120):
        log.append("lobby", "n", ["x" * 1000] * 200, number)
        log.commit()
        log.before("lobby", None, 5, ALL)
        next(iter(log.after("lobby", 0, ALL, 1)))  # a query that is not read to its end
        sizes.append(Path(f"{path}-wal").stat().st_size)
    assert max(sizes) < 8 << 20 < path.stat().st_size


# -- expiry ----------------------------------------------------------------------------------------------


def expire_all(log: SqliteLog, now: float) -> int:
    """Delete every expired message; return the number of steps."""
    steps = 1
    while log.expire(now):
        steps += 1
    return steps


def test_messages_older_than_the_retention_expire(path: Path) -> None:
    with opened(path, Retention(days=2)) as log:
        for day in range(5):
            log.append("lobby", "n", [str(day)], day * DAY, [str(day)], (), b"client")
            log.append("attic", "n", [str(day)], day * DAY)
            log.put("topic", str(day), "stays")
        log.commit()
        assert not log.expire(2 * DAY)
        assert bodies(everything(log, "lobby")) == ["0", "1", "2", "3", "4"], "not expired yet"
        expire_all(log, 4.5 * DAY)
        for room in ("lobby", "attic"):
            assert bodies(everything(log, room)) == ["3", "4"]
            assert log.after(room, 0, 1, ALL)[0].seq == 4
            assert log.before(room, 4, 9, ALL) == []
        assert [sent.id for sent in log.sent(b"client", 9)] == ["0", "1", "2", "3", "4"]
        assert [sent.id for sent in log.sent(b"client", 4)] == ["1", "2", "3", "4"]
        assert len(log.records("topic")) == 5


def test_ids_outlive_their_messages_up_to_a_limit(path: Path) -> None:
    size = 2_000_000  # room for 2,000 ids of deleted messages
    with opened(path, Retention(days=1, size=size)) as log:
        for client in (b"a", b"b"):
            for start in range(0, 3000, 500):
                numbers = range(start, start + 500)
                log.append("lobby", "n", ["x"] * 500, 0, [f"{number}" for number in numbers], (), client)
        log.append("attic", "n", ["x"] * 3, 0)
        log.append("lobby", "n", ["new"], 9 * DAY, ["new"], (), b"a")
        log.commit()
        expire_all(log, 9 * DAY)
    with opened(path, Retention(days=1)) as log:
        assert bodies(everything(log, "lobby")) == ["new"]
        assert log.sent(b"a", 9) == [Sent("new", "lobby", 6001, 9 * DAY)]
        assert log.sent(b"b", 2)[-1] == Sent("2999", "lobby", 6000, 0.0)
        assert [sent.id for sent in log.sent(b"b", 4096)] == [f"{number}" for number in range(1000, 3000)]
        log.append("lobby", "n", ["newer"], 18 * DAY, ["newer"], (), b"b")
        log.commit()
        expire_all(log, 18 * DAY)
        assert [sent.id for sent in log.sent(b"a", 9)] == ["new"]
        assert [sent.id for sent in log.sent(b"b", 2)] == ["2999", "newer"]
    check_integrity(path)


def test_ids_of_a_dropped_room_are_remembered(log: SqliteLog) -> None:
    log.append("attic", "n", ["x"] * 3, 0, ["1", "2", "3"], (), b"client")
    log.commit()
    while log.delete("attic", 3):
        pass
    assert everything(log, "attic") == []
    assert [sent.id for sent in log.sent(b"client", 9)] == ["1", "2", "3"]


def test_retention_can_change(path: Path) -> None:
    with opened(path) as log:
        for day in range(3):
            log.append("lobby", "n", [str(day)], day * DAY)
        log.commit()
        expire_all(log, 3 * DAY)
        assert bodies(everything(log, "lobby")) == ["0", "1", "2"]
        log.set_retention(Retention(days=1.5))
        expire_all(log, 3 * DAY)
        assert bodies(everything(log, "lobby")) == ["2"]
        log.set_retention(FOREVER)
        expire_all(log, 99 * DAY)
        assert bodies(everything(log, "lobby")) == ["2"]


def test_numbers_are_not_reused_after_everything_expired(path: Path) -> None:
    with opened(path, Retention(days=1)) as log:
        log.append("lobby", "n", ["a", "b", "c"], 0)
        log.commit()
        expire_all(log, 9 * DAY)
        assert (everything(log, "lobby"), log.last_seq("lobby"), log.rooms()) == ([], 3, [])
    with opened(path, Retention(days=1)) as log:
        assert (log.last_seq("lobby"), log.rooms()) == (3, [])
        assert [said.seq for said in log.append("lobby", "n", ["d"], 9 * DAY)] == [4]
        log.commit()
        assert [said.seq for said in everything(log, "lobby")] == [4]


def test_messages_expire_in_small_steps(path: Path) -> None:
    with opened(path, Retention(days=1)) as log:
        for number in range(0, 2600, 100):
            log.append("lobby", "n", ["x"] * 100, number)
        log.commit()
        left = [2600]
        while log.expire(9 * DAY):
            left.append(len(everything(log, "lobby")))
            assert 0 < left[-2] - left[-1] <= 500
        assert everything(log, "lobby") == []


def test_large_messages_expire_in_small_steps_too(path: Path) -> None:
    with opened(path, Retention(days=1)) as log:
        log.append("lobby", "n", ["x" * 65_536] * 20, 0)
        log.commit()
        left = [20]
        while log.expire(9 * DAY):
            left.append(len(everything(log, "lobby")))
            assert 0 < left[-2] - left[-1] <= 5
        assert everything(log, "lobby") == []


def test_age_and_size_limits_apply_together(path: Path) -> None:
    with opened(path, Retention(days=1, size=300_000)) as log:
        log.append("lobby", "n", ["x" * 1000] * 100, 0)
        log.append("lobby", "n", ["x" * 1000] * 1000, 9 * DAY)
        log.commit()
        expire_all(log, 9 * DAY)
        assert log.size <= 300_000
        kept = everything(log, "lobby")
        assert 100 < len(kept) < 300
        assert kept[-1].seq == 1100


def test_file_stays_within_its_size_limit(path: Path) -> None:
    size = 2 << 20
    with opened(path, Retention(size=size)) as log:
        for number in range(60):
            log.append(f"room {number % 3}", "n", ["x" * 1000] * 100, number)
            log.commit()
            before = log.size
            expire_all(log, number)
            assert log.size <= size
            if before <= size:
                assert log.size == before, "nothing expires too early"
        assert log.size > size * 9 // 10, "and not more than necessary"
        kept = [said for number in range(3) for said in everything(log, f"room {number}")]
        oldest = min(said.at for said in kept)
        assert len(kept) in range(100 * (59 - int(oldest)), 100 * (60 - int(oldest)) + 1), (
            "the newest messages"
        )
    with opened(path) as log:
        assert path.stat().st_size < 2 * size


def test_size_limit_too_small_for_anything_terminates(path: Path) -> None:
    with opened(path, Retention(size=1)) as log:
        log.append("lobby", "n", ["x"] * 1000, 0)
        log.put("topic", "lobby", "stays")
        log.commit()
        expire_all(log, 0)
        assert (everything(log, "lobby"), log.last_seq("lobby")) == ([], 1000)
        assert log.records("topic") == {"lobby": "stays"}
        assert not log.expire(0)


def test_expired_messages_are_overwritten_in_the_file(path: Path) -> None:
    with opened(path, Retention(days=1)) as log:
        log.append("lobby", "n", ["a secret"] * 100, 0)
        log.commit()
        expire_all(log, 9 * DAY)
    assert b"a secret" not in path.read_bytes()


def test_expiry_waits_until_the_file_can_be_written(path: Path) -> None:
    with opened(path, Retention(days=1), busy_seconds=0.0) as log:
        log.append("lobby", "n", ["x"], 0)
        log.commit()
        with locked(path):
            assert not log.expire(9 * DAY)
        assert len(everything(log, "lobby")) == 1
        expire_all(log, 9 * DAY)
        assert everything(log, "lobby") == []


def test_staged_messages_survive_expiry(path: Path) -> None:
    with opened(path, Retention(days=1)) as log:
        log.append("lobby", "n", ["old"], 0)
        log.commit()
        log.append("lobby", "n", ["new"], 9 * DAY)
        expire_all(log, 9 * DAY)
        log.commit()
        assert [(said.seq, said.body) for said in everything(log, "lobby")] == [(2, "new")]


# -- sent messages ----------------------------------------------------------------------------------


def test_sent_messages_are_found_across_generations(path: Path) -> None:
    with opened(path) as log:
        for number in range(5):
            log.append("lobby", "n", ["x"], number, [str(number)], (), b"rare")
            log.append("lobby", "n", ["x"] * 5000, number, [f"{n}" for n in range(5000)], (), b"common")
        log.append("attic", "n", ["x"] * 3, 9, ["7", "8", "9"], (), b"rare")
        log.commit()
        assert [sent.id for sent in log.sent(b"rare", 100)] == ["0", "1", "2", "3", "4", "7", "8", "9"]
        assert [sent.id for sent in log.sent(b"rare", 4)] == ["4", "7", "8", "9"]
        common = [(sent.id, sent.seq) for sent in log.sent(b"common", 7000)]
        assert common == [(f"{n % 5000}", n + n // 5000 + 2) for n in range(18_000, 25_000)]


def test_sent_messages_are_found_by_index(connections: list[sqlite3.Connection], path: Path) -> None:
    queries: list[str] = []
    with opened(path) as log:
        log.append("lobby", "n", ["x"], 0, ["1"], (), b"client")
        log.commit()
        [db] = connections
        db.set_trace_callback(queries.append)
        assert len(log.sent(b"client", 9)) == 1
        db.set_trace_callback(None)
        plans = [db.execute(f"EXPLAIN QUERY PLAN {query}").fetchall() for query in queries]
    indexes = ["message_by_client (<expr>=? AND client=?)"] * 2 + ["expired_by_client (client=?)"]
    for plan, index in zip(plans, indexes, strict=True):
        assert any(index in row[3] for row in plan)
        assert not any("SCAN message" in row[3] or "TEMP" in row[3] for row in plan)


def test_rooms_in_memory_are_limited_and_the_others_are_found_in_the_file(path: Path) -> None:
    last: dict[str, int] = {}
    for _ in range(2):
        with opened(path, max_rooms=20) as log:
            sizes = []
            for number in range(600):
                for room in ("lobby", f"room{number % 200}", f"@name{number % 7}"):
                    [message] = log.append(room, "n", ["x"], 0.0)
                    last[room] = last.get(room, 0) + 1
                    assert message.seq == last[room]
                log.commit()
                sizes.append(reachable_objects(log))
            assert max(sizes[100:]) <= max(sizes[:100]) + 20
            assert {room: log.last_seq(room) for room in last} == last
            assert set(log.rooms()) == set(last)
            assert [one.seq for one in log.after("room5", 0, ALL, ALL)] == list(range(1, last["room5"] + 1))
            assert log.last_seq("nowhere") == 0
            assert log.delete("room7", last["room7"])
            assert log.last_seq("room7") == last["room7"]
            while log.delete("room7", last["room7"]):
                pass
            log.append("room7", "n", ["x"], 0.0)
            log.commit()
            last["room7"] += 1


def test_rooms_of_one_commit_are_not_dropped_from_memory(path: Path) -> None:
    with opened(path, max_rooms=4) as log:
        for turn in range(3):
            for number in range(50):
                [message] = log.append(f"room{number}", "n", ["x"], 0.0)
                assert message.seq == 2 * turn + 1
            assert [one.seq for one in log.append("room0", "n", ["x"], 0.0)] == [2 * turn + 2]
            for number in range(1, 50):
                assert log.append(f"room{number}", "n", ["x"], 0.0)[0].seq == 2 * turn + 2
            log.commit()
        assert log.last_seq("room49") == log.last_seq("room0") == 6


def test_log_works_in_one_thread_only(log: SqliteLog) -> None:
    errors: list[BaseException] = []

    def use() -> None:
        try:
            log.rooms()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert [type(error) for error in errors] == [NotReadableError]
