"""A browser on another machine (a network namespace): the page on plain HTTP warns, and links to HTTPS."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.browsers import executable, launch
from tests.browser.support import Users, expect
from tests.e2e.namespaces import SERVER, Network, network
from tests.e2e.support import Server

if TYPE_CHECKING:
    from playwright.sync_api import BrowserType

__all__ = ["network"]  # the fixture


@pytest.fixture
def remote_users(chromium: BrowserType, network: Network, tmp_path: Path) -> Iterator[Users]:
    """Users whose browsers run on the client's machine."""
    wrapper = tmp_path / "far-browser"
    wrapper.write_text(
        f'#!/bin/sh\nexec {shlex.join(network.client_wrapper)} {shlex.quote(executable())} "$@"\n'
    )
    wrapper.chmod(0o755)
    browser = launch(chromium, wrapper)
    try:
        with Users(browser) as users:
            yield users
    finally:
        browser.close()


def test_plain_http_page_leads_to_https(remote_users: Users, network: Network) -> None:
    # Browsers log these warnings about a page on plain HTTP with an icon on HTTPS.
    remote_users.expected.append(
        re.compile("Cross-Origin-Opener-Policy header has been ignored|NotSameOrigin")
    )
    with Server("--no-history", "--quiet", host=SERVER, wrapper=network.server_wrapper) as server:
        user = remote_users.opens_page(server.port, url=f"http://{SERVER}:{server.port}/")
        page = user.page
        expect(page).to_have_title("selchat: check the certificate")
        expect(user("body")).to_contain_text("your connection is not private")
        expect(user("dt:has-text('public key') + dd")).to_have_text(
            " ".join(re.findall("....", server.fingerprint))
        )
        expect(user("script")).to_have_count(0)
        assert user.overflow() <= 0
        page.set_viewport_size({"width": 320, "height": 600})
        assert user.overflow() <= 0
        user("a").click()
        assert page.url.startswith(f"https://{SERVER}:{server.port}/")
        user.signs_in("Venkat")
        user.says("from afar")
        other = remote_users.signs_in(server.port, "Michael", url=f"https://{SERVER}:{server.port}/")
        other.sees("from afar")
        assert page.evaluate("isSecureContext")
        # Every other path redirects without a warning.
        linked = remote_users.opens_page(server.port, url=f"http://{SERVER}:{server.port}/index.html")
        assert linked.page.url == f"https://{SERVER}:{server.port}/index.html"
