"""Passphrases and passwords: only users who have them read messages, and no secret is stored or sent."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.browser.support import Users, expect
from tests.e2e.selchat_support import SelchatPeer
from tests.e2e.support import Server
from tests.e2e.terminal_support import CHAT, Terminal
from tests.e2e.test_encryption import OTHER, WORDS, Recorder, passphrase_file
from tests.e2e.test_password import QUICK, RIGHT

SECRETS = (
    b"meet me at the lighthouse",
    b"bring the oars",
    b"psst, at nine",
    b"yes, at nine",
    WORDS.encode(),
    OTHER.encode(),
)


@pytest.mark.slow
def test_only_users_with_the_passphrase_read_encrypted_messages(users: Users, tmp_path: Path) -> None:
    history = tmp_path / "history.sqlite"
    words = passphrase_file(tmp_path / "words", WORDS)
    with Server("--quiet", f"--history={history}") as server, Recorder(server.port) as recorder:
        venkat = users.signs_in(recorder.port, "Venkat")
        rishabh = users.signs_in(recorder.port, "Rishabh")
        with Terminal(
            *CHAT, f"127.0.0.1:{server.port}", "--name=Michael", f"--passphrase-file={words}"
        ) as michael:
            michael.shows("You are in lobby")
            venkat.says("hello in the clear")
            rishabh.sees("hello in the clear")
            expect(venkat("#lock")).to_have_attribute("data-locked", "no")
            venkat.sets_passphrase(WORDS, everywhere=True)
            expect(venkat("#lock")).to_have_attribute("data-locked", "unlocked")
            expect(venkat("#input")).to_have_attribute("placeholder", "Write to lobby")
            venkat.says("meet me at the lighthouse")
            expect(venkat.row("lighthouse")).to_have_attribute("data-encryption", "yes")
            expect(venkat.row("lighthouse").locator(".badge")).to_have_text("encrypted")
            michael.shows("Venkat > meet me at the lighthouse")
            michael.type("bring the oars\r")
            venkat.sees("bring the oars")
            expect(venkat.row("bring the oars")).to_have_attribute("data-encryption", "yes")

            # Rishabh has no passphrase, then a wrong one, then the right one.
            unreadable = rishabh("#log [data-encryption=unreadable]")
            expect(unreadable).to_have_count(2)
            expect(unreadable.first).to_contain_text("Encrypted; enter the passphrase to read it.")
            expect(rishabh("#lock")).to_have_attribute("data-locked", "locked")
            expect(rishabh("#lock")).to_have_text("Passphrase needed")
            expect(rishabh("#input")).to_have_attribute("placeholder", "Write to lobby, not encrypted")
            rishabh.sets_passphrase(OTHER)
            expect(unreadable).to_have_count(2)
            expect(unreadable.first).to_contain_text("encrypted with another passphrase")
            unreadable.first.get_by_role("button", name="Enter the passphrase").click()
            rishabh("#passphrase").fill(WORDS)
            rishabh("#passphrase").press("Enter")
            expect(rishabh("#lock-dialog")).to_be_hidden()
            expect(unreadable).to_have_count(0)
            rishabh.sees_last(
                ("Venkat", "hello in the clear"),
                ("Venkat", "meet me at the lighthouse"),
                ("Michael", "bring the oars"),
            )

            # Direct messages, both ways.
            venkat.types("/msg Michael psst, at nine")
            venkat.is_at("@michael")
            expect(venkat.row("psst")).to_have_attribute("data-encryption", "yes")
            michael.shows("psst, at nine")
            michael.type("/msg Venkat yes, at nine\r")
            venkat.sees("yes, at nine")
            expect(venkat.row("yes, at nine")).to_have_attribute("data-encryption", "yes")
            assert rishabh("#rooms [data-id^='@']").count() == 0

            # Forgotten: own messages are unencrypted, and others' messages are locked.
            venkat.opens("#lobby")
            venkat("#lock").click()
            venkat("#lock-all").check()
            venkat("#lock-forget").click()
            expect(venkat("#lock-dialog")).to_be_hidden()
            expect(venkat("#lock")).to_have_attribute("data-locked", "locked")
            expect(venkat("#input")).to_have_attribute("aria-label", "Write to lobby, not encrypted")
            michael.type("locked again\r")
            expect(venkat("#log [data-encryption=unreadable]")).to_have_count(1)
            venkat.says("for everyone")
            michael.shows("for everyone")
            expect(rishabh.row("for everyone").locator(".badge.not-encrypted")).to_have_text("not encrypted")

        kept = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.documentElement.outerHTML])"
        for page in (venkat, rishabh):
            stored = page.page.evaluate(kept)
            assert WORDS not in stored and OTHER not in stored
        users.check()
        server.stop()
        assert b"hello in the clear" in recorder.recorded  # the recorder works
        files = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.name.startswith("history"))
        assert b"for everyone" in files
        for secret in SECRETS:
            assert secret not in recorder.recorded
            assert secret not in files


@pytest.mark.slow
def test_caesar_messages_have_a_badge(users: Users, server: Server) -> None:
    page = users.signs_in(server.port, "Venkat")
    with Terminal(*CHAT, f"127.0.0.1:{server.port}", "--name=Michael", "--key=42") as michael:
        michael.shows("You are in lobby")
        michael.type("hello\r")
        row = page("#log .row[data-key][data-kind=said]")
        expect(row.locator(".badge.other-cipher")).to_have_text("encrypted with another cipher: caesar")
        expect(row.locator(".body")).not_to_contain_text("hello")
        page.says("in the clear")
        expect(page.row("in the clear").locator(".badge")).to_have_count(0)


@pytest.mark.slow
def test_later_page_decrypts_history_with_the_passphrase(users: Users, server: Server) -> None:
    venkat = users.signs_in(server.port, "Venkat")
    venkat.sets_passphrase(WORDS)
    for number in range(3):
        venkat.says(f"secret {number}")
    venkat.types("and *bold* `code` https://example.org/")
    expect(venkat("#log [data-state=sent]")).to_have_count(4)
    later = users.signs_in(server.port, "Later")
    expect(later("#log [data-encryption=unreadable]")).to_have_count(4)
    assert later.announcements() == []
    later.sets_passphrase(WORDS)
    later.sees_last(
        *(("Venkat", f"secret {number}") for number in range(3)),
        ("Venkat", "and *bold* code https://example.org/"),
    )
    assert [line for line in later.announcements() if "secret" in line] == []
    # A reload forgets the passphrase.
    later.page.reload()
    later.is_signed_in()
    expect(later("#log [data-encryption=unreadable]")).to_have_count(4)


def test_forged_and_replayed_messages_are_rejected(users: Users, server: Server) -> None:
    with SelchatPeer(server.port, "Mallory") as mallory:
        page, venkat = (users.signs_in(server.port, name) for name in ("Michael", "Venkat"))
        for one in (page, venkat):
            one.sets_passphrase(WORDS)
        venkat.says("the true word")
        page.sees("the true word")
        true = mallory.read_until(lambda one: one.get("cipher", "").startswith("selchat1 "))[-1]
        changed = ("A" if true["body"][0] != "A" else "B") + true["body"][1:]
        for number, (cipher, body) in enumerate(
            [
                (true["cipher"], true["body"]),  # Venkat's message, sent by another user
                (true["cipher"], changed),
                (true["cipher"], "<b>no base64</b>"),
                ("selchat1 <b>", true["body"]),
                ("selchat1 " + "A" * 22 + " 1 " + "A" * 22, true["body"]),
            ]
        ):
            mallory.say(body, f"id {number}", cipher=cipher)
            unreadable = page("#log [data-encryption=unreadable]")
            expect(unreadable).to_have_count(number + 1)
            expect(unreadable.last).to_contain_text(re.compile("changed in transit|another passphrase"))
        mallory.say("in the clear", "clear")
        expect(page.row("in the clear").locator(".badge.not-encrypted")).to_have_text("not encrypted")
        expect(page.row("the true word")).to_have_count(1)


@pytest.mark.slow
def test_encryption_dialog_explains_an_empty_passphrase_and_forgets_on_cancel(
    users: Users, server: Server
) -> None:
    page = users.signs_in(server.port, "Venkat")
    page("#lock").click()
    page("#lock-use").click()
    expect(page("#lock-problem")).to_contain_text("Enter a passphrase")
    page("#passphrase").fill(WORDS)
    expect(page("#lock-problem")).to_have_text("")
    expect(page("#passphrase")).to_have_attribute("type", "password")
    page("#passphrase-show").click()
    expect(page("#passphrase")).to_have_attribute("type", "text")
    page("#lock-cancel").click()
    expect(page("#lock-dialog")).to_be_hidden()
    expect(page("#passphrase")).to_have_value("")
    expect(page("#lock")).to_have_attribute("data-locked", "no")


def test_page_asks_for_the_server_password(users: Users) -> None:
    with Server("--no-history", "--quiet", f"--password={QUICK}") as server:
        page = users.opens_page(server.port)
        expect(page("#password")).to_be_hidden()
        page("#name").fill("Venkat")
        page("#name").press("Enter")
        expect(page("#password")).to_be_visible()
        expect(page("#password")).to_be_focused()
        expect(page("#password-problem")).to_have_text(
            "This chat has a password. Ask the person who runs it."
        )
        page("#password").fill("tea at five")
        page("#password").press("Enter")
        expect(page("#password-problem")).to_have_text(
            "Wrong password. Try again, and check capital letters."
        )
        expect(page("#password")).to_have_attribute("aria-invalid", "true")
        expect(page("#chat")).to_be_hidden()
        page("#password").fill(RIGHT)
        page("#password").press("Enter")
        page.is_signed_in()
        page.says("in")
        assert RIGHT not in page.page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
        # A reload forgets the password, and the page asks again.
        page.page.reload()
        expect(page("#password")).to_be_visible()
        page("#password").fill(RIGHT)
        page("#join").click()
        page.is_signed_in()


def test_taken_name_is_rejected_at_sign_in(users: Users, server: Server) -> None:
    with SelchatPeer(server.port, "Michael"):
        page = users.opens_page(server.port)
        page("#join").click()
        expect(page("#name-problem")).to_have_text("Enter the name that others will see.")
        expect(page("#name")).to_be_focused()
        page("#name").fill("Michael")
        page("#join").click()
        expect(page("#name-problem")).to_contain_text("Choose another.")
        expect(page("#name")).to_be_focused()
        page.signs_in("Rishabh")


def test_weak_passphrase_is_used_with_a_warning(users: Users, server: Server) -> None:
    page = users.signs_in(server.port, "Venkat")
    page("#lock").click()
    expect(page("#lock-warning")).to_be_hidden()
    page("#passphrase").fill("abc")
    expect(page("#lock-warning")).to_have_text(
        "This passphrase is weak: a thousand computers would guess it in less than a second. "
        "Six random words are out of reach."
    )
    page("#passphrase").fill(WORDS)
    expect(page("#lock-warning")).to_be_hidden()
    page("#passphrase").fill("abc")
    page("#lock-use").click()
    expect(page("#lock")).to_have_attribute("data-locked", "unlocked")
    page("#lock").click()
    expect(page("#lock-warning")).to_be_hidden()
