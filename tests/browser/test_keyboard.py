"""Keyboard only: the focus is never lost, always visible and never trapped."""

from __future__ import annotations

from tests.browser.support import UserPage, Users, expect
from tests.e2e.selchat_support import SelchatPeer
from tests.e2e.support import Server
from tests.e2e.test_encryption import WORDS

# Whether the focus is visible: an outline, or the border around the field.
_VISIBLE = """() => {
  const it = document.activeElement;
  const seen = (element, name) => getComputedStyle(element)[name] !== "none";
  const { width, height } = it.getBoundingClientRect();
  const shown = seen(it, "outlineStyle") || seen(it.closest(".line") ?? it, "boxShadow");
  return width > 0 && height > 0 && shown;
}"""


class Keys:
    """The page of a user without a mouse."""

    def __init__(self, page: UserPage) -> None:
        self.page = page

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.page.keyboard.press(key)

    def write(self, text: str) -> None:
        """Type text."""
        self.page.page.keyboard.type(text)

    def check(self) -> str:
        """Return the focused element; assert that there is one and that its focus is visible."""
        focused = self.page.focused()
        assert not focused.startswith(("body", "html")), "the focus is lost"
        assert self.page.page.evaluate(_VISIBLE), f"the focus is on {focused} and is not visible"
        return focused

    def tab_to(self, wanted: str, key: str = "Tab") -> list[str]:
        """Press Tab until that element has the focus; return the focused elements on the way."""
        way: list[str] = []
        for _ in range(60):
            self.press(key)
            if self.page.focused().startswith("body"):
                continue  # the browser's own controls follow the end of the page
            way.append(self.check())
            if way[-1] == wanted:
                return way
        raise AssertionError(f"no {wanted} in {way}")

    def is_at(self, wanted: str) -> None:
        self.page.page.wait_for_function(
            "(wanted) => [document.activeElement.id, document.activeElement.dataset.id].includes(wanted)",
            arg=wanted,
        )
        self.check()


def test_whole_session_by_keyboard(users: Users, server: Server) -> None:
    with SelchatPeer(server.port, "Michael") as michael:
        page = users.opens_page(server.port)
        keys = Keys(page)
        keys.is_at("name")
        keys.press("Enter")
        expect(page("#name-problem")).not_to_be_empty()
        keys.is_at("name")
        keys.write("Venkat")
        keys.press("Enter")
        page.is_signed_in()
        keys.is_at("input")
        keys.write("hello, all")
        keys.press("Shift+Enter")
        keys.write("two lines")
        keys.press("Enter")
        page.sees_last(("Venkat", "hello, all\ntwo lines"))
        keys.is_at("input")

        # Rooms: by a completed command, by keys and by buttons.
        keys.write("/jo")
        expect(page("#candidates")).to_be_visible()
        keys.press("Tab")
        expect(page("#input")).to_have_value("/join ")
        keys.write("deck")
        keys.press("Enter")
        page.is_at("#deck")
        keys.is_at("input")
        keys.press("Alt+ArrowUp")
        page.is_at("#lobby")
        keys.press("Alt+ArrowDown")
        page.is_at("#deck")
        keys.tab_to("button #lobby", "Shift+Tab")
        keys.press("Enter")
        page.is_at("#lobby")
        keys.is_at("input")

        # Names are completed.
        keys.write("Mi")
        keys.press("Tab")
        expect(page("#input")).to_have_value("Michael ")
        keys.press("Control+a", "Delete")

        # People: start a direct message.
        keys.tab_to("button MDirect message to Michael")
        keys.press("Enter")
        keys.is_at("input")
        expect(page("#input")).to_have_value("/msg Michael ")
        keys.write("psst")
        keys.press("Enter")
        page.is_at("@michael")
        keys.press("Alt+ArrowUp", "Alt+ArrowUp")
        page.is_at("#lobby")

        # A passphrase.
        keys.tab_to("lock", "Shift+Tab")
        keys.press("Enter")
        expect(page("#lock-dialog")).to_be_visible()
        keys.is_at("passphrase")
        keys.tab_to("passphrase-show")
        keys.press("Space")
        expect(page("#passphrase")).to_have_attribute("type", "text")
        keys.tab_to("passphrase", "Shift+Tab")
        keys.write(WORDS)
        keys.press("Enter")
        expect(page("#lock-dialog")).to_be_hidden()
        expect(page("#lock")).to_have_attribute("data-locked", "unlocked")
        keys.is_at("lock")
        keys.press("Space")
        keys.is_at("passphrase")
        keys.press("Escape")
        expect(page("#lock-dialog")).to_be_hidden()
        keys.is_at("lock")

        # Joins and leaves are folded; Enter and Space toggle them.
        for name in ("Anna", "Bela"):
            with SelchatPeer(server.port, name):
                expect(page("#people")).to_contain_text(name)
            expect(page("#people")).not_to_contain_text(name)
        fold = page("#log details").last
        expect(fold.locator("summary")).to_contain_text("Anna and Bela left")
        keys.tab_to("log")
        assert keys.tab_to(f"summary {fold.locator('summary').inner_text()}")
        keys.press("Enter")
        expect(fold.locator("li").first).to_be_visible()
        keys.press("Space")
        expect(fold.locator("li").first).to_be_hidden()
        # Toggled twice within one frame: the log stays at the end.
        fold.locator("summary").evaluate("(it) => { it.click(); it.click(); }")
        page.waits_for_layout()
        page.waits_for_layout()

        # The messages scroll, from the log and from the input field.
        michael.send(
            *({"type": "say", "room": "lobby", "id": f"id {n}", "body": f"line {n}"} for n in range(100))
        )
        page.sees("line 99")
        for place, element in (("log", "log"), ("input", "input")):
            keys.tab_to(element) if page.focused() != element else None
            keys.press("Home")
            page.sees("hello, all")
            expect(page("#jump-to-end")).to_be_visible()
            keys.press("PageDown", "PageDown", "PageUp")
            keys.press("End")
            page.sees("line 99")
            expect(page("#jump-to-end")).to_be_hidden()
            keys.is_at(place)

        # Help, and sign-out.
        keys.write("/help")
        keys.press("Enter")
        expect(page("#help-dialog")).to_be_visible()
        of_operators = page("#help-text h3").filter(has_text="For operators").locator("+ dl > div")
        expect(of_operators).to_have_count(8)
        expect(of_operators.first).to_have_text("/kick NAMEremove a user from the chat")
        keys.press("Escape")
        expect(page("#help-dialog")).to_be_hidden()
        keys.is_at("input")
        keys.tab_to("menu-button", "Shift+Tab")
        keys.press("Enter")
        expect(page("#menu")).to_be_visible()
        keys.press("Escape")
        expect(page("#menu")).to_be_hidden()
        keys.is_at("menu-button")
        keys.press("Space")
        keys.tab_to("button Sign out")
        keys.press("Enter")
        expect(page("#sign-in")).to_be_visible()
        keys.is_at("name")


def test_tab_reaches_every_control_once(users: Users, server: Server) -> None:
    with SelchatPeer(server.port, "Michael"):
        page = users.signs_in(server.port, "Venkat")
        expect(page("#people button")).to_have_count(1)
        keys = Keys(page)
        page.says("a line with https://example.org/ in it")
        around = keys.tab_to("input")
        for back in (False, True):
            way = keys.tab_to("input", "Shift+Tab" if back else "Tab")
            assert sorted(way) == sorted(around)
            assert len(set(way)) == len(way)
        wanted = {"skip", "button #lobby", "button +", "menu-button", "lock", "log", "a https://example.org/"}
        wanted |= {"input", "send", "button MDirect message to Michael"}
        assert wanted <= set(around), wanted - set(around)
        keys.tab_to("skip")
        keys.press("Enter")
        keys.is_at("input")


def test_sidebars_and_status_button_by_keyboard(users: Users, server: Server) -> None:
    page = users.signs_in(server.port, "Venkat", viewport={"width": 600, "height": 700})
    keys = Keys(page)
    for side in ("people", "rooms"):
        keys.tab_to(f"{side}-button", "Shift+Tab")
        keys.press("Enter")
        expect(page(f"#{side}-panel")).to_be_visible()
        keys.check()
        assert page(f"#{side}-panel").evaluate("(it) => it.contains(document.activeElement)")
        keys.tab_to("skip")
        keys.press("Enter")
        expect(page(f"#{side}-panel")).to_be_hidden()
        keys.is_at("input")
        keys.tab_to(f"{side}-button", "Shift+Tab")
        keys.press("Space")
        expect(page(f"#{side}-panel")).to_be_visible()
        keys.press("Escape")
        expect(page(f"#{side}-panel")).to_be_hidden()
        keys.is_at(f"{side}-button")
    server.stop()
    expect(page("#status button")).to_be_visible()
    keys.tab_to("button Try now")
    keys.press("Enter")
    expect(page("#status .text")).to_contain_text("The server does not answer")
    keys.check()
