"""Whatever people type: a value that survives a round trip, or one clear error, and in linear time."""

from __future__ import annotations

import re
from collections.abc import Callable
from time import process_time

import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from selchat.addresses import looks_like_address, parse_network
from selchat.chat.commands import Commands
from selchat.chat.operators import NotOperatorError
from selchat.client.commands import (
    COMMANDS,
    Command,
    CommandKind,
    CommandUsageError,
    UnknownCommandError,
    parse,
)
from selchat.client.events import Message
from selchat.client.protocol.classic import parse_roster
from selchat.client.terminal import style
from selchat.commands.export import parse_since
from selchat.config.settings import Settings
from selchat.config.toml_lines import remove_repetitions
from selchat.config.units import parse_duration, parse_size
from selchat.errors import SelchatError
from selchat.log.retention import Retention
from selchat.quoting import quoted, split_name, unquoted
from selchat.text import (
    clean_line,
    clean_name,
    clean_room,
    escape_controls,
    name_key,
    visible_name,
)
from selchat.wire.http_message import parse_posted
from tests.chat.test_hub import Chat

PIECES = st.sampled_from(
    [
        *(
            "for ",
            " for ",
            "1h",
            "1h10m",
            "1 month",
            '"',
            "\u201c",
            "\u201d",
            " ",
            "\t",
            "\n",
            "/",
            "//",
            "@",
            "#",
        ),
        *(
            "Table",
            "Table for two",
            "Venkat",
            "Michael",
            "10.0.0.7",
            "fd00::/64",
            "lobby",
            "drop",
            "3651d",
            "0s",
        ),
        *(
            "/mute ",
            "/ban ",
            "/kick ",
            "/unban ",
            "/unmute ",
            "/op ",
            "/deop ",
            "/ops",
            "/users",
            "/rooms ",
            "/bans",
        ),
        *(
            "/msg ",
            "/join ",
            "/me ",
            "/topic ",
            "/history ",
            "/claim ",
            "/help",
            ">",
            ":",
            "[",
            "\u200b",
            "\u202e",
        ),
    ]
)
TYPED = st.lists(PIECES | st.text(max_size=6), max_size=8).map("".join)
PEOPLE = ("Table for two", "Table", "Venkat", "for")
NAMES = TYPED.map(clean_name).filter(bool)


def operator() -> tuple[Chat, Commands]:
    chat = Chat()
    chat.sign_in_owners(*PEOPLE)
    return chat, Commands(chat.hub, lambda: None)


@given(
    NAMES, st.sampled_from(["", "2h", "1h 30m", "4w"]), st.sampled_from(["/mute", "/ban", "/MUTE", "/Ban"])
)
@example("Table for 2h", "", "/mute")
@example("for", "1d", "/ban")
def test_quoted_name_is_muted_or_banned_and_nobody_else(name: str, duration: str, command: str) -> None:
    chat, commands = operator()
    if parse_network(name) or looks_like_address(name):
        return
    commands.run(f'{command} "{name}"' + (f" for {duration}" if duration else ""))
    moderation = chat.hub.moderation
    found, others = moderation.mutes(), moderation.bans()
    if command.lower() == "/ban":
        found, others = others, found
    [sanction] = found
    assert (sanction.target, others) == (name, [])
    end = chat.hub.time() + parse_duration(duration, "") if duration else None
    assert (sanction.until is None) == (end is None)
    assert sanction.until is None or abs(sanction.until - (end or 0)) < 5
    commands.run(f'/un{command[1:].lower()} "{name}"')
    assert moderation.mutes() == moderation.bans() == []


@given(st.sampled_from(["/mute ", "/ban "]), TYPED)
def test_sanction_means_what_its_answer_says_or_is_an_error(command: str, argument: str) -> None:
    chat, commands = operator()
    first, *_ = commands.run(command + argument)
    moderation = chat.hub.moderation
    made = [*moderation.mutes(), *moderation.bans()]
    if made:
        [sanction] = made
        event("a sanction")
        end = f" until {sanction.end}" if sanction.end else ""
        assert first.startswith((f"Muted {sanction.target}{end}.", f"Banned {sanction.target}{end}."))
        is_timed = re.search(r"\bfor\s+\S", argument.replace(sanction.target, "", 1)) is not None
        assert (sanction.until is not None) <= is_timed
    else:
        assert first.startswith(("Usage: ", "Not muted: ", "Not banned: "))


@given(TYPED)
def test_any_line_at_the_console_gives_an_answer_or_an_announcement(line: str) -> None:
    chat, commands = operator()
    answers = commands.run(line)
    chat.tick()
    announced = [body for author, body in chat.sent() if author == "Server"]
    text = line.strip()
    if text.startswith("/") and not text.startswith("//"):
        assert announced == []
        assert all(answers)
    else:
        assert announced == ([text.removeprefix("/")] if text.removeprefix("/") else [])
        assert answers == []


@given(TYPED)
def test_any_line_from_a_user_is_refused_unless_it_is_a_claim(line: str) -> None:
    chat, commands = operator()
    member = chat.hub.find_member("Venkat")
    assert member is not None
    try:
        answers = commands.remote(line, member)()
    except NotOperatorError:
        return
    assert line.split()[0].lower() == "/claim"
    assert answers[0].startswith(("Not changed: ", "Usage: "))
    assert not chat.hub.is_operator(member)


@given(NAMES, st.text(min_size=1, max_size=20).map(str.strip).filter(bool))
def test_message_to_a_quoted_name_goes_to_that_name(name: str, text: str) -> None:
    assert parse(f'/msg "{name}" {text}', PEOPLE) == Command(CommandKind.MSG, name, text)
    assert parse(f"/msg {quoted(name)} {text}", (name,)).target == name or " " not in name


@given(TYPED)
def test_any_line_is_a_command_or_one_error(line: str) -> None:
    try:
        command = parse(line, PEOPLE)
    except (UnknownCommandError, CommandUsageError) as error:
        event(type(error).__name__)
        assert line.startswith("/")
        assert len(str(error).splitlines()) <= len(line.splitlines()) + 1
        return
    if command.kind is CommandKind.TEXT:
        assert command.text == line.removeprefix("/") if line.startswith("//") else command.text == line
    elif command.kind is not CommandKind.NOTHING:
        assert line.split()[0].split("\u00a0")[0].lower().startswith(COMMANDS)


@given(TYPED)
def test_room_is_its_own_clean_form_or_refused(text: str) -> None:
    room = clean_room(text)
    if room:
        assert clean_room(f"#{room}") == clean_room(room) == room
        assert name_key(room) == name_key(visible_name(text.removeprefix("#"), 33))


# -- time ------------------------------------------------------------------------------------------------

LENGTH = 1 << 16  # characters
# Linear work takes a millisecond or so; backtracking over 64 KiB takes seconds.
LIMIT = 0.02  # seconds of CPU time
UNITS = (
    *(
        " ",
        "\t",
        "a",
        "1",
        "9s",
        "1h ",
        '"',
        '""',
        "\\",
        '\\"',
        "'",
        "\u201c",
        "for ",
        " for 1h",
        "a for ",
        "Table for ",
    ),
    *(
        "\u0301\u0323",
        "\u1100",
        "\u200b",
        "\x01",
        ">",
        ", ",
        " and 1 more",
        ";charset=",
        "1.",
        "/",
        "#",
        "@",
        "Venkat ",
    ),
)
PREFIXES = (
    "",
    "/mute a",
    '/mute "',
    "/msg a",
    '/msg "',
    "/claim ",
    "/history ",
    "x;charset",
    "Users online (1): ",
    "1",
)
SUFFIXES = ("", "x", '"')
PARSERS: dict[str, Callable[[str], object]] = {
    "size": parse_size,
    "duration": lambda text: parse_duration(text, "for"),
    "retention": Retention.parse,
    "since": lambda text: parse_since(text, 0.0),
    "name": clean_name,
    "room": clean_room,
    "topic": lambda text: clean_line(text[:256]),
    "quoted name": lambda text: split_name(text, lambda name: False),
    "known name": lambda text: split_name(text, lambda name: name == "Table for"),
    "quotes": unquoted,
    "address": parse_network,
    "command": lambda text: parse(text, PEOPLE),
    "roster": parse_roster,
    "log line": lambda text: escape_controls(text[:1000]),
    "media type": lambda text: parse_posted(text, b"x", ()),
}


def cpu_seconds(function: Callable[[str], object], text: str) -> float:
    """Return the CPU time of the function, the least of up to three runs."""
    best = float("inf")
    for _ in range(3):
        start = process_time()
        try:
            function(text)
        except SelchatError:
            pass
        best = min(best, process_time() - start)
        if best < LIMIT:
            break
    return best


def hostile_texts() -> list[str]:
    return [
        prefix + unit * (LENGTH // len(unit)) + suffix
        for prefix in PREFIXES
        for unit in UNITS
        for suffix in SUFFIXES
    ]


@pytest.mark.parametrize("name", PARSERS)
def test_64_kib_of_anything_are_parsed_at_once(name: str) -> None:
    slow = {text[:40] for text in hostile_texts() if cpu_seconds(PARSERS[name], text) > LIMIT}
    assert slow == set()


@pytest.mark.parametrize(
    "body", ["a" + "\u0301\u0323" * (LENGTH // 4), "Venkat " * (LENGTH // 7), "VENKATVENKA" * 6000]
)
def test_message_of_64_kib_is_styled_at_once(body: str) -> None:
    message = Message("Michael", body)
    assert cpu_seconds(lambda _: style.message(message, "Venkat"), body) < 5 * LIMIT


@pytest.mark.parametrize("unit", ['\\"', '"', "'", "'''", '"""\\', 'a="\n', "\\", "["])
def test_broken_settings_file_is_read_at_once(unit: str) -> None:
    text = unit * (LENGTH // len(unit))
    assert cpu_seconds(remove_repetitions, text) < 5 * LIMIT


def test_64_kib_at_the_console_are_answered_at_once() -> None:
    chat = Chat(Settings(roster=False, operators=("Boss",)))
    [venkat] = chat.sign_in_owners("Venkat")
    assert venkat.member is not None
    member, commands = venkat.member, Commands(chat.hub, lambda: None)
    commands.run("/op Venkat")
    for text in hostile_texts():
        if text.lstrip().startswith("/") and not text.lstrip().startswith("//"):
            assert cpu_seconds(commands.run, text) < LIMIT, text[:40]
        assert cpu_seconds(lambda line: commands.remote(line, member)(), text) < LIMIT, text[:40]
