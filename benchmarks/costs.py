"""Measure the loop time of requests that cost more than their bytes, and compare it with the settings.

Usage:
  costs.py [options]

Options:
  --rounds=N    Measurements of each kind; the result is their median. [default: 200]
  --rooms=N     Rooms of the server. [default: 10000]
  --users=N     Members of the lobby. [default: 1000]
  --output=DIR  Folder for costs.md and costs.json; by default benchmarks/results, and none with --quick.
  --quick       A few rounds with few rooms and users, to check that it works; the figures mean nothing.
  -h --help     Show this text.

The server and its clients run in this process. The figure is the time of the server's ticks from a request to
its answer, without the time of a `ping`, which costs hardly more than its bytes. The history is in memory
where the system has /dev/shm: all requests of a tick share the disk's time. ``Costs`` in
selchat/config/settings.py should be near these figures; what matters is their ratio.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import docopt
from harness.machine import describe_machine, format_machine
from harness.processes import interrupt_on_sigterm
from harness.results import format_significant, markdown_table

sys.path.insert(0, str(Path(__file__).parents[1]))

from selchat.chat.rooms import Creator
from selchat.config.settings import Costs, Settings
from selchat.limits import KIB, ROOM_PAGE
from selchat.net.tls import client_context
from selchat.server.server import Server
from selchat.wire.frames import FrameDecoder, encode_frame

_RESULTS = Path(__file__).parent / "results"
_QUICK = {"--rounds": "3", "--rooms": "20", "--users": "5"}
_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
_HISTORY = 500  # messages of the history
_LONG = 32 * KIB  # bytes of a long message
_READERS = 50  # of a long message
_MICROSECOND = 1e6
_PAGE = b"GET /%b HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Client:
    """A client of a server in this process. It counts the time of the server's ticks."""

    def __init__(self, server: Server) -> None:
        self.sock = socket.create_connection(server.address)
        self.sock.setblocking(False)
        self._server = server
        self._decoder = FrameDecoder(limit=1 << 21)

    def ask(self, request: bytes, kind: bytes) -> float:
        """Send a request; return the seconds of the ticks until the answer of that type is there."""
        self.sock.send(request)
        seconds = 0.0
        while True:
            seconds += tick(self._server)
            data = self.receive()
            if any(b'"type":"%b"' % kind in payload for payload in self._decoder.receive_data(data)):
                return seconds

    def ask_http(self, request: bytes) -> float:
        """Send an HTTP request; return the seconds of the ticks until the response is there."""
        self.sock.send(request)
        seconds = tick(self._server)
        while not self.receive():
            seconds += tick(self._server)
        return seconds + tick(self._server)

    def receive(self) -> bytes:
        """Return the bytes that are there."""
        try:
            return self.sock.recv(1 << 20)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        """Leave."""
        self.sock.close()
        tick(self._server)


def tick(server: Server) -> float:
    """Run one tick; return its seconds."""
    start = time.perf_counter()
    server.reactor.tick(0)
    return time.perf_counter() - start


def request(**fields: Any) -> bytes:
    """Return a request of the selchat protocol."""
    return encode_frame(json.dumps(fields).encode())


def hello(name: str) -> bytes:
    """Return the `hello` of a user."""
    return request(type="hello", version=1, name=name, client=f"{name:x<22}")


class Measurement:
    """One server, with members and rooms, and the costs of its requests in microseconds."""

    def __init__(self, folder: Path, rounds: int, rooms: int, users: int) -> None:
        rates = ("message_rate", "byte_rate", "connection_work", "person_work", "address_work")
        unlimited: dict[str, Any] = dict.fromkeys(rates, 0)
        settings = Settings(
            host="127.0.0.1",
            port=0,
            history=str(folder / "history.db"),
            quiet=True,
            roster=False,
            tick_work=10.0,
            rooms_limit=2 * rooms + 1000,
            rooms_per_member=10_000_000,
            person_rooms=10_000_000,
            name_length=64,
            **unlimited,
        )
        self._rounds = rounds
        null = os.open(os.devnull, os.O_RDWR)
        self._server = server = Server(settings, stdin=null, stdout=null)
        self._members = []
        for number in range(users):
            member = Client(server)
            member.ask(hello(f"member{number}"), b"welcome")
            self._members.append(member)
        for number in range(rooms):
            server.hub.rooms.get_or_create(f"room{number}", Creator(None, "127.0.0.1"))
        self._client = Client(server)
        self._client.ask(hello("Alice"), b"welcome")
        for number in range(_HISTORY):
            body = f"{number:064}"
            self._client.ask(request(type="say", room="lobby", id=str(number), body=body), b"ack")
        for member in self._members:
            member.receive()
        self._numbers = iter(range(10_000_000))
        self._ping = self._median(lambda: self._client.ask(request(type="ping"), b"pong"))

    def close(self) -> None:
        """Stop the server."""
        for client in [self._client, *self._members]:
            client.close()
        self._server.close()

    def _median(self, ask: Callable[[], float]) -> float:
        """Return the median in microseconds."""
        return median(ask() for _ in range(self._rounds)) * _MICROSECOND

    def cost(self, kind: bytes, **fields: Any) -> float:
        """Return the cost of a request with that answer."""
        return self._median(lambda: self._client.ask(request(**fields), kind)) - self._ping

    def sign_in(self) -> float:
        """Return the cost of the `hello` of a new user, with its record."""

        def ask() -> float:
            client = Client(self._server)
            tick(self._server)
            seconds = client.ask(hello(f"user{next(self._numbers)}"), b"welcome")
            client.close()
            return seconds

        return self._median(ask)

    def handshake(self) -> float:
        """Return the cost of a TLS handshake."""
        context = client_context()

        def ask() -> float:
            sock = socket.create_connection(self._server.address)
            sock.setblocking(False)
            tick(self._server)
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context.wrap_bio(incoming, outgoing)
            seconds = 0.0
            while True:
                try:
                    tls.do_handshake()
                except ssl.SSLWantReadError:
                    sock.send(outgoing.read())
                    seconds += tick(self._server)
                    incoming.write(sock.recv(1 << 16))
                else:
                    break
            sock.send(outgoing.read())
            seconds += tick(self._server)
            sock.close()
            tick(self._server)
            return seconds

        return self._median(ask)

    def http(self, path: bytes) -> float:
        """Return the cost of an HTTP request."""

        def ask() -> float:
            client = Client(self._server)
            tick(self._server)
            seconds = client.ask_http(_PAGE % path)
            client.close()
            return seconds

        return self._median(ask)

    def join(self) -> tuple[float, float]:
        """Return the costs of joining and leaving a new room."""
        joins, parts = [], []
        for _ in range(self._rounds):
            room = f"new{next(self._numbers)}"
            joins.append(self._client.ask(request(type="join", room=room), b"users"))
            parts.append(self._client.ask(request(type="part", room=room), b"left"))
        return median(joins) * _MICROSECOND - self._ping, median(parts) * _MICROSECOND - self._ping

    def rooms(self) -> tuple[float, float]:
        """Return the costs of a page of rooms, and of sorting all rooms."""
        cached, sorting = [], []
        for number in range(self._rounds):
            self._server.reactor.now += 10.0 * (number + 1)  # so the list is old; the next tick corrects it
            started = time.perf_counter()
            self._server.hub.rooms.list(0, 1)
            sorting.append(time.perf_counter() - started)
            cached.append(self._client.ask(request(type="rooms"), b"rooms"))
        return median(cached) * _MICROSECOND - self._ping, median(sorting) * _MICROSECOND

    def long_message(self, room: str, readers: int) -> float:
        """Return the cost of a long message to a room with that many other members."""
        for member in self._members[:readers]:
            member.ask(request(type="join", room=room), b"users")

        def ask() -> float:
            id = f"long{next(self._numbers)}"
            seconds = self._client.ask(request(type="say", room=room, id=id, body="x" * _LONG), b"ack")
            for member in self._members[:readers]:
                member.receive()
            return seconds

        return self._median(ask) - self._ping

    def run(self, rooms: int, users: int) -> dict[str, tuple[float, float]]:
        """Return the measured cost and the setting, both in microseconds, by the name of the setting."""
        join, part = self.join()
        page, sorting = self.rooms()
        self._client.ask(request(type="join", room="hall"), b"users")
        topics = iter(range(10_000_000))
        users_cost = self.cost(b"users", type="users", room="lobby")
        one_user = self.cost(b"users", type="users", room="room1")
        history = self.cost(b"history", type="history", room="lobby", limit=_HISTORY)
        one_message = self.cost(b"history", type="history", room="lobby", limit=1)
        topic = self._median(
            lambda: self._client.ask(request(type="topic", room="hall", topic=f"{next(topics)}"), b"topic")
        )
        alone = self.long_message("hall", 0)
        crowd = min(users, _READERS)
        heard = self.long_message("hall", crowd)
        listed = min(rooms, ROOM_PAGE)
        named = min(users, 1000)
        return {
            "HANDSHAKE": (self.handshake(), Costs.HANDSHAKE),
            "SIGN_IN": (self.sign_in(), Costs.SIGN_IN),
            "JOIN + USERS": (join, Costs.JOIN + Costs.USERS),
            "PART": (part, Costs.PART),
            "TOPIC": (topic - self._ping, Costs.TOPIC),
            f"ROOMS + {listed} x ROOM": (page, Costs.ROOMS + listed * Costs.ROOM),
            f"{rooms} x SORTED_ROOM": (sorting, rooms * Costs.SORTED_ROOM),
            "USERS": (one_user, Costs.USERS),
            f"USERS + {named} x USER": (users_cost, Costs.USERS + named * Costs.USER),
            "HISTORY": (one_message, Costs.HISTORY),
            f"HISTORY + {_HISTORY} x HISTORY_MESSAGE": (
                history,
                Costs.HISTORY + _HISTORY * Costs.HISTORY_MESSAGE,
            ),
            f"{_LONG // KIB} x LONG_KIB": (alone, Costs.long_message(_LONG, 0)),
            f"{_LONG // KIB} x (LONG_KIB + {crowd} x SENT_KIB)": (heard, Costs.long_message(_LONG, crowd)),
            "REQUEST": (self.http(b"healthz"), Costs.REQUEST),
            "REQUEST + METRICS": (self.http(b"metrics"), Costs.REQUEST + Costs.METRICS),
        }


def main() -> int:
    """Run the script and return its exit status."""
    assert __doc__ is not None
    options: dict[str, Any] = dict(docopt.docopt(__doc__))
    interrupt_on_sigterm()
    if options["--quick"]:
        options = options | _QUICK
    rounds, rooms, users = (int(options[f"--{name}"]) for name in ("rounds", "rooms", "users"))
    with tempfile.TemporaryDirectory(prefix="selchat-bench-", dir=_MEMORY) as folder:
        os.environ["XDG_DATA_HOME"] = folder
        measurement = Measurement(Path(folder), rounds, rooms, users)
        try:
            costs = measurement.run(rooms, users)
        finally:
            measurement.close()
    rows = [
        [name, format_significant(measured), format_significant(setting), f"{measured / setting:.2f}"]
        for name, (measured, setting) in costs.items()
    ]
    command = " ".join(["python", "benchmarks/costs.py", *sys.argv[1:]])
    machine = describe_machine()
    text = (
        f"{markdown_table(['cost', 'measured, us', 'setting, us', 'ratio'], rows)}\n"
        f"Medians of {rounds} requests, {rooms} rooms, {users} users; to repeat: `{command}`.\n"
        f"{format_machine(machine)}.\n"
    )
    print(text)
    output = options["--output"] or (None if options["--quick"] else str(_RESULTS))
    if output is not None:
        target = Path(output)
        target.mkdir(parents=True, exist_ok=True)
        (target / "costs.md").write_text(text)
        document = {
            "machine": machine,
            "us": {
                name: {"measured": measured, "setting": setting}
                for name, (measured, setting) in costs.items()
            },
        }
        (target / "costs.json").write_text(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
