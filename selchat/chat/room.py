"""A room: what is said in it goes through the log into one feed for each wire format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from selchat.events import Event
from selchat.feed import Feed, Subscription


class Format(Protocol):
    """A wire format, as much of it as a room needs. Those who share one share a feed."""

    def encode(self, events: Sequence[Event]) -> bytes:
        """Return the events as whole frames; nothing for those that this wire has no way to say."""


class Room:
    """``feed_limit``: bytes that each of its feeds keeps for readers that are behind."""

    def __init__(self, name: str, feed_limit: int) -> None:
        self.name = name
        self._feed_limit = feed_limit
        # What happened since the last `publish`, in batches: what one read brought from one author is one
        # step from here on, not one for each message. The subscription is the author's, who is not sent it.
        self.staged: list[tuple[Sequence[Event], Subscription[Any] | None]] = []
        self._feeds: dict[Format, Feed[Any]] = {}

    def feed(self, format: Format) -> Feed[Any]:
        """Return the feed of this room in that format."""
        feed = self._feeds.get(format)
        if feed is None:
            feed = self._feeds[format] = Feed(self._feed_limit)
        return feed

    def publish(self) -> Iterable[Feed[Any]]:
        """Append what is staged to every feed, encoded once for each, and return the feeds."""
        staged, self.staged = self.staged, []
        for format, feed in self._feeds.items():
            for events, author in staged:
                mine = author if author is not None and author.feed is feed else None
                feed.append(format.encode(events), mine)
        return self._feeds.values()
