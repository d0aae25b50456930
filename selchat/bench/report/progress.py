"""What is being done, on a terminal: a bar by rich where that is installed, plain lines where not.

Anywhere but on a terminal it says nothing, so that logs hold the report alone.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

_LINE_SECONDS = 2.0


class Progress:
    """A context. ``say`` takes what is being done, ``show`` what a worker tells."""

    def __init__(self) -> None:
        self._words = ""
        self._bar: Any = None
        self._task: Any = None
        self._next_line = 0.0
        self._shown = sys.stderr.isatty()

    def __enter__(self) -> Progress:
        if self._shown:
            try:
                from rich.console import Console
                from rich.progress import Progress as Bar
                from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn
            except ImportError:
                print(
                    "plain progress, because rich is not installed: python3 -m pip install 'selchat[bench]'",
                    file=sys.stderr,
                )
            else:
                self._bar = Bar(
                    SpinnerColumn(),
                    TextColumn("{task.description}", markup=False),
                    TimeElapsedColumn(),
                    console=Console(stderr=True),
                    transient=True,
                    auto_refresh=False,  # its thread would share our core with the generators
                )
                self._bar.start()
                self._task = self._bar.add_task("")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, words: str) -> None:
        """Note what is being done now."""
        self._words = words
        self._next_line = 0.0
        self.show({})

    def show(self, told: dict[str, Any]) -> None:
        """Show how far that is: ``done`` of ``of``, or ``deliveries``."""
        if not self._shown:
            return
        words = self._words
        if "of" in told:
            words += f", {told['done']:,} of {told['of']:,} are in"
        elif "deliveries" in told:
            words += f", {told['deliveries']:,} deliveries"
        if self._bar is not None:
            self._bar.update(self._task, description=words)
            self._bar.refresh()
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _LINE_SECONDS
            print(words, file=sys.stderr)
