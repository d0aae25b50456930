"""A server that cannot start prints one line and closes its open files."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from selchat.log.errors import HistoryError
from tests.faults.world import Faults, database_error, world

_MAX = 24  # descriptors, more than a server opens to start

# Starts a server once for each limit of open descriptors. Each server is a child of this program, which has
# imported everything before, and stops as soon as it listens.
_STARTS = """
import os, resource, signal, sys, time
import encodings.idna
import selchat.cli, selchat.log.check, selchat.log.sqlite, selchat.server.console, selchat.server.server
from selchat.net.reactor import Reactor

os.dup2(os.open(os.devnull, os.O_RDWR), 0)
Reactor(print).close()  # runs its lazy imports
free = os.dup(0)
os.close(free)
run = selchat.server.server.Server.run
selchat.server.server.Server.run = lambda self: (self.reactor.call_later(0, self.stop), run(self))[1]
for more in range(int(sys.argv[1])):
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        os.dup2(1, 2)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + more, free + more))
        status = selchat.cli.main(["serve", "--host=127.0.0.1", "--port=0", f"--history={sys.argv[2]}"])
        sys.stdout.flush()
        os._exit(status)
    print(f"{more} more: status {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}", flush=True)
"""


@pytest.mark.parametrize("kind", ["commit", "read"])
@pytest.mark.parametrize("ever", [False, True], ids=["once", "always"])
def test_database_failure_at_any_step_of_the_start_leaks_nothing(
    kind: str, ever: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    at = 0
    while True:
        at += 1
        faults = Faults(kind, at, ever=ever, fail=database_error(sqlite3.SQLITE_IOERR))
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        folder = tmp_path / f"{at}"
        folder.mkdir()
        try:
            with world(
                monkeypatch, folder, faults, at_start=True, history=str(folder / "history.sqlite")
            ) as this:
                assert this.failures == []
        except HistoryError:
            assert faults.failed
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
        if not faults.failed:
            break
    assert at > 1


def test_start_with_too_few_descriptors_fails_with_a_message(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _STARTS, f"{_MAX}", str(tmp_path / "history.sqlite")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert done.stderr == ""
    runs = re.findall(r"(?s)(.*?)(\d+) more: status (\S+)\n", done.stdout)
    assert [int(more) for _, more, _ in runs] == list(range(_MAX))
    for shown, more, status in runs:
        assert status in {"0", "1"}, (more, shown)
        if status == "1":
            assert re.fullmatch("selchat: .*\n", shown), (more, shown)
    assert runs[0][2] == "1"
    assert runs[-1][2] == "0"
