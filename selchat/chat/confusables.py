"""Confusable names and mixed scripts, by Unicode Technical Standard 39 (Unicode Security Mechanisms).

This module knows no owners and no members. Clients do not import it, because it takes some 50 ms to load.

The tables come from two packages. `confusable_homoglyphs` has Unicode's ``confusables.txt``, but in both
directions; this module restores the original direction. `regex` has the property Script_Extensions, from
``Scripts.txt`` and ``ScriptExtensions.txt``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import regex
from confusable_homoglyphs.categories import alias, categories_data
from confusable_homoglyphs.confusables import confusables_data

from selchat.errors import NamedRefusalError, NameTakenError
from selchat.events import SERVER
from selchat.text import clean_name, name_key, name_parts


class ConfusableNameError(NameTakenError):
    """``other``: the existing name that it looks like."""

    def __init__(self, name: str, other: str) -> None:
        super(NamedRefusalError, self).__init__(name, other)
        self.name = name
        self.other = other

    def __str__(self) -> str:
        return f"the name {self.name} looks too much like {self.other}, which belongs to someone else"


class MixedScriptsError(NamedRefusalError):
    """``scripts``: the names of the scripts."""

    code = "bad-name"

    def __init__(self, name: str, scripts: tuple[str, ...]) -> None:
        super(NamedRefusalError, self).__init__(name, scripts)
        self.name = name
        self.scripts = scripts

    def __str__(self) -> str:
        scripts = " and ".join(self.scripts)
        return f"the name {self.name} mixes {scripts} letters and could be mistaken for another name"


_MARK = "\u200e"  # confusables.txt puts it around right-to-left text


def parse_prototypes(lines: dict[str, list[dict[str, str]]]) -> dict[int, str]:
    """Return the prototype, one or more characters, of each character that ``confusables.txt`` maps.

    ``lines`` has each line of that file twice, in the order of the file: the prototype under the character,
    and the character under the prototype. A prototype is never mapped itself. So there is one entry under a
    character, and under a prototype one for each character that maps to it. If both have a single entry, the
    character came first in the file.
    """
    order = {written: place for place, written in enumerate(lines)}
    prototypes = {}
    for written, entries in lines.items():
        character, other = written.strip(_MARK), entries[0]["c"]
        if len(character) == len(entries) == 1 and (len(lines[other]) > 1 or order[other] > order[written]):
            prototypes[ord(character)] = other.strip(_MARK)
    return prototypes


_PROTOTYPES = parse_prototypes(confusables_data)

# Names may combine Latin with one other script that is Recommended (Unicode Standard Annex 31, table 5),
# except Cyrillic and Greek, which share too many letters with it. Chinese, Japanese and Korean text uses more
# than one script (UTS 39, 5.1 and 5.2: "Moderately Restrictive"). All other scripts stand alone.
_WITH_LATIN = (
    *("Han Hiragana Katakana", "Han Bopomofo", "Han Hangul", "Arabic", "Armenian", "Bengali", "Devanagari"),
    *("Ethiopic", "Georgian", "Gujarati", "Gurmukhi", "Hebrew", "Kannada", "Khmer", "Lao", "Malayalam"),
    *("Myanmar", "Oriya", "Sinhala", "Tamil", "Telugu", "Thaana", "Thai", "Tibetan"),
)
_ALLOWED = regex.compile(
    "|".join(
        "[" + "".join(rf"\p{{scx={script}}}" for script in ("Common", "Inherited", *scripts.split())) + "]*"
        for scripts in (
            *(f"Latin {scripts}" for scripts in _WITH_LATIN),
            *categories_data["iso_15924_aliases"],
        )
    )
)


def check_scripts(name: str) -> None:
    """Raise `MixedScriptsError` if a clean name combines scripts that should not be combined.

    The rule is the level "Moderately Restrictive" (UTS 39, 5.2), but for scripts only. Its restriction of
    characters to identifiers does not apply: names contain spaces and emoji. A character that several
    scripts share may stand with each of them.
    """
    if not name.isascii() and not _ALLOWED.fullmatch(name):
        scripts = {alias(character).replace("_", " ").title() for character in name}
        raise MixedScriptsError(name, tuple(sorted(scripts - {"Common", "Inherited"})))


def skeleton(text: str) -> str:
    """Return the skeleton of a text: confusable texts have the same one (UTS 39, 4).

    The text must not contain ignorable characters. Right-to-left text stays in logical order.
    """
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).translate(_PROTOTYPES))


# Letters that are another letter in a different form, by their Unicode names: small capitals, letters with a
# stroke or a hook, turned letters, letters in a box. confusables.txt lists few of them.
_LETTER_FORM = regex.compile(
    r"(?:LATIN|REGIONAL INDICATOR|NEGATIVE)[A-Z ]*? LETTER (?:SMALL CAPITAL )?"
    r"(?:(?:TURNED|REVERSED|INVERTED|SIDEWAYS|BARRED|OPEN|LONG) )*([A-Z])(?: WITH [A-Z -]+)?"
)
_DIACRITICS = regex.compile(r"[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]")
_PUNCTUATION = regex.compile(r"[\p{P}\p{Sk}]")
_NOT_WORD = regex.compile(r"[^\p{L}\p{N}$€§]")
_NUMBERS = "0123456789IVXLivxl|"  # Roman ones too
_MARKS_AFTER_WORDS = dict.fromkeys(map(ord, "\u2122\u2120\u00ae\u00a9\u2139\u00aa\u00ba"))  # such as (TM)
_DIGITS_AS_LETTERS = str.maketrans("5$§3€\u01a7\u01a8", "ssseess")
_SERVER_KEY = name_key(SERVER)


def plain_letters(text: str) -> str:
    """Return ``text`` without the marks that readers overlook, and with plain letters for small capitals and
    other forms of letters. If nothing is left, return ``text`` as it is.

    These marks are punctuation and the accents of Latin, Greek and Cyrillic. The vowel signs of other
    scripts count as letters.
    """
    if text.isascii():
        return _without_punctuation(text)
    found = _DIACRITICS.sub("", unicodedata.normalize("NFKD", text))
    found = "".join([one if one.isascii() else _plain_letter(one) for one in found])
    return unicodedata.normalize("NFC", _without_punctuation(found)) or text


def _without_punctuation(text: str) -> str:
    return " ".join(_PUNCTUATION.sub("", text).split()) or text


@lru_cache(maxsize=4096)
def _plain_letter(character: str) -> str:
    match = _LETTER_FORM.fullmatch(unicodedata.name(character, ""))
    if match is None:
        return character
    letter: str = match[1]
    return letter.lower() if character.islower() else letter


class Skeletons(NamedTuple):
    """The skeletons of one name. Two names are confusable if they share any skeleton."""

    folded: str
    shown: str
    upper: str


@lru_cache(maxsize=4096)  # each sign-in needs the same ones several times, and so does the sign-out
def skeletons(name: str) -> Skeletons:
    """Return the skeletons of a clean name, by its `plain_letters`.

    The server shows names as written, but compares them without case. ``shown`` is the skeleton *before* case
    folding: ``paypaI`` with a capital I looks like ``paypal``, and folding first (``paypai``) would hide
    that. ``folded`` is the skeleton of the folded ``shown``: it finds ``PaypaI``, and needs a second skeleton
    because folding makes new letters (``Mike`` is ``mike`` is ``rnike``). ``upper`` finds ``MlCHAEL``, which
    looks like ``MICHAEL`` but not like ``Michael``.

    One skeleton for all spellings is impossible. ``Elia`` and ``Ella`` would share it, since ``ELlA`` could
    be either; so would ``v`` and ``n``, by way of a Greek letter whose capital looks like ``N``.
    """
    name = unicodedata.normalize("NFKC", plain_letters(unicodedata.normalize("NFKC", name)))
    shown = skeleton(name)
    return Skeletons(skeleton(shown.casefold()), shown, skeleton(name.upper()))


def imitates_server(requested: str) -> bool:
    """Return whether a name, before it is cleaned, could pass for the server's, or for the start of its lines
    (``Server > restart at 5``).
    """
    return resembles_server(clean_name(requested)) or any(map(resembles_server, name_parts(requested)))


def resembles_server(name: str) -> bool:
    """Return whether a clean name could pass for the server's, ``Server``.

    This rule is stricter than the one for other names: nothing but letters counts. Digits count as the
    letters that they look like, and numbers at the ends do not count (``5erver``, ``Server II``).
    """
    text = unicodedata.normalize("NFKD", name.translate(_MARKS_AFTER_WORDS))
    text = "".join([one if one.isascii() else _plain_letter(one) for one in text])
    words = _NOT_WORD.sub("", text)
    return any(
        _SERVER_KEY in {key.casefold() for key in skeletons(word.translate(_DIGITS_AS_LETTERS))}
        for word in {words, words.rstrip(_NUMBERS), words.strip(_NUMBERS)}
        if len(word) <= 2 * len(SERVER)
    )


class ConfusableIndex:
    """Index of names by their skeletons; about 600 bytes a name."""

    def __init__(self) -> None:
        self._names: dict[str, tuple[str, ...]] = {}

    def add(self, name: str) -> None:
        """Add a clean name that the index does not have yet."""
        for key in frozenset(skeletons(name)):
            self._names[key] = (*self._names.get(key, ()), name)

    def remove(self, name: str) -> None:
        """Remove a name, in the spelling in which it was added."""
        for key in frozenset(skeletons(name)):
            rest = tuple(other for other in self._names[key] if other != name)
            if rest:
                self._names[key] = rest
            else:
                del self._names[key]

    def find(self, name: str) -> Iterator[str]:
        """Yield the names that are confusable with a clean name, except itself; one may come twice."""
        for key in skeletons(name):
            for other in self._names.get(key, ()):
                if name_key(other) != name_key(name):
                    yield other
