"""Locks that keep a second server from using the same history.

They do not affect readers, which SQLite coordinates itself. SQLite's ``locking_mode=EXCLUSIVE`` would keep
out export and backup as well. The system releases a ``flock`` when the process ends, however it ends, so that
there is never a stale lock to remove by hand.
"""

from __future__ import annotations

import fcntl
import os
import stat
import sys
from pathlib import Path

from selchat.log.errors import HistoryInUseError, UnusableHistoryError

_PRIVATE = 0o600
# On Linux, flock and the locks of SQLite (fcntl) do not affect each other, even on the same file. On other
# systems, a flock on the file would keep out SQLite itself.
_CAN_LOCK_FILE = sys.platform == "linux"


class ServerLock:
    """Holds locks on ``<path>.lock`` and on the file itself, which it creates, until `close`.

    The first one names its owner, and holds even if someone replaces the file. The second one holds under
    every name of the file: hard links, symbolic links and mounts.

    Raises `HistoryInUseError`, `UnusableHistoryError` or OSError.
    """

    def __init__(self, path: Path) -> None:
        path = path.resolve()
        if path.is_dir():  # otherwise a lock would be left beside the folder
            raise UnusableHistoryError(path, "it is a directory")
        self._descriptors: list[int] = []
        try:
            name = self._open(path.with_name(path.name + ".lock"))
            if not _lock(name):
                raise HistoryInUseError(path, os.pread(name, 20, 0).decode("ascii", "replace").strip())
            # Without O_NONBLOCK, a pipe would wait for its other end.
            file = self._open(path, os.O_NONBLOCK)
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode):
                raise UnusableHistoryError(path, "it is not a file")
            if _CAN_LOCK_FILE and not _lock(file):
                raise HistoryInUseError(path, "")
            self.file = found.st_dev, found.st_ino
            """The device and the inode of the file."""
            os.ftruncate(name, 0)
            os.pwrite(name, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the locks. ``<path>.lock`` stays; else two servers could lock two files of that name."""
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _open(self, path: Path, flags: int = 0) -> int:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | flags, _PRIVATE)
        self._descriptors.append(descriptor)
        return descriptor


def is_used_under_another_name(path: Path) -> bool:
    """Return whether a server uses this file under another name, such as a hard link.

    Then its newest messages are in a write-ahead log beside that name, where SQLite does not find them.
    """
    path = path.resolve()
    if not _CAN_LOCK_FILE or path.with_name(path.name + "-wal").exists():
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False  # whoever opens the file next reports it
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    finally:
        os.close(descriptor)
    return False


def _lock(descriptor: int) -> bool:
    """Lock the open file; return False if another descriptor has locked it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
