"""Estimate of a passphrase's strength, to warn of a weak one. docs/encryption.rst has the rule and examples.

The page has the same rule (``web/src/core/strength.ts``).
"""

from __future__ import annotations

import unicodedata
from itertools import groupby, pairwise

_WORD_BITS = 13  # a word of a large dictionary
_LETTER_BITS = 5
_LONG_WORD = 8  # letters; more of them are a sign of several words, or of none
_EXTRA_LETTER_BITS = 2  # for each letter above that
_IDEOGRAPH_BITS = 7  # a character of a script without upper and lower case
_DIGIT_BITS = 3
_OTHER_BITS = 5
_GUESSES = 100_000  # a second, by a thousand computers: each guess takes 0.1 s and 32 MiB
_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
_YEAR = 365 * 86_400  # seconds for which a passphrase should hold
_ENOUGH_BITS = 200  # far more than enough; the powers of larger numbers are not floats


def passphrase_bits(passphrase: str) -> int:
    """Return how many bits an attacker has to guess, about."""
    runs = {
        (kind, "".join(run).lower())
        for kind, run in groupby(unicodedata.normalize("NFC", passphrase), _kind)
        if kind
    }
    return sum(_run_bits(kind, run) for kind, run in runs)


def passphrase_warning(passphrase: str) -> str | None:
    """Return a warning about a weak passphrase; None: it is not weak."""
    seconds = 2.0 ** min(passphrase_bits(passphrase), _ENOUGH_BITS) / 2 / _GUESSES
    if seconds >= _YEAR:
        return None
    return (
        f"this passphrase is weak: a thousand computers would guess it in {_duration(seconds)}. "
        "Six random words are out of reach"
    )


def _kind(character: str) -> str:
    """Return ``L``, ``N`` or ``other`` for letters, digits and the rest; empty for white space."""
    if character.isspace():
        return ""
    category = unicodedata.category(character)[0]
    return {"L": "L", "M": "L", "N": "N"}.get(category, "other")


def _run_bits(kind: str, run: str) -> int:
    counted = _count_surprises(run)
    if kind == "N":
        return _DIGIT_BITS * counted
    if kind == "other" or not any(character.isalpha() for character in run):
        return _OTHER_BITS * counted
    if any(unicodedata.category(character) == "Lo" for character in run):
        return _IDEOGRAPH_BITS * counted
    return min(_LETTER_BITS * counted, _WORD_BITS + _EXTRA_LETTER_BITS * max(0, counted - _LONG_WORD))


def _count_surprises(run: str) -> int:
    """Count the characters that neither repeat nor continue the one before: "abc" and "zzz" have one."""
    return 1 + sum(abs(ord(after) - ord(before)) > 1 for before, after in pairwise(run))


def _duration(seconds: float) -> str:
    for length, unit in _UNITS:
        if seconds >= length:
            number = round(seconds / length)
            return f"about {number} {unit}{'' if number == 1 else 's'}"
    return "less than a second"
