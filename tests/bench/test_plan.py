"""Options become a plan, with defaults that depend on the scenario."""

from __future__ import annotations

import docopt
import pytest

from selchat.bench.cli import USAGE
from selchat.bench.errors import PlanError
from selchat.bench.plan import Plan, check_descriptors, make_plan
from selchat.bench.wires.wire import WIRES


def plan(*arguments: str) -> Plan:
    return make_plan(docopt.docopt(USAGE, list(arguments), default_help=False))


def test_defaults_depend_on_the_scenario() -> None:
    assert plan("fanout").window == 256
    assert plan("everyone").senders == 0
    assert plan("paced", "--rate=7.5").rate == 7.5
    assert plan("slow", "--clients=50").stalled == 5
    assert plan("connect").connect_rate == 0
    assert plan("fanout").wire == "classic"
    assert plan("rooms").wire == plan("durable").wire == "selchat"
    assert plan("rooms").rooms == 100
    assert plan("rooms", "--rooms=7").rooms == 7
    assert plan("fanout").rooms == 0
    assert plan("durable").history
    assert not plan("paced").history
    assert plan("paced", "--history").history
    assert plan("fanout", "--connect=[::1]:33000").connect == ("::1", 33000)
    assert plan("fanout", "--no-pin").pins.server == frozenset()


def test_protocols_with_acks_have_ack_metrics() -> None:
    assert plan("fanout", "--wire=selchat", "--fail-if=ack_p99_ms>25").conditions[0].name == "ack_p99_ms"
    assert plan("fanout", "--wire=websocket", "--fail-if=ack_p99_ms>25").wire == "websocket"


@pytest.mark.parametrize(
    ("scenario", "wire", "room"),
    [
        ("fanout", "classic", "lobby"),
        ("fanout", "websocket", "lobby"),
        ("rooms", "selchat", "abc-00007"),
    ],
)
def test_delivery_size_determines_the_payload(scenario: str, wire: str, room: str) -> None:
    payload = plan(scenario, f"--wire={wire}", "--delivery=250").payload
    assert WIRES[wire].delivery_size(payload, room) == 250


def test_descriptor_limit_bounds_the_connections() -> None:
    check_descriptors(Plan(scenario="idle", clients=900), limit=1000)
    with pytest.raises(PlanError, match="951 connections are more than the 936"):
        check_descriptors(Plan(scenario="idle", clients=950), limit=1000)
    two_processes = Plan(scenario="idle", clients=1800, processes=2, connect=("127.0.0.1", 1))
    check_descriptors(two_processes, limit=1000)
