from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.errors import SettingError
from selchat.log.retention import Retention


@pytest.mark.parametrize(
    ("text", "days", "size"),
    [
        ("30d", 30, None),
        ("90d", 90, None),
        ("12h", 0.5, None),
        ("1d12h", 1.5, None),
        ("2w", 14, None),
        ("86400s", 1, None),
        ("1d1440m", 2, None),
        ("3650d", 3650, None),
        ("2GiB", None, 2 << 30),
        ("2 gib", None, 2 << 30),
        ("500M", None, 500 << 20),
        ("500 MB", None, 500_000_000),
        ("64k", None, 64 << 10),
        ("0.5 GiB", None, 1 << 29),
        ("1T", None, 1 << 40),
        ("90d,2GiB", 90, 2 << 30),
        (" 2GiB , 90d ", 90, 2 << 30),
        ("forever", None, None),
        (" Forever ", None, None),
        ("", None, None),
    ],
)
def test_retention_is_parsed(text: str, days: float | None, size: int | None) -> None:
    assert Retention.parse(text) == Retention(days, size)


@pytest.mark.parametrize(
    "text",
    [
        *("30", "d", "30 minutes", "30m d", "-30d", "+30d", "1e9d", "0d", "0.0 GiB", "0K", "30d 2GiB"),
        *("30d,", ",", "30d,30d", "2GiB,3GiB", "30d,forever", "30ds", "2hs", "2GiBs", "\u0663d", "30d\n2d"),
        *("inf d", "nan d", "9999999999999d", "30dd", "half a day", "kib", "2 s"),
        *("90 days", "1.5w", "2y", "1 month", "3651d", "2G30d", "30m", "30m,2GiB"),
    ],
)
def test_invalid_retention_is_refused(text: str) -> None:
    with pytest.raises(SettingError) as caught:
        Retention.parse(text, "--keep")
    assert (caught.value.name, caught.value.value) == ("--keep", text)


def test_minutes_that_could_be_mebibytes_are_refused() -> None:
    with pytest.raises(
        SettingError, match="30m could be minutes or a size; write MiB or another unit of time"
    ):
        Retention.parse("30m")
    assert Retention.parse("30MiB").size == 30 << 20


@given(st.text())
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        retention = Retention.parse(text)
    except SettingError:
        return
    assert retention.days is None or retention.days > 0
    assert retention.size is None or retention.size > 0
