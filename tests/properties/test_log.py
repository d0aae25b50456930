"""Test the logs against a model: a list of messages in commit order.

The log in a file also fails in any order: at the start or in the middle of a commit, by locks of other
programs, by reopening and by expiry.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from selchat.events import Said
from selchat.log.memory import MemoryLog
from selchat.log.port import Log, NotStoredError, Sent
from selchat.log.retention import Retention
from selchat.log.sqlite import SqliteLog
from tests.log.support import ALL, check_integrity, locked

ROOMS = st.sampled_from(["lobby", "attic", "@venkat", ""])
CLIENTS = st.sampled_from([b"venkat" * 3, b"michael", b""])
TEXTS = st.text(max_size=5)
KEYS = st.sampled_from(["a", "b", "\0"])
DAY = 86_400.0


class Model:
    """The expected contents of a log."""

    def __init__(self) -> None:
        self.kept: list[tuple[Said, bytes | None]] = []
        self.sent: list[tuple[Said, bytes | None]] = []
        self.last_seq: dict[str, int] = {}
        self.records: dict[tuple[str, str], str] = {}

    def in_room(self, room: str) -> list[Said]:
        return [said for said, _ in self.kept if said.room == room]


def limited(messages: list[Said], limit: int, size: int) -> list[Said]:
    found: list[Said] = []
    for message in messages[: max(0, limit)]:
        if found and sum(len(one.body) for one in [*found, message]) > size:
            break
        found.append(message)
    return found


class MemoryLogMachine(RuleBasedStateMachine):
    """Operations of every log."""

    @initialize()
    def build(self) -> None:
        self.model = Model()
        self.staged: list[tuple[Said, bytes | None]] = []
        self.staged_records: dict[tuple[str, str], str | None] = {}
        self.now = 0.0
        self.log = self.make()

    def make(self) -> Log:
        return MemoryLog(ALL)

    @rule(
        room=ROOMS,
        texts=st.lists(TEXTS, max_size=4),
        client=st.none() | CLIENTS,
        ciphers=st.booleans(),
        pause=st.sampled_from([0.0, 0.001, DAY / 2, -DAY]),
    )
    def append(self, room: str, texts: list[str], client: bytes | None, ciphers: bool, pause: float) -> None:
        self.now += pause
        ids = [] if client is None else [f"{text}.{place}" for place, text in enumerate(texts)]
        first = self.model.last_seq.get(room, 0) + 1 + sum(said.room == room for said, _ in self.staged)
        expected = [
            Said(
                room,
                first + place,
                "me",
                text,
                self.now,
                ids[place] if ids else "",
                text if ciphers else None,
            )
            for place, text in enumerate(texts)
        ]
        messages = self.log.append(room, "me", texts, self.now, ids, texts if ciphers else (), client)
        assert messages == expected
        self.staged += [(message, client) for message in messages]

    @rule(kind=KEYS, key=KEYS, value=st.none() | TEXTS)
    def put(self, kind: str, key: str, value: str | None) -> None:
        self.log.put(kind, key, value)
        self.staged_records[kind, key] = value

    @rule()
    def commit(self) -> None:
        self.log.commit()
        self.model.kept += self.staged
        self.model.sent += self.staged
        for said, _ in self.staged:
            self.model.last_seq[said.room] = said.seq
        self.staged.clear()
        self._store_records()

    def _store_records(self) -> None:
        for place, value in self.staged_records.items():
            self.model.records.pop(place, None)
            if value is not None:
                self.model.records[place] = value
        self.staged_records.clear()

    @rule(room=ROOMS, seq=st.integers(-2, 30), limit=st.integers(-1, 9), size=st.integers(-1, 20))
    def read(self, room: str, seq: int, limit: int, size: int) -> None:
        said = self.model.in_room(room)
        after = [one for one in said if one.seq > seq]
        assert self.log.after(room, seq, limit, size) == limited(after, limit, size)
        before = [one for one in said if one.seq < seq][::-1]
        assert self.log.before(room, seq, limit, size) == limited(before, limit, size)[::-1]
        assert self.log.before(room, None, limit, size) == limited(said[::-1], limit, size)[::-1]

    @rule(client=CLIENTS, limit=st.integers(-1, 9))
    def read_sent(self, client: bytes, limit: int) -> None:
        sent = [Sent(said.id, said.room, said.seq, said.at) for said, by in self.model.sent if by == client]
        assert self.log.sent(client, limit) == sent[max(0, len(sent) - max(0, limit)) :]

    @invariant()
    def log_equals_model(self) -> None:
        assert self.log.staged == bool(self.staged or self.staged_records)
        assert sorted(self.log.rooms()) == sorted({said.room for said, _ in self.model.kept})
        for room in ("lobby", "attic", "@venkat", "", "nowhere"):
            said = self.model.in_room(room)
            assert self.log.after(room, 0, ALL, ALL) == said
            assert self.log.last_seq(room) == self.model.last_seq.get(room, 0)
            assert [one.seq for one in said] == list(
                range(self.log.last_seq(room) - len(said) + 1, self.log.last_seq(room) + 1)
            )
        for kind in ("a", "b", "\0"):
            expected = {key: value for (of_kind, key), value in self.model.records.items() if of_kind == kind}
            for (of_kind, key), value in self.staged_records.items():
                if of_kind == kind:
                    expected.pop(key, None)
                    if value is not None:
                        expected[key] = value
            assert self.log.records(kind) == expected

    def teardown(self) -> None:
        if hasattr(self, "log"):
            self.log.close()


class SqliteLogMachine(MemoryLogMachine):
    """Operations and failures of a log in a file."""

    def __init__(self) -> None:
        super().__init__()
        # The test needs no disk, and each of its many commits would wait for one.
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="selchat-", dir=memory))
        self.path = self.folder / "history"
        self.id = ""

    def make(self) -> Log:
        log = SqliteLog(self.path, Retention(days=1), busy_seconds=0.0, max_rooms=2)  # of four
        assert self.id in {"", log.id}
        self.id = log.id
        return log

    def _discard_staged(self) -> None:
        self.staged.clear()

    @precondition(lambda self: self.staged or self.staged_records)
    @rule()
    def fail_at_start(self) -> None:
        event("a commit failed at its start")
        with locked(self.path), pytest.raises(NotStoredError):
            self.log.commit()
        self._discard_staged()

    @rule(room=ROOMS, place=st.integers(0, 2))
    def fail_halfway(self, room: str, place: int) -> None:
        event("a commit failed halfway")
        bodies = ["x", "x", "x"]
        bodies[place] = "\ud800"
        self.log.append(room, "me", bodies, self.now)
        with pytest.raises(NotStoredError):
            self.log.commit()
        self._discard_staged()

    @rule()
    def reopen(self) -> None:
        self.log.close()
        self._discard_staged()
        self.staged_records.clear()
        self.log = self.make()

    @rule()
    def expire(self) -> None:
        kept = self.model.kept
        while kept and kept[0][0].at < self.now - DAY:
            event("a message expired")
            kept.pop(0)
        while self.log.expire(self.now):
            pass

    @rule()
    def fail_to_expire(self) -> None:
        with locked(self.path):
            assert not self.log.expire(self.now)

    def teardown(self) -> None:
        super().teardown()
        if self.path.exists():
            check_integrity(self.path)
        shutil.rmtree(self.folder)


EXAMPLES = {"quick": 30, "ci": 100, "mutation": 40, "nightly": 100_000}[settings.get_current_profile_name()]
TestMemoryLog = MemoryLogMachine.TestCase
TestMemoryLog.settings = settings(max_examples=EXAMPLES, stateful_step_count=30)
TestSqliteLog = SqliteLogMachine.TestCase
TestSqliteLog.settings = settings(max_examples=EXAMPLES, stateful_step_count=40)
