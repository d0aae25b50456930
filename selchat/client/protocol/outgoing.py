"""What was said and is not acknowledged yet, in order, over any number of connections.

This file knows ids, sizes and the window; not what is in a frame, and not when it is sent.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

from selchat.errors import LimitError
from selchat.text import name_key


class QueueFullError(LimitError):
    template = "more than {limit} bytes wait to be sent already"


class Progress(Enum):
    """How far one message is. An ``ack`` or a final error ends it in any of these.

    =======  ============================================  ===============================================
    state    means                                         next
    =======  ============================================  ===============================================
    QUEUED   waits for a connection, or for the window     SENT
    SENT     on its way on this connection                 QUEUED when the connection is lost, PUT_OFF when
                                                           the server cannot store it
    PUT_OFF  the server could not store it                 QUEUED when it is time to try again
    =======  ============================================  ===============================================
    """

    QUEUED = auto()
    SENT = auto()
    PUT_OFF = auto()


class Outgoing:
    """One message: ``body`` as it was said, and the ``size`` in bytes of the frame that says it, at most.

    It always has the same ``id``. It is for a ``room``, whose ``key`` is the same for every way to write it,
    or for one person (``to``).
    """

    __slots__ = ("_written", "body", "id", "key", "progress", "room", "size", "to")

    def __init__(self, id: str, *, room: str, to: str, body: str, size: int) -> None:
        self.id = id
        self.key = name_key(room)
        self.room = room
        self.to = to
        self.body = body
        self.size = size
        self.progress = Progress.QUEUED
        self._written: list[dict[str, Any]] = []

    def wrote(self, fields: dict[str, Any]) -> None:
        """Note the fields by which it was said, perhaps again."""
        self._written.append(fields)
        del self._written[2:]

    @property
    def written(self) -> dict[str, Any] | None:
        """The fields by which it was said; None: not once, so that nobody knows which ones were stored."""
        return self._written[0] if len(self._written) == 1 else None


class Outbound:
    """The messages that are not acknowledged. ``queue_limit`` in bytes of their frames.

    ``size`` is how many bytes there are, ``sent`` how many messages are on their way.
    """

    def __init__(self, queue_limit: int) -> None:
        self._limit = queue_limit
        self._messages: dict[str, Outgoing] = {}  # by id, in the order in which they were said
        self._queued: deque[Outgoing] = deque()  # in that order too; some may be done meanwhile
        self._sent_to: Counter[str] = Counter()
        self.size = 0
        self.sent = 0

    def __len__(self) -> int:
        return len(self._messages)

    def get(self, id: str) -> Outgoing | None:
        return self._messages.get(id)

    def sent_to(self, key: str) -> bool:
        """Whether something for the room of that key is on its way."""
        return self._sent_to[key] > 0

    def add(self, message: Outgoing) -> None:
        """Queue a message. Raises `QueueFullError`."""
        if self.size + message.size > self._limit:
            raise QueueFullError(self._limit)
        self._messages[message.id] = message
        self._queued.append(message)
        self.size += message.size

    def next(self, window: int, is_ready: Callable[[Outgoing], bool]) -> Outgoing | None:
        """Return the next message to be sent, which counts as sent.

        None while ``window`` of them are, and while the next one is not ready: nothing overtakes it.
        """
        while self._queued and self.sent < window:
            message = self._queued[0]
            is_wanted = message.progress is Progress.QUEUED and message.id in self._messages
            if is_wanted and not is_ready(message):
                return None
            self._queued.popleft()
            if is_wanted:
                self._move(message, Progress.SENT)
                return message
        return None

    def done(self, id: str) -> Outgoing | None:
        """Forget a message, because it is acknowledged or refused, and return it; None: it was already."""
        message = self._messages.pop(id, None)
        if message is not None:
            self._move(message, Progress.QUEUED)
            self.size -= message.size
        return message

    def put_off(self, id: str) -> bool:
        """Keep a message for later, because it was not stored; return whether there is one with that id."""
        message = self._messages.get(id)
        if message is not None:
            self._move(message, Progress.PUT_OFF)
        return message is not None

    def start_again(self) -> None:
        """Queue everything again, in order: it will be sent on another connection."""
        for message in self._messages.values():
            self._move(message, Progress.QUEUED)
        self._queued = deque(self._messages.values())

    def try_again(self) -> None:
        """Queue again, in order and before the rest, what was put off."""
        for message in self._messages.values():
            if message.progress is Progress.PUT_OFF:
                self._move(message, Progress.QUEUED)
        self._queued = deque(
            message for message in self._messages.values() if message.progress is Progress.QUEUED
        )

    def clear(self) -> list[Outgoing]:
        """Forget everything, and return it."""
        messages = list(self._messages.values())
        self._messages.clear()
        self._queued.clear()
        self._sent_to.clear()
        self.size = self.sent = 0
        return messages

    def _move(self, message: Outgoing, progress: Progress) -> None:
        step = (progress is Progress.SENT) - (message.progress is Progress.SENT)
        message.progress = progress
        if step:
            self.sent += step
            self._sent_to[message.key] += step
            if not self._sent_to[message.key]:
                del self._sent_to[message.key]
