"""The histogram agrees with a sorted list."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.bench.histogram import Histogram, median_ratio

values = st.lists(st.integers(0, 10**9) | st.integers(0, 1000), min_size=1, max_size=200)
percents = st.sampled_from([0.0, 1.0, 50.0, 90.0, 95.0, 99.0, 99.9, 100.0])


def filled(numbers: list[int]) -> Histogram:
    histogram = Histogram()
    for number in numbers:
        histogram.add(number)
    return histogram


@given(values, percents)
def test_percentiles_are_within_one_percent(numbers: list[int], percent: float) -> None:
    exact = sorted(numbers)[max(0, math.ceil(percent / 100 * len(numbers)) - 1)]
    assert filled(numbers).percentile(percent) == pytest.approx(exact, rel=0.01, abs=0.5)


@given(values, values)
def test_merging_adds_all_values(first: list[int], second: list[int]) -> None:
    merged = Histogram.merged([filled(first), filled(second)])
    assert merged.to_json() == filled(first + second).to_json()
    assert (merged.count, merged.total) == (len(first + second), sum(first + second))


@given(values)
def test_histogram_survives_json(numbers: list[int]) -> None:
    histogram = filled(numbers)
    copy = Histogram.from_json(json.loads(json.dumps(histogram.to_json())))
    assert copy.curve() == histogram.curve()
    assert (copy.count, copy.max) == (len(numbers), max(numbers))


@given(values)
def test_curve_ends_at_the_maximum(numbers: list[int]) -> None:
    curve = filled(numbers).curve()
    assert curve == sorted(curve)
    assert curve[-1][0] == 100
    assert curve[-1][1] <= max(numbers)


def test_repeated_values_count_and_negative_ones_are_zero() -> None:
    histogram = Histogram()
    histogram.add(-5, 3)
    histogram.add(700, 1)
    assert (histogram.count, histogram.percentile(50), histogram.max) == (4, 0.0, 700)


def test_empty_histogram_has_percentile_0_and_no_curve() -> None:
    assert Histogram().percentile(99) == 0.0
    assert Histogram().curve() == []


def test_memory_is_bounded() -> None:
    histogram = Histogram()
    for number in range(1_000_000):
        histogram.add(number * 977)
    assert len(histogram.to_json()["buckets"]) < 4000


def test_median_ratio_ignores_zero_denominators() -> None:
    assert median_ratio([(2, 1), (9, 3), (100, 1), (1, 0)]) == 3
    assert median_ratio([(1, 0)]) is None
