"""The secret by which servers know this user again, whatever the name: made once, and kept in one file.

It is 22 characters that nobody can guess (128 bits), in a file that only its owner can read.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from selchat.errors import UsageError, close_reason
from selchat.paths import data_folder, make_private_file, make_private_folder

_FILE = "client-secret"
_BYTES = 16  # of randomness; in base64 they are 22 characters
_GOOD = re.compile(r"[\x21-\x7e]{16,128}")  # what docs/protocol.rst allows, as far as it can be typed
_MAX = 1024  # bytes of the file that are worth a look


class SecretError(UsageError):
    """``path`` of the file, and why it does not do."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(path, why)
        self.path = path
        self.why = why

    def __str__(self) -> str:
        return f"{self.path}, which makes your name yours: {self.why}"


def client_secret(folder: Path | None = None) -> str:
    """Return the secret in that folder, making both if need be. Raises `SecretError`.

    Two programs that do this at the same time get the same secret.
    """
    folder = data_folder() if folder is None else folder
    path = folder / _FILE
    try:
        if not path.exists():
            make_private_folder(folder)
            make_private_file(path, f"{secrets.token_urlsafe(_BYTES)}\n".encode())
        return _read(path)
    except OSError as error:
        raise SecretError(path, close_reason(error)) from error


def _read(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(_MAX)
    secret = data.decode("ascii", "replace").strip()
    if _GOOD.fullmatch(secret) is None:
        raise SecretError(
            path, "it does not hold 16 to 128 characters; restore it, or delete it to get a new one"
        )
    return secret
