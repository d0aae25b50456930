"""Text from strangers: names that are safe to keep, and text that is safe to show.

Names are cleaned once, where they enter. Bodies are opaque to the server and are made safe where they
are shown: in the operator's log, on a terminal, on a page.
"""

from __future__ import annotations

import re
import unicodedata

NAME_LENGTH = 32  # characters

# Default_Ignorable_Code_Point of DerivedCoreProperties.txt (Unicode 15.1) that are letters or marks by
# general category, so that the category test below does not find them; and the blank Braille pattern.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_SPACES = re.compile(r"\s+")

# Joiners have no effect but on the letters or emoji beside them, and words of Persian and of several
# Indian scripts are misspelt without them. The tags make flags such as Scotland's.
_HARMLESS_FORMAT = frozenset("\u200c\u200d") | frozenset(map(chr, range(0xE0020, 0xE0080)))


def clean_name(name: str, length: int = NAME_LENGTH) -> str:
    """Return ``name`` as it may be shown to everyone, perhaps empty.

    Control, invisible and direction-changing characters go, runs of white space become one space, marks
    with no letter before them go; the rest is NFC-normalised and cut to ``length`` characters.
    Cleaning a clean name changes nothing.
    """
    name = _SPACES.sub(" ", unicodedata.normalize("NFC", name))
    name = "".join(
        character
        for character in name
        if unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn"}
    )
    name = unicodedata.normalize("NFC", _INVISIBLE.sub("", name))
    start = 0
    while start < len(name) and (name[start] == " " or unicodedata.category(name[start]).startswith("M")):
        start += 1
    return _SPACES.sub(" ", name[start : start + length]).strip(" ")


def name_key(name: str) -> str:
    """Return what two names have in common exactly when they count as the same name.

    This is Unicode's NFKC_Casefold for text without ignorable characters (The Unicode Standard, D146).
    """
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def escape_controls(text: str) -> str:
    r"""Return ``text`` with everything that could act on a terminal or forge a line made visible.

    Control, direction-changing and line-separating characters become escapes such as ``\x1b``, ``\n`` or
    ``\u202e``. All else is left as it is, the backslash too.
    """
    if text.isprintable():
        return text
    return "".join(map(_visible, text))


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    category = unicodedata.category(character)
    if category in {"Cc", "Cs", "Zl", "Zp"} or (category == "Cf" and character not in _HARMLESS_FORMAT):
        return character.encode("unicode_escape").decode("ascii")
    return character
