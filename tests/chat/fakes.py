"""Fakes for everything around the hub: clock, observer, log, wire format and sessions."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from selchat.chat.hub import Hub
from selchat.chat.member import Member
from selchat.chat.peer import Farewell
from selchat.chat.room import Room
from selchat.errors import RefusalError
from selchat.events import LOBBY, Event, Joined, Left, Notice, Said
from selchat.log.memory import MemoryLog
from selchat.log.port import NotStoredError, Sent
from selchat.net.fanout import Fanout
from selchat.net.outbox import Outbox
from tests.net.fakes import FakeSocket


class FakeTimer:
    def __init__(self, callback: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self.callback: Callable[..., object] | None = callback
        self.arguments = arguments

    def cancel(self) -> None:
        self.callback = None


class FakeClock:
    """Time that a test advances."""

    def __init__(self) -> None:
        self.now = 100.0
        self._timers: list[tuple[float, int, FakeTimer]] = []
        self._order = count()

    def call_later(self, delay: float, callback: Callable[..., object], *arguments: Any) -> FakeTimer:
        timer = FakeTimer(callback, arguments)
        heapq.heappush(self._timers, (self.now + delay, next(self._order), timer))
        return timer

    @property
    def pending(self) -> int:
        return sum(timer.callback is not None for _, _, timer in self._timers)

    @property
    def due(self) -> bool:
        """Whether a timer is due in the next tick."""
        return any(timer.callback is not None and when <= self.now for when, _, timer in self._timers)

    def advance(self, seconds: float) -> None:
        """Start a tick ``seconds`` later: run every due timer, all with the same ``now``.

        Real ticks have different times, and so have these.
        """
        self.now += seconds or 1e-9
        due = []
        while self._timers and self._timers[0][0] <= self.now:
            due.append(heapq.heappop(self._timers)[2])
        for timer in due:
            callback, timer.callback = timer.callback, None
            if callback is not None:
                callback(*timer.arguments)


class RecordingLog(MemoryLog):
    """A memory log that records commits and can fail."""

    def __init__(self) -> None:
        super().__init__(1 << 30)
        self.appended: list[Said] = []
        self.committed: list[Said] = []
        self.commits = 0
        self.failure: str | None = None
        self.oldest: dict[str, int] = {}

    def append(self, room: str, author: str, bodies: Sequence[str], at: float, *more: Any) -> list[Said]:
        messages = super().append(room, author, bodies, at, *more)
        self.appended += messages
        return messages

    def fail(self, why: str | None) -> None:
        """Make commits fail from now on, or (None) succeed again."""
        self.failure = why

    def expire_before(self, room: str, seq: int) -> None:
        """Make the messages of the room below ``seq`` expire."""
        self.oldest[room] = seq

    def after(self, room: str, seq: int, limit: int, size: int) -> list[Said]:
        return super().after(room, max(seq, self.oldest.get(room, 1) - 1), limit, size)

    def commit(self) -> None:
        if self.failure is not None:
            for log in self._staged:
                log.staged = []
                log.staged_seq = log.seq
            self._staged.clear()
            self._staged_sent.clear()
            self.appended.clear()
            raise NotStoredError(self.failure)
        super().commit()
        self.commits += 1
        self.committed += self.appended
        self.appended.clear()


class FakeObserver:
    """Records the events that it gets; the log must have each message by then."""

    def __init__(self, log: RecordingLog | None = None) -> None:
        self.log = log
        self.seen: list[tuple[str, str, str | None]] = []
        self.failure: Exception | None = None  # what its methods raise while the hub publishes

    def on_sign_in(self, member: Member) -> None:
        self.seen.append(("joined", member.name, member.address))

    def on_published(self, events: Sequence[Event]) -> None:
        self._fail()
        for event in events:
            if isinstance(event, Said):
                assert self.log is None or event in self.log.committed[-2000:]
                self.seen.append(("said", event.author, event.body))

    def on_sign_out(self, member: Member, reason: str | None) -> None:
        self.seen.append(("left", member.name, reason))

    def on_announcement_lost(self, messages: Sequence[Event], error: NotStoredError) -> None:
        self._fail()
        for message in messages:
            assert isinstance(message, Said)
            self.seen.append(("announcement lost", message.author, message.body))

    def on_log_state(self, error: NotStoredError | None) -> None:
        self._fail()
        self.seen.append(("log state", "", None if error is None else error.why))

    def closed_before_login(self, address: str, reason: str | None) -> None:
        self.seen.append(("stranger left", address, reason))

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


class LineFormat:
    """Encodes each event as a line, except `Joined` and `Left`; records the events that it encoded."""

    def __init__(self, log: RecordingLog | None = None) -> None:
        self.log = log
        self.encoded: list[Event] = []

    def encode(self, events: Sequence[Event]) -> bytes:
        for event in events:
            assert self.log is None or not isinstance(event, Said) or event in self.log.committed[-2000:]
        events = [event for event in events if not isinstance(event, Joined | Left)]
        self.encoded += events
        return b"".join(map(line, events))


def line(event: Event) -> bytes:
    return ascii(event).encode() + b"\n"


class FakePeer:
    """A session with a real outbox; its socket accepts all data."""

    def __init__(self, hub: Hub, fanout: Fanout, format: LineFormat) -> None:
        self.hub = hub
        self.fanout = fanout
        self.format = format
        self.sock = FakeSocket()
        self.outbox = Outbox(self.sock, self, 1 << 20)  # type: ignore[arg-type]
        self.member: Member | None = None
        self.closed_for: list[str | None] = []
        self.gone = False
        self.replies: list[tuple[Any, ...]] = []
        self.failure: Exception | None = None  # what its acknowledgements and rejections raise

    @property
    def lines(self) -> list[bytes]:
        return self.sock.taken.splitlines(keepends=True)

    def sign_in(self, name: str, address: str = "192.168.43.169:54494") -> Member:
        self.member = member = self.hub.sign_in_guest(name, address, self)
        self.join_room(LOBBY)
        return member

    def join_room(self, name: str) -> Room:
        assert self.member is not None
        room = self.hub.join_room(self.member, name)
        self.member.rooms[room] = self.outbox.subscribe(room.feed(self.format))
        return room

    def send_notice(self, notice: Notice) -> None:
        self.outbox.reply(line(notice))

    def acknowledge(self, messages: Sequence[Said]) -> None:
        self._fail()
        self.replies += [("stored", message.id, message.seq) for message in messages]

    def acknowledge_repeated(self, messages: Sequence[Sent]) -> None:
        self.replies += [("repeated", message.id, message.seq) for message in messages]

    def reject(self, error: RefusalError, ids: Sequence[str]) -> None:
        self._fail()
        self.replies.append((error.code, tuple(ids)))

    def deliver_direct(self, message: Said, to: str) -> None:
        self.replies.append(("whispered", message.author, to, message.body, message.seq))

    def disconnect(self, farewell: Farewell) -> None:
        self.send_notice(Notice(farewell.notice))
        self.sign_out(farewell.reason)

    def sign_out(self, reason: str | None) -> None:
        assert self.member is not None
        self.closed_for.append(reason)
        self.hub.sign_out(self.member, reason)
        self.outbox.finish()

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure

    def schedule_flush(self) -> None:
        self.fanout.schedule_flush(self.outbox)

    def watch_writable(self, enabled: bool) -> None:
        raise AssertionError("the socket accepts all data")

    def on_drained(self) -> None:
        self.gone = True
        self.outbox.close()

    def on_send_error(self, error: Exception) -> None:
        raise AssertionError(error)


def end_tick(hub: Hub, fanout: Fanout) -> None:
    """Publish and deliver, as the server does at the end of a tick."""
    for feed in hub.publish():
        fanout.deliver(feed)
    fanout.finish()
