"""Arbitrary bytes as a settings file, and the lines of keys compared with a slow, simple parser."""

from __future__ import annotations

import tomllib
from dataclasses import fields

from hypothesis import example, given
from hypothesis import strategies as st

from selchat.config.settings import Settings
from selchat.config.sources import ConfigurationError, parse_file
from selchat.config.toml_lines import key_lines

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
