from __future__ import annotations

from selchat.client.terminal.pending import PendingMessage, PendingMessages, ReportingLink
from selchat.net.reactor import Reactor
from tests.client.support import RawServer, Recorder, fail, settings


def message(id: str, room: str = "lobby") -> PendingMessage:
    return PendingMessage(id, room, "", f"body of {id}", 0.0)


def ids(messages: object) -> list[str]:
    return [message.id for message in messages]  # type: ignore[attr-defined]


def test_pending_messages_keep_the_order_of_sending() -> None:
    pending = PendingMessages()
    for id in "abc":
        pending.add(message(id))
    assert ids(pending) == ["a", "b", "c"]
    assert len(pending) == 3
    found = pending.pop("b")
    assert found is not None and found.body == "body of b"
    assert pending.pop("b") is None
    assert ids(pending) == ["a", "c"]


def test_acknowledged_messages_that_the_room_has_passed_are_popped() -> None:
    pending = PendingMessages()
    for id in "abcd":
        pending.add(message(id, "engine" if id == "d" else "lobby"))
    for id, seq in (("a", 5), ("b", 9), ("d", 3), ("unknown", 1)):
        pending.acknowledge(id, seq)
    assert ids(pending.pop_passed(lambda room, seq: room == "lobby" and seq <= 7)) == ["a"]
    assert ids(pending) == ["b", "c", "d"]
    assert ids(pending.pop_passed(lambda room, seq: True)) == ["b", "d"]
    assert ids(pending) == ["c"]  # not acknowledged


def test_the_link_reports_each_sent_message() -> None:
    reported = []
    with RawServer() as server:
        reactor = Reactor(fail)
        given = settings(server.port, wire="selchat")
        link = ReportingLink(reactor, given, Recorder(), lambda *message: reported.append(message))
        said, whispered = link.say("hey", "engine"), link.whisper("Venkat", "tea?")
        assert reported == [(said, "engine", "", "hey"), (whispered, "", "Venkat", "tea?")]
        assert said != whispered
        link.close()
        reactor.close()
