"""Metrics in the text format of Prometheus. They name no user and contain no message.

`selchat.server.status` takes the `Readings` for each request. Names and units follow
https://prometheus.io/docs/practices/naming/; docs/http.rst explains each metric. Each answer has a registry
of its own, so that two servers in one process share nothing.
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
    """The figures at one moment, named like their metrics (see `_collect`).

    ``log_bytes`` is None if the log cannot be read now.
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

    text = "Version of the server and of Python."
    build = GaugeMetricFamily("selchat_build_info", text, labels=["version", "python"])
    build.add_metric([now.version, platform.python_version()], 1)
    yield build
    yield GaugeMetricFamily("selchat_start_time_seconds", "Start time in Unix time.", now.start_time)
    yield by(GaugeMetricFamily, "selchat_connections", "Open connections.", "wire", now.connections)
    text = "Accepted connections."
    yield CounterMetricFamily("selchat_connections_accepted", text, now.accepted)
    text = "Accepted connections that were refused."
    yield by(CounterMetricFamily, "selchat_connections_refused", text, "reason", now.refused)
    yield GaugeMetricFamily("selchat_members", "Signed-in people and programs.", now.members)
    yield GaugeMetricFamily("selchat_rooms", "Rooms with members or history.", now.rooms)
    text = "Stored messages and direct messages."
    yield CounterMetricFamily("selchat_messages", text, now.messages)
    text = "Messages in rooms times their readers, without their authors."
    yield CounterMetricFamily("selchat_deliveries", text, now.deliveries)
    text = "Connections whose socket is full, so that bytes are queued for them."
    yield GaugeMetricFamily("selchat_lagging_readers", text, now.lagging_readers)
    text = "Readers that fell so far behind that they were cut off and had to catch up from the log."
    yield CounterMetricFamily("selchat_lapped_readers", text, now.lapped_readers)
    text = "Bytes queued for the lagging readers."
    yield GaugeMetricFamily("selchat_queued_bytes", text, now.queued_bytes)
    text = "Working time of a tick of the event loop; everything else waits that long."
    yield HistogramMetricFamily(
        "selchat_loop_lag_seconds", text, list(_buckets(now.loop_lag)), now.loop_lag.sum
    )
    text = "Time to store the messages of a tick; no observations without a history."
    yield HistogramMetricFamily("selchat_commit_seconds", text, list(_buckets(now.commits)), now.commits.sum)
    text = "Failed commits, which stored nothing."
    yield CounterMetricFamily("selchat_commits_failed", text, now.commits_failed)
    if now.log_bytes is not None:
        yield GaugeMetricFamily("selchat_log_bytes", "Size of the log in bytes.", now.log_bytes)


def _buckets(histogram: Histogram) -> Iterable[tuple[str, float]]:
    """Return each bound with the cumulative count that Prometheus expects."""
    total = 0
    for bound, count in zip([*map(str, histogram.bounds), "+Inf"], histogram.counts, strict=True):
        total += count
        yield bound, float(total)
