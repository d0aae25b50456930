"""A server with thousands of clients: well-behaved, stalled, slow and short-lived ones.

Each test has a short form, which always runs, and a full one, which runs with ``--full``.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from selchat.bench.system.proc import raise_descriptor_limit
from tests.e2e.crowd import Crowd
from tests.e2e.durability import Checker, Load
from tests.e2e.selchat_support import SelchatPeer, encoded, greeting, serving
from tests.e2e.support import DEADLINE, Client, Server, eventually, frame

UNLIMITED = ("--message-rate=0", "--byte-rate=0")

_MIB = 1 << 20
_PER_SOURCE = 20_000  # connections from one address; Linux has 28,232 ephemeral ports
_ABUSIVE_CLIENTS = Path(__file__).parents[2] / "benchmarks" / "harness" / "abusive_clients.py"
_RESET = b"\1\0\0\0\0\0\0\0"  # SO_LINGER: on, 0 s

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="it needs /proc"),
    pytest.mark.timeout(0),  # every wait has its own deadline, and --full takes minutes
]


@pytest.fixture(autouse=True)
def many_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    raise_descriptor_limit()
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


class TestShortConnections:
    """Short-lived connections leak no descriptor, at most 5 MiB of memory, and cause no traceback."""

    def test_reset_connections_leak_nothing(self, full: bool) -> None:
        self._check_leaks(10_000 if full else 500, reset=True)

    def test_closed_connections_leak_nothing(self, full: bool) -> None:
        self._check_leaks(100_000 if full else 2_000, reset=False)

    def _check_leaks(self, count: int, *, reset: bool) -> None:
        draw = random.Random(1)
        with Server("--quiet", *UNLIMITED) as server:
            descriptors = server.descriptors()
            self._connect(server, 500, draw, reset)  # a one-time allocation is no leak
            eventually(lambda: server.descriptors() == descriptors, "all descriptors are closed")
            memory = server.resident_bytes()
            self._connect(server, count, draw, reset)
            eventually(lambda: server.descriptors() == descriptors, "all descriptors are closed")
            growth = server.resident_bytes() - memory
            print(f"{count} connections: memory {growth / _MIB:+.2f} MiB")
            assert growth < 5 * _MIB
            server.assert_serves()
            assert server.stop() == 0
            assert "Traceback" not in server.remaining_output()
            assert server.errors() == ""

    def _connect(self, server: Server, count: int, draw: random.Random, reset: bool) -> None:
        with SelchatPeer(server.port, "Witness") as witness:
            for number in range(count):
                with socket.socket() as sock:
                    sock.bind((f"127.0.0.{2 + number // _PER_SOURCE}", 0))
                    sock.settimeout(DEADLINE)
                    sock.connect(("127.0.0.1", server.port))
                    name = f"c{draw.randrange(100)}"
                    kind = draw.randrange(5)
                    if kind == 1:
                        sock.send(b"12  ")
                    elif kind == 2:
                        sock.send(frame(name))
                    elif kind == 3:
                        sock.send(frame(name) + frame("hello"))
                    elif kind == 4:
                        sock.send(encoded(greeting(name)))
                        if draw.randrange(2):
                            sock.recv(10)  # the rest of the welcome is never read
                    if reset:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                if number % 100 == 99:  # wait until the server has caught up
                    witness.send({"type": "ping", "token": f"{number}"})
                    witness.read_until(lambda message: message.get("token") == f"{number}")  # noqa: B023


class TestStalledReaders:
    """Stalled readers share the data of the feeds, without a copy for each: 300 MiB for 2,000 readers."""

    @pytest.mark.parametrize("wire", [pytest.param("selchat", marks=pytest.mark.slow), "classic"])
    def test_memory_of_stalled_readers_is_bounded(self, wire: str, full: bool, tmp_path: Path) -> None:
        # An unlimited feed takes 30 MiB in the short form.
        count, size, messages, seconds, limit = 200, 16_000, 1500, 0.0, 20 * _MIB
        if full:
            count, size, messages, seconds, limit = 2000, 4000, 0, 300.0, 300 * _MIB
        body = "x" * size
        with serving(tmp_path / "history.sqlite", *UNLIMITED) as server:
            with (
                Crowd(server.port, count, "stalled", wire) as crowd,
                SelchatPeer(server.port, "Asa") as asa,
                SelchatPeer(server.port, "Bo") as bo,
            ):
                crowd.wait_until_online()
                everyone = count + 2
                eventually(lambda: asa.request("users", room="lobby")["total"] == everyone, "all are members")
                memory = peak = server.resident_bytes()
                end, number = time.monotonic() + seconds, 0
                while number < messages or time.monotonic() < end:
                    for _ in range(10):
                        number += 1
                        asa.send({"type": "say", "room": "lobby", "id": f"{number}", "body": body})
                    bo.read_until(lambda message: message.get("id") == f"{number}")  # noqa: B023
                    bo.send({"type": "pong"})  # a keepalive, because this reader sends nothing else
                    asa.read_until(lambda message: message.get("id") == f"{number}")  # noqa: B023
                    peak = max(peak, server.resident_bytes())
                print(
                    f"{count} stalled {wire} readers, {number} messages of {size} bytes: "
                    f"memory {(peak - memory) / _MIB:+.0f} MiB"
                )
                assert number > 100
                assert peak - memory < limit
            assert server.stop() == 0
            assert server.errors() == ""


class TestDescriptors:
    """A limit of 256 descriptors, and 400 clients that want to connect."""

    def test_full_server_does_not_spin_and_serves_its_members(self, tmp_path: Path) -> None:
        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

        path = tmp_path / "history.sqlite"
        with serving(path, *UNLIMITED, preexec_fn=limit) as server:
            asa = SelchatPeer(server.port, "Asa")
            clients = [Client(server.port, f"user{number}") for number in range(400)]
            capacity = 256 - 32  # the server reserves 32
            eventually(lambda: asa.request("users", room="lobby")["total"] == capacity, "the server is full")
            server.assert_idle()
            for number in range(20):
                assert asa.say("the log commits", f"{number}")["type"] == "ack"
            for client in clients[:200]:
                client.close()
            begin = time.monotonic()
            eventually(lambda: asa.request("users", room="lobby")["total"] == 201, "the others are members")
            took = time.monotonic() - begin
            print(f"the waiting clients were members {took:.2f} s after that")
            for peer in (asa, *clients[200:]):
                peer.close()
            assert server.stop() == 0
            assert server.errors() == ""
            assert "Traceback" not in server.remaining_output()


class TestSigterm:
    """SIGTERM under load: exit status 0, a clean end for each client, no acknowledged message lost."""

    def test_sigterm_loses_no_acknowledged_message(self, full: bool, tmp_path: Path) -> None:
        count = 5000 if full else 200
        path = tmp_path / "history.sqlite"
        load = Load(random.Random(1))
        try:
            with serving(path, *UNLIMITED) as server, Crowd(server.port, count, "readers") as crowd:
                crowd.wait_until_online()
                load.connect(server.port)
                load.run(lambda: len(load.acked) >= 500)
                begin = time.monotonic()
                server.process.send_signal(signal.SIGTERM)
                ended = threading.Event()
                status: list[int] = []

                def wait() -> None:
                    status.append(server.process.wait(60))
                    ended.set()

                waiter = threading.Thread(target=wait)
                waiter.start()
                load.run(lambda: ended.is_set() or not load.unacknowledged)
                waiter.join()
                took = time.monotonic() - begin
                print(f"{count} clients under load: ended after {took:.1f} s, {len(load.acked)} acked")
                assert status == [0]
                assert server.errors() == ""
                load.disconnect()
                eventually(lambda: crowd.report()["online"] == 0, "all clients know the end")
                assert crowd.report()["reasons"] == ["end"], "some were reset"
            checker = Checker(path, load)
            assert checker.check_all() == []
            assert len(load.acked) >= 500
        finally:
            load.close()


class TestRestart:
    """After a restart all clients reconnect within 60 s, at different times, and stay connected."""

    def test_all_clients_reconnect_at_different_times(self, full: bool, tmp_path: Path) -> None:
        count, processes = (5000, 4) if full else (100, 1)
        path = tmp_path / "history.sqlite"
        with serving(path) as server, Crowd(server.port, count, processes=processes) as crowd:
            crowd.wait_until_online(within=120.0)
            assert crowd.report()["lost"] == 0
            port = server.port
            assert server.stop() == 0
            begin = time.monotonic()
            with serving(path, port=port) as restarted:
                report = crowd.wait_until_online(within=60.0)
                took = time.monotonic() - begin
                lost = report["lost"]
                end = time.monotonic() + (30.0 if full else 1.0)
                eventually(lambda: time.monotonic() > end, within=60.0)
                later = crowd.report()
                reconnects = Counter(int((when - begin) * 10) for when in later["signed_in"])
                print(
                    f"{count} clients: all reconnected after {took:.1f} s, {lost} attempts lost, "
                    f"at most {max(reconnects.values())} in a tenth of a second"
                )
                assert later["finished"] == []
                assert (later["online"], later["lost"]) == (count, lost), "connections were lost again"
                assert later["gaps"] == 0
                # The first delay is uniform between 1 and 1.5 s, so no two are equal.
                assert len({round(delay, 6) for delay in later["delays"]}) > count * 0.9
                assert max(later["delays"]) - min(later["delays"]) > 0.3
                assert restarted.stop() == 0
                assert restarted.errors() == ""


class TestSlowLoris:
    """The server closes 1,000 clients that send a byte a second and never log in, at the login timeout."""

    def test_all_are_closed_at_the_login_timeout(self, full: bool) -> None:
        count, seconds = (1000, 10.0) if full else (100, 1.0)
        environment = {**os.environ, "SELCHAT_LOGIN_SECONDS": str(seconds)}
        with Server("--quiet", env=environment) as server, Client(server.port, "Ann") as ann:
            ann.read_until("Server", "Users online (1): Ann")
            descriptors = server.descriptors()
            with subprocess.Popen(
                [sys.executable, str(_ABUSIVE_CLIENTS), "loris", str(server.port), str(count)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            ) as process:
                assert process.stdout is not None
                assert json.loads(process.stdout.readline())["ready"] == count
                server.assert_serves()
                eventually(lambda: server.descriptors() <= descriptors, "all closed", within=60)
                output, _ = process.communicate(timeout=DEADLINE)
            lives = json.loads(output)["lives"]
            print(f"{count} slow-loris connections were closed after {min(lives):.2f} to {max(lives):.2f} s")
            assert len(lives) == count
            assert min(lives) >= seconds - 0.05
            ann.send("still here")
            assert server.stop() == 0
