"""Log: the interface of the message store. A message exists from the moment `Log.commit` returns.

A log stores messages and *records* in one transaction. A record is a small text with a kind and a key, such
as the owner of a name, a ban or the topic of a room. The log does not interpret it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from selchat.errors import RefusalError
from selchat.events import Said
from selchat.histogram import Histogram
from selchat.log.retention import Retention


class NotStoredError(RefusalError):
    """``why``: the cause, as the log reports it."""

    code = "not-stored"

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"the server cannot store messages at the moment ({self.why})"


class NotReadableError(RefusalError):
    """``why``: the cause, as the log reports it."""

    code = "not-readable"

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"the server cannot read its history at the moment ({self.why})"


class Sent(NamedTuple):
    """A sent message, as the log remembers it to detect duplicates."""

    id: str
    room: str
    seq: int
    at: float


class Log(Protocol):
    """The messages of all rooms, each with its ``seq``: from 1, without gaps, never reused.

    A room is any string. Only committed messages can be read. Methods that read raise `NotReadableError` if
    the disk fails.
    """

    @property
    def id(self) -> str:
        """A unique id of this log, so that a client does not apply its ``seq`` numbers to another one."""

    def append(
        self,
        room: str,
        author: str,
        bodies: Sequence[str],
        at: float,
        ids: Sequence[str] = (),
        ciphers: Sequence[str | None] = (),
        client_id: bytes | None = None,
    ) -> list[Said]:
        """Stage messages and return them, each with its ``seq``.

        ``ids`` and ``ciphers`` are empty or as many as the bodies. ``client_id``: the client that chose the
        ids; None: there are no ids.
        """

    def put(self, kind: str, key: str, value: str | None) -> None:
        """Stage a record, replacing the old one; None deletes it."""

    @property
    def staged(self) -> bool:
        """Whether anything is staged."""

    def commit(self) -> None:
        """Store everything that is staged.

        If it raises `NotStoredError`, none of the staged messages exists, and the log assigns their ``seq``
        numbers again. Staged records stay staged for the next commit.
        """

    @property
    def can_write(self) -> bool:
        """Return False if it is certain that a commit would fail. It costs a few system calls."""

    @property
    def free_disk(self) -> int | None:
        """Bytes that are free on the disk for the log to grow; None: no disk limits it."""

    def last_seq(self, room: str) -> int:
        """Return the ``seq`` of the newest message of the room, expired or not; 0: it never had one."""

    def after(self, room: str, seq: int, limit: int, size: int) -> list[Said]:
        """Return the oldest messages above ``seq``, oldest first.

        They are at most ``limit``, with at most ``size`` characters of bodies in all, but at least one.
        Messages in damaged parts of the log are left out.
        """

    def before(self, room: str, seq: int | None, limit: int, size: int) -> list[Said]:
        """Return the newest messages below ``seq`` (None: of all), oldest first; limits as in `after`."""

    def rooms(self) -> Sequence[str]:
        """Return the rooms that have messages, the one that was used last at the end."""

    def sent(self, client_id: bytes, limit: int) -> list[Sent]:
        """Return the newest messages of the client, at most ``limit``, oldest first.

        A client may resend a message after a long absence. So the log remembers messages that have expired,
        except the oldest ones if there are very many.
        """

    def delete(self, room: str, seq: int) -> bool:
        """Delete some of the room's messages up to ``seq``; return whether more are left.

        The room keeps its last ``seq``. Raises `NotStoredError` and `NotReadableError`.
        """

    def record(self, kind: str, key: str) -> str | None:
        """Return a record, staged or not; None: there is none."""

    def records(self, kind: str) -> Mapping[str, str]:
        """Return all records of a kind, by key, including staged ones."""

    @property
    def commit_seconds(self) -> Histogram:
        """Durations of the commits; empty for a log without a disk."""

    @property
    def size(self) -> int:
        """Approximate size in bytes."""

    def set_retention(self, retention: Retention) -> None:
        """Set the retention that `expire` applies."""

    def expire(self, now: float) -> bool:
        """Delete some messages past the retention at Unix time ``now``; return whether more are left."""

    def close(self) -> None:
        """Release all resources."""
