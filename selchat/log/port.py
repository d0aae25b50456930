"""What the rest asks of a log. A message exists from the moment `Log.commit` has returned.

A log keeps two things in one transaction: messages, and *records*, which are small texts by kind and key
(who owns a name, who is banned, a room's topic). It gives them no meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from selchat.errors import RefusalError
from selchat.events import Said
from selchat.histogram import Histogram
from selchat.log.retention import Retention


class NotStoredError(RefusalError):
    """``why``: what the log says."""

    code = "not-stored"

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"the server cannot store messages now ({self.why})"


class NotReadableError(RefusalError):
    """``why``: what the log says."""

    code = "not-readable"

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"the server cannot read its messages now ({self.why})"


class Sent(NamedTuple):
    """What is remembered of a message that a client has sent, to know it when it comes again."""

    id: str
    room: str
    seq: int
    at: float


class Log(Protocol):
    """The messages of every room, each with its ``seq``: from 1, without holes, never reused.

    Rooms are whatever strings they are called by. Only what is committed can be read; where it is read from a
    disk that fails, the methods that read raise `NotReadableError`.
    """

    @property
    def id(self) -> str:
        """Names this log, so that the numbers of another one are not taken for its own."""

    def append(
        self,
        room: str,
        author: str,
        bodies: Sequence[str],
        at: float,
        ids: Sequence[str] = (),
        ciphers: Sequence[str | None] = (),
        client: bytes | None = None,
    ) -> list[Said]:
        """Stage messages and return them, each with its ``seq``.

        ``ids`` and ``ciphers`` are empty or as many as the bodies. ``client``: who has made the ids; None:
        there are none.
        """

    def put(self, kind: str, key: str, value: str | None) -> None:
        """Stage a record, in the place of the one that was there; None: of none."""

    @property
    def staged(self) -> bool:
        """Whether there is something to commit."""

    def commit(self) -> None:
        """Store all that is staged.

        Raises `NotStoredError`: then no message that was staged exists, and their numbers are given out
        again; staged records are kept for the next commit.
        """

    def last_seq(self, room: str) -> int:
        """Return the ``seq`` of the newest message of that room, forgotten or not; 0: there was none."""

    def after(self, room: str, seq: int, limit: int, size: int) -> list[Said]:
        """Return the oldest kept messages above ``seq``, oldest first.

        At most ``limit`` of them, and about ``size`` characters of bodies, but one message at least.
        """

    def before(self, room: str, seq: int | None, limit: int, size: int) -> list[Said]:
        """Return the newest messages below ``seq`` (None: of all), oldest first; as many as `after` would."""

    def rooms(self) -> Sequence[str]:
        """Return the rooms that have a message."""

    def sent(self, client: bytes, limit: int) -> list[Sent]:
        """Return the newest messages of that client, ``limit`` at most, oldest first."""

    def records(self, kind: str) -> Mapping[str, str]:
        """Return all records of that kind, by key, staged ones included."""

    @property
    def commit_seconds(self) -> Histogram:
        """How long each commit has taken; nothing, of a log that has no disk to wait for."""

    @property
    def size(self) -> int:
        """Bytes that it takes, about."""

    def set_retention(self, retention: Retention) -> None:
        """Let `expire` go by that from now on."""

    def expire(self, now: float) -> bool:
        """Forget some of what is past the retention at that Unix time; return whether there is more of it."""

    def close(self) -> None:
        """Give everything back."""
