"""Fan-out against the peers: the same work for every chat server and broker that is installed.

Usage:
  peers.py [options]

Options:
  --only=NAMES     Measure only these, separated by commas: floor, selchat, nats, redis, ngircd, mosquitto,
                   paper, asyncio, uvloop, uvloop-batched, websockets.
  --rounds=N       Rounds in which they take turns; the medians are reported. [default: 5]
  --duration=S     Seconds of each measurement. [default: 2]
  --output=DIR     Where peers.md, peers.svg and peers.json go; benchmarks/results if not given, and
                   nowhere with --quick or --only.
  --patience=S     Seconds in all to wait for other work on this machine to end. [default: 120]
  --quick          One short round with few receivers, to see that it works; measures nothing.
  -h --help        Show this text.

One sender keeps a window of messages of 64 bytes in flight to N receivers: the next one is sent when the
slowest receiver has got the oldest. The server has one core, sender and receivers have another. Every byte
count is checked, and one receiver's stream is compared with what was sent. The floor is a bare loop of
send calls with the same chunks to the same number of sockets: no server on sockets can do with less. It
takes turns with every server, half a second each, and the ratios to it are medians over these pairs.

What is not installed is skipped with a line that says how to get it. Ctrl-C shows what was measured so far.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docopt
from harness.audience import PAYLOAD_SIZE, Run
from harness.charts import Bars, bar_chart
from harness.contenders import CONTENDERS, FLOOR, Contender
from harness.machine import machine, machine_line
from harness.measure import MeasureError, measure
from harness.processes import Patience, end_on_sigterm, raise_descriptor_limit
from harness.results import DISTURBED, Summary, count_of, markdown_table, short, significant

_RESULTS = Path(__file__).parent / "results"
_BUSY = 0.9  # of its core: from which on the load may have been what was measured
_KEY = {
    "selchat": "selchat",
    "broker": "brokers and chat servers in C and Go",
    "python": "Python",
    "floor": "the floor: bare send calls",
}


@dataclass(frozen=True)
class Work:
    """``receivers`` and the ``window``: messages in flight."""

    receivers: int
    window: int

    def __str__(self) -> str:
        if self.window == 1:
            return f"{self.receivers} receivers, one message at a time"
        return f"{self.receivers} receivers, {self.window} messages in flight"


_WORK = (Work(900, 256), Work(100, 256), Work(900, 1))
_QUICK_WORK = (Work(40, 16), Work(40, 8), Work(40, 1))
_QUICK_SECONDS = 0.15


@dataclass
class Results:
    """What was measured so far."""

    work: Sequence[Work]
    description: dict[str, str]
    settings: str
    runs: dict[tuple[str, Work], list[Run]] = field(default_factory=lambda: defaultdict(list))
    floors: dict[tuple[str, Work], list[Run]] = field(default_factory=lambda: defaultdict(list))
    failures: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def summaries(self, work: Work) -> dict[Contender, Summary]:
        """Return who has done that work, in the order of the list."""
        return {
            contender: Summary(self.runs[contender.key, work], self.floors[contender.key, work])
            for contender in CONTENDERS
            if self.runs.get((contender.key, work))
        }

    def markdown(self) -> str:
        """Return the tables with what must be known beside them."""
        parts = ["# Fan-out against the peers\n", f"{machine_line(self.description)}. {self.settings}\n"]
        parts += [f"**{line.lstrip('* ')}**\n" for line in self._warning()]
        for work in self.work:
            parts.append(f"## {str(work).capitalize()}\n")
            parts.append(self._table(work))
        parts.append("## What was measured\n")
        versions = "".join(f"- {one.name}: {one.version()}\n" for one in self._measured())
        parts.append(versions)
        for name, why in {**self.skipped, **self.failures}.items():
            parts.append(f"- {name}: {why}\n")
        parts.append(
            f"""Payload: {PAYLOAD_SIZE} bytes. *Server busy* and *load busy* are shares of a core each. The
server's CPU per delivery is what a faster load could not change; it is the figure to compare where the
load was busy for over {_BUSY:.0%} of the time. Latency runs from before the send to the last receiver's
receipt. Unless a note says otherwise, every receiver got every message, and one receiver's stream,
compared byte by byte, had them in order.
"""
        )
        return "\n".join(parts)

    def svg(self) -> str:
        """Return the chart: a row for each server, fastest first."""
        full, few, single = (self.summaries(work) for work in self.work)
        measured = [one for one in self._measured() if one in full]
        measured.sort(key=lambda one: -full[one].deliveries)

        def label(summary: Summary | None, figure: str, unit: str) -> str:
            if summary is None:
                return "–"
            value = getattr(summary, figure)
            return (significant(value) if unit else short(value)) + unit + "*" * summary.disturbed

        def speeds(head: str, note: str, found: dict[Contender, Summary]) -> Bars:
            values = [found[one].deliveries if one in found else None for one in measured]
            return Bars(head, note, values, [label(found.get(one), "deliveries", "") for one in measured])

        latencies = [single[one].p50_ms if one in single else None for one in measured]
        many, fewer, _ = self.work
        columns = [
            speeds(
                "Deliveries/s, more is better", f"{many.receivers} receivers, {many.window} in flight", full
            ),
            speeds(
                "Deliveries/s, more is better", f"{fewer.receivers} receivers, {fewer.window} in flight", few
            ),
            Bars(
                "One message, less is better",
                f"to the last of {many.receivers} receivers, median",
                latencies,
                [label(single.get(one), "p50_ms", " ms") for one in measured],
                log=False,
            ),
        ]
        return bar_chart(
            f"One sender, {many.receivers} receivers: how fast a server tells everyone",
            [
                f"Messages of {PAYLOAD_SIZE} bytes; the server on one core, the load on another; no limits "
                "on queues and rates. The speeds are on logarithmic scales.",
                f"{machine_line(self.description)}.",
                self.settings.replace("`", ""),
                *self._warning(),
            ],
            [(one.name, one.kind) for one in measured],
            columns,
            {kind: text for kind, text in _KEY.items() if any(one.kind == kind for one in measured)},
        )

    def as_json(self) -> dict[str, Any]:
        """Return everything."""
        return {
            "machine": self.description,
            "settings": self.settings,
            "payload_bytes": PAYLOAD_SIZE,
            "versions": {one.key: one.version() for one in self._measured()},
            "skipped": self.skipped,
            "failures": self.failures,
            "work": [
                {
                    "receivers": work.receivers,
                    "window": work.window,
                    "servers": {one.key: found.as_json() for one, found in self.summaries(work).items()},
                }
                for work in self.work
            ],
        }

    def _warning(self) -> list[str]:
        if any(found.disturbed for work in self.work for found in self.summaries(work).values()):
            return ["* NOT COMPARABLE: other work on this machine disturbed every round; measure again."]
        return []

    def _measured(self) -> list[Contender]:
        keys = {key for key, _ in self.runs}
        return [one for one in CONTENDERS if one.key in keys]

    def _table(self, work: Work) -> str:
        found = self.summaries(work)
        notes = []
        rows = []
        single = work.window == 1
        ordered = sorted(found.items(), key=lambda item: item[1].p50_ms if single else -item[1].deliveries)
        for one, summary in ordered:
            name = f"**{one.name}**" if one.kind == "selchat" else one.name
            row = [name + " \\*" * summary.disturbed]
            if single:
                row += [significant(summary.p50_ms), significant(summary.p99_ms), _times(summary.p50_x_floor)]
            else:
                row += [short(summary.deliveries)]
            row += [significant(summary.cpu_us), _times(summary.cpu_x_floor)]
            rows.append([*row, f"{summary.server_share:.0%}", f"{summary.load_share:.0%}"])
            if summary.flaws:
                notes.append(f"- {one.name}: {summary.flaws}\n")
        busy = [one.name for one, summary in found.items() if summary.load_share > _BUSY]
        if busy:
            notes.append(f"- The load was busy for over {_BUSY:.0%} of the time: {', '.join(busy)}\n")
        disturbed = [one.name for one, summary in found.items() if summary.disturbed]
        if disturbed:
            notes.append(
                f"- \\* Other work on this machine took over {DISTURBED:.0%} of a core in every round. "
                "Measure again: speeds and latencies are not comparable, and the CPU per delivery hardly.\n"
            )
        speed = ["p50 ms", "p99 ms", "x floor"] if single else ["deliveries/s"]
        header = ["server", *speed, "server CPU µs per delivery", "x floor", "server busy", "load busy"]
        return markdown_table(header, rows) + ("\n" + "".join(notes) if notes else "")


def main() -> int:
    """Run the script and return its exit status."""
    assert __doc__ is not None
    options = docopt.docopt(__doc__)
    end_on_sigterm()
    raise_descriptor_limit(4096)
    quick = options["--quick"]
    rounds = 1 if quick else int(options["--rounds"])
    seconds = _QUICK_SECONDS if quick else float(options["--duration"])
    wanted = options["--only"].split(",") if options["--only"] else [one.key for one in CONTENDERS]
    unknown = set(wanted) - {one.key for one in CONTENDERS}
    if unknown:
        print(f"peers.py: nobody is called {', '.join(sorted(unknown))}; see --help", file=sys.stderr)
        return 2
    command = " ".join(["python", "benchmarks/peers.py", *sys.argv[1:]])
    settings = f"{count_of(rounds)} of {seconds:g} s; to repeat: `{command}`."
    results = Results(_QUICK_WORK if quick else _WORK, machine(), settings)
    contenders = []
    for one in CONTENDERS:
        if one.key in wanted:
            hint = one.missing()
            if hint is None:
                contenders.append(one)
            else:
                results.skipped[one.name] = f"skipped, not installed: {hint}"
                print(f"{one.name}: {results.skipped[one.name]}", file=sys.stderr)
    patience = Patience(0 if quick else float(options["--patience"]))
    status = 0
    beside_floor = FLOOR in contenders and contenders != [FLOOR]
    if beside_floor:
        contenders.remove(FLOOR)  # it is measured beside each of the others
    try:
        for number in range(1, rounds + 1):
            for one in contenders:
                patience.wait_for_calm()
                _take_turn(results, one, beside_floor, seconds, f"round {number}/{rounds}")
    except KeyboardInterrupt:
        print("interrupted; what was measured so far:", file=sys.stderr)
        status = 130
    text = results.markdown()
    print(text)
    output = options["--output"] or (None if quick or options["--only"] else _RESULTS)
    if output is not None and status == 0:
        folder = Path(output)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "peers.md").write_text(text)
        (folder / "peers.svg").write_text(results.svg())
        (folder / "peers.json").write_text(json.dumps(results.as_json(), indent=1) + "\n")
    return status


def _take_turn(results: Results, one: Contender, beside_floor: bool, seconds: float, where: str) -> None:
    for receivers in dict.fromkeys(work.receivers for work in results.work):
        windows = [work.window for work in results.work if work.receivers == receivers]
        if receivers > one.most_receivers:
            results.failures[one.name] = f"takes {one.most_receivers:,} receivers at most"
            continue

        def took(window: int, runs: Sequence[Run], receivers: int = receivers) -> None:
            work = Work(receivers, window)
            run = runs[-1]
            results.runs[one.key, work].append(run)
            if len(runs) > 1:
                results.floors[one.key, work].append(runs[0])
                results.runs[FLOOR.key, work].append(runs[0])
                results.floors[FLOOR.key, work].append(runs[0])
            speed = f"{short(run.delivered / run.seconds)}/s"
            troubles = f", {run.flaws}" if run.flaws else ""
            if run.others_cpu >= DISTURBED:
                troubles += f", other work took {run.others_cpu:.0%} of a core"
            print(f"{where}  {one.name}  {receivers} x {window}: {speed}{troubles}", file=sys.stderr)

        try:
            measure([FLOOR, one] if beside_floor else [one], receivers, windows, seconds, took)
        except MeasureError as error:
            results.failures[one.name] = f"failed with {receivers} receivers: {error}"
            print(f"{where}  {one.name}: {results.failures[one.name]}", file=sys.stderr)


def _times(ratio: float) -> str:
    return significant(ratio) if ratio else "–"


if __name__ == "__main__":
    sys.exit(main())
