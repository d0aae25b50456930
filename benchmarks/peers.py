"""Compare the fan-out of all installed chat servers and brokers, with the same work for each.

Usage:
  peers.py [options]

Options:
  --only=NAMES     Measure only these, separated by commas: floor, selchat, nats, redis, ngircd, mosquitto,
                   paper, asyncio, uvloop, uvloop-batched, websockets.
  --rounds=N       Rounds, in each of which every server is measured; the result is the median. [default: 5]
  --duration=S     Seconds of each measurement. [default: 2]
  --output=DIR     Folder for peers.md, peers.svg and peers.json; by default benchmarks/results, and
                   none with --quick or --only.
  --patience=S     Seconds, in all, to wait until this machine is idle. [default: 120]
  --quick          One short round with few receivers, to check that it works; the figures mean nothing.
  -h --help        Show this text.

One sender keeps a window of messages of 64 bytes in flight to N receivers: it sends the next one when the
slowest receiver has the oldest. The server has one core, sender and receivers share another. The script
checks every byte count, and compares one receiver's stream with the sent one. The floor is a bare loop of
send calls, with the same chunks to the same number of sockets: the minimum cost for any server. It alternates
with every server, half a second each, and the ratios are medians over these pairs.

The script skips servers that are not installed, and prints how to install them. Ctrl-C shows the figures so
far.
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
from harness.charts import Bars, bar_chart
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
_BUSY = 0.9  # share of its core; above it the load may be the bottleneck
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
    """The measurements so far."""

    work: Sequence[Work]
    description: dict[str, str]
    settings: str
    runs: dict[tuple[str, Work], list[Run]] = field(default_factory=lambda: defaultdict(list))
    floors: dict[tuple[str, Work], list[Run]] = field(default_factory=lambda: defaultdict(list))
    failures: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def summaries(self, work: Work) -> dict[ServerSpec, Summary]:
        """Return the summaries of all servers that have done that work."""
        return {
            server: Summary(self.runs[server.key, work], self.floors[server.key, work])
            for server in SERVERS
            if self.runs.get((server.key, work))
        }

    def markdown(self) -> str:
        """Return the tables and their notes."""
        parts = [
            "# Fan-out compared with other servers\n",
            f"{format_machine(self.description)}. {self.settings}\n",
        ]
        parts += [f"**{line.lstrip('* ')}**\n" for line in self._warning()]
        for work in self.work:
            parts.append(f"## {str(work).capitalize()}\n")
            parts.append(self._table(work))
        parts.append("## Versions\n")
        versions = "".join(f"- {server.name}: {server.version()}\n" for server in self._measured())
        parts.append(versions)
        for name, why in {**self.skipped, **self.failures}.items():
            parts.append(f"- {name}: {why}\n")
        parts.append(
            f"""Payload: {PAYLOAD_SIZE} bytes. *Server busy* and *load busy* are shares of a core each. The
server's CPU per delivery does not depend on the speed of the load. Compare that figure where the load was
busy for over {_BUSY:.0%} of the time. Latency counts from before the send until the last receiver has the
message. Unless a note says otherwise, every receiver got every message, and a byte-by-byte comparison of one
receiver's stream found them in order.
"""
        )
        return "\n".join(parts)

    def svg(self) -> str:
        """Return the chart: a row for each server, fastest first."""
        full, few, single = (self.summaries(work) for work in self.work)
        measured = [server for server in self._measured() if server in full]
        measured.sort(key=lambda server: -full[server].deliveries)

        def label(summary: Summary | None, figure: str, unit: str) -> str:
            if summary is None:
                return "–"
            value = getattr(summary, figure)
            return (
                (format_significant(value) if unit else format_short(value)) + unit + "*" * summary.disturbed
            )

        def speeds(heading: str, note: str, found: dict[ServerSpec, Summary]) -> Bars:
            values = [found[server].deliveries if server in found else None for server in measured]
            return Bars(
                heading, note, values, [label(found.get(server), "deliveries", "") for server in measured]
            )

        latencies = [single[server].p50_ms if server in single else None for server in measured]
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
                [label(single.get(server), "p50_ms", " ms") for server in measured],
                log=False,
            ),
        ]
        return bar_chart(
            f"One sender, {many.receivers} receivers: how fast a server delivers to all",
            [
                f"Messages of {PAYLOAD_SIZE} bytes; the server on one core, the load on another; no limits "
                "on queues and rates. The speeds are on logarithmic scales.",
                f"{format_machine(self.description)}.",
                self.settings.replace("`", ""),
                *self._warning(),
            ],
            [(server.name, server.kind) for server in measured],
            columns,
            {kind: text for kind, text in _KEY.items() if any(server.kind == kind for server in measured)},
        )

    def as_json(self) -> dict[str, Any]:
        """Return everything."""
        return {
            "machine": self.description,
            "settings": self.settings,
            "payload_bytes": PAYLOAD_SIZE,
            "versions": {server.key: server.version() for server in self._measured()},
            "skipped": self.skipped,
            "failures": self.failures,
            "work": [
                {
                    "receivers": work.receivers,
                    "window": work.window,
                    "servers": {
                        server.key: found.as_json() for server, found in self.summaries(work).items()
                    },
                }
                for work in self.work
            ],
        }

    def _warning(self) -> list[str]:
        if any(found.disturbed for work in self.work for found in self.summaries(work).values()):
            return ["* NOT COMPARABLE: other work on this machine disturbed every round; measure again."]
        return []

    def _measured(self) -> list[ServerSpec]:
        keys = {key for key, _ in self.runs}
        return [server for server in SERVERS if server.key in keys]

    def _table(self, work: Work) -> str:
        found = self.summaries(work)
        notes = []
        rows = []
        single = work.window == 1
        ordered = sorted(found.items(), key=lambda item: item[1].p50_ms if single else -item[1].deliveries)
        for server, summary in ordered:
            name = f"**{server.name}**" if server.kind == "selchat" else server.name
            row = [name + " \\*" * summary.disturbed]
            if single:
                row += [
                    format_significant(summary.p50_ms),
                    format_significant(summary.p99_ms),
                    _times(summary.p50_x_floor),
                ]
            else:
                row += [format_short(summary.deliveries)]
            row += [format_significant(summary.cpu_us), _times(summary.cpu_x_floor)]
            rows.append([*row, f"{summary.server_share:.0%}", f"{summary.load_share:.0%}"])
            if summary.flaws:
                notes.append(f"- {server.name}: {summary.flaws}\n")
        busy = [server.name for server, summary in found.items() if summary.load_share > _BUSY]
        if busy:
            notes.append(f"- The load was busy for over {_BUSY:.0%} of the time: {', '.join(busy)}\n")
        disturbed = [server.name for server, summary in found.items() if summary.disturbed]
        if disturbed:
            notes.append(
                f"- \\* Other work on this machine took over {DISTURBED:.0%} of a core in every round. "
                "Measure again: speeds and latencies are not comparable, the CPU per delivery hardly is.\n"
            )
        speed = ["p50 ms", "p99 ms", "x floor"] if single else ["deliveries/s"]
        header = ["server", *speed, "server CPU µs per delivery", "x floor", "server busy", "load busy"]
        return markdown_table(header, rows) + ("\n" + "".join(notes) if notes else "")


def main() -> int:
    """Run the script and return its exit status."""
    assert __doc__ is not None
    options = docopt.docopt(__doc__)
    interrupt_on_sigterm()
    raise_descriptor_limit(4096)
    quick = options["--quick"]
    rounds = 1 if quick else int(options["--rounds"])
    seconds = _QUICK_SECONDS if quick else float(options["--duration"])
    names = options["--only"].split(",") if options["--only"] else [server.key for server in SERVERS]
    unknown = set(names) - {server.key for server in SERVERS}
    if unknown:
        print(
            f"peers.py: unknown server {', '.join(sorted(unknown))}; see --help for the names",
            file=sys.stderr,
        )
        return 2
    command = " ".join(["python", "benchmarks/peers.py", *sys.argv[1:]])
    settings = f"{describe_rounds(rounds)} of {seconds:g} s; to repeat: `{command}`."
    results = Results(_QUICK_WORK if quick else _WORK, describe_machine(), settings)
    specs = []
    for server in SERVERS:
        if server.key in names:
            hint = server.missing()
            if hint is None:
                specs.append(server)
            else:
                results.skipped[server.name] = f"skipped, because it is not installed. Run: {hint}"
                print(f"{server.name}: {results.skipped[server.name]}", file=sys.stderr)
    idle_wait = IdleWait(0 if quick else float(options["--patience"]))
    status = 0
    with_floor = FLOOR in specs and specs != [FLOOR]
    if with_floor:
        specs.remove(FLOOR)  # it alternates with each of the others
    try:
        for number in range(1, rounds + 1):
            for server in specs:
                idle_wait.wait()
                _measure_server(results, server, with_floor, seconds, f"round {number}/{rounds}")
    except KeyboardInterrupt:
        print("Interrupted. The figures so far:", file=sys.stderr)
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


def _measure_server(
    results: Results, server: ServerSpec, with_floor: bool, seconds: float, label: str
) -> None:
    for receivers in dict.fromkeys(work.receivers for work in results.work):
        windows = [work.window for work in results.work if work.receivers == receivers]
        if receivers > server.max_receivers:
            results.failures[server.name] = f"supports at most {server.max_receivers:,} receivers"
            continue

        def record(window: int, runs: Sequence[Run], receivers: int = receivers) -> None:
            work = Work(receivers, window)
            run = runs[-1]
            results.runs[server.key, work].append(run)
            if len(runs) > 1:
                results.floors[server.key, work].append(runs[0])
                results.runs[FLOOR.key, work].append(runs[0])
                results.floors[FLOOR.key, work].append(runs[0])
            speed = f"{format_short(run.delivered / run.seconds)}/s"
            notes = f", {run.flaws}" if run.flaws else ""
            if run.others_cpu >= DISTURBED:
                notes += f", other work took {run.others_cpu:.0%} of a core"
            print(f"{label}  {server.name}  {receivers} x {window}: {speed}{notes}", file=sys.stderr)

        try:
            measure([FLOOR, server] if with_floor else [server], receivers, windows, seconds, record)
        except MeasureError as error:
            results.failures[server.name] = f"failed with {receivers} receivers: {error}"
            print(f"{label}  {server.name}: {results.failures[server.name]}", file=sys.stderr)


def _times(ratio: float) -> str:
    return format_significant(ratio) if ratio else "–"


if __name__ == "__main__":
    sys.exit(main())
