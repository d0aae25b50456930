"""The browser, which is started once for this folder, and the people who come with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser.browsers import NAMES, executable, launch
from tests.e2e.support import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserType

    from tests.browser.support import Guests

pytest.register_assert_rewrite("tests.browser.support")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--screenshots", action="store_true", help="make the pictures of the README anew, docs/images"
    )


@pytest.fixture(scope="package")
def chromium() -> Iterator[BrowserType]:
    """What starts a browser. Not for the whole session: no other test may find an event loop that runs."""
    if not executable():
        pytest.skip(f"no browser is installed: none of {', '.join(NAMES)}, and no SELCHAT_BROWSER")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        yield driver.chromium


@pytest.fixture(scope="package")
def browser(chromium: BrowserType) -> Iterator[Browser]:
    browser = launch(chromium)
    yield browser
    browser.close()


@pytest.fixture
def guests(browser: Browser) -> Iterator[Guests]:
    """People with browsers; at the end nothing may have happened in their pages that must not in any."""
    from tests.browser.support import Guests

    with Guests(browser) as guests:
        yield guests


@pytest.fixture
def server() -> Iterator[Server]:
    with Server("--no-history", "--quiet") as server:
        yield server
