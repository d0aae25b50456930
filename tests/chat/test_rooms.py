from __future__ import annotations

from selchat.chat.rooms import Rooms
from selchat.events import LOBBY
from selchat.log.memory import MemoryLog


def test_rooms_are_found_again_after_a_restart_as_they_were_first_written() -> None:
    log = MemoryLog(100_000)
    rooms = Rooms(log, 1000, 10)
    engine = rooms.get("#Engine")
    engine.topic = "oil"
    rooms.remember(engine)
    log.append("Engine", "Venkat", ["x"], 0.0)
    log.append("deck", "Venkat", ["x"], 0.0)
    log.append("@venkat", "Michael", ["psst"], 0.0)
    log.commit()
    rooms = Rooms(log, 1000, 10)
    found, total = rooms.list(2)
    assert [(one.name, one.topic, one.seq) for one in found] == [("Engine", "oil", 1), ("deck", "", 1)]
    assert total == 3
    assert rooms.get("ENGINE") is rooms.find("engine")
    rooms.drop(rooms.get("engine"))
    assert rooms.find("engine") is None
    assert rooms.get("engine").name == "Engine"
    assert rooms.get("engine").topic == ""
    rooms.drop(rooms.lobby)
    assert rooms.find(LOBBY) is rooms.lobby
    rooms.get("empty")
    rooms.tidy()
    assert rooms.find("empty") is None
    assert rooms.find("deck") is not None
