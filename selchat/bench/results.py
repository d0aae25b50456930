"""Results of a run: metrics, notes and warnings, computed from its measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from selchat.bench.histogram import PERCENTILES, Histogram, median_ratio
from selchat.bench.load.job import Measurement
from selchat.bench.metrics import DEFECTS, metrics_of
from selchat.bench.plan import Plan
from selchat.bench.system.proc import Usage
from selchat.bench.wires.wire import Wire

MIB = 1024 * 1024
CHURN_READERS = 10
_MAX_WAITED = 10  # percent of the time that the server may wait for its core without a warning
_SEGMENT = 65_483  # bytes: the MSS of Linux's loopback; the size of a larger chunk cannot be seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The outcome of a run. ``timeline``: (seconds from the start, deliveries/s, p99 in ms)."""

    metrics: dict[str, float]
    latencies: Histogram
    last_latencies: Histogram
    ack_latencies: Histogram
    floor_latencies: Histogram
    floor_last_latencies: Histogram
    timeline: list[tuple[float, float, float]]
    notes: list[str]
    warnings: list[str]
    failure: str | None
    interrupted: bool


@dataclass(slots=True)
class Turn:
    """One measurement, with the usage of the server or the floor before and after it."""

    measured: Measurement
    before: Usage | None
    after: Usage | None

    @property
    def cpu(self) -> float:
        """CPU seconds of the server."""
        return self.after.cpu - self.before.cpu if self.before and self.after else 0.0

    def percentile(self, percent: float, last: bool = False) -> float:
        """Return the latency in microseconds; ``last``: until the last reader had the message."""
        histogram = self.measured.last_latencies if last else self.measured.latencies
        return Histogram.from_json(histogram).percentile(percent)

    def cpu_per_delivery(self) -> float:
        """Return the CPU seconds of the server for one delivery."""
        return self.cpu / self.measured.deliveries if self.measured.deliveries else 0.0

    def speed(self) -> float:
        """Return the deliveries a second."""
        return self.measured.deliveries / self.measured.seconds if self.measured.seconds else 0.0


class Summary:
    """Collects metrics, notes and warnings during a run."""

    def __init__(self, plan: Plan, wire: Wire, delivery_size: int) -> None:
        self.metrics: dict[str, float] = {}
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self._plan = plan
        self._wire = wire
        self._delivery_size = delivery_size  # bytes, about: the numbers in a delivery get longer

    def result(
        self,
        turns: list[Turn],
        floors: list[Turn],
        without: list[Turn],
        has_pid: bool,
        failure: str | None,
        interrupted: bool,
    ) -> Result:
        """Return the result. ``without``: the turns of a server without history."""
        metrics = self.metrics
        latencies, last, lateness, acks = (
            merged(turns, name) for name in ("latencies", "last_latencies", "lateness", "ack_latencies")
        )
        floor, floor_last = (merged(floors, name) for name in ("latencies", "last_latencies"))
        if turns:
            self._add_counts(turns, without)
            metrics |= _percentiles(latencies, "")
            if last.count:
                metrics |= _percentiles(last, "last_")
            if acks.count:
                metrics |= {
                    "ack_p50_ms": acks.percentile(50) / 1000,
                    "ack_p99_ms": acks.percentile(99) / 1000,
                    "ack_max_ms": acks.max / 1000,
                }
            if lateness.count:
                metrics["late_p99_ms"] = lateness.percentile(99) / 1000
            self._check_generator()
            self._add_notes(turns)
        if floors:
            self._compare_with_floor(turns, floors, floor, floor_last)
        expected = set(metrics_of(self._plan.scenario, has_pid, self._wire.acks))
        for name in set(metrics) - expected:
            del metrics[name]
        return Result(
            metrics=metrics,
            latencies=latencies,
            last_latencies=last,
            ack_latencies=acks,
            floor_latencies=floor,
            floor_last_latencies=floor_last,
            timeline=_timeline(turns),
            notes=self.notes,
            warnings=self.warnings,
            failure=failure,
            interrupted=interrupted,
        )

    def compare_with_baseline(self, turns: list[Turn], without: list[Turn]) -> None:
        """Add the metrics of `durable`: with history, compared with the same load without it."""
        if not without:
            return
        latencies = merged(without, "latencies")
        seconds = sum(turn.measured.seconds for turn in without) or 1e-9
        deliveries = sum(turn.measured.deliveries for turn in without)
        self.metrics |= {
            "without_messages_per_s": sum(turn.measured.sent for turn in without) / seconds,
            "without_deliveries_per_s": deliveries / seconds,
            "without_p50_ms": latencies.percentile(50) / 1000,
            "without_p99_ms": latencies.percentile(99) / 1000,
            "without_ack_p99_ms": merged(without, "ack_latencies").percentile(99) / 1000,
            "without_cpu_us_per_delivery": 1e6 * sum(turn.cpu for turn in without) / (deliveries or 1),
        }
        pairs = zip(turns, without, strict=False)
        ratio = median_ratio((a.speed(), b.speed()) for a, b in pairs)
        if ratio is not None:
            self.metrics["durable_ratio"] = ratio

    def compare_stalled(self, turns: list[Turn], without: list[Turn], closed: list[int]) -> None:
        """Add the metrics of `slow`: with stalled readers, compared with the same load without them.

        ``closed``: how many of these the server has closed, in each round.
        """
        latencies = merged(without, "latencies")
        if closed:
            self.metrics["stalled_closed"] = min(closed)
        self.metrics |= {
            "without_p50_ms": latencies.percentile(50) / 1000,
            "without_p99_ms": latencies.percentile(99) / 1000,
        }
        for percent in (50, 99):
            pairs = zip(turns, without, strict=False)
            ratio = median_ratio((a.percentile(percent), b.percentile(percent)) for a, b in pairs)
            if ratio is not None:
                self.metrics[f"stalled_p{percent}_ratio"] = ratio

    def add_contention(self, waited_percent: float) -> None:
        """Record how long the server waited for its core, and warn if it was long."""
        self.metrics["waited_percent"] = waited_percent
        if waited_percent > _MAX_WAITED:
            self.warnings.append(
                f"the server waited for its core for {waited_percent:.0f}% of the time, because other "
                "processes used it: trust CPU times and ratios, not speeds and latencies"
            )

    def _add_counts(self, turns: list[Turn], without: list[Turn]) -> None:
        seconds = sum(turn.measured.seconds for turn in turns) or 1e-9
        deliveries = sum(turn.measured.deliveries for turn in turns)
        finals = [all_turns[-1].measured for all_turns in (turns, without) if all_turns]
        self.metrics |= {
            "messages_per_s": sum(turn.measured.sent for turn in turns) / seconds,
            "deliveries_per_s": deliveries / seconds,
            "mib_per_s": sum(turn.measured.bytes for turn in turns) / seconds / MIB,
            "generator_cpu_percent": 100 * sum(turn.measured.cpu for turn in turns) / seconds,
            "acked_per_s": sum(turn.measured.acked for turn in turns) / seconds,
            **{name: sum(getattr(final, f"{name}_total") for final in finals) for name in DEFECTS},
        }
        segments = sum(turn.measured.segments for turn in turns)
        if segments and deliveries:
            size = sum(turn.measured.segment_bytes for turn in turns)
            delivery_size = sum(turn.measured.bytes for turn in turns) / deliveries
            self.metrics["chunk_messages"] = size / segments / delivery_size
        self._add_server_usage([turn for turn in turns if turn.before and turn.after])

    def _add_server_usage(self, turns: list[Turn]) -> None:
        if not turns:
            return
        metrics = self.metrics
        first, last = turns[0].before, turns[-1].after
        assert first is not None
        assert last is not None
        deliveries = sum(turn.measured.deliveries for turn in turns)
        cpu = sum(turn.cpu for turn in turns)
        if deliveries:
            metrics["cpu_us_per_delivery"] = 1e6 * cpu / deliveries
        seconds = sum(turn.measured.seconds for turn in turns)
        metrics["cpu_percent"] = 100 * cpu / seconds
        waited = sum(turn.after.waited - turn.before.waited for turn in turns if turn.before and turn.after)
        self.add_contention(100 * waited / seconds)
        metrics["rss_mib"] = last.rss / MIB
        metrics["rss_growth_mib"] = (last.rss - first.rss) / MIB
        metrics["fds_growth"] = last.fds - first.fds

    def _compare_with_floor(
        self, turns: list[Turn], floors: list[Turn], floor: Histogram, floor_last: Histogram
    ) -> None:
        metrics = self.metrics
        deliveries = sum(turn.measured.deliveries for turn in floors) or 1
        metrics |= {
            "floor_cpu_us_per_delivery": 1e6 * sum(turn.cpu for turn in floors) / deliveries,
            "floor_deliveries_per_s": deliveries / sum(turn.measured.seconds for turn in floors),
            "floor_p50_ms": floor.percentile(50) / 1000,
            "floor_p99_ms": floor.percentile(99) / 1000,
        }
        rounds = list(zip(turns, floors, strict=False))
        ratios = {
            "cpu_ratio": [
                (a.cpu_per_delivery(), b.cpu_per_delivery()) for a, b in rounds if a.before and a.after
            ],
            "deliveries_ratio": [(a.speed(), b.speed()) for a, b in rounds],
            "p50_ratio": [(a.percentile(50), b.percentile(50)) for a, b in rounds],
            "p99_ratio": [(a.percentile(99), b.percentile(99)) for a, b in rounds],
        }
        if floor_last.count:
            metrics["floor_last_p50_ms"] = floor_last.percentile(50) / 1000
            metrics["floor_last_p99_ms"] = floor_last.percentile(99) / 1000
            ratios["last_p50_ratio"] = [(a.percentile(50, True), b.percentile(50, True)) for a, b in rounds]
        for name, pairs in ratios.items():
            ratio = median_ratio(pairs)
            if ratio is not None:
                metrics[name] = ratio
        segments = sum(turn.measured.segments for turn in floors)
        size = sum(turn.measured.segment_bytes for turn in floors) / (segments or 1)
        self.notes.append(
            f"floor: {len(floors)} rounds, alternating with the server's, chunks of "
            f"{size / self._delivery_size:.1f} messages "
            f"(the server's: {metrics.get('chunk_messages', 0):.1f})"
        )

    def _check_generator(self) -> None:
        metrics = self.metrics
        generator, server = metrics["generator_cpu_percent"], metrics.get("cpu_percent")
        if generator > 90 and (server is None or server < 80):
            comparison = "" if server is None else f", and the server only {server:.0f}%"
            self.warnings.append(
                f"the load generator was the bottleneck: it used {generator:.0f}% of its core{comparison}; "
                "speeds and latencies show the generator's limits, CPU per delivery is the server's"
            )
        late = metrics.get("late_p99_ms", 0.0)
        if late > 1 and late > metrics["p99_ms"] / 2:
            self.warnings.append(
                f"the load generator fell behind its own schedule by {late:.1f} ms (p99), which adds to the "
                "latencies; use a lower --rate or more --processes"
            )

    def _add_notes(self, turns: list[Turn]) -> None:
        plan = self._plan
        reads = sum(turn.measured.reads for turn in turns)
        readers = {
            "everyone": "every client, without its own messages",
            "churn": f"{CHURN_READERS} permanent readers, not of the short-lived clients",
            "slow": "every reader except the stalled",
        }.get(plan.scenario, "every reader")
        streams = "the parsed stream of its room" if plan.rooms else "one parsed stream"
        acks = "; every ack: its id and its seq" if self._wire.acks and plan.scenario != "churn" else ""
        self.notes.append(f"checked: every byte of {readers}, against {streams} ({reads} reads){acks}")
        deliveries = sum(turn.measured.deliveries for turn in turns)
        if reads and deliveries / reads > 8:
            self.notes.append("latencies: of up to 8 messages, or bursts with one stamp, of each read")
        if self.metrics.get("chunk_messages", 0) * self._delivery_size > 0.9 * _SEGMENT:
            self.warnings.append(
                "the server's chunks fill whole segments, which hides their size: the floor's chunks "
                "may be smaller"
            )


def merged(turns: Sequence[Turn], name: str) -> Histogram:
    """Return the sum of one of the histograms of these turns."""
    return Histogram.merged(Histogram.from_json(getattr(turn.measured, name)) for turn in turns)


def _percentiles(histogram: Histogram, prefix: str) -> Mapping[str, float]:
    values = {
        f"{prefix}p{percent:g}_ms".replace(".", "_"): histogram.percentile(percent) / 1000
        for percent in PERCENTILES
    }
    return values | {f"{prefix}max_ms": histogram.max / 1000}


def _timeline(turns: Sequence[Turn]) -> list[tuple[float, float, float]]:
    start = turns[0].measured.timeline[0][0] if turns and turns[0].measured.timeline else 0.0
    return [
        (begin + seconds - start, deliveries / seconds, p99 / 1000)
        for turn in turns
        for begin, seconds, deliveries, p99 in turn.measured.timeline
        if seconds > 0.01 and deliveries
    ]
