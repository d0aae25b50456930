"""The pictures of the README: an afternoon on a ship. ``--screenshots`` writes them to docs/images.

The users are on a real server. Only the clock is fixed, in the page and in its messages, so that the pictures
stay nearly the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.support import ROOT, UserPage, Users, expect
from tests.e2e.selchat_support import SelchatPeer
from tests.e2e.support import Server

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, WebSocketRoute

IMAGES = ROOT / "docs/images"
NOW = datetime(2026, 5, 21, 16, 24, tzinfo=UTC)
ROOM = "engine-room"
TOPIC = "Service of the port engine on Thursday; parts are in locker 4"
ME = "Michael"

# Minute, author, text; my own messages are typed in the page.
TALK = (
    (2, "Venkat", "Pump 2 runs at 71 °C again. That is a lot for half speed."),
    (3, "Ingrid", "The strainer was full of grass from the harbour. I have just cleaned it."),
    (3, "Ingrid", "The curve is at http://logger.lan/pump2 if you want to watch it fall."),
    (6, ME, "I am watching: `64.3` and falling. Thank you!"),
    (9, "Rishabh", "```\n$ tail -3 pump2.csv\n16:07,64.9\n16:08,64.3\n16:09,63.8\n```"),
    (12, "Venkat", "Michael: could you be at the manifold at five? I need a second pair of hands."),
    (13, ME, "I'll be there, and bring the long spanner."),
    (15, "Ingrid", "* Ingrid puts the kettle on"),
    (17, "Narayan", "By the way: no internet since Tuesday, and nobody in here has noticed."),
    (18, "Rishabh", "The whole chat is one process on the old laptop on the bridge 😄"),
)
ELSEWHERE = (
    ("lobby", "Amina", "The boat to the village goes at six."),
    ("lobby", "Tomás", "Two seats are left."),
    ("galley", "Amina", "Michael, are you in for the fish tonight?"),
)
OTHERS = ("Venkat", "Ingrid", "Rishabh", "Narayan", "Amina", "Tomás", "Yuki", "Øystein")


def at_the_time(route: WebSocketRoute) -> None:
    """Set the time of every message to that afternoon."""
    server = route.connect_to_server()
    minutes = {body: minute for minute, _, body in TALK}
    own = [minute for minute, name, _ in TALK if name == ME]  # acks have no body

    def passes_on(message: Any) -> None:
        fields = json.loads(message)
        if fields["type"] == "ack":
            fields["at"] = NOW.replace(minute=own.pop(0)).timestamp()
        elif "at" in fields:
            fields["at"] = NOW.replace(minute=minutes.get(fields.get("body"), 0)).timestamp()
        route.send(json.dumps(fields))

    server.on_message(passes_on)


@contextmanager
def afternoon(users: Users, server: Server, **options: Any) -> Iterator[UserPage]:
    """Yield a page in the middle of the conversation."""
    profile: BrowserContext = users.profile(timezone_id="UTC", **options)
    profile.clock.set_fixed_time(NOW.replace(minute=1))
    profile.route_web_socket("**/ws", at_the_time)
    with ExitStack() as stack:
        peers = {name: stack.enter_context(SelchatPeer(server.port, name)) for name in OTHERS}
        *first, last = peers.values()
        for peer in first:
            for room in ("galley", ROOM):
                peer.send({"type": "join", "room": room})
        # Wait until all others have joined.
        first[0].read_until(
            lambda one: one["type"] == "joined" and (one["room"], one["total"]) == (ROOM, len(first))
        )
        page = users.signs_in(server.port, ME, profile=profile)
        page.joins("galley")
        page.joins(ROOM)
        page.types(f"/topic {TOPIC}")
        expect(page("#topic")).to_have_text(TOPIC)
        expect(page("#people-title")).to_have_text(f"People {len(OTHERS)}")
        last.send({"type": "join", "room": ROOM})
        expect(page("#people-title")).to_have_text(f"People {len(OTHERS) + 1}")
        profile.clock.set_fixed_time(NOW)
        peers["Yuki"].whisper(ME, "Can I have the spanner after you?", "w")
        for number, (room, name, body) in enumerate(ELSEWHERE):
            peers[name].say(body, f"e{number}", room)
        for number, (_, name, body) in enumerate(TALK):
            if name == ME:
                page.types(body)
            else:
                peers[name].say(body, f"t{number}", ROOM)
            expect(page("#log [data-state=sent]:is([data-kind=said], [data-kind=action])")).to_have_count(
                number + 1
            )
        page.page.mouse.move(1200, 700)  # away from every control
        page.waits_for_layout()
        yield page


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("page", {"color_scheme": "light"}),
        ("page-dark", {"color_scheme": "dark"}),
        ("phone", {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}),
    ],
)
def test_readme_pictures(
    users: Users, server: Server, pytestconfig: pytest.Config, name: str, options: dict[str, Any]
) -> None:
    with afternoon(users, server, **options) as page:
        expect(page("#log .mention")).to_have_count(1)
        expect(page("#log pre")).to_have_count(1)
        expect(page("#log .mention time")).to_have_text("16:12")
        for id, unread in (("#lobby", "2"), ("#galley", "1"), ("@yuki", "1")):
            expect(page.item(id).locator(".unread-count")).to_contain_text(unread)
        assert page.overflow() <= 0
        picture = page.page.screenshot()
        # The option is unknown if pytest starts above this folder.
        if pytestconfig.getoption("screenshots", False):
            IMAGES.mkdir(exist_ok=True)
            (IMAGES / f"{name}.png").write_bytes(picture)
