"""Sizes and durations as people write them: ``64KiB``, ``2 GiB``; ``90s``, ``1h10m``, ``30d``."""

from __future__ import annotations

import re

from selchat.errors import SettingError
from selchat.limits import KIB, MAX_DURATION, MAX_QUANTITY_LENGTH, MIB

# As in the GNU tools: K, M and G are binary, and so are KiB and so on; KB, MB and GB are decimal.
_BYTES = {
    **{"k": KIB, "m": MIB, "g": 1024 * MIB, "t": 1024 * 1024 * MIB},
    **{"kib": KIB, "mib": MIB, "gib": 1024 * MIB, "tib": 1024 * 1024 * MIB},
    **{"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12},
}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}

_PLAIN = re.compile(r"[0-9]{1,15}")
_QUANTITY = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?([a-z]{1,3})")
_DURATION = re.compile(r"(?:[0-9]{1,9}[smhdw] ?)+")
_TERM = re.compile(r"([0-9]+)([smhdw])")


def parse_size(text: str, *, needs_unit: bool = False) -> int | None:
    """Return the bytes; None: not a size."""
    if _PLAIN.fullmatch(text) and not needs_unit:
        return int(text)
    match = _QUANTITY.fullmatch(text.strip().lower()) if len(text) <= MAX_QUANTITY_LENGTH else None
    if match is None or match[2] not in _BYTES:
        return None
    number = float(match[1])
    size = int(number * _BYTES[match[2]])
    return size if size or not number else None  # less than one byte is not no bytes


def parse_duration(text: str, name: str) -> int:
    """Return the seconds of a duration: a sum of whole numbers with the units s, m, h, d and w (``1h10m``).

    This is the grammar of every duration: settings, bans, ``--since``, retention. ``name``: the setting, for
    the error. Raises `SettingError`.
    """
    text = text.strip()
    if len(text) > MAX_QUANTITY_LENGTH or not _DURATION.fullmatch(text):
        raise SettingError(name, text, "a time such as 30s, 10m, 2h, 3d, 4w or 1h10m")
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in _TERM.findall(text))
    if seconds > MAX_DURATION:
        raise SettingError(name, text, "a time of up to ten years (3650d)")
    return seconds
