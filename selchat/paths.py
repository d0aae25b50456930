"""Paths of the program's files by the XDG Base Directory Specification, and private files.

A function that returns a path creates nothing. macOS and Windows use the same folders below the home folder:
one rule that fits into a sentence of the documentation is worth more than three native ones.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from selchat.errors import SettingError

try:
    import pwd
except ImportError:  # not on Windows
    pwd = None  # type: ignore[assignment]

try:
    import fcntl  # POSIX only; elsewhere a killed program leaves its temporary file
except ImportError:
    _HAS_LOCKS = False
else:
    _HAS_LOCKS = True

_PRIVATE = 0o700
_PORT = 33000  # the default port


class NoHomeError(SettingError):
    """There is no folder for the program's files."""

    def __init__(self, given: str) -> None:
        super().__init__("XDG_DATA_HOME", given, "an absolute path")

    def __str__(self) -> str:
        return "there is no home folder to store files in; set XDG_DATA_HOME to the absolute path of a folder"


def data_folder() -> Path:
    """Return ``$XDG_DATA_HOME/selchat``, or ``~/.local/share/selchat``.

    Ignore a relative ``XDG_DATA_HOME``, as the specification requires, and a relative or empty ``HOME``.
    Raises `NoHomeError` if there is no home folder either, as for some services.
    """
    given = os.environ.get("XDG_DATA_HOME", "")
    if Path(given).is_absolute():
        return Path(given) / "selchat"
    try:
        home = Path.home() if pwd is None or Path(os.environ.get("HOME", "")).is_absolute() else _login_home()
    except (KeyError, RuntimeError):
        raise NoHomeError(given) from None
    return home / ".local" / "share" / "selchat"


def _login_home() -> Path:
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    if not home.is_absolute():
        raise RuntimeError("no home folder")
    return home


def history_path(port: int = _PORT) -> Path:
    """Return the default path of the history of the server on that port."""
    return data_folder() / ("history.sqlite" if port == _PORT else f"history-{port}.sqlite")


def make_private_file(path: Path, data: bytes) -> None:
    """Create a file with ``data`` that only this user can read; keep a file that exists.

    Two programs that do this at the same time find the same file afterwards. Raises OSError.
    """
    with _temporary_file(path, data) as temporary, contextlib.suppress(FileExistsError):
        os.link(temporary, path)


def replace_private_file(path: Path, data: bytes) -> None:
    """Create or replace a file atomically; only this user can read it. Raises OSError."""
    with _temporary_file(path, data) as temporary:
        temporary.replace(path)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files that killed programs have left beside a private file.

    A program that is still writing holds a lock on its file. The functions above do this first; call it for a
    file that exists already.
    """
    if not _HAS_LOCKS:
        return
    for name in _names(path.parent):
        if re.fullmatch(re.escape(path.name) + r"\.[0-9a-f]{16}", name) is None:
            continue
        with contextlib.suppress(OSError):  # locked, or another user's
            descriptor = os.open(path.parent / name, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                (path.parent / name).unlink()
            finally:
                os.close(descriptor)


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - a folder of thousands of files needs no paths
    except OSError:
        return []


@contextlib.contextmanager
def _temporary_file(path: Path, data: bytes) -> Iterator[Path]:
    """Write and sync a temporary file in the folder of ``path``; remove it at the end."""
    remove_leftovers(path)
    file, temporary = _open_temporary(path)
    try:
        with file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _open_temporary(path: Path) -> tuple[BinaryIO, Path]:
    """Create a temporary file, with a lock while it is open."""
    while True:
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        file = os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        if _HAS_LOCKS:
            with contextlib.suppress(OSError):  # a file system without locks; nobody else gets one either
                fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file, temporary
        file.close()  # `remove_leftovers` of another program was faster than the lock


def make_private_folder(folder: Path) -> None:
    """Create ``folder`` and its missing parents, which only this user can access. Raises OSError.

    Leave existing folders as they are. Sync each new folder's parent: otherwise a power loss could take the
    folder, and with it even files that were synced.
    """
    if folder.is_dir():
        return
    make_private_folder(folder.parent)
    try:
        folder.mkdir(_PRIVATE, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder) from None
    descriptor = os.open(folder.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
