"""Exponential backoff: the maximum of the random delay, and its reset."""

from __future__ import annotations

from selchat.client.connection.backoff import Backoff


def test_maximum_doubles_up_to_the_limit_and_resets() -> None:
    given: list[tuple[float, float]] = []

    def jitter(minimum: float, maximum: float) -> float:
        given.append((minimum, maximum))
        return maximum / 2

    backoff = Backoff(0.5, 3, jitter)
    assert [backoff.next_delay() for _ in range(5)] == [0.25, 0.5, 1, 1.5, 1.5]
    assert given == [(0, 0.5), (0, 1), (0, 2), (0, 3), (0, 3)]
    backoff.reset()
    assert backoff.next_delay() == 0.25
