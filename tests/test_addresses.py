from __future__ import annotations

import pytest

from selchat.addresses import source_of


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
def test_what_counts_as_one_source(host: str, source: str) -> None:
    assert source_of(host) == source
