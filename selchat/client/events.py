"""Events of a client: immutable values for interfaces and bots.

Both protocols use the same classes; fields that the classic protocol does not have keep their defaults. Texts
are decrypted but not escaped: code that prints one must escape control characters first. `Joined`, `Left` and
`Topic` come from `selchat.events`, because the server uses them too.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from selchat.events import LOBBY, Joined, Left, Topic


class Encryption(Enum):
    """The result of end-to-end decryption (docs/encryption.rst). The value is the text for users.

    ================  ====================================================================================
    result            means
    ================  ====================================================================================
    NONE              not encrypted, and the client has no passphrase; or from the server itself
    DECRYPTED         encrypted by a user with the passphrase
    UNENCRYPTED       not encrypted, although the client has a passphrase: anyone can have sent it
    NO_PASSPHRASE     encrypted, and the client has no passphrase
    OTHER_PASSPHRASE  encrypted with another passphrase
    OTHER_CIPHER      said to be encrypted in a way that this client, which has a passphrase, does not know
    TAMPERED          changed, moved to another room, or attributed to another name on the way
    REPLAYED          sent once before, and now delivered again as a new message
    REORDERED         delivered in another order than its sender sent it
    ================  ====================================================================================

    From NO_PASSPHRASE on, the client cannot read the message or must not trust it, and its body is empty.
    """

    NONE = ""
    DECRYPTED = "encrypted"
    UNENCRYPTED = "not encrypted"
    NO_PASSPHRASE = "encrypted; read it with --passphrase-file"  # noqa: S105
    OTHER_PASSPHRASE = "cannot be read: encrypted with another passphrase"  # noqa: S105
    OTHER_CIPHER = "cannot be read: encrypted with another cipher"
    TAMPERED = "cannot be read: changed in transit"
    REPLAYED = "not shown: an old message that was delivered again"
    REORDERED = "not shown: delivered in the wrong order"

    @property
    def is_readable(self) -> bool:
        """Whether the message has a body."""
        return self in {Encryption.NONE, Encryption.DECRYPTED, Encryption.UNENCRYPTED}


class RoomSummary(NamedTuple):
    """A room in a list of rooms: its topic, the number of members, and the newest ``seq`` (0: none)."""

    room: str
    members: int
    topic: str
    seq: int


class Welcomed(NamedTuple):
    """The server accepted the login, under ``name``.

    ``again``: this is a reconnect, and missed messages come next. ``renumbered``: the server has another log
    than before, so every earlier ``seq`` is void. ``rooms`` are the rooms that the user is in. ``whispers``
    is the number of stored direct messages that follow.
    """

    name: str
    server: str
    rooms: tuple[RoomSummary, ...]
    whispers: int
    again: bool
    renumbered: bool


class Trusted(NamedTuple):
    """The client connected to this server for the first time and pinned its ``fingerprint``."""

    address: str
    fingerprint: str


class Unencrypted(NamedTuple):
    """The server has no TLS (``why``), so anyone on the network can read and change messages."""

    why: str


class Message(NamedTuple):
    """A message in a room. Each ``(room, seq)`` comes once, and each room comes in order.

    ``seq`` is 0 and ``at`` (seconds of Unix time) is None on the classic protocol. ``own``: this process sent
    the message; ``id`` is then the one that sending it returned. ``missed``: someone sent it while the client
    was disconnected. ``cipher`` names the cipher of the body if the client has no key for it.
    ``encryption`` is the result of end-to-end decryption.
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
    encryption: Encryption = Encryption.NONE


class Whispered(NamedTuple):
    """A direct message. ``seq`` counts them; it is 0 for messages that the server does not store.

    ``cipher`` and ``encryption`` mean the same as in `Message`.
    """

    author: str
    body: str
    to: str
    seq: int
    at: float
    id: str = ""
    cipher: str | None = None
    encryption: Encryption = Encryption.NONE


class Acked(NamedTuple):
    """The server stored the message with this ``id``, in ``room`` or for the person ``to``.

    The other of the two is empty. For a room, the `Message` comes too, in its place.
    """

    id: str
    room: str
    to: str
    seq: int
    at: float


class Refused(NamedTuple):
    """The server refused a request; ``code`` is one of docs/protocol.rst, ``text`` is the explanation.

    If it refused a message, ``id`` and ``body`` are the message's; otherwise they are empty. ``room``
    and ``to`` are empty if the request had none. ``retry_after`` is in seconds. For any other request,
    ``request`` is its type, such as ``history``, and ``tag`` is the caller's; empty: unknown.
    """

    code: str
    text: str
    id: str = ""
    room: str = ""
    to: str = ""
    body: str = ""
    retry_after: float = 0.0
    request: str = ""
    tag: object = None


class NotStored(NamedTuple):
    """The server cannot store messages now. The client keeps them and retries. Comes once per outage."""

    text: str


class Users(NamedTuple):
    """The members of a room: ``names`` in order, perhaps not all of them, and their number (``total``).

    ``joined``: this is the reply to the user's join.
    """

    room: str
    names: tuple[str, ...]
    total: int
    topic: str
    seq: int
    joined: bool


class SeenAuthors(NamedTuple):
    """The authors of messages so far, on a server that sends no rosters."""

    names: tuple[str, ...]


class Parted(NamedTuple):
    """The user is no longer in the room, by request or because the server says so."""

    room: str


class Rooms(NamedTuple):
    """The rooms of the server, largest first, perhaps not all of them, and their number (``total``).

    ``tag`` is the one that the request had.
    """

    rooms: tuple[RoomSummary, ...]
    total: int
    tag: object = None


class History(NamedTuple):
    """Requested messages of a room, oldest first. ``more``: the room has more in that direction.

    ``tag`` is the one that the request had.
    """

    room: str
    messages: tuple[Message, ...]
    more: bool
    tag: object = None


class Gap(NamedTuple):
    """The messages of a room with a ``seq`` between these two, both exclusive, will not come."""

    room: str
    after: int
    before: int


class Bye(NamedTuple):
    """The server closes. ``retry_after``: when to reconnect, in seconds; None: do not reconnect.

    ``until``: the end of a ban, in words.
    """

    reason: str
    retry_after: float | None
    until: str = ""


ClientEvent = (
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
    | SeenAuthors
    | Parted
    | Rooms
    | History
    | Gap
    | Bye
)
