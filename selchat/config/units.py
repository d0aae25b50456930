"""Sizes and durations as people write them: ``64KiB``, ``2 GiB``, ``90s``, ``1h10m``, ``30 days``."""

from __future__ import annotations

import re

from selchat.config.settings import KIB, MIB

# As in the GNU tools: K, M and G are binary, and so are KiB and so on; KB, MB and GB are decimal.
_BYTES = {
    **{"k": KIB, "m": MIB, "g": 1024 * MIB, "t": 1024 * 1024 * MIB},
    **{"kib": KIB, "mib": MIB, "gib": 1024 * MIB, "tib": 1024 * 1024 * MIB},
    **{"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12},
}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}
_NAMES = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "y": "year"}

_PLAIN = re.compile(r"[0-9]{1,15}")
_QUANTITY = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*([a-z]+) ?")


def parse_size(text: str, *, needs_unit: bool = False) -> int | None:
    """Return the bytes; None: not a size."""
    if _PLAIN.fullmatch(text) and not needs_unit:
        return int(text)
    match = _QUANTITY.fullmatch(text.strip().lower())
    if match is None or match[2] not in _BYTES:
        return None
    return int(float(match[1]) * _BYTES[match[2]])


def parse_duration(text: str, *, units: str = "smhdwy", any_suffix: bool = False) -> float | None:
    """Return the seconds; None: not a duration.

    ``units`` are the initials of the units to accept. A unit is its initial or its English name;
    ``any_suffix``: any word with that initial.
    """
    text = text.strip().lower()
    seconds = 0.0
    end = 0
    while match := _QUANTITY.match(text, end):
        number, unit = float(match[1]), match[2]
        if unit[0] not in units:
            return None
        if not any_suffix and unit not in {unit[0], _NAMES[unit[0]], f"{_NAMES[unit[0]]}s"}:
            return None
        seconds += number * _SECONDS[unit[0]]
        end = match.end()
    return seconds if end and end == len(text) else None
