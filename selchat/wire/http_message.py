"""Parser for the body of a posted message.

docs/http.rst is the specification. This module does not know the rooms, the permissions or the rest of the
HTTP request. Bodies are untrusted: each one gives a value or a `RefusalError`, in linear time.
"""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

from selchat.errors import RefusalError
from selchat.limits import ID_LENGTH
from selchat.wire.requests import BadMessageError
from selchat.wire.strict_json import decode_utf8, parse_request_object


class MediaTypeError(RefusalError):
    """The Content-Type ``kind`` of the body is not supported."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind

    def __str__(self) -> str:
        return (
            f"Content-Type {self.kind[:64]!r} is not supported: use application/json or text/plain, in UTF-8"
        )


# The type that curl sends for any data after -d. A real form becomes a message with the undecoded form.
_FORM = "application/x-www-form-urlencoded"
_UTF_8 = {"utf-8", "utf8", "us-ascii", "ascii"}
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]*)", re.IGNORECASE)


class ContentEncodingError(MediaTypeError):
    """The body is compressed, with the coding ``kind``."""

    def __str__(self) -> str:
        return f"Content-Encoding {self.kind[:64]!r} is not supported: send the body as it is"


class PostedMessage(NamedTuple):
    """A message. ``id``: the one that the sender chose, or None."""

    body: str
    id: str | None


def parse_posted(media_type: str, data: bytes, request_ids: tuple[str, ...] = ()) -> PostedMessage:
    """Return the message in a body: a JSON object with ``body`` and optionally ``id``, or plain text.

    ``media_type``: the header Content-Type; empty means plain text. ``request_ids``: the ids outside the
    body, in headers and query. Raises `MediaTypeError`, `BadJsonError` and `BadMessageError`.
    """
    kind = media_type.partition(";")[0].strip().lower()
    charset = _CHARSET.search(media_type)
    if charset is not None and charset[1].lower() not in _UTF_8:
        raise MediaTypeError(media_type)
    ids = list(request_ids)
    if kind == "application/json" or kind.endswith("+json"):
        members = parse_request_object(decode_utf8(data.removeprefix(codecs.BOM_UTF8)))
        body = members.get("body")
        if members.get("id") is not None:
            ids.append(members["id"])
    elif not kind or kind == _FORM or kind.startswith("text/"):
        try:
            body = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise BadMessageError("message", "body", f"UTF-8, at byte {error.start}") from None
        # A pipe ends with a newline that is not part of the message.
        body = body.removesuffix("\n").removesuffix("\r")
    else:
        raise MediaTypeError(media_type)
    if type(body) is not str:  # an empty one is a message too, as in the other protocols
        raise BadMessageError("message", "body", "a string")
    for id in ids:
        if type(id) is not str or not 0 < len(id) <= ID_LENGTH:
            raise BadMessageError("message", "id", f"a string of 1 to {ID_LENGTH} characters")
        if id != ids[0]:
            raise BadMessageError("message", "id", "the same in all places where the request has one")
    return PostedMessage(body, ids[0] if ids else None)
