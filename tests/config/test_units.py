from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.config.units import parse_quantity, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(("0", 0), ("1400", 1400), ("64KiB", 65536), ("64 kib", 65536), ("1.5K", 1536), ("2MiB", 2 << 20)),
        *(("1 MB", 10**6), (" 3GiB ", 3 << 30), ("1T", 1 << 40)),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "KiB",
        "-1",
        "+1",
        "1e3",
        "1_000",
        "0x10",
        "64KiBs",
        "30d",
        "1 2 K",
        "\u0663",
        "\u0663K",
        "9" * 16,
    ],
)
def test_what_is_no_size(text: str) -> None:
    assert parse_size(text) is None


def test_a_quantity_has_a_number_and_a_unit() -> None:
    assert parse_quantity(" 1.5 Days ") == (1.5, "days")
    assert parse_quantity("1.5") is None


@given(st.integers(0, 10**9 - 1), st.sampled_from(["", " "]), st.sampled_from(["KiB", "kib", "K", "k"]))
def test_binary_units(number: int, space: str, unit: str) -> None:
    assert parse_size(f"{number}{space}{unit}") == number * 1024


@given(st.text())
def test_every_text_is_a_size_or_none(text: str) -> None:
    size = parse_size(text)
    assert size is None or size >= 0
