from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.errors import SettingError
from selchat.wire.cipher import CaesarCipher

KEYS = st.text("0123456789", min_size=1, max_size=40)


def test_message_of_the_paper_is_decrypted_with_its_key() -> None:
    shown = "Olssv'Uhyh\x80hu('T\x80'Uhtl'pz'Uhyh\x80hu5"
    assert CaesarCipher("1024").decrypt(shown) == "Hello Narayan! My Name is Narayan."
    assert CaesarCipher("1024").encrypt("Hello Narayan! My Name is Narayan.") == shown


def test_wrong_key_gives_the_same_garbage_as_in_the_paper() -> None:
    sent = CaesarCipher("1024").encrypt("Hey Guys! How are you feeling today?")
    assert CaesarCipher("1010").decrypt(sent) == "Mj~%Lz~x&%Mt|%fwj%~tz%kjjqnsl%ytif~D"


@pytest.mark.parametrize("key", ["", "abc", "12a", "-1", "+1", "1.5", " 1", "1 ", "1\n", "٣", "²", "1_000"])
def test_key_with_anything_but_decimal_digits_is_refused(key: str) -> None:
    with pytest.raises(SettingError) as caught:
        CaesarCipher(key)
    assert caught.value.name == "key"
    assert "a number in digits 0 to 9" in str(caught.value)


@given(st.text(), KEYS)
def test_any_text_survives_a_round_trip_with_any_key(text: str, key: str) -> None:
    cipher = CaesarCipher(key)
    encrypted = cipher.encrypt(text)
    assert cipher.decrypt(encrypted) == text
    assert cipher.encrypt(cipher.decrypt(text)) == text
    assert len(encrypted) == len(text)
    encrypted.encode()  # no surrogates, so it can be sent


@given(st.text(), KEYS, st.randoms())
def test_keys_with_the_same_digit_sum_are_equivalent(text: str, key: str, random: object) -> None:
    shuffled = "0" + "".join(random.sample(key, len(key)))  # type: ignore[attr-defined]
    assert CaesarCipher(key).encrypt(text) == CaesarCipher(shuffled).encrypt(text)


@pytest.mark.parametrize("key", ["0", "1", "7", "9" * 400])
def test_cipher_is_a_bijection_next_to_surrogates_and_at_the_last_code_point(key: str) -> None:
    points = (*range(5000), *range(0xD800 - 5000, 0xD800), *range(0xE000, 0xE000 + 5000))
    sample = "".join(map(chr, (*points, *range(0x110000 - 5000, 0x110000))))
    cipher = CaesarCipher(key)
    encrypted = cipher.encrypt(sample)
    assert len(set(encrypted)) == len(sample) == 20_000
    assert cipher.decrypt(encrypted) == sample
    assert cipher.encrypt(cipher.decrypt(sample)) == sample


@pytest.mark.parametrize(
    ("plain", "key", "encrypted"),
    [
        ("\ud7ff", "1", "\ue000"),
        ("\ud7fe", "3", "\ue001"),
        ("\ud7ff", "0", "\ud7ff"),
        ("\U0010ffff", "1", "\0"),
        ("\U0010fffe", "4", "\x02"),
        ("yz", "1024", "\x80\x81"),
    ],
)
def test_cipher_skips_surrogates_and_wraps_after_the_last_code_point(
    plain: str, key: str, encrypted: str
) -> None:
    assert CaesarCipher(key).encrypt(plain) == encrypted
    assert CaesarCipher(key).decrypt(encrypted) == plain


@pytest.mark.parametrize("surrogate", ["\ud800", "\udfff", "a\udc80b"])
def test_surrogates_are_refused(surrogate: str) -> None:
    with pytest.raises(ValueError, match=r"surrogate U\+D"):
        CaesarCipher("1").encrypt(surrogate)
    with pytest.raises(ValueError, match="not a Unicode scalar value"):
        CaesarCipher("1").decrypt(surrogate)
