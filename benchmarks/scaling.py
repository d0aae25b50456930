"""How selchat's cost grows with the number of receivers, beside the floor's.

Usage:
  scaling.py [options]

Options:
  --receivers=LIST  Numbers of receivers, separated by commas. [default: 10,100,1000,10000]
  --rounds=N        Rounds in which selchat and the floor take turns; the medians are reported. [default: 5]
  --duration=S      Seconds of each measurement. [default: 2]
  --output=DIR      Where scaling.md, scaling.svg and scaling.json go; benchmarks/results if not given,
                    and nowhere with --quick.
  --patience=S      Seconds in all to wait for other work on this machine to end. [default: 120]
  --quick           One short round with few receivers, to see that it works; measures nothing.
  -h --help         Show this text.

The load is that of peers.py: 256 messages in flight, and then one at a time. Ctrl-C shows what was
measured so far.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import docopt
from harness.audience import PAYLOAD_SIZE, Run
from harness.charts import Lines, line_chart
from harness.contenders import CONTENDERS, FLOOR, Contender
from harness.machine import machine, machine_line
from harness.measure import MeasureError, measure
from harness.processes import Patience, end_on_sigterm, raise_descriptor_limit
from harness.results import DISTURBED, Summary, count_of, markdown_table, short, significant

_RESULTS = Path(__file__).parent / "results"
_WINDOW = 256  # messages in flight
_QUICK = (5, 50)  # receivers
_QUICK_SECONDS = 0.15
_SELCHAT = next(one for one in CONTENDERS if one.kind == "selchat")
_TOGETHER = 5_000  # receivers: up to here the load has descriptors for both at once, and they take turns


class Results:
    """What was measured so far."""

    def __init__(self, counts: Sequence[int], description: dict[str, str], settings: str) -> None:
        self.counts = counts
        self.description = description
        self.settings = settings
        self.runs: dict[tuple[str, int, int], list[Run]] = defaultdict(list)
        self.failures: dict[str, str] = {}

    def summary(self, key: str, receivers: int, window: int) -> Summary | None:
        """Return the medians of that server with so many receivers and that window."""
        runs = self.runs.get((key, receivers, window), [])
        beside = self.runs.get((FLOOR.key, receivers, window), [])
        return Summary(runs, beside) if runs and len(beside) == len(runs) else None

    def measured(self) -> list[tuple[int, Summary, Summary, Summary, Summary]]:
        """Return the counts that are complete: selchat's many and single messages, then the floor's."""
        rows = []
        for count in self.counts:
            found = [self.summary(key, count, w) for key in ("selchat", "floor") for w in (_WINDOW, 1)]
            one, two, three, four = found
            if one and two and three and four:
                rows.append((count, one, two, three, four))
        return rows

    def markdown(self) -> str:
        """Return the table with what must be known beside it."""
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
                    short(many.deliveries),
                    short(floor_many.deliveries),
                    significant(many.cpu_us),
                    significant(floor_many.cpu_us),
                    significant(many.cpu_x_floor),
                    significant(single.p50_ms),
                    significant(single.p99_ms),
                    significant(floor_single.p50_ms),
                    significant(single.p50_x_floor),
                ]
            )
            notes += [f"- {count:,} receivers: {one.flaws}\n" for one in (many, single) if one.flaws]
            if any(summary.disturbed for summary in (many, single, floor_many, floor_single)):
                notes.append(
                    f"- {count:,} receivers: other work on this machine took over {DISTURBED:.0%} of a core "
                    "in every round; repeat it\n"
                )
        return (
            "# How the cost grows with the receivers\n\n"
            f"{machine_line(self.description)}. {self.settings}\n\n"
            f"{_WINDOW} messages of {PAYLOAD_SIZE} bytes in flight for the columns up to the first ratio,\n"
            "one at a time for the others. The ratios are to the floor: a bare loop of send calls.\n\n"
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
            [f"{machine_line(self.description)}.", self.settings.replace("`", ""), *warning],
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
    end_on_sigterm()
    quick = options["--quick"]
    rounds = 1 if quick else int(options["--rounds"])
    seconds = _QUICK_SECONDS if quick else float(options["--duration"])
    counts = _QUICK if quick else tuple(int(count) for count in options["--receivers"].split(","))
    raise_descriptor_limit(max(counts) + min(max(counts), _TOGETHER) + 100)
    command = " ".join(["python", "benchmarks/scaling.py", *sys.argv[1:]])
    settings = f"{count_of(rounds)} of {seconds:g} s; to repeat: `{command}`."
    results = Results(counts, machine(), settings)
    patience = Patience(0 if quick else float(options["--patience"]))
    status = 0
    try:
        for number in range(1, rounds + 1):
            for count in counts:
                for servers in [(FLOOR, _SELCHAT)] if count <= _TOGETHER else [(FLOOR,), (_SELCHAT,)]:
                    patience.wait_for_calm()
                    _take_turn(results, servers, count, seconds, f"round {number}/{rounds}")
    except KeyboardInterrupt:
        print("interrupted; what was measured so far:", file=sys.stderr)
        status = 130
    if not any(key == "selchat" for key, _, _ in results.runs):
        print("nothing was measured: selchat did not start", file=sys.stderr)
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


def _take_turn(
    results: Results, servers: Sequence[Contender], count: int, seconds: float, where: str
) -> None:
    def took(window: int, runs: Sequence[Run]) -> None:
        for one, run in zip(servers, runs, strict=True):
            results.runs[one.key, count, window].append(run)
            trouble = f", {run.flaws}" if run.flaws else ""
            speed = short(run.delivered / run.seconds)
            print(f"{where}  {one.name}  {count} x {window}: {speed}/s{trouble}", file=sys.stderr)

    try:
        measure(servers, count, (_WINDOW, 1), seconds, took)
    except MeasureError as error:
        names = " and ".join(one.name for one in servers)
        results.failures[f"{names}, {count:,} receivers"] = str(error)


if __name__ == "__main__":
    sys.exit(main())
