"""What axe-core finds in every state of the page, which is nothing; and what is read out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser.support import ROOT, Guests, Visitor, expect
from tests.browser.test_phone import PHONE
from tests.e2e.selchat_support import RichPeer
from tests.e2e.support import Server, eventually
from tests.e2e.test_encryption import WORDS
from tests.e2e.test_password import QUICK

AXE = ROOT / "web/node_modules/axe-core/axe.min.js"
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="module")
def axe() -> str:
    if not AXE.exists():
        pytest.skip("axe-core is not there: run npm ci in web/")
    return AXE.read_text()


def examine(page: Visitor, axe: str) -> None:
    """Assert that axe-core has nothing against the page as it is now, however slight."""
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


def test_axe_looks(guests: Guests, axe: str, server: Server) -> None:
    page = guests.enters(server.port, "Venkat")
    examine(page, axe)
    for element, spoil in (
        ("#input", "(it) => { it.removeAttribute('aria-label'); it.placeholder = ''; }"),
        ("#topic", "(it) => { it.textContent = 'pale'; it.style.color = '#ccc'; }"),
    ):
        page(element).evaluate(spoil)
        with pytest.raises(AssertionError, match=r"serious|critical"):
            examine(page, axe)


def converse(page: Visitor, michael: RichPeer, port: int) -> None:
    """Have one of everything in the log."""
    michael.sends({"type": "topic", "room": "lobby", "topic": "the regatta: https://example.org/"})
    michael.says("Venkat: have you seen `oar.py` at https://example.org/boats?", "1")
    michael.says("```\ndef row():\n    pull()\n```", "2")
    michael.says("* Michael waves", "3")
    michael.says("AAAA", "4", cipher=f"selchat1 {'A' * 22} 1 {'A' * 22}")
    michael.says("long " * 1000, "5")
    michael.says("https://bank.example@evil.example/", "6")
    michael.whispers("Venkat", "to you alone", "7")
    page.says("my own\nin two lines")
    page.types("/rooms")
    page.types("/nonsense")
    for name in ("Anna", "Bela"):
        with RichPeer(port, name):
            expect(page("#people")).to_contain_text(name)
        expect(page("#people")).not_to_contain_text(name)
    page.joins("deck")
    michael.says("while you were away", "8")
    page.says("alone here")
    page("#input").fill("")
    page.opens("#lobby")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_the_chat(guests: Guests, axe: str, scheme: str) -> None:
    with Server("--no-history", "--quiet") as server, RichPeer(server.port, "Michael") as michael:
        page = guests.visitor(server.port, color_scheme=scheme)
        examine(page, axe)
        page("#join").click()
        expect(page("#name-problem")).not_to_be_empty()
        examine(page, axe)
        page.enters("Venkat")
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_a_phone(guests: Guests, axe: str, server: Server, scheme: str) -> None:
    with RichPeer(server.port, "Michael") as michael:
        page = guests.visitor(server.port, color_scheme=scheme, **PHONE)
        examine(page, axe)
        page.enters("Venkat")
        michael.says("Venkat: are you there?", "1")
        michael.whispers("Venkat", "psst", "2")
        page.sees("are you there?")
        examine(page, axe)
        for side in ("rooms", "people"):
            page(f"#{side}-button").tap()
            expect(page(f"#{side}-panel")).to_be_visible()
            examine(page, axe)
            page(f"#{side}-close").tap()
            expect(page(f"#{side}-panel")).to_be_hidden()


def test_axe_finds_nothing_where_a_password_is_asked_for(guests: Guests, axe: str) -> None:
    with Server("--no-history", "--quiet", f"--password={QUICK}") as server:
        page = guests.visitor(server.port)
        page("#name").fill("Venkat")
        page("#join").click()
        expect(page("#password")).to_be_visible()
        examine(page, axe)
        page("#password").fill("wrong")
        page("#join").click()
        expect(page("#password-problem")).to_contain_text("Wrong password")
        examine(page, axe)


# What a screen reader would say: what is added to, or written anew in, what is live.
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


def heard(page: Visitor) -> list[str]:
    return [str(one) for one in page.page.evaluate("window.heardOfTest")]


def test_what_is_new_is_read_out_once_and_the_past_is_not(guests: Guests, tmp_path: Path) -> None:
    with (
        Server("--quiet", f"--history={tmp_path / 'history.sqlite'}") as server,
        RichPeer(server.port, "Michael") as michael,
    ):
        for number in range(120):
            michael.says(f"old {number}", f"old {number}")
        profile = guests.profile()
        profile.add_init_script(_LISTEN)
        page = guests.enters(server.port, "Venkat", profile=profile)
        page.sees("old 119")
        expect(page("#log")).to_have_attribute("role", "log")
        expect(page("#announcements")).to_have_attribute("aria-live", "polite")
        michael.says("new 1", "1")
        page.says("my own")
        michael.says("new 2", "2")
        eventually(lambda: "Michael: new 2" in heard(page), "it is read out")
        page("#log").focus()
        page.page.keyboard.press("Home")
        page.sees("old 0")
        page.page.keyboard.press("End")
        page.joins("deck")
        michael.says("Venkat, come back", "3")
        eventually(lambda: "Michael mentions you in lobby" in heard(page), "a mention elsewhere is read out")
        page.opens("#lobby")
        page.sees("come back")
        michael.says("new 4", "4")
        eventually(lambda: "Michael: new 4" in heard(page), "it is read out")
        all_heard = heard(page)
        assert [one for one in all_heard if "old" in one and "older" not in one] == []
        assert [one for one in all_heard if "my own" in one] == []
        for once in ("Michael: new 1", "Michael: new 2", "Michael: new 4", "Michael mentions you in lobby"):
            assert all_heard.count(once) == 1
        assert page.spoken() == [one for one in all_heard if one in set(page.spoken())]
        # Many at once are counted, and not all read.
        michael.sends(
            *({"type": "say", "room": "lobby", "id": f"many {n}", "body": f"many {n}"} for n in range(50))
        )
        eventually(lambda: any("more messages" in one for one in heard(page)), "they are counted")
        assert len([one for one in heard(page) if "many" in one]) < 10
