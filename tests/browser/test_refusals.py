"""A server that takes no more connections: a browser tells a page not why, and the page finds out."""

from __future__ import annotations

import re

from tests.browser.support import Guests, expect
from tests.e2e.rich_support import RichPeer
from tests.e2e.support import Server


def test_a_full_server_says_that_it_is_full(guests: Guests) -> None:
    guests.expected.append(re.compile(r"status of 503"))
    with Server("--no-history", "--quiet") as server:
        page = guests.visitor(server.port)
        page("#name").fill("Venkat")
    # Another one, as the connections that have brought the page count as well.
    with Server("--no-history", "--quiet", "--max-clients=2", port=server.port) as server:
        with RichPeer(server.port, "Michael"), RichPeer(server.port, "Rishabh"):
            page("#join").click()
            expect(page("#entry-status")).to_contain_text("Server is full (2 connections).")
        page.is_in()
