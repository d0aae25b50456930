from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from selchat.chat.room import Room, new_salt
from selchat.chat.rooms import Creator, RoomRateError, Rooms, TooManyRoomsError
from selchat.config.settings import Settings
from selchat.errors import BadRoomError
from selchat.events import LOBBY
from selchat.limits import EMPTY_ROOM_SECONDS, FRESH_ROOM_LIST, ROOM_LIST_SECONDS
from selchat.log.memory import MemoryLog
from selchat.log.port import Log
from selchat.log.retention import Retention
from selchat.log.sqlite import SqliteLog
from tests.chat.fakes import FakeClock

TIMES = count(1.0)
ALICE = Creator(b"a" * 16, "192.0.2.1")


class Someone:
    """A member."""

    def __init__(self, name: str) -> None:
        self.name = name


def open_rooms(log: Log, clock: FakeClock | None = None, **settings: Any) -> Rooms:
    return Rooms(log, Settings(**settings), clock or FakeClock())


def create(rooms: Rooms, name: str, creator: Creator = ALICE) -> Room:
    return rooms.get_or_create(name, creator)


def join(rooms: Rooms, name: str, creator: Creator = ALICE) -> Room:
    room = create(rooms, name, creator)
    room.add(Someone("Alice"))  # type: ignore[arg-type]
    rooms.joined(room)
    return room


def leave(rooms: Rooms, room: Room) -> None:
    room.remove(Someone("Alice"))  # type: ignore[arg-type]
    rooms.left(room)


def send(rooms: Rooms, log: Log, name: str, body: str = "x") -> None:
    """Send a message to a room, as the publisher does."""
    room = create(rooms, name)
    if not room.seq:
        rooms.save(room)
    room.seq = log.append(room.name, "Alice", [body], next(TIMES))[-1].seq
    log.commit()


@pytest.fixture(params=["memory", "sqlite"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    if request.param == "memory":
        yield MemoryLog(100_000)
        return
    log = SqliteLog(tmp_path / "history.db", Retention.parse(""))
    yield log
    log.close()


def test_restart_restores_rooms_in_their_first_spelling(log: Log) -> None:
    rooms = open_rooms(log)
    engine = join(rooms, "#Engine")
    engine.topic = "oil"
    rooms.save(engine)
    send(rooms, log, "engine")
    send(rooms, log, "deck")
    log.append("@venkat", "Michael", ["psst"], 0.0)
    log.commit()
    rooms = open_rooms(log)
    found, total = rooms.list(0, 10)
    assert {(one.name, one.topic, one.seq) for one in found} == {
        ("Engine", "oil", 1),
        ("deck", "", 1),
        (LOBBY, "", 0),
    }
    assert total == 3
    assert create(rooms, "ENGINE") is rooms.find("engine")


def test_room_without_messages_and_topic_ends_with_its_last_member(log: Log) -> None:
    rooms = open_rooms(log)
    leave(rooms, join(rooms, "empty"))
    assert rooms.find("empty") is None
    leave(rooms, join(rooms, LOBBY))
    assert rooms.find(LOBBY) is rooms.lobby


def test_topic_of_a_room_without_messages_survives_a_restart(log: Log) -> None:
    rooms = open_rooms(log)
    plans = join(rooms, "plans")
    plans.topic = "Friday"
    rooms.save(plans)
    leave(rooms, plans)
    rooms.collect_garbage()
    assert create(rooms, "plans").topic == "Friday"
    log.commit()
    assert create(open_rooms(log), "plans").topic == "Friday"


def test_topic_without_messages_and_members_expires(log: Log) -> None:
    clock = FakeClock()
    rooms = open_rooms(log, clock)
    for name in ("plans", "used"):
        room = join(rooms, name)
        room.topic = "Friday"
        rooms.save(room)
        leave(rooms, room)
    clock.advance(EMPTY_ROOM_SECONDS - 1)
    create(rooms, "used")
    clock.advance(2)
    rooms.collect_garbage()
    assert rooms.find("plans") is None
    assert create(rooms, "used").topic == "Friday"
    assert set(log.records("room")) == {"used"}


def test_removed_topic_leaves_no_record(log: Log) -> None:
    rooms = open_rooms(log)
    for number in range(20):
        room = join(rooms, f"room{number}")
        for topic in ("Friday", ""):
            room.topic = topic
            rooms.save(room)
        leave(rooms, room)
    assert not log.records("room")
    assert len(rooms) == 1


def test_idle_room_makes_way_for_a_new_one_and_comes_back(log: Log) -> None:
    rooms = open_rooms(log, rooms_limit=4)
    for name in ("one", "two", "three"):
        send(rooms, log, name)
    busy = join(rooms, "one")
    busy.topic = "busy"
    salt = create(rooms, "two").salt  # "three" is idle for longest now
    new = join(rooms, "four")
    assert len(rooms) == 4
    assert rooms.find("three") is None
    assert rooms.find("one") is busy
    assert rooms.find("four") is new
    back = create(rooms, "THREE")
    assert (back.name, back.seq) == ("three", 1)
    assert rooms.find("two") is None
    assert create(rooms, "two").salt == salt


def test_busy_rooms_do_not_make_way(log: Log) -> None:
    rooms = open_rooms(log, rooms_limit=3)
    join(rooms, "one")
    join(rooms, "two")
    with pytest.raises(TooManyRoomsError):
        create(rooms, "three")


def test_restart_loads_the_rooms_that_were_used_last(log: Log) -> None:
    rooms = open_rooms(log)
    for number in (1, 2, 3, 4, 5, 1):
        send(rooms, log, f"room{number}")
    rooms = open_rooms(log, rooms_limit=3)
    assert rooms.find("room5") and rooms.find("room1")
    assert rooms.find("room2") is None
    assert create(rooms, "room2").seq == 1


def test_person_creates_a_limited_number_of_rooms_an_hour() -> None:
    clock = FakeClock()
    rooms = open_rooms(MemoryLog(100_000), clock, person_rooms=5)
    for number in range(5):
        create(rooms, f"room{number}")
    with pytest.raises(RoomRateError, match="you created 5 rooms within an hour"):
        create(rooms, "sixth")
    create(rooms, "room3")  # it exists
    create(rooms, "sixth", Creator(b"b" * 16, ALICE.host))
    clock.advance(3600 / 5)
    create(rooms, "seventh")


def test_refused_attempts_of_one_person_cost_their_neighbours_nothing() -> None:
    rooms = open_rooms(MemoryLog(100_000), person_rooms=2, address_rooms=5)
    for number in range(2):
        create(rooms, f"room{number}")
    for _ in range(20):
        with pytest.raises(RoomRateError, match="you created 2 rooms"):
            create(rooms, "more")
    for number in range(3):
        create(rooms, f"other{number}", Creator(b"%016d" % number, ALICE.host))


def test_address_creates_a_limited_number_of_rooms_an_hour() -> None:
    rooms = open_rooms(MemoryLog(100_000), address_rooms=5)
    for number in range(5):
        create(rooms, f"room{number}", Creator(b"%016d" % number, f"fd00:9::{number}"))
    with pytest.raises(RoomRateError, match="users of your address created 5 rooms"):
        create(rooms, "sixth", Creator(b"x" * 16, "fd00:9::99"))
    create(rooms, "sixth", Creator(b"x" * 16, "fd00:a::1"))


def test_loopback_is_one_address_for_many_so_only_persons_count() -> None:
    rooms = open_rooms(MemoryLog(100_000), address_rooms=5)
    for number in range(20):
        create(rooms, f"room{number}", Creator(b"%016d" % number, "127.0.0.1"))


def test_room_that_only_the_log_knows_counts_as_no_new_one(log: Log) -> None:
    rooms = open_rooms(log)
    for number in range(5):
        send(rooms, log, f"room{number}")
    rooms = open_rooms(log, rooms_limit=1, person_rooms=1)
    for number in range(5):
        assert create(rooms, f"room{number}").seq == 1


def test_dropped_room_loses_its_messages_and_topic_but_no_number(log: Log) -> None:
    rooms = open_rooms(log)
    for _ in range(1200):
        log.append("plans", "Alice", ["x"], 0.0)
    send(rooms, log, "plans")
    send(rooms, log, "other")
    plans = create(rooms, "plans")
    plans.topic = "Friday"
    rooms.save(plans)
    rooms.drop(plans)
    log.commit()
    assert rooms.find("plans") is None
    assert (create(rooms, "plans").seq, create(rooms, "plans").topic) == (1201, "")
    send(rooms, log, "plans", "new")
    while rooms.delete_dropped():
        log.commit()
    assert [message.body for message in log.after("plans", 0, 10, 1000)] == ["new"]
    assert log.last_seq("plans") == 1202
    assert len(log.after("other", 0, 10, 1000)) == 1
    log.commit()
    assert not log.records("dropped-room")


def test_restart_continues_to_delete_a_dropped_room(log: Log) -> None:
    rooms = open_rooms(log)
    send(rooms, log, "plans")
    rooms.drop(create(rooms, "plans"))
    log.commit()
    rooms = open_rooms(log)
    while rooms.delete_dropped():
        pass
    assert log.after("plans", 0, 10, 1000) == []


def test_room_that_is_created_again_has_none_of_the_dropped_messages(log: Log) -> None:
    rooms = open_rooms(log)
    send(rooms, log, "Plans")
    send(rooms, log, "Plans")
    log.commit()
    salt = create(rooms, "Plans").salt
    rooms.drop(create(rooms, "Plans"))
    assert rooms.restore("plans") is None
    log.commit()
    for _ in range(2):
        rooms = open_rooms(log)
        assert rooms.restore("plans") is None
        plans = join(rooms, "plans")  # before the messages are deleted
        assert (plans.name, plans.seq) == ("Plans", 2)
        assert plans.salt != salt
        assert not rooms.after(plans, 0, 10, 1000)
        assert not rooms.before(plans, None, 10, 1000)
        leave(rooms, plans)
        assert rooms.restore("plans") is None, "nobody has used it"
    send(rooms, log, "plans", "new")
    log.commit()
    salt = create(rooms, "plans").salt
    plans = create(open_rooms(log), "plans")
    assert plans.salt == salt, "else the new messages cannot be decrypted"
    assert [message.seq for message in rooms.before(plans, None, 10, 1000)] == [3]
    assert [message.seq for message in rooms.after(plans, 0, 10, 1000)] == [3]


def test_list_begins_at_the_room_with_most_members() -> None:
    rooms = open_rooms(MemoryLog(100_000))
    for name, members in (("b", 2), ("a", 1), ("c", 3), ("d", 1)):
        room = join(rooms, name)
        for number in range(members - 1):
            room.add(Someone(f"guest{number}"))  # type: ignore[arg-type]
    assert [room.name for room in rooms.list(0, 10)[0]] == ["c", "b", "a", "d", LOBBY]
    assert [room.name for room in rooms.list(1, 2)[0]] == ["b", "a"]
    assert rooms.list(99, 10) == ([], 5)


def test_long_list_is_sorted_once_a_second() -> None:
    clock = FakeClock()
    rooms = open_rooms(MemoryLog(100_000), clock, person_rooms=1000)
    assert rooms.unsorted == 1
    for number in range(FRESH_ROOM_LIST):
        create(rooms, f"room{number}")
    assert rooms.unsorted == FRESH_ROOM_LIST + 1
    rooms.list(0, 1)
    assert rooms.unsorted == 0
    create(rooms, "new")
    assert rooms.list(0, 1)[1] == FRESH_ROOM_LIST + 1
    clock.advance(ROOM_LIST_SECONDS)
    assert rooms.list(0, 1)[1] == FRESH_ROOM_LIST + 2


def test_salt_is_16_random_bytes() -> None:
    salts = {new_salt() for _ in range(100)}
    assert len(salts) == 100
    assert all(re.fullmatch("[A-Za-z0-9_-]{21}[AQgw]", salt) for salt in salts)


def test_saved_room_keeps_its_salt() -> None:
    log = MemoryLog(100_000)
    rooms = open_rooms(log)
    engine, deck = create(rooms, "engine"), create(rooms, "deck")
    assert len({engine.salt, deck.salt, rooms.lobby.salt}) == 3
    rooms.save(engine)
    rooms.save(rooms.lobby)
    again = open_rooms(log)
    assert create(again, "ENGINE").salt == engine.salt
    assert again.lobby.salt == rooms.lobby.salt
    assert create(again, "deck").salt != deck.salt, "a room that was never saved"


def test_record_without_a_salt_gets_a_permanent_one() -> None:
    log = MemoryLog(100_000)
    log.put("room", "engine", json.dumps({"name": "Engine", "topic": "oil"}))
    log.put("room", "lobby", json.dumps({"name": "lobby", "topic": ""}))
    log.append("deck", "Venkat", ["x"], 0.0)  # a room without a record
    log.append("@venkat", "Michael", ["psst"], 0.0)
    log.commit()
    rooms = open_rooms(log)
    assert log.staged
    log.commit()
    salts = {name: create(rooms, name).salt for name in ("engine", "deck", "lobby")}
    assert len(set(salts.values())) == 3
    assert set(log.records("room")) == set(salts)
    again = open_rooms(log)
    assert not log.staged
    assert {name: create(again, name).salt for name in salts} == salts
    assert create(again, "engine").topic == "oil"
    assert create(again, "engine").name == "Engine"


def refusal(rooms: Rooms, name: str) -> str:
    with pytest.raises(BadRoomError) as caught:
        create(rooms, name)
    assert caught.value.code == "bad-room"
    return str(caught.value)


@pytest.mark.parametrize(
    ("existing", "name"),
    [
        ("lobby", "l\u03bfbby"),
        ("lobby", "1obby"),
        ("lobby", "LOB\u0412Y"),
        ("Engine", "Eng\u00ecne"),
        ("deck", "d.e.c.k"),
    ],
)
def test_room_that_looks_like_another_is_refused(existing: str, name: str) -> None:
    rooms = open_rooms(MemoryLog(1000))
    room = join(rooms, existing)
    assert any(text in refusal(rooms, name) for text in (f"looks too much like {existing}", "mixes"))
    leave(rooms, room)
    if room is not rooms.lobby:
        assert create(rooms, name).name == name


def test_room_of_mixed_scripts_is_refused() -> None:
    rooms = open_rooms(MemoryLog(1000))
    assert refusal(rooms, "l\u043ebby") == (
        "the room l\u043ebby mixes Cyrillic and Latin letters and could be mistaken for another room"
    )
    assert refusal(rooms, "[lobby]").startswith("'[lobby]' cannot be a room's name")


@pytest.mark.parametrize("limit", [10, 2])
def test_rooms_from_an_older_history_keep_their_confusable_names(limit: int) -> None:
    log = MemoryLog(100_000)
    names = ["l\u043ebby", "l\u03bfbby", "a:b", "[x]"]
    for name in names:
        log.append(name, "Venkat", ["x"], 0.0)
    log.commit()
    rooms = open_rooms(log, rooms_limit=limit)
    assert [create(rooms, name).name for name in names] == names
