"""People with browsers, for tests: what they do, what they see, and what must never happen in their pages.

A `Visitor` is one page (a tab). `Guests` makes them, each in a profile of its own unless told otherwise, and
watches over all of them: a script of someone else's, a request to elsewhere, a cookie, a violation of the
page's own policy or an error in its console fails the test, whatever that is about. The hooks into the page
are those that web/src/view/app.ts lists.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip(
    "playwright.sync_api", reason="the browser's tests need Playwright: pip install playwright"
)

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
MS = DEADLINE * 1000  # the same patience as everywhere, in what Playwright counts in
expect.set_options(timeout=MS)

# What a browser says by itself when a server goes away, which it does in these tests.
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


class Guests:
    """Everyone who comes with a browser in one test."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.faults: list[str] = []  # what must not have happened
        self.expected = [_EXPECTED]  # what a console may say
        self._contexts: list[BrowserContext] = []
        self.origins: set[str] = set()  # host:port, that may be asked for something

    def profile(self, **options: Any) -> BrowserContext:
        """A browser of somebody's: storage of its own. The options are Playwright's."""
        given: dict[str, Any] = {
            "viewport": {"width": 1280, "height": 800},
            "locale": "en-GB",
            "ignore_https_errors": True,
            "reduced_motion": "reduce",
        }
        context = self.browser.new_context(**{**given, **options})
        self._contexts.append(context)
        context.set_default_timeout(MS)
        context.expose_binding("reportOfTest", lambda _source, text: self.faults.append(str(text)))
        context.add_init_script(_WATCH)
        context.on("page", self._watch)
        return context

    def visitor(
        self, port: int, *, profile: BrowserContext | None = None, url: str = "", **options: Any
    ) -> Visitor:
        """Someone whose page is open at the entrance."""
        url = url or f"http://127.0.0.1:{port}/"
        self.origins.add(urlsplit(url).netloc)
        page = (profile or self.profile(**options)).new_page()
        visitor = Visitor(page, url)
        page.goto(url)
        return visitor

    def enters(self, port: int, name: str, **options: Any) -> Visitor:
        """Someone who is in the chat."""
        return self.visitor(port, **options).enters(name)

    def _watch(self, page: Page) -> None:
        page.on("request", self._requested)
        page.on("websocket", lambda socket: self._origin(socket.url))
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.faults.append(f"uncaught: {error}"))
        page.on("dialog", self._dialog)

    def _requested(self, request: Request) -> None:
        self._origin(request.url)

    def _origin(self, url: str) -> None:
        if urlsplit(url).netloc not in self.origins:
            self.faults.append(f"asked for {url}")

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not any(
            known.search(message.text) for known in self.expected
        ):
            self.faults.append(f"console: {message.text}")

    def _dialog(self, dialog: Dialog) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def check(self) -> None:
        """Assert that nothing happened that must not."""
        for context in self._contexts:
            assert context.cookies() == []
            for page in context.pages:
                loose = page.locator("a[target]:not([rel~=noopener])")
                assert loose.count() == 0, loose.first.evaluate("(link) => link.outerHTML")
                page.evaluate("0")  # what was reported before this has come by then
        assert self.faults == []

    def __enter__(self) -> Guests:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self.check()
        finally:
            for context in self._contexts:
                context.close()


class Visitor:
    """One page of somebody's."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.name = ""

    def __call__(self, selector: str) -> Locator:
        return self.page.locator(selector)

    # -- what they do ------------------------------------------------------------------------------------

    def enters(self, name: str, password: str = "") -> Visitor:
        """Give the name, and wait to be in."""
        self("#name").fill(name)
        if password:
            self("#password").fill(password)
        self("#join").click()
        self.is_in()
        self.name = name
        return self

    def is_in(self) -> None:
        expect(self("#chat")).to_be_visible()
        self.is_online()
        expect(self("#rooms [aria-current=true]")).to_have_count(1)

    def is_online(self) -> None:
        expect(self("#status")).to_have_attribute("data-state", "online")

    def types(self, line: str) -> None:
        """Type a line, and send it."""
        field = self("#input")
        field.fill(line)
        field.press("Enter")

    def says(self, text: str) -> None:
        """Say it, and wait until the server has it."""
        self.types(text)
        expect(self.row(text).last).to_have_attribute("data-state", "sent")

    def opens(self, id: str) -> None:
        """Look at that conversation."""
        self.place(id).click()
        self.is_at(id)

    def joins(self, room: str) -> None:
        self.types(f"/join {room}")
        self.is_at(f"#{room}")

    def knows(self, words: str, *, everywhere: bool = False) -> None:
        """Give a passphrase."""
        self("#lock").click()
        self("#passphrase").fill(words)
        if everywhere:
            self("#lock-all").check()
        self("#lock-use").click()
        expect(self("#lock-dialog")).to_be_hidden()

    # -- what they see -----------------------------------------------------------------------------------

    def place(self, id: str) -> Locator:
        """The button of a room or a person."""
        return self(f"#rooms [data-id={json.dumps(id)}]")

    def is_at(self, id: str) -> None:
        expect(self.place(id)).to_have_attribute("aria-current", "true")

    def row(self, text: str) -> Locator:
        """What was said with that text in it."""
        return self("#log .row[data-key]").filter(has=self.page.locator(".body", has_text=text))

    def sees(self, text: str) -> None:
        expect(self.row(text).last).to_be_visible()

    def talk(self) -> list[tuple[str, str]]:
        """Who said what, in order, as far as it is in the page; "" said what is there without its author."""
        found = self("#log").evaluate(
            """(log) => {
              const talk = [];
              let name = "";
              for (const row of log.querySelectorAll(".row")) {
                name = row.querySelector(".byline .name")?.textContent ?? name;
                if (row.dataset.kind === "said" || row.dataset.kind === "whisper")
                  talk.push([name, row.querySelector(".body").textContent]);
              }
              return talk;
            }"""
        )
        return [(name, body) for name, body in found]

    def hears(self, *talk: tuple[str, str]) -> None:
        """Wait until these are the last things said."""
        eventually(lambda: self.talk()[-len(talk) :] == list(talk), f"{self.name} hears {talk}")

    def spoken(self) -> list[str]:
        """What was read out so far."""
        return self("#announcements p").all_text_contents()

    def stands(self) -> bool:
        """Whether the page is there; what it has reported before has come by then."""
        return self.page.evaluate("true") is True

    def settles(self) -> None:
        """Wait until what has changed is laid out, and what follows from that."""
        self.page.evaluate(
            """new Promise((done) =>
                 requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"""
        )

    def overflow(self) -> int:
        """How many pixels the page is wider than the window."""
        return int(
            self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        )

    def focused(self) -> str:
        """What has the focus: its id, or else its element and text."""
        return str(
            self.page.evaluate(
                """() => {
                  const it = document.activeElement;
                  return it.id || `${it.localName} ${it.dataset.id ?? it.textContent.trim()}`;
                }"""
            )
        )
