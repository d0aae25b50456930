"""The link on the selchat protocol, and its choice between the two protocols."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from selchat.client.connection.link import Link, LinkState, Wire
from selchat.client.events import (
    Acked,
    ClientEvent,
    Message,
    NotStored,
    Refused,
    SeenAuthors,
    Users,
    Welcomed,
)
from selchat.client.protocol.interface import UnsupportedError
from selchat.errors import BadRoomError, SettingError
from selchat.net.reactor import Reactor
from selchat.wire.e2ee import Decryptor, Encryptor, room_key
from selchat.wire.frames import FrameTooLongError
from tests.client.selchat_support import LIMITS, Fields, ack, encoded, error, said, users, welcome
from tests.client.support import SECRET, RawConnection, RawServer, Recorder, fail, frame, pair, settings, spin

HELLO = {"type": "hello", "version": 1, "name": "Michael", "client": SECRET}
GOODBYE: Fields = {"type": "bye", "reason": "goodbye", "retry_after": None}


class Bench:
    """A server, a reactor, and links that close with the test."""

    def __init__(self, server: RawServer) -> None:
        self.reactor = Reactor(fail)
        self.server = server
        self.links: list[Link] = []

    @staticmethod
    def jitter(_minimum: float, _maximum: float) -> float:
        return 0.0

    def link(
        self,
        *,
        reconnect: bool = True,
        members: bool = False,
        interface: Recorder | None = None,
        ask_password: Callable[[Refused], object] | None = None,
        **more: object,
    ) -> tuple[Link, Recorder]:
        recorder = interface or Recorder()
        given = settings(self.server.port, **{"wire": "auto", "hello_seconds": 20.0, **more})
        link = Link(
            self.reactor,
            given,
            recorder,
            reconnect=reconnect,
            members=members,
            jitter=self.jitter,
            ask_password=ask_password,
        )
        self.links.append(link)
        return link, recorder

    def spin(self, condition: Callable[[], object], what: str = "condition") -> None:
        spin(self.reactor, condition, what)

    def accept(self) -> RawConnection:
        self.spin(self.server.waiting, "a connection")
        return self.server.accept()

    def greet(self, *messages: Fields) -> RawConnection:
        """Accept a connection, read the hello, and reply."""
        peer = self.accept()
        self.spin(lambda: messages_to(peer), "hello")
        assert messages_to(peer)[0]["type"] == "hello"
        peer.send(encoded(*(messages or [welcome()])))
        return peer

    def expect(self, peer: RawConnection, *kinds: str) -> list[Fields]:
        """Wait until the client has sent messages of these types after its hello, and return them."""
        self.spin(lambda: len(messages_to(peer)) > len(kinds), f"{kinds} after {messages_to(peer)}")
        got = messages_to(peer)[1:]
        assert [message["type"] for message in got] == list(kinds)
        return got


def messages_to(peer: RawConnection) -> list[Fields]:
    return [json.loads(payload) for payload in peer.frames()]


@pytest.fixture
def bench() -> Iterator[Bench]:
    with RawServer() as server:
        bench = Bench(server)
        yield bench
        for link in bench.links:
            link.close()
        bench.reactor.close()


# -- talking -------------------------------------------------------------------------------------------


def test_reading_changes_no_watch_when_there_is_nothing_to_send(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, recorder = bench.link()
    bench.links[0].open()
    peer = bench.greet()
    bench.spin(lambda: recorder.log)
    changes: list[int] = []
    rewatch = bench.reactor.rewatch

    def count(file: object, events: int, callback: Callable[[int], object]) -> None:
        changes.append(events)
        rewatch(file, events, callback)

    monkeypatch.setattr(bench.reactor, "rewatch", count)
    for seq in range(1, 6):
        peer.send(encoded(said(seq)))
        bench.spin(lambda: len(recorder.messages) == seq)  # noqa: B023
    assert changes == []


def test_link_logs_in_and_exchanges_messages(bench: Bench) -> None:
    link, recorder = bench.link()
    link.say("sent before")
    link.open()
    peer = bench.accept()
    bench.spin(lambda: messages_to(peer))
    assert messages_to(peer) == [HELLO]
    assert link.state is LinkState.GREETING
    assert link.progress == "Connecting; 1 message to go..."
    assert recorder.log == []
    peer.send(encoded(welcome(("lobby", 41), name="Michael 2")))
    [say] = bench.expect(peer, "say")
    assert recorder.log == [("connected", "127.0.0.1")]
    assert isinstance(recorder.events[0], Welcomed)
    assert (link.state, link.wire, link.name) == (LinkState.ONLINE, Wire.SELCHAT, "Michael 2")
    assert link.progress == "Sending; 1 message to go..."
    peer.send(encoded(said(43), ack(say["id"], 42), {"type": "ping", "token": "x"}))
    bench.spin(lambda: ("drained",) in recorder.log)
    assert recorder.events[1:] == [
        Acked(say["id"], "lobby", "", 42, 2.5),
        Message("Michael 2", "sent before", "lobby", 42, 2.5, say["id"], own=True),
        Message("Venkat", "body 43", "lobby", 43, 1.5),
    ]
    assert bench.expect(peer, "say", "pong")[1] == {"type": "pong", "token": "x"}
    assert (link.progress, link.queued) == (None, 0)


def test_every_request_is_sent(bench: Bench) -> None:
    link, _ = bench.link(members=True)
    link.open()
    peer = bench.greet()
    bench.expect(peer, "users")
    peer.send(encoded(users("lobby", 0, "Michael", "Zoe")))
    bench.spin(lambda: link.names == ("Michael", "Zoe"))
    assert link.whisper("Zoe", "psst") != link.say("hey", "a")
    link.join("a")
    link.set_topic("a", "tea")
    link.get_history("a", 7, before=9)
    link.get_users("a")
    link.get_rooms()
    link.part("a")
    bench.expect(peer, "users", "whisper", "say", "join", "topic", "history", "users", "rooms", "part")
    assert link.rooms == ("lobby",)
    assert (link.topic("lobby"), link.topic("nowhere")) == ("about lobby", "")
    with pytest.raises(BadRoomError):
        link.join("")


def test_link_joins_the_room_of_its_settings(bench: Bench) -> None:
    link, _ = bench.link(room="a")
    link.open()
    peer = bench.greet()
    assert bench.expect(peer, "join") == [{"type": "join", "room": "a"}]
    assert link.rooms == ("a", "lobby")


def test_message_over_the_servers_limit_is_refused(bench: Bench) -> None:
    link, recorder = bench.link()
    with pytest.raises(FrameTooLongError):
        link.say("x" * 70_000)
    id = link.say("x" * 50_000)
    link.open()
    bench.greet(welcome(limits={**LIMITS, "frame": 1000}))
    bench.spin(lambda: len(recorder.events) == 2)
    refused = recorder.events[1]
    assert isinstance(refused, Refused)
    assert (refused.code, refused.id) == ("too-long", id)


def test_default_secret_is_the_users(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    link, _ = bench.link(secret="")
    link.open()
    peer = bench.accept()
    bench.spin(lambda: messages_to(peer))
    assert messages_to(peer)[0]["client"] == (tmp_path / "selchat" / "client-secret").read_text().strip()


def test_classic_protocol_needs_no_secret(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    bench.link(secret="", wire="classic")
    assert list(tmp_path.iterdir()) == []


# -- protocol ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sign",
    [
        lambda peer: peer.send(pair("Server", "Users online (1): A")),
        lambda peer: peer.close(),
        lambda peer: peer.reset(),
        lambda peer: peer.send(b"SSH-2.0-OpenSSH_9.2\r\n"),
        lambda peer: None,
    ],
)
def test_link_falls_back_to_the_classic_protocol(bench: Bench, sign: Callable[[RawConnection], None]) -> None:
    link, recorder = bench.link(hello_seconds=0.3)
    link.say("one")
    link.whisper("Zoe", "two")
    link.say("three", "a")
    link.say("four")
    link.open()
    peer = bench.accept()
    bench.spin(lambda: peer.received)
    sign(peer)
    peer = bench.accept()
    bench.spin(lambda: len(peer.frames()) == 3)
    assert peer.frames() == ["Michael", "one", "four"]
    assert recorder.log[0] == ("connected", "127.0.0.1")
    assert recorder.events == [
        Refused(
            "",
            "this server speaks only the classic protocol, which has no direct messages",
            "",
            "",
            "Zoe",
            "two",
        ),
        Refused("", "this server speaks only the classic protocol, which has no rooms", "", "a", "", "three"),
    ]
    # The link remembers it once the server has sent a classic message.
    peer.send(pair("Zoe", "hi"))
    bench.spin(lambda: "Zoe" in link.names)
    peer.close()
    peer = bench.accept()
    bench.spin(lambda: peer.frames() == ["Michael"])
    assert link.wire is Wire.CLASSIC


def test_silent_server_is_guessed_again_after_a_disconnect(bench: Bench) -> None:
    link, _ = bench.link(hello_seconds=0.3)
    link.open()
    peer = bench.accept()
    bench.spin(lambda: peer.received)
    peer = bench.accept()
    bench.spin(lambda: peer.frames() == ["Michael"])
    peer.close()
    peer = bench.accept()
    bench.spin(lambda: messages_to(peer))
    assert messages_to(peer)[0]["type"] == "hello"
    assert link.wire is Wire.GUESSED


def test_requests_that_the_classic_protocol_lacks_are_rejected(bench: Bench) -> None:
    link, recorder = bench.link(wire="classic")
    for ask in (
        lambda: link.whisper("Zoe", "x"),
        lambda: link.say("x", "a"),
        lambda: link.join("a"),
        lambda: link.part("lobby"),
        lambda: link.set_topic("lobby", "x"),
        link.get_history,
        link.get_rooms,
    ):
        with pytest.raises(UnsupportedError, match="only the classic protocol"):
            ask()
    link.join("lobby")
    link.open()
    peer = bench.accept()
    link.get_users()
    assert recorder.events == [SeenAuthors(())]
    peer.send(pair("Server", "Users online (1): A"))
    bench.spin(lambda: len(recorder.events) == 2)
    link.get_users()
    assert recorder.events[2] == Users("lobby", ("A",), 1, "", 0, joined=False)
    assert (link.rooms, link.names, link.topic("lobby"), link.name) == (("lobby",), ("A",), "", "Michael")


def test_short_headers_force_the_classic_protocol(bench: Bench) -> None:
    link, _ = bench.link(header_length=4)
    assert link.wire is Wire.CLASSIC
    with pytest.raises(FrameTooLongError):
        bench.link(header_length=2, name="x" * 100)
    with pytest.raises(SettingError, match="header_length: 4 is not at least 5"):
        bench.link(header_length=4, wire="selchat")


def test_selchat_setting_prevents_the_fallback(bench: Bench) -> None:
    link, recorder = bench.link(wire="selchat")
    link.open()
    bench.accept().close()
    bench.spin(lambda: recorder.log)
    assert recorder.log == [
        ("finished", f"cannot connect to 127.0.0.1:{bench.server.port}: closed by the server")
    ]


def test_server_that_spoke_selchat_once_is_never_taken_for_classic(bench: Bench) -> None:
    link, recorder = bench.link(connect_seconds=0.3)
    link.open()
    bench.greet().close()
    peer = bench.accept()
    bench.spin(lambda: messages_to(peer))
    peer.close()
    peer = bench.accept()  # silent
    bench.spin(lambda: ("lost", "no welcome within 0.3 s") in recorder.log)
    peer = bench.accept()
    bench.spin(lambda: messages_to(peer))
    peer.send(pair("Server", "Users online (1): A"))
    bench.spin(lambda: "not the selchat protocol: invalid JSON object" in str(recorder.log[-1]))
    bench.greet()
    bench.spin(lambda: recorder.log[-1] == ("connected", "127.0.0.1"))


def test_full_server_is_guessed_again(bench: Bench) -> None:
    link, recorder = bench.link()
    link.open()
    full = pair("Server", "Closing this connection: server is full (1 connections).")
    for _ in range(2):
        peer = bench.accept()
        bench.spin(lambda peer=peer: peer.received)
        peer.send(full)
        peer.close()
    bench.spin(lambda: recorder.log[-1][0] == "lost")
    link.say("kept")
    peer = bench.greet()
    assert bench.expect(peer, "say")[0]["body"] == "kept"


# -- refused login ----------------------------------------------------------------------------------------


def test_refused_login_closes_the_link(bench: Bench) -> None:
    link, recorder = bench.link()
    link.say("hey")
    link.open()
    bench.greet(error("name-taken"), {"type": "bye", "reason": "kicked", "retry_after": None})
    bench.spin(lambda: recorder.log)
    assert recorder.log == [("finished", "the server said: about name-taken; 1 message was not acknowledged")]
    assert link.refusal == Refused("name-taken", "about name-taken")
    assert recorder.events == []


def test_name_taken_during_a_disconnect_closes_the_link(bench: Bench) -> None:
    link, recorder = bench.link()
    link.open()
    bench.greet().close()
    bench.greet(error("name-taken"))
    bench.spin(lambda: recorder.log[-1][0] == "finished")
    assert recorder.log[-1] == ("finished", "the server said: about name-taken")
    assert link.refusal is None  # with another name, others would see another person


def test_link_retries_when_the_server_cannot_store_the_name(bench: Bench) -> None:
    link, recorder = bench.link()
    link.open()
    bench.greet(error("not-stored"))
    bench.spin(lambda: recorder.log)
    assert recorder.log == [("lost", "about not-stored")]
    bench.greet()
    bench.spin(lambda: recorder.log[-1] == ("connected", "127.0.0.1"))


def test_link_retries_a_full_server_only_if_it_reconnects(bench: Bench) -> None:
    full: Fields = {"type": "bye", "reason": "full", "retry_after": 0.01}
    link, recorder = bench.link()
    link.open()
    bench.greet(full)
    bench.spin(lambda: recorder.log == [("lost", "the server is full")])
    bench.greet()
    bench.spin(lambda: recorder.log[-1][0] == "connected")
    link.close()
    link, recorder = bench.link(reconnect=False)
    link.open()
    bench.greet(full)
    bench.spin(lambda: recorder.log == [("finished", "the server is full")])


# -- reconnecting -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        (lambda peer: peer.close(), "closed by the server"),
        (lambda peer: peer.reset(), "connection reset by peer"),
        (
            lambda peer: peer.send(b"SSH-2.0-OpenSSH_9.2\r\n"),
            "not the selchat protocol: frame header b'SSH-2.0-Op'",
        ),
        (
            lambda peer: peer.send(frame("[]")),
            "not the selchat protocol: invalid JSON object: the value is not an object",
        ),
        (lambda peer: (peer.send(b"5         V"), peer.close()), "closed by the server: stream ended inside"),
        (
            lambda peer: peer.send(encoded({"type": "bye", "reason": "shutdown", "retry_after": 0.01})),
            "the server is shutting down",
        ),
        (
            lambda peer: peer.send(encoded({"type": "bye", "reason": "tea time", "retry_after": 0})),
            "tea time",
        ),
    ],
)
@pytest.mark.parametrize("reconnect", [False, True])
def test_link_reconnects_and_resumes(bench: Bench, ending: object, reason: str, reconnect: bool) -> None:
    link, recorder = bench.link(reconnect=reconnect)
    link.open()
    peer = bench.greet()
    ids = [link.say("one"), link.say("two")]
    bench.expect(peer, "say", "say")
    peer.send(encoded(ack(ids[0], 1)))
    bench.spin(lambda: len(recorder.events) == 3)
    ending(peer)  # type: ignore[operator]
    bench.spin(lambda: len(recorder.log) > 1)
    assert recorder.log[1][0] == "lost"
    assert str(recorder.log[1][1]).startswith(reason)
    peer = bench.greet(welcome(("lobby", 1)))
    assert messages_to(peer)[0]["resume"] == {"log": "log 1", "rooms": {"lobby": 1}}
    [again] = bench.expect(peer, "say")
    assert (again["id"], again["body"]) == (ids[1], "two")


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("kicked", "the operator has removed you"),
        ("banned", "the operator has banned you"),
        ("replaced", "you signed in from somewhere else"),
        ("protocol", "the server does not understand this client"),
        ("timeout", "the server got no answer from this client"),
        ("new", "new"),
    ],
)
def test_bye_without_retry_after_closes_the_link(bench: Bench, reason: str, words: str) -> None:
    link, recorder = bench.link()
    link.open()
    peer = bench.greet()
    link.say("hey")
    bench.expect(peer, "say")
    peer.send(encoded({"type": "bye", "reason": reason, "retry_after": None}))
    bench.spin(lambda: recorder.log[-1][0] == "finished")
    assert recorder.log[-1] == ("finished", f"{words}; 1 message was not acknowledged")
    assert link.state is LinkState.CLOSED


def test_bye_of_a_ban_says_until_when(bench: Bench) -> None:
    link, recorder = bench.link()
    link.open()
    bench.greet(welcome(), {"type": "bye", "reason": "banned", "retry_after": None, "until": 1_796_137_200})
    bench.spin(lambda: any(entry[0] == "finished" for entry in recorder.log))
    assert str(recorder.log[-1][1]).startswith("the operator has banned you until 2026-12-0")


def test_retry_after_is_bounded(bench: Bench) -> None:
    link, recorder = bench.link()
    delays: list[float] = []
    recorder.lost = lambda reason, delay: delays.append(delay)  # type: ignore[method-assign]
    link.open()
    bench.greet(welcome(), {"type": "bye", "reason": "shutdown", "retry_after": 1e12})
    bench.spin(lambda: delays)
    assert delays == [3600.0]


def test_silent_server_is_pinged_and_then_dropped(bench: Bench) -> None:
    link, recorder = bench.link(keepalive_seconds=0.2)
    link.open()
    peer = bench.greet()
    bench.expect(peer, "ping")
    peer.send(encoded({"type": "pong"}))
    bench.expect(peer, "ping", "ping")
    bench.spin(lambda: ("lost", "no answer within 0.2 s") in recorder.log)
    bench.greet()


def test_message_that_was_not_stored_is_sent_again_later(bench: Bench) -> None:
    link, recorder = bench.link(store_seconds=0.05)
    link.open()
    peer = bench.greet()
    id = link.say("hey")
    bench.expect(peer, "say")
    peer.send(encoded(error("not-stored", id=id)))
    bench.expect(peer, "say", "say")
    peer.send(encoded(error("not-stored", id=id)))
    assert {message["id"] for message in bench.expect(peer, "say", "say", "say")} == {id}
    peer.send(encoded(ack(id, 1)))
    bench.spin(lambda: ("drained",) in recorder.log)
    assert [type(event) for event in recorder.events] == [Welcomed, NotStored, Acked, Message]


def test_reconnect_retries_a_message_that_was_not_stored(bench: Bench) -> None:
    link, recorder = bench.link(store_seconds=1000.0)
    link.open()
    peer = bench.greet()
    id = link.say("hey")
    bench.expect(peer, "say")
    peer.send(encoded(error("not-stored", id=id)))
    bench.spin(lambda: any(isinstance(event, NotStored) for event in recorder.events))
    peer.close()
    [say] = bench.expect(bench.greet(), "say")
    assert say["id"] == id


# -- the end -------------------------------------------------------------------------------------------


def test_finish_waits_for_acks_and_sends_bye(bench: Bench) -> None:
    link, recorder = bench.link()
    link.open()
    peer = bench.greet()
    bench.spin(lambda: recorder.log)
    id = link.say("hey")
    link.get_rooms()
    link.finish()
    bench.expect(peer, "say", "rooms")
    assert link.state is LinkState.ONLINE
    peer.send(encoded(ack(id, 1)))
    bench.expect(peer, "say", "rooms", "bye")
    assert link.state is LinkState.DRAINING
    assert link.progress == "Waiting for the server to receive everything..."
    peer.send(encoded({"type": "rooms", "rooms": [], "total": 0}, GOODBYE))
    bench.spin(lambda: recorder.log[-1] == ("finished", None))
    assert len(recorder.events) == 5


@pytest.mark.parametrize("ending", [lambda peer: peer.close(), lambda peer: peer.reset(), lambda peer: None])
def test_finish_succeeds_when_everything_is_acknowledged(
    bench: Bench, ending: Callable[[RawConnection], None]
) -> None:
    link, recorder = bench.link(drain_seconds=0.2)
    link.open()
    peer = bench.greet()
    link.finish()
    bench.expect(peer, "bye")
    ending(peer)
    bench.spin(lambda: recorder.log[-1] == ("finished", None))


def test_finish_stops_waiting_for_bye_at_its_deadline(bench: Bench) -> None:
    link, recorder = bench.link(drain_seconds=20.0, finish_seconds=0.3)
    link.open()
    peer = bench.greet()
    link.finish()
    bench.expect(peer, "bye")
    bench.spin(lambda: recorder.log[-1] == ("finished", None))


def test_finish_before_the_welcome_still_logs_in_and_out(bench: Bench) -> None:
    link, recorder = bench.link()
    link.open()
    peer = bench.accept()
    bench.spin(lambda: messages_to(peer))
    link.finish()
    peer.send(encoded(welcome()))
    bench.expect(peer, "bye")
    peer.send(encoded(GOODBYE))
    bench.spin(lambda: recorder.log[-1] == ("finished", None))


def test_after_finish_link_reconnects_only_for_unacknowledged_messages(bench: Bench) -> None:
    link, recorder = bench.link()
    link.open()
    peer = bench.greet()
    link.say("hey")
    bench.expect(peer, "say")
    link.finish()
    peer.close()
    peer = bench.greet()
    [say] = bench.expect(peer, "say")
    peer.send(encoded(ack(say["id"], 1)))
    peer.close()
    bench.spin(lambda: recorder.log[-1][0] == "finished")
    assert recorder.log[-1] == ("finished", None)


def test_deadline_of_finish_reports_unacknowledged_messages(bench: Bench) -> None:
    link, recorder = bench.link(finish_seconds=0.3)
    link.open()
    peer = bench.greet()
    bench.spin(lambda: recorder.log)
    link.say("one")
    link.say("two")
    link.finish()
    bench.spin(lambda: recorder.log[-1][0] == "finished")
    assert recorder.log[-1] == ("finished", "out of time; 2 messages were not acknowledged")
    peer.close()


def test_interface_may_close_the_link_in_a_callback(bench: Bench) -> None:
    class Leaver(Recorder):
        def received(self, events: list[ClientEvent]) -> None:
            link.close()

    link, recorder = bench.link(interface=Leaver())
    link.open()
    bench.greet(welcome(), said(1), {"type": "bye", "reason": "kicked", "retry_after": None})
    bench.spin(lambda: link.state is LinkState.CLOSED)
    assert recorder.log == [("connected", "127.0.0.1")]


def test_slow_acks_extend_the_deadline_of_finish(bench: Bench) -> None:
    """The deadline counts from the last progress: a server may rate-limit its reads."""
    link, recorder = bench.link(drain_seconds=20.0, finish_seconds=0.4)
    link.open()
    peer = bench.greet()
    ids = [link.say(f"message {number}") for number in range(6)]
    link.finish()
    for number, id in enumerate(ids):
        due = bench.reactor.now + 0.25
        bench.spin(lambda due=due: bench.reactor.now >= due)
        peer.send(encoded(ack(id, number + 1)))
    bench.spin(lambda: messages_to(peer)[-1]["type"] == "bye")
    peer.send(encoded({"type": "bye", "reason": "goodbye", "retry_after": None}))
    peer.close()
    bench.spin(lambda: recorder.log[-1] == ("finished", None))


# -- with a passphrase ---------------------------------------------------------------------------------


def test_passphrase_prevents_the_fallback(bench: Bench) -> None:
    link, recorder = bench.link(wire="selchat", passphrase="words")
    link.say("secret")
    link.open()
    peer = bench.accept()
    bench.spin(lambda: messages_to(peer), "hello")
    peer.send(pair("Server", "Users online (1): Venkat"))
    bench.spin(lambda: recorder.log, "the end")
    [(what, problem)] = recorder.log
    assert what == "finished"
    assert "cannot connect to" in str(problem) and "not the selchat protocol" in str(problem)
    assert link.state is LinkState.CLOSED and link.wire is Wire.GUESSED
    assert "secret" not in str(peer.received)


def test_nothing_is_sent_to_a_server_without_salts(bench: Bench) -> None:
    link, recorder = bench.link(wire="selchat", passphrase="words")
    link.say("secret")
    link.open()
    peer = bench.greet(welcome())
    bench.spin(lambda: recorder.log, "the end")
    [(what, problem)] = recorder.log
    assert what == "finished"
    assert str(problem).endswith("the server sent no salt, and without a salt nothing can be encrypted")
    assert "secret" not in str(peer.received)


def test_messages_wait_for_their_key(bench: Bench) -> None:
    link, recorder = bench.link(wire="selchat", passphrase="words")
    link.say("secret")
    link.open()
    salt = "AAECAwQFBgcICQoLDA0ODw"
    lobby = {**welcome()["rooms"][0], "salt": salt}
    peer = bench.greet(welcome(rooms=[lobby], salt=salt))
    bench.spin(lambda: len(messages_to(peer)) == 2, "the message")
    found = messages_to(peer)[1]
    key = room_key("words", bytes(range(16)))
    assert Decryptor().decrypt(key, "lobby", "Michael", found["cipher"], found["body"], 1) == "secret"
    sealed = Encryptor(key).encrypt("lobby", "Venkat", "hey")
    peer.send(encoded(ack(found["id"], 1), said(2, body=sealed.body, cipher=sealed.cipher)))
    bench.spin(lambda: len(recorder.messages) == 2, "both")
    assert recorder.messages == [("Michael", "secret"), ("Venkat", "hey")]
    link.finish()
    bench.spin(lambda: len(messages_to(peer)) == 3, "bye")
    peer.send(encoded(GOODBYE))
    bench.spin(lambda: recorder.log[-1] == ("finished", None), "the end")


def test_bad_message_that_waited_for_a_key_drops_the_connection(bench: Bench) -> None:
    link, recorder = bench.link(wire="selchat", passphrase="words")
    link.open()
    salt = "AAECAwQFBgcICQoLDA0ODw"
    lobby = {**welcome()["rooms"][0], "salt": salt}
    peer = bench.greet(welcome(rooms=[lobby], salt=salt))
    bench.spin(lambda: link.state is LinkState.ONLINE, "online")
    sealed = Encryptor(room_key("words", bytes(range(16)))).encrypt("lobby", "Venkat", "hey")
    peer.send(encoded(said(1, body=sealed.body, cipher=sealed.cipher), {"type": "said", "room": "lobby"}))
    bench.spin(lambda: "lost" in [line[0] for line in recorder.log], "the break")
    assert recorder.messages == [("Venkat", "hey")]
    assert "not the selchat protocol: said: from is not" in str(recorder.log)


def test_link_may_close_while_a_key_is_derived(bench: Bench) -> None:
    link, _ = bench.link(wire="selchat", passphrase="words")
    link.say("secret")
    link.open()
    salt = "AAECAwQFBgcICQoLDA0ODw"
    peer = bench.greet(welcome(rooms=[{**welcome()["rooms"][0], "salt": salt}], salt=salt))
    bench.spin(lambda: any(thread.name == "key" for thread in threading.enumerate()), "a key is derived")
    link.close()
    bench.spin(lambda: all(thread.name != "key" for thread in threading.enumerate()), "it was")
    bench.reactor.tick(0)
    assert len(messages_to(peer)) == 1


# -- a password ----------------------------------------------------------------------------------------

NEEDED = {**error("password-needed"), "message": "this server requires a password"}


def test_password_is_sent_on_request_at_every_login(bench: Bench) -> None:
    link, recorder = bench.link(password="tea at four")
    link.say("sent before")
    link.open()
    for turn in range(2):
        peer = bench.greet(NEEDED)
        bench.spin(lambda peer=peer: len(messages_to(peer)) > 1)
        first, second = messages_to(peer)
        assert "password" not in first
        assert second == {**first, "password": "tea at four"}
        assert (link.state, link.wire) == (LinkState.GREETING, Wire.SELCHAT)
        peer.send(encoded(welcome()))
        bench.spin(lambda: link.state is LinkState.ONLINE)
        if not turn:
            peer.close()
    assert not any(isinstance(event, Refused) for event in recorder.events)


def test_password_is_not_sent_without_a_request(bench: Bench) -> None:
    link, _ = bench.link(password="tea at four")
    link.open()
    peer = bench.greet()
    bench.spin(lambda: link.state is LinkState.ONLINE)
    assert messages_to(peer) == [HELLO]


@pytest.mark.parametrize("password", ["", "tea"])
def test_missing_or_wrong_password_closes_the_link(bench: Bench, password: str) -> None:
    link, recorder = bench.link(password=password)
    link.open()
    peer = bench.greet(NEEDED)
    if password:
        bench.spin(lambda: len(messages_to(peer)) > 1)
        peer.send(encoded(error("wrong-password")))
    bench.spin(lambda: link.state is LinkState.CLOSED)
    assert link.refusal is not None
    assert link.refusal.code == ("wrong-password" if password else "password-needed")
    [finished] = [one for one in recorder.log if one[0] == "finished"]
    assert finished[1] == f"the server said: {link.refusal.text}"


def test_password_that_is_new_after_an_outage_is_asked_for_and_messages_wait(bench: Bench) -> None:
    asked: list[str] = []
    link, recorder = bench.link(ask_password=lambda refusal: asked.append(refusal.code))
    link.open()
    bench.greet().close()
    bench.greet(NEEDED)
    bench.spin(lambda: asked)
    link.say("said meanwhile")
    link.set_password("tea")
    peer = bench.greet(NEEDED)
    bench.spin(lambda: len(messages_to(peer)) > 1)
    peer.send(encoded(error("wrong-password")))
    bench.spin(lambda: len(asked) > 1)
    assert asked == ["password-needed", "wrong-password"]
    assert link.state is LinkState.WAITING
    link.set_password("tea at four")
    peer = bench.greet(NEEDED)
    bench.spin(lambda: len(messages_to(peer)) > 1)
    assert messages_to(peer)[1]["password"] == "tea at four"
    peer.send(encoded(welcome()))
    bench.spin(lambda: len(messages_to(peer)) > 2)
    assert messages_to(peer)[2]["body"] == "said meanwhile"
    assert link.refusal is None
    assert not [one for one in recorder.log if one[0] == "finished"]


def test_user_who_leaves_instead_of_giving_a_password_learns_what_was_not_sent(bench: Bench) -> None:
    asked: list[str] = []
    link, recorder = bench.link(ask_password=lambda refusal: asked.append(refusal.code))
    link.open()
    bench.greet().close()
    bench.greet(NEEDED)
    bench.spin(lambda: asked)
    link.say("said meanwhile")
    link.finish()
    bench.spin(lambda: link.state is LinkState.CLOSED)
    [finished] = [one for one in recorder.log if one[0] == "finished"]
    assert finished[1] == "this server requires a password; 1 message was not acknowledged"


def test_password_is_not_asked_for_at_the_first_login(bench: Bench) -> None:
    link, _ = bench.link(ask_password=lambda _refusal: pytest.fail("asked"))
    link.open()
    bench.greet(NEEDED)
    bench.spin(lambda: link.state is LinkState.CLOSED)
    assert link.refusal is not None


def test_password_is_sent_once_per_connection(bench: Bench) -> None:
    link, _ = bench.link(password="tea")
    link.open()
    peer = bench.greet(NEEDED, NEEDED, NEEDED)
    bench.spin(lambda: link.state is LinkState.CLOSED)
    assert len(messages_to(peer)) <= 2


def test_password_is_not_sent_if_others_can_eavesdrop(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "selchat.client.connection.link.may_send_password", lambda address, *, encrypted: False
    )
    link, recorder = bench.link(password="tea at four")
    link.open()
    peer = bench.greet(NEEDED)
    bench.spin(lambda: link.state is LinkState.CLOSED)
    assert messages_to(peer) == [HELLO]
    assert link.refusal is None  # so that the program does not ask the user for one
    [finished] = [one for one in recorder.log if one[0] == "finished"]
    assert finished[1] == (
        "the server said: this server requires a password; "
        "the password was not sent, because others can read this connection"
    )


def test_too_many_attempts_end_the_first_login_and_delay_a_reconnect(bench: Bench) -> None:
    busy = error("too-many-tries", retry_after=0.01)
    link, recorder = bench.link(password="tea at four")
    link.open()
    bench.greet(NEEDED, busy)
    bench.spin(lambda: link.state is LinkState.CLOSED)
    link, recorder = bench.link(password="tea at four")
    link.open()
    peer = bench.greet()
    bench.spin(lambda: link.state is LinkState.ONLINE)
    peer.close()
    peer = bench.greet(NEEDED)
    bench.spin(lambda: len(messages_to(peer)) > 1)
    peer.send(encoded(busy))
    bench.greet()
    bench.spin(lambda: link.state is LinkState.ONLINE)
    assert ("lost", "about too-many-tries") in recorder.log


def test_late_hello_of_a_lost_connection_counts_as_our_own(bench: Bench) -> None:
    """The hello of a lost connection may arrive after the hello of the next one."""
    replaced = {"type": "bye", "reason": "replaced", "retry_after": None}
    link, recorder = bench.link()
    link.open()
    bench.greet().reset()
    bench.greet().send(encoded(replaced))
    again = bench.greet()
    bench.spin(lambda: link.state is LinkState.ONLINE)
    assert ("finished",) not in [line[:1] for line in recorder.log]
    again.send(encoded(replaced))  # a second time, it is another program
    bench.spin(lambda: link.state is LinkState.CLOSED)
    assert recorder.log[-1] == ("finished", "you signed in from somewhere else")


def test_a_server_that_ends_during_detection_is_named_with_the_remedy(bench: Bench) -> None:
    link, recorder = bench.link()
    link.open()
    peer = bench.accept()
    bench.spin(lambda: peer.received)
    bench.server.listener.close()
    peer.close()
    bench.spin(lambda: recorder.log)
    [(kind, problem)] = recorder.log
    assert kind == "finished"
    assert "connection refused; the server may not cope with other protocols" in str(problem)
    assert "connect with --classic" in str(problem)


@pytest.mark.parametrize("wire", ["selchat", "classic"])
def test_a_damaged_file_of_known_servers_ends_a_reconnection_with_its_name(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wire: str
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    _, recorder = bench.link(tls="auto")
    bench.links[0].open()
    bench.accept().close()  # no TLS
    peer = bench.greet() if wire == "selchat" else bench.accept()
    if wire == "classic":
        peer.close()  # nor selchat
        peer = bench.accept()
    bench.spin(lambda: recorder.log and bench.links[0].state is LinkState.ONLINE)
    (tmp_path / "selchat").mkdir(exist_ok=True)
    (tmp_path / "selchat" / "known-servers").write_text("garbage\n")
    peer.close()
    bench.spin(lambda: recorder.log[-1][0] == "finished")
    assert "known-servers: line 1 is not HOST:PORT" in str(recorder.log[-1][1])
