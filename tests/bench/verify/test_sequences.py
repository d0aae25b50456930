"""Checkers of sequence and seq numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from selchat.bench.verify.sequences import SeqChecker, SequenceChecker

NAME = b"run00001"


@given(st.permutations(range(12)), st.lists(st.integers(0, 11), max_size=5))
def test_sequence_checker_agrees_with_a_set(order: list[int], repeated: list[int]) -> None:
    checker = SequenceChecker()
    seen: set[int] = set()
    late = 0
    for number in order[:8]:
        late += bool(seen) and number < max(seen)
        seen.add(number)
        checker.record(NAME, number)
    duplicates = [number for number in repeated if number in seen]
    for number in duplicates:
        checker.record(NAME, number)
    found = (checker.unique, checker.duplicated.total(), checker.reordered.total())
    assert found == (8, len(duplicates), late)


def test_seq_numbers_of_a_room_increase_by_one() -> None:
    strict, with_gaps = SeqChecker(), SeqChecker(gaps=True)
    for room, seq in [(b"a", 7), (b"b", 1), (b"a", 8), (b"a", 10), (b"b", 2), (b"a", 10), (b"a", 11)]:
        strict.record(NAME, room, seq)
        with_gaps.record(NAME, room, seq)
    assert (strict.wrong, with_gaps.wrong) == ({NAME: 2}, {NAME: 1})
