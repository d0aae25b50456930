"""Measure how the cost of selchat and of the floor grows from one room to a thousand.

Usage:
  rooms.py [options]

Options:
  --rooms=LIST    Numbers of rooms, separated by commas. [default: 1,10,100,1000]
  --rounds=N      Rounds, in each of which every number is measured; the result is the median. [default: 3]
  --duration=S    Seconds of each measurement; the floor takes as long again. [default: 3]
  --history       Have the server keep its history in a file.
  --output=DIR    Folder for rooms.md, rooms.svg and rooms.json; by default benchmarks/results, and none
                  with --quick.
  --patience=S    Seconds, in all, to wait until this machine is idle. [default: 120]
  --quick         One short round with few rooms, to check that it works; the figures mean nothing.
  -h --help       Show this text.

Each room has four readers and one sender with 16 messages in flight. Only the number of rooms grows; the work
for one message stays the same. selchat-bench measures it, and checks every delivery and every ack. Ctrl-C
shows the figures so far.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import docopt
from harness.charts import Lines, line_chart
from harness.machine import describe_machine, format_machine
from harness.processes import IdleWait, interrupt_on_sigterm
from harness.results import DISTURBED, describe_rounds, format_short, format_significant, markdown_table

from selchat.bench.metrics import DEFECTS

_RESULTS = Path(__file__).parent / "results"
_READERS = 4  # of each room
_WINDOW = 16  # messages in flight in each room
_QUICK = (1, 5)  # rooms
_QUICK_SECONDS = 0.3


class RunFailedError(Exception):
    """A run of selchat-bench failed. The text is the reason."""


class Results:
    """The measurements so far: the figures of each round, for each number of rooms."""

    def __init__(self, counts: Sequence[int], description: dict[str, str], settings: str) -> None:
        self.counts = counts
        self.description = description
        self.settings = settings
        self.rounds: dict[int, list[dict[str, float]]] = defaultdict(list)
        self.failures: dict[int, str] = {}

    def calm(self, count: int) -> list[dict[str, float]]:
        """Return the rounds in which the server had its core almost to itself, or all if none qualifies."""
        rounds = self.rounds[count]
        return [metrics for metrics in rounds if metrics["waited_percent"] < 100 * DISTURBED] or rounds

    def figure(self, count: int, name: str) -> float:
        """Return the median of that metric."""
        return median(metrics[name] for metrics in self.calm(count))

    def per_message(self, count: int) -> tuple[float, float]:
        """Return the CPU microseconds for one message with its deliveries, of the server and the floor."""
        names = ("cpu_us_per_delivery", "floor_cpu_us_per_delivery")
        own, floor = (_READERS * self.figure(count, name) for name in names)
        return own, floor

    def measured(self) -> list[int]:
        """Return the numbers of rooms that have been measured."""
        return [count for count in self.counts if self.rounds[count]]

    def flaws(self, count: int) -> list[str]:
        """Return the defects, and a warning if other processes disturbed every round."""
        found = [
            f"{metrics[name]:,.0f} {name}"
            for metrics in self.rounds[count]
            for name in DEFECTS
            if metrics[name]
        ]
        if all(metrics["waited_percent"] >= 100 * DISTURBED for metrics in self.rounds[count]):
            found.append(f"other work on this machine took over {DISTURBED:.0%} of the core in every round")
        return found

    def markdown(self) -> str:
        """Return the table and its notes."""
        header = [
            "rooms",
            "connections",
            "messages/s",
            "deliveries/s",
            "server CPU µs per message",
            "floor",
            "ratio",
            "ack, p50 ms",
            "p99 ms",
            "server memory MiB",
        ]
        rows = []
        notes = [f"- {count:,} rooms: {why}\n" for count, why in self.failures.items()]
        for count in self.measured():
            own, floor = self.per_message(count)
            rows.append(
                [
                    f"{count:,}",
                    f"{count * (_READERS + 1):,}",
                    format_short(self.figure(count, "messages_per_s")),
                    format_short(self.figure(count, "deliveries_per_s")),
                    format_significant(own),
                    format_significant(floor),
                    format_significant(self.figure(count, "cpu_ratio")),
                    format_significant(self.figure(count, "ack_p50_ms")),
                    format_significant(self.figure(count, "ack_p99_ms")),
                    format_significant(self.figure(count, "rss_mib")),
                ]
            )
            notes += [f"- {count:,} rooms: {flaw}\n" for flaw in self.flaws(count)]
        return (
            "# How the cost grows with the rooms\n\n"
            f"{format_machine(self.description)}. {self.settings}\n\n"
            f"Each room has {_READERS} readers and one sender, with {_WINDOW} messages of 64 bytes in\n"
            "flight, in the selchat protocol. All rooms are always busy, so more rooms have more messages\n"
            "in flight, and an ack waits for the messages of others. The server delivers a message to 4\n"
            "readers and acknowledges it. The floor is the cost of 4 bare sends of the same chunks.\n\n"
            f"{markdown_table(header, rows)}\n{''.join(notes)}"
        )

    def svg(self) -> str:
        """Return the chart: the cost of a message, and the messages a second."""
        counts = self.measured()
        costs = [self.per_message(count) for count in counts]
        warning = []
        if any(self.flaws(count) for count in counts):
            warning = ["NOT COMPARABLE: see the notes below the table."]
        return line_chart(
            "How selchat's cost grows with the number of rooms",
            [f"{format_machine(self.description)}.", self.settings.replace("`", ""), *warning],
            [
                Lines(
                    "Server CPU per message, µs",
                    f"{_READERS} readers in each room, {_WINDOW} messages in flight",
                    counts,
                    {"selchat": [own for own, _ in costs], "floor": [floor for _, floor in costs]},
                ),
                Lines(
                    "Messages a second, in all rooms together",
                    "stored, delivered and acknowledged",
                    counts,
                    {"selchat": [self.figure(count, "messages_per_s") for count in counts]},
                ),
            ],
            {"selchat": "selchat", "floor": "the floor: bare send calls"},
            "rooms",
        )

    def as_json(self) -> dict[str, Any]:
        """Return everything."""
        return {
            "machine": self.description,
            "settings": self.settings,
            "readers_of_a_room": _READERS,
            "window": _WINDOW,
            "failures": {str(count): why for count, why in self.failures.items()},
            "results": [
                {
                    "rooms": count,
                    "server_cpu_us_per_message": self.per_message(count)[0],
                    "floor_cpu_us_per_message": self.per_message(count)[1],
                    "flaws": self.flaws(count),
                    "rounds": self.rounds[count],
                }
                for count in self.measured()
            ],
        }


def main() -> int:
    """Run the script and return its exit status."""
    assert __doc__ is not None
    options = docopt.docopt(__doc__)
    interrupt_on_sigterm()
    quick = options["--quick"]
    rounds = 1 if quick else int(options["--rounds"])
    seconds = _QUICK_SECONDS if quick else float(options["--duration"])
    counts = _QUICK if quick else tuple(int(count) for count in options["--rooms"].split(","))
    command = " ".join(["python", "benchmarks/rooms.py", *sys.argv[1:]])
    kept = "with a history in a file" if options["--history"] else "without a history"
    settings = f"{describe_rounds(rounds)} of {seconds:g} s, {kept}; to repeat: `{command}`."
    results = Results(counts, describe_machine(), settings)
    idle_wait = IdleWait(0 if quick else float(options["--patience"]))
    status = 0
    try:
        for number in range(1, rounds + 1):
            for count in counts:
                idle_wait.wait()
                try:
                    figures = _measure(count, seconds, options["--history"])
                except RunFailedError as error:
                    results.failures[count] = str(error)
                    continue
                results.rounds[count].append(figures)
                speed = format_short(figures["messages_per_s"])
                print(f"round {number}/{rounds}  {count} rooms: {speed} messages/s", file=sys.stderr)
    except KeyboardInterrupt:
        print("Interrupted. The figures so far:", file=sys.stderr)
        status = 130
    if not results.measured():
        print(f"No measurements: {results.failures or 'interrupted'}", file=sys.stderr)
        return status or 1
    text = results.markdown()
    print(text)
    output = options["--output"] or (None if quick else _RESULTS)
    if output is not None and status == 0:
        folder = Path(output)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "rooms.md").write_text(text)
        (folder / "rooms.svg").write_text(results.svg())
        (folder / "rooms.json").write_text(json.dumps(results.as_json(), indent=1) + "\n")
    return status


def _measure(count: int, seconds: float, history: bool) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="selchat-bench-") as folder:
        path = Path(folder) / "figures.json"
        words = [f"--rooms={count}", f"--clients={_READERS}", f"--window={_WINDOW}", f"--duration={seconds}"]
        words += ["--no-roster", f"--json={path}", *(["--history"] if history else [])]
        command = [sys.executable, "-m", "selchat.bench.cli", "rooms", *words]
        done = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            raise RunFailedError(done.stderr.strip() or f"selchat-bench ended with status {done.returncode}")
        metrics: dict[str, float] = json.loads(path.read_text())["metrics"]
    return metrics


if __name__ == "__main__":
    sys.exit(main())
