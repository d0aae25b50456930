"""The client's secret, which makes the user's names theirs.

A file that only the user can read holds 22 characters that nobody can guess (128 bits). Servers recognise the
user by it, under any name.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from selchat.errors import UsageError, close_reason
from selchat.limits import MAX_CLIENT_SECRET_SIZE
from selchat.paths import data_folder, make_private_file, make_private_folder, remove_leftovers

_FILE = "client-secret"
_BYTES = 16  # of randomness: 22 characters in base64
_VALID = re.compile(r"[\x21-\x7e]{16,128}")  # the limits of docs/protocol.rst, and only characters to type


class SecretError(UsageError):
    """``path`` of the file, and why selchat cannot use it."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(path, why)
        self.path = path
        self.why = why

    def __str__(self) -> str:
        return f"cannot use the secret that makes your name yours, {self.path}: {self.why}"


def client_secret(folder: Path | None = None) -> str:
    """Return the secret in that folder; create both if need be. Raises `SecretError`.

    Two programs that do this at the same time get the same secret.
    """
    folder = data_folder() if folder is None else folder
    path = folder / _FILE
    try:
        remove_leftovers(path)
        if not path.exists():
            make_private_folder(folder)
            make_private_file(path, f"{secrets.token_urlsafe(_BYTES)}\n".encode())
        return _read(path)
    except OSError as error:
        raise SecretError(path, close_reason(error)) from error


def _read(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(MAX_CLIENT_SECRET_SIZE)
    secret = data.decode("ascii", "replace").strip()
    if _VALID.fullmatch(secret) is None:
        raise SecretError(
            path, "it does not hold 16 to 128 characters; restore it, or delete it to get a new one"
        )
    return secret
