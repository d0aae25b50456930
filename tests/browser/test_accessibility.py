"""Accessibility: axe-core finds no problem in any state of the page, and screen readers hear new messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser.support import ROOT, UserPage, Users, expect
from tests.browser.test_phone import PHONE
from tests.e2e.selchat_support import SelchatPeer
from tests.e2e.support import Server, eventually
from tests.e2e.test_encryption import WORDS
from tests.e2e.test_password import QUICK

AXE = ROOT / "web/node_modules/axe-core/axe.min.js"
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="module")
def axe() -> str:
    if not AXE.exists():
        pytest.skip("axe-core is not installed: run npm ci in web/")
    return AXE.read_text()


def examine(page: UserPage, axe: str) -> None:
    """Assert that axe-core finds no problem in the page, however slight."""
    if not page.page.evaluate("'axe' in window"):
        page.page.evaluate(axe)
    found: Any = page.page.evaluate(
        """async (rules) => {
          const options = { runOnly: rules, resultTypes: ["violations"], preload: false };
          const { violations } = await axe.run(document, options);
          return violations.map(({ id, impact, nodes }) => {
            const where = nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`);
            return `${impact}: ${id}: ${where.join(" | ")}`;
          });
        }""",
        _RULES,
    )
    assert found == []


def test_axe_finds_a_deliberate_problem(users: Users, axe: str, server: Server) -> None:
    page = users.signs_in(server.port, "Venkat")
    examine(page, axe)
    for element, spoil in (
        ("#input", "(it) => { it.removeAttribute('aria-label'); it.placeholder = ''; }"),
        ("#topic", "(it) => { it.textContent = 'pale'; it.style.color = '#ccc'; }"),
    ):
        page(element).evaluate(spoil)
        with pytest.raises(AssertionError, match=r"serious|critical"):
            examine(page, axe)


def converse(page: UserPage, michael: SelchatPeer, port: int) -> None:
    """Put every kind of row into the log."""
    michael.send({"type": "topic", "room": "lobby", "topic": "the regatta: https://example.org/"})
    michael.say("Venkat: have you seen `oar.py` at https://example.org/boats?", "1")
    michael.say("```\ndef row():\n    pull()\n```", "2")
    michael.say("* Michael waves", "3")
    michael.say("AAAA", "4", cipher=f"selchat1 {'A' * 22} 1 {'A' * 22}")
    michael.say("long " * 1000, "5")
    michael.say("https://bank.example@evil.example/", "6")
    michael.whisper("Venkat", "to you alone", "7")
    page.says("my own\nin two lines")
    page.types("/rooms")
    page.types("/nonsense")
    for name in ("Anna", "Bela"):
        with SelchatPeer(port, name):
            expect(page("#people")).to_contain_text(name)
        expect(page("#people")).not_to_contain_text(name)
    page.joins("deck")
    michael.say("while you were away", "8")
    page.says("alone here")
    page("#input").fill("")
    page.opens("#lobby")


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_axe_finds_no_problem_in_the_chat(users: Users, axe: str, scheme: str) -> None:
    with Server("--no-history", "--quiet") as server, SelchatPeer(server.port, "Michael") as michael:
        page = users.opens_page(server.port, color_scheme=scheme)
        examine(page, axe)
        page("#join").click()
        expect(page("#name-problem")).not_to_be_empty()
        examine(page, axe)
        page.signs_in("Venkat")
        examine(page, axe)
        converse(page, michael, server.port)
        examine(page, axe)
        page("#log details summary").last.click()
        page("#menu-button").click()
        examine(page, axe)
        page.page.keyboard.press("Escape")
        page("#input").fill("/")
        page("#input").press("End")
        page("#input").press_sequentially("m")
        page("#input").press("Tab")
        expect(page("#candidates")).to_be_visible()
        examine(page, axe)
        page("#input").fill("")
        page.opens("@michael")
        examine(page, axe)
        page.opens("#lobby")
        page("#lock").click()
        page("#lock-use").click()
        examine(page, axe)
        page("#passphrase").fill(WORDS)
        page("#lock-use").click()
        expect(page("#lock-dialog")).to_be_hidden()
        page.says("encrypted")
        examine(page, axe)
        page.types("/help")
        expect(page("#help-dialog")).to_be_visible()
        examine(page, axe)
        page("#help-close").click()
        page("#log").focus()
        page.page.keyboard.press("Home")
        expect(page("#jump-to-end")).to_be_visible()
        examine(page, axe)
        page.page.keyboard.press("End")
        server.stop()
        expect(page("#status")).to_have_attribute("data-state", "waiting")
        page.types("said to nobody")
        expect(page("#log [data-state=pending]")).to_have_count(1)
        examine(page, axe)


@pytest.mark.parametrize("scheme", [pytest.param("light", marks=pytest.mark.slow), "dark"])
def test_axe_finds_no_problem_on_a_phone(users: Users, axe: str, server: Server, scheme: str) -> None:
    with SelchatPeer(server.port, "Michael") as michael:
        page = users.opens_page(server.port, color_scheme=scheme, **PHONE)
        examine(page, axe)
        page.signs_in("Venkat")
        michael.say("Venkat: are you there?", "1")
        michael.whisper("Venkat", "psst", "2")
        page.sees("are you there?")
        examine(page, axe)
        for side in ("rooms", "people"):
            page(f"#{side}-button").tap()
            expect(page(f"#{side}-panel")).to_be_visible()
            examine(page, axe)
            page(f"#{side}-close").tap()
            expect(page(f"#{side}-panel")).to_be_hidden()


@pytest.mark.slow
def test_axe_finds_no_problem_in_the_password_prompt(users: Users, axe: str) -> None:
    with Server("--no-history", "--quiet", f"--password={QUICK}") as server:
        page = users.opens_page(server.port)
        page("#name").fill("Venkat")
        page("#join").click()
        expect(page("#password")).to_be_visible()
        examine(page, axe)
        page("#password").fill("wrong")
        page("#join").click()
        expect(page("#password-problem")).to_contain_text("Wrong password")
        examine(page, axe)


# Record what a screen reader would say: text that is added to or changed in a live region.
_LISTEN = """
addEventListener("DOMContentLoaded", () => {
  window.heardOfTest = [];
  const live = (node) => {
    for (let it = node.nodeType === 1 ? node : node.parentElement; it; it = it.parentElement) {
      const said = it.getAttribute("aria-live");
      const role = it.getAttribute("role");
      if (said) return said !== "off";
      if (["log", "status", "alert"].includes(role)) return true;
    }
    return false;
  };
  new MutationObserver((changes) => {
    for (const { target, addedNodes } of changes) {
      if (target.nodeType === 3 && live(target)) heardOfTest.push(target.data);
      for (const node of addedNodes)
        if (live(node) && node.textContent.trim()) heardOfTest.push(node.textContent);
    }
  }).observe(document.documentElement, { childList: true, subtree: true, characterData: true });
});
"""


def announced(page: UserPage) -> list[str]:
    return [str(one) for one in page.page.evaluate("window.heardOfTest")]


def test_new_messages_are_announced_once_and_history_is_not(users: Users, tmp_path: Path) -> None:
    with (
        Server("--quiet", f"--history={tmp_path / 'history.sqlite'}") as server,
        SelchatPeer(server.port, "Michael") as michael,
    ):
        for number in range(120):
            michael.say(f"old {number}", f"old {number}")
        profile = users.profile()
        profile.add_init_script(_LISTEN)
        page = users.signs_in(server.port, "Venkat", profile=profile)
        page.sees("old 119")
        expect(page("#log")).to_have_attribute("role", "log")
        expect(page("#announcements")).to_have_attribute("aria-live", "polite")
        michael.say("new 1", "1")
        page.says("my own")
        michael.say("new 2", "2")
        eventually(lambda: "Michael: new 2" in announced(page), "the announcement")
        page("#log").focus()
        page.page.keyboard.press("Home")
        page.sees("old 0")
        page.page.keyboard.press("End")
        page.joins("deck")
        michael.say("Venkat, come back", "3")
        eventually(
            lambda: "Michael mentions you in lobby" in announced(page),
            "the announcement of a mention in another room",
        )
        page.opens("#lobby")
        page.sees("come back")
        michael.say("new 4", "4")
        eventually(lambda: "Michael: new 4" in announced(page), "the announcement")
        all_announcements = announced(page)
        assert [one for one in all_announcements if "old" in one and "older" not in one] == []
        assert [one for one in all_announcements if "my own" in one] == []
        for once in ("Michael: new 1", "Michael: new 2", "Michael: new 4", "Michael mentions you in lobby"):
            assert all_announcements.count(once) == 1
        assert page.announcements() == [one for one in all_announcements if one in set(page.announcements())]
        # Many messages at once are counted, not read one by one.
        michael.send(
            *({"type": "say", "room": "lobby", "id": f"many {n}", "body": f"many {n}"} for n in range(50))
        )
        eventually(lambda: any("more messages" in one for one in announced(page)), "the count of messages")
        assert len([one for one in announced(page) if "many" in one]) < 10
