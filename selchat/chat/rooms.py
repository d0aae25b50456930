"""The rooms that there are: those with members, those with history, and the lobby."""

from __future__ import annotations

import json
from typing import NamedTuple

from selchat.chat.room import Room, clean_room, new_salt
from selchat.errors import BadRoomError, RefusalError
from selchat.events import LOBBY
from selchat.log.port import Log
from selchat.text import name_key


class TooManyRoomsError(RefusalError):
    """``limit``: how many there may be."""

    code = "too-many-rooms"

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return f"{self.limit} rooms are the limit"


_ROOMS = "room"  # the kind of these records


class RoomSummary(NamedTuple):
    """What a list of rooms shows of one."""

    name: str
    members: int
    topic: str
    seq: int


class _Known(NamedTuple):
    """What the log knows of a room: how it was first written, and its salt."""

    name: str
    salt: str


class Rooms:
    """Rooms by name. ``feed_limit``: see `Room`; ``limit``: how many there may be."""

    def __init__(self, log: Log, feed_limit: int, limit: int) -> None:
        self._log = log
        self._feed_limit = feed_limit
        self._limit = limit
        self._rooms: dict[str, Room] = {}  # by the key of the name
        self._known: dict[str, _Known] = {}  # every room that ever had a message or a topic, by key
        for key, text in tuple(log.records(_ROOMS).items()):
            record = json.loads(text)
            self._known[key] = _Known(record["name"], record.get("salt") or new_salt())
            if record["topic"]:
                self._make(record["name"]).topic = record["topic"]
            if "salt" not in record:  # of an older server
                self._put(key, record["topic"])
        self.lobby = self._make(LOBBY)
        for name in log.rooms():
            if not name.startswith("@"):  # whispers
                room = self._make(name)
                if room.key not in self._known:
                    self.save(room)

    def __len__(self) -> int:
        return len(self._rooms)

    def find(self, name: str) -> Room | None:
        """Return the room of that name; None: there is none."""
        return self._rooms.get(name) or self._rooms.get(name_key(name.removeprefix("#")))

    def get_or_create(self, name: str) -> Room:
        """Return the room of that name, which is made if there is none.

        Raises `BadRoomError` and `TooManyRoomsError`.
        """
        room = self.find(name)
        if room is None:
            cleaned = clean_room(name)
            if not cleaned:
                raise BadRoomError(name)
            if len(self._rooms) >= self._limit:
                raise TooManyRoomsError(self._limit)
            # The log knows it as it was first written.
            known = self._known.get(name_key(cleaned))
            room = self._make(cleaned if known is None else known.name)
        return room

    def save(self, room: Room) -> None:
        """Keep how the room is written, its salt, and its topic."""
        self._known[room.key] = _Known(room.name, room.salt)
        self._put(room.key, room.topic)

    def remove(self, room: Room) -> None:
        """Forget a room that nobody is in and that has no history."""
        if room is self.lobby:
            return
        self._rooms.pop(room.key, None)
        if room.topic:
            room.topic = ""
            self.save(room)

    def collect_garbage(self) -> None:
        """Drop those of which nothing is left."""
        kept = set(self._log.rooms())
        for room in tuple(self._rooms.values()):
            if not room.members and not room.staged and room.name not in kept:
                self.remove(room)

    def list(self, limit: int) -> tuple[list[RoomSummary], int]:
        """Return ``limit`` rooms, those with most members first, and how many there are in all."""
        found = [
            RoomSummary(room.name, len(room.members), room.topic, room.seq) for room in self._rooms.values()
        ]
        found.sort(key=lambda one: (-one.members, one.name))
        return found[:limit], len(found)

    def _make(self, name: str) -> Room:
        room = self._rooms.get(name_key(name))
        if room is None:
            known = self._known.get(name_key(name))
            room = Room(name, self._feed_limit, "" if known is None else known.salt)
            self._rooms[room.key] = room
            room.seq = self._log.last_seq(name)
        return room

    def _put(self, key: str, topic: str) -> None:
        name, salt = self._known[key]
        self._log.put(_ROOMS, key, json.dumps({"name": name, "topic": topic, "salt": salt}))
