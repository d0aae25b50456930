"""Message bodies: plain, Caesar-ciphered, or encrypted end to end.

The mode does not change while a client runs. Knows the room and the people that a body is bound to, and
nothing else of a message. Deriving a key takes a tenth of a second, so this module never does it: it
requests the keys that it needs, and the caller adds them later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

from selchat.client.events import Encryption
from selchat.client.protocol.fields import Fields
from selchat.client.protocol.outbox import OutgoingMessage
from selchat.client.protocol.rooms import RoomMap, RoomState
from selchat.config.settings import ClientSettings
from selchat.errors import NotInRoomError, UnreadableError
from selchat.events import CIPHER_PREFIX, SERVER
from selchat.limits import MAX_KEYS
from selchat.text import clean_name, name_key
from selchat.wire.cipher import CaesarCipher
from selchat.wire.e2ee import (
    DecryptionError,
    Decryptor,
    EncryptedMessage,
    Encryptor,
    ReorderedError,
    ReplayedError,
    WrongPassphraseError,
    longest_encryption,
)

CAESAR = "caesar"  # the classic cipher in the field ``cipher``
_DIRECT = "@"  # the first character of the key names of direct messages; no room's name starts with it

_RESULTS: dict[type[UnreadableError], Encryption] = {
    WrongPassphraseError: Encryption.OTHER_PASSPHRASE,
    DecryptionError: Encryption.TAMPERED,
    ReplayedError: Encryption.REPLAYED,
    ReorderedError: Encryption.REORDERED,
}

K = TypeVar("K")
V = TypeVar("V")


# -- keys ------------------------------------------------------------------------------------------------


def direct_key_name(name: str) -> str:
    """Return the name under which direct messages to someone are encrypted, in the place of a room."""
    return f"{_DIRECT}{name_key(clean_name(name, len(name)))}"


def is_room_name(name: str) -> bool:
    """Whether a room can have that name. A room named like the key of direct messages could expose them."""
    return not name.startswith(_DIRECT)


class _KeyName(NamedTuple):
    """The name of a room as the server writes it, or `direct_key_name`; and the salt."""

    name: str
    salt: bytes


class RoomKeys:
    """The keys of rooms and direct messages, and the sessions that encrypt and decrypt with them.

    Calls ``request_key(salt)`` once for each key that it needs; `add_key` answers. A ``room`` here is the
    name of a room or a `direct_key_name`.
    """

    def __init__(self, request_key: Callable[[bytes], object]) -> None:
        self._request_key = request_key
        self._rooms: dict[str, _KeyName] = {}  # by name key
        self._direct_salt: bytes | None = None
        self._keys: dict[bytes, bytes | None] = {}  # by salt; None: requested
        self._encryptors: dict[_KeyName, Encryptor] = {}
        self._decryptor = Decryptor()

    # -- from the server -------------------------------------------------------------------------------

    def set_room_salt(self, room: str, salt: bytes) -> None:
        """Set the salt of a room, whose name is as the server writes it."""
        _put(self._rooms, name_key(room), _KeyName(room, salt))

    def set_direct_salt(self, salt: bytes) -> None:
        """Set the salt of all direct messages."""
        self._direct_salt = salt

    def reset_numbers(self) -> None:
        """Expect the server to number its messages from the start again."""
        self._decryptor.reset_order()

    def add_key(self, salt: bytes, key: bytes) -> None:
        """Add a requested key."""
        _put(self._keys, salt, key)

    # -- encryption ------------------------------------------------------------------------------------

    def awaits_key(self, room: str) -> bool:
        """Whether the key of a room will come later; request it if nobody has."""
        place = self._find(room)
        if place is None or self._keys.get(place.salt) is not None:
            return False
        if place.salt not in self._keys:
            _put(self._keys, place.salt, None)
            self._request_key(place.salt)
        return True

    def encrypt(self, room: str, sender: str, text: str) -> EncryptedMessage:
        """Encrypt a text for a room. Raises `NotInRoomError` without its key."""
        place = self._find(room)
        key = None if place is None else self._keys.get(place.salt)
        if place is None or key is None:
            raise NotInRoomError(room)  # the server has named so many others that this one was dropped
        encryptor = self._encryptors.get(place)
        if encryptor is None:
            encryptor = Encryptor(key)
            _put(self._encryptors, place, encryptor)
        return encryptor.encrypt(place.name, sender, text)

    def decrypt(self, room: str, sender: str, cipher: str, body: str, seq: int) -> str:
        """Return the text. Raises `UnreadableError`."""
        place = self._find(room)
        key = None if place is None else self._keys.get(place.salt)
        if place is None or key is None:
            raise WrongPassphraseError  # the room has no salt, so nobody can have encrypted it for us
        return self._decryptor.decrypt(key, place.name, sender, cipher, body, seq)

    def _find(self, room: str) -> _KeyName | None:
        if room.startswith(_DIRECT):
            return None if self._direct_salt is None else _KeyName(room, self._direct_salt)
        return self._rooms.get(name_key(room))


def _put(known: dict[K, V], key: K, value: V) -> None:
    """Add an item; drop the oldest if there are too many."""
    known[key] = value
    if len(known) > MAX_KEYS:
        del known[next(iter(known))]


# -- bodies ----------------------------------------------------------------------------------------------


class DecodedBody(NamedTuple):
    """A body, as far as this client can read it. The fields mean the same as in `Message`."""

    body: str
    cipher: str | None
    encryption: Encryption


class BodyCodec(Protocol):
    """Encodes and decodes bodies. ``own_encryption`` is the encryption of the client's own messages."""

    @property
    def own_encryption(self) -> Encryption: ...

    def template(self, body: str, to: str) -> Fields:
        """Return fields of the same size as the encoded ``body``. See `OutgoingMessage` for ``to``."""

    def is_ready(self, message: OutgoingMessage) -> bool:
        """Whether `encode` can encode or reject the message now, rather than later."""

    def encode(self, message: OutgoingMessage, sender: str) -> Fields:
        """Return the body's fields. Raises `NotInRoomError`."""

    def on_stored(self, message: OutgoingMessage, sender: str, seq: int) -> None:
        """Record that the server stored the encoded message under that number."""

    def awaits_key(self, room: str, cipher: object) -> bool:
        """Whether a body with that ``cipher`` becomes readable when a key arrives."""

    def decode(self, room: str, author: str, fields: Fields, seq: int) -> DecodedBody:
        """Decode a body that was sent to a room or to a `direct_key_name`."""


class PlainCodec:
    """Bodies in plain text or, with a key, in the Caesar cipher. Raises `SettingError` for a bad key."""

    own_encryption = Encryption.NONE

    def __init__(self, settings: ClientSettings) -> None:
        self._cipher = CaesarCipher(settings.key) if settings.key else None

    def template(self, body: str, to: str) -> Fields:
        # The server has no key, and commands are for the server.
        if self._cipher is None or _is_server(to):
            return {"body": body}
        return {"body": self._cipher.encrypt(body), "cipher": CAESAR}

    def is_ready(self, message: OutgoingMessage) -> bool:
        return True

    def encode(self, message: OutgoingMessage, sender: str) -> Fields:
        return self.template(message.body, message.to)

    def on_stored(self, message: OutgoingMessage, sender: str, seq: int) -> None:
        pass

    def awaits_key(self, room: str, cipher: object) -> bool:
        return False

    def decode(self, room: str, author: str, fields: Fields, seq: int) -> DecodedBody:
        body, cipher = fields["body"], fields.get("cipher") or None
        if cipher is not None and cipher.startswith(CIPHER_PREFIX):
            return DecodedBody("", cipher, Encryption.NO_PASSPHRASE)
        # Classic clients send no ids, and cannot say that they encrypt.
        is_classic = cipher is None and not fields.get("id") and author != SERVER
        if self._cipher is not None and (cipher == CAESAR or is_classic):
            return DecodedBody(self._cipher.decrypt(body), None, Encryption.NONE)
        return DecodedBody(body, cipher, Encryption.NONE)


class EncryptedCodec:
    """Bodies encrypted end to end, except commands for the server.

    ``rooms`` are the rooms that the client is in or has asked to join. It encrypts for no others.
    """

    own_encryption = Encryption.DECRYPTED

    def __init__(self, keys: RoomKeys, rooms: RoomMap) -> None:
        self._keys = keys
        self._rooms = rooms

    def template(self, body: str, to: str) -> Fields:
        return {"body": body} if _is_server(to) else longest_encryption(body)._asdict()

    def is_ready(self, message: OutgoingMessage) -> bool:
        if message.to:
            return _is_server(message.to) or not self._keys.awaits_key(direct_key_name(message.to))
        room = self._rooms.get(message.room)
        if room is None or room.state is RoomState.PARTING:
            return True
        return room.state is RoomState.JOINED and not self._keys.awaits_key(room.name)

    def encode(self, message: OutgoingMessage, sender: str) -> Fields:
        if message.to:
            if _is_server(message.to):
                return {"body": message.body}
            return self._keys.encrypt(direct_key_name(message.to), sender, message.body)._asdict()
        room = self._rooms.get(message.room)
        if room is None or room.state is not RoomState.JOINED:
            raise NotInRoomError(message.room)
        return self._keys.encrypt(room.name, sender, message.body)._asdict()

    def on_stored(self, message: OutgoingMessage, sender: str, seq: int) -> None:
        # Decode the client's own message like any other, so that a replay of it is detected too.
        room = self._rooms.get(message.room) if message.room else None
        if room is not None and message.encoding is not None:
            self.decode(room.name, sender, message.encoding, seq)

    def awaits_key(self, room: str, cipher: object) -> bool:
        return type(cipher) is str and cipher.startswith(CIPHER_PREFIX) and self._keys.awaits_key(room)

    def decode(self, room: str, author: str, fields: Fields, seq: int) -> DecodedBody:
        body, cipher = fields["body"], fields.get("cipher") or None
        if cipher is None:
            return DecodedBody(body, None, Encryption.NONE if author == SERVER else Encryption.UNENCRYPTED)
        if not cipher.startswith(CIPHER_PREFIX):
            return DecodedBody("", cipher, Encryption.OTHER_CIPHER)
        try:
            return DecodedBody(
                self._keys.decrypt(room, author, cipher, body, seq), None, Encryption.DECRYPTED
            )
        except UnreadableError as error:
            return DecodedBody("", cipher, _RESULTS[type(error)])


def _is_server(name: str) -> bool:
    return name_key(name) == name_key(SERVER)
