"""Test names of classic and selchat members: no two people have confusable names at the same time."""

from __future__ import annotations

import json
from itertools import combinations

from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from selchat.chat.confusables import (
    MixedScriptsError,
    check_scripts,
    imitates_server,
    resembles_server,
    skeletons,
)
from selchat.chat.hub import Hub
from selchat.chat.people import hash_client_secret
from selchat.chat.roster import Roster
from selchat.config.settings import Settings
from selchat.errors import RefusalError
from selchat.events import SERVER
from selchat.net.fanout import Fanout
from selchat.text import clean_name, name_key
from tests.chat.fakes import FakeClock, FakeObserver, FakePeer, LineFormat, RecordingLog
from tests.chat.support import reachable_objects

# Short names of confusable letters, so that many of them collide, and a length limit that cuts them.
NAMES = st.text("mMrniIlL1|0oO\u043e\u0406\u0456\u03bf\u039f_2 \u200b", max_size=4) | st.sampled_from(
    [
        "Server",
        "S\u0435rver",
        "serve",
        "Serv er",
        "5erver",
        "Server 2",
        "m.i.k.e",
        "m\u00edke",
        "guest1",
        "guestl",
        "guest2",
        "mike_2",
        "rnike_2",
        "mike",
        "M1KE",
        "rnike",
    ]
)
CLIENTS = [hash_client_secret(secret) for secret in ("one", "two", "three")]
_DAY = 86_400.0


class NamesMachine(RuleBasedStateMachine):
    @initialize(length=st.sampled_from([32, 6, 4]))
    def build(self, length: int) -> None:
        self.log = RecordingLog()
        self.settings = Settings(name_length=length)
        self.time = 1e9
        self.start()

    def start(self) -> None:
        self.hub = Hub(self.settings, self.log, FakeClock(), FakeObserver(self.log), lambda: self.time)
        self.fanout = Fanout(1 << 20)
        self.peers: list[FakePeer] = []

    def peer(self) -> FakePeer:
        return FakePeer(self.hub, self.fanout, LineFormat(self.log))

    def others(self, client: bytes | None) -> set[str]:
        """Return the names of other people, signed in or not."""
        here = {member.name for member in self.hub.members() if client is None or member.client_id != client}
        records = self.log.records("name")
        names = [str(json.loads(record)["name"]) for record in records.values()]
        away = {name for name in names if self.hub.name_owner(name) != client}
        return here | away | {SERVER}

    @rule(requested=NAMES)
    def sign_in_guest(self, requested: str) -> None:
        others, peer = self.others(None), self.peer()
        name = peer.sign_in(requested).name
        self.peers.append(peer)
        self.check(name, others)
        check_scripts(name)
        if is_acceptable(requested, clean_name(requested, self.settings.name_length), others):
            assert name == clean_name(requested, self.settings.name_length)
        else:
            event("another name")

    @rule(requested=NAMES, client=st.sampled_from(CLIENTS), alongside=st.booleans())
    def sign_in(self, requested: str, client: bytes, alongside: bool) -> None:
        others, peer = self.others(client), self.peer()
        cleaned = clean_name(requested, self.settings.name_length)
        present = self.hub.find_member(cleaned)
        try:
            peer.member = self.hub.sign_in(requested, "192.0.2.1:5", peer, client, alongside=alongside)
        except RefusalError as error:
            event(type(error).__name__)
            assert not is_acceptable(requested, cleaned, others)
            return
        self.peers = [each for each in self.peers if not each.closed_for]
        self.peers.append(peer)
        self.check(peer.member.name, others)
        if not alongside or present is None:
            assert peer.member.name == cleaned
            assert self.hub.name_owner(cleaned) == client

    @precondition(lambda self: self.peers)
    @rule(who=st.integers(0, 20))
    def sign_out(self, who: int) -> None:
        self.peers.pop(who % len(self.peers)).sign_out(None)

    @rule(days=st.sampled_from([1, 89, 91]))
    def advance(self, days: int) -> None:
        self.time += days * _DAY
        self.hub.collect_garbage()

    @rule()
    def restart(self) -> None:
        while self.peers:
            self.sign_out(0)
        self.log.commit()
        self.start()

    def check(self, name: str, others: set[str]) -> None:
        assert clean_name(name, self.settings.name_length) == name
        assert name_key(name) not in map(name_key, others)
        assert not any(are_confusable(name, other) for other in others)

    @invariant()
    def no_two_people_have_confusable_names(self) -> None:
        if not hasattr(self, "hub"):
            return
        for one, other in combinations(self.hub.members(), 2):
            assert name_key(one.name) != name_key(other.name)
            if one.client_id is None or one.client_id != other.client_id:
                assert not are_confusable(one.name, other.name)
        assert not any(resembles_server(member.name) for member in self.hub.members())

    @invariant()
    def roster_keeps_nothing_of_members_who_left(self) -> None:
        if hasattr(self, "hub") and not self.peers:
            assert reachable_objects(self.hub._members) == reachable_objects(Roster())


def are_confusable(one: str, other: str) -> bool:
    return not frozenset(skeletons(one)).isdisjoint(skeletons(other))


def is_acceptable(requested: str, cleaned: str, others: set[str]) -> bool:
    try:
        check_scripts(cleaned)
    except MixedScriptsError:
        return False
    free = name_key(cleaned) not in map(name_key, others)
    return (
        bool(cleaned)
        and free
        and not imitates_server(requested)
        and not any(are_confusable(cleaned, other) for other in others)
    )


TestNames = NamesMachine.TestCase
EXAMPLES, STEPS = {"quick": (20, 30), "ci": (60, 30), "mutation": (40, 30), "nightly": (5_000, 60)}[
    settings.get_current_profile_name()
]
TestNames.settings = settings(max_examples=EXAMPLES, stateful_step_count=STEPS)
