"""Users with browsers: their actions, the content of their pages, and the problems that fail every test.

A `UserPage` is one tab. `Users` opens tabs, by default each with its own profile, and watches all of them: a
foreign script, a request to another host, a cookie, a violation of the content security policy or an error in
the console fails the test. The tests use the elements that web/src/view/app.ts lists.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("playwright.sync_api", reason="the browser tests need Playwright: pip install playwright")

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Locator,
    Page,
    Request,
    expect,
)

from tests.e2e.support import DEADLINE, eventually

ROOT = Path(__file__).parents[2]
MS = DEADLINE * 1000  # the common deadline in milliseconds
expect.set_options(timeout=MS)

# Console messages of a browser that loses its server, as in these tests.
_EXPECTED = re.compile(
    r"WebSocket connection to .* failed|net::ERR_(CONNECTION|EMPTY_RESPONSE|SOCKET|NETWORK)|"
    r"WebSocket is closed before the connection is established"
)

_WATCH = """
document.addEventListener("securitypolicyviolation", (event) =>
  window.reportOfTest(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
let pwned = 0;
Object.defineProperty(window, "pwned", { get: () => pwned, set: (value) => { pwned = value;
  window.reportOfTest(`a script ran: ${value}`); } });
"""


class Users:
    """All users of one test, and the problems in their pages."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.problems: list[str] = []  # forbidden actions, and errors
        self.expected = [_EXPECTED]  # allowed console messages
        self._contexts: list[BrowserContext] = []
        self.origins: set[str] = set()  # host:port of allowed requests

    def profile(self, **options: Any) -> BrowserContext:
        """Return a browser context with its own storage. The options are Playwright's."""
        given: dict[str, Any] = {
            "viewport": {"width": 1280, "height": 800},
            "locale": "en-GB",
            "ignore_https_errors": True,
            "reduced_motion": "reduce",
        }
        context = self.browser.new_context(**{**given, **options})
        self._contexts.append(context)
        context.set_default_timeout(MS)
        context.expose_binding("reportOfTest", lambda _source, text: self.problems.append(str(text)))
        context.add_init_script(_WATCH)
        context.on("page", self._watch)
        return context

    def opens_page(
        self, port: int, *, profile: BrowserContext | None = None, url: str = "", **options: Any
    ) -> UserPage:
        """Return a user who sees the sign-in form."""
        url = url or f"http://127.0.0.1:{port}/"
        self.origins.add(urlsplit(url).netloc)
        page = (profile or self.profile(**options)).new_page()
        user = UserPage(page, url)
        page.goto(url)
        return user

    def signs_in(self, port: int, name: str, **options: Any) -> UserPage:
        """Return a user who is signed in."""
        return self.opens_page(port, **options).signs_in(name)

    def _watch(self, page: Page) -> None:
        page.on("request", self._requested)
        page.on("requestfailed", self._request_failed)
        page.on("websocket", lambda socket: self._check_origin(socket.url))
        page.on("console", self._check_console)
        page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))
        page.on("dialog", self._dialog)

    def _requested(self, request: Request) -> None:
        self._check_origin(request.url)

    def _request_failed(self, request: Request) -> None:
        """Print it, for the report of a test that fails: an allowed failure may be the cause."""
        print(f"request failed: {request.method} {request.url}: {request.failure}")

    def _check_origin(self, url: str) -> None:
        if urlsplit(url).netloc not in self.origins:
            self.problems.append(f"request to {url}")

    def _check_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not any(
            known.search(message.text) for known in self.expected
        ):
            self.problems.append(f"console: {message.text}")

    def _dialog(self, dialog: Dialog) -> None:
        self.problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def check(self) -> None:
        """Assert that no page had a problem."""
        for context in self._contexts:
            assert context.cookies() == []
            for page in context.pages:
                loose = page.locator("a[target]:not([rel~=noopener])")
                assert loose.count() == 0, loose.first.evaluate("(link) => link.outerHTML")
                page.evaluate("0")  # earlier reports have arrived after this
        assert self.problems == []

    def __enter__(self) -> Users:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self.check()
        finally:
            for context in self._contexts:
                context.close()


class UserPage:
    """One tab of a user."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.name = ""

    def __call__(self, selector: str) -> Locator:
        return self.page.locator(selector)

    # -- actions ----------------------------------------------------------------------------------------

    def signs_in(self, name: str, password: str = "") -> UserPage:
        """Fill in the sign-in form, and wait until the chat is open."""
        self("#name").fill(name)
        if password:
            self("#password").fill(password)
        self("#join").click()
        self.is_signed_in()
        self.name = name
        return self

    def is_signed_in(self) -> None:
        expect(self("#chat")).to_be_visible()
        self.is_online()
        expect(self("#rooms [aria-current=true]")).to_have_count(1)

    def is_online(self) -> None:
        expect(self("#status")).to_have_attribute("data-state", "online")

    def types(self, line: str) -> None:
        """Type a line and press Enter."""
        field = self("#input")
        field.fill(line)
        field.press("Enter")

    def says(self, text: str) -> None:
        """Send a message, and wait until the server acknowledges it."""
        self.types(text)
        expect(self.row(text).last).to_have_attribute("data-state", "sent")

    def opens(self, id: str) -> None:
        """Open a conversation."""
        self.item(id).click()
        self.is_at(id)

    def joins(self, room: str) -> None:
        self.types(f"/join {room}")
        self.is_at(f"#{room}")

    def sets_passphrase(self, words: str, *, everywhere: bool = False) -> None:
        """Set the passphrase of this conversation, or of all."""
        self("#lock").click()
        self("#passphrase").fill(words)
        if everywhere:
            self("#lock-all").check()
        self("#lock-use").click()
        expect(self("#lock-dialog")).to_be_hidden()

    # -- content ----------------------------------------------------------------------------------------

    def item(self, id: str) -> Locator:
        """Return the sidebar button of a conversation."""
        return self(f"#rooms [data-id={json.dumps(id)}]")

    def is_at(self, id: str) -> None:
        expect(self.item(id)).to_have_attribute("aria-current", "true")

    def row(self, text: str) -> Locator:
        """Return the rows of messages with that text."""
        return self("#log .row[data-key]").filter(has=self.page.locator(".body", has_text=text))

    def sees(self, text: str) -> None:
        expect(self.row(text).last).to_be_visible()

    def messages(self) -> list[tuple[str, str]]:
        """Return author and text of the messages in the page, in order; author "": not in the page."""
        found = self("#log").evaluate(
            """(log) => {
              const messages = [];
              let name = "";
              for (const row of log.querySelectorAll(".row")) {
                name = row.querySelector(".byline .name")?.textContent ?? name;
                if (row.dataset.kind === "said" || row.dataset.kind === "whisper")
                  messages.push([name, row.querySelector(".body").textContent]);
              }
              return messages;
            }"""
        )
        return [(name, body) for name, body in found]

    def sees_last(self, *expected: tuple[str, str]) -> None:
        """Wait until these are the last messages."""
        eventually(
            lambda: self.messages()[-len(expected) :] == list(expected),
            f"{expected} on the page of {self.name}",
        )

    def announcements(self) -> list[str]:
        """Return the texts for screen readers so far."""
        return self("#announcements p").all_text_contents()

    def is_alive(self) -> bool:
        """Whether the page answers; its earlier reports have arrived by then."""
        return self.page.evaluate("true") is True

    def waits_for_layout(self) -> None:
        """Wait until the layout has settled."""
        self.page.evaluate(
            """new Promise((done) =>
                 requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"""
        )

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        return int(
            self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        )

    def focused(self) -> str:
        """Return the focused element: its id, or its tag and text."""
        return str(
            self.page.evaluate(
                """() => {
                  const it = document.activeElement;
                  return it.id || `${it.localName} ${it.dataset.id ?? it.textContent.trim()}`;
                }"""
            )
        )
