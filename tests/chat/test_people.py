from __future__ import annotations

import hashlib

import pytest

from selchat.chat.people import (
    Names,
    NewNames,
    SentMessages,
    TooManyNamesError,
    hash_api_name,
    hash_client_secret,
)
from selchat.config.settings import Settings
from selchat.log.memory import MemoryLog
from selchat.text import name_key
from tests.chat.fakes import FakeClock
from tests.chat.support import reachable_objects

CLIENT, OTHER = hash_client_secret("a secret of a client"), hash_client_secret("a secret of another")
DAY = 86_400.0


def test_client_id_is_a_hash_that_differs_for_each_secret() -> None:
    assert hashlib.sha256(b"selchat client\0a secret of a client").digest()[:16] == CLIENT
    assert CLIENT != OTHER
    assert len(CLIENT) == 16


def test_scripts_of_one_name_share_an_id_that_no_client_can_have() -> None:
    assert hash_api_name("CI") == hash_api_name("ci") != hash_api_name("cd")
    assert hash_api_name("ci") not in {hash_client_secret("ci"), hash_client_secret("CI")}
    assert len(hash_api_name("ci")) == 16


def test_owner_keeps_a_name_for_90_days_after_its_last_use() -> None:
    log = MemoryLog(1000)
    now = 0.0
    names = Names(log, lambda: now)
    names.record_use("venkat", "Venkat", CLIENT)
    names.record_use("michael", "Michael", OTHER)
    now = 80 * DAY
    names.record_use("venkat", "VENKAT", CLIENT)
    now = 91 * DAY
    names.expire()
    assert (names.owner("venkat"), names.owner("michael")) == (CLIENT, None)
    assert "venkat" in names
    assert "michael" not in names
    assert names.name("venkat") == "VENKAT"
    now = 171 * DAY
    names.expire(lambda key: key == "venkat")
    assert "venkat" in names, "an owner who is present keeps the name"
    assert "venkat" not in Names(log, lambda: now)
    assert log.records("name") == {}


def test_person_who_takes_many_names_keeps_the_newest() -> None:
    log = MemoryLog(1000)
    clock = FakeClock()
    names = Names(log, lambda: clock.now, lambda key: key == "permanent")
    limits = NewNames(names, Settings(person_names=3), clock)
    names.record_use("other", "other", OTHER)
    for key in ("permanent", "needed", "a", "b", "c"):
        limits.admit(CLIENT, "192.0.2.1", lambda key: key == "needed")
        names.record_use(key, key, CLIENT)
        clock.advance(1)
    assert set(log.records("name")) == {"other", "permanent", "needed", "c"}
    again = Names(log, lambda: clock.now)
    limits = NewNames(again, Settings(person_names=3), clock)
    with pytest.raises(TooManyNamesError, match="you took 3 names; sign in with a name that you own"):
        limits.admit(CLIENT, "192.0.2.1", lambda key: True)
    limits.admit(OTHER, "192.0.2.1", lambda key: True)


def fill_names(log: MemoryLog, clock: FakeClock, limit: int) -> tuple[Names, NewNames]:
    """Return the names and their limits after ``limit`` people have taken one each, a second apart."""
    names = Names(log, lambda: clock.now, lambda key: key == "permanent")
    for number, key in enumerate(("permanent", "ci", *(f"name{place}" for place in range(limit - 2)))):
        names.record_use(key, key, hash_api_name("CI") if key == "ci" else b"%16d" % number)
        clock.advance(1)
    return names, NewNames(names, Settings(names_limit=limit, address_names=1_000_000), clock)


def test_all_names_are_limited_and_the_longest_unused_one_makes_way() -> None:
    log = MemoryLog(1000)
    clock = FakeClock()
    names, limits = fill_names(log, clock, 10)
    with pytest.raises(TooManyNamesError, match="users of this server took 10 names; sign in with a name"):
        limits.admit(OTHER, "192.0.2.1", lambda key: False)
    clock.advance(DAY)
    names.record_use("name0", "name0", names.owner("name0") or b"")
    for place in range(3):
        limits.admit(b"%16d" % (100 + place), "192.0.2.1", lambda key: key == "name2")
        names.record_use(f"new{place}", f"new{place}", b"%16d" % (100 + place))
    kept = {"permanent", "ci", "name0", "name2", "name5", "name6", "name7", "new0", "new1", "new2"}
    assert set(log.records("name")) == kept
    assert [key for key in ("name1", "name3", "name4") if names.is_reserved(key, key)] == []
    names, limits = Names(log, lambda: clock.now), NewNames(names, Settings(names_limit=10), clock)
    names.record_use("name2", "name2", names.owner("name2") or b"")
    assert set(log.records("name")) == kept


def test_thousand_names_from_one_address_stay_within_the_limit() -> None:
    log = MemoryLog(1000)
    clock = FakeClock()
    names, limits = fill_names(log, clock, 50)
    for number in range(1000):
        clock.advance(DAY)
        limits.admit(b"%16d" % (100 + number), "192.0.2.1", lambda key: False)
        names.record_use(f"new{number}", f"new{number}", b"%16d" % (100 + number))
    assert len(names) == len(log.records("name")) <= 50
    assert {"permanent", "ci"} <= set(log.records("name"))


def test_needed_names_are_passed_over_a_few_at_a_time_and_return_after_their_next_use() -> None:
    log = MemoryLog(1000)
    clock = FakeClock()
    names, limits = fill_names(log, clock, 50)
    clock.advance(2 * DAY)
    examined: list[str] = []

    def is_needed(key: str) -> bool:
        examined.append(key)
        return key != "name47"

    refused = 0
    for _ in range(6):
        try:
            limits.admit(OTHER, "192.0.2.1", is_needed)
        except TooManyNamesError:
            refused += 1
        if "name47" not in names:
            break
    assert "name47" not in names
    assert refused
    assert len(examined) == len(set(examined)) == 48, "it looks at each name once"
    names.record_use("name3", "name3", names.owner("name3") or b"")
    names.record_use("other", "other", OTHER)
    clock.advance(2 * DAY)
    limits.admit(OTHER, "192.0.2.1", lambda key: False)
    assert "name3" not in names


def test_name_that_becomes_free_is_reported() -> None:
    clock = FakeClock()
    freed: list[str] = []
    names = Names(MemoryLog(1000), lambda: clock.now, on_freed=freed.append)
    names.record_use("a", "a", CLIENT)
    names.record_use("a", "A", CLIENT)
    names.record_use("a", "a", OTHER)
    assert freed == []
    clock.advance(2 * DAY)
    assert names.free_oldest(lambda key: False)
    names.record_use("b", "b", CLIENT)
    assert names.free_one(CLIENT, 1, lambda key: False)
    names.record_use("c", "c", CLIENT)
    clock.advance(100 * DAY)
    names.expire()
    assert freed == ["a", "b", "c"]
    assert not names.free_oldest(lambda key: False)


def test_name_that_changes_hands_or_expires_is_not_counted() -> None:
    log = MemoryLog(1000)
    clock = FakeClock()
    names = Names(log, lambda: clock.now)
    limits = NewNames(names, Settings(person_names=1), clock)
    names.record_use("venkat", "Venkat", CLIENT)
    names.record_use("venkat", "VENKAT", CLIENT)
    names.record_use("venkat", "Venkat", OTHER)
    limits.admit(CLIENT, "192.0.2.1", lambda key: True)
    with pytest.raises(TooManyNamesError):
        limits.admit(OTHER, "192.0.2.1", lambda key: True)
    clock.advance(91 * DAY)
    names.expire()
    limits.admit(OTHER, "192.0.2.1", lambda key: True)
    assert reachable_objects(names) == reachable_objects(Names(log, lambda: clock.now))


@pytest.mark.parametrize("hosts", [["192.0.2.1"], ["2001:db8::1", "2001:db8::2"]])
def test_address_takes_some_names_an_hour(hosts: list[str]) -> None:
    clock = FakeClock()
    limits = NewNames(Names(MemoryLog(1000), lambda: clock.now), Settings(address_names=4), clock)

    def admit(host: str, number: int) -> None:
        limits.admit(hash_client_secret(f"{number}"), host, lambda key: True)

    for number in range(4):
        admit(hosts[number % len(hosts)], number)
    with pytest.raises(TooManyNamesError, match="users of your address took 4 new names within an hour"):
        admit(hosts[0], 5)
    admit("192.0.2.77", 5)
    for number in range(9):
        admit("127.0.0.1", number)
    clock.advance(3600)
    limits.reconfigure(Settings(address_names=8))
    for number in range(4):
        admit(hosts[0], number)


def send(log: MemoryLog, sent: SentMessages, *ids: str) -> None:
    new, _ = sent.register(CLIENT, ids)
    messages = log.append("lobby", "Venkat", ["x"] * len(new), 0.0, [ids[i] for i in new], (), CLIENT)
    log.commit()
    sent.mark_stored(CLIENT, messages)


def test_message_is_new_once() -> None:
    log = MemoryLog(1000)
    sent = SentMessages(log)
    sent.open_session(CLIENT)
    assert sent.register(CLIENT, ["1", "2", "1"]) == ([0, 1], [])
    assert sent.register(CLIENT, ["2"]) == ([], []), "it is staged"
    messages = log.append("lobby", "Venkat", ["x", "y"], 7.0, ["1", "2"], (), CLIENT)
    sent.mark_failed(CLIENT, [message.id for message in messages[1:]])
    sent.mark_stored(CLIENT, messages[:1])
    new, repeated = sent.register(CLIENT, ["1", "2"])
    assert new == [1]
    assert [(one.id, one.room, one.seq, one.at) for one in repeated] == [("1", "lobby", 1, 7.0)]


def test_returning_client_s_messages_are_known_from_the_log() -> None:
    log = MemoryLog(1000)
    sent = SentMessages(log)
    sent.open_session(CLIENT)
    send(log, sent, "1", "2")
    sent.close_session(CLIENT)
    for again in (sent, SentMessages(log)):
        again.open_session(CLIENT)
        new, repeated = again.register(CLIENT, ["2", "3"])
        assert (new, [one.id for one in repeated]) == ([1], ["2"])


def test_message_staged_before_sign_out_is_known_to_a_session_in_the_same_tick() -> None:
    sent = SentMessages(MemoryLog(1000))
    sent.open_session(CLIENT)
    sent.register(CLIENT, ["1"])
    sent.close_session(CLIENT)
    sent.open_session(CLIENT)
    assert sent.register(CLIENT, ["1"]) == ([], [])


def test_newest_messages_are_known_and_old_ones_are_trimmed() -> None:
    log = MemoryLog(1000)
    sent = SentMessages(log, max_ids=10)
    sent.open_session(CLIENT)
    for number in range(100):
        send(log, sent, str(number))
    recent = [str(number) for number in range(90, 100)]
    assert sent.register(CLIENT, recent)[0] == []
    assert sent.register(CLIENT, ["5"])[0] == [0]


def test_index_keeps_fewer_ids_above_its_total_and_reloads_them_for_the_next_session() -> None:
    log = MemoryLog(1000)
    sent = SentMessages(log, min_ids=2, max_total=20)
    sent.open_session(CLIENT)
    for number in range(100):
        send(log, sent, str(number))
    assert sent.total <= 24
    assert sent.register(CLIENT, ["98", "99"])[0] == []
    sent.open_session(CLIENT)
    assert sent.register(CLIENT, ["3"])[0] == []
    sent.close_session(CLIENT)
    sent.close_session(CLIENT)
    assert sent.total == 0


def test_client_that_sends_nothing_causes_no_query() -> None:
    log = MemoryLog(1000)
    sent = SentMessages(log)
    log.sent = None  # type: ignore[assignment]
    sent.open_session(CLIENT)
    sent.close_session(CLIENT)


def test_names_of_an_older_history_are_cleaned_and_keep_their_owners() -> None:
    log = MemoryLog(1000)
    names = Names(log, lambda: 0.0)
    for name, owner in [("Venkat:", CLIENT), ("[Ann]", CLIENT), ("Ann", OTHER), (">", CLIENT)]:
        names.record_use(name_key(name), name, owner)
    for _ in range(2):  # the records have the clean names from then on
        names = Names(log, lambda: 0.0)
        assert (names.owner("venkat"), names.owner("ann")) == (CLIENT, OTHER)
        assert {*log.records("name")} == {"venkat", "ann"}


def test_ids_of_all_clients_are_bounded_although_each_has_many_in_the_log() -> None:
    log = MemoryLog(1000)
    clients = [hash_client_secret(f"{number}") for number in range(50)]
    for client in clients:
        log.append("lobby", "n", ["x"] * 100, 0.0, [f"{number}" for number in range(100)], (), client)
    log.commit()
    sent = SentMessages(log, min_ids=4, max_total=300)
    for client in clients:
        sent.open_session(client)
        new, repeated = sent.register(client, ["0", "99", "new"])
        assert (new, [one.id for one in repeated]) == ([2], ["0", "99"]), (
            "right after the sign-in, all are known"
        )
        sent.mark_failed(client, ["new"])
        assert sent.total <= 300 + 50 * 8
    for client in clients:
        assert sent.register(client, ["98", "99"])[0] == [], "the newest stay known"
        sent.close_session(client)
    assert sent.total == 0
    assert reachable_objects(sent) == reachable_objects(SentMessages(log, min_ids=4, max_total=300))
