"""A browser on another machine (a network namespace): plain HTTP leads to HTTPS, after a word of warning."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.browsers import executable, launch
from tests.browser.support import Guests, expect
from tests.e2e.namespaces import SERVER, Network, network
from tests.e2e.support import Server

if TYPE_CHECKING:
    from playwright.sync_api import BrowserType

__all__ = ["network"]  # the fixture


@pytest.fixture
def far_guests(chromium: BrowserType, network: Network, tmp_path: Path) -> Iterator[Guests]:
    """People whose browsers run on the client's machine."""
    wrapper = tmp_path / "far-browser"
    wrapper.write_text(
        f'#!/bin/sh\nexec {shlex.join(network.client_wrapper)} {shlex.quote(executable())} "$@"\n'
    )
    wrapper.chmod(0o755)
    browser = launch(chromium, wrapper)
    try:
        with Guests(browser) as guests:
            yield guests
    finally:
        browser.close()


def test_plain_http_leads_to_https(far_guests: Guests, network: Network) -> None:
    # What a browser remarks about a page that has come by plain HTTP, whose icon is elsewhere.
    far_guests.expected.append(re.compile("Cross-Origin-Opener-Policy header has been ignored|NotSameOrigin"))
    with Server("--no-history", "--quiet", host=SERVER, wrapper=network.server_wrapper) as server:
        visitor = far_guests.visitor(server.port, url=f"http://{SERVER}:{server.port}/")
        page = visitor.page
        expect(page).to_have_title("selchat: check the certificate")
        expect(visitor("body")).to_contain_text("your connection is not private")
        expect(visitor("dt:has-text('public key') + dd")).to_have_text(
            " ".join(re.findall("....", server.fingerprint))
        )
        expect(visitor("script")).to_have_count(0)
        assert visitor.overflow() <= 0
        page.set_viewport_size({"width": 320, "height": 600})
        assert visitor.overflow() <= 0
        visitor("a").click()
        assert page.url.startswith(f"https://{SERVER}:{server.port}/")
        visitor.enters("Venkat")
        visitor.says("from afar")
        other = far_guests.enters(server.port, "Michael", url=f"https://{SERVER}:{server.port}/")
        other.sees("from afar")
        assert page.evaluate("isSecureContext")
        # What is no page leads there without a word.
        linked = far_guests.visitor(server.port, url=f"http://{SERVER}:{server.port}/index.html")
        assert linked.page.url == f"https://{SERVER}:{server.port}/index.html"
