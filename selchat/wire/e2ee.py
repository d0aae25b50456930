"""End-to-end encryption of message bodies, without I/O. docs/encryption.rst is the specification.

A room's key is derived from the passphrase and the room's salt. Each start of a sender creates one session in
each room, with its own key and message counter. The receiver remembers which counters arrived under which of
the server's ``seq`` numbers, and so detects replayed and reordered messages.

This module knows neither the members of a room nor the user's input. Received messages are untrusted: each
one gives its text or an `UnreadableError`, in linear time. Only `room_key` is slow.
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
from selchat.limits import E2EE_WINDOW, MAX_E2EE_SESSIONS, SCRYPT_MEMORY


class WrongPassphraseError(UnreadableError):
    text = "encrypted with another passphrase"


class DecryptionError(UnreadableError):
    text = "changed in transit"


class ReplayedError(UnreadableError):
    text = "an old message that was delivered again"


class ReorderedError(UnreadableError):
    text = "delivered in the wrong order"


SALT_LENGTH = 16  # bytes
SESSION_LENGTH = 16  # bytes, random
KEY_LENGTH = 32  # bytes, of room keys and of session keys
CHECK_LENGTH = 16  # bytes of a key's check value
TAG_LENGTH = 16  # bytes
MAX_COUNTER = (1 << 53) - 1  # the largest integer that every JSON library holds exactly (RFC 7493, 2.2)

_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 1 << 15, 8, 1  # 32 MiB and about 0.1 s
_SESSION_INFO = b"selchat1 session"
_MESSAGE = b"selchat1 message"
_BASE64 = re.compile("[A-Za-z0-9_-]*")
_CIPHER = re.compile(rf"{CIPHER_PREFIX}([A-Za-z0-9_-]{{22}}) ([1-9][0-9]{{0,15}}) ([A-Za-z0-9_-]{{22}})")


class EncryptedMessage(NamedTuple):
    """An encrypted message on the wire: its fields ``cipher`` and ``body``."""

    cipher: str
    body: str


# -- keys ------------------------------------------------------------------------------------------------


def passphrase_bytes(passphrase: str) -> bytes:
    """Return the bytes of a passphrase for hashing: NFC in UTF-8, so that all keyboards give the same bytes.

    Raises `SettingError` for an empty passphrase and for one with surrogates.
    """
    if not passphrase:
        raise SettingError("passphrase", "", "a passphrase: it is empty")
    try:
        return unicodedata.normalize("NFC", passphrase).encode()
    except UnicodeEncodeError:
        raise SettingError("passphrase", "...", "text in UTF-8") from None


def room_key(passphrase: str, salt: bytes) -> bytes:
    """Derive the key of the room with that salt. This takes about 0.1 s, without the GIL.

    Raises `SettingError` as `passphrase_bytes` does.
    """
    return hashlib.scrypt(
        passphrase_bytes(passphrase),
        salt=salt,
        n=_SCRYPT_N,
        r=_SCRYPT_R,
        p=_SCRYPT_P,
        maxmem=SCRYPT_MEMORY,
        dklen=KEY_LENGTH,
    )


def parse_salt(text: str) -> bytes | None:
    """Return the salt that the server encoded as ``text``, or None if it is invalid."""
    return _decoded(text, SALT_LENGTH)


class _SessionKey:
    """The key of one session: the AEAD cipher, and the check value that identifies the key."""

    __slots__ = ("_aead", "check", "session")

    def __init__(self, room_key: bytes, session: bytes) -> None:
        # Imported here, because few users need it and the import is slow.
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        length = KEY_LENGTH + CHECK_LENGTH
        derived = HKDF(hashes.SHA256(), length, salt=session, info=_SESSION_INFO).derive(room_key)
        self.session = session
        self.check = derived[KEY_LENGTH:]
        self._aead: ChaCha20Poly1305 = ChaCha20Poly1305(derived[:KEY_LENGTH])

    def encrypt(self, room: str, sender: str, counter: int, data: bytes) -> bytes:
        return self._aead.encrypt(_nonce(counter), data, self._associated_data(room, sender, counter))

    def decrypt(self, room: str, sender: str, counter: int, data: bytes) -> bytes:
        """Return the decrypted bytes. Raises `DecryptionError`."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._aead.decrypt(_nonce(counter), data, self._associated_data(room, sender, counter))
        except InvalidTag:
            raise DecryptionError from None

    def _associated_data(self, room: str, sender: str, counter: int) -> bytes:
        """Return the AEAD's associated data, so that a message is invalid in any other room or position."""
        parts = (_text(room), _text(sender), self.session)
        return b"".join(
            [_MESSAGE, *(len(part).to_bytes(4, "big") + part for part in parts), counter.to_bytes(8, "big")]
        )


# -- encryption ------------------------------------------------------------------------------------------


class Encryptor:
    """Encrypt the messages of one session: one start of a program, in one room.

    ``session``: random by default. No key is used twice with the same counter, and no session with two keys.
    """

    def __init__(self, room_key: bytes, session: bytes | None = None) -> None:
        self._key = _SessionKey(room_key, secrets.token_bytes(SESSION_LENGTH) if session is None else session)
        self.counter = 0  # of the last encrypted message

    def encrypt(self, room: str, sender: str, text: str) -> EncryptedMessage:
        """Return the encrypted message. ``room`` and ``sender`` must be as the server writes them."""
        self.counter += 1
        counter, key = self.counter, self._key
        data = key.encrypt(room, sender, counter, _text(text))
        return EncryptedMessage(
            f"{CIPHER_PREFIX}{_encoded(key.session)} {counter} {_encoded(key.check)}", _encoded(data)
        )


def longest_encryption(text: str) -> EncryptedMessage:
    """Return a message as long as the encryption of this text can be, without a key."""
    size = len(_text(text)) + TAG_LENGTH
    name = "A" * _encoded_length(SESSION_LENGTH)
    cipher = f"{CIPHER_PREFIX}{name} {MAX_COUNTER} {'A' * _encoded_length(CHECK_LENGTH)}"
    return EncryptedMessage(cipher, "A" * _encoded_length(size))


# -- decryption ------------------------------------------------------------------------------------------


class Decryptor:
    """Decrypt the messages of all sessions in all rooms, for one receiver."""

    def __init__(self) -> None:
        self._sessions: dict[
            tuple[bytes, str, str, bytes], _ReceivedSession
        ] = {}  # least recently used first
        self._age = 0

    def reset_order(self) -> None:
        """Accept new numbers: the server has a new log, so later messages have no order with earlier ones.

        Messages that arrived before are still known, so that no one can send them again as new ones.
        """
        self._age += 1

    def decrypt(self, room_key: bytes, room: str, sender: str, cipher: str, body: str, seq: int) -> str:
        """Return the text of the message with number ``seq`` in its room; 0: a new message that no log keeps.

        Decrypting the same message again under the same number works, and so do older messages at any time.
        Raises `WrongPassphraseError`, `DecryptionError`, `ReplayedError` and `ReorderedError`.
        """
        match = _CIPHER.fullmatch(cipher)
        if match is None:
            raise DecryptionError
        session, check = _decoded(match[1]), _decoded(match[3])  # 22 characters are 16 bytes
        counter = int(match[2])
        data = _decoded(body)
        if session is None or check is None or data is None or counter > MAX_COUNTER:
            raise DecryptionError
        place = (room_key, room, sender, session)
        received = self._sessions.get(place) or _ReceivedSession(_SessionKey(room_key, session))
        if not hmac.compare_digest(received.key.check, check):
            raise WrongPassphraseError
        plaintext = received.key.decrypt(room, sender, counter, data)
        try:
            text = plaintext.decode()
        except UnicodeDecodeError:
            raise DecryptionError from None
        self._save(place, received)
        received.record(counter, seq, self._age)
        return text

    def _save(self, place: tuple[bytes, str, str, bytes], session: _ReceivedSession) -> None:
        self._sessions.pop(place, None)
        self._sessions[place] = session
        if len(self._sessions) > MAX_E2EE_SESSIONS:
            del self._sessions[next(iter(self._sessions))]


class _ReceivedSession:
    """One sender's session, as a receiver knows it: the counters that arrived, and their numbers.

    It keeps the `WINDOW` largest counters of the current log, in two arrays that increase together.
    ``_former`` has the counters of earlier logs.
    """

    __slots__ = ("_age", "_counters", "_former", "_seqs", "key")

    def __init__(self, key: _SessionKey) -> None:
        self.key = key
        self._age = 0
        self._counters = array("Q")
        self._seqs = array("Q")
        self._former: dict[int, int] = {}

    def record(self, counter: int, seq: int, age: int) -> None:
        """Record the arrival of a counter under a number. Raises `ReplayedError` and `ReorderedError`."""
        if age != self._age:
            self._start_log(age)
        counters, seqs = self._counters, self._seqs
        place = bisect_left(counters, counter)
        is_known = place < len(counters) and counters[place] == counter
        if not seq:
            # A message that no log keeps arrives at once, so after all earlier ones.
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
        if len(counters) > E2EE_WINDOW:
            del counters[0], seqs[0]

    def _start_log(self, age: int) -> None:
        self._age = age
        self._former.update(zip(self._counters, self._seqs, strict=True))
        for counter in sorted(self._former)[:-E2EE_WINDOW]:
            del self._former[counter]
        self._counters, self._seqs = array("Q"), array("Q")


# --------------------------------------------------------------------------------------------------------


def _nonce(counter: int) -> bytes:
    return counter.to_bytes(12, "big")


def _text(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # received text has no surrogates; typed text may


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _encoded_length(size: int) -> int:
    return -(-size * 4 // 3)


def _decoded(text: str, size: int | None = None) -> bytes | None:
    """Return the bytes (``size`` of them) with this canonical base64url encoding, or None."""
    if _BASE64.fullmatch(text) is None or len(text) % 4 == 1:
        return None
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return data if _encoded(data) == text and size in {None, len(data)} else None
