from __future__ import annotations

import tracemalloc

import pytest

from selchat.addresses import limited_source
from selchat.limits import MAX_BUCKETS
from selchat.net.admission import (
    AddressFullError,
    AddressRateError,
    Admission,
    ServerFullError,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def admission(max_total: int = 100, max_per_address: int = 3, rate: int = 1000) -> Admission:
    return Admission(max_total, max_per_address, rate, Clock())


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "fe80::1%eth0"])
def test_open_connections_per_address_are_limited(host: str) -> None:
    limits = admission()
    assert [limits.admit(host) for _ in range(3)] == [None] * 3
    assert isinstance(limits.admit(host), AddressFullError)
    assert limits.admit("192.0.2.2") is None
    limits.release(host)
    assert limits.admit(host) is None
    assert limits.open == 4


@pytest.mark.parametrize("host", ["127.0.0.1", "127.5.6.7", "::1"])
def test_loopback_is_exempt_from_the_limits_per_address(host: str) -> None:
    limits = admission(rate=5)
    assert [limits.admit(host) for _ in range(50)] == [None] * 50
    for _ in range(50):
        limits.release(host)
    assert limits.open == 0


def test_open_connections_in_total_are_limited() -> None:
    limits = admission(2, 100)
    assert limits.admit("127.0.0.1") is None
    assert limits.admit("192.0.2.1") is None
    for host in ("127.0.0.1", "192.0.2.1"):
        refusal = limits.admit(host)
        assert isinstance(refusal, ServerFullError)
        assert str(refusal) == "server is full (2 connections)"
    assert limits.open == 2
    limits.release("127.0.0.1")
    assert limits.admit("192.0.2.1") is None


def test_new_limits_keep_open_connections() -> None:
    limits = admission(3, 3)
    assert [limits.admit("192.0.2.1") for _ in range(3)] == [None] * 3
    limits.set_limits(2, 1, 1000)
    assert isinstance(limits.admit("192.0.2.2"), ServerFullError)
    assert limits.open == 3
    limits.release("192.0.2.1")
    limits.release("192.0.2.1")
    assert isinstance(limits.admit("192.0.2.1"), AddressFullError)
    assert limits.admit("192.0.2.2") is None
    limits.set_limits(100, 100, 1)
    assert limits.admit("192.0.2.3") is None
    assert isinstance(limits.admit("192.0.2.3"), AddressRateError)


def test_addresses_without_connections_take_no_memory() -> None:
    limits = admission()

    def visit(addresses: range) -> int:
        """Open and close a connection from each address; return the bytes that are allocated then."""
        for number in addresses:
            host = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
            assert limits.admit(host) is None
            limits.release(host)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = visit(range(2 * MAX_BUCKETS))  # fills the table of buckets
        assert visit(range(2 * MAX_BUCKETS, 6 * MAX_BUCKETS)) < before + 50 * MAX_BUCKETS
    finally:
        tracemalloc.stop()
    assert limits.open == 0


def test_ipv6_network_counts_as_one_address() -> None:
    limits = admission()
    assert [limits.admit(f"2001:db8:1:2::{number}") for number in range(3)] == [None] * 3
    assert isinstance(limits.admit("2001:db8:1:2:ffff:ffff:ffff:ffff"), AddressFullError)
    assert limits.admit("2001:db8:1:3::1") is None


def test_link_local_addresses_of_one_interface_count_as_one_address() -> None:
    limits = admission()
    assert [limits.admit(f"fe80::{number}%eth0") for number in range(3)] == [None] * 3
    assert isinstance(limits.admit("fe80::9%eth0"), AddressFullError)
    assert limits.admit("fe80::9%eth1") is None


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/10%eth0"),
        ("127.0.0.1", ""),
        ("::1", ""),
        ("1.127.0.0", "1.127.0.0"),
        ("::2", "::/64"),
    ],
)
def test_address_of_groups_ipv6_networks_and_exempts_loopback(host: str, address: str) -> None:
    assert limited_source(host) == address


def test_new_connections_per_address_and_minute_are_limited() -> None:
    clock = Clock()
    limits = Admission(1000, 1000, 128, clock)
    assert [limits.admit("192.0.2.1") for _ in range(128)] == [None] * 128
    refusal = limits.admit("192.0.2.1")
    assert isinstance(refusal, AddressRateError)
    assert refusal.limit == 128
    assert limits.open == 128
    assert limits.admit("192.0.2.2") is None
    clock.now += 30
    assert [limits.admit("192.0.2.1") for _ in range(64)] == [None] * 64
    assert isinstance(limits.admit("192.0.2.1"), AddressRateError)
    clock.now += 3600
    assert [limits.admit("192.0.2.1") for _ in range(128)] == [None] * 128
    assert isinstance(limits.admit("192.0.2.1"), AddressRateError)


def test_refused_connections_do_not_count_as_open() -> None:
    clock = Clock()
    limits = Admission(1000, 1, 60, clock)
    for _ in range(10):
        limits.admit("192.0.2.1")
    assert limits.open == 1
    limits.release("192.0.2.1")
    clock.now += 1
    assert limits.admit("192.0.2.1") is None


def test_the_table_of_addresses_is_bounded_and_keeps_the_newest() -> None:
    clock = Clock()
    limits = Admission(1 << 30, 1000, 2, clock)
    hosts = [f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}" for number in range(3 * MAX_BUCKETS)]
    for host in hosts:
        clock.now += 0.0001
        for _ in range(2):
            assert limits.admit(host) is None
    refused = [isinstance(limits.admit(host), AddressRateError) for host in reversed(hosts)]
    assert refused[0], "the newest address is remembered"
    assert MAX_BUCKETS // 2 <= sum(refused) <= MAX_BUCKETS + 1
    assert all(refused[: sum(refused)]), "the newest addresses are remembered"


def test_full_buckets_are_dropped_before_older_ones_with_fewer_tokens() -> None:
    clock = Clock()
    limits = Admission(1 << 30, 1000, 2, clock)
    for _ in range(2):
        limits.admit("192.0.2.1")
    clock.now += 1
    for number in range(MAX_BUCKETS - 1):
        limits.admit(f"10.0.{number >> 8}.{number & 255}")
    clock.now += 31  # one token more for everyone: the others have two again
    limits.admit("192.0.2.2")  # one address too many
    assert limits.admit("192.0.2.1") is None
    assert isinstance(limits.admit("192.0.2.1"), AddressRateError)
