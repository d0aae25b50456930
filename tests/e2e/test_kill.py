"""Acknowledged messages survive ``kill -9``, and resuming clients get each message once and in order.

Also tests the checker itself: it must notice every kind of damage.
"""

from __future__ import annotations

import random
import re
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from selchat.client import Client
from selchat.client.events import ClientEvent, Gap, Message
from selchat.client.protocol.rooms import RoomState
from selchat.client.protocol.selchat import SelchatClient
from selchat.config.settings import ClientSettings
from selchat.log.sqlite import Retention, SqliteLog
from tests.e2e.durability import Checker, Content, Load, Position, kill_often, reading
from tests.e2e.processes import SELCHAT, Popen
from tests.e2e.selchat_support import SelchatPeer, secret, serving
from tests.e2e.support import DEADLINE, Server, eventually

# A server whose log reports every commit as done, but commits only every twentieth time.
_HASTY = """
import itertools, sys
from selchat import cli
from selchat.log.sqlite import SqliteLog

commit, calls = SqliteLog.commit, itertools.count(1)
SqliteLog.commit = lambda log: commit(log) if next(calls) % 20 == 0 else None
sys.exit(cli.main(sys.argv[3:]))
"""


@pytest.mark.timeout(0)  # every wait has its own deadline, and the number of kills is an option
def test_kill_9_loses_no_acknowledged_or_received_message(kills: int, tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    load, problems = kill_often(tmp_path / "history.sqlite", kills, random.Random(seed))
    assert problems == [], f"with seed {seed}"
    assert len(load.acked) > kills
    assert load.cut_short > kills // 10


@pytest.mark.slow
def test_checker_catches_a_server_that_acknowledges_before_it_commits(tmp_path: Path) -> None:
    def hasty(path: Path, port: int) -> Server:
        return serving(path, port=port, wrapper=(sys.executable, "-c", _HASTY))

    _, problems = kill_often(tmp_path / "history.sqlite", 50, random.Random(1), hasty)
    assert any("should have" in problem for problem in problems)


def test_server_syncs_the_file_before_it_sends_the_ack(tmp_path: Path) -> None:
    """A kill keeps the data in the page cache, a power loss does not: so check the system calls."""
    trace = tmp_path / "trace"
    # -D: the server is our child, not the tracer's.
    strace = ("strace", "-D", "-q", "-s", "64", "-e", "trace=recvfrom,fsync,fdatasync,sendto,sendmsg", "-o")
    try:
        probe = subprocess.run([*strace, "/dev/null", "true"], capture_output=True)
    except FileNotFoundError:
        pytest.skip("strace is not installed")
    if probe.returncode:
        pytest.skip(f"strace cannot trace here: {probe.stderr.decode().strip()}")
    wrapper = (*strace, str(trace), sys.executable)
    with serving(tmp_path / "history.sqlite", wrapper=wrapper) as server:
        with SelchatPeer(server.port, "Asa") as asa:
            for number in range(20):
                assert asa.say("hello", f"{number}")["type"] == "ack"
            assert asa.whisper("Asa", "hello", "20")["type"] == "ack"
        assert server.stop() == 0
    eventually(lambda: "+++ exited with 0 +++" in trace.read_text(), "the end of the trace")
    steps = ""
    for line in trace.read_text().splitlines():
        if "recvfrom(" in line and ("say" in line or "whisper" in line):
            steps += "said "
        elif "sync(" in line and line.endswith(" = 0"):
            steps += "synced "
        elif ("sendto(" in line or "sendmsg(" in line) and '\\"ack\\"' in line:
            steps += "acked "
    assert re.fullmatch("(synced )+(said (synced )+acked ){21}(synced )*", steps), steps


@pytest.mark.parametrize("starts", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_server_killed_at_its_start_leaves_a_usable_file(starts: int, tmp_path: Path) -> None:
    chance = random.Random()
    for number in range(starts):
        path = tmp_path / f"history-{number}.sqlite"
        process = Popen(
            [*SELCHAT, "serve", "--host=127.0.0.1", "--port=0", f"--history={path}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        end = time.monotonic() + DEADLINE
        while not path.exists() and time.monotonic() < end:
            select.select([], [], [], 0.001)
        try:
            process.wait(chance.uniform(0, 0.02))  # about the time in which it makes the file
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with serving(path) as server, SelchatPeer(server.port, "Asa") as asa:
            assert asa.say("hello", "1")["seq"] == 1


class TestChecker:
    """`Checker` on a damaged file."""

    @pytest.fixture
    def load(self) -> Load:
        """Three messages in the lobby: sent, acknowledged and received."""
        load = Load(random.Random(1))
        for seq in (1, 2, 3):
            content = Content("Asa", f"Asa-{seq}", f"body {seq}")
            load.sent["Asa", content.id] = "lobby", content.body
            load.on_acked("Asa", content.id, Position("lobby", seq))
            load.on_received(Position("lobby", seq), content)
        load.close()
        return load

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """A file with exactly these messages."""
        path = tmp_path / "history.sqlite"
        log = SqliteLog(path, Retention())
        log.append(
            "lobby",
            "Asa",
            ["body 1", "body 2", "body 3"],
            1.0,
            ["Asa-1", "Asa-2", "Asa-3"],
            client_id=b"Asa",
        )
        log.commit()
        log.close()
        return path

    def test_correct_file_has_no_problems(self, path: Path, load: Load) -> None:
        checker = Checker(path, load)
        assert checker.check_news() == []
        assert checker.check_all() == []

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            ("DELETE FROM message WHERE seq = 2", "lobby has 3 instead of 2"),
            ("DELETE FROM message WHERE seq = 3", "should have Content(author='Asa', id='Asa-3'"),
            ("UPDATE room SET newest = 2", "lobby has 3 messages instead of 2"),
            ("UPDATE message SET seq = 5 WHERE seq = 3", "lobby has 5 instead of 3"),
            ("UPDATE message SET id = 'Asa-2' WHERE seq = 3", "('Asa', 'Asa-2') is in the file at"),
            ("UPDATE message SET body = 'x' WHERE seq = 1", "which nobody sent there"),
            (
                "INSERT INTO message (room, seq, author, at, id, body)"
                " VALUES (1, 4, 'Asa', 1, 'Asa-3', 'body 3')",
                "('Asa', 'Asa-3') is in the file at",
            ),
            (
                "UPDATE message SET id = 'Asa-' || (3 - seq), body = 'body ' || (3 - seq) WHERE seq < 3",
                "after 2",
            ),
        ],
    )
    @pytest.mark.parametrize("whole", [False, True])
    def test_damage_to_the_file_is_found(
        self, path: Path, load: Load, change: str, problem: str, whole: bool
    ) -> None:
        db = sqlite3.connect(path)
        db.execute(change)
        db.commit()
        db.close()
        checker = Checker(path, load)
        problems = checker.check_all() if whole else checker.check_news()
        assert any(problem in one for one in problems), problems

    def test_second_ack_with_another_position_is_found(self, path: Path, load: Load) -> None:
        load.on_acked("Asa", "Asa-2", Position("lobby", 3))
        assert any("was acknowledged at" in one for one in Checker(path, load).check_news())

    def test_ack_for_another_room_is_found(self, path: Path, load: Load) -> None:
        load.sent["Asa", "Asa-4"] = "lobby", "body 4"
        load.on_acked("Asa", "Asa-4", Position("engine-room", 1))
        assert any("for lobby was acknowledged" in one for one in Checker(path, load).check_news())

    def test_readers_with_different_messages_are_found(self, path: Path, load: Load) -> None:
        load.on_received(Position("lobby", 2), Content("Bo", "Bo-1", "?"))
        assert any("was received as" in one for one in Checker(path, load).check_news())

    def test_integrity_check_finds_a_broken_index(self, path: Path, load: Load) -> None:
        db = sqlite3.connect(path)
        db.execute("PRAGMA writable_schema = ON")  # the schema loses an index
        db.execute("DELETE FROM sqlite_master WHERE name = 'message_by_client'")
        db.commit()
        db.close()
        assert Checker(path, load).check_all() != []


# -- resuming --------------------------------------------------------------------------------------------


ROOMS = ("lobby", "engine-room")


class Follower:
    """A client core of the package on a plain socket, and every message that it received."""

    def __init__(self, name: str) -> None:
        self.client = SelchatClient(ClientSettings(host="127.0.0.1", name=name), secret(name))
        self.received: list[Message] = []
        self.gaps: list[ClientEvent] = []
        self.sock: socket.socket | None = None

    def connect(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        self.sock.setblocking(False)
        self.client.connection_made()

    def disconnect(self) -> None:
        if self.sock is not None:
            self.sock.close()
            self.sock = None
            self.client.connection_lost()

    def has_joined(self, rooms: Iterable[str]) -> bool:
        known = map(self.client.rooms.get, rooms)
        return all(room is not None and room.state is RoomState.JOINED for room in known)

    def has_received(self, newest: dict[str, int]) -> bool:
        """Whether the client is at these positions, one for each room."""
        return {room.name: room.seq for room in self.client.rooms} == newest

    def work(self) -> None:
        """Send and receive without waiting."""
        if self.sock is None:
            return
        try:
            if data := self.client.data_to_send():
                self.client.data_sent(self.sock.send(data))
            data = self.sock.recv(1 << 16)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self.disconnect()
            return
        for event in self.client.receive_data(data):
            if isinstance(event, Message):
                self.received.append(event)
            elif isinstance(event, Gap):
                self.gaps.append(event)
        assert self.client.error is None


def work(followers: list[Follower], until: Callable[[], bool], what: str) -> None:
    """Let the clients send and receive until ``until`` is true."""
    end = time.monotonic() + DEADLINE
    while not until():
        assert time.monotonic() < end, f"not within {DEADLINE} s: {what}"
        for follower in followers:
            follower.work()
        waiting = [follower.sock for follower in followers if follower.sock is not None]
        select.select(waiting, [], [], 0.002)


@pytest.fixture
def followers() -> Iterator[list[Follower]]:
    found = [Follower(name) for name in ("Asa", "Bo", "Cleo")]
    yield found
    for follower in found:
        follower.disconnect()


@pytest.mark.parametrize("rounds", [5, pytest.param(25, marks=pytest.mark.slow)])
def test_resuming_clients_have_the_complete_rooms_after_many_kills(
    rounds: int, tmp_path: Path, followers: list[Follower]
) -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    path = tmp_path / "history.sqlite"
    said = dict.fromkeys((follower.client.name for follower in followers), 0)
    port = 0
    for kill in range(rounds):
        with serving(path, port=port) as server:
            port = server.port
            for follower in followers:
                follower.connect(port)
            if kill == 0:
                for follower in followers:
                    follower.client.join("engine-room")
                work(followers, lambda: all(one.has_joined(ROOMS) for one in followers), "all have joined")
            for _ in range(chance.randrange(30)):
                follower = chance.choice(followers)
                for _ in range(chance.randrange(10)):
                    said[follower.client.name] += 1
                    room = chance.choice(ROOMS)
                    follower.client.say(f"{follower.client.name} {said[follower.client.name]}", room)
                for follower in followers:
                    follower.work()
                if chance.random() < 0.1:
                    follower.disconnect()
                    follower.connect(port)
            if chance.random() < 0.5:  # else most clients miss many acks and messages
                work(followers, lambda: sum(one.client.unacknowledged for one in followers) < 20, "answers")
            server.stop(signal.SIGKILL)
        for follower in followers:
            while follower.sock is not None and chance.random() < 0.9:
                follower.work()
            follower.disconnect()
    with serving(path, port=port) as server:
        for follower in followers:
            follower.connect(port)
        work(
            followers,
            lambda: not any(one.client.unacknowledged for one in followers),
            "all acks",
        )
        rooms = rows(path)
        newest = {room: len(rooms[room]) for room in rooms}
        work(followers, lambda: all(one.has_received(newest) for one in followers), "all messages")
        assert server.stop() == 0
    for follower in followers:
        assert follower.gaps == []
        for room, expected in rooms.items():
            received = [(one.seq, one.author, one.body) for one in follower.received if one.room == room]
            assert received == expected, f"with seed {seed}"
    everything = [body for room in rooms.values() for _, _, body in room]
    assert sorted(everything) == sorted(
        f"{name} {number}" for name in said for number in range(1, said[name] + 1)
    )


def test_bots_get_every_message_exactly_once(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    received: dict[str, list[tuple[int, str, str]]] = {"Asa": [], "Bo": []}
    with ExitStack() as stack:
        bots: list[Client] = []
        port = 0
        for round in range(3):
            with serving(path, port=port) as server:
                port = server.port
                for name in list(received)[len(bots) :]:
                    bot = Client("127.0.0.1", port, name, secret=secret(name), own=True, wire="selchat")
                    bots.append(stack.enter_context(bot))
                for bot in bots:
                    for number in range(20):
                        bot.say(f"{bot.name} {round}.{number}")
                bots[round % 2].flush(DEADLINE)  # the other one may have sent nothing yet
                server.stop(signal.SIGKILL)
        with serving(path, port=port):
            for bot in bots:
                bot.flush(DEADLINE)
            expected = rows(path)["lobby"]
            for bot in bots:
                end = time.monotonic() + DEADLINE
                while len(received[bot.name]) < len(expected) and time.monotonic() < end:
                    event = bot.receive(DEADLINE)
                    if isinstance(event, Message):
                        received[bot.name].append((event.seq, event.author, event.body))
                while (event := bot.receive(0)) is not None:
                    assert not isinstance(event, Message)
            stack.close()
    assert received == {"Asa": expected, "Bo": expected}
    assert sorted(body for _, _, body in expected) == sorted(
        f"{name} {round}.{number}" for name in received for round in range(3) for number in range(20)
    )


def rows(path: Path) -> dict[str, list[tuple[int, str, str]]]:
    """Return the messages in the file by room, in order."""
    found: dict[str, list[tuple[int, str, str]]] = {}
    with reading(path) as db:
        for room, *rest in db.execute(
            "SELECT room.name, seq, author, body FROM message JOIN room ON room.id = message.room"
            " ORDER BY seq"
        ):
            found.setdefault(room, []).append(tuple(rest))
    return found
