"""Password hashes: known answers, their text form, and errors that never contain the password."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.auth.password import PasswordHash, derive
from selchat.config.settings import ClientSettings, Settings
from selchat.errors import SettingError

CHEAP = PasswordHash(4, 1, 1, b"saltsalt", derive("tea at four", b"saltsalt", 4, 1, 1, 16))

hashes = st.builds(
    PasswordHash,
    st.integers(1, 15),
    st.integers(1, 16),
    st.integers(1, 8),
    st.binary(min_size=8, max_size=64),
    st.binary(min_size=16, max_size=64),
)


@pytest.mark.parametrize(
    ("password", "salt", "log_n", "r", "p", "answer"),
    [  # RFC 7914, section 12
        (
            "",
            b"",
            4,
            1,
            1,
            "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442"
            "fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906",
        ),
        (
            "password",
            b"NaCl",
            10,
            8,
            16,
            "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
            "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640",
        ),
        (
            "pleaseletmein",
            b"SodiumChloride",
            14,
            8,
            1,
            "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
            "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887",
        ),
    ],
)
def test_the_test_vectors_of_rfc_7914(
    password: str, salt: bytes, log_n: int, r: int, p: int, answer: str
) -> None:
    assert derive(password, salt, log_n, r, p, 64).hex() == answer
    assert PasswordHash(log_n, r, p, salt, bytes.fromhex(answer)).matches(password)


def test_a_new_hash_has_a_random_salt_and_matches_its_password() -> None:
    first, second = PasswordHash.of("tea at four"), PasswordHash.of("tea at four")
    assert (first.log_n, first.r, first.p, len(first.salt), len(first.digest)) == (15, 8, 1, 16, 32)
    assert first.salt != second.salt
    assert first.digest != second.digest
    assert PasswordHash.parse(str(first)).matches("tea at four")
    assert not first.matches("tea at five")


@given(hashes)
def test_the_text_form_parses_back_and_needs_no_quotes(hash: PasswordHash) -> None:
    text = str(hash)
    assert PasswordHash.parse(text) == hash
    assert re.fullmatch(r"[A-Za-z0-9:_-]+", text)


@given(
    st.one_of(
        st.text(), hashes.map(str).flatmap(lambda text: st.integers(0, len(text)).map(lambda n: text[:n]))
    )
)
def test_only_the_canonical_text_form_parses(text: str) -> None:
    try:
        hash = PasswordHash.parse(text)
    except SettingError:
        return
    assert str(hash) == text


@pytest.mark.parametrize(
    "text",
    [
        "hunter2",
        f"{CHEAP} ",
        str(CHEAP).replace("scrypt", "bcrypt"),
        str(CHEAP).replace("scrypt:4", "scrypt:04"),
        str(CHEAP).replace("scrypt:4", "scrypt:23"),  # would take minutes
        str(CHEAP)[:-1] + "_",  # has unused bits that are not zero
        str(CHEAP) + "==",
        "scrypt:4:1:1:c2FsdHNhbHQ:",
    ],
)
def test_an_invalid_hash_raises_an_error_without_its_text(text: str) -> None:
    with pytest.raises(SettingError) as caught:
        Settings(password=text)
    assert str(caught.value) == "password: '...' is not a hash that selchat hash-password has printed"


def test_a_password_matches_in_any_normalisation_but_not_in_capitals() -> None:
    salt, cheap = b"saltsalt", (4, 1, 1)
    hash = PasswordHash(*cheap, salt, derive("Thé à 4", salt, *cheap, 16))
    assert hash.matches("The\u0301 a\u0300 4")
    assert not hash.matches("thé à 4")
    assert not hash.matches("Thé à 4 ")


def test_a_clients_password_is_limited_and_never_shown() -> None:
    ClientSettings(host="127.0.0.1", password="x" * 256)
    with pytest.raises(SettingError) as caught:
        ClientSettings(host="127.0.0.1", password="hunter2" * 50)
    assert "hunter" not in str(caught.value)
    assert "hunter2" not in repr(ClientSettings(host="127.0.0.1", password="hunter2"))
