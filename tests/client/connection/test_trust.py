from __future__ import annotations

import pytest

from selchat.client.connection.trust import may_tell_password


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_on_the_same_machine_a_password_may_be_told(address: str) -> None:
    assert may_tell_password(address, encrypted=False)


@pytest.mark.parametrize("address", ["192.168.43.158", "fe80::1%eth0", "2001:db8::1", "::ffff:10.0.0.1"])
def test_elsewhere_only_where_nobody_can_listen(address: str) -> None:
    assert not may_tell_password(address, encrypted=False)
    assert may_tell_password(address, encrypted=True)
