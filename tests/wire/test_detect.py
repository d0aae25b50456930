from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.wire.detect import is_hello

HELLO = '{"type":"hello","version":1,"name":"Venkat","client":"9yAq3eTzqv0l1cZr6mW8nA"}'

HELLOS = {
    "as written by our client": HELLO.encode(),
    "a hello with the type last": b'{"version":1,"type":"hello"}',
    "white space": b' \r\n\t{ "type" :\n"hello" }\n',
    "escapes in key and value": rb'{"\u0074ype":"h\u0065llo"}',
    "only a type": b'{"type":"hello"}',
    "a wrong version": b'{"type":"hello","version":"two"}',
    # Invalid JSON or invalid messages; their authors need an error message.
    "a byte order mark": b"\xef\xbb\xbf" + HELLO.encode(),
    "broken UTF-8": b'{"type":"hello","name":"\xff"}',
    "a key twice": b'{"type":"hello","name":"a","name":"b"}',
    "the type twice": b'{"type":"say","type":"hello"}',
    "half a surrogate pair": rb'{"type":"hello","name":"\ud800"}',
    "NaN as the version": b'{"type":"hello","version":NaN}',
    "a control character": b'{"type":"hello","name":"a\tb"}',
    "a trailing comma": b'{"type":"hello","version":1,}',
    "cut off": HELLO.encode()[:-5],
    "two hellos": HELLO.encode() * 2,
    "a null byte after the object": HELLO.encode() + b"\0",
    "too deep": b'{"type":"hello","x":' + b"[" * 50_000,
    "too deep, and closed": b'{"type":"hello","x":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "a very long number": b'{"type":"hello","version":' + b"1" * 60_000 + b"}",
    "a very long fraction": b'{"type":"hello","version":0.' + b"1" * 60_000 + b"}",
}

NAMES = {
    "an empty name": b"",
    "a name": b"Venkat",
    "hello": b"hello",
    "a quoted hello": b'"hello"',
    "a type": b'"type":"hello"',
    "a brace": b"{",
    "braces": b"{}",
    "a list": b"[x]",
    "a list of one hello": b'[{"type":"hello"}]',
    "another message in JSON": b'{"type":"say","room":"lobby","id":"1","body":"x"}',
    "a nested hello": b'{"type":"say","x":{"type":"hello"}}',
    "a quoted hello in a body": rb'{"type":"say","body":"\"type\":\"hello\""}',
    "type and hello": b'{"type":["hello"],"kind":"hello"}',
    "a type in capitals": b'{"type":"Hello"}',
    "broken UTF-8": b"\xff\xfe{",
    "null bytes": b"\0" * 1000,
    "spaces": b" " * 60_000,
    "many brackets": b"[" * 60_000,
    "many braces": b"{" * 60_000,
    "many objects": b'{"a":' * 10_000,
    "a string that does not end": b'{"' + b"type" * 15_000,
    "many types": b'{"type"' + b'"type" ' * 8_000,
    "a type key and spaces": b'{"type"' + b" " * 60_000,
}


@pytest.mark.parametrize("name", HELLOS)
def test_malformed_hello_is_still_a_hello(name: str) -> None:
    assert is_hello(HELLOS[name])


@pytest.mark.parametrize("name", NAMES)
def test_name_that_resembles_json_is_not_a_hello(name: str) -> None:
    assert not is_hello(NAMES[name])


@given(st.binary(max_size=200) | st.text('{}[]":, typehello\\', max_size=60).map(str.encode))
def test_any_payload_is_classified(payload: bytes) -> None:
    assert is_hello(payload) in {True, False}


@given(
    st.dictionaries(st.text(), st.none() | st.integers() | st.floats() | st.text(), max_size=5), st.booleans()
)
def test_json_object_is_a_hello_only_if_its_type_says_so(members: dict[str, object], escaped: bool) -> None:
    members.pop("type", None)
    assert not is_hello(json.dumps(members, ensure_ascii=escaped).encode("utf-8", "replace"))
    members["type"] = "hello"
    assert is_hello(json.dumps(members, ensure_ascii=escaped).encode("utf-8", "replace"))
