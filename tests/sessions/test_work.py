"""Work limits: costs in three buckets, and the limit of a tick, on a clock that the tests advance."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from selchat.config.settings import Settings
from selchat.sessions.work import Meter, WorkLimits
from tests.chat.fakes import FakeClock

MILLISECOND = 1000.0  # in microseconds
ALICE, BOB = b"a" * 16, b"b" * 16


class Server:
    """Work limits with their clock. ``done``: who has worked, in order."""

    def __init__(self, **settings: Any) -> None:
        self.clock = FakeClock()
        self.limits = WorkLimits(Settings(**{"tick_work": 1.0, **settings}), self.clock)
        self.done: list[str] = []

    def work(self, meter: Meter, cost: float, name: str) -> None:
        """Do a piece of work as soon as it is admitted."""
        if meter.admit(cost):
            self.done.append(name)
        else:
            meter.call_when_free(lambda: self.work(meter, cost, name))

    def spent(self, meters: list[Meter], cost: float, ticks: int, seconds: float) -> float:
        """Return the microseconds that these meters are admitted in so many ticks of that length."""
        spent = 0.0
        for _ in range(ticks):
            for meter in meters:
                while meter.admit(cost):
                    spent += cost
            self.clock.advance(seconds)
        return spent


def test_connection_works_for_its_share_and_a_burst_of_ten_seconds() -> None:
    server = Server(connection_work=0.05, person_work=0, address_work=0)
    meter = server.limits.meter("192.0.2.1:1000")
    spent = server.spent([meter], MILLISECOND, ticks=100, seconds=0.1)  # ten seconds
    assert spent == pytest.approx((10 * 0.05 + 0.5) * 1e6, rel=0.02)


@pytest.mark.parametrize("count", [1, 16, 64])
def test_connections_of_one_address_share_its_bucket(count: int) -> None:
    server = Server(connection_work=0, person_work=0, address_work=0.2)
    meters = [server.limits.meter(f"192.0.2.1:{port}") for port in range(1000, 1000 + count)]
    spent = server.spent(meters, MILLISECOND, ticks=100, seconds=0.1)
    assert spent == pytest.approx((10 * 0.2 + 2.0) * 1e6, rel=0.02)


def test_other_address_is_not_affected() -> None:
    server = Server(connection_work=0, person_work=0, address_work=0.02)
    greedy = server.limits.meter("192.0.2.1:1000")
    while greedy.admit(MILLISECOND):
        pass
    assert server.limits.meter("192.0.2.2:1000").admit(MILLISECOND)


def test_ipv6_network_is_one_address() -> None:
    server = Server(connection_work=0, person_work=0, address_work=0.02)
    greedy = server.limits.meter("[fd00:9::7]:1000")
    while greedy.admit(MILLISECOND):
        pass
    assert not server.limits.meter("[fd00:9::8]:1000").admit(MILLISECOND)
    assert server.limits.meter("[fd00:a::8]:1000").admit(MILLISECOND)


def test_person_shares_a_bucket_on_all_connections() -> None:
    server = Server(connection_work=0, person_work=0.1, address_work=0)
    meters = [server.limits.meter(f"192.0.2.{number}:1000") for number in range(1, 9)]
    for meter in meters:
        meter.sign_in(ALICE)
    spent = server.spent(meters, MILLISECOND, ticks=100, seconds=0.1)
    assert spent == pytest.approx((10 * 0.1 + 1.0) * 1e6, rel=0.02)
    other = server.limits.meter("192.0.2.1:1001")
    other.sign_in(BOB)
    assert other.admit(MILLISECOND)


def test_bucket_without_debt_admits_any_cost_and_pays_it_off() -> None:
    server = Server(connection_work=0.1)
    meter = server.limits.meter("192.0.2.1:1000")
    assert meter.admit(2e6)  # twenty seconds' worth, with ten of them saved
    server.clock.advance(9.9)
    assert not meter.admit(1)
    server.clock.advance(0.2)
    assert meter.admit(1)


def test_charge_counts_work_that_was_done_already() -> None:
    server = Server(connection_work=0.1)
    meter = server.limits.meter("192.0.2.1:1000")
    meter.charge(2e6)
    assert not meter.admit(1)


@pytest.mark.parametrize("count", [1, 16, 64])
def test_tick_has_a_limit_for_all_peers_together(count: int) -> None:
    server = Server(tick_work=0.001, connection_work=0, person_work=0, address_work=0)
    for number in range(count):
        meter = server.limits.meter(f"192.0.2.{number}:1000")
        for _ in range(10):
            server.work(meter, 0.6 * MILLISECOND, str(number))
    ticks = 0
    before = len(server.done)
    assert before <= 2  # 1.2 milliseconds: the last work of a tick may exceed the limit
    while len(server.done) < 10 * count:
        server.clock.advance(0)
        ticks += 1
        assert len(server.done) - before <= 2
        before = len(server.done)
    assert ticks >= 5 * count - 1


def test_waiting_work_runs_in_order_and_each_peer_gets_its_turn() -> None:
    server = Server(tick_work=0.001, connection_work=0, person_work=0, address_work=0)
    meters = {name: server.limits.meter(f"192.0.2.{name}:1000") for name in "123"}

    def next_work(name: str) -> None:
        if meters[name].admit(MILLISECOND):
            server.done.append(name)
        meters[name].call_when_free(lambda: next_work(name))

    for name in meters:
        next_work(name)
    for _ in range(30):
        server.clock.advance(0)
    assert max(Counter(server.done).values()) - min(Counter(server.done).values()) <= 1


def test_new_work_does_not_overtake_waiting_work() -> None:
    server = Server(tick_work=0.001, connection_work=0, person_work=0, address_work=0)
    first, second = (server.limits.meter(f"192.0.2.{number}:1000") for number in (1, 2))
    assert first.admit(MILLISECOND)
    server.work(second, MILLISECOND, "second")
    server.clock.now += 0.001  # the next tick: reads come before timers
    assert not first.admit(MILLISECOND)
    server.clock.advance(0.001)
    assert server.done == ["second"]


def test_work_larger_than_a_tick_is_done_too() -> None:
    server = Server(tick_work=0.001, connection_work=0, person_work=0, address_work=0)
    meter = server.limits.meter("192.0.2.1:1000")
    for _ in range(3):
        server.work(meter, 50 * MILLISECOND, "large")
    server.clock.advance(0)
    server.clock.advance(0)
    assert server.done == ["large"] * 3


def test_closed_meter_calls_nothing_back() -> None:
    server = Server(tick_work=0.001, connection_work=0.1)
    busy = server.limits.meter("192.0.2.9:1000")
    for delayed in (False, True):
        meter = server.limits.meter("192.0.2.1:1000")
        meter.charge(2e6 if delayed else 0)
        busy.charge(MILLISECOND)
        server.work(meter, MILLISECOND, "late")
        meter.close()
        for _ in range(100):
            server.clock.advance(1.0)
        assert server.done == []


def test_new_limits_apply_to_addresses_and_persons() -> None:
    server = Server(connection_work=0, person_work=0, address_work=0)
    meter = server.limits.meter("192.0.2.1:1000")
    assert meter.admit(1e9)
    server.limits.reconfigure(Settings(connection_work=0, person_work=0, address_work=0.1, tick_work=1.0))
    server.clock.advance(1.0)
    assert meter.admit(2e6)
    server.clock.advance(1.0)
    assert not meter.admit(1)
