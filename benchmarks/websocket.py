"""What browsers cost: fan-out over WebSockets, beside the classic wire, and beside ``websockets.broadcast``.

Usage:
  websocket.py [options]

Options:
  --receivers=N      [default: 900]
  --windows=LIST     Messages in flight, separated by commas. [default: 1,16,256]
  --delivery=BYTES   Of each message as it is delivered, the same on every wire. [default: 200]
  --rounds=N         Rounds in which all take turns; the medians are reported. [default: 5]
  --duration=S       Seconds of each turn. [default: 1]
  --output=DIR       Where websocket.md and websocket.json go; benchmarks/results if not given, and nowhere
                     with --quick.
  --patience=S       Seconds in all to wait for other work on this machine to end. [default: 120]
  --quick            One short round with few receivers, to see that it works; measures nothing.
  -h --help          Show this text.

The load is that of selchat-bench, which checks every byte that every receiver gets, and every ack. One sender
has so many messages in flight; when all receivers have got them, it sends the next. The messages are of such
a size that what each receiver gets for one has as many bytes on the classic wire as on the WebSocket. The
servers have one core in turn, the load another. Ctrl-C shows what was measured so far.
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
from harness.machine import machine, machine_line
from harness.processes import Patience, end_on_sigterm
from harness.processes import Server as ScriptServer
from harness.results import DISTURBED, count_of, markdown_table, short, significant

from selchat.bench.errors import BenchError
from selchat.bench.load.job import Job, Measurement
from selchat.bench.load.workers import Workers
from selchat.bench.metrics import DEFECTS
from selchat.bench.system import proc, processes
from selchat.bench.wires.wire import CLASSIC, WEBSOCKET, Wire

_RESULTS = Path(__file__).parent / "results"
_SERVERS = Path(__file__).parent / "servers"
_QUICK_RECEIVERS, _QUICK_WINDOWS, _QUICK_SECONDS = 20, (1, 16), 0.1
_WARM_SECONDS = 0.1  # after a pause each connection is slower at first
_MAX_COST = 1.3  # of a delivery on the WebSocket to one on the classic wire: what we want
_MIN_LEAD, _AT = 20.0, 256  # times more deliveries for the CPU time, with so many messages in flight


Address = tuple[str, int]
Started = tuple[int, Address, Callable[[], object]]  # the process, where it listens, and what ends it


@dataclass(frozen=True)
class Contender:
    """One server on one wire. ``start(receivers, folder)``: the folder is for the server alone."""

    key: str
    name: str
    wire: Wire
    start: Callable[[int, Path], Started]


def _selchat(receivers: int, _folder: Path) -> Started:
    server = processes.Server([f"--max-clients={receivers + 100}", "--no-roster"], proc.choose_pinning().server)
    return server.pid, server.address, server.stop


def _room_on_websockets(_receivers: int, folder: Path) -> Started:
    command = [sys.executable, str(_SERVERS / "websockets_room.py")]
    server = ScriptServer(command, folder, min(proc.choose_pinning().server, default=0))
    return server.pid, ("127.0.0.1", server.port), server.stop


_CLASSIC = Contender("classic", "selchat, classic wire", CLASSIC, _selchat)
_WEB = Contender("websocket", "selchat, WebSocket", WEBSOCKET, _selchat)
_BROADCAST = Contender("broadcast", "websockets.broadcast", WEBSOCKET, _room_on_websockets)
_CONTENDERS = (_CLASSIC, _WEB, _BROADCAST)


@dataclass(frozen=True)
class Run:
    """One turn of one server."""

    deliveries: int
    seconds: float
    cpu: float  # seconds of the server
    waited: float  # seconds for its core, that others used
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
        """How many bytes one delivery had."""
        return self.bytes / self.deliveries

    @property
    def together(self) -> float:
        """How many messages the server has put into one send."""
        return self.segment_bytes / (self.segments or 1) / self.delivery_bytes

    def as_json(self) -> dict[str, Any]:
        """Return what the tables are made of."""
        return {
            "deliveries": self.deliveries,
            "seconds": round(self.seconds, 4),
            "server_cpu_us_per_delivery": round(self.cpu_us, 5),
            "waited": round(self.waited / self.seconds, 4),
            "bytes_per_delivery": round(self.delivery_bytes, 3),
            "messages_per_send": round(self.together, 2),
            "flaws": self.flaws,
        }


class Results:
    """What was measured so far: for each server and window a run of each round."""

    def __init__(self, windows: Sequence[int], receivers: int, settings: str) -> None:
        self.windows = windows
        self.receivers = receivers
        self.settings = settings
        self.description = machine()
        self.runs: dict[tuple[str, int], list[Run]] = defaultdict(list)
        self.skipped: list[str] = []

    def figure(self, one: Contender, window: int, value: Callable[[Run], float]) -> float:
        """Return the median of that over the rounds."""
        return median(value(run) for run in self.runs[one.key, window])

    def cost(self, one: Contender, other: Contender, window: int) -> float:
        """Return what a delivery costs ``one`` to what it costs ``other``: of neighbouring turns, the median.

        Of the rounds only the calmer half counts, in which other work had the servers' core for less.
        """
        pairs = list(zip(self.runs[one.key, window], self.runs[other.key, window], strict=False))
        pairs.sort(key=lambda pair: max(run.waited / run.seconds for run in pair))
        return median(a.cpu_us / b.cpu_us for a, b in pairs[: (len(pairs) + 1) // 2])

    def measured(self, *contenders: Contender) -> list[int]:
        """Return the windows for which there are runs of all these."""
        return [window for window in self.windows if all(self.runs[one.key, window] for one in contenders)]

    def wanted(self) -> list[list[str]]:
        """Return a row for each figure that we want to be good."""
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
            wanted, met = "–", "–"
            if window == _AT:
                wanted, met = f"at least {_MIN_LEAD:g}", "yes" if lead >= _MIN_LEAD else "**no**"
            rows.append([what, significant(lead), wanted, met])
        return rows

    def flaws(self) -> list[str]:
        """Return what has to be known beside the figures."""
        found = list(self.skipped)
        for one in _CONTENDERS:
            for window in self.measured(one):
                runs = self.runs[one.key, window]
                found += sorted({f"{one.name}, {window} in flight: {run.flaws}" for run in runs if run.flaws})
                if all(run.waited >= DISTURBED * run.seconds for run in runs):
                    found.append(
                        f"{one.name}, {window} in flight: other work on this machine took over "
                        f"{DISTURBED:.0%} of the core in every round; measure again"
                    )
        return found

    def markdown(self) -> str:
        """Return the tables with what must be known beside them."""
        header = ["in flight", "server", "deliveries/s", "server CPU µs per delivery"]
        header += ["bytes per delivery", "messages per send"]
        rows = [
            [
                str(window),
                one.name,
                short(self.figure(one, window, lambda run: run.deliveries / run.seconds)),
                significant(self.figure(one, window, lambda run: run.cpu_us)),
                f"{self.figure(one, window, lambda run: run.delivery_bytes):.1f}",
                f"{self.figure(one, window, lambda run: run.together):.1f}",
            ]
            for window in self.windows
            for one in _CONTENDERS
            if self.runs[one.key, window]
        ]
        return (
            "# What browsers cost\n\n"
            f"{machine_line(self.description)}. {self.settings}\n\n"
            f"One sender, {self.receivers:,} receivers, in one room. Of the server's CPU time, the medians\n"
            "of the ratios in those rounds that other work disturbed least, half of all:\n\n"
            f"{markdown_table(['what', 'ratio', 'wanted', 'met'], self.wanted())}\n"
            f"{markdown_table(header, rows)}\n"
            "Every byte that every receiver got was compared with a stream of which every message was read:\n"
            "each came once and in order. On the WebSocket each was acknowledged to its sender as well,\n"
            "with the number that the receivers have seen. The speeds are those of this load, which sleeps\n"
            "while it waits.\n" + "".join(f"\n- {flaw}" for flaw in self.flaws())
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
                one.key: {
                    str(window): [run.as_json() for run in self.runs[one.key, window]]
                    for window in self.measured(one)
                }
                for one in _CONTENDERS
            },
        }


class Stand:
    """A server with its receivers and its sender, all of them in."""

    def __init__(self, contender: Contender, receivers: int, delivery: int, stack: ExitStack) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="selchat-bench-")))
        self._pid, address, stop = contender.start(receivers, folder)
        stack.callback(stop)
        payload = contender.wire.payload_size_for(delivery)
        if payload is None:
            raise BenchError(f"no delivery on the wire {contender.wire.name} has {delivery} bytes")
        job = Job(
            address=address,
            run="".join(random.choices(string.ascii_lowercase, k=3)),
            readers=receivers,
            senders=1,
            total_senders=1,
            payload=payload,
            wire=contender.wire.name,
        )
        workers = Workers([job], proc.choose_pinning().generators, lambda: False, lambda _: None)
        stack.callback(workers.stop)
        workers.join(0)
        workers.start_checking()
        self._workers = workers

    def run(self, window: int, seconds: float) -> Run:
        """Measure it for so long, and for one turn of the sender at least."""
        self._workers.measure("closed", seconds=_WARM_SECONDS, interval=1.0, window=window)
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
    end_on_sigterm()
    proc.raise_descriptor_limit()
    quick = options["--quick"]
    rounds = 1 if quick else int(options["--rounds"])
    seconds = _QUICK_SECONDS if quick else float(options["--duration"])
    receivers = _QUICK_RECEIVERS if quick else int(options["--receivers"])
    windows = _QUICK_WINDOWS if quick else tuple(int(window) for window in options["--windows"].split(","))
    command = " ".join(["python", "benchmarks/websocket.py", *sys.argv[1:]])
    versions = f"selchat {importlib.metadata.version('selchat')}"
    contenders: Sequence[Contender] = _CONTENDERS
    skipped = []
    if importlib.util.find_spec("websockets"):
        versions += f", websockets {importlib.metadata.version('websockets')}"
    else:
        contenders = (_CLASSIC,)
        skipped = ["only the classic wire: pip install websockets"]
    settings = f"{versions}. {count_of(rounds)} of {seconds:g} s; to repeat: `{command}`."
    results = Results(windows, receivers, settings)
    results.skipped = skipped
    patience = Patience(0 if quick else float(options["--patience"]))
    status = 0
    try:
        with ExitStack() as stack:
            stands = {one: Stand(one, receivers, int(options["--delivery"]), stack) for one in contenders}
            for number in range(1, rounds + 1):
                patience.wait_for_calm()
                for window in windows:
                    for one, stand in stands.items():
                        run = stand.run(window, seconds)
                        results.runs[one.key, window].append(run)
                        told = f"{significant(run.cpu_us)} µs {run.flaws}".rstrip()
                        print(f"round {number}/{rounds}  {one.name}  {window}: {told}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted; what was measured so far:", file=sys.stderr)
        status = 130
    except BenchError as error:
        print(f"websocket.py: {error}; what was measured so far:", file=sys.stderr)
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
