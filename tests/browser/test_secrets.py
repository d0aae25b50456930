"""Passphrases and passwords in a browser: who reads what, and what is nowhere in the clear."""

from __future__ import annotations

import re
from pathlib import Path

from tests.browser.support import Guests, expect
from tests.e2e.selchat_support import RichPeer
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


def test_what_is_said_with_a_passphrase_is_read_by_those_who_have_it(guests: Guests, tmp_path: Path) -> None:
    history = tmp_path / "history.sqlite"
    words = passphrase_file(tmp_path / "words", WORDS)
    with Server("--quiet", f"--history={history}") as server, Recorder(server.port) as recorder:
        venkat = guests.enters(recorder.port, "Venkat")
        rishabh = guests.enters(recorder.port, "Rishabh")
        with Terminal(
            *CHAT, f"127.0.0.1:{server.port}", "--name=Michael", f"--passphrase-file={words}"
        ) as michael:
            michael.shows("You are in lobby")
            venkat.says("hello in the clear")
            rishabh.sees("hello in the clear")
            expect(venkat("#lock")).to_have_attribute("data-locked", "no")
            venkat.knows(WORDS, everywhere=True)
            expect(venkat("#lock")).to_have_attribute("data-locked", "unlocked")
            expect(venkat("#input")).to_have_attribute("placeholder", "Write to lobby")
            venkat.says("meet me at the lighthouse")
            expect(venkat.row("lighthouse")).to_have_attribute("data-encryption", "yes")
            expect(venkat.row("lighthouse").locator(".badge")).to_have_text("encrypted")
            michael.shows("Venkat > meet me at the lighthouse")
            michael.type("bring the oars\r")
            venkat.sees("bring the oars")
            expect(venkat.row("bring the oars")).to_have_attribute("data-encryption", "yes")

            # Rishabh has no passphrase, then another one, then the right one.
            unreadable = rishabh("#log [data-encryption=unreadable]")
            expect(unreadable).to_have_count(2)
            expect(unreadable.first).to_contain_text("Encrypted; enter the passphrase to read it.")
            expect(rishabh("#lock")).to_have_attribute("data-locked", "locked")
            expect(rishabh("#lock")).to_have_text("Passphrase needed")
            expect(rishabh("#input")).to_have_attribute("placeholder", "Write to lobby, not encrypted")
            rishabh.knows(OTHER)
            expect(unreadable).to_have_count(2)
            expect(unreadable.first).to_contain_text("encrypted with another passphrase")
            unreadable.first.get_by_role("button", name="Enter the passphrase").click()
            rishabh("#passphrase").fill(WORDS)
            rishabh("#passphrase").press("Enter")
            expect(rishabh("#lock-dialog")).to_be_hidden()
            expect(unreadable).to_have_count(0)
            rishabh.hears(
                ("Venkat", "hello in the clear"),
                ("Venkat", "meet me at the lighthouse"),
                ("Michael", "bring the oars"),
            )

            # Whispers, both ways.
            venkat.types("/msg Michael psst, at nine")
            venkat.is_at("@michael")
            expect(venkat.row("psst")).to_have_attribute("data-encryption", "yes")
            michael.shows("psst, at nine")
            michael.type("/msg Venkat yes, at nine\r")
            venkat.sees("yes, at nine")
            expect(venkat.row("yes, at nine")).to_have_attribute("data-encryption", "yes")
            assert rishabh("#rooms [data-id^='@']").count() == 0

            # Forgotten: what is said is in the clear, and what others say is locked.
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
        guests.check()
        server.stop()
        assert b"hello in the clear" in recorder.recorded  # so that it would be seen there
        files = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.name.startswith("history"))
        assert b"for everyone" in files
        for secret in SECRETS:
            assert secret not in recorder.recorded
            assert secret not in files


def test_the_cipher_of_the_paper_is_marked_as_in_the_terminal(guests: Guests, server: Server) -> None:
    page = guests.enters(server.port, "Venkat")
    with Terminal(*CHAT, f"127.0.0.1:{server.port}", "--name=Michael", "--key=42") as michael:
        michael.shows("You are in lobby")
        michael.type("hello\r")
        row = page("#log .row[data-key][data-kind=said]")
        expect(row.locator(".badge.other-cipher")).to_have_text("encrypted with another cipher: caesar")
        expect(row.locator(".body")).not_to_contain_text("hello")
        page.says("in the clear")
        expect(page.row("in the clear").locator(".badge")).to_have_count(0)


def test_a_page_that_comes_later_reads_the_past_with_the_passphrase(guests: Guests, server: Server) -> None:
    venkat = guests.enters(server.port, "Venkat")
    venkat.knows(WORDS)
    for number in range(3):
        venkat.says(f"secret {number}")
    venkat.types("and *bold* `code` https://example.org/")
    expect(venkat("#log [data-state=sent]")).to_have_count(4)
    later = guests.enters(server.port, "Later")
    expect(later("#log [data-encryption=unreadable]")).to_have_count(4)
    assert later.spoken() == []
    later.knows(WORDS)
    later.hears(
        *(("Venkat", f"secret {number}") for number in range(3)),
        ("Venkat", "and *bold* code https://example.org/"),
    )
    assert [line for line in later.spoken() if "secret" in line] == []
    # The passphrase is gone with the page.
    later.page.reload()
    later.is_in()
    expect(later("#log [data-encryption=unreadable]")).to_have_count(4)


def test_what_is_forged_or_said_again_by_others_is_not_read(guests: Guests, server: Server) -> None:
    with RichPeer(server.port, "Mallory") as mallory:
        page, venkat = (guests.enters(server.port, name) for name in ("Michael", "Venkat"))
        for one in (page, venkat):
            one.knows(WORDS)
        venkat.says("the true word")
        page.sees("the true word")
        true = mallory.reads_until(lambda one: one.get("cipher", "").startswith("selchat1 "))[-1]
        changed = ("A" if true["body"][0] != "A" else "B") + true["body"][1:]
        for number, (cipher, body) in enumerate(
            [
                (true["cipher"], true["body"]),  # of Venkat's, said by another
                (true["cipher"], changed),
                (true["cipher"], "<b>no base64</b>"),
                ("selchat1 <b>", true["body"]),
                ("selchat1 " + "A" * 22 + " 1 " + "A" * 22, true["body"]),
            ]
        ):
            mallory.says(body, f"id {number}", cipher=cipher)
            unreadable = page("#log [data-encryption=unreadable]")
            expect(unreadable).to_have_count(number + 1)
            expect(unreadable.last).to_contain_text(re.compile("changed on the way|another passphrase"))
        mallory.says("in the clear", "clear")
        expect(page.row("in the clear").locator(".badge.not-encrypted")).to_have_text("not encrypted")
        expect(page.row("the true word")).to_have_count(1)


def test_the_dialog_says_what_is_missing_and_keeps_nothing(guests: Guests, server: Server) -> None:
    page = guests.enters(server.port, "Venkat")
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


def test_a_server_with_a_password_asks_for_it(guests: Guests) -> None:
    with Server("--no-history", "--quiet", f"--password={QUICK}") as server:
        page = guests.visitor(server.port)
        expect(page("#password")).to_be_hidden()
        page("#name").fill("Venkat")
        page("#name").press("Enter")
        expect(page("#password")).to_be_visible()
        expect(page("#password")).to_be_focused()
        expect(page("#password-problem")).to_have_text("This chat has a password. Ask the person who runs it.")
        page("#password").fill("tea at five")
        page("#password").press("Enter")
        expect(page("#password-problem")).to_have_text(
            "Wrong password. Try again, and check capital letters."
        )
        expect(page("#password")).to_have_attribute("aria-invalid", "true")
        expect(page("#chat")).to_be_hidden()
        page("#password").fill(RIGHT)
        page("#password").press("Enter")
        page.is_in()
        page.says("in")
        assert RIGHT not in page.page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
        # A page that is loaded again does not know it any more, and asks.
        page.page.reload()
        expect(page("#password")).to_be_visible()
        page("#password").fill(RIGHT)
        page("#join").click()
        page.is_in()


def test_a_name_that_is_owned_is_refused_at_the_door(guests: Guests, server: Server) -> None:
    with RichPeer(server.port, "Michael"):
        page = guests.visitor(server.port)
        page("#join").click()
        expect(page("#name-problem")).to_have_text("Enter the name that others will see.")
        expect(page("#name")).to_be_focused()
        page("#name").fill("Michael")
        page("#join").click()
        expect(page("#name-problem")).to_contain_text("Choose another.")
        expect(page("#name")).to_be_focused()
        page.enters("Rishabh")
