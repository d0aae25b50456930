"""Names in typed commands: quoted, the longest known one, or the first word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.quoting import UnclosedQuoteError, quoted, split_name
from selchat.text import clean_name

KNOWN = {"Table", "Table for two", "Venkat", "for"}


@pytest.mark.parametrize(
    ("text", "name", "rest"),
    [
        ("Venkat hi", "Venkat", "hi"),
        ("Venkat", "Venkat", ""),
        ("Venkat  two  words ", "Venkat", "two  words"),
        ("Table for two for 2h", "Table for two", "for 2h"),
        ("Table  for\ttwo for 2h", "Table for two", "for 2h"),
        ("Table for three", "Table", "for three"),
        ("Unknown for two", "Unknown", "for two"),
        ('"Unknown for two" for 2h', "Unknown for two", "for 2h"),
        ('"Table"for 2h', "Table", "for 2h"),
        ('" Venkat " hi', "Venkat", "hi"),
        ('""', "", ""),
        ("\u201cTable for two\u201d hi", "Table for two", "hi"),
        ("\u201eTable for two\u201c hi", "Table for two", "hi"),
        ("@Venkat hi", "Venkat", "hi"),
        ("@Unknown hi", "Unknown", "hi"),
        ("@ hi", "@", "hi"),
        ('Venkat "hi"', "Venkat", '"hi"'),
        ("for for for", "for", "for for"),
        ("x" * 70_000, "x" * 70_000, ""),
        ("", "", ""),
    ],
)
def test_name_is_split_from_the_rest(text: str, name: str, rest: str) -> None:
    assert split_name(text, KNOWN.__contains__) == (name, rest)


@pytest.mark.parametrize("text", ['"', '"Venkat', "\u201cVenkat hi", '"Venkat hi'])
def test_missing_quotation_mark_is_an_error(text: str) -> None:
    with pytest.raises(UnclosedQuoteError, match="another one is missing"):
        split_name(text, KNOWN.__contains__)


@given(st.text(max_size=64).map(clean_name).filter(bool), st.text(max_size=20).map(str.strip))
def test_every_name_comes_back_from_its_quoted_form(name: str, rest: str) -> None:
    assert split_name(f"{quoted(name)} {rest}", lambda name: False) == (name, rest)
    assert split_name(f'"{name}" {rest}', lambda name: True) == (name, rest)
    assert split_name(name, lambda known: known == name) == (name, "")
