"""Delayed, cut, stalled, half-closed and half-open links: clients resume, and no message is lost or doubled."""

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
_MISHAPS: dict[str, Callable[[Proxy, int], object]] = {
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


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
@pytest.mark.timeout(0)
def test_no_message_is_lost_or_doubled_on_a_failing_link(secure: bool, full: bool) -> None:
    rounds = 1000 if full else 3 * len(_MISHAPS)
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    order = [name for _ in range(-(-rounds // len(_MISHAPS))) for name in _MISHAPS]
    chance.shuffle(order)
    said: list[str] = []
    heard: list[str] = []
    shown: list[Fields] = []  # to Asa
    with Server("--quiet", "--no-roster", *UNLIMITED) as server, Proxy(server.port) as proxy:
        ear = Recorder()
        quick = {
            "retry_base_seconds": 0.01,
            "retry_max_seconds": 0.05,
            "keepalive_seconds": 0.25,
            "connect_seconds": 0.5,
        }
        ours = settings(
            proxy.port, wire="selchat", name="Michael", tls="require" if secure else "off", **quick
        )
        with SelchatPeer(server.port, "Asa") as asa, closing(Reactor(fail)) as reactor:
            with closing(Link(reactor, ours, ear)) as link:
                link.open()
                spin(reactor, lambda: link.state is LinkState.ONLINE)
                numbers = count()
                for mishap in order[:rounds]:
                    _MISHAPS[mishap](proxy, chance.randrange(1, 600))
                    for _ in range(chance.randint(1, 4)):
                        said.append(f"mine {next(numbers)} {'x' * chance.choice((0, 10, 500))}")
                        link.say(said[-1])
                        heard.append(f"theirs {next(numbers)} {'é' * chance.choice((0, 10, 500))}")
                        id = f"{len(heard)}"
                        asa.send({"type": "say", "room": "lobby", "id": id, "body": heard[-1]})
                        shown += asa.read_until(lambda one: one.get("id") == id)  # noqa: B023
                    end = reactor.now + chance.uniform(0.0, 0.1)
                    spin(reactor, lambda: reactor.now > end)  # noqa: B023
                    if chance.random() < 0.7:
                        proxy.heal()
                proxy.heal()
                what = f"with seed {seed}"
                spin(reactor, lambda: len(ear.messages) >= len(said) + len(heard) and not link.queued, what)
                # Once more, so that a duplicate would have arrived by now.
                asa.send({"type": "say", "room": "lobby", "id": "end", "body": "the end"})
                spin(reactor, lambda: ear.messages[-1] == ("Asa", "the end"), what)
            messages = [event for event in ear.events if isinstance(event, Message)]
            assert [one.body for one in messages if one.own] == said, what
            assert [one.body for one in messages if one.author == "Asa"] == [*heard, "the end"], what
            assert [one.seq for one in messages] == list(range(1, len(messages) + 1)), what
            assert not any(isinstance(event, Gap) for event in ear.events), what
            assert proxy.links > rounds / 4, "hardly anything has happened to the link"
            shown += asa.read_until(lambda one: one.get("id") == "end")
            assert [one["body"] for one in shown if one["type"] == "said"] == said, what
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
                eventually(lambda: asa.request("users", room="lobby")["total"] == 3, "all are in")
            for number in range(20):
                venkat.send(f"{number} " + "x" * number)
            assert [michael.read_pair()[1].split()[0] for _ in range(20)] == list(map(str, range(20)))
        assert server.stop() == 0
