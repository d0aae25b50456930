"""What a client with a passphrase has for encrypting: salts and keys of rooms, and its own sessions there.

It must not know who is in a room, nor what is on the wire around a body. To derive a key takes a tenth of a
second, and is not done in here: the vault says which ones it needs, and gets them when they are there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from selchat.errors import NotInRoomError
from selchat.text import clean_name, name_key
from selchat.wire.e2ee import Decryptor, EncryptedMessage, Encryptor, WrongPassphraseError

_WHISPERS = "@"  # how the names of what whispers are sealed for begin; no room's name does
_MAX = 4096  # rooms and keys remembered: a server could name new ones for ever

K = TypeVar("K")
V = TypeVar("V")


class _Place(NamedTuple):
    """A room as the server writes it, and its salt."""

    name: str
    salt: bytes


class Vault:
    """``want(salt)`` is called once for each key that is needed; `put_key` brings it."""

    def __init__(self, want: Callable[[bytes], object]) -> None:
        self._want = want
        self._rooms: dict[str, _Place] = {}  # by key
        self._whispers: bytes | None = None  # their salt
        self._keys: dict[bytes, bytes | None] = {}  # by salt; None: it was asked for
        self._encryptors: dict[_Place, Encryptor] = {}
        self._decryptor = Decryptor()

    # -- what is learnt --------------------------------------------------------------------------------

    def learn(self, room: str, salt: bytes) -> None:
        """Note the salt of a room; ``room`` is as the server writes it."""
        _put(self._rooms, name_key(room), _Place(room, salt))

    def learn_whispers(self, salt: bytes) -> None:
        """Note the salt of all whispers."""
        self._whispers = salt

    def begin(self) -> None:
        """The server numbers its messages anew."""
        self._decryptor.reset_order()

    def put_key(self, salt: bytes, key: bytes) -> None:
        """Take a key that was wanted."""
        _put(self._keys, salt, key)

    # -- what it is for --------------------------------------------------------------------------------

    def lacks_key(self, room: str) -> bool:
        """Whether the key of a room, or of `whispers_to`, is still to come; it is asked for then."""
        place = self._place(room)
        if place is None or self._keys.get(place.salt) is not None:
            return False
        if place.salt not in self._keys:
            _put(self._keys, place.salt, None)
            self._want(place.salt)
        return True

    def seal(self, room: str, sender: str, text: str) -> EncryptedMessage:
        """Encrypt something for a room, or for `whispers_to` someone, whose key must be there.

        Raises `NotInRoomError` if nothing is known of it.
        """
        place = self._place(room)
        key = None if place is None else self._keys.get(place.salt)
        if place is None or key is None:
            raise NotInRoomError(room)  # its server has named so many others that it was forgotten
        encryptor = self._encryptors.get(place)
        if encryptor is None:
            encryptor = Encryptor(key)
            _put(self._encryptors, place, encryptor)
        return encryptor.encrypt(place.name, sender, text)

    def open(self, room: str, sender: str, cipher: str, body: str, seq: int) -> str:
        """Return what was said. Raises `UnreadableError`."""
        place = self._place(room)
        key = None if place is None else self._keys.get(place.salt)
        if place is None or key is None:
            raise WrongPassphraseError  # a room without a salt: nobody can have encrypted it for us
        return self._decryptor.decrypt(key, place.name, sender, cipher, body, seq)

    def _place(self, room: str) -> _Place | None:
        if room.startswith(_WHISPERS):
            return None if self._whispers is None else _Place(room, self._whispers)
        return self._rooms.get(name_key(room))


def is_room(name: str) -> bool:
    """Whether a room can have that name: one that is like that of whispers could be used to show these."""
    return not name.startswith(_WHISPERS)


def whispers_to(name: str) -> str:
    """Return what whispers to someone are sealed for, in the place of a room."""
    return f"{_WHISPERS}{name_key(clean_name(name, len(name)))}"


def _put(known: dict[K, V], key: K, value: V) -> None:
    """Keep it, and not too many of its kind."""
    known[key] = value
    if len(known) > _MAX:
        del known[next(iter(known))]
