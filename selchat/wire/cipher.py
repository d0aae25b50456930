"""The Caesar cipher of the paper: a toy, here so that the paper's clients can be talked to.

It protects nothing. Whoever sees one message can read them all by trying a few dozen shifts, and it is
not meant for more. Its place is interoperability with clients that use it.

The paper's figures fix it: the shift is the sum of the key's decimal digits (1024 gives 7, 1010 gives 2)
and is added to each character's code point, with no wrap at 26 letters or at code point 127. Here it is
a bijection on all Unicode scalar values, so that nothing is lost: the surrogates are stepped over and the
end wraps to the beginning.
"""

from __future__ import annotations

from selchat.errors import SettingError

_FIRST_SURROGATE = 0xD800
_SURROGATES = 0x800
_SCALAR_VALUES = 0x110000 - _SURROGATES


class CaesarCipher:
    """``encrypt`` and ``decrypt`` text with one key; equal digit sums are equal keys.

    A key that is not a run of ASCII decimal digits raises `SettingError`.
    """

    def __init__(self, key: str) -> None:
        if not (key.isascii() and key.isdigit()):
            raise SettingError("key", key, "a run of decimal digits")
        self._shift = sum(map(int, key))

    def encrypt(self, text: str) -> str:
        """Return ``text``, which must hold no surrogates, shifted by the key."""
        return _shifted(text, self._shift)

    def decrypt(self, text: str) -> str:
        """Return the text that ``encrypt`` turns into ``text``."""
        return _shifted(text, -self._shift)


def _shifted(text: str, shift: int) -> str:
    characters = []
    for character in text:
        point = ord(character)
        if point >= _FIRST_SURROGATE:
            if point < _FIRST_SURROGATE + _SURROGATES:
                raise ValueError(f"surrogate U+{point:04X} is no Unicode scalar value")
            point -= _SURROGATES
        point = (point + shift) % _SCALAR_VALUES
        characters.append(chr(point if point < _FIRST_SURROGATE else point + _SURROGATES))
    return "".join(characters)
