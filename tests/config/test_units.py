from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.config.units import parse_duration, parse_size
from selchat.errors import SettingError, brief
from selchat.limits import MAX_DURATION


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
        "1  K",
        "0.0001K",
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
        *(("30s", 30), ("10m", 600), ("2h", 7200), ("3d", 259_200), ("4w", 2_419_200), ("1h10m", 4200)),
        *((" 1h 30m ", 5400), ("1d12h", 129_600), ("30m1h", 5400), ("1d1d", 172_800), ("0d", 0), ("007s", 7)),
        *(("3650d", 315_360_000), ("315360000s", 315_360_000)),
    ],
)
def test_a_duration_is_a_sum_of_whole_numbers_with_units(text: str, seconds: float) -> None:
    assert parse_duration(text, "for") == seconds


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "30", "d", "-1h", "+1h", "1h10", "1 month", "2 months", "1mo", "1hr", "30ds", "1d\n2d"),
        *(
            "\u0663d",
            "30 m",
            "1  h",
            "1h  10m",
            "1.5h",
            "1,5h",
            "1y",
            "5M",
            "2H",
            "1 hour",
            "2 days",
            "1h and 1m",
        ),
        *("for ever", "1e3s", "0x1s", "1_000s", "1h;1m", "h1", "1000000000s", "inf", "nan"),
        *("3651d", "315360001s", "999999d999999d999999d", "1s" * 40),
    ],
)
def test_other_texts_are_no_duration(text: str) -> None:
    with pytest.raises(SettingError) as caught:
        parse_duration(text, "for")
    assert (caught.value.name, caught.value.value) == ("for", text.strip())


def test_duration_of_more_than_ten_years_is_refused() -> None:
    with pytest.raises(SettingError, match="for: '521w4d' is not a time of up to ten years \\(3650d\\)"):
        parse_duration("521w4d", "for")


@given(st.integers(0, 10**9 - 1), st.sampled_from(["", " "]), st.sampled_from(["KiB", "kib", "K", "k"]))
def test_suffix_k_means_1024_bytes(number: int, space: str, unit: str) -> None:
    assert parse_size(f"{number}{space}{unit}") == number * 1024


@given(st.text())
def test_any_text_is_a_size_or_none(text: str) -> None:
    size = parse_size(text)
    assert size is None or size >= 0


@given(st.text() | st.text("0123456789smhdw ", max_size=20))
def test_any_text_is_a_duration_or_one_error_that_shows_it(text: str) -> None:
    try:
        seconds = parse_duration(text, "for")
    except SettingError as error:
        assert brief(text.strip()) in str(error)
        return
    assert 0 <= seconds <= MAX_DURATION
    terms = text.replace(" ", "")
    total = 0
    while terms:
        digits = len(terms) - len(terms.lstrip("0123456789"))
        total += int(terms[:digits]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}[terms[digits]]
        terms = terms[digits + 1 :]
    assert seconds == total
