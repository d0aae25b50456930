"""What this program says on the selchat protocol, from its first sending to its ack, over any number of connections.

It gives out ids, keeps to the window, and waits when the server cannot store anything. It must not know
what others say.
"""

from __future__ import annotations

import secrets
from enum import Enum, auto

from selchat.client.events import Event, NotStored, Refused
from selchat.client.protocol.bodies import Bodies
from selchat.client.protocol.outgoing import Outbound, Outgoing
from selchat.client.protocol.reading import Fields
from selchat.client.protocol.writing import Writer, scalar_values
from selchat.config.settings import ClientSettings
from selchat.errors import NotInRoomError, SelchatError
from selchat.wire.frames import FrameTooLongError
from selchat.wire.requests import BodyTooLongError

_BATCH = 256 * 1024  # bytes made ready at a time


class Storing(Enum):
    """Whether the server stores what is said: FAILING until `Saying.retry`, RETRYING until an ack."""

    WORKING = auto()
    FAILING = auto()
    RETRYING = auto()


class Saying:
    """The messages that are neither acknowledged nor refused, in ``outbound``."""

    def __init__(self, settings: ClientSettings, bodies: Bodies, writer: Writer) -> None:
        self.outbound = Outbound(settings.queue_limit)
        self._header_length = settings.header_length
        self._bodies = bodies
        self._writer = writer
        self._storing = Storing.WORKING
        self._prefix = f"{secrets.token_hex(8)}-"  # of the ids made here
        self._count = 0

    @property
    def wants_retry(self) -> bool:
        """Whether the server could not store something, so that `retry` is to be called after a while."""
        return self._storing is Storing.FAILING

    def say(self, body: str, *, room: str = "", to: str = "") -> str:
        """Queue something for a room or for one person, and return its id.

        Raises `FrameTooLongError` and `QueueFullError`.
        """
        body, to = scalar_values(body), scalar_values(to)
        self._count += 1
        id = f"{self._prefix}{self._count}"
        size = len(self._frame(id, room, to, self._bodies.form(body, to)))
        self.outbound.add(Outgoing(id, room=room, to=to, body=body, size=size))
        return id

    def is_own_id(self, id: str) -> bool:
        """Whether the id was made here; others may use the same."""
        return id.startswith(self._prefix)

    def fill(self, out: bytearray, sender: str, *, window: int, frame_limit: int) -> list[Event]:
        """Add to ``out`` what may be sent now, by ``sender``; return refusals of what cannot be.

        That is what is over the server's limit, or cannot be encrypted, as one is not in the room.
        """
        refused: list[Event] = []
        if self._storing is Storing.FAILING:
            return refused
        if self._storing is Storing.RETRYING:
            window = 1  # one message finds out whether the server stores again
        while len(out) < _BATCH:
            message = self.outbound.next(window, self._bodies.is_ready)
            if message is None:
                break
            try:
                body = self._bodies.write(message, sender)
            except NotInRoomError as error:
                refused.append(self._refuse(error.code, error, message))
                continue
            message.wrote(body)
            frame = self._frame(message.id, message.room, message.to, body)
            size = len(frame) - self._header_length
            if size <= frame_limit:
                out += frame
            else:
                too_long = FrameTooLongError(size, frame_limit)
                refused.append(self._refuse(BodyTooLongError.code, too_long, message))
        return refused

    def done(self, message: Outgoing) -> None:
        """Note that a message is stored."""
        self.outbound.done(message.id)
        if self._storing is not Storing.WORKING:
            # One that was on its way when the server recovered may be stored before those that were put off.
            self._storing = Storing.WORKING
            self.outbound.try_again()

    def put_off(self, message: Outgoing, text: str) -> list[Event]:
        """Note that a message could not be stored; return what there is to tell: once in each outage."""
        self.outbound.put_off(message.id)
        told: list[Event] = [NotStored(text)] if self._storing is Storing.WORKING else []
        self._storing = Storing.FAILING
        return told

    def retry(self) -> None:
        """Say again what could not be stored."""
        if self._storing is Storing.FAILING:
            self._storing = Storing.RETRYING
            self.outbound.try_again()

    def connection_lost(self) -> None:
        """Queue everything again, in order, for the next connection."""
        if self._storing is Storing.FAILING:
            self._storing = Storing.RETRYING
        self.outbound.start_again()

    def _refuse(self, code: str, error: SelchatError, message: Outgoing) -> Event:
        self.outbound.done(message.id)
        return refusal(code, str(error), message)

    def _frame(self, id: str, room: str, to: str, body: Fields) -> bytes:
        where = {"type": "say", "room": room} if room else {"type": "whisper", "to": to}
        return self._writer.frame({**where, "id": id, **body})


def refusal(code: str, text: str, message: Outgoing) -> Refused:
    """Return what tells that this message was refused."""
    return Refused(code, text, message.id, message.room, message.to, message.body)
