"""Retention: the age and size limits of a history, such as ``30d``, ``2GiB`` or ``90d, 500MiB``."""

from __future__ import annotations

from dataclasses import dataclass

from selchat.config.units import parse_duration, parse_size
from selchat.errors import SettingError

FOREVER = "forever"
_EXPECTED = "a time such as 30d, a size such as 2GiB, both with a comma, or forever"

_DAY = 86_400.0  # seconds


@dataclass(frozen=True, slots=True)
class Retention:
    """``days``: maximum age of a message; ``size``: maximum size of the file in bytes; None: no limit."""

    days: float | None = None
    size: int | None = None

    @classmethod
    def parse(cls, text: str, name: str = "--retention") -> Retention:
        """Parse the setting ``name``; an empty text means forever. Raises `SettingError`."""
        if text.strip().lower() in {"", FOREVER}:
            return cls()
        days: float | None = None
        size: int | None = None
        for part in text.split(","):
            part_size = parse_size(part, needs_unit=True)
            try:
                seconds = parse_duration(part, name)
            except SettingError as error:
                if part_size is None or size is not None:
                    raise SettingError(name, text, _EXPECTED) from error
                size = part_size
                continue
            if part_size is not None:  # 30m: what it deletes must not depend on a guess
                expected = (
                    f"clear: {part.strip()} could be minutes or a size; write MiB or another unit of time"
                )
                raise SettingError(name, text, expected)
            if days is not None:
                raise SettingError(name, text, _EXPECTED)
            days = seconds / _DAY
        if days == 0 or size == 0:
            raise SettingError(name, text, "more than zero")
        return cls(days, size)
