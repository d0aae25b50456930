from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.text import NAME_LENGTH, clean_name, escape_controls, name_key

# All characters, including surrogates, with many that cause trouble.
TROUBLE = st.sampled_from(
    [
        *"\0\t\n\v\f\r\x1b\x7f\x80\x85\x9b\xa0\xad",
        *("\u0301", "\u034f", "\u061c", "\u115f", "\u1160", "\u180e", "\u200b", "\u200c", "\u200d", "\u200e"),
        *("\u2028", "\u2029", "\u202e", "\u2066", "\u2800", "\u3000", "\u3164", "\ufe0f", "\ufeff", "\uffa0"),
        *("\ud800", "\udfff", "\ue000", "\uffff", "\U000e0001", "\U000e0067", "\U0010ffff", "\u2000"),
        *("e", "A", "\u1100", "\u1161", "\u11a8", "\u0327", "\u212b", "\ufb01", "\u00df", " "),
    ]
)
TEXTS = st.text(st.characters() | st.characters(categories=["Cs"]) | TROUBLE, max_size=60)


def category(character: str) -> str:
    return unicodedata.category(character)


@given(TEXTS)
def test_a_clean_name_is_safe_to_show(text: str) -> None:
    name = clean_name(text)
    assert not {category(character) for character in name} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert unicodedata.is_normalized("NFC", name)
    assert len(name) <= NAME_LENGTH
    assert name == name.strip()
    assert "  " not in name
    assert not name or not category(name[0]).startswith("M"), "would change the character before the name"
    assert len(name.splitlines()) <= 1
    name.encode()


@given(TEXTS)
def test_cleaning_a_clean_name_changes_nothing(text: str) -> None:
    name = clean_name(text)
    assert clean_name(name) == name


@given(TEXTS, st.integers(1, 40))
def test_a_name_is_cut_to_the_given_length(text: str, length: int) -> None:
    name = clean_name(text, length)
    assert len(name) <= length
    assert clean_name(text, 100).startswith(name)


@given(st.text("abc äé漢", max_size=20))
def test_an_ordinary_name_only_loses_extra_spaces(text: str) -> None:
    assert clean_name(text) == " ".join(text.split())


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("Venkat", "Venkat"),
        ("  Venkat \t Rao\n", "Venkat Rao"),
        ("a\x1b[31mb", "a[31mb"),
        ("Ven\u202ekat\u2066", "Venkat"),
        ("Ser\u200b\u00ad\ufeffver", "Server"),
        ("\u3164\u115f\u2800\ufe0f", ""),
        ("e\u0301", "\u00e9"),
        ("\u0301\u0301x", "x"),
        (" \u0301x", "x"),
        ("a \u200b b", "a b"),
        ("\udc80x", "x"),
        ("Müller 漢字 \U0001f600", "Müller 漢字 \U0001f600"),
        ("x" * 31 + " y", "x" * 31),
        ("\U000e0041\U000e0042", ""),
    ],
)
def test_unsafe_characters_are_removed_from_names(dirty: str, clean: str) -> None:
    assert clean_name(dirty) == clean


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Michael", "MICHAEL"),
        ("Michael", "\uff2dichael"),
        ("Stra\u00dfe", "STRASSE"),
        ("\ufb01n", "FIN"),
        ("\u212b", "\u00e5"),
        ("\u00c9", "e\u0301"),
    ],
)
def test_names_that_look_the_same_have_one_key(one: str, other: str) -> None:
    assert name_key(one) == name_key(other)


def test_names_that_differ_have_different_keys() -> None:
    assert len({name_key(name) for name in ("Michael", "Micha\u00ebl", "Michael_2", "Mich ael")}) == 4


@given(st.text())
def test_name_key_of_a_name_key_is_itself(text: str) -> None:
    assert name_key(name_key(text)) == name_key(text)


@given(TEXTS)
def test_escaped_text_cannot_control_a_terminal_or_forge_a_line(text: str) -> None:
    shown = escape_controls(text)
    assert not {category(character) for character in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert not set(shown) & set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    assert len(shown.splitlines()) <= 1
    assert shown.encode().decode() == shown


@given(TEXTS)
def test_printable_text_stays_as_it_is(text: str) -> None:
    printable = "".join(filter(str.isprintable, text))
    assert escape_controls(printable) == printable
    assert escape_controls(text) == "".join(map(escape_controls, text))
    assert escape_controls(f"{printable}\x1b{printable}") == f"{printable}\\x1b{printable}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nAccepted new connection", "a\\nAccepted new connection"),
        ("a\r\tb", "a\\r\\tb"),
        ("\x80\x9b", "\\x80\\x9b"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2028", "\\u2028"),
        ("\udc80", "\\udc80"),
        ("back\\slash", "back\\slash"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
        ("\u00a0\u3000", "\u00a0\u3000"),
        ("\ue000", "\ue000"),
    ],
)
def test_control_characters_become_escapes(text: str, shown: str) -> None:
    assert escape_controls(text) == shown
