"""The roster: who is here, and under which name."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from selchat.chat.confusables import ConfusableIndex, skeletons
from selchat.chat.peer import Named
from selchat.events import SERVER
from selchat.text import NAME_LENGTH, clean_name, name_key

_GUEST = "guest"


M = TypeVar("M", bound=Named)


class Roster(Generic[M]):
    """Members by name. Two names that are equal under NFKC and casefold are the same name.

    No two look the same either (`selchat.chat.confusables`), unless their owner is one.

    ``name_length`` is in characters. ``reserved(key, name)``: whether a name is its owner's, or looks like
    one that is, also while they are away.
    """

    def __init__(
        self, name_length: int = NAME_LENGTH, reserved: Callable[[str, str], bool] = lambda key, name: False
    ) -> None:
        self._name_length = name_length
        self._reserved = reserved
        self._members: dict[str, M] = {}
        self._taken = {name_key(SERVER)}
        self._confusables = ConfusableIndex()  # of those taken
        self._confusables.add(SERVER)
        self._numbers: dict[str, _Numbers] = {}  # by what the base name looks like
        self._numbered: dict[str, tuple[str, int]] = {}  # key of a name that was made with a number: whence

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[M]:
        return iter(self._members.values())

    def __contains__(self, key: str) -> bool:
        return key in self._members

    def get(self, name: str) -> M | None:
        """Return the member of that name, however it is written."""
        return self._members.get(name_key(clean_name(name, self._name_length)))

    def confusable_with(self, name: str) -> Iterator[tuple[str, M | None]]:
        """Find other names that are taken and for which that clean one could be taken, and whose they are.

        None: the server's, which nobody can have.
        """
        return ((other, self._members.get(name_key(other))) for other in self._confusables.find(name))

    def assign(self, requested: str, *, owned: bool = False) -> str:
        """Take the name ``wanted``, cleaned, or the next one that is free, and return it.

        A taken name, or one that looks like one, gets the lowest free number from 2 (``Michael_2``), an empty
        one is ``guest1`` and so on. ``reserved``: it is for the owner, whatever it looks like.
        """
        base = clean_name(requested, self._name_length)
        key = name_key(base)
        if base and (key not in self._taken if owned else self._is_free(key, base)):
            self._take(key, base)
            return base
        if not base:
            base = _GUEST
        # Look-alikes share their numbers, or each would have to step over all those of the others.
        look = skeletons(base).folded
        numbers = self._numbers.get(look)
        if numbers is None:
            numbers = self._numbers[look] = _Numbers(2 if base is not _GUEST else 1)
        while True:
            number = numbers.take()
            suffix = f"{number}" if base is _GUEST else f"_{number}"
            name = base[: self._name_length - len(suffix)].rstrip() + suffix
            key = name_key(name)
            if self._is_free(key, name):
                break
        numbers.used += 1
        self._take(key, name)
        self._numbered[key] = (look, number)
        return name

    def add(self, member: M) -> None:
        """Note who has the name that was claimed."""
        self._members[name_key(member.name)] = member

    def remove(self, member: M) -> None:
        """Take a member away and free its name."""
        key = name_key(member.name)
        del self._members[key]
        self._taken.discard(key)
        self._confusables.remove(member.name)
        if key in self._numbered:
            look, number = self._numbered.pop(key)
            numbers = self._numbers[look]
            numbers.give_back(number)
            if not numbers.used:
                del self._numbers[look]

    def _is_free(self, key: str, name: str) -> bool:
        return (
            key not in self._taken
            and next(self._confusables.find(name), None) is None
            and not self._reserved(key, name)
        )

    def _take(self, key: str, name: str) -> None:
        self._taken.add(key)
        self._confusables.add(name)


class _Numbers:
    """The free numbers of one base name: with n people of one name, a search would cost n look-ups each."""

    __slots__ = ("_free", "_next", "used")

    def __init__(self, first: int) -> None:
        self._next = first
        self._free: list[int] = []  # a heap of those given back
        self.used = 0

    def take(self) -> int:
        if self._free:
            return heapq.heappop(self._free)
        self._next += 1
        return self._next - 1

    def give_back(self, number: int) -> None:
        self.used -= 1
        heapq.heappush(self._free, number)
