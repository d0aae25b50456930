"""Metrics of each scenario, and the expressions of ``--fail-if``."""

from __future__ import annotations

import pytest

from selchat.bench.errors import PlanError
from selchat.bench.metrics import METRICS, SCENARIOS, Condition, metrics_of


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("p99_ms>20", 20.1, True),
        ("p99_ms>20", 20.0, False),
        (" p99_ms >= 2e1 ", 20.0, True),
        ("p99_ms<1", 0.5, True),
        ("p99_ms<=1", 1.5, False),
        ("p99_ms==1", 1.0, True),
        ("p99_ms!=1", 1.0, False),
        ("p99_ms>-1", 0.0, True),
    ],
)
def test_condition_compares_the_metric(text: str, value: float, expected: bool) -> None:
    condition = Condition.parse(text, ["p99_ms"])
    assert condition.holds({"p99_ms": value}) is expected


def test_condition_holds_if_the_metric_is_missing() -> None:
    assert Condition.parse("p99_ms>20", ["p99_ms"]).holds({})


@pytest.mark.parametrize("text", ["", "p99_ms", "p99_ms>", "p99_ms=1", ">1", "p99_ms>x", "p99_ms>nan", "1>2"])
def test_malformed_expression_is_rejected(text: str) -> None:
    with pytest.raises(PlanError, match="is not NAME OPERATOR NUMBER"):
        Condition.parse(text, ["p99_ms"])


def test_unknown_metric_lists_the_known_ones() -> None:
    with pytest.raises(PlanError, match=r"'nix' is not measured here; choose one of p50_ms, lost"):
        Condition.parse("nix>1", ["p50_ms", "lost"])


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenarios_have_only_known_metrics(scenario: str) -> None:
    names = metrics_of(scenario, True)
    assert set(names) <= set(METRICS)
    assert set(metrics_of(scenario, False)) < set(names)
    assert "cpu_percent" not in metrics_of(scenario, False)
    assert not [name for name in names if "ack" in name]
    with_acks = metrics_of(scenario, True, acks=True)
    assert set(names) <= set(with_acks) <= set(METRICS)
    assert ("ack_p99_ms" in with_acks) is (scenario not in {"idle", "connect", "churn"})
