"""Fixtures: one browser for this folder, and the users in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser.browsers import NAMES, executable, launch
from tests.e2e.support import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserType

    from tests.browser.support import Users

pytest.register_assert_rewrite("tests.browser.support")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--screenshots", action="store_true", help="write the pictures of the README to docs/images"
    )


@pytest.fixture(scope="package")
def chromium() -> Iterator[BrowserType]:
    """Start Playwright. Package scope, because no other test may run inside its event loop."""
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
def users(browser: Browser) -> Iterator[Users]:
    """Users with browsers; at the end, no page may have a problem."""
    from tests.browser.support import Users

    with Users(browser) as users:
        yield users


@pytest.fixture
def server() -> Iterator[Server]:
    with Server("--no-history", "--quiet") as server:
        yield server
