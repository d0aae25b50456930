"""The server is killed under load, again and again, and its file has to keep every word.

`Load` is what the clients know: what they have said, what was acknowledged, and what they were shown.
`Checker` holds the file against that, without any code of the server's: with ``sqlite3`` alone. `kill_often`
is the two together, and the whole as a program is::

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
_WINDOW = 64  # messages of one author on their way
_MAX_ACKS = 200  # before a kill
_LONGEST_WAIT = 0.008  # seconds from the last words to the kill: they take the server about as long
_WHOLE = 10  # kills between two looks at the whole file


class Place(NamedTuple):
    """Where something stands. Whispers are in the room ``@name``."""

    room: str
    seq: int


class Words(NamedTuple):
    """What stands there."""

    author: str
    id: str
    body: str


class Load:
    """Authors who say things as fast as these are acknowledged, over any number of servers.

    ``sent``: what was said where, by author and id. ``acked``: where it is, as the server says. ``shown``:
    what others were shown. ``news``: of these two, what has come since the checker has last looked.
    ``cut_short``: how often a server has ended before it had acknowledged everything.
    """

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.sent: dict[tuple[str, str], tuple[str, str]] = {}
        self.acked: dict[tuple[str, str], Place] = {}
        self.shown: dict[Place, Words] = {}
        self.news: list[tuple[Place, Words]] = []
        self.problems: list[str] = []
        self.cut_short = 0
        self._authors = [_Author(self, name) for name in _AUTHORS]
        self._selector = selectors.DefaultSelector()

    def connect(self, port: int) -> None:
        """Say hello to a server, and what the one before has not acknowledged."""
        for author in self._authors:
            author.connect(port)
            self._selector.register(author.sock, selectors.EVENT_READ, author)

    def run(self, enough: Callable[[], bool]) -> None:
        """Talk until it is enough."""
        end = time.monotonic() + DEADLINE
        while not enough():
            assert time.monotonic() < end, f"no answers any more, {len(self.acked)} until now"
            for author in self._authors:
                author.talk()
            for key, _ in self._selector.select(0.001):
                key.data.read()

    @property
    def waits(self) -> bool:
        """Whether something was said that was not acknowledged."""
        return any(author.waits for author in self._authors)

    def last_words(self, seconds: float) -> None:
        """Say as much as may be on its way, read no answer, and let the server work on it for so long."""
        for author in self._authors:
            author.talk()
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            select.select([], [], [], left)

    def disconnect(self) -> None:
        """Read what has come before the end, and close."""
        for author in self._authors:
            self._selector.unregister(author.sock)
            author.read_to_end()
        self.cut_short += any(author.waits for author in self._authors)

    def close(self) -> None:
        for author in self._authors:
            author.sock.close()
        self._selector.close()

    # -- what the authors tell ---------------------------------------------------------------------------

    def was_acked(self, author: str, id: str, place: Place) -> None:
        known = self.acked.setdefault((author, id), place)
        if known != place:
            self.problems.append(f"{author} {id} was acknowledged at {known} and at {place}")
        where, body = self.sent[author, id]
        if where != place.room:
            self.problems.append(f"{author} {id} for {where} was acknowledged at {place}")
        self.news.append((place, Words(author, id, body)))

    def was_shown(self, place: Place, words: Words) -> None:
        known = self.shown.setdefault(place, words)
        if known != words:
            self.problems.append(f"{place} was shown as {known} and as {words}")
        self.news.append((place, words))


class _Author:
    """One of them, on one connection after the other."""

    def __init__(self, load: Load, name: str) -> None:
        self.sock = socket.socket()
        self.sock.close()
        self._load = load
        self._name = name
        self._count = 0
        self._unacknowledged: dict[str, Fields] = {}
        self._frames = Frames()
        self._out = b""
        self._is_in = False

    def connect(self, port: int) -> None:
        self._frames = Frames()
        self._is_in = False
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        self.sock.setblocking(False)
        self._out = encoded(greeting(self._name))

    @property
    def waits(self) -> bool:
        """Whether something was not acknowledged."""
        return bool(self._unacknowledged)

    def talk(self) -> None:
        """Say more, if there is room for it."""
        while self._is_in and not self._out and len(self._unacknowledged) < _WINDOW:
            self._out += b"".join(encoded(self._message()) for _ in range(self._load.chance.randint(1, 16)))
            self._flush()
        if self._out:
            self._flush()

    def read(self) -> bool:
        """Take what has come; return whether more can come."""
        try:
            data = self.sock.recv(1 << 18)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        for payload in self._frames.feed(data):
            self._take(json.loads(payload))
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

    def _take(self, message: Fields) -> None:
        kind = message["type"]
        if kind == "ack":
            if self._unacknowledged.pop(message["id"], None) is None:
                self._load.problems.append(f"{self._name} did not wait for {message}")
            room = message["room"] if "room" in message else f"@{message['to'].lower()}"
            self._load.was_acked(self._name, message["id"], Place(room, message["seq"]))
        elif kind in {"said", "whispered"}:
            room = message["room"] if kind == "said" else f"@{message['to'].lower()}"
            words = Words(message["from"], message["id"], message["body"])
            self._load.was_shown(Place(room, message["seq"]), words)
            if kind == "whispered" and message["seq"] % 7 == 0:
                self._out += encoded({"type": "ack", "whisper": message["seq"]})
        elif kind == "welcome":
            self._out += encoded({"type": "join", "room": "engine-room"}, *self._unacknowledged.values())
            self._is_in = True
        elif kind != "users" and message.get("reason") != "shutdown":
            self._load.problems.append(f"{self._name} got {message}")


class Checker:
    """Holds the file against what the clients know. Each check returns what is wrong, in lines."""

    def __init__(self, path: Path, load: Load) -> None:
        self._path = path
        self._load = load
        self._rows: dict[Place, Words] = {}
        self._places: dict[tuple[str, str], Place] = {}
        self._newest: dict[str, int] = {}
        self._last: dict[tuple[str, str], int] = {}  # by room and author: the number of the last message

    def check_news(self) -> list[str]:
        """Check what is new in the file, and what the clients have heard since the last time."""
        problems, self._load.problems = self._load.problems, []
        with reading(self._path) as db:
            for room, newest in db.execute("SELECT name, newest FROM room").fetchall():
                problems += self._read(db, room)
                if newest != self._newest[room]:
                    problems.append(f"{room} has {self._newest[room]} messages, and should have {newest}")
        news, self._load.news = self._load.news, []
        problems += self._compare(news)
        return problems

    def check_all(self) -> list[str]:
        """Read the whole file again, and check everything that was ever heard."""
        fresh = Checker(self._path, self._load)
        problems = fresh.check_news()
        problems += fresh._compare(
            (place, Words(*key, self._load.sent[key][1])) for key, place in self._load.acked.items()
        )
        problems += fresh._compare(self._load.shown.items())
        with reading(self._path) as db:
            found = [line for (line,) in db.execute("PRAGMA integrity_check")]
        if found != ["ok"]:
            problems += found
        return problems

    def _read(self, db: sqlite3.Connection, room: str) -> list[str]:
        problems = []
        expected = self._newest.get(room, 0)
        for seq, *rest in db.execute(
            "SELECT seq, author, message.id, body FROM message JOIN room ON room.id = message.room"
            " WHERE room.name = ? AND seq > ? ORDER BY seq",
            (room, expected),
        ):
            place, words = Place(room, seq), Words(*rest)
            key = words.author, words.id
            expected += 1
            if seq != expected:
                problems.append(f"{room} has {seq} where {expected} should be")
                expected = seq
            if key in self._places:
                problems.append(f"{key} is in the file at {self._places[key]} and at {place}")
            if self._load.sent.get(key) != (room, words.body):
                problems.append(f"{place} has {words}, which nobody has said there")
            number = int(words.id.rpartition("-")[2])
            if number <= self._last.get((room, words.author), 0):
                problems.append(f"{place} has {words.id}, after {self._last[room, words.author]}")
            self._last[room, words.author] = number
            self._rows[place] = words
            self._places[key] = place
        self._newest[room] = expected
        return problems

    def _compare(self, heard: Iterable[tuple[Place, Words]]) -> list[str]:
        return [
            f"{place} should have {words}, and has {self._rows.get(place)}"
            for place, words in heard
            if self._rows.get(place) != words
        ]


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that only reads, while a server writes."""
    db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        yield db
    finally:
        db.close()


def kill_often(
    path: Path, kills: int, chance: random.Random, start: Callable[..., Server] = serving
) -> tuple[Load, list[str]]:
    """Kill servers on that file under load; return what the load knows, and the first problems met.

    ``start`` gets the path and, as ``port``, the port that the server should have.
    """
    load = Load(chance)
    checker = Checker(path, load)
    port = 0
    try:
        for kill in range(1, kills + 1):
            with start(path, port=port) as server:
                port = server.port
                problems = checker.check_news()
                if not problems and kill % _WHOLE == 0:
                    problems = checker.check_all()
                if problems:
                    return load, problems
                load.connect(port)
                acks = len(load.acked) + chance.randrange(_MAX_ACKS)
                load.run(lambda: len(load.acked) >= acks)  # noqa: B023
                load.last_words(chance.uniform(0, _LONGEST_WAIT))
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
        f"{options.kills} kills, {load.cut_short} of them in mid-sentence, "
        f"{len(load.acked)} messages acknowledged of {len(load.sent)} said, "
        f"{len(load.shown)} shown, {len(problems)} problems, {time.monotonic() - begin:.0f} s"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
