"""Metrics: their names in ``--json``, ``--fail-if`` and the report, and the scenarios that measure them."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from selchat.bench.errors import PlanError

METRICS: dict[str, str] = {
    "messages_per_s": "messages sent a second",
    "deliveries_per_s": "messages received a second, by all readers together",
    "mib_per_s": "MiB received a second, by all readers together",
    "p50_ms": "from the (intended) send to the delivery",
    "p90_ms": "",
    "p95_ms": "",
    "p99_ms": "",
    "p99_9_ms": "",
    "max_ms": "",
    "last_p50_ms": "from the send until the last receiver has the message",
    "last_p90_ms": "",
    "last_p95_ms": "",
    "last_p99_ms": "",
    "last_p99_9_ms": "",
    "last_max_ms": "",
    "acked_per_s": "messages acknowledged a second",
    "ack_p50_ms": "from the (intended) send to the ack",
    "ack_p99_ms": "",
    "ack_max_ms": "",
    "late_p99_ms": "delay of the load generator behind its schedule",
    "lost": "deliveries that did not arrive",
    "duplicated": "deliveries that arrived again",
    "reordered": "deliveries that arrived after a later one of the same sender",
    "diverged": "readers whose bytes differed from the other readers'",
    "misnumbered": "deliveries whose seq did not follow the last one of their room",
    "acks_lost": "messages without an ack",
    "acks_duplicated": "acks that arrived again",
    "acks_wrong": "acks whose seq differed from the one that the readers got",
    "chunk_messages": "messages in one data segment, and so in one send of the server",
    "cpu_us_per_delivery": "CPU time of the server",
    "cpu_percent": "of one core, used by the server",
    "waited_percent": "of the time, for which the server waited for its core while other processes used it",
    "rss_mib": "memory of the server at the end",
    "rss_growth_mib": "growth of the server's memory during the measurement",
    "fds_growth": "growth of the server's open descriptors during the measurement",
    "generator_cpu_percent": "of one core, used by the busiest load generator",
    "floor_cpu_us_per_delivery": "CPU time of a bare loop of sends: the same chunks to as many sockets",
    "floor_deliveries_per_s": "",
    "floor_p50_ms": "",
    "floor_p99_ms": "",
    "floor_last_p50_ms": "",
    "floor_last_p99_ms": "",
    "cpu_ratio": "CPU per delivery, server / floor, median of the rounds",
    "deliveries_ratio": "deliveries/s, server / floor, median of the rounds",
    "p50_ratio": "latency, server / floor, median of the rounds",
    "p99_ratio": "",
    "last_p50_ratio": "until the last receiver has the message, server / floor, median of the rounds",
    "connections": "clients with a proof of their login",
    "refused": "connections that the server refused or closed",
    "joins_per_s": "logins a second, from the first connect until each client has a proof",
    "handshake_p50_ms": "TCP handshake, with the WebSocket handshake if there is one",
    "handshake_p99_ms": "",
    "handshake_max_ms": "1,000 ms and more: the backlog was full",
    "cpu_us_per_join": "CPU time of the server",
    "bytes_per_connection": "growth of the server's memory (RSS) with each connection",
    "lives_per_s": "clients that connected, sent messages and left, each second",
    "durable_ratio": "deliveries/s, with history / without, median of the rounds",
    "without_messages_per_s": "the same load without history",
    "without_deliveries_per_s": "",
    "stalled_closed": "stalled readers that the server closed by the end of a round, in the worst round",
    "without_p50_ms": "the same readers, without stalled ones or without history",
    "without_p99_ms": "",
    "without_ack_p99_ms": "",
    "without_cpu_us_per_delivery": "",
    "stalled_p50_ratio": "with stalled readers / without, median of the rounds",
    "stalled_p99_ratio": "",
}

_LATENCY = {"p50_ms", "p90_ms", "p95_ms", "p99_ms", "p99_9_ms", "max_ms"}
_LAST = {f"last_{name}" for name in _LATENCY}
_DELIVERY_DEFECTS = ("lost", "duplicated", "reordered", "diverged")
_ACK_DEFECTS = ("misnumbered", "acks_lost", "acks_duplicated", "acks_wrong")
DEFECTS = (*_DELIVERY_DEFECTS, *_ACK_DEFECTS)
_FLOW = {"messages_per_s", "deliveries_per_s", "mib_per_s", "generator_cpu_percent", "chunk_messages"}
_SERVER = {"cpu_us_per_delivery", "cpu_percent", "waited_percent", "rss_mib", "rss_growth_mib", "fds_growth"}
_FLOOR = {
    "floor_cpu_us_per_delivery",
    "floor_deliveries_per_s",
    "floor_p50_ms",
    "floor_p99_ms",
    "deliveries_ratio",
    "p50_ratio",
    "p99_ratio",
}
_FLOOR_LAST = {"floor_last_p50_ms", "floor_last_p99_ms", "last_p50_ratio"}
_JOIN = {"connections", "refused", "joins_per_s", "handshake_p50_ms", "handshake_p99_ms", "handshake_max_ms"}

_LOAD = _FLOW | _LATENCY | {*_DELIVERY_DEFECTS} | _JOIN
_STALLED = {"stalled_closed", "without_p50_ms", "without_p99_ms", "stalled_p50_ratio", "stalled_p99_ratio"}
_WITHOUT = {
    "durable_ratio",
    "without_messages_per_s",
    "without_deliveries_per_s",
    "without_p50_ms",
    "without_p99_ms",
    "without_cpu_us_per_delivery",
}
_ACKS = {"acked_per_s", "ack_p50_ms", "ack_p99_ms", "ack_max_ms", *_ACK_DEFECTS}
_WITHOUT_MESSAGES = {"idle", "connect"}
_FLOOR_SPEED = {"floor_deliveries_per_s", "deliveries_ratio", "floor_cpu_us_per_delivery", "cpu_ratio"}
_BY_SCENARIO: dict[str, set[str]] = {
    "fanout": _LOAD | _LAST | _SERVER | _FLOOR | _FLOOR_LAST | {"cpu_ratio"},
    "everyone": _LOAD | _LAST | _SERVER | _FLOOR | _FLOOR_LAST | {"cpu_ratio"},
    "durable": _LOAD | _LAST | _SERVER | _WITHOUT,
    "rooms": _LOAD | _LAST | _SERVER | _FLOOR_SPEED,
    "paced": _LOAD | {"late_p99_ms"} | _SERVER | _FLOOR | {"cpu_ratio"},
    "soak": _LOAD | {"late_p99_ms"} | _SERVER | _FLOOR | {"cpu_ratio"},
    "slow": _LOAD | {"late_p99_ms"} | _SERVER | _STALLED,
    "churn": _LOAD | {"lives_per_s"} | _SERVER,
    "idle": _JOIN
    | {
        "generator_cpu_percent",
        "bytes_per_connection",
        "cpu_percent",
        "waited_percent",
        "rss_mib",
        "rss_growth_mib",
        "fds_growth",
    },
    "connect": _JOIN | {"cpu_us_per_join", "waited_percent", "rss_mib", "generator_cpu_percent"},
}
_NEEDS_PID = _SERVER | {"stalled_closed", "cpu_ratio", "cpu_us_per_join", "bytes_per_connection"}
_NEEDS_PID |= {"without_cpu_us_per_delivery"}

SCENARIOS = tuple(_BY_SCENARIO)


def metrics_of(scenario: str, has_pid: bool, acks: bool = False) -> list[str]:
    """Return the names of the metrics of that scenario, in the order of the report.

    ``has_pid``: the server's process can be measured. ``acks``: the wire has acks.
    """
    names = _BY_SCENARIO[scenario] - (set() if has_pid else _NEEDS_PID)
    if acks and scenario == "churn":
        names |= {"misnumbered"}
    elif acks and scenario not in _WITHOUT_MESSAGES:
        names |= _ACKS
        if scenario == "durable":
            names |= {"without_ack_p99_ms"}
    return [name for name in METRICS if name in names]


_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_EXPRESSION = re.compile(r"\s*([a-z]\w*)\s*(>=|<=|==|!=|>|<)\s*([-+\w.]+)\s*")


@dataclass(frozen=True, slots=True)
class Condition:
    """One ``--fail-if``: a metric, an operator and a number."""

    text: str
    name: str
    operator: str
    bound: float

    @classmethod
    def parse(cls, text: str, names: Collection[str]) -> Condition:
        """Parse the expression. Raises `PlanError` if it is malformed or its metric is not in ``names``."""
        found = _EXPRESSION.fullmatch(text)
        try:
            bound = float(found[3]) if found else math.nan
        except ValueError:
            bound = math.nan
        if found is None or math.isnan(bound):
            raise PlanError(f"--fail-if: {text!r} is not NAME OPERATOR NUMBER, for example 'p99_ms>20'")
        if found[1] not in names:
            raise PlanError(f"--fail-if: {found[1]!r} is not measured here; choose one of {', '.join(names)}")
        return cls(text.strip(), found[1], found[2], bound)

    def holds(self, metrics: Mapping[str, float]) -> bool:
        """Return whether the condition holds. It also holds if the metric could not be measured."""
        value = metrics.get(self.name)
        return value is None or _OPERATORS[self.operator](value, self.bound)
