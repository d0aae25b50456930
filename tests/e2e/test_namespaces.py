"""Unplugged cables and lost packets between two network namespaces."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from selchat.client.connection.link import Link, LinkState
from selchat.client.events import Gap, Message
from selchat.net.reactor import Reactor
from tests.client.support import Recorder, fail, settings, spin
from tests.e2e.namespaces import SERVER, Network, UnavailableError
from tests.e2e.namespaces import network as network  # a fixture
from tests.e2e.selchat_support import encoded, greeting
from tests.e2e.support import DEADLINE, Client, Server, frame

_FOUND_DEAD = 35.0  # seconds
_QUICK = {
    "retry_base_seconds": 0.01,
    "retry_max_seconds": 0.1,
    "keepalive_seconds": 0.5,
    "connect_seconds": 1.0,
}


@pytest.fixture
def server(network: Network) -> Iterator[Server]:
    with Server("--no-roster", "--message-rate=0", host=SERVER, wrapper=network.server_wrapper) as server:
        yield server


@pytest.mark.timeout(0)
def test_lost_packets_and_a_replugged_cable_lose_and_double_no_message(
    network: Network, server: Server, full: bool
) -> None:
    rounds = 200 if full else 10
    chance, recorder = random.Random(1), Recorder()
    client_settings = settings(server.port, host=SERVER, wire="selchat", **_QUICK)
    sent = []
    with network.on_client_machine(), closing(Reactor(fail)) as reactor:
        with closing(Link(reactor, client_settings, recorder)) as link:
            link.open()
            # A client whose first connection gets no answer gives up, and a lost packet could cause that.
            spin(reactor, lambda: link.state is LinkState.ONLINE)
            try:
                network.drop_packets(0.1)
            except UnavailableError as error:
                pytest.skip(f"packets cannot be lost here: {error}")
            for number in range(rounds):
                server.type(f"theirs {number}")
                sent.append(f"mine {number} {'x' * chance.choice((0, 3000))}")
                link.say(sent[-1])
                if number % 5 == 4:
                    network.unplug()
                    wait(reactor, chance.uniform(0.1, 1.5))
                    network.plug()
                wait(reactor, chance.uniform(0.0, 0.3))
            network.drop_packets(0)
            spin(reactor, lambda: len(recorder.messages) >= 2 * rounds and not link.queued)
            server.type("the end")
            spin(reactor, lambda: recorder.messages[-1] == ("Server", "the end"))
    messages = [event for event in recorder.events if isinstance(event, Message)]
    theirs = [*(f"theirs {number}" for number in range(rounds)), "the end"]
    assert [one.body for one in messages if one.own] == sent
    assert [one.body for one in messages if one.author == "Server"] == theirs
    assert [one.seq for one in messages] == list(range(1, len(messages) + 1))
    assert not any(isinstance(event, Gap) for event in recorder.events)
    assert server.stop() == 0


@pytest.mark.timeout(0)
@pytest.mark.parametrize("traffic", [False, True], ids=["idle", "with traffic"])
def test_clients_behind_a_pulled_cable_are_found_dead(
    traffic: bool, network: Network, server: Server, full: bool
) -> None:
    """Classic ones by the system's keepalive, or by unacknowledged data; selchat ones by ping as well."""
    if not full:
        pytest.skip("takes 35 s; --full runs it")
    with network.on_client_machine():
        with (
            Client(server.port, "Ann", host=SERVER),
            Client(server.port, host=SERVER) as bo,
        ):
            bo.send_raw(encoded(greeting("Bo")))
            server.expect("username: Ann")
            server.expect("username: Bo")
            network.unplug()
            begin = time.monotonic()
            if traffic:
                server.type("are you there?")
            for _ in range(2):
                found = server.expect(
                    "Closed connection from .*username: (Ann|Bo) .*", within=2 * _FOUND_DEAD
                )
                print(f"after {time.monotonic() - begin:.0f} s: {found[0]}")
            assert time.monotonic() - begin < _FOUND_DEAD + 1.0
    assert server.stop() == 0


LINK_LOCAL = [f"fe80::97:{number:x}" for number in range(1, 9)]  # of the client; a host can have any number


@pytest.fixture
def dual(network: Network) -> Iterator[Server]:
    """Run a server on all addresses, with the limit of four connections from one address."""
    network.add_ipv6(["fe80::97:1001", "fd00:97::1"], [*LINK_LOCAL, "fd00:97::2", "fd00:97::3"])
    options = "--no-roster", "--no-history", "--tls=off"
    environment = {**os.environ, "SELCHAT_CLIENTS_PER_ADDRESS": "4"}
    with Server(*options, host="::", wrapper=network.server_wrapper, env=environment) as server:
        yield server


def connect(stack: ExitStack, server: Server, name: str, source: str, target: str) -> str:
    """Connect from one address to another; return how the server refuses the name, or nothing."""
    scope = socket.if_nametoindex("cable") if source.startswith("fe80") else 0
    family, more = (socket.AF_INET6, (0, scope)) if ":" in source else (socket.AF_INET, ())
    sock = stack.enter_context(socket.socket(family))
    sock.settimeout(DEADLINE)
    sock.bind((source, 0, *more))
    sock.connect((target, server.port, *more))
    sock.sendall(frame(name))
    if "username" in server.expect(f"(username: {name}|Closed connection from)")[1]:
        return ""
    answer = ""
    while data := sock.recv(1000):
        answer += data.decode()
    return answer


def test_link_local_addresses_of_one_host_share_a_limit(network: Network, dual: Server) -> None:
    with network.on_client_machine(), ExitStack() as stack:
        answers = [
            connect(stack, dual, f"user{number}", source, "fe80::97:1001")
            for number, source in enumerate(LINK_LOCAL)
        ]
        assert answers[:4] == [""] * 4
        assert all("more than 4 connections from one address" in answer for answer in answers[4:])
    assert dual.stop() == 0


@pytest.mark.parametrize(
    ("target", "banned", "free"),
    [
        ("fd00:97::2", ["fd00:97::2", "fd00:97::3"], ["10.97.53.2", LINK_LOCAL[0]]),
        ("::ffff:10.97.53.2", ["10.97.53.2"], ["fd00:97::2", LINK_LOCAL[0]]),
        (f"{LINK_LOCAL[0]}%cable", LINK_LOCAL[:3], ["fd00:97::2", "10.97.53.2"]),
    ],
)
def test_ban_of_an_address_covers_the_addresses_of_its_host(
    network: Network, dual: Server, target: str, banned: list[str], free: list[str]
) -> None:
    servers = {"1": SERVER, "f": "fd00:97::1", "fe80": "fe80::97:1001"}
    dual.type(f"/ban {target}")
    dual.expect("Banned .*\n")
    with network.on_client_machine(), ExitStack() as stack:
        for number, source in enumerate([*banned, *free]):
            to = servers[source[:4] if source.startswith("fe80") else source[0]]
            answer = connect(stack, dual, f"user{number}", source, to)
            assert ("the operator has banned you" in answer) == (source in banned), source
    assert dual.stop() == 0


def wait(reactor: Reactor, seconds: float) -> None:
    """Run the reactor for so many seconds."""
    end = time.monotonic() + seconds
    spin(reactor, lambda: time.monotonic() > end)
