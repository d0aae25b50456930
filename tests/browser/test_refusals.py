"""Servers that refuse connections, without a reason from the browser, or that remove a user."""

from __future__ import annotations

import re

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
        expect(page("#status .text")).to_have_text("The operator removed you.")
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
        expect(page("#status .text")).to_have_text("The operator banned you.")
        expect(button).to_have_text("Try to come back")
