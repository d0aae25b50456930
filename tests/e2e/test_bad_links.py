"""Delayed, cut, stalled, half-closed and half-open links lose and double no message."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import closing
from itertools import count

import pytest

from selchat.client.connection.link import Link, LinkState
from selchat.client.events import Gap, Message
from selchat.net.reactor import Reactor
from tests.client.support import Recorder, fail, settings, spin
from tests.e2e.proxy import Direction, Proxy
from tests.e2e.selchat_support import Fields, SelchatPeer
from tests.e2e.support import Client, Server, eventually

UNLIMITED = ("--message-rate=0", "--byte-rate=0")
_UP, _DOWN = Direction.UP, Direction.DOWN

# The failures of a link, by name; ``size`` is a number of bytes.
_FAULTS: dict[str, Callable[[Proxy, int], object]] = {
    "reset": lambda proxy, size: proxy.reset(),
    "closed": lambda proxy, size: proxy.close(),
    "cut on the way up": lambda proxy, size: proxy.cut_after(_UP, size),
    "cut on the way down": lambda proxy, size: proxy.cut_after(_DOWN, size),
    "half-closed by the client": lambda proxy, size: proxy.half_close(_UP),
    "half-closed by the server": lambda proxy, size: proxy.half_close(_DOWN),
    "half-open at the client": lambda proxy, size: proxy.leave_half_open(_DOWN),
    "half-open at the server": lambda proxy, size: proxy.leave_half_open(_UP),
    "slow": lambda proxy, size: setattr(proxy, "delay", 0.05),
    "in pieces": lambda proxy, size: setattr(proxy, "piece", 1 + size % 40),
    "stalled on the way up": lambda proxy, size: proxy.stalled.add(_UP),
    "stalled on the way down": lambda proxy, size: proxy.stalled.add(_DOWN),
}


@pytest.mark.parametrize(
    "secure", [pytest.param(False, id="plain", marks=pytest.mark.slow), pytest.param(True, id="TLS")]
)
@pytest.mark.timeout(0)
def test_no_message_is_lost_or_doubled_on_a_failing_link(secure: bool, full: bool) -> None:
    rounds = 1000 if full else 3 * len(_FAULTS)
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    order = [name for _ in range(-(-rounds // len(_FAULTS))) for name in _FAULTS]
    chance.shuffle(order)
    sent: list[str] = []
    asa_sent: list[str] = []
    seen_by_asa: list[Fields] = []
    with Server("--quiet", "--no-roster", *UNLIMITED) as server, Proxy(server.port) as proxy:
        recorder = Recorder()
        quick = {
            "retry_base_seconds": 0.01,
            "retry_max_seconds": 0.05,
            "keepalive_seconds": 0.25,
            "connect_seconds": 0.5,
        }
        client_settings = settings(
            proxy.port, wire="selchat", name="Michael", tls="require" if secure else "off", **quick
        )
        with SelchatPeer(server.port, "Asa") as asa, closing(Reactor(fail)) as reactor:
            with closing(Link(reactor, client_settings, recorder)) as link:
                link.open()
                spin(reactor, lambda: link.state is LinkState.ONLINE)
                numbers = count()
                for fault in order[:rounds]:
                    _FAULTS[fault](proxy, chance.randrange(1, 600))
                    for _ in range(chance.randint(1, 4)):
                        sent.append(f"mine {next(numbers)} {'x' * chance.choice((0, 10, 500))}")
                        link.say(sent[-1])
                        asa_sent.append(f"theirs {next(numbers)} {'é' * chance.choice((0, 10, 500))}")
                        id = f"{len(asa_sent)}"
                        asa.send({"type": "say", "room": "lobby", "id": id, "body": asa_sent[-1]})
                        seen_by_asa += asa.read_until(lambda one: one.get("id") == id)  # noqa: B023
                    end = reactor.now + chance.uniform(0.0, 0.1)
                    spin(reactor, lambda: reactor.now > end)  # noqa: B023
                    if chance.random() < 0.7:
                        proxy.heal()
                proxy.heal()
                what = f"with seed {seed}"
                spin(
                    reactor,
                    lambda: len(recorder.messages) >= len(sent) + len(asa_sent) and not link.queued,
                    what,
                )
                # Once more, so that a duplicate would have arrived by now.
                asa.send({"type": "say", "room": "lobby", "id": "end", "body": "the end"})
                spin(reactor, lambda: recorder.messages[-1] == ("Asa", "the end"), what)
            messages = [event for event in recorder.events if isinstance(event, Message)]
            assert [one.body for one in messages if one.own] == sent, what
            assert [one.body for one in messages if one.author == "Asa"] == [*asa_sent, "the end"], what
            assert [one.seq for one in messages] == list(range(1, len(messages) + 1)), what
            assert not any(isinstance(event, Gap) for event in recorder.events), what
            assert proxy.links > rounds / 4, "the link was hardly ever broken"
            seen_by_asa += asa.read_until(lambda one: one.get("id") == "end")
            assert [one["body"] for one in seen_by_asa if one["type"] == "said"] == sent, what
        assert server.stop() == 0
        assert server.errors() == ""


def test_server_detects_a_vanished_selchat_client() -> None:
    quick = {**os.environ, "SELCHAT_PING_SECONDS": "0.2", "SELCHAT_PONG_SECONDS": "0.2"}
    with Server("--no-roster", env=quick) as server, Proxy(server.port) as proxy:
        with SelchatPeer(proxy.port, "Asa") as asa:
            assert asa.read()["type"] == "ping"
            proxy.leave_half_open(_UP)
            server.expect("Closed connection from .*username: Asa")
        assert server.stop() == 0


def test_classic_client_on_a_bad_link_gets_no_partial_frame() -> None:
    with Server("--quiet", "--no-roster", *UNLIMITED) as server, Proxy(server.port) as proxy:
        proxy.piece, proxy.delay = 3, 0.002
        with Client(proxy.port, "Michael") as michael, Client(server.port, "Venkat") as venkat:
            eventually(lambda: proxy.links == 1)
            with SelchatPeer(server.port, "Asa") as asa:
                eventually(lambda: asa.request("users", room="lobby")["total"] == 3, "all are members")
            for number in range(20):
                venkat.send(f"{number} " + "x" * number)
            assert [michael.read_pair()[1].split()[0] for _ in range(20)] == list(map(str, range(20)))
        assert server.stop() == 0
