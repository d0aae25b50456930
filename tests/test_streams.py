"""Standard streams: closed descriptors; tests/e2e/test_command_line.py has the streams of real commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("closed", [[], [0], [1], [2], [0, 1], [0, 1, 2]])
def test_closed_standard_descriptors_become_the_null_device(closed: list[int], tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        f"for descriptor in {closed}: os.close(descriptor)\n"
        "from selchat.streams import ensure_standard_descriptors\n"
        "ensure_standard_descriptors()\n"
        "null = os.stat(os.devnull).st_rdev\n"
        f"open({str(tmp_path / 'out')!r}, 'w').write(repr([os.fstat(d).st_rdev == null for d in range(3)]))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (tmp_path / "out").read_text() == repr([number in closed for number in range(3)]), result.stderr
