"""Progress display: a spinner by ``rich`` if that is installed, and plain lines otherwise.

It shows nothing if standard error is not a terminal, so that logs contain only the report.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

_LINE_SECONDS = 2.0  # between two plain lines


class Progress:
    """A context manager that shows the current step of the run."""

    def __init__(self) -> None:
        self._status = ""
        self._bar: Any = None
        self._task: Any = None
        self._next_line = 0.0
        self._visible = sys.stderr.isatty()

    def __enter__(self) -> Progress:
        if self._visible:
            try:
                from rich.console import Console
                from rich.progress import Progress as Bar
                from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn
            except ImportError:
                print(
                    "Plain progress, because rich is not installed. Run: "
                    "python3 -m pip install 'selchat[bench]'",
                    file=sys.stderr,
                )
            else:
                self._bar = Bar(
                    SpinnerColumn(),
                    TextColumn("{task.description}", markup=False),
                    TimeElapsedColumn(),
                    console=Console(stderr=True),
                    transient=True,
                    auto_refresh=False,  # its thread would share our core with the load generators
                )
                self._bar.start()
                self._task = self._bar.add_task("")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show_status(self, status: str) -> None:
        """Show the current step."""
        self._status = status
        self._next_line = 0.0
        self.show_progress({})

    def show_progress(self, progress: dict[str, Any]) -> None:
        """Show how far the step is: ``done`` of ``of`` clients, or ``deliveries``."""
        if not self._visible:
            return
        line = self._status
        if "of" in progress:
            line += f", {progress['done']:,} of {progress['of']:,} clients signed in"
        elif "deliveries" in progress:
            line += f", {progress['deliveries']:,} deliveries"
        if self._bar is not None:
            self._bar.update(self._task, description=line)
            self._bar.refresh()
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _LINE_SECONDS
            print(line, file=sys.stderr)
