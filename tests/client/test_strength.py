"""The estimate of a passphrase's strength, against the examples of the document."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.client.strength import passphrase_bits, passphrase_warning

DOCUMENT = Path(__file__).parents[2] / "docs" / "encryption.rst"
EXAMPLES = re.findall(r"^``(.+)`` +(\d+) +(.+)$", DOCUMENT.read_text(), re.MULTILINE)


def test_the_document_has_examples() -> None:
    assert len(EXAMPLES) >= 8


@pytest.mark.parametrize(("passphrase", "bits", "time"), EXAMPLES)
def test_the_estimate_is_the_one_of_the_document(passphrase: str, bits: str, time: str) -> None:
    assert passphrase_bits(passphrase) == int(bits)
    warning = passphrase_warning(passphrase)
    if time == "more than a year":
        assert warning is None
    else:
        assert f"would guess it in {time}." in str(warning)


def test_repetitions_and_sequences_add_nothing() -> None:
    assert passphrase_bits("zzzzzzzzzzzz") == passphrase_bits("abcdefgh") == passphrase_bits("z") == 5
    assert passphrase_bits("zoo ZOO  zoo Zoo") == passphrase_bits("zoo") == 10
    assert passphrase_bits("cafe\u0301") == passphrase_bits("caf\u00e9")


@given(st.text(min_size=1, max_size=50))
def test_every_passphrase_has_an_estimate(passphrase: str) -> None:
    assert passphrase_bits(passphrase) <= passphrase_bits(f"{passphrase} horse battery")
    passphrase_warning(passphrase)


def test_a_very_long_passphrase_is_no_error() -> None:
    assert passphrase_warning("".join(chr(0x4E00 + 2 * number) for number in range(2000))) is None
