"""Feeds, outboxes and the fan-out together, against a model that a child could check.

In the model each reader has a plain list of the whole frames that each source (room ``A``, room ``B``,
replies ``R``) owes it. Every frame has a unique id, so the test can split the bytes of the socket again:
a frame that is split, doubled, lost, echoed to its author or out of order is seen at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from hypothesis import event, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from selchat.feed import Feed, Subscription, SubscriptionState
from selchat.net.fanout import Fanout, LappedError
from selchat.net.outbox import Outbox, OutboxState
from tests.net.fakes import FakeSocket

ROOMS = ("A", "B")
MAX_READERS = 4


class Reader:
    """A connection without a reactor, its outbox's owner, and the model's expectation of it."""

    def __init__(self, name: str, fanout: Fanout) -> None:
        self.name = name
        self.sock = FakeSocket()
        self.fanout = fanout
        self.outbox = Outbox(self.sock, self, replies_limit=1_000_000)  # type: ignore[arg-type]
        self.subscriptions: dict[str, Subscription[Outbox]] = {}
        self.watching = False
        self.finishing = False
        self.finished = 0
        self.lost: Exception | None = None
        # The model: the frames that it should get, and how many of its socket's bytes are checked.
        self.owed: dict[str, list[bytes]] = {"A": [], "B": [], "R": []}
        self.got: dict[str, int] = {"A": 0, "B": 0, "R": 0}
        self.checked = 0

    @property
    def open(self) -> bool:
        return self.lost is None and not self.finished

    def schedule_flush(self) -> None:
        self.fanout.schedule_flush(self.outbox)

    def watch_writable(self, enabled: bool) -> None:
        assert enabled != self.watching, "the selector is touched only on a change"
        self.watching = enabled

    def on_drained(self) -> None:
        assert self.finishing
        self.finished += 1
        self.outbox.close()

    def on_send_error(self, error: Exception) -> None:
        self.fanout.close_later(self.abort, error)

    def abort(self, error: Exception) -> None:
        if self.open:
            self.lost = error
            self.outbox.close()

    def partial(self) -> bytes:
        """Return the first part of an incomplete frame."""
        return bytes(self.sock.taken[self.checked :])

    def check(self) -> None:
        """Check the bytes since the last check: each frame must be the next one of its source."""
        taken = self.sock.taken
        while len(taken) - self.checked >= 5:
            source = chr(taken[self.checked])
            size = 5 + int(taken[self.checked + 1 : self.checked + 5])
            frame = bytes(taken[self.checked : self.checked + size])
            assert self.got[source] < len(self.owed[source]), f"{self.name} is not owed {frame!r}"
            expected = self.owed[source][self.got[source]]
            if len(frame) < size:
                assert expected.startswith(frame), f"{self.name}: {frame!r} is no beginning of {expected!r}"
                return
            assert frame == expected, f"{self.name} got {frame!r} for {expected!r}"
            self.got[source] += 1
            self.checked += size

    def has_everything(self) -> bool:
        return not self.partial() and all(self.got[source] == len(self.owed[source]) for source in self.owed)


_who = st.integers(0, MAX_READERS - 1)
_room = st.sampled_from("AAAB")
_size = st.integers(0, 60)


def _act(name: str, *arguments: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[str, list[object]]]:
    return st.tuples(st.just(name), st.tuples(*arguments).map(list))


# The possible actions in a tick; frequent ones appear twice or more.
ACTS = st.lists(
    st.sampled_from(
        [
            *[_act("author_sends", _who, _room, _size)] * 4,
            *[_act("server_sends", _room, st.lists(_size, min_size=1, max_size=4))] * 3,
            *[_act("reply", _who, _size)] * 2,
            *[_act("stall", _who, st.sampled_from([0, 0, 1, 7, 30, 100]))] * 4,
            *[_act("unstall", _who)] * 2,
            *[_act("short_writes", _who, st.lists(st.integers(1, 80), min_size=1, max_size=4))] * 2,
            *[_act("writable", _who)] * 4,
            _act("append_nothing", _room, st.none() | _who),
            _act("connect", st.sampled_from(["A", "AB", "BA", "B", ""])),
            _act("join", _who, st.sampled_from(ROOMS)),
            _act("leave", _who, st.sampled_from(ROOMS)),
            _act("finish", _who, st.booleans()),
            _act("disconnect", _who, st.sampled_from(["die", "hang_up"]), st.integers(0, 3)),
        ]
    ).flatmap(lambda act: act),
    max_size=6,
)


class FeedOutboxMachine(RuleBasedStateMachine):
    """Readers connect, write, stall, leave and die; hypothesis decides when a tick ends."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = iter(range(1, 100_000))
        self.readers: list[Reader] = []
        self.all_readers: list[Reader] = []
        self.log: dict[str, list[bytes]] = {"A": [], "B": []}  # all frames of a room
        self.authors: dict[bytes, Reader] = {}
        self.sealed: dict[str, int] = {"A": 0, "B": 0}  # how many of these were sealed
        self.in_tick: set[str] = set()

    @initialize(
        limit=st.sampled_from([1, 60, 200, 1_000_000]),
        memberships=st.lists(st.sampled_from(["A", "A", "AB", "BA"]), min_size=2, max_size=MAX_READERS),
    )
    def build(self, limit: int, memberships: list[str]) -> None:
        self.limit = limit
        self.fanout = Fanout(limit)
        self.feeds: dict[str, Feed[Outbox]] = {room: Feed(limit) for room in ROOMS}
        for rooms in memberships:
            self.connect(rooms)

    # -- members ---------------------------------------------------------------------------------------

    def pick(self, number: int, condition: Callable[[Reader], bool] = lambda _reader: True) -> Reader | None:
        fitting = [reader for reader in self.readers if reader.open and condition(reader)]
        return fitting[number % len(fitting)] if fitting else None

    def connect(self, rooms: str) -> None:
        if len(self.readers) == MAX_READERS:
            return
        reader = Reader(f"reader {next(self.numbers)}", self.fanout)
        self.readers.append(reader)
        self.all_readers.append(reader)
        for room in rooms:
            reader.subscriptions[room] = reader.outbox.subscribe(self.feeds[room])

    def join(self, who: int, room: str) -> None:
        reader = self.pick(who, lambda reader: room not in reader.subscriptions and not reader.finishing)
        if reader is not None:
            event(f"join while {reader.outbox.state.name}")
            reader.subscriptions[room] = reader.outbox.subscribe(self.feeds[room])

    def leave(self, who: int, room: str) -> None:
        reader = self.pick(who, lambda reader: room in reader.subscriptions)
        if reader is not None:
            event(f"leave while {reader.outbox.state.name}")
            self.feeds[room].leave(reader.subscriptions.pop(room))

    def finish(self, who: int, writable: bool) -> None:
        reader = self.pick(who, lambda reader: not reader.finishing)
        if reader is not None:
            event(f"finish while {reader.outbox.state.name}")
            reader.finishing = True
            reader.outbox.finish()
            if writable and reader.watching:
                event("finish, then writable in the same tick")
                reader.sock.room = None
                reader.outbox.flush()

    def disconnect(self, who: int, how: str, unless: int) -> None:
        """Lose a peer, but not too often."""
        reader = self.pick(who)
        if reader is None or unless:
            return
        if how == "die":
            reader.sock.dead = True  # the next send finds out
        else:
            reader.abort(ConnectionAbortedError("hung up"))

    # -- messages --------------------------------------------------------------------------------------

    def frame(self, source: str, size: int) -> bytes:
        payload = b"%d:" % next(self.numbers) + b"x" * size
        return b"%s%04d" % (source.encode(), len(payload)) + payload

    def append(self, room: str, size: int, author: Reader | None) -> None:
        frame = self.frame(room, size)
        self.log[room].append(frame)
        self.in_tick.add(room)
        subscription = None
        if author is not None:
            subscription = author.subscriptions[room]
            self.authors[frame] = author
            event(f"author is {subscription.state.name}, {author.outbox.state.name}")
        for reader in self.readers:
            if reader is not author and room in reader.subscriptions:
                reader.owed[room].append(frame)
        self.feeds[room].append(frame, subscription)

    def author_sends(self, who: int, room: str, size: int) -> None:
        author = self.pick(who, lambda reader: room in reader.subscriptions)
        if author is not None:
            self.append(room, size, author)

    def server_sends(self, room: str, sizes: list[int]) -> None:
        for size in sizes:
            self.append(room, size, None)

    def append_nothing(self, room: str, who: int | None) -> None:
        """Append an event that this wire format cannot express."""
        author = None if who is None else self.pick(who, lambda reader: room in reader.subscriptions)
        self.feeds[room].append(b"", author and author.subscriptions[room])
        self.in_tick.add(room)

    def reply(self, who: int, size: int) -> None:
        reader = self.pick(who)
        if reader is not None:
            frame = self.frame("R", size)
            reader.outbox.reply(frame)
            reader.owed["R"].append(frame)

    # -- sockets ---------------------------------------------------------------------------------------

    def stall(self, who: int, room: int) -> None:
        reader = self.pick(who)
        if reader is not None:
            reader.sock.room = room

    def unstall(self, who: int) -> None:
        reader = self.pick(who)
        if reader is not None:
            reader.sock.room = None

    def short_writes(self, who: int, sizes: list[int]) -> None:
        reader = self.pick(who)
        if reader is not None:
            reader.sock.script = deque(sizes)

    def writable(self, who: int) -> None:
        reader = self.pick(who, lambda reader: reader.watching and reader.sock.room != 0)
        if reader is not None:
            event("writable")
            reader.outbox.flush()

    # -- ticks -----------------------------------------------------------------------------------------

    @rule(acts=ACTS, backwards=st.booleans(), all_rooms=st.booleans())
    def tick(self, acts: list[tuple[str, list[object]]], backwards: bool, all_rooms: bool) -> None:
        """A whole tick is one rule, because single actions seldom interact."""
        for name, arguments in acts:
            getattr(self, name)(*arguments)
            self.live_subscribers_have_idle_outboxes()
        self.end_tick(backwards, all_rooms)

    def end_tick(self, backwards: bool, all_rooms: bool) -> None:
        for room in ROOMS[::-1] if backwards else ROOMS:
            if all_rooms or room in self.in_tick:
                self.sealed[room] = len(self.log[room])
                self.fanout.deliver(self.feeds[room])
                self.check_memory(self.feeds[room])
        self.in_tick.clear()
        self.fanout.finish()
        for reader in self.readers:
            reader.check()
            if reader.finishing:
                reader.subscriptions.clear()  # it gets nothing more
            if reader.open:
                self.check_served(reader)
            elif isinstance(reader.lost, LappedError):
                self.check_lapped(reader)
            elif reader.lost is not None and not isinstance(reader.lost, ConnectionAbortedError):
                assert isinstance(reader.lost, ConnectionResetError)
                assert reader.sock.dead
        self.readers = [reader for reader in self.readers if reader.open]

    def check_served(self, reader: Reader) -> None:
        """A reader without everything must be waiting for its socket, and for nothing else."""
        assert reader.outbox.state in {OutboxState.IDLE, OutboxState.BLOCKED}
        assert reader.watching == (reader.outbox.state is OutboxState.BLOCKED)
        assert not reader.sock.refused, "a dead peer is closed in the tick that finds it"
        if reader.outbox.state is OutboxState.IDLE:
            assert reader.has_everything()
            assert not reader.finishing
            for subscription in reader.subscriptions.values():
                assert subscription.state is SubscriptionState.LIVE

    def check_memory(self, feed: Feed[Outbox]) -> None:
        if not feed.behind:
            feed.trim()  # the last of them may have gone after the delivery has settled
        kept = [len(chunk) for chunk in feed._chunks]
        if not feed.behind:
            assert not kept, "live readers retain nothing"
        elif kept:
            assert sum(kept) <= self.limit + max(kept)

    def check_lapped(self, reader: Reader) -> None:
        """A reader lapped in a room was more than the limit behind."""
        event("lapped")
        unread = {}
        for room in ROOMS:
            if reader.got[room] == len(reader.owed[room]):
                continue
            missing = reader.owed[room][reader.got[room]]
            log = self.log[room][: self.sealed[room]]
            unread[room] = sum(map(len, log[log.index(missing) :])) if missing in log else 0
            if reader.partial().startswith(room.encode()):
                unread[room] -= len(reader.partial())
        note(f"{reader.name} was lapped with {unread} unread")
        assert max(unread.values()) > self.limit

    # -- what always holds -----------------------------------------------------------------------------

    @invariant()
    def readers_got_only_the_expected_frames(self) -> None:
        for reader in self.readers:
            reader.check()

    @precondition(lambda self: hasattr(self, "feeds"))
    @invariant()
    def live_subscribers_have_idle_outboxes(self) -> None:
        for feed in self.feeds.values():
            for subscription in feed.live:
                assert subscription.state is SubscriptionState.LIVE
                assert subscription.reader.state is OutboxState.IDLE
                assert subscription not in feed.behind
            for subscription in feed.behind:
                assert subscription.state is SubscriptionState.BEHIND
        for reader in self.readers:
            for subscription in reader.subscriptions.values():
                if subscription.state is SubscriptionState.WRITING:
                    assert reader.outbox.state is OutboxState.IDLE

    @invariant()
    def feeds_count_the_readers_that_have_not_left(self) -> None:
        subscriptions = [each for reader in self.readers for each in reader.subscriptions.values()]
        for feed in getattr(self, "feeds", {}).values():
            writing = {each for each in subscriptions if each.state is SubscriptionState.WRITING}
            found = {*feed.live, *feed.behind, *(each for each in writing if each.feed is feed)}
            assert feed.readers == sum(each.is_reading for each in found)

    @invariant()
    def closed_readers_are_in_no_feed(self) -> None:
        gone = {reader.outbox for reader in self.all_readers if not reader.open}
        for feed in getattr(self, "feeds", {}).values():
            assert gone.isdisjoint(subscription.reader for subscription in (*feed.live, *feed.behind))

    def teardown(self) -> None:
        """Let everyone read to the end: each remaining reader has exactly its frames."""
        if not hasattr(self, "feeds"):
            return
        for reader in self.readers:
            reader.sock.room = None
            reader.sock.script.clear()
        self.end_tick(backwards=False, all_rooms=True)
        for reader in self.readers:
            if reader.watching:
                reader.outbox.flush()
        self.end_tick(backwards=False, all_rooms=True)
        for reader in self.readers:
            assert reader.has_everything()
            assert reader.outbox.state is OutboxState.IDLE
        for reader in self.all_readers:
            if reader.finished:
                assert reader.finished == 1
                assert reader.has_everything()
        for feed in self.feeds.values():
            assert not feed.behind
            self.check_memory(feed)


EXAMPLES, STEPS = {"quick": (40, 30), "ci": (100, 30), "mutation": (40, 20), "nightly": (5_000, 100)}[
    settings.get_current_profile_name()
]
TestFeedOutbox = FeedOutboxMachine.TestCase
TestFeedOutbox.settings = settings(max_examples=EXAMPLES, stateful_step_count=STEPS)
