"""What has come for a bot and was not taken yet, in order and within limits.

It knows events and how large they are; not where they come from, nor what is done with them.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple

from selchat.client.events import Gap, Message, NotStored, Parted, Refused, Trusted, Unencrypted, Whispered
from selchat.config.settings import MIB
from selchat.events import Joined, Left, Topic
from selchat.text import name_key

MAX = 10_000  # events kept for a bot that takes none, because it only speaks, or is busy
MAX_SIZE = 16 * MIB  # characters of these, about
_OVERHEAD = 256  # characters that an event costs beside its texts


class Connected(NamedTuple):
    """The connection is up. ``again``: it is not the first, and what was missed comes next.

    ``server`` is what the server calls itself; empty on the paper's wire.
    """

    server: str
    again: bool


class Lost(NamedTuple):
    """The connection is gone, or could not be made again; the next try is in ``retry_in`` seconds."""

    reason: str
    retry_in: float


Event = (
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
    """Events, until someone takes them. Safe to be used from several threads.

    When there are too many, the oldest are dropped; for the messages of a room that were numbered, a `Gap`
    says so.
    """

    def __init__(self, most: int = MAX, most_size: int = MAX_SIZE) -> None:
        self._most = most
        self._most_size = most_size
        self._lock = threading.Lock()
        self._events: deque[Event] = deque()
        self._size = 0  # characters
        self._gaps: dict[str, Gap] = {}  # what was dropped, by key of the room

    def __len__(self) -> int:
        return len(self._events) + len(self._gaps)

    def put(self, event: Event) -> None:
        """Keep it for later."""
        with self._lock:
            self._events.append(event)
            self._size += _size(event)
            # The newest stays, whatever its size.
            while len(self._events) > 1 and (len(self._events) > self._most or self._size > self._most_size):
                self._drop()

    def put_first(self, events: list[Event]) -> None:
        """Put these before all others, as far as there is room."""
        with self._lock:
            for event in reversed(events):
                if len(self._events) >= self._most or self._size + _size(event) > self._most_size:
                    return
                self._events.appendleft(event)
                self._size += _size(event)

    def get(self) -> Event | None:
        """Return the next one; None: there is none."""
        with self._lock:
            if self._gaps:
                return self._gaps.pop(next(iter(self._gaps)))
            if not self._events:
                return None
            event = self._events.popleft()
            self._size -= _size(event)
            return event

    def _drop(self) -> None:
        event = self._events.popleft()
        self._size -= _size(event)
        if isinstance(event, Message) and event.seq:
            event = Gap(event.room, event.seq - 1, event.seq + 1)
        if isinstance(event, Gap):
            key = name_key(event.room)
            before = self._gaps.get(key, event)
            self._gaps[key] = Gap(event.room, before.after, event.before)


def _size(event: Event) -> int:
    """Return about how many characters it is, so that no kind of event can fill the memory."""
    if isinstance(event, Joined | Left):
        return _OVERHEAD + sum(map(len, event.names))
    return _OVERHEAD + sum(len(field) for field in event if isinstance(field, str))
