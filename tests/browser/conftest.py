"""The browser, which is started once for this folder, and the people who come with it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.support import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserType

    from tests.browser.support import Guests

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = (
    "--no-sandbox",  # which root cannot have
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    # It asks nobody for anything but what the tests ask for.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--screenshots", action="store_true", help="make the pictures of the README anew, docs/images"
    )


@pytest.fixture
def screenshots(pytestconfig: pytest.Config) -> bool:
    """Whether to write the README's pictures."""
    # pytest does not know the option when it is started above this folder.
    return bool(pytestconfig.getoption("screenshots", False))


@pytest.fixture(scope="package")
def chromium() -> Iterator[BrowserType]:
    """What starts a browser. Not for the whole session: no other test may find an event loop that runs."""
    if not _executable():
        pytest.skip(f"no browser is installed: none of {', '.join(_NAMES)}, and no SELCHAT_BROWSER")
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
    """People with browsers; nothing may have happened in their pages that must not happen in any."""
    yield from watched(browser)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server("--no-history", "--quiet") as server:
        yield server


def launch(chromium: BrowserType, executable: Path | str = "") -> Browser:
    return chromium.launch(executable_path=executable or _executable(), args=list(_ARGUMENTS))


def watched(browser: Browser) -> Iterator[Guests]:
    from tests.browser.support import Guests

    guests = Guests(browser)
    try:
        yield guests
        guests.check()
    finally:
        guests.close()


# Read here: the tests themselves have none of the user's settings in their environment.
_GIVEN = os.environ.get("SELCHAT_BROWSER", "")


def _executable() -> str:
    return _GIVEN or next((path for path in map(shutil.which, _NAMES) if path), "")
