"""Text report for a terminal or a log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selchat.bench.metrics import DEFECTS, METRICS
from selchat.bench.plan import Plan
from selchat.bench.results import Result

_COUNTS = {
    *DEFECTS,
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
_ON_SAME_LINE = {  # the floor and the ratio that share a line with another metric
    "deliveries_per_s": ("floor_deliveries_per_s", "deliveries_ratio"),
    "cpu_us_per_delivery": ("floor_cpu_us_per_delivery", "cpu_ratio"),
    "p50_ms": ("floor_p50_ms", "p50_ratio"),
    "p99_ms": ("floor_p99_ms", "p99_ratio"),
    "last_p50_ms": ("floor_last_p50_ms", "last_p50_ratio"),
    "last_p99_ms": ("floor_last_p99_ms", ""),
}


def format_value(name: str, value: float) -> str:
    """Return the value of that metric for people to read."""
    if name in _COUNTS:
        return f"{value:,.0f}"
    if name.endswith("_ms") or name.startswith(("cpu_us", "floor_cpu", "without_cpu")):
        return f"{value:,.3f}"
    return f"{value:,.2f}"


def format_text(plan: Plan, result: Result, machine: Mapping[str, Any]) -> str:
    """Return the report: a line for each metric, warnings last."""
    metrics = result.metrics
    elsewhere = {name for pair in _ON_SAME_LINE.values() for name in pair}
    options = " ".join(f"{name}={value}" for name, value in plan.as_json().items() if value not in (None, 0))
    lines = [f"{plan.scenario}: {options}", f"{machine['cpu']}, {machine['kernel']}, {machine['python']}", ""]
    for name, description in METRICS.items():
        if name not in metrics or name in elsewhere:
            continue
        line = f"{name:<22} {format_value(name, metrics[name]):>15}"
        floor, ratio = _ON_SAME_LINE.get(name, ("", ""))
        if floor in metrics:
            line += f"   floor {format_value(floor, metrics[floor])}"
        if ratio in metrics:
            line += f"   ratio {metrics[ratio]:.3f}"
        elif description:
            line += f"   {description}"
        lines.append(line)
    lines.append("")
    lines += result.notes
    lines += [f"warning: {warning}" for warning in result.warnings]
    if result.interrupted:
        lines.append("interrupted: the figures cover the run up to that point")
    return "\n".join(lines)
