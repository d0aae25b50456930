"""Restarted servers and cut connections: no message is lost or doubled."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser.support import UserPage, Users, expect
from tests.e2e.proxy import Direction, Proxy
from tests.e2e.selchat_support import SelchatPeer
from tests.e2e.support import DEADLINE, Server, eventually

_RECORD = """(status) => {
  window.statusOfTest = [];
  const text = status.querySelector(".text");
  new MutationObserver(() => statusOfTest.push(text.textContent)).observe(text, { childList: true });
}"""


def serving(history: Path, port: int = 0) -> Server:
    return Server("--quiet", f"--history={history}", port=port)


def exported(history: Path) -> list[tuple[str, str]]:
    """Return the stored messages of the lobby: author and text."""
    out = subprocess.check_output(
        [sys.executable, "-m", "selchat", "export", f"--history={history}", "--format=jsonl"],
        text=True,
        timeout=DEADLINE,
    )
    found = map(json.loads, out.splitlines())
    return [(one["from"], one["body"]) for one in found if one.get("body") and one.get("room") == "lobby"]


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_restarted_server_loses_and_doubles_no_message(
    users: Users, tmp_path: Path, how: signal.Signals
) -> None:
    history = tmp_path / "history.sqlite"
    with serving(history) as server:
        port = server.port
        venkat, michael = (users.signs_in(port, name) for name in ("Venkat", "Michael"))
        venkat.says("before 1")
        michael.says("before 2")
        venkat.sees_last(("Venkat", "before 1"), ("Michael", "before 2"))
        for page in (venkat, michael):
            page("#status").evaluate(_RECORD)
        server.stop(how)
        for page in (venkat, michael):
            expect(page("#status")).to_have_attribute("data-state", "waiting")
            expect(page("#status .text")).to_have_text(re.compile("Trying again$"))
            # The first status; a later attempt replaces it with "does not answer".
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
                page("#status button").evaluate(
                    "(button) => button.click()"
                )  # the button may vanish at any moment
            page.is_online()
            expect(page("#status .text")).to_have_text("")
        for line in lines:
            expect(venkat.row(line)).to_have_attribute("data-state", "sent")
            michael.sees(line)
        venkat.sees("what has happened?")
        michael.says("all here")
        venkat.sees("all here")
        eventually(lambda: venkat.messages() == michael.messages(), "the same messages on both pages")
        assert venkat.messages() == exported(history)
        said = [body for _, body in venkat.messages()]
        assert sorted(said) == sorted(["before 1", "before 2", *lines, "what has happened?", "all here"])
        assert [body for body in said if body in lines] == lines


def burst(page: UserPage, lines: list[str]) -> None:
    """Send all lines at once, as fast as the page can."""
    page("#input").evaluate(
        """(field, lines) => {
          for (const line of lines) {
            field.value = line;
            field.form.requestSubmit();
          }
        }""",
        lines,
    )


@pytest.mark.slow
def test_connections_cut_during_bursts_lose_and_double_no_message(users: Users, tmp_path: Path) -> None:
    history = tmp_path / "history.sqlite"
    with (
        serving(history) as server,
        Proxy(server.port) as proxy,
        SelchatPeer(server.port, "Witness") as witness,
    ):
        page = users.signs_in(proxy.port, "Venkat")
        said = []
        for turn, (direction, size) in enumerate(
            [(Direction.UP, 700), (Direction.DOWN, 300), (Direction.UP, 1501), (Direction.DOWN, 1200)]
        ):
            lines = [f"burst {turn} line {number}" for number in range(30)]
            links = proxy.links
            proxy.cut_after(direction, size)
            burst(page, lines)
            said += lines
            eventually(lambda links=links: proxy.links > links, "a new connection")  # type: ignore[misc]
            expect(page("#log [data-state=pending]")).to_have_count(0)
            expect(page.row(lines[-1])).to_have_attribute("data-state", "sent")
        received = witness.read_until(lambda one: one.get("body") == said[-1])
        assert [one["body"] for one in received if one["type"] == "said"] == said
        assert [body for _, body in exported(history)] == said
        assert [body for _, body in page.messages()][-20:] == said[-20:]


def test_missed_messages_arrive_once_and_in_order(users: Users, server: Server) -> None:
    with Proxy(server.port) as proxy, SelchatPeer(server.port, "Michael") as michael:
        page = users.signs_in(proxy.port, "Venkat")
        michael.say("one", "1")
        page.sees("one")
        proxy.refuses = True
        proxy.reset()
        expect(page("#status")).to_have_attribute("data-state", "waiting")
        michael.send(
            *({"type": "say", "room": "lobby", "id": f"m{n}", "body": f"missed {n}"} for n in range(120))
        )
        proxy.heal()
        page("#status button").evaluate("(button) => button.click()")
        page.is_online()
        page.sees("missed 119")
        page.says("here again")
        seen = [body for _, body in page.messages()]
        assert seen == [*(f"missed {n}" for n in range(121 - len(seen), 120)), "here again"]
        assert len(seen) > 20


@pytest.mark.slow
def test_page_reconnects_automatically_and_says_so(users: Users, server: Server) -> None:
    with Proxy(server.port) as proxy:
        page = users.signs_in(proxy.port, "Venkat")
        proxy.refuses = True
        proxy.reset()
        expect(page("#status .text")).to_have_text("The server does not answer. Trying again")
        proxy.heal()
        page.is_online()
        expect(page("#status .text")).to_have_text("")
