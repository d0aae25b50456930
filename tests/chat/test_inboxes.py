from __future__ import annotations

from selchat.chat.inboxes import Inboxes
from selchat.log.memory import MemoryLog


def test_whispers_wait_until_they_are_confirmed_and_belong_to_one_owner() -> None:
    log = MemoryLog(1000)
    inboxes = Inboxes(log)
    room = inboxes.log_room("venkat")
    log.append(room, "Michael", ["one", "two"], 0.0)
    log.commit()
    assert inboxes.unconfirmed("venkat") == (0, 2)
    inboxes.confirm("venkat", 1)
    inboxes.confirm("venkat", 0)
    assert Inboxes(log).unconfirmed("venkat") == (1, 1)
    inboxes.confirm("venkat", 1000)
    assert inboxes.unconfirmed("venkat") == (2, 0), "no more than there are"
    log.append(room, "Michael", ["three"], 0.0)
    log.commit()
    inboxes.change_owner("venkat")
    assert inboxes.unconfirmed("venkat") == (3, 0)
    assert (inboxes.owner_key(room), inboxes.owner_key("lobby")) == ("venkat", None)


def test_the_salt_is_made_once() -> None:
    log = MemoryLog(1000)
    salt = Inboxes(log).salt
    assert log.staged
    log.commit()
    assert Inboxes(log).salt == salt != Inboxes(MemoryLog(1000)).salt
    assert not log.staged
