"""Measure the latency of normal senders while abusive clients attack the server.

Usage:
  abuse.py [options]

Options:
  --kinds=LIST        Kinds of abuse, separated by commas; by default all. --help lists them at the end.
  --connections=LIST  Numbers of abusive connections, separated by commas. [default: 1,16,64]
  --loris=N           Slow-loris connections. [default: 1000]
  --talkers=N         Normal senders; each sends a message a second and receives the others'. [default: 20]
  --history=N         Messages in the history at the start. [default: 200000]
  --duration=S        Seconds of each measurement. [default: 5]
  --rounds=N          Rounds, in each of which every kind is measured; the result is the median. [default: 1]
  --no-limits         Start the server without rate and work limits, to see their effect.
  --output=DIR        Folder for abuse.md and abuse.json; by default benchmarks/results, and none with --quick
                      or --no-limits.
  --quick             Short measurements with few clients, to check that it works; the figures mean nothing.
  -h --help           Show this text.

The script measures in turns without and with abusive clients, on one server that shows its console lines and
keeps a history on disk. The latency of a delivery counts from the intended send time of its message. The
script checks that no delivery to the senders is lost, duplicated or out of order. All clients have one
address, that of the machine itself. The senders have a room of their own: in the room of the abusive clients,
they would have to read all of those messages, too.

Kinds: {kinds}.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import select
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, NamedTuple

import docopt
from harness.abusive_clients import ATTACKS, OTHERS
from harness.machine import describe_machine, format_machine
from harness.processes import Server, cores, free_port, interrupt_on_sigterm, pinned, raise_descriptor_limit
from harness.results import describe_rounds, format_significant, markdown_table, percentile

from selchat.bench.wires.messages import RUN_LENGTH
from selchat.bench.wires.wire import SELCHAT
from selchat.log.retention import Retention
from selchat.log.sqlite import SqliteLog
from selchat.wire.frames import FrameDecoder

_RESULTS = Path(__file__).parent / "results"
_ABUSIVE_CLIENTS = Path(__file__).parent / "harness" / "abusive_clients.py"
_KINDS = [*ATTACKS, *OTHERS]
_RUN = b"abu"
_SIZE = 64  # bytes of a body
_ROOM = "bystanders"  # not the room of the abusive clients: the latency is only the server's
_BUFFER = 1 << 18  # bytes of a read
_DRAIN = 5.0  # seconds for the last deliveries of a measurement
_QUICK = {
    "--talkers": "5",
    "--connections": "2",
    "--loris": "20",
    "--duration": "0.5",
    "--rounds": "1",
    "--history": "1000",
}
_NO_LIMITS = ("message-rate", "byte-rate", "connection-work", "person-work", "address-work")
assert len(_RUN) == RUN_LENGTH


class Senders:
    """Normal senders, on one event loop. They check the order of each other's messages."""

    def __init__(self, port: int, count: int) -> None:
        self.latencies: list[float] = []  # seconds, of each delivery of this measurement
        self.faults = 0  # deliveries out of order, duplicated, or after a gap
        self._selector = selectors.DefaultSelector()
        self._socks: list[socket.socket] = []
        self._generators = []
        self._expected: list[dict[bytes, int]] = [defaultdict(int) for _ in range(count)]
        self._missing = 0  # deliveries
        self._turns = itertools.cycle(range(count))  # a silent sender would have to answer pings
        for number in range(count):
            name = b"%b%05d" % (_RUN, number)
            sock = socket.create_connection(("127.0.0.1", port))
            sock.sendall(SELCHAT.hello(name, (_ROOM,)))
            decoder = FrameDecoder(limit=1 << 20)
            while not decoder.receive_data(sock.recv(_BUFFER)):
                pass
            sock.setblocking(False)
            self._selector.register(sock, selectors.EVENT_READ, (number, decoder))
            self._socks.append(sock)
            self._generators.append(SELCHAT.generator(name, _SIZE, room=_ROOM))

    def run(self, seconds: float) -> None:
        """Send for ``seconds``, and wait for the last deliveries."""
        self.latencies = []
        count = len(self._socks)
        interval = 1.0 / count
        start = time.monotonic()
        sent = 0
        while (now := time.monotonic()) < start + seconds:
            while (due := start + sent * interval) <= now:
                number = next(self._turns)
                self._socks[number].send(self._generators[number].generate(1, round(due * 1e9)))
                self._missing += count - 1
                sent += 1
            self._read(max(0.0, due - now))
        end = time.monotonic() + _DRAIN
        while self._missing and time.monotonic() < end:
            self._read(0.01)

    @property
    def lost(self) -> int:
        """Deliveries that did not arrive."""
        return self._missing

    def close(self) -> None:
        """Close all connections."""
        for sock in self._socks:
            sock.close()
        self._selector.close()

    def _read(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            number, decoder = key.data
            sock: Any = key.fileobj
            payloads = decoder.receive_data(sock.recv(_BUFFER))
            now = time.monotonic_ns()
            for payload in payloads:
                if b'"from":"' + _RUN not in payload:
                    continue
                message = SELCHAT.parse(payload, _RUN)
                if message is None:
                    continue
                expected = self._expected[number]
                if message.sequence != expected[message.name]:
                    self.faults += 1
                expected[message.name] = message.sequence + 1
                self._missing -= 1
                self.latencies.append((now - message.stamp) / 1e9)


class AbusiveClients:
    """A process of abusive clients. ``report``: what it says at its end."""

    def __init__(self, kind: str, port: int, count: int) -> None:
        self.report: dict[str, Any] = {}
        self._process = subprocess.Popen(
            [sys.executable, str(_ABUSIVE_CLIENTS), kind, str(port), str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert json.loads(self._process.stdout.readline())["ready"] == count

    def __enter__(self) -> AbusiveClients:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        rest, _ = self._process.communicate(timeout=20)
        self.report = json.loads(rest) if rest else {}


class Figures(NamedTuple):
    """One measurement. Latencies are in milliseconds, CPU time in seconds a second, memory in MiB."""

    p50: float
    p99: float
    cpu: float
    memory: float


class Measurement(NamedTuple):
    """A quiet measurement and the one with abusive clients after it."""

    quiet: Figures
    abused: Figures
    report: dict[str, Any]

    @property
    def ratio(self) -> float:
        """The p99 beside the quiet one. Only neighbours compare: the machine's speed changes in seconds."""
        return self.abused.p99 / self.quiet.p99


class Bench:
    """A server and its normal senders."""

    def __init__(self, server: Server, talkers: int, seconds: float) -> None:
        self._server = server
        self._seconds = seconds
        self.senders = Senders(server.port, talkers)
        self.senders.run(min(2.0, seconds))  # warm-up

    def measure(self, kind: str, count: int) -> Measurement:
        """Measure without abusive clients, and with ``count`` of them."""
        quiet = self._run()
        with AbusiveClients(kind, self._server.port, count) as abusers:
            select.select([], [], [], min(1.0, self._seconds))  # until the initial burst is over
            abused = self._run()
        return Measurement(quiet, abused, abusers.report)

    def _run(self) -> Figures:
        before, started = self._server.cpu_seconds(), time.monotonic()
        self.senders.run(self._seconds)
        cpu = (self._server.cpu_seconds() - before) / (time.monotonic() - started)
        status = Path(f"/proc/{self._server.pid}/status").read_text()
        memory = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert memory is not None
        latencies = self.senders.latencies or [float("inf")]  # without limits, there may be none
        p50, p99 = percentile(latencies, 50) * 1e3, percentile(latencies, 99) * 1e3
        return Figures(p50, p99, cpu, int(memory[1]) / 1024)


class Results:
    """All measurements, by kind and number of connections."""

    def __init__(self, settings: str, description: dict[str, str]) -> None:
        self.settings = settings
        self.description = description
        self.measurements: dict[tuple[str, int], list[Measurement]] = defaultdict(list)
        self.lost = 0
        self.faults = 0

    def markdown(self) -> str:
        """Return the table and its notes."""
        rows = []
        lives: list[float] = []
        for (kind, count), rounds in self.measurements.items():
            figures = [
                median(one.quiet.p99 for one in rounds),
                median(one.abused.p50 for one in rounds),
                median(one.abused.p99 for one in rounds),
                median(one.abused.cpu for one in rounds) * 100,
                median(one.abused.memory for one in rounds),
            ]
            ratio = median(one.ratio for one in rounds)
            rows.append([kind, str(count), *map(format_significant, figures), f"{ratio:.2f}"])
            lives += [life for one in rounds for life in one.report.get("lives", ())]
        closed = (
            f"The server closed slow-loris connections {min(lives):.1f} to {max(lives):.1f} s "
            "after they connected."
            if lives
            else "The server closed no slow-loris connection in that time."
        )
        checks = (
            f"Of the deliveries to normal senders, {self.lost} were lost, {self.faults} out of order or "
            "duplicated."
        )
        header = ["abuse", "connections", "quiet p99, ms", "p50, ms", "p99, ms", "CPU, %", "memory, MiB"]
        header.append("p99 / quiet")
        notes = (closed, checks, self.settings, f"{format_machine(self.description)}.")
        return f"{markdown_table(header, rows)}\n{chr(10).join(notes)}\n"

    def as_json(self) -> dict[str, Any]:
        """Return everything."""
        return {
            "machine": self.description,
            "settings": self.settings,
            "measurements": [
                {
                    "kind": kind,
                    "connections": count,
                    "rounds": [
                        {"quiet": one.quiet._asdict(), "abused": one.abused._asdict(), "clients": one.report}
                        for one in rounds
                    ],
                }
                for (kind, count), rounds in self.measurements.items()
            ],
            "lost": self.lost,
            "out_of_order_or_doubled": self.faults,
        }


def fill_history(path: Path, count: int) -> None:
    """Write a history with so many messages in the lobby."""
    log = SqliteLog(path, Retention.parse(""))
    for start in range(0, count, 1000):
        numbers = range(start, min(start + 1000, count))
        log.append("lobby", "Venkat", [f"{number:064}" for number in numbers], 0.0)
        log.commit()
    log.close()


def parse_kinds(text: str | None) -> list[str]:
    """Return the kinds that the user wants, and that this machine can do."""
    kinds = _KINDS if text is None else [kind.strip() for kind in text.split(",")]
    for kind in kinds:
        if kind not in _KINDS:
            raise SystemExit(f"abuse.py: there is no kind {kind!r}; the kinds are: {', '.join(_KINDS)}")
    if shutil.which("openssl") is None and "TLS key updates" in kinds:
        print("Without the command openssl, there are no TLS key updates.", file=sys.stderr)
        kinds = [kind for kind in kinds if kind != "TLS key updates"]
    return kinds


def main() -> int:
    """Run the script and return its exit status."""
    assert __doc__ is not None
    options: dict[str, Any] = dict(docopt.docopt(__doc__.format(kinds=", ".join(_KINDS))))
    interrupt_on_sigterm()
    if options["--quick"]:
        options = options | _QUICK
    kinds = parse_kinds(options["--kinds"])
    counts = [int(count) for count in options["--connections"].split(",")]
    talkers, loris, history, rounds = (
        int(options[f"--{name}"]) for name in ("talkers", "loris", "history", "rounds")
    )
    seconds = float(options["--duration"])
    raise_descriptor_limit(4096)
    command = " ".join(["python", "benchmarks/abuse.py", *sys.argv[1:]])
    settings = (
        f"{describe_rounds(rounds)} of {seconds:g} s: {talkers} senders with a message a second each, "
        f"{history} messages in the history; to repeat: `{command}`."
    )
    results = Results(settings, describe_machine())
    work = [(kind, count) for kind in kinds for count in ([loris] if kind == "loris" else counts)]
    limits = [f"--{name}=0" for name in _NO_LIMITS] if options["--no-limits"] else []
    server_core, load_core = cores()
    with tempfile.TemporaryDirectory(prefix="selchat-bench-") as folder:
        os.environ["XDG_DATA_HOME"] = folder
        path = Path(folder) / "history.db"
        fill_history(path, history)
        port = free_port()  # given, so that the server's lines go to a file
        serve = ["serve", "--host=127.0.0.1", f"--port={port}", f"--history={path}", "--no-roster", *limits]
        with (
            Server([sys.executable, "-m", "selchat", *serve], Path(folder), server_core, port) as server,
            pinned(load_core),
        ):
            bench = Bench(server, talkers, seconds)
            for number in range(rounds):
                for place, (kind, count) in enumerate(work):
                    step = f"{number * len(work) + place + 1} of {rounds * len(work)}: {count} x {kind}"
                    print(f"{step:60}", end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr)
                    results.measurements[kind, count].append(bench.measure(kind, count))
            results.lost, results.faults = bench.senders.lost, bench.senders.faults
            bench.senders.close()
    text = results.markdown()
    print(text)
    output = options["--output"] or (None if options["--quick"] or options["--no-limits"] else str(_RESULTS))
    if output is not None:
        target = Path(output)
        target.mkdir(parents=True, exist_ok=True)
        (target / "abuse.md").write_text(text)
        (target / "abuse.json").write_text(json.dumps(results.as_json(), indent=1) + "\n")
    return 1 if results.lost or results.faults else 0


if __name__ == "__main__":
    sys.exit(main())
