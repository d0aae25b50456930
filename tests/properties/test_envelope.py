"""Arbitrary requests of clients. HYPOTHESIS_PROFILE=nightly runs many more examples."""

from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st

from selchat.errors import RefusalError
from selchat.limits import MAX_DEPTH
from selchat.wire import requests
from selchat.wire.detect import is_hello
from selchat.wire.frames import FrameDecoder, encode_frame
from selchat.wire.requests import (
    BadMessageError,
    UnknownTypeError,
    parse_message,
    parse_request,
)
from selchat.wire.strict_json import BadJsonError

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers(-(10**60), 10**60) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)
KINDS = st.sampled_from([*sorted(requests._PARSERS), "unheard-of"])
FIELDS = st.sampled_from(
    [
        *("type", "version", "name", "client", "resume", "room", "to", "id", "body", "cipher", "topic"),
        *("before", "after", "limit", "whisper", "token"),
    ]
)
# Pieces of almost valid JSON.
SCRAPS = st.sampled_from(
    [
        *('{"type":"say"', '{"type":"bye"}', ',"room":"lobby"', ',"id":"1"', ',"body":"x"', '"type":'),
        *('"hello"', "}", "{", "[", "]", '"', ",", ":", "\\", "\\u", "\\ud83d", "\\uDE00", "\\ud800", "\\n"),
        *("NaN", "-Infinity", "1e999", "-", "0", "1.5", "9" * 70, "null", "true", " ", "\n", "\t", "\0"),
        *("\ufeff", "\u00e9", "\U0001f44b", "//", "'"),
    ]
)


def depth(value: object) -> int:
    """Return the nesting depth of arrays and objects."""
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


def reference_parse(payload: bytes) -> dict[str, Any]:
    """Parse a payload by docs/protocol.rst, slowly and simply. Raises `ValueError`."""

    def reject(name: str) -> None:
        raise ValueError(name)

    def number(digits: str) -> float:
        value = float(digits) if set(digits) & set(".eE") else int(digits)
        if len(digits) > 64 or math.isinf(value):
            raise ValueError(digits)
        return value

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError(pairs)
        return dict(pairs)

    text = payload.decode()
    value = json.loads(
        text, parse_constant=reject, parse_int=number, parse_float=number, object_pairs_hook=unique
    )
    if not isinstance(value, dict) or not isinstance(value.get("type"), str) or depth(value) > MAX_DEPTH:
        raise ValueError(payload)
    json.dumps(value, ensure_ascii=False).encode()  # the halves of surrogate pairs fail here
    return value


def outcome(payload: bytes) -> object:
    try:
        return parse_request(payload)
    except RefusalError as error:
        return repr(error)


@given(
    st.lists(SCRAPS, max_size=14).map("".join).map(str.encode)
    | st.binary(max_size=60)
    | st.tuples(st.dictionaries(TEXT, JSON, max_size=3), st.integers(0, 1000), st.binary(max_size=2)).map(
        lambda drawn: _damaged(json.dumps(drawn[0] | {"type": "x"}).encode(), *drawn[1:])
    )
)
def test_payload_is_parsed_or_rejected_like_the_reference(payload: bytes) -> None:
    assert is_hello(payload) in {True, False}
    try:
        expected = reference_parse(payload)
    except ValueError:
        event("bad")
        for parse in (parse_message, parse_request):
            try:
                parse(payload)
            except BadJsonError as error:
                assert str(error)
            else:
                raise AssertionError("accepted")
    else:
        event("good")
        assert parse_message(payload) == expected


def _damaged(payload: bytes, position: int, piece: bytes) -> bytes:
    position %= len(payload) + 1
    return payload[:position] + piece + payload[position + len(piece) :]


@given(
    st.dictionaries(TEXT, JSON, max_size=4),
    TEXT,
    st.booleans(),
    st.sampled_from([(",", ":"), (", ", ": "), ("\r\n,\t", " : ")]),
    st.sampled_from([None, 0, 2]),
)
def test_any_json_spelling_of_an_object_parses_to_it(
    members: dict[str, Any], kind: str, escaped: bool, separators: tuple[str, str], indent: int | None
) -> None:
    members = members | {"type": kind}
    text = json.dumps(members, ensure_ascii=escaped, separators=separators, indent=indent)
    assert parse_message(text.encode()) == members
    assert is_hello(text.encode()) == (kind == "hello")


@given(st.dictionaries(FIELDS, JSON, max_size=8), KINDS)
def test_any_fields_give_a_request_or_an_error(members: dict[str, Any], kind: str) -> None:
    members["type"] = kind
    try:
        request = parse_request(json.dumps(members).encode())
    except UnknownTypeError:
        assert kind == "unheard-of"
    except BadMessageError as error:
        assert error.kind == kind
        assert error.id in {"", members.get("id") if isinstance(members.get("id"), str) else ""}
        assert len(error.id) <= requests.ID_LENGTH
        event("refused")
    else:
        assert isinstance(request, tuple)
        event("a request")


@given(
    st.lists(
        st.dictionaries(FIELDS, TEXT | st.integers(0, 99), max_size=6)
        .map(lambda members: json.dumps(members | {"type": "say"}).encode())
        .filter(lambda payload: len(payload) <= 65_536)
        | st.lists(SCRAPS, max_size=10).map("".join).map(str.encode)
        | st.binary(max_size=30),
        max_size=6,
    ),
    st.data(),
)
def test_requests_are_the_same_at_any_chunking(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(encode_frame, payloads))
    expected = [outcome(payload) for payload in payloads]
    for cuts in (range(len(stream)), sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))):
        decoder = FrameDecoder()
        got: list[object] = []
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            got += map(outcome, decoder.receive_data(stream[start:end]))
        assert got == expected
        assert decoder.error is None and not decoder.unfinished


# Characters that end a JSON string or are invalid in one, ordinary ones, and lengths around the limits.
ODD = st.sampled_from(['"', "\\", "\\n", "\x00", "\x1f", "}", ","])
PLAIN = st.sampled_from(["a", "é", "😀", "\x7f", " ", "{"])
LENGTHS = st.sampled_from([1, 2, 63, 64, 65, 255, 256, 257])
FIELD = st.lists(PLAIN, min_size=1, max_size=5).map("".join) | LENGTHS.map("x".__mul__)
FIELD |= st.lists(PLAIN | ODD, max_size=5).map("".join) | LENGTHS.map("é".__mul__)


@given(
    st.fixed_dictionaries(
        {"room": FIELD, "id": FIELD, "body": FIELD}, optional={"cipher": FIELD | st.none() | st.integers()}
    ),
    st.lists(st.tuples(st.integers(0, 300), st.binary(max_size=2)), max_size=1),
    st.booleans(),
    st.booleans(),
)
def test_fast_and_full_parser_agree_on_say(
    fields: dict[str, object], changes: list[tuple[int, bytes]], quoted: bool, ascii_only: bool
) -> None:
    say = {"type": "say", **fields}
    if quoted:
        payload = json.dumps(say, ensure_ascii=ascii_only, separators=(",", ":")).encode()
    else:  # without any escaping
        inside = ",".join(f'"{key}":"{value}"' for key, value in say.items())
        payload = f"{{{inside}}}".encode()
    for position, byte in changes:
        payload = payload[:position] + byte + payload[position + 1 :]
    event("fast path" if requests._PLAIN_SAY.fullmatch(payload.decode(errors="replace")) else "parsed")
    # A space after the object changes nothing but the path: only the full parser accepts it.
    assert outcome(payload) == outcome(payload + b" ")
