"""Clients that never see a message twice, miss one, or see two in another order than the log's.

Real client cores, real sessions, hub, feeds and outboxes; connections that break anywhere, readers that
stall and are lapped, a log that fails for a while and forgets, and a server that is started again. In the end
everyone has what the log has, in its order; what is not there was announced by a gap.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from selchat.client.events import Acked, Gap, Message, NotStored, Refused, Whispered
from selchat.client.protocol import selchat as rich
from selchat.client.protocol.selchat import ClientState, SelchatClient
from selchat.config.settings import ClientSettings
from selchat.net.fanout import Fanout
from selchat.net.outbox import Outbox
from selchat.sessions.context import Session
from selchat.sessions.detect import DetectSession
from selchat.wire.frames import FrameDecoder, encode_frame
from selchat.wire.requests import HELLO_LIMIT
from tests.chat.fakes import RecordingLog
from tests.client.selchat_support import take_data
from tests.e2e.web_support import TEXT, answers, opening, server_frames, texts
from tests.net.fakes import FakeSocket
from tests.sessions.test_selchat import House

NAMES = ("Michael", "Narayan", "Venkat")
_FEED = 2_000  # bytes: a few messages, so that readers are lapped
_who = st.integers(0, len(NAMES) - 1)

# Most of what can happen is that people talk and read, so that there is something to break.
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
        st.tuples(st.just("connect_again"), _who),
        st.tuples(st.just("connect_again"), _who),
        st.tuples(st.just("stall"), _who, st.integers(0, 2_000)),
        st.tuples(st.just("stall"), _who, st.integers(0, 300)),
        st.tuples(st.just("lap"), _who, st.integers(0, 2_500), _who),
        st.tuples(st.just("lap"), _who, st.integers(0, 2_500), _who),
        st.tuples(st.just("go_on"), _who),
        st.tuples(st.just("storage"), st.booleans()),
        st.tuples(st.just("storage"), st.just(False)),
        st.tuples(st.just("forget"), st.integers(0, 40)),
        st.tuples(st.just("restart"), st.booleans()),
    ),
    min_size=10,
    max_size=60,
)


class Line:
    """One connection: the server's side of it, and what the client has not read yet."""

    address = "192.168.43.169:54494"

    def __init__(self, house: House) -> None:
        self.fanout: Fanout = house.fanout
        self.sock = FakeSocket()
        self.outbox = Outbox(self.sock, self, 1 << 20)  # type: ignore[arg-type]
        self.session: Session = DetectSession(house.context, self)
        self.open = True
        self.read = 0  # bytes that the client has taken

    def up(self, data: bytes) -> bytes:
        """What a client core sends, as it comes to the session."""
        return data

    def down(self, data: bytes) -> bytes:
        """What the session has sent, as a client core reads it."""
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
        """Break it: what has not been taken by the socket never will be."""
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
    """One by WebSocket: each frame of the client core's is a message, and the other way round."""

    def __init__(self, house: House) -> None:
        super().__init__(house)
        self._answered = False
        self._rest = b""
        self.session.data_received(opening())

    def up(self, data: bytes) -> bytes:
        return texts(*FrameDecoder().receive_data(data)) if data else b""

    def down(self, data: bytes) -> bytes:
        data = self._rest + data
        if not self._answered:
            found, data = answers(data)
            self._answered = bool(found)
        frames, self._rest = server_frames(data) if self._answered else ([], data)
        return b"".join(encode_frame(payload) for opcode, payload in frames if opcode == TEXT)


class Person:
    """Someone with a client core, and everything that it has told."""

    def __init__(self, name: str) -> None:
        self.core = SelchatClient(ClientSettings(host="x", name=name), (name * 10)[:20])
        self.line: Line | None = None
        self.said: list[str] = []  # ids, in order
        self.heard: list[Any] = []  # messages and gaps of the lobby, in order
        self.whispers: list[Whispered] = []
        self.acked: list[str] = []

    def take(self, events: list[Any]) -> None:
        for one in events:
            if isinstance(one, Message | Gap):
                self.heard.append(one)
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
    lines: tuple[type[Line], ...] = (Line,)  # how people come, one after the other

    def __init__(self) -> None:
        super().__init__()
        self.limit = HELLO_LIMIT
        self.log = RecordingLog()
        self.log_failed = False
        self.house = self.make_house()
        self.people = [Person(name) for name in NAMES]
        for person in self.people:
            self.connect(person)
        self.settle()

    def make_house(self) -> House:
        return House(self.log, feed_limit=_FEED)

    @initialize(fits=st.booleans())
    def limit_hellos(self, fits: bool) -> None:
        """Let nothing be resumed in a hello, as if it were the last of many rooms; or all."""
        if not fits:
            self.limit = 0
            event("not in the hello")

    # -- what can happen -------------------------------------------------------------------------------

    @rule(acts=ACTS)
    def happens(self, acts: list[tuple[Any, ...]]) -> None:
        for name, *arguments in acts:
            getattr(self, name)(*arguments)

    def talk(self, who: int, count: int, size: int) -> None:
        """Say and send in one go, and let everyone else read what their sockets have taken."""
        self.connect_again(who)
        self.say(who, count, size)
        self.send(who, None)
        self.tick()

    def say(self, who: int, count: int, size: int) -> None:
        person = self.people[who]
        for _ in range(count):
            person.said.append(person.core.say(f"{len(person.said)} " + "x" * size))

    def whisper(self, who: int, to: int) -> None:
        person = self.people[who]
        person.said.append(person.core.whisper(NAMES[to], f"{len(person.said)}"))

    def send(self, who: int, most: int | None) -> None:
        """Carry what the client sends, or a part of it before the connection breaks."""
        person = self.people[who]
        line = person.line
        if line is None or not line.open:
            return
        data = line.up(take_data(person.core))
        if data[:most]:
            line.session.data_received(data[:most])
        if most is not None and most < len(data):
            event("broken while sending")
            self.drop(who)

    def receive(self, who: int, most: int | None) -> None:
        """Let the client read what its socket has, or some of it."""
        person = self.people[who]
        line = person.line
        if line is None:
            return
        data = bytes(line.sock.taken[line.read :])[:most]
        line.read += len(data)
        data = line.down(data) if data else b""
        if data:
            person.take(person.core.receive_data(data))
            assert person.core.error is None
        if not line.open and line.read == len(line.sock.taken):
            self.drop(who)

    def tick(self) -> None:
        self.house.tick()

    def drop(self, who: int) -> None:
        person = self.people[who]
        if person.line is not None:
            person.line.cut()
            person.line = None
            person.core.connection_lost()

    def connect_again(self, who: int) -> None:
        if self.people[who].line is None:
            self.connect(self.people[who])

    def stall(self, who: int, room: int) -> None:
        line = self.people[who].line
        if line is not None:
            line.sock.room = room
            event("stalled")

    def lap(self, who: int, room: int, other: int) -> None:
        """Let someone fall off the feed's tail, in the middle of a frame as a rule."""
        if other != who:
            self.connect_again(who)
            self.send(who, None)
            self.tick()
            self.stall(who, room)
            for _ in range(4):
                self.talk(other, 3, 700)

    def go_on(self, who: int) -> None:
        self.unblock(self.people[who])

    def storage(self, fails: bool) -> None:
        self.log_failed |= fails
        self.log.fail("disk full" if fails else None)

    def forget(self, keep: int) -> None:
        oldest = max(1, self.log.last_seq("lobby") - keep)
        if oldest > self.log.oldest.get("lobby", 1):
            event("forgotten")
            self.log.expire_before("lobby", oldest)

    def restart(self, tidy: bool) -> None:
        """Start the server again: what was not committed is lost, as are the connections."""
        for who in range(len(self.people)):
            self.drop(who)
        if tidy:
            self.house.tick()
        else:
            self.log.fail("killed")
            self.log.append("lobby", "nobody", ["never stored"], 0.0)
            try:
                self.log.commit()
            except Exception:
                pass
            self.log.fail(None)
        self.house = self.make_house()

    @rule()
    def settle(self) -> None:
        """Let everything come right, and look at it."""
        self.log.fail(None)
        for _ in range(200):
            busy = False
            for who, person in enumerate(self.people):
                if person.line is None:
                    self.connect(person)
                self.unblock(person)
                if person.core.wants_retry:
                    person.core.retry()
                    busy = True
                before = (person.line.read if person.line else 0, person.core.unacknowledged)
                self.send(who, None)
                self.house.tick()
                self.receive(who, None)
                busy |= before != (person.line.read if person.line else -1, person.core.unacknowledged)
            if not busy and not self.catching_up():
                break
        else:
            raise AssertionError("it never comes to rest")
        self.check()

    # -- what has to be true ---------------------------------------------------------------------------

    def check(self) -> None:
        stored = [said for said in self.log.committed if said.room == "lobby"]
        assert [said.seq for said in stored] == list(range(1, len(stored) + 1))
        ids = [said.id for said in self.log.committed]
        assert len(set(ids)) == len(ids), "nothing is stored twice"
        for person in self.people:
            assert person.core.state is ClientState.WELCOMED
            assert person.core.unacknowledged == 0
            assert person.acked == list(dict.fromkeys(person.acked)), "each is acknowledged once"
            assert set(person.acked) == set(person.said) <= set(ids)
            self.check_heard(person, stored)
            self.check_whispers(person)
            if not self.log_failed:  # what was on its way meanwhile may overtake what is said again
                mine = [said.id for said in stored if said.id in set(person.said)]
                assert mine == [id for id in person.said if id in set(mine)], "in the order of saying"

    def check_heard(self, person: Person, stored: list[Any]) -> None:
        next_seq = None
        for one in person.heard:
            if isinstance(one, Gap):
                if next_seq is not None:
                    assert one.after == next_seq - 1
                assert one.before <= self.log.oldest["lobby"], "what is missing was forgotten"
                next_seq = one.before
                continue
            if next_seq is not None:
                assert one.seq == next_seq, "no hole that was not announced, and nothing twice"
            said = stored[one.seq - 1]
            assert (one.author, one.body, one.id) == (said.author, said.body, said.id)
            assert one.own == (one.id in person.said)
            next_seq = one.seq + 1
        if next_seq is not None and stored:
            assert next_seq == len(stored) + 1, "nothing is missing at the end"

    def check_whispers(self, person: Person) -> None:
        stored = [said for said in self.log.committed if said.room == f"@{person.core.name.casefold()}"]
        assert [(one.seq, one.author, one.body) for one in person.whispers] == [
            (said.seq, said.author, said.body) for said in stored
        ]

    # --------------------------------------------------------------------------------------------------

    def connect(self, person: Person) -> None:
        person.line = self.lines[self.people.index(person) % len(self.lines)](self.house)
        resumed = {room.name: room.seq for room in person.core.rooms if room.can_resume}
        assert len(resumed) <= 1
        with pytest.MonkeyPatch.context() as patch:
            if not self.limit and resumed:
                person.core.connection_made()
                hello = take_data(person.core)
                assert json.loads(hello[10:])["resume"]["rooms"] == resumed
                person.core.connection_lost()
                patch.setattr(rich, "HELLO_LIMIT", len(hello) - 10 - 1)
            person.core.connection_made()

    def unblock(self, person: Person) -> None:
        line = person.line
        if line is not None and line.sock.room is not None:
            line.sock.room = None
            line.outbox.flush()

    def catching_up(self) -> bool:
        return any(getattr(person.line.session, "_catch_ups", None) for person in self.people if person.line)

    def teardown(self) -> None:
        self.settle()


class ResumeByWebSocket(Resume):
    """Two of three come by WebSocket."""

    lines = (WebLine, WebLine, Line)


TestResume, TestResumeByWebSocket = Resume.TestCase, ResumeByWebSocket.TestCase
if settings.get_current_profile_name() == "ci":
    TestResume.settings = settings(max_examples=150, stateful_step_count=5)
    TestResumeByWebSocket.settings = settings(max_examples=60, stateful_step_count=5)
else:
    TestResume.settings = settings(max_examples=5_000, stateful_step_count=8)
    TestResumeByWebSocket.settings = TestResume.settings
