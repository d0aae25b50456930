"""What can happen to a client, as small immutable values: what interfaces and bots are told.

The same for both wires: what the paper's cannot say is left at its default. Texts are as they came,
decrypted and not cleaned: whoever shows one makes it safe first. What the domain has the same values for
(`Joined`, `Left`, `Topic`) comes from `selchat.events`.
"""

from __future__ import annotations

from typing import NamedTuple

from selchat.events import LOBBY, Joined, Left, Topic


class RoomSummary(NamedTuple):
    """A room as a list of rooms has it: its topic, how many are in it, and its newest ``seq`` (0: none)."""

    room: str
    members: int
    topic: str
    seq: int


class Welcomed(NamedTuple):
    """The server has let us in, under ``name``.

    ``again``: it is not the first time, and what was missed comes next. ``renumbered``: the server has
    another log than before, so that the ``seq`` of what came until now mean nothing any more. ``rooms`` are
    those that one is in. ``whispers``: how many come that were kept.
    """

    name: str
    server: str
    rooms: tuple[RoomSummary, ...]
    whispers: int
    again: bool
    renumbered: bool


class Message(NamedTuple):
    """Something said in a room. Each ``(room, seq)`` comes once, and those of a room in order.

    ``seq`` is 0 and ``at`` (seconds of Unix time) is None on the paper's wire. ``own``: this very program
    has said it, since it was started; ``id`` is then the one that saying it has returned. ``missed``: it was
    said while there was no connection. ``cipher``: how the body is still encrypted, for want of the key.
    """

    author: str
    body: str
    room: str = LOBBY
    seq: int = 0
    at: float | None = None
    id: str = ""
    own: bool = False
    missed: bool = False
    cipher: str | None = None


class Whispered(NamedTuple):
    """Something said to one person alone. ``seq`` counts them; it is 0 for what is not kept."""

    author: str
    body: str
    to: str
    seq: int
    at: float
    id: str = ""
    cipher: str | None = None


class Acked(NamedTuple):
    """What was said with this ``id`` is stored, in ``room`` or for the one whose name is ``to``.

    The other of the two is empty. For a room, its `Message` comes too, in its place among the others'.
    """

    id: str
    room: str
    to: str
    seq: int
    at: float


class Refused(NamedTuple):
    """The server does not do what it was asked for; ``code`` is one of docs/protocol.rst, ``text`` says why.

    If it is about something said, ``id`` is that of it, and ``body`` what will not be said; else they are
    empty, as ``room`` and ``to`` are where it is not about one. ``retry_after`` is in seconds.
    """

    code: str
    text: str
    id: str = ""
    room: str = ""
    to: str = ""
    body: str = ""
    retry_after: float = 0.0


class NotStored(NamedTuple):
    """The server cannot store messages now. What was said is kept and said again; this is told once."""

    text: str


class Users(NamedTuple):
    """Who is in a room: ``names`` in order, perhaps not all, and how many there are in all.

    ``entered``: this is the answer to having joined it.
    """

    room: str
    names: tuple[str, ...]
    total: int
    topic: str
    seq: int
    entered: bool


class Heard(NamedTuple):
    """Who has said something so far, on a server that does not tell who is there."""

    names: tuple[str, ...]


class Parted(NamedTuple):
    """One is out of the room, as one has asked for, or because the server says so."""

    room: str


class Rooms(NamedTuple):
    """Which rooms there are, those with most members first, and how many there are in all."""

    rooms: tuple[RoomSummary, ...]
    total: int


class History(NamedTuple):
    """What was asked for of a room's past, oldest first. ``more``: there is more in that direction."""

    room: str
    messages: tuple[Message, ...]
    more: bool


class Gap(NamedTuple):
    """The messages of a room with a ``seq`` between these two, both exclusive, will not come."""

    room: str
    after: int
    before: int


class Bye(NamedTuple):
    """The server closes. ``retry_after``: in how many seconds to come back; None: not by oneself."""

    reason: str
    retry_after: float | None


Event = (
    Welcomed
    | Message
    | Whispered
    | Acked
    | Refused
    | NotStored
    | Joined
    | Left
    | Topic
    | Users
    | Heard
    | Parted
    | Rooms
    | History
    | Gap
    | Bye
)
