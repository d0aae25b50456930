"""Control channel of a worker: JSON commands on its input, answers and progress on its output."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from typing import Any

_PROGRESS_SECONDS = 0.25


class ControlChannel:
    """Reads commands from one descriptor, and writes answers to the other."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self.read_fd = read_fd
        self.commands: deque[dict[str, Any]] = deque()
        self.ended = False  # the parent is gone
        self.stopping = False  # the parent wants the current command to end
        self._write_fd = write_fd
        self._partial = b""
        self._next_progress = 0.0

    def read(self) -> None:
        """Read the commands that have arrived."""
        data = os.read(self.read_fd, 65536)
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            command = json.loads(line)
            if command["command"] == "stop":
                self.stopping = True
            else:
                self.commands.append(command)
        if not data:
            self.ended = True

    def write(self, message: dict[str, Any]) -> None:
        """Write one line of JSON."""
        data = json.dumps(message).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self._write_fd, data) :]
        except OSError:
            self.ended = True

    def report_progress(self, progress: dict[str, Any]) -> None:
        """Write a progress line, unless the last one is very recent."""
        now = time.monotonic()
        if now >= self._next_progress:
            self._next_progress = now + _PROGRESS_SECONDS
            self.write({"progress": progress})
