"""By which names a machine may be asked for."""

from __future__ import annotations

import pytest

from selchat.net.host_allowlist import HostAllowlist


class Machine:
    """One that is carried from network to network."""

    def __init__(self, *names: str) -> None:
        self.now = 100.0
        self.addresses = ["192.168.43.158", "fe80::1"]
        self.looks = 0
        self.hosts = HostAllowlist(names, self._look, lambda: self.now)

    def _look(self) -> list[str]:
        self.looks += 1
        return self.addresses


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "::1", "0:0:0:0:0:0:0:1", "hut", "hut.local", "fe80::1"]
)
def test_own_names_and_addresses_are_allowed(host: str) -> None:
    assert host in Machine("Hut", "hut.local").hosts


@pytest.mark.parametrize(
    "host",
    ["", "hut.evil.example", "evil.example", "192.168.43.159", "localhost.", "::2", "127.0.0.2", "[::1]"],
)
def test_other_hosts_are_not_allowed(host: str) -> None:
    assert host not in Machine("hut").hosts


def test_ipv6_address_is_allowed_in_every_spelling() -> None:
    assert "fd00::1" in Machine("[FD00:0::1]").hosts


def test_new_address_is_found_and_unknown_names_cause_no_refresh() -> None:
    machine = Machine()
    assert "10.0.0.7" not in machine.hosts
    machine.addresses = ["10.0.0.7"]
    assert "10.0.0.7" not in machine.hosts
    assert machine.looks == 1, "nobody can have them looked up for each request"
    machine.now += 5
    assert "10.0.0.7" in machine.hosts
    assert "evil.example" not in machine.hosts
    assert machine.looks == 2
    assert "192.168.43.158" not in machine.hosts
