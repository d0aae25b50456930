"""End-to-end encryption of what is said (docs/encryption.rst): bodies to ciphertext and back, no I/O.

A passphrase and a room's salt make the room's key. Every start of a sender makes a session in each room,
which has a key of its own, and counts in it. Whoever opens a message remembers which counters have come under
which numbers of the server's, so that a message that comes twice, or in another order, is met.

Nothing here knows who is in a room or what has been typed. What is opened is a stranger's: whatever it is,
the answer is the text or an `UnreadableError`, soon. Only `room_key` takes its time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import unicodedata
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

from selchat.errors import SettingError
from selchat.events import CIPHER_PREFIX

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from selchat.errors import UnreadableError


class WrongPassphraseError(UnreadableError):
    text = "encrypted with another passphrase"


class DecryptionError(UnreadableError):
    text = "changed on the way"


class ReplayedError(UnreadableError):
    text = "said before, and come again as something new"


class ReorderedError(UnreadableError):
    text = "come in another order than it was said in"


SALT_LENGTH = 16  # bytes
SESSION_LENGTH = 16  # bytes, random
KEY_LENGTH = 32  # bytes, of a room's key and of a session's
CHECK_LENGTH = 16  # bytes that tell one key from another
TAG_LENGTH = 16  # bytes
LARGEST_COUNTER = (1 << 53) - 1  # what every JSON library has exactly (RFC 7493, 2.2); no nonce comes twice
WINDOW = 1000  # messages of a session that are remembered
MAX_SESSIONS = 4096  # that are remembered; each takes up to 16 kB

_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 1 << 15, 8, 1  # 32 MiB and about 0.1 s
_SCRYPT_MEMORY = 64 << 20  # bytes that it may take
_SESSION_INFO = b"selchat1 session"
_MESSAGE = b"selchat1 message"
_BASE64 = re.compile("[A-Za-z0-9_-]*")
_CIPHER = re.compile(rf"{CIPHER_PREFIX}([A-Za-z0-9_-]{{22}}) ([1-9][0-9]{{0,15}}) ([A-Za-z0-9_-]{{22}})")


class EncryptedMessage(NamedTuple):
    """A message as it goes over the wire: its fields ``cipher`` and ``body``."""

    cipher: str
    body: str


# -- keys ------------------------------------------------------------------------------------------------


def passphrase_bytes(passphrase: str) -> bytes:
    """Return what is hashed of a passphrase, however it was typed: its NFC form in UTF-8.

    Raises `SettingError` for an empty one, and for what is no text.
    """
    if not passphrase:
        raise SettingError("passphrase", "", "a passphrase: it is empty")
    try:
        return unicodedata.normalize("NFC", passphrase).encode()
    except UnicodeEncodeError:
        raise SettingError("passphrase", "...", "text in UTF-8") from None


def room_key(passphrase: str, salt: bytes) -> bytes:
    """Return the key of the room with that salt. It takes about 0.1 s, in which other threads run.

    Raises `SettingError` as `passphrase_bytes` does.
    """
    return hashlib.scrypt(
        passphrase_bytes(passphrase),
        salt=salt,
        n=_SCRYPT_N,
        r=_SCRYPT_R,
        p=_SCRYPT_P,
        maxmem=_SCRYPT_MEMORY,
        dklen=KEY_LENGTH,
    )


def parse_salt(text: str) -> bytes | None:
    """Return the salt that the server has written so; None: it is none."""
    return _decoded(text, SALT_LENGTH)


class _SessionKey:
    """What a room's key and a session make: the cipher, and the check that tells this key from others."""

    __slots__ = ("_aead", "check", "session")

    def __init__(self, room_key: bytes, session: bytes) -> None:
        # Here, as few need it and it takes a while to import.
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        length = KEY_LENGTH + CHECK_LENGTH
        made = HKDF(hashes.SHA256(), length, salt=session, info=_SESSION_INFO).derive(room_key)
        self.session = session
        self.check = made[KEY_LENGTH:]
        self._aead: ChaCha20Poly1305 = ChaCha20Poly1305(made[:KEY_LENGTH])

    def encrypt(self, room: str, sender: str, counter: int, data: bytes) -> bytes:
        return self._aead.encrypt(_nonce(counter), data, self._bound(room, sender, counter))

    def decrypt(self, room: str, sender: str, counter: int, data: bytes) -> bytes:
        """Raises `DecryptionError`."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._aead.decrypt(_nonce(counter), data, self._bound(room, sender, counter))
        except InvalidTag:
            raise DecryptionError from None

    def _bound(self, room: str, sender: str, counter: int) -> bytes:
        """Return the additional data: a message is worth nothing in another place than its own."""
        parts = (_text(room), _text(sender), self.session)
        return b"".join(
            [_MESSAGE, *(len(part).to_bytes(4, "big") + part for part in parts), counter.to_bytes(8, "big")]
        )


# -- saying ----------------------------------------------------------------------------------------------


class Encryptor:
    """One session: what one start of a program says in one room. ``session`` is random if not given.

    A key is never used with a counter twice, and no session with another key.
    """

    def __init__(self, room_key: bytes, session: bytes | None = None) -> None:
        self._key = _SessionKey(room_key, secrets.token_bytes(SESSION_LENGTH) if session is None else session)
        self._counter = 0

    def encrypt(self, room: str, sender: str, text: str) -> EncryptedMessage:
        """Return a message of that text. ``room`` and ``sender`` are as the server writes them."""
        self._counter += 1
        counter, key = self._counter, self._key
        data = key.encrypt(room, sender, counter, _text(text))
        return EncryptedMessage(f"{CIPHER_PREFIX}{_encoded(key.session)} {counter} {_encoded(key.check)}", _encoded(data))


def longest_encryption(text: str) -> EncryptedMessage:
    """Return something as long as the text can become when it is sealed."""
    size = len(_text(text)) + TAG_LENGTH
    name = "A" * _encoded_length(SESSION_LENGTH)
    cipher = f"{CIPHER_PREFIX}{name} {LARGEST_COUNTER} {'A' * _encoded_length(CHECK_LENGTH)}"
    return EncryptedMessage(cipher, "A" * _encoded_length(size))


# -- reading ---------------------------------------------------------------------------------------------


class Decryptor:
    """What one reader has of all sessions, in all rooms."""

    def __init__(self) -> None:
        self._sessions: dict[tuple[bytes, str, str, bytes], _Session] = {}  # the one read last is the last
        self._age = 0

    def reset_order(self) -> None:
        """The server numbers anew: what comes now is in no order with what came before.

        What has come already is still known, so that it cannot come again as something new.
        """
        self._age += 1

    def decrypt(self, room_key: bytes, room: str, sender: str, cipher: str, body: str, seq: int) -> str:
        """Return the text of a message, which has that number in its room; 0: it has none and was just said.

        The same message may be opened any number of times, under the same number, and older ones at any time.
        Raises `WrongPassphraseError`, `DecryptionError`, `ReplayedError` and `ReorderedError`.
        """
        match = _CIPHER.fullmatch(cipher)
        if match is None:
            raise DecryptionError
        session, check = _decoded(match[1]), _decoded(match[3])  # 22 characters are 16 bytes
        counter = int(match[2])
        data = _decoded(body)
        if session is None or check is None or data is None or counter > LARGEST_COUNTER:
            raise DecryptionError
        place = (room_key, room, sender, session)
        known = self._sessions.get(place) or _Session(_SessionKey(room_key, session))
        if not hmac.compare_digest(known.key.check, check):
            raise WrongPassphraseError
        plain = known.key.decrypt(room, sender, counter, data)
        try:
            text = plain.decode()
        except UnicodeDecodeError:
            raise DecryptionError from None
        self._remember(place, known)
        known.take(counter, seq, self._age)
        return text

    def _remember(self, place: tuple[bytes, str, str, bytes], session: _Session) -> None:
        self._sessions.pop(place, None)
        self._sessions[place] = session
        if len(self._sessions) > MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]


class _Session:
    """One sender's session as a reader has it: which counters have come, and under which numbers.

    Of the counters that have come since the numbers began, the `WINDOW` largest are kept with their numbers,
    and both grow together. ``_former`` are those of the numbers before.
    """

    __slots__ = ("_age", "_counters", "_former", "_seqs", "key")

    def __init__(self, key: _SessionKey) -> None:
        self.key = key
        self._age = 0
        self._counters = array("Q")
        self._seqs = array("Q")
        self._former: dict[int, int] = {}

    def take(self, counter: int, seq: int, age: int) -> None:
        """Note that this counter has come under that number. Raises `ReplayedError` and `ReorderedError`."""
        if age != self._age:
            self._begin(age)
        counters, seqs = self._counters, self._seqs
        place = bisect_left(counters, counter)
        is_known = place < len(counters) and counters[place] == counter
        if not seq:
            # What is not kept comes while it is said, after all that came before.
            if is_known or counter in self._former:
                raise ReplayedError
            if place < len(counters):
                raise ReorderedError
            seq = seqs[-1] if seqs else 0
        else:
            if is_known and seqs[place] == seq:
                return
            if is_known or self._former.get(counter, seq) != seq:
                raise ReplayedError
            if (place and seqs[place - 1] >= seq) or (place < len(seqs) and seqs[place] <= seq):
                raise ReorderedError
        counters.insert(place, counter)
        seqs.insert(place, seq)
        if len(counters) > WINDOW:
            del counters[0], seqs[0]

    def _begin(self, age: int) -> None:
        self._age = age
        self._former.update(zip(self._counters, self._seqs, strict=True))
        for counter in sorted(self._former)[:-WINDOW]:
            del self._former[counter]
        self._counters, self._seqs = array("Q"), array("Q")


# --------------------------------------------------------------------------------------------------------


def _nonce(counter: int) -> bytes:
    return counter.to_bytes(12, "big")


def _text(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # which no text has that came over a wire


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _encoded_length(size: int) -> int:
    return -(-size * 4 // 3)


def _decoded(text: str, size: int | None = None) -> bytes | None:
    """Return the bytes, of that size, that are written so, in the one way in which they can be; or None."""
    if _BASE64.fullmatch(text) is None or len(text) % 4 == 1:
        return None
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return data if _encoded(data) == text and size in {None, len(data)} else None
