from __future__ import annotations

import pytest

from selchat.chat.roster import Roster
from tests.chat.support import reachable_objects


class Person:
    def __init__(self, name: str) -> None:
        self.name = name


class Names:
    """A roster with methods that take names."""

    def __init__(self, length: int = 32) -> None:
        self.roster: Roster[Person] = Roster(length)

    def join(self, *requested: str) -> list[str]:
        given = []
        for name in requested:
            given.append(self.roster.assign(name))
            self.roster.add(Person(given[-1]))
        return given

    def leave(self, *names: str) -> None:
        for name in names:
            person = self.roster.get(name)
            assert person is not None
            self.roster.remove(person)


def test_free_name_is_assigned_as_requested() -> None:
    assert Names().join("Michael", "Narayan") == ["Michael", "Narayan"]


def test_taken_name_gets_a_number() -> None:
    assert Names().join("Michael", "Michael", "MICHAEL") == ["Michael", "Michael_2", "MICHAEL_3"]


def test_names_equal_under_nfkc_and_casefold_are_the_same() -> None:
    names = Names()
    assert names.join("Stra\u00dfe", "STRASSE", "\uff33trasse") == [
        "Stra\u00dfe",
        "STRASSE_2",
        "\uff33trasse_3",
    ]


def test_empty_name_becomes_a_guest() -> None:
    assert Names().join("", "  ", "\u202e\x1b", "guest1") == ["guest1", "guest2", "guest3", "guest1_2"]


def test_guest_number_that_is_taken_is_skipped() -> None:
    assert Names().join("GUEST1", "") == ["GUEST1", "guest2"]


@pytest.mark.parametrize(
    "name", ["Server", "SERVER", " Server ", "\uff33\uff45\uff52\uff56\uff45\uff52", "Ser\u200bver"]
)
def test_nobody_gets_the_name_of_the_server(name: str) -> None:
    [given] = Names().join(name)
    assert given.endswith("_2")
    assert given.casefold() != "server"


def test_number_that_someone_requested_is_skipped() -> None:
    assert Names().join("Michael_2", "Michael", "Michael") == ["Michael_2", "Michael", "Michael_3"]


def test_lowest_released_number_is_reused() -> None:
    names = Names()
    names.join("Michael", "Michael", "Michael", "Michael")
    names.leave("michael_3", "Michael_2")
    assert names.join("Michael", "Michael", "Michael") == ["Michael_2", "Michael_3", "Michael_5"]


def test_name_is_free_after_its_member_leaves() -> None:
    names = Names()
    names.join("Michael", "", "Michael")
    names.leave("Michael", "guest1", "Michael_2")
    assert len(names.roster) == 0
    assert names.join("Michael", "Michael", "") == ["Michael", "Michael_2", "guest1"]


def test_thousand_members_of_one_name_are_numbered_and_leave_nothing_behind() -> None:
    names = Names()
    assert names.join(*["x"] * 1000)[-1] == "x_1000"
    names.leave("x", *(f"x_{number}" for number in range(2, 1001)))
    assert reachable_objects(names.roster) == reachable_objects(Roster())
    assert names.join("x", "x") == ["x", "x_2"]


def test_long_name_is_cut_to_fit_its_number() -> None:
    names = Names(8)
    assert names.join(*["abcdefghij"] * 11)[::10] == ["abcdefgh", "abcde_11"]
    assert names.join("abcdef gh", "abcdef gh") == ["abcdef g", "abcde_12"]


def test_long_names_do_not_collide_when_cut() -> None:
    names = Names(8)
    assert names.join("abcdefgh", "abcdefgh", "abcdef__", "abcdefxx") == [
        "abcdefgh",
        "abcdef_2",
        "abcdef__",
        "abcdefxx",
    ]
    assert names.join("abcdefxx") == ["abcdef_3"]


def test_member_is_found_under_every_spelling() -> None:
    names = Names()
    names.join("Micha\u00ebl")
    for written in ("MICHAE\u0308L", " micha\u00ebl ", "\uff2dicha\u00ebl", "Mi\u200bcha\u00ebl"):
        person = names.roster.get(written)
        assert person is not None and person.name == "Micha\u00ebl"
    assert names.roster.get("Michael") is None
    assert names.roster.get("Server") is None


def test_confusable_names_share_their_numbers() -> None:
    names = Names()
    assert names.join("mike", "rnike", "Mike", "rnike") == ["mike", "rnike_2", "Mike_3", "rnike_4"]
    names.leave("rnike_2", "mike")
    assert names.join("rnike", "mike") == ["rnike", "mike_2"]
    names.leave("Mike_3", "rnike_4", "rnike", "mike_2")
    assert reachable_objects(names.roster) == reachable_objects(Roster())


def test_number_that_makes_a_confusable_name_is_skipped() -> None:
    names = Names()
    assert names.join("guestl", "", "") == ["guestl", "guest2", "guest3"]
    assert names.join("rnike_2", "mike", "Mike") == ["rnike_2", "mike", "Mike_3"]
    assert names.join("x_lO", *["x"] * 10)[-2:] == ["x_9", "x_11"]


def test_confusable_name_is_free_after_the_other_member_leaves() -> None:
    names = Names()
    assert names.join("paypaI", "paypal") == ["paypaI", "paypal_2"]
    names.leave("paypaI", "paypal_2")
    assert names.join("paypal") == ["paypal"]


@pytest.mark.parametrize("name", ["S\u0435rver", "\u0405erver", "\U0001d5b2erver", "SERV\u0415R"])
def test_nobody_gets_a_name_confusable_with_the_server(name: str) -> None:
    assert Names().join(name) == [f"{name}_2"]


def test_confusable_names_are_numbered_without_a_search() -> None:
    """With n confusable names, each number is tried once, not once for each name."""
    tried: list[str] = []

    def reserved(key: str, name: str) -> bool:
        tried.append(name)
        return False

    roster: Roster[Person] = Roster(reserved=reserved)
    for number in range(600):
        roster.add(Person(roster.assign(("mike", "rnike", "Mike")[number % 3])))
    assert len(roster) == 600
    assert len(tried) < 1300


@pytest.mark.parametrize(
    ("requested", "base"), [("", "guest"), ("Michael", "Michael_"), ("Michael_2", "Michael_2_")]
)
def test_free_number_is_found_in_a_few_tries_if_somebody_owns_most_of_them(requested: str, base: str) -> None:
    tried: list[str] = []

    def reserved(key: str, name: str) -> bool:
        tried.append(name)
        digits = name.removeprefix(base)
        return digits == name or (digits.isdecimal() and int(digits) <= 200_000)

    roster: Roster[Person] = Roster(reserved=reserved)
    names = []
    for _ in range(100):
        names.append(roster.assign(requested))
        roster.add(Person(names[-1]))
    assert len(set(names)) == 100
    assert all(int(name.removeprefix(base)) > 200_000 for name in names)
    assert len(tried) < 100 * 60
    for name in names:
        person = roster.get(name)
        assert person is not None
        roster.remove(person)
    assert reachable_objects(roster) == reachable_objects(Roster(reserved=reserved))
