"""What a selchat client may send: JSON payloads to values, and nothing else gets through.

docs/protocol.rst is the contract, and protocol.schema.json the same for machines. This file knows the form
of each message: its fields, their types and their sizes. Whether a room's name is a good one, who may speak
and what there is to answer, it does not know. Everything in a payload is a stranger's, so whatever it is,
the answer is a value or a `RefusalError`, soon.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from json.scanner import make_scanner
from typing import Any, NamedTuple, NoReturn, cast

from selchat.auth.password import PASSWORD_LENGTH
from selchat.errors import RefusalError


class BadJsonError(RefusalError):
    """``why``: what breaks the rules."""

    code = "bad-json"

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"not a JSON object with a type: {self.why}"


class BadMessageError(RefusalError):
    """``field`` of a message of type ``kind``, and what it should be (``wanted``); ``id`` of that message."""

    code = "bad-message"

    def __init__(self, kind: str, field: str, wanted: str, id: str = "") -> None:
        super().__init__(kind, field, wanted, id)
        self.kind = kind
        self.field = field
        self.wanted = wanted
        self.id = id

    def __str__(self) -> str:
        return f"{self.kind}: {self.field} is not {self.wanted}"


class UnknownTypeError(RefusalError):
    """``kind``: the type that nobody knows."""

    code = "unknown-type"

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind

    def __str__(self) -> str:
        return f"no such type of message: {self.kind[:64]}"


class BodyTooLongError(RefusalError):
    """``length`` of the body and ``limit``, in bytes."""

    code = "too-long"

    def __init__(self, length: int, limit: int) -> None:
        super().__init__(length, limit)
        self.length = length
        self.limit = limit

    def __str__(self) -> str:
        return f"a body of {self.length} bytes is over the limit of {self.limit}"


VERSION = 1
NAME_LENGTH = 256  # characters of a name or a room that are worth a look; the hub says which are good
CLIENT_LEAST, CLIENT_MOST = 16, 128  # characters of the secret
LOG_LENGTH = 256  # characters of what names a log
ID_LENGTH = 64  # characters
CIPHER_LENGTH = 256  # characters
TOPIC_LENGTH = 256  # characters
TOKEN_LENGTH = 64  # characters
HISTORY_LIMIT = 1000  # messages asked for at a time
LARGEST_NUMBER = (1 << 53) - 1  # of a seq; the integers that every JSON library has exactly (RFC 7493, 2.2)
NESTING = 32  # arrays and objects inside each other
DIGITS = 64  # characters of a number
# Bytes of a `hello`'s payload: for those who have not said yet who they are, a server keeps no more than that
# (`Settings.login_limit`). Some 100 rooms fit in; what does not is joined after the welcome.
HELLO_LIMIT = 4096


class Resume(NamedTuple):
    """Where to go on after a break: the ``log`` it was, and the newest ``seq`` seen in each of ``rooms``."""

    log: str
    rooms: dict[str, int]


class Hello(NamedTuple):
    """Who comes. ``client`` is the secret that makes the name its own; ``resume`` is None the first time.

    ``beside``: under another name if it is online under this one already, and not instead. ``password``: the
    server's, empty for none.
    """

    version: int
    name: str
    client: str
    resume: Resume | None
    beside: bool = False
    password: str = ""


class Say(NamedTuple):
    """Something for a room. ``id`` is the sender's; ``cipher`` says how the body is encrypted, if it is."""

    room: str
    id: str
    body: str
    cipher: str | None


class Whisper(NamedTuple):
    """Something for one person, whose name is ``to``."""

    to: str
    id: str
    body: str
    cipher: str | None


class Join(NamedTuple):
    """Go into a room. ``after``: and go on after that ``seq``, as after a break; None: from now on."""

    room: str
    after: int | None = None


class Part(NamedTuple):
    """Go out of a room."""

    room: str


class SetTopic(NamedTuple):
    """Give a room a topic, perhaps an empty one."""

    room: str
    topic: str


class GetHistory(NamedTuple):
    """Up to ``limit`` messages of a room: the newest below ``before``, or the oldest above ``after``.

    One of the two is None at least; both are for the newest of all.
    """

    room: str
    before: int | None
    after: int | None
    limit: int


class GetUsers(NamedTuple):
    """Who is in a room?"""

    room: str


class GetRooms(NamedTuple):
    """Which rooms are there?"""


class Confirm(NamedTuple):
    """All whispers up to this ``seq`` have arrived (``ack`` on the wire)."""

    whisper: int


class Ping(NamedTuple):
    """Are you there?"""

    token: str | None


class Pong(NamedTuple):
    """I am here."""

    token: str | None


class Bye(NamedTuple):
    """I go."""


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


# What is said, as clients write it: with these fields in this order, no space between them and no escape in
# them. It means what the parser would find in it.
_TEXT = r'"([^"\\\x00-\x1f]{%d,%s})"'
_PLAIN_SAY = re.compile(
    r'\{"type":"say"'
    f',"room":{_TEXT % (0, NAME_LENGTH)}'
    f',"id":{_TEXT % (1, ID_LENGTH)}'
    f',"body":{_TEXT % (0, "")}'
    f'(?:,"cipher":{_TEXT % (0, CIPHER_LENGTH)})?'
    r"\}"
)


def parse_request(payload: bytes) -> Request:
    """Return what a client has sent.

    Raises `BadJsonError`, `UnknownTypeError` and `BadMessageError`.
    """
    # The hot path, in 0.4 of the time that it takes below.
    try:
        found = _PLAIN_SAY.fullmatch(payload.decode())
    except UnicodeDecodeError:
        found = None  # what is wrong with it is said below
    if found is not None:
        return Say(*found.groups())
    members = parse_object(payload)
    kind = members["type"]
    if kind == "say":
        # Nearly as hot, because many a body has an escape in it: 2.9 microseconds for 64 characters, where
        # `json.loads` alone takes 2.8 and checks nothing. The scanner takes 1.3 of it, of which 0.5 are for
        # keys that are there twice. To look at the fields one by one, as is done below, takes 0.4 more.
        get = members.get
        room, id, body, cipher = get("room"), get("id"), get("body"), get("cipher")
        if (
            type(room) is str
            and type(id) is str
            and type(body) is str
            and len(room) <= NAME_LENGTH
            and 0 < len(id) <= ID_LENGTH
            and (cipher is None or (type(cipher) is str and len(cipher) <= CIPHER_LENGTH))
        ):
            return Say(room, id, body, cipher)
    parse = _PARSERS.get(kind)
    if parse is None:
        raise UnknownTypeError(kind)
    return parse(_Fields(kind, members))


# -- JSON ----------------------------------------------------------------------------------------------


def parse_object(payload: bytes) -> dict[str, Any]:
    """Return the JSON object in the payload, which has a string ``type``.

    Raises `BadJsonError` for everything else that bytes can be, and for JSON that would mean different things
    to different readers: the same key twice, half a surrogate pair, numbers beyond all reason.
    """
    try:
        text = payload.strip(b" \t\r\n").decode()
        value, end = _scan(text, 0)
    except UnicodeDecodeError as error:
        raise BadJsonError(f"byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise BadJsonError(f"{error.msg.lower()}, character {error.pos}") from None
    except StopIteration as error:  # how the scanner says that no value begins there
        raise BadJsonError(f"expecting value, character {error.value}") from None
    except RecursionError:
        raise BadJsonError(_TOO_DEEP) from None
    if end != len(text):
        raise BadJsonError(f"something follows the object, character {end}")
    if type(value) is not dict:
        raise BadJsonError("it is no object")
    if type(value.get("type")) is not str:
        raise BadJsonError("its type is not a string")
    # Halves of surrogate pairs come from escapes only. Few payloads can hold one, or are deep; those are
    # looked through.
    if text.count("{") + text.count("[") > NESTING or ("\\u" in text and _HALF_ESCAPE.search(text)):
        _look_through(value)
    return value


_TOO_DEEP = f"more than {NESTING} arrays and objects inside each other"
_HALF_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_HALF_PAIR = re.compile("[\ud800-\udfff]")


def _look_through(value: dict[str, Any]) -> None:
    """Refuse nesting that is too deep, and text that is no text, in what the parser has let through."""
    level: list[Any] = [value]
    depth = 0
    while level:  # of arrays and objects that are equally deep
        depth += 1
        if depth > NESTING:
            raise BadJsonError(_TOO_DEEP)
        inside: list[Any] = []
        for each in level:
            for item in each if type(each) is list else (*each, *each.values()):
                kind = type(item)
                if kind is str:
                    if _HALF_PAIR.search(item):
                        raise BadJsonError("an escape that is half a surrogate pair")
                elif kind is list or kind is dict:
                    inside.append(item)
        level = inside


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise BadJsonError("a key is in one object twice")
    return members


def _integer(digits: str) -> int:
    # Not for the parser to do: the time it takes grows with the square of the digits.
    if len(digits) > DIGITS:
        raise BadJsonError(f"a number of more than {DIGITS} characters")
    return int(digits)


def _fraction(digits: str) -> float:
    if len(digits) > DIGITS:
        raise BadJsonError(f"a number of more than {DIGITS} characters")
    number = float(digits)
    if math.isinf(number):
        raise BadJsonError("a number that is too large")
    return number


def _constant(name: str) -> NoReturn:
    raise BadJsonError(f"{name} is no JSON")


# The scanner itself and not `JSONDecoder.decode`, which uses two regular expressions to look for white space
# around what it reads.
_scan: Callable[[str, int], tuple[Any, int]] = cast(Any, make_scanner)(
    json.JSONDecoder(
        object_pairs_hook=_object, parse_int=_integer, parse_float=_fraction, parse_constant=_constant
    )
)


# -- the messages --------------------------------------------------------------------------------------


class _Fields:
    """The fields of one message; each method returns one, or raises `BadMessageError`."""

    __slots__ = ("_kind", "_members")

    def __init__(self, kind: str, members: dict[str, Any]) -> None:
        self._kind = kind
        self._members = members

    def text(self, field: str, most: int, least: int = 0) -> str:
        value = self._members.get(field)
        if type(value) is str and least <= len(value) <= most:
            return value
        raise self.wrong(field, f"a string of {f'{least} to' if least else 'up to'} {most} characters")

    def optional_text(self, field: str, most: int) -> str | None:
        return None if self._members.get(field) is None else self.text(field, most)

    def body(self) -> str:
        value = self._members.get("body")
        if type(value) is str:
            return value
        raise self.wrong("body", "a string")

    def number(self, field: str, most: int = LARGEST_NUMBER, least: int = 0) -> int:
        number = _whole(self._members.get(field), least, most)
        if number is None:
            raise self.wrong(field, f"a whole number from {least} to {most}")
        return number

    def optional_number(self, field: str) -> int | None:
        return None if self._members.get(field) is None else self.number(field)

    def flag(self, field: str) -> bool:
        value = self._members.get(field)
        if value is None or type(value) is bool:
            return bool(value)
        raise self.wrong(field, "true or false")

    def resume(self) -> Resume | None:
        value = self._members.get("resume")
        if value is None:
            return None
        if type(value) is not dict:
            raise self.wrong("resume", "an object")
        log, rooms = value.get("log"), value.get("rooms")
        if type(log) is not str or len(log) > LOG_LENGTH:
            raise self.wrong("resume.log", f"a string of up to {LOG_LENGTH} characters")
        if type(rooms) is not dict:
            raise self.wrong("resume.rooms", "an object")
        seqs: dict[str, int] = {}
        for room, seq in rooms.items():
            number = _whole(seq, 0, LARGEST_NUMBER)
            if len(room) > NAME_LENGTH or number is None:
                raise self.wrong(
                    "resume.rooms", f"names of rooms, each with a whole number from 0 to {LARGEST_NUMBER}"
                )
            seqs[room] = number
        return Resume(log, seqs)

    def wrong(self, field: str, wanted: str) -> BadMessageError:
        """Return the error, which tells the message's id if that can be used."""
        id = self._members.get("id") if self._kind in {"say", "whisper"} else None
        if type(id) is not str or len(id) > ID_LENGTH:
            id = ""
        return BadMessageError(self._kind, field, wanted, id)


def _whole(value: object, least: int, most: int) -> int | None:
    """Return a number that is whole and in range, else None; 7.0 is 7, as it is in JSON Schema."""
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and least <= value <= most else None


def _hello(fields: _Fields) -> Hello:
    return Hello(
        fields.number("version"),
        fields.text("name", NAME_LENGTH),
        fields.text("client", CLIENT_MOST, CLIENT_LEAST),
        fields.resume(),
        fields.flag("beside"),
        fields.optional_text("password", PASSWORD_LENGTH) or "",
    )


def _say(fields: _Fields) -> Say:
    return Say(
        fields.text("room", NAME_LENGTH),
        fields.text("id", ID_LENGTH, 1),
        fields.body(),
        fields.optional_text("cipher", CIPHER_LENGTH),
    )


def _whisper(fields: _Fields) -> Whisper:
    return Whisper(
        fields.text("to", NAME_LENGTH),
        fields.text("id", ID_LENGTH, 1),
        fields.body(),
        fields.optional_text("cipher", CIPHER_LENGTH),
    )


def _history(fields: _Fields) -> GetHistory:
    before, after = fields.optional_number("before"), fields.optional_number("after")
    if before is not None and after is not None:
        raise fields.wrong("after", "to be given together with before")
    return GetHistory(
        fields.text("room", NAME_LENGTH), before, after, fields.number("limit", HISTORY_LIMIT, 1)
    )


_PARSERS: dict[str, Callable[[_Fields], Request]] = {
    "hello": _hello,
    "say": _say,
    "whisper": _whisper,
    "join": lambda fields: Join(fields.text("room", NAME_LENGTH), fields.optional_number("after")),
    "part": lambda fields: Part(fields.text("room", NAME_LENGTH)),
    "topic": lambda fields: SetTopic(fields.text("room", NAME_LENGTH), fields.text("topic", TOPIC_LENGTH)),
    "history": _history,
    "users": lambda fields: GetUsers(fields.text("room", NAME_LENGTH)),
    "rooms": lambda fields: GetRooms(),
    "ack": lambda fields: Confirm(fields.number("whisper")),
    "ping": lambda fields: Ping(fields.optional_text("token", TOKEN_LENGTH)),
    "pong": lambda fields: Pong(fields.optional_text("token", TOKEN_LENGTH)),
    "bye": lambda fields: Bye(),
}
