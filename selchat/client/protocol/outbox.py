"""Outbox: messages that the server has not acknowledged, in order, across reconnects.

Knows ids, sizes and the window; not the contents of a frame, and not when it is sent.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

from selchat.errors import LimitError
from selchat.text import name_key


class QueueFullError(LimitError):
    template = "more than {limit} bytes are waiting to be sent already"


class Delivery(Enum):
    """How far the delivery of a message is. An ``ack`` or a final error ends it in any of these states.

    ========  ============================================  ===============================================
    state     means                                         next
    ========  ============================================  ===============================================
    QUEUED    waits for a connection or for the window      SENT
    SENT      was sent on this connection                   QUEUED when the connection is lost, DEFERRED
                                                            when the server cannot store it
    DEFERRED  the server could not store it                 QUEUED when the client retries
    ========  ============================================  ===============================================
    """

    QUEUED = auto()
    SENT = auto()
    DEFERRED = auto()


class OutgoingMessage:
    """One message with its id, which never changes.

    ``body`` is the text of the user, ``size`` the most bytes that its frame can have. The message is for a
    ``room``, whose ``key`` is the same for every spelling of the name, or for one person (``to``).
    """

    __slots__ = ("_encodings", "body", "delivery", "id", "key", "room", "size", "to")

    def __init__(self, id: str, *, room: str, to: str, body: str, size: int) -> None:
        self.id = id
        self.key = name_key(room)
        self.room = room
        self.to = to
        self.body = body
        self.size = size
        self.delivery = Delivery.QUEUED
        self._encodings: list[dict[str, Any]] = []

    def add_encoding(self, fields: dict[str, Any]) -> None:
        """Record the fields of one transmission."""
        self._encodings.append(fields)
        del self._encodings[2:]

    @property
    def encoding(self) -> dict[str, Any] | None:
        """The fields that the client sent; None after more than one transmission: either may be stored."""
        return self._encodings[0] if len(self._encodings) == 1 else None


class Outbox:
    """The messages without an acknowledgement. ``queue_limit`` bounds the bytes of their frames.

    ``size`` is the number of these bytes, ``sent`` the number of messages in state SENT.
    """

    def __init__(self, queue_limit: int) -> None:
        self._limit = queue_limit
        self._messages: dict[str, OutgoingMessage] = {}  # by id, in the order of the user
        self._queued: deque[OutgoingMessage] = deque()  # in that order too; some may be removed already
        self._sent_to: Counter[str] = Counter()  # by key of the room
        self.size = 0
        self.sent = 0

    def __len__(self) -> int:
        return len(self._messages)

    def get(self, id: str) -> OutgoingMessage | None:
        return self._messages.get(id)

    def has_sent_to(self, key: str) -> bool:
        """Whether a message for the room with that key waits for its ack."""
        return self._sent_to[key] > 0

    def add(self, message: OutgoingMessage) -> None:
        """Queue a message. Raises `QueueFullError`."""
        if self.size + message.size > self._limit:
            raise QueueFullError(self._limit)
        self._messages[message.id] = message
        self._queued.append(message)
        self.size += message.size

    def next(self, window: int, is_ready: Callable[[OutgoingMessage], bool]) -> OutgoingMessage | None:
        """Return the next message to send and mark it as sent.

        Return None while ``window`` messages wait for their acks, or while the next message is not ready: no
        message overtakes another.
        """
        while self._queued and self.sent < window:
            message = self._queued[0]
            is_queued = message.delivery is Delivery.QUEUED and message.id in self._messages
            if is_queued and not is_ready(message):
                return None
            self._queued.popleft()
            if is_queued:
                self._set_delivery(message, Delivery.SENT)
                return message
        return None

    def remove(self, id: str) -> None:
        """Remove a message, because the server acknowledged or refused it."""
        message = self._messages.pop(id, None)
        if message is not None:
            self._set_delivery(message, Delivery.QUEUED)
            self.size -= message.size

    def defer(self, id: str) -> None:
        """Keep a message for `retry`, because the server could not store it."""
        message = self._messages.get(id)
        if message is not None:
            self._set_delivery(message, Delivery.DEFERRED)

    def requeue_all(self) -> None:
        """Queue all messages again, in order, for another connection."""
        for message in self._messages.values():
            self._set_delivery(message, Delivery.QUEUED)
        self._queued = deque(self._messages.values())

    def retry(self) -> None:
        """Queue the deferred messages again, in order and before the rest."""
        for message in self._messages.values():
            if message.delivery is Delivery.DEFERRED:
                self._set_delivery(message, Delivery.QUEUED)
        self._queued = deque(
            message for message in self._messages.values() if message.delivery is Delivery.QUEUED
        )

    def clear(self) -> list[OutgoingMessage]:
        """Remove and return all messages."""
        messages = list(self._messages.values())
        self._messages.clear()
        self._queued.clear()
        self._sent_to.clear()
        self.size = self.sent = 0
        return messages

    def _set_delivery(self, message: OutgoingMessage, delivery: Delivery) -> None:
        step = (delivery is Delivery.SENT) - (message.delivery is Delivery.SENT)
        message.delivery = delivery
        if step:
            self.sent += step
            self._sent_to[message.key] += step
            if not self._sent_to[message.key]:
                del self._sent_to[message.key]
