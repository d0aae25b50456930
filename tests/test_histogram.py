from __future__ import annotations

import pytest

from selchat.histogram import COMMIT_BUCKETS, TICK_BUCKETS, Histogram


def test_bounds_are_inclusive() -> None:
    histogram = Histogram([0.1, 1.0])
    for seconds in (0.0, 0.1, 0.11, 1.0, 1.5, 99.0):
        histogram.observe(seconds)
    assert histogram.counts == [2, 2, 2]
    assert histogram.sum == pytest.approx(101.71)


@pytest.mark.parametrize("bounds", [COMMIT_BUCKETS, TICK_BUCKETS])
def test_bounds_are_ascending(bounds: tuple[float, ...]) -> None:
    assert sorted(set(bounds)) == list(bounds)
