"""How many bytes may wait for all readers together; when it is too much, the largest goes first.

Only what a full socket holds up can grow, so only the connections that are blocked are looked at.
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
    """``limit``: bytes that may wait, as replies of connections and as chunks of feeds."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.lapped = 0  # readers, in all

    def queued(self, blocked: Iterable[Outbox]) -> int:
        """Return the bytes that wait for these."""
        return sum(_holders(blocked).values())

    def enforce(self, blocked: Iterable[Outbox]) -> None:
        """Take from the largest until the rest is within the limit. Not while a fan-out is under way.

        A connection is lost then, with all that waited for it; a feed keeps its newest chunk alone, and laps
        those who have not read it yet.
        """
        holders = _holders(blocked)
        total = sum(holders.values())
        if total <= self.limit:
            return
        for holder, size in sorted(holders.items(), key=lambda one: one[1], reverse=True):
            if total <= self.limit or not size:  # nothing is won by those for whom nothing waits
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
    """Return what holds bytes that wait for these, and how many."""
    holders: dict[Holder, int] = {}
    for outbox in blocked:
        holders[outbox] = outbox.queued
        for subscription in outbox.subscriptions:
            if subscription.state is SubscriptionState.BEHIND:
                holders[subscription.feed] = subscription.feed.retained
    return holders
