"""Scrypt hash of the server's password, and its text form.

The form is ``scrypt:LN:R:P:SALT:HASH``: the parameters of RFC 7914 (N is 2 to the LN), and salt and hash in
base64url (RFC 4648) without padding. It needs no quotes in a shell or in a file.

A password is normalised to Unicode NFC before hashing, because keyboards differ in how they write an accented
letter. Nothing else changes: spaces and capitals count.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import unicodedata
from dataclasses import dataclass

from selchat.errors import SettingError
from selchat.limits import MAX_HASH_WORK, PASSWORD_LENGTH

_LOG_N, _R, _P = 15, 8, 1  # 32 MiB and 0.1 s of one core
_SALT_LENGTH = 16  # bytes
_HASH_LENGTH = 32  # bytes
_BLOCK_SIZE = 128  # bytes; scrypt needs N * r blocks
_FORM = re.compile(
    r"scrypt:([1-9][0-9]?):([1-9][0-9]?):([1-9][0-9]?):([A-Za-z0-9_-]{11,86}):([A-Za-z0-9_-]{22,86})"
)


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """The hash of a password; ``str()`` returns its text form.

    ``log_n``, ``r`` and ``p`` are scrypt's parameters. ``salt`` has 8 to 64 bytes, ``digest`` 16 to 64.
    """

    log_n: int
    r: int
    p: int
    salt: bytes
    digest: bytes

    @classmethod
    def of(cls, password: str) -> PasswordHash:
        """Return a new hash of the password. This takes 0.1 s."""
        salt = secrets.token_bytes(_SALT_LENGTH)
        return cls(_LOG_N, _R, _P, salt, derive(password, salt, _LOG_N, _R, _P, _HASH_LENGTH))

    @classmethod
    def parse(cls, text: str) -> PasswordHash:
        """Return the hash for its text form. Raises `SettingError`, which does not contain the text."""
        match = _FORM.fullmatch(text)
        if match is not None:
            log_n, r, p = int(match[1]), int(match[2]), int(match[3])
            salt, digest = _decode(match[4]), _decode(match[5])
            if salt and digest and (1 << log_n) * r * p <= MAX_HASH_WORK:
                return cls(log_n, r, p, salt, digest)
        # The text may be a password by mistake, and errors end up in logs.
        raise SettingError("password", "...", "a hash that selchat hash-password has printed")

    def __str__(self) -> str:
        return f"scrypt:{self.log_n}:{self.r}:{self.p}:{_encode(self.salt)}:{_encode(self.digest)}"

    def matches(self, password: str) -> bool:
        """Return whether this is the hash of the password. Takes the same time for a wrong password."""
        found = derive(password, self.salt, self.log_n, self.r, self.p, len(self.digest))
        return hmac.compare_digest(found, self.digest)


def read_password(data: bytes) -> str:
    """Return the password in the first line of a file. Raises `SettingError`, which does not contain it."""
    line = data.partition(b"\n")[0].removesuffix(b"\r")
    try:
        return checked_password(line.decode())
    except UnicodeDecodeError:
        raise SettingError("password", "...", "text in UTF-8") from None


def checked_password(password: str) -> str:
    """Return the password if its length is valid. Raises `SettingError`, which does not contain it."""
    if not 1 <= len(password) <= PASSWORD_LENGTH:
        raise SettingError("password", "...", f"a line of 1 to {PASSWORD_LENGTH} characters")
    return password


def normalise(password: str) -> bytes:
    """Return the bytes of a password to hash."""
    return unicodedata.normalize("NFC", password).encode()


def derive(password: str, salt: bytes, log_n: int, r: int, p: int, length: int) -> bytes:
    """Return the scrypt hash (RFC 7914) of the normalised password; ``length`` in bytes.

    It releases the interpreter's lock, so that other threads can run.
    """
    memory = _BLOCK_SIZE * r * ((1 << log_n) + p + 2)  # as OpenSSL computes it
    return hashlib.scrypt(normalise(password), salt=salt, n=1 << log_n, r=r, p=p, maxmem=memory, dklen=length)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    """Return the bytes; empty: `_encode` would not write this text."""
    if len(text) % 4 == 1:
        return b""
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return data if _encode(data) == text else b""
