"""A room: what is said in it goes through the log into one feed for each wire format."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from selchat.events import Event
from selchat.feed import Feed, Subscription


class Format(Protocol):
    """A wire format, as much of it as a room needs. Those who share one share a feed."""

    def encode(self, event: Event) -> bytes:
        """Return the event as whole frames, or nothing if this wire has no way to say it."""


class Room:
    """``feed_limit``: bytes that each of its feeds keeps for readers that are behind."""

    def __init__(self, name: str, feed_limit: int) -> None:
        self.name = name
        self._feed_limit = feed_limit
        self._feeds: dict[Format, Feed[Any]] = {}
        self._staged: list[tuple[Event, Subscription[Any] | None]] = []

    def feed(self, format: Format) -> Feed[Any]:
        """Return the feed of this room in that format."""
        feed = self._feeds.get(format)
        if feed is None:
            feed = self._feeds[format] = Feed(self._feed_limit)
        return feed

    def stage(self, event: Event, author: Subscription[Any] | None = None) -> None:
        """Put the event up for the next `publish`; ``author`` will not get it back."""
        self._staged.append((event, author))

    def publish(self) -> Iterable[Feed[Any]]:
        """Append what is staged to every feed, encoded once for each, and return the feeds."""
        staged, self._staged = self._staged, []
        for format, feed in self._feeds.items():
            encode, append = format.encode, feed.append
            for event, author in staged:
                append(encode(event), author if author is not None and author.feed is feed else None)
        return self._feeds.values()
