"""Parser for the requests of selchat clients.

docs/protocol.rst is the specification, and protocol.schema.json its machine-readable form. This module checks
the form of each message: its fields, their types and their sizes. It does not know which room names are
valid, who may send, or how the server replies. Payloads are untrusted: each one gives a value or a
`RefusalError`, in linear time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from selchat.errors import RefusalError
from selchat.limits import (
    CIPHER_LENGTH,
    HISTORY_LIMIT,
    ID_LENGTH,
    LOG_LENGTH,
    MAX_SECRET_LENGTH,
    MIN_SECRET_LENGTH,
    PASSWORD_LENGTH,
    REQUEST_NAME_LENGTH,
    TOKEN_LENGTH,
    TOPIC_LENGTH,
)
from selchat.wire.strict_json import BadJsonError, decode_utf8, parse_object, parse_request_object


class BadMessageError(RefusalError):
    """A message of type ``kind`` and with that ``id`` has a ``field`` that is not ``expected``."""

    code = "bad-message"

    def __init__(self, kind: str, field: str, expected: str, id: str = "") -> None:
        super().__init__(kind, field, expected, id)
        self.kind = kind
        self.field = field
        self.expected = expected
        self.id = id

    def __str__(self) -> str:
        return f"{self.kind}: {self.field} is not {self.expected}"


class UnknownTypeError(RefusalError):
    """The protocol has no message type ``kind``."""

    code = "unknown-type"

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind

    def __str__(self) -> str:
        return f"unknown message type: {self.kind[:64]}"


class BodyTooLongError(RefusalError):
    """A body is too long. ``length`` and ``limit`` are in bytes."""

    code = "too-long"

    def __init__(self, length: int, limit: int) -> None:
        super().__init__(length, limit)
        self.length = length
        self.limit = limit

    def __str__(self) -> str:
        return f"a body of {self.length} bytes is over the limit of {self.limit}"


VERSION = 1
MAX_NUMBER = (1 << 53) - 1  # a seq; the largest integer that every JSON library holds exactly (RFC 7493, 2.2)


class Resume(NamedTuple):
    """The position to resume from: the ``log`` id, and the last ``seq`` received in each of ``rooms``."""

    log: str
    rooms: dict[str, int]


class Hello(NamedTuple):
    """Log in. ``client`` is the secret that proves ownership of the name; ``resume`` is None the first time.

    ``beside``: if the name is online already, join under another name instead of replacing that session.
    ``password``: the server's password, empty for none.
    """

    version: int
    name: str
    client: str
    resume: Resume | None
    beside: bool = False
    password: str = ""


class Say(NamedTuple):
    """Send a message to a room. The sender chooses ``id``. ``cipher``: the body's encryption, if any."""

    room: str
    id: str
    body: str
    cipher: str | None


class Whisper(NamedTuple):
    """Send a direct message to the user named ``to``."""

    to: str
    id: str
    body: str
    cipher: str | None


class Join(NamedTuple):
    """Join a room. ``after``: replay the messages above that ``seq`` first; None: only new messages."""

    room: str
    after: int | None = None


class Part(NamedTuple):
    """Leave a room."""

    room: str


class SetTopic(NamedTuple):
    """Set a room's topic; an empty one removes it."""

    room: str
    topic: str


class GetHistory(NamedTuple):
    """Request up to ``limit`` messages of a room: the newest below ``before``, or the oldest above ``after``.

    At least one of the two is None. If both are, request the newest messages of all.
    """

    room: str
    before: int | None
    after: int | None
    limit: int


class GetUsers(NamedTuple):
    """Request the members of a room."""

    room: str


class GetRooms(NamedTuple):
    """Request a part of the list of rooms, without the first ``start`` rooms."""

    start: int = 0


class Confirm(NamedTuple):
    """Acknowledge all direct messages up to this ``seq`` (``ack`` on the wire)."""

    whisper: int


class Ping(NamedTuple):
    """Request a `pong` with the same token."""

    token: str | None


class Pong(NamedTuple):
    """Answer a `ping`."""

    token: str | None


class Bye(NamedTuple):
    """Log out."""


Request = (
    Hello
    | Say
    | Whisper
    | Join
    | Part
    | SetTopic
    | GetHistory
    | GetUsers
    | GetRooms
    | Confirm
    | Ping
    | Pong
    | Bye
)


# A `say` as clients usually write it: these fields in this order, no white space and no escapes. The match
# gives the same result as the parser.
_TEXT = r'"([^"\\\x00-\x1f]{%d,%s})"'
_PLAIN_SAY = re.compile(
    r'\{"type":"say"'
    f',"room":{_TEXT % (0, REQUEST_NAME_LENGTH)}'
    f',"id":{_TEXT % (1, ID_LENGTH)}'
    f',"body":{_TEXT % (0, "")}'
    f'(?:,"cipher":{_TEXT % (0, CIPHER_LENGTH)})?'
    r"\}"
)


def parse_request(payload: bytes | str) -> Request:
    """Return the request in a payload: UTF-8, or the text of a WebSocket message.

    Raises `BadJsonError`, `UnknownTypeError` and `BadMessageError`.
    """
    # The hot path; it takes 0.4 of the time of the parser below.
    if isinstance(payload, bytes):
        try:
            payload = payload.decode()  # inlined `decode_utf8`
        except UnicodeDecodeError as error:
            raise BadJsonError(f"byte {error.start} is not UTF-8") from None
    found = _PLAIN_SAY.fullmatch(payload)
    if found is not None:
        return Say(*found.groups())
    members = parse_request_object(payload)
    kind = members.get("type")
    if type(kind) is not str:
        raise BadJsonError(_NO_TYPE)
    if kind == "say":
        # Nearly as hot, because many bodies contain an escape: 2.9 microseconds for 64 characters, where
        # `json.loads` alone takes 2.8 and checks nothing. The scanner takes 1.3 of it, of which 0.5 are for
        # duplicate keys. Checking field by field, as below, takes 0.4 more.
        get = members.get
        room, id, body, cipher = get("room"), get("id"), get("body"), get("cipher")
        if (
            type(room) is str
            and type(id) is str
            and type(body) is str
            and len(room) <= REQUEST_NAME_LENGTH
            and 0 < len(id) <= ID_LENGTH
            and (cipher is None or (type(cipher) is str and len(cipher) <= CIPHER_LENGTH))
        ):
            return Say(room, id, body, cipher)
    parse = _PARSERS.get(kind)
    if parse is None:
        raise UnknownTypeError(kind)
    return parse(_FieldReader(kind, members))


def parse_message(payload: bytes | str) -> dict[str, Any]:
    """Return the JSON object in the payload, which has a string ``type``. Raises `BadJsonError`."""
    members = parse_object(decode_utf8(payload) if isinstance(payload, bytes) else payload)
    if type(members.get("type")) is not str:
        raise BadJsonError(_NO_TYPE)
    return members


_NO_TYPE = "its type is not a string"


# -- the messages --------------------------------------------------------------------------------------


class _FieldReader:
    """Typed access to the fields of one message: each method returns a value or raises `BadMessageError`."""

    __slots__ = ("_kind", "_members")

    def __init__(self, kind: str, members: dict[str, Any]) -> None:
        self._kind = kind
        self._members = members

    def text(self, field: str, max_length: int, min_length: int = 0) -> str:
        value = self._members.get(field)
        if type(value) is str and min_length <= len(value) <= max_length:
            return value
        length = f"{min_length} to {max_length}" if min_length else f"up to {max_length}"
        raise self.error(field, f"a string of {length} characters")

    def optional_text(self, field: str, max_length: int) -> str | None:
        return None if self._members.get(field) is None else self.text(field, max_length)

    def body(self) -> str:
        value = self._members.get("body")
        if type(value) is str:
            return value
        raise self.error("body", "a string")

    def number(self, field: str, maximum: int = MAX_NUMBER, minimum: int = 0) -> int:
        number = _integer(self._members.get(field), minimum, maximum)
        if number is None:
            raise self.error(field, f"a whole number from {minimum} to {maximum}")
        return number

    def optional_number(self, field: str) -> int | None:
        return None if self._members.get(field) is None else self.number(field)

    def flag(self, field: str) -> bool:
        value = self._members.get(field)
        if value is None or type(value) is bool:
            return bool(value)
        raise self.error(field, "true or false")

    def resume(self) -> Resume | None:
        value = self._members.get("resume")
        if value is None:
            return None
        if type(value) is not dict:
            raise self.error("resume", "an object")
        log, rooms = value.get("log"), value.get("rooms")
        if type(log) is not str or len(log) > LOG_LENGTH:
            raise self.error("resume.log", f"a string of up to {LOG_LENGTH} characters")
        if type(rooms) is not dict:
            raise self.error("resume.rooms", "an object")
        seqs: dict[str, int] = {}
        for room, seq in rooms.items():
            number = _integer(seq, 0, MAX_NUMBER)
            if len(room) > REQUEST_NAME_LENGTH or number is None:
                raise self.error(
                    "resume.rooms", f"names of rooms, each with a whole number from 0 to {MAX_NUMBER}"
                )
            seqs[room] = number
        return Resume(log, seqs)

    def error(self, field: str, expected: str) -> BadMessageError:
        """Return the error for a field, with the message's id if that is valid."""
        id = self._members.get("id") if self._kind in {"say", "whisper"} else None
        if type(id) is not str or len(id) > ID_LENGTH:
            id = ""
        return BadMessageError(self._kind, field, expected, id)


def _integer(value: object, minimum: int, maximum: int) -> int | None:
    """Return an integer in range, else None. As in JSON Schema, 7.0 counts as 7."""
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and minimum <= value <= maximum else None


def _hello(fields: _FieldReader) -> Hello:
    return Hello(
        fields.number("version"),
        fields.text("name", REQUEST_NAME_LENGTH),
        fields.text("client", MAX_SECRET_LENGTH, MIN_SECRET_LENGTH),
        fields.resume(),
        fields.flag("beside"),
        fields.optional_text("password", PASSWORD_LENGTH) or "",
    )


def _say(fields: _FieldReader) -> Say:
    return Say(
        fields.text("room", REQUEST_NAME_LENGTH),
        fields.text("id", ID_LENGTH, 1),
        fields.body(),
        fields.optional_text("cipher", CIPHER_LENGTH),
    )


def _whisper(fields: _FieldReader) -> Whisper:
    return Whisper(
        fields.text("to", REQUEST_NAME_LENGTH),
        fields.text("id", ID_LENGTH, 1),
        fields.body(),
        fields.optional_text("cipher", CIPHER_LENGTH),
    )


def _history(fields: _FieldReader) -> GetHistory:
    before, after = fields.optional_number("before"), fields.optional_number("after")
    if before is not None and after is not None:
        raise fields.error("after", "to be given together with before")
    return GetHistory(
        fields.text("room", REQUEST_NAME_LENGTH), before, after, fields.number("limit", HISTORY_LIMIT, 1)
    )


_PARSERS: dict[str, Callable[[_FieldReader], Request]] = {
    "hello": _hello,
    "say": _say,
    "whisper": _whisper,
    "join": lambda fields: Join(fields.text("room", REQUEST_NAME_LENGTH), fields.optional_number("after")),
    "part": lambda fields: Part(fields.text("room", REQUEST_NAME_LENGTH)),
    "topic": lambda fields: SetTopic(
        fields.text("room", REQUEST_NAME_LENGTH), fields.text("topic", TOPIC_LENGTH)
    ),
    "history": _history,
    "users": lambda fields: GetUsers(fields.text("room", REQUEST_NAME_LENGTH)),
    "rooms": lambda fields: GetRooms(fields.optional_number("start") or 0),
    "ack": lambda fields: Confirm(fields.number("whisper")),
    "ping": lambda fields: Ping(fields.optional_text("token", TOKEN_LENGTH)),
    "pong": lambda fields: Pong(fields.optional_text("token", TOKEN_LENGTH)),
    "bye": lambda fields: Bye(),
}
