"""Thousands of clients in separate processes.

Each process answers the line ``report`` on its standard input with one line of JSON. The kinds of clients:

- ``links``: real clients (`selchat.client.connection.link`) on one reactor, which reconnect by themselves;
- ``readers``: sockets that send a hello, and read and discard everything;
- ``stalled``: sockets that send a hello and read nothing.

::

    with Crowd(server.port, 5000) as crowd:
        crowd.wait_until_online()
        crowd.report()["lost"]
"""

from __future__ import annotations

import json
import os
import select
import selectors
import socket
import subprocess
import sys
import time
from typing import Any

from selchat.bench.system.proc import raise_descriptor_limit
from selchat.client.connection.link import Link
from selchat.client.events import ClientEvent, Gap
from selchat.config.settings import ClientSettings
from selchat.errors import close_reason
from selchat.net.reactor import EVENT_READ, Reactor
from tests.e2e.selchat_support import encoded, greeting, secret
from tests.e2e.support import frame

_MAX_CONNECTING = 200  # connections at the same time
_SMALL_BUFFER = 4096  # bytes: the receive buffer of a stalled client


class Crowd:
    """``count`` clients of one kind (see above) in some processes. Links ignore ``wire``."""

    def __init__(
        self,
        port: int,
        count: int,
        kind: str = "links",
        wire: str = "selchat",
        processes: int = 1,
        first: int = 0,
    ) -> None:
        self.count = count
        shares = [(count + number) // processes for number in range(processes)]
        self._processes: list[subprocess.Popen[bytes]] = []
        for share in shares:
            parameters = {"port": port, "count": share, "kind": kind, "wire": wire, "first": first}
            first += share
            self._processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.e2e.crowd", json.dumps(parameters)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )

    def report(self) -> dict[str, Any]:
        """Return the reports of all processes, added up: numbers and lists."""
        total: dict[str, Any] = {}
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(b"report\n")
            process.stdin.flush()
        for process in self._processes:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, "a process of the crowd has ended"
            for name, value in json.loads(line).items():
                total[name] = total[name] + value if name in total else value
        return total

    def wait_until_online(self, within: float = 60.0) -> dict[str, Any]:
        """Wait until all clients are signed in; return the last report."""
        end = time.monotonic() + within
        while True:
            report = self.report()
            if report["online"] == self.count:
                return report
            assert time.monotonic() < end, f"not within {within} s: {report}"
            select.select([], [], [], 0.05)

    def close(self) -> None:
        for process in self._processes:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Links:
    """Real clients. ``signed_in``: when each signed in last; ``delays``: seconds before each reconnect."""

    def __init__(self, port: int, count: int, first: int) -> None:
        self._reactor = Reactor(_fail)
        self.lost = 0
        self.gaps = 0
        self.finished: list[str] = []
        self.delays: list[float] = []
        self.signed_in: dict[int, float] = {}
        self._online: set[int] = set()
        self._reactor.watch(0, EVENT_READ, self._on_input)
        self._links: list[Link] = []
        self._unopened = [
            ClientSettings(
                host="127.0.0.1",
                port=port,
                name=f"c{number}",
                secret=secret(f"c{number}"),
                wire="selchat",
            )
            for number in range(first, first + count)
        ]
        self._unopened.reverse()
        self._open_more()

    def run(self) -> None:
        self._reactor.run()
        for link in self._links:
            link.close()

    def _open_more(self) -> None:
        """Open more links, but not all at the same time."""
        while self._unopened and len(self._links) - len(self.signed_in) < _MAX_CONNECTING:
            link = Link(self._reactor, self._unopened.pop(), _LinkEvents(self, len(self._links)))
            self._links.append(link)
            link.open()
        if self._unopened:
            self._reactor.call_later(0.02, self._open_more)

    def up(self, number: int) -> None:
        self._online.add(number)
        self.signed_in[number] = time.monotonic()

    def down(self, number: int, delay: float) -> None:
        self._online.discard(number)
        self.lost += 1
        self.delays.append(delay)

    def _on_input(self, _mask: int) -> None:
        if not os.read(0, 4096):
            self._reactor.stop()
            return
        answer = {
            "online": len(self._online),
            "lost": self.lost,
            "gaps": self.gaps,
            "finished": self.finished,
            "delays": self.delays,
            "signed_in": list(self.signed_in.values()),
        }
        print(json.dumps(answer), flush=True)


class _LinkEvents:
    """The receiver of the events of one link."""

    def __init__(self, links: _Links, number: int) -> None:
        self._links = links
        self._number = number

    def connected(self, _address: str) -> None:
        self._links.up(self._number)

    def received(self, events: list[ClientEvent]) -> None:
        self._links.gaps += any(isinstance(event, Gap) for event in events)

    def lost(self, _reason: str, delay: float) -> None:
        self._links.down(self._number, delay)

    def drained(self) -> None:
        pass

    def finished(self, problem: str | None) -> None:
        self._links.finished.append(str(problem))


class _Sockets:
    """Plain sockets. A reader counts as online once it has received data, a stalled client at once."""

    def __init__(self, port: int, count: int, first: int, wire: str, stalled: bool) -> None:
        self._selector = selectors.DefaultSelector()
        self._selector.register(0, selectors.EVENT_READ)
        self._names = [f"c{number}" for number in range(first, first + count)]
        self._names.reverse()
        self._port = port
        self._wire = wire
        self._stalled = stalled
        self._buffer = bytearray(1 << 18)
        self._connecting: set[socket.socket] = set()  # nothing received yet
        self._open: list[socket.socket] = []  # stalled; keeps them alive
        self.members = 0
        self.ended = 0
        self.bytes = 0
        self.reasons: list[str] = []

    def run(self) -> None:
        while True:
            while self._names and len(self._connecting) < _MAX_CONNECTING:
                self._connect(self._names.pop())
            for key, _ in self._selector.select():
                if key.fileobj == 0:
                    if not os.read(0, 4096):
                        return
                    self._answer()
                else:
                    self._read(key.fileobj)  # type: ignore[arg-type]

    def _connect(self, name: str) -> None:
        sock = socket.socket()
        if self._stalled:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
        sock.connect(("127.0.0.1", self._port))
        sock.setblocking(False)
        sock.send(encoded(greeting(name)) if self._wire == "selchat" else frame(name))
        if self._stalled:
            self._open.append(sock)
            self.members += 1
            return
        self._connecting.add(sock)
        self._selector.register(sock, selectors.EVENT_READ)

    def _read(self, sock: socket.socket) -> None:
        try:
            size = sock.recv_into(self._buffer)
            reason = "end"
        except BlockingIOError:
            return
        except OSError as error:
            size, reason = 0, close_reason(error)
        self.bytes += size
        if size and sock in self._connecting:
            self._connecting.discard(sock)
            self.members += 1
        elif not size:
            self._connecting.discard(sock)
            self.ended += 1
            self.reasons.append(reason)
            self._selector.unregister(sock)
            sock.close()

    def _answer(self) -> None:
        answer = {"online": self.members - self.ended, "ended": self.ended, "bytes": self.bytes}
        print(json.dumps({**answer, "reasons": sorted(set(self.reasons))}), flush=True)


def _fail(where: str, error: Exception) -> None:
    raise AssertionError(where) from error


def main() -> None:
    parameters = json.loads(sys.argv[1])
    raise_descriptor_limit()
    kind, port, count, first = (parameters[name] for name in ("kind", "port", "count", "first"))
    if kind == "links":
        _Links(port, count, first).run()
    else:
        _Sockets(port, count, first, parameters["wire"], kind == "stalled").run()


if __name__ == "__main__":
    main()
