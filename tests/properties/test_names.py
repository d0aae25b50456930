"""Who gets which name, on both wires, while people come and go: no two of different people look the same."""

from __future__ import annotations

from itertools import combinations

from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from selchat.chat.confusables import MixedScriptsError, check_scripts, skeletons
from selchat.chat.hub import Hub
from selchat.chat.people import hash_client_secret
from selchat.config.settings import Settings
from selchat.errors import RefusalError
from selchat.events import SERVER
from selchat.net.fanout import Fanout
from selchat.text import clean_name, name_key
from tests.chat.fakes import DiaryLog, FakeClock, FakeObserver, FakePeer, LineFormat

# Letters of which many can be taken for each other, short, so that they often are; and a cut that is near.
NAMES = st.text("mMrniIlL1|0oO\u043e\u0406\u0456\u03bf\u039f_2 \u200b", max_size=4) | st.sampled_from(
    [
        "Server",
        "S\u0435rver",
        "serve",
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
        self.log = DiaryLog()
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
        """Return the names that are someone else's, here or away."""
        here = {member.name for member in self.hub.members() if client is None or member.client_id != client}
        records = self.log.records("name")
        away = {self.hub._names.name(key) for key in records if self.hub._names.owner(key) != client}
        return here | away | {SERVER}

    @rule(wanted=NAMES)
    def comes_classic(self, wanted: str) -> None:
        others, peer = self.others(None), self.peer()
        name = peer.sign_in(wanted).name
        self.peers.append(peer)
        self.check(name, others)
        check_scripts(name)
        if good(clean_name(wanted, self.settings.name_length), others):
            assert name == clean_name(wanted, self.settings.name_length)
        else:
            event("another name")

    @rule(wanted=NAMES, client=st.sampled_from(CLIENTS), beside=st.booleans())
    def comes_selchat(self, wanted: str, client: bytes, beside: bool) -> None:
        others, peer = self.others(client), self.peer()
        cleaned = clean_name(wanted, self.settings.name_length)
        present = self.hub.find_member(cleaned)
        try:
            peer.member = self.hub.sign_in(wanted, "192.0.2.1:5", peer, client, alongside=beside)
        except RefusalError as error:
            event(type(error).__name__)
            assert not good(cleaned, others)
            return
        self.peers = [each for each in self.peers if not each.closed_for]
        self.peers.append(peer)
        self.check(peer.member.name, others)
        if not beside or present is None:
            assert peer.member.name == cleaned
            assert self.hub.name_owner(cleaned) == client

    @precondition(lambda self: self.peers)
    @rule(who=st.integers(0, 20))
    def goes(self, who: int) -> None:
        self.peers.pop(who % len(self.peers)).sign_out(None)

    @rule(days=st.sampled_from([1, 89, 91]))
    def time_goes_by(self, days: int) -> None:
        self.time += days * _DAY
        self.hub.collect_garbage()

    @rule()
    def is_started_again(self) -> None:
        while self.peers:
            self.goes(0)
        self.log.commit()
        self.start()

    def check(self, name: str, others: set[str]) -> None:
        assert clean_name(name, self.settings.name_length) == name
        assert name_key(name) not in map(name_key, others)
        assert not any(are_alike(name, other) for other in others)

    @invariant()
    def no_two_people_look_the_same(self) -> None:
        if not hasattr(self, "hub"):
            return
        for one, other in combinations(self.hub.members(), 2):
            assert name_key(one.name) != name_key(other.name)
            if one.client_id is None or one.client_id != other.client_id:
                assert not are_alike(one.name, other.name)
        assert not any(are_alike(member.name, SERVER) for member in self.hub.members())

    @invariant()
    def nothing_is_remembered_of_who_has_gone(self) -> None:
        if hasattr(self, "hub") and not self.peers:
            roster = self.hub._members
            assert not roster._pools and not roster._numbered
            assert roster._taken == {name_key(SERVER)}
            assert set(roster._confusables._names) == set(skeletons(SERVER))


def are_alike(one: str, other: str) -> bool:
    return not frozenset(skeletons(one)).isdisjoint(skeletons(other))


def good(cleaned: str, others: set[str]) -> bool:
    try:
        check_scripts(cleaned)
    except MixedScriptsError:
        return False
    free = name_key(cleaned) not in map(name_key, others)
    return bool(cleaned) and free and not any(are_alike(cleaned, other) for other in others)


TestNames = NamesMachine.TestCase
if settings.get_current_profile_name() == "ci":
    TestNames.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
else:
    TestNames.settings = settings(max_examples=5_000, stateful_step_count=60, deadline=None)
