"""A selection that is copied from the page is exactly the text that was sent."""

from __future__ import annotations

import pytest

from tests.browser.support import UserPage, Users, expect
from tests.e2e.selchat_support import SelchatPeer
from tests.e2e.support import Server

CODE = "def f():\n\tif x:\n\t\treturn 1  \n\n\n    y\t=\t2\t# end\t"
LINES = "first\tsecond  third \n\n  indented\t\n\ttab\nשלום, مرحبا end"


def copied(page: UserPage, selector: str) -> str:
    """Select the last such element, copy it, paste it into the input field, and return what is there."""
    page(selector).last.evaluate("(it) => getSelection().selectAllChildren(it)")
    page.page.keyboard.press("Control+c")
    page("#input").fill("")
    page("#input").press("Control+v")
    return page("#input").input_value()


@pytest.mark.parametrize(
    ("text", "selector", "wanted"),
    [
        (f"```\n{CODE}\n```", "#log pre", CODE),
        (f"```py\n{CODE}\n```", "#log pre", CODE),
        ("see `a\t b  c`", "#log .body code", "a\t b  c"),
        (LINES, "#log .body", LINES),
        (f"before\n```\n{CODE}\n```\nafter\tthis", "#log .body", f"before\n{CODE}\nafter\tthis"),
        (f"{LINES}\nhttps://a.example/b_(c)\t.", "#log .body", f"{LINES}\nhttps://a.example/b_(c)\t."),
        ("\t".join("abc"), "#log .body", "a\tb\tc"),
    ],
    ids=["block", "block with a language", "inline code", "lines", "text around a block", "link", "tabs"],
)
def test_copied_text_is_the_sent_text(
    users: Users, server: Server, text: str, selector: str, wanted: str
) -> None:
    page = users.signs_in(server.port, "Venkat")
    with SelchatPeer(server.port, "Michael") as michael:
        michael.say(text, "id")
        expect(page("#log .row[data-kind=said]")).to_have_count(1)
        assert copied(page, selector) == wanted


def test_copied_text_of_a_long_message_is_the_sent_text(users: Users, server: Server) -> None:
    text = "\n".join(f"\t{number}\tline  " for number in range(60))
    page = users.signs_in(server.port, "Venkat")
    page.types(f"```\n{text}\n```")
    page(
        "#log button",
    ).filter(has_text="Show the whole message").click()
    assert copied(page, "#log pre") == text


def test_pasted_tabs_and_spaces_are_sent(users: Users, server: Server) -> None:
    page = users.signs_in(server.port, "Venkat")
    with SelchatPeer(server.port, "Michael") as michael:
        page.types(LINES)
        received = michael.read_until(lambda fields: fields["type"] == "said")
        assert received[-1]["body"] == LINES
