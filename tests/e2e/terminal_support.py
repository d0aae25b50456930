"""A process on a pty, and its screen."""

from __future__ import annotations

import os
import re
import select
import subprocess
import time
from collections.abc import Callable

import pyte

from tests.e2e import processes
from tests.e2e.processes import SELCHAT, start_on_terminal
from tests.e2e.support import DEADLINE

CHAT = (*SELCHAT, "chat")
SEND = (*SELCHAT, "send")


class Terminal:
    """Run a command on a pty, with its output on a pyte screen. Every wait reads the output."""

    def __init__(
        self, *command: str, columns: int = 80, rows: int = 24, environment: dict[str, str] | None = None
    ) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.written = b""  # the complete output: pyte does not know dim
        own = {"TERM": "xterm", "LINES": str(rows), "COLUMNS": str(columns), "LC_ALL": "C.UTF-8"}
        variables = {**os.environ, **own, **(environment or {})}
        self.process, self.master = start_on_terminal(command, variables, rows, columns)

    @property
    def lines(self) -> list[str]:
        """The rows of the screen, without trailing spaces and empty rows at the end."""
        lines = [line.rstrip() for line in self.screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def until(self, condition: Callable[[], object], what: str) -> None:
        end = time.monotonic() + DEADLINE
        while not condition():
            left = end - time.monotonic()
            assert left > 0, f"{what} is not on the screen:\n{self.text}"
            self._read(min(left, 0.05))

    def shows(self, text: str) -> None:
        """Wait until the text is on the screen."""
        self.until(lambda: text in self.text, repr(text))

    def ends_with(self, *lines: str) -> None:
        """Wait until these are the last lines on the screen."""
        self.until(lambda: tuple(self.lines[-len(lines) :]) == lines, repr(lines))

    def is_dim(self, text: str) -> bool:
        """Whether the last output of this text was dim."""
        before, found, _ = self.written.rpartition(text.encode())
        return bool(found) and re.findall(rb"\x1b\[[0-9;]*m", before)[-1:] == [b"\x1b[0;2m"]

    @property
    def pid(self) -> int:
        number: int = self.process.pid
        return number

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self.process.poll() is not None

    def wait(self) -> int:
        """Wait for the end of the process and return its exit status."""
        self.until(lambda: self.ended, "the end")
        while self._read(0):
            pass
        status: int = self.process.wait()
        return status

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, seconds: float) -> bool:
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.master, 1 << 16)
        except OSError:  # the process has closed the pty
            return False
        self.written += data
        self._stream.feed(data)
        return bool(data)


def run(*command: str, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return processes.run(command, input=input, capture_output=True, timeout=DEADLINE * 2, check=False)
