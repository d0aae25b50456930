"""What a script has posted: the body of an HTTP request to a message, and nothing else gets through.

docs/http.rst is the contract. Which rooms there are, who may speak, and how a request looks around its body,
this file does not know. As in envelope.py, everything is a stranger's: the answer is a value or a
`RefusalError`, soon.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple, NoReturn

from selchat.errors import RefusalError
from selchat.wire.requests import ID_LENGTH, BadJsonError, BadMessageError


class MediaTypeError(RefusalError):
    """``kind``: what the body is said to be."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind

    def __str__(self) -> str:
        return f"{self.kind[:64]!r} is not understood: application/json or text/plain, in UTF-8"


# What curl calls all that it is given with -d. A form that is one becomes a message that shows it as it is.
_FORM = "application/x-www-form-urlencoded"
_UTF_8 = {"utf-8", "utf8", "us-ascii", "ascii"}
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]*)", re.IGNORECASE)
_HALF_PAIR = re.compile("[\ud800-\udfff]")


class Posted(NamedTuple):
    """A message. ``id`` is the sender's; None: it has none."""

    body: str
    id: str | None


def parse_posted(media_type: str, data: bytes, given_ids: tuple[str, ...] = ()) -> Posted:
    """Return what was posted: a JSON object with a ``body`` and perhaps an ``id``, or the text itself.

    ``media_type``: the header Content-Type, empty for none, which means text. ``given_ids``: what the request
    says around its body. Raises `MediaTypeError`, `BadJsonError` and `BadMessageError`.
    """
    kind = media_type.partition(";")[0].strip().lower()
    charset = _CHARSET.search(media_type)
    if charset is not None and charset[1].lower() not in _UTF_8:
        raise MediaTypeError(media_type)
    ids = list(given_ids)
    if kind == "application/json" or kind.endswith("+json"):
        members = _parse_object(data)
        body = members.get("body")
        if members.get("id") is not None:
            ids.append(members["id"])
    elif not kind or kind == _FORM or kind.startswith("text/"):
        try:
            body = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise BadMessageError("message", "body", f"UTF-8, at byte {error.start}") from None
        # The end of the last line, which a pipe has and its writer does not mean.
        body = body.removesuffix("\n").removesuffix("\r")
    else:
        raise MediaTypeError(media_type)
    if type(body) is not str or not body:
        raise BadMessageError("message", "body", "a string of at least one character")
    for id in ids:
        if type(id) is not str or not 0 < len(id) <= ID_LENGTH:
            raise BadMessageError("message", "id", f"a string of 1 to {ID_LENGTH} characters")
        if id != ids[0]:
            raise BadMessageError("message", "id", "the same in all places where the request has one")
    return Posted(body, ids[0] if ids else None)


def _parse_object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_object, parse_constant=_constant)
    except UnicodeDecodeError as error:
        raise BadJsonError(f"byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise BadJsonError(f"{error.msg.lower()}, character {error.pos}") from None
    except (RecursionError, ValueError):  # brackets in brackets, and numbers that Python does not read
        raise BadJsonError("it is too deep, or a number is too long") from None
    if type(value) is not dict:
        raise BadJsonError("it is no object")
    for text in (value.get("body"), value.get("id")):
        if type(text) is str and _HALF_PAIR.search(text):
            raise BadJsonError("an escape that is half a surrogate pair")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise BadJsonError("a key is in one object twice")
    return members


def _constant(name: str) -> NoReturn:
    raise BadJsonError(f"{name} is no JSON")
