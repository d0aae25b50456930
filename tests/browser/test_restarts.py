"""A server that goes away and comes back, and links that are cut: nothing is lost, nothing comes twice."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser.support import Guests, Visitor, expect
from tests.e2e.proxy import Direction, Proxy
from tests.e2e.selchat_support import RichPeer
from tests.e2e.support import DEADLINE, Server, eventually

_RECORD = """(status) => {
  window.statusOfTest = [];
  const text = status.querySelector(".text");
  new MutationObserver(() => statusOfTest.push(text.textContent)).observe(text, { childList: true });
}"""


def serving(history: Path, port: int = 0) -> Server:
    return Server("--quiet", f"--history={history}", port=port)


def exported(history: Path) -> list[tuple[str, str]]:
    """What is on the disk: who said what."""
    out = subprocess.check_output(
        [sys.executable, "-m", "selchat", "export", f"--history={history}", "--format=jsonl"],
        text=True,
        timeout=DEADLINE,
    )
    found = map(json.loads, out.splitlines())
    return [(one["from"], one["body"]) for one in found if one.get("body") and one.get("room") == "lobby"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_is_started_again_under_two_pages(
    guests: Guests, tmp_path: Path, how: signal.Signals
) -> None:
    history = tmp_path / "history.sqlite"
    with serving(history) as server:
        port = server.port
        venkat, michael = (guests.enters(port, name) for name in ("Venkat", "Michael"))
        venkat.says("before 1")
        michael.says("before 2")
        venkat.hears(("Venkat", "before 1"), ("Michael", "before 2"))
        for page in (venkat, michael):
            page("#status").evaluate(_RECORD)
        server.stop(how)
        for page in (venkat, michael):
            expect(page("#status")).to_have_attribute("data-state", "waiting")
            expect(page("#status .text")).to_have_text(re.compile("Trying again$"))
            # What it says first; soon after that it has tried again, and nobody answers.
            why = "The server is shutting down." if how == signal.SIGTERM else "The connection was lost."
            assert page.page.evaluate("statusOfTest[0]") == f"{why} Trying again"
            expect(page("#status button")).to_have_text("Try now")
            expect(page("#log")).to_be_visible()
        lines = [f"meanwhile {number}" for number in range(5)]
        for line in lines:
            venkat.types(line)
        michael.types("what has happened?")
        for line in lines:
            expect(venkat.row(line)).to_have_attribute("data-state", "pending")
            expect(venkat.row(line)).to_contain_text("Sending…")
        expect(venkat.row("meanwhile")).to_have_count(5)
    with serving(history, port):
        for page in (venkat, michael):
            if page("#status").get_attribute("data-state") == "waiting":
                page("#status button").evaluate("(button) => button.click()")  # it may go any moment
            page.is_online()
            expect(page("#status .text")).to_have_text("")
        for line in lines:
            expect(venkat.row(line)).to_have_attribute("data-state", "sent")
            michael.sees(line)
        venkat.sees("what has happened?")
        michael.says("all here")
        venkat.sees("all here")
        eventually(lambda: venkat.talk() == michael.talk(), "both see the same")
        assert venkat.talk() == exported(history)
        said = [body for _, body in venkat.talk()]
        assert sorted(said) == sorted(["before 1", "before 2", *lines, "what has happened?", "all here"])
        assert [body for body in said if body in lines] == lines


def burst(page: Visitor, lines: list[str]) -> None:
    """Say them all in one go, as fast as a page can."""
    page("#input").evaluate(
        """(field, lines) => {
          for (const line of lines) {
            field.value = line;
            field.form.requestSubmit();
          }
        }""",
        lines,
    )


def test_a_link_is_cut_again_and_again_in_the_middle_of_bursts(guests: Guests, tmp_path: Path) -> None:
    history = tmp_path / "history.sqlite"
    with serving(history) as server, Proxy(server.port) as proxy, RichPeer(server.port, "Witness") as witness:
        page = guests.enters(proxy.port, "Venkat")
        said = []
        for turn, (direction, size) in enumerate(
            [(Direction.UP, 700), (Direction.DOWN, 300), (Direction.UP, 1501), (Direction.DOWN, 1200)]
        ):
            lines = [f"burst {turn} line {number}" for number in range(30)]
            links = proxy.links
            proxy.cut_after(direction, size)
            burst(page, lines)
            said += lines
            eventually(lambda links=links: proxy.links > links, "it comes back")  # type: ignore[misc]
            expect(page("#log [data-state=pending]")).to_have_count(0)
            expect(page.row(lines[-1])).to_have_attribute("data-state", "sent")
        heard = witness.reads_until(lambda one: one.get("body") == said[-1])
        assert [one["body"] for one in heard if one["type"] == "said"] == said
        assert [body for _, body in exported(history)] == said
        assert [body for _, body in page.talk()][-20:] == said[-20:]


def test_what_was_said_while_the_link_was_away_comes_once_and_in_order(
    guests: Guests, server: Server
) -> None:
    with Proxy(server.port) as proxy, RichPeer(server.port, "Michael") as michael:
        page = guests.enters(proxy.port, "Venkat")
        michael.says("one", "1")
        page.sees("one")
        proxy.refuses = True
        proxy.reset()
        expect(page("#status")).to_have_attribute("data-state", "waiting")
        michael.sends(
            *({"type": "say", "room": "lobby", "id": f"m{n}", "body": f"missed {n}"} for n in range(120))
        )
        proxy.heal()
        page("#status button").evaluate("(button) => button.click()")
        page.is_online()
        page.sees("missed 119")
        page.says("here again")
        seen = [body for _, body in page.talk()]
        assert seen == [*(f"missed {n}" for n in range(121 - len(seen), 120)), "here again"]
        assert len(seen) > 20


def test_the_page_tries_again_by_itself_and_says_so(guests: Guests, server: Server) -> None:
    with Proxy(server.port) as proxy:
        page = guests.enters(proxy.port, "Venkat")
        proxy.refuses = True
        proxy.reset()
        expect(page("#status .text")).to_have_text("The server does not answer. Trying again")
        proxy.heal()
        page.is_online()
        expect(page("#status .text")).to_have_text("")
