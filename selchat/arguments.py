"""Command-line arguments: docopt, with one clear error for each mistake.

docopt knows which arguments a command takes. This module reads the words first, by the rules of POSIX and
GNU: ``--`` ends the options, a long option may be abbreviated, and a value follows after ``=`` or as the next
word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

import docopt

from selchat.errors import UsageError, brief
from selchat.limits import MAX_OPTION_SHOWN

_DESCRIPTION = re.compile(r"^ +(?:(-\w) )?(--[\w-]+)(?:=(\S+))?(?:  |$)", re.MULTILINE)
_REPEATABLE = re.compile(r"\[(--[\w-]+)=\S+\]\.\.\.")
_NEGATIVE_NUMBER = re.compile(r"-[0-9]+(\.[0-9]+)?")
_FINAL = ("--help", "--version")  # options that make all other arguments irrelevant


class ArgumentsError(UsageError):
    """The arguments of a command are wrong; ``problem``, in words."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return self.problem


class _Option(NamedTuple):
    name: str
    value: str | None  # the name of its value in the help text; None: the option takes no value


def parse_arguments(help_text: str, words: Sequence[str], command: str | None = None) -> dict[str, Any]:
    """Return docopt's dictionary of options and operands. Raises `ArgumentsError`.

    ``words`` come after the name of the ``command``; None: the program has no commands. If ``--help`` or
    ``--version`` is among the options, return only these two.
    """
    options = _options_of(help_text)
    given: list[tuple[_Option, str | None]] = []
    operands: list[str] = []
    problems: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            operands += rest
            break
        if not _is_option(word):
            operands.append(word)
            continue
        try:
            given += _read_option(word, rest, options)
        except ArgumentsError as error:
            problems.append(error.problem)
    names = [option.name for option, _ in given]
    for name in _FINAL:
        if name in names:
            return {**dict.fromkeys(_FINAL, False), name: True}
    repeatable = _REPEATABLE.findall(help_text)
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1 and name not in repeatable]
    problems += [f"{name} is given twice" for name in twice]
    if problems:
        raise ArgumentsError(problems[0])
    return _match(help_text, command, given, operands)


def _options_of(help_text: str) -> dict[str, _Option]:
    """Return the options by each of their names."""
    options = {}
    for short, name, value in _DESCRIPTION.findall(help_text):
        options[name] = _Option(name, value or None)
        if short:
            options[short] = options[name]
    return options


def _is_option(word: str) -> bool:
    return word.startswith("-") and word != "-" and not _NEGATIVE_NUMBER.fullmatch(word)


def _read_option(word: str, rest: list[str], options: dict[str, _Option]) -> list[tuple[_Option, str | None]]:
    """Return the options of one word with their values; take a value from ``rest`` if the word has none."""
    if not word.startswith("--"):  # no short option takes a value
        return [(_find(f"-{letter}", options), None) for letter in word[1:]]
    name, separator, value = word.partition("=")
    option = _find(name, options)
    if option.value is None:
        if separator:
            raise ArgumentsError(f"{option.name} takes no value")
        return [(option, None)]
    if separator:
        return [(option, value)]
    if not rest or _is_option(rest[0]):
        hint = f" (for the value {brief(rest[0])} write {option.name}=...)" if rest else ""
        raise ArgumentsError(f"{option.name} needs a value: {option.name}={option.value}{hint}")
    return [(option, rest.pop(0))]


def _find(name: str, options: dict[str, _Option]) -> _Option:
    """Return the option with that name, or with the only name that begins so."""
    if name in options:
        return options[name]
    name = name if len(name) <= MAX_OPTION_SHOWN else f"{name[:MAX_OPTION_SHOWN]}..."
    found = (
        [option for known, option in options.items() if known.startswith(name)] if name[:2] == "--" else []
    )
    if len(found) == 1:
        return found[0]
    if found:
        raise ArgumentsError(f"{name} is ambiguous: {', '.join(option.name for option in found)}")
    nearest = get_close_matches(name[:64], options, 1, 0.7)
    raise ArgumentsError(f"unknown option {name}" + (f"; did you mean {nearest[0]}?" if nearest else ""))


def _match(
    help_text: str, command: str | None, given: list[tuple[_Option, str | None]], operands: list[str]
) -> dict[str, Any]:
    """Have docopt match the arguments. It gets the operands as numbers, which never look like an option."""
    words = [] if command is None else [command]
    words += [option.name if value is None else f"{option.name}={value}" for option, value in given]
    words += map(str, range(len(operands)))
    try:
        found = dict(docopt.docopt(help_text, words, default_help=False))
    except docopt.DocoptExit as error:
        raise ArgumentsError(_mismatch(help_text, str(error), operands)) from None
    for name, value in found.items():
        if name.isupper() and value is not None:
            found[name] = operands[int(value)]
    return found


def _mismatch(help_text: str, problem: str, operands: list[str]) -> str:
    """Return the reason why the arguments match no line of the usage."""
    # Only docopt's message has the arguments that it could not match, as the repr of its patterns.
    first = problem.partition("\n")[0]
    if match := re.search(r"Argument\(None, '([0-9]+)'\)", first):
        return f"unexpected argument {brief(operands[int(match[1])])}"
    if match := re.search(r"Option\(\S+, '(--[^']*)'", first):
        return f"{match[1]} is not possible with the other arguments"
    usage = help_text[help_text.index("Usage:") :].split("\n")[1]
    required = re.findall(r"(?<!\S)[A-Z]+(?!\S)", usage)
    return (
        f"{required[len(operands)]} is missing" if len(operands) < len(required) else "an argument is missing"
    )
