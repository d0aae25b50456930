from __future__ import annotations

import pytest

from selchat.net.admission import (
    _MAX_REMEMBERED,
    AddressFullError,
    AddressRateError,
    Admission,
    ServerFullError,
    address_of,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def admission(max_total: int = 100, max_per_address: int = 3, rate: int = 1000) -> Admission:
    return Admission(max_total, max_per_address, rate, Clock())


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "fe80::1%eth0"])
def test_one_address_may_hold_so_many_connections(host: str) -> None:
    door = admission()
    assert [door.admit(host) for _ in range(3)] == [None] * 3
    assert isinstance(door.admit(host), AddressFullError)
    assert door.admit("192.0.2.2") is None
    door.release(host)
    assert door.admit(host) is None
    assert door.open == 4


@pytest.mark.parametrize("host", ["127.0.0.1", "127.5.6.7", "::1"])
def test_loopback_is_exempt(host: str) -> None:
    door = admission(rate=5)
    assert [door.admit(host) for _ in range(50)] == [None] * 50
    for _ in range(50):
        door.release(host)
    assert door.open == 0


def test_everyone_together_may_hold_so_many_connections() -> None:
    door = admission(2, 100)
    assert door.admit("127.0.0.1") is None
    assert door.admit("192.0.2.1") is None
    for host in ("127.0.0.1", "192.0.2.1"):
        refusal = door.admit(host)
        assert isinstance(refusal, ServerFullError)
        assert str(refusal) == "server is full (2 connections)"
    assert door.open == 2
    door.release("127.0.0.1")
    assert door.admit("192.0.2.1") is None


def test_the_limits_can_change_and_who_is_in_stays() -> None:
    door = admission(3, 3)
    assert [door.admit("192.0.2.1") for _ in range(3)] == [None] * 3
    door.set_limits(2, 1, 1000)
    assert isinstance(door.admit("192.0.2.2"), ServerFullError)
    assert door.open == 3
    door.release("192.0.2.1")
    door.release("192.0.2.1")
    assert isinstance(door.admit("192.0.2.1"), AddressFullError)
    assert door.admit("192.0.2.2") is None
    door.set_limits(100, 100, 1)
    assert door.admit("192.0.2.3") is None
    assert isinstance(door.admit("192.0.2.3"), AddressRateError)


def test_addresses_that_have_gone_are_forgotten() -> None:
    door = admission()
    for number in range(200):
        door.admit(f"192.0.2.{number}")
        door.release(f"192.0.2.{number}")
    assert door.open == 0
    assert not door._by_address


def test_a_network_of_ipv6_counts_as_one_address() -> None:
    door = admission()
    assert [door.admit(f"2001:db8:1:2::{number}") for number in range(3)] == [None] * 3
    assert isinstance(door.admit("2001:db8:1:2:ffff:ffff:ffff:ffff"), AddressFullError)
    assert door.admit("2001:db8:1:3::1") is None


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::1"),
        ("127.0.0.1", ""),
        ("::1", ""),
        ("1.127.0.0", "1.127.0.0"),
        ("::2", "::/64"),
    ],
)
def test_what_counts_as_one_address(host: str, address: str) -> None:
    assert address_of(host) == address


def test_one_address_may_make_so_many_new_connections_in_a_minute() -> None:
    clock = Clock()
    door = Admission(1000, 1000, 128, clock)
    assert [door.admit("192.0.2.1") for _ in range(128)] == [None] * 128
    refusal = door.admit("192.0.2.1")
    assert isinstance(refusal, AddressRateError)
    assert refusal.limit == 128
    assert door.open == 128
    assert door.admit("192.0.2.2") is None
    clock.now += 30
    assert [door.admit("192.0.2.1") for _ in range(64)] == [None] * 64
    assert isinstance(door.admit("192.0.2.1"), AddressRateError)
    clock.now += 3600
    assert [door.admit("192.0.2.1") for _ in range(128)] == [None] * 128
    assert isinstance(door.admit("192.0.2.1"), AddressRateError)


def test_connections_that_are_refused_do_not_count_for_longer_than_they_last() -> None:
    clock = Clock()
    door = Admission(1000, 1, 60, clock)
    for _ in range(10):
        door.admit("192.0.2.1")
    assert door.open == 1
    door.release("192.0.2.1")
    clock.now += 1
    assert door.admit("192.0.2.1") is None


def test_no_number_of_addresses_fills_the_memory() -> None:
    clock = Clock()
    door = Admission(1 << 30, 1000, 2, clock)
    for number in range(3 * _MAX_REMEMBERED):
        clock.now += 0.001
        for _ in range(2):
            door.admit(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(door._buckets) <= _MAX_REMEMBERED + 1
    newest = 3 * _MAX_REMEMBERED - 1
    assert isinstance(door.admit(f"10.0.{newest >> 8 & 255}.{newest & 255}"), AddressRateError)


def test_those_who_have_rested_are_forgotten_first() -> None:
    clock = Clock()
    door = Admission(1 << 30, 1000, 2, clock)
    for number in range(_MAX_REMEMBERED):
        door.admit(f"10.0.{number >> 8}.{number & 255}")
    clock.now += 120
    for _ in range(2):
        door.admit("192.0.2.1")
    door.admit("192.0.2.2")
    assert set(door._buckets) == {"192.0.2.1", "192.0.2.2"}
