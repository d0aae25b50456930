"""Tokens, by which scripts may say something over HTTP, and the file that they are kept in.

The file is for people too: a token is a line, and a line that is deleted is a token that is gone::

    sha256:9f86d081884c7d65...  2026-11-25  *        ci
    sha256:2c26b46b68ffc68f...  2026-11-25  #builds  Build bot

These are the hash of the token, the day on which it was made, the one room that it is for (``*``: any), and
the name under which it speaks, which may have spaces. What begins with ``#`` is a comment.

A server looks at the file whenever it is shown a token, so that one works as soon as it is made, and no
longer when it is revoked. This file must not know who asks, nor what a token is good for.
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
from selchat.paths import data_folder, make_private_folder, replace_private_file
from selchat.text import clean_name, name_key

try:
    import fcntl  # POSIX only; elsewhere two who change the file at the same time may lose one of the changes
except ImportError:
    _HAS_LOCKS = False
else:
    _HAS_LOCKS = True

ANY_ROOM = "*"
PREFIX = "selchat_"  # by which whoever looks for secrets in what was published finds one

_BYTES = 32  # of randomness
_FILE = "tokens"
_LARGEST = 256 * 1024  # bytes of the file that are read
_MAX = 1000  # tokens; each that is presented is compared with all of them, which takes 0.2 microseconds each
_TOKEN = re.compile(rf"{PREFIX}[0-9a-f]{{{2 * _BYTES}}}")
_LINE = re.compile(r"sha256:([0-9a-f]{64})\s+([0-9]{4}-[0-9]{2}-[0-9]{2})\s+(\*|#[^\s#@/]\S*)\s+(\S.*)")
_HEAD = """\
# Tokens of selchat: the hash of one, the day on which it was made, the room that it is for (*: any), the name
# under which it speaks. Made by selchat token; to delete a line is to revoke a token.
"""


class TokenFileError(UsageError):
    """``path`` of the file, the ``line`` in it or 0, and ``why`` it does not do."""

    def __init__(self, path: Path, line: int, why: str) -> None:
        super().__init__(path, line, why)
        self.path = path
        self.line = line
        self.why = why

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.why}" if self.line else f"{self.path}: {self.why}"


class Token(NamedTuple):
    """What is kept of a token. ``room``: the one that it is for, without the ``#``, or `ANY_ROOM`."""

    digest: bytes
    made: datetime.date
    room: str
    name: str

    def __str__(self) -> str:
        room = self.room if self.room == ANY_ROOM else f"#{self.room}"
        return f"sha256:{self.digest.hex()}  {self.made}  {room}  {self.name}"

    def allows(self, room: str) -> bool:
        """Whether it is for that room, however the room is written."""
        return self.room == ANY_ROOM or name_key(self.room) == name_key(room.removeprefix("#"))


def new_token(name: str, room: str = ANY_ROOM) -> tuple[str, Token]:
    """Return a token, which nothing keeps, and what is kept of it."""
    secret = f"{PREFIX}{secrets.token_hex(_BYTES)}"
    return secret, Token(digest(secret), datetime.datetime.now().astimezone().date(), room, name)


def digest(secret: str) -> bytes:
    """Return what is kept of a token instead of it.

    SHA-256 and nothing slower: who has the file would have to try 2 to the 256 tokens, at any speed. A slow
    hash is for what people choose.
    """
    return hashlib.sha256(secret.encode()).digest()


class TokenFile:
    """The tokens in a file, which may change at any time. One that is not there has none.

    ``path``: the one in the data folder if not given. Where there is no such folder, as for some services,
    all methods raise `SettingError`.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None  # what the file was when it was read
        self._tokens: Sequence[Token] = ()

    @property
    def path(self) -> Path:
        """Where it is, or would be."""
        if self._path is None:
            self._path = data_folder() / _FILE
        return self._path

    def find(self, secret: str) -> Token | None:
        """Return what there is of that token; None: there is no such token. Raises `TokenFileError`.

        To look whether the file has changed takes two microseconds.
        """
        if not _TOKEN.fullmatch(secret):
            return None
        wanted = digest(secret)
        found = None
        for token in self.tokens():  # all of them, so that the time tells nothing
            if hmac.compare_digest(token.digest, wanted):
                found = token
        return found

    def tokens(self) -> Sequence[Token]:
        """Return what is in the file now. Raises `TokenFileError`: then there is no token that is good."""
        try:
            status = self.path.stat()
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
            if seen != self._seen:
                self._seen = None
                with self.path.open("rb") as file:
                    data = file.read(_LARGEST + 1)
                self._tokens = parse_tokens(data, self.path)
                self._seen = seen
        except FileNotFoundError:
            self._seen, self._tokens = None, ()
        except OSError as error:
            raise TokenFileError(self.path, 0, close_reason(error)) from error
        return self._tokens

    def add(self, token: Token) -> None:
        """Put a token into the file. Raises `TokenFileError`."""
        with self._changing():
            tokens = self.tokens()
            if len(tokens) >= _MAX:
                raise TokenFileError(self.path, 0, f"{_MAX} tokens are the limit")
            self._store([*self._lines(), f"{token}\n"])

    def revoke(self, name: str) -> list[Token]:
        """Take all tokens of that name out of the file, and return them. Raises `TokenFileError`."""
        with self._changing():
            key = name_key(clean_name(name))
            gone = [token for token in self.tokens() if name_key(token.name) == key]
            if gone:
                digests = {token.digest.hex() for token in gone}
                self._store([line for line in self._lines() if line.strip()[7:71] not in digests])
            return gone

    # ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Let nobody else change the file meanwhile."""
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
        """Return the file as it is, with its comments."""
        try:
            text = self.path.read_text("utf-8")
        except FileNotFoundError:
            text = _HEAD
        return (text if text.endswith("\n") else f"{text}\n").splitlines(keepends=True)

    def _store(self, lines: Sequence[str]) -> None:
        replace_private_file(self.path, "".join(lines).encode())
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            # For the server, whose folder it is, to read what root has written.
            owner = self.path.parent.stat()
            os.chown(self.path, owner.st_uid, owner.st_gid)


def parse_tokens(data: bytes, path: Path) -> list[Token]:
    """Return what a file holds, which is called ``path`` in errors. Raises `TokenFileError`."""
    if len(data) > _LARGEST:
        raise TokenFileError(path, 0, f"more than {_LARGEST} bytes")
    tokens: list[Token] = []
    for number, raw in enumerate(data.split(b"\n"), 1):
        try:
            line = raw.decode().strip()
            if not line or line.startswith("#"):
                continue
            match = _LINE.fullmatch(line)
            if match is None:
                raise ValueError("not a token: sha256:HASH, a day, a room, a name")
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
    if len(tokens) > _MAX:
        raise TokenFileError(path, 0, f"more than {_MAX} tokens")
    return tokens
