"""The heartbeat on a clock that the test moves."""

from __future__ import annotations

import pytest

from selchat.heartbeat import Heartbeat
from tests.chat.fakes import FakeClock


class Owner:
    """Owns a heartbeat and records each call with its time, in seconds since the start."""

    def __init__(self, idle_seconds: float = 20.0, timeout_seconds: float = 14.0) -> None:
        self.clock = FakeClock()
        self.started_at = self.clock.now
        self.calls: list[tuple[str, float]] = []
        self.heartbeat = Heartbeat(self.clock, idle_seconds, timeout_seconds, self)
        self.heartbeat.start()

    def on_idle(self) -> None:
        self.calls.append(("idle", self.clock.now - self.started_at))

    def on_timeout(self) -> None:
        self.calls.append(("timeout", self.clock.now - self.started_at))

    def wait(self, seconds: float) -> None:
        """Advance the clock in steps of one second."""
        for _ in range(round(seconds)):
            self.clock.advance(1.0)


def test_silent_peer_is_pinged_and_then_times_out() -> None:
    owner = Owner()
    owner.wait(100)
    assert owner.calls == [("idle", 20), ("timeout", 34)]
    assert owner.clock.pending == 0


def test_peer_that_answers_is_pinged_again_after_the_next_silence() -> None:
    owner = Owner()
    owner.wait(21)
    owner.heartbeat.touch()  # at 21
    owner.wait(19)
    assert owner.calls == [("idle", 20)]
    owner.wait(60)
    assert owner.calls == [("idle", 20), ("idle", 41), ("timeout", 55)]


def test_traffic_in_the_tick_of_the_ping_counts_as_an_answer() -> None:
    owner = Owner()
    owner.wait(20)
    owner.heartbeat.touch()
    owner.wait(14)
    assert owner.calls == [("idle", 20)]


def test_traffic_before_the_ping_is_not_an_answer() -> None:
    owner = Owner(idle_seconds=3.0, timeout_seconds=10.0)
    owner.wait(1)
    owner.heartbeat.touch()
    owner.wait(100)
    assert owner.calls == [("idle", 4), ("timeout", 14)]


def test_busy_peer_is_never_pinged_and_costs_one_timer() -> None:
    owner = Owner()
    for _ in range(200):
        owner.wait(1)
        owner.heartbeat.touch()
        assert owner.clock.pending == 1
    assert owner.calls == []


@pytest.mark.parametrize("when", [0, 25])
def test_restart_forgets_an_earlier_ping(when: int) -> None:
    owner = Owner()
    owner.wait(when)
    owner.heartbeat.start()
    assert owner.clock.pending == 1
    owner.wait(19)
    assert [call for call, _ in owner.calls] == ["idle"] * (when > 20)
    owner.wait(100)
    assert owner.calls[-2:] == [("idle", when + 20), ("timeout", when + 34)]


def test_owner_may_restart_it_from_inside_on_idle() -> None:
    class Restarting(Owner):
        def on_idle(self) -> None:
            super().on_idle()
            self.heartbeat.start()

    owner = Restarting()
    owner.wait(70)
    assert owner.calls == [("idle", 20), ("idle", 40), ("idle", 60)]
    assert owner.clock.pending == 1


def test_stopped_heartbeat_calls_nothing() -> None:
    owner = Owner()
    owner.wait(25)
    owner.heartbeat.stop()
    owner.heartbeat.stop()
    owner.wait(100)
    assert owner.calls == [("idle", 20)]


def test_seconds_is_the_longest_silence_of_a_live_peer() -> None:
    assert Owner(20.0, 14.0).heartbeat.seconds == 34.0
