"""Roster: the signed-in members by name; it assigns unique names."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from itertools import count
from typing import Generic, TypeVar

from selchat.chat.confusables import ConfusableIndex, skeletons
from selchat.chat.peer import Named
from selchat.events import SERVER
from selchat.limits import NAME_LENGTH
from selchat.text import clean_name, name_key

_GUEST = "guest"
_LOWEST_NUMBERS = 16  # numbers to try in order, and then random ones in each range


M = TypeVar("M", bound=Named)


class Roster(Generic[M]):
    """Members by name. Names that are equal under NFKC and casefold count as the same name.

    No two members have confusable names (`selchat.chat.confusables`), unless one client owns both.

    ``name_length`` is in characters. ``reserved(key, name)`` returns whether someone owns the name, or one
    that is confusable with it, even while they are away.
    """

    def __init__(
        self, name_length: int = NAME_LENGTH, reserved: Callable[[str, str], bool] = lambda key, name: False
    ) -> None:
        self._name_length = name_length
        self._reserved = reserved
        self._members: dict[str, M] = {}
        self._taken = {name_key(SERVER)}
        self._confusables = ConfusableIndex()  # of the taken names
        self._confusables.add(SERVER)
        self._pools: dict[str, _NumberPool] = {}  # by the skeleton of the base name
        self._numbered: dict[str, tuple[str, int]] = {}  # by key of a numbered name: skeleton and number

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[M]:
        return iter(self._members.values())

    def __contains__(self, key: str) -> bool:
        return key in self._members

    def get(self, name: str) -> M | None:
        """Return the member whose name counts as the same as ``name``."""
        return self._members.get(name_key(clean_name(name, self._name_length)))

    def confusable_with(self, name: str) -> Iterator[tuple[str, M | None]]:
        """Yield other taken names that are confusable with a clean name, and their members.

        The member is None for the name of the server.
        """
        return ((other, self._members.get(name_key(other))) for other in self._confusables.find(name))

    def assign(self, requested: str, *, owned: bool = False) -> str:
        """Take the requested name, cleaned, or the next free one that is similar, and return it.

        To a taken or confusable name, it appends the lowest free number from 2 (``Michael_2``). An empty one
        becomes ``guest1``, ``guest2`` and so on. If somebody owns many of these names, the number is random.
        ``owned``: the name is for its owner, so that it need not be free of confusable ones.
        """
        base = clean_name(requested, self._name_length)
        key = name_key(base)
        if base and (key not in self._taken if owned else self._is_free(key, base)):
            self._take(key, base)
            return base
        if not base:
            base = _GUEST
        # Confusable names share one pool; with one each, every name would try all numbers of the others.
        skeleton = skeletons(base).folded
        pool = self._pools.get(skeleton)
        if pool is None:
            pool = self._pools[skeleton] = _NumberPool(2 if base is not _GUEST else 1)
        for attempt in count():
            number = pool.acquire() if attempt < _LOWEST_NUMBERS else _random_number(attempt)
            suffix = f"{number}" if base is _GUEST else f"_{number}"
            name = base[: self._name_length - len(suffix)].rstrip() + suffix
            key = name_key(name)
            if self._is_free(key, name):
                break
        pool.used += 1
        self._take(key, name)
        self._numbered[key] = (skeleton, number)
        return name

    def add(self, member: M) -> None:
        """Add the member who has a name from `assign`."""
        self._members[name_key(member.name)] = member

    def remove(self, member: M) -> None:
        """Remove a member and free their name."""
        key = name_key(member.name)
        del self._members[key]
        self._taken.discard(key)
        self._confusables.remove(member.name)
        if key in self._numbered:
            skeleton, number = self._numbered.pop(key)
            pool = self._pools[skeleton]
            pool.release(number)
            if not pool.used:
                del self._pools[skeleton]

    def _is_free(self, key: str, name: str) -> bool:
        return (
            key not in self._taken
            and next(self._confusables.find(name), None) is None
            and not self._reserved(key, name)
        )

    def _take(self, key: str, name: str) -> None:
        self._taken.add(key)
        self._confusables.add(name)


def _random_number(attempt: int) -> int:
    """Return a number from a range that grows with the attempts."""
    return random.randrange(1, 10 ** min(9, 4 + attempt // _LOWEST_NUMBERS))


class _NumberPool:
    """Free numbers of one base name. Without it, n members of one name would cost n look-ups each."""

    __slots__ = ("_next", "_released", "used")

    def __init__(self, first: int) -> None:
        self._next = first
        self._released: list[int] = []  # a heap
        self.used = 0

    def acquire(self) -> int:
        if self._released:
            return heapq.heappop(self._released)
        self._next += 1
        return self._next - 1

    def release(self, number: int) -> None:
        self.used -= 1
        heapq.heappush(self._released, number)
