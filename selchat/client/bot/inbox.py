"""Bounded queue of the events that a bot has not read yet.

Knows the events and their sizes; knows nothing about where they come from, nor who reads them.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple

from selchat.client.events import Gap, Message, NotStored, Parted, Refused, Trusted, Unencrypted, Whispered
from selchat.events import Joined, Left, Topic
from selchat.limits import EVENT_OVERHEAD, MAX_INBOX_EVENTS, MAX_INBOX_SIZE
from selchat.text import name_key


class Connected(NamedTuple):
    """The connection is up. ``again``: it is not the first one, and the missed messages follow.

    ``server`` is the name and version that the server announces; empty on the classic protocol.
    """

    server: str
    again: bool


class Lost(NamedTuple):
    """The connection is lost, or a new attempt failed; the next attempt is in ``retry_in`` seconds."""

    reason: str
    retry_in: float


BotEvent = (
    Message
    | Whispered
    | Joined
    | Left
    | Topic
    | Gap
    | Refused
    | NotStored
    | Parted
    | Connected
    | Lost
    | Trusted
    | Unencrypted
)


class Inbox:
    """A thread-safe queue of events.

    When it is full, it drops the oldest events, but never the last `Connected`. For each room in which it
    drops numbered messages, it delivers one `Gap`.
    """

    def __init__(self, max_events: int = MAX_INBOX_EVENTS, max_size: int = MAX_INBOX_SIZE) -> None:
        self._max_events = max_events
        self._max_size = max_size
        self._lock = threading.Lock()
        self._events: deque[BotEvent] = deque()
        self._size = 0  # characters
        self._connected: Connected | None = None  # instead of those that it would have dropped
        self._gaps: dict[str, Gap] = {}  # the dropped messages, by key of the room

    def __len__(self) -> int:
        return len(self._events) + len(self._gaps) + (self._connected is not None)

    def put(self, event: BotEvent) -> None:
        """Append an event. Drop the oldest ones if there are too many."""
        with self._lock:
            self._events.append(event)
            self._size += _size(event)
            # The newest event stays, whatever its size.
            while len(self._events) > 1 and (
                len(self._events) > self._max_events or self._size > self._max_size
            ):
                event = self._events.popleft()
                self._size -= _size(event)
                self._drop(event)

    def put_front(self, events: list[BotEvent]) -> None:
        """Insert events before all others; drop the oldest of ``events`` that do not fit."""
        with self._lock:
            kept = len(events)
            for event in reversed(events):
                if len(self._events) >= self._max_events or self._size + _size(event) > self._max_size:
                    break
                self._events.appendleft(event)
                self._size += _size(event)
                kept -= 1
            for event in events[:kept]:
                self._drop(event)

    def get(self) -> BotEvent | None:
        """Remove and return the next event; None: the inbox is empty."""
        with self._lock:
            if self._connected is not None:
                connected, self._connected = self._connected, None
                return connected
            if self._gaps:
                return self._gaps.pop(next(iter(self._gaps)))
            if not self._events:
                return None
            event = self._events.popleft()
            self._size -= _size(event)
            return event

    def _drop(self, event: BotEvent) -> None:
        if isinstance(event, Connected):
            is_first = not event.again or (self._connected is not None and not self._connected.again)
            self._connected = event._replace(again=not is_first)
        if isinstance(event, Message) and event.seq:
            event = Gap(event.room, event.seq - 1, event.seq + 1)
        if isinstance(event, Gap):
            key = name_key(event.room)
            before = self._gaps.get(key, event)
            after, last = min(before.after, event.after), max(before.before, event.before)
            self._gaps[key] = Gap(event.room, after, last)


def _size(event: BotEvent) -> int:
    """Return the approximate size in characters, so that no kind of event can fill the memory."""
    if isinstance(event, Joined | Left):
        return EVENT_OVERHEAD + sum(map(len, event.names))
    return EVENT_OVERHEAD + sum(len(field) for field in event if isinstance(field, str))
