"""What it costs to keep what is said, and how soon a server with a long history is back.

Usage:
  durable.py [options]

Options:
  --duration=S    Seconds of the fan-out, half of them without history. [default: 10]
  --rounds=N      How often that is done; the round that other work on this machine disturbed least counts.
                  [default: 3]
  --messages=N    How many the file holds for the start. [default: 1000000]
  --rooms=N       How many rooms these are in. [default: 100]
  --starts=N      How often the server is started; the slowest start counts, and of each room's histories
                  the median. [default: 5]
  --output=DIR    Where durable.md and durable.json go; benchmarks/results if not given, and nowhere with
                  --quick.
  --patience=S    Seconds in all to wait for other work on this machine to end. [default: 120]
  --quick         A moment of each with few messages, to see that it works; measures nothing.
  -h --help       Show this text.

Everything that is written goes through SQLite with synchronous=FULL: on TMPDIR, which must be on a disk. The
file's pages are dropped from the system's memory before each start, as after a reboot.
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
from harness.machine import machine, machine_line
from harness.processes import Patience, Server, cores, end_on_sigterm
from harness.results import DISTURBED, markdown_table, significant

from selchat.log.retention import Retention
from selchat.log.sqlite import SqliteLog
from selchat.wire.frames import FrameDecoder, encode_frame

_RESULTS = Path(__file__).parent / "results"
_BATCH = 256  # messages of one commit
_ASKED = 50  # messages of a history
_CLIENTS = 100  # who have said it all
_PATIENCE = 60.0  # seconds for an answer

_READY_SECONDS, _HISTORY_MS = 2.0, 5.0  # what we want
_STORED_PER_S, _ACK_MS, _RATIO = 20_000, 25.0, 0.7

Row = tuple[str, float, str, bool]  # what, how much, what is wanted, whether it is met


class HeartbeatPeer:
    """One selchat client that asks and waits for the answer."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), _PATIENCE)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._decoder = FrameDecoder(limit=1 << 24)

    def ask(self, answer: str, **words: Any) -> tuple[dict[str, Any], float]:
        """Return the first answer of that type, and the seconds until its last byte was read."""
        begun = time.perf_counter()
        self._sock.sendall(encode_frame(json.dumps(words).encode()))
        while True:
            data = self._sock.recv(1 << 18)
            assert data, "the server has closed the connection"
            payloads = self._decoder.receive_data(data)
            seconds = time.perf_counter() - begun
            for payload in payloads:
                found = json.loads(payload)
                if found["type"] == answer:
                    return found, seconds
                assert found["type"] != "error", found

    def close(self) -> None:
        """End it."""
        self._sock.close()


@dataclass
class Results:
    """What was measured. Times in seconds; of the histories a list for each start."""

    description: dict[str, str]
    command: str
    seconds: float  # of one round of the fan-out
    messages: int
    rooms: int
    fan_outs: list[dict[str, float]] = field(default_factory=list)  # the figures of each round
    filled_per_s: float = 0.0
    mib: float = 0.0
    ready: list[float] = field(default_factory=list)
    first: list[list[float]] = field(default_factory=list)  # of each room
    again: list[list[float]] = field(default_factory=list)

    @property
    def fan_out(self) -> dict[str, float]:
        """The round that was disturbed least."""
        return min(self.fan_outs, key=lambda one: one["waited_percent"])

    def rows(self) -> list[Row]:
        """Return the figures that we want to be good."""
        figures, last = self.fan_out, f"history of the last {_ASKED}, slowest room, ms"
        start = f"start with {self.messages:,} messages to the first welcome, s"
        return [
            _row("messages stored a second", figures["acked_per_s"], _STORED_PER_S, least=True),
            _row("ack, p99 ms", figures["ack_p99_ms"], _ACK_MS),
            _row("deliveries/s with history / without", figures["durable_ratio"], _RATIO, least=True),
            _row(start, max(self.ready), _READY_SECONDS),
            _row(last, 1000 * _slowest_room(self.again), _HISTORY_MS),
            _row(
                "the same, the first time after the start, ms", 1000 * _slowest_room(self.first), _HISTORY_MS
            ),
        ]

    def markdown(self) -> str:
        """Return the table with what must be known beside it."""
        rows = self.rows()
        cells = [[what, significant(value), wanted] for what, value, wanted, _ in rows]
        notes = [f"- missed: {what}\n" for what, _, _, met in rows if not met]
        if self.fan_out["waited_percent"] >= 100 * DISTURBED:
            notes.append(f"- other work took over {DISTURBED:.0%} of the core in every round; repeat it\n")
        lines = "\n" + "".join(notes) if notes else ""
        return (
            "# What a history costs\n\n"
            f"{machine_line(self.description)}; to repeat: `{self.command}`.\n\n"
            "The first three: one sender with 256 messages of 64 bytes in flight, 100 receivers, the rich\n"
            f"wire, {self.seconds:g} s in which a server with history and one without take turns; of\n"
            f"{len(self.fan_outs)} such rounds the one that other work on this machine disturbed least.\n\n"
            f"The others: a file of {self.messages:,} messages in {self.rooms} rooms, {self.mib:,.0f} MiB,\n"
            f"written at {self.filled_per_s:,.0f} a second; the slowest of {len(self.ready)} starts, and\n"
            "for each room the median of its answers after these.\n\n"
            f"{markdown_table(['', 'measured', 'wanted'], cells)}{lines}"
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
            "first_history_seconds": self.first,
            "history_seconds": self.again,
            "missed": [what for what, _, _, met in self.rows() if not met],
        }


def main() -> int:
    """Run the script and return its exit status."""
    assert __doc__ is not None
    options = docopt.docopt(__doc__)
    end_on_sigterm()
    quick = options["--quick"]
    results = Results(
        machine(),
        " ".join(["python", "benchmarks/durable.py", *sys.argv[1:]]),
        seconds=1.0 if quick else float(options["--duration"]),
        messages=2_000 if quick else int(options["--messages"]),
        rooms=5 if quick else int(options["--rooms"]),
    )
    rounds, starts = (1 if quick else int(options[name]) for name in ("--rounds", "--starts"))
    patience = Patience(0 if quick else float(options["--patience"]))
    try:
        with tempfile.TemporaryDirectory(prefix="selchat-bench-") as name:
            folder = Path(name)
            for number in range(1, rounds + 1):
                patience.wait_for_calm()
                print(f"round {number}/{rounds} of the fan-out", file=sys.stderr)
                results.fan_outs.append(_fan_out(folder, results.seconds, quick))
            print(f"writing {results.messages:,} messages", file=sys.stderr)
            path = folder / "history.sqlite"
            results.filled_per_s = _fill(path, results.messages, results.rooms)
            results.mib = path.stat().st_size / 2**20
            for _ in range(starts):
                patience.wait_for_calm()
                _come_back(results, folder, path)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
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


def _row(what: str, value: float, bound: float, least: bool = False) -> Row:
    wanted = f"{'at least' if least else 'at most'} {bound:,g}"
    return what, value, wanted, value >= bound if least else value <= bound


def _fan_out(folder: Path, seconds: float, quick: bool) -> dict[str, float]:
    path = folder / "figures.json"
    words = ["--senders=1", "--clients=5" if quick else "--clients=100", "--window=256"]
    words += [f"--duration={seconds}", "--no-roster", f"--json={path}"]
    command = [sys.executable, "-m", "selchat.bench.cli", "durable", *words]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr.strip() or f"selchat-bench ended with status {done.returncode}")
    metrics: dict[str, float] = json.loads(path.read_text())["metrics"]
    return metrics


def _fill(path: Path, messages: int, rooms: int) -> float:
    """Write the file; return the messages a second.

    Some rooms are busy and most are not, as people are: the second has half the messages of the first, the
    third a third and so on. What is said in a quiet one is scattered over all of the file.
    """
    draw = random.Random(1)
    weights = [1 / number for number in range(1, rooms + 1)]
    log = SqliteLog(path, Retention())
    begun = time.perf_counter()
    try:
        for first in range(0, messages, _BATCH):
            numbers = range(first, min(first + _BATCH, messages))
            for number, room in zip(
                numbers, draw.choices(range(rooms), weights, k=len(numbers)), strict=True
            ):
                author = draw.randrange(_CLIENTS)
                body = f"message {number} ".ljust(64, ".")
                ids, client = [f"{author:x}-{number:010}"], author.to_bytes(16, "big")
                log.append(f"room-{room}", f"author-{author}", [body], 1.7e9 + number, ids, [None], client)
            log.commit()
    finally:
        log.close()
    return messages / (time.perf_counter() - begun)


def _slowest_room(starts: Sequence[Sequence[float]]) -> float:
    """Return the seconds of the slowest room, each room's being the median over the starts."""
    rooms: Iterable[tuple[float, ...]] = zip(*starts, strict=True)
    return max(float(median(times)) for times in rooms)


def _come_back(results: Results, folder: Path, path: Path) -> None:
    """Start a server, wait until it has welcomed someone, and ask for the history of each room twice.

    The first time it is read from the disk, the second time from memory.
    """
    _drop_from_memory(path)
    core, _ = cores()
    words = ["--quiet", "--host=127.0.0.1", "--port=0", f"--history={path}", "--message-rate=0"]
    begun = time.perf_counter()
    with Server([sys.executable, "-m", "selchat", "serve", *words], folder, core) as server:
        asker = HeartbeatPeer(server.port)
        asker.ask("welcome", type="hello", version=1, name="asker", client="0123456789abcdef")
        results.ready.append(time.perf_counter() - begun)
        asked: tuple[list[float], list[float]] = ([], [])
        for number in range(results.rooms):
            room = f"room-{number}"
            asker.ask("users", type="join", room=room)
            for times in asked:
                found, seconds = asker.ask("history", type="history", room=room, limit=_ASKED)
                assert 0 < len(found["messages"]) <= _ASKED, found
                times.append(seconds)
            asker.ask("left", type="part", room=room)  # a client may be in 100 rooms
        asker.close()
    results.first.append(asked[0])
    results.again.append(asked[1])


def _drop_from_memory(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    sys.exit(main())
