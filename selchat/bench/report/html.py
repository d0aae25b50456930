"""HTML report: one self-contained page with all metrics, the latency distribution and the time line as SVG.

It needs nothing from the network, and follows the reader's light or dark colour scheme. Its only input is the
document that ``--json`` writes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from selchat.bench.metrics import METRICS
from selchat.bench.report.text import format_value

_WIDTH, _HEIGHT = 760, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 14, 40

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --dim: #667085; --line: #d0d5dd; --paper: #fff;
  --a: #1769c6; --b: #c2410c; --c: #0f8a5f; --d: #8e44ad; --e: #a16207; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --dim: #98a2b3; --line: #3a4252;
  --paper: #14181f; --a: #6cb0ff; --b: #ff9a62; --c: #4fd1a1; --d: #cf9bea; --e: #e8c14a; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 800px; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
td { border-bottom: 1px solid var(--line); padding: .2rem .6rem .2rem 0; }
td:nth-child(2) { text-align: right; font-variant-numeric: tabular-nums; }
td:nth-child(3), p, .key { color: var(--dim); }
svg { width: 100%; height: auto; } svg text { fill: var(--dim); font-size: 12px; }
.grid { stroke: var(--line); } polyline { fill: none; stroke-width: 2; }
.warning { color: var(--b); }
"""

_COLOURS = {"latency": "a", "last": "b", "ack": "e", "floor": "c", "floor_last": "d"}
_LABELS = {
    "latency": "each delivery",
    "last": "last receiver",
    "ack": "acknowledged",
    "floor": "floor: each delivery",
    "floor_last": "floor: last receiver",
}

Scale = Callable[[float], float]


def format_html(document: Mapping[str, Any]) -> str:
    """Return the page for a document of `selchat.bench.report.files.make_document`."""
    machine = document["machine"]
    metrics: Mapping[str, float] = document["metrics"]
    title = f"selchat-bench {document['scenario']}"
    rows = "".join(
        f"<tr><td>{name}</td><td>{format_value(name, metrics[name])}</td><td>{escape(description)}</td></tr>"
        for name, description in METRICS.items()
        if name in metrics
    )
    environment = ", ".join(str(machine[key]) for key in ("cpu", "kernel", "python", "date"))
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p><code>{escape(' '.join(document['command']))}</code><br/>{escape(environment)}</p>",
        *(f'<p class="warning">{escape(warning)}</p>' for warning in document["warnings"]),
    ]
    if document["curves"]:
        parts += ["<h2>Latency</h2>", _distribution(document["curves"])]
    if document["timeline"]:
        times = [point["seconds"] for point in document["timeline"]]
        for name, heading in (
            ("deliveries_per_s", "Deliveries a second"),
            ("p99_ms", "p99 latency in milliseconds"),
        ):
            values = [point[name] for point in document["timeline"]]
            parts += [f"<h2>{heading}</h2>", _time_line(times, values)]
    parts += [f"<h2>Metrics</h2><table>{rows}</table>"]
    parts += [f"<p>{escape(note)}</p>" for note in document["notes"]]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width"/>'
        f"<style>{_STYLE}</style></head>\n<body>{''.join(parts)}</body></html>\n"
    )


def _distribution(curves: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Draw the latency in milliseconds (logarithmic) over the percentile (each step is one more nine)."""
    points = {
        name: [(_nines(percent), max(ms, 1e-3)) for percent, ms in curve] for name, curve in curves.items()
    }
    points_of_all = [point for curve in points.values() for point in curve]
    max_nines = max(1.0, min(6.0, max(nines for nines, _ in points_of_all)))
    low = math.floor(math.log10(min(ms for _, ms in points_of_all)))
    high = max(low + 1, math.ceil(math.log10(max(ms for _, ms in points_of_all))))
    x: Scale = lambda nines: _across(min(nines, max_nines) / max_nines)  # noqa: E731
    y: Scale = lambda ms: _up((math.log10(ms) - low) / (high - low))  # noqa: E731
    marks = [_vertical(x(nines), f"{_percent(nines)}%") for nines in range(int(max_nines) + 1)]
    marks += [_horizontal(y(10.0**power), f"{10.0**power:g} ms") for power in range(low, high + 1)]
    for name, curve in points.items():
        start = [(0.0, curve[0][1])]
        marks.append(_polyline([(x(a), y(b)) for a, b in start + curve], _COLOURS[name]))
    keys = " &#183; ".join(
        f'<span style="color: var(--{_COLOURS[name]})">{escape(_LABELS[name])}</span>' for name in points
    )
    return _svg(marks, "latency by percentile") + f'<p class="key">{keys}</p>'


def _time_line(times: Sequence[float], values: Sequence[float]) -> str:
    top = _round_up(max(values))
    length = max(*times, 1e-9) if len(times) > 1 else max(times[0], 1e-9)
    marks = [_vertical(_across(part / 4), f"{length * part / 4:.3g} s") for part in range(5)]
    marks += [_horizontal(_up(part / 4), f"{top * part / 4:.3g}") for part in range(5)]
    line = [(_across(time / length), _up(value / top)) for time, value in zip(times, values, strict=True)]
    marks.append(_polyline(line, "a"))
    return _svg(marks, "time line")


def _nines(percent: float) -> float:
    return -math.log10(max(1 - percent / 100, 1e-6))


def _percent(nines: float) -> str:
    return f"{100 * (1 - 10.0**-nines):.6g}"


def _round_up(value: float) -> float:
    if value <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return math.ceil(value / unit) * unit


def _across(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _up(share: float) -> float:
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def _vertical(x: float, label: str) -> str:
    return (
        f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>'
        f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{label}</text>'
    )


def _horizontal(y: float, label: str) -> str:
    return (
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
    )


def _polyline(points: Sequence[tuple[float, float]], colour: str) -> str:
    coordinates = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline style="stroke: var(--{colour})" points="{coordinates}"/>'


def _svg(marks: Sequence[str], label: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">{"".join(marks)}</svg>'
