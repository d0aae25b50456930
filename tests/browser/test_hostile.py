"""Hostile names, rooms, topics and messages stay text: no script runs and no markup appears."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.browser.support import UserPage, Users, expect
from tests.e2e.selchat_support import SelchatPeer
from tests.e2e.support import Client, Server, eventually

SCRIPTS = (
    "<script>window.pwned=1</script>",
    "<SCRIPT SRC=//127.0.0.1:1/x.js></SCRIPT>",
    "<img src=x onerror=window.pwned=2>",
    "<img src='http://127.0.0.1:1/pixel.png'>",
    "<svg/onload=window.pwned=3>",
    "<svg><script>window.pwned=4</script></svg>",
    "<svg><animate onbegin=window.pwned=5 attributeName=x dur=1s>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=window.pwned=6>",
    "<iframe srcdoc='<script>parent.pwned=7</script>'></iframe>",
    "<iframe src='javascript:parent.pwned=8'></iframe>",
    "<object data='data:text/html,<script>window.pwned=9</script>'></object>",
    "<embed src='javascript:window.pwned=10'>",
    "<details open ontoggle=window.pwned=11>",
    "<body onload=window.pwned=12>",
    "<input autofocus onfocus=window.pwned=13>",
    "<video><source onerror=window.pwned=14></video>",
    "<marquee onstart=window.pwned=15>",
    "<link rel=stylesheet href=http://127.0.0.1:1/x.css>",
    "<style>*{display:none}</style>",
    "<meta http-equiv=refresh content='0;url=http://127.0.0.1:1/'>",
    "<base href='http://127.0.0.1:1/'>",
    "<form action=http://127.0.0.1:1/><button>send</button></form>",
    "<a href=javascript:window.pwned=16>here</a>",
    "<template><script>window.pwned=17</script></template>",
    '"><script>window.pwned=18</script>',
    "'\"--></style></script><script>window.pwned=19</script>",
    "</title><script>window.pwned=20</script>",
    "</textarea><script>window.pwned=21</script>",
    "javascript:window.pwned=22//",
    "`${window.pwned=23}`",
    "{{constructor.constructor('window.pwned=24')()}}",
    "&lt;script&gt;window.pwned=25&lt;/script&gt;",
    "&#60;img src=x onerror=window.pwned=26&#62;",
    "<![CDATA[<script>window.pwned=27</script>]]>",
    "<!--<script>window.pwned=28</script>-->",
    "```<script>window.pwned=29</script>```",
    "`<img src=x onerror=window.pwned=30>`",
    "<noscript><p title='</noscript><img src=x onerror=window.pwned=31>'>",
    "__proto__",
    "constructor",
    "[x](javascript:window.pwned=32)",
    "![x](http://127.0.0.1:1/pixel.png)",
)
LINKS = (
    "javascript://example.org/%0awindow.pwned=40",
    "data:text/html,<script>window.pwned=41</script>",
    "vbscript:window.pwned=42",
    "file:///etc/passwd",
    "blob:http://127.0.0.1/x",
    "http://javascript:window.pwned=43@127.0.0.1:1/",
    'https://example.org/"onmouseover=window.pwned=44',
    "https://example.org/'><img src=x onerror=window.pwned=45>",
    "HTTPS://example.org/<script>window.pwned=46</script>",
    "http://",
    "http://[::1",
    "https://xn--/",
    "view-source:http://127.0.0.1:1/",
    "//127.0.0.1:1/x",
)
TEXTS = (
    "\u202egnp.exe\u202c after",  # turns the direction
    "\u2066isolated and never closed",
    "\u200f\u200e\u061cmarks",
    "bell \x07 escape \x1b[31mred\x1b[0m \x9b null \x00 delete \x7f",
    "separators \u2028 and \u2029 and \x85 next",
    "zero\u200bwidth\u200djoined\ufeff",
    "a" * 3000,  # a very long word
    "\u0e01" + "\u0e49" * 500,  # a tower of marks
    "👩‍👩‍👧‍👦" * 300,
    "\U000e0041\U000e0042tags",
    "شكرا <b>جزيلا</b> https://example.org/ مرحبا",
    "lines\n" * 200,
    "`" * 2000,
    "[" * 2000 + "http://a" + ")" * 2000,
    "\ud7ff\ue000\ufffd\uffff",
)

# Elements that the page makes for messages, in any number.
_OURS = {"div", "span", "bdi", "time", "a", "code", "pre", "p", "h2", "li", "ul", "button", "q", "small"}
_OURS |= {"svg", "path", "circle", "rect", "details", "summary"}


def tags(page: UserPage) -> Counter[str]:
    """Count the elements by tag, without the tags that the page uses in messages."""
    names = page.page.evaluate("[...document.querySelectorAll('*')].map((one) => one.localName)")
    return Counter(name for name in names if name not in _OURS)


def handlers(page: UserPage) -> list[str]:
    """Return the attributes that no element may have."""
    found = page.page.evaluate(
        """() => {
          const leads = ["src", "href", "action", "formaction", "data"];
          const bad = (one, { name, value }) =>
            name.startsWith("on") || name === "srcdoc" || (name === "style" && !one.style.length) ||
            (leads.includes(name) && /^\\s*(javascript|data|vbscript|blob|file):/i.test(value));
          return [...document.querySelectorAll("*")].flatMap((one) => [...one.attributes]
            .filter((attribute) => bad(one, attribute))
            .map(({ name, value }) => `${one.localName} ${name}=${value}`));
        }"""
    )
    return [str(one) for one in found]


def is_as_before(page: UserPage, before: Counter[str]) -> None:
    assert tags(page) == before
    assert handlers(page) == []
    assert page.overflow() <= 0


@pytest.fixture
def page(users: Users, server: Server) -> UserPage:
    return users.signs_in(server.port, "Venkat")


def sample(texts: tuple[str, ...], run_slow: bool) -> tuple[str, ...]:
    """Return all texts, or every fourth in the quick set."""
    return texts if run_slow else texts[1::4]


def test_every_forbidden_action_is_detected(users: Users, server: Server) -> None:
    page = users.signs_in(server.port, "Venkat")
    for act, fault in (
        ("window.pwned = 1", "a script ran: 1"),
        (
            "document.body.append(Object.assign(new Image(), { src: 'http://127.0.0.1:1/x.png' }))",
            "policy: img-src",
        ),
        ("document.body.setAttribute('style', 'color: red')", "policy: style-src"),
        ("fetch('http://127.0.0.1:1/').catch(() => 0)", "policy: connect-src"),
        ("void setTimeout(() => alert('x'))", "dialog: x"),
        ("void open('http://127.0.0.1:1/')", "request to http://127.0.0.1:1/"),
        ("void setTimeout(() => { throw new Error('oh') })", "uncaught: oh"),
    ):
        users.problems.clear()
        page.page.evaluate(act)
        eventually(lambda fault=fault: page.is_alive() and any(fault in one for one in users.problems), fault)  # type: ignore[misc]
    users.problems.clear()


def test_hostile_messages_stay_text(page: UserPage, server: Server, run_slow: bool) -> None:
    before = tags(page)
    with SelchatPeer(server.port, "Mallory") as mallory:
        for number, text in enumerate(sample((*SCRIPTS, *LINKS), run_slow)):
            mallory.say(text, f"id {number}")
            shown = page("#log .row[data-key] .body").last
            # The whole text is visible, except for backticks and hidden hosts.
            wanted = text.replace("`", "")
            eventually(
                lambda wanted=wanted, shown=shown: (
                    wanted[-20:] in shown.text_content().replace("`", "")  # type: ignore[misc]
                    or "(leads to" in shown.text_content()
                ),
                text,
            )
        is_as_before(page, before)
        for link in page("#log a").all():
            assert str(link.get_attribute("href")).startswith(("http://", "https://"))
            assert link.get_attribute("target") == "_blank"
            assert set(str(link.get_attribute("rel")).split()) >= {"noopener", "noreferrer"}
        mallory.say("http://javascript:window.pwned=43@127.0.0.1:1/", "where")
        expect(page(".host").last).to_have_text("(leads to 127.0.0.1)")


def test_control_and_direction_characters_do_not_affect_the_page(page: UserPage, server: Server) -> None:
    before = tags(page)
    with SelchatPeer(server.port, "Mallory") as mallory:
        for number, text in enumerate(TEXTS):
            mallory.say(f"text {number}: {text}", f"id {number}")
            page.sees(f"text {number}: ")
            shown = str(page("#log").evaluate("(log) => log.textContent"))
            assert not set(shown) & set("\u202e\u2066\u200f\x07\x1b\x9b\x00\x7f")
            assert page("#log").evaluate("(log) => log.scrollWidth - log.clientWidth") == 0
            is_as_before(page, before)


def test_hostile_names_rooms_topics_and_direct_messages_stay_text(
    users: Users, page: UserPage, server: Server, run_slow: bool
) -> None:
    before = tags(page)
    names = sample(SCRIPTS, run_slow)
    for number, text in enumerate(names):
        with SelchatPeer(server.port, text) as mallory:
            mallory.send({"type": "topic", "room": "lobby", "topic": text})
            mallory.say(f"my name is bad {number}", f"id {number}")
            page.sees(f"my name is bad {number}")
            eventually(lambda name=mallory.welcome["name"]: page.messages()[-1][0] == name, text)  # type: ignore[misc]
            mallory.whisper("Venkat", text, f"whisper {number}")
    with Client(server.port, "<b onclick=window.pwned=50>classic</b>") as old:
        old.send("<u>classic</u>")
        page.sees("<u>classic</u>")
    is_as_before(page, before)
    expect(page("#topic")).to_contain_text(names[-1])
    places = page("#rooms [data-id^='@']")
    assert places.count() >= len(names) - 3  # cleaned and cut, some of these names are the same
    for place in places.all()[:8]:
        place.click()
        expect(place).to_have_attribute("aria-current", "true")
        is_as_before(page, before)
    page.opens("#lobby")
    for room in (
        "<img/src=x/onerror=window.pwned=60>",
        '"><svg/onload=window.pwned=61>',
        "__proto__",
        "constructor",
        "#lobby<b>",
    ):
        page.types(f"/join {room}")
    page.types("/rooms")
    page.types("/users")
    page.types("/topic <img src=x onerror=window.pwned=62>")
    page.types("/nonsense<img src=x onerror=window.pwned=63>")
    expect(page("#input-problem")).to_contain_text("<img")
    page("#input").fill("<scr")
    page("#input").press("Tab")
    page("#input").fill("/msg ")
    page("#input").press("Tab")
    expect(page("#candidates")).to_be_visible()
    is_as_before(page, before)
    page("#input").press("Escape")


@pytest.mark.slow
def test_own_hostile_name_stays_text(users: Users, server: Server) -> None:
    page = users.opens_page(server.port)
    before = tags(page)
    page.signs_in("<img src=x onerror=pwned=70>")
    page.says("<b>I am</b>")
    page("#menu-button").click()
    expect(page("#menu")).to_be_visible()
    is_as_before(page, before)
    assert "img src=x onerror=pwned=70" in page("#menu-button").inner_text()  # the server removes brackets
    page.page.reload()
    page.is_signed_in()
    is_as_before(page, before)


@pytest.mark.slow
def test_linked_page_has_no_access_to_this_page(users: Users, server: Server) -> None:
    page = users.signs_in(server.port, "Venkat")
    page.says(f"see {page.url}.")
    link = page("#log a")
    expect(link).to_have_text(page.url)
    with page.page.context.expect_page() as opened:
        link.click()
    other = opened.value
    other.wait_for_load_state()
    assert other.evaluate("window.opener") is None
    assert other.evaluate("document.referrer") == ""
    other.close()
    page.says("still here")


@pytest.mark.slow
def test_deceptive_link_shows_its_real_host(users: Users, server: Server) -> None:
    page = users.signs_in(server.port, "Venkat")
    page.types(
        "https://bank.example@evil.example/login and https://xn--e1awd7f.com/ and https://ехаmple.com/"
    )
    expect(page("#log .host")).to_have_text(["(leads to evil.example)", "(leads to xn--mple-43d3a6i.com)"])
