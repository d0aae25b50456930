"""Test the member list that readers of a room keep, against a model of every reader."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from selchat.chat.room import Room
from selchat.events import Joined, Left
from selchat.text import name_key
from tests.chat.support import reachable_objects

NAMES = st.sampled_from(["Bob", "bob", "BOB", "Michael", "michael", "Narayan", "Straße", "STRASSE"])


class Person:
    def __init__(self, name: str) -> None:
        self.name = name


class RoomMachine(RuleBasedStateMachine):
    """Readers learn the list from a snapshot, and keep it up to date with `Joined` and `Left` only."""

    def __init__(self) -> None:
        super().__init__()
        self.room = Room("lobby", 1000)
        self.empty_size = reachable_objects(self.room)
        self.online: dict[str, Person] = {}
        self.readers: list[dict[str, str]] = [{}]  # the first has read from the beginning

    @rule(name=NAMES)
    def join(self, name: str) -> None:
        key = name_key(name)
        if key not in self.online:
            self.online[key] = Person(name)
            self.room.add(self.online[key])

    @rule(name=NAMES)
    def part(self, name: str) -> None:
        person = self.online.pop(name_key(name), None)
        if person is not None:
            self.room.remove(person)

    @rule()
    def read_members(self) -> None:
        """A member who gets all later events requests the list."""
        if self.online:
            roster = self.room.snapshot(100)
            assert roster.total == len(self.online)
            self.readers.append({name_key(name): name for name in roster.names})

    @rule()
    def publish(self) -> None:
        for event in self.room.take_changes():
            assert isinstance(event, Joined | Left)
            assert event.total == len(self.online)
            for reader in self.readers:
                for name in event.names:
                    if isinstance(event, Joined):
                        reader[name_key(name)] = name
                    else:
                        reader.pop(name_key(name), None)
        current = {key: person.name for key, person in self.online.items()}
        for reader in self.readers:
            assert reader == current
        assert self.room.take_changes() == []

    @invariant()
    def empty_room_remembers_nobody(self) -> None:
        if not self.online:
            self.readers = [{}]  # nobody is left to read
            self.room.take_changes()
            assert reachable_objects(self.room) == self.empty_size


TestRoom = RoomMachine.TestCase
EXAMPLES, STEPS = {"quick": (50, 30), "ci": (200, 30), "mutation": (60, 30), "nightly": (10_000, 60)}[
    settings.get_current_profile_name()
]
TestRoom.settings = settings(max_examples=EXAMPLES, stateful_step_count=STEPS)
