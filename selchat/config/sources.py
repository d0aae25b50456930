"""What a server is run with, from wherever an operator says it.

A flag is stronger than an environment variable, that than the file, and that than the default. A `Draft`
takes them in this order and keeps all that is wrong with them; each mistake names the flag, the variable, or
the file with its line. What settings there are, and of which kind, is read from `Settings` alone: one that is
added there can be set in the file and in the environment, and has a flag when the help text has one.

There is no file in a well-known place: a server that nobody gave one has none.
"""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from selchat.config.settings import KIB, Settings
from selchat.config.units import parse_size
from selchat.errors import SettingError, UsageError, brief, close_reason
from selchat.paths import history_path


class UnknownSettingError(UsageError):
    """``name`` that no setting has, ``where`` it was said, and the ``nearest`` one that there is, if any."""

    def __init__(self, where: str, name: str, nearest: str = "") -> None:
        super().__init__(where, name, nearest)
        self.where = where
        self.name = name
        self.nearest = nearest

    def __str__(self) -> str:
        hint = f"; did you mean {self.nearest!r}?" if self.nearest else ""
        return f"{self.where}: unknown key {brief(self.name)}{hint}"


class ConfigFileError(UsageError):
    """``file``, the ``line`` in it or 0, and ``why`` it is no file of settings."""

    def __init__(self, file: str, line: int, why: str) -> None:
        super().__init__(file, line, why)
        self.file = file
        self.line = line
        self.why = why

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.why}" if self.line else f"{self.file}: {self.why}"


class ConfigurationError(UsageError):
    """``mistakes``: all of them, in the order in which they were found; one at least."""

    def __init__(self, mistakes: tuple[UsageError, ...]) -> None:
        super().__init__(mistakes)
        self.mistakes = mistakes

    def __str__(self) -> str:
        return "; ".join(map(str, self.mistakes))


PREFIX = "SELCHAT_"
CONFIG = "SELCHAT_CONFIG"  # what --config says
_FILE_LIMIT = 64 * KIB  # bytes; one with every setting has 4 KiB
_MAX_SAID = 20  # mistakes
_NO_HISTORY = "--no-history"

# Where the name alone does not say it: SELCHAT_PASSWORD is the password itself, which clients have.
_FLAGS = {"roster": "--no-roster"}
_VARIABLES = {"password": "SELCHAT_PASSWORD_HASH"}
_FOREIGN = {CONFIG, "SELCHAT_PASSWORD", "SELCHAT_PASSPHRASE", "SELCHAT_PASSPHRASE_FILE"}
_SECRET = {"key", "password"}  # not to be shown on a terminal that others see

_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")
_YES = {"true", "yes", "on", "1"}
_NO = {"false", "no", "off", "0"}


# -- the kinds of values -----------------------------------------------------------------------------------


class Kind(NamedTuple):
    """``wanted``: in words. ``take`` returns the value of what TOML says, or raises ValueError. ``read``
    returns what TOML would have said for the text of a flag or a variable; that same text if nothing.
    """

    wanted: str
    take: Callable[[object], Any]
    read: Callable[[str], object]


def _take_text(value: object) -> str:
    if not isinstance(value, str) or any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError
    return value


def _take_path(value: object) -> str:
    if value == "":
        raise ValueError
    return _take_text(value)


def _take_truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _take_whole(value: object) -> int:
    if type(value) is not int:  # True is one
        raise ValueError
    return value


def _take_size(value: object) -> int:
    size = parse_size(value) if isinstance(value, str) else _take_whole(value)
    if size is None:
        raise ValueError
    return size


def _take_number(value: object) -> float:
    if type(value) is int:
        return value
    if type(value) is not float or not math.isfinite(value):
        raise ValueError
    return value


def _take_names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError
    return tuple(name for name in map(str.strip, map(_take_text, value)) if name)


def _read_whole(text: str) -> object:
    return int(text) if re.fullmatch("[0-9]{1,15}", text) else text


def _read_number(text: str) -> object:
    return float(text) if _NUMBER.fullmatch(text) else text


def _read_truth(text: str) -> object:
    word = text.strip().lower()
    return True if word in _YES else False if word in _NO else text


def _as_it_is(text: str) -> object:
    return text


_KINDS = {
    "str": Kind("a text without control characters", _take_text, _as_it_is),
    "bool": Kind("true or false", _take_truth, _read_truth),
    "int": Kind("a whole number", _take_whole, _read_whole),
    "float": Kind("a number", _take_number, _read_number),
    "Bytes": Kind("a size such as 64KiB, or a whole number of bytes", _take_size, _as_it_is),
    "Seconds": Kind("a number of seconds", _take_number, _read_number),
    "Pathname": Kind("a path", _take_path, _as_it_is),
    "tuple[str, ...]": Kind("a list of names", _take_names, lambda text: text.split(",")),
}
# False: there is none.
_HISTORY = Kind(
    "a path, or false for none",
    lambda value: value if value is False else _take_path(value),
    lambda text: False if text.strip().lower() in _NO else text,
)


class Setting(NamedTuple):
    """One field of `Settings`: ``name`` is its key in the file, too."""

    name: str
    kind: Kind
    flag: str  # if it has one
    variable: str
    is_path: bool

    def read_flag(self, given: str | bool) -> object:
        """Return what TOML would have said for this flag."""
        return self.kind.read(given) if isinstance(given, str) else not self.flag.startswith("--no-")


def _settings() -> Iterator[Setting]:
    for field in fields(Settings):
        type_ = str(field.type).removesuffix(" | None")
        yield Setting(
            field.name,
            _HISTORY if field.name == "history" else _KINDS[type_],
            _FLAGS.get(field.name, "--" + field.name.replace("_", "-")),
            _VARIABLES.get(field.name, PREFIX + field.name.upper()),
            type_ == "Pathname",
        )


SETTINGS = {setting.name: setting for setting in _settings()}


# -- the draft ---------------------------------------------------------------------------------------------


class _Given(NamedTuple):
    value: Any
    where: str  # as mistakes name it
    source: str  # as the summary does


class Draft:
    """Settings in the making: say the strongest source first. ``unusual``: what may be a mistake, or not."""

    def __init__(self) -> None:
        self.unusual: list[str] = []
        self._mistakes: list[UsageError] = []
        self._given: dict[str, _Given] = {}

    def add_options(self, options: Mapping[str, Any]) -> None:
        """Take what docopt has found: None and False are options that were not given."""
        for setting in SETTINGS.values():
            given = options.get(setting.flag)
            if given is not None and given is not False:
                self._add(setting, setting.read_flag(given), setting.flag, "options")
        if options.get(_NO_HISTORY):
            if options["--history"] is not None:
                wanted = f"possible together with {_NO_HISTORY}"
                self._mistakes.append(SettingError("--history", options["--history"], wanted))
            self._add(SETTINGS["history"], False, _NO_HISTORY, "options")

    def add_environment(self, environment: Mapping[str, str]) -> None:
        """Take the variables that are not empty. Those of clients and of others are none of our business."""
        for setting in SETTINGS.values():
            text = environment.get(setting.variable)
            if text:
                self._add(setting, setting.kind.read(text), setting.variable, "the environment")
        known = {setting.variable.removeprefix(PREFIX) for setting in SETTINGS.values()}
        for name in sorted(environment):
            if name.startswith(PREFIX) and name not in _FOREIGN:
                nearest = get_close_matches(name.removeprefix(PREFIX)[:64], known, 1, 0.7)
                if nearest and name.removeprefix(PREFIX) not in known:
                    self.unusual.append(f"{name} means nothing; did you mean {PREFIX}{nearest[0]}?")

    def add_file(self, data: bytes, file: str) -> None:
        """Take a TOML file of that name. Relative paths in it begin where it is, ``~/`` at home."""
        try:
            text = data.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            self._mistakes.append(ConfigFileError(file, line, "not UTF-8"))
            return
        try:
            found = tomllib.loads(text)
        except RecursionError:
            self._mistakes.append(ConfigFileError(file, 0, "brackets within brackets, too deep"))
            return
        except ValueError as error:  # TOMLDecodeError, or Python's own for numbers of thousands of digits
            self._mistakes.append(_no_toml(file, text, str(error)))
            return
        lines = key_lines(text)
        folder = Path(file).parent
        for key, value in found.items():
            where = f"{file}:{lines[key]}"
            if isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
                why = f"{key[:64]!r} is a table; settings stand above all tables, without any"
                self._mistakes.append(ConfigFileError(file, lines[key], why))
            elif key not in SETTINGS:
                hint = _nearest(key) if len(self._mistakes) < _MAX_SAID else ""
                self._mistakes.append(UnknownSettingError(where, key, hint))
            else:
                self._add(SETTINGS[key], value, f"{where}: {key}", file, folder)

    def fail(self, mistake: UsageError) -> None:
        """Note what is wrong with a source as a whole."""
        self._mistakes.append(mistake)

    def settings(self, check: Callable[[Settings], object] = lambda settings: None) -> Settings:
        """Return the settings. Raises `ConfigurationError` with all that is wrong.

        ``check`` raises `SettingError` for what only those who use a setting can judge.
        """
        mistakes = list(self._mistakes)
        given = dict(self._given)
        while True:  # each turn finds one mistake more, and goes on without it
            try:
                values = {name: one.value for name, one in given.items()}
                history = values.pop("history", None)
                settings = Settings(**values)
                if history is None and settings.port:
                    history = str(history_path(settings.port))
                settings = replace(settings, history=history or None)
                check(settings)
                break
            except SettingError as error:
                wrong = given.pop(error.name, None)
                if wrong is None:  # it is not about anything that was given
                    mistakes.append(error)
                    break
                value = "..." if error.name == "password" else error.value  # somebody's, perhaps, and no hash
                mistakes.append(SettingError(wrong.where, value, error.wanted))
        if len(mistakes) > _MAX_SAID:
            mistakes[_MAX_SAID:] = [UsageError(f"and {len(mistakes) - _MAX_SAID} more")]
        if mistakes:
            raise ConfigurationError(tuple(mistakes))
        return settings

    def summary(self) -> str:
        """Return how many settings are from where."""
        counts = Counter(one.source for one in self._given.values())
        found = [f"{count} from {source}" for source, count in counts.items()]
        found.append(f"{len(SETTINGS) - sum(counts.values())} settings as they are by default")
        return ", ".join(found)

    def _add(
        self, setting: Setting, value: object, where: str, source: str, folder: Path | None = None
    ) -> None:
        try:
            taken = setting.kind.take(value)
        except ValueError:
            self._mistakes.append(SettingError(where, value, setting.kind.wanted))
            return
        if setting.is_path and taken and folder is not None:
            # Where there is no home, a Path would not leave it as it is.
            taken = str(folder / (os.path.expanduser(taken) if taken.startswith("~/") else taken))  # noqa: PTH111
        self._given.setdefault(setting.name, _Given(taken, where, source))


def draft(options: Mapping[str, Any], environment: Mapping[str, str]) -> Draft:
    """Take all that there is: the options, the environment, and the file that one of these names."""
    made = Draft()
    made.add_options(options)
    made.add_environment(environment)
    file = options.get("--config") or environment.get(CONFIG)
    if file:
        try:
            made.add_file(_read(file), file)
        except ConfigFileError as error:
            made.fail(error)
    return made


def parse(data: bytes, file: str = "selchat.toml") -> Settings:
    """Return what a file alone says. Raises `ConfigurationError`, and nothing else."""
    made = Draft()
    made.add_file(data, file)
    return made.settings()


def _read(file: str) -> bytes:
    """Return what the file holds. A pipe would be empty, or hold everything up, when it is read again."""
    try:
        if Path(file).exists() and not Path(file).is_file():
            raise ConfigFileError(file, 0, "not a file")
        with Path(file).open("rb") as opened:
            data = opened.read(_FILE_LIMIT + 1)
    except OSError as error:
        raise ConfigFileError(file, 0, close_reason(error)) from error
    if len(data) > _FILE_LIMIT:
        raise ConfigFileError(file, 0, f"more than {_FILE_LIMIT} bytes")
    return data


def _nearest(key: str) -> str:
    return next(iter(get_close_matches(key[:64].lower().replace("-", "_"), SETTINGS, 1)), "")


# -- lines of a file ---------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?!")'  # of up to five quotes in a row, the last three are the end
    r"|'''.*?'''(?!')"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'"
    r"|\#[^\n]*"
    r"|[\[\]{}\n]",
    re.DOTALL,
)
_POSITION = re.compile(r" \(at (?:line ([0-9]+), column [0-9]+|end of document)\)$")


def key_lines(text: str) -> dict[str, int]:
    """Return the line of each key at the top of a TOML document, which must be a good one, with LF alone.

    tomllib says nothing of lines. This finds where the statements end, which strings and brackets alone
    decide, and leaves it to tomllib to read the key of each.
    """
    lines: dict[str, int] = {}
    above_tables = True
    for line, statement in _statements(text):
        if statement.startswith("["):
            above_tables = False
        elif not above_tables:
            continue
        for key in tomllib.loads(statement + "\n"):  # the end of a line is a part of it, after a CR
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


def _no_toml(file: str, text: str, why: str) -> ConfigFileError:
    position = _POSITION.search(why)
    if position is None:
        return ConfigFileError(file, 0, "a number of too many digits")
    line = int(position[1] or text.rstrip().count("\n") + 1)
    why = why[: position.start()]
    return ConfigFileError(file, line, why[0].lower() + why[1:])


# -- what changes while a server runs ----------------------------------------------------------------------


class Changes(NamedTuple):
    """``settings`` from now on, what of them is new, and what would be but for a restart; each in words."""

    settings: Settings
    made: list[str]
    refused: list[str]


def changes(old: Settings, new: Settings, fixed: frozenset[str]) -> Changes:
    """Return how a server comes from ``old`` to ``new`` where it can; ``fixed``: what it was built with."""
    made: list[str] = []
    refused: list[str] = []
    kept = {}
    for name in SETTINGS:
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        text = name if name in _SECRET else f"{name} {_words(before)} -> {_words(after)}"
        if name in fixed:
            kept[name] = before
            refused.append(text)
        else:
            made.append(text)
    return Changes(replace(new, **kept), made, refused)


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        value = ", ".join(value)
    if value is None or value == "":
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
