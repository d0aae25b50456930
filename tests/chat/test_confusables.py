from __future__ import annotations

import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.chat.confusables import (
    ConfusableIndex,
    MixedScriptsError,
    check_scripts,
    imitates_server,
    parse_prototypes,
    resembles_server,
    skeleton,
    skeletons,
)
from selchat.text import clean_name, name_key
from tests.chat.support import reachable_objects


def are_confusable(one: str, other: str) -> bool:
    return not frozenset(skeletons(one)).isdisjoint(skeletons(other))


# -- skeletons -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("paypal", "paypal"),
        ("p\u0430ypal", "paypal"),  # Cyrillic a
        (
            "\u0455\u0441\u043e\u0440\u0435",
            "scope",
        ),  # all of it Cyrillic (UTS 39, 4: whole-script confusable)
        ("paypa1", "paypal"),
        ("paypaI", "paypal"),
        ("m", "rn"),
        ("1lI|", "llll"),
        ("0O\u039f\u041e\u0555", "OOOOO"),  # Greek, Cyrillic, Armenian
        ("o\u03bf\u043e\u0585", "oooo"),
        ("\u0441\u0456r\u0441l\u0435", "circle"),
        ("\u0405corpion", "Scorpion"),
        ("\u01c9eto", "\u01c9eto".replace("\u01c9", "lj")),
        ("\U0001d429\U0001d41a\U0001d432", "pay"),
        ("\u00f8", "o\u0338"),
        ("\u05d5", "l"),  # Hebrew; confusables.txt puts direction marks around it
        ("\u00e9", "e\u0301"),
        ("Venkat", "Venkat"),
        ("\u6f22\u5b57", "\u6f22\u5b57"),
    ],
)
def test_skeletons_follow_uts_39(text: str, expected: str) -> None:
    assert skeleton(text) == expected


def test_prototypes_are_parsed_in_the_right_direction() -> None:
    lines = {
        "x": [{"c": "y"}],  # the only character with that prototype
        "y": [{"c": "x"}],
        "I": [{"c": "l"}],
        "l": [{"c": "I"}, {"c": "\u200e\u05d5\u200e"}],
        "\u200e\u05d5\u200e": [{"c": "l"}],
        "m": [{"c": "rn"}],
        "rn": [{"c": "m"}],
    }
    assert parse_prototypes(lines) == {ord("x"): "y", ord("I"): "l", 0x5D5: "l", ord("m"): "rn"}


@given(st.text(max_size=40))
def test_skeleton_is_idempotent(text: str) -> None:
    assert skeleton(skeleton(text)) == skeleton(text)


@given(st.text(max_size=20).map(clean_name))
def test_composition_does_not_change_skeletons(name: str) -> None:
    assert skeleton(unicodedata.normalize("NFD", name)) == skeleton(name)
    assert skeletons(unicodedata.normalize("NFKC", name)) == skeletons(name)


# -- confusable names
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Michael", "rnichael"),
        ("Michael", "Michae1"),
        ("Michael", "M1CHAEL"),
        ("Michael", "MlCHAEL"),
        ("Michael", "\uff2d1chael"),
        ("paypal", "paypaI"),
        ("paypal", "PaypaI"),
        ("Scope", "\u0405\u0441\u043e\u0440\u0435"),
        ("Server", "S\u0435rver"),
        ("Nana", "\u039d\u0391\u039d\u0391"),  # Greek capitals
        ("Oliver", "0liver"),
        ("oliver", "0LIVER"),
        ("Ella", "EIla"),
        ("sasa", "\u0405\u0410\u0405\u0410"),
        ("Ian", "lan"),
        ("Venkat", "\u1d20\u1d07\u0274\u1d0b\u1d00\u1d1b"),  # small capitals
        ("Venkat", "Ven\u1d0bat"),
        ("Michael", "Micha\u00ebl"),
        ("Michael", "M\u0332i\u0332c\u0332h\u0332a\u0332e\u0332l\u0332"),
        ("Michael", "Mic\u0127ael"),
        ("Michael", "Michael."),
        ("Michael", "Mi-cha-el"),
        ("Michael", "M.i.c.h.a.e.l"),
        ("Michael_2", "Michael2"),
        ("O'Brien", "O\u2019Brien"),
        ("Michael", "\U0001f17c\U0001f178\U0001f172\U0001f177\U0001f170\U0001f174\U0001f17b"),  # boxed
        ("Michael", "\U0001f1f2\U0001f1ee\U0001f1e8\U0001f1ed\U0001f1e6\U0001f1ea\U0001f1f1"),  # flags
        ("\u0410\u043d\u0434\u0440\u0435\u0439", "\u0410\u043d\u0434\u0440\u0435\u0438"),  # Cyrillic short i
    ],
)
def test_names_that_look_alike_are_confusable(one: str, other: str) -> None:
    assert name_key(one) != name_key(other)
    assert are_confusable(one, other)
    assert are_confusable(other, one)


def test_visibly_different_names_are_not_confusable() -> None:
    names = [
        *("Michael", "Michaela", "Michel", "Michael_2", "Michael_3", "Michael_10", "Michael_11"),
        *("Elia", "Ella", "Delia", "Della", "Ali", "Ann", "Avv", "ian", "lana", "Venkat", "Ven kat"),
        *("\u041c\u0430\u0440\u0438\u044f", "Maria", "\u6f22\u5b57", "\u6f22\u5b50"),
        *("!!!", "???", "C++", "C", "\u304b", "\u304c"),
        *("\u0930\u093e\u092e", "\u0930\u092e", "\u0930\u094b\u092e"),  # vowel signs are no accents
    ]
    pairs = [(one, other) for one in names for other in names if one < other and are_confusable(one, other)]
    assert not pairs


def test_index_finds_confusable_names_until_they_are_removed() -> None:
    found = ConfusableIndex()
    for name in ("mike", "rnike", "Venkat", "venkat_2"):
        found.add(name)
    assert {*found.find("Mike")} == {"rnike"}, "mike counts as the same name"
    assert {*found.find("\uff4dike")} == {"rnike"}
    assert {*found.find("MlKE")} == {"mike"}
    assert not {*found.find("Venkat")}
    found.remove("rnike")
    assert not {*found.find("Mike")}
    assert {*found.find("rnike")} == {"mike"}
    for name in ("mike", "Venkat", "venkat_2"):
        found.remove(name)
    assert reachable_objects(found) == reachable_objects(ConfusableIndex()), "nothing is left"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "Server",
            "SERVER",
            "\uff33erver",
            "S\u0435rv\u0435r",
            "Ser\u1d20er",
            "Sᴇrver",
            "ꜱᴇʀᴠᴇʀ",
            "S\u00e9rver",
        ),
        *(
            "S.e.r.v.e.r",
            "S e r v e r",
            "Serv er",
            "Server.",
            "_Server_",
            "~Server~",
            "Server!",
            "\u2605 Server",
        ),
        *(
            "Server2",
            "Server_2",
            "Server 10",
            "1Server",
            "Server II",
            "Server\u2161",
            "Ser\u2164er",
            "Server\u00b2",
        ),
        *(
            "5erver",
            "S3rv3r",
            "$erver",
            "S\u20acrver",
            "\u00a7erver",
            "Server\u2122",
            "Server\u00ae",
            "Server\u2713",
        ),
        *(
            "S\u0332e\u0332r\u0332v\u0332e\u0332r\u0332",
            "\u24c8\u24d4\u24e1\u24e5\u24d4\u24e1",
            "\u13da\u13ac\u13d2\u13d9\u13ac\u13d2",
        ),
        *("🆂🅴🆁🆅🅴🆁", "🇸🇪🇷🇻🇪🇷", "𝕊𝕖𝕣𝕧𝕖𝕣", "ʂeɾʋeɾ", "Server\u0903", "\u01a7erver"),
    ],
)
def test_name_that_could_pass_for_the_server_is_found(name: str) -> None:
    assert resembles_server(clean_name(name))


@pytest.mark.parametrize(
    "name", ["Server > restart at 5", "Server: hi", "[Server] hi", "hi (Server)", "a, S3rver"]
)
def test_name_with_a_part_like_the_server_is_found(name: str) -> None:
    assert imitates_server(name)
    assert not imitates_server("Server room > restart")


@pytest.mark.parametrize(
    "name",
    [
        "Observer",
        "Servet",
        "Severin",
        "Sever",
        "Serverina",
        "the server room",
        "Venkat",
        "2",
        "!",
        "",
        "serve",
    ],
)
def test_other_names_do_not_pass_for_the_server(name: str) -> None:
    assert not resembles_server(name)


# -- scripts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "Michael",
            "Micha\u00ebl",
            "Jos\u00e9 \u00c1lvarez \U0001f600",
            "x \u2764 y",
            "guest1",
            "\u2460",
        ),
        "\u041c\u0430\u0440\u0438\u044f \u0418\u0432\u0430\u043d\u043e\u0432\u0430",
        "\u0428\u043a\u043e\u043b\u0430 \u21165",  # the numero sign is common to all
        "\u039d\u03af\u03ba\u03bf\u03c2",
        *(
            "\u6f22\u5b57\u304b\u306a\u30ab\u30ca\u30fc",
            "Sato \u4f50\u85e4 \u30b5\u30c8\u30a6 \u3055\u3068\u3046",
        ),
        *("\ud55c\uad6d \u97d3\u570b Kim", "\u5f35 \u3105\u3106 Chang"),
        *(
            "\u0928\u093e\u0930\u093e\u092f\u0923",
            "\u0928\u093e\u0930\u093e\u092f\u0923 Rao",
            "\u05d3\u05d5\u05d3 David",
        ),
        *("\u0e2a\u0e21\u0e0a\u0e32\u0e22 Som", "\u0623\u062d\u0645\u062f Ahmed \u0663"),
        *("\u16a0\u16a2\u16a6", "\u13e3\u13b3\u13a9"),  # Runic and Cherokee, alone
    ],
)
def test_one_script_or_latin_and_one_other_is_accepted(name: str) -> None:
    assert clean_name(name) == unicodedata.normalize("NFC", name)
    check_scripts(clean_name(name))


@pytest.mark.parametrize(
    ("name", "scripts"),
    [
        ("p\u0430ypal", ("Cyrillic", "Latin")),
        ("\u041f\u0435t", ("Cyrillic", "Latin")),
        ("alph\u03b1", ("Greek", "Latin")),
        ("\u0430\u03b1", ("Cyrillic", "Greek")),
        ("\u16a0x", ("Latin", "Runic")),
        ("\u13e3x", ("Cherokee", "Latin")),
        ("\u304b\u3105", ("Bopomofo", "Hiragana")),
        ("\u304b\ud55c", ("Hangul", "Hiragana")),
        ("\u0e2a\u0928", ("Devanagari", "Thai")),
        ("x\u0e2a\u0928", ("Devanagari", "Latin", "Thai")),
        ("\u6f22\u0430", ("Cyrillic", "Han")),
    ],
)
def test_other_mixtures_are_refused_by_the_names_of_the_scripts(name: str, scripts: tuple[str, ...]) -> None:
    with pytest.raises(MixedScriptsError) as caught:
        check_scripts(name)
    assert caught.value.scripts == scripts
    assert " and ".join(scripts) in str(caught.value)


def letters(*starts: str) -> st.SearchStrategy[str]:
    """Letters by their Unicode names, a source independent of the property Script_Extensions."""
    names = tuple(f"{start} " for start in starts)
    return st.sampled_from(
        [
            character
            for character in map(chr, [*range(0x41, 0x3400), *range(0x4E00, 0x4F00), *range(0xAC00, 0xAD00)])
            # Look at the NFKC form as well: there, the Greek numeral sign is a mark of many scripts.
            if character.isalpha()
            and all(
                unicodedata.name(one, "").startswith(names)
                for one in (character, *unicodedata.normalize("NFKC", character))
            )
        ]
    )


_LATIN = ("LATIN SMALL LETTER", "LATIN CAPITAL LETTER")
_RECOMMENDED = (
    *("ARABIC LETTER", "ARMENIAN", "BENGALI LETTER", "DEVANAGARI LETTER", "ETHIOPIC SYLLABLE", "GEORGIAN"),
    *("GUJARATI LETTER", "GURMUKHI LETTER", "HEBREW LETTER", "KANNADA LETTER", "KHMER LETTER", "LAO LETTER"),
    *(
        "MALAYALAM LETTER",
        "MYANMAR LETTER",
        "ORIYA LETTER",
        "SINHALA LETTER",
        "TAMIL LETTER",
        "TELUGU LETTER",
    ),
    *("THAANA LETTER", "THAI CHARACTER", "TIBETAN LETTER"),
)
_ALONE = (
    "CYRILLIC",
    "GREEK",
    "RUNIC LETTER",
    "CHEROKEE LETTER",
    "TIFINAGH LETTER",
    "OGHAM LETTER",
    "YI SYLLABLE",
)
_HIGHLY = (
    (*_LATIN, "CJK UNIFIED", "HIRAGANA LETTER", "KATAKANA LETTER"),
    (*_LATIN, "CJK UNIFIED", "BOPOMOFO LETTER"),
    (*_LATIN, "CJK UNIFIED", "HANGUL SYLLABLE"),
)
_SINGLE = tuple((start,) for start in (*_RECOMMENDED, *_ALONE[:-1]))
_COMMON = st.sampled_from([*"0123456789_-.! ", "\u00b2", "\U0001f600", "\u2603"])


def names_of(*sets: tuple[str, ...]) -> st.SearchStrategy[str]:
    each = [st.lists(letters(*starts) | _COMMON, max_size=12).map("".join) for starts in sets]
    return st.one_of(each).map(clean_name)


@given(names_of(_LATIN, *_SINGLE, *_HIGHLY))
def test_highly_restrictive_names_are_accepted(name: str) -> None:
    check_scripts(name)


@given(names_of(*((*_LATIN, start) for start in _RECOMMENDED)))
def test_moderately_restrictive_names_are_accepted(name: str) -> None:
    check_scripts(name)


@given(st.data())
def test_two_scripts_other_than_latin_are_refused(data: st.DataObject) -> None:
    one, other = data.draw(
        st.lists(st.sampled_from((*_RECOMMENDED, *_ALONE[:-1])), min_size=2, max_size=2, unique=True)
    )
    name = data.draw(letters(one)) + data.draw(st.text("ab_ ", max_size=3)) + data.draw(letters(other))
    with pytest.raises(MixedScriptsError):
        check_scripts(clean_name(name))


@given(st.text(max_size=40).map(clean_name))
def test_prefix_of_a_valid_name_is_valid(name: str) -> None:
    """A name that is cut to make room for a number must not mix scripts."""
    try:
        check_scripts(name)
    except MixedScriptsError as error:
        assert len(error.scripts) > 1
    else:
        check_scripts(clean_name(name[:5]) + "_2")


def test_clients_do_not_load_the_tables() -> None:
    code = "import sys, selchat.cli, selchat.client.terminal.app, selchat.client.send; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"regex", "confusable_homoglyphs", "selchat.chat.confusables"} & set(run.stdout.split())
