"""Rooms of a selchat client: joining, leaving and resuming, members, and message order.

Knows message types as events, and no wire format. Bounds everything that a server can make grow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from enum import Enum, auto

from selchat.client.events import ClientEvent, Gap, Message, Parted, RoomSummary, Users
from selchat.client.protocol.outbox import QueueFullError
from selchat.errors import BadRoomError
from selchat.events import Joined, Left, Topic
from selchat.limits import (
    MAX_CLIENT_ROOMS,
    MAX_GAPS,
    MAX_HELD_MESSAGES,
    MAX_HELD_MESSAGES_SIZE,
    MAX_MEMBERS,
    ROOM_LENGTH,
)
from selchat.text import name_key, visible_name


def clean_room_name(room: str) -> str:
    """Return the name as the server will clean it. Raises `BadRoomError` if no room can have it."""
    cleaned = visible_name(room.removeprefix("#"), ROOM_LENGTH + 1)
    if not 0 < len(cleaned) <= ROOM_LENGTH:
        raise BadRoomError(room[: 2 * ROOM_LENGTH])
    return cleaned


# -- message order ---------------------------------------------------------------------------------------


class ReorderBuffer:
    """Puts one room's messages in the order of their numbers and drops repeated ones.

    A room has no holes. The messages of others arrive in order. The client's own arrive as ``ack``, before or
    after their neighbours; and after a reconnect some messages arrive again.

    The buffer has released every message up to ``last_seq``, or knows that it will not arrive. A client
    resumes there after a reconnect.
    """

    def __init__(self, room: str, last_seq: int) -> None:
        self._room = room
        self.last_seq = last_seq
        self._server_seq = last_seq  # the server sends a room in order, and has sent all up to this number
        self._held: dict[int, Message] = {}
        self._size = 0  # characters in _held
        self._gaps: dict[int, int] = {}  # announced gaps: the number before each, and the number after it

    def start_connection(self) -> None:
        """Expect the messages after ``last_seq``: a new connection starts there."""
        self._server_seq = self.last_seq

    def add(self, message: Message, *, acked: bool) -> None:
        """Add a message; drop a repeated one. ``acked``: the client knows it from its ``ack``."""
        seq = message.seq
        if not acked:
            self._server_seq = max(self._server_seq, seq)
        if seq > self.last_seq and seq not in self._held:
            self._held[seq] = message
            self._size += len(message.body)

    def add_gap(self, after: int, before: int) -> None:
        """Record that the messages between the two numbers will not arrive."""
        if before > self.last_seq + 1 and before > after + 1:
            self._server_seq = max(self._server_seq, before - 1)
            self._gaps[after] = max(before, self._gaps.get(after, 0))

    def release(self, *, expect_ack: bool) -> list[Message | Gap]:
        """Remove and return the messages that are in order now.

        ``expect_ack``: an ``ack`` of this room may still arrive. If none can, nothing fills a hole below the
        server's position, so the buffer reports the hole as a gap.
        """
        released: list[Message | Gap] = []
        while self._held or self._gaps:
            message = self._held.pop(self.last_seq + 1, None)
            if message is not None:
                self._release(message, released)
            elif not self._skip_announced_gap(released):
                lost = self.last_seq < self._server_seq and not expect_ack
                full = (
                    len(self._held) > MAX_HELD_MESSAGES
                    or self._size > MAX_HELD_MESSAGES_SIZE
                    or len(self._gaps) > MAX_GAPS
                )
                if not (lost or full):
                    break
                self._skip_to(min([*self._held, *(after + 1 for after in self._gaps)]), released)
        return released

    def restart(self, last_seq: int) -> list[Message | Gap]:
        """Restart after that number, because the numbering changed; return the messages held until now."""
        released: list[Message | Gap] = []
        for seq in sorted(self._held):
            self._skip_to(seq, released)
            self._release(self._held.pop(seq), released)
        self._gaps.clear()
        self.last_seq = self._server_seq = last_seq
        return released

    def _release(self, message: Message, released: list[Message | Gap]) -> None:
        self.last_seq = message.seq
        self._size -= len(message.body)
        released.append(message)

    def _skip_announced_gap(self, released: list[Message | Gap]) -> bool:
        """Skip the next announced gap, up to the first message inside it; return whether there is a gap."""
        for after, before in self._gaps.items():
            if after <= self.last_seq:
                inside = [seq for seq in self._held if self.last_seq < seq < before]
                if not inside:
                    del self._gaps[after]
                self._skip_to(min(inside, default=before), released)
                return True
        return False

    def _skip_to(self, before: int, released: list[Message | Gap]) -> None:
        if before > self.last_seq + 1:
            released.append(Gap(self._room, self.last_seq, before))
            self.last_seq = before - 1


# -- one room --------------------------------------------------------------------------------------------


class RoomState(Enum):
    """Whether the client is in a room. It forgets the rooms that it has left.

    =========  ======================================  ====================================================
    state      means                                   next
    =========  ======================================  ====================================================
    JOINING    the client sent join, or will           JOINED; PARTING by `Room.part`
    JOINED     the client is a member, or will be      RESUMING after a disconnect; PARTING by `Room.part`
               after the welcome
    RESUMING   the room did not fit into the hello,    JOINED; PARTING by `Room.part`; forgotten if refused
               so the client joins it again after the
               welcome and continues there
    PARTING    the client sent part                    forgotten; REJOINING by `Room.join`
    REJOINING  the client sent part, and then join     JOINING when it has left; PARTING by `Room.part`
    =========  ======================================  ====================================================
    """

    JOINING = auto()
    JOINED = auto()
    RESUMING = auto()
    PARTING = auto()
    REJOINING = auto()


class Room:
    """One room: ``name`` as the server writes it, ``topic``, and ``total``, the number of members.

    ``members`` are the names that the client knows, sorted. ``missed`` is the largest ``seq`` of the messages
    that were sent while the client was disconnected.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = RoomState.JOINING
        self.topic = ""
        self.total = 0
        self.buffer = ReorderBuffer(name, 0)
        self.missed = 0
        self._members: dict[str, str] = {}  # by name key

    @property
    def seq(self) -> int:
        """The number of the last message that the client passed on; all before it were passed on too."""
        return self.buffer.last_seq

    @property
    def is_active(self) -> bool:
        """Whether the client is in the room, or will be once the server has answered everything."""
        return self.state is not RoomState.PARTING

    @property
    def can_resume(self) -> bool:
        """Whether the client resumes the room after a disconnect, rather than joining it anew."""
        return self.state in {RoomState.JOINED, RoomState.RESUMING}

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(self._members[key] for key in sorted(self._members))

    def join(self) -> None:
        if self.state is RoomState.PARTING:
            self.state = RoomState.REJOINING

    def part(self) -> None:
        self.state = RoomState.PARTING

    def mark_joined(self, name: str) -> None:
        """Record that the client is a member, and how the server writes the room's name."""
        self.name = name
        self.state = RoomState.JOINED

    def rewind(self, seq: int) -> list[Message | Gap]:
        """Go back to the server's position if it is lower: a server restored from a backup is behind."""
        return self.buffer.restart(seq) if self.seq > seq else []

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


class RoomMap:
    """Rooms by name, in the order in which the client joined them. Upper and lower case are the same."""

    def __init__(self) -> None:
        self._rooms: dict[str, Room] = {}  # by name key

    def __iter__(self) -> Iterator[Room]:
        return iter(tuple(self._rooms.values()))

    def __len__(self) -> int:
        return len(self._rooms)

    def get(self, name: str) -> Room | None:
        return self._rooms.get(name_key(name))

    def add(self, name: str) -> Room:
        """Return the room of that name; create it if the map has none."""
        return self._rooms.setdefault(name_key(name), Room(name))

    def rename(self, name: str, new: str) -> Room | None:
        """Give the room a new name, which no other room has, and return it; None if there is no such room."""
        room = self._rooms.pop(name_key(name), None)
        if room is not None:
            room.name = new
            self._rooms[name_key(new)] = room
        return room

    def remove(self, name: str) -> None:
        self._rooms.pop(name_key(name), None)


# -- all rooms -------------------------------------------------------------------------------------------


class UsersReason(Enum):
    """Why the client expects a ``users`` reply."""

    JOIN = auto()
    LIST = auto()  # the user asked for the list
    RESUME = auto()  # the room did not fit into the hello; no event
    REFRESH = auto()  # to update the members that the client remembers; no event


class JoinedRooms:
    """The rooms of this client, and the ``users`` replies that it expects, in order."""

    def __init__(self) -> None:
        self.rooms = RoomMap()
        self.expected: deque[tuple[UsersReason, str]] = deque()  # replies to come, each with its room
        self._to_part: set[str] = set()  # keys of rooms that the user left while the client was offline

    # -- requests of the user --------------------------------------------------------------------------

    def join(self, name: str) -> None:
        """Add a room. Raises `QueueFullError` if there are too many."""
        if len(self.rooms) >= MAX_CLIENT_ROOMS and self.rooms.get(name) is None:
            raise QueueFullError(MAX_CLIENT_ROOMS)
        self.rooms.add(name).join()
        self._to_part.discard(name_key(name))

    def part(self, name: str) -> None:
        """Record that the client sent ``part``."""
        room = self.rooms.get(name)
        if room is not None:
            room.part()

    def part_offline(self, name: str) -> list[ClientEvent]:
        """Leave a room while the client is not logged in."""
        self._to_part.add(name_key(name))
        room = self.rooms.get(name)
        return [] if room is None else self._remove(room)

    # -- connections -----------------------------------------------------------------------------------

    def positions(self) -> dict[str, int]:
        """Return the rooms to resume, each with the ``seq`` of the last message that the client has."""
        return {room.name: room.seq for room in self.rooms if room.can_resume}

    def connection_made(self, resumed: Collection[str]) -> None:
        """Start a connection whose hello resumes these rooms."""
        for room in self.rooms:
            room.buffer.start_connection()
            if room.can_resume:
                room.state = RoomState.JOINED if room.name in resumed else RoomState.RESUMING

    def connection_lost(self) -> list[ClientEvent]:
        """Forget the requests of the lost connection."""
        self.expected.clear()
        events: list[ClientEvent] = []
        for room in self.rooms:
            if room.state is RoomState.PARTING:
                events += self._remove(room)
            elif room.state is RoomState.REJOINING:
                self.rooms.remove(room.name)
                self.rooms.add(room.name)
        return events

    def split(self, found: list[RoomSummary]) -> tuple[tuple[RoomSummary, ...], list[str]]:
        """Split the rooms of a welcome into those to keep and the names of those to leave."""
        kept = tuple(room for room in found if name_key(room.room) not in self._to_part)
        to_part = [room.room for room in found if name_key(room.room) in self._to_part]
        self._to_part.clear()
        return kept[:MAX_CLIENT_ROOMS], to_part

    def reset_numbers(self) -> list[ClientEvent]:
        """Reset all numbers, because the server has another log; return the messages held until now."""
        return [event for room in self.rooms for event in room.buffer.restart(0)]

    def is_behind(self, found: tuple[RoomSummary, ...]) -> bool:
        """Whether the server has fewer messages in a room than before: someone restored it from a backup."""
        known = ((self.rooms.get(summary.room), summary.seq) for summary in found)
        return any(room is not None and room.seq > seq for room, seq in known)

    def rewind(self, found: tuple[RoomSummary, ...]) -> list[ClientEvent]:
        """Go back to the server's position in each room where it is lower."""
        events: list[ClientEvent] = []
        for summary in found:
            room = self.rooms.get(summary.room)
            if room is not None:
                events += room.rewind(summary.seq)
        return events

    def update(self, found: tuple[RoomSummary, ...]) -> list[ClientEvent]:
        """Update all rooms from a welcome, which lists the rooms that the client is in."""
        events: list[ClientEvent] = []
        present = {name_key(summary.room) for summary in found}
        for room in self.rooms:
            if room.state is RoomState.JOINED and name_key(room.name) not in present:
                events += self._remove(room)
        for summary in found:
            room = self.rooms.add(summary.room)
            if room.state is RoomState.JOINING:
                room.buffer.restart(summary.seq)
            room.mark_joined(summary.room)
            room.topic, room.total, room.missed = summary.topic, summary.members, summary.seq
        return events

    # -- messages of the server ------------------------------------------------------------------------

    def on_users(self, users: Users) -> list[ClientEvent]:
        """Handle a list of members: the reply to a join, a list request, a resume or a refresh."""
        reason, requested = self.expected.popleft() if self.expected else (UsersReason.LIST, users.room)
        events: list[ClientEvent] = []
        room = self.rooms.get(users.room)
        if reason in {UsersReason.JOIN, UsersReason.RESUME}:
            room = room or self.rooms.rename(requested, users.room)
        if reason is UsersReason.JOIN:
            users = users._replace(joined=room is not None and room.is_active)
            if room is not None and room.state is RoomState.JOINING:
                events += room.buffer.restart(users.seq)
                room.mark_joined(users.room)
        if reason is UsersReason.RESUME and room is not None and room.state is RoomState.RESUMING:
            events += room.rewind(users.seq)
            room.mark_joined(users.room)
            room.missed = users.seq
        if room is not None:
            room.topic = users.topic
            room.set_members(users.names, users.total)
        if reason in {UsersReason.JOIN, UsersReason.LIST}:
            events.append(users)
        return events

    def on_joined(self, joined: Joined, own_name: str) -> list[ClientEvent]:
        """Add new members."""
        room = self.rooms.get(joined.room)
        if room is None:
            return []
        room.add_members(joined.names, joined.total)
        others = tuple(name for name in joined.names if name_key(name) != name_key(own_name))
        # `Users` has told the user about their own join already.
        return [Joined(room.name, others, joined.total)] if others else []

    def on_left(self, left: Left, own_name: str) -> list[ClientEvent]:
        """Remove members; this client too, if it sent ``part``."""
        room = self.rooms.get(left.room)
        if room is None:
            return []
        leaving = room.state in {RoomState.PARTING, RoomState.REJOINING}
        if leaving and name_key(own_name) in map(name_key, left.names):
            events = self._remove(room)
            if room.state is RoomState.REJOINING:
                self.rooms.add(room.name)
            return events
        room.remove_members(left.names, left.total)
        return [left._replace(room=room.name)]

    def on_topic(self, topic: Topic) -> list[ClientEvent]:
        """Set a room's new topic."""
        room = self.rooms.get(topic.room)
        if room is None:
            return []
        room.topic = topic.topic
        return [topic._replace(room=room.name)]

    def on_error(self, code: str, name: str, *, about_message: bool) -> list[ClientEvent]:
        """Handle an error about a room; ``name`` is as this client has written it."""
        room = self.rooms.get(name)
        if code in {"bad-room", "too-many-rooms", "no-such-room"} and not about_message:
            # After a welcome, the error may also be about a room that the client resumes.
            if self.expected and self.expected[0][1] == name:
                reason, _ = self.expected.popleft()
                if reason is UsersReason.RESUME and room is not None:
                    events = self._remove(room)
                    if (UsersReason.JOIN, name) in self.expected:
                        self.rooms.add(name)
                    return events
                hopeless = room is not None and room.state in {RoomState.JOINING, RoomState.PARTING}
                if hopeless and (UsersReason.JOIN, name) not in self.expected:
                    self.rooms.remove(name)
        elif code == "not-in-room" and room is not None:
            if room.state in {RoomState.JOINED, RoomState.PARTING}:
                return self._remove(room)
            if room.state is RoomState.REJOINING and not about_message:
                room.state = RoomState.JOINING
        return []

    def _remove(self, room: Room) -> list[ClientEvent]:
        self.rooms.remove(room.name)
        return [*room.buffer.restart(room.seq), Parted(room.name)]
