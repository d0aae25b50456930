"""What happens in a room while its past is on its way, kept back so that it comes below that.

It must not know what is shown, nor how the past is asked for.
"""

from __future__ import annotations

from selchat.client.events import ClientEvent, Gap, Message
from selchat.config.settings import MIB
from selchat.events import Joined, Left, Topic
from selchat.text import name_key

_MAX_HELD = 1000  # events of one room: a server that sends as much before the past is not waited for
_MAX_HELD_SIZE = 4 * MIB  # characters of them


class _Room:
    def __init__(self) -> None:
        self.events: list[ClientEvent] = []
        self.size = 0  # characters


class Holding:
    """The rooms whose past is awaited, each with what has happened there since it was asked for."""

    def __init__(self) -> None:
        self._rooms: dict[str, _Room] = {}  # by key

    def __len__(self) -> int:
        return len(self._rooms)

    def begin(self, room: str) -> None:
        """Keep back what happens in that room from now on."""
        self._rooms.setdefault(name_key(room), _Room())

    def take(self, event: ClientEvent) -> list[ClientEvent]:
        """Return what is to be shown now: the event, or nothing, or everything if too much is held."""
        held = None
        if isinstance(event, (Message, Joined, Left, Topic, Gap)):
            held = self._rooms.get(name_key(event.room))
        if held is None:
            return [event]
        held.events.append(event)
        held.size += len(event.body) if isinstance(event, Message) else 0
        if len(held.events) < _MAX_HELD and held.size < _MAX_HELD_SIZE:
            return []
        return self.release(getattr(event, "room", ""))

    def release(self, room: str) -> list[ClientEvent]:
        """Keep nothing of that room back any more, and return what was."""
        held = self._rooms.pop(name_key(room), None)
        return [] if held is None else held.events

    def release_all(self) -> list[ClientEvent]:
        """The same for all rooms."""
        return [event for room in tuple(self._rooms) for event in self.release(room)]
