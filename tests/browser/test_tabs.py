"""Several tabs and rooms of one user: names, unread messages, drafts."""

from __future__ import annotations

import re

import pytest

from tests.browser.support import Users, expect
from tests.e2e.selchat_support import SelchatPeer
from tests.e2e.support import Server


@pytest.mark.slow
def test_second_tab_gets_another_name_and_each_tab_keeps_its_own(users: Users, server: Server) -> None:
    with SelchatPeer(server.port, "Michael") as michael:
        first = users.signs_in(server.port, "Venkat")
        second = users.opens_page(server.port, profile=first.page.context)
        expect(second("#name")).to_have_value("Venkat")  # the page remembers it
        second("#join").click()
        second.is_signed_in()
        for page in (first, second):
            expect(page("#people .nav-item bdi")).to_have_text(["Michael", "Venkat", "Venkat_2"])
        expect(first("#people .own")).to_contain_text("Venkat (you)")
        expect(second("#people .own")).to_contain_text("Venkat_2 (you)")
        expect(second("#log [data-kind=notice] .body")).to_have_text(
            "You are Venkat_2 in this tab, because Venkat is in use in another tab."
        )
        expect(first("#log [data-kind=notice]")).to_have_count(0)
        for _ in range(2):
            second.page.reload()
            second.is_signed_in()
            expect(second("#people .own")).to_contain_text("Venkat_2 (you)")
            first.page.reload()
            first.is_signed_in()
            expect(first("#people .own")).to_contain_text("Venkat (you)")
        first.says("from the first")
        second.sees_last(("Venkat", "from the first"))
        second.says("from the second")
        first.sees_last(("Venkat", "from the first"), ("Venkat_2", "from the second"))
        michael.whisper("Venkat_2", "for the second alone", "1")
        expect(second.item("@michael")).to_be_visible()
        expect(first.item("@michael")).to_have_count(0)
        # A user with another browser cannot take the name.
        intruder = users.opens_page(server.port)
        intruder("#name").fill("Venkat")
        intruder("#join").click()
        expect(intruder("#name-problem")).to_contain_text("Choose another.")


def test_unread_messages_are_marked_until_seen(users: Users, server: Server) -> None:
    with SelchatPeer(server.port, "Michael") as michael:
        page = users.signs_in(server.port, "Venkat")
        page.joins("deck")
        page.says("here")
        expect(page.page).to_have_title("deck - selchat")
        calm = page("#icon").get_attribute("href")
        michael.say("one", "1")
        expect(page.item("#lobby")).to_have_class(re.compile("unread"))
        expect(page.item("#lobby").locator(".unread-count")).to_have_text(", 1 unread")
        expect(page.page).to_have_title("(1) deck - selchat")
        assert page("#icon").get_attribute("href") == calm
        michael.say("two, Venkat", "2")
        unread = page.item("#lobby").locator(".unread-count")
        expect(unread).to_have_text([", 2 unread", ", @ 1 of them mentions you"])
        michael.say("three", "three")
        expect(unread).to_have_text([", 3 unread", ", @ 1 of them mentions you"])
        expect(page("#icon")).not_to_have_attribute("href", str(calm))
        michael.whisper("Venkat", "psst", "3")
        expect(page.item("@michael").locator(".unread-count.mentioned")).to_have_text(", @ 1 unread")
        expect(page.page).to_have_title("(4) deck - selchat")
        page.opens("#lobby")
        expect(page("#log h2.new")).to_have_count(1)
        expect(page("#log h2.new + .row")).to_contain_text("one")
        expect(page("#log .mention")).to_have_count(1)
        expect(page.item("#lobby").locator(".unread-count")).to_have_count(0)
        page.opens("@michael")
        expect(page.page).to_have_title("Michael - selchat")
        expect(page("#icon")).to_have_attribute("href", str(calm))


@pytest.mark.slow
def test_each_conversation_has_its_own_draft_and_input_history(users: Users, server: Server) -> None:
    page = users.signs_in(server.port, "Venkat")
    page.says("said in the lobby")
    page.joins("deck")
    page("#input").fill("half a line for the deck")
    page.opens("#lobby")
    expect(page("#input")).to_have_value("")
    page("#input").fill("and one for the lobby")
    page.opens("#deck")
    expect(page("#input")).to_have_value("half a line for the deck")
    page.opens("#lobby")
    expect(page("#input")).to_have_value("and one for the lobby")
    page("#input").fill("")
    page("#input").press("ArrowUp")
    expect(page("#input")).to_have_value("/join deck")
    page("#input").press("ArrowUp")
    expect(page("#input")).to_have_value("said in the lobby")
    page.opens("#deck")
    page.types("/part")
    page.is_at("#lobby")
    expect(page.item("#deck")).to_have_count(0)
    # A line for another conversation is no draft, and keeps the draft there.
    page.types("/msg Venkat a note to myself")
    page.is_at("@venkat")
    page("#input").fill("another note, half")
    page.opens("#lobby")
    expect(page("#input")).to_have_value("")
    page.types("/msg Venkat and a third")
    page.is_at("@venkat")
    expect(page("#input")).to_have_value("another note, half")
    page.opens("#lobby")
    expect(page("#input")).to_have_value("")
    # A reload joins the same rooms.
    page.joins("bridge")
    page.page.reload()
    page.is_signed_in()
    expect(page.item("#bridge")).to_be_visible()
    expect(page.item("#lobby")).to_be_visible()
    page.sees("said in the lobby")


@pytest.mark.slow
def test_unread_direct_message_survives_a_reload(users: Users, server: Server) -> None:
    with SelchatPeer(server.port, "Michael") as michael:
        page = users.signs_in(server.port, "Venkat")
        page.says("here")
        michael.whisper("Venkat", "psst", "1")
        for _ in range(2):
            expect(page.item("@michael").locator(".unread-count.mentioned")).to_have_text(", @ 1 unread")
            page.page.reload()
            page.is_signed_in()
        page.opens("@michael")
        page.sees("psst")
        expect(page("#people-title")).to_have_text("People 2")
        expect(page("#people .nav-item .label")).to_have_text(["Direct message to Michael", "Venkat (you)"])
        expect(page.item("@michael").locator(".unread-count")).to_have_count(0)
        page.says("thanks")  # the server handles this after the acknowledgement of the direct message
        page.page.reload()
        page.is_signed_in()
        page.sees("here")
        expect(page.item("@michael")).to_have_count(0)


def test_draft_survives_a_reload_unless_encrypted(users: Users, server: Server) -> None:
    page = users.signs_in(server.port, "Venkat")
    page.joins("deck")
    page("#input").fill("half a line for the deck")
    page.opens("#lobby")
    page("#input").press_sequentially("and one for")
    page.page.reload()
    page.is_signed_in()
    expect(page("#input")).to_have_value("and one for")
    page.opens("#deck")
    expect(page("#input")).to_have_value("half a line for the deck")
    page.says("sent")
    page("#input").fill("for those who have the passphrase")
    page.sets_passphrase("correct horse")
    page("#input").press_sequentially(" alone")
    page.opens("#lobby")
    page.opens("#deck")
    expect(page("#input")).to_have_value("for those who have the passphrase alone")
    kept = "Object.values(sessionStorage).concat(Object.values(localStorage)).join()"
    assert "and one for" in page.page.evaluate(kept)
    assert "passphrase" not in page.page.evaluate(kept)
    page.page.reload()
    page.is_signed_in()
    expect(page("#input")).to_have_value("and one for")
    page.opens("#deck")
    expect(page("#input")).to_have_value("")
    expect(page("#input")).to_have_attribute("placeholder", "Passphrase needed to write here")
    other = users.opens_page(server.port, profile=page.page.context)  # another tab has its own drafts
    other("#join").click()
    other.is_signed_in()
    expect(other("#input")).to_have_value("")
