"""Tests for every log."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from selchat.events import Said
from selchat.log.memory import MemoryLog
from selchat.log.port import Log, Sent
from selchat.log.sqlite import SqliteLog
from tests.log.support import ALL, FOREVER, bodies, everything


@pytest.fixture(params=["memory", "sqlite"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    log: Log = MemoryLog(ALL) if request.param == "memory" else SqliteLog(tmp_path / "history", FOREVER)
    yield log
    log.close()


def test_message_exists_once_it_is_committed(log: Log) -> None:
    assert not log.staged
    [said] = log.append("lobby", "Venkat", ["Hey!"], 12.5)
    assert said == Said("lobby", 1, "Venkat", "Hey!", 12.5)
    assert log.staged
    assert (everything(log, "lobby"), log.last_seq("lobby"), log.rooms()) == ([], 0, [])
    log.commit()
    assert not log.staged
    assert (everything(log, "lobby"), log.last_seq("lobby"), log.rooms()) == ([said], 1, ["lobby"])


def test_any_text_is_read_as_it_was_appended(log: Log) -> None:
    texts = [
        "",
        "x",
        "\0",
        "a\0b",
        "two\nlines",
        "\x85 y \u2028",
        "\U0001f600" * 99,
        "\ud7ff\ue000",
        "x" * 65536,
    ]
    said = log.append("r\0m", "Ve\0nkat", texts, 1763900000.123456, texts, [*texts[1:], None], b"\0" * 16)
    assert [type(one) for one in said] == [Said] * len(texts)
    log.commit()
    read = everything(log, "r\0m")
    assert read == said
    assert [type(one) for one in read] == [Said] * len(texts)
    assert [one.body for one in read] == [one.id for one in read] == texts
    assert read[-1].cipher is None
    assert read[0].cipher == "x"


def test_free_disk_is_what_the_system_reports(log: Log, tmp_path: Path) -> None:
    found = os.statvfs(tmp_path)
    if isinstance(log, MemoryLog):
        assert log.free_disk is None
    else:
        assert log.free_disk == pytest.approx(found.f_bavail * found.f_frsize, abs=1 << 30)


def test_empty_commit_changes_nothing(log: Log) -> None:
    log.commit()
    assert log.append("lobby", "Venkat", [], 0) == []
    assert not log.staged
    log.commit()
    assert (everything(log, "lobby"), log.rooms()) == ([], [])
    log.append("lobby", "Venkat", ["once"], 0)
    log.commit()
    log.commit()
    assert bodies(everything(log, "lobby")) == ["once"]


def test_each_room_counts_from_one_without_gaps(log: Log) -> None:
    seqs = [[said.seq for said in log.append(room, "a", ["", ""], 0)] for room in ("x", "y", "x")]
    assert seqs == [[1, 2], [1, 2], [3, 4]]
    log.commit()
    assert [said.seq for said in log.append("x", "a", [""], 0)] == [5]
    log.commit()
    assert [said.seq for said in everything(log, "x")] == [1, 2, 3, 4, 5]
    assert [said.seq for said in everything(log, "y")] == [1, 2]
    assert everything(log, "z") == []
    assert (log.last_seq("x"), log.last_seq("y"), log.last_seq("z")) == (5, 2, 0)
    assert sorted(log.rooms()) == ["x", "y"]


def test_any_string_is_a_room(log: Log) -> None:
    names = ["a", "A", "@a", "", " ", "\u00e9", "e\u0301"]
    for name in names:
        log.append(name, "me", [name], 0)
    log.commit()
    assert sorted(log.rooms()) == sorted(names)
    assert [bodies(everything(log, name)) for name in names] == [[name] for name in names]


@pytest.fixture
def ten(log: Log) -> Log:
    """A log of ten messages of three characters each, in three commits."""
    for commit in (range(1, 4), range(4, 5), range(5, 11)):
        for number in commit:
            log.append("lobby", "n", [f"{number:03}"], 0)
        log.append("other", "n", ["elsewhere"], 0)
        log.commit()
    return log


@pytest.mark.parametrize("seq", [-(10**30), -1, 0, 1, 2, 3, 4, 5, 9, 10, 11, 10**30])
@pytest.mark.parametrize("limit", [-1, 0, 1, 2, 4, 100])
def test_after_and_before_apply_their_limits(ten: Log, seq: int, limit: int) -> None:
    after = [number for number in range(1, 11) if number > seq][: max(0, limit)]
    assert [said.seq for said in ten.after("lobby", seq, limit, ALL)] == after
    before = [number for number in range(10, 0, -1) if number < seq][: max(0, limit)][::-1]
    assert [said.seq for said in ten.before("lobby", seq, limit, ALL)] == before


@pytest.mark.parametrize("limit", [0, 1, 3, 10, 11])
def test_before_none_returns_the_newest_messages(ten: Log, limit: int) -> None:
    newest = list(range(1, 11))[10 - min(limit, 10) :]
    assert [said.seq for said in ten.before("lobby", None, limit, ALL)] == newest


@pytest.mark.parametrize(("size", "count"), [(-1, 1), (0, 1), (1, 1), (3, 1), (5, 1), (6, 2), (30, 10)])
def test_reads_stop_at_the_size_limit_but_return_at_least_one(ten: Log, size: int, count: int) -> None:
    assert [said.seq for said in ten.after("lobby", 0, ALL, size)] == list(range(1, 11))[:count]
    assert [said.seq for said in ten.before("lobby", None, ALL, size)] == list(range(1, 11))[10 - count :]


def test_messages_of_a_client_are_known_by_their_ids(log: Log) -> None:
    log.append("x", "Venkat", ["a", "b"], 1, ["1", "2"], [None, "toy"], b"venkat")
    log.append("y", "Michael", ["c"], 2, ["1"], [None], b"michael")
    assert log.sent(b"venkat", 10) == []
    log.commit()
    log.append("y", "Venkat", ["d"], 3, ["3"], (), b"venkat")
    log.append("x", "Narayan", ["e"], 4)
    log.commit()
    sent = [Sent("1", "x", 1, 1), Sent("2", "x", 2, 1), Sent("3", "y", 2, 3)]
    for limit in range(-1, 5):
        assert log.sent(b"venkat", limit) == sent[max(0, 3 - max(0, limit)) :]
    assert [type(one) for one in log.sent(b"venkat", 5)] == [Sent] * 3
    assert log.sent(b"michael", 10) == [Sent("1", "y", 1, 2)]
    assert log.sent(b"narayan", 10) == log.sent(b"", 10) == []


def test_records_are_replaced_and_deleted_by_kind_and_key(log: Log) -> None:
    assert log.records("topic") == {}
    log.put("topic", "lobby", "tea")
    assert log.staged
    assert log.records("topic") == {"lobby": "tea"}
    log.commit()
    assert not log.staged
    log.put("topic", "lobby", "coffee")
    log.put("topic", "attic", "")
    log.put("ban", "lobby", "another kind")
    assert log.records("topic") == {"lobby": "coffee", "attic": ""}
    log.commit()
    assert log.records("topic") == {"lobby": "coffee", "attic": ""}
    log.put("topic", "lobby", None)
    log.put("topic", "cellar", None)
    assert log.records("topic") == {"attic": ""}
    log.commit()
    assert (log.records("topic"), log.records("ban")) == ({"attic": ""}, {"lobby": "another kind"})


def test_number_of_ids_and_ciphers_must_match_the_bodies(log: Log) -> None:
    for ids, ciphers in ((["1"], ()), ((), [None]), (["1", "2", "3"], ()), (["1", "2"], ["toy"])):
        with pytest.raises(ValueError, match="zip"):
            log.append("lobby", "n", ["a", "b"], 0, ids, ciphers)
    assert not log.staged
    assert [said.seq for said in log.append("lobby", "n", ["a"], 0)] == [1]


def test_each_log_has_its_own_id(log: Log, tmp_path: Path) -> None:
    other: Log = MemoryLog(1) if isinstance(log, MemoryLog) else SqliteLog(tmp_path / "other", FOREVER)
    try:
        assert len(log.id) == len(other.id) == 16
        assert log.id == log.id != other.id
    finally:
        other.close()


def test_nothing_expires_without_a_retention(log: Log) -> None:
    log.append("lobby", "n", ["old"], 0)
    log.commit()
    assert not log.expire(1e12)
    assert bodies(everything(log, "lobby")) == ["old"]
