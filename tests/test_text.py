from __future__ import annotations

import unicodedata
from collections.abc import Callable
from time import process_time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from selchat.chat.confusables import skeleton
from selchat.limits import NAME_LENGTH
from selchat.text import clean_line, clean_name, clean_room, cut, escape_controls, name_key, visible_name

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
        ("a\x1b[31mb", "a31mb"),
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


# -- names in lines --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("Venkat > pay Mallory 100, now", "Venkat pay Mallory 100 now"),
        ("Server: restart at 5", "Server restart at 5"),
        ("Venkat (whispers)", "Venkat whispers"),
        ("[lobby] Venkat", "lobby Venkat"),
        ("* Venkat", "Venkat"),
        ("- Venkat", "Venkat"),
        ("-*-* Venkat *", "Venkat *"),
        ("\u2013 Venkat", "Venkat"),
        ("\u2022 Venkat", "Venkat"),
        ("@Venkat", "Venkat"),
        ("#Venkat", "Venkat"),
        ("/kick Venkat", "kick Venkat"),
        ('"Venkat"', "Venkat"),
        ("\u201cVenkat\u201d", "Venkat"),
        ("\u300cVenkat\u300d", "Venkat"),
        ("Venkat \uff1e I quit", "Venkat I quit"),
        ("Venkat \u203a I quit", "Venkat I quit"),
        ("Venkat \u276f I quit", "Venkat I quit"),
        ("Venkat \u02c3 I quit", "Venkat I quit"),
        ("Venkat\ua789 hi", "Venkat hi"),
        ("Venkat\u2236 hi", "Venkat hi"),
        ("Venkat, Michael", "Venkat Michael"),
        ("Venkat\uff0c Michael", "Venkat Michael"),
        ("x<\u0338y", "xy"),
        ("*\u0301Venkat", "Venkat"),
        (">>>", ""),
        ("---", ""),
        ("Table for two", "Table for two"),
        ("O\u2019Brien-Smith", "O\u2019Brien-Smith"),
        ("O'Brien", "O'Brien"),
        ("J. R. R.", "J. R. R."),
        ("a*b-c#d@e/f", "a*b-c#d@e/f"),
        ("C++ | x=1 & y; z!?", "C++ | x=1 & y; z!?"),
    ],
)
def test_name_cannot_make_a_line_look_like_another(dirty: str, clean: str) -> None:
    assert clean_name(dirty) == clean


@given(TEXTS | st.text('a>:<[](){}"\uff1e\uff1a\u203a,*-#@/ \u0338\u2013', max_size=40))
def test_name_has_no_delimiters_in_any_form(text: str) -> None:
    name = clean_name(text)
    assert not set(unicodedata.normalize("NFKC", name)) & set('>:<()[]{}",')
    assert not {category(character) for character in name} & {"Ps", "Pe"}
    assert not name.startswith(("*", "-", "#", "@", "/", "\u2013"))
    assert clean_name(name) == name


def is_delimiter(character: str) -> bool:
    if character in "\u2018\u2019\u201b":  # apostrophes
        return False
    looks_like_one = category(character)[0] in "PS" and category(character) != "So"
    return (
        category(character) in {"Ps", "Pe", "Pi", "Pf"}
        or bool(set(unicodedata.normalize("NFKC", character)) & set('<>:,"()[]{}'))
        or (looks_like_one and character != "\u00b8" and bool(set(skeleton(character)) & set('<>:,"')))
    )


def test_every_delimiter_of_unicode_is_removed_from_names() -> None:
    kept = [
        character
        for character in map(chr, range(0x21, 0x110000))
        if is_delimiter(character) and clean_name(f"a{character}b") != "ab"
    ]
    assert kept == []


def test_every_dash_and_asterisk_is_removed_from_the_start_of_names() -> None:
    kept = [
        character
        for character in map(chr, range(0x21, 0x110000))
        if category(character)[0] in "PS"
        and (
            category(character) == "Pd"
            or "ASTERISK" in unicodedata.name(character, "")
            or unicodedata.normalize("NFKC", character) in {"*", "-", "#", "@", "/"}
        )
        and clean_name(f"{character}b") != "b"
    ]
    assert kept == []


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        *(
            ("engine", "engine"),
            ("#Engine", "Engine"),
            ("x" * 32, "x" * 32),
            ("\u00e9tage-2", "\u00e9tage-2"),
        ),
        *(("lob\u200bby", "lobby"), ("c++", "c++"), ("q&a", "q&a"), ("a/b", "a/b")),
        *((bad, "") for bad in ("", "#", "##a", "a b", "@a", "/a", "x" * 33, "\u200b", "\n")),
        *(
            (bad, "")
            for bad in ("[lobby]", "lobby>", "a:b", "a,b", '"a"', "*a", "-a", "\uff1ca\uff1e", "lobby\u203a")
        ),
    ],
)
def test_room_names_are_cleaned_or_refused(name: str, cleaned: str) -> None:
    assert clean_room(name) == cleaned


@given(TEXTS)
def test_room_name_never_becomes_that_of_another_room(text: str) -> None:
    room = clean_room(text)
    assert room in {"", visible_name(text.removeprefix("#"), 33)}
    assert clean_room(room) == room


# -- topics ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        *(
            ("oil", "oil"),
            ("a\nb\r\n\tc", "a b c"),
            ("\x1b[31mred", "[31mred"),
            ("  a  b ", "a b"),
            ("\x00", ""),
        ),
        *(
            ("\u202eevil", "evil"),
            ("a\u2028b\u0085c", "a b c"),
            ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
        ),
        *(("a: [b] > c", "a: [b] > c"), ("", "")),
    ],
)
def test_topic_is_one_line_without_control_characters(text: str, line: str) -> None:
    assert clean_line(text) == line


@example("0\r\x1b\r0")
@given(TEXTS)
def test_clean_line_is_safe_to_show(text: str) -> None:
    line = clean_line(text)
    assert escape_controls(line) == line
    assert clean_line(line) == line


# -- cost ------------------------------------------------------------------------------------------------


def test_escapes_cover_all_characters_that_control_a_terminal() -> None:
    for character in map(chr, range(0x110000)):
        if category(character) == "Cn":
            continue
        is_unsafe = category(character) in {"Cc", "Cs", "Zl", "Zp", "Cf"}
        is_harmless = character in "\u200c\u200d" or 0xE0020 <= ord(character) < 0xE0080
        assert (escape_controls(character) != character) == (is_unsafe and not is_harmless), ascii(character)


LONG = 1 << 16
HOSTILE = {
    "marks": "a" + "\u0301\u0323" * (LONG // 4),
    "blanks": "a" + " " * LONG + "x",
    "controls": "\x01" * LONG,
    "delimiters": ">" * LONG,
    "ligatures": "\ufdfa" * (LONG // 3),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize(
    "function", [clean_name, visible_name, clean_room, clean_line, name_key, escape_controls]
)
def test_time_grows_no_faster_than_the_text(function: Callable[[str], str], text: str) -> None:
    half = cpu_seconds(function, text[: len(text) // 2])
    assert cpu_seconds(function, text) < 3 * half + 0.002


def cpu_seconds(function: Callable[[str], object], text: str) -> float:
    """Return the CPU time of the fastest of several runs."""
    best = float("inf")
    for _ in range(5):
        start = process_time()
        function(text)
        best = min(best, process_time() - start)
    return best


@pytest.mark.parametrize(
    ("text", "length", "shown"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "abc… (1 more character)"),
        ("abcde", 3, "abc… (2 more characters)"),
        ("", 3, ""),
    ],
)
def test_long_text_is_cut_with_the_number_of_the_other_characters(text: str, length: int, shown: str) -> None:
    assert cut(text, length) == shown
