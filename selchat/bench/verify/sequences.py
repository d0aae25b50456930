"""Checkers for the sequence numbers of senders and the ``seq`` numbers of rooms."""

from __future__ import annotations

from collections import Counter


class SequenceChecker:
    """Checks the sequence numbers of any number of senders, in order of arrival."""

    def __init__(self) -> None:
        self.unique = 0  # messages, each counted once
        self.duplicated: Counter[bytes] = Counter()  # by sender
        self.reordered: Counter[bytes] = Counter()  # arrived after a later message of the same sender
        self._next: dict[bytes, int] = {}
        self._missing: dict[bytes, set[int]] = {}

    def record(self, name: bytes, sequence: int) -> None:
        """Record the arrival of this message."""
        expected = self._next.get(name, 0)
        if sequence == expected:
            self.unique += 1
            self._next[name] = sequence + 1
        elif sequence > expected:
            self.unique += 1
            self._missing.setdefault(name, set()).update(range(expected, sequence))
            self._next[name] = sequence + 1
        elif sequence in (missing := self._missing.get(name, ())):
            assert isinstance(missing, set)
            missing.remove(sequence)
            self.unique += 1
            self.reordered[name] += 1
        else:
            self.duplicated[name] += 1

    def unique_of(self, name: bytes) -> int:
        """Return how many messages of that sender arrived, each counted once."""
        return self._next.get(name, 0) - len(self._missing.get(name, ()))

    def rewound(self, undo: list[tuple[bytes, int]]) -> SequenceChecker:
        """Return a checker as it was before the latest messages ``undo``, without any errors."""
        earlier = SequenceChecker()
        earlier._next = dict(self._next)
        earlier.unique = self.unique - len(undo)
        for name, sequence in undo:
            earlier._next[name] = min(earlier._next.get(name, sequence), sequence)
        return earlier


class SeqChecker:
    """Checks that the ``seq`` numbers of each room increase by one.

    ``gaps``: numbers may be missing, because a reader does not receive its own messages.
    """

    def __init__(self, gaps: bool = False) -> None:
        self.wrong: Counter[bytes] = Counter()  # messages, by sender
        self._gaps = gaps
        self._last: dict[bytes, int] = {}

    def record(self, name: bytes, room: bytes, seq: int) -> None:
        """Record the arrival of a message of the sender ``name`` with that number."""
        last = self._last.get(room)
        if last is not None and seq != last + 1 and not (self._gaps and seq > last):
            self.wrong[name] += 1
        self._last[room] = seq
