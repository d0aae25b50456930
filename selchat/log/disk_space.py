"""Free space on the disk of a history: warns before the disk is full."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from selchat.limits import MIB

# A warning comes below the smaller one of a part of the disk and a number of bytes, and another one below the
# second pair. On a large disk, a part of it would be far too early.
_LEVELS = ((0.05, 1024 * MIB), (0.01, 128 * MIB))
_RECOVERED = 1.2  # times the first limit; otherwise a disk at the limit would cause a series of warnings


class DiskSpace:
    """Watches the disk of ``path``. ``stat(path)`` is `os.statvfs`."""

    def __init__(
        self,
        path: Path,
        warn: Callable[[str], object],
        stat: Callable[[Path], os.statvfs_result] = os.statvfs,
    ) -> None:
        self._path = path
        self._warn = warn
        self._stat = stat
        self._level = 0  # the number of warnings since there was enough space

    def check(self) -> None:
        """Warn the operator if little space is left, or if there is enough again. Call it now and then."""
        try:
            found = self._stat(self._path.parent)
        except OSError:
            return  # the log reports what does not work
        free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
        limits = [min(part * total, size) for part, size in _LEVELS]
        level = sum(free < limit for limit in limits)
        if level > self._level:
            self._level = level
            self._warn(
                f"only {_amount(free)} are free on the disk of the history {self._path}; once it is full, "
                "the server accepts no messages: free some space, or lower --retention"
            )
        elif self._level and free >= _RECOVERED * limits[0]:
            self._level = 0
            self._warn(f"the disk of the history has enough space again ({_amount(free)})")


def _amount(size: int) -> str:
    return f"{size / MIB:,.0f} MiB" if size >= 10 * MIB else f"{size / 1024:,.0f} KiB"
