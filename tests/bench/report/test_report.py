"""Text, JSON, CSV and the page, from a made-up result."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from selchat.bench.errors import BenchError
from selchat.bench.histogram import Histogram
from selchat.bench.report.html import page
from selchat.bench.report.text import SCHEMA, document, text, write, write_csv, write_json
from selchat.bench.scenarios import Plan, Result
from selchat.bench.system.proc import Pinning, describe_machine

PLAN = Plan(scenario="fanout", clients=10)
MACHINE = describe_machine(Pinning(frozenset({1}), frozenset({0})))


def result(**changes: Any) -> Result:
    latencies = Histogram()
    for microseconds in (90, 110, 4000, 70_000):
        latencies.add(microseconds)
    words: dict[str, Any] = {
        "metrics": {
            "p50_ms": 0.11,
            "floor_p50_ms": 0.1,
            "p50_ratio": 1.1,
            "lost": 0,
            "deliveries_per_s": 1e6,
        },
        "latencies": latencies,
        "last": latencies,
        "acks": Histogram(),
        "floor": Histogram(),
        "floor_last": Histogram(),
        "timeline": [(0.5, 1000.0, 0.2), (1.0, 2000.0, 0.3)],
        "notes": ["checked: <everything>"],
        "warnings": ["the generator was the bottleneck & more"],
        "failure": None,
        "interrupted": False,
    }
    return Result(**(words | changes))


def test_text() -> None:
    words = text(PLAN, result(), MACHINE)
    assert "p50_ms                           0.110   floor 0.100   ratio 1.100" in words
    assert "deliveries_per_s             1,000,000" in words
    assert "\nwarning: the generator was the bottleneck & more" in words
    assert "interrupted" not in words
    assert text(PLAN, result(interrupted=True), MACHINE).endswith("figures up to then")


def test_json(tmp_path: Path) -> None:
    words = document(PLAN, result(), MACHINE, ["selchat-bench", "fanout"])
    write_json(str(tmp_path / "it.json"), words)
    again = json.loads((tmp_path / "it.json").read_text())
    assert again["schema"] == SCHEMA
    assert again["metrics"]["p50_ms"] == 0.11
    assert again["machine"]["server_cores"] == [1]
    assert again["curves"]["latency"][-1] == [100.0, pytest.approx(70, rel=0.01)]
    assert set(again["curves"]) == {"latency", "last"}
    assert set(document(PLAN, result(acks=result().last), MACHINE, [])["curves"]) == {
        "latency",
        "last",
        "ack",
    }


def test_csv_adds_up(tmp_path: Path) -> None:
    path = tmp_path / "it.csv"
    for _ in range(2):
        write_csv(str(path), PLAN, result().metrics, "today")
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["scenario"] for row in rows] == ["fanout", "fanout"]
    assert rows[0]["p50_ms"] == "0.11"
    assert rows[0]["rss_mib"] == ""


def test_the_page_is_well_formed_and_needs_nothing_else() -> None:
    words = page(document(PLAN, result(acks=result().last), MACHINE, ["selchat-bench", "<fanout>"]))
    root = ET.fromstring(words.partition("\n")[2])
    drawings = list(root.iter("svg"))
    assert len(drawings) == 3
    assert [len(list(drawing.iter("polyline"))) for drawing in drawings] == [3, 1, 1]
    assert ">acknowledged<" in words
    assert "http" not in words
    assert "prefers-color-scheme: dark" in words
    assert "checked: &lt;everything&gt;" in words


@pytest.mark.parametrize(
    "changes",
    [
        {"latencies": Histogram(), "last": Histogram(), "timeline": [], "metrics": {}},
        {"timeline": [(0.0, 0.0, 0.0)]},
    ],
)
def test_the_page_of_next_to_nothing(changes: dict[str, Any]) -> None:
    ET.fromstring(page(document(PLAN, result(**changes), MACHINE, [])).partition("\n")[2])


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="cannot be written: is a directory"):
        write(str(tmp_path), "x")
    with pytest.raises(BenchError, match="cannot be written: is a directory"):
        write_csv(str(tmp_path), PLAN, {}, "today")
