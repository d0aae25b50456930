"""Replay of logged messages to one selchat client.

A client that resumes, joins with ``after`` or lapses gets its missing messages from the log, one page at a
time, before the new ones. The queue knows neither requests nor login.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from selchat.chat.room import Room
from selchat.config.settings import Costs
from selchat.events import Said
from selchat.limits import HISTORY_BYTES, REPLAY_PAGE, REPLAY_RETRY_SECONDS
from selchat.log.port import NotReadableError
from selchat.sessions.context import Context, Transport
from selchat.sessions.work import Meter
from selchat.wire.responses import SelchatFormat


class Replay:
    """A part of the log to send: the messages above ``seq``.

    ``inbox``: the log's name for the room or the inbox. ``room``: None for an inbox, whose direct messages
    are for the user ``to``. ``lapped``: the client was lapped, so that it needs a `gap` first.
    """

    __slots__ = ("failed", "inbox", "lapped", "room", "seq", "to")

    def __init__(
        self, inbox: str, room: Room | None, seq: int, *, to: str = "", lapped: bool = False
    ) -> None:
        self.inbox = inbox
        self.room = room
        self.seq = seq
        self.to = to
        self.lapped = lapped
        self.failed = False  # whether the client knows that the log could not be read


class ReplayOwner(Protocol):
    """The session that a queue belongs to."""

    format: SelchatFormat

    def on_caught_up(self, room: Room) -> None:
        """Send new messages of the room from now on: the client has all older ones."""


class ReplayQueue:
    """The replays of one client, one after the other. Each page waits until the one before is sent."""

    __slots__ = ("_context", "_meter", "_owner", "_replays", "_transport")

    def __init__(self, context: Context, transport: Transport, meter: Meter, owner: ReplayOwner) -> None:
        self._context = context
        self._meter = meter
        self._transport = transport
        self._owner = owner
        self._replays: list[Replay] = []  # a list: an empty deque takes ten times the memory

    @property
    def has_direct(self) -> bool:
        """Whether direct messages are queued."""
        return any(replay.room is None for replay in self._replays)

    def add(self, replay: Replay) -> None:
        """Queue a replay."""
        self._replays.append(replay)
        if len(self._replays) == 1:
            self._schedule()

    def drop(self, room: Room) -> None:
        """Drop the replay of a room that the client leaves."""
        self._replays = [replay for replay in self._replays if replay.room is not room]

    def clear(self) -> None:
        """Drop all replays."""
        self._replays.clear()

    def _schedule(self) -> None:
        # Each page has a separate tick: a long replay must not delay other clients. Also, outside of a flush
        # the log and the feeds hold the same messages.
        self._context.clock.call_later(0.0, self._continue)

    def _continue(self) -> None:
        """Send the next page."""
        if not self._replays:
            return
        if not self._meter.admit(Costs.HISTORY):
            self._meter.call_when_free(self._continue)
            return
        replay = self._replays[0]
        log = self._context.hub.log
        if replay.lapped:
            replay.lapped = False
            self._send_gap(replay, replay.seq + 1, even_if_empty=True)
        else:
            try:
                page: Sequence[Said]
                if replay.room is None:
                    page = log.after(replay.inbox, replay.seq, REPLAY_PAGE, HISTORY_BYTES)
                else:
                    rooms = self._context.hub.rooms
                    page = rooms.after(replay.room, replay.seq, REPLAY_PAGE, HISTORY_BYTES)
                last_seq = log.last_seq(replay.inbox)
            except NotReadableError as error:
                self._send_error(replay, error)
                self._context.clock.call_later(REPLAY_RETRY_SECONDS, self._continue)
                return
            self._meter.charge(Costs.HISTORY_MESSAGE * len(page))
            for run in _runs(page):
                self._send_gap(replay, run[0].seq)
                self._send_page(replay, run)
                replay.seq = run[-1].seq
            if not page:
                self._send_gap(replay, last_seq + 1)
                replay.seq = last_seq
            if replay.seq >= last_seq:
                self._replays.pop(0)
                if replay.room is not None:
                    self._owner.on_caught_up(replay.room)
        if self._replays:
            self._transport.outbox.when_replies_sent(self._schedule)

    def _send_page(self, replay: Replay, page: Sequence[Said]) -> None:
        format = self._owner.format
        if replay.room is not None:
            data = format.encode(page)
        else:
            data = b"".join([format.whispered(message, replay.to) for message in page])
        self._transport.outbox.reply(data)

    def _send_gap(self, replay: Replay, before: int, *, even_if_empty: bool = False) -> None:
        """Tell the client which messages before this one it does not get.

        They have expired, or they are in a damaged part of the history.
        """
        if replay.room is not None and (even_if_empty or before > replay.seq + 1):
            gap = self._owner.format.frame("gap", room=replay.room.name, after=replay.seq, before=before)
            self._transport.outbox.reply(gap)

    def _send_error(self, replay: Replay, error: NotReadableError) -> None:
        """Tell the client, once, why its messages do not come yet."""
        if not replay.failed:
            replay.failed = True
            room = {} if replay.room is None else {"room": replay.room.name}
            self._transport.outbox.reply(self._owner.format.error(error, **room))


def _runs(page: Sequence[Said]) -> list[Sequence[Said]]:
    """Return the messages in runs of consecutive ``seq``."""
    if not page or page[-1].seq - page[0].seq + 1 == len(page):
        return [page] if page else []
    starts = [place for place in range(1, len(page)) if page[place].seq != page[place - 1].seq + 1]
    return [page[start:end] for start, end in zip([0, *starts], [*starts, len(page)], strict=True)]
