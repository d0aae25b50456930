"""Progress on a terminal, with and without the ``rich`` library."""

from __future__ import annotations

import sys

import pytest

from selchat.bench.report.progress import Progress


class Terminal:
    """A standard error that claims to be a terminal."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("installed", [True, False], ids=["with rich", "without rich"])
def test_progress_shows_the_current_step(installed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not installed:
        monkeypatch.setitem(sys.modules, "rich.progress", None)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with Progress() as progress:
        progress.show_status("fanout: [round] 1")
        progress.show_progress({"done": 1000, "of": 2000})
        progress.show_status("fanout: [round] 2")
        progress.show_progress({"deliveries": 5})
    assert "fanout: [round] 1" in terminal.text
    assert ("pip install 'selchat[bench]'" in terminal.text) is not installed
