"""Measure how the cost of selchat and of the floor grows with the number of receivers.

Usage:
  scaling.py [options]

Options:
  --receivers=LIST  Numbers of receivers, separated by commas. [default: 10,100,1000,10000]
  --rounds=N        Rounds, in each of which selchat and the floor alternate; the result is the median.
                    [default: 5]
  --duration=S      Seconds of each measurement. [default: 2]
  --output=DIR      Folder for scaling.md, scaling.svg and scaling.json; by default benchmarks/results,
                    and none with --quick.
  --patience=S      Seconds, in all, to wait until this machine is idle. [default: 120]
  --quick           One short round with few receivers, to check that it works; the figures mean nothing.
  -h --help         Show this text.

The load is that of peers.py: 256 messages in flight, and then one at a time. Ctrl-C shows the figures
so far.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import docopt
from harness.charts import Lines, line_chart
from harness.load import PAYLOAD_SIZE, Run
from harness.machine import describe_machine, format_machine
from harness.measurement import MeasureError, measure
from harness.processes import IdleWait, interrupt_on_sigterm, raise_descriptor_limit
from harness.results import (
    DISTURBED,
    Summary,
    describe_rounds,
    format_short,
    format_significant,
    markdown_table,
)
from harness.servers import FLOOR, SERVERS, ServerSpec

_RESULTS = Path(__file__).parent / "results"
_WINDOW = 256  # messages in flight
_QUICK = (5, 50)  # receivers
_QUICK_SECONDS = 0.15
_SELCHAT = next(server for server in SERVERS if server.kind == "selchat")
_MAX_ALTERNATING = 5_000  # receivers for which the load has enough descriptors to alternate with the floor


class Results:
    """The measurements so far."""

    def __init__(self, counts: Sequence[int], description: dict[str, str], settings: str) -> None:
        self.counts = counts
        self.description = description
        self.settings = settings
        self.runs: dict[tuple[str, int, int], list[Run]] = defaultdict(list)
        self.failures: dict[str, str] = {}

    def summary(self, key: str, receivers: int, window: int) -> Summary | None:
        """Return the medians of that server with that number of receivers and that window."""
        runs = self.runs.get((key, receivers, window), [])
        floors = self.runs.get((FLOOR.key, receivers, window), [])
        return Summary(runs, floors) if runs and len(floors) == len(runs) else None

    def measured(self) -> list[tuple[int, Summary, Summary, Summary, Summary]]:
        """Return the complete counts: selchat's summaries for many and single messages, then the floor's."""
        rows = []
        for count in self.counts:
            found = [self.summary(key, count, w) for key in ("selchat", "floor") for w in (_WINDOW, 1)]
            many, single, floor_many, floor_single = found
            if many and single and floor_many and floor_single:
                rows.append((count, many, single, floor_many, floor_single))
        return rows

    def markdown(self) -> str:
        """Return the table and its notes."""
        header = [
            "receivers",
            "deliveries/s",
            "floor",
            "server CPU µs per delivery",
            "floor",
            "ratio",
            "one message, p50 ms",
            "p99 ms",
            "floor p50",
            "ratio",
        ]
        rows = []
        notes = [f"- {name}: {why}\n" for name, why in self.failures.items()]
        for count, many, single, floor_many, floor_single in self.measured():
            rows.append(
                [
                    f"{count:,}",
                    format_short(many.deliveries),
                    format_short(floor_many.deliveries),
                    format_significant(many.cpu_us),
                    format_significant(floor_many.cpu_us),
                    format_significant(many.cpu_x_floor),
                    format_significant(single.p50_ms),
                    format_significant(single.p99_ms),
                    format_significant(floor_single.p50_ms),
                    format_significant(single.p50_x_floor),
                ]
            )
            notes += [
                f"- {count:,} receivers: {summary.flaws}\n" for summary in (many, single) if summary.flaws
            ]
            if any(summary.disturbed for summary in (many, single, floor_many, floor_single)):
                notes.append(
                    f"- {count:,} receivers: other work on this machine took over {DISTURBED:.0%} of a core "
                    "in every round; measure again\n"
                )
        return (
            "# How the cost grows with the receivers\n\n"
            f"{format_machine(self.description)}. {self.settings}\n\n"
            f"{_WINDOW} messages of {PAYLOAD_SIZE} bytes in flight for the columns up to the first ratio,\n"
            "one at a time for the others. The floor of the ratios is a bare loop of send calls.\n\n"
            f"{markdown_table(header, rows)}\n{''.join(notes)}"
        )

    def svg(self) -> str:
        """Return the chart: the cost of a delivery, and the time of one message."""
        rows = self.measured()
        warning = []
        if any(summary.disturbed for row in rows for summary in row[1:] if isinstance(summary, Summary)):
            warning = ["NOT COMPARABLE: other work on this machine disturbed every round; measure again."]
        return line_chart(
            "How selchat's cost grows with the number of receivers",
            [f"{format_machine(self.description)}.", self.settings.replace("`", ""), *warning],
            [
                Lines(
                    "Server CPU per delivery, µs",
                    f"{_WINDOW} messages in flight",
                    [row[0] for row in rows],
                    {"selchat": [row[1].cpu_us for row in rows], "floor": [row[3].cpu_us for row in rows]},
                ),
                Lines(
                    "One message to the last receiver, ms",
                    "one message at a time, median",
                    [row[0] for row in rows],
                    {"selchat": [row[2].p50_ms for row in rows], "floor": [row[4].p50_ms for row in rows]},
                ),
            ],
            {"selchat": "selchat", "floor": "the floor: bare send calls"},
        )

    def as_json(self) -> dict[str, Any]:
        """Return everything."""
        return {
            "machine": self.description,
            "settings": self.settings,
            "payload_bytes": PAYLOAD_SIZE,
            "failures": self.failures,
            "results": [
                {"server": key, "receivers": count, "window": window, **Summary(runs).as_json()}
                for (key, count, window), runs in self.runs.items()
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
    counts = _QUICK if quick else tuple(int(count) for count in options["--receivers"].split(","))
    raise_descriptor_limit(max(counts) + min(max(counts), _MAX_ALTERNATING) + 100)
    command = " ".join(["python", "benchmarks/scaling.py", *sys.argv[1:]])
    settings = f"{describe_rounds(rounds)} of {seconds:g} s; to repeat: `{command}`."
    results = Results(counts, describe_machine(), settings)
    idle_wait = IdleWait(0 if quick else float(options["--patience"]))
    status = 0
    try:
        for number in range(1, rounds + 1):
            for count in counts:
                for servers in [(FLOOR, _SELCHAT)] if count <= _MAX_ALTERNATING else [(FLOOR,), (_SELCHAT,)]:
                    idle_wait.wait()
                    _measure_servers(results, servers, count, seconds, f"round {number}/{rounds}")
    except KeyboardInterrupt:
        print("Interrupted. The figures so far:", file=sys.stderr)
        status = 130
    if not any(key == "selchat" for key, _, _ in results.runs):
        print("No measurements: selchat did not start.", file=sys.stderr)
        return status or 1
    text = results.markdown()
    print(text)
    output = options["--output"] or (None if quick else _RESULTS)
    if output is not None and status == 0:
        folder = Path(output)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "scaling.md").write_text(text)
        (folder / "scaling.svg").write_text(results.svg())
        (folder / "scaling.json").write_text(json.dumps(results.as_json(), indent=1) + "\n")
    return status


def _measure_servers(
    results: Results, servers: Sequence[ServerSpec], count: int, seconds: float, label: str
) -> None:
    def record(window: int, runs: Sequence[Run]) -> None:
        for server, run in zip(servers, runs, strict=True):
            results.runs[server.key, count, window].append(run)
            note = f", {run.flaws}" if run.flaws else ""
            speed = format_short(run.delivered / run.seconds)
            print(f"{label}  {server.name}  {count} x {window}: {speed}/s{note}", file=sys.stderr)

    try:
        measure(servers, count, (_WINDOW, 1), seconds, record)
    except MeasureError as error:
        names = " and ".join(server.name for server in servers)
        results.failures[f"{names}, {count:,} receivers"] = str(error)


if __name__ == "__main__":
    sys.exit(main())
