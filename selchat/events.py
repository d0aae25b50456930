"""Events of a chat, as immutable values.

They are named tuples because each message makes one: a frozen dataclass of five fields takes about four times
as long to make (0.9 against 0.25 microseconds on CPython 3.11).
"""

from __future__ import annotations

from typing import NamedTuple

SERVER = "Server"  # the server's own name; no user can take it
LOBBY = "lobby"  # the room that every user joins first
CIPHER_PREFIX = "selchat1 "  # starts the ``cipher`` of end-to-end encrypted messages (docs/encryption.rst)


class Said(NamedTuple):
    """A message in a room. It exists from the moment the log gives it its ``seq``.

    ``seq`` counts from 1 in each room, without gaps. ``at`` is Unix time in seconds. The author chose ``id``;
    the classic protocol has none. ``cipher`` says how the body is encrypted; None: it is not.
    """

    room: str
    seq: int
    author: str
    body: str
    at: float
    id: str = ""
    cipher: str | None = None


class Roster(NamedTuple):
    """The users who are online: the first ``names`` in alphabetical order, and the ``total`` number."""

    names: tuple[str, ...]
    total: int


class Joined(NamedTuple):
    """Users have joined a room, which now has ``total`` members."""

    room: str
    names: tuple[str, ...]
    total: int


class Left(NamedTuple):
    """Users have left a room, which now has ``total`` members."""

    room: str
    names: tuple[str, ...]
    total: int


class Topic(NamedTuple):
    """A room has a new topic, perhaps an empty one. ``at`` is Unix time in seconds."""

    room: str
    topic: str
    author: str
    at: float


class Notice(NamedTuple):
    """A text from the server to one member or to everyone. The log does not keep it."""

    text: str


Event = Said | Roster | Joined | Left | Topic | Notice
