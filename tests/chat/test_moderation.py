from __future__ import annotations

import json
import time

import pytest

from selchat.chat.moderation import Moderation, MutedError, Sanction
from selchat.errors import BannedError
from selchat.limits import MAX_DURATION
from selchat.log.memory import MemoryLog

CLIENT, OTHER = b"c" * 16, b"o" * 16


class Court:
    """A `Moderation` with an adjustable clock."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.log = MemoryLog(1000)
        self.moderation = Moderation(self.log, lambda: self.now)

    def restart(self) -> Moderation:
        self.moderation = Moderation(self.log, lambda: self.now)
        return self.moderation


def test_ban_covers_every_spelling_of_a_name_and_its_client_under_any_name() -> None:
    court = Court()
    court.moderation.ban("Venkat", None, CLIENT)
    for moderation in (court.moderation, court.restart()):
        for name, client in (("VENKAT", None), ("\uff36enkat", OTHER), ("Michael", CLIENT)):
            with pytest.raises(BannedError):
                moderation.check_name(name, client)
        moderation.check_name("Michael", OTHER)
        moderation.check_name("Michael", None)
    assert court.moderation.unban("venkat")
    assert not court.moderation.unban("venkat")
    court.restart().check_name("Venkat", CLIENT)


@pytest.mark.parametrize(
    ("word", "inside", "outside"),
    [
        ("192.168.43.7", "192.168.43.7", "192.168.43.8"),
        ("192.168.43.7", "::ffff:192.168.43.7", "::1"),
        ("192.168.43.7/24", "192.168.43.200", "192.168.44.1"),
        ("fd00::/64", "fd00::1%eth0", "fd01::1"),
        ("fd00:9::7", "fd00:9::8", "fd00:9:0:1::7"),
        ("fd00:9::7/128", "fd00:9::7", "fd00:9::8"),
        ("::ffff:10.9.0.9", "10.9.0.9", "10.9.0.8"),
        ("fe80::7%eth0", "fe80::8%eth0", "fe80::7%eth1"),
    ],
)
def test_ban_covers_an_address_or_network(word: str, inside: str, outside: str) -> None:
    court = Court()
    court.moderation.ban(word, None)
    with pytest.raises(BannedError):
        court.restart().check_address(inside)
    court.moderation.check_address(outside)
    court.moderation.check_name(word, None)
    court.moderation.unban(word)
    court.moderation.check_address(inside)


def test_stored_ban_of_an_older_version_gets_its_present_key() -> None:
    court = Court()
    record = '{"word": "::ffff:10.9.0.9", "until": null, "client": null}'
    court.log.put("ban", "::ffff:10.9.0.9/128", record)
    moderation = court.restart()
    with pytest.raises(BannedError):
        moderation.check_address("10.9.0.9")
    assert list(court.log.records("ban")) == ["10.9.0.9"]
    assert moderation.unban("::ffff:10.9.0.9")
    court.restart().check_address("10.9.0.9")
    assert court.log.records("ban") == {}


def test_every_ban_is_reported() -> None:
    court = Court()
    reports: list[list[Sanction]] = []
    court.moderation.on_ban = lambda: reports.append(court.moderation.bans())
    court.moderation.ban("10.0.0.1", None)
    court.moderation.ban("Venkat", None, CLIENT)
    assert [len(bans) for bans in reports] == [1, 2]


def test_sanctions_expire() -> None:
    court = Court()
    court.moderation.mute("Venkat", court.now + 10, CLIENT)
    court.moderation.ban("10.0.0.1", court.now + 10)
    with pytest.raises(MutedError) as caught:
        court.moderation.check_muted("Michael", CLIENT)
    assert caught.value.until
    assert court.moderation.muted
    assert len(court.moderation.bans()) == len(court.moderation.mutes()) == 1
    court.now += 10
    court.moderation.check_muted("Venkat", CLIENT)
    court.moderation.check_address("10.0.0.1")
    assert court.moderation.bans() == court.moderation.mutes() == []
    assert not court.moderation.muted
    assert court.log.records("mute") == court.log.records("ban") == {}


def test_last_sanction_replaces_the_one_before() -> None:
    court = Court()
    court.moderation.mute("Venkat", court.now + 10)
    court.moderation.mute("venkat", None)
    assert court.moderation.mutes() == [Sanction("venkat", None)]
    assert court.moderation.unmute("Venkat")
    court.moderation.check_muted("Venkat", None)


@pytest.mark.parametrize("until", [1e300, 10**400, 1.9e14, float("inf"), float("nan"), "soon", [], True])
def test_absurd_end_in_a_stored_ban_does_no_harm(until: object) -> None:
    court = Court()
    for kind in ("ban", "mute"):
        for word in ("Venkat", "192.0.2.7"):
            court.log.put(kind, word.lower(), json.dumps({"word": word, "until": until, "client": None}))
    moderation = court.restart()
    if until is True:  # one second after 1970
        assert moderation.bans() == []
        return
    latest = court.now + MAX_DURATION
    assert {one.until for one in (*moderation.bans(), *moderation.mutes())} == {latest}
    with pytest.raises(BannedError, match=r"until 1980-\d\d-\d\d \d\d:\d\d \S+$"):
        moderation.check_address("192.0.2.7")
    with pytest.raises(BannedError):
        moderation.check_name("Venkat", None)
    with pytest.raises(MutedError):
        moderation.check_muted("Venkat", None)
    assert moderation.unban("Venkat")


def test_end_is_in_the_local_time_of_the_server_with_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    for zone, shown in (("Asia/Kolkata", "2026-12-01 20:30 IST"), ("UTC", "2026-12-01 15:00 UTC")):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        assert Sanction("Venkat", 1_796_137_200.0).end == shown
    monkeypatch.undo()
    time.tzset()
