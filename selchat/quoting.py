"""Names in typed commands: in double quotes, or as the longest known name.

The console and the clients have the same rule; web/src/core/commands.ts has it for the page.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice

from selchat.errors import UsageError
from selchat.limits import MAX_NAME_WORDS, MAX_SPACED_NAME, NAME_LENGTH

_QUOTES = ('"', "\u201c", "\u201d", "\u201e", "\uff02")  # phones and some desktops type curly ones
_NEXT_QUOTE = re.compile('["\u201c\u201d\uff02]')
_WORD = re.compile(r"\S+")


class UnclosedQuoteError(UsageError):
    def __str__(self) -> str:
        return "a name begins with a quotation mark, but another one is missing at its end"


def split_name(text: str, is_known: Callable[[str], bool]) -> tuple[str, str]:
    """Return the name at the start of a command's argument, and the rest.

    The name is in double quotes, or it is the longest name that ``is_known``, or else the first word. It may
    have an ``@`` before it. The text has no space at its start. Raises `UnclosedQuoteError`.
    """
    if text[:1] in _QUOTES:
        end = _NEXT_QUOTE.search(text, 1)
        if end is None:
            raise UnclosedQuoteError
        return text[1 : end.start()].strip(), text[end.end() :].strip()
    for word in reversed(list(islice(_WORD.finditer(text, 0, MAX_SPACED_NAME), MAX_NAME_WORDS))):
        name = " ".join(text[: word.end()].split())
        if len(name) <= 2 * NAME_LENGTH and is_known(name.removeprefix("@")):
            return name.removeprefix("@"), text[word.end() :].strip()
    first, *rest = text.split(maxsplit=1) or [""]
    return first.removeprefix("@") or first, rest[0] if rest else ""


def unquoted(text: str) -> str:
    """Return a text without double quotes around it."""
    quotes = len(text) > 1 and text[0] in _QUOTES and _NEXT_QUOTE.search(text, 1)
    return text[1:-1].strip() if quotes and quotes.end() == len(text) else text


def quoted(name: str) -> str:
    """Return a name as it is typed in a command: with double quotes if it has spaces."""
    return f'"{name}"' if " " in name else name
