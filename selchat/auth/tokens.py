"""API tokens for scripts that send messages over HTTP, and their file.

People may edit the file. Each line is a token; deleting the line revokes the token::

    sha256:9f86d081884c7d65...  2026-11-25  *        ci
    sha256:2c26b46b68ffc68f...  2026-11-25  #builds  Build bot

The fields are the token's hash, the day of its creation, its room (``*``: any), and its name, which may
contain spaces. A line that starts with ``#`` is a comment.

The server checks the file at every request, so a new token works at once and a revoked one stops at once.
This module knows nothing about HTTP or messages.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from selchat.errors import UsageError, close_reason
from selchat.limits import MAX_TOKENS, MAX_TOKENS_SIZE
from selchat.paths import data_folder, make_private_folder, replace_private_file
from selchat.text import clean_name, name_key

try:
    import fcntl  # POSIX only; elsewhere two simultaneous changes of the file may lose one of them
except ImportError:
    _HAS_LOCKS = False
else:
    _HAS_LOCKS = True

ANY_ROOM = "*"
PREFIX = "selchat_"  # lets secret scanners find tokens in published files

_BYTES = 32  # of randomness
_FILE = "tokens"
_TOKEN = re.compile(rf"{PREFIX}[0-9a-f]{{{2 * _BYTES}}}")
_LINE = re.compile(r"sha256:([0-9a-f]{64})\s+([0-9]{4}-[0-9]{2}-[0-9]{2})\s+(\*|#[^\s#@/]\S*)\s+(\S.*)")
_HEADER = """\
# selchat tokens: hash, day of creation, room (*: any), name. selchat token adds a line.
# Delete a line to revoke its token.
"""


class TokenFileError(UsageError):
    """The file at ``path`` is unusable. ``line`` is 0 if no line is to blame; ``why``, in words."""

    def __init__(self, path: Path, line: int, why: str) -> None:
        super().__init__(path, line, why)
        self.path = path
        self.line = line
        self.why = why

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.why}" if self.line else f"{self.path}: {self.why}"


class Token(NamedTuple):
    """The stored form of a token. ``room`` has no ``#``; `ANY_ROOM`: the token is for all rooms."""

    digest: bytes
    made: datetime.date
    room: str
    name: str

    def __str__(self) -> str:
        room = self.room if self.room == ANY_ROOM else f"#{self.room}"
        return f"sha256:{self.digest.hex()}  {self.made}  {room}  {self.name}"

    def allows(self, room: str) -> bool:
        """Return whether the token is for a room, in any spelling of its name."""
        return self.room == ANY_ROOM or name_key(self.room) == name_key(room.removeprefix("#"))


def new_token(name: str, room: str = ANY_ROOM) -> tuple[str, Token]:
    """Return a new token and its stored form. Only the caller has the token itself."""
    secret = f"{PREFIX}{secrets.token_hex(_BYTES)}"
    return secret, Token(digest(secret), datetime.datetime.now().astimezone().date(), room, name)


def digest(secret: str) -> bytes:
    """Return the SHA-256 hash that is stored instead of the token.

    A fast hash is enough: a thief of the file would have to try 2 to the 256 random tokens. A slow hash is
    for passwords that people choose.
    """
    return hashlib.sha256(secret.encode()).digest()


class TokenFile:
    """The tokens in a file that may change at any time. A missing file has no tokens.

    ``path`` defaults to the file in the data folder. Without a home folder, as some services have it, there
    is no data folder, and all methods raise `SettingError`.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._version: tuple[int, int, int] | None = None  # the file's inode, time and size when it was read
        self._tokens: Sequence[Token] = ()

    @property
    def path(self) -> Path:
        """The path of the file, which may not exist."""
        if self._path is None:
            self._path = data_folder() / _FILE
        return self._path

    def find(self, secret: str) -> Token | None:
        """Return the stored form of a token; None: unknown. Raises `TokenFileError`.

        Checking whether the file has changed takes two microseconds.
        """
        if not _TOKEN.fullmatch(secret):
            return None
        hashed = digest(secret)
        found = None
        for token in self.tokens():  # compare with all, so that the time reveals nothing
            if hmac.compare_digest(token.digest, hashed):
                found = token
        return found

    def tokens(self) -> Sequence[Token]:
        """Return the tokens that the file has now. Raises `TokenFileError`: no token is valid then."""
        try:
            status = self.path.stat()
            version = (status.st_ino, status.st_mtime_ns, status.st_size)
            if version != self._version:
                self._version = None
                with self.path.open("rb") as file:
                    data = file.read(MAX_TOKENS_SIZE + 1)
                self._tokens = parse_tokens(data, self.path)
                self._version = version
        except FileNotFoundError:
            self._version, self._tokens = None, ()
        except OSError as error:
            raise TokenFileError(self.path, 0, close_reason(error)) from error
        return self._tokens

    def add(self, token: Token) -> None:
        """Append a token to the file. Raises `TokenFileError`."""
        with self._locked():
            tokens = self.tokens()
            if len(tokens) >= MAX_TOKENS:
                raise TokenFileError(self.path, 0, f"the limit of {MAX_TOKENS} tokens is reached")
            self._store([*self._lines(), f"{token}\n"])

    def revoke(self, name: str) -> list[Token]:
        """Remove all tokens with that name from the file, and return them. Raises `TokenFileError`."""
        with self._locked():
            key = name_key(clean_name(name))
            revoked = [token for token in self.tokens() if name_key(token.name) == key]
            if revoked:
                self._remove(revoked)
            return revoked

    def remove(self, token: Token) -> None:
        """Remove this token alone from the file. Raises `TokenFileError`."""
        with self._locked():
            self._remove([token])

    # ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the file's folder, so that no other process changes the file."""
        folder = self.path.parent
        try:
            make_private_folder(folder)
            if not _HAS_LOCKS:
                yield
                return
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)
        except OSError as error:
            raise TokenFileError(self.path, 0, close_reason(error)) from error

    def _lines(self) -> list[str]:
        """Return the lines of the file, with comments; of a new file, its header."""
        try:
            text = self.path.read_text("utf-8")
        except FileNotFoundError:
            text = _HEADER
        return (text if text.endswith("\n") else f"{text}\n").splitlines(keepends=True)

    def _remove(self, tokens: Sequence[Token]) -> None:
        digests = {token.digest.hex() for token in tokens}
        self._store([line for line in self._lines() if line.strip()[7:71] not in digests])

    def _store(self, lines: Sequence[str]) -> None:
        replace_private_file(self.path, "".join(lines).encode())
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            # root has run the command; the server, which owns the folder, must be able to read the file.
            owner = self.path.parent.stat()
            os.chown(self.path, owner.st_uid, owner.st_gid)


def parse_tokens(data: bytes, path: Path) -> list[Token]:
    """Return the tokens in the bytes of a file; errors name ``path``. Raises `TokenFileError`."""
    if len(data) > MAX_TOKENS_SIZE:
        raise TokenFileError(path, 0, f"more than {MAX_TOKENS_SIZE} bytes")
    tokens: list[Token] = []
    for number, raw in enumerate(data.split(b"\n"), 1):
        try:
            line = raw.decode().strip()
            if not line or line.startswith("#"):
                continue
            match = _LINE.fullmatch(line)
            if match is None:
                raise ValueError("not a token; expected sha256:HASH, a day, a room and a name")
            made = datetime.date.fromisoformat(match[2])
            name = clean_name(match[4], len(line))
            if not name:
                raise ValueError("no name")
        except UnicodeDecodeError:
            raise TokenFileError(path, number, "not UTF-8") from None
        except ValueError as error:
            raise TokenFileError(path, number, str(error)) from error
        room = match[3]
        tokens.append(Token(bytes.fromhex(match[1]), made, room if room == ANY_ROOM else room[1:], name))
    if len(tokens) > MAX_TOKENS:
        raise TokenFileError(path, 0, f"more than {MAX_TOKENS} tokens")
    return tokens
