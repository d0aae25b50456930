"""Strict JSON reader for untrusted objects.

It accepts the JSON that every reader understands in the same way (RFC 7493, I-JSON): no duplicate keys, no
lone surrogates, no huge numbers, no deep nesting, and no thousands of values. Every input gives an object or
`BadJsonError`, in linear time.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from itertools import islice
from json.scanner import make_scanner
from typing import Any, NoReturn, cast

from selchat.errors import RefusalError
from selchat.limits import MAX_DEPTH, MAX_DIGITS, MAX_VALUES


class BadJsonError(RefusalError):
    """The payload is not a JSON object by the rules above. ``why`` names the broken rule."""

    code = "bad-json"

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"invalid JSON object: {self.why}"


_TOO_DEEP = f"more than {MAX_DEPTH} arrays and objects inside each other"
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")
# A string without an end is one too: otherwise the search would begin again at each of its escaped quotes.
_TOKEN = re.compile(r'[,{\[]|"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
_COUNTED = {",", "{", "["}
_MAX_TOKENS = 4 * MAX_VALUES  # each value has at most two strings: a key and itself


def decode_utf8(data: bytes) -> str:
    """Return the text. Raises `BadJsonError` for bytes that are not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadJsonError(f"byte {error.start} is not UTF-8") from None


def parse_request_object(text: str) -> dict[str, Any]:
    """Do the same as `parse_object` for what a client sends, which has at most `MAX_VALUES` values."""
    # Commas of a message's body count nothing, but only few texts have so many of them.
    if len(text) > MAX_VALUES and text.count(",") + text.count("{") + text.count("[") > MAX_VALUES:
        tokens = [found[0] for found in islice(_TOKEN.finditer(text), _MAX_TOKENS)]
        if len(tokens) == _MAX_TOKENS or sum(token in _COUNTED for token in tokens) > MAX_VALUES:
            raise BadJsonError(f"more than {MAX_VALUES} values")
    return parse_object(text)


def parse_object(text: str) -> dict[str, Any]:
    """Return the JSON object in the text, with or without white space around it. Raises `BadJsonError`."""
    text = text.strip(" \t\r\n")
    try:
        value, end = _scan(text, 0)
    except json.JSONDecodeError as error:
        raise BadJsonError(f"{error.msg.lower()}, character {error.pos}") from None
    except StopIteration as error:  # the scanner found no value there
        raise BadJsonError(f"expecting value, character {error.value}") from None
    except RecursionError:
        raise BadJsonError(_TOO_DEEP) from None
    if end != len(text):
        raise BadJsonError(f"extra data after the object, character {end}")
    if type(value) is not dict:
        raise BadJsonError("the value is not an object")
    # Lone surrogates come only from escapes. Few texts can contain one or be deep; only they are searched.
    if text.count("{") + text.count("[") > MAX_DEPTH or ("\\u" in text and _SURROGATE_ESCAPE.search(text)):
        _check_values(value)
    return value


def _check_values(value: dict[str, Any]) -> None:
    """Raise `BadJsonError` for deep nesting and for lone surrogates, both of which the scanner accepts."""
    level: list[Any] = [value]  # the arrays and objects of one depth
    depth = 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise BadJsonError(_TOO_DEEP)
        next_level: list[Any] = []
        for container in level:
            for item in container if type(container) is list else (*container, *container.values()):
                kind = type(item)
                if kind is str:
                    if _SURROGATE.search(item):
                        raise BadJsonError("an escape is half of a surrogate pair")
                elif kind is list or kind is dict:
                    next_level.append(item)
        level = next_level


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise BadJsonError("an object has the same key twice")
    return members


def _integer(digits: str) -> int:
    # The limit is checked here, because int() takes time that grows with the square of the digits.
    if len(digits) > MAX_DIGITS:
        raise BadJsonError(f"a number has more than {MAX_DIGITS} characters")
    return int(digits)


def _fraction(digits: str) -> float:
    if len(digits) > MAX_DIGITS:
        raise BadJsonError(f"a number has more than {MAX_DIGITS} characters")
    number = float(digits)
    if math.isinf(number):
        raise BadJsonError("a number is too large")
    return number


def _constant(name: str) -> NoReturn:
    raise BadJsonError(f"{name} is not JSON")


# The scanner itself instead of `JSONDecoder.decode`, which runs two regular expressions for white space.
_scan: Callable[[str, int], tuple[Any, int]] = cast(Any, make_scanner)(
    json.JSONDecoder(
        object_pairs_hook=_object, parse_int=_integer, parse_float=_fraction, parse_constant=_constant
    )
)
