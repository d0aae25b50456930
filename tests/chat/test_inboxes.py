from __future__ import annotations

from selchat.chat.inboxes import Inboxes
from selchat.log.memory import MemoryLog


def test_messages_wait_until_they_are_confirmed() -> None:
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
    assert inboxes.unconfirmed("venkat") == (2, 0), "no seq above the last one"
    assert (inboxes.owner_key(room), inboxes.owner_key("lobby")) == ("venkat", None)


def test_new_owner_gets_no_messages_to_the_previous_one() -> None:
    log = MemoryLog(1000)
    inboxes = Inboxes(log)
    for key in ("venkat", "narayan"):
        log.append(inboxes.log_room(key), "Michael", ["one", "two", "three"], 0.0)
    log.commit()
    inboxes.confirm("venkat", 1)
    inboxes.change_owner("venkat")
    log.append(inboxes.log_room("venkat"), "Michael", ["four"], 0.0)
    log.commit()
    for restarted in (inboxes, Inboxes(log)):
        assert restarted.unconfirmed("venkat") == (3, 1), "only the message to the new owner"
        assert restarted.unconfirmed("narayan") == (0, 3), "another inbox does not change"


def test_salt_is_created_once() -> None:
    log = MemoryLog(1000)
    salt = Inboxes(log).salt
    assert log.staged
    log.commit()
    assert Inboxes(log).salt == salt != Inboxes(MemoryLog(1000)).salt
    assert not log.staged


def test_freed_name_leaves_no_record_and_its_messages_stay_hidden() -> None:
    log = MemoryLog(1000)
    inboxes = Inboxes(log)
    for key in ("venkat", "narayan"):
        log.append(inboxes.log_room(key), "Michael", ["one", "two"], 0.0)
        log.commit()
        inboxes.confirm(key, 1)
    inboxes.forget("venkat")
    inboxes.forget("nobody")
    assert log.records("whispers") == {"narayan": "1"}
    inboxes.change_owner("venkat")
    assert inboxes.unconfirmed("venkat") == (2, 0)
    inboxes.forget_unowned(lambda key: key == "venkat")
    assert log.records("whispers") == {"venkat": "2"}
    assert Inboxes(log).unconfirmed("venkat") == (2, 0)
