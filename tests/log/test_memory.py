"""Tests of `MemoryLog` alone: its limits. ``test_logs`` has the tests for every log."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from selchat.log.memory import MemoryLog
from tests.chat.support import reachable_objects
from tests.log.support import ALL, bodies, everything


def test_last_commit_is_kept_whatever_its_size() -> None:
    log = MemoryLog(10)
    log.append("lobby", "n", ["x"], 0)
    log.commit()
    log.append("lobby", "n", ["y" * 100], 0)
    log.append("lobby", "n", ["z" * 100], 0)
    log.commit()
    assert bodies(everything(log, "lobby")) == ["y" * 100, "z" * 100]
    log.append("lobby", "n", ["a"], 0)
    log.commit()
    assert bodies(everything(log, "lobby")) == ["a"]
    assert log.last_seq("lobby") == 4


def test_empty_messages_are_limited_too() -> None:
    log = MemoryLog(10_000)
    for _ in range(1000):
        log.append("lobby", "n", [""], 0)
        log.commit()
    kept = everything(log, "lobby")
    assert 1 <= len(kept) < 100
    assert kept[-1].seq == 1000
    assert log.after("lobby", 5, 1, ALL) == kept[:1]


def test_ids_outlive_their_messages() -> None:
    log = MemoryLog(1)
    for number in range(5):
        log.append("lobby", "n", ["x"], number, [str(number)], (), b"client")
        log.commit()
    assert len(everything(log, "lobby")) == 1
    assert [sent.id for sent in log.sent(b"client", 10)] == ["0", "1", "2", "3", "4"]


def test_ids_of_sent_messages_are_limited() -> None:
    log = MemoryLog(1, max_ids=3, max_total_ids=5)

    def say(client: bytes, *ids: str) -> None:
        log.append("lobby", "n", ["x"] * len(ids), 0, ids, (), client)
        log.commit()

    def known() -> dict[bytes, str]:
        return {who: "".join(sent.id for sent in log.sent(who, 10)) for who in (b"a", b"b", b"c")}

    say(b"a", "1", "2")
    say(b"a", "3", "4")
    say(b"b", "1", "2")
    assert known() == {b"a": "234", b"b": "12", b"c": ""}
    say(b"a", "5")
    say(b"c", "1")  # one too many: b has been silent for longest
    assert known() == {b"a": "345", b"b": "", b"c": "1"}
    say(b"b", "3")
    assert known() == {b"a": "345", b"b": "3", b"c": "1"}


COMMITS = st.lists(st.lists(st.tuples(st.sampled_from("xy"), st.text(max_size=400)), max_size=5), max_size=20)


@given(COMMITS, st.integers(0, 20))
def test_each_room_keeps_the_newest_commits_that_fit(
    commits: list[list[tuple[str, str]]], count: int
) -> None:
    log = MemoryLog(1000)
    blocks: dict[str, list[list[str]]] = {"x": [], "y": []}
    for messages in commits:
        for room, body in messages:
            log.append(room, "me", [body], 0)
        for room, commit in blocks.items():
            commit.append([body for where, body in messages if where == room])
        log.commit()
    for room, said in blocks.items():
        said = [block for block in said if block]
        while len(said) > 1 and sum(len(body) + 256 for block in said for body in block) > 1000:
            said.pop(0)
        kept = [body for block in said for body in block]
        assert bodies(everything(log, room)) == kept
        assert bodies(log.before(room, None, count, ALL)) == kept[max(0, len(kept) - count) :]


def test_many_rooms_share_the_total_limit() -> None:
    log = MemoryLog(50_000, max_total=100_000)
    for turn in range(20):
        for room in range(100):
            log.append(str(room), "Venkat", ["x" * 744], float(turn))
            log.commit()
    assert [len(log.after(str(room), 0, 1000, 1 << 20)) for room in range(100)] == [1] * 100
    assert log.last_seq("7") == 20


def test_rooms_used_longest_ago_lose_their_messages_and_keep_their_numbers() -> None:
    log = MemoryLog(1000, max_rooms=20, max_seqs=30)
    last: dict[str, int] = {}
    for number in range(500):
        for room in ("lobby", f"room{number}", f"room{number % 60}"):
            [message] = log.append(room, "n", ["x"], 0.0)
            assert message.seq > last.get(room, 0), room
            last[room] = message.seq
        log.commit()
        assert len(log.rooms()) <= 20
        assert log.last_seq("lobby") == number + 1
        assert all(log.last_seq(room) >= seq for room, seq in last.items())
    assert {"lobby", "room499", "room19"} <= set(log.rooms())
    assert len(log.after("room499", 0, ALL, ALL)) == 1
    assert log.after("room100", 0, ALL, ALL) == log.before("room100", None, ALL, ALL) == []


def test_rooms_of_one_commit_all_keep_it() -> None:
    log = MemoryLog(1000, max_rooms=2)
    for room in ("a", "b", "c"):
        log.append(room, "n", ["x"], 0.0)
    log.commit()
    assert sorted(log.rooms()) == ["a", "b", "c"]
    log.append("d", "n", ["x"], 0.0)
    log.commit()
    assert len(log.rooms()) == 2
    assert "d" in log.rooms()


def test_memory_of_rooms_is_bounded() -> None:
    sizes = []
    log = MemoryLog(1000, max_rooms=20, max_seqs=30)
    for number in range(3000):
        log.append(f"room{number}", "n", ["x"], 0.0)
        log.commit()
        if number % 1000 == 999:
            sizes.append(reachable_objects(log))
    assert sizes[2] <= sizes[0] + 10
