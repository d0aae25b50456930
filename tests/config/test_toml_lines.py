"""Line numbers of keys; tests/properties/test_config.py compares them with a second parser."""

from __future__ import annotations

import pytest

from selchat.config.toml_lines import key_lines


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", {}),
        ("a = 1\nb = 2", {"a": 1, "b": 2}),
        ("# a = 0\n\na = [\n  1,\n]\nb = 2\n", {"a": 3, "b": 6}),
        ('a = """\nb = 1\n"""\nb = 2\n', {"a": 1, "b": 4}),
        ("a.x = 1\na.y = 2\n", {"a": 1}),
        ("a = 1\n[table]\nb = 2\n", {"a": 1, "table": 2}),
    ],
)
def test_a_key_has_the_line_on_which_its_statement_starts(text: str, lines: dict[str, int]) -> None:
    assert key_lines(text) == lines
