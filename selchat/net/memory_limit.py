"""Memory limit: bounds the bytes queued for all readers together; the largest holder goes first.

Only a full socket makes a queue grow, so only blocked connections count.
"""

from __future__ import annotations

from collections.abc import Iterable

from selchat.errors import LimitError
from selchat.feed import Feed, SubscriptionState
from selchat.net.outbox import Outbox


class QueuedLimitError(LimitError):
    template = "reader too slow, and more than {limit} bytes wait for all readers together"


Holder = Outbox | Feed[Outbox]


class MemoryLimit:
    """Limits queued bytes: replies in outboxes, and retained chunks in feeds. ``limit``: bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.lapped = 0  # readers lapped since the start

    def queued(self, blocked: Iterable[Outbox]) -> int:
        """Return the bytes queued for these outboxes."""
        return sum(_holders(blocked).values())

    def enforce(self, blocked: Iterable[Outbox]) -> None:
        """Free the largest holders until the rest is within the limit. Not during a fan-out.

        A connection closes, and loses its queued bytes. A feed drops all chunks but the newest, and laps the
        readers that have not reached it.
        """
        holders = _holders(blocked)
        total = sum(holders.values())
        if total <= self.limit:
            return
        for holder, size in sorted(holders.items(), key=lambda item: item[1], reverse=True):
            if total <= self.limit or not size:  # the rest hold nothing
                return
            error = QueuedLimitError(self.limit)
            if isinstance(holder, Feed):
                for lapped in holder.trim(0):
                    self.lapped += 1
                    lapped.subscription.reader.lapped(lapped, error)
                total -= size - holder.retained
            else:
                holder.fail(error)
                total -= size


def _holders(blocked: Iterable[Outbox]) -> dict[Holder, int]:
    """Return the outboxes and feeds that hold bytes for these outboxes, and how many bytes each holds."""
    holders: dict[Holder, int] = {}
    for outbox in blocked:
        holders[outbox] = outbox.queued
        for subscription in outbox.subscriptions:
            if subscription.state is SubscriptionState.BEHIND:
                holders[subscription.feed] = subscription.feed.retained
    return holders
