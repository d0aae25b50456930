from __future__ import annotations

import pytest

from selchat.histogram import FOR_A_COMMIT, FROM_TICK_TO_TICK, Histogram


def test_what_is_equal_to_a_bound_is_below_it() -> None:
    histogram = Histogram([0.1, 1.0])
    for seconds in (0.0, 0.1, 0.11, 1.0, 1.5, 99.0):
        histogram.observe(seconds)
    assert histogram.counts == [2, 2, 2]
    assert histogram.sum == pytest.approx(101.71)


@pytest.mark.parametrize("bounds", [FOR_A_COMMIT, FROM_TICK_TO_TICK])
def test_bounds_are_in_order(bounds: tuple[float, ...]) -> None:
    assert sorted(set(bounds)) == list(bounds)
