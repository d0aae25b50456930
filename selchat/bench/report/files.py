"""JSON and CSV output. The field ``schema`` of the JSON document is the version of its format."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selchat.bench.errors import BenchError
from selchat.bench.histogram import Histogram
from selchat.bench.metrics import METRICS
from selchat.bench.plan import Plan
from selchat.bench.results import Result
from selchat.errors import close_reason

SCHEMA = 1


def make_document(
    plan: Plan, result: Result, machine: Mapping[str, Any], command: list[str]
) -> dict[str, Any]:
    """Return everything about a run, for ``--json`` and the HTML page."""
    return {
        "schema": SCHEMA,
        "scenario": plan.scenario,
        "command": command,
        "options": plan.as_json(),
        "machine": dict(machine),
        "metrics": result.metrics,
        "curves": {
            name: _curve(histogram)
            for name, histogram in (
                ("latency", result.latencies),
                ("last", result.last_latencies),
                ("ack", result.ack_latencies),
                ("floor", result.floor_latencies),
                ("floor_last", result.floor_last_latencies),
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


def write_json(path: str, document: Mapping[str, Any]) -> None:
    """Write the document, indented. Raises `BenchError`."""
    write_text(path, json.dumps(document, indent=1) + "\n")


def write_csv(path: str, plan: Plan, metrics: Mapping[str, float], date: str) -> None:
    """Append one row for this result, after a header if the file is new. Raises `BenchError`."""
    names = ["date", "scenario", *plan.as_json(), *METRICS]
    row = {"date": date, "scenario": plan.scenario, **plan.as_json(), **metrics}
    try:
        with Path(path).open("a", newline="") as file:
            writer = csv.DictWriter(file, names)
            if not file.tell():
                writer.writeheader()
            writer.writerow(row)
    except OSError as error:
        raise BenchError(f"cannot write {path}: {close_reason(error)}") from None


def write_text(path: str, text: str) -> None:
    """Write a text file. Raises `BenchError`."""
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BenchError(f"cannot write {path}: {close_reason(error)}") from None
