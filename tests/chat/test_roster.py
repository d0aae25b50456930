from __future__ import annotations

import pytest

from selchat.chat.roster import Roster


class Someone:
    def __init__(self, name: str) -> None:
        self.name = name


class Names:
    """A roster that is talked to in names."""

    def __init__(self, length: int = 32) -> None:
        self.roster: Roster[Someone] = Roster(length)

    def come(self, *wanted: str) -> list[str]:
        given = []
        for name in wanted:
            given.append(self.roster.assign(name))
            self.roster.add(Someone(given[-1]))
        return given

    def go(self, *names: str) -> None:
        for name in names:
            someone = self.roster.get(name)
            assert someone is not None
            self.roster.remove(someone)


def test_a_free_name_is_given_as_it_was_asked_for() -> None:
    assert Names().come("Michael", "Narayan") == ["Michael", "Narayan"]


def test_a_taken_name_gets_a_number() -> None:
    assert Names().come("Michael", "Michael", "MICHAEL") == ["Michael", "Michael_2", "MICHAEL_3"]


def test_names_that_compare_equal_are_the_same_name() -> None:
    names = Names()
    assert names.come("Stra\u00dfe", "STRASSE", "\uff33trasse") == [
        "Stra\u00dfe",
        "STRASSE_2",
        "\uff33trasse_3",
    ]


def test_an_empty_name_is_a_guest() -> None:
    assert Names().come("", "  ", "\u202e\x1b", "guest1") == ["guest1", "guest2", "guest3", "guest1_2"]


def test_a_guest_s_number_can_be_taken() -> None:
    assert Names().come("GUEST1", "") == ["GUEST1", "guest2"]


@pytest.mark.parametrize(
    "name", ["Server", "SERVER", " Server ", "\uff33\uff45\uff52\uff56\uff45\uff52", "Ser\u200bver"]
)
def test_nobody_can_be_called_server(name: str) -> None:
    [given] = Names().come(name)
    assert given.endswith("_2")
    assert given.casefold() != "server"


def test_a_number_that_is_asked_for_is_stepped_over() -> None:
    assert Names().come("Michael_2", "Michael", "Michael") == ["Michael_2", "Michael", "Michael_3"]


def test_the_lowest_number_that_was_given_back_is_used_again() -> None:
    names = Names()
    names.come("Michael", "Michael", "Michael", "Michael")
    names.go("michael_3", "Michael_2")
    assert names.come("Michael", "Michael", "Michael") == ["Michael_2", "Michael_3", "Michael_5"]


def test_a_name_is_free_when_its_owner_has_gone() -> None:
    names = Names()
    names.come("Michael", "", "Michael")
    names.go("Michael", "guest1", "Michael_2")
    assert len(names.roster) == 0
    assert names.come("Michael", "Michael", "") == ["Michael", "Michael_2", "guest1"]


def test_a_thousand_of_one_name_are_numbered_and_forgotten() -> None:
    names = Names()
    assert names.come(*["x"] * 1000)[-1] == "x_1000"
    names.go("x", *(f"x_{number}" for number in range(2, 1001)))
    assert not names.roster._pools
    assert not names.roster._numbered
    assert names.come("x", "x") == ["x", "x_2"]


def test_a_long_name_is_cut_to_make_room_for_its_number() -> None:
    names = Names(8)
    assert names.come(*["abcdefghij"] * 11)[::10] == ["abcdefgh", "abcde_11"]
    assert names.come("abcdef gh", "abcdef gh") == ["abcdef g", "abcde_12"]


def test_different_long_names_do_not_collide_when_cut() -> None:
    names = Names(8)
    assert names.come("abcdefgh", "abcdefgh", "abcdef__", "abcdefxx") == [
        "abcdefgh",
        "abcdef_2",
        "abcdef__",
        "abcdefxx",
    ]
    assert names.come("abcdefxx") == ["abcdef_3"]


def test_a_member_is_found_however_the_name_is_written() -> None:
    names = Names()
    names.come("Micha\u00ebl")
    for written in ("MICHAE\u0308L", " micha\u00ebl ", "\uff2dicha\u00ebl", "Mi\u200bcha\u00ebl"):
        someone = names.roster.get(written)
        assert someone is not None and someone.name == "Micha\u00ebl"
    assert names.roster.get("Michael") is None
    assert names.roster.get("Server") is None


def test_names_that_look_the_same_share_their_numbers() -> None:
    names = Names()
    assert names.come("mike", "rnike", "Mike", "rnike") == ["mike", "rnike_2", "Mike_3", "rnike_4"]
    names.go("rnike_2", "mike")
    assert names.come("rnike", "mike") == ["rnike", "mike_2"]
    names.go("Mike_3", "rnike_4", "rnike", "mike_2")
    assert not names.roster._pools
    assert not names.roster._numbered


def test_a_number_is_stepped_over_if_the_name_would_look_like_another() -> None:
    names = Names()
    assert names.come("guestl", "", "") == ["guestl", "guest2", "guest3"]
    assert names.come("rnike_2", "mike", "Mike") == ["rnike_2", "mike", "Mike_3"]
    assert names.come("x_lO", *["x"] * 10)[-2:] == ["x_9", "x_11"]


def test_a_look_alike_is_free_when_the_other_has_gone() -> None:
    names = Names()
    assert names.come("paypaI", "paypal") == ["paypaI", "paypal_2"]
    names.go("paypaI", "paypal_2")
    assert names.come("paypal") == ["paypal"]


@pytest.mark.parametrize("name", ["S\u0435rver", "\u0405erver", "\U0001d5b2erver", "SERV\u0415R"])
def test_nobody_can_look_like_the_server(name: str) -> None:
    assert Names().come(name) == [f"{name}_2"]


def test_names_that_look_the_same_are_numbered_without_a_search() -> None:
    """With n people of one name each number is looked at once, whoever of the look-alikes asks for it."""
    asked: list[str] = []

    def reserved(key: str, name: str) -> bool:
        asked.append(name)
        return False

    roster: Roster[Someone] = Roster(reserved=reserved)
    for number in range(600):
        roster.add(Someone(roster.assign(("mike", "rnike", "Mike")[number % 3])))
    assert len(roster) == 600
    assert len(asked) < 1300
