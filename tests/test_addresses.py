from __future__ import annotations

import pytest

from selchat.addresses import is_loopback, join_address, plain_host, source_of


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.168.43.7", "192.168.43.7"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("::ffff:192.168.43.7", "192.168.43.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::1"),
        ("somewhere", "somewhere"),
    ],
)
def test_source_of_groups_the_addresses_that_one_host_controls(host: str, source: str) -> None:
    assert source_of(host) == source


@pytest.mark.parametrize(
    ("host", "address"), [("0.0.0.0", "0.0.0.0:33000"), ("::1", "[::1]:33000"), ("host", "host:33000")]
)
def test_join_address_puts_ipv6_in_brackets(host: str, address: str) -> None:
    assert join_address(host, 33000) == address


@pytest.mark.parametrize(
    ("host", "plain"),
    [("::ffff:192.0.2.1", "192.0.2.1"), ("::ffff:1", "::ffff:1"), ("192.0.2.1", "192.0.2.1")],
)
def test_plain_host_unwraps_an_ipv4_mapped_address(host: str, plain: str) -> None:
    assert plain_host(host) == plain


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("128.0.0.1", False), ("::2", False)],
)
def test_loopback_addresses_are_recognised(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
