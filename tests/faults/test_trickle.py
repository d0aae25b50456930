"""Sockets that move one byte at a time give the same results as whole reads and writes."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import selchat.client.connection.connecting
from selchat.client.connection.link import Link, LinkState
from selchat.client.events import Message, Topic, Whispered
from selchat.net.reactor import Reactor
from tests.client.support import Recorder, fail, settings, spin
from tests.e2e.selchat_support import SelchatPeer
from tests.e2e.support import Client, Server
from tests.faults.conversation import Conversation
from tests.faults.world import Faults, FaultySocket, world

_LARGE = 600  # characters


class Trickle:
    """Mixin for a socket: every second call would block, the others move one byte."""

    _calls = 0

    def recv(self, size: int, flags: int = 0) -> bytes:
        self._every_other_time()
        return super().recv(min(size, 1), flags)  # type: ignore[misc]

    def send(self, data: Any, flags: int = 0) -> int:
        self._every_other_time()
        return super().send(memoryview(data)[:1], flags)  # type: ignore[misc]

    def sendmsg(self, buffers: Any, *_more: Any) -> int:
        return self.send(buffers[0])

    def _every_other_time(self) -> None:
        self._calls += 1
        if self._calls % 2:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


class TricklingSocket(Trickle, FaultySocket):
    """A socket of the server."""


class TricklingClientSocket(Trickle, socket.socket):
    """A socket of a client."""


@pytest.mark.parametrize("web", [False, True], ids=["frames", "web"])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_server_behaves_the_same_with_trickled_bytes_on_every_protocol(
    web: bool, secure: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    received = []
    for kind in (FaultySocket, TricklingSocket):
        with world(monkeypatch, tmp_path, Faults(), accepted=kind, tls="auto") as this:
            talk = Conversation(this, _LARGE, secure=secure)
            if web:
                talk.run_web()
            else:
                talk.run()
            talk.check()
            received.append(talk.transcripts())
            talk.goodbye()
            assert this.failures == []
    whole, trickled = received
    assert all(whole[:4])
    for one, other in zip(whole, trickled, strict=True):
        assert one == other


@pytest.mark.parametrize("wire", ["selchat", "classic"])
def test_client_behaves_the_same_with_trickled_bytes(wire: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _client_hears(wire)
    with monkeypatch.context() as patch:
        names = {name: getattr(socket, name) for name in dir(socket)}
        trickling = SimpleNamespace(**{**names, "socket": TricklingClientSocket})
        patch.setattr(selchat.client.connection.connecting, "socket", trickling)
        trickled = _client_hears(wire)
    assert whole == trickled
    assert len(whole) > 20


def _client_hears(wire: str) -> list[str]:
    """Return the events of a client in a short conversation, without the ones that depend on the clock."""
    interface = Recorder()
    with Server("--no-roster") as server, closing(Reactor(fail)) as reactor:
        link = Link(reactor, settings(server.port, wire=wire), interface)
        with Client(server.port, "Ann") as ann, SelchatPeer(server.port, "Bo") as bo, closing(link):
            server.expect("username: Bo")
            link.open()
            spin(reactor, lambda: link.state is LinkState.ONLINE)
            for number in range(10):
                body = f"mine {number} " + "é" * number * 10
                link.say(body)
                spin(reactor, lambda: not link.queued)
                ann.read_until("Michael", body)
                ann.send(f"of Ann {number} " + "x" * number * 20)
                bo.read_until(lambda one: one.get("from") == "Ann")
                assert bo.say(f"of Bo {number}", f"{number}")["type"] == "ack"
            if wire == "selchat":
                assert bo.whisper("Michael", "psst", "w")["type"] == "ack"
                assert bo.request("topic", room="lobby", topic="tea")["type"] == "topic"
            assert bo.say("the end", "end")["type"] == "ack"
            spin(reactor, lambda: ("Bo", "the end") in interface.messages)
        assert server.stop() == 0
    received = []
    for event in interface.events:
        if isinstance(event, Message):
            received.append(f"{event.author}: {event.body} {event.seq} {event.own}")
        elif isinstance(event, Whispered):
            received.append(f"{event.author} whispers {event.body}")
        elif isinstance(event, Topic):
            received.append(f"the topic is {event.topic}")
    return received
