from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from selchat.log.disk_space import DiskSpace

GIB = 1 << 30
PATH = Path("/data/history.sqlite")


class Disk:
    def __init__(self, total: int) -> None:
        self.total = total
        self.warnings: list[str] = []
        self.error: OSError | None = None
        self.free = total
        self._space = DiskSpace(PATH, self.warnings.append, self.stat)

    def stat(self, path: Path) -> Any:
        assert path == PATH.parent
        if self.error is not None:
            raise self.error
        return SimpleNamespace(f_bavail=self.free // 512, f_blocks=self.total // 512, f_frsize=512)

    def set_free(self, free: float) -> list[str]:
        """Return the warnings of two checks with this much free space."""
        self.free = int(free)
        self.warnings.clear()
        self._space.check()
        self._space.check()
        return list(self.warnings)


@pytest.mark.parametrize(
    ("total", "first", "second"), [(4 * GIB, 0.05 * 4 * GIB, 0.01 * 4 * GIB), (4096 * GIB, GIB, GIB // 8)]
)
def test_operator_is_warned_twice_before_the_disk_is_full_and_told_of_the_end(
    total: int, first: float, second: float
) -> None:
    disk = Disk(total)
    assert disk.set_free(first + 512) == []
    [warning] = disk.set_free(first - 512)
    assert warning.startswith("only ")
    assert "MiB are free on the disk of the history /data/history.sqlite; once it is full" in warning
    assert disk.set_free(second + 512) == []
    assert len(disk.set_free(second - 512)) == 1
    assert disk.set_free(0) == []
    assert disk.set_free(first + 512) == [], "around the limit, nothing is repeated"
    assert disk.set_free(first - 512) == []
    [end] = disk.set_free(1.5 * first)
    assert end.startswith("the disk of the history has enough space again (")
    assert len(disk.set_free(0)) == 1


def test_disk_that_cannot_be_asked_causes_no_warning() -> None:
    disk = Disk(GIB)
    disk.error = OSError(5, "Input/output error")
    assert disk.set_free(0) == []


def test_small_amounts_are_shown_in_kibibytes() -> None:
    assert Disk(2 << 20).set_free(20_000)[0].startswith("only 20 KiB are free")
