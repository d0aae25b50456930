"""Very long messages: the page holds only the beginning until the user expands them."""

from __future__ import annotations

import pytest

from tests.browser.support import Users, expect
from tests.e2e.selchat_support import SelchatPeer
from tests.e2e.support import Server

LINES = "\n" * 29_000 + "the end"
WORDS = "word " * 12_000 + "the end"


@pytest.mark.slow
def test_page_shows_only_the_beginning_of_a_long_message_at_first(users: Users, server: Server) -> None:
    page = users.signs_in(server.port, "Venkat")
    with SelchatPeer(server.port, "Mallory") as mallory:
        for number, text in enumerate((LINES, WORDS, f"* Mallory {LINES}", f"* Mallory {WORDS}")):
            mallory.say(text, f"id {number}")
        page.sees("* Mallory word")
        assert page("#log").evaluate("(log) => log.textContent.length") < 20_000
        acts = page("#log .row.action").last
        body = acts.locator(".body")
        assert "the end" not in str(body.text_content())
        acts.get_by_role("button", name="Show the whole message").click()
        expect(body).to_be_focused()
        shown = str(body.text_content())
        assert shown == f"* Mallory {WORDS}"
        expect(acts.get_by_role("button")).to_have_count(0)
        # It stays expanded after it left the page.
        page("#input").press("End")
        page("#input").press("Home")
        page("#input").press("End")
        expect(acts.locator(".body")).to_have_text(shown)
