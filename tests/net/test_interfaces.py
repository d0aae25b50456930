"""The addresses of this machine, and which of them are of use to others."""

from __future__ import annotations

import ipaddress
import json
import shutil
import subprocess

import pytest

from selchat.net import interfaces
from selchat.net.interfaces import Interface, own_addresses, reachable_addresses


def test_interfaces_are_those_of_the_system() -> None:
    assert Interface("lo", "127.0.0.1") in interfaces.interfaces()
    if shutil.which("ip") is None:
        pytest.skip("iproute2 is not installed")
    found = json.loads(subprocess.check_output(["ip", "-json", "address"]))
    assert own_addresses() == {one["local"] for link in found for one in link["addr_info"]}


HERE = [
    Interface("lo", "127.0.0.1"),
    Interface("docker0", "172.17.0.1"),
    Interface("usb0", "169.254.7.7"),
    Interface("eth0", "192.168.43.158"),
    Interface("wlan0", "10.1.2.3"),
    Interface("wlan0", "10.1.2.4"),
    Interface("lo", "::1"),
    Interface("eth0", "2001:db8::7"),
    Interface("eth0", "fe80::7"),
    Interface("wlan0", "fd00::7"),
    Interface("br-0123456789ab", "fd01::7"),
]


@pytest.mark.parametrize(
    ("host", "ranked"),
    [
        ("0.0.0.0", "192.168.43.158 10.1.2.3 10.1.2.4 172.17.0.1 169.254.7.7"),
        (
            "::",
            "192.168.43.158 10.1.2.3 10.1.2.4 2001:db8::7 fd00::7 172.17.0.1 fd01::7 169.254.7.7",
        ),
        ("192.168.43.158", "192.168.43.158"),
        ("2001:db8::7", "2001:db8::7"),
        ("127.0.0.1", ""),
        ("::1", ""),
        ("fe80::7%eth0", ""),
    ],
)
def test_reachable_addresses_are_ranked(host: str, ranked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interfaces, "interfaces", lambda: HERE)
    assert reachable_addresses(host) == ranked.split()


def test_each_address_appears_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interfaces, "interfaces", lambda: HERE + HERE)
    found = reachable_addresses("::")
    assert len(found) == len(set(found)) == len(HERE) - 3
    assert all(ipaddress.ip_address(one) for one in found)


class Nowhere:
    def read_text(self, _encoding: str) -> str:
        raise FileNotFoundError


def test_systems_without_these_interfaces_have_no_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> bytes:
        raise OSError

    monkeypatch.setattr(interfaces.fcntl, "ioctl", fails)
    monkeypatch.setattr(interfaces, "Path", lambda _: Nowhere())
    assert own_addresses() == set()
