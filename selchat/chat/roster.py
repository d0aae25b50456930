"""The roster: who is here, and under which name."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from selchat.events import SERVER
from selchat.text import NAME_LENGTH, clean_name, name_key

_GUEST = "guest"


class Named(Protocol):
    """Whoever can be in a roster."""

    name: str


M = TypeVar("M", bound=Named)


class Roster(Generic[M]):
    """Members by name. Two names that are equal under NFKC and casefold are the same name.

    ``name_length`` is in characters. ``reserved(key)``: whether a name is its owner's, also while they are
    away.
    """

    def __init__(
        self, name_length: int = NAME_LENGTH, reserved: Callable[[str], bool] = lambda key: False
    ) -> None:
        self._name_length = name_length
        self._reserved = reserved
        self._members: dict[str, M] = {}
        self._taken = {name_key(SERVER)}
        self._numbers: dict[str, _Numbers] = {}  # by the base name's key
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

    def claim(self, wanted: str, *, reserved: bool = False) -> str:
        """Take the name ``wanted``, cleaned, or the next one that is free, and return it.

        A taken name gets the lowest free number from 2 (``Michael_2``), an empty one is ``guest1`` and so on.
        ``reserved``: it is for the owner.
        """
        base = clean_name(wanted, self._name_length)
        key = name_key(base)
        if base and key not in self._taken and (reserved or not self._reserved(key)):
            self._taken.add(key)
            return base
        if not base:
            key = base = _GUEST
        numbers = self._numbers.get(key)
        if numbers is None:
            numbers = self._numbers[key] = _Numbers(2 if base is not _GUEST else 1)
        while True:
            number = numbers.take()
            suffix = f"{number}" if base is _GUEST else f"_{number}"
            name = base[: self._name_length - len(suffix)].rstrip() + suffix
            taken = name_key(name)
            if taken not in self._taken and not self._reserved(taken):
                break
        numbers.used += 1
        self._taken.add(taken)
        self._numbered[taken] = (key, number)
        return name

    def add(self, member: M) -> None:
        """Note who has the name that was claimed."""
        self._members[name_key(member.name)] = member

    def remove(self, member: M) -> None:
        """Take a member away and free its name."""
        key = name_key(member.name)
        del self._members[key]
        self._taken.discard(key)
        if key in self._numbered:
            base, number = self._numbered.pop(key)
            numbers = self._numbers[base]
            numbers.give_back(number)
            if not numbers.used:
                del self._numbers[base]


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
