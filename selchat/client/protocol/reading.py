"""Fields of what a server sends: the right JSON type, or one error that says which is wrong.

A server is a stranger too. The limits here are not those of docs/protocol.rst, but what is kept of a field
that is larger than anything that makes sense.
"""

from __future__ import annotations

from typing import Any

from selchat.client.events import Message, RoomSummary
from selchat.errors import ProtocolError
from selchat.events import LOBBY
from selchat.wire.e2ee import parse_salt
from selchat.wire.requests import BadMessageError

Fields = dict[str, Any]

NAME_LENGTH = 256  # characters of a name, of a room, of whatever names something
TEXT_LENGTH = 4096  # characters of what is said about something
MAX_NAMES = 10_000  # names or rooms in one list
_MAX = (1 << 53) - 1  # what JSON's numbers hold exactly


class NoSaltError(ProtocolError):
    def __str__(self) -> str:
        return "it gives no salt, without which nothing can be encrypted"


def text(fields: Fields, field: str, most: int = NAME_LENGTH) -> str:
    """Return a string. Raises `BadMessageError`, as all here do."""
    value = fields.get(field)
    if type(value) is not str or len(value) > most:
        raise _bad(fields, field, f"a string of at most {most} characters")
    return value


def body(fields: Fields) -> str:
    value = fields.get("body")
    if type(value) is not str:
        raise _bad(fields, "body", "a string")
    return value


def optional_text(fields: Fields, field: str, most: int = NAME_LENGTH) -> str:
    """Return a string that may be missing or null: empty then."""
    return "" if fields.get(field) is None else text(fields, field, most)


def number(fields: Fields, field: str, least: int = 0) -> int:
    value = fields.get(field)
    if type(value) is not int or not least <= value <= _MAX:
        raise _bad(fields, field, f"an integer from {least} on")
    return value


def seconds(fields: Fields, field: str) -> float:
    value = fields.get(field)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX:
        raise _bad(fields, field, "a number of seconds")
    return float(value)


def optional_seconds(fields: Fields, field: str) -> float | None:
    """Return seconds, or None where they are missing or null."""
    return None if fields.get(field) is None else seconds(fields, field)


def flag(fields: Fields, field: str) -> bool:
    value = fields.get(field)
    if type(value) is not bool:
        raise _bad(fields, field, "true or false")
    return value


def names(fields: Fields, field: str = "names") -> tuple[str, ...]:
    values = fields.get(field)
    if type(values) is not list or len(values) > MAX_NAMES:
        raise _bad(fields, field, f"a list of at most {MAX_NAMES} names")
    if not all(type(value) is str and len(value) <= NAME_LENGTH for value in values):
        raise _bad(fields, field, "a list of names")
    return tuple(values)


def objects(fields: Fields, field: str) -> list[Fields]:
    values = fields.get(field)
    if (
        type(values) is not list
        or len(values) > MAX_NAMES
        or not all(type(value) is dict for value in values)
    ):
        raise _bad(fields, field, f"a list of at most {MAX_NAMES} objects")
    return values


def salt(fields: Fields) -> bytes:
    """Return the salt of a room, or that of whispers. Raises `NoSaltError`."""
    value = fields.get("salt")
    found = parse_salt(value) if type(value) is str else None
    if found is None:
        raise NoSaltError
    return found


def summary(fields: Fields) -> RoomSummary:
    """Return a room as ``welcome`` and ``rooms`` have it."""
    return RoomSummary(
        text(fields, "room"),
        number(fields, "members"),
        text(fields, "topic", TEXT_LENGTH),
        number(fields, "seq"),
    )


def message(fields: Fields, room: str = LOBBY) -> Message:
    """Return a message of that room as ``said`` and ``history`` have it."""
    return Message(
        author=text(fields, "from"),
        body=body(fields),
        room=room,
        seq=number(fields, "seq", 1),
        at=seconds(fields, "at"),
        id=optional_text(fields, "id"),
        cipher=optional_text(fields, "cipher") or None,
    )


def _bad(fields: Fields, field: str, wanted: str) -> BadMessageError:
    return BadMessageError(str(fields.get("type", "a message"))[:64], field, wanted)
