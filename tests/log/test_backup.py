"""The backup commands of docs/history.rst work while a server writes to the file."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.log.support import FOREVER, check_integrity, everything, opened, script

PAGE = Path(__file__).parents[2] / "docs" / "history.rst"
COMMANDS = re.findall(r"^    ((?:python3|sqlite3) .*)$", PAGE.read_text(), re.MULTILINE)

WRITER = """
import sys
from selchat.log.sqlite import Retention, SqliteLog
log = SqliteLog(sys.argv[1], Retention())
while True:
    said = log.append("lobby", "me", ["x" * 500] * 10, 0)
    log.commit()
    print(said[-1].seq, flush=True)
"""


def words(command: str, path: Path) -> list[str]:
    """Split a command of the page, with file names in the folder ``path``."""
    found = [re.sub(r"\b(\w+\.sqlite)", rf"{path}/\1", word) for word in shlex.split(command)]
    return [sys.executable if word == "python3" else word for word in found]


def test_page_has_the_expected_commands() -> None:
    backups = [command for command in COMMANDS if "backup" in command]
    assert [command.split()[0] for command in backups] == ["sqlite3", "python3"]
    assert len(COMMANDS) == 3


@pytest.mark.parametrize("command", [command for command in COMMANDS if "backup" in command])
def test_backup_during_writes_is_complete(command: str, tmp_path: Path) -> None:
    if shutil.which(words(command, tmp_path)[0]) is None:
        pytest.skip("there is no sqlite3 tool")
    copy = tmp_path / "copy.sqlite"
    with script(WRITER, tmp_path / "history.sqlite") as writer:
        assert writer.stdout is not None
        newest = [int(writer.stdout.readline()) for _ in range(100)][-1]
        done = subprocess.run(words(command, tmp_path), capture_output=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, b"")
        assert writer.poll() is None
        writer.stdout.readline()  # the writer still runs
    check_integrity(copy)
    with opened(copy) as log:
        seqs = [said.seq for said in everything(log, "lobby")]
        assert seqs == list(range(1, log.last_seq("lobby") + 1))
        assert log.last_seq("lobby") >= newest


def test_restored_history_gets_a_new_id(tmp_path: Path) -> None:
    [command] = [command for command in COMMANDS if "UPDATE log" in command]
    with opened(tmp_path / "history.sqlite") as log:
        log.append("lobby", "me", ["x"], 0)
        log.commit()
        id = log.id
    subprocess.run(words(command, tmp_path), check=True, timeout=60)
    with opened(tmp_path / "history.sqlite", FOREVER) as log:
        assert re.fullmatch("[0-9a-f]{16}", log.id)
        assert log.id != id
        assert log.last_seq("lobby") == 1
