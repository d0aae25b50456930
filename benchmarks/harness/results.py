"""Medians of the rounds, and number formats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any

from harness.load import Run

DISTURBED = 0.15  # cores used by other processes; such a round counts only if there is no better one


class Summary:
    """Medians over the runs of one server with one kind of work.

    ``floor_runs``: the run of the floor before each of them, for the two ratios. If empty, these are 0.
    """

    def __init__(self, runs: Sequence[Run], floor_runs: Sequence[Run] = ()) -> None:
        floors: Sequence[Run | None] = floor_runs or [None] * len(runs)
        pairs_of_runs = list(zip(runs, floors, strict=True))
        calm = [pair for pair in pairs_of_runs if all(run.others_cpu < DISTURBED for run in pair if run)]
        self.runs = runs
        self._used = used = [run for run, _ in calm or pairs_of_runs]
        self.disturbed = not calm
        pairs = [(run, floor) for run, floor in calm or pairs_of_runs if floor]
        self.cpu_x_floor = _median_ratio((run.cpu_us, floor.cpu_us) for run, floor in pairs)
        self.p50_x_floor = _median_ratio((_p50(run), _p50(floor)) for run, floor in pairs)
        self.deliveries = self._median(lambda run: run.delivered / run.seconds)  # a second
        self.cpu_us = self._median(lambda run: run.cpu_us)  # a delivery
        self.server_share = self._median(lambda run: run.server_cpu / run.seconds)
        self.load_share = self._median(lambda run: 1 - run.load_idle / run.seconds)
        self.p50_ms = self.p99_ms = 0.0
        if all(run.latencies for run in used):
            self.p50_ms = self._median(_p50) * 1e3
            self.p99_ms = percentile([latency for run in used for latency in run.latencies], 99) * 1e3
        self.flaws = "; ".join(sorted({run.flaws for run in runs if run.flaws}))

    def as_json(self) -> dict[str, Any]:
        """Return the medians, and the figures of every run."""
        return {
            "deliveries_per_s": round(self.deliveries),
            "server_cpu_us_per_delivery": round(self.cpu_us, 5),
            "server_busy": round(self.server_share, 3),
            "load_busy": round(self.load_share, 3),
            "cpu_x_floor": round(self.cpu_x_floor, 4),
            "p50_ms": round(self.p50_ms, 4),
            "p99_ms": round(self.p99_ms, 4),
            "p50_x_floor": round(self.p50_x_floor, 4),
            "flaws": self.flaws,
            "disturbed": self.disturbed,
            "turns_used": len(self._used),
            "turns": [
                {
                    "messages": run.sent,
                    "seconds": round(run.seconds, 4),
                    "deliveries_per_s": round(run.delivered / run.seconds),
                    "server_cpu_us_per_delivery": round(run.cpu_us, 5),
                    "p50_ms": round(_p50(run) * 1e3, 4) if run.latencies else None,
                    "lost": run.lost,
                    "dropped": run.dropped,
                    "in_order": run.in_order,
                    "others_cpu": round(run.others_cpu, 3),
                }
                for run in self.runs
            ],
        }

    def _median(self, value: Callable[[Run], float]) -> float:
        return median(value(run) for run in self._used)


def _p50(run: Run) -> float:
    return percentile(run.latencies, 50) if run.latencies else 0.0


def _median_ratio(pairs: Iterable[tuple[float, float]]) -> float:
    ratios = [value / floor for value, floor in pairs if floor]
    return median(ratios) if ratios else 0.0


def describe_rounds(rounds: int) -> str:
    """Return ``Medians of 5 rounds``, or ``One round``."""
    return "One round" if rounds == 1 else f"Medians of {rounds} rounds"


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that ``percent`` of all values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(percent * 10) // 1000) - 1)]


def format_short(number: float) -> str:
    """Return the number with three significant digits and M or k: ``18.5 M``."""
    if number >= 1e6:
        return f"{format_significant(number / 1e6)} M"
    if number >= 1e4:
        return f"{format_significant(number / 1e3)} k"
    return format_significant(number)


def format_significant(number: float) -> str:
    """Return the number with three significant digits and no exponent."""
    if number == 0:
        return "0"
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if abs(number) >= 10 else f"{number:.2f}" if abs(number) >= 1 else f"{number:.3f}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table. All columns except the first contain numbers and are right-aligned."""
    lines = [" | ".join(header), " | ".join([":--", *["--:"] * (len(header) - 1)])]
    lines += [" | ".join(row) for row in rows]
    return "".join(f"| {line} |\n" for line in lines)
