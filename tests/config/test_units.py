from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.config.units import parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(("0", 0), ("1400", 1400), ("64KiB", 65536), ("64 kib", 65536), ("1.5K", 1536), ("2MiB", 2 << 20)),
        *(("1 MB", 10**6), (" 3GiB ", 3 << 30), ("1T", 1 << 40)),
    ],
)
def test_a_size_is_a_number_of_bytes_with_or_without_a_unit(text: str, size: int) -> None:
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
def test_other_texts_are_no_size(text: str) -> None:
    assert parse_size(text) is None


def test_a_plain_number_is_no_size_where_a_unit_is_needed() -> None:
    assert parse_size("1400", needs_unit=True) is None
    assert parse_size("1400K", needs_unit=True) == 1400 * 1024


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("90s", 90), ("30 m", 1800), ("1h10m", 4200), ("1 hour 10 minutes", 4200), (" 1.5 Days ", 129_600)),
        *(("2w", 1_209_600), ("1Y", 31_536_000), ("1d12h", 129_600), ("0d", 0)),
    ],
)
def test_a_duration_is_a_sum_of_numbers_with_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", " ", "30", "d", "-1h", "1h10", "2 months", "1hr", "30ds", "1d\n2d", "\u0663d"]
)
def test_other_texts_are_no_duration(text: str) -> None:
    assert parse_duration(text) is None


def test_callers_restrict_the_units() -> None:
    assert parse_duration("30m", units="hd") is None
    assert parse_duration("2h", units="hd") == 7200
    assert parse_duration("2hrs", any_suffix=True) == 7200


@given(st.integers(0, 10**9 - 1), st.sampled_from(["", " "]), st.sampled_from(["KiB", "kib", "K", "k"]))
def test_suffix_k_means_1024_bytes(number: int, space: str, unit: str) -> None:
    assert parse_size(f"{number}{space}{unit}") == number * 1024


@given(st.text())
def test_any_text_is_a_size_or_none(text: str) -> None:
    size = parse_size(text)
    assert size is None or size >= 0


@given(st.text(), st.booleans())
def test_any_text_is_a_duration_or_none(text: str, any_suffix: bool) -> None:
    seconds = parse_duration(text, any_suffix=any_suffix)
    assert seconds is None or seconds >= 0
