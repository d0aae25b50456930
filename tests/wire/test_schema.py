"""The document, the schema and the code agree on examples, types, fields and codes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from selchat.config.settings import Settings
from selchat.errors import RefusalError
from selchat.events import Event, Joined, Left, Said, Topic
from selchat.limits import MAX_LISTED, PAYLOAD_LIMIT, ROOM_PAGE
from selchat.wire import requests
from selchat.wire.frames import FrameDecoder
from selchat.wire.requests import BadMessageError, parse_message, parse_request
from selchat.wire.responses import SelchatFormat
from selchat.wire.schema import schema
from tests.error_tree import every_error

DOCUMENT = (Path(__file__).parents[2] / "docs" / "protocol.rst").read_text("utf-8")
RATE = re.compile(r"``(\w+)``: ([\d,]+)")
DIRECTIONS = {"client": "What a client sends", "server": "What the server sends"}


@cache
def definitions() -> dict[str, Any]:
    return schema()["$defs"]  # type: ignore[no-any-return]


@cache
def validator(definition: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/$defs/{definition}", "$defs": definitions()})


def faults(definition: str, value: object) -> list[str]:
    return [f"{error.json_path}: {error.message[:200]}" for error in validator(definition).iter_errors(value)]


def check(direction: str, members: dict[str, Any]) -> None:
    """Validate a message against its own definition, whose errors are clearer, and against all of them."""
    assert faults(f"{direction}-{members['type']}", members) == []
    assert faults(direction, members) == []


def section(title: str) -> str:
    """Return the section of the document with that title."""
    _, found, rest = DOCUMENT.partition(f"\n{title}\n{'-' * len(title)}\n")
    assert found, title
    return re.split(r"\n\n\n[^\n]+\n-{4,}\n", rest)[0]


def described(direction: str) -> Iterator[tuple[str, set[str], set[str]]]:
    """Yield the type, the required and the optional fields of each message in the document."""
    for line in section(DIRECTIONS[direction]).splitlines():
        if line.startswith("``"):
            for kind, fields in re.findall(r"``(\S+) \{(.*?)\}``", line):
                names = fields.split(", ") if fields else []
                optional = {name[:-1] for name in names if name.endswith("?")}
                yield kind, {name for name in names if not name.endswith("?")}, optional


def conversation() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the messages of the document's example, each with its sender."""
    text = re.sub(r"\n {6,}(?=\S)", "", section("A conversation"))
    for arrow, message in re.findall(r"^ {4}([<>]) (.*)$", text, re.MULTILINE):
        yield {">": "client", "<": "server"}[arrow], parse_message(message.encode())


# -- the schema ------------------------------------------------------------------------------------------


def test_schema_is_valid_json_schema() -> None:
    Draft202012Validator.check_schema(schema())
    assert schema()["$schema"] == Draft202012Validator.META_SCHEMA["$id"]


def test_every_definition_is_used() -> None:
    text = json.dumps(schema())
    for name in definitions():
        assert f'"#/$defs/{name}"' in text, name


def test_top_level_accepts_messages_of_both_directions() -> None:
    whole = Draft202012Validator(schema())
    assert whole.is_valid({"type": "bye"})
    assert whole.is_valid({"type": "bye", "reason": "goodbye", "retry_after": None})
    assert not whole.is_valid({"type": "good-bye"})
    assert not whole.is_valid("bye")


# -- the document ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_document_and_schema_have_the_same_types_and_fields(direction: str) -> None:
    found = {kind: (required, optional) for kind, required, optional in described(direction)}
    assert len(found) >= 13
    listed = [choice["$ref"].removeprefix("#/$defs/") for choice in definitions()[direction]["oneOf"]]
    assert listed == [f"{direction}-{kind}" for kind in found], "in the same order"
    for kind, (required, optional) in found.items():
        definition = definitions()[f"{direction}-{kind}"]
        assert definition["properties"]["type"] == {"const": kind}
        assert set(definition["required"]) == required | {"type"}, kind
        assert set(definition["properties"]) == required | optional | {"type"}, kind


def test_parser_and_document_have_the_same_types() -> None:
    assert set(requests._PARSERS) == {kind for kind, _, _ in described("client")}


def test_document_schema_and_code_have_the_same_error_codes() -> None:
    table, _, _ = section("Errors").partition("Reasons of ``bye``:")
    documented = re.findall(r"^``(\S+)`` ", table, re.MULTILINE)
    assert len(documented) >= 17
    assert definitions()["server-error"]["properties"]["code"]["enum"] == documented
    coded = {each.code for each in every_error() if issubclass(each, RefusalError) and each.code}
    assert sorted(coded) == sorted(documented)


def test_document_and_schema_have_the_same_reasons_of_bye() -> None:
    text = section("Errors").partition("Reasons of ``bye``:")[2].partition("``error``")[0]
    reasons = re.findall(r"``([a-z-]+)``", text.replace("``bye``", "").replace("``hello``", ""))
    assert definitions()["server-bye"]["properties"]["reason"]["enum"] == reasons
    assert len(reasons) >= 8


def test_document_and_schema_have_the_same_limits() -> None:
    _, _, text = section(DIRECTIONS["server"]).partition("``limits`` are the server's:")
    documented = re.findall(r"``(\w+)``", text.partition("``said")[0])
    assert set(documented) - {"ack"} == set(definitions()["limits"]["properties"])
    assert set(definitions()["limits"]["required"]) == set(definitions()["limits"]["properties"])


def test_document_and_schema_have_the_same_rates_with_their_defaults() -> None:
    items = re.findall(r"(?m)^- (.*(?:\n  .*)*)", section("Rates"))
    documented = {name: int(number.replace(",", "")) for item in items for name, number in RATE.findall(item)}
    assert (
        set(documented)
        == set(definitions()["rates"]["properties"])
        == set(definitions()["rates"]["required"])
    )
    settings = Settings()
    assert documented == {
        "messages": settings.message_rate,
        "burst": settings.message_burst,
        "bytes": settings.byte_rate,
    }


def test_examples_of_the_document_are_valid() -> None:
    seen = {"client": 0, "server": 0}
    for direction, members in conversation():
        seen[direction] += 1
        check(direction, members)
        if direction == "client":
            parse_request(json.dumps(members).encode())
    assert min(seen.values()) >= 4


def test_every_example_of_the_document_is_tested() -> None:
    """A test in this module covers each line of an example that looks like JSON."""
    examples = re.findall(r"^ {4,}[^\n]*\{\".*$", DOCUMENT, re.MULTILINE)
    others = [line for line in examples if line not in section("A conversation")]
    assert [line.split(maxsplit=1)[0] for line in others] == ["36", '"resume":', ">"]


def test_join_example_after_a_disconnect_is_valid() -> None:
    [payload] = re.findall(r"^ {4}> (.*)$", section("After a break"), re.MULTILINE)
    members = json.loads(payload)
    check("client", members)
    assert parse_request(payload.encode()) == requests.Join(members["room"], members["after"])


def test_frame_example_is_valid() -> None:
    (frame,) = re.findall(r"^ {4}(\d+ +\{.*\})$", section("Frames"), re.MULTILINE)
    decoder = FrameDecoder()
    (payload,) = decoder.receive_data(frame.encode())
    assert not decoder.unfinished
    check("client", parse_message(payload))
    parse_request(payload)


def test_resume_example_is_valid() -> None:
    (line,) = re.findall(r'^ {4}("resume": .*)$', section("After a break"), re.MULTILINE)
    resume = json.loads("{" + line + "}")["resume"]
    assert faults("resume", resume) == []
    hello = {"type": "hello", "version": 1, "name": "Venkat", "client": "9yAq3eTzqv0l1cZr6mW8nA"}
    check("client", hello | {"resume": resume})
    assert parse_request(json.dumps(hello | {"resume": resume}).encode()).resume == (  # type: ignore[union-attr]
        resume["log"],
        resume["rooms"],
    )


# -- messages of the server ------------------------------------------------------------------------------

NAMES = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=32)
ROOMS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=32).filter(
    lambda room: room[0] not in "@#/"
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=256)
IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64)
TIMES = st.floats(0, 1e11)
SEQS = st.integers(1, (1 << 53) - 1)
MESSAGES = st.builds(Said, ROOMS, SEQS, NAMES, TEXT, TIMES, st.just("") | IDS, st.none() | TEXT)
EVENTS = st.one_of(
    MESSAGES,
    st.builds(Joined, ROOMS, st.lists(NAMES, max_size=5).map(tuple), st.integers(0, 20_000)),
    st.builds(Left, ROOMS, st.lists(NAMES, max_size=5).map(tuple), st.integers(0, 20_000)),
    st.builds(Topic, ROOMS, TEXT, NAMES, TIMES),
)


def check_stream(stream: bytes) -> None:
    decoder = FrameDecoder(10, PAYLOAD_LIMIT)
    payloads = decoder.receive_data(stream)
    assert payloads
    assert decoder.error is None and not decoder.unfinished
    for payload in payloads:
        check("server", parse_message(payload))


@given(st.lists(EVENTS, min_size=1, max_size=4))
def test_room_events_match_the_schema(events: list[Event]) -> None:
    check_stream(SelchatFormat().encode(events))


@given(MESSAGES, IDS, NAMES, st.booleans())
def test_responses_about_messages_match_the_schema(message: Said, id: str, to: str, more: bool) -> None:
    format = SelchatFormat()
    check_stream(format.acks([message._replace(id=id)]))
    check_stream(format.ack(id, message.room, None, message.seq, message.at))
    check_stream(format.ack(id, "@" + to, to, message.seq, message.at))
    check_stream(format.whispered(message, to))
    check_stream(format.history(message.room, format.fit_history([message] * 2), more))
    check_stream(format.history(message.room, format.fit_history([]), more))


def test_longest_lists_match_the_schema() -> None:
    format = SelchatFormat()
    names = tuple(f"n{number}" for number in range(MAX_LISTED + 1))
    check_stream(format.encode([Joined("lobby", names, 5000), Left("lobby", names, 0)]))
    users = {"room": "lobby", "total": 1001, "topic": "", "seq": 0, "salt": "x0lD3Jd9vRk1mTqPz8uWYg"}
    check_stream(format.listed("users", "names", names, **users))
    rooms = [{"room": name, "seq": 0, "topic": "", "members": 0} for name in names[:ROOM_PAGE]]
    check_stream(format.listed("rooms", "rooms", rooms, start=200, total=5000))


def test_every_error_matches_the_schema() -> None:
    for code in definitions()["server-error"]["properties"]["code"]["enum"]:
        error = RefusalError()
        error.code = code
        check_stream(SelchatFormat().error(error, room="a b", id="1", to="@"))
    check_stream(SelchatFormat().error(BadMessageError("say", "body", "a string", "1")))


# -- messages of clients ---------------------------------------------------------------------------------

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-2, 1002)
    | st.sampled_from([2**53 - 1, 2**53, 1e3, 1001.0, -1.0, 0.5, 1e300, 10**60])
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.sampled_from([15, 16, 64, 65, 128, 129, 256, 257]).map("\U0001f44b".__mul__)
)
RESUMES = st.fixed_dictionaries(
    {},
    optional={
        "log": SCALARS,
        "rooms": SCALARS
        | st.dictionaries(TEXT | st.just("r" * 257), st.integers(-1, 5) | SCALARS, max_size=2),
    },
)
VALUES = st.one_of(SCALARS, RESUMES, st.lists(SCALARS, max_size=2))


@cache
def fields_of(kind: str) -> tuple[str, ...]:
    return tuple(name for name in definitions()[f"client-{kind}"]["properties"] if name != "type")


GOOD = {
    "version": st.just(1),
    "name": TEXT,
    "client": st.text("abc", min_size=16, max_size=128),
    "resume": RESUMES | st.none(),
    "beside": st.booleans() | st.none(),
    "password": TEXT | st.none(),
    "room": TEXT,
    "to": TEXT,
    "id": IDS,
    "body": TEXT,
    "cipher": TEXT | st.none(),
    "topic": TEXT,
    "before": st.integers(0, 5) | st.none(),
    "after": st.integers(0, 5) | st.none(),
    "limit": st.integers(1, 1000),
    "whisper": st.integers(0, 5),
    "token": st.text("abc", max_size=64) | st.none(),
    "start": st.integers(0, 5) | st.none(),
}


@given(st.data(), st.sampled_from([kind for kind, _, _ in described("client")]))
def test_parser_accepts_exactly_what_the_schema_allows(data: st.DataObject, kind: str) -> None:
    members: dict[str, Any] = {"type": kind, "unknown": data.draw(SCALARS)}
    for field in fields_of(kind):
        how = data.draw(st.integers(0, 9))
        if how:
            members[field] = data.draw(GOOD[field] if how > 1 else VALUES)
    found = faults("client", members)
    try:
        parse_request(json.dumps(members).encode())
    except BadMessageError as error:
        assert found, str(error)
        assert faults(f"client-{kind}", members)
    else:
        assert not found
