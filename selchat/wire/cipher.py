"""Caesar cipher of the paper, for interoperability with clients that use it.

It is a toy and protects nothing: an eavesdropper can read every message after trying a few dozen shifts.

The paper's figures define it: the shift is the sum of the key's decimal digits (1024 gives 7, 1010 gives 2).
It is added to each character's code point, without a wrap at 26 letters or at code point 127. Here it is a
bijection on all Unicode scalar values, so that no text is lost: it skips the surrogates, and the end wraps to
the beginning.
"""

from __future__ import annotations

from selchat.errors import SettingError

_FIRST_SURROGATE = 0xD800
_SURROGATES = 0x800
_SCALAR_VALUES = 0x110000 - _SURROGATES


class CaesarCipher:
    """Encrypt and decrypt text with one key. Keys with the same digit sum are equal.

    Raises `SettingError` for a key that is not ASCII decimal digits.
    """

    def __init__(self, key: str) -> None:
        if not (key.isascii() and key.isdigit()):
            raise SettingError("key", key, "a number in digits 0 to 9")
        self._shift = sum(map(int, key))

    def encrypt(self, text: str) -> str:
        """Return ``text`` shifted by the key. It must contain no surrogates."""
        return _shifted(text, self._shift)

    def decrypt(self, text: str) -> str:
        """Return the text that `encrypt` turns into ``text``."""
        return _shifted(text, -self._shift)


def _shifted(text: str, shift: int) -> str:
    characters = []
    for character in text:
        point = ord(character)
        if point >= _FIRST_SURROGATE:
            if point < _FIRST_SURROGATE + _SURROGATES:
                raise ValueError(f"surrogate U+{point:04X} is not a Unicode scalar value")
            point -= _SURROGATES
        point = (point + shift) % _SCALAR_VALUES
        characters.append(chr(point if point < _FIRST_SURROGATE else point + _SURROGATES))
    return "".join(characters)
