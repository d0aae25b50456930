"""The hub: the one place where the chat happens. It knows no socket and no wire format.

Sessions tell it who has come, what is said and who has gone. What it makes of that is staged during a
tick and exists from `Hub.publish` at the tick's end, which commits the log once for everything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from selchat.chat.room import Format, Room
from selchat.chat.roster import Roster
from selchat.events import LOBBY, SERVER, Event, Notice
from selchat.events import Roster as RosterEvent
from selchat.feed import Feed, Subscription
from selchat.log.port import Log
from selchat.settings import Settings


class Peer(Protocol):
    """A member's session, as the hub sees it."""

    @property
    def format(self) -> Format:
        """The wire format in which it reads."""

    def subscribe(self, feed: Feed[Any]) -> Subscription[Any]:
        """Read that feed from now on."""

    def tell(self, notice: Notice) -> None:
        """Say something to this member alone."""

    def close(self, reason: str) -> None:
        """End the session, once what was said so far is sent; it calls `Hub.leave`."""


class Observer(Protocol):
    """Who watches the chat from outside, such as the operator's console."""

    def joined(self, member: Member) -> None:
        """Someone has come."""

    def happened(self, events: Sequence[Event]) -> None:
        """A room was told these; the messages among them are in the log."""

    def left(self, member: Member, reason: str | None) -> None:
        """Someone has gone, of their own will if there is no ``reason``."""


class Clock(Protocol):
    """Time, as the reactor keeps it; in seconds."""

    @property
    def now(self) -> float:
        """Monotonic time."""

    def call_later(self, delay: float, callback: Callable[..., object], *arguments: Any) -> Any:
        """Call it after the delay."""


class Member:
    """Someone who is here. ``address``: where from, for the operator's eyes."""

    __slots__ = ("address", "name", "peer", "subscription")

    def __init__(self, name: str, address: str, peer: Peer, subscription: Subscription[Any]) -> None:
        self.name = name
        self.address = address
        self.peer = peer
        self.subscription = subscription


class Hub:
    """Members, rooms, and what goes on between them."""

    def __init__(self, settings: Settings, log: Log, clock: Clock, observer: Observer) -> None:
        self._settings = settings
        self._log = log
        self._clock = clock
        self._observer = observer
        self._members: Roster[Member] = Roster(settings.name_length)
        self._lobby = Room(LOBBY, settings.feed_limit)
        self._dirty: list[Room] = []  # rooms with something staged
        self._roster_due = False
        self._last_roster = float("-inf")

    # -- what sessions say -----------------------------------------------------------------------------

    def join(self, wanted: str, address: str, peer: Peer) -> Member:
        """Let someone in under the name ``wanted``, or one like it that is free."""
        name = self._members.claim(wanted)
        member = Member(name, address, peer, peer.subscribe(self._lobby.feed(peer.format)))
        self._members.add(member)
        self._observer.joined(member)
        self._roster_changed()
        return member

    def say(self, member: Member, bodies: Sequence[str]) -> None:
        """Say these in the lobby, to everyone but the member."""
        messages = self._log.append(LOBBY, member.name, bodies, time.time())
        self._stage(self._lobby, messages, member.subscription)

    def leave(self, member: Member, reason: str | None = None) -> None:
        """Let someone go; their session ends its subscription."""
        self._members.remove(member)
        self._observer.left(member, reason)
        self._roster_changed()

    # -- what the operator says ------------------------------------------------------------------------

    def announce(self, body: str) -> None:
        """Say it to everyone, as the server."""
        self._stage(self._lobby, self._log.append(LOBBY, SERVER, [body], time.time()), None)

    def notify(self, text: str) -> None:
        """Tell everyone something that no log keeps."""
        self._stage(self._lobby, [Notice(text)], None)

    def kick(self, name: str) -> Member | None:
        """Tell that member to go, and end the session; None: there is nobody of that name."""
        member = self._members.get(name)
        if member is not None:
            member.peer.tell(Notice("The operator has removed you from this chat."))
            member.peer.close("kicked by the operator")
        return member

    def members(self) -> list[Member]:
        """Return all members."""
        return list(self._members)

    # -- the end of a tick -----------------------------------------------------------------------------

    def publish(self) -> Iterable[Feed[Any]]:
        """Make what is staged exist: commit the log, then append to the feeds; return those with news."""
        if not self._dirty:
            return ()
        self._log.commit()
        dirty, self._dirty = self._dirty, []
        feeds: list[Feed[Any]] = []
        for room in dirty:
            staged = room.staged
            feeds += room.publish()  # first: an observer's error must not leave anything staged
            for events, _ in staged:
                self._observer.happened(events)
        return feeds

    # ----------------------------------------------------------------------------------------------------

    def _stage(self, room: Room, events: Sequence[Event], author: Subscription[Any] | None) -> None:
        if not room.staged:
            self._dirty.append(room)
        room.staged.append((events, author))

    def _roster_changed(self) -> None:
        """Have the roster sent at the end of this tick, or an interval after the last one."""
        if self._settings.roster and not self._roster_due:
            self._roster_due = True
            wait = self._last_roster + self._settings.roster_interval - self._clock.now
            self._clock.call_later(max(0.0, wait), self._send_roster)

    def _send_roster(self) -> None:
        self._roster_due = False
        self._last_roster = self._clock.now
        total = len(self._members)
        if total:
            # No more names than could fit are sorted: the first of 10,000 cost 2 ms, all of them 10.
            most = self._settings.roster_limit // 3
            self._stage(self._lobby, [RosterEvent(tuple(self._members.first(most)), total)], None)
