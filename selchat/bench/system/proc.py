"""Linux process and socket statistics, CPU pinning, and the description of the machine.

CPU time comes from ``/proc/PID/task/*/schedstat``, in nanoseconds. ``/proc/PID/stat`` has only hundredths of
a second, and a short measurement takes hardly more than one.
"""

from __future__ import annotations

import os
import platform
import re
import socket
import struct
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from selchat import __version__
from selchat.bench.errors import BenchError

try:
    import resource  # POSIX only
except ImportError:
    resource = None  # type: ignore[assignment]

LINUX = sys.platform == "linux"

# struct tcp_info in linux/tcp.h: offsets of tcpi_bytes_received (u64) and tcpi_data_segs_in (u32).
_TCP_BYTES, _TCP_SEGMENTS, _TCP_INFO_SIZE = 128, 152, 160


@dataclass(frozen=True, slots=True)
class Usage:
    """Resources that a process has used. ``rss`` in bytes; ``fds`` open; times in seconds since its start.

    ``waited``: for a core that another process used.
    """

    cpu: float
    waited: float
    rss: int
    fds: int


def process_usage(pid: int) -> Usage:
    """Return the usage of that process. Raises `BenchError` if it is gone or belongs to another user."""
    root = Path(f"/proc/{pid}")
    try:
        times = [(task / "schedstat").read_bytes().split() for task in (root / "task").iterdir()]
        rss = int((root / "statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        try:
            fds = sum(1 for _ in (root / "fd").iterdir())
        except PermissionError:
            fds = 0
    except OSError as error:
        raise BenchError(f"cannot measure process {pid}: {(error.strerror or str(error)).lower()}") from None
    cpu, waited = (sum(int(fields[index]) for fields in times) / 1e9 for index in (0, 1))
    return Usage(cpu, waited, rss, fds)


def received_segments(sock: socket.socket) -> tuple[int, int] | None:
    """Return the bytes and data segments that the socket has received; None if the system cannot tell.

    On loopback one ``send`` is one segment, up to the MSS of 65,483 bytes. So the segments show the size of a
    server's chunks from outside.
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
    """Raise this process's soft limit of descriptors to the hard limit, and return it."""
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
    """The cores for the server and the floor, and for the load generators; empty means any core."""

    server: frozenset[int] = frozenset()
    generators: frozenset[int] = frozenset()


def choose_pinning() -> Pinning:
    """Return a pinning with the last available core for the server, and the others for the generators."""
    if not LINUX:
        return Pinning()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return Pinning()
    return Pinning(frozenset(cores[-1:]), frozenset(cores[:-1]))


def describe_machine(pins: Pinning) -> dict[str, Any]:
    """Return the facts about this machine that the figures depend on."""
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
            name: _read_line(Path("/proc/sys/net") / name.replace(".", "/"))
            for name in ("ipv4.tcp_wmem", "ipv4.tcp_rmem", "core.somaxconn", "ipv4.ip_local_port_range")
        },
    }


def _cpu_model() -> str:
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.machine()


def _read_line(path: Path) -> str:
    try:
        return " ".join(path.read_text().split())
    except OSError:
        return ""
