"""What the user has said and does not yet have its place among what the others have said.

The server's ``ack`` says that it is stored, and its `Message` comes when everything before it has come. Until
then it is shown apart from the others. This file knows neither a screen nor a wire.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from selchat.client.connection.link import Interface, Jitter, Link
from selchat.config.settings import ClientSettings
from selchat.events import LOBBY
from selchat.net.reactor import Reactor


class Unconfirmed:
    """One message, for a ``room`` or for the one whose name is ``to``; ``since`` on the monotonic clock.

    ``seq`` is 0 until it is known to be stored.
    """

    __slots__ = ("body", "id", "room", "seq", "since", "to")

    def __init__(self, id: str, room: str, to: str, body: str, since: float) -> None:
        self.id = id
        self.room = room
        self.to = to
        self.body = body
        self.since = since
        self.seq = 0


class Pending:
    """These messages by their ids, in the order in which they were said."""

    def __init__(self) -> None:
        self._messages: dict[str, Unconfirmed] = {}

    def __iter__(self) -> Iterator[Unconfirmed]:
        return iter(tuple(self._messages.values()))

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, message: Unconfirmed) -> None:
        self._messages[message.id] = message

    def stored(self, id: str, seq: int) -> None:
        """Note that it is stored; it waits for its place now."""
        message = self._messages.get(id)
        if message is not None:
            message.seq = seq

    def pop(self, id: str) -> Unconfirmed | None:
        """Forget a message, and return it."""
        return self._messages.pop(id, None)

    def placed(self, is_past: Callable[[str, int], bool]) -> list[Unconfirmed]:
        """Forget, and return, what is stored and will get no place, because the room is beyond it."""
        past = [message for message in self if message.seq and is_past(message.room, message.seq)]
        for message in past:
            del self._messages[message.id]
        return past


class TalkingLink(Link):
    """A link that tells ``on_said(id, room, to, body)`` what is said on it, by whichever command."""

    def __init__(
        self,
        reactor: Reactor,
        settings: ClientSettings,
        interface: Interface,
        on_said: Callable[[str, str, str, str], object],
        *,
        jitter: Jitter = random.uniform,
    ) -> None:
        super().__init__(reactor, settings, interface, members=True, jitter=jitter)
        self._on_said = on_said

    def say(self, text: str, room: str = LOBBY) -> str:
        id = super().say(text, room)
        self._on_said(id, room, "", text)
        return id

    def whisper(self, to: str, text: str) -> str:
        id = super().whisper(to, text)
        self._on_said(id, "", to, text)
        return id
