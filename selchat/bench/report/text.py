"""The report: as text, JSON (``schema`` says which version) and CSV. Knows figures, not whence they came."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selchat.bench.errors import BenchError
from selchat.bench.histogram import Histogram
from selchat.bench.metrics import CHECKED, METRICS
from selchat.bench.scenarios import Plan, Result, describe
from selchat.errors import close_reason

SCHEMA = 1

_LATENCIES = ("p50", "p90", "p95", "p99", "p99_9", "max")
_COUNTS = {
    *CHECKED,
    "acked_per_s",
    "without_messages_per_s",
    "without_deliveries_per_s",
    "connections",
    "refused",
    "fds_growth",
    "stalled_closed",
    "bytes_per_connection",
    "messages_per_s",
    "deliveries_per_s",
    "floor_deliveries_per_s",
    "joins_per_s",
    "lives_per_s",
}
_BESIDE = {  # what stands on the line of another metric: its floor, and the ratio
    "deliveries_per_s": ("floor_deliveries_per_s", "deliveries_ratio"),
    "cpu_us_per_delivery": ("floor_cpu_us_per_delivery", "cpu_ratio"),
    "p50_ms": ("floor_p50_ms", "p50_ratio"),
    "p99_ms": ("floor_p99_ms", "p99_ratio"),
    "last_p50_ms": ("floor_last_p50_ms", "last_p50_ratio"),
    "last_p99_ms": ("floor_last_p99_ms", ""),
}


def number(name: str, value: float) -> str:
    """Return the value of that metric as people read it."""
    if name in _COUNTS:
        return f"{value:,.0f}"
    if name.endswith("_ms") or name.startswith(("cpu_us", "floor_cpu", "without_cpu")):
        return f"{value:,.3f}"
    return f"{value:,.2f}"


def text(plan: Plan, result: Result, machine: Mapping[str, Any]) -> str:
    """Return the report for a terminal or a log: a line for each figure, warnings last."""
    metrics = result.metrics
    shown = {name for pair in _BESIDE.values() for name in pair}
    options = " ".join(f"{name}={value}" for name, value in describe(plan).items() if value not in (None, 0))
    lines = [f"{plan.scenario}: {options}", f"{machine['cpu']}, {machine['kernel']}, {machine['python']}", ""]
    for name, about in METRICS.items():
        if name not in metrics or name in shown:
            continue
        line = f"{name:<22} {number(name, metrics[name]):>15}"
        floor, ratio = _BESIDE.get(name, ("", ""))
        if floor in metrics:
            line += f"   floor {number(floor, metrics[floor])}"
        if ratio in metrics:
            line += f"   ratio {metrics[ratio]:.3f}"
        elif about:
            line += f"   {about}"
        lines.append(line)
    lines.append("")
    lines += result.notes
    lines += [f"warning: {warning}" for warning in result.warnings]
    if result.interrupted:
        lines.append("interrupted: these are the figures up to then")
    return "\n".join(lines)


def document(plan: Plan, result: Result, machine: Mapping[str, Any], command: list[str]) -> dict[str, Any]:
    """Return everything, for ``--json`` and for the page."""
    return {
        "schema": SCHEMA,
        "scenario": plan.scenario,
        "command": command,
        "options": describe(plan),
        "machine": dict(machine),
        "metrics": result.metrics,
        "curves": {
            name: _curve(histogram)
            for name, histogram in (
                ("latency", result.latencies),
                ("last", result.last),
                ("ack", result.acks),
                ("floor", result.floor),
                ("floor_last", result.floor_last),
            )
            if histogram.count
        },
        "timeline": [
            {"seconds": seconds, "deliveries_per_s": speed, "p99_ms": p99}
            for seconds, speed, p99 in result.timeline
        ],
        "notes": result.notes,
        "warnings": result.warnings,
        "failure": result.failure,
        "interrupted": result.interrupted,
    }


def _curve(histogram: Histogram) -> list[tuple[float, float]]:
    return [(round(percent, 6), microseconds / 1000) for percent, microseconds in histogram.curve()]


def write_json(path: str, words: Mapping[str, Any]) -> None:
    """Write it there, indented. Raises `BenchError`."""
    write(path, json.dumps(words, indent=1) + "\n")


def write_csv(path: str, plan: Plan, metrics: Mapping[str, float], date: str) -> None:
    """Append one row for this result, below a header if the file is new, so that runs add up to a table."""
    names = ["date", "scenario", *describe(plan), *METRICS]
    row = {"date": date, "scenario": plan.scenario, **describe(plan), **metrics}
    try:
        with Path(path).open("a", newline="") as file:
            writer = csv.DictWriter(file, names)
            if not file.tell():
                writer.writeheader()
            writer.writerow(row)
    except OSError as error:
        raise BenchError(f"{path} cannot be written: {close_reason(error)}") from None


def write(path: str, words: str) -> None:
    """Write a file. Raises `BenchError`."""
    try:
        Path(path).write_text(words, encoding="utf-8")
    except OSError as error:
        raise BenchError(f"{path} cannot be written: {close_reason(error)}") from None
