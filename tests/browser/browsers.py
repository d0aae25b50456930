"""Finds and starts the browser. Does not import Playwright, which may be missing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserType

NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = (
    "--no-sandbox",  # root cannot use the sandbox
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    # No background requests.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Read at import: tests remove the user's settings from their environment.
_GIVEN = os.environ.get("SELCHAT_BROWSER", "")


def executable() -> str:
    """Return the path of the browser; "" without one. SELCHAT_BROWSER may name another Chromium."""
    return _GIVEN or next((path for path in map(shutil.which, NAMES) if path), "")


def launch(chromium: BrowserType, path: Path | str = "") -> Browser:
    return chromium.launch(executable_path=path or executable(), args=list(_ARGUMENTS))
