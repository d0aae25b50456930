from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from selchat.chat.hub import Hub
from selchat.chat.peer import Farewell
from selchat.chat.people import TooManyNamesError, hash_client_secret
from selchat.config.settings import Settings
from selchat.errors import NameTakenError
from selchat.events import LOBBY, Event, Notice, Roster, Said
from selchat.log.port import NotReadableError, NotStoredError
from selchat.net.fanout import Fanout
from tests.chat.fakes import FakeClock, FakeObserver, FakePeer, LineFormat, RecordingLog, end_tick, line
from tests.chat.support import reachable_objects

DAY = 86_400.0


class Chat:
    """A hub with fakes around it. ``strict``: errors in `Hub.publish` are raised, not collected."""

    def __init__(self, settings: Settings | None = None, *, strict: bool = True) -> None:
        self.clock = FakeClock()
        self.log = RecordingLog()
        self.observer = FakeObserver(self.log)
        self.fanout = Fanout(1 << 20)
        self.time: float | None = None  # Unix time; None: the real one
        self.errors: list[tuple[str, Exception]] = []
        self.hub = Hub(
            settings or Settings(roster=False),
            self.log,
            self.clock,
            self.observer,
            lambda: time.time() if self.time is None else self.time,
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

    def sent(self) -> list[tuple[str, str]]:
        return [(event.author, event.body) for event in self.format.encoded if isinstance(event, Said)]


def bodies(peer: FakePeer) -> list[bytes]:
    return [line.split(b"body='")[1].split(b"'")[0] for line in peer.lines]


def test_everyone_but_the_author_gets_a_message() -> None:
    chat = Chat()
    michael, narayan, venkat = chat.sign_in("Michael", "Narayan", "Venkat")
    chat.hub.send(michael.member, chat.hub.lobby, ["one"])
    chat.hub.send(venkat.member, chat.hub.lobby, ["two"])
    chat.tick()
    assert (bodies(michael), bodies(narayan), bodies(venkat)) == ([b"two"], [b"one", b"two"], [b"one"])


def test_nothing_is_published_before_the_log_has_it() -> None:
    chat = Chat()
    [michael, narayan] = chat.sign_in("Michael", "Narayan")
    chat.hub.send(michael.member, chat.hub.lobby, ["one"])
    assert not narayan.lines
    assert chat.log.committed == []
    assert ("said", "Michael", "one") not in chat.observer.seen
    chat.tick()
    assert [said.body for said in chat.log.committed] == ["one"]
    assert chat.observer.seen[-1] == ("said", "Michael", "one")


def test_message_has_the_time_at_which_it_was_sent() -> None:
    chat = Chat()
    [michael] = chat.sign_in("Michael")
    before = time.time()
    chat.hub.send(michael.member, chat.hub.lobby, ["one"])
    assert before <= chat.log.appended[0].at <= time.time()


def test_announcement_reaches_everyone() -> None:
    chat = Chat()
    michael, narayan = chat.sign_in("Michael", "Narayan")
    chat.hub.announce("lunch")
    chat.tick()
    assert chat.sent() == [("Server", "lunch")]
    assert bodies(michael) == bodies(narayan) == [b"lunch"]


def test_notice_to_everyone_is_not_logged() -> None:
    chat = Chat()
    [michael] = chat.sign_in("Michael")
    chat.hub.broadcast_notice("bye")
    chat.tick()
    assert michael.lines == [line(Notice("bye"))]
    assert chat.log.committed == []


def test_messages_of_one_read_stay_together_and_in_order() -> None:
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
    assert michael.replies == []
    assert narayan.replies == [
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
    assert [where for where, _ in chat.errors] == ["observer", "session of Michael"] * 2
    assert narayan.replies == [("not-stored", ("id",)), ("not-stored", ("direct",))]


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


def test_tick_without_events_publishes_and_commits_nothing() -> None:
    chat = Chat()
    chat.sign_in("Michael")
    assert list(chat.hub.publish()) == []
    assert chat.log.commits == 1, "the salt for direct messages"
    assert list(chat.hub.publish()) == []
    assert chat.log.commits == 1


def test_member_who_leaves_gets_earlier_messages_and_no_later_ones() -> None:
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


def test_message_sent_before_leaving_is_published() -> None:
    chat = Chat()
    michael, narayan = chat.sign_in("Michael", "Narayan")
    chat.hub.send(michael.member, chat.hub.lobby, ["goodbye"])
    michael.sign_out(None)
    chat.tick()
    assert bodies(narayan) == [b"goodbye"]
    assert not michael.lines


def test_disconnected_member_gets_the_reason_and_others_a_new_roster() -> None:
    chat = Chat(Settings())
    michael, narayan = chat.sign_in("Michael", "Narayan")
    member = chat.hub.find_member("MICHAEL")
    assert member is michael.member
    farewell = Farewell("kicked", "The operator has removed you.", "kicked by the operator")
    chat.hub.disconnect([member], farewell)
    chat.tick()
    assert michael.lines[0] == line(Notice("The operator has removed you."))
    assert michael.gone
    assert ("left", "Michael", "kicked by the operator") in chat.observer.seen
    assert narayan.lines == [line(Roster(("Narayan",), 1))]
    assert chat.hub.find_member("Michael") is None


def test_rosters_follow_changes_at_most_once_a_second() -> None:
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


def test_first_change_after_a_quiet_time_is_sent_at_once() -> None:
    chat = Chat(Settings())
    [michael] = chat.sign_in("Michael")
    chat.tick()
    chat.tick(50)
    chat.sign_in("Narayan")
    chat.tick()
    assert michael.lines[1:] == [line(Roster(("Michael", "Narayan"), 2))]


def test_no_roster_is_sent_to_an_empty_room() -> None:
    chat = Chat(Settings())
    [michael] = chat.sign_in("Michael")
    chat.tick()
    michael.sign_out(None)
    chat.tick()
    chat.tick(10)
    assert [one for one in chat.format.encoded if isinstance(one, Roster)] == [Roster(("Michael",), 1)]


def test_roster_has_no_more_names_than_fit() -> None:
    chat = Chat(Settings(roster_limit=6))
    [michael, *_] = chat.sign_in("Michael", "Venkat", "Narayan")
    chat.tick()
    assert michael.lines == [line(Roster(("Michael", "Narayan"), 3))]


def test_roster_can_be_disabled() -> None:
    chat = Chat(Settings(roster=False))
    [michael, *_] = chat.sign_in("Michael", "Narayan")
    chat.tick(10)
    assert not michael.lines
    assert chat.clock.pending == 0


@pytest.mark.parametrize("roster", [False, True])
@pytest.mark.parametrize("order", ["join users part", "users join part", "join users users part"])
def test_room_remembers_nobody_who_came_and_went(roster: bool, order: str) -> None:
    chat = Chat(Settings(roster=roster))
    lobby = chat.hub.lobby
    chat.sign_in("Michael")[0].sign_out(None)
    chat.tick(10)
    before = reachable_objects(lobby)
    for number in range(300):
        peer = None
        for step in order.split():
            if step == "join":
                [peer] = chat.sign_in(f"Venkat {number}")
            elif step == "users":
                lobby.snapshot(1000)
            elif peer is not None:
                peer.sign_out(None)
        if number % 2:
            chat.tick(0.001)
    chat.tick(0.001)
    assert reachable_objects(lobby) <= before
    assert not len(lobby.members)


def test_room_without_a_roster_has_no_changes_to_report() -> None:
    chat = Chat(Settings(roster=False))
    lobby = chat.hub.lobby
    chat.sign_in("Michael")
    for number in range(300):
        [peer] = chat.sign_in(f"Venkat {number}")
        lobby.snapshot(1000)
        peer.sign_out(None)
    assert lobby.take_changes() == []


def test_observer_learns_of_announcements_that_were_not_stored() -> None:
    log = RecordingLog()
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
        ("log state", "", "disk full"),
        ("announcement lost", "Server", "tea is ready"),
        ("log state", "", None),
        ("said", "Server", "tea is getting cold"),
    ]


# -- owners of names ----------------------------------------------------------------------------------


def owners_chat() -> tuple[Chat, bytes, bytes]:
    """Return a chat in which Venkat and Narayan own their names, are away, and have a direct message each."""
    chat = Chat()
    chat.time = 1e9
    venkat, narayan, michael = chat.sign_in_owners("Venkat", "Narayan", "Michael")
    venkat.sign_out(None)
    narayan.sign_out(None)
    for number, name in enumerate(("Venkat", "Narayan")):
        chat.hub.send_direct(michael.member, name, "for you alone", f"direct {number}", None)
    chat.tick()
    michael.sign_out(None)
    return chat, hash_client_secret("Venkat"), hash_client_secret("someone else")


def sign_in(chat: Chat, name: str, client_id: bytes) -> FakePeer:
    peer = FakePeer(chat.hub, chat.fanout, chat.format)
    peer.member = chat.hub.sign_in(name, "192.0.2.1:5", peer, client_id)
    return peer


def test_owner_who_returns_has_the_name_and_the_direct_messages() -> None:
    chat, owner, stranger = owners_chat()
    chat.time += 89 * DAY
    chat.hub.collect_garbage()
    with pytest.raises(NameTakenError):
        sign_in(chat, "venkat", stranger)
    assert chat.hub.name_owner("Venkat") == owner
    assert chat.hub.inbox(sign_in(chat, "venkat", owner).member) == ("@venkat", 0, 1)


def test_new_owner_of_an_expired_name_gets_no_direct_messages_to_the_old_one() -> None:
    chat, owner, stranger = owners_chat()
    chat.time += 89 * DAY
    sign_in(chat, "Narayan", hash_client_secret("Narayan")).sign_out(None)
    chat.time += 2 * DAY
    chat.hub.collect_garbage()
    assert chat.hub.name_owner("Venkat") is None
    venkat = sign_in(chat, "Venkat", stranger)
    assert chat.hub.name_owner("Venkat") == stranger
    assert chat.hub.inbox(venkat.member) == ("@venkat", 1, 0)
    venkat.sign_out(None)
    assert chat.hub.name_owner("Venkat") == stranger, "signing out keeps the owner"
    with pytest.raises(NameTakenError):
        sign_in(chat, "Venkat", owner)
    narayan = sign_in(chat, "Narayan", hash_client_secret("Narayan"))
    assert chat.hub.inbox(narayan.member) == ("@narayan", 0, 1), "the messages to others still wait"
    chat.hub.send_direct(narayan.member, "Venkat", "for the new one", "1", None)
    chat.tick()
    assert chat.hub.inbox(sign_in(chat, "Venkat", stranger).member) == ("@venkat", 1, 1)


def test_new_owner_who_only_sends_gets_no_direct_messages_to_the_old_one_later() -> None:
    chat, _, stranger = owners_chat()
    chat.time += 91 * DAY
    chat.hub.collect_garbage()
    peer = FakePeer(chat.hub, chat.fanout, chat.format)
    member = chat.hub.sign_in_send_only("Venkat", "192.0.2.1:5", peer, stranger)
    chat.hub.sign_out_send_only(member)
    assert chat.hub.name_owner("Venkat") == stranger
    assert chat.hub.inbox(sign_in(chat, "Venkat", stranger).member) == ("@venkat", 1, 0)


def test_numbered_name_of_a_second_session_belongs_to_nobody_afterwards() -> None:
    chat, owner, _ = owners_chat()
    sign_in(chat, "Venkat", owner)
    second = FakePeer(chat.hub, chat.fanout, chat.format)
    second.member = chat.hub.sign_in("Venkat", "192.0.2.1:5", second, owner, alongside=True)
    assert second.member.name == "Venkat_2"
    second.sign_out(None)
    assert chat.hub.name_owner("Venkat_2") is None
    assert chat.hub.name_owner("Venkat") == owner


def test_freed_name_leaves_nothing_behind_and_its_numbered_guest_reads_no_messages() -> None:
    chat, owner, stranger = owners_chat()
    venkat = sign_in(chat, "Venkat", owner)
    chat.hub.confirm_direct(venkat.member, 1)
    venkat.sign_out(None)
    assert chat.log.records("whispers") == {"venkat": "1"}
    chat.time = (chat.time or 0.0) + 91 * DAY
    chat.hub.collect_garbage()
    assert chat.log.records("whispers") == {}
    other = sign_in(chat, "Ven", stranger)
    other.member.name = "Venkat"  # as a second session might get it
    chat.hub.confirm_direct(other.member, 1)
    assert chat.hub.inbox(other.member) == ("@venkat", 0, 0)
    assert chat.log.records("whispers") == {}
    other.member.name = "Ven"


def test_restart_frees_the_inboxes_of_names_that_nobody_owns() -> None:
    chat, owner, _ = owners_chat()
    chat.hub.confirm_direct(sign_in(chat, "Venkat", owner).member, 1)
    chat.tick()
    assert chat.log.records("whispers") == {"venkat": "1"}
    chat.log.put("whispers", "ramana", "1")  # as an older version left it
    later = (chat.time or 0.0) + 91 * DAY
    Hub(Settings(), chat.log, chat.clock, chat.observer, lambda: later)
    assert chat.log.records("whispers") == {}


def test_all_names_are_limited() -> None:
    chat = Chat(Settings(roster=False, names_limit=3))
    chat.time = 1e9
    for name in ("unread", "idle", "online"):
        peer = sign_in(chat, name, hash_client_secret(name))
        if name != "online":
            peer.sign_out(None)
    chat.hub.send_direct(peer.member, "unread", "for you", "1", None)
    chat.tick()
    new = hash_client_secret("new")
    with pytest.raises(TooManyNamesError, match="users of this server took 3 names"):
        sign_in(chat, "new", new)
    chat.time += 2 * DAY
    sign_in(chat, "new", new)
    assert [chat.hub.knows_name(name) for name in ("unread", "idle", "online", "new")] == [
        True,
        False,
        True,
        True,
    ]
    with pytest.raises(TooManyNamesError):
        sign_in(chat, "another", hash_client_secret("another"))
    assert sign_in(chat, "new", new).member.name == "new"


def test_message_that_the_log_cannot_number_is_refused_and_may_be_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chat = Chat()
    michael, _ = chat.sign_in_owners("Michael", "Narayan")

    def fail(*arguments: object) -> list[Said]:
        raise NotReadableError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(chat.log, "append", fail)
        chat.hub.send(michael.member, chat.hub.lobby, ["one"], ["1"], [None])
        with pytest.raises(NotStoredError, match="disk I/O error"):
            chat.hub.send_direct(michael.member, "Narayan", "two", "2", None)
    assert michael.replies == [("not-stored", ("1",))]
    chat.hub.send(michael.member, chat.hub.lobby, ["one"], ["1"], [None])
    chat.hub.send_direct(michael.member, "Narayan", "two", "2", None)
    chat.tick()
    assert [said.body for said in chat.log.committed] == ["one", "two"]


def test_names_with_unread_messages_or_sessions_are_not_freed_for_a_new_name() -> None:
    chat = Chat(Settings(roster=False, person_names=3))
    chat.time = 1e9
    michael, owner = hash_client_secret("Michael"), hash_client_secret("owner")
    sender = sign_in(chat, "Michael", michael)
    for name in ("unread", "idle", "online"):
        chat.time += 1
        peer = sign_in(chat, name, owner)
        if name != "online":
            peer.sign_out(None)
    chat.hub.send_direct(sender.member, "unread", "for you", "1", None)
    chat.tick()
    sign_in(chat, "new", owner)
    owners = {name: chat.hub.name_owner(name) for name in ("unread", "idle", "online", "new")}
    assert owners == {"unread": owner, "idle": None, "online": owner, "new": owner}
    with pytest.raises(TooManyNamesError):
        sign_in(chat, "another", owner)
    assert chat.hub.name_owner("another") is None
    sign_in(chat, "new", owner)
    sign_in(chat, "idle", michael)
