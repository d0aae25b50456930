"""Long rooms: the page holds few rows, and the scroll position stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.support import UserPage, Users, expect
from tests.e2e.selchat_support import SelchatPeer
from tests.e2e.support import Server, eventually

MAX_ROWS = 200
MAX_NODES = 2000  # elements of the whole page

# Scrolls up from the end, more than a page a frame, to where nothing is before; returns what each frame took
# (in ms), the most rows and elements that there were, and in how many frames the middle of the log was empty.
_SCROLL = """(log) => new Promise((done) => {
  const frames = [];
  let rows = 0, nodes = 0, empty = 0, last = performance.now(), still = 0;
  const { left, top, width, height } = log.getBoundingClientRect();
  const frame = (now) => {
    frames.push(now - last);
    last = now;
    rows = Math.max(rows, log.querySelectorAll(".row").length);
    nodes = Math.max(nodes, document.querySelectorAll("*").length);
    if (!document.elementFromPoint(left + width / 2, top + height / 2)?.closest(".row")) empty++;
    still = log.scrollTop === 0 ? still + 1 : 0;
    if (still > 5) return done({ frames, rows, nodes, empty });
    log.scrollTop -= 900;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
})"""


def fill(peer: SelchatPeer, count: int, body: str = "message {}") -> None:
    """Send that many messages, as fast as the server acknowledges them."""
    step = 50
    for first in range(0, count, step):
        numbers = range(first, min(count, first + step))
        peer.send(
            *(
                {"type": "say", "room": "lobby", "id": f"{body[:20]} {n}", "body": body.format(n)}
                for n in numbers
            )
        )
        acked = 0
        while acked < len(numbers):
            answer = peer.read()
            assert answer["type"] != "error", answer
            acked += answer["type"] == "ack"


def position(page: UserPage) -> Any:
    """Return the key and the position of the first visible message."""
    return page("#log").evaluate(
        """(log) => {
          const top = log.getBoundingClientRect().top;
          for (const row of log.querySelectorAll("[data-key]")) {
            const { y } = row.getBoundingClientRect();
            if (y >= top + 100) return [row.dataset.key, Math.round(y)];
          }
        }"""
    )


@pytest.fixture
def lasting(tmp_path: Path) -> Iterator[Server]:
    with Server("--quiet", f"--history={tmp_path / 'history.sqlite'}") as server:
        yield server


@pytest.mark.slow
def test_ten_thousand_messages_scroll_with_few_elements(users: Users, server: Server) -> None:
    with SelchatPeer(server.port, "Michael") as michael:
        page = users.signs_in(server.port, "Venkat")
        fill(michael, 10_000, "message {} " + "of several words, " * 4)
        page.sees("message 9999 ")
        found: Any = page("#log").evaluate(_SCROLL)
        page.sees("message 0 ")
        frames = sorted(found["frames"][1:])
        print(
            f"\n10,000 messages scrolled in {len(frames)} frames: median {frames[len(frames) // 2]:.1f} ms, "
            f"99 % {frames[len(frames) * 99 // 100]:.1f} ms, longest {frames[-1]:.1f} ms; "
            f"at most {found['rows']} rows, {found['nodes']} elements"
        )
        assert found["rows"] <= MAX_ROWS
        assert found["nodes"] <= MAX_NODES
        assert found["empty"] == 0
        expect(page("#jump-to-end")).to_be_visible()
        page("#jump-to-end").click()
        page.sees("message 9999 ")
        expect(page("#jump-to-end")).to_be_hidden()


@pytest.mark.slow
def test_older_messages_load_on_scrolling_up(users: Users, lasting: Server) -> None:
    with SelchatPeer(lasting.port, "Michael") as michael:
        fill(michael, 500)
        page = users.signs_in(lasting.port, "Venkat")
        page.sees("message 499")
        assert len(page.messages()) <= 50
        start = page("#log .start")

        def at_the_top() -> bool:
            page("#log").press("Home")
            return start.is_visible()

        eventually(at_the_top, "the start of the history")
        page.sees("message 0")
        expect(page("#loading")).to_have_text("")
        page("#log").press("End")
        page.sees("message 499")
        # Each message once, in order: read downwards, a page at a time.
        seen: list[int] = []
        page("#log").press("Home")
        page.sees("message 0")
        while not seen or seen[-1] != 499:
            numbers = [int(body.split()[1]) for _, body in page.messages()]
            assert numbers == list(range(numbers[0], numbers[-1] + 1))
            assert not seen or numbers[0] <= seen[-1] + 1
            seen = numbers
            page("#log").press("PageDown")


def settled_position(page: UserPage) -> Any:
    """Return `position` once it no longer changes: scrolling by a key takes several frames."""
    positions = [position(page)]

    def is_settled() -> bool:
        page.waits_for_layout()
        positions.append(position(page))
        return len(positions) > 5 and len({str(one) for one in positions[-5:]}) == 1

    eventually(is_settled, "the scrolling ends")
    return positions[-1]


def test_scroll_position_stays_while_messages_arrive(users: Users, lasting: Server) -> None:
    with SelchatPeer(lasting.port, "Michael") as michael:
        fill(michael, 300)
        page = users.signs_in(lasting.port, "Venkat")
        page.sees("message 299")
        page("#log").press("PageUp")
        page("#log").press("PageUp")
        before = settled_position(page)
        fill(michael, 60, "while you read up {}\nin two lines")
        expect(page("#jump-to-end")).to_have_text("60 new messages")
        assert settled_position(page) == before
        expect(page.item("#lobby").locator(".unread-count")).to_have_text(", 60 unread")
        # Resizing the window and back keeps the position.
        for width, height in ((700, 500), (1280, 800)):
            page.page.set_viewport_size({"width": width, "height": height})
            page.waits_for_layout()
        assert settled_position(page) == before
        page("#jump-to-end").click()
        page.sees("while you read up 59")
        expect(page("#jump-to-end")).to_be_hidden()
        expect(page.item("#lobby").locator(".unread-count")).to_have_count(0)
        # At the end the log follows new messages; sending one jumps there.
        michael.say("and the last", "last")
        page.sees("and the last")
        page("#log").press("Home")
        expect(page("#jump-to-end")).to_be_visible()
        page.says("I am at the end")
        expect(page("#jump-to-end")).to_be_hidden()
