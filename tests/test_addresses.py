from __future__ import annotations

import pytest

from selchat.addresses import host_of, is_loopback, join_address, parse_network, plain_host, source_of


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.168.43.7", "192.168.43.7"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("::ffff:192.168.43.7", "192.168.43.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/10%eth0"),
        ("fe80::2%eth0", "fe80::/10%eth0"),
        ("fe80::1%eth1", "fe80::/10%eth1"),
        ("::ffff:c0a8:2b07", "192.168.43.7"),
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


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("192.168.43.7", "192.168.43.7"),
        ("192.168.43.7:54494", "192.168.43.7"),
        ("192.168.43.7/24", "192.168.43.0/24"),
        ("192.168.43.7/255.255.255.0", "192.168.43.0/24"),
        ("::ffff:192.168.43.7", "192.168.43.7"),
        ("::FFFF:c0a8:2b07", "192.168.43.7"),
        ("[::ffff:192.168.43.7]:54494", "192.168.43.7"),
        ("::ffff:192.168.43.7/120", "192.168.43.0/24"),
        ("::ffff:192.168.43.7/128", "192.168.43.7"),
        ("fd00:9::7", "fd00:9::/64"),
        ("FD00:0009:0:0:0:0:0:7", "fd00:9::/64"),
        ("[fd00:9::7]", "fd00:9::/64"),
        ("[fd00:9::7]:54494", "fd00:9::/64"),
        ("fd00:9::7/128", "fd00:9::7/128"),
        ("fd00:9::7/48", "fd00:9::/48"),
        ("fe80::1%eth0", "fe80::/10%eth0"),
        ("[fe80::1%eth0]:54494", "fe80::/10%eth0"),
        ("fe80::/10%eth0", "fe80::/10%eth0"),
        ("fe80::1%eth0/64", "fe80::/64%eth0"),
        ("fe80::1", "fe80::/10"),
        ("fe80::1/128", "fe80::1/128"),
        ("fe80::1%eth0/128", "fe80::1/128%eth0"),
        ("::1", "::1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
    ],
)
def test_network_of_an_operator_has_one_form_for_every_spelling(text: str, network: str) -> None:
    parsed = parse_network(text)
    assert str(parsed) == network
    assert parse_network(network) == parsed


@pytest.mark.parametrize(
    "text", ["Venkat", "", "192.168.43", "1", "[Venkat]:1", "10.0.0.1:x", "fe80::1%eth0/x"]
)
def test_name_is_no_network(text: str) -> None:
    assert parse_network(text) is None


@pytest.mark.parametrize(
    ("network", "host", "expected"),
    [
        ("fd00:9::7", "fd00:9::8", True),
        ("fd00:9::7", "fd00:9:0:1::7", False),
        ("fd00:9::7/128", "fd00:9::8", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1/120", "192.0.2.200", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("fe80::1%eth0", "fe80::2%eth1", False),
        ("fe80::1", "fe80::2%eth1", True),
        ("fe80::1", "fd00::1", False),
        ("0.0.0.0/0", "fd00::1", False),
        ("0.0.0.0/0", "somewhere", False),
    ],
)
def test_network_contains_every_address_of_its_hosts(network: str, host: str, expected: bool) -> None:
    parsed = parse_network(network)
    assert parsed is not None
    assert parsed.contains(host) is expected


@pytest.mark.parametrize(
    ("address", "host"),
    [("192.0.2.1:5", "192.0.2.1"), ("[::1]:5", "::1"), ("[fe80::1%eth0]:5", "fe80::1%eth0")],
)
def test_host_of_an_address_has_no_brackets(address: str, host: str) -> None:
    assert host_of(address) == host
