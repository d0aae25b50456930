"""Where the program keeps its files, as the XDG Base Directory Specification says it.

Asking for a place makes nothing there. macOS and Windows get the same folders below the home folder: one
answer that fits in a sentence of the documentation is worth more than three native ones.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from selchat.errors import SettingError

_PRIVATE = 0o700
_PORT = 33000  # the one that needs not be said


def data_folder() -> Path:
    """Return ``$XDG_DATA_HOME/selchat``, or ``~/.local/share/selchat``.

    A relative ``XDG_DATA_HOME`` is ignored, as the specification wants it. Raises `SettingError` if there is
    no home folder either, which is so for some services.
    """
    given = os.environ.get("XDG_DATA_HOME", "")
    if Path(given).is_absolute():
        return Path(given) / "selchat"
    try:
        home = Path.home()
    except RuntimeError:
        raise SettingError("XDG_DATA_HOME", given, "an absolute path, and there is no home folder") from None
    return home / ".local" / "share" / "selchat"


def history_path(port: int = _PORT) -> Path:
    """Return where the history of the server on that port is if nobody says otherwise."""
    return data_folder() / ("history.sqlite" if port == _PORT else f"history-{port}.sqlite")


def make_private_file(path: Path, data: bytes) -> None:
    """Have a file appear, for this user alone, with all of ``data`` in it; one that is there stays.

    Two programs that do this at the same time find the same file afterwards. Raises OSError.
    """
    draft = _draft(path, data)
    try:
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()


def replace_private_file(path: Path, data: bytes) -> None:
    """Have a file, for this user alone, that holds ``data``; it is never half written. Raises OSError."""
    _draft(path, data).replace(path)


def _draft(path: Path, data: bytes) -> Path:
    """Write a file beside that one, which is on the disk when this returns."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        draft.unlink()
        raise
    return draft


def make_private_folder(folder: Path) -> None:
    """Make ``folder`` and what is missing above it, for this user alone. Raises OSError.

    What exists is left as it is. A new folder is on the disk when this returns: files in it would not survive
    a power loss without it, however well they are written themselves.
    """
    if folder.is_dir():
        return
    make_private_folder(folder.parent)
    folder.mkdir(_PRIVATE, exist_ok=True)
    descriptor = os.open(folder.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
