"""Phones: touch, small windows and large text."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.support import UserPage, Users, expect
from tests.e2e.selchat_support import SelchatPeer
from tests.e2e.support import Server

PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
    "device_scale_factor": 2,
}
LONG = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 3


def in_window(page: UserPage, selector: str) -> bool:
    """Whether a finger can touch the middle of that element."""
    return bool(
        page(selector).evaluate(
            """(it) => {
              const { left, top, width, height } = it.getBoundingClientRect();
              const there = document.elementFromPoint(left + width / 2, top + height / 2);
              return !!there && it.contains(there) && left >= 0 && left + width <= innerWidth;
            }"""
        )
    )


def test_whole_session_by_touch(users: Users, server: Server) -> None:
    with SelchatPeer(server.port, "Michael") as michael:
        page = users.opens_page(server.port, **PHONE)
        page("#name").tap()
        page("#name").fill("Venkat")
        page("#join").tap()
        page.is_signed_in()
        assert page.focused() != "input"  # an on-screen keyboard would hide the chat
        for panel in ("#rooms-panel", "#people-panel"):
            expect(page(panel)).to_be_hidden()
        michael.say("hello Venkat", "1")
        page.sees("hello Venkat")
        page("#input").tap()
        page("#input").fill("hello from a phone")
        page("#send").tap()
        expect(page.row("from a phone")).to_have_attribute("data-state", "sent")
        assert page.focused() == "input"  # the keyboard stays open

        # A room, through the left sidebar.
        page("#rooms-button").tap()
        expect(page("#rooms-panel")).to_be_visible()
        expect(page("#rooms-button")).to_have_attribute("aria-expanded", "true")
        assert page("#main-column").evaluate("(it) => it.inert")
        page("#rooms [data-id='+']").tap()
        expect(page("#rooms-panel")).to_be_hidden()
        expect(page("#input")).to_have_value("/join ")
        page("#input").press_sequentially("deck")
        page("#send").tap()
        expect(page("#conversation-name")).to_contain_text("deck")
        page("#rooms-button").tap()
        page.item("#lobby").tap()
        expect(page("#rooms-panel")).to_be_hidden()
        expect(page("#conversation-name")).to_contain_text("lobby")
        page.sees("from a phone")

        # Each sidebar closes by its button, the backdrop and Escape, and restores the focus.
        for side in ("rooms", "people"):
            for by in ("button", "backdrop", "Escape"):
                page(f"#{side}-button").tap()
                expect(page(f"#{side}-panel")).to_be_visible()
                expect(page("#backdrop")).to_be_visible()
                if by == "button":
                    page(f"#{side}-close").tap()
                elif by == "backdrop":
                    page.page.touchscreen.tap(380 if side == "rooms" else 10, 400)
                else:
                    page.page.keyboard.press("Escape")
                expect(page(f"#{side}-panel")).to_be_hidden()
                assert page.focused() == f"{side}-button"
                assert not page("#main-column").evaluate("(it) => it.inert")

        # A person, through the right sidebar.
        page("#people-button").tap()
        page("#people button").filter(has_text="Michael").tap()
        expect(page("#people-panel")).to_be_hidden()
        expect(page("#input")).to_have_value("/msg Michael ")
        page("#input").press_sequentially("psst")
        page("#send").tap()
        expect(page("#conversation-name")).to_contain_text("Michael")

        # Sign-out.
        page("#rooms-button").tap()
        page("#menu-button").tap()
        page("#menu").get_by_role("button", name="Sign out").tap()
        expect(page("#sign-in")).to_be_visible()


@pytest.mark.parametrize(
    ("width", "height"),
    [
        (320, 568),
        *(pytest.param(*size, marks=pytest.mark.slow) for size in [(640, 400), (844, 390), (256, 600)]),
    ],
)
def test_nothing_is_cut_off_in_a_small_window(users: Users, server: Server, width: int, height: int) -> None:
    """From 320 px on, users scroll in one direction only; 640 x 400 is 1280 x 800 at 200 %."""
    with SelchatPeer(server.port, "A name that is as long as can be") as someone:
        page = users.opens_page(server.port, viewport={"width": width, "height": height})
        assert page.overflow() <= 0
        assert in_window(page, "#join")
        page.signs_in("Venkat")
        someone.send({"type": "topic", "room": "lobby", "topic": "a topic that is rather long, " * 5})
        someone.say(f"{LONG} https://example.org/{LONG} `{LONG}`", "1")
        someone.say(f"```\n{LONG * 3}\n```", "2")
        someone.whisper("Venkat", LONG, "3")
        expect(page("#log pre")).to_be_visible()
        page.types("/rooms")
        page.types("/users")
        expect(page("#log [data-kind=notice]")).to_have_count(2)
        for element in ("#conversation-name", "#lock", "#log", "#input", "#send"):
            assert in_window(page, element), element
        assert page.overflow() <= 0
        assert page("#log").evaluate("(log) => log.scrollWidth - log.clientWidth") <= 0
        for side in ("rooms", "people"):
            if page(f"#{side}-button").is_visible():
                page(f"#{side}-button").click()
                expect(page(f"#{side}-panel")).to_be_visible()
                assert page.overflow() <= 0
                page(f"#{side}-close").click()
        page("#lock").click()
        page("#lock-use").scroll_into_view_if_needed()
        assert in_window(page, "#lock-use")
        assert page.overflow() <= 0
        page.page.keyboard.press("Escape")
        page.types("/help")
        assert page("#help-dialog").evaluate("(it) => it.scrollWidth - it.clientWidth") <= 0
        page("#help-close").scroll_into_view_if_needed()
        assert in_window(page, "#help-close")
        page("#help-close").click()
        page.says("the end")


@pytest.mark.slow
def test_nothing_is_cut_off_with_doubled_text_size(users: Users, server: Server) -> None:
    page = users.signs_in(server.port, "Venkat")
    page.page.evaluate("document.documentElement.style.fontSize = '200%'")
    page.says(
        "large letters, and a line that is long enough to be broken into several lines on this page " * 2
    )
    for element in ("#conversation-name", "#lock", "#input", "#send", "#menu-button"):
        assert in_window(page, element), element
    assert page.overflow() <= 0
