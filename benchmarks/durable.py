"""Measure the cost of history, and how soon a server with a long history is ready.

Usage:
  durable.py [options]

Options:
  --duration=S    Seconds of fan-out, half of them without history. [default: 10]
  --rounds=N      Rounds of fan-out; the one that other work on this machine disturbed least counts.
                  [default: 3]
  --messages=N    Messages in the history file before the start. [default: 1000000]
  --rooms=N       Rooms that they are in. [default: 100]
  --starts=N      Starts of the server. The slowest start counts, and the median answer of each room.
                  [default: 5]
  --output=DIR    Folder for durable.md and durable.json; by default benchmarks/results, and none with
                  --quick.
  --patience=S    Seconds, in all, to wait until this machine is idle. [default: 120]
  --quick         A short run with few messages, to check that it works; the figures mean nothing.
  -h --help       Show this text.

SQLite writes everything with synchronous=FULL to TMPDIR, which must be on a disk. Before each start the
script drops the file's pages from the page cache, as a reboot does.
"""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import docopt
from harness.machine import describe_machine, format_machine
from harness.processes import IdleWait, Server, cores, interrupt_on_sigterm
from harness.results import DISTURBED, format_significant, markdown_table

from selchat.log.retention import Retention
from selchat.log.sqlite import SqliteLog
from selchat.wire.frames import FrameDecoder, encode_frame

_RESULTS = Path(__file__).parent / "results"
_BATCH = 256  # messages of one commit
_HISTORY_LIMIT = 50  # messages of one history request
_AUTHORS = 100  # of the messages in the file
_ANSWER_SECONDS = 60.0

_READY_SECONDS, _HISTORY_MS = 2.0, 5.0  # the goals
_STORED_PER_S, _ACK_MS, _RATIO = 20_000, 25.0, 0.7

Row = tuple[str, float, str, bool]  # name, value, goal, whether it is met


class Client:
    """A selchat client that sends a request and waits for its answer."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), _ANSWER_SECONDS)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._decoder = FrameDecoder(limit=1 << 24)

    def request(self, answer: str, **fields: Any) -> tuple[dict[str, Any], float]:
        """Return the first answer of that type, and the seconds until its last byte was read."""
        start = time.perf_counter()
        self._sock.sendall(encode_frame(json.dumps(fields).encode()))
        while True:
            data = self._sock.recv(1 << 18)
            assert data, "the server closed the connection"
            payloads = self._decoder.receive_data(data)
            seconds = time.perf_counter() - start
            for payload in payloads:
                found = json.loads(payload)
                if found["type"] == answer:
                    return found, seconds
                assert found["type"] != "error", found

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()


@dataclass
class Results:
    """The measurements. Times are in seconds; histories have a list for each start."""

    description: dict[str, str]
    command: str
    seconds: float  # of one round of the fan-out
    messages: int
    rooms: int
    fan_outs: list[dict[str, float]] = field(default_factory=list)  # the metrics of each round
    filled_per_s: float = 0.0
    mib: float = 0.0
    ready: list[float] = field(default_factory=list)
    from_disk: list[list[float]] = field(default_factory=list)  # of each room
    from_memory: list[list[float]] = field(default_factory=list)

    @property
    def fan_out(self) -> dict[str, float]:
        """The round that other processes disturbed least."""
        return min(self.fan_outs, key=lambda metrics: metrics["waited_percent"])

    def rows(self) -> list[Row]:
        """Return the figures that have goals."""
        figures, last = self.fan_out, f"history of the last {_HISTORY_LIMIT}, slowest room, ms"
        start = f"start with {self.messages:,} messages to the first welcome, s"
        return [
            _row("messages stored a second", figures["acked_per_s"], _STORED_PER_S, minimum=True),
            _row("ack, p99 ms", figures["ack_p99_ms"], _ACK_MS),
            _row("deliveries/s with history / without", figures["durable_ratio"], _RATIO, minimum=True),
            _row(start, max(self.ready), _READY_SECONDS),
            _row(last, 1000 * _slowest_room(self.from_memory), _HISTORY_MS),
            _row(
                "the same, first request after the start, ms",
                1000 * _slowest_room(self.from_disk),
                _HISTORY_MS,
            ),
        ]

    def markdown(self) -> str:
        """Return the table and its notes."""
        rows = self.rows()
        cells = [[what, format_significant(value), goal] for what, value, goal, _ in rows]
        notes = [f"- missed: {what}\n" for what, _, _, met in rows if not met]
        if self.fan_out["waited_percent"] >= 100 * DISTURBED:
            notes.append(
                f"- other work took over {DISTURBED:.0%} of the core in every round; measure again\n"
            )
        lines = "\n" + "".join(notes) if notes else ""
        return (
            "# The cost of history\n\n"
            f"{format_machine(self.description)}; to repeat: `{self.command}`.\n\n"
            "The first three: one sender with 256 messages of 64 bytes in flight, 100 receivers, the\n"
            f"selchat protocol, {self.seconds:g} s in which servers with and without history alternate.\n"
            f"Of {len(self.fan_outs)} such rounds, the one that other work disturbed least.\n\n"
            f"The others: a file of {self.messages:,} messages in {self.rooms} rooms, {self.mib:,.0f} MiB,\n"
            f"written at {self.filled_per_s:,.0f} a second; the slowest of {len(self.ready)} starts, and\n"
            "the median answer of each room.\n\n"
            f"{markdown_table(['', 'measured', 'goal'], cells)}{lines}"
        )

    def as_json(self) -> dict[str, Any]:
        """Return everything."""
        return {
            "machine": self.description,
            "command": self.command,
            "fan_out": self.fan_out,
            "fan_out_rounds": self.fan_outs,
            "messages": self.messages,
            "rooms": self.rooms,
            "mib": round(self.mib, 1),
            "filled_per_s": round(self.filled_per_s),
            "ready_seconds": self.ready,
            "first_history_seconds": self.from_disk,
            "history_seconds": self.from_memory,
            "missed": [what for what, _, _, met in self.rows() if not met],
        }


def main() -> int:
    """Run the script and return its exit status."""
    assert __doc__ is not None
    options = docopt.docopt(__doc__)
    interrupt_on_sigterm()
    quick = options["--quick"]
    results = Results(
        describe_machine(),
        " ".join(["python", "benchmarks/durable.py", *sys.argv[1:]]),
        seconds=1.0 if quick else float(options["--duration"]),
        messages=2_000 if quick else int(options["--messages"]),
        rooms=5 if quick else int(options["--rooms"]),
    )
    rounds, starts = (1 if quick else int(options[name]) for name in ("--rounds", "--starts"))
    idle_wait = IdleWait(0 if quick else float(options["--patience"]))
    try:
        with tempfile.TemporaryDirectory(prefix="selchat-bench-") as name:
            folder = Path(name)
            for number in range(1, rounds + 1):
                idle_wait.wait()
                print(f"round {number}/{rounds} of the fan-out", file=sys.stderr)
                results.fan_outs.append(_fan_out(folder, results.seconds, quick))
            print(f"writing {results.messages:,} messages", file=sys.stderr)
            path = folder / "history.sqlite"
            results.filled_per_s = _fill(path, results.messages, results.rooms)
            results.mib = path.stat().st_size / 2**20
            for _ in range(starts):
                idle_wait.wait()
                _measure_start(results, folder, path)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    text = results.markdown()
    print(text, end="")
    output = options["--output"] or (None if quick else _RESULTS)
    if output is not None:
        target = Path(output)
        target.mkdir(parents=True, exist_ok=True)
        (target / "durable.md").write_text(text)
        (target / "durable.json").write_text(json.dumps(results.as_json(), indent=1) + "\n")
    return 0


def _row(what: str, value: float, bound: float, minimum: bool = False) -> Row:
    goal = f"{'at least' if minimum else 'at most'} {bound:,g}"
    return what, value, goal, value >= bound if minimum else value <= bound


def _fan_out(folder: Path, seconds: float, quick: bool) -> dict[str, float]:
    path = folder / "figures.json"
    options = ["--senders=1", "--clients=5" if quick else "--clients=100", "--window=256"]
    options += [f"--duration={seconds}", "--no-roster", f"--json={path}"]
    command = [sys.executable, "-m", "selchat.bench.cli", "durable", *options]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr.strip() or f"selchat-bench ended with status {done.returncode}")
    metrics: dict[str, float] = json.loads(path.read_text())["metrics"]
    return metrics


def _fill(path: Path, messages: int, rooms: int) -> float:
    """Write the file; return the messages a second.

    A few rooms are busy and most are quiet, as in life: the second has half the messages of the first, the
    third a third and so on. The messages of a quiet room are scattered over the whole file.
    """
    draw = random.Random(1)
    weights = [1 / number for number in range(1, rooms + 1)]
    log = SqliteLog(path, Retention())
    start = time.perf_counter()
    try:
        for first in range(0, messages, _BATCH):
            numbers = range(first, min(first + _BATCH, messages))
            for number, room in zip(
                numbers, draw.choices(range(rooms), weights, k=len(numbers)), strict=True
            ):
                author = draw.randrange(_AUTHORS)
                body = f"message {number} ".ljust(64, ".")
                ids, client = [f"{author:x}-{number:010}"], author.to_bytes(16, "big")
                log.append(f"room-{room}", f"author-{author}", [body], 1.7e9 + number, ids, [None], client)
            log.commit()
    finally:
        log.close()
    return messages / (time.perf_counter() - start)


def _slowest_room(starts: Sequence[Sequence[float]]) -> float:
    """Return the seconds of the slowest room, after the median of each room over the starts."""
    rooms: Iterable[tuple[float, ...]] = zip(*starts, strict=True)
    return max(float(median(times)) for times in rooms)


def _measure_start(results: Results, folder: Path, path: Path) -> None:
    """Start a server, wait for the first welcome, and request the history of each room twice.

    The server reads it from the disk the first time, and from memory the second time.
    """
    _drop_page_cache(path)
    core, _ = cores()
    options = ["--quiet", "--host=127.0.0.1", "--port=0", f"--history={path}", "--message-rate=0"]
    start = time.perf_counter()
    with Server([sys.executable, "-m", "selchat", "serve", *options], folder, core) as server:
        client = Client(server.port)
        client.request("welcome", type="hello", version=1, name="reader", client="0123456789abcdef")
        results.ready.append(time.perf_counter() - start)
        times_of: tuple[list[float], list[float]] = ([], [])
        for number in range(results.rooms):
            room = f"room-{number}"
            client.request("users", type="join", room=room)
            for times in times_of:
                found, seconds = client.request("history", type="history", room=room, limit=_HISTORY_LIMIT)
                assert 0 < len(found["messages"]) <= _HISTORY_LIMIT, found
                times.append(seconds)
            client.request("left", type="part", room=room)  # a client may join 100 rooms
        client.close()
    results.from_disk.append(times_of[0])
    results.from_memory.append(times_of[1])


def _drop_page_cache(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    sys.exit(main())
