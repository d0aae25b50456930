"""Messages of a selchat client: sending with acknowledgements, and receiving each one once and in order.

Knows nothing of how a client joins a room.
"""

from __future__ import annotations

import secrets
from enum import Enum, auto

from selchat.client.events import (
    Acked,
    ClientEvent,
    Encryption,
    History,
    Message,
    NotStored,
    Refused,
    Whispered,
)
from selchat.client.protocol.encryption import BodyCodec, direct_key_name, is_room_name
from selchat.client.protocol.fields import (
    Fields,
    FrameEncoder,
    get_body,
    get_bool,
    get_int,
    get_message,
    get_objects,
    get_optional_text,
    get_seconds,
    get_text,
    replace_surrogates,
)
from selchat.client.protocol.outbox import Outbox, OutgoingMessage
from selchat.client.protocol.rooms import Room, RoomMap, RoomState
from selchat.config.settings import ClientSettings
from selchat.errors import NotInRoomError, SelchatError
from selchat.limits import SELCHAT_BATCH
from selchat.text import name_key
from selchat.wire.frames import FrameTooLongError
from selchat.wire.requests import BodyTooLongError

# -- outgoing --------------------------------------------------------------------------------------------


class Storage(Enum):
    """Whether the server stores messages: FAILING until `OutgoingMessages.retry`, RETRYING until an ack."""

    WORKING = auto()
    FAILING = auto()
    RETRYING = auto()


class OutgoingMessages:
    """Sends this user's messages and keeps each in ``outbox`` until the server acknowledges or refuses it.

    Makes the ids, keeps to the window, and waits while the server cannot store messages.
    """

    def __init__(self, settings: ClientSettings, codec: BodyCodec, encoder: FrameEncoder) -> None:
        self.outbox = Outbox(settings.queue_limit)
        self._header_length = settings.header_length
        self._codec = codec
        self._encoder = encoder
        self._storage = Storage.WORKING
        self._id_prefix = f"{secrets.token_hex(8)}-"
        self._count = 0

    @property
    def wants_retry(self) -> bool:
        """Whether the server could not store a message, so that the caller should call `retry` later."""
        return self._storage is Storage.FAILING

    def send(self, body: str, *, room: str = "", to: str = "") -> str:
        """Queue a message for a room or for one person, and return its id.

        Raises `FrameTooLongError` and `QueueFullError`.
        """
        body, to = replace_surrogates(body), replace_surrogates(to)
        self._count += 1
        id = f"{self._id_prefix}{self._count}"
        size = len(self._frame(id, room, to, self._codec.template(body, to)))
        self.outbox.add(OutgoingMessage(id, room=room, to=to, body=body, size=size))
        return id

    def is_own_id(self, id: str) -> bool:
        """Whether this object made the id. Other users may send the same id."""
        return id.startswith(self._id_prefix)

    def fill(self, out: bytearray, sender: str, *, window: int, frame_limit: int) -> list[ClientEvent]:
        """Append the frames that may be sent now to ``out``; return refusals of messages that never can be.

        These are messages over the server's limit, and encrypted ones to rooms that the user is not in.
        """
        refused: list[ClientEvent] = []
        if self._storage is Storage.FAILING:
            return refused
        if self._storage is Storage.RETRYING:
            window = 1  # one message finds out whether the server can store again
        while len(out) < SELCHAT_BATCH:
            message = self.outbox.next(window, self._codec.is_ready)
            if message is None:
                break
            try:
                body = self._codec.encode(message, sender)
            except NotInRoomError as error:
                refused.append(self._refuse(error.code, error, message))
                continue
            message.add_encoding(body)
            frame = self._frame(message.id, message.room, message.to, body)
            size = len(frame) - self._header_length
            if size <= frame_limit:
                out += frame
            else:
                too_long = FrameTooLongError(size, frame_limit)
                refused.append(self._refuse(BodyTooLongError.code, too_long, message))
        return refused

    def on_stored(self, message: OutgoingMessage) -> None:
        """Remove a message, because the server stored it."""
        self.outbox.remove(message.id)
        if self._storage is not Storage.WORKING:
            # A message sent just as the server recovered may be stored before the deferred ones.
            self._storage = Storage.WORKING
            self.outbox.retry()

    def on_not_stored(self, message: OutgoingMessage, text: str) -> list[ClientEvent]:
        """Defer a message, because the server could not store it; return one event per outage."""
        self.outbox.defer(message.id)
        events: list[ClientEvent] = [NotStored(text)] if self._storage is Storage.WORKING else []
        self._storage = Storage.FAILING
        return events

    def retry(self) -> None:
        """Send the messages again that the server could not store."""
        if self._storage is Storage.FAILING:
            self._storage = Storage.RETRYING
            self.outbox.retry()

    def connection_lost(self) -> None:
        """Queue all messages again, in order, for the next connection."""
        if self._storage is Storage.FAILING:
            self._storage = Storage.RETRYING
        self.outbox.requeue_all()

    def _refuse(self, code: str, error: SelchatError, message: OutgoingMessage) -> ClientEvent:
        self.outbox.remove(message.id)
        return _refusal(code, str(error), message)

    def _frame(self, id: str, room: str, to: str, body: Fields) -> bytes:
        target = {"type": "say", "room": room} if room else {"type": "whisper", "to": to}
        return self._encoder.encode({**target, "id": id, **body})


def _refusal(code: str, text: str, message: OutgoingMessage) -> Refused:
    return Refused(code, text, message.id, message.room, message.to, message.body)


# -- incoming --------------------------------------------------------------------------------------------


class IncomingMessages:
    """Turns messages, acks and refusals from the server into events.

    ``name`` is the user's own. ``last_direct`` is the largest ``seq`` of the direct messages so far.
    """

    def __init__(self, name: str, rooms: RoomMap, outgoing: OutgoingMessages, codec: BodyCodec) -> None:
        self.name = name
        self.last_direct = 0
        self._rooms = rooms
        self._outgoing = outgoing
        self._codec = codec

    def on_said(self, fields: Fields) -> list[ClientEvent]:
        room = self._rooms.get(get_text(fields, "room"))
        message = get_message(fields)
        if room is None or room.state is RoomState.JOINING:
            return []
        message = self._decode(message._replace(room=room.name), fields)
        events: list[ClientEvent] = []
        pending = self._outgoing.outbox.get(message.id) if message.own else None
        if pending is not None and pending.key == name_key(room.name):
            # The server stored it, and the connection broke before the ack.
            self._outgoing.on_stored(pending)
            events.append(Acked(pending.id, room.name, "", message.seq, message.at or 0.0))
        room.buffer.add(message._replace(missed=message.seq <= room.missed), acked=False)
        return events + self._release(room)

    def on_ack(self, fields: Fields) -> list[ClientEvent]:
        id, seq = get_text(fields, "id"), get_int(fields, "seq")
        at, name = get_seconds(fields, "at"), get_optional_text(fields, "room")
        message = self._outgoing.outbox.get(id)
        if message is None:
            return []  # known already, from another ack or from a replayed ``said``
        self._outgoing.on_stored(message)
        self._codec.on_stored(message, self.name, seq)
        events: list[ClientEvent] = [Acked(id, message.room, message.to, seq, at)]
        room = self._rooms.get(name or message.room)
        if room is not None and room.state is not RoomState.JOINING:
            encryption = self._codec.own_encryption
            own = Message(self.name, message.body, room.name, seq, at, id, own=True, encryption=encryption)
            room.buffer.add(own, acked=True)
            events += self._release(room)
        return events

    def on_refused(self, refused: Refused) -> list[ClientEvent]:
        message = self._outgoing.outbox.get(refused.id)
        if message is None:
            return [refused]
        if refused.code == "not-stored":
            return self._outgoing.on_not_stored(message, refused.text)
        self._outgoing.outbox.remove(message.id)
        room = self._rooms.get(message.room) if message.room else None
        released = [] if room is None else self._release(room)
        return [_refusal(refused.code, refused.text, message), *released]

    def on_gap(self, room: Room, after: int, before: int) -> list[ClientEvent]:
        room.buffer.add_gap(after, before)
        return self._release(room)

    def on_history(self, name: str, fields: Fields, tag: object) -> list[ClientEvent]:
        entries = get_objects(fields, "messages")
        messages = tuple(self._decode(get_message(entry, name), entry) for entry in entries)
        return [History(name, messages, get_bool(fields, "more"), tag)]

    def on_whispered(self, fields: Fields) -> list[ClientEvent]:
        author, to = get_text(fields, "from"), get_text(fields, "to")
        seq, at = get_int(fields, "seq"), get_seconds(fields, "at")
        id, _ = get_optional_text(fields, "id"), get_optional_text(fields, "cipher")
        get_body(fields)
        if 0 < seq <= self.last_direct:
            return []
        self.last_direct = max(seq, self.last_direct)
        body, cipher, encryption = self._codec.decode(direct_key_name(to), author, fields, seq)
        if encryption is Encryption.DECRYPTED and name_key(to) != name_key(self.name):
            body, encryption = "", Encryption.TAMPERED  # encrypted for someone else
        return [Whispered(author, body, to, seq, at, id, cipher, encryption)]

    def awaits_key(self, fields: Fields) -> bool:
        """Whether a message from the server can be read only with a key that the client has requested."""
        kind, room = fields["type"], fields.get("room" if fields["type"] != "whispered" else "to")
        if type(room) is not str or kind not in {"said", "whispered", "history"}:
            return False
        room = direct_key_name(room) if kind == "whispered" else room
        found = fields.get("messages") if kind == "history" else [fields]
        return type(found) is list and any(
            type(one) is dict and self._codec.awaits_key(room, one.get("cipher")) for one in found
        )

    # ----------------------------------------------------------------------------------------------------

    def _decode(self, message: Message, fields: Fields) -> Message:
        own = self._outgoing.is_own_id(message.id) and name_key(message.author) == name_key(self.name)
        room = message.room if is_room_name(message.room) else ""
        body, cipher, encryption = self._codec.decode(room, message.author, fields, message.seq)
        return message._replace(body=body, cipher=cipher, encryption=encryption, own=own)

    def _release(self, room: Room) -> list[ClientEvent]:
        return [*room.buffer.release(expect_ack=self._outgoing.outbox.has_sent_to(name_key(room.name)))]
