"""Clients get each message of the log exactly once and in its order, whatever fails.

The test runs real client cores, sessions, hub, feeds and outboxes. Connections break anywhere, readers stall
and lap, the log fails for a while and expires messages, and the server restarts. In the end each client has
the messages of the log, in the same order; a gap announced each missing one.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from selchat.client.events import Acked, Gap, Message, NotStored, Refused, Whispered
from selchat.client.protocol import selchat as selchat
from selchat.client.protocol.selchat import ClientState, SelchatClient
from selchat.config.settings import ClientSettings
from selchat.limits import HELLO_LIMIT
from selchat.net.fanout import Fanout
from selchat.net.outbox import Outbox
from selchat.sessions.context import Session
from selchat.sessions.detect import DetectSession
from selchat.wire.frames import FrameDecoder, encode_frame
from tests.chat.fakes import RecordingLog
from tests.client.selchat_support import take_data
from tests.e2e.web_support import TEXT, answers, opening, server_frames, texts
from tests.net.fakes import FakeSocket
from tests.sessions.test_selchat import FakeServer

NAMES = ("Michael", "Narayan", "Venkat")
_FEED = 2_000  # bytes: a few messages, so that readers are lapped
_who = st.integers(0, len(NAMES) - 1)

# Most steps send and receive, so that there is traffic to break.
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("talk"), _who, st.integers(1, 20), st.sampled_from([0, 50, 700])),
        st.tuples(st.just("talk"), _who, st.integers(1, 5), st.sampled_from([0, 700])),
        st.tuples(st.just("say"), _who, st.integers(1, 5), st.just(50)),
        st.tuples(st.just("whisper"), _who, _who),
        st.tuples(st.just("send"), _who, st.one_of(st.none(), st.integers(0, 400))),
        st.tuples(st.just("receive"), _who, st.one_of(st.none(), st.integers(1, 3000))),
        st.tuples(st.just("receive"), _who, st.none()),
        st.tuples(st.just("tick")),
        st.tuples(st.just("drop"), _who),
        st.tuples(st.just("reconnect"), _who),
        st.tuples(st.just("reconnect"), _who),
        st.tuples(st.just("stall"), _who, st.integers(0, 2_000)),
        st.tuples(st.just("stall"), _who, st.integers(0, 300)),
        st.tuples(st.just("lap"), _who, st.integers(0, 2_500), _who),
        st.tuples(st.just("lap"), _who, st.integers(0, 2_500), _who),
        st.tuples(st.just("resume_reading"), _who),
        st.tuples(st.just("set_log_failure"), st.booleans()),
        st.tuples(st.just("set_log_failure"), st.just(False)),
        st.tuples(st.just("expire"), st.integers(0, 40)),
        st.tuples(st.just("restart"), st.booleans()),
    ),
    min_size=10,
    max_size=60,
)


class Line:
    """One connection: the server's end, and the bytes for the client."""

    address = "192.168.43.169:54494"

    def __init__(self, server: FakeServer) -> None:
        self.fanout: Fanout = server.fanout
        self.sock = FakeSocket()
        self.outbox = Outbox(self.sock, self, 1 << 20)  # type: ignore[arg-type]
        self.session: Session = DetectSession(server.context, self)
        self.open = True
        self.read = 0  # bytes that the client has read

    def up(self, data: bytes) -> bytes:
        """Convert bytes of the client core to the bytes that the session receives."""
        return data

    def down(self, data: bytes) -> bytes:
        """Convert bytes of the session to the bytes that the client core receives."""
        return data

    def set_handler(self, session: Session) -> None:
        self.session = session

    def start_tls(self, first: bytes) -> None:
        raise AssertionError

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def close(self, reason: str | None = None, final_data: bytes = b"") -> None:
        if self.open:
            self.open = False
            self.session.connection_lost(reason)
            self.outbox.finish(final_data)

    def cut(self) -> None:
        """Break the connection: the bytes that the socket has not accepted are lost."""
        if self.open:
            self.open = False
            self.session.connection_lost("connection reset by peer")
        self.outbox.close()

    def schedule_flush(self) -> None:
        self.fanout.schedule_flush(self.outbox)

    def watch_writable(self, enabled: bool) -> None:
        pass

    def on_drained(self) -> None:
        pass

    def on_send_error(self, error: Exception) -> None:
        raise AssertionError(error)


class WebLine(Line):
    """A WebSocket connection: each frame of the client core becomes a message, and each message a frame."""

    def __init__(self, server: FakeServer) -> None:
        super().__init__(server)
        self._upgraded = False
        self._rest = b""
        self.session.data_received(opening())

    def up(self, data: bytes) -> bytes:
        return texts(*FrameDecoder().receive_data(data)) if data else b""

    def down(self, data: bytes) -> bytes:
        data = self._rest + data
        if not self._upgraded:
            found, data = answers(data)
            self._upgraded = bool(found)
        frames, self._rest = server_frames(data) if self._upgraded else ([], data)
        return b"".join(encode_frame(payload) for opcode, payload in frames if opcode == TEXT)


class User:
    """A user with a client core, and all events of that core."""

    def __init__(self, name: str) -> None:
        self.core = SelchatClient(ClientSettings(host="x", name=name), (name * 10)[:20])
        self.line: Line | None = None
        self.sent: list[str] = []  # ids, in order
        self.received: list[Any] = []  # messages and gaps of the lobby, in order
        self.whispers: list[Whispered] = []
        self.acked: list[str] = []

    def receive(self, events: list[Any]) -> None:
        for one in events:
            if isinstance(one, Message | Gap):
                self.received.append(one)
                if isinstance(one, Gap):
                    event("a gap")
            elif isinstance(one, Acked):
                self.acked.append(one.id)
            elif isinstance(one, Whispered):
                self.whispers.append(one)
            else:
                assert not isinstance(one, Refused), one
                if isinstance(one, NotStored):
                    event("not stored")


class Resume(RuleBasedStateMachine):
    lines: tuple[type[Line], ...] = (Line,)  # the kinds of connections, for one user after the other

    def __init__(self) -> None:
        super().__init__()
        self.limit = HELLO_LIMIT
        self.log = RecordingLog()
        self.log_failed = False
        self.server = self.make_house()
        self.users = [User(name) for name in NAMES]
        for user in self.users:
            self.connect(user)
        self.settle()

    def make_house(self) -> FakeServer:
        return FakeServer(self.log, feed_limit=_FEED)

    @initialize(fits=st.booleans())
    def limit_hellos(self, fits: bool) -> None:
        """Let a hello resume all rooms, or, as if there were too many of them, none."""
        if not fits:
            self.limit = 0
            event("no room in the hello")

    # -- steps -------------------------------------------------------------------------------------------

    @rule(acts=ACTS)
    def run(self, acts: list[tuple[Any, ...]]) -> None:
        for name, *arguments in acts:
            getattr(self, name)(*arguments)

    def talk(self, who: int, count: int, size: int) -> None:
        """Send messages through the server to all others."""
        self.reconnect(who)
        self.say(who, count, size)
        self.send(who, None)
        self.tick()

    def say(self, who: int, count: int, size: int) -> None:
        user = self.users[who]
        for _ in range(count):
            user.sent.append(user.core.say(f"{len(user.sent)} " + "x" * size))

    def whisper(self, who: int, to: int) -> None:
        user = self.users[who]
        user.sent.append(user.core.whisper(NAMES[to], f"{len(user.sent)}"))

    def send(self, who: int, limit: int | None) -> None:
        """Pass the client's bytes to the server, or only ``limit`` of them before the connection breaks."""
        user = self.users[who]
        line = user.line
        if line is None or not line.open:
            return
        data = line.up(take_data(user.core))
        if data[:limit]:
            line.session.data_received(data[:limit])
        if limit is not None and limit < len(data):
            event("broken while sending")
            self.drop(who)

    def receive(self, who: int, limit: int | None) -> None:
        """Let the client read its socket, but at most ``limit`` bytes."""
        user = self.users[who]
        line = user.line
        if line is None:
            return
        data = bytes(line.sock.taken[line.read :])[:limit]
        line.read += len(data)
        data = line.down(data) if data else b""
        if data:
            user.receive(user.core.receive_data(data))
            assert user.core.error is None
        if not line.open and line.read == len(line.sock.taken):
            self.drop(who)

    def tick(self) -> None:
        self.server.tick()

    def drop(self, who: int) -> None:
        user = self.users[who]
        if user.line is not None:
            user.line.cut()
            user.line = None
            user.core.connection_lost()

    def reconnect(self, who: int) -> None:
        if self.users[who].line is None:
            self.connect(self.users[who])

    def stall(self, who: int, room: int) -> None:
        line = self.users[who].line
        if line is not None:
            line.sock.room = room
            event("stalled")

    def lap(self, who: int, room: int, other: int) -> None:
        """Let a reader lap, usually in the middle of a frame."""
        if other != who:
            self.reconnect(who)
            self.send(who, None)
            self.tick()
            self.stall(who, room)
            for _ in range(4):
                self.talk(other, 3, 700)

    def resume_reading(self, who: int) -> None:
        self.unblock(self.users[who])

    def set_log_failure(self, fails: bool) -> None:
        self.log_failed |= fails
        self.log.fail("disk full" if fails else None)

    def expire(self, keep: int) -> None:
        oldest = max(1, self.log.last_seq("lobby") - keep)
        if oldest > self.log.oldest.get("lobby", 1):
            event("expired")
            self.log.expire_before("lobby", oldest)

    def restart(self, clean: bool) -> None:
        """Restart the server: connections and uncommitted messages are lost."""
        for who in range(len(self.users)):
            self.drop(who)
        if clean:
            self.server.tick()
        else:
            self.log.fail("killed")
            self.log.append("lobby", "nobody", ["never stored"], 0.0)
            try:
                self.log.commit()
            except Exception:
                pass
            self.log.fail(None)
        self.server = self.make_house()

    @rule()
    def settle(self) -> None:
        """Repair all faults, wait until all traffic has stopped, and check the result."""
        self.log.fail(None)
        idle_rounds = 0
        for _ in range(200):
            busy = False
            for who, user in enumerate(self.users):
                if user.line is None:
                    self.connect(user)
                self.unblock(user)
                if user.core.wants_retry:
                    user.core.retry()
                    busy = True
                before = (user.line.read if user.line else 0, user.core.unacknowledged)
                self.send(who, None)
                self.server.tick()
                self.receive(who, None)
                busy |= before != (user.line.read if user.line else -1, user.core.unacknowledged)
            idle_rounds = 0 if busy else idle_rounds + 1
            if idle_rounds == 3:  # a replay sends its next page one tick later
                break
        else:
            raise AssertionError("the traffic never stops")
        self.check()

    # -- checks ------------------------------------------------------------------------------------------

    def check(self) -> None:
        stored = [said for said in self.log.committed if said.room == "lobby"]
        assert [said.seq for said in stored] == list(range(1, len(stored) + 1))
        ids = [said.id for said in self.log.committed]
        assert len(set(ids)) == len(ids), "no message is stored twice"
        for user in self.users:
            assert user.core.state is ClientState.WELCOMED
            assert user.core.unacknowledged == 0
            assert user.acked == list(dict.fromkeys(user.acked)), "each message is acknowledged once"
            assert set(user.acked) == set(user.sent) <= set(ids)
            self.check_received(user, stored)
            self.check_whispers(user)
            if not self.log_failed:  # later messages may overtake resent ones
                mine = [said.id for said in stored if said.id in set(user.sent)]
                assert mine == [id for id in user.sent if id in set(mine)], (
                    "in the order in which they were sent"
                )

    def check_received(self, user: User, stored: list[Any]) -> None:
        next_seq = None
        for one in user.received:
            if isinstance(one, Gap):
                if next_seq is not None:
                    assert one.after == next_seq - 1
                assert one.before <= self.log.oldest["lobby"], "the missing messages have expired"
                next_seq = one.before
                continue
            if next_seq is not None:
                assert one.seq == next_seq, "no unannounced hole, and no duplicate"
            said = stored[one.seq - 1]
            assert (one.author, one.body, one.id) == (said.author, said.body, said.id)
            assert one.own == (one.id in user.sent)
            next_seq = one.seq + 1
        if next_seq is not None and stored:
            assert next_seq == len(stored) + 1, "no message is missing at the end"

    def check_whispers(self, user: User) -> None:
        stored = [said for said in self.log.committed if said.room == f"@{user.core.name.casefold()}"]
        assert [(one.seq, one.author, one.body) for one in user.whispers] == [
            (said.seq, said.author, said.body) for said in stored
        ]

    # --------------------------------------------------------------------------------------------------

    def connect(self, user: User) -> None:
        user.line = self.lines[self.users.index(user) % len(self.lines)](self.server)
        resumed = {room.name: room.seq for room in user.core.rooms if room.can_resume}
        assert len(resumed) <= 1
        with pytest.MonkeyPatch.context() as patch:
            if not self.limit and resumed:
                user.core.connection_made()
                hello = take_data(user.core)
                assert json.loads(hello[10:])["resume"]["rooms"] == resumed
                user.core.connection_lost()
                patch.setattr(selchat, "HELLO_LIMIT", len(hello) - 10 - 1)
            user.core.connection_made()

    def unblock(self, user: User) -> None:
        line = user.line
        if line is not None and line.sock.room is not None:
            line.sock.room = None
            line.outbox.flush()

    def teardown(self) -> None:
        self.settle()


class ResumeByWebSocket(Resume):
    """Two of the three users connect by WebSocket."""

    lines = (WebLine, WebLine, Line)


TestResume, TestResumeByWebSocket = Resume.TestCase, ResumeByWebSocket.TestCase
EXAMPLES, WEB_EXAMPLES, STEPS = {
    "quick": (50, 20, 5),
    "ci": (150, 60, 5),
    "mutation": (40, 40, 5),
    "nightly": (5_000, 5_000, 8),
}[settings.get_current_profile_name()]
TestResume.settings = settings(max_examples=EXAMPLES, stateful_step_count=STEPS)
TestResumeByWebSocket.settings = settings(max_examples=WEB_EXAMPLES, stateful_step_count=STEPS)
