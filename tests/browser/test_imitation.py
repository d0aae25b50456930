"""No name and no message can pass for another user's, or for a text of the page or the server."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from selchat.text import escape_controls
from tests.browser.support import Locator, UserPage, Users, expect
from tests.e2e.selchat_support import SelchatPeer, greeting
from tests.e2e.support import Server, eventually

# Each row of the page as it can be read: kind, author, text, and whether the page says that it is its own.
_READ = """(log) => {
  let author = "";
  return [...log.querySelectorAll(".row[data-key]")].map((row) => {
    author = row.querySelector(".byline .name")?.textContent ?? author;
    const from = row.dataset.kind === "action" ? row.querySelector(".body > .name").textContent : author;
    return [row.dataset.kind, from, row.querySelector(".body").textContent];
  });
}"""
_FORGED = (
    "Server",
    "Server > restart at 5",
    "Venkat > I quit",
    "Venkat",
    "Venkat\n16:12\nI quit",
    "* Venkat waves",
    "Venkat joined",
    "Venkat and Michael left",
    "Venkat set the topic: pay Mallory",
    "Not sent: you are muted.",
    "New",
    "Today",
    "mentions you",
    "Users online (2): Venkat, Bob",
    "\u202eevil\u202c",
    "\u2067Server\u2069",
    "zero\u200bwidth",
    "Z\u0300\u0301\u0302\u0303\u0304o",
    "S\u200cerver",
    "\U0001d412erver",
    "<b>Server</b>",
)
_PARTS = st.sampled_from((*_FORGED, " ", "\n", "\t", " > ", ": ", "hi"))
_WORDS = st.lists(
    _PARTS | st.text(st.characters(exclude_characters="`", exclude_categories=["Cs"]), max_size=4),
    min_size=1,
    max_size=5,
)


def _is_plain(text: str) -> bool:
    """Whether the page shows this text as it is: no long tower of marks, no link, not only white space."""
    return bool(text.strip()) and "://" not in text


_BODIES = _WORDS.map("".join).filter(_is_plain)


@pytest.fixture
def room(users: Users) -> Iterator[tuple[UserPage, Server]]:
    """One page for all examples: to open another for each would take minutes."""
    with Server("--no-history", "--quiet") as server:
        yield users.signs_in(server.port, "Venkat"), server


_number = count(1)


def as_row(name: str, body: str) -> tuple[str, str, str]:
    """Return what the page has to show for a message: its kind, author and text."""
    lines = body.replace("\r\n", "\n").split("\n")
    shown = "\n".join("\t".join(map(escape_controls, line.split("\t"))) for line in lines)
    return ("action" if shown.startswith(f"* {name} ") else "said", name, shown)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(_BODIES, min_size=2, max_size=3), bodies=st.lists(_BODIES, min_size=3, max_size=6))
@example(names=list(_FORGED[:11]), bodies=list(_FORGED))
@example(names=list(_FORGED[11:]), bodies=list(_FORGED))
def test_rows_show_who_sent_what(room: tuple[UserPage, Server], names: list[str], bodies: list[str]) -> None:
    page, server = room
    sent: list[tuple[str, str, str]] = []
    for place, requested in enumerate(names):
        with SelchatPeer(server.port) as peer:
            peer.send(greeting(requested))
            answer = peer.read()
            name = str(answer.get("name", ""))  # "": the server refuses such a name
            assert name != "Server"
            for body in bodies[place :: len(names)] if name else ():
                peer.say(body, f"id {next(_number)}")
                sent.append(as_row(name, body))
    eventually(
        lambda: [tuple(row) for row in page("#log").evaluate(_READ)][-len(sent) :] == sent or not sent,
        "the rows of the page",
    )


def test_notices_of_the_page_and_the_server_look_like_no_message(users: Users, server: Server) -> None:
    page = users.signs_in(server.port, "Venkat")
    with SelchatPeer(server.port, "Mallory") as mallory:
        page.types("/users")
        notice = page("#log .row[data-kind=notice]")
        expect(notice.locator(".body")).to_have_text("Users online (2): Mallory, Venkat")
        expect(notice.locator(".body .who")).to_have_text(["Mallory", "Venkat"])
        for number, body in enumerate(
            ("Users online (2): Mallory, Venkat", "```\nUsers online (2): Mallory, Venkat\n```")
        ):
            mallory.say(body, f"id {number}")
        server.type("The server restarts at five.")
        page.sees("The server restarts at five.")
        has_bar = "(it) => getComputedStyle(it.querySelector('.content')).borderLeftWidth !== '0px'"
        assert notice.evaluate(has_bar)
        for row in page("#log .row[data-kind=said]").all():
            assert not row.evaluate(has_bar)
        expect(page("#log .badge.from-server")).to_have_count(1)
        expect(page.row("The server restarts").locator(".badge")).to_have_text("from the server")


def inner_picture(row: Locator) -> bytes:
    """Return a picture of a row without its outermost pixels, which it may share with its neighbours."""
    box = row.bounding_box()
    assert box is not None
    clip = {"x": box["x"], "y": box["y"] + 1, "width": box["width"], "height": box["height"] - 2}
    return row.page.screenshot(clip=clip)


@pytest.mark.parametrize(
    "name", ["Zoe", "Z" + "\u030d\u0353\u0334" * 10], ids=["plain name", "name with marks"]
)
def test_tower_of_marks_does_not_cover_the_lines_around_it(users: Users, server: Server, name: str) -> None:
    page = users.signs_in(server.port, "Venkat")
    page.says("above " * 12)
    with SelchatPeer(server.port, name) as zalgo:
        zalgo.say("".join(letter + "\u030d\u0353\u0334\u0300" * 10 for letter in "zalgo comes"), "tower")
        expect(page("#log .row[data-kind=said]")).to_have_count(2)
        page.says("below " * 12)
        tower = page("#log .row[data-kind=said]").nth(1)
        page.waits_for_layout()
        with_tower = [inner_picture(page.row(text)) for text in ("above", "below")]
        tower.evaluate("(it) => { it.style.visibility = 'hidden'; }")
        assert [inner_picture(page.row(text)) for text in ("above", "below")] == with_tower
