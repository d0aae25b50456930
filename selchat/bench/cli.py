"""Command line of ``selchat-bench``: options to a plan, results to files and an exit status."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from types import FrameType
from typing import Any

from selchat import __version__
from selchat.arguments import ArgumentsError, parse_arguments
from selchat.bench.errors import PlanError
from selchat.bench.plan import Plan, check_descriptors, check_writable, make_plan
from selchat.bench.report.files import make_document, write_csv, write_json, write_text
from selchat.bench.report.html import format_html
from selchat.bench.report.progress import Progress
from selchat.bench.report.text import format_text, format_value
from selchat.bench.results import Result
from selchat.bench.scenarios import Run
from selchat.bench.system.proc import describe_machine
from selchat.bench.wires.messages import MIN_PAYLOAD
from selchat.errors import SelchatError
from selchat.streams import prepare_streams, run_command
from selchat.text import escape_controls

USAGE = f"""selchat-bench - load-test a chat server.

Usage:
  selchat-bench SCENARIO [options] [--fail-if=EXPR]...
  selchat-bench --help | --version

Scenarios:
  fanout    a few senders to many receivers, with a window of messages in flight
  paced     a constant rate; latency counts from the intended send time
  everyone  every client sends
  idle      connections that do nothing: memory of each, CPU at rest
  connect   a join storm
  slow      some clients never read: how much does that affect the others?
  churn     clients connect, send a few messages and leave
  soak      paced, for a long time, with the trend of memory
  rooms     many small rooms, each with its own senders
  durable   fanout, alternating: with a history file and without one

Options:
  --wire=WIRE          classic (no acks), selchat (with acks), or websocket (selchat as browsers speak it).
                       rooms and durable default to selchat, all others to classic. rooms cannot use classic.
  --history            Have the started server keep its history in a temporary file. durable always does.
  --connect=HOST:PORT  Measure that server. Without this option, start one on loopback.
  --server-pid=PID     Process ID of the --connect server on this machine, to measure its CPU and memory.
  --rooms=N            Number of rooms, in rooms. [default: 100]
  --clients=N          Number of receivers; in rooms: of each room. In everyone all of them send. In churn:
                       clients at a time.
  --senders=N          Number of senders; in rooms: of each room. Not in everyone, churn, idle, connect.
                       [default: 1]
  --window=W           Messages in flight for each sender, in fanout, everyone, rooms and durable.
  --rate=R             Messages a second by all senders together, in paced, slow and soak.
  --payload=BYTES      Size of a message, at least {MIN_PAYLOAD}. Defaults to 64.
  --delivery=BYTES     Size of a delivery, including all headers. Use it instead of --payload to compare
                       wires at the same number of bytes.
  --duration=S         Seconds of measurement of the server. The floor takes as long again.
  --ramp=S             Seconds of load before the measurement, in which the rate rises. [default: 0.5]
  --connect-rate=R     New connections a second; 0 is as fast as possible.
  --processes=N        Number of load generator processes. [default: 1]
  --stalled=N          Number of clients that never read, in slow. Defaults to a tenth of them.
  --no-roster          Have the started server not send the list of online users.
  --no-pin             Do not reserve a CPU core for the started server.
  --json=FILE          Write all results, and a description of this machine.
  --csv=FILE           Append the results to this table, as one row.
  --html=FILE          Write a page with the latency distribution and the time line.
  --fail-if=EXPR       Exit with status 3 if this holds, for example 'p99_ms>20'. Repeatable.
  -h --help            Show this text.
  --version            Show the version.

The metrics in the report have the names that --json and --fail-if use.
The floor is a bare loop of sends: the same chunks to as many sockets, which is the minimum cost for any
server. Ratios to the floor stay comparable when the machine is busy.
A history is as fast as the disk of TMPDIR. If TMPDIR is in memory, durable measures nothing useful.
Ctrl-C ends the run early and reports the figures so far.

Exit status: 0 after a complete run, 1 if the server or this machine failed, 2 for a wrong option,
3 if a --fail-if holds, 130 after Ctrl-C.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run ``selchat-bench`` with these arguments (without the program's name); return the exit status."""
    if arguments is None:
        prepare_streams()
    words = sys.argv[1:] if arguments is None else arguments
    try:
        return run_command(lambda: _main(words))
    except (ArgumentsError, PlanError) as error:
        return _fail(str(error), 2)
    except SelchatError as error:
        return _fail(str(error), 1)


def _main(words: list[str]) -> int:
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        options = parse_arguments(USAGE, words)
    except ArgumentsError as error:
        raise ArgumentsError(f"{error}; selchat-bench --help lists the options") from None
    if options["--help"]:
        print(USAGE, end="")
        return 0
    if options["--version"]:
        print(f"selchat-bench {__version__}")
        return 0
    plan = make_plan(options)
    for name in ("--json", "--csv", "--html"):
        check_writable(name, options[name])
    check_descriptors(plan)
    return _run(plan, options, ["selchat-bench", *words])


def _run(plan: Plan, options: dict[str, Any], command: list[str]) -> int:
    stopped: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        if stopped:
            raise KeyboardInterrupt
        stopped.append(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, plan.pins.generators or cores)
    try:
        with Progress() as progress:
            result = Run(plan, lambda: bool(stopped), progress.show_status, progress.show_progress).run()
    finally:
        os.sched_setaffinity(0, cores)
        for number, handler in before.items():
            signal.signal(number, handler)
    return _report(plan, result, options, command)


def _report(plan: Plan, result: Result, options: dict[str, Any], command: list[str]) -> int:
    machine = describe_machine(plan.pins)
    if result.metrics:
        print(format_text(plan, result, machine), flush=True)
    document = make_document(plan, result, machine, [shlex.quote(word) for word in command])
    if options["--json"]:
        write_json(options["--json"], document)
    if options["--csv"]:
        write_csv(options["--csv"], plan, result.metrics, machine["date"])
    if options["--html"]:
        write_text(options["--html"], format_html(document))
    if result.failure is not None:
        return _fail(result.failure, 1)
    failed = [condition for condition in plan.conditions if condition.holds(result.metrics)]
    for condition in failed:
        value = result.metrics.get(condition.name)
        shown = "not measured" if value is None else format_value(condition.name, value)
        print(f"failed: {condition.text} ({condition.name} is {shown})")
    if result.interrupted:
        return 130
    return 3 if failed else 0


def _fail(message: str, status: int) -> int:
    print(f"selchat-bench: {escape_controls(message)}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
