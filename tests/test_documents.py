"""The documents name only files, options, variables and settings that exist, with their real defaults."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from selchat import cli
from selchat.arguments import parse_arguments
from selchat.bench.cli import USAGE
from selchat.chat.confusables import skeletons
from selchat.config.settings import Settings
from selchat.config.sources import OTHER_VARIABLES, SETTINGS
from selchat.limits import (
    KIB,
    MAX_ALL_REMEMBERED_IDS,
    MAX_BUCKETS,
    MAX_CLASSIC_NAMES,
    MAX_DEPTH,
    MAX_ENCODED_NAMES,
    MAX_EXPIRED_IDS,
    MAX_FAILED_SOURCES,
    MAX_FRAME_HEADERS,
    MAX_LOG_ROOMS,
    MAX_LOGGED_IDS,
    MAX_MEMORY_LOG_IDS,
    MAX_MEMORY_LOG_SEQS,
    MAX_REMEMBERED_IDS,
    MAX_VALUES,
    MEMORY_LOG_SIZE,
    MIB,
    MIN_REMEMBERED_IDS,
)

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    *ROOT.glob("*.rst"),
    *ROOT.glob("docs/*.rst"),
    ROOT / "benchmarks/README.rst",
    ROOT / "web/README.rst",
]
FOLDERS = ["", "selchat", "tests", "web"]  # in which a document's path may begin


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_named_file_and_every_link_exists(document: Path) -> None:
    text = document.read_text()
    named = set(re.findall(r"``((?:[\w.-]+/)+[\w-]+\.(?:py|rst|ts|json|cfg))", text))
    roots = [document.parent, *(ROOT / folder for folder in FOLDERS)]
    missing = {name for name in named if not any((root / name).exists() for root in roots)}
    linked = set(re.findall(r"<([\w./-]+\.rst)>`_|image:: (\S+)", text))
    missing |= {link or image for link, image in linked if not (document.parent / (link or image)).exists()}
    assert not missing


def test_contributing_lists_every_module_and_package() -> None:
    contributing = (ROOT / "CONTRIBUTING.rst").read_text()
    for path in (ROOT / "selchat").iterdir():
        if path.is_dir() and not path.name.startswith("_"):
            assert f"``selchat/{path.name}/``" in contributing
        elif path.suffix == ".py" and not path.name.startswith("_"):
            assert f"``{path.name}``" in contributing


# -- names in the documents ----------------------------------------------------------------------------------

HELP = [*cli.COMMANDS.values(), cli.MAIN_HELP, USAGE]
CURL = {"--data-binary", "--insecure", "--pinnedpubkey"}
OTHER_TOOLS = [
    *ROOT.glob("tests/**/*.py"),
    *ROOT.glob("benchmarks/**/*.py"),
    *ROOT.glob("web/test/*.ts"),
]  # their options and variables
SOURCES = [
    *ROOT.glob("selchat/**/*.py"),
    *OTHER_TOOLS,
    *ROOT.glob("web/src/**/*.ts"),
    *ROOT.glob("setup.cfg"),
]


@cache
def words_of(paths: tuple[Path, ...]) -> set[str]:
    """Return all words of the files, with underscores and leading hyphens."""
    return set(re.findall(r"--[a-z][a-z-]*|\w+", "\n".join(path.read_text("utf-8") for path in paths)))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_name_only_options_variables_and_settings_that_exist(document: Path) -> None:
    text = document.read_text()
    options = set(re.findall(r"``(--[a-z][a-z-]*)", text))
    assert options - set(re.findall(r"--[a-z][a-z-]*", "\n".join(HELP))) - CURL <= words_of((*OTHER_TOOLS,))
    variables = set(re.findall(r"\bSELCHAT_[A-Z_]+", text))
    known = {setting.variable for setting in SETTINGS.values()} | OTHER_VARIABLES
    assert variables - known <= words_of((*OTHER_TOOLS, *ROOT.glob(".ci/*")))
    # prometheus_client has the metrics whose names begin with process_.
    names = set(re.findall(r"``([a-z]+(?:_[a-z]+)+)``", text))
    assert {name for name in names if not name.startswith("process_")} <= words_of((*SOURCES,))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_in_documents_are_accepted(document: Path) -> None:
    for line in re.findall(
        r"^ {4,}(?:\$ |.*\| |.*\$\()?(selchat(?:-bench)? [^|&>]*?)(?:\)| [|&>].*)?$",
        document.read_text(),
        re.M,
    ):
        program, *words = shlex.split(line, comments=True)
        if words and words[0] in cli.COMMANDS:
            parse_arguments(cli.COMMANDS[words[0]], words[1:], words[0])
        else:
            assert program == "selchat-bench", line
            parse_arguments(USAGE, words)


def amount(size: int) -> str:
    """Return a size as the documents write it."""
    return f"{size // MIB} MiB" if size >= MIB else f"{size // KIB} KiB"


def test_documented_limits_are_the_defaults() -> None:
    s = Settings()
    expected = {
        "connections": f"{s.max_clients:,}",
        "connections from one address": f"{s.clients_per_address}, and {s.address_rate} new ones a minute",
        "username": f"{s.name_length} characters",
        "time to send a username": f"{s.login_seconds:g} s, {amount(s.login_limit)}",
        "messages before a valid ``hello``": f"{s.login_messages}",
        "messages of one client": f"{s.message_rate:g} a second, bursts of {s.message_burst}",
        "bytes of one client": f"{amount(s.byte_rate)} a second",
        "TLS records of one client": f"{s.record_rate:g} a second, bursts of {s.record_burst}",
        "silence of a dead connection": f"{s.ping_seconds + s.pong_seconds + 1:g} s, browsers "
        f"{s.web_ping_seconds + s.pong_seconds:g} s",
        "frame payload": amount(s.frame_limit),
        "time to finish a frame": f"{s.frame_seconds:g} s",
        "HTTP request": f"{amount(s.http_head_limit)} of head, {amount(s.frame_limit)} of body, "
        f"{s.login_seconds:g} s",
        "parts of an HTTP request": f"{s.http_headers} lines of head, {s.http_chunks:,} chunks of body",
        "JSON of a client": f"{MAX_VALUES:,} values, {MAX_DEPTH} levels",
        "bytes that a reader is behind": amount(s.feed_limit),
        "bytes queued for all readers": amount(s.queued_limit),
        "rooms in memory": f"{s.rooms_limit:,}",
        "rooms of one user": f"{s.rooms_per_member}",
        "new rooms": f"{s.person_rooms} an hour from one user, {s.address_rooms} from one address",
        "names of one user": f"{s.person_names}",
        "names of all users": f"{s.names_limit:,}",
        "messages with ``--no-history``": f"{s.rooms_limit:,} rooms and inboxes",
        "new names": f"{s.address_names} an hour from one address",
        "loop time for costly requests": f"{s.connection_work:.0%} for one connection, "
        f"{s.person_work:.0%} for one user, {s.address_work:.0%} for one address; "
        f"{s.tick_work * 1000:g} ms in a tick for all",
        "rosters": f"{1 / s.roster_interval:g} a second",
        "roster text": f"{s.roster_limit:,} bytes",
    }
    assert {name: limit for name, limit in limits().items() if name in expected} == {
        name: text.replace("%", " %") for name, text in expected.items()
    }


def test_documented_bounds_of_tables_are_the_defaults() -> None:
    s = Settings()
    memberships = (
        f"{s.rooms_per_member}",
        f"{s.clients_per_address * s.rooms_per_member:,}",
        f"{s.max_clients * s.rooms_per_member:,}",
    )
    connections = ("–", f"{s.clients_per_address}", f"{s.max_clients:,}")
    new_names = (f"{s.person_names}", f"{s.address_names} an hour", f"{s.names_limit:,}")
    new_rooms = (f"{s.person_rooms} an hour", f"{s.address_rooms} an hour")
    ids = MAX_ALL_REMEMBERED_IDS + 2 * MIN_REMEMBERED_IDS * s.max_clients
    expected = {
        "connections": connections,
        "connections with TLS": connections,
        "requests that are being received": connections,
        "addresses of open connections": ("–", "1", f"{s.max_clients:,}"),
        "memberships of rooms": memberships,
        "changes until the next roster": memberships,
        "rooms to replay": memberships,
        "names": new_names,
        "read positions of inboxes": new_names,
        "rooms": (*new_rooms, f"{s.rooms_limit:,}"),
        "feeds of rooms with members": (*memberships[:2], f"{2 * s.rooms_limit:,}"),
        "rooms of the history in memory": (*new_rooms, f"{MAX_LOG_ROOMS:,}"),
        "rooms with ``--no-history``": (*new_rooms, f"{s.rooms_limit:,}"),
        "their last numbers": (*new_rooms, f"{MAX_MEMORY_LOG_SEQS:,}"),
        "characters with ``--no-history``": ("by rate", "by rate", f"{MEMORY_LOG_SIZE:,}"),
        "ids of sent messages": (f"{2 * MAX_REMEMBERED_IDS:,}", "–", f"{ids:,}"),
        "ids with ``--no-history``": (f"{MAX_LOGGED_IDS:,}", "–", f"{MAX_MEMORY_LOG_IDS:,}"),
        "ids of deleted messages on disk": ("–", "–", f"{MAX_EXPIRED_IDS:,}"),
        "cached JSON of names and rooms": ("–", "–", f"{3 * 2 * MAX_ENCODED_NAMES:,}"),
        "cached classic names": ("–", "–", f"{MAX_CLASSIC_NAMES:,}"),
        "cached frame headers": ("–", "–", f"{MAX_FRAME_HEADERS:,}"),
        "cached skeletons of names": ("–", "–", f"{2 * skeletons.cache_parameters()['maxsize']:,}"),
        "cached numbers of clients": ("–", "–", "10,000"),
        "token buckets": ("2", "4", f"{6 * MAX_BUCKETS:,}"),
        "wrong passwords and codes": ("–", "2", f"{2 * MAX_FAILED_SOURCES:,}"),
        "passwords that wait for a check": ("–", "–", f"{s.password_queue}"),
    }
    rows = bounds()
    assert {name: (user, address, all) for name, (user, address, all, _, _) in rows.items()} == expected
    for name, (_, _, all, size, total) in rows.items():
        amount, unit = total.split()
        product = int(all.replace(",", "")) * int(size.replace(",", ""))
        assert float(amount.replace(",", "")) * {"kB": 1e3, "MB": 1e6}[unit] == pytest.approx(
            product, rel=0.05
        ), name


def bounds() -> dict[str, list[str]]:
    """Return the other columns by the first one, of the table of tables in docs/limits.rst."""
    text = (ROOT / "docs/limits.rst").read_text().partition("\nTables that grow\n---")[2]
    rule, _, _, *rows = text[text.index("\n===") + 1 :].splitlines()
    ends = [match.span() for match in re.finditer("=+", rule)]
    cells = [[row[start:end].strip() for start, end in ends] for row in rows[: rows.index(rule)]]
    return {name: more for name, *more in cells}


def limits() -> dict[str, str]:
    """Return the two first columns of the table in docs/limits.rst."""
    text = (ROOT / "docs/limits.rst").read_text()
    table = re.split(r"(?m)^===.*\n", text)[3]
    found: list[list[str]] = []
    for line in table.splitlines():
        name, limit = line[:35].strip(), line[35:54].strip()
        if name:
            found.append([name, limit])
        elif limit:
            found[-1][1] += f" {limit}"
    return {name: limit for name, limit in found}  # noqa: C416 - mypy takes dict(found) for an error
