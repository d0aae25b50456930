"""Lock that keeps a second server from using the same history.

It does not affect readers, which SQLite coordinates itself. SQLite's ``locking_mode=EXCLUSIVE`` would keep
out export and backup as well. The system releases a ``flock`` when the process ends, however it ends, so that
there is never a stale lock to remove by hand.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from selchat.log.errors import HistoryInUseError

_PRIVATE = 0o600


class ServerLock:
    """Holds a lock on ``<path>.lock`` until `close`. Raises `HistoryInUseError` or OSError."""

    def __init__(self, path: Path) -> None:
        name = path.with_name(path.name + ".lock")
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            user = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise HistoryInUseError(path, user) from None
        except BaseException:
            os.close(descriptor)
            raise
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n".encode())

    def close(self) -> None:
        """Release the lock. The file stays; otherwise two servers could lock two files of the same name."""
        self._file.close()
