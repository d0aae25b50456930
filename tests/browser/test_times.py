"""All times on the page have one clock: that of the browser's locale."""

from __future__ import annotations

import re

import pytest

from tests.browser.support import Users, expect
from tests.e2e.selchat_support import SelchatPeer
from tests.e2e.support import Server

_12 = re.compile(r"\b(0[1-9]|1[0-2]):[0-5][0-9](:[0-5][0-9])?\s[AP]M$")
_24 = re.compile(r"\b([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$")

_TIMES = """(log) => [...log.querySelectorAll("time")].flatMap((time) => [time.textContent, time.title])"""
_OVERLAPS = """(log) => [...log.querySelectorAll(".row > time")].filter((time) => {
  const words = document.createRange();
  words.selectNodeContents(time);
  return words.getBoundingClientRect().right > time.nextElementSibling.getBoundingClientRect().left;
}).length"""


@pytest.mark.parametrize(
    ("locale", "clock"),
    [("en-US", _12), ("ar-EG", _12), ("hi-IN", _12), ("en-GB", _24), ("de-DE", _24), ("ja-JP", _24)],
)
def test_every_time_has_the_clock_of_the_locale(
    users: Users, server: Server, locale: str, clock: re.Pattern[str]
) -> None:
    page = users.signs_in(server.port, "Venkat", locale=locale)
    with SelchatPeer(server.port, "Michael"), SelchatPeer(server.port, "Anna"):
        expect(page("#people")).to_contain_text("Anna")
        for text in ("one", "two", "three"):
            page.says(text)
        page.types("/me waves")
        page.types("/topic tea")
        expect(page("#log .topic .body")).to_have_text("Venkat set the topic: tea")
        page.types("/search two")
        expect(page("#log .notice")).to_contain_text("1 message with two")
    expect(page("#log .membership")).to_have_count(2)
    times = page("#log").evaluate(_TIMES)
    assert len(times) >= 14
    assert [time for time in times if not clock.search(time)] == []
    assert page("#log").evaluate(_OVERLAPS) == 0
    found = page("#log .notice").inner_text()
    assert clock.search(re.split(r" (?=Venkat)", found)[0]), found
