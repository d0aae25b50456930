"""Desktop notifications: only for mentions and direct messages, only while hidden, without encrypted text."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.support import UserPage, Users, expect
from tests.e2e.selchat_support import SelchatPeer
from tests.e2e.support import Server, eventually
from tests.e2e.test_encryption import WORDS

# Tests can neither read the browser's notifications nor hide a page.
_STUB = """
window.shownOfTest = [];
window.hiddenOfTest = false;
window.Notification = class {
  static permission = "default";
  static asked = 0;
  static async requestPermission() {
    Notification.asked++;
    return (Notification.permission = "granted");
  }
  constructor(title, options) {
    this.title = title;
    this.body = options?.body ?? "";
    shownOfTest.push(this);
  }
  close() {}
};
Object.defineProperty(document, "hidden", { get: () => hiddenOfTest });
Object.defineProperty(document, "visibilityState", { get: () => (hiddenOfTest ? "hidden" : "visible") });
"""


def shown(page: UserPage) -> list[tuple[str, str]]:
    found: Any = page.page.evaluate("shownOfTest.map(({ title, body }) => [title, body])")
    return [(title, body) for title, body in found]


def hide(page: UserPage, hidden: bool) -> None:
    page.page.evaluate(
        "(hidden) => { hiddenOfTest = hidden; document.dispatchEvent(new Event('visibilitychange')); }",
        hidden,
    )


def test_notifications_for_mentions_and_direct_messages_while_hidden(users: Users, server: Server) -> None:
    profile = users.profile()
    profile.add_init_script(_STUB)
    with SelchatPeer(server.port, "Michael") as michael:
        page = users.signs_in(server.port, "Venkat", profile=profile)
        ids = iter(range(1000))

        def said(body: str) -> None:
            michael.say(body, str(next(ids)))
            page.sees(body)

        # Off by default.
        hide(page, True)
        said("Venkat, are you there?")
        assert shown(page) == []
        hide(page, False)
        page("#menu-button").click()
        page("#menu").get_by_role("button", name="Notify me").click()
        expect(page("#menu").get_by_role("button", name="Do not notify me")).to_be_visible()
        assert page.page.evaluate("Notification.asked") == 1
        page.page.keyboard.press("Escape")

        # Not while the page is visible.
        said("Venkat, I see you")
        assert shown(page) == []
        hide(page, True)
        said("something else")
        said("Venkatesh is somebody else")
        assert shown(page) == []
        said("venkat: the <b>tea</b> is ready")
        eventually(lambda: len(shown(page)) == 1, "a notification")
        assert shown(page) == [("Michael mentions you in lobby", "venkat: the <b>tea</b> is ready")]
        michael.whisper("Venkat", "psst", "w")
        eventually(lambda: len(shown(page)) == 2, "a notification")
        assert shown(page)[1] == ("Direct message from Michael", "psst")
        # A click opens the conversation.
        hide(page, False)
        page.page.evaluate("shownOfTest[1].onclick()")
        page.is_at("@michael")
        page.opens("#lobby")

        # Encrypted text stays out of notifications.
        other = users.signs_in(server.port, "Rishabh")
        for one in (page, other):
            one.sets_passphrase(WORDS, everywhere=True)
        hide(page, True)
        other.says("Venkat, the lighthouse")
        eventually(lambda: len(shown(page)) == 3, "a notification")
        other.types("/msg Venkat psst, the lighthouse")
        eventually(lambda: len(shown(page)) == 4, "a notification")
        assert shown(page)[2:] == [("Rishabh mentions you in lobby", ""), ("Direct message from Rishabh", "")]
        said("Venkat, which lighthouse?")  # unencrypted, but it may quote an encrypted message
        eventually(lambda: len(shown(page)) == 5, "a notification")
        assert shown(page)[4] == ("Michael mentions you in lobby", "")

        # Turned off again.
        hide(page, False)
        page("#menu-button").click()
        page("#menu").get_by_role("button", name="Do not notify me").click()
        page.page.keyboard.press("Escape")
        hide(page, True)
        said("Venkat, are you still there?")
        hide(page, False)
        page.says("yes")
        assert len(shown(page)) == 5


@pytest.mark.slow
def test_forbidden_notifications_are_explained(users: Users, server: Server) -> None:
    profile = users.profile()
    profile.add_init_script(_STUB + "Notification.permission = 'denied';")
    page = users.signs_in(server.port, "Venkat", profile=profile)
    page("#menu-button").click()
    expect(page("#menu")).to_contain_text("forbid them for this page")
    expect(page("#menu").get_by_role("button", name="Notify me")).to_have_count(0)
