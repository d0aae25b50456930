"""The figures for Prometheus, read back by its own parser."""

from __future__ import annotations

import builtins
import math
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from selchat.errors import MissingExtraError
from selchat.histogram import Histogram
from selchat.server.metrics import Readings, render


def readings(**more: Any) -> Readings:
    lag, commits = Histogram([0.001, 0.25]), Histogram([0.5])
    for seconds in (0.0001, 0.001, 0.1, 7.0):
        lag.observe(seconds)
    fields: dict[str, Any] = {
        "version": "1.2.3",
        "start_time": 1.7e9,
        "connections": {"selchat": 2, "classic": 1},
        "accepted": 17,
        "refused": {"banned": 3},
        "members": 3,
        "rooms": 2,
        "messages": 5,
        "deliveries": 9,
        "lagging_readers": 1,
        "lapped_readers": 4,
        "queued_bytes": 4096,
        "loop_lag": lag,
        "commits": commits,
        "commits_failed": 6,
        "log_bytes": 8192,
    }
    return Readings(**{**fields, **more})


def samples(text: bytes) -> dict[str, float]:
    """Return every sample, by its name and its labels."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_every_figure_is_in_the_answer() -> None:
    found = samples(render(readings()))
    [build] = [name for name in found if name.startswith("selchat_build_info{")]
    assert "version=1.2.3" in build
    assert {name: value for name, value in found.items() if name.startswith("selchat_")} == {
        build: 1,
        "selchat_start_time_seconds": 1.7e9,
        "selchat_connections{wire=selchat}": 2,
        "selchat_connections{wire=classic}": 1,
        "selchat_connections_accepted_total": 17,
        "selchat_connections_refused_total{reason=banned}": 3,
        "selchat_members": 3,
        "selchat_rooms": 2,
        "selchat_messages_total": 5,
        "selchat_deliveries_total": 9,
        "selchat_lagging_readers": 1,
        "selchat_lapped_readers_total": 4,
        "selchat_queued_bytes": 4096,
        "selchat_loop_lag_seconds_bucket{le=0.001}": 2,
        "selchat_loop_lag_seconds_bucket{le=0.25}": 3,
        "selchat_loop_lag_seconds_bucket{le=+Inf}": 4,
        "selchat_loop_lag_seconds_count": 4,
        "selchat_loop_lag_seconds_sum": pytest.approx(7.1011),
        "selchat_commit_seconds_bucket{le=0.5}": 0,
        "selchat_commit_seconds_bucket{le=+Inf}": 0,
        "selchat_commit_seconds_count": 0,
        "selchat_commit_seconds_sum": 0,
        "selchat_commits_failed_total": 6,
        "selchat_log_bytes": 8192,
    }


def test_names_follow_the_rules_of_prometheus() -> None:
    for family in text_string_to_metric_families(render(readings()).decode()):
        assert family.documentation
        if not family.name.startswith("selchat_"):
            assert family.name.startswith("process_")
            continue
        for sample in family.samples:
            assert (family.type == "counter") == sample.name.endswith("_total")
            assert not math.isnan(sample.value)


def test_process_metrics_are_included_and_answers_share_no_state() -> None:
    first, second = samples(render(readings())), samples(render(readings(messages=1)))
    assert second["selchat_messages_total"] == 1
    assert first["process_resident_memory_bytes"] > 1e6


def test_unreadable_log_has_no_size() -> None:
    assert "selchat_log_bytes" not in samples(render(readings(log_bytes=None)))


def test_missing_extra_names_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def fails(name: str, *more: Any, **others: Any) -> Any:
        if name.startswith("prometheus_client"):
            raise ImportError(name)
        return real(name, *more, **others)

    monkeypatch.setattr(builtins, "__import__", fails)
    with pytest.raises(MissingExtraError, match=r"python3 -m pip install 'selchat\[web\]'"):
        render(readings())
