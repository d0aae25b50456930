"""Untrusted text: clean names, compare names, and escape control characters.

The server cleans a name once, when it arrives. Bodies are opaque to the server; each place that shows a body
escapes it: the operator's log, a terminal, the page.
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

# Joiners change only the letters or emoji next to them, and words in Persian and in several Indian scripts
# are misspelt without them. The tags make flags such as Scotland's.
_HARMLESS_FORMAT = frozenset("\u200c\u200d") | frozenset(map(chr, range(0xE0020, 0xE0080)))


def clean_name(name: str, length: int = NAME_LENGTH) -> str:
    """Return a form of ``name`` that is safe to show; it may be empty.

    Remove control, invisible and direction-changing characters, and marks without a letter before them;
    replace runs of white space by one space; normalise to NFC, and cut to ``length`` characters. The
    function is idempotent.
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
    """Return a key that is equal for two names if they count as the same name.

    It is Unicode's NFKC_Casefold for text without ignorable characters (The Unicode Standard, D146).
    """
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def escape_controls(text: str) -> str:
    r"""Return ``text`` with escapes for all characters that could control a terminal or forge a line.

    Control, direction-changing and line-separating characters become escapes such as ``\x1b``, ``\n`` or
    ``\u202e``. Other characters stay as they are, even the backslash.
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
