"""How long messages are kept, as an operator says it: ``30d``, ``2GiB``, ``90 days, 500M``."""

from __future__ import annotations

from dataclasses import dataclass

from selchat.config.units import BYTES, parse_quantity
from selchat.errors import SettingError

FOREVER = "forever"
_WANTED = "a time such as 30d, a size such as 2GiB, both with a comma, or forever"

_DAYS = {"h": 1 / 24, "hour": 1 / 24, "d": 1.0, "day": 1.0, "w": 7.0, "week": 7.0, "y": 365.0, "year": 365.0}


@dataclass(frozen=True, slots=True)
class Retention:
    """``days`` that messages are kept, and ``size`` in bytes that their file may take; None: no limit."""

    days: float | None = None
    size: int | None = None

    @classmethod
    def parse(cls, text: str, name: str = "--retention") -> Retention:
        """Return what the text says; an empty one says forever. Raises `SettingError` for ``name``."""
        if text.strip().lower() in {"", FOREVER}:
            return cls()
        days: float | None = None
        size: int | None = None
        for part in text.split(","):
            quantity = parse_quantity(part)
            if quantity is None:
                raise SettingError(name, text, _WANTED)
            number, unit = quantity
            factor = _DAYS.get(unit) or _DAYS.get(unit.removesuffix("s") if len(unit) > 2 else "")
            if factor is not None and days is None:
                days = number * factor
            elif unit in BYTES and size is None:
                size = int(number * BYTES[unit])
            else:
                raise SettingError(name, text, _WANTED)
        if days == 0 or size == 0:
            raise SettingError(name, text, "more than zero")
        return cls(days, size)
