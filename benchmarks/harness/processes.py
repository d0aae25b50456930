"""Server processes: pinned to a core, measured by the kernel, and always ended."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

_PORT_ANNOUNCED = re.compile(rb":(\d+)")
_START_SECONDS = 15.0
_STOP_SECONDS = 8.0  # selchat flushes for up to 5 s
_LOCALHOST = "127.0.0.1"


class ServerFailedError(Exception):
    """A server did not start, or is gone. The text quotes its last output."""


class Server:
    """A server process on one core. ``port`` 0: it picks one and prints ``:PORT`` in its first line."""

    def __init__(self, command: Sequence[str], folder: Path, core: int, port: int = 0) -> None:
        self._errors = folder / "stderr"
        self._ticks = os.sysconf("SC_CLK_TCK")
        announced = port == 0
        with pinned(core), self._errors.open("wb") as errors:  # a child inherits the pinning
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if announced else errors,
                stderr=errors,
                start_new_session=True,  # only this script gets Ctrl-C, and then ends the servers
            )
        try:
            self.port = self._announced_port() if announced else self._wait_for(port)
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """The process ID."""
        return self._process.pid

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def cpu_seconds(self) -> float:
        """Return the CPU time of all its threads, user and system, in seconds.

        The scheduler counts it in nanoseconds; kernels without that have the ticks of ``stat``. It is exact
        while the server sleeps, so read it then.
        """
        try:
            total = 0
            for task in Path(f"/proc/{self.pid}/task").iterdir():
                with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # a thread has ended
                    total += int((task / "schedstat").read_text().split()[0])
            if total:
                return total / 1e9
            after_name = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(after_name[11]) + int(after_name[12])) / self._ticks
        except FileNotFoundError:
            raise ServerFailedError(self._failure_text("is gone")) from None

    def wait_idle(self, seconds: float = 15.0) -> None:
        """Wait until the server has been idle for a tenth of a second, so that all clients have joined."""
        deadline = time.monotonic() + seconds
        quiet = 0
        before = self.cpu_seconds()
        while quiet < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
            after = self.cpu_seconds()
            quiet = quiet + 1 if after - before < 0.002 else 0
            before = after

    def stop(self) -> None:
        """End the server with SIGTERM, and if that fails with SIGKILL."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _announced_port(self) -> int:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _START_SECONDS)
        line = self._process.stdout.readline() if ready else b""
        found = _PORT_ANNOUNCED.search(line)
        if found is None:
            raise ServerFailedError(self._failure_text("did not print its port"))
        return int(found[1])

    def _wait_for(self, port: int) -> int:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection((_LOCALHOST, port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return port
        raise ServerFailedError(self._failure_text("did not start"))

    def _failure_text(self, what: str) -> str:
        words = self._errors.read_text(errors="replace").strip()[-400:]
        return f"{what}{f': {words}' if words else ''}"


def machine_cpu_seconds() -> float:
    """Return the CPU time that all cores together have used since the machine started."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _wait, irq, softirq = map(int, file.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


class IdleWait:
    """Waits for other work on this machine to end before a measurement, for ``seconds`` in all."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds

    def wait(self) -> None:
        """Return when the machine is almost idle, or when the time is used up."""
        sample = 0.3
        while self._left > 0:
            busy = machine_cpu_seconds()
            time.sleep(sample)
            if machine_cpu_seconds() - busy < 0.1 * sample:
                return
            self._left -= sample


def free_port() -> int:
    """Return a free port, for servers that cannot pick one themselves."""
    with socket.socket() as sock:
        sock.bind((_LOCALHOST, 0))
        return int(sock.getsockname()[1])


def cores() -> tuple[int, int]:
    """Return the core for the servers and the core for the load; they are equal on a single core."""
    available = sorted(os.sched_getaffinity(0))
    return available[0], available[1 % len(available)]


@contextlib.contextmanager
def pinned(core: int) -> Iterator[None]:
    """Pin this process, and the children that it starts within the context, to one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def interrupt_on_sigterm() -> None:
    """Make SIGTERM end the script like Ctrl-C, so that no server outlives it."""

    def interrupt(_number: int, _frame: FrameType | None) -> Any:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def raise_descriptor_limit(minimum: int) -> None:
    """Raise the limit of open files of this process and its children to ``minimum``, if possible."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < minimum:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(minimum, hard), hard))
