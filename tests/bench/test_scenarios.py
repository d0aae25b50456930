"""Every scenario on every wire, with a real server, floor and load generators. No timing is asserted."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from selchat.bench.cli import main
from selchat.bench.metrics import DEFECTS, metrics_of
from tests.bench.support import QUICK

SCENARIOS = [
    ("fanout", ["--senders=2", "--window=8", "--processes=2"]),
    ("everyone", ["--window=2"]),
    ("paced", ["--rate=300", "--senders=2"]),
    ("soak", ["--rate=100", "--no-roster"]),
    ("slow", ["--stalled=2", "--rate=200"]),
    ("churn", ["--connect-rate=200"]),
    ("idle", []),
    ("connect", ["--processes=2"]),
    ("durable", ["--window=8"]),
]
ROOMS = ("rooms", ["--rooms=3", "--senders=2", "--window=4", "--processes=2"])
ON_EVERY_WIRE = [
    *(("classic", *each) for each in SCENARIOS),
    *(("selchat", *each) for each in (*SCENARIOS, ROOMS)),
    # WebSockets differ in login, leaving, stalled readers, and acks between messages.
    *(("websocket", *each) for each in SCENARIOS if each[0] in {"fanout", "everyone", "slow", "churn"}),
    ("websocket", "rooms", ["--rooms=3", "--senders=2", "--window=4", "--delivery=300"]),
]
WITH_HISTORY = [
    ("selchat", "rooms", ["--rooms=1", "--history"]),
    ("selchat", "everyone", ["--window=2", "--processes=2", "--history"]),
]


@pytest.mark.parametrize(("wire", "scenario", "options"), ON_EVERY_WIRE)
def test_every_scenario_measures_all_of_its_metrics(
    wire: str, scenario: str, options: list[str], tmp_path: Path
) -> None:
    check_run(wire, scenario, [*QUICK, *options], tmp_path / "it.json")


@pytest.mark.slow
@pytest.mark.parametrize(("wire", "scenario", "options"), [*ON_EVERY_WIRE, *WITH_HISTORY])
def test_longer_runs_measure_all_of_their_metrics(
    wire: str, scenario: str, options: list[str], tmp_path: Path
) -> None:
    check_run(wire, scenario, ["--clients=6", "--duration=1", "--ramp=0.2", *options], tmp_path / "it.json")


def check_run(wire: str, scenario: str, options: list[str], path: Path) -> None:
    cores = os.sched_getaffinity(0)
    assert main([scenario, f"--wire={wire}", *options, f"--json={path}"]) == 0
    metrics = json.loads(path.read_text())["metrics"]
    assert set(metrics) == set(metrics_of(scenario, True, wire != "classic"))
    for name in (*DEFECTS, "refused"):
        assert metrics.get(name, 0) == 0
    if "acked_per_s" in metrics:
        assert metrics["acked_per_s"] == metrics["messages_per_s"] > 0
    assert os.sched_getaffinity(0) == cores
