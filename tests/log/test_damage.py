"""Damaged histories: every page in turn is overwritten."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from selchat.events import Said
from selchat.log.check import check, find_damage, open_read_only
from selchat.log.errors import HistoryError
from selchat.log.port import NotReadableError, NotStoredError
from selchat.log.retention import Retention
from selchat.log.salvage import Damage, Salvage, Unreadable
from selchat.log.sqlite import SqliteLog
from tests.log.support import ALL, FOREVER, opened

PAGE = 4096
ROOMS = ("lobby", "attic", "@venkat")
DAY = 86_400.0
Filling = Callable[[bytes], bytes]

FILLINGS: dict[str, Filling] = {
    "noise": lambda page: b"\xa5" * PAGE,
    "zeros": lambda page: bytes(PAGE),
    "a flipped bit in each byte": lambda page: bytes(byte ^ 1 for byte in page),
    "half a page": lambda page: page[: PAGE // 2] + bytes(PAGE // 2),
}


def never_stop(_seconds: float) -> bool:
    return False


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, list[Said]]]:
    """A history file, and its messages by room."""
    path = tmp_path_factory.mktemp("whole") / "history"
    messages: dict[str, list[Said]] = {room: [] for room in ROOMS}
    with opened(path) as log:
        for number in range(240):
            room = ROOMS[number % 3]
            ids = [f"{number}.{part}" for part in range(3)]
            size = 9000 if number % 40 == 7 else 150  # some need overflow pages
            bodies = [f"{number} ".ljust(size, "x"), "ä", ""]
            messages[room] += log.append(
                room, f"user{number % 5}", bodies, 1.5, ids, (), b"%d" % (number % 5)
            )
            log.put("name", f"{number}", "x" * 50)
            log.commit()
    return path.read_bytes(), messages


def damaged(path: Path, content: bytes, page: int, fill: Filling) -> None:
    start = page * PAGE
    path.write_bytes(content[:start] + fill(content[start : start + PAGE]) + content[start + PAGE :])


def pages(content: bytes) -> Iterator[int]:
    """The numbers of all pages but the first, which has the schema."""
    return iter(range(1, len(content) // PAGE))


def read_all(log: SqliteLog, room: str, limit: int) -> tuple[list[Said], list[Said]]:
    """Read a room in pages, as a client that resumes does, and as one that scrolls up."""
    found: list[Said] = []
    while page := log.after(room, found[-1].seq if found else 0, limit, ALL):
        found += page
    backwards: list[Said] = []
    while page := log.before(room, backwards[0].seq if backwards else None, limit, ALL):
        backwards[:0] = page
    return found, backwards


@pytest.mark.parametrize("filling", FILLINGS)
def test_server_reads_around_each_damaged_page(
    tmp_path: Path, whole: tuple[bytes, dict[str, list[Said]]], filling: str
) -> None:
    content, messages = whole
    path = tmp_path / "history"
    total = sum(map(len, messages.values()))
    started = complete = nearly_complete = 0
    for page in pages(content):
        damaged(path, content, page, FILLINGS[filling])
        warnings: list[str] = []
        try:
            log = SqliteLog(path, FOREVER, warn=warnings.append)
        except HistoryError:
            continue
        with closing(log):
            started += 1
            found = []
            for room in ROOMS:
                forwards, backwards = read_all(log, room, 50)
                found += forwards
                # Where half of an index page is missing, each direction finds other messages.
                assert forwards == backwards or filling == "half a page"
            truth = {(said.room, said.seq): said for room in ROOMS for said in messages[room]}
            assert {(said.room, said.seq) for said in found} <= truth.keys()
            if filling in {"noise", "zeros"}:
                changed = [said for said in found if said != truth[said.room, said.seq]]
                assert all(len(said.body) == 9000 for said in changed), "only the middle of a long body"
                if len(found) < total:
                    assert any("cannot be read: " in warning for warning in warnings)
            complete += len(found) == total
            nearly_complete += len(found) > total * 0.9
            assert len(warnings) <= 1, "at most one in a minute"
            log.sent(b"3", 4096)
            log.rooms()
            log.expire(9 * DAY)
            log.append("lobby", "n", ["new"], 2.0)
            try:
                log.commit()
            except NotStoredError:
                assert log.after("lobby", len(messages["lobby"]), 9, ALL) == []
            else:
                assert log.after("lobby", len(messages["lobby"]), 9, ALL)[-1].body == "new"
    assert started > 30
    assert complete > 5
    assert nearly_complete > 30


def test_expiry_that_damage_stops_is_reported(
    tmp_path: Path, whole: tuple[bytes, dict[str, list[Said]]]
) -> None:
    content, _ = whole
    path = tmp_path / "history"
    reported = 0
    for page in pages(content):
        damaged(path, content, page, FILLINGS["noise"])
        warnings: list[str] = []
        try:
            log = SqliteLog(path, Retention(days=1), warn=warnings.append)
        except HistoryError:
            continue
        with closing(log):
            while log.expire(9 * DAY):
                pass
            if log.after("lobby", 0, 1, 1):
                assert warnings == ["old messages cannot be deleted because the history is damaged"]
                reported += 1
    assert reported > 20


@pytest.mark.parametrize("filling", ["noise", "zeros"])
def test_check_finds_each_damaged_page(
    tmp_path: Path, whole: tuple[bytes, dict[str, list[Said]]], filling: str
) -> None:
    content, messages = whole
    path = tmp_path / "history"
    path.write_bytes(content)
    assert check(path, never_stop) == ""
    missed = []
    for page in pages(content):
        damaged(path, content, page, FILLINGS[filling])
        damage = find_damage(path, never_stop)
        text = check(path, never_stop)
        assert bool(damage) == bool(text)
        if not damage:
            missed.append(page)
            continue
        assert text.startswith(f"the history {path} is damaged: ")
        assert text.isprintable()
        unreadable = set()
        for room, first, last in damage.messages:
            unreadable |= {(room, seq) for seq in range(first, last + 1)}
        assert unreadable <= {(said.room, said.seq) for room in ROOMS for said in messages[room]}
        assert damage.total == len(unreadable) + damage.unknown
    # The middle of a long text can be anything.
    assert len(missed) <= 14
    assert len(missed) < len(content) // PAGE // 4


def test_check_can_be_stopped(tmp_path: Path, whole: tuple[bytes, dict[str, list[Said]]]) -> None:
    path = tmp_path / "history"
    path.write_bytes(whole[0])
    waits = []

    def stop(seconds: float) -> bool:
        waits.append(seconds)
        return True

    assert check(path, stop) == ""
    assert len(waits) == 1


def test_check_that_cannot_open_the_file_says_so(tmp_path: Path) -> None:
    assert check(tmp_path / "missing", never_stop).endswith(
        "could not be checked for damage: the file cannot be opened"
    )


def test_check_leaves_the_server_its_file(tmp_path: Path) -> None:
    """A checkpoint is possible while the check pauses, and after its connection is closed."""
    path = tmp_path / "history"
    with opened(path) as log:
        log.append("lobby", "n", ["x" * 100] * 5000, 0.0)
        log.commit()

        def write(_seconds: float) -> bool:
            log.append("lobby", "n", ["y"], 0.0)
            log.commit()
            return False

        assert not find_damage(path, write)
        with sqlite3.connect(path) as other:
            assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
        other.close()
        write(0.0)
    with opened(path) as log:
        assert log.last_seq("lobby") > 5000


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_shortened_file_is_read_to_its_end(
    tmp_path: Path, whole: tuple[bytes, dict[str, list[Said]]], part: float
) -> None:
    content, messages = whole
    path = tmp_path / "history"
    path.write_bytes(content[: int(len(content) * part)])
    with closing(open_read_only(path)) as db:
        salvage = Salvage(db)
        found = [row for batch in salvage.messages(*salvage.bounds()) for row in batch]
        damage = salvage.damage(salvage.rooms())
    total = sum(map(len, messages.values()))
    assert len(found) + damage.total == total
    assert damage.total > 0
    assert len(found) > total * (part - 0.2)


def test_damage_is_described_in_one_line() -> None:
    assert not Damage([])
    assert str(Damage([Unreadable("lobby", 3, 3)])) == "1 message cannot be read (lobby: 3)"
    assert str(Damage([Unreadable("lo\nbby", 3, 5), Unreadable("@asa", 1, 2)], 7)) == (
        "12 messages cannot be read (lo\\nbby: 3 to 5; to asa: 1 to 2; 7 whose room cannot be read)"
    )
    many = Damage([Unreadable("lobby", 2 * n, 2 * n) for n in range(30)])
    assert str(many).endswith("lobby: 38; and 10 more ranges)")
    assert str(Damage([], 0, "an index is damaged")) == "an index is damaged"


def test_disk_that_fails_is_an_error_and_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    with opened(tmp_path / "history", warn=warnings.append) as log:
        log.append("lobby", "n", ["x"], 0.0)
        log.commit()

        class Failing:
            def execute(self, *_: object) -> None:
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR_READ
                raise error

            def close(self) -> None:
                db.close()

        db = log._db
        monkeypatch.setattr(log, "_db", Failing())
        for _ in range(3):
            for read in (lambda: log.after("lobby", 0, 9, 9), lambda: log.sent(b"", 9), log.rooms):
                with pytest.raises(NotReadableError, match="the disk fails"):
                    read()
    assert warnings == ["the history cannot be read: the disk fails"]
