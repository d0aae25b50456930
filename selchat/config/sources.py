"""Server settings from options, environment variables and a TOML file.

An option overrides an environment variable, which overrides the file, which overrides the default.
`SettingsBuilder` reads them in this order and collects all mistakes. Each mistake names the option, the
variable, or the file with its line.

The fields of `Settings` decide which settings there are. A new field can be set in the file and in the
environment at once, and by an option as soon as the help text has one.

No file is read unless the operator names it.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from selchat.config.settings import Settings
from selchat.config.units import parse_duration, parse_size
from selchat.errors import SettingError, UsageError, brief, close_reason
from selchat.limits import MAX_CONFIG_SIZE, MAX_MISTAKES
from selchat.paths import history_path


class UnknownSettingError(UsageError):
    """There is no setting ``name``. ``where`` is its place; ``nearest`` is a similar setting, or empty."""

    def __init__(self, where: str, name: str, nearest: str = "") -> None:
        super().__init__(where, name, nearest)
        self.where = where
        self.name = name
        self.nearest = nearest

    def __str__(self) -> str:
        hint = f"; did you mean {self.nearest!r}?" if self.nearest else ""
        return f"{self.where}: unknown key {brief(self.name)}{hint}"


class ConfigFileError(UsageError):
    """``file`` cannot be read or parsed. ``line`` is 0 if no line is to blame; ``why``, in words."""

    def __init__(self, file: str, line: int, why: str) -> None:
        super().__init__(file, line, why)
        self.file = file
        self.line = line
        self.why = why

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.why}" if self.line else f"{self.file}: {self.why}"


class ConfigurationError(UsageError):
    """The settings have ``mistakes``, at least one: of options, of variables, and of the file by line."""

    def __init__(self, mistakes: tuple[UsageError, ...]) -> None:
        super().__init__(mistakes)
        self.mistakes = mistakes

    def __str__(self) -> str:
        return "; ".join(map(str, self.mistakes))


PREFIX = "SELCHAT_"
CONFIG = "SELCHAT_CONFIG"  # the same as --config
_NO_HISTORY = "--no-history"

# The options and variables that are not called like their setting. The other variables are for clients.
_OPTIONS = {"roster": "--no-roster"}
_VARIABLES = {"password": "SELCHAT_PASSWORD_HASH"}
OTHER_VARIABLES = {
    *(CONFIG, "SELCHAT_PASSWORD", "SELCHAT_PASSPHRASE", "SELCHAT_PASSPHRASE_FILE"),
    *("SELCHAT_TLS_SECONDS", "SELCHAT_HELLO_SECONDS"),
}
_SECRET = {"key", "password"}  # settings whose values are never shown
# Settings judged only together: if one has a mistake, the other would get one that follows from it.
_TOGETHER = {"cert": "key_file", "key_file": "cert"}

_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")
_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}


# -- types of values ---------------------------------------------------------------------------------------


class ValueType(NamedTuple):
    """A type of values. ``expected`` describes it in words.

    ``convert`` returns the setting's value for a value from TOML, or raises ValueError. ``parse`` returns
    the TOML value for the text of an option or a variable, or the text itself if it cannot be parsed.
    """

    expected: str
    convert: Callable[[object], Any]
    parse: Callable[[str], object]


def _convert_text(value: object) -> str:
    if not isinstance(value, str) or any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError
    return value


def _convert_path(value: object) -> str:
    if value == "":
        raise ValueError
    return _convert_text(value)


def _convert_bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _convert_int(value: object) -> int:
    if type(value) is not int:  # bool is a subclass of int
        raise ValueError
    return value


def _convert_size(value: object) -> int:
    size = parse_size(value) if isinstance(value, str) else _convert_int(value)
    if size is None:
        raise ValueError
    return size


def _convert_number(value: object) -> float:
    if type(value) is int:
        return value
    if type(value) is not float or not math.isfinite(value):
        raise ValueError
    return value


def _convert_seconds(value: object) -> float:
    return parse_duration(value, "") if isinstance(value, str) else _convert_number(value)


def _convert_names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError
    return tuple(name for name in map(str.strip, map(_convert_text, value)) if name)


def _parse_int(text: str) -> object:
    return int(text) if re.fullmatch("[0-9]{1,15}", text) else text


def _parse_number(text: str) -> object:
    return float(text) if _NUMBER.fullmatch(text) else text


def _parse_bool(text: str) -> object:
    word = text.strip().lower()
    return True if word in _TRUE else False if word in _FALSE else text


def _unchanged(text: str) -> object:
    return text


_TYPES = {
    "str": ValueType("a text without control characters", _convert_text, _unchanged),
    "bool": ValueType("true or false", _convert_bool, _parse_bool),
    "int": ValueType("a whole number", _convert_int, _parse_int),
    "float": ValueType("a number", _convert_number, _parse_number),
    "Bytes": ValueType("a size such as 64KiB, or a whole number of bytes", _convert_size, _unchanged),
    "Seconds": ValueType(
        "a number of seconds, or a time such as 10s, 2m or 1h10m", _convert_seconds, _parse_number
    ),
    "Pathname": ValueType("a path", _convert_path, _unchanged),
    "tuple[str, ...]": ValueType("a list of names", _convert_names, lambda text: text.split(",")),
}
# False: no history.
_HISTORY = ValueType(
    "a path, or false for none",
    lambda value: value if value is False else _convert_path(value),
    lambda text: False if text.strip().lower() in _FALSE else text,
)


class Setting(NamedTuple):
    """One field of `Settings`. ``name`` is also its key in the file."""

    name: str
    type: ValueType
    option: str  # not every setting's option exists
    variable: str
    is_path: bool

    def parse_option(self, given: str | bool) -> object:
        """Return the TOML value for docopt's value of the option."""
        return self.type.parse(given) if isinstance(given, str) else not self.option.startswith("--no-")


def _settings() -> Iterator[Setting]:
    for field in fields(Settings):
        type_ = str(field.type).removesuffix(" | None")
        yield Setting(
            field.name,
            _HISTORY if field.name == "history" else _TYPES[type_],
            _OPTIONS.get(field.name, "--" + field.name.replace("_", "-")),
            _VARIABLES.get(field.name, PREFIX + field.name.upper()),
            type_ == "Pathname",
        )


SETTINGS = {setting.name: setting for setting in _settings()}


# -- the builder -------------------------------------------------------------------------------------------


class _Place(NamedTuple):
    """Where a value comes from; mistakes are reported in the order of their places."""

    source: int  # 0: the options, 1: the environment, 2: the file, 3: no source
    line: int
    name: str  # as the user typed it


_OPTIONS_SOURCE, _ENVIRONMENT_SOURCE, _FILE_SOURCE, _NO_SOURCE = range(4)


class _Value(NamedTuple):
    value: Any
    where: str  # its place in words, for mistakes
    place: _Place
    source: str  # its source, for the summary


class SettingsBuilder:
    """Collects values and mistakes. Add the strongest source first.

    ``warnings`` are for variables that may be misspelt.
    """

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self._mistakes: list[tuple[_Place, UsageError]] = []
        self._values: dict[str, _Value] = {}
        self._unusable: set[str] = set()  # settings that may have been given, with a mistake

    def add_options(self, options: Mapping[str, Any]) -> None:
        """Add docopt's options. None and False are options that were not given."""
        for setting in SETTINGS.values():
            given = options.get(setting.option)
            if given is not None and given is not False:
                place = _Place(_OPTIONS_SOURCE, 0, setting.option)
                self._add(setting, setting.parse_option(given), setting.option, place, "options")
        if options.get(_NO_HISTORY):
            if options["--history"] is not None:
                expected = f"allowed together with {_NO_HISTORY}"
                error = SettingError("--history", options["--history"], expected)
                self._mistakes.append((_Place(_OPTIONS_SOURCE, 0, "--history"), error))
            place = _Place(_OPTIONS_SOURCE, 0, _NO_HISTORY)
            self._add(SETTINGS["history"], False, _NO_HISTORY, place, "options")

    def add_environment(self, environment: Mapping[str, str]) -> None:
        """Add the variables of `given_variables`. Ignore variables of clients and of others."""
        for setting in SETTINGS.values():
            text = environment.get(setting.variable)
            if text is not None:
                place = _Place(_ENVIRONMENT_SOURCE, 0, setting.variable)
                self._add(setting, setting.type.parse(text), setting.variable, place, "the environment")
        known = {setting.variable.removeprefix(PREFIX) for setting in SETTINGS.values()}
        for name in sorted(environment):
            if name.startswith(PREFIX) and name not in OTHER_VARIABLES:
                nearest = get_close_matches(name.removeprefix(PREFIX)[:64], known, 1, 0.7)
                if nearest and name.removeprefix(PREFIX) not in known:
                    self.warnings.append(f"{name} has no effect; did you mean {PREFIX}{nearest[0]}?")

    def add_file(self, data: bytes, file: str) -> None:
        """Add a TOML file. Relative paths start in its folder, and ``~/`` is the home folder."""
        # Imported here: a server without a file starts 3 ms sooner.
        import tomllib

        from selchat.config.toml_lines import key_lines, remove_repetitions

        try:
            text = data.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            self.add_mistake(ConfigFileError(file, line, "not UTF-8"))
            return
        try:
            try:
                found = tomllib.loads(text)
            except ValueError:
                text, repetitions = remove_repetitions(text)
                for key, line, first in repetitions:
                    why = f"{brief(key)} is set in line {first} already; remove one of the two lines"
                    self._add_file_mistake(ConfigFileError(file, line, why))
                found = tomllib.loads(text)
        except RecursionError:
            self.add_mistake(ConfigFileError(file, 0, "brackets are nested too deep"))
            return
        except ValueError as error:  # TOMLDecodeError, or Python's own for numbers of thousands of digits
            self.add_mistake(_syntax_error(file, text, str(error)))
            return
        lines = key_lines(text)
        folder = Path(file).parent
        for key, value in found.items():
            where = f"{file}:{lines[key]}"
            place = _Place(_FILE_SOURCE, lines[key], key)
            if isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
                why = f"{key[:64]!r} is a table; put all settings at the top, without a table"
                self.add_mistake(ConfigFileError(file, lines[key], why))
            elif key not in SETTINGS:
                hint = _nearest(key) if len(self._mistakes) < MAX_MISTAKES else ""
                self._mistakes.append((place, UnknownSettingError(where, key, hint)))
                self._unusable.add(hint)
            else:
                self._add(SETTINGS[key], value, f"{where}: {key}", place, file, folder)

    def add_mistake(self, mistake: ConfigFileError) -> None:
        """Add a mistake about the whole file: the settings in it are unknown."""
        self._add_file_mistake(mistake)
        self._unusable.update(SETTINGS)

    def build(self, check: Callable[[Settings], object] = lambda settings: None) -> Settings:
        """Return the settings. Raises `ConfigurationError` with all mistakes.

        ``check`` may raise `SettingError` for a value that only another module can judge.
        """
        found = list(self._mistakes)
        values = dict(self._values)
        unusable = set(self._unusable)
        while True:  # each round finds one more mistake, and removes its value
            for name, other in _TOGETHER.items():
                if other in unusable and other not in values:
                    values.pop(name, None)
            try:
                given = {name: one.value for name, one in values.items()}
                history = given.pop("history", None)
                settings = Settings(**given)
                if history is None and settings.port:
                    history = str(history_path(settings.port))
                settings = replace(settings, history=history or None)
                check(settings)
                break
            except SettingError as error:
                wrong = values.pop(error.name, None)
                if wrong is None:  # the error is not about a given value
                    found.append((_Place(_NO_SOURCE, 0, error.name), error))
                    break
                unusable.add(error.name)
                value = "..." if error.name == "password" else error.value  # it may be a real password
                found.append((wrong.place, SettingError(wrong.where, value, error.expected)))
        mistakes = [mistake for _, mistake in sorted(found, key=lambda pair: pair[0])]
        if len(mistakes) > MAX_MISTAKES:
            mistakes[MAX_MISTAKES:] = [UsageError(f"and {len(mistakes) - MAX_MISTAKES} more")]
        if mistakes:
            raise ConfigurationError(tuple(mistakes))
        return settings

    def summary(self) -> str:
        """Return how many settings come from each source."""
        counts = Counter(one.source for one in self._values.values())
        found = [f"{count} from {source}" for source, count in counts.items()]
        found.append(f"{len(SETTINGS) - sum(counts.values())} defaults")
        return ", ".join(found)

    def _add_file_mistake(self, mistake: ConfigFileError) -> None:
        self._mistakes.append((_Place(_FILE_SOURCE, mistake.line, ""), mistake))

    def _add(
        self,
        setting: Setting,
        value: object,
        where: str,
        place: _Place,
        source: str,
        folder: Path | None = None,
    ) -> None:
        try:
            converted = setting.type.convert(value)
        except (ValueError, SettingError):
            self._mistakes.append((place, SettingError(where, value, setting.type.expected)))
            self._unusable.add(setting.name)
            return
        if setting.is_path and converted and folder is not None:
            # Path.expanduser raises if there is no home folder; os.path.expanduser leaves the text as it is.
            path = os.path.expanduser(converted) if converted.startswith("~/") else converted  # noqa: PTH111
            converted = str(folder / path)
        self._values.setdefault(setting.name, _Value(converted, where, place, source))


def given_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of this program that have a value: an empty or blank variable counts as unset."""
    return {name: value for name, value in environment.items() if name.startswith(PREFIX) and value.strip()}


def read_sources(options: Mapping[str, Any], environment: Mapping[str, str]) -> SettingsBuilder:
    """Read all sources: the options, the environment, and the file that one of them names."""
    builder = SettingsBuilder()
    builder.add_options(options)
    environment = given_variables(environment)
    builder.add_environment(environment)
    file = environment.get(CONFIG) if options.get("--config") is None else options["--config"]
    if file == "":
        builder.add_mistake(ConfigFileError("--config", 0, "the name of the file is empty"))
    elif file is not None:
        try:
            builder.add_file(_read(file), file)
        except ConfigFileError as error:
            builder.add_mistake(error)
    return builder


def parse_file(data: bytes, file: str = "selchat.toml") -> Settings:
    """Return the settings of a file alone. Raises `ConfigurationError`, and nothing else."""
    builder = SettingsBuilder()
    builder.add_file(data, file)
    return builder.build()


def _read(file: str) -> bytes:
    """Return a file's content. Refuse a pipe: it would be empty, or block, at the next reload."""
    try:
        if Path(file).exists() and not Path(file).is_file():
            raise ConfigFileError(file, 0, "not a file")
        with Path(file).open("rb") as opened:
            data = opened.read(MAX_CONFIG_SIZE + 1)
    except OSError as error:
        raise ConfigFileError(file, 0, close_reason(error)) from error
    if len(data) > MAX_CONFIG_SIZE:
        raise ConfigFileError(file, 0, f"more than {MAX_CONFIG_SIZE} bytes")
    return data


def _nearest(key: str) -> str:
    return next(iter(get_close_matches(key[:64].lower().replace("-", "_"), SETTINGS, 1)), "")


_POSITION = re.compile(r" \(at (?:line ([0-9]+), column [0-9]+|end of document)\)$")


def _syntax_error(file: str, text: str, why: str) -> ConfigFileError:
    """Return the error for tomllib's message ``why``, with its line in front."""
    position = _POSITION.search(why)
    if position is None:
        return ConfigFileError(file, 0, "a number has too many digits")
    line = int(position[1] or text.rstrip().count("\n") + 1)
    why = why[: position.start()]
    if why.startswith("Cannot declare") or why.startswith("Cannot mutate"):
        why = "a table is declared twice; put all settings at the top, without a table"
    elif why == "Cannot overwrite a value":
        why = "a key is set again; remove one of the two lines"
    return ConfigFileError(file, line, why[0].lower() + why[1:])


# -- reloading ---------------------------------------------------------------------------------------------


class Reload(NamedTuple):
    """The ``settings`` of a running server after a reload, and the changes in words.

    ``applied`` take effect at once, ``pending`` ones only after a restart.
    """

    settings: Settings
    applied: list[str]
    pending: list[str]


def reload_settings(old: Settings, new: Settings, fixed: frozenset[str]) -> Reload:
    """Return ``new``, but with the ``old`` values of the settings that are ``fixed`` until a restart."""
    applied: list[str] = []
    pending: list[str] = []
    kept = {}
    for name in SETTINGS:
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        text = name if name in _SECRET else f"{name} {_show(before)} -> {_show(after)}"
        if name in fixed:
            kept[name] = before
            pending.append(text)
        else:
            applied.append(text)
    return Reload(replace(new, **kept), applied, pending)


def _show(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        value = ", ".join(value)
    if value is None or value == "":
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
