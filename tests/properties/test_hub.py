"""Test hub, room and log against a model of the members and of the messages that each has received."""

from __future__ import annotations

import re

from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from selchat.chat.confusables import check_scripts, imitates_server, skeletons
from selchat.chat.hub import Hub
from selchat.chat.peer import Farewell
from selchat.config.settings import Settings
from selchat.errors import NameTakenError, RefusalError
from selchat.events import LOBBY, SERVER, Event, Notice, Roster, Said
from selchat.net.fanout import Fanout
from selchat.text import clean_name, name_key
from tests.chat.fakes import FakeClock, FakeObserver, FakePeer, LineFormat, RecordingLog, end_tick, line

NAMES = st.sampled_from(
    [
        *("Michael", "michael", "MICHAEL", "\uff2dichael", "Michael_2", "michael_3", " Michael "),
        *(
            "Server",
            "SERVER",
            "\uff33erver",
            "Ser\u200bver",
            "\u202eServer",
            "Server_2",
            "Server:",
            "\ua731erv er",
        ),
        *("Venkat > I quit", "[lobby] Venkat", "* Venkat", "Venkat_"),
        *("", " ", "\x1b\x07", "guest", "guest1", "Guest2", "GUEST_2"),
        *("rnichael", "Michae1", "M1CHAEL", "rnichael_2", "michael_l0", "guestl", "Serv\u04bdr"),
        *("sasa", "\u0455\u0430\u0455\u0430", "SASA", "\u0405\u0410\u0405\u0410", "M\u0456chael"),
        *("Stra\u00dfe", "STRASSE", "x" * 32, "x" * 40, "X" * 29 + " " * 9, "x" * 30 + "_2"),
    ]
) | st.text(max_size=40)
BODIES = st.text(max_size=10)
_who = st.integers(0, 5)
KICKED = Farewell("kicked", "The operator has removed you from this chat.", "kicked by the operator")

ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("join"), NAMES, st.booleans()),
        st.tuples(st.just("join"), NAMES, st.booleans()),
        st.tuples(st.just("send"), _who, st.lists(BODIES, min_size=1, max_size=3)),
        st.tuples(st.just("send"), _who, st.lists(BODIES, min_size=1, max_size=3)),
        st.tuples(st.just("announce"), BODIES),
        st.tuples(st.just("broadcast_notice"), BODIES),
        st.tuples(st.just("leave"), _who),
        st.tuples(st.just("lose_connection"), _who),
        st.tuples(st.just("kick"), _who, st.sampled_from([str, str.upper, "{}\u200b ".format])),
        st.tuples(st.just("kick_absent_name"), NAMES),
    ),
    max_size=6,
)


class HubMachine(RuleBasedStateMachine):
    @initialize(limit=st.sampled_from([1400, 9, 1]))
    def build(self, limit: int) -> None:
        self.settings = Settings(roster_limit=limit)
        self.clock = FakeClock()
        self.log = RecordingLog()
        self.observer = FakeObserver(self.log)
        self.fanout = Fanout(self.settings.feed_limit)
        self.hub = Hub(self.settings, self.log, self.clock, self.observer)
        self.formats = [LineFormat(self.log), LineFormat(self.log)]
        self.peers: list[FakePeer] = []  # signed in
        self.leaving: list[FakePeer] = []  # signed out in this tick; they still get its messages
        self.expected: dict[FakePeer, list[bytes]] = {}
        self.staged: list[tuple[str, str, FakePeer | None]] = []
        self.seen: list[tuple[str, str, str | None]] = []
        self.rosters: list[tuple[float, Roster]] = []
        self.changed = False  # since the last roster

    # -- events in a tick ------------------------------------------------------------------------

    def join(self, requested: str, second_format: bool) -> None:
        taken = {name_key(peer.member.name) for peer in self.peers} | {name_key(SERVER)}
        peer = FakePeer(self.hub, self.fanout, self.formats[second_format])
        name = peer.sign_in(requested, "192.0.2.1:5").name
        cleaned = clean_name(requested)
        self.expected[peer] = []
        try:
            check_scripts(cleaned)
            if imitates_server(requested):
                event("a name was confusable with the server's")
                raise NameTakenError(cleaned)
        except RefusalError as error:
            cleaned = ""
            self.expected[peer].append(line(Notice(f"Your name is {name}, because {error}.")))
        taken_skeletons = {*skeletons(SERVER)}.union(*(skeletons(each.member.name) for each in self.peers))
        assert name_key(name) not in taken
        assert taken_skeletons.isdisjoint(skeletons(name))
        assert name == clean_name(name)
        assert 1 <= len(name) <= 32
        if not cleaned:
            assert re.fullmatch(r"guest[1-9]\d*", name)
        elif name_key(cleaned) not in taken and taken_skeletons.isdisjoint(skeletons(cleaned)):
            assert name == cleaned
        else:
            event("a name was confusable" if name_key(cleaned) not in taken else "a name was the same")
            event("a name was taken")
            start, _, number = name.rpartition("_")
            assert cleaned.startswith(start) and int(number) >= 2
        self.peers.append(peer)
        self.seen.append(("joined", name, "192.0.2.1:5"))
        self.changed = True

    def send(self, who: int, bodies: list[str]) -> None:
        if self.peers:
            author = self.peers[who % len(self.peers)]
            self.hub.send(author.member, self.hub.lobby, bodies)
            for body in bodies:
                self.staged.append((author.member.name, body, author))
                self.seen.append(("said", author.member.name, body))

    def announce(self, body: str) -> None:
        self.hub.announce(body)
        self.staged.append((SERVER, body, None))
        self.seen.append(("said", SERVER, body))

    def broadcast_notice(self, text: str) -> None:
        self.hub.broadcast_notice(text)
        self.staged.append(("", text, None))

    def leave(self, who: int) -> None:
        if self.peers:
            peer = self.peers.pop(who % len(self.peers))
            peer.sign_out(None)
            self.leaving.append(peer)
            self.seen.append(("left", peer.member.name, None))
            self.changed = True

    def lose_connection(self, who: int) -> None:
        """Lose a connection: the peer reads nothing more."""
        if self.peers:
            peer = self.peers.pop(who % len(self.peers))
            peer.hub.sign_out(peer.member, "connection reset by peer")
            peer.outbox.close()
            self.expected[peer] = peer.lines
            self.seen.append(("left", peer.member.name, "connection reset by peer"))
            self.changed = True

    def kick(self, who: int, written: object) -> None:
        if self.peers:
            peer = self.peers[who % len(self.peers)]
            spelling = written(peer.member.name)  # type: ignore[operator]
            if name_key(clean_name(spelling)) != name_key(peer.member.name):
                return  # upper case can make a name longer than the limit, so that it is cut
            member = self.hub.find_member(spelling)
            assert member is peer.member
            self.hub.disconnect([member], KICKED)
            assert peer.closed_for == ["kicked by the operator"]
            self.peers.remove(peer)
            self.leaving.append(peer)
            notice = line(Notice(KICKED.notice))
            self.expected[peer].append(notice)
            self.seen.append(("left", peer.member.name, "kicked by the operator"))
            self.changed = True

    def kick_absent_name(self, name: str) -> None:
        key = name_key(clean_name(name))
        if key not in {name_key(peer.member.name) for peer in self.peers}:
            assert self.hub.find_member(name) is None

    # -- ticks -----------------------------------------------------------------------------------------

    @rule(acts=ACTS, seconds=st.sampled_from([0.0, 0.0, 0.1, 0.4, 0.99, 1.0, 3.0]))
    def tick(self, acts: list[tuple[object, ...]], seconds: float) -> None:
        for name, *arguments in acts:
            getattr(self, name)(*arguments)
        self.end_tick(seconds)

    def end_tick(self, seconds: float) -> None:
        before = [len(format.encoded) for format in self.formats]
        messages, commits = len(self.log.committed), self.log.commits
        deliveries = self.hub.publisher.delivery_count
        self.clock.advance(seconds)
        end_tick(self.hub, self.fanout)
        assert self.hub.publisher.delivery_count >= deliveries, "a counter never falls"
        used = {peer.format for peer in self.peers}
        assert set(self.hub.lobby.feeds) == used, "no feed is encoded for which nobody reads"
        assert self.log.commits - commits <= 1, "one commit for the whole tick"
        assert not self.log.appended
        self.check_observer()
        published = max(
            (format.encoded[start:] for format, start in zip(self.formats, before, strict=True)), key=len
        )
        for format, start in zip(self.formats, before, strict=True):
            assert format.encoded[start:] in ([], published), "each format encodes every event once"
        self.check_published(published, self.log.committed[messages:])

    def check_published(self, published: list[Event], messages: list[Said]) -> None:
        assert [said.seq for said in messages] == [
            len(self.log.committed) - len(messages) + 1 + i for i in range(len(messages))
        ]
        assert [(said.author, said.body) for said in messages] == [
            (author, text) for author, text, _ in self.staged if author
        ]
        events = iter(published)
        staged = iter(self.staged)
        readers = [*self.peers, *self.leaving]
        if readers:
            for item in events:
                author = None
                if isinstance(item, Roster):
                    self.check_roster(item)
                else:
                    name, text, author = next(staged)
                    assert item == Notice(text) or (item.author, item.body, item.room) == (name, text, LOBBY)
                for peer in readers:
                    if peer is not author:
                        self.expected[peer].append(line(item))
            assert next(staged, None) is None, "an event was lost"
        for peer in self.leaving:
            assert peer.gone
        self.staged.clear()
        self.leaving.clear()
        for peer, lines in self.expected.items():
            # A reply may overtake the events of its tick; everything else stays in order.
            assert sorted(peer.lines) == sorted(lines)
            without = [one for one in lines if b"has removed you" not in one]
            assert [one for one in peer.lines if b"has removed you" not in one] == without
        self.expected = {peer: self.expected[peer] for peer in self.peers}

    def check_roster(self, roster: Roster) -> None:
        names = sorted((peer.member.name for peer in self.peers), key=name_key)
        assert roster.total == len(names)
        assert list(roster.names) == names[: self.settings.roster_limit // 3]
        if self.rosters:
            assert self.clock.now - self.rosters[-1][0] >= self.settings.roster_interval
        self.rosters.append((self.clock.now, roster))
        self.changed = False

    def check_observer(self) -> None:
        assert self.observer.seen == self.seen

    @invariant()
    def each_member_is_listed_once(self) -> None:
        if not hasattr(self, "hub"):
            return
        names = [peer.member.name for peer in self.peers]
        assert {member.name for member in self.hub.members()} == set(names)
        assert len(self.hub.members()) == len(names)

    def teardown(self) -> None:
        """Once nothing changes, everyone has the current roster within one interval."""
        if not hasattr(self, "hub"):
            return
        self.end_tick(self.settings.roster_interval)
        if self.peers:
            assert not self.changed
            for peer in self.peers:
                assert b"Roster" in b"".join(peer.lines)
        self.end_tick(self.settings.roster_interval * 10)
        assert self.clock.pending == 0


TestHub = HubMachine.TestCase
EXAMPLES, STEPS = {"quick": (20, 20), "ci": (60, 20), "mutation": (40, 20), "nightly": (5_000, 50)}[
    settings.get_current_profile_name()
]
TestHub.settings = settings(max_examples=EXAMPLES, stateful_step_count=STEPS)
