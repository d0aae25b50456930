"""Child processes: the server under test, the floor, and the start and stop of any other."""

from __future__ import annotations

import ctypes
import os
import re
import select
import signal
import subprocess
import sys
import time
from fractions import Fraction
from typing import Any

from selchat.bench.errors import BenchError
from selchat.bench.system.proc import LINUX

_START_SECONDS = 20.0  # until a process of ours writes its first line
_STOP_SECONDS = 8.0  # until it ends without force; the server flushes for 5
_LISTENING = re.compile(rb"Listening for connections on (.*):(\d+)\.\.\.")
_PR_SET_PDEATHSIG = 1  # prctl(2): signal this process when its parent dies
_NO_RATE_LIMITS = ("--message-rate=0", "--byte-rate=0")  # they are made for people, not load generators


def start_process(arguments: list[str], cores: frozenset[int], **options: Any) -> subprocess.Popen[bytes]:
    """Start ``python -m arguments`` on those cores. It ends when this process does, however that ends.

    Its own session keeps the terminal's Ctrl-C from it, so that the run can still report its figures.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdout=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=_end_with_parent if LINUX else None,  # noqa: PLW1509 - before there are any threads
        **options,
    )
    if cores:
        os.sched_setaffinity(process.pid, cores)
    return process


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def read_first_line(process: subprocess.Popen[bytes], what: str) -> bytes:
    """Return the first line that the process writes. Raises `BenchError` after 20 seconds."""
    assert process.stdout is not None
    line = b""
    deadline = time.monotonic() + _START_SECONDS
    while not line.endswith(b"\n"):
        if not select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise BenchError(f"{what} did not start within {_START_SECONDS:g} s")
        data = os.read(process.stdout.fileno(), 4096)
        if not data:
            break
        line += data
    return line


def stop_process(process: subprocess.Popen[bytes]) -> None:
    """End that process: close its input, which ends a load generator; then SIGTERM, then SIGKILL."""
    if process.stdin is not None:
        try:
            process.stdin.close()
        except OSError:
            pass
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Server:
    """A server started by this run: ``selchat serve`` on a free port of loopback."""

    def __init__(self, arguments: list[str], cores: frozenset[int]) -> None:
        self.arguments = [
            "selchat",
            "serve",
            "--host=127.0.0.1",
            "--port=0",
            "--quiet",
            *_NO_RATE_LIMITS,
            *arguments,
        ]
        self._process = start_process(self.arguments, cores, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.pid = self._process.pid
        line = read_first_line(self._process, "the server")
        found = _LISTENING.match(line)
        if found is None:
            assert self._process.stderr is not None
            output = line + self._process.stderr.read()
            stop_process(self._process)
            raise BenchError(f"the server did not start: {output.decode(errors='replace').strip()}")
        self.address = ("127.0.0.1", int(found[2]))

    def stop(self) -> None:
        """End it."""
        stop_process(self._process)


class Floor:
    """A process of `selchat.bench.system.floor` for ``readers``: a batch is ``size`` bytes in ``chunks``."""

    def __init__(self, readers: int, size: int, chunks: Fraction, cores: frozenset[int]) -> None:
        arguments = ["selchat.bench.system.floor", str(readers), str(size), str(chunks)]
        self._process = start_process(arguments, cores, stdin=subprocess.DEVNULL)
        self.pid = self._process.pid
        self.address = ("127.0.0.1", int(read_first_line(self._process, "the floor") or 0))

    def stop(self) -> None:
        """End it."""
        stop_process(self._process)
