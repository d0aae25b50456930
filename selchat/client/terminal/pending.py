"""Pending messages: sent by the user, and not yet shown at their place in the room.

An ``ack`` from the server says that it has stored a message. The message itself arrives after every message
before it. Until then the terminal shows it as pending. This module knows neither a screen nor a protocol.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from selchat.client.connection.link import Interface, Jitter, Link
from selchat.client.events import Refused
from selchat.config.settings import ClientSettings
from selchat.events import LOBBY
from selchat.net.reactor import Reactor


class PendingMessage:
    """A message to a ``room``, or to the user named ``to``; ``since`` is on the monotonic clock.

    ``seq`` is 0 until the server has acknowledged the message.
    """

    __slots__ = ("body", "id", "room", "seq", "since", "to")

    def __init__(self, id: str, room: str, to: str, body: str, since: float) -> None:
        self.id = id
        self.room = room
        self.to = to
        self.body = body
        self.since = since
        self.seq = 0


class PendingMessages:
    """The pending messages by id, in the order of sending."""

    def __init__(self) -> None:
        self._messages: dict[str, PendingMessage] = {}

    def __iter__(self) -> Iterator[PendingMessage]:
        return iter(tuple(self._messages.values()))

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, message: PendingMessage) -> None:
        self._messages[message.id] = message

    def acknowledge(self, id: str, seq: int) -> None:
        """Record that the server has stored the message under ``seq``."""
        message = self._messages.get(id)
        if message is not None:
            message.seq = seq

    def pop(self, id: str) -> PendingMessage | None:
        """Remove a message and return it."""
        return self._messages.pop(id, None)

    def pop_passed(self, is_passed: Callable[[str, int], bool]) -> list[PendingMessage]:
        """Remove and return the acknowledged messages that cannot arrive any more.

        ``is_passed(room, seq)``: whether the room has already shown a later message.
        """
        passed = [message for message in self if message.seq and is_passed(message.room, message.seq)]
        for message in passed:
            del self._messages[message.id]
        return passed


class ReportingLink(Link):
    """A link that calls ``on_sent(id, room, to, body)`` for each message, from whichever command."""

    def __init__(
        self,
        reactor: Reactor,
        settings: ClientSettings,
        interface: Interface,
        on_sent: Callable[[str, str, str, str], object],
        *,
        jitter: Jitter = random.uniform,
        ask_password: Callable[[Refused], object] | None = None,
    ) -> None:
        super().__init__(reactor, settings, interface, members=True, jitter=jitter, ask_password=ask_password)
        self._on_sent = on_sent

    def say(self, text: str, room: str = LOBBY) -> str:
        id = super().say(text, room)
        self._on_sent(id, room, "", text)
        return id

    def whisper(self, to: str, text: str) -> str:
        id = super().whisper(to, text)
        self._on_sent(id, "", to, text)
        return id
