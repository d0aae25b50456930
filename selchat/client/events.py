"""What can happen to a client, as small immutable values: what interfaces and bots are told.

The same for both wires: what the paper's cannot say is left at its default. Texts are as they came,
decrypted and not cleaned: whoever shows one makes it safe first. What the domain has the same values for
(`Joined`, `Left`, `Topic`) comes from `selchat.events`.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from selchat.events import LOBBY, Joined, Left, Topic


class Seal(Enum):
    """How a message stands to the end-to-end encryption (docs/encryption.rst). The value says it to people.

    ================  ====================================================================================
    seal              means
    ================  ====================================================================================
    NONE              there is no passphrase, and it was not encrypted; or it is from the server itself
    OPENED            it was encrypted, by someone who has the passphrase
    CLEAR             there is a passphrase, but this was not encrypted: anyone can have said it
    LOCKED            it is encrypted, and there is no passphrase to read it
    OTHER_PASSPHRASE  it is encrypted with another one
    DAMAGED           it was changed, moved, or put under another name on the way
    REPLAYED          it was said before, and comes again as something new
    REORDERED         it comes in another order than it was said in
    ================  ====================================================================================

    From LOCKED on it cannot be read, or must not be believed, and the body is empty.
    """

    NONE = ""
    OPENED = "encrypted"
    CLEAR = "not encrypted"
    LOCKED = "encrypted; read it with --passphrase-file"
    OTHER_PASSPHRASE = "cannot be read: encrypted with another passphrase"  # noqa: S105
    DAMAGED = "cannot be read: changed on the way"
    REPLAYED = "not shown: said before, and come again as something new"
    REORDERED = "not shown: come in another order than it was said in"

    @property
    def is_readable(self) -> bool:
        """Whether there is a body."""
        return self in {Seal.NONE, Seal.OPENED, Seal.CLEAR}


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


class Trusted(NamedTuple):
    """The server has shown its key for the first time (``fingerprint``); from now on no other will do."""

    address: str
    fingerprint: str


class Unencrypted(NamedTuple):
    """The server knows no TLS (``why``), so that everyone on the way can read and change what is said."""

    why: str


class Message(NamedTuple):
    """Something said in a room. Each ``(room, seq)`` comes once, and those of a room in order.

    ``seq`` is 0 and ``at`` (seconds of Unix time) is None on the paper's wire. ``own``: this very program
    has said it, since it was started; ``id`` is then the one that saying it has returned. ``missed``: it was
    said while there was no connection. ``cipher``: how the body is still encrypted, for want of the key;
    ``seal``: whether it was encrypted end to end, and could be read.
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
    seal: Seal = Seal.NONE


class Whispered(NamedTuple):
    """Something said to one person alone. ``seq`` counts them; it is 0 for what is not kept.

    ``cipher`` and ``seal`` are as in `Message`.
    """

    author: str
    body: str
    to: str
    seq: int
    at: float
    id: str = ""
    cipher: str | None = None
    seal: Seal = Seal.NONE


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
    Trusted
    | Unencrypted
    | Welcomed
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
