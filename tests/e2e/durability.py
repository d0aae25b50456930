"""Durability test: kill the server under load again and again, and check its file.

`Load` is the clients' view: the messages that they sent, that were acknowledged, and that they received.
`Checker` compares the file with it, using ``sqlite3`` and none of the server's code. `kill_often` combines
the two. To run it as a program::

    python -m tests.e2e.durability --kills=1000
"""

from __future__ import annotations

import argparse
import json
import random
import select
import selectors
import signal
import socket
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.e2e.selchat_support import Fields, Frames, encoded, greeting, serving
from tests.e2e.support import DEADLINE, Server

_AUTHORS = ("Asa", "Bo", "Cleo", "Dag")
_WINDOW = 64  # unacknowledged messages of one author
_MAX_ACKS = 200  # before each kill
_MAX_WAIT = 0.008  # seconds from the last messages to the kill; the server needs about this time
_FULL_CHECK = 10  # kills between two checks of the whole file


class Position(NamedTuple):
    """The position of a message. Direct messages are in the room ``@name``."""

    room: str
    seq: int


class Content(NamedTuple):
    """The content of a message."""

    author: str
    id: str
    body: str


class Load:
    """Authors who send messages as fast as servers acknowledge them, across any number of server processes.

    ``sent`` has the room and body of each message by author and id, ``acked`` the acknowledged positions, and
    ``received`` the contents that readers got. ``news`` has the entries of these two since the last check.
    ``cut_short`` counts the servers that ended before they had acknowledged everything.
    """

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.sent: dict[tuple[str, str], tuple[str, str]] = {}
        self.acked: dict[tuple[str, str], Position] = {}
        self.received: dict[Position, Content] = {}
        self.news: list[tuple[Position, Content]] = []
        self.problems: list[str] = []
        self.cut_short = 0
        self._authors = [_Author(self, name) for name in _AUTHORS]
        self._selector = selectors.DefaultSelector()

    def connect(self, port: int) -> None:
        """Sign in to a server, and resend the unacknowledged messages."""
        for author in self._authors:
            author.connect(port)
            self._selector.register(author.sock, selectors.EVENT_READ, author)

    def run(self, enough: Callable[[], bool]) -> None:
        """Send messages until ``enough`` is true."""
        end = time.monotonic() + DEADLINE
        while not enough():
            assert time.monotonic() < end, f"no more answers after {len(self.acked)}"
            for author in self._authors:
                author.send()
            for key, _ in self._selector.select(0.001):
                key.data.read()

    @property
    def unacknowledged(self) -> bool:
        """Whether any message is unacknowledged."""
        return any(author.unacknowledged for author in self._authors)

    def send_last(self, seconds: float) -> None:
        """Fill the window, read no answer, and let the server work on it for ``seconds``."""
        for author in self._authors:
            author.send()
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            select.select([], [], [], left)

    def disconnect(self) -> None:
        """Read everything up to the end of the connection, and close."""
        for author in self._authors:
            self._selector.unregister(author.sock)
            author.read_to_end()
        self.cut_short += any(author.unacknowledged for author in self._authors)

    def close(self) -> None:
        for author in self._authors:
            author.sock.close()
        self._selector.close()

    # -- reports of the authors ---------------------------------------------------------------------------

    def on_acked(self, author: str, id: str, position: Position) -> None:
        known = self.acked.setdefault((author, id), position)
        if known != position:
            self.problems.append(f"{author} {id} was acknowledged at {known} and at {position}")
        where, body = self.sent[author, id]
        if where != position.room:
            self.problems.append(f"{author} {id} for {where} was acknowledged at {position}")
        self.news.append((position, Content(author, id, body)))

    def on_received(self, position: Position, content: Content) -> None:
        known = self.received.setdefault(position, content)
        if known != content:
            self.problems.append(f"{position} was received as {known} and as {content}")
        self.news.append((position, content))


class _Author:
    """An author, with one connection at a time."""

    def __init__(self, load: Load, name: str) -> None:
        self.sock = socket.socket()
        self.sock.close()
        self._load = load
        self._name = name
        self._count = 0
        self._unacknowledged: dict[str, Fields] = {}
        self._frames = Frames()
        self._out = b""
        self._signed_in = False

    def connect(self, port: int) -> None:
        self._frames = Frames()
        self._signed_in = False
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        self.sock.setblocking(False)
        self._out = encoded(greeting(self._name))

    @property
    def unacknowledged(self) -> bool:
        """Whether any message is unacknowledged."""
        return bool(self._unacknowledged)

    def send(self) -> None:
        """Send more messages if the window allows."""
        while self._signed_in and not self._out and len(self._unacknowledged) < _WINDOW:
            self._out += b"".join(encoded(self._message()) for _ in range(self._load.chance.randint(1, 16)))
            self._flush()
        if self._out:
            self._flush()

    def read(self) -> bool:
        """Read available data; return whether the connection is still open."""
        try:
            data = self.sock.recv(1 << 18)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        for payload in self._frames.feed(data):
            self._handle(json.loads(payload))
        return bool(data)

    def read_to_end(self) -> None:
        self.sock.settimeout(DEADLINE)
        while self.read():
            pass
        self.sock.close()

    # ----------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        try:
            self._out = self._out[self.sock.send(self._out) :]
        except (BlockingIOError, ConnectionError):
            pass

    def _message(self) -> Fields:
        chance = self._load.chance
        self._count += 1
        id = f"{self._name}-{self._count}"
        body = f"{self._name} {self._count} æøå" + "x" * chance.choice((0, 0, 10, 200, 3000))
        message: Fields = {"id": id, "body": body}
        kind = chance.random()
        if kind < 0.1:
            to = chance.choice(_AUTHORS)
            message |= {"type": "whisper", "to": to}
            where = f"@{to.lower()}"
        else:
            where = "lobby" if kind < 0.7 else "engine-room"
            message |= {"type": "say", "room": where}
        self._unacknowledged[id] = message
        self._load.sent[self._name, id] = where, body
        return message

    def _handle(self, message: Fields) -> None:
        kind = message["type"]
        if kind == "ack":
            if self._unacknowledged.pop(message["id"], None) is None:
                self._load.problems.append(f"{self._name} got an unexpected {message}")
            room = message["room"] if "room" in message else f"@{message['to'].lower()}"
            self._load.on_acked(self._name, message["id"], Position(room, message["seq"]))
        elif kind in {"said", "whispered"}:
            room = message["room"] if kind == "said" else f"@{message['to'].lower()}"
            content = Content(message["from"], message["id"], message["body"])
            self._load.on_received(Position(room, message["seq"]), content)
            if kind == "whispered" and message["seq"] % 7 == 0:
                self._out += encoded({"type": "ack", "whisper": message["seq"]})
        elif kind == "welcome":
            self._out += encoded({"type": "join", "room": "engine-room"}, *self._unacknowledged.values())
            self._signed_in = True
        elif kind != "users" and message.get("reason") != "shutdown":
            self._load.problems.append(f"{self._name} got {message}")


class Checker:
    """Compares the file with the clients' view. Each check returns the problems, one a line."""

    def __init__(self, path: Path, load: Load) -> None:
        self._path = path
        self._load = load
        self._rows: dict[Position, Content] = {}
        self._positions: dict[tuple[str, str], Position] = {}
        self._last_seq: dict[str, int] = {}
        self._last: dict[tuple[str, str], int] = {}  # by room and author: the number of the last message

    def check_news(self) -> list[str]:
        """Check the new messages in the file, and everything that clients got since the last check."""
        problems, self._load.problems = self._load.problems, []
        with reading(self._path) as db:
            for room, newest in db.execute("SELECT name, newest FROM room").fetchall():
                problems += self._read(db, room)
                if newest != self._last_seq[room]:
                    problems.append(f"{room} has {self._last_seq[room]} messages instead of {newest}")
        news, self._load.news = self._load.news, []
        problems += self.compare(news)
        return problems

    def check_all(self) -> list[str]:
        """Read the whole file again, and check everything that clients ever got."""
        fresh = Checker(self._path, self._load)
        problems = fresh.check_news()
        problems += fresh.compare(
            (position, Content(*key, self._load.sent[key][1])) for key, position in self._load.acked.items()
        )
        problems += fresh.compare(self._load.received.items())
        with reading(self._path) as db:
            found = [line for (line,) in db.execute("PRAGMA integrity_check")]
        if found != ["ok"]:
            problems += found
        return problems

    def _read(self, db: sqlite3.Connection, room: str) -> list[str]:
        problems = []
        expected = self._last_seq.get(room, 0)
        for seq, *rest in db.execute(
            "SELECT seq, author, message.id, body FROM message JOIN room ON room.id = message.room"
            " WHERE room.name = ? AND seq > ? ORDER BY seq",
            (room, expected),
        ):
            position, content = Position(room, seq), Content(*rest)
            key = content.author, content.id
            expected += 1
            if seq != expected:
                problems.append(f"{room} has {seq} instead of {expected}")
                expected = seq
            if key in self._positions:
                problems.append(f"{key} is in the file at {self._positions[key]} and at {position}")
            if self._load.sent.get(key) != (room, content.body):
                problems.append(f"{position} has {content}, which nobody sent there")
            number = int(content.id.rpartition("-")[2])
            if number <= self._last.get((room, content.author), 0):
                problems.append(f"{position} has {content.id}, after {self._last[room, content.author]}")
            self._last[room, content.author] = number
            self._rows[position] = content
            self._positions[key] = position
        self._last_seq[room] = expected
        return problems

    def compare(self, observed: Iterable[tuple[Position, Content]]) -> list[str]:
        return [
            f"{position} should have {content}, and has {self._rows.get(position)}"
            for position, content in observed
            if self._rows.get(position) != content
        ]


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a read-only connection, which works while a server writes."""
    db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        yield db
    finally:
        db.close()


def kill_often(
    path: Path, kills: int, chance: random.Random, start: Callable[..., Server] = serving
) -> tuple[Load, list[str]]:
    """Kill servers on the file ``path`` under load; return the load and the first problems.

    ``start`` gets the path, and as ``port`` the port for the server.
    """
    load = Load(chance)
    checker = Checker(path, load)
    port = 0
    try:
        for kill in range(1, kills + 1):
            with start(path, port=port) as server:
                port = server.port
                problems = checker.check_news()
                if not problems and kill % _FULL_CHECK == 0:
                    problems = checker.check_all()
                if problems:
                    return load, problems
                load.connect(port)
                acks = len(load.acked) + chance.randrange(_MAX_ACKS)
                load.run(lambda: len(load.acked) >= acks)  # noqa: B023
                load.send_last(chance.uniform(0, _MAX_WAIT))
                server.process.send_signal(signal.SIGKILL)
                server.wait()
            load.disconnect()
        with start(path, port=port) as server:
            problems = checker.check_news() + checker.check_all()
            assert server.stop() == 0
        return load, problems
    finally:
        load.close()


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill servers under load and check their file.")
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        load, problems = kill_often(
            Path(folder) / "history.sqlite", options.kills, random.Random(options.seed)
        )
    for problem in problems[:20]:
        print(problem)
    print(
        f"{options.kills} kills, {load.cut_short} of them with unacknowledged messages, "
        f"{len(load.acked)} messages acknowledged of {len(load.sent)} sent, "
        f"{len(load.received)} received, {len(problems)} problems, {time.monotonic() - begin:.0f} s"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
