"""The command line of ``selchat-bench``: docopt text to a plan, and results to files and an exit status."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import docopt

from selchat import __version__
from selchat.bench.errors import BenchError, PlanError
from selchat.bench.metrics import SCENARIOS, Condition, metrics_of
from selchat.bench.report.html import page
from selchat.bench.report.progress import Progress
from selchat.bench.report.text import document, number, text, write, write_csv, write_json
from selchat.bench.scenarios import Plan, Result, Run, check_descriptors, room_name
from selchat.bench.system.proc import LINUX, Pinning, describe_machine, pinning
from selchat.bench.wires.wires import LOBBY, MIN_PAYLOAD, SELCHAT_ENVELOPE, WIRES, Wire
from selchat.config.settings import Settings
from selchat.errors import SelchatError
from selchat.text import escape_controls

USAGE = f"""selchat-bench - put a chat server under load, and say what it took.

Usage:
  selchat-bench SCENARIO [options] [--fail-if=EXPR]...
  selchat-bench --help | --version

Scenarios:
  fanout    senders with a window of messages in flight, to many receivers
  paced     a constant rate, latency from the intended time of sending
  everyone  every client talks
  idle      connections that do nothing: memory of each, CPU at rest
  connect   a join storm
  slow      a part of the readers never reads: what the others feel of it
  churn     clients come, talk and leave
  soak      paced, for long, with the trend of memory
  rooms     many small rooms, each with its own senders
  durable   fanout, in turns with a history in a file and without any

Options:
  --wire=WIRE          classic, the paper's, or rich, with receipts, or websocket, which is rich as browsers
                       speak it; rooms and durable are rich, or websocket.
  --history            Have the started server keep what is said in a temporary file; durable always does.
  --connect=HOST:PORT  Measure that server; without this one is started, on loopback.
  --server-pid=PID     Its process, if it runs on this machine: for its CPU and memory.
  --rooms=N            How many rooms, in rooms. [default: 100]
  --clients=N          Receivers, in rooms of each; in everyone talkers, in churn how many at a time.
  --senders=N          How many talk, in rooms in each; not in everyone, churn, idle, connect. [default: 1]
  --window=W           Messages in flight for each sender, in fanout, everyone, rooms and durable.
  --rate=R             Messages a second by all senders together, in paced, slow and soak.
  --payload=BYTES      Of each message, {MIN_PAYLOAD} at least; 64 if not given.
  --delivery=BYTES     Of each message as it is delivered, with all that stands around it, instead of
                       --payload: to compare wires at the same number of bytes.
  --duration=S         Seconds of measuring the server; the floor takes as long again.
  --ramp=S             Seconds of load before that; a rate rises during them. [default: 0.5]
  --connect-rate=R     Connections a second; 0 is as fast as possible. In churn: lives a second.
  --processes=N        Processes of load generators. [default: 1]
  --stalled=N          How many of the clients never read, in slow; a tenth if not given.
  --no-roster          Have the started server not tell who is online.
  --no-pin             Do not give the started server a core of its own.
  --json=FILE          Write everything that was measured, and on what machine.
  --csv=FILE           Append one row to this table.
  --html=FILE          Write one page with the distribution of latencies and the time line.
  -h --help            Show this text.
  --version            Show the version.

With --fail-if=EXPR, such as 'p99_ms>20', it exits with 3 if that holds; it can be given several times.
What is measured and what it means: the names in the report are those of --json and --fail-if.
The floor is a bare loop of sends, with the same chunks to as many sockets: what any server must pay.
A history is only as fast as the disk that TMPDIR is on; where that is memory, it measures nothing.
Ctrl-C ends it early and shows what was measured so far.

Exit status: 0 when done, 1 when the server or this machine fell short, 2 for a wrong option, 3 when a
--fail-if holds, 130 after Ctrl-C.
"""


@dataclass(frozen=True, slots=True)
class _Defaults:
    clients: int
    duration: float
    window: int = 1
    rate: float = 0.0
    connect_rate: float = 4000.0  # what a backlog of 4,096 takes without dropping any


_DEFAULTS = {
    "fanout": _Defaults(100, 10.0, window=256),
    "paced": _Defaults(100, 10.0, rate=100.0),
    "everyone": _Defaults(200, 10.0),
    "idle": _Defaults(1000, 10.0),
    "connect": _Defaults(1000, 10.0, connect_rate=0.0),
    "slow": _Defaults(100, 10.0, rate=100.0),
    "churn": _Defaults(50, 10.0, connect_rate=0.0),
    "soak": _Defaults(100, 600.0, rate=100.0),
    "rooms": _Defaults(4, 10.0, window=16),
    "durable": _Defaults(100, 10.0, window=256),
}


def main(arguments: list[str] | None = None) -> int:
    """Run ``selchat-bench`` with these arguments (without the program's name); return the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        options = docopt.docopt(USAGE, words, default_help=False)
    except docopt.DocoptExit as error:
        return _fail(f"{_complaint(error)}; selchat-bench --help lists the options", 2)
    if options["--help"]:
        print(USAGE, end="")
        return 0
    if options["--version"]:
        print(f"selchat-bench {__version__}")
        return 0
    try:
        plan = make_plan(options)
        for name in ("--json", "--csv", "--html"):
            _check_writable(name, options[name])
        check_descriptors(plan)
        return _run(plan, options, ["selchat-bench", *words])
    except PlanError as error:
        return _fail(str(error), 2)
    except SelchatError as error:
        return _fail(str(error), 1)
    except KeyboardInterrupt:
        return 130  # as shells report a process that SIGINT has ended


def make_plan(options: dict[str, Any]) -> Plan:
    """Check the options. Raises `PlanError`."""
    scenario = options["SCENARIO"]
    if scenario not in SCENARIOS:
        raise PlanError(f"there is no scenario {scenario!r}; these are: {', '.join(SCENARIOS)}")
    if not LINUX:
        raise PlanError("selchat-bench needs Linux: epoll and /proc")
    defaults = _DEFAULTS[scenario]
    clients = _whole(options, "--clients", defaults.clients)
    stalled = 0
    if scenario == "slow":
        stalled = _whole(options, "--stalled", max(1, clients // 10))
        if stalled >= clients:
            raise PlanError(f"--stalled: {stalled} of {clients} clients leave nobody who reads")
    ours = options["--connect"] is None
    if not ours and options["--no-roster"]:
        raise PlanError("--no-roster: only a server that is started here can be told so")
    if ours and options["--server-pid"] is not None:
        raise PlanError("--server-pid: goes with --connect")
    has_pid = ours or options["--server-pid"] is not None
    if not ours and (options["--history"] or scenario == "durable"):
        raise PlanError("--history: only a server that is started here can be told so")
    wire = _wire(options)
    names = metrics_of(scenario, has_pid, wire.acks)
    talks = scenario in {"fanout", "paced", "slow", "soak", "rooms", "durable"}
    return Plan(
        scenario=scenario,
        wire=wire.name,
        connect=None if ours else _address(options["--connect"]),
        server_pid=_whole(options, "--server-pid", 0) if options["--server-pid"] is not None else None,
        clients=clients,
        rooms=_rooms(options) if scenario == "rooms" else 0,
        senders=_whole(options, "--senders", 1) if talks else 0,
        window=_window(options, defaults, wire),
        rate=_real(options, "--rate", defaults.rate, 0.001) if defaults.rate else 0.0,
        payload=_payload(options, wire),
        duration=_real(options, "--duration", defaults.duration, 0.1),
        ramp=_real(options, "--ramp", 0.5, 0.0),
        connect_rate=_real(options, "--connect-rate", defaults.connect_rate, 0.0),
        processes=min(_whole(options, "--processes", 1), clients),
        stalled=stalled,
        roster=not options["--no-roster"],
        history=options["--history"] or scenario == "durable",
        conditions=tuple(Condition.parse(expression, names) for expression in options["--fail-if"]),
        pins=Pinning() if options["--no-pin"] else pinning(),
    )


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
            result = Run(plan, lambda: bool(stopped), progress.say, progress.show).run()
    finally:
        os.sched_setaffinity(0, cores)
        for number, handler in before.items():
            signal.signal(number, handler)
    return _report(plan, result, options, command)


def _report(plan: Plan, result: Result, options: dict[str, Any], command: list[str]) -> int:
    machine = describe_machine(plan.pins)
    if result.metrics:
        print(text(plan, result, machine), flush=True)
    words = document(plan, result, machine, [shlex.quote(word) for word in command])
    if options["--json"]:
        write_json(options["--json"], words)
    if options["--csv"]:
        write_csv(options["--csv"], plan, result.metrics, machine["date"])
    if options["--html"]:
        write(options["--html"], page(words))
    if result.failure is not None:
        return _fail(result.failure, 1)
    fired = [condition for condition in plan.conditions if condition.fires(result.metrics)]
    for condition in fired:
        value = result.metrics.get(condition.name)
        shown = "not measured" if value is None else number(condition.name, value)
        print(f"failed: {condition.text} ({condition.name} is {shown})")
    if result.interrupted:
        return 130
    return 3 if fired else 0


def _wire(options: dict[str, Any]) -> Wire:
    scenario = options["SCENARIO"]
    name: str = options["--wire"] or ("selchat" if scenario in {"rooms", "durable"} else "classic")
    if name not in WIRES:
        raise PlanError(f"--wire: {name!r} is none of {', '.join(WIRES)}")
    if scenario == "rooms" and name == "classic":
        raise PlanError("--wire: the classic wire has no rooms")
    return WIRES[name]


def _payload(options: dict[str, Any], wire: Wire) -> int:
    if options["--delivery"] is not None:
        return _payload_of_deliveries(options, wire)
    payload = _whole(options, "--payload", 64, MIN_PAYLOAD)
    most = _most_payload(wire)
    if payload > most:
        raise PlanError(f"--payload: {payload} is over the {most} bytes that a server takes")
    return payload


def _payload_of_deliveries(options: dict[str, Any], wire: Wire) -> int:
    if options["--payload"] is not None:
        raise PlanError("--delivery: instead of --payload, not with it")
    room = room_name("run", 0) if options["SCENARIO"] == "rooms" else LOBBY
    least, most = (wire.relayed(size, room) for size in (MIN_PAYLOAD, _most_payload(wire)))
    wanted = _whole(options, "--delivery", 0)
    payload = wire.payload_for(wanted, room) if wanted <= most else None
    if payload is None:
        raise PlanError(
            f"--delivery: on the {wire.name} wire there is none of {wanted} bytes; {least} to {most}"
        )
    return payload


def _most_payload(wire: Wire) -> int:
    return Settings().frame_limit - (SELCHAT_ENVELOPE if wire.acks else 0)


def _window(options: dict[str, Any], defaults: _Defaults, wire: Wire) -> int:
    window = _whole(options, "--window", defaults.window) if defaults.rate == 0 else 1
    most = Settings().unacknowledged
    if wire.acks and window > most:
        raise PlanError(f"--window: {window} are more than the {most} messages that may wait for acks")
    return window


def _rooms(options: dict[str, Any]) -> int:
    rooms = _whole(options, "--rooms", 100)
    most = Settings().rooms_limit - 1  # and the lobby
    if rooms > most:
        raise PlanError(f"--rooms: {rooms} are more than the {most} that a server takes")
    return rooms


def _whole(options: dict[str, Any], name: str, default: int, least: int = 1) -> int:
    text = options[name]
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or int(text) < least:
        raise PlanError(f"{name}: {text!r} is not a whole number of {least} or more")
    return int(text)


def _real(options: dict[str, Any], name: str, default: float, least: float) -> float:
    text = options[name]
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not least <= value < 1e9:
        raise PlanError(f"{name}: {text!r} is not a number of {least:g} or more")
    return value


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise PlanError(f"--connect: {text!r} is not HOST:PORT")
    import socket  # here, because only this looks names up

    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise BenchError(f"{host}: no such host") from None
    return found[0][4][0], int(port)  # type: ignore[return-value]


def _check_writable(name: str, path: str | None) -> None:
    """Better now than after ten minutes of measuring."""
    if path is None:
        return
    folder = Path(path).parent
    if Path(path).is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise PlanError(f"{name}: {path} cannot be written")


def _complaint(error: docopt.DocoptExit) -> str:
    """Return what is wrong with the arguments, without the usage text that docopt puts below it."""
    # Of this pattern docopt-ng tells what it could not match in the text alone.
    if found := re.search(r"\[Option\(\S+ '(-[^']*)'", str(error)):
        return f"unknown option {found[1]}, or given twice"
    if found := re.search(r"\[Argument\(None, '([^']*)'", str(error)):
        return f"unexpected argument {found[1]!r}"
    first = str(error).partition("\n")[0]
    return "a scenario is missing" if first.startswith("Usage:") else first


def _fail(message: str, status: int) -> int:
    print(f"selchat-bench: {escape_controls(message)}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
