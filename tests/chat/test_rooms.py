from __future__ import annotations

import json
import re

import pytest

from selchat.chat.room import new_salt
from selchat.chat.rooms import Rooms
from selchat.errors import BadRoomError
from selchat.events import LOBBY
from selchat.log.memory import MemoryLog


def test_restart_restores_rooms_in_their_first_spelling() -> None:
    log = MemoryLog(100_000)
    rooms = Rooms(log, 1000, 10)
    engine = rooms.get_or_create("#Engine")
    engine.topic = "oil"
    rooms.save(engine)
    log.append("Engine", "Venkat", ["x"], 0.0)
    log.append("deck", "Venkat", ["x"], 0.0)
    log.append("@venkat", "Michael", ["psst"], 0.0)
    log.commit()
    rooms = Rooms(log, 1000, 10)
    found, total = rooms.list(2)
    assert [(one.name, one.topic, one.seq) for one in found] == [("Engine", "oil", 1), ("deck", "", 1)]
    assert total == 3
    assert rooms.get_or_create("ENGINE") is rooms.find("engine")
    rooms.remove(rooms.get_or_create("deck"))
    assert rooms.find("deck") is None
    assert rooms.get_or_create("DECK").name == "deck"
    rooms.remove(rooms.lobby)
    assert rooms.find(LOBBY) is rooms.lobby
    rooms.get_or_create("empty")
    rooms.collect_garbage()
    assert rooms.find("empty") is None
    assert rooms.find("deck") is not None


def test_room_with_a_topic_but_no_messages_stays() -> None:
    log = MemoryLog(100_000)
    rooms = Rooms(log, 1000, 10)
    galley = rooms.get_or_create("Galley")
    galley.topic = "soup"
    rooms.save(galley)
    rooms.remove(galley)
    rooms.collect_garbage()
    log.commit()
    again = Rooms(log, 1000, 10)
    again.collect_garbage()
    for found in (rooms.find("galley"), again.find("galley")):
        assert found is not None
        assert (found.name, found.topic, found.salt) == ("Galley", "soup", galley.salt)
    galley.topic = ""
    rooms.save(galley)
    rooms.collect_garbage()
    assert rooms.find("galley") is None, "without its topic, nothing of it is left"


def test_salt_is_16_random_bytes() -> None:
    salts = {new_salt() for _ in range(100)}
    assert len(salts) == 100
    assert all(re.fullmatch("[A-Za-z0-9_-]{21}[AQgw]", salt) for salt in salts)


def test_saved_room_keeps_its_salt() -> None:
    log = MemoryLog(100_000)
    rooms = Rooms(log, 1000, 10)
    engine, deck = rooms.get_or_create("engine"), rooms.get_or_create("deck")
    assert len({engine.salt, deck.salt, rooms.lobby.salt}) == 3
    rooms.save(engine)
    rooms.save(rooms.lobby)
    again = Rooms(log, 1000, 10)
    assert again.get_or_create("ENGINE").salt == engine.salt
    assert again.lobby.salt == rooms.lobby.salt
    assert again.get_or_create("deck").salt != deck.salt, "a room that was never saved"
    again.remove(again.get_or_create("engine"))
    assert again.find("engine") is None
    assert again.get_or_create("engine").salt == engine.salt


def test_record_without_a_salt_gets_a_permanent_one() -> None:
    log = MemoryLog(100_000)
    log.put("room", "engine", json.dumps({"name": "Engine", "topic": "oil"}))
    log.put("room", "lobby", json.dumps({"name": "lobby", "topic": ""}))
    log.append("deck", "Venkat", ["x"], 0.0)  # a room without a record
    log.append("@venkat", "Michael", ["psst"], 0.0)
    log.commit()
    rooms = Rooms(log, 1000, 10)
    assert log.staged
    log.commit()
    salts = {name: rooms.get_or_create(name).salt for name in ("engine", "deck", "lobby")}
    assert len(set(salts.values())) == 3
    assert set(log.records("room")) == set(salts)
    again = Rooms(log, 1000, 10)
    assert not log.staged
    assert {name: again.get_or_create(name).salt for name in salts} == salts
    assert again.get_or_create("engine").topic == "oil"
    assert again.get_or_create("engine").name == "Engine"


def refusal(rooms: Rooms, name: str) -> str:
    with pytest.raises(BadRoomError) as caught:
        rooms.get_or_create(name)
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
    rooms = Rooms(MemoryLog(1000), 1000, 10)
    room = rooms.get_or_create(existing)
    assert any(text in refusal(rooms, name) for text in (f"looks too much like {existing}", "mixes"))
    if room is not rooms.lobby:
        rooms.remove(room)
        assert rooms.get_or_create(name).name == name


def test_room_of_mixed_scripts_is_refused() -> None:
    rooms = Rooms(MemoryLog(1000), 1000, 10)
    assert refusal(rooms, "l\u043ebby") == (
        "the room l\u043ebby mixes Cyrillic and Latin letters and could be mistaken for another room"
    )
    assert refusal(rooms, "[lobby]").startswith("'[lobby]' cannot be a room's name")


def test_rooms_from_an_older_history_keep_their_confusable_names() -> None:
    log = MemoryLog(100_000)
    names = ["l\u043ebby", "l\u03bfbby", "a:b", "[x]"]
    for name in names:
        log.append(name, "Venkat", ["x"], 0.0)
    log.commit()
    rooms = Rooms(log, 1000, 10)
    assert [rooms.get_or_create(name).name for name in names] == names
