"""The strict JSON reader: any text gives an object or one error, in little time."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.limits import MAX_VALUES
from selchat.wire.strict_json import BadJsonError, parse_object, parse_request_object

MANY = 20_000


@pytest.mark.parametrize(
    "text",
    [
        '{"x":[' + "{}," * MANY + "{}]}",
        '{"x":[' + "[]," * MANY + "[]]}",
        '{"x":[' + "1," * MANY + "1]}",
        '{"x":[' + '"",' * MANY + '""]}',
        '{"x":[' + '{"a":[{"a":[]}]},' * MANY + "1]}",
        "{" + "".join(f'"{number}":0,' for number in range(MANY)) + '"x":0}',
        '{"x":' + '""' * MANY + "," * MANY,  # invalid, and refused before the parser sees it
    ],
    ids=range(7),
)
def test_request_with_thousands_of_values_is_refused(text: str) -> None:
    with pytest.raises(BadJsonError, match=f"more than {MAX_VALUES} values"):
        parse_request_object(text)


@pytest.mark.parametrize(
    "body", [",{[" * MANY, '\\",{' * MANY, '"' * MANY + ",", "\\" * MANY + "," * MANY, "a\n,\u0001"]
)
def test_punctuation_inside_strings_does_not_count(body: str) -> None:
    document = {"type": "say", "body": body, "x": [1, {"y": []}]}
    assert parse_request_object(json.dumps(document)) == document


def test_as_many_values_as_the_limit_are_accepted() -> None:
    """The outer object, the array and its commas count."""
    for numbers, accepted in ((MAX_VALUES - 1, True), (MAX_VALUES, False)):
        document = {"x": list(range(numbers))}
        text = json.dumps(document)
        if accepted:
            assert parse_request_object(text) == document
        else:
            with pytest.raises(BadJsonError):
                parse_request_object(text)
        assert parse_object(text) == document, "a reply of the server may have more"


@pytest.mark.parametrize(
    "text",
    [
        '{"x":"' + '\\"' * MANY + "," * MANY,
        '{"x":"' + "\\" * (2 * MANY + 1) + "," * MANY,
        '{"x":"' + "," * MANY + "\\",
        '{"x":' + '"' * (2 * MANY + 1) + "," * MANY,
    ],
    ids=range(4),
)
def test_string_without_an_end_is_refused(text: str) -> None:
    """In linear time: searching again from each quote would take minutes."""
    with pytest.raises(BadJsonError):
        parse_request_object(text)


@given(st.text(alphabet='{}[],:"\\ax1 ', max_size=60), st.integers(0, 60))
def test_any_text_has_the_same_result_as_without_the_count(text: str, copies: int) -> None:
    padded = '{"x":' + text + "}" + " " * copies * 50
    try:
        expected: object = parse_object(padded)
    except BadJsonError as error:
        expected = str(error)
    try:
        found: object = parse_request_object(padded)
    except BadJsonError as error:
        found = str(error)
    assert found == expected
