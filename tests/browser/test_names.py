"""Names on the page: their colours, completion, and commands that take a name."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.browser.support import UserPage, Users, expect
from tests.e2e.selchat_support import SelchatPeer
from tests.e2e.support import Server

_TABLE = "Table for two"


@pytest.fixture
def page(users: Users, server: Server) -> UserPage:
    return users.signs_in(server.port, "Venkat")


def test_people_of_one_room_have_different_avatar_colours(page: UserPage, server: Server) -> None:
    names = [f"guest {letter}" for letter in "abcdefghijkl"]
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(SelchatPeer(server.port, name))
        expect(page("#people .avatar")).to_have_count(13)
        colours = page("#people").evaluate(
            "(all) => [...all.querySelectorAll('.avatar')].map((it) => getComputedStyle(it).backgroundColor)"
        )
        assert len(set(colours)) == 13


def test_tab_completes_a_name_and_keeps_the_at_sign(page: UserPage, server: Server) -> None:
    with SelchatPeer(server.port, "Anna"), SelchatPeer(server.port, _TABLE):
        expect(page("#people li")).to_have_count(3)
        for typed, wanted in (
            ("@A", "@Anna "),
            ("see @an", "see @Anna "),
            ("(tab", f"({_TABLE} "),
            ("@table fo", f"@{_TABLE} "),
            ("/msg tab", f'/msg "{_TABLE}" '),
            ("/msg Table for t", f'/msg "{_TABLE}" '),
            ("/mute tab", f'/mute "{_TABLE}" '),
            ("/kick an", "/kick Anna "),
        ):
            page("#input").fill(typed)
            page("#input").press("Tab")
            expect(page("#input")).to_have_value(wanted)


@pytest.mark.parametrize("line", [f'/msg "{_TABLE}" hi', f"/msg {_TABLE} hi", "/msg “table FOR two” hi"])
def test_direct_message_reaches_a_name_with_spaces(page: UserPage, server: Server, line: str) -> None:
    with SelchatPeer(server.port, _TABLE) as guest:
        expect(page("#people")).to_contain_text(_TABLE)
        page.types(line)
        page.is_at("@table for two")
        received = guest.read_until(lambda fields: fields["type"] == "whispered")
        assert received[-1]["body"] == "hi"
        page.sees_last(("Venkat", "hi"))


def test_name_with_spaces_in_the_list_of_people_starts_a_direct_message(
    page: UserPage, server: Server
) -> None:
    with SelchatPeer(server.port, _TABLE):
        page("#people button").filter(has_text=_TABLE).click()
        expect(page("#input")).to_have_value(f'/msg "{_TABLE}" ')


def test_scroll_bars_have_no_track_of_another_colour(page: UserPage) -> None:
    page.types(f"```\n{'a long line ' * 40}\n```")
    expect(page("#log pre")).to_be_visible()
    tracks = page.page.evaluate(
        """[...document.querySelectorAll("*")]
             .filter((it) => /auto|scroll/.test(getComputedStyle(it).overflow))
             .map((it) => getComputedStyle(it).scrollbarColor)"""
    )
    assert len(tracks) > 3
    assert {track.partition(") ")[2] for track in tracks} == {"rgba(0, 0, 0, 0)"}
