"""What a client knows of the rooms that it is in, or wants to be in.

This file knows no wire: it is told what has come. Everything in it that a server fills is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum, auto

from selchat.client.events import Gap, Message
from selchat.client.protocol.order import InOrder
from selchat.text import name_key

MAX_MEMBERS = 10_000  # names remembered of one room
MAX_ROOMS = 1024  # rooms remembered; servers allow far less


class Presence(Enum):
    """How a client stands to a room. A room that it is out of is not remembered.

    =========  ======================================  ====================================================
    state      means                                   next
    =========  ======================================  ====================================================
    JOINING    is asked to be let in, or will be       JOINED; PARTING by `Room.part`
    JOINED     is in, or will be with the welcome      RESUMING after a break; PARTING by `Room.part`
    RESUMING   was in before a break, and goes on      JOINED; PARTING by `Room.part`; forgotten when refused
               there when it is let in again, as it
               has no place in the hello
    PARTING    has asked to be let out                 forgotten; REJOINING by `Room.join`
    REJOINING  the same, and then to be let in again   JOINING when it is out; PARTING by `Room.part`
    =========  ======================================  ====================================================
    """

    JOINING = auto()
    JOINED = auto()
    RESUMING = auto()
    PARTING = auto()
    REJOINING = auto()


class Room:
    """One room: its ``name`` as the server writes it, its ``topic``, how many are in it (``total``).

    ``members`` are the names that are known, in order. ``missed`` is the largest ``seq`` of what was said
    while there was no connection.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.presence = Presence.JOINING
        self.topic = ""
        self.total = 0
        self.order = InOrder(name, 0)
        self.missed = 0
        self._members: dict[str, str] = {}  # by key

    @property
    def seq(self) -> int:
        """Up to which ``seq`` everything has been handed on."""
        return self.order.through

    @property
    def is_wanted(self) -> bool:
        """Whether the client is in, or wants to be, when what is on its way has been answered."""
        return self.presence is not Presence.PARTING

    @property
    def was_in(self) -> bool:
        """Whether the client goes on there after a break, and does not come anew."""
        return self.presence in {Presence.JOINED, Presence.RESUMING}

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(self._members[key] for key in sorted(self._members))

    def join(self) -> None:
        if self.presence is Presence.PARTING:
            self.presence = Presence.REJOINING

    def part(self) -> None:
        self.presence = Presence.PARTING

    def enter(self, name: str) -> None:
        """Note that the client is in, and how the server writes the room's name."""
        self.name = name
        self.presence = Presence.JOINED

    def rewind(self, seq: int) -> list[Message | Gap]:
        """Go back where the server has, if it has: one that was put back to a backup counts on from there."""
        return self.order.restart(seq) if self.seq > seq else []

    def set_members(self, names: Iterable[str], total: int) -> None:
        self._members.clear()
        self.add_members(names, total)

    def add_members(self, names: Iterable[str], total: int) -> None:
        for name in names:
            if len(self._members) >= MAX_MEMBERS:
                break
            self._members[name_key(name)] = name
        self.total = total

    def remove_members(self, names: Iterable[str], total: int) -> None:
        for name in names:
            self._members.pop(name_key(name), None)
        self.total = total


class RoomBook:
    """The rooms, in the order in which they were entered."""

    def __init__(self) -> None:
        self._rooms: dict[str, Room] = {}  # by key

    def __iter__(self) -> Iterator[Room]:
        return iter(tuple(self._rooms.values()))

    def __len__(self) -> int:
        return len(self._rooms)

    def get(self, name: str) -> Room | None:
        return self._rooms.get(name_key(name))

    def add(self, name: str) -> Room:
        """Return the room of that name, a new one if there is none."""
        return self._rooms.setdefault(name_key(name), Room(name))

    def rename(self, name: str, new: str) -> Room | None:
        """Return the room of that name, from now on under a new one, which none has; None: there is none."""
        room = self._rooms.pop(name_key(name), None)
        if room is not None:
            room.name = new
            self._rooms[name_key(new)] = room
        return room

    def remove(self, name: str) -> None:
        self._rooms.pop(name_key(name), None)
