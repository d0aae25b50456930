from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.events import SERVER, Event, Notice, Roster, Said
from selchat.limits import MAX_CLASSIC_NAMES
from selchat.wire.cipher import CaesarCipher
from selchat.wire.classic import ClassicFormat
from selchat.wire.frames import FrameDecoder, largest_payload

NAMES = ("Michael", "Narayan", "Venkat")


def said(author: str, body: str) -> Said:
    return Said("lobby", 1, author, body, 0.0)


def pair(format: ClassicFormat, event: Event, header_length: int = 10) -> tuple[str, str]:
    """Encode the event and read it as a client does, as exactly two frames of valid UTF-8."""
    decoder = FrameDecoder(header_length, 1 << 30)
    user, body = decoder.receive_data(format.encode([event]))
    assert decoder.error is None and not decoder.unfinished
    return user.decode(), body.decode()


def test_message_is_a_user_frame_and_a_body_frame() -> None:
    assert ClassicFormat().encode([said("Venkat", "Hey! ...")]) == b"6         Venkat8         Hey! ..."


def test_empty_message_is_two_frames_too() -> None:
    assert ClassicFormat().encode([said("Venkat", "")]) == b"6         Venkat0         "


def test_each_event_is_a_pair_of_frames() -> None:
    format = ClassicFormat()
    events: list[Event] = [said("Venkat", "one"), said("Venkat", "two"), Notice("three"), Roster(NAMES, 3)]
    assert format.encode(events) == b"".join(format.encode([event]) for event in events)
    assert format.encode([]) == b""


def test_header_lengths_count_bytes_not_characters() -> None:
    assert ClassicFormat().encode([said("Zoë", "naïve")]) == "4         Zoë6         naïve".encode()


def test_notice_comes_from_the_server() -> None:
    assert pair(ClassicFormat(), Notice("Bye.")) == (SERVER, "Bye.")


def test_roster_comes_from_the_server() -> None:
    assert pair(ClassicFormat(), Roster(NAMES, 3)) == (SERVER, "Users online (3): Michael, Narayan, Venkat")


def test_only_messages_from_the_server_are_encrypted() -> None:
    cipher = CaesarCipher("1024")
    format = ClassicFormat(cipher=cipher)
    assert pair(format, said("Venkat", "Hello")) == ("Venkat", "Hello")
    assert pair(format, said(SERVER, "Hello")) == (SERVER, "Olssv")
    assert pair(format, Notice("Hello")) == (SERVER, "Olssv")
    user, body = pair(format, Roster(NAMES, 3))
    assert (user, cipher.decrypt(body)) == (SERVER, "Users online (3): Michael, Narayan, Venkat")


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (42, "Users online (3): Michael, Narayan, Venkat"),
        (41, "Users online (3): Michael, Narayan and 1 more"[:41]),
    ],
)
def test_roster_that_fits_exactly_is_not_cut(limit: int, text: str) -> None:
    _, body = pair(ClassicFormat(roster_limit=limit), Roster(NAMES, 3))
    assert len(body) <= limit
    assert (body == text) == (limit == 42)


def test_roster_over_the_limit_counts_the_missing_names() -> None:
    assert pair(ClassicFormat(roster_limit=41), Roster(NAMES, 3)) == (
        SERVER,
        "Users online (3): Michael and 2 more",
    )
    assert pair(ClassicFormat(), Roster(NAMES, 1000))[1].endswith("Michael, Narayan, Venkat and 997 more")


def test_roster_with_space_for_no_name_shows_only_the_count() -> None:
    assert pair(ClassicFormat(roster_limit=5), Roster(NAMES, 3)) == (SERVER, "Users online (3):  and 3 more")


@given(
    st.lists(st.text(min_size=1, max_size=32), max_size=60),
    st.integers(0, 10_000),
    st.integers(40, 1400),
    st.none() | st.just(CaesarCipher("99")),
)
def test_any_roster_is_cut_to_its_limit_and_counts_the_missing_names(
    names: list[str], more: int, limit: int, cipher: CaesarCipher | None
) -> None:
    total = len(names) + more
    _, body = pair(ClassicFormat(cipher=cipher, roster_limit=limit), Roster(tuple(names), total))
    text = body if cipher is None else cipher.decrypt(body)
    start = f"Users online ({total}): "
    assert text.startswith(start)
    for shown in range(len(names), -1, -1):
        missing = total - shown
        if text == start + ", ".join(names[:shown]) + (f" and {missing} more" if missing else ""):
            break
    else:
        raise AssertionError(text)
    # The paper's client calls ``recv`` once, so a roster stays within its limit unless no name fits.
    assert len(body.encode()) <= limit or not shown


@pytest.mark.parametrize("header_length", [1, 2, 3])
def test_body_too_long_for_a_short_header_is_cut_between_characters(header_length: int) -> None:
    limit = largest_payload(header_length)
    format = ClassicFormat(header_length, limit)
    user, body = pair(format, said("é" * 600, "€" * 600), header_length)
    assert user == "é" * (limit // 2)
    assert body == "€" * (limit // 3)
    assert pair(format, Notice("ab" * 600), header_length)[1] == "ab" * (limit // 2) + "a" * (limit % 2)
    pair(format, Roster(("Michael",) * 600, 600), header_length)


@given(st.text(max_size=40), st.text(max_size=300), st.integers(1, 4), st.integers(1, 200))
def test_any_message_is_decodable_and_cut_only_to_its_limit(
    user: str, body: str, header_length: int, limit: int
) -> None:
    limit = largest_payload(header_length, limit)
    got_user, got_body = pair(ClassicFormat(header_length, limit), said(user, body), header_length)
    for got, wanted in ((got_user, user), (got_body, body)):
        assert wanted.startswith(got)
        assert len(got.encode()) <= limit
        assert got == wanted or len(wanted[: len(got) + 1].encode()) > limit, "cut more than needed"


def test_names_beyond_the_cache_limit_are_encoded_too() -> None:
    format = ClassicFormat()
    for number in range(MAX_CLASSIC_NAMES + 10):
        assert format.encode([said(f"n{number}", "")]) == b"%-10dn%d0         " % (len(f"n{number}"), number)
    assert len(format._user_frames) <= MAX_CLASSIC_NAMES


def test_end_to_end_encrypted_body_is_replaced_by_a_note() -> None:
    format = ClassicFormat()
    note = ("Venkat", "(encrypted: readable only in selchat with the passphrase)")
    body = ("Venkat", "Zm9v")
    for _ in range(2):
        for cipher, expected in (("selchat1 AAAA 1 BBBB", note), ("caesar", body), (None, body)):
            message = Said("lobby", 1, "Venkat", "Zm9v", 1.0, "v-1", cipher)
            assert pair(format, message) == expected
