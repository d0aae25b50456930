"""What Prometheus reads: the server's figures in its text format, and nothing of who is there or talks.

`Readings` are taken by `selchat.server.server` when somebody asks. The names and units are as in
https://prometheus.io/docs/practices/naming/; docs/http.rst says what each is good for. There is no registry
but the one that is made here for each answer, so that two servers in one process have nothing in common.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from selchat.errors import MissingExtraError
from selchat.histogram import Histogram

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric


class Readings(NamedTuple):
    """The figures of one moment, each the value of the metric of that name; see `_collect`.

    ``log_bytes`` is None where it cannot be read now.
    """

    version: str
    start_time: float  # Unix time
    connections: Mapping[str, int]  # by wire
    accepted: int
    refused: Mapping[str, int]  # by reason
    members: int
    rooms: int
    messages: int
    deliveries: int
    lagging_readers: int
    lapped_readers: int
    queued_bytes: int
    loop_lag: Histogram
    commits: Histogram
    commits_failed: int
    log_bytes: int | None


def render(readings: Readings) -> bytes:
    """Return the figures in the text format of Prometheus. Raises `MissingExtraError`."""
    try:
        from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
    except ImportError as error:
        raise MissingExtraError("prometheus_client", "web") from error
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(readings))
    ProcessCollector(registry=registry)  # CPU seconds, memory, descriptors and their limit; Linux
    return generate_latest(registry)


class _Collector:
    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    def collect(self) -> Iterator[Metric]:
        return _collect(self._readings)


def _collect(now: Readings) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    def by(kind: type[Metric], name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
        metric = kind(name, text, labels=[label])  # type: ignore[call-arg]
        for key, value in values.items():
            metric.add_metric([key], value)  # type: ignore[attr-defined]
        return metric

    build = GaugeMetricFamily("selchat_build_info", "Which server this is.", labels=["version", "python"])
    build.add_metric([now.version, platform.python_version()], 1)
    yield build
    yield GaugeMetricFamily(
        "selchat_start_time_seconds", "When it was started, in Unix time.", now.start_time
    )
    yield by(GaugeMetricFamily, "selchat_connections", "Connections now.", "wire", now.connections)
    text = "Connections that were accepted."
    yield CounterMetricFamily("selchat_connections_accepted", text, now.accepted)
    text = "Those of them that were refused."
    yield by(CounterMetricFamily, "selchat_connections_refused", text, "reason", now.refused)
    yield GaugeMetricFamily("selchat_members", "People and programs that are in the chat now.", now.members)
    yield GaugeMetricFamily("selchat_rooms", "Rooms with members or history.", now.rooms)
    text = "Messages and whispers that were stored."
    yield CounterMetricFamily("selchat_messages", text, now.messages)
    text = "Messages in rooms, times their readers; nobody gets their own."
    yield CounterMetricFamily("selchat_deliveries", text, now.deliveries)
    text = "Connections that take no more now, so that something waits for them."
    yield GaugeMetricFamily("selchat_lagging_readers", text, now.lagging_readers)
    text = "Readers that were so far behind that they were cut off and had to go on from the log."
    yield CounterMetricFamily("selchat_lapped_readers", text, now.lapped_readers)
    text = "Bytes that wait for the lagging readers."
    yield GaugeMetricFamily("selchat_queued_bytes", text, now.queued_bytes)
    text = "How long the loop was at work in a tick, for which everything else waits."
    yield HistogramMetricFamily(
        "selchat_loop_lag_seconds", text, list(_buckets(now.loop_lag)), now.loop_lag.sum
    )
    text = "How long it took to store what a tick has brought; none, without a history."
    yield HistogramMetricFamily("selchat_commit_seconds", text, list(_buckets(now.commits)), now.commits.sum)
    text = "Commits after which nothing of them was stored."
    yield CounterMetricFamily("selchat_commits_failed", text, now.commits_failed)
    if now.log_bytes is not None:
        yield GaugeMetricFamily("selchat_log_bytes", "Bytes that the log takes.", now.log_bytes)


def _buckets(histogram: Histogram) -> Iterable[tuple[str, float]]:
    """Return each bound with how often it was not exceeded, as Prometheus counts."""
    total = 0
    for bound, count in zip([*map(str, histogram.bounds), "+Inf"], histogram.counts, strict=True):
        total += count
        yield bound, float(total)
