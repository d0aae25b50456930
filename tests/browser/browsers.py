"""Which browser the tests drive, and how it is started. Playwright is not imported: it may be missing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserType

NAMES = ("chromium", "chromium-browser", "google-chrome")
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
# Read once: the tests themselves have none of the user's settings in their environment.
_GIVEN = os.environ.get("SELCHAT_BROWSER", "")


def executable() -> str:
    """The browser; "" if there is none. SELCHAT_BROWSER may name another one that is made of Chromium."""
    return _GIVEN or next((path for path in map(shutil.which, NAMES) if path), "")


def launch(chromium: BrowserType, path: Path | str = "") -> Browser:
    return chromium.launch(executable_path=path or executable(), args=list(_ARGUMENTS))
