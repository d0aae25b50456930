"""Charts as SVG text: self-contained, no script, readable on light and dark pages.

An ``<img>`` follows the colour scheme of the reader's system, which may differ from that of the page. So a
chart has its own background.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from harness.results import format_significant

_STYLE = """
text { font-family: system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
.title { font-size: 17px; font-weight: 600 }
.head { font-size: 13px; font-weight: 600 }
.name, .value { font-size: 12.5px }
.strong { font-weight: 700 }
.small { font-size: 11px; fill: #59636e }
.card { fill: #ffffff; stroke: #d1d9e0 }
.grid { stroke: #e4e8ec; stroke-width: 1 }
.selchat { fill: #d6453d } .floor { fill: #8b949e } .broker { fill: #2f6fb3 } .python { fill: #d9a520 }
.line { fill: none; stroke-width: 2.5; stroke-linejoin: round }
.line.selchat { stroke: #d6453d; fill: none } .line.floor { stroke: #8b949e; fill: none }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9198a1 } .card { fill: #0d1117; stroke: #3d444d }
  .grid { stroke: #262c36 } .selchat { fill: #f0625a } .broker { fill: #539bf5 } .python { fill: #e3b341 }
  .line.selchat { stroke: #f0625a }
}
"""
_MARGIN = 24
_ROW = 25
_BAR = 15
_WIDTH = 960
_CHARACTER = 7.0  # pixels; about the width of a character in the font size of values


@dataclass(frozen=True)
class Bars:
    """One column of bars, with a value or None for each row. ``log``: the scale is logarithmic."""

    head: str
    note: str
    values: Sequence[float | None]
    labels: Sequence[str]
    log: bool = True


@dataclass(frozen=True)
class Lines:
    """One panel of lines, both axes logarithmic: ``series`` maps a class of the style to its y values."""

    head: str
    note: str
    x: Sequence[float]
    series: dict[str, Sequence[float]]


def bar_chart(
    title: str,
    caption: Sequence[str],
    rows: Sequence[tuple[str, str]],
    columns: Sequence[Bars],
    key: dict[str, str],
) -> str:
    """Return a chart in which every row, ``(name, class)``, has a bar in each column.

    ``key`` maps each class to its entry in the legend.
    """
    names_width = 190
    gap = 22
    width = (_WIDTH - 2 * _MARGIN - names_width - gap * len(columns)) / len(columns)
    top = 112
    bottom = top + _ROW * len(rows)
    parts = [_text(_MARGIN, 36, title, "title")]
    x = float(_MARGIN)
    for kind, meaning in key.items():
        parts.append(f'<rect x="{x:.0f}" y="50" width="11" height="11" rx="2" class="{kind}"/>')
        parts.append(_text(x + 17, 60, meaning, "small"))
        x += 17 + len(meaning) * 5.9 + 20
    for index, (name, kind) in enumerate(rows):
        y = top + index * _ROW + _BAR / 2 + 4.5
        parts.append(_text(_MARGIN + names_width, y, name, _emphasis("name", kind), "end"))
    for number, column in enumerate(columns):
        left = _MARGIN + names_width + gap / 2 + number * (width + gap)
        parts.append(_text(left, top - 28, column.head, "head"))
        parts.append(_text(left, top - 13, column.note, "small"))
        shown = [value for value in column.values if value]
        if not shown:
            continue
        maximum = max(shown)
        room = width - max(map(len, column.labels)) * _CHARACTER - 6
        if column.log:
            # The scale starts a bit below the smallest value, so that the shortest bar is visible.
            low = math.log10(min(shown)) - 0.12 * (math.log10(maximum / min(shown)) + 0.3)
            ticks = [
                10.0**exponent for exponent in range(math.ceil(low), math.floor(math.log10(maximum)) + 1)
            ]
        else:
            low = 0.0
            ticks = _round_steps(maximum)

        def reach(value: float, column: Bars = column, low: float = low, room: float = room) -> float:
            if column.log:
                return room * (math.log10(value) - low) / (math.log10(max(filter(None, column.values))) - low)
            return room * value / max(filter(None, column.values))

        for tick in ticks:
            at = left + reach(tick)
            parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{top - 4}" y2="{bottom - 4}" class="grid"/>')
        for index, (value, label) in enumerate(zip(column.values, column.labels, strict=True)):
            y = top + index * _ROW
            kind = rows[index][1]
            length = reach(value) if value else 0.0
            if value:
                parts.append(
                    f'<rect x="{left:.1f}" y="{y}" width="{length:.1f}" height="{_BAR}" '
                    f'rx="2" class="{kind}"/>'
                )
            label_class = _emphasis("value", kind) if value else "small"
            parts.append(_text(left + length + 6, y + _BAR / 2 + 4.5, label, label_class))
    return _card(title, parts, bottom, caption)


def line_chart(
    title: str,
    caption: Sequence[str],
    panels: Sequence[Lines],
    key: dict[str, str],
    axis: str = "receivers",
) -> str:
    """Return panels of lines over ``axis``, side by side; ``key`` maps each class to its legend."""
    gap = 64
    width = (_WIDTH - 2 * _MARGIN - gap * len(panels)) / len(panels)
    top, height = 116, 240
    parts = [_text(_MARGIN, 36, title, "title")]
    x = float(_MARGIN)
    for kind, meaning in key.items():
        parts.append(f'<rect x="{x:.0f}" y="50" width="11" height="11" rx="2" class="{kind}"/>')
        parts.append(_text(x + 17, 60, meaning, "small"))
        x += 17 + len(meaning) * 5.9 + 20
    for number, panel in enumerate(panels):
        left = _MARGIN + gap * 0.7 + number * (width + gap)
        parts.append(_text(left - gap * 0.7, top - 30, panel.head, "head"))
        parts.append(_text(left - gap * 0.7, top - 15, panel.note, "small"))
        every = [value for values in panel.series.values() for value in values if value > 0] or [1.0]
        ticks = _decades(min(every), max(every))
        low, high = math.log10(ticks[0]), math.log10(ticks[-1])
        first, last = math.log10(min(panel.x)), math.log10(max(panel.x))

        def across(x: float, left: float = left, first: float = first, last: float = last) -> float:
            return left + width * (0.05 + 0.9 * (math.log10(x) - first) / ((last - first) or 1))

        def down(y: float, low: float = low, high: float = high) -> float:
            return top + height * (1 - (math.log10(y) - low) / (high - low))

        for tick in ticks:
            at = down(tick)
            parts.append(
                f'<line x1="{left:.1f}" x2="{left + width:.1f}" y1="{at:.1f}" y2="{at:.1f}" class="grid"/>'
            )
            parts.append(_text(left - 8, at + 4, f"{tick:g}", "small", "end"))
        parts += [_text(across(x), top + height + 18, f"{x:,.0f}", "small", "middle") for x in panel.x]
        parts.append(_text(left + width / 2, top + height + 36, axis, "small", "middle"))
        for order, (kind, values) in enumerate(panel.series.items()):
            points = [(across(count), down(value)) for count, value in zip(panel.x, values, strict=True)]
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            parts.append(f'<polyline points="{path}" class="line {kind}"/>')
            for (x, y), value in zip(points, values, strict=True):
                parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="{kind}"/>')
                parts.append(
                    _text(x, y + (18 if order else -9), format_significant(value), "small", "middle")
                )
    return _card(title, parts, top + height + 44, caption)


def _decades(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0**exponent for exponent in range(first, max(last, first + 1) + 1)]


def _round_steps(high: float) -> list[float]:
    step = 10.0 ** math.floor(math.log10(high))
    return [step * index for index in range(1, math.floor(high / step) + 1)]


def _emphasis(style: str, kind: str) -> str:
    return f"{style} strong" if kind == "selchat" else style


def _text(x: float, y: float, text: str, style: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">{escape(text)}</text>'


def _card(title: str, parts: Sequence[str], bottom: float, caption: Sequence[str]) -> str:
    lines = [_text(_MARGIN, bottom + 22 + index * 15, line, "small") for index, line in enumerate(caption)]
    height = bottom + 22 + len(caption) * 15 + 6
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" width="{_WIDTH}" '
        f'height="{height:.0f}" role="img" aria-label="{escape(title, {chr(34): "&quot;"})}">\n'
        f"<style>{_STYLE}</style>\n"
        f'<rect x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1:.0f}" rx="8" class="card"/>\n'
        + "\n".join([*parts, *lines])
        + "\n</svg>\n"
    )
