"""Observer: receives the events of the chat, for example for the operator's console."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from selchat.chat.member import Member
from selchat.events import Event
from selchat.log.port import NotStoredError


class Observer(Protocol):
    """Watches the chat. An exception that it raises while the hub publishes affects no member."""

    def on_sign_in(self, member: Member) -> None:
        """A member has signed in."""

    def on_published(self, events: Sequence[Event]) -> None:
        """These events were published in one room; the log has the messages among them."""

    def on_sign_out(self, member: Member, reason: str | None) -> None:
        """A member has signed out, voluntarily if ``reason`` is None."""

    def on_announcement_lost(self, messages: Sequence[Event], error: NotStoredError) -> None:
        """The log could not store messages from the server itself; nobody has received them."""

    def on_log_state(self, error: NotStoredError | None) -> None:
        """Writing to the log has started to fail with ``error``, or works again (None)."""
