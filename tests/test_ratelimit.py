"""The token bucket, on a clock that each test sets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from selchat.ratelimit import BucketTable, TokenBucket


def test_full_bucket_allows_a_burst_and_then_the_rate() -> None:
    bucket = TokenBucket(2.0, 5, now=100.0)
    assert [bucket.take(100.0) for _ in range(6)] == [True] * 5 + [False]
    assert not bucket.take(100.4)
    assert bucket.take(100.5)
    assert not bucket.take(100.5)


def test_pause_refills_no_more_than_the_burst() -> None:
    bucket = TokenBucket(2.0, 5, now=100.0)
    bucket.refill(1e6)
    assert bucket.tokens == 5
    assert [bucket.take(1e6) for _ in range(6)] == [True] * 5 + [False]


def test_rejected_take_costs_nothing() -> None:
    bucket = TokenBucket(1.0, 1, now=0.0)
    assert bucket.take(0.0)
    assert [bucket.take(0.25 * step) for step in range(1, 5)] == [False, False, False, True]


def test_rate_zero_means_no_limit() -> None:
    bucket = TokenBucket(0, 1, now=0.0)
    assert all(bucket.take(0.0) for _ in range(1000))
    assert bucket.wait(1e9) == 0.0


def test_wait_is_the_time_until_the_tokens_are_there() -> None:
    bucket = TokenBucket(4.0, 8, now=0.0)
    assert bucket.wait(8) == 0.0
    bucket.tokens -= 10
    assert bucket.wait(0) == 0.5
    assert bucket.wait(1) == 0.75
    bucket.refill(0.75)
    assert bucket.wait(1) == 0.0


def test_new_limits_apply_from_the_last_refill() -> None:
    bucket = TokenBucket(1.0, 100, now=0.0)
    bucket.set_limits(10.0, 5)
    bucket.refill(0.0)
    assert bucket.tokens == 5
    bucket.tokens = 0
    bucket.refill(0.25)
    assert bucket.tokens == 2.5


def test_limit_can_be_lifted_and_set_again() -> None:
    bucket = TokenBucket(1.0, 1, now=0.0)
    assert bucket.take(0.0) and not bucket.take(0.0)
    bucket.set_limits(0, 1)
    assert all(bucket.take(0.0) for _ in range(10))
    bucket.set_limits(1.0, 2)
    assert [bucket.take(0.0) for _ in range(3)] == [True, True, False]


@given(st.lists(st.floats(0, 10), max_size=50), st.floats(0.1, 100), st.integers(1, 20))
def test_no_interval_has_more_than_the_burst_and_the_rate(
    pauses: list[float], rate: float, burst: int
) -> None:
    bucket = TokenBucket(rate, burst, now=0.0)
    now, taken = 0.0, []
    for pause in pauses:
        now += pause
        taken += [now] * sum(bucket.take(now) for _ in range(3))
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + (taken[last] - taken[first]) * rate + 1e-6


def test_table_returns_the_same_bucket_for_a_key() -> None:
    table = BucketTable(1.0, 5, 10)
    assert table.get("a", 0.0) is table.get("a", 1.0)
    assert table.get("a", 0.0) is not table.get("b", 0.0)


def test_full_table_drops_full_buckets_first() -> None:
    table = BucketTable(1.0, 5, 10)
    for number in range(10):
        bucket = table.get(number, 0.0)
        if number % 3 == 0:
            bucket.tokens = 0.0
    kept = {number: table.get(number, 0.0) for number in (0, 3, 6, 9)}
    table.get("new", 1.0)
    assert len(table) == 5
    assert all(table.get(number, 1.0) is bucket for number, bucket in kept.items())


def test_table_stays_bounded_when_no_bucket_is_full() -> None:
    table = BucketTable(1.0, 5, 10)
    for number in range(1000):
        table.get(number, number / 1000).tokens = 0.0
        assert len(table) <= 10
    newest = table.get(999, 1.0)
    assert newest.tokens == 0.0  # the oldest ones were dropped


def test_table_applies_new_limits_to_old_and_new_buckets() -> None:
    table = BucketTable(0.0, 0, 10)
    old = table.get("old", 0.0)
    table.set_limits(1.0, 2)
    for bucket in (old, table.get("new", 0.0)):
        bucket.refill(0.0)
        assert bucket.tokens == 2
