from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from selchat.limits import (
    CIPHER_LENGTH,
    HISTORY_LIMIT,
    ID_LENGTH,
    MAX_DEPTH,
    MAX_DIGITS,
    TOKEN_LENGTH,
    TOPIC_LENGTH,
)
from selchat.wire.requests import (
    MAX_NUMBER,
    BadMessageError,
    Bye,
    Confirm,
    GetHistory,
    GetRooms,
    GetUsers,
    Hello,
    Join,
    Part,
    Ping,
    Pong,
    Request,
    Resume,
    Say,
    SetTopic,
    UnknownTypeError,
    Whisper,
    parse_message,
    parse_request,
)
from selchat.wire.strict_json import BadJsonError

CLIENT = "9yAq3eTzqv0l1cZr6mW8nA"
SAY = {"type": "say", "room": "lobby", "id": "5f2c-1", "body": "hello, everyone"}
HELLO = {"type": "hello", "version": 1, "name": "Venkat", "client": CLIENT}
HISTORY = {"type": "history", "room": "lobby", "limit": 50}

GOOD: list[tuple[dict[str, Any], Request]] = [
    (HELLO, Hello(1, "Venkat", CLIENT, None)),
    (HELLO | {"version": 2.0, "name": ""}, Hello(2, "", CLIENT, None)),
    (
        HELLO | {"resume": {"log": "b194", "rooms": {"lobby": 43, "": 0}}},
        Hello(1, "Venkat", CLIENT, Resume("b194", {"lobby": 43, "": 0})),
    ),
    (HELLO | {"resume": {"log": "", "rooms": {}}}, Hello(1, "Venkat", CLIENT, Resume("", {}))),
    (HELLO | {"resume": None}, Hello(1, "Venkat", CLIENT, None)),
    (HELLO | {"client": "x" * 16}, Hello(1, "Venkat", "x" * 16, None)),
    (HELLO | {"client": "x" * 128}, Hello(1, "Venkat", "x" * 128, None)),
    (SAY, Say("lobby", "5f2c-1", "hello, everyone", None)),
    (SAY | {"cipher": None}, Say("lobby", "5f2c-1", "hello, everyone", None)),
    (SAY | {"cipher": "caesar"}, Say("lobby", "5f2c-1", "hello, everyone", "caesar")),
    (SAY | {"cipher": "c" * CIPHER_LENGTH}, Say("lobby", "5f2c-1", "hello, everyone", "c" * CIPHER_LENGTH)),
    (SAY | {"id": "i" * ID_LENGTH, "body": ""}, Say("lobby", "i" * ID_LENGTH, "", None)),
    (SAY | {"id": "\U0001f44b" * ID_LENGTH}, Say("lobby", "\U0001f44b" * ID_LENGTH, "hello, everyone", None)),
    (SAY | {"room": ""}, Say("", "5f2c-1", "hello, everyone", None)),
    (SAY | {"room": "r" * 256}, Say("r" * 256, "5f2c-1", "hello, everyone", None)),
    (SAY | {"body": "\0\n\u2028\x7f\U0010ffff"}, Say("lobby", "5f2c-1", "\0\n\u2028\x7f\U0010ffff", None)),
    (SAY | {"what is this": {"a": [1, 2.5, None]}}, Say("lobby", "5f2c-1", "hello, everyone", None)),
    ({"type": "whisper", "to": "Michael", "id": "1", "body": "psst"}, Whisper("Michael", "1", "psst", None)),
    (
        {"type": "whisper", "to": "Michael", "id": "1", "body": "psst", "cipher": "c"},
        Whisper("Michael", "1", "psst", "c"),
    ),
    ({"type": "join", "room": "engine-room"}, Join("engine-room")),
    ({"type": "join", "room": "engine-room", "after": None}, Join("engine-room", None)),
    ({"type": "join", "room": "engine-room", "after": 7.0}, Join("engine-room", 7)),
    ({"type": "part", "room": "engine-room"}, Part("engine-room")),
    ({"type": "topic", "room": "lobby", "topic": ""}, SetTopic("lobby", "")),
    (
        {"type": "topic", "room": "lobby", "topic": "t" * TOPIC_LENGTH},
        SetTopic("lobby", "t" * TOPIC_LENGTH),
    ),
    (HISTORY, GetHistory("lobby", None, None, 50)),
    (HISTORY | {"before": None, "after": None}, GetHistory("lobby", None, None, 50)),
    (HISTORY | {"before": 7}, GetHistory("lobby", 7, None, 50)),
    (HISTORY | {"before": None, "after": 0}, GetHistory("lobby", None, 0, 50)),
    (HISTORY | {"after": MAX_NUMBER}, GetHistory("lobby", None, MAX_NUMBER, 50)),
    (HISTORY | {"limit": 1}, GetHistory("lobby", None, None, 1)),
    (HISTORY | {"limit": float(HISTORY_LIMIT)}, GetHistory("lobby", None, None, HISTORY_LIMIT)),
    ({"type": "users", "room": "lobby"}, GetUsers("lobby")),
    ({"type": "rooms"}, GetRooms()),
    ({"type": "ack", "whisper": 12}, Confirm(12)),
    ({"type": "ping"}, Ping(None)),
    ({"type": "ping", "token": "t" * TOKEN_LENGTH}, Ping("t" * TOKEN_LENGTH)),
    ({"type": "pong", "token": None}, Pong(None)),
    ({"type": "pong", "token": ""}, Pong("")),
    ({"type": "bye"}, Bye()),
]


@pytest.mark.parametrize(("members", "request_"), GOOD, ids=lambda value: type(value).__name__)
def test_valid_request_is_parsed(members: dict[str, Any], request_: Request) -> None:
    for escaped in (False, True):
        for separators in ((",", ":"), (" ,\n", "\t: ")):
            text = json.dumps(members, ensure_ascii=escaped, separators=separators)
            parsed = parse_request(text.encode())
            assert parsed == request_
            assert type(parsed) is type(request_)
            assert [type(value) for value in parsed] == [type(value) for value in request_]


WRONG = (None, True, False, 0, 1, -1, 1.5, 1e300, [], {}, [1], {"a": 1})  # no strings

# A valid message, one of its fields, and invalid values for that field.
BAD: list[tuple[dict[str, Any], str, tuple[Any, ...]]] = [
    (HELLO, "version", (None, True, "1", 1.5, -1, MAX_NUMBER + 1, 1e300, -1e300, [], {}, 10**60)),
    (HELLO, "name", (*WRONG, "n" * 257)),
    (HELLO, "client", (*WRONG, "", "c" * 15, "c" * 129)),
    (HELLO, "resume", ("", "log", 0, False, [], [1])),
    (HELLO | {"resume": {"log": "", "rooms": {}}}, "resume.log", (*WRONG, "l" * 257)),
    (HELLO | {"resume": {"log": "", "rooms": {}}}, "resume.rooms", (None, 0, "", [], ["lobby"])),
    (HELLO | {"resume": {"log": "", "rooms": {}}}, "resume.rooms", ({"lobby": -1}, {"lobby": "1"})),
    (HELLO | {"resume": {"log": "", "rooms": {}}}, "resume.rooms", ({"lobby": None}, {"r" * 257: 1})),
    (HELLO | {"resume": {"log": "", "rooms": {}}}, "resume.rooms", ({"a": 1, "b": 2**53}, {"a": True})),
    (SAY, "room", (*WRONG, "r" * 257)),
    (SAY, "id", (*WRONG, "", "i" * 65)),
    (SAY, "body", WRONG),
    (SAY, "cipher", (*WRONG[1:], "c" * 257)),
    (SAY | {"type": "whisper", "to": "Michael"}, "to", (*WRONG, "n" * 257)),
    (SAY | {"type": "whisper", "to": "Michael"}, "id", (*WRONG, "", "i" * 65)),
    (SAY | {"type": "whisper", "to": "Michael"}, "body", WRONG),
    (SAY | {"type": "whisper", "to": "Michael"}, "cipher", (*WRONG[1:], "c" * 257)),
    ({"type": "join", "room": "lobby"}, "room", (*WRONG, "r" * 257)),
    ({"type": "join", "room": "lobby"}, "after", (True, "1", 1.5, -1, MAX_NUMBER + 1, [], {})),
    ({"type": "part", "room": "lobby"}, "room", (*WRONG, "r" * 257)),
    ({"type": "users", "room": "lobby"}, "room", (*WRONG, "r" * 257)),
    ({"type": "topic", "room": "lobby", "topic": ""}, "room", (*WRONG, "r" * 257)),
    ({"type": "topic", "room": "lobby", "topic": ""}, "topic", (*WRONG, "t" * 257)),
    (HISTORY, "room", (*WRONG, "r" * 257)),
    (HISTORY, "limit", (None, True, "1", 0, 1.5, -1, HISTORY_LIMIT + 1, [], {})),
    (HISTORY, "before", (True, "1", 1.5, -1, MAX_NUMBER + 1, [], {})),
    (HISTORY, "after", (True, "1", 1.5, -1, MAX_NUMBER + 1, [], {})),
    (HISTORY | {"before": 1}, "after", (0, 1, 2)),
    ({"type": "ack", "whisper": 1}, "whisper", (None, True, "1", 1.5, -1, MAX_NUMBER + 1, [], {})),
    ({"type": "ping"}, "token", (*WRONG[1:], "t" * 65)),
    ({"type": "pong"}, "token", (*WRONG[1:], "t" * 65)),
]
BAD_CASES = [(members, field, value) for members, field, values in BAD for value in values]


@pytest.mark.parametrize(("members", "field", "value"), BAD_CASES)
def test_error_names_the_invalid_field(members: dict[str, Any], field: str, value: Any) -> None:
    parse_request(json.dumps(members).encode())
    if field.startswith("resume."):
        members = members | {"resume": members["resume"] | {field.removeprefix("resume."): value}}
    else:
        members = members | {field: value}
    with pytest.raises(BadMessageError) as caught:
        parse_request(json.dumps(members).encode())
    assert (caught.value.kind, caught.value.field) == (members["type"], field)
    assert str(caught.value).startswith(f"{members['type']}: {field} is not ")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("members", "field"),
    [
        (members, field)
        for members in (HELLO, SAY, HISTORY, {"type": "join", "room": "x"}, {"type": "ack", "whisper": 1})
        for field in members
        if field != "type"
    ],
)
def test_error_names_the_missing_field(members: dict[str, Any], field: str) -> None:
    members = {name: value for name, value in members.items() if name != field}
    with pytest.raises(BadMessageError) as caught:
        parse_request(json.dumps(members).encode())
    assert caught.value.field == field


@pytest.mark.parametrize("kind", ["say", "whisper"])
def test_error_has_the_id_of_the_message_if_it_is_valid(kind: str) -> None:
    for id, usable in (("5f2c-1", "5f2c-1"), ("i" * 65, ""), ("", ""), (7, ""), ([], ""), (None, "")):
        with pytest.raises(BadMessageError) as caught:
            parse_request(json.dumps({"type": kind, "id": id, "body": None}).encode())
        assert caught.value.id == usable


def test_errors_of_other_types_have_no_id() -> None:
    with pytest.raises(BadMessageError) as caught:
        parse_request(b'{"type":"join","id":"1"}')
    assert caught.value.id == ""


@pytest.mark.parametrize("kind", ["", "said", "welcome", "SAY", "say ", "__class__", "x" * 60_000])
def test_unknown_type_is_refused_with_its_name(kind: str) -> None:
    with pytest.raises(UnknownTypeError) as caught:
        parse_request(json.dumps(SAY | {"type": kind}).encode())
    assert caught.value.kind == kind
    assert len(str(caught.value)) < 200


def test_fields_may_come_in_any_order() -> None:
    assert parse_request(b'{"body":"x","id":"1","room":"lobby","type":"say"}') == Say("lobby", "1", "x", None)


BAD_JSON = {
    "an empty payload": b"",
    "spaces": b" \t\r\n",
    "a word": b"hello",
    "a string": b'"say"',
    "a list": b'[{"type":"bye"}]',
    "a number": b"1",
    "null": b"null",
    "no type": b"{}",
    "a type that is no string": b'{"type":1}',
    "a type that is null": b'{"type":null}',
    "a type that is a list": b'{"type":["bye"]}',
    "a type key in capitals": b'{"Type":"bye"}',
    "half an object": b'{"type":"bye"',
    "half a string": b'{"type":"by',
    "half an escape": rb'{"type":"bye","x":"\u12',
    "a wrong escape": rb'{"type":"bye","x":"\x41"}',
    "a wrong \\u escape": rb'{"type":"bye","x":"\u 123"}',
    "single quotes": b"{'type':'bye'}",
    "no quotes": b"{type:'bye'}",
    "a trailing comma": b'{"type":"bye",}',
    "a missing comma": b'{"type":"bye" "x":1}',
    "a comment": b'{"type":"bye"} // bye',
    "text after the object": b'{"type":"bye"} x',
    "two objects": b'{"type":"bye"}{"type":"bye"}',
    "a null byte after the object": b'{"type":"bye"}\0',
    "other white space": b'\x0b{"type":"bye"}',
    "a no-break space": '\xa0{"type":"bye"}'.encode(),
    "a byte order mark": b"\xef\xbb\xbf" + b'{"type":"bye"}',
    "UTF-16": '{"type":"bye"}'.encode("utf-16"),
    "UTF-16 without a mark": '{"type":"bye"}'.encode("utf-16-le"),
    "Latin-1": '{"type":"bye","x":"é"}'.encode("latin-1"),
    "an overlong encoding": b'{"type":"bye","x":"\xc0\xaf"}',
    "an encoded surrogate": b'{"type":"bye","x":"\xed\xa0\x80"}',
    "a code point beyond Unicode": b'{"type":"bye","x":"\xf4\x90\x80\x80"}',
    "cut inside a character": '{"type":"bye","x":"é'.encode()[:-1],
    "a control character": b'{"type":"bye","x":"\n"}',
    "a null byte in a string": b'{"type":"bye","x":"\0"}',
    "not a number": b'{"type":"bye","x":NaN}',
    "infinity": b'{"type":"bye","x":Infinity}',
    "minus infinity": b'{"type":"bye","x":[-Infinity]}',
    "a number over the range of a double": b'{"type":"bye","x":1e999}',
    "a number under the range of a double": b'{"type":"bye","x":-1e999}',
    "a number with a leading zero": b'{"type":"bye","x":01}',
    "a number with a plus sign": b'{"type":"bye","x":+1}',
    "a number without digits": b'{"type":"bye","x":-}',
    "a number that ends too soon": b'{"type":"bye","x":1.}',
    "digits of another script": '{"type":"bye","x":\u0661}'.encode(),
    "hexadecimal": b'{"type":"bye","x":0x10}',
    "the type twice": b'{"type":"bye","type":"bye"}',
    "a key twice, once with an escape": rb'{"type":"bye","a":1,"\u0061":1}',
    "a nested key twice": b'{"type":"bye","x":[{"y":{"a":1,"b":2,"a":3}}]}',
    "the empty key twice": b'{"type":"bye","":1,"":2}',
    "half a surrogate pair": rb'{"type":"bye","x":"\ud800"}',
    "half a surrogate pair in capitals": rb'{"type":"bye","x":"\uDBFF."}',
    "the low half of a surrogate pair": rb'{"type":"bye","x":"a\udc00"}',
    "a surrogate pair in the wrong order": rb'{"type":"bye","x":"\ude00\ud83d"}',
    "half a surrogate pair in a key": rb'{"type":"bye","\ud83d":1}',
    "half a surrogate pair in a nested object": rb'{"type":"bye","x":[[{"y":["\udfff"]}]]}',
    "half a surrogate pair as the type": rb'{"type":"\ud83d"}',
    "a list one level too deep": b'{"type":"bye","x":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}",
    "an object one level too deep": b'{"type":"bye","x":'
    + b'{"x":' * MAX_DEPTH
    + b"1"
    + b"}" * MAX_DEPTH
    + b"}",
    "a very deep list": b"[" * 60_000,
    "a very deep list, closed": b"[" * 30_000 + b"]" * 30_000,
    "a very deep object": b'{"x":' * 12_000,
    "a very deep object, closed": b'{"type":"bye","x":' * 2_500 + b"1" + b"}" * 2_500,
    "a long integer": b'{"type":"bye","x":' + b"9" * 60_000 + b"}",
    "a long negative integer": b'{"type":"bye","x":-' + b"9" * 60_000 + b"}",
    "a long fraction": b'{"type":"bye","x":0.' + b"9" * 60_000 + b"}",
    "a long exponent": b'{"type":"bye","x":1e' + b"9" * 60_000 + b"}",
    "an integer one digit too long": b'{"type":"bye","x":' + b"9" * (MAX_DIGITS + 1) + b"}",
    "many spaces": b" " * 65_536,
    "many quotes": b'{"type":"bye","x":' + b'"' * 60_000,
    "many backslashes": b'{"type":"bye","x":"' + b"\\" * 60_000,
    "many nulls": b"\0" * 65_536,
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_invalid_json_is_refused_in_one_line(name: str) -> None:
    for parse in (parse_message, parse_request):
        with pytest.raises(BadJsonError) as caught:
            parse(BAD_JSON[name])
        assert len(str(caught.value)) < 200
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "payload",
    [
        b'\n\t {"type":"x"} \r\n',
        b'{"type":"x","a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}',
        rb'{"type":"x","a":"\ud83d\ude00 \uD83D\uDE00","b":"\\ud800 \\uD800"}',
        rb'{"type":"x","\ud83d\ude00":"\ud7ff\ue000"}',
        '{"type":"x","a":"\u2028\ufeff\U0010ffff"}'.encode(),
        b'{"type":"x","a":' + b"[" * (MAX_DEPTH - 1) + b'"deep"' + b"]" * (MAX_DEPTH - 1) + b"}",
        b'{"type":"x","a":[' + b"[]," * 5_000 + b"{}]}",
        b'{"type":"x","a":"' + b"[{" * 5_000 + b'"}',
        b'{"type":"x","a":[' + b"9" * MAX_DIGITS + b",-0,0.0,1E+2,1e-999,-1.5e10]}",
    ],
)
def test_valid_json_is_parsed_like_the_standard_library(payload: bytes) -> None:
    assert parse_message(payload) == json.loads(payload)


def test_deep_payload_is_refused_at_any_stack_depth() -> None:
    """A caller deep in the stack reaches the interpreter's recursion limit sooner."""

    def dig(depth: int) -> None:
        if depth:
            dig(depth - 1)
        else:
            with pytest.raises(BadJsonError):
                parse_message(BAD_JSON["a very deep list"])

    dig(sys.getrecursionlimit() // 2)


def test_huge_numbers_are_refused_even_without_pythons_digit_limit() -> None:
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        with pytest.raises(BadJsonError, match="a number has more than 64 characters"):
            parse_message(BAD_JSON["a long integer"])
    finally:
        sys.set_int_max_str_digits(limit)


@pytest.mark.parametrize(("value", "beside"), [("true", True), ("false", False), ("null", False)])
def test_hello_may_ask_to_keep_the_earlier_session(value: str, beside: bool) -> None:
    payload = f'{{"type":"hello","version":1,"name":"a","client":"{"x" * 16}","beside":{value}}}'
    assert parse_request(payload.encode()).beside is beside  # type: ignore[union-attr]


@pytest.mark.parametrize("value", ["1", '"yes"', "[]"])
def test_beside_must_be_a_boolean(value: str) -> None:
    payload = f'{{"type":"hello","version":1,"name":"a","client":"{"x" * 16}","beside":{value}}}'
    with pytest.raises(BadMessageError, match="beside is not true or false"):
        parse_request(payload.encode())
