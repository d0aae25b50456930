"""Description of the machine for the reports."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path


def describe_machine() -> dict[str, str]:
    """Return a description of this machine: CPU, cores, memory, kernel, Python, date."""
    return {
        "cpu": _from_file("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{int((_from_file('/proc/meminfo', 'MemTotal') or '0').split()[0]) / 2**20:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "load at start": f"{os.getloadavg()[0]:.2f}",
    }


def format_machine(description: dict[str, str]) -> str:
    """Return the description as one sentence."""
    return (
        f"{description['cpu']}, {description['cores']} cores, {description['memory']}, "
        f"{description['kernel']}, {description['python']}, {description['date']}"
    )


def _from_file(path: str, key: str) -> str | None:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return None
