from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest

from selchat.log.errors import HistoryInUseError
from selchat.log.lock import ServerLock
from tests.log.support import script

HOLDER = """
import sys
from pathlib import Path
from selchat.log.lock import ServerLock
lock = ServerLock(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


def test_lock_names_its_process_and_ends_with_it(tmp_path: Path) -> None:
    path = tmp_path / "history"
    with script(HOLDER, path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(HistoryInUseError) as caught:
            ServerLock(path)
        assert (caught.value.path, caught.value.user) == (path, str(process.pid))
        process.send_signal(signal.SIGKILL)
        process.wait()
    lock = ServerLock(path)
    assert (tmp_path / "history.lock").read_text() == f"{os.getpid()}\n"
    lock.close()
    lock.close()


def test_shorter_process_id_replaces_a_longer_one(tmp_path: Path) -> None:
    (tmp_path / "history.lock").write_text("123456789012345678901234567890\n")
    lock = ServerLock(tmp_path / "history")
    assert (tmp_path / "history.lock").read_text() == f"{os.getpid()}\n"
    lock.close()


def test_lock_without_a_process_id_has_an_unknown_user(tmp_path: Path) -> None:
    path = tmp_path / "history"
    lock = ServerLock(path)
    (tmp_path / "history.lock").write_bytes(b"")
    with pytest.raises(HistoryInUseError, match="unknown"):
        ServerLock(path)
    lock.close()


def test_file_system_without_locks_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(OSError, match="No locks available"):
        ServerLock(tmp_path / "history")


def test_lock_file_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "history.lock").mkdir()
    with pytest.raises(IsADirectoryError):
        ServerLock(tmp_path / "history")
    with pytest.raises(FileNotFoundError):
        ServerLock(tmp_path / "missing" / "history")
