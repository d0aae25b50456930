"""Untrusted text: clean names, compare names, and escape control characters.

The server cleans a name once, when it arrives. Bodies are opaque to the server; each place that shows a body
escapes it: the operator's log, a terminal, the page.

No function here takes more than linear time, whatever the text.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

from selchat.limits import MAX_RAW_NAME, MAX_WORD_TO_NORMALISE, NAME_LENGTH, ROOM_LENGTH

# The rules of `clean_name` and `clean_room` in words, for people.
NAME_RULE = (
    "use 1 to 32 characters without commas, colons, quotation marks and brackets, "
    "and do not begin with @ # / * -"
)
ROOM_RULE = (
    "use 1 to 32 characters without spaces, commas, colons, quotation marks and brackets, "
    "and do not begin with @ # / * -"
)


# Default_Ignorable_Code_Point of DerivedCoreProperties.txt (Unicode 15.1) that are letters or marks by
# general category, so that the category test below does not find them; and the blank Braille pattern.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_SPACES = re.compile(r"\s+")

# Characters with a meaning in a line that shows a name: ``Venkat > text``, ``[room]``, ``Server:``, a list
# with commas, ``"a name"`` in a command. All opening and closing punctuation except the apostrophes, all
# characters whose NFKC form has one of these, and characters that look like one of these.
# tests/test_text.py has the rule. docs/protocol.rst and web/src/core/text.ts have the same set.
_DELIMITERS = re.compile(
    r'[",:<>()\[\]{}'
    "\u00ab\u00bb\u02ba\u02c2\u02c3\u02d0\u02f8\u0589\u05c3\u060c\u060d\u066b\u0703\u0704\u0f3a-\u0f3d\u169b"
    "\u169c\u16ec\u1803\u1809\u201a\u201c-\u201f\u2033\u2036\u2039\u203a\u2045\u2046\u205a\u207d\u207e\u208d"
    "\u208e\u2236\u226a\u226b\u226e\u226f\u227a\u227b\u22b2\u22b3\u22d6-\u22d9\u2308-\u230b\u2329\u232a"
    "\u2474-\u2487\u249c-\u24b5\u25b6-\u25bb\u2768-\u2775\u27a2-\u27a4\u27c5\u27c6\u27e6-\u27ef\u2983-\u2998"
    "\u29d8-\u29db\u29f4\u29fc\u29fd\u2a20\u2a74\u2aa5\u2e02-\u2e05\u2e09\u2e0a\u2e0c\u2e0d\u2e1c\u2e1d"
    "\u2e20-\u2e29\u2e42\u2e55-\u2e5c\u3001\u3003\u3008-\u3011\u3014-\u301b\u301d-\u301f\u3200-\u321e"
    "\u3220-\u3243\ua789\ufd3e\ufd3f\ufe10\ufe13\ufe17\ufe18\ufe30\ufe35-\ufe44\ufe47\ufe48\ufe50\ufe55"
    "\ufe59-\ufe5e\ufe64\ufe65\uff02\uff08\uff09\uff0c\uff1a\uff1c\uff1e\uff3b\uff3d\uff5b\uff5d\uff5f\uff60"
    "\uff62\uff63\U00010781\U0001f101-\U0001f10a\U0001f110-\U0001f129]"
)
# Characters with a meaning at the start of a line or a word: ``* Venkat waves``, ``- a list``, ``#room``,
# ``@name``, ``/command``; and characters that look like one of these.
_PREFIXES = re.compile(
    r"[#*/@\-"
    "\u00b7\u02d7\u058a\u05be\u066d\u06d4\u1400\u1735\u1806\u2010-\u2015\u2022\u2023\u2041\u2043\u2044\u204e"
    "\u2051\u2212\u2215\u2217\u2219\u229b\u25e6\u2722-\u2725\u2731-\u2733\u273a-\u273d\u2743\u2749-\u274b"
    "\u2796\u27cb\u29c6\u29f8\u2a6e\u2e17\u2e1a\u2e3a\u2e3b\u2e40\u2e5d\u301c\u3030\u30a0\ua673\ufe31\ufe32"
    "\ufe58\ufe5f\ufe61\ufe63\ufe6b\uff03\uff0a\uff0d\uff0f\uff20\U00010ead\U0001f7af-\U0001f7bf]"
)

# Characters that control a terminal, end a line or change its direction: the categories Cc, Cs, Zl, Zp and
# Cf (Unicode 15.1). Not the joiners U+200C and U+200D, which change only the letters or emoji next to them:
# words in Persian and in several Indian scripts are misspelt without them. Nor the tags, which make flags
# such as Scotland's.
_UNSAFE = (
    *(range(0x20), range(0x7F, 0xA0), [0xAD], range(0x600, 0x606), [0x61C, 0x6DD, 0x70F, 0x890, 0x891]),
    *(
        [0x8E2, 0x180E, 0x200B, 0x200E, 0x200F],
        range(0x2028, 0x202F),
        range(0x2060, 0x2065),
        range(0x2066, 0x2070),
    ),
    *(range(0xD800, 0xE000), [0xFEFF, 0xFFF9, 0xFFFA, 0xFFFB, 0x110BD, 0x110CD], range(0x13430, 0x13440)),
    *(range(0x1BCA0, 0x1BCA4), range(0x1D173, 0x1D17B), [0xE0001]),
)
_ESCAPES = {code: chr(code).encode("unicode_escape").decode() for codes in _UNSAFE for code in codes}
_REMOVED = dict.fromkeys(_ESCAPES)
_ESCAPE = re.compile(r"\\(?=x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")  # the start of one, in a name


def clean_name(name: str, length: int = NAME_LENGTH) -> str:
    """Return a form of ``name`` that is safe to show and to put into a line; it may be empty.

    Do as `visible_name`, and remove the characters that would make a line look like another one:
    punctuation such as ``>``, ``:``, ``,``, brackets and quotation marks everywhere, and marks such as ``*``,
    ``-``, ``#``, ``@`` and ``/`` at the start. The function is idempotent.
    """
    return _clean(name, length, _DELIMITERS, _PREFIXES)


def name_parts(name: str) -> list[str]:
    """Return the clean parts of a name between the characters that `clean_name` removes everywhere."""
    parts = map(clean_name, _DELIMITERS.split(normalize("NFC", name[:MAX_RAW_NAME])))
    return [part for part in parts if part]


def visible_name(name: str, length: int = NAME_LENGTH) -> str:
    """Return ``name`` without the characters that cannot be seen or that change others; it may be empty.

    Remove control, invisible and direction-changing characters, and marks without a letter before them;
    replace runs of white space by one space; normalise to NFC, and cut to ``length`` characters. The
    function is idempotent.
    """
    return _clean(name, length, None, None)


def clean_room(name: str) -> str:
    """Return a room name that is safe to show; empty: ``name`` is not a valid one.

    Remove what nobody sees. Refuse the characters that `clean_name` removes: a room must not become another.
    """
    visible = visible_name(name.removeprefix("#"), ROOM_LENGTH + 1)
    if len(visible) > ROOM_LENGTH or " " in visible or clean_name(visible) != visible:
        return ""
    return visible


def clean_line(text: str) -> str:
    """Return ``text`` as one line that is safe to show, such as a topic; it may be empty.

    Replace runs of white space by one space; remove control and direction-changing characters.
    """
    text = _SPACES.sub(" ", text)
    if not text.isprintable():  # what is removed may have stood between two spaces
        text = _SPACES.sub(" ", text.translate(_REMOVED))
    return text.strip(" ")


def name_key(name: str) -> str:
    """Return a key that is equal for two names if they count as the same name.

    It is Unicode's NFKC_Casefold for text without ignorable characters (The Unicode Standard, D146).
    """
    if name.isascii():
        return name.lower()
    return normalize("NFKC", normalize("NFKC", name).casefold())


def escape_controls(text: str) -> str:
    r"""Return ``text`` with escapes for all characters that could control a terminal or forge a line.

    Control, direction-changing and line-separating characters become escapes such as ``\x1b``, ``\n`` or
    ``\u202e``. Other characters stay as they are, even the backslash.
    """
    return text if text.isprintable() else text.translate(_ESCAPES)


def escape_name(name: str) -> str:
    r"""Return ``name`` with escapes such as ``\x3e`` for everything that `clean_name` would change.

    Two names never look the same in a line, and no name looks like another part of it. For clients, which get
    names from servers that may not clean them. A name that is too long for any server is cut.
    """
    if _ESCAPE.search(name) is None and len(name) <= MAX_RAW_NAME and clean_name(name, len(name)) == name:
        return name
    composed = unicodedata.is_normalized("NFC", name[:MAX_RAW_NAME])
    shown = []
    for place, character in enumerate(name[:MAX_RAW_NAME]):
        category = unicodedata.category(character)
        if character == " ":
            is_unsafe = place in {0, len(name) - 1} or name[place - 1] == " "
        elif character == "\\":
            is_unsafe = _ESCAPE.match(name, place) is not None
        elif category.startswith("M"):
            is_unsafe = place == 0 or not composed or name[place - 1] == " "
        else:
            is_unsafe = category[0] in "CZ" or (place == 0 and _PREFIXES.match(character) is not None)
        if is_unsafe or _DELIMITERS.match(character) or _INVISIBLE.match(character):
            character = escape_character(character)
        shown.append(character)
    more = len(name) - MAX_RAW_NAME
    return "".join(shown) + (f"…({more} more)" if more > 0 else "")


def escape_character(character: str) -> str:
    r"""Return ``\x3e``, ``\u2026`` or ``\U0001f600`` for a character."""
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def cut(text: str, length: int) -> str:
    """Return ``text``, or if it is longer, its first ``length`` characters and how many more there are."""
    more = len(text) - length
    noun = "character" if more == 1 else "characters"
    return text if more <= 0 else f"{text[:length]}… ({more} more {noun})"


def _clean(name: str, length: int, removed: re.Pattern[str] | None, prefixes: re.Pattern[str] | None) -> str:
    name = _SPACES.sub(" ", normalize("NFC", name[: max(MAX_RAW_NAME, 4 * length)]))
    name = "".join(
        character
        for character in name
        if unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn"}
    )
    name = _INVISIBLE.sub("", name)
    if removed is not None:
        name = removed.sub("", name)
    name = normalize("NFC", name)
    start = 0
    while start < len(name) and (
        name[start] == " "
        or unicodedata.category(name[start]).startswith("M")
        or (prefixes is not None and prefixes.match(name, start))
    ):
        start += 1
    return _SPACES.sub(" ", name[start:])[:length].strip(" ")


def normalize(form: Literal["NFC", "NFD", "NFKC", "NFKD"], text: str) -> str:
    """Normalise a text in linear time.

    `unicodedata.normalize` alone takes n² steps for a run of n combining marks, which is a second for 64 KiB.
    The result is the same for words of up to 256 characters.
    """
    if len(text) <= MAX_WORD_TO_NORMALISE or text.isascii():
        return unicodedata.normalize(form, text)
    words = text.split(" ")
    for place, word in enumerate(words):
        pieces = [
            word[start : start + MAX_WORD_TO_NORMALISE]
            for start in range(0, len(word), MAX_WORD_TO_NORMALISE)
        ]
        words[place] = "".join([unicodedata.normalize(form, piece) for piece in pieces])
    return " ".join(words)
