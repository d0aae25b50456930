"""Options, environment, file and defaults, and every mistake in them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from itertools import product
from pathlib import Path
from typing import Any

import docopt
import pytest

from selchat import cli
from selchat.config.settings import Settings
from selchat.config.sources import (
    SETTINGS,
    ConfigurationError,
    SettingsBuilder,
    parse_file,
    read_sources,
    reload_settings,
)
from selchat.errors import SettingError

DOCUMENT = (Path(__file__).parents[2] / "docs/configuration.rst").read_text()
OPTIONS = docopt.docopt(cli.SERVE_HELP, ["serve"], default_help=False)
SECONDS = "a number of seconds, or a time such as 10s, 2m or 1h10m"
SIZE = "a size such as 64KiB, or a whole number of bytes"
TABLE = "is a table; put all settings at the top, without a table"
# The hash of "tea".
SECONDS = "a number of seconds, or a time such as 10s, 2m or 1h10m"
HASH = "scrypt:15:8:1:jrH116GCnP4NQ7BoZu8cYA:V5_kIIsfd28eq3Hutnf7FZPOL9nZfLu0Z2kXB1UOqcs"
NAMES = [field.name for field in fields(Settings)]


def options(*words: str) -> dict[str, Any]:
    return dict(docopt.docopt(cli.SERVE_HELP, ["serve", *words], default_help=False))


def mistakes(make: Callable[[], Settings]) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        make()
    return [str(one) for one in caught.value.mistakes]


def mistakes_in(text: str) -> list[str]:
    return mistakes(lambda: parse_file(text.encode(), "x.toml"))


def from_environment(**variables: str) -> Settings:
    return read_sources({}, variables).build()


# -- the settings -----------------------------------------------------------------------------------------


def test_every_setting_has_a_key_and_a_variable() -> None:
    assert list(SETTINGS) == NAMES
    assert len({setting.variable for setting in SETTINGS.values()}) == len(NAMES)


def test_every_option_of_the_help_belongs_to_a_setting() -> None:
    option_names = {setting.option for setting in SETTINGS.values()}
    others = {"serve", "--help", "--config", "--check-config", "--no-history"}
    assert set(OPTIONS) - option_names == others
    assert {"--config", "--tls", "--cert", "--key-file", "--password", "--message-rate"} <= set(OPTIONS)
    assert {"--byte-rate", "--queued-limit", "--max-clients", "--operators"} <= set(OPTIONS)


def test_options_have_no_defaults_in_docopt() -> None:
    assert {value for name, value in OPTIONS.items() if name != "serve"} == {None, False}


def test_the_help_shows_the_real_defaults() -> None:
    texts = dict(re.findall(r"(?s)\n  (--[a-z-]+)\S* +(.*?)(?=\n  -|\n\n)", cli.SERVE_HELP))
    shown = {
        flag: found[1]
        for flag, text in texts.items()
        if (found := re.search(r"Default: (\S+)\.(?=\s|$)", text))
        and flag in {s.option for s in SETTINGS.values()}
    }
    checked = 0
    for setting in SETTINGS.values():
        default = getattr(Settings(), setting.name)
        if setting.option in shown and default not in {None, ""} and default != ():
            assert setting.type.convert(setting.type.parse(shown[setting.option])) == default
            checked += 1
    assert checked >= 9


# -- the order of the sources -------------------------------------------------------------------------------


@pytest.mark.parametrize("given", list(product([False, True], repeat=3)))
def test_an_option_overrides_a_variable_overrides_the_file(given: tuple[bool, ...], tmp_path: Path) -> None:
    option, variable, in_file = given
    file = tmp_path / "x.toml"
    file.write_text("max_clients = 3\n" if in_file else "\n")
    got = read_sources(
        options(f"--config={file}", *(["--max-clients=1"] if option else [])),
        {"SELCHAT_MAX_CLIENTS": "2" if variable else ""},
    ).build()
    assert got.max_clients == (1 if option else 2 if variable else 3 if in_file else 10_000)


def test_the_config_option_overrides_the_config_variable(tmp_path: Path) -> None:
    one, other = tmp_path / "one.toml", tmp_path / "other.toml"
    one.write_text("port = 1")
    other.write_text("port = 2")
    assert read_sources(options(), {"SELCHAT_CONFIG": str(one)}).build().port == 1
    assert read_sources(options(f"--config={other}"), {"SELCHAT_CONFIG": str(one)}).build().port == 2
    assert read_sources(options(), {}).build().port == 33000


def test_every_option_sets_its_setting() -> None:
    got = read_sources(
        options(
            *("--host=::", "--port=1", "--header-length=4", "--key=12", "--tls=require", "--cert=c"),
            *("--key-file=k", f"--password={HASH}", "--operators= Venkat,, Michael ", "--max-clients=2"),
            *("--message-rate=0.5", "--byte-rate=2KiB", "--queued-limit=1MB", "--history=h.sqlite"),
            *("--retention=30d", "--no-roster", "--quiet", "--log-format=json"),
            *("--allowed-host=chat.example.org,ship", "--security-contact=mailto:a@b.example"),
        ),
        {},
    ).build()
    expected = Settings(
        host="::",
        port=1,
        header_length=4,
        key="12",
        tls="require",
        cert="c",
        key_file="k",
        password=HASH,
        operators=("Venkat", "Michael"),
        max_clients=2,
        message_rate=0.5,
        byte_rate=2048,
        queued_limit=10**6,
        history="h.sqlite",
        retention="30d",
        roster=False,
        quiet=True,
        log_format="json",
        allowed_host=("chat.example.org", "ship"),
        security_contact="mailto:a@b.example",
    )
    assert got == expected


@pytest.mark.parametrize("name", [name for name in NAMES if name not in {"history", "key_file"}])
def test_every_variable_sets_its_setting(name: str) -> None:
    setting = SETTINGS[name]
    default = getattr(Settings(), name)
    text, value = {
        bool: ("no" if default else "yes", not default),
        int: ("17", 17),
        float: ("1.5", 1.5),
        tuple: (" Venkat, Michael", ("Venkat", "Michael")),
    }.get(type(default), ("x", "x"))
    text, value = {
        "log_format": ("json", "json"),
        "tls": ("off", "off"),
        "password": (HASH, HASH),
        "security_contact": ("tel:+91", "tel:+91"),
    }.get(name, (text, value))
    assert getattr(from_environment(**{setting.variable: text}), name) == value
    assert from_environment(**{setting.variable: ""}) == from_environment()


@pytest.mark.parametrize(("text", "value"), [("TRUE", True), (" on", True), ("0", False), ("Off", False)])
def test_booleans_in_the_environment(text: str, value: bool) -> None:
    assert from_environment(SELCHAT_ROSTER=text).roster is value


def test_the_server_ignores_the_variables_of_clients() -> None:
    builder = read_sources(
        {}, {"SELCHAT_PASSWORD": "open sesame", "SELCHAT_PASSPHRASE": "sesame", "SELCHAT_ELSE": "x"}
    )
    assert builder.build().password == ""
    assert builder.warnings == []
    assert from_environment(SELCHAT_PASSWORD_HASH=HASH).password == HASH


def test_a_misspelt_variable_gives_a_warning() -> None:
    builder = read_sources(
        {}, {"SELCHAT_PROT": "1", "SELCHAT_MAX_CLIENT": "1", "SELCHAT_PORT": "1", "PROT": "1"}
    )
    assert builder.build().port == 1
    assert builder.warnings == [
        "SELCHAT_MAX_CLIENT has no effect; did you mean SELCHAT_MAX_CLIENTS?",
        "SELCHAT_PROT has no effect; did you mean SELCHAT_PORT?",
    ]


def test_the_summary_counts_settings_by_source(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text("port = 1\nhost = 'a'\nquiet = true\n")
    builder = read_sources(options(f"--config={file}", "--host=b"), {"SELCHAT_TLS": "off"})
    assert builder.summary() == (
        f"1 from options, 1 from the environment, 2 from {file}, {len(NAMES) - 4} defaults"
    )


# -- the history ---------------------------------------------------------------------------------------------


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize(
    ("words", "variables", "text", "history"),
    [
        ([], {}, "", "/data/selchat/history.sqlite"),
        (["--port=1"], {}, "", "/data/selchat/history-1.sqlite"),
        (["--port=0"], {}, "", None),
        ([], {"SELCHAT_PORT": "0"}, "", None),
        ([], {}, "port = 0", None),
        (["--port=2"], {"SELCHAT_PORT": "0"}, "port = 0", "/data/selchat/history-2.sqlite"),
        (["--port=0", "--history=h"], {}, "", "h"),
        (["--port=0"], {"SELCHAT_HISTORY": "h"}, "", "h"),
        (["--port=0"], {}, "history = '/h'", "/h"),
        (["--no-history"], {"SELCHAT_HISTORY": "h"}, "history = 'h'", None),
        (["--history=f"], {"SELCHAT_HISTORY": "no"}, "history = false", "f"),
        ([], {"SELCHAT_HISTORY": "no"}, "history = 'h'", None),
        ([], {}, "history = false", None),
    ],
)
def test_the_default_history_depends_on_the_port(
    words: list[str], variables: dict[str, str], text: str, history: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "x.toml"
    file.write_text(text)
    assert read_sources(options(f"--config={file}", *words), variables).build().history == history


def test_history_and_no_history_exclude_each_other() -> None:
    wrong = mistakes(lambda: read_sources(options("--history=x", "--no-history"), {}).build())
    assert wrong == ["--history: 'x' is not allowed together with --no-history"]


def test_without_a_home_folder_the_history_needs_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError))
    [wrong] = mistakes(lambda: parse_file(b""))
    assert wrong.startswith("there is no home folder to store files in; set XDG_DATA_HOME to")
    assert parse_file(b"history = false").history is None


# -- the file ------------------------------------------------------------------------------------------------


def test_the_documented_file_has_every_setting_with_its_default() -> None:
    block = re.search(r"comments::\n\n((?:    .*\n|\n)+)", DOCUMENT)
    assert block is not None
    text = re.sub(r"(?m)^    ", "", block[1])
    settings = parse_file(text.encode())
    default = parse_file(b"")
    assert settings == default
    keys = re.findall(r"(?m)^(# )?([a-z_]+) = ", text)
    assert [name for _, name in keys] == NAMES
    assert {name for comment, name in keys if comment} == {
        name for name in NAMES if getattr(Settings(), name) is None
    }
    uncommented = re.sub(r'(?m)^# (?=[a-z_]+ = ")', "", text)
    assert parse_file(uncommented.encode(), "/etc/x.toml").cert == "/etc/server.pem"


def test_the_document_lists_the_settings_that_need_a_restart() -> None:
    from selchat.server.server import RESTART_ONLY

    block = re.search(r"(?s)These need a restart(.*?)\n\n", DOCUMENT)
    assert block is not None
    assert re.findall(r"``([a-z_]+)``", block[1]) == [name for name in NAMES if name in RESTART_ONLY]


def test_the_documented_mistakes_are_the_real_ones() -> None:
    text = "\nquiet = true\nprot = 1\n\n\n\nmax_clients = 0\n\nquiet = true\n"
    builder = SettingsBuilder()
    builder.add_file(text.encode(), "selchat.toml")
    builder.add_environment({"SELCHAT_BYTE_RATE": "fast"})
    shown = re.findall(r"    selchat: (.*)", DOCUMENT)
    assert mistakes(builder.build) == shown


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("prot = 1", ["x.toml:1: unknown key 'prot'; did you mean 'port'?"]),
        ("Max-Clients = 1", ["x.toml:1: unknown key 'Max-Clients'; did you mean 'max_clients'?"]),
        ("zzz = 1", ["x.toml:1: unknown key 'zzz'"]),
        ("config = 'y.toml'", ["x.toml:1: unknown key 'config'"]),
        ("\n# port\nport = 'x'", ["x.toml:3: port: 'x' is not a whole number"]),
        ("port = true", ["x.toml:1: port: True is not a whole number"]),
        ("port = 1.0", ["x.toml:1: port: 1.0 is not a whole number"]),
        ("port = 70000", ["x.toml:1: port: 70000 is not a port number from 0 to 65535"]),
        ("roster = 'yes'", ["x.toml:1: roster: 'yes' is not true or false"]),
        ("host = 1", ["x.toml:1: host: 1 is not a text without control characters"]),
        ('host = "a\\u0000b"', ["x.toml:1: host: 'a\\x00b' is not a text without control characters"]),
        ("tls = 'on'", ["x.toml:1: tls: 'on' is not auto, require or off"]),
        ("operators = 'a'", ["x.toml:1: operators: 'a' is not a list of names"]),
        ("operators = [1]", ["x.toml:1: operators: [1] is not a list of names"]),
        ("history = true", ["x.toml:1: history: True is not a path, or false for none"]),
        ("history = ''", ["x.toml:1: history: '' is not a path, or false for none"]),
        ("cert = false", ["x.toml:1: cert: False is not a path"]),
        ("key_file = '/k'", ["x.toml:1: key_file: '/k' is not allowed without cert"]),
        ("login_seconds = nan", [f"x.toml:1: login_seconds: nan is not {SECONDS}"]),
        ("login_seconds = inf", [f"x.toml:1: login_seconds: inf is not {SECONDS}"]),
        ('login_seconds = "1 month"', [f"x.toml:1: login_seconds: '1 month' is not {SECONDS}"]),
        ("login_seconds = 1e9", ["x.toml:1: login_seconds: 1000000000.0 is not 86400 or less"]),
        ("message_rate = -1", ["x.toml:1: message_rate: -1 is not zero or more"]),
        ("backlog = 70000", ["x.toml:1: backlog: 70000 is not 65535 or less"]),
        ("feed_limit = 1e3", [f"x.toml:1: feed_limit: 1000.0 is not {SIZE}"]),
        ("feed_limit = '1 MiB!'", [f"x.toml:1: feed_limit: '1 MiB!' is not {SIZE}"]),
        (f"max_clients = 0x{'f' * 5000}", ["x.toml:1: max_clients: such a number is not 1000000 or less"]),
        ("port = '" + "x" * 299 + "'", ["x.toml:1: port: '" + "x" * 199 + "... is not a whole number"]),
        ("port = " + "9" * 5000, ["x.toml: a number has too many digits"]),
        ("port = " + "[" * 5000, ["x.toml: brackets are nested too deep"]),
        ("[server]\nport = 1", [f"x.toml:1: 'server' {TABLE}"]),
        ("[tls]\nmode = 1", [f"x.toml:1: 'tls' {TABLE}"]),
        ("\n[[port]]\n", [f"x.toml:2: 'port' {TABLE}"]),
        ("limits.port = 1", [f"x.toml:1: 'limits' {TABLE}"]),
    ],
)
def test_each_mistake_in_a_file_has_its_message(text: str, wrong: list[str]) -> None:
    assert mistakes_in(text) == wrong


@pytest.mark.parametrize(
    ("text", "line"),
    [("port = ", 1), ("\nport\nquiet = true", 2), ("port = 1\nport = 2", 2), ("port = [1,\n2\n\n", 2)],
)
def test_a_syntax_error_has_its_line(text: str, line: int) -> None:
    [wrong] = mistakes_in(text)
    assert re.fullmatch(rf"x\.toml:{line}: [^()]+", wrong)


def test_all_mistakes_are_reported_with_their_lines() -> None:
    text = (
        'prot = 1\noperators = [\n  "a",\n  1,\n]\nmax_clients = 0\nname_length = -1\nquiet = 1\ntls = "on"'
    )
    assert [one.partition(" ")[0] + one.split()[1] for one in mistakes_in(text)] == [
        "x.toml:1:unknown",
        "x.toml:2:operators:",
        "x.toml:6:max_clients:",
        "x.toml:7:name_length:",
        "x.toml:8:quiet:",
        "x.toml:9:tls:",
    ]


def test_mistakes_come_in_the_order_of_options_variables_and_lines() -> None:
    builder = SettingsBuilder()
    builder.add_file(b"tls = 1\nport = 70000\nzzz = 1\ntls = 2\nbacklog = 0", "x.toml")
    builder.add_environment({"SELCHAT_QUIET": "x", "SELCHAT_HOST": "\n"})
    builder.add_options({"--port": "x", "--max-clients": "0", "--byte-rate": "x"})
    assert [one.split(": ")[0] for one in mistakes(builder.build)] == [
        *("--byte-rate", "--max-clients", "--port", "SELCHAT_HOST", "SELCHAT_QUIET"),
        *(f"x.toml:{line}" for line in range(1, 6)),
    ]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("port = 1\n\nport = 2", ["x.toml:3: 'port' is set in line 1 already; remove one of the two lines"]),
        ("port = 1\n'port' = 1", ["x.toml:2: 'port' is set in line 1 already; remove one of the two lines"]),
        ("port = 1\nport.x = 2", ["x.toml:2: 'port' is set in line 1 already; remove one of the two lines"]),
        (
            'a = """\n"""\nquiet = true\nquiet = [\n1,\n]\nport = "x"\nquiet = false',
            [
                "x.toml:1: unknown key 'a'",
                "x.toml:4: 'quiet' is set in line 3 already; remove one of the two lines",
                "x.toml:7: port: 'x' is not a whole number",
                "x.toml:8: 'quiet' is set in line 3 already; remove one of the two lines",
            ],
        ),
        (
            "port = 1\nport = 2\nquiet = ",
            [
                "x.toml:2: 'port' is set in line 1 already; remove one of the two lines",
                "x.toml:3: invalid value",
            ],
        ),
        ("a.b = 1\na.b = 2", ["x.toml:2: a key is set again; remove one of the two lines"]),
        ("a.b = 1\na.c = 2", [f"x.toml:1: 'a' {TABLE}"]),
        ("[a]\n[a]", ["x.toml:2: a table is declared twice; put all settings at the top, without a table"]),
        ("port = 1\n[port]", ["x.toml:2: a key is set again; remove one of the two lines"]),
    ],
)
def test_repeated_key_is_named_with_both_lines(text: str, wrong: list[str]) -> None:
    assert mistakes_in(text) == wrong


def test_only_the_first_20_mistakes_are_reported() -> None:
    wrong = mistakes_in("".join(f"port_{number} = 1\n" for number in range(3000)))
    assert len(wrong) == 21
    assert wrong[19] == "x.toml:20: unknown key 'port_19'; did you mean 'port'?"
    assert wrong[20] == "and 2980 more"


def test_file_must_be_utf_8_and_may_have_any_line_ends() -> None:
    assert mistakes(lambda: parse_file(b"port = 1\n# \xff", "x.toml")) == ["x.toml:2: not UTF-8"]
    assert parse_file(b"\xef\xbb\xbfport = 1\r\nquiet = true\r\n").port == 1
    assert parse_file(b"port = 1\r\r\nquiet = true").port == 1  # some editors turn CRLF into CR CR LF


def test_a_mistake_counts_even_if_an_option_overrides_it(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text("port = 'x'")
    builder = read_sources(options(f"--config={file}", "--port=1"), {})
    assert mistakes(builder.build) == [f"{file}:1: port: 'x' is not a whole number"]


def test_relative_paths_start_in_the_folder_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/venkat")
    text = b"history = 'h.sqlite'\ncert = '~/c.pem'\nkey_file = '/etc/k.pem'"
    settings = parse_file(text, "/srv/chat/x.toml")
    assert settings.history == "/srv/chat/h.sqlite"
    assert settings.cert == "/home/venkat/c.pem"
    assert settings.key_file == "/etc/k.pem"
    assert parse_file(text, "x.toml").history == "h.sqlite"
    assert from_environment(SELCHAT_HISTORY="h.sqlite").history == "h.sqlite"


def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    def read(file: Path) -> list[str]:
        return mistakes(lambda: read_sources(options(f"--config={file}"), {}).build())

    assert read(tmp_path / "x") == [f"{tmp_path}/x: no such file or directory"]
    assert read(tmp_path) == [f"{tmp_path}: not a file"]
    assert read(Path("/dev/zero")) == ["/dev/zero: not a file"]
    (tmp_path / "large").write_text("\n" * 65537)
    assert read(tmp_path / "large") == [f"{tmp_path}/large: more than 65536 bytes"]
    (tmp_path / "large").write_text("\n" * 65536)
    assert read_sources(options(f"--config={tmp_path}/large"), {}).build()


# -- mistakes that only another module can find --------------------------------------------------------------


def test_a_mistake_found_by_a_check_has_its_place() -> None:
    builder = SettingsBuilder()
    builder.add_environment({"SELCHAT_KEY": "x", "SELCHAT_PASSWORD_HASH": HASH})
    builder.add_file(b"retention = 'x'", "x.toml")

    def check(settings: Settings) -> None:
        for name in ("password", "key", "retention"):
            if getattr(settings, name) != getattr(Settings(), name):
                raise SettingError(name, getattr(settings, name), "good")

    assert mistakes(lambda: builder.build(check)) == [
        "SELCHAT_KEY: 'x' is not good",
        "SELCHAT_PASSWORD_HASH: '...' is not good",
        "x.toml:1: retention: 'x' is not good",
    ]


@pytest.mark.parametrize(
    ("options", "text", "wrong"),
    [
        ({"--key-file": "k"}, b"", ["--key-file: 'k' is not allowed without cert"]),
        ({"--key-file": "k"}, b"cert = 1", ["x.toml:1: cert: 1 is not a path"]),
        ({"--key-file": "k"}, b"crt = 'c'", ["x.toml:1: unknown key 'crt'; did you mean 'cert'?"]),
        ({"--key-file": "k"}, b"cert = '\xff'", ["x.toml:1: not UTF-8"]),
        ({"--key-file": "k"}, b"[tls]\ncert = 'c'", [f"x.toml:1: 'tls' {TABLE}"]),
        ({"--key-file": "k", "--cert": "c"}, b"", ["--cert: 'c' is not good"]),
        ({"--cert": "c"}, b"key_file = 1", ["x.toml:1: key_file: 1 is not a path"]),
        ({"--cert": "c"}, b"key_file = 'k'", ["--cert: 'c' is not good"]),
        ({"--cert": "good", "--key-file": "k"}, b"", ["--key-file: 'k' is not good"]),
    ],
)
def test_mistake_in_a_certificate_or_its_key_is_reported_once(
    options: dict[str, str], text: bytes, wrong: list[str]
) -> None:
    builder = SettingsBuilder()
    builder.add_options(options)
    builder.add_file(text, "x.toml")

    def check(settings: Settings) -> None:
        for name in ("cert", "key_file"):
            if getattr(settings, name) not in {None, "good"}:
                raise SettingError(name, getattr(settings, name), "good")
        if settings.cert is not None and settings.key_file is None:
            raise SettingError("cert", settings.cert, "a file with a key")

    assert mistakes(lambda: builder.build(check)) == wrong


# -- reload --------------------------------------------------------------------------------------------------


def test_a_reload_keeps_fixed_settings_and_reports_all_changes() -> None:
    old = Settings(port=1, key="1")
    new = Settings(
        port=2, key="2", roster=False, operators=("a", "b"), message_rate=0.5, password=HASH, history="f"
    )
    settings, applied, pending = reload_settings(old, new, frozenset({"port", "key", "history"}))
    assert (settings.port, settings.key, settings.history) == (1, "1", None)
    assert (settings.roster, settings.operators, settings.message_rate) == (False, ("a", "b"), 0.5)
    assert applied == ["roster true -> false", "operators none -> a, b", "password", "message_rate 5 -> 0.5"]
    assert pending == ["port 1 -> 2", "key", "history none -> f"]


def test_a_reload_without_changes_reports_none() -> None:
    assert reload_settings(Settings(), Settings(), frozenset()) == (Settings(), [], [])


def test_seconds_may_be_a_duration() -> None:
    assert parse_file(b'login_seconds = "1m30s"\n').login_seconds == 90
    builder = SettingsBuilder()
    builder.add_environment({"SELCHAT_LOGIN_SECONDS": "2m", "SELCHAT_PING_SECONDS": "7.5"})
    settings = builder.build()
    assert (settings.login_seconds, settings.ping_seconds) == (120, 7.5)
