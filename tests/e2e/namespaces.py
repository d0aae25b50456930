"""Two network namespaces that stand for two machines with a cable between them.

They need Linux and root. The `network` fixture skips its test elsewhere.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SERVER, CLIENT = "10.97.53.1", "10.97.53.2"  # addresses

_CLONE_NEWNET = 0x40000000


class UnavailableError(Exception):
    """This machine cannot do it; the text says what and why."""


_DISABLE_IPV6 = "for file in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 > $file; done"


class Network:
    """A server machine and a client machine with the addresses `SERVER` and `CLIENT`.

    Raises `UnavailableError` if they cannot be made here.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        if sys.platform != "linux" or os.geteuid():
            raise UnavailableError("network namespaces need Linux and root")
        if shutil.which("ip") is None:
            raise UnavailableError("ip is not installed (iproute2)")
        try:
            for side in "sc":
                self._names.append(f"selchat-{os.getpid()}-{side}")
                self._ip("netns", "add", self._names[-1])
            server, client = self._names
            self._ip("-n", server, "link", "add", "cable", "type", "veth", "peer", "name", "far")
            self._ip("-n", server, "link", "set", "far", "netns", client, "name", "cable")
            for name, address in ((server, SERVER), (client, CLIENT)):
                # Without IPv6: its duplicate address detection ends seconds later, and Chromium then cancels
                # the requests under way with ERR_NETWORK_CHANGED.
                self._run("ip", "netns", "exec", name, "sh", "-c", _DISABLE_IPV6)
                self._ip("-n", name, "addr", "add", f"{address}/24", "dev", "cable")
                self._ip("-n", name, "link", "set", "lo", "up")
                self._ip("-n", name, "link", "set", "cable", "up")
        except BaseException:
            self.remove()
            raise

    @property
    def server_wrapper(self) -> tuple[str, ...]:
        """The command that runs Python on the server machine."""
        return ("ip", "netns", "exec", self._names[0], sys.executable)

    @property
    def client_wrapper(self) -> tuple[str, ...]:
        """The prefix that runs a command on the client machine."""
        return ("ip", "netns", "exec", self._names[1])

    @contextmanager
    def on_client_machine(self) -> Iterator[None]:
        """Let this thread open its sockets on the client machine."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net") as original, open(f"/run/netns/{self._names[1]}") as client:
            if libc.setns(client.fileno(), _CLONE_NEWNET):
                raise UnavailableError(f"setns: {os.strerror(ctypes.get_errno())}")
            try:
                yield
            finally:
                assert libc.setns(original.fileno(), _CLONE_NEWNET) == 0

    def add_ipv6(self, server: list[str], client: list[str]) -> None:
        """Switch IPv6 on, and give each machine these addresses in addition to its own."""
        for name, addresses in zip(self._names, (server, client), strict=True):
            self._run("ip", "netns", "exec", name, "sh", "-c", _DISABLE_IPV6.replace("echo 1", "echo 0"))
            for address in addresses:  # without duplicate address detection, which takes a second
                self._ip("-n", name, "addr", "add", f"{address}/64", "dev", "cable", "nodad")

    def unplug(self) -> None:
        """Unplug the cable: packets are lost, and no program gets an error."""
        self._ip("-n", self._names[1], "link", "set", "cable", "down")

    def plug(self) -> None:
        """Plug the cable in again."""
        self._ip("-n", self._names[1], "link", "set", "cable", "up")

    def drop_packets(self, share: float) -> None:
        """Drop this share of all packets at random; 0 drops none. Raises `UnavailableError`."""
        if shutil.which("iptables") is None:
            raise UnavailableError("iptables is not installed")
        rule = ["-m", "statistic", "--mode", "random", "--probability", str(share), "-j", "DROP"]
        for name in self._names:
            self._run("ip", "netns", "exec", name, "iptables", "-F", "INPUT")
            if share:
                self._run("ip", "netns", "exec", name, "iptables", "-A", "INPUT", *rule)

    def remove(self) -> None:
        """Remove the namespaces, and with them the cable."""
        for name in self._names:
            if Path(f"/run/netns/{name}").exists():
                self._ip("netns", "del", name)

    def _ip(self, *command: str) -> None:
        self._run("ip", *command)

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        if done.returncode:
            raise UnavailableError(f"{' '.join(command)}: {done.stderr.strip()}")


@pytest.fixture
def network() -> Iterator[Network]:
    try:
        network = Network()
    except UnavailableError as error:
        pytest.skip(f"no network namespaces here: {error}")
    try:
        yield network
    finally:
        network.remove()
