"""One server for one history. Readers are not concerned by it: that is SQLite's own business.

SQLite's ``locking_mode=EXCLUSIVE`` would keep export and backup out as well. ``flock`` ends with the process,
however it ends, so that nothing stale is ever left to be removed by hand.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from selchat.log.errors import HistoryInUseError

_PRIVATE = 0o600


class ServerLock:
    """A lock on ``<path>.lock``, held until `close`. Raises `HistoryInUseError` or OSError."""

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
        """Let others have it. The file stays: were it removed, two servers could lock two of one name."""
        self._file.close()
