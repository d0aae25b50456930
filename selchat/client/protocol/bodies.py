"""Bodies as they are on the selchat protocol: in clear text, in the paper's cipher, or encrypted end to end.

Which of these it is does not change while a program runs. What is here must not know where a body goes or
comes from, but for the room and the people that it is bound to.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from selchat.client.events import Seal
from selchat.client.protocol.outgoing import Outgoing
from selchat.client.protocol.reading import Fields
from selchat.client.protocol.rooms import Presence, RoomBook
from selchat.client.protocol.vault import Vault, whispers_to
from selchat.config.settings import ClientSettings
from selchat.errors import NotInRoomError, UnreadableError
from selchat.events import CIPHER_PREFIX, SERVER
from selchat.text import name_key
from selchat.wire.cipher import CaesarCipher
from selchat.wire.e2ee import (
    DecryptionError,
    ReorderedError,
    ReplayedError,
    WrongPassphraseError,
    longest_encryption,
)

CAESAR = "caesar"  # as ``cipher`` names it

_SEALS: dict[type[UnreadableError], Seal] = {
    WrongPassphraseError: Seal.OTHER_PASSPHRASE,
    DecryptionError: Seal.DAMAGED,
    ReplayedError: Seal.REPLAYED,
    ReorderedError: Seal.REORDERED,
}


class Body(NamedTuple):
    """A body that was read, as far as it can be; the fields are those of `Message`."""

    body: str
    cipher: str | None
    seal: Seal


class Bodies(Protocol):
    """One way to write and read bodies. ``own`` is the seal of what one says oneself."""

    @property
    def own(self) -> Seal: ...

    def form(self, body: str, to: str) -> Fields:
        """Return fields that are as long as those that will say ``body``. ``to``: see `Outgoing`."""

    def is_ready(self, message: Outgoing) -> bool:
        """Whether the message can be written, or refused, now; else it can be later."""

    def write(self, message: Outgoing, sender: str) -> Fields:
        """Return the fields that say it. Raises `NotInRoomError`."""

    def stored(self, message: Outgoing, sender: str, seq: int) -> None:
        """Note that the server has stored what was written, under that number."""

    def lacks_key(self, room: str, cipher: object) -> bool:
        """Whether a body that came with that ``cipher`` can be read later, but not yet."""

    def read(self, room: str, author: str, fields: Fields, seq: int) -> Body:
        """Return what someone has said. ``room``, or `whispers_to` someone, is where."""


class OpenBodies:
    """In clear text or, with a key, in the paper's cipher. Raises `SettingError` for a key that is none."""

    own = Seal.NONE

    def __init__(self, settings: ClientSettings) -> None:
        self._cipher = CaesarCipher(settings.key) if settings.key else None

    def form(self, body: str, to: str) -> Fields:
        # A command is for the server, which has no key.
        if self._cipher is None or _is_server(to):
            return {"body": body}
        return {"body": self._cipher.encrypt(body), "cipher": CAESAR}

    def is_ready(self, message: Outgoing) -> bool:
        return True

    def write(self, message: Outgoing, sender: str) -> Fields:
        return self.form(message.body, message.to)

    def stored(self, message: Outgoing, sender: str, seq: int) -> None:
        pass

    def lacks_key(self, room: str, cipher: object) -> bool:
        return False

    def read(self, room: str, author: str, fields: Fields, seq: int) -> Body:
        body, cipher = fields["body"], fields.get("cipher") or None
        if cipher is not None and cipher.startswith(CIPHER_PREFIX):
            return Body("", cipher, Seal.LOCKED)
        # Classic authors make no ids, and cannot say that they encrypt.
        is_classic = cipher is None and not fields.get("id") and author != SERVER
        if self._cipher is not None and (cipher == CAESAR or is_classic):
            return Body(self._cipher.decrypt(body), None, Seal.NONE)
        return Body(body, cipher, Seal.NONE)


class SealedBodies:
    """Encrypted end to end, all but commands for the server.

    ``rooms`` are those that one is in, or has asked for. Nothing is written for others.
    """

    own = Seal.OPENED

    def __init__(self, vault: Vault, rooms: RoomBook) -> None:
        self._vault = vault
        self._rooms = rooms

    def form(self, body: str, to: str) -> Fields:
        return {"body": body} if _is_server(to) else longest_encryption(body)._asdict()

    def is_ready(self, message: Outgoing) -> bool:
        if message.to:
            return _is_server(message.to) or not self._vault.lacks_key(whispers_to(message.to))
        room = self._rooms.get(message.room)
        if room is None or room.presence is Presence.PARTING:
            return True
        return room.presence is Presence.JOINED and not self._vault.lacks_key(room.name)

    def write(self, message: Outgoing, sender: str) -> Fields:
        if message.to:
            if _is_server(message.to):
                return {"body": message.body}
            return self._vault.seal(whispers_to(message.to), sender, message.body)._asdict()
        room = self._rooms.get(message.room)
        if room is None or room.presence is not Presence.JOINED:
            raise NotInRoomError(message.room)
        return self._vault.seal(room.name, sender, message.body)._asdict()

    def stored(self, message: Outgoing, sender: str, seq: int) -> None:
        # One's own is read as others' is, so that it cannot come again as something new.
        room = self._rooms.get(message.room) if message.room else None
        if room is not None and message.written is not None:
            self.read(room.name, sender, message.written, seq)

    def lacks_key(self, room: str, cipher: object) -> bool:
        return type(cipher) is str and cipher.startswith(CIPHER_PREFIX) and self._vault.lacks_key(room)

    def read(self, room: str, author: str, fields: Fields, seq: int) -> Body:
        body, cipher = fields["body"], fields.get("cipher") or None
        if cipher is None or not cipher.startswith(CIPHER_PREFIX):
            return Body(body, cipher, Seal.NONE if author == SERVER else Seal.CLEAR)
        try:
            return Body(self._vault.open(room, author, cipher, body, seq), None, Seal.OPENED)
        except UnreadableError as error:
            return Body("", cipher, _SEALS[type(error)])


def _is_server(name: str) -> bool:
    return name_key(name) == name_key(SERVER)
