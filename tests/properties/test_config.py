"""Arbitrary bytes as a settings file, and any text as the value of any option, variable or key.

The lines of keys are compared with a slow, simple parser.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import fields
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from selchat.arguments import ArgumentsError, parse_arguments
from selchat.cli import COMMANDS, as_typed, client_options
from selchat.client.setup import make_settings, split_host
from selchat.config.settings import ClientSettings, Settings
from selchat.config.sources import SETTINGS, ConfigurationError, SettingsBuilder, parse_file
from selchat.config.toml_lines import key_lines
from selchat.config.units import parse_duration, parse_size
from selchat.errors import SettingError
from selchat.limits import MAX_DURATION

NAMES = [field.name for field in fields(Settings)]

# Pieces that a parser can confuse: ends of strings, brackets and comments inside each other.
PIECES = st.sampled_from(
    [
        *(
            '"',
            "'",
            '"""',
            "'''",
            '"' * 7,
            "\\",
            '\\"',
            "#",
            "[",
            "]",
            "[[",
            "]]",
            "{",
            "}",
            "=",
            ",",
            ".",
            "\n",
        ),
        *(
            "\r\n",
            " ",
            "\t",
            "a",
            "b",
            "1",
            "inf",
            "true",
            "a = 1\n",
            "'b' = [\n",
            '"c" = """\n',
            "d.e = 2\n",
        ),
        *("[t]\n", "[[u]]\n", "f = {g = 1}\n", "# [ \" '''\n", "1979-05-27", "0x" + "f" * 4000, "9" * 5000),
    ]
)
VALUES = st.sampled_from(
    [
        *(
            "1",
            "-1",
            "0",
            "1.5",
            "nan",
            "inf",
            "true",
            "false",
            '""',
            '"64KiB"',
            '"30d"',
            "[]",
            '["a", "b"]',
            "[1]",
        ),
        *(
            '"\\u0000"',
            '"~/x"',
            "'/x'",
            '"require"',
            "{}",
            "[{}]",
            "[\n'#',\n]",
            '"""\n]"""',
            "1e300",
            "9" * 40,
        ),
    ]
)
LINES = st.one_of(
    st.builds("{} = {}\n".format, st.sampled_from(NAMES) | st.text("abc_", min_size=1, max_size=9), VALUES),
    PIECES,
)
FILES = st.lists(LINES | PIECES, max_size=12).map("".join)


def reference_lines(text: str) -> dict[str, int]:
    """Return the line of each key. A statement ends where the text up to there is a valid document."""
    lines = text.split("\n")
    found: dict[str, int] = {}
    start = 1
    for number in range(1, len(lines) + 1):
        try:
            keys = tomllib.loads("\n".join(lines[:number]))
        except tomllib.TOMLDecodeError:
            continue
        for key in keys:
            found.setdefault(key, start)
        start = number + 1
    return found


@given(FILES)
@example('a = """\n"""\n""""""\nb = 1\n')
@example('a = """x""""\nb = "y"\nc = 1')
@example("a = '''\n#''''\nb = ''\nc = [ # ]\n '#', \"]\" ]\n[t]\nd = 1\n")
@example('a = """x\\\n  \\""""\nb = "\\\\" # "\nc = 1')
@example('a = """"""\nb = """"x"""""\nc = {d = "}"}\n\n"e f" = 1\n\'g\'.h = 2\n\'g\'.i = 2')
def test_key_has_the_first_line_of_its_statement(text: str) -> None:
    text = text.replace("\r\n", "\n")
    try:
        found = tomllib.loads(text)
    except ValueError:
        return
    lines = key_lines(text)
    assert lines == reference_lines(text)
    assert list(lines) == list(found)


@given(
    st.binary()
    | FILES.map(str.encode)
    | st.builds(lambda text, cut: text.encode()[: cut % (len(text) + 1)], FILES, st.integers(0, 10**6))
)
@example(b"\xef\xbb\xbfport = 1")
@example(b"port = 1\n\xff")
@example(b"a=" + b"[" * 5000)
@example(b"max_clients = 0x" + b"f" * 5000)
@example(b"operators = [0x" + b"f" * 5000 + b"]")
@example(b'history = "~\\u0000/x"')
def test_any_bytes_give_settings_or_one_line_mistakes(data: bytes) -> None:
    try:
        settings = parse_file(data, "x.toml")
    except ConfigurationError as error:
        assert error.mistakes
        for mistake in error.mistakes:
            assert str(mistake).startswith("x.toml:")
            assert len(str(mistake)) < 300
            assert "\n" not in str(mistake)
    else:
        assert isinstance(settings, Settings)


# Values as people type them, right and wrong.
NUMBERS = [
    "0",
    "1",
    "10",
    "-1",
    "+1",
    "1.5",
    ".5",
    "1.",
    "1e3",
    "0x10",
    "1_000",
    "1,000",
    "٣",
    "½",
    "²",
    "∞",
    "nan",
]
UNITS = [
    "",
    " ",
    "b",
    "B",
    "k",
    "KB",
    "KiB",
    "kib ",
    "MiB",
    "GiB",
    "TiB",
    "s",
    "m",
    "h",
    "d",
    "w",
    "y",
    "days",
    "months",
]
TYPED = st.one_of(
    st.text(),
    st.builds("{}{}".format, st.sampled_from(NUMBERS) | st.just("9" * 5000), st.sampled_from(UNITS)),
    st.lists(
        st.sampled_from(["30d", "2h", "1h10m", "2 GiB", ",", ", ", " ", "a.b", "[::1]", "*"]), max_size=5
    ).map("".join),
    st.sampled_from(
        [
            *(
                "true",
                "No",
                "auto",
                "require",
                "off",
                "json",
                "localhost",
                "::",
                "[::1]",
                "[::1",
                "::1]",
                "1.2.3.4",
            ),
            *(
                "host:80",
                "host:",
                ":80",
                "a:b:c",
                "[::1]:80",
                "[::1]x",
                "host:99999",
                "host:\u0663",
                "http://h/",
            ),
            *(
                "mailto:a@b",
                "https://h",
                "a,b, c",
                ",",
                "~/x",
                "/",
                "",
                " ",
                "\0",
                "\n",
                "\udcff",
                "--help",
                "x" * 70000,
            ),
        ]
    ),
)


def built(builder: SettingsBuilder) -> list[str]:
    """Return the mistakes; none: the settings are good."""
    try:
        assert isinstance(builder.build(), Settings)
    except ConfigurationError as error:
        return [str(mistake) for mistake in error.mistakes]
    return []


def check(mistakes: list[str], place: str) -> None:
    for mistake in mistakes:
        assert mistake.startswith(place)
        assert len(mistake) < 450
        assert "\n" not in mistake


@given(st.sampled_from(list(SETTINGS.values())), TYPED)
def test_any_text_for_a_setting_is_a_value_or_one_error_that_names_its_place(setting: Any, text: str) -> None:
    by_option, by_variable, by_file = SettingsBuilder(), SettingsBuilder(), SettingsBuilder()
    by_option.add_options({setting.option: text})
    by_variable.add_environment({setting.variable: text})
    quoted = json.dumps(text.encode(errors="replace").decode(), ensure_ascii=False).replace("\x7f", "\\u007f")
    by_file.add_file(f"# settings\n{setting.name} = {quoted}\n".encode(), "x.toml")
    for builder, place in (
        (by_option, f"{setting.option}: "),
        (by_variable, f"{setting.variable}: "),
        (by_file, f"x.toml:2: {setting.name}: "),
    ):
        found = built(builder)
        assert len(found) <= 1
        check(found, place)


CLIENT_OPTIONS = ["--port", "--name", "--key", "--header-length", "--room", "--tls"]


@given(
    st.sampled_from(["chat", "send"]),
    TYPED,
    st.dictionaries(st.sampled_from(CLIENT_OPTIONS), TYPED, max_size=2),
    st.dictionaries(
        st.sampled_from(["SELCHAT_TLS", "SELCHAT_TLS_SECONDS", "SELCHAT_HELLO_SECONDS"]), TYPED, max_size=1
    ),
)
def test_any_text_for_a_client_s_option_is_a_value_or_an_error_that_names_it(
    command: str, host: str, given: dict[str, str], variables: dict[str, str]
) -> None:
    words = [f"{name}={value}" for name, value in given.items()]
    options = parse_arguments(COMMANDS[command], [*words, "--", host], command)
    names = ["HOST", "--name", *given, *variables]
    try:
        settings = make_settings(client_options(options, variables))
    except SettingError as error:
        assert str(as_typed(error, options)).startswith(tuple(names))
        assert "\n" not in str(error)
    else:
        assert isinstance(settings, ClientSettings)


@given(TYPED)
def test_any_text_is_a_size_a_duration_and_a_host_or_an_error(text: str) -> None:
    size = parse_size(text)
    assert size is None or size >= 0
    try:
        assert 0 <= parse_duration(text, "--since") <= MAX_DURATION
    except SettingError as error:
        assert error.name == "--since"
    try:
        host, port = split_host(text)
    except SettingError as error:
        assert error.name == "HOST"
    else:
        assert host in text
        assert port is None or 0 <= port < 100_000


@given(
    st.sampled_from([*COMMANDS]),
    st.lists(TYPED | st.sampled_from(["--port=1", "--name", "--help", "--"]), max_size=6),
)
def test_any_words_are_options_or_one_error(command: str, words: list[str]) -> None:
    try:
        parse_arguments(COMMANDS[command], words, command)
    except ArgumentsError as error:
        assert len(str(error)) < 450
