"""The expressions of ``--fail-if``."""

from __future__ import annotations

import pytest

from selchat.bench.errors import PlanError
from selchat.bench.metrics import METRICS, SCENARIOS, Condition, metrics_of


@pytest.mark.parametrize(
    ("text", "value", "fires"),
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
def test_it_fires(text: str, value: float, fires: bool) -> None:
    condition = Condition.parse(text, ["p99_ms"])
    assert condition.fires({"p99_ms": value}) is fires


def test_what_was_not_measured_after_all_fires() -> None:
    assert Condition.parse("p99_ms>20", ["p99_ms"]).fires({})


@pytest.mark.parametrize("text", ["", "p99_ms", "p99_ms>", "p99_ms=1", ">1", "p99_ms>x", "p99_ms>nan", "1>2"])
def test_what_is_no_expression(text: str) -> None:
    with pytest.raises(PlanError, match="is not NAME OPERATOR NUMBER"):
        Condition.parse(text, ["p99_ms"])


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(PlanError, match=r"'nix' is not measured here; these are: p50_ms, lost"):
        Condition.parse("nix>1", ["p50_ms", "lost"])


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_names_only_known_metrics(scenario: str) -> None:
    names = metrics_of(scenario, True)
    assert set(names) <= set(METRICS)
    assert set(metrics_of(scenario, False)) < set(names)
    assert "cpu_percent" not in metrics_of(scenario, False)
    assert not [name for name in names if "ack" in name]
    rich = metrics_of(scenario, True, acks=True)
    assert set(names) <= set(rich) <= set(METRICS)
    assert ("ack_p99_ms" in rich) is (scenario not in {"idle", "connect", "churn"})
