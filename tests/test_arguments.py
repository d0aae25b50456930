"""Arguments of all commands: every option, given once, twice, abbreviated, and with a wrong value."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat import cli
from selchat.arguments import ArgumentsError, parse_arguments
from selchat.bench.cli import USAGE

HELP = """A program.

Usage:
  program send [options] [--tag=TAG]... HOST [MESSAGE]
  program send --list

Options:
  --name=NAME    A name.
  --name-file=F  A file.
  --port=PORT    A port. [default: 1]
  --tag=TAG      A tag.
  --list         List.
  -q --quiet     Quiet.
  -h --help      Help.
"""

COMMANDS: dict[str | None, str] = {**cli.COMMANDS, None: USAGE}
OPERANDS = {"chat": ["HOST"], "send": ["HOST"], "token": ["NAME"], None: ["fanout"]}


def parsed(*words: str) -> dict[str, Any]:
    return parse_arguments(HELP, words, "send")


def problem(*words: str) -> str:
    with pytest.raises(ArgumentsError) as caught:
        parsed(*words)
    return str(caught.value)


@pytest.mark.parametrize(
    ("words", "host", "message"),
    [
        (["h"], "h", None),
        (["h", "--", "--help"], "h", "--help"),
        (["h", "--", "-h"], "h", "-h"),
        (["h", "--", "--"], "h", "--"),
        (["--", "h", "--name=x"], "h", "--name=x"),
        (["--", "--help", "-h"], "--help", "-h"),
        (["h", "-"], "h", "-"),
        (["h", ""], "h", ""),
        (["h", "-5"], "h", "-5"),
        (["h", "-1.5"], "h", "-1.5"),
        (["send", "send"], "send", "send"),
        (["h", "0"], "h", "0"),
    ],
)
def test_operands_stay_as_they_are(words: list[str], host: str, message: str | None) -> None:
    found = parsed(*words)
    assert (found["HOST"], found["MESSAGE"], found["--name"]) == (host, message, None)


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--name=a"], "--name", "a"),
        (["--name", "a"], "--name", "a"),
        (["--name="], "--name", ""),
        (["--name", ""], "--name", ""),
        (["--name=--help"], "--name", "--help"),
        (["--name", "-5"], "--name", "-5"),
        (["--name", "-"], "--name", "-"),
        (["--name-f=a"], "--name-file", "a"),
        (["--por", "7"], "--port", "7"),
        ([], "--port", "1"),
        (["-q"], "--quiet", True),
        (["--qui"], "--quiet", True),
        (["--tag=a", "--tag", "b"], "--tag", ["a", "b"]),
        ([], "--tag", []),
    ],
)
def test_options_have_their_values(words: list[str], name: str, value: object) -> None:
    assert parsed(*words, "h")[name] == value
    assert parsed("h", *words)[name] == value


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "HOST is missing"),
        (["h", "m", "extra"], "unexpected argument 'extra'"),
        (["h", "--name=a", "--name=b"], "--name is given twice"),
        (["h", "--port=1", "--po=2"], "--port is given twice"),
        (["h", "-q", "--quiet"], "--quiet is given twice"),
        (["h", "-qq"], "--quiet is given twice"),
        (["h", "--na=x"], "--na is ambiguous: --name, --name-file"),
        (["h", "--nmae=x"], "unknown option --nmae; did you mean --name?"),
        (["h", "-x"], "unknown option -x"),
        (["h", "-x", "-x"], "unknown option -x"),
        (["h", "--quiet=yes"], "--quiet takes no value"),
        (["h", "--name"], "--name needs a value: --name=NAME"),
        (["h", "--name", "--quiet"], "--name needs a value: --name=NAME"),
        (["--name", "--", "h"], "--name needs a value: --name=NAME"),
        (["h", "--list"], "--list is not possible with the other arguments"),
        (["--list", "m"], "--list is not possible with the other arguments"),
    ],
)
def test_a_mistake_is_named(words: list[str], text: str) -> None:
    assert problem(*words).startswith(text)


@pytest.mark.parametrize(
    "words", [["--help"], ["-h"], ["--hel"], ["h", "-qh"], ["--bogus", "--help"], ["-h", "-h"]]
)
def test_help_overrides_everything_before_the_double_dash(words: list[str]) -> None:
    assert parsed(*words)["--help"] is True


def options_of(text: str) -> list[tuple[str, bool]]:
    """Return the long options of a help text, and whether each takes a value: by its layout alone."""
    words = [line.split("  ")[1] for line in text.splitlines() if line.startswith(("  --", "  -h"))]
    names = [word.removeprefix("-h ").partition("=") for word in words if " " not in word.removeprefix("-h ")]
    return [(name, bool(equals)) for name, equals, _ in names]


@pytest.mark.parametrize(
    ("command", "name", "has_value"),
    [
        (command, name, has_value)
        for command, text in COMMANDS.items()
        for name, has_value in options_of(text)
        if name not in {"--help", "--version", "--fail-if"}
    ],
)
def test_every_option_given_twice_is_named(command: str | None, name: str, has_value: bool) -> None:
    word = f"{name}=x" if has_value else name
    with pytest.raises(ArgumentsError, match=f"^{name} is given twice$"):
        parse_arguments(COMMANDS[command], [*OPERANDS.get(command, []), word, word], command)


def test_the_options_of_every_command_are_found() -> None:
    counts = {command: len(options_of(text)) for command, text in COMMANDS.items()}
    assert counts["serve"] > 20
    assert min(counts.values()) >= 1


@pytest.mark.parametrize("command", COMMANDS)
@given(words=st.lists(st.text() | st.sampled_from(["--", "-", "--name", "--port=", "-h", "--list", "-q"])))
def test_any_words_are_arguments_or_one_clear_error(command: str | None, words: list[str]) -> None:
    try:
        assert isinstance(parse_arguments(COMMANDS[command], words, command), dict)
    except ArgumentsError as error:
        assert str(error)
