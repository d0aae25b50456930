"""Fields of selchat protocol messages: checked reading, and encoding as frames.

Clients do not trust servers either. These limits are wider than the ones in docs/protocol.rst: they only
bound how much of a senseless field a client keeps.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from selchat.client.events import Message, RoomSummary
from selchat.config.settings import ClientSettings
from selchat.errors import ProtocolError
from selchat.events import LOBBY
from selchat.limits import FIELD_NAME_LENGTH, FIELD_TEXT_LENGTH, MAX_FIELD_NAMES
from selchat.wire.e2ee import parse_salt
from selchat.wire.frames import FrameTooLongError, encode_frame
from selchat.wire.requests import BadMessageError

Fields = dict[str, Any]

_MAX_INT = (1 << 53) - 1  # the largest integer that JSON numbers hold exactly


class NoSaltError(ProtocolError):
    def __str__(self) -> str:
        return "the server sent no salt, and without a salt nothing can be encrypted"


# -- from the server -------------------------------------------------------------------------------------
# Each function raises `BadMessageError` if the field has the wrong JSON type or an impossible value.


def get_text(fields: Fields, field: str, max_length: int = FIELD_NAME_LENGTH) -> str:
    value = fields.get(field)
    if type(value) is not str or len(value) > max_length:
        raise _bad(fields, field, f"a string of at most {max_length} characters")
    return value


def get_body(fields: Fields) -> str:
    value = fields.get("body")
    if type(value) is not str:
        raise _bad(fields, "body", "a string")
    return value


def get_optional_text(fields: Fields, field: str, max_length: int = FIELD_NAME_LENGTH) -> str:
    """Return a string, or an empty one if the field is missing or null."""
    return "" if fields.get(field) is None else get_text(fields, field, max_length)


def get_int(fields: Fields, field: str, minimum: int = 0) -> int:
    value = fields.get(field)
    if type(value) is not int or not minimum <= value <= _MAX_INT:
        raise _bad(fields, field, f"an integer from {minimum} on")
    return value


def get_seconds(fields: Fields, field: str) -> float:
    value = fields.get(field)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_INT:
        raise _bad(fields, field, "a number of seconds")
    return float(value)


def get_optional_seconds(fields: Fields, field: str) -> float | None:
    """Return seconds, or None if the field is missing or null."""
    return None if fields.get(field) is None else get_seconds(fields, field)


def get_local_time(fields: Fields, field: str) -> str:
    """Return a time as this machine's local time with its zone; empty if the field is missing or no time."""
    value = fields.get(field)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    try:
        return datetime.fromtimestamp(value).astimezone().strftime("%Y-%m-%d %H:%M %Z").strip()
    except (ValueError, OverflowError, OSError):
        return ""


def get_bool(fields: Fields, field: str) -> bool:
    value = fields.get(field)
    if type(value) is not bool:
        raise _bad(fields, field, "true or false")
    return value


def get_names(fields: Fields, field: str = "names") -> tuple[str, ...]:
    values = fields.get(field)
    if type(values) is not list or len(values) > MAX_FIELD_NAMES:
        raise _bad(fields, field, f"a list of at most {MAX_FIELD_NAMES} names")
    if not all(type(value) is str and len(value) <= FIELD_NAME_LENGTH for value in values):
        raise _bad(fields, field, "a list of names")
    return tuple(values)


def get_objects(fields: Fields, field: str) -> list[Fields]:
    values = fields.get(field)
    if (
        type(values) is not list
        or len(values) > MAX_FIELD_NAMES
        or not all(type(value) is dict for value in values)
    ):
        raise _bad(fields, field, f"a list of at most {MAX_FIELD_NAMES} objects")
    return values


def get_salt(fields: Fields) -> bytes:
    """Return the salt of a room or of direct messages. Raises `NoSaltError`."""
    value = fields.get("salt")
    salt = parse_salt(value) if type(value) is str else None
    if salt is None:
        raise NoSaltError
    return salt


def get_room_summary(fields: Fields) -> RoomSummary:
    """Return a room of ``welcome`` or ``rooms``."""
    return RoomSummary(
        get_text(fields, "room"),
        get_int(fields, "members"),
        get_text(fields, "topic", FIELD_TEXT_LENGTH),
        get_int(fields, "seq"),
    )


def get_message(fields: Fields, room: str = LOBBY) -> Message:
    """Return a message of ``said`` or ``history``, as one of ``room``."""
    return Message(
        author=get_text(fields, "from"),
        body=get_body(fields),
        room=room,
        seq=get_int(fields, "seq", 1),
        at=get_seconds(fields, "at"),
        id=get_optional_text(fields, "id"),
        cipher=get_optional_text(fields, "cipher") or None,
    )


def _bad(fields: Fields, field: str, expected: str) -> BadMessageError:
    return BadMessageError(str(fields.get("type", "a message"))[:64], field, expected)


# -- to the server ---------------------------------------------------------------------------------------


class FrameEncoder:
    """Encodes fields of any message type as JSON frames, within the limits of the settings."""

    def __init__(self, settings: ClientSettings) -> None:
        self._header_length = settings.header_length
        self._limit = settings.payload_limit

    def encode(self, fields: Fields, limit: int | None = None) -> bytes:
        """Return the frame; ``limit`` bounds the payload in bytes too. Raises `FrameTooLongError`."""
        payload = _payload(fields)
        limit = self._limit if limit is None else min(self._limit, limit)
        if len(payload) > limit:
            raise FrameTooLongError(len(payload), limit)
        return encode_frame(payload, self._header_length)

    def payload_size(self, fields: Fields) -> int:
        """Return the size of the payload in bytes."""
        return len(_payload(fields))


def _payload(fields: Fields) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def replace_surrogates(text: str) -> str:
    """Return ``text`` with U+FFFD for each lone surrogate, which Python makes of invalid UTF-8 input."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
