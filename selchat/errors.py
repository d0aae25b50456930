"""Everything that can go wrong, in five families.

::

    SelchatError
    ├── ProtocolError            the peer broke the protocol: it is told why and closed
    │   ├── BadHeaderError       a frame header that is not a padded decimal number
    │   ├── FrameTooLongError    a header that announces more than the limit
    │   ├── TruncatedFrameError  the stream ended inside a frame
    │   ├── NoGoodHelloError     message after message before a `hello` that is accepted
    │   ├── BadNameError         a username that is not UTF-8
    │   ├── HttpError            an HTTP request that cannot be answered as it wants to be
    │   ├── WebSocketError       WebSocket frames that break their rules
    │   └── ClosedError          no mistake: the peer has closed the WebSocket
    ├── LimitError               a limit was hit: the same, and it is nobody's bug
    │   ├── LoginTimeoutError    no username in time
    │   ├── FrameTimeoutError    a frame begun and never finished
    │   ├── SilentError          nothing from a client for so long, although it was asked
    │   ├── ServerFullError      more connections than the server takes
    │   ├── AddressFullError     more connections than one address may hold
    │   ├── AddressRateError     more new connections in a minute than one address may make
    │   ├── QueuedLimitError     the largest of those for whom too much waits in all
    │   ├── LappedError          a reader so slow that the feed overtook it
    │   └── UnreadRepliesError   a reader that asks and does not read the answers
    ├── RefusalError             the peer asked for something it cannot have: it is told, and may go on
    │   ├── BadJsonError         a payload that is not a JSON object with a type
    │   ├── BadMessageError      a field that is missing or wrong
    │   ├── UnknownTypeError     a type of message that is not known
    │   ├── NotHelloError        something before hello
    │   ├── AlreadyWelcomeError  a second hello
    │   ├── VersionError         a version of the protocol that is not spoken
    │   ├── EmptyNameError       nothing left of a name when cleaned
    │   ├── TlsRequiredError     no TLS, from elsewhere than this machine
    │   ├── PasswordNeededError  no password, where there is one
    │   ├── WrongPasswordError   another one
    │   ├── TriesError           too many wrong ones from that address, or too much to check at once
    │   ├── BannedError          someone who may not come in
    │   ├── MutedError           someone who may not speak
    │   ├── NotOperatorError     a command from someone who is not an operator
    │   ├── TooManyRoomsError    more rooms than one may be in, or than there can be
    │   ├── TooLongError         a body that leaves no room for the rest of its frame
    │   ├── NotStoredError       the log cannot be written now
    │   ├── NotReadableError     the log cannot be read now
    │   ├── BadTokenError        no token that is known, over HTTP as are the next three
    │   ├── OtherRoomError       a token that is for another room
    │   ├── MediaTypeError       a body of a kind that is not understood
    │   ├── TooFastError         more messages in a while than the limit
    │   └── NamedRefusalError    about a name, of someone or of a room
    │       ├── NameTakenError   it is someone else's
    │       │   └── LooksTakenError  it looks like one that is
    │       ├── MixedScriptsError  letters that do not belong together
    │       ├── NoSuchNameError  nobody has it
    │       ├── BadRoomError     no room can have it
    │       ├── NoSuchRoomError  no room has it
    │       └── NotInRoomError   the room is one that one is not in
    ├── UnreadableError          what was encrypted end to end cannot be read: it is shown as that
    │   ├── OtherPassphraseError with another passphrase
    │   ├── DamagedError         changed on the way
    │   ├── ReplayedError        said before, and come again as something new
    │   └── ReorderedError       come in another order than it was said in
    └── UsageError               the caller did something that cannot work
        ├── SettingError         a setting out of its range
        ├── UnknownSettingError  a setting that there is not
        ├── ConfigFileError      a file of settings that cannot be read, or that is none
        ├── MissingExtraError    a package that is not installed
        ├── ConfigurationError   all that is wrong with what a server is to be run with
        └── BrokenStreamError    data given to a decoder that had already failed

The fields are on the exception; ``str()`` of it is the one text that log lines and peers see.
"""

from __future__ import annotations

from collections.abc import Mapping

_MOST_SHOWN = 200  # characters of a value that is wrong; a path should be there whole


class SelchatError(Exception):
    """The root of the tree."""


class ProtocolError(SelchatError):
    """The peer broke the protocol."""


class BadHeaderError(ProtocolError):
    def __init__(self, header: bytes) -> None:
        super().__init__(header)
        self.header = header

    def __str__(self) -> str:
        return f"frame header {self.header!r} is not a number padded with spaces"


class FrameTooLongError(ProtocolError):
    """``length`` and ``limit`` in bytes."""

    def __init__(self, length: int, limit: int) -> None:
        super().__init__(length, limit)
        self.length = length
        self.limit = limit

    def __str__(self) -> str:
        return f"frame of {self.length} bytes is over the limit of {self.limit}"


class TruncatedFrameError(ProtocolError):
    """``missing``: how many bytes were still to come, as far as was known."""

    def __init__(self, missing: int) -> None:
        super().__init__(missing)
        self.missing = missing

    def __str__(self) -> str:
        return f"stream ended inside a frame, {self.missing} bytes short"


class NoGoodHelloError(ProtocolError):
    """``limit``: so many messages came before one, and none was a good `hello`."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return f"no good hello among {self.limit} messages"


class BadNameError(ProtocolError):
    def __str__(self) -> str:
        return "username is not UTF-8"


class HttpError(ProtocolError):
    """A request that cannot be answered as it wants to be.

    ``status`` and ``headers``: the answer that it gets; ``why``: in words.
    """

    def __init__(self, status: int, why: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, why)
        self.status = status
        self.why = why
        self.headers = headers or {}

    def __str__(self) -> str:
        return f"HTTP {self.status}: {self.why}"


class WebSocketError(ProtocolError):
    """``code`` that the connection is closed with, and ``why``."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(code, why)
        self.code = code
        self.why = why

    def __str__(self) -> str:
        return self.why


class ClosedError(ProtocolError):
    """The peer has closed the WebSocket, with a ``code`` and a ``reason``. ``frame``: what answers it."""

    def __init__(self, frame: bytes, code: int, reason: str) -> None:
        super().__init__(frame, code, reason)
        self.frame = frame
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        if self.code in {1000, 1001, 1005}:  # it has just left
            return ""
        return f"closed by the peer: {self.code} {self.reason}".rstrip()


class LimitError(SelchatError):
    """A limit was hit; ``limit`` is its value, in the unit of its entry in ``settings``."""

    template = "limit of {limit} reached"

    def __init__(self, limit: float) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return self.template.format(limit=f"{self.limit:g}" if self.limit < 1e6 else int(self.limit))


class LoginTimeoutError(LimitError):
    template = "no username within {limit} s"


class FrameTimeoutError(LimitError):
    template = "frame not finished within {limit} s"


class SilentError(LimitError):
    template = "no sign of life within {limit} s"


class ServerFullError(LimitError):
    template = "server is full ({limit} connections)"


class AddressFullError(LimitError):
    template = "more than {limit} connections from one address"


class AddressRateError(LimitError):
    template = "more than {limit} new connections a minute from one address"


class QueuedLimitError(LimitError):
    template = "reader too slow, and more than {limit} bytes wait for all readers together"


class LappedError(LimitError):
    template = "reader too slow, more than {limit} bytes behind"


class UnreadRepliesError(LimitError):
    template = "reader too slow, more than {limit} bytes of replies unread"


class RefusalError(SelchatError):
    """Something that a peer cannot have. ``code`` is the word for it on the wire (docs/protocol.rst)."""

    code = ""
    text = ""

    def __str__(self) -> str:
        return self.text


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


class NotHelloError(RefusalError):
    code = "not-hello"
    text = "the first message has to be hello"


class AlreadyWelcomeError(RefusalError):
    code = "already-welcome"
    text = "hello was said already"


class VersionError(RefusalError):
    """``version`` that was asked for, and ``spoken``, the one there is."""

    code = "version"

    def __init__(self, version: int, spoken: int) -> None:
        super().__init__(version, spoken)
        self.version = version
        self.spoken = spoken

    def __str__(self) -> str:
        return f"version {self.version} of the protocol is not spoken here, only {self.spoken}"


class EmptyNameError(RefusalError):
    code = "bad-name"
    text = "the name has no visible characters"


class NamedRefusalError(RefusalError):
    """A refusal that is about a ``name``, of someone or of a room."""

    template = "{name}"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return self.template.format(name=self.name)


class NameTakenError(NamedRefusalError):
    code = "name-taken"
    template = "the name {name} is someone else's"


class LooksTakenError(NameTakenError):
    """``other``: the name that it could be taken for."""

    def __init__(self, name: str, other: str) -> None:
        super(NamedRefusalError, self).__init__(name, other)
        self.name = name
        self.other = other

    def __str__(self) -> str:
        return f"the name {self.name} looks like {self.other}, which is someone else's"


class MixedScriptsError(NamedRefusalError):
    """``scripts``: what they are called."""

    code = "bad-name"

    def __init__(self, name: str, scripts: tuple[str, ...]) -> None:
        super(NamedRefusalError, self).__init__(name, scripts)
        self.name = name
        self.scripts = scripts

    def __str__(self) -> str:
        scripts = " and ".join(self.scripts)
        return f"the name {self.name} mixes {scripts} letters, so that it could be taken for another"


class TlsRequiredError(RefusalError):
    code = "tls-required"
    text = "this server takes only encrypted connections (TLS)"


class PasswordNeededError(RefusalError):
    code = "password-needed"
    text = "this server has a password"


class WrongPasswordError(RefusalError):
    code = "wrong-password"
    text = "that is not the password of this server"


class TriesError(RefusalError):
    """``seconds``: when to try again."""

    code = "too-many-tries"

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        return f"too many tries; try again in {max(1, round(self.seconds))} s"


class BannedError(RefusalError):
    """``until``: when the ban ends, in words; empty: when the operator ends it."""

    code = "banned"

    def __init__(self, until: str = "") -> None:
        super().__init__(until)
        self.until = until

    def __str__(self) -> str:
        return "the operator has banned you" + (f" until {self.until}" if self.until else "")


class MutedError(RefusalError):
    """``until``: when that ends, in words; empty: when the operator ends it."""

    code = "muted"

    def __init__(self, until: str = "") -> None:
        super().__init__(until)
        self.until = until

    def __str__(self) -> str:
        return "the operator does not let you speak" + (f" until {self.until}" if self.until else "")


class NotOperatorError(RefusalError):
    code = "not-operator"
    text = "only operators can give commands to the server"


class BadRoomError(NamedRefusalError):
    code = "bad-room"
    template = "{name!r} cannot be a room's name: 1 to 32 characters without spaces, not beginning with @ # /"


class TooManyRoomsError(RefusalError):
    """``limit``: how many there may be."""

    code = "too-many-rooms"

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return f"{self.limit} rooms are the limit"


class NotInRoomError(NamedRefusalError):
    code = "not-in-room"
    template = "you are not in the room {name}; join it first"


class NoSuchRoomError(NamedRefusalError):
    code = "no-such-room"
    template = "there is no room {name}"


class NoSuchNameError(NamedRefusalError):
    code = "no-such-name"
    template = "nobody is called {name}"


class TooLongError(RefusalError):
    """``length`` of the body and ``limit``, in bytes."""

    code = "too-long"

    def __init__(self, length: int, limit: int) -> None:
        super().__init__(length, limit)
        self.length = length
        self.limit = limit

    def __str__(self) -> str:
        return f"a body of {self.length} bytes is over the limit of {self.limit}"


class NotStoredError(RefusalError):
    """``why``: what the log says."""

    code = "not-stored"

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"the server cannot store messages now ({self.why})"


class NotReadableError(RefusalError):
    """``why``: what the log says."""

    code = "not-readable"

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"the server cannot read its messages now ({self.why})"


class BadTokenError(RefusalError):
    """``given``: whether there was a token at all."""

    def __init__(self, given: bool) -> None:
        super().__init__(given)
        self.given = given

    def __str__(self) -> str:
        if self.given:
            return "that token is not known here, or was revoked"
        return "a token is needed, as Authorization: Bearer TOKEN; selchat token makes one"


class OtherRoomError(RefusalError):
    """``room``: the one that the token is for."""

    def __init__(self, room: str) -> None:
        super().__init__(room)
        self.room = room

    def __str__(self) -> str:
        return f"that token is for the room {self.room} alone"


class MediaTypeError(RefusalError):
    """``kind``: what the body is said to be."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind

    def __str__(self) -> str:
        return f"{self.kind[:64]!r} is not understood: application/json or text/plain, in UTF-8"


class TooFastError(RefusalError):
    """``seconds``: when to try again."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        return f"too many messages; try again in {self.seconds:.1f} s"


class UnreadableError(SelchatError):
    """A message that was encrypted end to end, and cannot be read, or must not be believed."""

    text = ""

    def __str__(self) -> str:
        return self.text


class OtherPassphraseError(UnreadableError):
    text = "encrypted with another passphrase"


class DamagedError(UnreadableError):
    text = "changed on the way"


class ReplayedError(UnreadableError):
    text = "said before, and come again as something new"


class ReorderedError(UnreadableError):
    text = "come in another order than it was said in"


class UsageError(SelchatError):
    """The caller did something that cannot work."""


class SettingError(UsageError):
    """``name`` of the setting, its ``value``, and what it should have been (``wanted``)."""

    def __init__(self, name: str, value: object, wanted: str) -> None:
        super().__init__(name, value, wanted)
        self.name = name
        self.value = value
        self.wanted = wanted

    def __str__(self) -> str:
        return f"{self.name}: {_shown(self.value)} is not {self.wanted}"


class UnknownSettingError(UsageError):
    """``name`` that no setting has, ``where`` it was said, and the ``nearest`` one that there is, if any."""

    def __init__(self, where: str, name: str, nearest: str = "") -> None:
        super().__init__(where, name, nearest)
        self.where = where
        self.name = name
        self.nearest = nearest

    def __str__(self) -> str:
        hint = f"; did you mean {self.nearest!r}?" if self.nearest else ""
        return f"{self.where}: unknown key {_shown(self.name)}{hint}"


class ConfigFileError(UsageError):
    """``file``, the ``line`` in it or 0, and ``why`` it is no file of settings."""

    def __init__(self, file: str, line: int, why: str) -> None:
        super().__init__(file, line, why)
        self.file = file
        self.line = line
        self.why = why

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.why}" if self.line else f"{self.file}: {self.why}"


class ConfigurationError(UsageError):
    """``mistakes``: all of them, in the order in which they were found; one at least."""

    def __init__(self, mistakes: tuple[UsageError, ...]) -> None:
        super().__init__(mistakes)
        self.mistakes = mistakes

    def __str__(self) -> str:
        return "; ".join(map(str, self.mistakes))


class MissingExtraError(UsageError):
    """``package`` that is not there, and the ``extra`` of ours that brings it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(package, extra)
        self.package = package
        self.extra = extra

    def __str__(self) -> str:
        return f"{self.package} is not installed: python3 -m pip install 'selchat[{self.extra}]'"


class BrokenStreamError(UsageError):
    def __str__(self) -> str:
        return "data given to a decoder that has already failed"


NOT_TRUSTED = "tls: the peer does not trust our certificate"
"""The `close_reason` of browsers whose users have not been asked yet, or are being asked."""


def close_reason(error: BaseException) -> str:
    """Return the one line that says why a connection was closed, or why something cannot be had."""
    if isinstance(error, SelchatError):
        return str(error)
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return f"internal error ({type(error).__name__})"


def _shown(value: object) -> str:
    """Return a value as one would write it, or the beginning of that."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "such a number"
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
