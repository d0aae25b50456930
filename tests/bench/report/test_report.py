"""Text, JSON, CSV and HTML reports of an invented result."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from selchat.bench.errors import BenchError
from selchat.bench.histogram import Histogram
from selchat.bench.plan import Plan
from selchat.bench.report.files import SCHEMA, make_document, write_csv, write_json, write_text
from selchat.bench.report.html import format_html
from selchat.bench.report.text import format_text
from selchat.bench.results import Result
from selchat.bench.system.proc import Pinning, describe_machine

PLAN = Plan(scenario="fanout", clients=10)
MACHINE = describe_machine(Pinning(frozenset({1}), frozenset({0})))


def make_result(**changes: Any) -> Result:
    latencies = Histogram()
    for microseconds in (90, 110, 4000, 70_000):
        latencies.add(microseconds)
    fields: dict[str, Any] = {
        "metrics": {
            "p50_ms": 0.11,
            "floor_p50_ms": 0.1,
            "p50_ratio": 1.1,
            "lost": 0,
            "deliveries_per_s": 1e6,
        },
        "latencies": latencies,
        "last_latencies": latencies,
        "ack_latencies": Histogram(),
        "floor_latencies": Histogram(),
        "floor_last_latencies": Histogram(),
        "timeline": [(0.5, 1000.0, 0.2), (1.0, 2000.0, 0.3)],
        "notes": ["checked: <everything>"],
        "warnings": ["the load generator was the bottleneck & more"],
        "failure": None,
        "interrupted": False,
    }
    return Result(**(fields | changes))


def result_with_acks() -> Result:
    return make_result(ack_latencies=make_result().latencies)


def test_text_report_has_a_line_for_each_metric() -> None:
    report = format_text(PLAN, make_result(), MACHINE)
    assert "p50_ms                           0.110   floor 0.100   ratio 1.100" in report
    assert "deliveries_per_s             1,000,000" in report
    assert "\nwarning: the load generator was the bottleneck & more" in report
    assert "interrupted" not in report


def test_text_report_of_an_interrupted_run_says_so() -> None:
    last_line = format_text(PLAN, make_result(interrupted=True), MACHINE).splitlines()[-1]
    assert last_line == "interrupted: the figures cover the run up to that point"


def test_json_report_has_metrics_machine_and_curves(tmp_path: Path) -> None:
    write_json(
        str(tmp_path / "it.json"), make_document(PLAN, make_result(), MACHINE, ["selchat-bench", "fanout"])
    )
    loaded = json.loads((tmp_path / "it.json").read_text())
    assert loaded["schema"] == SCHEMA
    assert loaded["metrics"]["p50_ms"] == 0.11
    assert loaded["machine"]["server_cores"] == [1]
    assert loaded["curves"]["latency"][-1] == [100.0, pytest.approx(70, rel=0.01)]
    assert set(loaded["curves"]) == {"latency", "last"}
    with_acks = make_document(PLAN, result_with_acks(), MACHINE, [])
    assert set(with_acks["curves"]) == {"latency", "last", "ack"}


def test_csv_report_appends_a_row_for_each_run(tmp_path: Path) -> None:
    path = tmp_path / "it.csv"
    for _ in range(2):
        write_csv(str(path), PLAN, make_result().metrics, "today")
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["scenario"] for row in rows] == ["fanout", "fanout"]
    assert rows[0]["p50_ms"] == "0.11"
    assert rows[0]["rss_mib"] == ""


def test_html_page_is_well_formed_and_self_contained() -> None:
    page = format_html(make_document(PLAN, result_with_acks(), MACHINE, ["selchat-bench", "<fanout>"]))
    root = ET.fromstring(page.partition("\n")[2])
    drawings = list(root.iter("svg"))
    assert len(drawings) == 3
    assert [len(list(drawing.iter("polyline"))) for drawing in drawings] == [3, 1, 1]
    assert ">acknowledged<" in page
    assert "http" not in page
    assert "prefers-color-scheme: dark" in page
    assert "checked: &lt;everything&gt;" in page


@pytest.mark.parametrize(
    "changes",
    [
        {"latencies": Histogram(), "last_latencies": Histogram(), "timeline": [], "metrics": {}},
        {"timeline": [(0.0, 0.0, 0.0)]},
    ],
    ids=["no measurements", "one point at zero"],
)
def test_html_page_of_an_almost_empty_result_is_well_formed(changes: dict[str, Any]) -> None:
    page = format_html(make_document(PLAN, make_result(**changes), MACHINE, []))
    ET.fromstring(page.partition("\n")[2])


def test_unwritable_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"cannot write .*: is a directory"):
        write_text(str(tmp_path), "x")
    with pytest.raises(BenchError, match=r"cannot write .*: is a directory"):
        write_csv(str(tmp_path), PLAN, {}, "today")
