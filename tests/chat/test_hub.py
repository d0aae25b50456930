from __future__ import annotations

import time
from collections.abc import Sequence

from selchat.chat.hub import Hub
from selchat.chat.peer import Farewell
from selchat.chat.people import hash_client_secret
from selchat.config.settings import Settings
from selchat.events import LOBBY, Event, Notice, Roster, Said
from selchat.net.fanout import Fanout
from tests.chat.fakes import DiaryLog, FakeClock, FakeObserver, FakePeer, LineFormat, end_tick, line


class Chat:
    """A hub with everything around it faked. ``strict``: errors in `Hub.publish` are raised, not collected."""

    def __init__(self, settings: Settings | None = None, *, strict: bool = True) -> None:
        self.clock = FakeClock()
        self.log = DiaryLog()
        self.observer = FakeObserver(self.log)
        self.fanout = Fanout(1 << 20)
        self.errors: list[tuple[str, Exception]] = []
        self.hub = Hub(
            settings or Settings(roster=False),
            self.log,
            self.clock,
            self.observer,
            **({} if strict else {"on_error": lambda where, error: self.errors.append((where, error))}),
        )
        self.format = LineFormat(self.log)

    def sign_in(self, *names: str) -> list[FakePeer]:
        peers = []
        for name in names:
            peers.append(FakePeer(self.hub, self.fanout, self.format))
            peers[-1].sign_in(name)
        return peers

    def sign_in_owners(self, *names: str) -> list[FakePeer]:
        """Sign in people who own their names, and have them join the lobby."""
        peers = []
        for name in names:
            peer = FakePeer(self.hub, self.fanout, self.format)
            peer.member = self.hub.sign_in(name, "192.168.43.169:54494", peer, hash_client_secret(name))
            peer.join_room(LOBBY)
            peers.append(peer)
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
    michael, narayan, venkat = chat.sign_in("Michael", "Narayan", "Venkat")
    chat.hub.send(michael.member, chat.hub.lobby, ["one"])
    chat.hub.send(venkat.member, chat.hub.lobby, ["two"])
    chat.tick()
    assert (bodies(michael), bodies(narayan), bodies(venkat)) == ([b"two"], [b"one", b"two"], [b"one"])


def test_nothing_is_shown_before_the_log_has_it() -> None:
    chat = Chat()
    [michael, narayan] = chat.sign_in("Michael", "Narayan")
    chat.hub.send(michael.member, chat.hub.lobby, ["one"])
    assert not narayan.lines
    assert chat.log.committed == []
    assert ("said", "Michael", "one") not in chat.observer.seen
    chat.tick()
    assert [said.body for said in chat.log.committed] == ["one"]
    assert chat.observer.seen[-1] == ("said", "Michael", "one")


def test_what_is_said_has_the_time_at_which_it_was_said() -> None:
    chat = Chat()
    [michael] = chat.sign_in("Michael")
    before = time.time()
    chat.hub.send(michael.member, chat.hub.lobby, ["one"])
    assert before <= chat.log.diary[0].at <= time.time()


def test_the_server_is_heard_by_all() -> None:
    chat = Chat()
    michael, narayan = chat.sign_in("Michael", "Narayan")
    chat.hub.announce("lunch")
    chat.tick()
    assert chat.said() == [("Server", "lunch")]
    assert bodies(michael) == bodies(narayan) == [b"lunch"]


def test_a_notice_to_all_is_in_no_log() -> None:
    chat = Chat()
    [michael] = chat.sign_in("Michael")
    chat.hub.broadcast_notice("bye")
    chat.tick()
    assert michael.lines == [line(Notice("bye"))]
    assert chat.log.committed == []


def test_what_came_in_one_read_is_one_step_and_stays_in_order() -> None:
    chat = Chat()
    michael, narayan = chat.sign_in("Michael", "Narayan")
    chat.hub.send(michael.member, chat.hub.lobby, ["one", "two"])
    chat.hub.send(narayan.member, chat.hub.lobby, ["three"])
    chat.hub.send(michael.member, chat.hub.lobby, ["four"])
    chat.tick()
    assert bodies(narayan) == [b"one", b"two", b"four"]
    assert bodies(michael) == [b"three"]
    assert [said.seq for said in chat.log.committed] == [1, 2, 3, 4]
    assert chat.log.commits == 1


class FailingFormat(LineFormat):
    """A wire format with a bug."""

    def encode(self, events: Sequence[Event]) -> bytes:
        raise ZeroDivisionError


def test_failing_observer_silences_no_room() -> None:
    """One failure must not leave the rooms after it staged for ever, nor their authors unacknowledged."""
    chat = Chat(strict=False)
    michael, narayan, venkat = chat.sign_in("Michael", "Narayan", "Venkat")
    rooms = ["deck", "engine", "lobby"]
    for name in rooms[:2]:
        for peer in (michael, narayan, venkat):
            peer.join_room(name)
    chat.observer.failure = ZeroDivisionError()
    for text in ("one", "two"):
        for name, author in zip(rooms, (michael, narayan, venkat), strict=True):
            chat.hub.send(author.member, chat.hub.rooms.find(name), [f"{text} in {name}"])
        chat.tick()
    assert bodies(michael) == [b"one in engine", b"one in lobby", b"two in engine", b"two in lobby"]
    assert bodies(narayan) == [b"one in deck", b"one in lobby", b"two in deck", b"two in lobby"]
    assert bodies(venkat) == [b"one in deck", b"one in engine", b"two in deck", b"two in engine"]
    assert chat.errors == [("observer", chat.observer.failure)] * 6


def test_failing_session_keeps_no_other_author_from_its_acknowledgements() -> None:
    chat = Chat(strict=False)
    michael, narayan = chat.sign_in_owners("Michael", "Narayan")
    michael.failure = ZeroDivisionError()
    for seq, author in enumerate((michael, narayan), 1):
        chat.hub.send(author.member, chat.hub.lobby, ["x"], [f"id {seq}"], [None])
        chat.hub.send_direct(author.member, "Narayan", "psst", f"direct {seq}", None)
    chat.tick()
    assert chat.errors == [("session of Michael", michael.failure)] * 2
    assert michael.told == []
    assert narayan.told == [
        ("stored", "id 2", 2),
        ("whispered", "Michael", "Narayan", "psst", 1),
        ("stored", "direct 2", 2),
        ("whispered", "Narayan", "Narayan", "psst", 2),
    ]
    assert bodies(narayan) == [b"x"]


def test_failing_session_keeps_no_other_author_from_its_rejections() -> None:
    chat = Chat(strict=False)
    michael, narayan = chat.sign_in_owners("Michael", "Narayan")
    chat.tick()
    michael.failure = chat.observer.failure = ZeroDivisionError()
    chat.log.fail("the disk is full")
    for author in (michael, narayan):
        chat.hub.send(author.member, chat.hub.lobby, ["x"], ["id"], [None])
        chat.hub.send_direct(author.member, "Narayan", "psst", "direct", None)
    chat.hub.announce("tea is ready")
    chat.tick()
    assert [where for where, _ in chat.errors] == ["observer", "session of Michael", "observer", "session of Michael"]
    assert narayan.told == [("not-stored", ("id",)), ("not-stored", ("direct",))]


def test_failing_format_silences_no_other_room() -> None:
    chat = Chat(strict=False)
    michael, narayan = chat.sign_in("Michael", "Narayan")
    deck = michael.join_room("deck")
    deck.feed(FailingFormat())
    chat.hub.send(michael.member, deck, ["one"])
    chat.hub.send(michael.member, chat.hub.lobby, ["two"])
    chat.tick()
    assert [where for where, _ in chat.errors] == ["room deck"]
    assert bodies(narayan) == [b"two"]
    assert [event[2] for event in chat.observer.seen if event[0] == "said"] == ["one", "two"]


def test_nothing_is_published_where_nothing_was_said() -> None:
    chat = Chat()
    chat.sign_in("Michael")
    assert list(chat.hub.publish()) == []
    assert chat.log.commits == 1, "the salt for whispers"
    assert list(chat.hub.publish()) == []
    assert chat.log.commits == 1


def test_whoever_has_left_reads_what_was_said_before_and_nothing_after() -> None:
    chat = Chat()
    michael, narayan = chat.sign_in("Michael", "Narayan")
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
    michael, narayan = chat.sign_in("Michael", "Narayan")
    chat.hub.send(michael.member, chat.hub.lobby, ["goodbye"])
    michael.sign_out(None)
    chat.tick()
    assert bodies(narayan) == [b"goodbye"]
    assert not michael.lines


def test_a_kick_tells_the_member_why_and_everyone_who_is_left() -> None:
    chat = Chat(Settings())
    michael, narayan = chat.sign_in("Michael", "Narayan")
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
    [michael] = chat.sign_in("Michael")
    chat.tick()
    chat.sign_in("Narayan")
    chat.tick(0.3)
    chat.sign_in("Venkat")[0].sign_out(None)
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
    [michael] = chat.sign_in("Michael")
    chat.tick()
    chat.tick(50)
    chat.sign_in("Narayan")
    chat.tick()
    assert michael.lines[1:] == [line(Roster(("Michael", "Narayan"), 2))]


def test_no_roster_is_sent_to_nobody() -> None:
    chat = Chat(Settings())
    [michael] = chat.sign_in("Michael")
    chat.tick()
    michael.sign_out(None)
    chat.tick()
    chat.tick(10)
    assert [one for one in chat.format.encoded if isinstance(one, Roster)] == [Roster(("Michael",), 1)]


def test_a_roster_sorts_no_more_names_than_could_fit() -> None:
    chat = Chat(Settings(roster_limit=6))
    [michael, *_] = chat.sign_in("Michael", "Venkat", "Narayan")
    chat.tick()
    assert michael.lines == [line(Roster(("Michael", "Narayan"), 3))]


def test_without_rosters_none_is_sent() -> None:
    chat = Chat(Settings(roster=False))
    [michael, *_] = chat.sign_in("Michael", "Narayan")
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
