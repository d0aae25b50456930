from __future__ import annotations

import pytest

from selchat.chat.moderation import Moderation, MutedError, Sanction, parse_sanction_duration
from selchat.errors import BannedError, SettingError
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


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1h10m", 4200),
        ("90s", 90),
        ("2 days", 172800),
        ("1d 2h", 93600),
        ("30 minutes", 1800),
        ("7D", 604800),
    ],
)
def test_duration_is_parsed(text: str, seconds: float) -> None:
    assert parse_sanction_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "1", "h", "1x", "-1h", "1h and more", "0s", "1h10", "\u0661h", "999999999d"]
)
def test_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="a time such as 1h10m"):
        parse_sanction_duration(text)


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
