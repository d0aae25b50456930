"""Two machines and a cable, made of network namespaces: on Linux, for root. Elsewhere they are skipped."""

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


class CannotError(Exception):
    """The text says what cannot be done here."""


class Network:
    """A server's machine and a client's, with the addresses `SERVER` and `CLIENT`. Raises `CannotError`."""

    def __init__(self) -> None:
        self._names: list[str] = []
        if sys.platform != "linux" or os.geteuid():
            raise CannotError("network namespaces are Linux's, and root's")
        if shutil.which("ip") is None:
            raise CannotError("ip is not installed (iproute2)")
        try:
            for side in "sc":
                self._names.append(f"selchat-{os.getpid()}-{side}")
                self._ip("netns", "add", self._names[-1])
            server, client = self._names
            self._ip("-n", server, "link", "add", "cable", "type", "veth", "peer", "name", "far")
            self._ip("-n", server, "link", "set", "far", "netns", client, "name", "cable")
            for name, address in ((server, SERVER), (client, CLIENT)):
                self._ip("-n", name, "addr", "add", f"{address}/24", "dev", "cable")
                self._ip("-n", name, "link", "set", "lo", "up")
                self._ip("-n", name, "link", "set", "cable", "up")
        except BaseException:
            self.remove()
            raise

    @property
    def server_wrapper(self) -> tuple[str, ...]:
        """The command prefix that runs Python on the server's machine."""
        return ("ip", "netns", "exec", self._names[0], sys.executable)

    @property
    def client_wrapper(self) -> tuple[str, ...]:
        """The command prefix that runs a command on the client's machine."""
        return ("ip", "netns", "exec", self._names[1])

    @contextmanager
    def on_the_clients_machine(self) -> Iterator[None]:
        """Have this thread make its sockets there."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net") as here, open(f"/run/netns/{self._names[1]}") as there:
            if libc.setns(there.fileno(), _CLONE_NEWNET):
                raise CannotError(f"setns: {os.strerror(ctypes.get_errno())}")
            try:
                yield
            finally:
                assert libc.setns(here.fileno(), _CLONE_NEWNET) == 0

    def pull(self) -> None:
        """Pull the cable out: packets go nowhere, and no program notices."""
        self._ip("-n", self._names[1], "link", "set", "cable", "down")

    def plug(self) -> None:
        """Put it in again."""
        self._ip("-n", self._names[1], "link", "set", "cable", "up")

    def lose(self, share: float) -> None:
        """Lose that share of all packets, by chance; 0: none. Raises `CannotError`."""
        if shutil.which("iptables") is None:
            raise CannotError("iptables is not installed")
        rule = ["-m", "statistic", "--mode", "random", "--probability", str(share), "-j", "DROP"]
        for name in self._names:
            self._run("ip", "netns", "exec", name, "iptables", "-F", "INPUT")
            if share:
                self._run("ip", "netns", "exec", name, "iptables", "-A", "INPUT", *rule)

    def remove(self) -> None:
        """Give everything back; the cable goes with the namespaces."""
        for name in self._names:
            if Path(f"/run/netns/{name}").exists():
                self._ip("netns", "del", name)

    def _ip(self, *words: str) -> None:
        self._run("ip", *words)

    def _run(self, *words: str) -> None:
        done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
        if done.returncode:
            raise CannotError(f"{' '.join(words)}: {done.stderr.strip()}")


@pytest.fixture
def network() -> Iterator[Network]:
    try:
        network = Network()
    except CannotError as error:
        pytest.skip(f"no network namespaces here: {error}")
    try:
        yield network
    finally:
        network.remove()
