"""Processes, and what Linux says of them. Everything that only Linux has is in this file.

CPU time comes from ``/proc/PID/task/*/schedstat``, in nanoseconds; ``/proc/PID/stat`` has it in hundredths
of a second, which is all of what a short measurement takes.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

from selchat import __version__
from selchat.bench.errors import BenchError

try:
    import resource  # POSIX only
except ImportError:
    resource = None  # type: ignore[assignment]

LINUX = sys.platform == "linux"

_START_SECONDS = 20.0  # for a process of ours to say its first line
_STOP_SECONDS = 8.0  # for it to end by itself; the server flushes for 5
_LISTENING = re.compile(rb"Listening for connections on (.*):(\d+)\.\.\.")
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)

# Of struct tcp_info in linux/tcp.h: where tcpi_bytes_received (u64) and tcpi_data_segs_in (u32) are.
_TCP_BYTES, _TCP_SEGMENTS, _TCP_INFO_SIZE = 128, 152, 160


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used. ``rss`` in bytes; ``fds`` open; times in seconds since its start.

    ``waited``: for a core that somebody else had.
    """

    cpu: float
    waited: float
    rss: int
    fds: int


def usage(pid: int) -> Usage:
    """Raises `BenchError` when that process is gone or belongs to somebody else."""
    root = Path(f"/proc/{pid}")
    try:
        times = [(task / "schedstat").read_bytes().split() for task in (root / "task").iterdir()]
        rss = int((root / "statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        try:
            fds = sum(1 for _ in (root / "fd").iterdir())
        except PermissionError:
            fds = 0
    except OSError as error:
        raise BenchError(
            f"process {pid} cannot be measured: {(error.strerror or str(error)).lower()}"
        ) from None
    cpu, waited = (sum(int(words[index]) for words in times) / 1e9 for index in (0, 1))
    return Usage(cpu, waited, rss, fds)


def received_segments(sock: socket.socket) -> tuple[int, int] | None:
    """Return the bytes and the data segments that came in so far; None where the system does not say.

    On loopback a segment is what one ``send`` wrote, up to the MSS of 65,483 bytes: this is how the size
    of a server's chunks is seen from outside.
    """
    if not LINUX:
        return None
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
    if len(info) < _TCP_INFO_SIZE:
        return None
    size: int = struct.unpack_from("=Q", info, _TCP_BYTES)[0]
    segments: int = struct.unpack_from("=I", info, _TCP_SEGMENTS)[0]
    return size, segments


def raise_descriptor_limit() -> int:
    """Raise this process's soft limit of descriptors to the hard one; return it."""
    if resource is None:
        return 1 << 20  # type: ignore[unreachable]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            return int(soft)
    return 1 << 20 if hard == resource.RLIM_INFINITY else int(hard)


@dataclass(frozen=True, slots=True)
class Pinning:
    """Which cores the server and the floor run on, and which the generators; empty: wherever they like."""

    server: frozenset[int] = frozenset()
    generators: frozenset[int] = frozenset()


def pinning() -> Pinning:
    """Give the server one core of this process's own, and the generators the others."""
    if not LINUX:
        return Pinning()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return Pinning()
    return Pinning(frozenset(cores[-1:]), frozenset(cores[:-1]))


def start(arguments: list[str], cores: frozenset[int], **options: Any) -> subprocess.Popen[bytes]:
    """Start ``python -m arguments`` on those cores. It ends when this process does, however that ends.

    A session of its own keeps the terminal's Ctrl-C from it: what was measured so far is still wanted.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdout=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=_die_with_parent if LINUX else None,  # noqa: PLW1509 - before there are any threads
        **options,
    )
    if cores:
        os.sched_setaffinity(process.pid, cores)
    return process


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGTERM)


def first_line(process: subprocess.Popen[bytes], what: str) -> bytes:
    """Return the first line that the process writes; `BenchError` if there is none in time."""
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


def stop(process: subprocess.Popen[bytes]) -> None:
    """End that process, gently first: the end of its input ends a load generator."""
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


_UNLIMITED = ("--message-rate=0", "--byte-rate=0")  # no person is as quick as a load generator


class Server:
    """A server of our own: ``selchat serve`` on a free port of loopback."""

    def __init__(self, arguments: list[str], cores: frozenset[int]) -> None:
        self.arguments = [
            "selchat",
            "serve",
            "--host=127.0.0.1",
            "--port=0",
            "--quiet",
            *_UNLIMITED,
            *arguments,
        ]
        self._process = start(self.arguments, cores, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.pid = self._process.pid
        line = first_line(self._process, "the server")
        found = _LISTENING.match(line)
        if found is None:
            assert self._process.stderr is not None
            words = line + self._process.stderr.read()
            stop(self._process)
            raise BenchError(f"the server did not start: {words.decode(errors='replace').strip()}")
        self.address = ("127.0.0.1", int(found[2]))

    def stop(self) -> None:
        """End it."""
        stop(self._process)


class Floor:
    """The process of `selchat.bench.system.floor`, for that many readers; ``turn`` bytes go in ``chunks`` pieces."""

    def __init__(self, readers: int, turn: int, chunks: Fraction, cores: frozenset[int]) -> None:
        arguments = ["selchat.bench.system.floor", str(readers), str(turn), str(chunks)]
        self._process = start(arguments, cores, stdin=subprocess.DEVNULL)
        self.pid = self._process.pid
        self.address = ("127.0.0.1", int(first_line(self._process, "the floor") or 0))

    def stop(self) -> None:
        """End it."""
        stop(self._process)


def describe_machine(pins: Pinning) -> dict[str, Any]:
    """Return what a reader of the figures needs to know of where they were measured."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "selchat": __version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "server_cores": sorted(pins.server),
        "generator_cores": sorted(pins.generators),
        "sysctl": {
            name: _line(Path("/proc/sys/net") / name.replace(".", "/"))
            for name in ("ipv4.tcp_wmem", "ipv4.tcp_rmem", "core.somaxconn", "ipv4.ip_local_port_range")
        },
    }


def _cpu_model() -> str:
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.machine()


def _line(path: Path) -> str:
    try:
        return " ".join(path.read_text().split())
    except OSError:
        return ""
