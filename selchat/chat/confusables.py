"""What a name looks like, by Unicode Technical Standard 39 (Unicode Security Mechanisms).

It knows no owner and no member: only which names could be taken for each other, and which are made of
letters that do not belong together. The clients do not import it; a server needs some 50 ms to.

The tables are those of two packages. `confusable_homoglyphs` has Unicode's ``confusables.txt``, but both
ways round; here the one way is made of it again. `regex` has the property Script_Extensions, of
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
from selchat.text import name_key


class ConfusableNameError(NameTakenError):
    """``other``: the name that it could be taken for."""

    def __init__(self, name: str, other: str) -> None:
        super(NamedRefusalError, self).__init__(name, other)
        self.name = name
        self.other = other

    def __str__(self) -> str:
        return f"the name {self.name} looks like {self.other}, which is someone else's"


class MixedScriptsError(NamedRefusalError):
    """``scripts``: what they are called."""

    code = "bad-name"

    def __init__(self, name: str, scripts: tuple[str, ...]) -> None:
        super(NamedRefusalError, self).__init__(name, scripts)
        self.name = name
        self.scripts = scripts

    def __str__(self) -> str:
        scripts = " and ".join(self.scripts)
        return f"the name {self.name} mixes {scripts} letters, so that it could be taken for another"


_MARK = "\u200e"  # confusables.txt puts it around what is written from right to left


def _prototypes(lines: dict[str, list[dict[str, str]]]) -> dict[int, str]:
    """Return what ``confusables.txt`` maps each character to: its prototype, one or more characters.

    ``lines`` has each of its lines twice, in the order of the file: the prototype under the character, and
    the character under the prototype. A prototype is never mapped itself, so that a character has one line
    under it, and a prototype as many as it has look-alikes. Where both have one, the character was first.
    """
    order = {written: place for place, written in enumerate(lines)}
    prototypes = {}
    for written, alike in lines.items():
        character, other = written.strip(_MARK), alike[0]["c"]
        if len(character) == len(alike) == 1 and (len(lines[other]) > 1 or order[other] > order[written]):
            prototypes[ord(character)] = other.strip(_MARK)
    return prototypes


_PROTOTYPES = _prototypes(confusables_data)

# Latin goes with one other script that is Recommended (Unicode Standard Annex 31, table 5), but not with
# Cyrillic or Greek, which have too many of its letters; Chinese, Japanese and Korean are written in more than
# one (UTS 39, 5.1 and 5.2: "Moderately Restrictive"). All other scripts stand alone.
_WITH_LATIN = (
    *("Han Hiragana Katakana", "Han Bopomofo", "Han Hangul", "Arabic", "Armenian", "Bengali", "Devanagari"),
    *("Ethiopic", "Georgian", "Gujarati", "Gurmukhi", "Hebrew", "Kannada", "Khmer", "Lao", "Malayalam"),
    *("Myanmar", "Oriya", "Sinhala", "Tamil", "Telugu", "Thaana", "Thai", "Tibetan"),
)
_TOGETHER = regex.compile(
    "|".join(
        "[" + "".join(rf"\p{{scx={script}}}" for script in ("Common", "Inherited", *scripts.split())) + "]*"
        for scripts in (
            *(f"Latin {scripts}" for scripts in _WITH_LATIN),
            *categories_data["iso_15924_aliases"],
        )
    )
)


def check_scripts(name: str) -> None:
    """Raise `MixedScriptsError` if the clean ``name`` is of scripts that do not go together.

    That is all that is not "Moderately Restrictive" (UTS 39, 5.2); the *characters* are not restricted to
    those of identifiers: people have spaces in their names, and emoji. What several scripts share goes with
    each of them.
    """
    if not name.isascii() and not _TOGETHER.fullmatch(name):
        scripts = {alias(character).replace("_", " ").title() for character in name}
        raise MixedScriptsError(name, tuple(sorted(scripts - {"Common", "Inherited"})))


def skeleton(text: str) -> str:
    """Return what texts that look the same have in common (UTS 39, 4; for text without ignorable characters).

    Right-to-left text is not brought into the order in which it is shown.
    """
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).translate(_PROTOTYPES))


class Skeletons(NamedTuple):
    """Skeletons of one name. Two names of which any two are equal could be taken for each other."""

    folded: str
    shown: str
    capitals: str


@lru_cache(maxsize=4096)  # it is asked for a few times in a login, and again in a logout
def skeletons(name: str) -> Skeletons:
    """Return what a clean name looks like.

    Names are shown as they are written, but case makes no difference to whose they are. So the skeleton is
    taken of what is shown, *before* the case is folded: ``paypaI`` with a capital I is ``paypal`` to the eye,
    and folding first (``paypai``) would hide it. Folding follows, since ``PaypaI`` is as bad, and a skeleton
    again, since that has made new letters (``Mike`` is ``mike`` is ``rnike``). The capitals are for
    ``MlCHAEL``, which looks like ``MICHAEL``, but like no ``Michael``.

    There is no skeleton of all ways to write the name: that would be one for ``Elia`` and ``Ella`` (since
    ``ELlA`` could be both) and, by way of a Greek letter whose capital looks like ``N``, for ``v`` and ``n``.
    """
    name = unicodedata.normalize("NFKC", name)
    shown = skeleton(name)
    return Skeletons(skeleton(shown.casefold()), shown, skeleton(name.upper()))


class ConfusableIndex:
    """Names, to be found by what they look like; about 600 bytes each."""

    def __init__(self) -> None:
        self._names: dict[str, tuple[str, ...]] = {}

    def add(self, name: str) -> None:
        """Add a clean name, which is not there yet."""
        for look in frozenset(skeletons(name)):
            self._names[look] = (*self._names.get(look, ()), name)

    def remove(self, name: str) -> None:
        """Remove a name, written as it was added."""
        for look in frozenset(skeletons(name)):
            left = tuple(other for other in self._names[look] if other != name)
            if left:
                self._names[look] = left
            else:
                del self._names[look]

    def find(self, name: str) -> Iterator[str]:
        """Find the names that a clean name could be taken for, but not itself; perhaps one of them twice."""
        for look in skeletons(name):
            for other in self._names.get(look, ()):
                if name_key(other) != name_key(name):
                    yield other
