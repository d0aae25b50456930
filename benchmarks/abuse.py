"""What those who talk feel of those who mean no good: flooders, and connections that never say who they are.

Usage:
  abuse.py [options]

Options:
  --talkers=N     How many talk, each a message a second, and hear each other. [default: 100]
  --flooders=N    How many say as much as the server reads. [default: 10]
  --loris=N       How many connections say a byte a second of a name that never comes. [default: 1000]
  --duration=S    Seconds of each turn. [default: 12]
  --rounds=N      Rounds in which each kind has its turn; the medians are reported. [default: 3]
  --no-limits     Start the server with its rates off, to see what they are good for.
  --output=DIR    Where abuse.md and abuse.json go; benchmarks/results if not given, and nowhere with --quick
                  or --no-limits.
  --quick         One short round with few, to see that it works; measures nothing.
  -h --help       Show this text.

Quiet turns and others take turns, on one server; the latency of a delivery counts from when its message was
due. Every delivery is checked: nothing of the talkers' may be lost, come twice or out of order.
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
from harness.machine import machine, machine_line
from harness.processes import Server, cores, end_on_sigterm, pinned, raise_descriptor_limit
from harness.results import count_of, markdown_table, percentile, significant

from selchat.bench.wires.messages import RUN_LENGTH
from selchat.bench.wires.wire import SELCHAT
from selchat.wire.frames import FrameDecoder

_RESULTS = Path(__file__).parent / "results"
_ABUSERS = Path(__file__).parent / "harness" / "abusers.py"
_RUN = b"abu"
_SIZE = 64  # bytes of a body
_BUFFER = 1 << 18  # bytes of a read
_DRAIN = 5.0  # seconds for the last deliveries of a turn
_QUICK = {"--talkers": "10", "--flooders": "2", "--loris": "20", "--duration": "1", "--rounds": "1"}
_KINDS = {"quiet": "nobody else", "flood": "flooders", "loris": "slow-loris connections"}
assert len(_RUN) == RUN_LENGTH


class Talkers:
    """Those who talk, on one loop. Each has heard a part of what each other has said, always in order."""

    def __init__(self, port: int, count: int) -> None:
        self.latencies: list[float] = []  # seconds, of each delivery in this turn
        self.faults = 0  # deliveries out of order, twice, or after a hole
        self._selector = selectors.DefaultSelector()
        self._socks: list[socket.socket] = []
        self._scripts = []
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
            self._scripts.append(SELCHAT.generator(name, _SIZE))

    def turn(self, seconds: float) -> None:
        """Talk for so long, and wait for what is under way."""
        self.latencies = []
        count = len(self._socks)
        interval = 1.0 / count
        begin = time.monotonic()
        said = 0
        while (now := time.monotonic()) < begin + seconds:
            while (due := begin + said * interval) <= now:
                number = said % count
                self._socks[number].send(self._scripts[number].generate(1, round(due * 1e9)))
                self._missing += count - 1
                said += 1
            self._read(max(0.0, due - now))
        end = time.monotonic() + _DRAIN
        while self._missing and time.monotonic() < end:
            self._read(0.01)

    @property
    def lost(self) -> int:
        """Deliveries that have not come."""
        return self._missing

    def close(self) -> None:
        """Leave."""
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


class Abusers:
    """A process of them. ``lives``: after how many seconds each loris was closed."""

    def __init__(self, kind: str, port: int, count: int) -> None:
        self.lives: list[float] = []
        self.open = 0
        self._process = subprocess.Popen(
            [sys.executable, str(_ABUSERS), kind, str(port), str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert json.loads(self._process.stdout.readline())["ready"] == count

    def __enter__(self) -> Abusers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        rest, _ = self._process.communicate(timeout=20)
        if rest:
            said = json.loads(rest)
            self.lives, self.open = said["lives"], said["open"]


class Results:
    """The percentiles of each kind of turn, in milliseconds, by round."""

    def __init__(self, settings: str, description: dict[str, str]) -> None:
        self.settings = settings
        self.description = description
        self.rounds: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self.lost = 0
        self.faults = 0
        self.lives: list[float] = []
        self.left_open = 0

    def took(self, kind: str, latencies: list[float]) -> None:
        """Note what was measured in one turn; without limits, that may be nothing."""
        latencies = latencies or [float("inf")]
        self.rounds[kind].append((percentile(latencies, 50) * 1e3, percentile(latencies, 99) * 1e3))

    def markdown(self) -> str:
        """Return the table."""
        rows = []
        for kind, name in _KINDS.items():
            p50, p99 = (median(one[place] for one in self.rounds[kind]) for place in (0, 1))
            # Of neighbouring turns: what the machine gives a process changes within seconds.
            ratios = [
                abused / calm
                for (_, abused), (_, calm) in zip(self.rounds[kind], self.rounds["quiet"], strict=False)
            ]
            rows.append([name, significant(p50), significant(p99), f"{median(ratios):.2f}"])
        lives = (
            f"Slow-loris connections were closed {min(self.lives):.1f} to {max(self.lives):.1f} s after "
            f"connecting; {self.left_open} were still open."
            if self.lives
            else "No slow-loris connection was closed in that time."
        )
        checks = (
            f"Of the talkers' deliveries {self.lost} were lost, {self.faults} were out of order or doubled."
        )
        header = ["beside the talkers", "p50, ms", "p99, ms", "p99 / quiet"]
        notes = (lives, checks, self.settings, f"{machine_line(self.description)}.")
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
    end_on_sigterm()
    if options["--quick"]:
        options = options | _QUICK
    talkers, flooders, loris = (int(options[f"--{name}"]) for name in ("talkers", "flooders", "loris"))
    seconds, rounds = float(options["--duration"]), int(options["--rounds"])
    raise_descriptor_limit(4096)
    command = " ".join(["python", "benchmarks/abuse.py", *sys.argv[1:]])
    settings = (
        f"{count_of(rounds)} of {seconds:g} s: {talkers} talkers with a message a second each, {flooders} "
        f"flooders or {loris} slow-loris connections; to repeat: `{command}`."
    )
    results = Results(settings, machine())
    limits = ["--message-rate=0", "--byte-rate=0"] if options["--no-limits"] else []
    server_core, load_core = cores()
    with tempfile.TemporaryDirectory(prefix="selchat-bench-") as folder:
        serve = ["serve", "--host=127.0.0.1", "--port=0", "--no-history", "--no-roster", "--quiet", *limits]
        with (
            Server([sys.executable, "-m", "selchat", *serve], Path(folder), server_core) as server,
            pinned(load_core),
        ):
            crowd = Talkers(server.port, talkers)
            crowd.turn(min(2.0, seconds))  # to warm up
            for _ in range(rounds):
                for kind, count in (("quiet", 0), ("flood", flooders), ("loris", loris)):
                    if kind == "quiet":
                        crowd.turn(seconds)
                    else:
                        with Abusers(kind, server.port, count) as abusers:
                            select.select([], [], [], min(1.0, seconds))  # a burst is over by then
                            crowd.turn(seconds)
                        results.lives += abusers.lives
                        results.left_open += abusers.open
                    results.took(kind, crowd.latencies)
            results.lost, results.faults = crowd.lost, crowd.faults
            crowd.close()
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
