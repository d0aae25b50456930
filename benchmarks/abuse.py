"""Measure the latency of normal senders next to flooders and slow-loris connections.

Usage:
  abuse.py [options]

Options:
  --talkers=N     Normal senders; each sends a message a second and receives the others'. [default: 100]
  --flooders=N    Clients that send as much as the server reads. [default: 10]
  --loris=N       Connections that send a byte of their name each second. [default: 1000]
  --duration=S    Seconds of each measurement. [default: 12]
  --rounds=N      Rounds, in each of which every kind is measured; the result is the median.
                  [default: 3]
  --no-limits     Start the server without rate limits, to see their effect.
  --output=DIR    Folder for abuse.md and abuse.json; by default benchmarks/results, and none with --quick
                  or --no-limits.
  --quick         One short round with few clients, to check that it works; the figures mean nothing.
  -h --help       Show this text.

The script alternates between quiet measurements and measurements with abusive clients, on one server. The
latency of a delivery counts from the intended send time of its message. The script checks that no delivery to
the senders is lost, duplicated or out of order.
"""

from __future__ import annotations

import json
import select
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any

import docopt
from harness.machine import describe_machine, format_machine
from harness.processes import Server, cores, interrupt_on_sigterm, pinned, raise_descriptor_limit
from harness.results import describe_rounds, format_significant, markdown_table, percentile

from selchat.bench.wires.messages import RUN_LENGTH
from selchat.bench.wires.wire import SELCHAT
from selchat.wire.frames import FrameDecoder

_RESULTS = Path(__file__).parent / "results"
_ABUSIVE_CLIENTS = Path(__file__).parent / "harness" / "abusive_clients.py"
_RUN = b"abu"
_SIZE = 64  # bytes of a body
_BUFFER = 1 << 18  # bytes of a read
_DRAIN = 5.0  # seconds for the last deliveries of a measurement
_QUICK = {"--talkers": "10", "--flooders": "2", "--loris": "20", "--duration": "1", "--rounds": "1"}
_KINDS = {"quiet": "none", "flood": "flooders", "loris": "slow-loris connections"}
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
        for number in range(count):
            name = b"%b%05d" % (_RUN, number)
            sock = socket.create_connection(("127.0.0.1", port))
            sock.sendall(SELCHAT.hello(name))
            decoder = FrameDecoder(limit=1 << 20)
            while not decoder.receive_data(sock.recv(_BUFFER)):
                pass
            sock.setblocking(False)
            self._selector.register(sock, selectors.EVENT_READ, (number, decoder))
            self._socks.append(sock)
            self._generators.append(SELCHAT.generator(name, _SIZE))

    def run(self, seconds: float) -> None:
        """Send for ``seconds``, and wait for the last deliveries."""
        self.latencies = []
        count = len(self._socks)
        interval = 1.0 / count
        start = time.monotonic()
        sent = 0
        while (now := time.monotonic()) < start + seconds:
            while (due := start + sent * interval) <= now:
                number = sent % count
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
    """A process of abusive clients. ``lives``: seconds until the server closed each slow-loris connection."""

    def __init__(self, kind: str, port: int, count: int) -> None:
        self.lives: list[float] = []
        self.open = 0
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
        if rest:
            report = json.loads(rest)
            self.lives, self.open = report["lives"], report["open"]


class Results:
    """The percentiles of each kind of measurement, in milliseconds, by round."""

    def __init__(self, settings: str, description: dict[str, str]) -> None:
        self.settings = settings
        self.description = description
        self.rounds: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self.lost = 0
        self.faults = 0
        self.lives: list[float] = []
        self.left_open = 0

    def record(self, kind: str, latencies: list[float]) -> None:
        """Record the latencies of one measurement. Without limits, there may be none."""
        latencies = latencies or [float("inf")]
        self.rounds[kind].append((percentile(latencies, 50) * 1e3, percentile(latencies, 99) * 1e3))

    def markdown(self) -> str:
        """Return the table and its notes."""
        rows = []
        for kind, name in _KINDS.items():
            p50, p99 = (median(figures[index] for figures in self.rounds[kind]) for index in (0, 1))
            # Compare adjacent measurements only: the speed of the machine changes within seconds.
            ratios = [
                abused / calm
                for (_, abused), (_, calm) in zip(self.rounds[kind], self.rounds["quiet"], strict=False)
            ]
            rows.append([name, format_significant(p50), format_significant(p99), f"{median(ratios):.2f}"])
        lives = (
            f"The server closed slow-loris connections {min(self.lives):.1f} to {max(self.lives):.1f} s "
            f"after they connected; {self.left_open} were still open at the end."
            if self.lives
            else "The server closed no slow-loris connection in that time."
        )
        checks = (
            f"Of the deliveries to normal senders, {self.lost} were lost, {self.faults} out of order or "
            "duplicated."
        )
        header = ["abusive clients", "p50, ms", "p99, ms", "p99 / quiet"]
        notes = (lives, checks, self.settings, f"{format_machine(self.description)}.")
        return f"{markdown_table(header, rows)}\n{chr(10).join(notes)}\n"

    def as_json(self) -> dict[str, Any]:
        """Return everything."""
        return {
            "machine": self.description,
            "settings": self.settings,
            "p50_and_p99_ms": self.rounds,
            "lost": self.lost,
            "out_of_order_or_doubled": self.faults,
            "loris_lives_s": sorted(self.lives),
            "loris_open": self.left_open,
        }


def main() -> int:
    """Run the script and return its exit status."""
    assert __doc__ is not None
    options: dict[str, Any] = dict(docopt.docopt(__doc__))
    interrupt_on_sigterm()
    if options["--quick"]:
        options = options | _QUICK
    talkers, flooders, loris = (int(options[f"--{name}"]) for name in ("talkers", "flooders", "loris"))
    seconds, rounds = float(options["--duration"]), int(options["--rounds"])
    raise_descriptor_limit(4096)
    command = " ".join(["python", "benchmarks/abuse.py", *sys.argv[1:]])
    settings = (
        f"{describe_rounds(rounds)} of {seconds:g} s: {talkers} senders with a message a second each, "
        f"{flooders} flooders or {loris} slow-loris connections; to repeat: `{command}`."
    )
    results = Results(settings, describe_machine())
    limits = ["--message-rate=0", "--byte-rate=0"] if options["--no-limits"] else []
    server_core, load_core = cores()
    with tempfile.TemporaryDirectory(prefix="selchat-bench-") as folder:
        serve = ["serve", "--host=127.0.0.1", "--port=0", "--no-history", "--no-roster", "--quiet", *limits]
        with (
            Server([sys.executable, "-m", "selchat", *serve], Path(folder), server_core) as server,
            pinned(load_core),
        ):
            senders = Senders(server.port, talkers)
            senders.run(min(2.0, seconds))  # warm-up
            for _ in range(rounds):
                for kind, count in (("quiet", 0), ("flood", flooders), ("loris", loris)):
                    if kind == "quiet":
                        senders.run(seconds)
                    else:
                        with AbusiveClients(kind, server.port, count) as abusers:
                            select.select([], [], [], min(1.0, seconds))  # until the initial burst is over
                            senders.run(seconds)
                        results.lives += abusers.lives
                        results.left_open += abusers.open
                    results.record(kind, senders.latencies)
            results.lost, results.faults = senders.lost, senders.faults
            senders.close()
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
