"""What comes on the selchat protocol about messages: others' and one's own, each once, and those of a room in order.

It must not know how to get into a room, or what is sent.
"""

from __future__ import annotations

from selchat.client.events import Acked, Event, History, Message, Refused, Seal, Whispered
from selchat.client.protocol import reading
from selchat.client.protocol.bodies import Bodies
from selchat.client.protocol.outgoing import Outgoing
from selchat.client.protocol.reading import Fields
from selchat.client.protocol.rooms import Presence, Room, RoomBook
from selchat.client.protocol.saying import Saying, refusal
from selchat.client.protocol.vault import is_room, whispers_to
from selchat.text import name_key


class Hearing:
    """Turns what is said, acknowledged and refused into events.

    ``name`` is one's own. ``whispers`` is the largest ``seq`` of those that have come.
    """

    def __init__(self, name: str, rooms: RoomBook, saying: Saying, bodies: Bodies) -> None:
        self.name = name
        self.whispers = 0
        self._rooms = rooms
        self._saying = saying
        self._bodies = bodies

    def said(self, fields: Fields) -> list[Event]:
        room = self._rooms.get(reading.text(fields, "room"))
        message = reading.message(fields)
        if room is None or room.presence is Presence.JOINING:
            return []
        message = self._read(message._replace(room=room.name), fields)
        events: list[Event] = []
        pending = self._saying.outbound.get(message.id) if message.own else None
        if pending is not None and pending.key == name_key(room.name):
            # It was stored, and the connection broke before its ack.
            self._saying.done(pending)
            events.append(Acked(pending.id, room.name, "", message.seq, message.at or 0.0))
        room.order.take(message._replace(missed=message.seq <= room.missed), acked=False)
        return events + self._released(room)

    def acked(self, fields: Fields) -> list[Event]:
        id, seq = reading.text(fields, "id"), reading.number(fields, "seq")
        at, name = reading.seconds(fields, "at"), reading.optional_text(fields, "room")
        message = self._saying.outbound.get(id)
        if message is None:
            return []  # it is known already, from another ack or because it came as said
        self._saying.done(message)
        self._bodies.stored(message, self.name, seq)
        events: list[Event] = [Acked(id, message.room, message.to, seq, at)]
        room = self._rooms.get(name or message.room)
        if room is not None and room.presence is not Presence.JOINING:
            own = Message(self.name, message.body, room.name, seq, at, id, own=True, seal=self._bodies.own)
            room.order.take(own, acked=True)
            events += self._released(room)
        return events

    def refused(self, refused: Refused) -> list[Event]:
        message = self._saying.outbound.get(refused.id)
        if message is None:
            return [refused]
        if refused.code == "not-stored":
            return self._saying.put_off(message, refused.text)
        self._saying.outbound.done(message.id)
        return [refusal(refused.code, refused.text, message), *self._released_by(message)]

    def gap(self, room: Room, after: int, before: int) -> list[Event]:
        room.order.take_gap(after, before)
        return self._released(room)

    def history(self, fields: Fields) -> list[Event]:
        name, entries = reading.text(fields, "room"), reading.objects(fields, "messages")
        messages = tuple(self._read(reading.message(entry, name), entry) for entry in entries)
        return [History(name, messages, reading.flag(fields, "more"))]

    def whispered(self, fields: Fields) -> list[Event]:
        author, to = reading.text(fields, "from"), reading.text(fields, "to")
        seq, at = reading.number(fields, "seq"), reading.seconds(fields, "at")
        id, _ = reading.optional_text(fields, "id"), reading.optional_text(fields, "cipher")
        reading.body(fields)
        if 0 < seq <= self.whispers:
            return []
        self.whispers = max(seq, self.whispers)
        body, cipher, seal = self._bodies.read(whispers_to(to), author, fields, seq)
        if seal is Seal.OPENED and name_key(to) != name_key(self.name):
            body, seal = "", Seal.DAMAGED  # it was for somebody else
        return [Whispered(author, body, to, seq, at, id, cipher, seal)]

    def lacks_key(self, fields: Fields) -> bool:
        """Whether this cannot be read yet; the key that is missing was asked for."""
        kind, room = fields["type"], fields.get("room" if fields["type"] != "whispered" else "to")
        if type(room) is not str or kind not in {"said", "whispered", "history"}:
            return False
        room = whispers_to(room) if kind == "whispered" else room
        found = fields.get("messages") if kind == "history" else [fields]
        return type(found) is list and any(
            type(one) is dict and self._bodies.lacks_key(room, one.get("cipher")) for one in found
        )

    # ----------------------------------------------------------------------------------------------------

    def _read(self, message: Message, fields: Fields) -> Message:
        own = self._saying.is_own_id(message.id) and name_key(message.author) == name_key(self.name)
        room = message.room if is_room(message.room) else ""
        body, cipher, seal = self._bodies.read(room, message.author, fields, message.seq)
        return message._replace(body=body, cipher=cipher, seal=seal, own=own)

    def _released_by(self, message: Outgoing) -> list[Event]:
        room = self._rooms.get(message.room) if message.room else None
        return [] if room is None else self._released(room)

    def _released(self, room: Room) -> list[Event]:
        return [*room.order.release(waiting=self._saying.outbound.sent_to(name_key(room.name)))]
