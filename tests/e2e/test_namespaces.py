"""Unplugged cables and lost packets between two network namespaces."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from selchat.client.connection.link import Link, LinkState
from selchat.client.events import Gap, Message
from selchat.net.reactor import Reactor
from tests.client.support import Recorder, fail, settings, spin
from tests.e2e.namespaces import SERVER, Network, UnavailableError
from tests.e2e.namespaces import network as network  # a fixture
from tests.e2e.selchat_support import encoded, greeting
from tests.e2e.support import Client, Server

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


def wait(reactor: Reactor, seconds: float) -> None:
    """Run the reactor for so many seconds."""
    end = time.monotonic() + seconds
    spin(reactor, lambda: time.monotonic() > end)
