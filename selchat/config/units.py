"""Sizes as people write them: ``64KiB``, ``2 GiB``, ``500M``."""

from __future__ import annotations

import re

from selchat.config.settings import KIB, MIB

# As in the GNU tools: K, M and G are binary, and so are KiB and so on; KB, MB and GB are decimal.
BYTES = {
    **{"k": KIB, "m": MIB, "g": 1024 * MIB, "t": 1024 * 1024 * MIB},
    **{"kib": KIB, "mib": MIB, "gib": 1024 * MIB, "tib": 1024 * 1024 * MIB},
    **{"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12},
}
_QUANTITY = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*([a-z]+)")
_PLAIN = re.compile(r"[0-9]{1,15}")


def parse_quantity(text: str) -> tuple[float, str] | None:
    """Return the number and the unit, in lower case; None: it is no such thing."""
    match = _QUANTITY.fullmatch(text.strip().lower())
    return None if match is None else (float(match[1]), match[2])


def parse_size(text: str) -> int | None:
    """Return the bytes that the text says, with a unit or without; None: it says something else."""
    if _PLAIN.fullmatch(text):
        return int(text)
    quantity = parse_quantity(text)
    if quantity is None or quantity[1] not in BYTES:
        return None
    return int(quantity[0] * BYTES[quantity[1]])
