"""Peers that ask for costly work, from 1, 16 and 64 connections: a tick does a limited part of it.

``benchmarks/abuse.py`` measures what a normal user notices of that, and has more kinds of abuse.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from selchat.config.settings import Costs, Settings
from selchat.wire.frames import encode_frame
from tests.faults.world import Faults, Peer, World, world

_REQUESTS = 40  # of each connection, twice the burst of the message rate
_MESSAGES = 600  # in the history


def frame(**fields: Any) -> bytes:
    return encode_frame(json.dumps(fields).encode())


def hello(name: str) -> bytes:
    return frame(type="hello", version=1, name=name, client=f"{name:x<22}")


class Abuse(NamedTuple):
    """What each connection asks for. ``answer``: how its answer begins. ``cost``: of one answer, at least."""

    request: bytes
    answer: bytes
    cost: float
    signs_in: bool = True


ABUSES = {
    "rooms": Abuse(frame(type="rooms"), b'"type":"rooms"', Costs.ROOMS),
    "users": Abuse(frame(type="users", room="lobby"), b'"type":"users"', Costs.USERS),
    "history": Abuse(
        frame(type="history", room="lobby", limit=1000), b'"type":"history"', 400 * Costs.HISTORY_MESSAGE
    ),
    "topics": Abuse(frame(type="topic", room="x", topic="y"), b'"not-in-room"', Costs.TOPIC),
    "joins": Abuse(frame(type="join", room="x"), b'"type":"users"', Costs.JOIN),
    "HTTP": Abuse(
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 200", Costs.REQUEST, signs_in=False
    ),
    "hello": Abuse(hello(""), b'"bad-name"', Costs.SIGN_IN, signs_in=False),
}


def fill_history(served: World) -> None:
    author = served.connect()
    author.send(hello("Author"))
    hub = served.server.hub
    [member] = hub.members()
    for number in range(_MESSAGES):
        hub.send(member, hub.lobby, ["x" * 64], [f"{number}"], [None])
    author.close()


def abusers(served: World, abuse: Abuse, count: int) -> list[Peer]:
    """Connect abusive peers. They have signed in, and the server has not seen their requests."""
    peers = []
    for number in range(count):
        peer = served.connect()
        if abuse.signs_in:
            peer.send(hello(f"Abuser{number}"))
        peers.append(peer)
    return peers


@pytest.mark.parametrize("kind", ABUSES)
@pytest.mark.parametrize("count", [1, pytest.param(16, marks=pytest.mark.slow), 64])
def test_tick_does_a_limited_part_of_costly_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, count: int
) -> None:
    abuse = ABUSES[kind]
    with world(monkeypatch, tmp_path, Faults(), quiet=True, login_messages=100) as served:
        fill_history(served)
        user = served.connect()
        user.send(hello("Venkat"))
        peers = abusers(served, abuse, count)
        for peer in peers:
            peer.queue(abuse.request * _REQUESTS)
        answers = before = 0
        for number in range(600):
            if number < Settings().message_burst - 1:
                user.queue(frame(type="ping", token=f"{number}"))
            served.tick()
            user.read()
            assert user.received.count(b'"pong"') == min(number + 1, 19), "other users do not wait"
            for peer in peers:
                peer.read()
            answers = sum(peer.received.count(abuse.answer) for peer in peers)
            # The last work of a tick may exceed the limit; the first request of a connection needs no turn.
            assert (answers - before) * abuse.cost <= 1000 + 2 * abuse.cost, f"tick {number}"
            before = answers
        assert answers >= min(count * 15, 500), "nothing is refused"


def test_rooms_of_abusers_leave_room_for_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limit = 50
    history = str(tmp_path / "history.sqlite")
    settings = {"quiet": True, "history": history, "rooms_limit": limit, "message_rate": 0}
    with world(monkeypatch, tmp_path, Faults(), **settings) as served:
        for number in range(4):
            peer = served.connect()
            peer.send(hello(f"Abuser{number}"))
            for room in range(30):
                name = f"room{number}x{room}"
                peer.send(frame(type="join", room=name) + frame(type="say", room=name, id=name, body="x"))
            peer.close()
        user = served.connect()
        user.send(hello("Venkat") + frame(type="join", room="mine"))
        assert b'"too-many-rooms"' not in user.received
        assert served.server.hub.rooms.find("mine") is not None
        assert len(served.server.hub.rooms) <= limit
        user.send(frame(type="join", room="room0x0", after=0))
        assert b'"room":"room0x0","from":"Abuser0","seq":1' in user.received, "its history is not lost"
