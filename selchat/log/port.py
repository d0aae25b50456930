"""What the hub asks of a log. A message exists from the moment `Log.commit` has returned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from selchat.events import Said


class Log(Protocol):
    """The messages of every room, each with its ``seq``: from 1, without holes, never reused."""

    def append(self, room: str, author: str, bodies: Sequence[str], at: float) -> list[Said]:
        """Stage messages and return them, each with its ``seq``."""

    def commit(self) -> None:
        """Store all that is staged."""

    def last(self, room: str, limit: int) -> Sequence[Said]:
        """Return the newest stored messages of that room, ``limit`` at most, oldest first."""
