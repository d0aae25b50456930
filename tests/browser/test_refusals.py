"""Servers that refuse connections, without a reason from the browser, or that remove a user."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from tests.browser.support import Users, expect
from tests.e2e.selchat_support import SelchatPeer
from tests.e2e.support import Server


def test_full_server_is_reported_and_retried(users: Users) -> None:
    users.expected.append(re.compile(r"status of 503"))
    with Server("--no-history", "--quiet") as server:
        page = users.opens_page(server.port)
        page("#name").fill("Venkat")
    # A second server, because the connections that loaded the page count too.
    with Server("--no-history", "--quiet", "--max-clients=2", port=server.port) as server:
        with SelchatPeer(server.port, "Michael"), SelchatPeer(server.port, "Rishabh"):
            page("#join").click()
            expect(page("#sign-in-status")).to_contain_text("Server is full (2 connections).")
        page.is_signed_in()


def test_removed_user_reconnects_only_by_the_button(users: Users) -> None:
    with (
        Server("--no-history", "--quiet") as server,
        SelchatPeer(server.port, "Michael") as michael,
    ):
        server.type("/op Michael")
        server.expect("Michael is an operator now")
        page = users.signs_in(server.port, "Venkat")
        page("#input").press_sequentially("half a li")
        michael.whisper("Server", "/kick Venkat", "1")
        expect(page("#status")).to_have_attribute("data-state", "stopped")
        expect(page("#status .text")).to_have_text("The operator has removed you.")
        button = page("#status button")
        expect(button).to_have_text("Try to come back")
        assert page.focused() == "input"
        page.page.keyboard.press("Space")
        expect(page("#status")).to_have_attribute("data-state", "stopped")
        status, box = page("#status").bounding_box(), button.bounding_box()
        assert status and box and box["x"] > status["x"] + status["width"] / 2
        button.click()
        page.is_online()
        michael.whisper("Server", "/ban Venkat", "2")
        expect(page("#status .text")).to_have_text("The operator has banned you.")
        expect(button).to_have_text("Try to come back")


def test_end_of_a_mute_and_of_a_ban_is_shown_in_the_time_of_the_user(users: Users, server: Server) -> None:
    page = users.signs_in(server.port, "Venkat", timezone_id="Asia/Kolkata")
    ends = re.compile(r"until \d\d:\d\d on [A-Z][a-z]+,? \d{1,2} [A-Z][a-z]+ \d{4}\.$")

    def shown(minutes: int) -> str:
        now = datetime.now(UTC) + timedelta(hours=5, minutes=30 + minutes)
        return f"until {now:%H:%M}"

    for command, place, beginning in (
        ("/mute Venkat for 3d", "#log .row .delivery.failed", "Not sent: the operator has muted you until "),
        ("/ban Venkat for 3d", "#status .text", "The operator has banned you until "),
    ):
        earliest = shown(0)
        server.type(command)
        server.expect("until")
        page.types("am I heard?")
        expect(page(place)).to_contain_text(beginning)
        text = (
            page(place).locator("span").first.inner_text()
            if "delivery" in place
            else page(place).inner_text()
        )
        assert ends.search(text), text
        assert earliest in text or shown(0) in text
    page("#status button").click()
    expect(page("#status .text")).to_contain_text("The operator has banned you until ")
    assert ends.search(page("#status .text").inner_text())
