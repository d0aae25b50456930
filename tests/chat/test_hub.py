from __future__ import annotations

import time

import pytest

from selchat.chat.hub import Hub
from selchat.chat.peer import Farewell
from selchat.config.settings import Settings
from selchat.events import Notice, Roster, Said
from selchat.net.fanout import Fanout
from tests.chat.fakes import DiaryLog, FakeClock, FakeObserver, FakePeer, LineFormat, end_tick, line


class Chat:
    """A hub with everything around it faked."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.clock = FakeClock()
        self.log = DiaryLog()
        self.observer = FakeObserver(self.log)
        self.fanout = Fanout(1 << 20)
        self.hub = Hub(settings or Settings(roster=False), self.log, self.clock, self.observer)
        self.format = LineFormat(self.log)

    def come(self, *names: str) -> list[FakePeer]:
        peers = []
        for name in names:
            peers.append(FakePeer(self.hub, self.fanout, self.format))
            peers[-1].sign_in(name)
        return peers

    def tick(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        end_tick(self.hub, self.fanout)

    def said(self) -> list[tuple[str, str]]:
        return [(event.author, event.body) for event in self.format.encoded if isinstance(event, Said)]


def bodies(peer: FakePeer) -> list[bytes]:
    return [line.split(b"body='")[1].split(b"'")[0] for line in peer.lines]


def test_everyone_but_the_author_gets_what_is_said() -> None:
    chat = Chat()
    michael, narayan, venkat = chat.come("Michael", "Narayan", "Venkat")
    chat.hub.send(michael.member, chat.hub.lobby, ["one"])
    chat.hub.send(venkat.member, chat.hub.lobby, ["two"])
    chat.tick()
    assert (bodies(michael), bodies(narayan), bodies(venkat)) == ([b"two"], [b"one", b"two"], [b"one"])


def test_nothing_is_shown_before_the_log_has_it() -> None:
    chat = Chat()
    [michael, narayan] = chat.come("Michael", "Narayan")
    chat.hub.send(michael.member, chat.hub.lobby, ["one"])
    assert not narayan.lines
    assert chat.log.committed == []
    assert ("said", "Michael", "one") not in chat.observer.seen
    chat.tick()
    assert [said.body for said in chat.log.committed] == ["one"]
    assert chat.observer.seen[-1] == ("said", "Michael", "one")


def test_what_is_said_has_the_time_at_which_it_was_said() -> None:
    chat = Chat()
    [michael] = chat.come("Michael")
    before = time.time()
    chat.hub.send(michael.member, chat.hub.lobby, ["one"])
    assert before <= chat.log.diary[0].at <= time.time()


def test_the_server_is_heard_by_all() -> None:
    chat = Chat()
    michael, narayan = chat.come("Michael", "Narayan")
    chat.hub.announce("lunch")
    chat.tick()
    assert chat.said() == [("Server", "lunch")]
    assert bodies(michael) == bodies(narayan) == [b"lunch"]


def test_a_notice_to_all_is_in_no_log() -> None:
    chat = Chat()
    [michael] = chat.come("Michael")
    chat.hub.broadcast_notice("bye")
    chat.tick()
    assert michael.lines == [line(Notice("bye"))]
    assert chat.log.committed == []


def test_what_came_in_one_read_is_one_step_and_stays_in_order() -> None:
    chat = Chat()
    michael, narayan = chat.come("Michael", "Narayan")
    chat.hub.send(michael.member, chat.hub.lobby, ["one", "two"])
    chat.hub.send(narayan.member, chat.hub.lobby, ["three"])
    chat.hub.send(michael.member, chat.hub.lobby, ["four"])
    chat.tick()
    assert bodies(narayan) == [b"one", b"two", b"four"]
    assert bodies(michael) == [b"three"]
    assert [said.seq for said in chat.log.committed] == [1, 2, 3, 4]
    assert chat.log.commits == 1


def test_an_observer_that_fails_silences_nobody() -> None:
    chat = Chat()
    michael, narayan = chat.come("Michael", "Narayan")
    works = chat.observer.on_published
    chat.observer.on_published = lambda _events: 1 / 0  # type: ignore[method-assign]
    chat.hub.send(michael.member, chat.hub.lobby, ["one"])
    with pytest.raises(ZeroDivisionError):
        chat.tick()
    chat.observer.on_published = works  # type: ignore[method-assign]
    chat.hub.send(michael.member, chat.hub.lobby, ["two"])
    chat.tick()
    assert bodies(narayan) == [b"one", b"two"]


def test_nothing_is_published_where_nothing_was_said() -> None:
    chat = Chat()
    chat.come("Michael")
    assert list(chat.hub.publish()) == []
    assert chat.log.commits == 1, "the salt for whispers"
    assert list(chat.hub.publish()) == []
    assert chat.log.commits == 1


def test_whoever_has_left_reads_what_was_said_before_and_nothing_after() -> None:
    chat = Chat()
    michael, narayan = chat.come("Michael", "Narayan")
    chat.hub.send(narayan.member, chat.hub.lobby, ["one"])
    michael.sign_out(None)
    chat.tick()
    chat.hub.send(narayan.member, chat.hub.lobby, ["two"])
    chat.tick()
    assert michael.gone
    assert bodies(michael) == [b"one"]
    assert [member.name for member in chat.hub.members()] == ["Narayan"]


def test_last_words_are_heard() -> None:
    chat = Chat()
    michael, narayan = chat.come("Michael", "Narayan")
    chat.hub.send(michael.member, chat.hub.lobby, ["goodbye"])
    michael.sign_out(None)
    chat.tick()
    assert bodies(narayan) == [b"goodbye"]
    assert not michael.lines


def test_a_kick_tells_the_member_why_and_everyone_who_is_left() -> None:
    chat = Chat(Settings())
    michael, narayan = chat.come("Michael", "Narayan")
    member = chat.hub.find_member("MICHAEL")
    assert member is michael.member
    chat.hub.disconnect([member], Farewell("kicked", "The operator has removed you.", "kicked by the operator"))
    chat.tick()
    assert michael.lines[0] == line(Notice("The operator has removed you."))
    assert michael.gone
    assert ("left", "Michael", "kicked by the operator") in chat.observer.seen
    assert narayan.lines == [line(Roster(("Narayan",), 1))]
    assert chat.hub.find_member("Michael") is None


def test_rosters_come_after_joins_and_leaves_once_a_second_at_most() -> None:
    chat = Chat(Settings())
    [michael] = chat.come("Michael")
    chat.tick()
    chat.come("Narayan")
    chat.tick(0.3)
    chat.come("Venkat")[0].sign_out(None)
    chat.tick(0.3)
    assert michael.lines == [line(Roster(("Michael",), 1))]
    chat.tick(0.3)
    assert len(michael.lines) == 1
    chat.tick(0.2)
    assert michael.lines[1:] == [line(Roster(("Michael", "Narayan"), 2))]
    chat.tick(100)
    assert len(michael.lines) == 2


def test_the_first_change_after_a_quiet_time_is_told_at_once() -> None:
    chat = Chat(Settings())
    [michael] = chat.come("Michael")
    chat.tick()
    chat.tick(50)
    chat.come("Narayan")
    chat.tick()
    assert michael.lines[1:] == [line(Roster(("Michael", "Narayan"), 2))]


def test_no_roster_is_sent_to_nobody() -> None:
    chat = Chat(Settings())
    [michael] = chat.come("Michael")
    chat.tick()
    michael.sign_out(None)
    chat.tick()
    chat.tick(10)
    assert [one for one in chat.format.encoded if isinstance(one, Roster)] == [Roster(("Michael",), 1)]


def test_a_roster_sorts_no_more_names_than_could_fit() -> None:
    chat = Chat(Settings(roster_limit=6))
    [michael, *_] = chat.come("Michael", "Venkat", "Narayan")
    chat.tick()
    assert michael.lines == [line(Roster(("Michael", "Narayan"), 3))]


def test_without_rosters_none_is_sent() -> None:
    chat = Chat(Settings(roster=False))
    [michael, *_] = chat.come("Michael", "Narayan")
    chat.tick(10)
    assert not michael.lines
    assert chat.clock.pending == 0


def test_the_operator_is_told_that_nobody_has_heard_what_could_not_be_stored() -> None:
    log = DiaryLog()
    observer = FakeObserver(log)
    hub = Hub(Settings(roster=False), log, FakeClock(), observer)
    fanout = Fanout(1 << 20)
    log.fail("disk full")
    hub.announce("tea is ready")
    end_tick(hub, fanout)
    log.fail(None)
    hub.announce("tea is getting cold")
    end_tick(hub, fanout)
    assert observer.seen == [
        ("storing", "", "disk full"),
        ("unsaid", "Server", "tea is ready"),
        ("storing", "", None),
        ("said", "Server", "tea is getting cold"),
    ]
