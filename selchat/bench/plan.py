"""The plan of a run: command-line options, checked. Nothing has been started yet."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selchat.bench.errors import BenchError, PlanError
from selchat.bench.metrics import SCENARIOS, Condition, metrics_of
from selchat.bench.system.proc import LINUX, Pinning, choose_pinning, raise_descriptor_limit
from selchat.bench.wires.messages import LOBBY, MIN_PAYLOAD
from selchat.bench.wires.wire import SELCHAT_ENVELOPE, WIRES, Wire
from selchat.config.settings import Settings
from selchat.errors import brief

_SPARE_DESCRIPTORS = 64  # descriptors that a process needs for its own files


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One scenario with all of its parameters."""

    scenario: str
    wire: str = "classic"
    connect: tuple[str, int] | None = None
    server_pid: int | None = None
    clients: int  # in `rooms`: of each room, like the senders
    rooms: int = 0
    senders: int = 1
    rate: float = 0.0  # messages a second, by all senders together
    window: int = 1  # messages in flight for each sender
    payload: int = 64  # bytes
    duration: float = 10.0  # seconds
    ramp: float = 0.5  # seconds of load before the measurement
    connect_rate: float = 0.0  # connections a second; 0: as fast as possible
    processes: int = 1
    stalled: int = 0
    roster: bool = True
    history: bool = False
    conditions: tuple[Condition, ...] = ()
    pins: Pinning = field(default_factory=Pinning)

    @property
    def connections(self) -> int:
        """How many connections one server gets, without a few of the generators' own."""
        return max(1, self.rooms) * (self.clients + self.senders) + self.stalled

    def as_json(self) -> dict[str, Any]:
        """Return the parameters as they appear in ``--json`` and ``--csv``."""
        return {
            "wire": self.wire,
            "connect": list(self.connect) if self.connect else None,
            "rooms": self.rooms,
            "clients": self.clients,
            "senders": self.senders,
            "rate": self.rate,
            "window": self.window,
            "payload": self.payload,
            "duration": self.duration,
            "ramp": self.ramp,
            "connect_rate": self.connect_rate,
            "processes": self.processes,
            "stalled": self.stalled,
            "roster": self.roster,
            "history": self.history,
        }


@dataclass(frozen=True, slots=True)
class _Defaults:
    clients: int
    duration: float
    window: int = 1
    rate: float = 0.0
    connect_rate: float = 4000.0  # a backlog of 4,096 takes that many without dropping any


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


def make_plan(options: Mapping[str, Any]) -> Plan:
    """Check the options of the command line. Raises `PlanError`."""
    scenario = options["SCENARIO"]
    if scenario not in SCENARIOS:
        raise PlanError(f"unknown scenario {scenario!r}; choose one of {', '.join(SCENARIOS)}")
    if not LINUX:
        raise PlanError("selchat-bench needs Linux, because it uses epoll and /proc")
    defaults = _DEFAULTS[scenario]
    clients = _whole_number(options, "--clients", defaults.clients)
    own_server = options["--connect"] is None
    _check_server_options(options, own_server)
    wire = _wire(options)
    names = metrics_of(scenario, own_server or options["--server-pid"] is not None, wire.acks)
    has_senders = scenario in {"fanout", "paced", "slow", "soak", "rooms", "durable"}
    return Plan(
        scenario=scenario,
        wire=wire.name,
        connect=None if own_server else _resolve(options["--connect"]),
        server_pid=_whole_number(options, "--server-pid", 0) if options["--server-pid"] is not None else None,
        clients=clients,
        rooms=_rooms(options) if scenario == "rooms" else 0,
        senders=_whole_number(options, "--senders", 1) if has_senders else 0,
        window=_window(options, defaults, wire),
        rate=_number(options, "--rate", defaults.rate, 0.001) if defaults.rate else 0.0,
        payload=_payload(options, wire),
        duration=_number(options, "--duration", defaults.duration, 0.1),
        ramp=_number(options, "--ramp", 0.5, 0.0),
        connect_rate=_number(options, "--connect-rate", defaults.connect_rate, 0.0),
        processes=min(_whole_number(options, "--processes", 1), clients),
        stalled=_stalled(options, clients) if scenario == "slow" else 0,
        roster=not options["--no-roster"],
        history=options["--history"] or scenario == "durable",
        conditions=tuple(Condition.parse(expression, names) for expression in options["--fail-if"]),
        pins=Pinning() if options["--no-pin"] else choose_pinning(),
    )


def check_descriptors(plan: Plan, limit: int | None = None) -> None:
    """Raise `PlanError` if the connections of that plan exceed a process's limit of descriptors.

    ``limit``: that limit; by default the hard limit of this process.
    """
    available = (raise_descriptor_limit() if limit is None else limit) - _SPARE_DESCRIPTORS
    max_connections = available * (plan.processes if plan.scenario != "churn" else 1)
    if plan.connect is None or plan.scenario in {"fanout", "everyone", "paced", "soak", "rooms"}:
        max_connections = min(max_connections, available)  # the server and the floor are one process each
    if plan.connections > max_connections:
        raise PlanError(
            f"{plan.connections} connections are more than the {max_connections} that the limit of open "
            "files allows; raise it with ulimit -n, or use fewer --clients"
        )


def check_writable(name: str, path: str | None) -> None:
    """Raise `PlanError` if the file cannot be written: better now than after ten minutes of load."""
    if path is None:
        return
    folder = Path(path).parent
    if Path(path).is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise PlanError(f"{name}: cannot write {path}")


def room_name(run: str, number: int) -> str:
    """Return the name of a room in the scenario `rooms`."""
    return f"{run}-{number:05}"


def _check_server_options(options: Mapping[str, Any], own_server: bool) -> None:
    if own_server and options["--server-pid"] is not None:
        raise PlanError("--server-pid: needs --connect")
    if own_server:
        return
    if options["--no-roster"]:
        raise PlanError("--no-roster: cannot change the server of --connect")
    if options["--history"]:
        raise PlanError("--history: cannot change the server of --connect")
    if options["SCENARIO"] == "durable":
        raise PlanError("--connect: durable starts its own two servers, with history and without")


def _wire(options: Mapping[str, Any]) -> Wire:
    scenario = options["SCENARIO"]
    name: str = options["--wire"] or ("selchat" if scenario in {"rooms", "durable"} else "classic")
    if name not in WIRES:
        raise PlanError(f"--wire: unknown wire {name!r}; choose one of {', '.join(WIRES)}")
    if scenario == "rooms" and name == "classic":
        raise PlanError("--wire: the classic protocol has no rooms; use selchat or websocket")
    return WIRES[name]


def _payload(options: Mapping[str, Any], wire: Wire) -> int:
    if options["--delivery"] is not None:
        return _payload_of_delivery(options, wire)
    payload = _whole_number(options, "--payload", 64, MIN_PAYLOAD)
    limit = _max_payload(wire)
    if payload > limit:
        raise PlanError(f"--payload: {payload} is over the server's limit of {limit} bytes")
    return payload


def _payload_of_delivery(options: Mapping[str, Any], wire: Wire) -> int:
    if options["--payload"] is not None:
        raise PlanError("--delivery: use either --delivery or --payload")
    room = room_name("run", 0) if options["SCENARIO"] == "rooms" else LOBBY
    low, high = (wire.delivery_size(size, room) for size in (MIN_PAYLOAD, _max_payload(wire)))
    size = _whole_number(options, "--delivery", 0)
    payload = wire.payload_size_for(size, room) if size <= high else None
    if payload is None:
        raise PlanError(
            f"--delivery: the {wire.name} wire has no delivery of {size} bytes; choose {low} to {high}"
        )
    return payload


def _max_payload(wire: Wire) -> int:
    return Settings().frame_limit - (SELCHAT_ENVELOPE if wire.acks else 0)


def _window(options: Mapping[str, Any], defaults: _Defaults, wire: Wire) -> int:
    window = _whole_number(options, "--window", defaults.window) if defaults.rate == 0 else 1
    limit = Settings().unacknowledged
    if wire.acks and window > limit:
        raise PlanError(f"--window: {window} is over the server's limit of {limit} unacknowledged messages")
    return window


def _rooms(options: Mapping[str, Any]) -> int:
    rooms = _whole_number(options, "--rooms", 100)
    limit = Settings().rooms_limit - 1  # one is the lobby
    if rooms > limit:
        raise PlanError(f"--rooms: {rooms} is over the server's limit of {limit} rooms")
    return rooms


def _stalled(options: Mapping[str, Any], clients: int) -> int:
    stalled = _whole_number(options, "--stalled", max(1, clients // 10))
    if stalled >= clients:
        raise PlanError(f"--stalled: {stalled} of {clients} clients leaves no reader; use a smaller number")
    return stalled


def _whole_number(options: Mapping[str, Any], name: str, default: int, minimum: int = 1) -> int:
    text = options[name]
    if text is None:
        return default
    if not re.fullmatch("[0-9]{1,15}", text) or int(text) < minimum:
        raise PlanError(f"{name}: {brief(text)} is not a whole number of at least {minimum}")
    return int(text)


def _number(options: Mapping[str, Any], name: str, default: float, minimum: float) -> float:
    text = options[name]
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not minimum <= value < 1e9:
        raise PlanError(f"{name}: {brief(text)} is not a number of at least {minimum:g}")
    return value


def _resolve(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise PlanError(f"--connect: {brief(text)} is not HOST:PORT")
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise BenchError(f"{host}: no such host") from None
    return found[0][4][0], int(port)  # type: ignore[return-value]
