"""A room: what is said in it goes through the log into one feed for each wire format."""

from __future__ import annotations

import heapq
import secrets
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from selchat.chat.peer import Author, Format, Named
from selchat.events import Event, Joined, Left, Roster
from selchat.feed import Feed, Subscription
from selchat.text import clean_name, name_key

ROOM_LENGTH = 32  # characters; Matrix: 255, IRC: 50
_MAX_NAMES = 500  # in one event about who has come or gone


class Batch(NamedTuple):
    """What happened in one step: what one read brought from one author, or something of the server's.

    ``logged``: whether these are messages, which exist only if the log has them. ``mine``: the author's
    subscription, which is not sent it.
    """

    events: Sequence[Event]
    logged: bool
    author: Author | None = None
    mine: Subscription[Any] | None = None


class Room:
    """``feed_limit``: bytes that each of its feeds keeps for readers that are behind.

    ``salt``: a new one if it has none yet. It is for those who encrypt what they say here; the server has no
    other use for it.
    """

    def __init__(self, name: str, feed_limit: int, salt: str = "") -> None:
        self.name = name
        self.key = name_key(name)
        self.salt = salt or new_salt()
        self.topic = ""
        self.seq = 0  # of the newest message that was published
        self.members: dict[str, Named] = {}  # by the key of the name
        # What happened since the last `publish`, in batches: what one read brought is one step from here on,
        # not one for each message.
        self.staged: list[Batch] = []
        self.deliveries = 0  # of the last `publish`: messages times readers, but for one's own
        self._feed_limit = feed_limit
        self._feeds: dict[Format, Feed[Any]] = {}
        # Who has come and gone and was not told yet, by key: the name, and whether it came.
        self._changes: dict[str, tuple[str, bool]] = {}
        self._shown: list[tuple[str, bool]] = []  # and that before the roster was shown to someone

    def feed(self, format: Format) -> Feed[Any]:
        """Return the feed of this room in that format."""
        feed = self._feeds.get(format)
        if feed is None:
            feed = self._feeds[format] = Feed(self._feed_limit)
            feed.mark = self.seq
        return feed

    def publish(self) -> Iterable[Feed[Any]]:
        """Append what is staged to every feed, encoded once for each, and return the feeds."""
        staged, self.staged = self.staged, []
        self.deliveries = 0
        for format, feed in self._feeds.items():
            self.deliveries += (self.seq - feed.mark) * (len(feed.live) + len(feed.behind))
            for events, _, _, mine in staged:
                if mine is not None and mine.feed is feed:
                    feed.append(format.encode(events), mine)
                    self.deliveries -= len(events)
                else:
                    feed.append(format.encode(events))
            feed.mark = self.seq
        return self._feeds.values()

    # -- who is here -----------------------------------------------------------------------------------

    def add(self, member: Named) -> None:
        """Note that someone is here now."""
        key = name_key(member.name)
        self.members[key] = member
        self._changed(key, member.name, True)

    def remove(self, member: Named) -> None:
        """Note that someone is not here any more."""
        key = name_key(member.name)
        del self.members[key]
        self._changed(key, member.name, False)

    def take_changes(self) -> list[Event]:
        """Return who has come and gone since this was last asked, and forget it."""
        changes = sorted(self._changes.values(), key=itemgetter(1))  # those who have gone first
        changes[:0] = self._shown
        self._changes = {}
        self._shown = []
        events: list[Event] = []
        for came, some in groupby(changes, itemgetter(1)):
            names = tuple(name for name, _ in some)
            events += (
                (Joined if came else Left)(self.name, names[start : start + _MAX_NAMES], len(self.members))
                for start in range(0, len(names), _MAX_NAMES)
            )
        return events

    def snapshot(self, limit: int) -> Roster:
        """Return the `roster` for someone who will follow the changes from here on."""
        # Who is in it and has not been told of must be told of, even if they are gone a moment later.
        self._shown += sorted(self._changes.values(), key=itemgetter(1))
        self._changes = {}
        return self.roster(limit)

    def roster(self, limit: int) -> Roster:
        """Return the first ``limit`` names in alphabetical order, and how many there are in all."""
        # No more names than are wanted are sorted: the first of 10,000 cost 2 ms, all of them 10.
        keys = heapq.nsmallest(limit, self.members)
        return Roster(tuple(self.members[key].name for key in keys), len(self.members))

    def _changed(self, key: str, name: str, came: bool) -> None:
        # Someone who was away for less than the interval between two of these was not away.
        if key in self._changes and self._changes[key][1] is not came:
            del self._changes[key]
        else:
            self._changes[key] = (name, came)


def new_salt() -> str:
    """Return 16 random bytes in base64url without padding, as docs/protocol.rst has salts."""
    return secrets.token_urlsafe(16)


def clean_room(name: str) -> str:
    """Return the name of a room as it may be shown to everyone; empty: it cannot be one."""
    name = clean_name(name.removeprefix("#"), ROOM_LENGTH + 1)
    if not name or len(name) > ROOM_LENGTH or " " in name or name[0] in "@#/":
        return ""
    return name
