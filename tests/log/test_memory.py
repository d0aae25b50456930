from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from selchat.events import Said
from selchat.log.memory import MemoryLog
from selchat.log.port import Log


def bodies(said: object) -> list[str]:
    return [message.body for message in said]  # type: ignore[attr-defined]


def test_a_message_exists_once_it_is_committed() -> None:
    log: Log = MemoryLog(1000)
    [said] = log.append("lobby", "Venkat", ["Hey!"], 12.5)
    assert said == Said("lobby", 1, "Venkat", "Hey!", 12.5)
    assert log.last("lobby", 10) == []
    log.commit()
    assert log.last("lobby", 10) == [said]


def test_a_commit_of_nothing_changes_nothing() -> None:
    log = MemoryLog(1000)
    log.commit()
    assert log.last("lobby", 10) == []
    log.append("lobby", "Venkat", ["once"], 0)
    log.commit()
    log.commit()
    assert bodies(log.last("lobby", 10)) == ["once"]


def test_each_room_counts_from_one_without_holes() -> None:
    log = MemoryLog(1000)
    seqs = [[said.seq for said in log.append(room, "a", ["", ""], 0)] for room in ("x", "y", "x")]
    assert seqs == [[1, 2], [1, 2], [3, 4]]
    log.commit()
    assert [said.seq for said in log.last("x", 10)] == [1, 2, 3, 4]
    assert [said.seq for said in log.last("y", 10)] == [1, 2]
    assert log.last("z", 10) == []


def test_the_last_are_the_newest_oldest_first() -> None:
    log = MemoryLog(1000)
    for body in "abcde":
        log.append("lobby", "n", [body], 0)
    log.commit()
    assert bodies(log.last("lobby", 2)) == ["d", "e"]
    assert bodies(log.last("lobby", 0)) == []


def test_what_the_newest_commit_brought_is_kept_however_large() -> None:
    log = MemoryLog(10)
    log.append("lobby", "n", ["x"], 0)
    log.commit()
    log.append("lobby", "n", ["y" * 100], 0)
    log.append("lobby", "n", ["z" * 100], 0)
    log.commit()
    assert bodies(log.last("lobby", 10)) == ["y" * 100, "z" * 100]
    log.append("lobby", "n", ["a"], 0)
    log.commit()
    assert bodies(log.last("lobby", 10)) == ["a"]


def test_empty_messages_are_not_kept_without_limit() -> None:
    log = MemoryLog(10_000)
    for _ in range(1000):
        log.append("lobby", "n", [""], 0)
        log.commit()
    kept = log.last("lobby", 1000)
    assert 1 <= len(kept) < 100
    assert kept[-1].seq == 1000


COMMITS = st.lists(st.lists(st.tuples(st.sampled_from("xy"), st.text(max_size=400)), max_size=5), max_size=20)


@given(COMMITS, st.integers(0, 20))
def test_it_keeps_the_newest_commits_that_fit_in_each_room(
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
        assert bodies(log.last(room, 1000)) == kept
        assert bodies(log.last(room, count)) == kept[max(0, len(kept) - count) :]
