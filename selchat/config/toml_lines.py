"""Line numbers of the top-level keys of a TOML document.

tomllib reports no lines. This module finds where each statement ends, which depends on strings and brackets
only, and lets tomllib read the statement's key.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?!")'  # of up to five quotes in a row, the last three end the string
    r"|'''.*?'''(?!')"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'"
    r"|\#[^\n]*"
    r"|[\[\]{}\n]",
    re.DOTALL,
)


def key_lines(text: str) -> dict[str, int]:
    """Return the line of each top-level key or table. The text is valid TOML with LF line ends."""
    lines: dict[str, int] = {}
    in_table = False
    for line, statement in _statements(text):
        if statement.startswith("["):
            in_table = True
        elif in_table:
            continue
        for key in tomllib.loads(statement + "\n"):  # a CR at the end is valid only before an LF
            lines.setdefault(key, line)
    return lines


def _statements(text: str) -> Iterator[tuple[int, str]]:
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
                yield line, statement
            line += text.count("\n", start, match.end())
            start = match.end()
