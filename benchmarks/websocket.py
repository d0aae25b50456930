"""Compare fan-out over WebSockets with the classic wire and with ``websockets.broadcast``.

Usage:
  websocket.py [options]

Options:
  --receivers=N      [default: 900]
  --windows=LIST     Messages in flight, separated by commas. [default: 1,16,256]
  --delivery=BYTES   Size of a delivery, the same on every wire. [default: 200]
  --rounds=N         Rounds, in each of which all are measured; the result is the median. [default: 5]
  --duration=S       Seconds of each measurement. [default: 1]
  --output=DIR       Folder for websocket.md and websocket.json; by default benchmarks/results, and none
                     with --quick.
  --patience=S       Seconds, in all, to wait until this machine is idle. [default: 120]
  --quick            One short round with few receivers, to check that it works; the figures mean nothing.
  -h --help          Show this text.

The load is that of selchat-bench, which checks every byte of every receiver, and every ack. One sender has a
window of messages in flight; when all receivers have them, it sends the next window. The payloads are chosen
so that deliveries have the same size on the classic wire and on the WebSocket. The servers share one core in
turn, and the load has another. Ctrl-C shows the figures so far.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import random
import string
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import docopt
from harness.machine import describe_machine, format_machine
from harness.processes import IdleWait, interrupt_on_sigterm
from harness.processes import Server as ScriptServer
from harness.results import DISTURBED, describe_rounds, format_short, format_significant, markdown_table

from selchat.bench.errors import BenchError
from selchat.bench.load.job import Job, Measurement
from selchat.bench.load.workers import Workers
from selchat.bench.metrics import DEFECTS
from selchat.bench.system import proc, processes
from selchat.bench.wires.wire import CLASSIC, WEBSOCKET, Wire

_RESULTS = Path(__file__).parent / "results"
_SERVERS = Path(__file__).parent / "servers"
_QUICK_RECEIVERS, _QUICK_WINDOWS, _QUICK_SECONDS = 20, (1, 16), 0.1
_WARMUP_SECONDS = 0.1  # after a pause each connection is slower at first
_MAX_COST = 1.3  # goal: ratio of a delivery on the WebSocket to one on the classic wire
_MIN_LEAD, _AT = 20.0, 256  # goal: ratio of deliveries for the same CPU time, at that window


Address = tuple[str, int]
Started = tuple[
    int, Address, Callable[[], object]
]  # process ID, address, and a function that stops the server


@dataclass(frozen=True)
class ServerOnWire:
    """One server on one wire. ``start(receivers, folder)``: the folder belongs to the server."""

    key: str
    name: str
    wire: Wire
    start: Callable[[int, Path], Started]


def _selchat(receivers: int, _folder: Path) -> Started:
    server = processes.Server(
        [f"--max-clients={receivers + 100}", "--no-roster"], proc.choose_pinning().server
    )
    return server.pid, server.address, server.stop


def _room_on_websockets(_receivers: int, folder: Path) -> Started:
    command = [sys.executable, str(_SERVERS / "websockets_room.py")]
    server = ScriptServer(command, folder, min(proc.choose_pinning().server, default=0))
    return server.pid, ("127.0.0.1", server.port), server.stop


_CLASSIC = ServerOnWire("classic", "selchat, classic wire", CLASSIC, _selchat)
_WEB = ServerOnWire("websocket", "selchat, WebSocket", WEBSOCKET, _selchat)
_BROADCAST = ServerOnWire("broadcast", "websockets.broadcast", WEBSOCKET, _room_on_websockets)
_SERVERS_ON_WIRES = (_CLASSIC, _WEB, _BROADCAST)


@dataclass(frozen=True)
class Run:
    """One measurement of one server."""

    deliveries: int
    seconds: float
    cpu: float  # seconds of the server
    waited: float  # seconds for its core, which other processes used
    bytes: int  # of all deliveries
    segment_bytes: int  # of the data segments that one receiver got
    segments: int
    flaws: str

    @property
    def cpu_us(self) -> float:
        """The server's CPU microseconds per delivery."""
        return 1e6 * self.cpu / self.deliveries

    @property
    def delivery_bytes(self) -> float:
        """The bytes of one delivery."""
        return self.bytes / self.deliveries

    @property
    def messages_per_send(self) -> float:
        """The number of messages in one send of the server."""
        return self.segment_bytes / (self.segments or 1) / self.delivery_bytes

    def as_json(self) -> dict[str, Any]:
        """Return the figures of the tables."""
        return {
            "deliveries": self.deliveries,
            "seconds": round(self.seconds, 4),
            "server_cpu_us_per_delivery": round(self.cpu_us, 5),
            "waited": round(self.waited / self.seconds, 4),
            "bytes_per_delivery": round(self.delivery_bytes, 3),
            "messages_per_send": round(self.messages_per_send, 2),
            "flaws": self.flaws,
        }


class Results:
    """The measurements so far: the run of each round, for each server and window."""

    def __init__(self, windows: Sequence[int], receivers: int, settings: str) -> None:
        self.windows = windows
        self.receivers = receivers
        self.settings = settings
        self.description = describe_machine()
        self.runs: dict[tuple[str, int], list[Run]] = defaultdict(list)
        self.skipped: list[str] = []

    def figure(self, server: ServerOnWire, window: int, value: Callable[[Run], float]) -> float:
        """Return the median of that figure over the rounds."""
        return median(value(run) for run in self.runs[server.key, window])

    def cost(self, server: ServerOnWire, other: ServerOnWire, window: int) -> float:
        """Return the cost of a delivery, ``server`` / ``other``: the median ratio of adjacent runs.

        Only the calmer half of the rounds counts, in which other processes used the servers' core less.
        """
        pairs = list(zip(self.runs[server.key, window], self.runs[other.key, window], strict=False))
        pairs.sort(key=lambda pair: max(run.waited / run.seconds for run in pair))
        return median(a.cpu_us / b.cpu_us for a, b in pairs[: (len(pairs) + 1) // 2])

    def measured(self, *servers: ServerOnWire) -> list[int]:
        """Return the windows that have been measured for all of these servers."""
        return [window for window in self.windows if all(self.runs[server.key, window] for server in servers)]

    def goal_rows(self) -> list[list[str]]:
        """Return a row for each figure that has a goal."""
        rows = []
        for window in self.measured(_WEB, _CLASSIC):
            cost = self.cost(_WEB, _CLASSIC, window)
            what = f"a delivery on the WebSocket to one on the classic wire, {window} in flight"
            rows.append(
                [what, f"{cost:.2f}", f"at most {_MAX_COST}", "yes" if cost <= _MAX_COST else "**no**"]
            )
        for window in self.measured(_BROADCAST, _WEB):
            lead = self.cost(_BROADCAST, _WEB, window)
            what = f"a delivery by websockets.broadcast to one by selchat, {window} in flight"
            goal, met = "–", "–"
            if window == _AT:
                goal, met = f"at least {_MIN_LEAD:g}", "yes" if lead >= _MIN_LEAD else "**no**"
            rows.append([what, format_significant(lead), goal, met])
        return rows

    def flaws(self) -> list[str]:
        """Return the defects, and a warning if other processes disturbed every round."""
        found = list(self.skipped)
        for server in _SERVERS_ON_WIRES:
            for window in self.measured(server):
                runs = self.runs[server.key, window]
                found += sorted(
                    {f"{server.name}, {window} in flight: {run.flaws}" for run in runs if run.flaws}
                )
                if all(run.waited >= DISTURBED * run.seconds for run in runs):
                    found.append(
                        f"{server.name}, {window} in flight: other work on this machine took over "
                        f"{DISTURBED:.0%} of the core in every round; measure again"
                    )
        return found

    def markdown(self) -> str:
        """Return the tables and their notes."""
        header = ["in flight", "server", "deliveries/s", "server CPU µs per delivery"]
        header += ["bytes per delivery", "messages per send"]
        rows = [
            [
                str(window),
                server.name,
                format_short(self.figure(server, window, lambda run: run.deliveries / run.seconds)),
                format_significant(self.figure(server, window, lambda run: run.cpu_us)),
                f"{self.figure(server, window, lambda run: run.delivery_bytes):.1f}",
                f"{self.figure(server, window, lambda run: run.messages_per_send):.1f}",
            ]
            for window in self.windows
            for server in _SERVERS_ON_WIRES
            if self.runs[server.key, window]
        ]
        return (
            "# The cost of WebSockets\n\n"
            f"{format_machine(self.description)}. {self.settings}\n\n"
            f"One sender, {self.receivers:,} receivers, in one room. Ratios of the server's CPU time:\n"
            "medians of the half of the rounds that other work disturbed least:\n\n"
            f"{markdown_table(['cost', 'ratio', 'goal', 'met'], self.goal_rows())}\n"
            f"{markdown_table(header, rows)}\n"
            "The load compared every byte of every receiver with a completely parsed stream: each message\n"
            "arrived once and in order. On the WebSocket the server also acknowledged each to its sender,\n"
            "with the number that the receivers got. The speeds include the pauses of this load, which\n"
            "sleeps while it waits.\n" + "".join(f"\n- {flaw}" for flaw in self.flaws())
        ).rstrip() + "\n"

    def as_json(self) -> dict[str, Any]:
        """Return everything."""
        return {
            "machine": self.description,
            "settings": self.settings,
            "receivers": self.receivers,
            "websocket_to_classic": {
                str(window): round(self.cost(_WEB, _CLASSIC, window), 4)
                for window in self.measured(_WEB, _CLASSIC)
            },
            "broadcast_to_websocket": {
                str(window): round(self.cost(_BROADCAST, _WEB, window), 4)
                for window in self.measured(_BROADCAST, _WEB)
            },
            "flaws": self.flaws(),
            "runs": {
                server.key: {
                    str(window): [run.as_json() for run in self.runs[server.key, window]]
                    for window in self.measured(server)
                }
                for server in _SERVERS_ON_WIRES
            },
        }


class Testbed:
    """A server with its receivers and its sender, all of them signed in."""

    def __init__(self, server: ServerOnWire, receivers: int, delivery: int, stack: ExitStack) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="selchat-bench-")))
        self._pid, address, stop = server.start(receivers, folder)
        stack.callback(stop)
        payload = server.wire.payload_size_for(delivery)
        if payload is None:
            raise BenchError(f"the {server.wire.name} wire has no delivery of {delivery} bytes")
        job = Job(
            address=address,
            run="".join(random.choices(string.ascii_lowercase, k=3)),
            readers=receivers,
            senders=1,
            total_senders=1,
            payload=payload,
            wire=server.wire.name,
        )
        workers = Workers([job], proc.choose_pinning().generators, lambda: False, lambda _: None)
        stack.callback(workers.stop)
        workers.join(0)
        workers.start_checking()
        self._workers = workers

    def run(self, window: int, seconds: float) -> Run:
        """Measure it for ``seconds``, and for at least one window of messages."""
        self._workers.measure("closed", seconds=_WARMUP_SECONDS, interval=1.0, window=window)
        before = proc.process_usage(self._pid)
        found = self._workers.measure("closed", seconds=seconds, interval=1.0, window=window)
        after = proc.process_usage(self._pid)
        if found.failure is not None:
            raise BenchError(found.failure)
        return Run(
            found.deliveries,
            found.seconds,
            after.cpu - before.cpu,
            after.waited - before.waited,
            found.bytes,
            found.segment_bytes,
            found.segments,
            _flaws(found),
        )


def _flaws(found: Measurement) -> str:
    return ", ".join(f"{count} {name}" for name in DEFECTS if (count := getattr(found, f"{name}_total")))


def main() -> int:
    """Run the script and return its exit status."""
    assert __doc__ is not None
    options = docopt.docopt(__doc__)
    interrupt_on_sigterm()
    proc.raise_descriptor_limit()
    quick = options["--quick"]
    rounds = 1 if quick else int(options["--rounds"])
    seconds = _QUICK_SECONDS if quick else float(options["--duration"])
    receivers = _QUICK_RECEIVERS if quick else int(options["--receivers"])
    windows = _QUICK_WINDOWS if quick else tuple(int(window) for window in options["--windows"].split(","))
    command = " ".join(["python", "benchmarks/websocket.py", *sys.argv[1:]])
    versions = f"selchat {importlib.metadata.version('selchat')}"
    servers: Sequence[ServerOnWire] = _SERVERS_ON_WIRES
    skipped = []
    if importlib.util.find_spec("websockets"):
        versions += f", websockets {importlib.metadata.version('websockets')}"
    else:
        servers = (_CLASSIC,)
        skipped = ["measured only the classic wire; for the others run: pip install websockets"]
    settings = f"{versions}. {describe_rounds(rounds)} of {seconds:g} s; to repeat: `{command}`."
    results = Results(windows, receivers, settings)
    results.skipped = skipped
    idle_wait = IdleWait(0 if quick else float(options["--patience"]))
    status = 0
    try:
        with ExitStack() as stack:
            testbeds = {
                server: Testbed(server, receivers, int(options["--delivery"]), stack) for server in servers
            }
            for number in range(1, rounds + 1):
                idle_wait.wait()
                for window in windows:
                    for server, testbed in testbeds.items():
                        run = testbed.run(window, seconds)
                        results.runs[server.key, window].append(run)
                        figures = f"{format_significant(run.cpu_us)} µs {run.flaws}".rstrip()
                        print(f"round {number}/{rounds}  {server.name}  {window}: {figures}", file=sys.stderr)
    except KeyboardInterrupt:
        print("Interrupted. The figures so far:", file=sys.stderr)
        status = 130
    except BenchError as error:
        print(f"websocket.py: {error}. The figures so far:", file=sys.stderr)
        status = 1
    text = results.markdown()
    print(text)
    output = options["--output"] or (None if quick else _RESULTS)
    if output is not None and status == 0:
        folder = Path(output)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "websocket.md").write_text(text)
        (folder / "websocket.json").write_text(json.dumps(results.as_json(), indent=1) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
