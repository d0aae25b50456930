"""What only a log in a file does: it lasts, fails and recovers, and forgets. The rest is in ``test_logs``."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from selchat.log import sqlite
from selchat.log.errors import HistoryError, HistoryInUseError, NotAHistoryError, UnusableHistoryError
from selchat.log.port import NotReadableError, NotStoredError, Sent
from selchat.log.retention import Retention
from selchat.log.sqlite import SqliteLog
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
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_BUSY_SECONDS", 0.0)


# -- it lasts ----------------------------------------------------------------------------------------------


def test_everything_is_there_when_it_is_opened_again(path: Path) -> None:
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


def test_what_is_committed_is_in_the_file_before_it_is_closed(log: SqliteLog, path: Path) -> None:
    log.append("lobby", "Venkat", ["Hey!"], 1)
    log.commit()
    copy = path.parent / "copy"
    for suffix in ("", "-wal"):  # what a machine that stops now finds
        shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
    with opened(copy) as found:
        assert bodies(everything(found, "lobby")) == ["Hey!"]


def test_a_commit_is_on_the_disk_and_not_only_on_its_way(log: SqliteLog) -> None:
    assert log._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert log._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


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


def test_what_is_committed_survives_being_killed(path: Path) -> None:
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
                assert seqs == list(range(seqs[0], seqs[-1] + 1)), "no holes, and each of them once"
                assert log.last_seq(room) == seqs[-1]
                assert seqs[-1] in {last, last + 3}, (
                    "all that was said to be stored; one commit may be so unsaid"
                )
                assert seqs[-1] % 3 == 0, "a batch is there as a whole"
            assert log.last_seq("attic") == log.last_seq("lobby")
            assert log.records("newest") == {"lobby": str(log.last_seq("lobby"))}
            assert len({(sent.room, sent.seq) for sent in log.sent(b"client", ALL)}) == 2 * len(seqs)
            last = log.last_seq("lobby")
        check_integrity(path)


# -- who may use it ------------------------------------------------------------------------------------------


def test_files_and_folders_are_private(log: SqliteLog, path: Path) -> None:
    log.append("lobby", "Venkat", ["Hey!"], 1)
    log.commit()
    names = {"history.sqlite", "history.sqlite-wal", "history.sqlite-shm", "history.sqlite.lock"}
    assert {file.name for file in path.parent.iterdir()} == names
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_what_is_there_keeps_its_mode(path: Path) -> None:
    path.parent.mkdir(mode=0o750)
    path.touch(mode=0o640)
    with opened(path):
        pass
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750


def test_one_server_at_a_time(log: SqliteLog, path: Path) -> None:
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


def test_others_may_read_meanwhile(log: SqliteLog, path: Path) -> None:
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
def test_a_file_may_have_any_name(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        with opened(Path(name)) as log:
            assert [said.seq for said in log.append("lobby", "n", ["x"], 0)] == [number]
            log.commit()
    assert (tmp_path / name).is_file()


@pytest.mark.parametrize(
    "content", [b"xy", b"not a database, but long enough to have been one" * 99, b"SQLite format 3"]
)
def test_another_kind_of_file_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(NotAHistoryError) as caught:
        SqliteLog(path, FOREVER)
    assert str(caught.value) == f"{path} is not a history of selchat, or is damaged"
    assert path.read_bytes() == content


def test_another_program_s_database_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE message (n)")
    other.close()
    content = path.read_bytes()
    with pytest.raises(NotAHistoryError):
        SqliteLog(path, FOREVER)
    assert path.read_bytes() == content


def test_a_folder_a_pipe_or_a_path_through_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableHistoryError, match="is a directory"):
        SqliteLog(tmp_path, FOREVER)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnusableHistoryError, match="it is not a file"):
        SqliteLog(tmp_path / "pipe", FOREVER)
    (tmp_path / "file").touch()
    with pytest.raises(UnusableHistoryError):
        SqliteLog(tmp_path / "file" / "history", FOREVER)


def test_a_folder_that_cannot_be_made_is_refused() -> None:
    with pytest.raises(UnusableHistoryError):
        SqliteLog("/proc/selchat/history", FOREVER)


@pytest.mark.parametrize("page", [0, 1, 2, 5, 9])
def test_a_damaged_file_is_an_error(path: Path, page: int) -> None:
    with opened(path) as log:
        for number in range(50):
            log.append(f"room {number}", "n", ["x" * 1000], 0, ["1"], (), b"client")
        log.commit()
    with path.open("r+b") as file:
        file.seek(4096 * page + (100 if page == 0 else 0))
        file.write(b"\xa5" * (4096 - (100 if page == 0 else 0)))
    with pytest.raises((HistoryError, NotReadableError)) as caught, opened(path) as log:
        for number in range(50):
            everything(log, f"room {number}")
        log.sent(b"client", 100)
        log.records("topic")
        log.rooms()
    # The operator is told of the file, and someone who asks for messages is not.
    assert (str(path) in str(caught.value)) is isinstance(caught.value, HistoryError)
    assert "damaged" in str(caught.value)


@pytest.mark.usefixtures("impatient")
def test_a_file_that_another_program_has_locked_is_refused(path: Path) -> None:
    path.parent.mkdir()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(UnusableHistoryError, match="another program has locked the file"):
        SqliteLog(path, FOREVER)
    other.close()
    with opened(path) as log:
        assert log.rooms() == []


def test_it_needs_a_write_ahead_log(path: Path) -> None:
    db = sqlite3.connect(":memory:")
    with pytest.raises(UnusableHistoryError, match="there is no write-ahead log on this file system"):
        sqlite._configure(db, path)
    db.close()


# -- it fails and recovers -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("impatient")
def test_a_commit_that_fails_leaves_nothing_and_takes_the_numbers_back(path: Path) -> None:
    with opened(path) as log:
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
        assert log.staged, "records are kept"
        assert log.records("topic") == {"lobby": "tea"}
        again = log.append("lobby", "n", ["b"], 0) + log.append("new", "n", ["c"], 0)
        assert [(said.room, said.seq) for said in again] == [("lobby", 2), ("new", 1)]
        log.commit()
        assert not log.staged
    with opened(path) as log:
        assert bodies(everything(log, "lobby")) == ["a", "b"]
        assert bodies(everything(log, "new")) == ["c"]
        assert log.records("topic") == {"lobby": "tea"}


def test_a_commit_that_fails_in_the_middle_leaves_nothing(log: SqliteLog) -> None:
    log.append("lobby", "n", ["good", "bad \ud800", "good"], 0)
    with pytest.raises(NotStoredError, match="a text is not Unicode"):
        log.commit()
    assert (everything(log, "lobby"), log.last_seq("lobby")) == ([], 0)
    assert not log.staged
    log.append("lobby", "n", ["good"], 0)
    log.commit()
    assert [said.seq for said in everything(log, "lobby")] == [1]


def test_a_record_that_could_never_be_stored_is_refused_at_once(log: SqliteLog) -> None:
    for arguments in (("\ud800", "", ""), ("", "\ud800", ""), ("", "", "\ud800"), ("", "\ud800", None)):
        with pytest.raises(UnicodeEncodeError):
            log.put(*arguments)
    assert not log.staged


def test_a_file_that_is_gone_takes_no_messages(log: SqliteLog, path: Path) -> None:
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


FULL_DISK = """
import resource, signal, sys
from selchat.log.port import NotReadableError, NotStoredError
from selchat.log.sqlite import Retention, SqliteLog
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = SqliteLog(sys.argv[1], Retention())
log.append("lobby", "me", ["x"], 0)
log.commit()
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for size in (1 << 18, 6 << 20):  # the write-ahead log is full, and then the file itself
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


def test_a_full_disk_loses_nothing_and_can_be_made_room_on(path: Path) -> None:
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


def test_a_long_reader_does_not_make_the_write_ahead_log_stay_large(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_WAL_LIMIT", 1 << 20)
    wal = Path(f"{path}-wal")
    with opened(path) as log:
        write_megabytes(log, 1)
        with sqlite3.connect(path, isolation_level=None) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM message").fetchall()
            write_megabytes(log, 10)
            assert wal.stat().st_size > 10 << 20
        reader.close()
        write_megabytes(log, 3)
        assert wal.stat().st_size < 6 << 20


def test_the_write_ahead_log_has_an_end(log: SqliteLog, path: Path) -> None:
    sizes = []
    for number in range(120):
        log.append("lobby", "n", ["x" * 1000] * 200, number)
        log.commit()
        log.before("lobby", None, 5, ALL)
        next(iter(log.after("lobby", 0, ALL, 1)))  # a query that is not read to its end
        sizes.append(Path(f"{path}-wal").stat().st_size)
    assert max(sizes) < 8 << 20 < path.stat().st_size


# -- it forgets ----------------------------------------------------------------------------------------------


def forget(log: SqliteLog, now: float) -> int:
    """Forget all there is to forget; return in how many steps."""
    steps = 1
    while log.expire(now):
        steps += 1
    return steps


def test_what_is_older_than_the_days_is_forgotten(path: Path) -> None:
    with opened(path, Retention(days=2)) as log:
        for day in range(5):
            log.append("lobby", "n", [str(day)], day * DAY, [str(day)], (), b"client")
            log.append("attic", "n", [str(day)], day * DAY)
            log.put("topic", str(day), "stays")
        log.commit()
        assert not log.expire(2 * DAY)
        assert bodies(everything(log, "lobby")) == ["0", "1", "2", "3", "4"], "not older yet"
        forget(log, 4.5 * DAY)
        for room in ("lobby", "attic"):
            assert bodies(everything(log, room)) == ["3", "4"]
            assert log.after(room, 0, 1, ALL)[0].seq == 4
            assert log.before(room, 4, 9, ALL) == []
        assert [sent.id for sent in log.sent(b"client", 9)] == ["3", "4"]
        assert len(log.records("topic")) == 5


def test_the_retention_can_change(path: Path) -> None:
    with opened(path) as log:
        for day in range(3):
            log.append("lobby", "n", [str(day)], day * DAY)
        log.commit()
        forget(log, 3 * DAY)
        assert bodies(everything(log, "lobby")) == ["0", "1", "2"]
        log.set_retention(Retention(days=1.5))
        forget(log, 3 * DAY)
        assert bodies(everything(log, "lobby")) == ["2"]
        log.set_retention(FOREVER)
        forget(log, 99 * DAY)
        assert bodies(everything(log, "lobby")) == ["2"]


def test_numbers_are_not_given_out_again_when_all_is_forgotten(path: Path) -> None:
    with opened(path, Retention(days=1)) as log:
        log.append("lobby", "n", ["a", "b", "c"], 0)
        log.commit()
        forget(log, 9 * DAY)
        assert (everything(log, "lobby"), log.last_seq("lobby"), log.rooms()) == ([], 3, [])
    with opened(path, Retention(days=1)) as log:
        assert (log.last_seq("lobby"), log.rooms()) == (3, [])
        assert [said.seq for said in log.append("lobby", "n", ["d"], 9 * DAY)] == [4]
        log.commit()
        assert [said.seq for said in everything(log, "lobby")] == [4]


def test_it_forgets_in_small_steps(path: Path) -> None:
    with opened(path, Retention(days=1)) as log:
        for number in range(0, 2600, 100):
            log.append("lobby", "n", ["x"] * 100, number)
        log.commit()
        left = [2600]
        while log.expire(9 * DAY):
            left.append(len(everything(log, "lobby")))
            assert 0 < left[-2] - left[-1] <= 500
        assert everything(log, "lobby") == []


def test_the_steps_are_small_for_large_messages_too(path: Path) -> None:
    with opened(path, Retention(days=1)) as log:
        log.append("lobby", "n", ["x" * 65_536] * 20, 0)
        log.commit()
        left = [20]
        while log.expire(9 * DAY):
            left.append(len(everything(log, "lobby")))
            assert 0 < left[-2] - left[-1] <= 5
        assert everything(log, "lobby") == []


def test_what_is_too_old_and_too_large_is_forgotten(path: Path) -> None:
    with opened(path, Retention(days=1, size=300_000)) as log:
        log.append("lobby", "n", ["x" * 1000] * 100, 0)
        log.append("lobby", "n", ["x" * 1000] * 1000, 9 * DAY)
        log.commit()
        forget(log, 9 * DAY)
        assert log.size <= 300_000
        kept = everything(log, "lobby")
        assert 100 < len(kept) < 300
        assert kept[-1].seq == 1100


def test_the_file_does_not_grow_beyond_its_size(path: Path) -> None:
    size = 2 << 20
    with opened(path, Retention(size=size)) as log:
        for number in range(60):
            log.append(f"room {number % 3}", "n", ["x" * 1000] * 100, number)
            log.commit()
            before = log.size
            forget(log, number)
            assert log.size <= size
            if before <= size:
                assert log.size == before, "nothing is forgotten before it has to be"
        assert log.size > size * 9 // 10, "and no more than that"
        kept = [said for number in range(3) for said in everything(log, f"room {number}")]
        oldest = min(said.at for said in kept)
        assert len(kept) in range(100 * (59 - int(oldest)), 100 * (60 - int(oldest)) + 1), (
            "the newest are there"
        )
    with opened(path) as log:
        assert path.stat().st_size < 2 * size


def test_a_size_that_nothing_fits_in_ends(path: Path) -> None:
    with opened(path, Retention(size=1)) as log:
        log.append("lobby", "n", ["x"] * 1000, 0)
        log.put("topic", "lobby", "stays")
        log.commit()
        forget(log, 0)
        assert (everything(log, "lobby"), log.last_seq("lobby")) == ([], 1000)
        assert log.records("topic") == {"lobby": "stays"}
        assert not log.expire(0)


def test_what_is_forgotten_is_no_longer_in_the_file(path: Path) -> None:
    with opened(path, Retention(days=1)) as log:
        log.append("lobby", "n", ["a secret"] * 100, 0)
        log.commit()
        forget(log, 9 * DAY)
    assert b"a secret" not in path.read_bytes()


@pytest.mark.usefixtures("impatient")
def test_forgetting_waits_for_better_times(path: Path) -> None:
    with opened(path, Retention(days=1)) as log:
        log.append("lobby", "n", ["x"], 0)
        log.commit()
        with locked(path):
            assert not log.expire(9 * DAY)
        assert len(everything(log, "lobby")) == 1
        forget(log, 9 * DAY)
        assert everything(log, "lobby") == []


def test_what_is_staged_stays_staged_while_something_is_forgotten(path: Path) -> None:
    with opened(path, Retention(days=1)) as log:
        log.append("lobby", "n", ["old"], 0)
        log.commit()
        log.append("lobby", "n", ["new"], 9 * DAY)
        forget(log, 9 * DAY)
        log.commit()
        assert [(said.seq, said.body) for said in everything(log, "lobby")] == [(2, "new")]


# -- it knows what was sent ----------------------------------------------------------------------------------


def test_what_was_sent_is_found_wherever_it_is(path: Path) -> None:
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


def test_it_is_looked_for_in_the_index(log: SqliteLog) -> None:
    for query in (sqlite._GENERATIONS, sqlite._SENT):
        plan = log._db.execute(f"EXPLAIN QUERY PLAN {query}", (1,) * query.count("?")).fetchall()
        assert any("message_by_client (<expr>=? AND client=?)" in row[3] for row in plan)
        assert not any("SCAN message" in row[3] or "TEMP" in row[3] for row in plan)


def test_it_belongs_to_one_thread(log: SqliteLog) -> None:
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
