"""All rooms: the lobby, rooms with members, and rooms with history.

The number of rooms in memory is limited. If it is reached, the room that has had no member for longest makes
way for a new one. Its history stays in the log, and the next member who joins brings it back.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from selchat.addresses import limited_source
from selchat.chat.confusables import ConfusableIndex, MixedScriptsError, check_scripts
from selchat.chat.room import Room, new_salt
from selchat.clock import Clock
from selchat.config.settings import Settings
from selchat.errors import BadRoomError, NamedRefusalError, RefusalError
from selchat.events import LOBBY, Said
from selchat.limits import EMPTY_ROOM_SECONDS, FRESH_ROOM_LIST, MAX_BUCKETS, ROOM_LIST_SECONDS, ROOMS_CHECKED
from selchat.log.port import Log, NotReadableError, NotStoredError
from selchat.ratelimit import BucketTable, hourly
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


class RoomRateError(RefusalError):
    """``who``: who has created too many rooms. ``limit``: new rooms in an hour."""

    code = "too-many-rooms"

    def __init__(self, who: str, limit: int) -> None:
        super().__init__(who, limit)
        self.who = who
        self.limit = limit

    def __str__(self) -> str:
        return f"{self.who} created {self.limit} rooms within an hour; join an existing room, or wait"


_ROOMS = "room"  # the kind of these records
_DROPPED = "dropped-room"  # the same for rooms whose messages are being deleted


class RoomSummary(NamedTuple):
    """One room in a list of rooms."""

    name: str
    members: int
    topic: str
    seq: int


class Creator(NamedTuple):
    """Who wants a room. ``client_id``: None if the protocol has no secrets. ``host``: the address."""

    client_id: bytes | None
    host: str


class Rooms:
    """Rooms by name."""

    def __init__(self, log: Log, settings: Settings, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._settings = settings
        self._rooms: dict[str, Room] = {}  # by the key of the name
        self._confusables = ConfusableIndex()  # of their names
        # Those without members, idle for longest first, with the clock's time of their last use.
        self._idle: dict[str, tuple[Room, float]] = {}
        self._unchecked: list[Room] = []  # idle ones that `collect_garbage` will look at
        self._by_person = BucketTable(*hourly(settings.person_rooms), MAX_BUCKETS)
        self._by_address = BucketTable(*hourly(settings.address_rooms), MAX_BUCKETS)
        self._listing: list[Room] = []  # as `list` returns them
        self._listed_at = float("-inf")  # on the clock
        records = {key: json.loads(text) for key, text in log.records(_ROOMS).items()}
        logged = {name_key(name): name for name in log.rooms() if not name.startswith("@")}  # else an inbox
        for key, name in logged.items():
            records.setdefault(key, {"name": name, "topic": ""})
        for key, record in records.items():
            if "salt" not in record:  # from an older version
                log.put(_ROOMS, key, json.dumps({**record, "salt": new_salt()}))
        self.lobby = self._load(LOBBY)
        others = [record["name"] for key, record in records.items() if key not in logged]
        dropped = {record["name"] for record in records.values() if self._is_dropped(record)}
        for name in [name for name in (*others, *logged.values()) if name not in dropped][
            -settings.rooms_limit :
        ]:
            self._load(name)

    def __len__(self) -> int:
        return len(self._rooms)

    def reconfigure(self, settings: Settings) -> None:
        """Apply the new limits of creation."""
        self._by_person.set_limits(*hourly(settings.person_rooms))
        self._by_address.set_limits(*hourly(settings.address_rooms))
        self._settings = settings

    def find(self, name: str) -> Room | None:
        """Return the room of that name; None: there is none, or it is only in the log."""
        return self._rooms.get(name) or self._rooms.get(_key(name))

    def restore(self, name: str) -> Room | None:
        """Return the room of that name, from the log if necessary; None: there is no such room."""
        room = self.find(name)
        if room is not None:
            return room
        text = self._log.record(_ROOMS, _key(name))
        return None if text is None or self._is_dropped(json.loads(text)) else self._load(name)

    def get_or_create(self, name: str, creator: Creator) -> Room:
        """Return the room of that name, creating it if necessary.

        A new room's name follows the same rules as a user's: see `selchat.chat.confusables`.

        Raises `BadRoomError`, `TooManyRoomsError` and `RoomRateError`.
        """
        room = self.find(name)
        if room is not None:
            if self._idle.pop(room.key, None):
                self._add_idle(room)  # as the one that was used last
            return room
        new = "" if self._is_logged(name) else clean_room(name)
        if new:
            self._check_confusable(new)
        elif not self._is_logged(name):
            raise BadRoomError(name)
        if len(self._rooms) >= self._settings.rooms_limit and not self._idle:
            raise TooManyRoomsError(self._settings.rooms_limit)
        if new:
            self._count_creation(creator)
        if len(self._rooms) >= self._settings.rooms_limit:
            room, _ = next(iter(self._idle.values()))
            self._unload(room)
        return self._load(new or name)

    def save(self, room: Room) -> None:
        """Save the spelling of the room's name, its salt and its topic."""
        record: dict[str, str | int] = {"name": room.name, "topic": room.topic, "salt": room.salt}
        if room.dropped:
            record["dropped"] = room.dropped
        self._log.put(_ROOMS, room.key, json.dumps(record))

    def joined(self, room: Room) -> None:
        """Note that the room has a member."""
        self._idle.pop(room.key, None)

    def left(self, room: Room) -> None:
        """Note that a member has left the room; forget it if nothing would be lost."""
        if not room.members and room is not self.lobby:
            self._add_idle(room)
            if room.seq == room.dropped and not room.staged and not room.topic:
                self._unload(room)

    def collect_garbage(self) -> None:
        """Forget idle rooms without messages, and without a topic that someone has used lately.

        A call checks a part of them, which takes two milliseconds.
        """
        if not self._unchecked:
            self._unchecked = [room for room, _ in self._idle.values()]
        checked, self._unchecked = self._unchecked[:ROOMS_CHECKED], self._unchecked[ROOMS_CHECKED:]
        oldest = self._clock.now - EMPTY_ROOM_SECONDS
        for room in checked:
            _, used_at = self._idle.get(room.key, (room, 0.0))
            if room.key not in self._idle or room.staged or (room.topic and used_at > oldest):
                continue
            if not self._log.before(room.name, None, 1, 1):
                self._unload(room)

    def drop(self, room: Room) -> None:
        """Delete a room without members, with its topic and all of its messages; never the lobby.

        From now on, `before` and `after` do not return these messages; `delete_dropped` deletes them. A room
        that is created again under this name keeps its spelling, and does not use their ``seq`` numbers
        again, so that no client mistakes a later message for one of these. It gets a new salt.
        """
        assert not room.members and room is not self.lobby
        self._forget(room)
        room.topic, room.salt, room.dropped = "", new_salt(), room.seq
        self.save(room)
        self._log.put(_DROPPED, room.name, str(room.seq))

    def delete_dropped(self) -> bool:
        """Delete some messages of dropped rooms; return whether more are left."""
        for name, seq in self._log.records(_DROPPED).items():
            try:
                if self._log.delete(name, int(seq)):
                    return True
            except (NotReadableError, NotStoredError):
                continue  # again later
            self._log.put(_DROPPED, name, None)
        return False

    def after(self, room: Room, seq: int, limit: int, size: int) -> Sequence[Said]:
        """Return the oldest messages of the room above ``seq``; see `Log.after`."""
        return self._log.after(room.name, max(seq, room.dropped), limit, size)

    def before(self, room: Room, seq: int | None, limit: int, size: int) -> Sequence[Said]:
        """Return the newest messages of the room below ``seq``; see `Log.before`."""
        found = self._log.before(room.name, seq, limit, size)
        return [one for one in found if one.seq > room.dropped] if room.dropped else found

    def list(self, start: int, limit: int) -> tuple[Sequence[RoomSummary], int]:
        """Return rooms in the order of their members, most first, and the number of all rooms.

        ``start``: the number of rooms to skip; ``limit``: the maximum number to return. If there are many
        rooms, their order is up to a second old.
        """
        if self.unsorted:
            self._listing = sorted(self._rooms.values(), key=lambda room: room.name)
            self._listing.sort(key=lambda room: len(room.members), reverse=True)
            self._listed_at = self._clock.now
        page = [
            RoomSummary(room.name, len(room.members), room.topic, room.seq)
            for room in self._listing[start : start + limit]
        ]
        return page, len(self._listing)

    @property
    def unsorted(self) -> int:
        """The number of rooms that the next `list` has to sort."""
        is_cached = self._clock.now - self._listed_at < ROOM_LIST_SECONDS
        return 0 if is_cached and len(self._rooms) > FRESH_ROOM_LIST else len(self._rooms)

    # ----------------------------------------------------------------------------------------------------

    def _is_logged(self, name: str) -> bool:
        """Return whether the log has a record of the room."""
        return self._log.record(_ROOMS, _key(name)) is not None

    def _is_dropped(self, record: dict[str, Any]) -> bool:
        """Return whether an operator has deleted the room, and nobody has used it since then."""
        return (
            "dropped" in record
            and not record["topic"]
            and record["dropped"] == self._log.last_seq(record["name"])
        )

    def _check_confusable(self, name: str) -> None:
        try:
            check_scripts(name)
        except MixedScriptsError as error:
            raise MixedScriptsRoomError(name, error.scripts) from error
        for other in self._confusables.find(name):
            raise ConfusableRoomError(name, other)

    def _count_creation(self, creator: Creator) -> None:
        """Raise `RoomRateError` if this person or address has created too many rooms."""
        now = self._clock.now
        settings = self._settings
        # The person first: else one person's refused attempts would use up the rooms of an address.
        person = creator.client_id or creator.host
        if not self._by_person.get(person, now).take(now):
            raise RoomRateError("you", settings.person_rooms)
        source = limited_source(creator.host)
        if source and not self._by_address.get(source, now).take(now):
            raise RoomRateError("users of your address", settings.address_rooms)

    def _load(self, name: str) -> Room:
        """Return the room of that name, with the spelling, salt and topic that the log has for it."""
        key = _key(name)
        text = self._log.record(_ROOMS, key)
        record: dict[str, Any] = {"name": name, "topic": ""} if text is None else json.loads(text)
        room = self._rooms.get(key)
        if room is None:
            room = Room(record["name"], self._settings.feed_limit, record.get("salt", ""))
            room.topic = clean_line(record["topic"])
            room.seq = self._log.last_seq(room.name)
            room.dropped = record.get("dropped", 0)
            self._rooms[key] = room
            self._confusables.add(room.name)
            if name != LOBBY:
                self._add_idle(room)
        return room

    def _add_idle(self, room: Room) -> None:
        self._idle[room.key] = (room, self._clock.now)

    def _unload(self, room: Room) -> None:
        """Free the memory of an idle room. A room that never had a message loses its topic."""
        if not room.seq and self._log.record(_ROOMS, room.key) is not None:
            self._log.put(_ROOMS, room.key, None)
        self._forget(room)

    def _forget(self, room: Room) -> None:
        del self._rooms[room.key]
        self._idle.pop(room.key, None)
        self._confusables.remove(room.name)


def _key(name: str) -> str:
    return name_key(name.removeprefix("#"))
