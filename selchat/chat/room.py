"""A room: its members, and one feed for each wire format."""

from __future__ import annotations

import heapq
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from selchat.chat.peer import Author, Format, Named
from selchat.events import Event, Joined, Left, Roster
from selchat.feed import Feed, Subscription
from selchat.limits import MAX_NAMES_ANNOUNCED
from selchat.text import name_key


class Batch(NamedTuple):
    """Events that are published together: the messages of one read from one author, or events of the server.

    ``logged``: these are messages, which exist only if the log has them. ``own_subscription``: the author's
    subscription, which does not get these events.
    """

    events: Sequence[Event]
    logged: bool
    author: Author | None = None
    own_subscription: Subscription[Any] | None = None


class Room:
    """Members and feeds. ``feed_limit``: bytes that each feed keeps for slow readers.

    ``salt`` is for clients that encrypt their messages in this room; the server does not use it itself. By
    default, the room gets a new one.
    """

    def __init__(self, name: str, feed_limit: int, salt: str = "") -> None:
        self.name = name
        self.key = name_key(name)
        self.salt = salt or new_salt()
        self.topic = ""
        self.seq = 0  # of the last published message
        self.dropped = 0  # ``seq`` of the last message that an operator has deleted with the room
        self.members: dict[str, Named] = {}  # by the key of the name
        # In batches, so that publishing costs one step for each read and not one for each message.
        self.staged: list[Batch] = []
        self.deliveries = 0  # in the last `publish`: messages times readers, without the authors' own
        self.after_publish: set[Callable[[], object]] = set()  # called once, after the next events
        self._feed_limit = feed_limit
        self.feeds: dict[Format, Feed[Any]] = {}
        # Keys with unpublished changes. For each: the names that readers may show for it, None for no member.
        # The first is the published one, the others were part of snapshots.
        self._changes: dict[str, tuple[str | None, ...]] = {}

    def feed(self, format: Format) -> Feed[Any]:
        """Return the feed of this room in ``format``."""
        feed = self.feeds.get(format)
        if feed is None:
            # Without readers, no event is encoded in this format any more.
            feed = Feed(self._feed_limit, self.seq, lambda: self.feeds.pop(format, None))
            self.feeds[format] = feed
        return feed

    def publish(self) -> Iterable[Feed[Any]]:
        """Append the staged batches to every feed, encoded once for each format; return the feeds."""
        staged, self.staged = self.staged, []
        self.deliveries = 0
        for format, feed in self.feeds.items():
            self.deliveries += (self.seq - feed.mark) * feed.readers
            for events, logged, _, own in staged:
                if own is not None and own.feed is feed:
                    feed.append(format.encode(events), own)
                    if logged and own.is_reading:
                        self.deliveries -= len(events)
                else:
                    feed.append(format.encode(events))
            feed.mark = self.seq
        if staged and self.after_publish:
            waiting, self.after_publish = self.after_publish, set()
            for callback in waiting:
                callback()
        return self.feeds.values()

    # -- members ---------------------------------------------------------------------------------------

    def add(self, member: Named) -> None:
        """Add a member."""
        key = name_key(member.name)
        self.members[key] = member
        self._record_change(key, None, member.name)

    def remove(self, member: Named) -> None:
        """Remove a member."""
        key = name_key(member.name)
        del self.members[key]
        self._record_change(key, member.name, None)

    def take_changes(self) -> list[Event]:
        """Return the changes of the member list since the last call, as `Joined` and `Left`."""
        changes, self._changes = self._changes, {}
        visited: list[str] = []  # in a snapshot, but neither before nor after it
        gone: list[str] = []
        new: list[str] = []
        for key, shown in changes.items():
            name = self._name(key)
            wrong = [each for each in shown if each is not None and each != name]
            gone += wrong
            if name is not None:
                new.append(name)
            elif shown[0] is None:
                visited += wrong
        return [*self._events(Joined, visited), *self._events(Left, gone), *self._events(Joined, new)]

    def snapshot(self, limit: int) -> Roster:
        """Return the `roster` for a reader who will get all later changes as events."""
        # The reader shows these members now, so that a later `Left` must not cancel out their `Joined`.
        for key, shown in self._changes.items():
            name = self._name(key)
            if name not in shown:
                self._changes[key] = (*shown, name)
        return self.roster(limit)

    def roster(self, limit: int) -> Roster:
        """Return the first ``limit`` names in alphabetical order, and the number of members."""
        # Partial sort: the first of 10,000 names take 2 ms, a full sort takes 10.
        keys = heapq.nsmallest(limit, self.members)
        return Roster(tuple(self.members[key].name for key in keys), len(self.members))

    def _name(self, key: str) -> str | None:
        """Return the name of the member with that key, or None."""
        member = self.members.get(key)
        return None if member is None else member.name

    def _record_change(self, key: str, before: str | None, now: str | None) -> None:
        shown = self._changes.setdefault(key, (before,))
        if shown == (now,):
            # Absences and visits that are shorter than the interval between two events are not reported.
            del self._changes[key]

    def _events(self, kind: type[Joined | Left], names: list[str]) -> Iterator[Event]:
        for start in range(0, len(names), MAX_NAMES_ANNOUNCED):
            yield kind(self.name, tuple(names[start : start + MAX_NAMES_ANNOUNCED]), len(self.members))


def new_salt() -> str:
    """Return 16 random bytes in base64url without padding, as docs/protocol.rst defines a salt."""
    return secrets.token_urlsafe(16)
