"""What people with browsers are told: addresses, and a picture that a phone can read."""

from __future__ import annotations

import io
import sys

import pytest
import segno

from selchat.server.startup import page_addresses, picture

ADDRESS = "https://192.168.43.158:33000/"


def test_addresses_are_written_as_browsers_take_them() -> None:
    hosts = ["192.168.43.158", "fd00::7"]
    assert page_addresses(hosts, 33000, tls=True, local=True) == [
        ADDRESS,
        "https://[fd00::7]:33000/",
        "http://localhost:33000/",
    ]
    assert page_addresses(hosts[:1], 80, tls=False, local=False) == ["http://192.168.43.158:80/"]
    assert page_addresses([], 33000, tls=True, local=True) == ["http://localhost:33000/"]
    assert len(page_addresses(["10.1.2.3"] * 30, 33000, tls=True, local=False)) == 6


def test_the_picture_is_the_code_of_the_address() -> None:
    lines = picture(ADDRESS, 80, 24)
    assert len({len(line) for line in lines}) == 1
    code = segno.make_qr(ADDRESS, error="l")
    wanted = io.StringIO()
    code.terminal(out=wanted, compact=True, border=2)
    assert "\n".join(lines) == wanted.getvalue().strip("\n")
    # Read back as a scanner would: the upper half of a character is one module, the lower half the next.
    rows = [[one in half for one in line] for line in lines for half in (" \u2584", " \u2580")]
    assert [row[2:-2] for row in rows[2:-2]][: len(code.matrix)] == [
        [bool(module) for module in row] for row in code.matrix
    ][: len(rows) - 4]


@pytest.mark.parametrize(
    ("columns", "rows", "fits"), [(80, 24, True), (29, 24, True), (28, 24, False), (80, 22, False)]
)
def test_there_is_none_where_it_does_not_fit(columns: int, rows: int, fits: bool) -> None:
    assert bool(picture(ADDRESS, columns, rows)) == fits


def test_there_is_none_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segno", None)
    assert picture(ADDRESS, 80, 24) == []
