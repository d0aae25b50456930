"""Pages, a terminal client and a classic client in one room."""

from __future__ import annotations

import pytest

from tests.browser.support import Users, expect
from tests.e2e.selchat_support import SelchatPeer
from tests.e2e.support import Client, Server
from tests.e2e.terminal_support import CHAT, Terminal


@pytest.mark.parametrize("scheme", ["http", pytest.param("https", marks=pytest.mark.slow)])
def test_pages_a_terminal_and_a_classic_client_share_a_room(
    users: Users, server: Server, scheme: str
) -> None:
    url = f"{scheme}://localhost:{server.port}/"
    venkat = users.signs_in(server.port, "Venkat", url=url)
    with (
        Terminal(*CHAT, "127.0.0.1", f"--port={server.port}", "--name=Michael") as michael,
        Client(server.port, "Old") as old,
    ):
        michael.shows("You are in lobby")
        rishabh = users.signs_in(server.port, "Rishabh", url=url)
        for page in (venkat, rishabh):
            expect(page("#people .nav-item bdi")).to_have_text(["Michael", "Old", "Rishabh", "Venkat"])
            expect(page("#people .own")).to_contain_text(f"{page.name} (you)")
        talk = []
        for turn in range(2):
            for name in ("Venkat", "Rishabh", "Michael", "Old"):
                text = f"{name} says {turn}: grüße, 你好, שלום"
                talk.append((name, text))
                match name:
                    case "Venkat":
                        venkat.says(text)
                    case "Rishabh":
                        rishabh.says(text)
                    case "Michael":
                        michael.type(f"{text}\r")
                    case "Old":
                        old.send(text)
                for page in (venkat, rishabh):
                    page.sees_last(*talk)
        michael.shows(f"Old > {talk[-1][1]}")
        assert [line for line in michael.lines if " says " in line] == [
            f"{'You >' if name == 'Michael' else name + ' '}> {text}" for name, text in talk
        ]
        received = []
        while len(received) < 6:
            who, body = old.read_pair()
            if who != "Server":
                received.append((who, body))
        assert received == [(name, text) for name, text in talk if name != "Old"]
        old.close()
        expect(venkat("#people-title")).to_have_text("People 3")
        expect(venkat("#log [data-kind=membership]").last).to_contain_text("Old left")


@pytest.mark.slow
def test_right_to_left_text_starts_near_its_author(users: Users, server: Server) -> None:
    page = users.signs_in(server.port, "Venkat")
    texts = ("صباح الخير", "שלום לכולם", "ok", "مثال\n```\na = 1\n```")
    with SelchatPeer(server.port, "مريم") as someone:
        for number, text in enumerate(texts):
            someone.say(text, str(number))
        someone.say("جدا " * 400 + "w" * 400, "long")
        someone.say("```\n" + "x" * 400 + "\n```", "code")
        page.sees("xxx")
    boxes = page("#log .row.said").evaluate_all(
        """(rows) => rows.map((row) => {
             const body = row.querySelector(".body");
             const what = row.querySelector(".content");
             const [inner, outer] = [body, what].map((one) => one.getBoundingClientRect());
             return { left: inner.left - outer.left, width: inner.width, most: outer.width,
                      over: body.scrollWidth - body.clientWidth,
                      direction: getComputedStyle(body).direction };
           })"""
    )
    assert [box["direction"] for box in boxes] == ["rtl", "rtl", "ltr", "rtl", "rtl", "ltr"]
    for box in boxes:
        assert abs(box["left"]) < 1 and box["over"] == 0 and box["width"] <= box["most"]
    assert all(box["width"] < 200 < box["most"] for box in boxes[:4])
    assert page.overflow() == 0
