"""Line numbers and repetitions of the top-level keys of a TOML document.

tomllib reports no lines. This module finds where each statement ends, which depends on strings and brackets
only, and lets tomllib read the statement's key.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import NamedTuple

# A string that is not closed ends with the text: a search that began at each of its quotes again would take
# n² steps.
_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?(?:"""(?!")|\\?\Z)'  # of up to five quotes in a row, the last three end the string
    r"|'''.*?(?:'''(?!')|\Z)"
    r'|"(?:\\.|[^"\\])*(?:"|\\?\Z)'
    r"|'[^']*(?:'|\Z)"
    r"|\#[^\n]*"
    r"|[\[\]{}\n]",
    re.DOTALL,
)


class _Statement(NamedTuple):
    line: int
    start: int  # of its text in the document
    end: int
    text: str


class Repetition(NamedTuple):
    """The ``key`` that ``first_line`` has set is set again in ``line``."""

    key: str
    line: int
    first_line: int


def key_lines(text: str) -> dict[str, int]:
    """Return the line of each top-level key or table. The text is valid TOML with LF line ends."""
    lines: dict[str, int] = {}
    in_table = False
    for statement in _statements(text):
        if statement.text.startswith("["):
            in_table = True
        elif in_table:
            continue
        for key in tomllib.loads(statement.text + "\n"):  # a CR at the end is valid only before an LF
            lines.setdefault(key, statement.line)
    return lines


def remove_repetitions(text: str) -> tuple[str, list[Repetition]]:
    """Return the document with a blank in place of each statement that repeats a top-level key.

    The text need not be valid TOML: the search ends at the first statement that is not.
    """
    first: dict[str, tuple[int, bool]] = {}  # by key: its line, and whether it is a table
    found: list[Repetition] = []
    for statement in _statements(text):
        if statement.text.startswith("["):
            break
        try:
            [(key, value)] = tomllib.loads(statement.text + "\n").items()
        except (RecursionError, ValueError):
            break
        is_table = isinstance(value, dict)  # a.b = 1 and a.c = 2 repeat nothing
        line, was_table = first.setdefault(key, (statement.line, is_table))
        if line != statement.line and not (is_table and was_table):
            found.append(Repetition(key, statement.line, line))
            blank = re.sub(r"[^\n]", " ", text[statement.start : statement.end])
            text = text[: statement.start] + blank + text[statement.end :]
    return text, found


def _statements(text: str) -> Iterator[_Statement]:
    """Yield each statement with the number of its first line."""
    start = depth = 0
    line = 1
    for match in _TOKEN.finditer(text + "\n"):
        part = match[0]
        if part in "[{":
            depth += 1
        elif part in "]}":
            depth -= 1
        elif part == "\n" and not depth:
            statement = text[start : match.start()].lstrip(" \t")
            if statement and not statement.startswith("#"):
                yield _Statement(line, start, match.start(), statement)
            line += text.count("\n", start, match.end())
            start = match.end()
