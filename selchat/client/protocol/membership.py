"""Where this client is: going into rooms and out of them, who else is there, and the way back after a break.

It is told what has come, and says what to ask. It must not know what is said in the rooms.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from enum import Enum, auto

from selchat.client.events import Event, Parted, RoomSummary, Users
from selchat.client.protocol.outgoing import QueueFullError
from selchat.client.protocol.rooms import MAX_ROOMS, Presence, Room, RoomBook
from selchat.errors import BadRoomError
from selchat.events import Joined, Left, Topic
from selchat.text import clean_name, name_key

ROOM_LENGTH = 32  # characters


class Asked(Enum):
    """Why a ``users`` is on its way."""

    JOIN = auto()
    USERS = auto()
    RESUME = auto()  # as the room had no place in the hello; nobody else is told
    REFRESH = auto()  # for the members that this client remembers; nobody else is told


class Membership:
    """The rooms, and which answers about them are to come."""

    def __init__(self) -> None:
        self.rooms = RoomBook()
        self.asked: deque[tuple[Asked, str]] = deque()  # which ``users`` are to come, of which rooms
        self._unwanted: set[str] = set()  # keys of rooms that were left while there was no welcome

    # -- what this client does -------------------------------------------------------------------------

    def join(self, name: str) -> None:
        """Note that the client wants to be in. Raises `QueueFullError`."""
        if len(self.rooms) >= MAX_ROOMS and self.rooms.get(name) is None:
            raise QueueFullError(MAX_ROOMS)
        self.rooms.add(name).join()
        self._unwanted.discard(name_key(name))

    def part(self, name: str) -> None:
        """Note that the client has asked to be let out."""
        room = self.rooms.get(name)
        if room is not None:
            room.part()

    def forget(self, name: str) -> list[Event]:
        """Note that the client wants to be out, while there is no welcome."""
        self._unwanted.add(name_key(name))
        room = self.rooms.get(name)
        return [] if room is None else self._out_of(room)

    # -- connections -----------------------------------------------------------------------------------

    def resume(self) -> dict[str, int]:
        """Return the rooms to go on in, each with the ``seq`` up to which everything has come."""
        return {room.name: room.seq for room in self.rooms if room.was_in}

    def connection_made(self, resumed: Collection[str]) -> None:
        """Expect what comes on a new connection, which takes up these of the rooms by itself."""
        for room in self.rooms:
            room.order.begin()
            if room.was_in:
                room.presence = Presence.JOINED if room.name in resumed else Presence.RESUMING

    def connection_lost(self) -> list[Event]:
        """Forget what the connection had been asked for."""
        self.asked.clear()
        events: list[Event] = []
        for room in self.rooms:
            if room.presence is Presence.PARTING:
                events += self._out_of(room)
            elif room.presence is Presence.REJOINING:
                self.rooms.remove(room.name)
                self.rooms.add(room.name)
        return events

    def sort(self, found: list[RoomSummary]) -> tuple[tuple[RoomSummary, ...], list[str]]:
        """Return which rooms of a welcome are wanted, and which are to be left."""
        wanted = tuple(room for room in found if name_key(room.room) not in self._unwanted)
        unwanted = [room.room for room in found if name_key(room.room) in self._unwanted]
        self._unwanted.clear()
        return wanted[:MAX_ROOMS], unwanted

    def renumber(self) -> list[Event]:
        """Begin all numbers anew, as the server has another log; return what was held until now."""
        return [event for room in self.rooms for event in room.order.restart(0)]

    def goes_back(self, found: tuple[RoomSummary, ...]) -> bool:
        """Whether the server has less of a room than it had, because it was put back to a backup."""
        known = ((self.rooms.get(summary.room), summary.seq) for summary in found)
        return any(room is not None and room.seq > seq for room, seq in known)

    def rewind(self, found: tuple[RoomSummary, ...]) -> list[Event]:
        """Go back where the server has: one that was put back to a backup counts on from there."""
        events: list[Event] = []
        for summary in found:
            room = self.rooms.get(summary.room)
            if room is not None:
                events += room.rewind(summary.seq)
        return events

    def welcome(self, found: tuple[RoomSummary, ...]) -> list[Event]:
        """Note in which rooms the server lets the client go on."""
        events: list[Event] = []
        present = {name_key(summary.room) for summary in found}
        for room in self.rooms:
            if room.presence is Presence.JOINED and name_key(room.name) not in present:
                events += self._out_of(room)
        for summary in found:
            room = self.rooms.add(summary.room)
            if room.presence is Presence.JOINING:
                room.order.restart(summary.seq)
            room.enter(summary.room)
            room.topic, room.total, room.missed = summary.topic, summary.members, summary.seq
        return events

    # -- what the server says --------------------------------------------------------------------------

    def users(self, users: Users) -> list[Event]:
        """Take who is in a room: perhaps the answer to having joined it."""
        asked, wanted = self.asked.popleft() if self.asked else (Asked.USERS, users.room)
        events: list[Event] = []
        room = self.rooms.get(users.room)
        if asked in {Asked.JOIN, Asked.RESUME}:
            room = room or self.rooms.rename(wanted, users.room)
        if asked is Asked.JOIN:
            users = users._replace(entered=room is not None and room.is_wanted)
            if room is not None and room.presence is Presence.JOINING:
                events += room.order.restart(users.seq)
                room.enter(users.room)
        if asked is Asked.RESUME and room is not None and room.presence is Presence.RESUMING:
            events += room.rewind(users.seq)
            room.enter(users.room)
            room.missed = users.seq
        if room is not None:
            room.topic = users.topic
            room.set_members(users.names, users.total)
        if asked in {Asked.JOIN, Asked.USERS}:
            events.append(users)
        return events

    def joined(self, joined: Joined, own_name: str) -> list[Event]:
        """Take who has come."""
        room = self.rooms.get(joined.room)
        if room is None:
            return []
        room.add_members(joined.names, joined.total)
        others = tuple(name for name in joined.names if name_key(name) != name_key(own_name))
        # That one has come oneself is known.
        return [Joined(room.name, others, joined.total)] if others else []

    def left(self, left: Left, own_name: str) -> list[Event]:
        """Take who has gone: perhaps this client, as it has asked for."""
        room = self.rooms.get(left.room)
        if room is None:
            return []
        leaving = room.presence in {Presence.PARTING, Presence.REJOINING}
        if leaving and name_key(own_name) in map(name_key, left.names):
            events = self._out_of(room)
            if room.presence is Presence.REJOINING:
                self.rooms.add(room.name)
            return events
        room.remove_members(left.names, left.total)
        return [left._replace(room=room.name)]

    def topic(self, topic: Topic) -> list[Event]:
        """Take a room's new topic."""
        room = self.rooms.get(topic.room)
        if room is None:
            return []
        room.topic = topic.topic
        return [topic._replace(room=room.name)]

    def refused(self, code: str, name: str, *, about_message: bool) -> list[Event]:
        """Learn what a refusal says about being in a room; ``name`` is as this client has written it."""
        room = self.rooms.get(name)
        if code in {"bad-room", "too-many-rooms", "no-such-room"} and not about_message:
            # After a welcome, these may also be about a room that was to be resumed.
            if self.asked and self.asked[0][1] == name:
                asked, _ = self.asked.popleft()
                if asked is Asked.RESUME and room is not None:
                    events = self._out_of(room)
                    if (Asked.JOIN, name) in self.asked:
                        self.rooms.add(name)
                    return events
                hopeless = room is not None and room.presence in {Presence.JOINING, Presence.PARTING}
                if hopeless and (Asked.JOIN, name) not in self.asked:
                    self.rooms.remove(name)
        elif code == "not-in-room" and room is not None:
            if room.presence in {Presence.JOINED, Presence.PARTING}:
                return self._out_of(room)
            if room.presence is Presence.REJOINING and not about_message:
                room.presence = Presence.JOINING
        return []

    def _out_of(self, room: Room) -> list[Event]:
        self.rooms.remove(room.name)
        return [*room.order.restart(room.seq), Parted(room.name)]


def room_name(room: str) -> str:
    """Return the name as the server will clean it. Raises `BadRoomError` for what cannot be one."""
    cleaned = clean_name(room.removeprefix("#"), ROOM_LENGTH + 1)
    if not 0 < len(cleaned) <= ROOM_LENGTH:
        raise BadRoomError(room[: 2 * ROOM_LENGTH])
    return cleaned
