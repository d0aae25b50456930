"""The names of the figures: what ``--json`` holds, ``--fail-if`` takes and the report prints."""

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
    "mib_per_s": "received by all readers together",
    "p50_ms": "from the (intended) send to the delivery",
    "p90_ms": "",
    "p95_ms": "",
    "p99_ms": "",
    "p99_9_ms": "",
    "max_ms": "",
    "last_p50_ms": "from the send until the last receiver has it",
    "last_p90_ms": "",
    "last_p95_ms": "",
    "last_p99_ms": "",
    "last_p99_9_ms": "",
    "last_max_ms": "",
    "acked_per_s": "messages a second of which the author was told that they are stored",
    "ack_p50_ms": "from the (intended) send to that",
    "ack_p99_ms": "",
    "ack_max_ms": "",
    "late_p99_ms": "how far the generator was behind its schedule",
    "lost": "deliveries that did not come",
    "duplicated": "deliveries that came again",
    "reordered": "deliveries that came after a later one of the same sender",
    "diverged": "readers whose bytes were not those of the others",
    "misnumbered": "deliveries whose seq was not the one after the last of their room",
    "acks_lost": "messages whose author was not told",
    "acks_duplicated": "acks that came again",
    "acks_wrong": "acks with another seq than the message had at the readers",
    "chunk_messages": "messages in one data segment, so in one send of the server",
    "cpu_us_per_delivery": "of the server",
    "cpu_percent": "of one core, by the server",
    "waited_percent": "of the time, in which the server waited for its core, because others used it",
    "rss_mib": "the server's memory at the end",
    "rss_growth_mib": "of the server, from the beginning of the measuring to its end",
    "fds_growth": "descriptors of the server, likewise",
    "generator_cpu_percent": "of one core, by the busiest generator",
    "floor_cpu_us_per_delivery": "of a bare loop of sends of the same chunks to as many sockets",
    "floor_deliveries_per_s": "",
    "floor_p50_ms": "",
    "floor_p99_ms": "",
    "floor_last_p50_ms": "",
    "floor_last_p99_ms": "",
    "cpu_ratio": "CPU per delivery, server / floor, median of the rounds",
    "deliveries_ratio": "deliveries/s, server / floor, median of the rounds",
    "p50_ratio": "latency, server / floor, median of the rounds",
    "p99_ratio": "",
    "last_p50_ratio": "until the last receiver has it, server / floor, median of the rounds",
    "connections": "that got proof that they were in",
    "refused": "connections that were closed or refused",
    "joins_per_s": "connections, from the first connect until each has proof that it is in",
    "handshake_p50_ms": "TCP handshake, and on the WebSocket its own",
    "handshake_p99_ms": "",
    "handshake_max_ms": "1,000 ms and more: the backlog was full",
    "cpu_us_per_join": "of the server",
    "bytes_per_connection": "server memory (RSS) with the connections, less that before",
    "lives_per_s": "clients that came, talked and left",
    "durable_ratio": "deliveries/s, with history / without, median of the rounds",
    "without_messages_per_s": "the same load without history",
    "without_deliveries_per_s": "",
    "stalled_closed": "stalled readers that the server had closed by the end of a round, in the worst one",
    "without_p50_ms": "the same readers, without the stalled, or without history",
    "without_p99_ms": "",
    "without_ack_p99_ms": "",
    "without_cpu_us_per_delivery": "",
    "stalled_p50_ratio": "with the stalled / without, median of the rounds",
    "stalled_p99_ratio": "",
}

_LATENCY = {"p50_ms", "p90_ms", "p95_ms", "p99_ms", "p99_9_ms", "max_ms"}
_LAST = {f"last_{name}" for name in _LATENCY}
_DELIVERED = ("lost", "duplicated", "reordered", "diverged")
_ACKED = ("misnumbered", "acks_lost", "acks_duplicated", "acks_wrong")
CHECKED = (*_DELIVERED, *_ACKED)  # of which there should be none
_CHECKS = {*_DELIVERED}
_FLOW = {"messages_per_s", "deliveries_per_s", "mib_per_s", "generator_cpu_percent", "chunk_messages"}
_SERVER = {"cpu_us_per_delivery", "cpu_percent", "waited_percent", "rss_mib", "rss_growth_mib", "fds_growth"}
_FLOOR = {
    "floor_deliveries_per_s",
    "floor_p50_ms",
    "floor_p99_ms",
    "deliveries_ratio",
    "p50_ratio",
    "p99_ratio",
}
_FLOOR |= {"floor_cpu_us_per_delivery"}
_FLOOR_LAST = {"floor_last_p50_ms", "floor_last_p99_ms", "last_p50_ratio"}
_JOIN = {"connections", "refused", "joins_per_s", "handshake_p50_ms", "handshake_p99_ms", "handshake_max_ms"}

_LOAD = _FLOW | _LATENCY | _CHECKS | _JOIN
_STALLED = {"stalled_closed", "without_p50_ms", "without_p99_ms", "stalled_p50_ratio", "stalled_p99_ratio"}
_WITHOUT = {
    "durable_ratio",
    "without_messages_per_s",
    "without_deliveries_per_s",
    "without_p50_ms",
    "without_p99_ms",
    "without_cpu_us_per_delivery",
}
_ACKS = {"acked_per_s", "ack_p50_ms", "ack_p99_ms", "ack_max_ms"}
_ACKS |= {*_ACKED}
_NO_ACKS = {"idle", "connect"}  # nobody says anything
_FLOOR_SPEED = {"floor_deliveries_per_s", "deliveries_ratio", "floor_cpu_us_per_delivery", "cpu_ratio"}
_OF_SCENARIO: dict[str, set[str]] = {
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
_NEED_PID = _SERVER | {"stalled_closed", "cpu_ratio", "cpu_us_per_join", "bytes_per_connection"}
_NEED_PID |= {"without_cpu_us_per_delivery"}

SCENARIOS = tuple(_OF_SCENARIO)


def metrics_of(scenario: str, has_pid: bool, acks: bool = False) -> list[str]:
    """Return the names of what that scenario measures.

    Without a PID, nothing is known of the server; ``acks``: on a wire that has them.
    """
    names = _OF_SCENARIO[scenario] - (set() if has_pid else _NEED_PID)
    if acks and scenario == "churn":
        names |= {"misnumbered"}
    elif acks and scenario not in _NO_ACKS:
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
    """One ``--fail-if``."""

    text: str
    name: str
    operator: str
    bound: float

    @classmethod
    def parse(cls, text: str, names: Collection[str]) -> Condition:
        """Raises `PlanError` for what is no expression, or names none of these metrics."""
        found = _EXPRESSION.fullmatch(text)
        try:
            bound = float(found[3]) if found else math.nan
        except ValueError:
            bound = math.nan
        if found is None or math.isnan(bound):
            raise PlanError(f"--fail-if: {text!r} is not NAME OPERATOR NUMBER, such as 'p99_ms>20'")
        if found[1] not in names:
            raise PlanError(f"--fail-if: {found[1]!r} is not measured here; these are: {', '.join(names)}")
        return cls(text.strip(), found[1], found[2], bound)

    def fires(self, metrics: Mapping[str, float]) -> bool:
        """Whether it holds. What could not be measured after all fails too: nobody knows that it is good."""
        value = metrics.get(self.name)
        return value is None or _OPERATORS[self.operator](value, self.bound)
