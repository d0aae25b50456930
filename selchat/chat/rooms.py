"""All rooms: the lobby, rooms with members, and rooms with history or a topic."""

from __future__ import annotations

import json
from typing import NamedTuple

from selchat.chat.confusables import ConfusableIndex, MixedScriptsError, check_scripts
from selchat.chat.room import Room, new_salt
from selchat.errors import BadRoomError, NamedRefusalError, RefusalError
from selchat.events import LOBBY
from selchat.log.port import Log
from selchat.text import clean_line, clean_room, name_key


class TooManyRoomsError(RefusalError):
    """``limit``: the maximum number of rooms."""

    code = "too-many-rooms"

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return f"the limit of {self.limit} rooms is reached"


class ConfusableRoomError(BadRoomError):
    """``other``: the existing room that this one looks like."""

    def __init__(self, name: str, other: str) -> None:
        super(NamedRefusalError, self).__init__(name, other)
        self.name = name
        self.other = other

    def __str__(self) -> str:
        other = self.other
        return f"the room {self.name} looks too much like {other}; join {other}, or choose another name"


class MixedScriptsRoomError(BadRoomError):
    """The name mixes ``scripts``."""

    def __init__(self, name: str, scripts: tuple[str, ...]) -> None:
        super(NamedRefusalError, self).__init__(name, scripts)
        self.name = name
        self.scripts = scripts

    def __str__(self) -> str:
        scripts = " and ".join(self.scripts)
        return f"the room {self.name} mixes {scripts} letters and could be mistaken for another room"


_ROOMS = "room"  # the kind of these records


class RoomSummary(NamedTuple):
    """One room in a list of rooms."""

    name: str
    members: int
    topic: str
    seq: int


class _Record(NamedTuple):
    """The log's record of a room: the first spelling of its name, and its salt."""

    name: str
    salt: str


class Rooms:
    """Rooms by name. ``feed_limit``: see `Room`; ``limit``: the maximum number of rooms."""

    def __init__(self, log: Log, feed_limit: int, limit: int) -> None:
        self._log = log
        self._feed_limit = feed_limit
        self._limit = limit
        self._rooms: dict[str, Room] = {}  # by the key of the name
        self._confusables = ConfusableIndex()  # of their names
        self._records: dict[str, _Record] = {}  # of every room that ever had a message or a topic, by key
        for key, text in tuple(log.records(_ROOMS).items()):
            record = json.loads(text)
            self._records[key] = _Record(record["name"], record.get("salt") or new_salt())
            if record["topic"]:
                self._create(record["name"]).topic = clean_line(record["topic"])
            if "salt" not in record:  # a record of an older version
                self._write_record(key, record["topic"])
        self.lobby = self._create(LOBBY)
        for name in log.rooms():
            if not name.startswith("@"):  # else it is an inbox
                room = self._create(name)
                if room.key not in self._records:
                    self.save(room)

    def __len__(self) -> int:
        return len(self._rooms)

    def find(self, name: str) -> Room | None:
        """Return the room of that name; None: no such room."""
        return self._rooms.get(name) or self._rooms.get(name_key(name.removeprefix("#")))

    def get_or_create(self, name: str) -> Room:
        """Return the room of that name, creating it if necessary.

        A new room's name follows the same rules as a user's: see `selchat.chat.confusables`.

        Raises `BadRoomError` and `TooManyRoomsError`.
        """
        room = self.find(name)
        if room is None:
            cleaned = clean_room(name)
            if not cleaned:
                raise BadRoomError(name)
            if len(self._rooms) >= self._limit:
                raise TooManyRoomsError(self._limit)
            # A room that the log knows keeps the first spelling of its name.
            stored = self._records.get(name_key(cleaned))
            if stored is None:
                self._check_confusable(cleaned)
            room = self._create(cleaned if stored is None else stored.name)
        return room

    def save(self, room: Room) -> None:
        """Save the spelling of the room's name, its salt and its topic."""
        self._records[room.key] = _Record(room.name, room.salt)
        self._write_record(room.key, room.topic)

    def remove(self, room: Room) -> None:
        """Remove a room without members and history, unless it has a topic; never the lobby."""
        if room is not self.lobby and not room.topic and self._rooms.pop(room.key, None) is not None:
            self._confusables.remove(room.name)

    def collect_garbage(self) -> None:
        """Remove rooms that have neither members nor messages any more, nor a topic."""
        logged = set(self._log.rooms())
        for room in tuple(self._rooms.values()):
            if not room.members and not room.staged and room.name not in logged:
                self.remove(room)

    def list(self, limit: int) -> tuple[list[RoomSummary], int]:
        """Return the ``limit`` rooms with the most members, in that order, and the number of all rooms."""
        found = [
            RoomSummary(room.name, len(room.members), room.topic, room.seq) for room in self._rooms.values()
        ]
        found.sort(key=lambda room: (-room.members, room.name))
        return found[:limit], len(found)

    def _create(self, name: str) -> Room:
        room = self._rooms.get(name_key(name))
        if room is None:
            stored = self._records.get(name_key(name))
            room = Room(name, self._feed_limit, "" if stored is None else stored.salt)
            self._rooms[room.key] = room
            self._confusables.add(name)
            room.seq = self._log.last_seq(name)
        return room

    def _check_confusable(self, name: str) -> None:
        try:
            check_scripts(name)
        except MixedScriptsError as error:
            raise MixedScriptsRoomError(name, error.scripts) from error
        for other in self._confusables.find(name):
            raise ConfusableRoomError(name, other)

    def _write_record(self, key: str, topic: str) -> None:
        name, salt = self._records[key]
        self._log.put(_ROOMS, key, json.dumps({"name": name, "topic": topic, "salt": salt}))
