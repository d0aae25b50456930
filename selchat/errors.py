"""The exception tree: one root, five families, and the errors that several parts share.

::

    SelchatError
    ├── ProtocolError            the peer broke the protocol; close the connection and say why
    ├── LimitError               a limit was reached; close the connection and say why
    ├── RefusalError             the server refuses a request; the peer gets the code and may go on
    │   ├── SanctionError        the operator has banned or muted this user
    │   │   └── BannedError      the person or the address is banned
    │   └── NamedRefusalError    a refusal about the name of a person or a room
    │       ├── NameTakenError   the name belongs to someone else
    │       ├── BadRoomError     no room can have this name
    │       └── NotInRoomError   the member has not joined this room
    ├── UnreadableError          an end-to-end encrypted message cannot be decrypted or trusted
    └── UsageError               the caller asked for something that cannot work
        ├── SettingError         a setting has a value out of its range
        └── MissingExtraError    an optional package is not installed

Every other exception is defined next to the code that raises it. Fields are on the exception; ``str()`` gives
the one line that logs and peers see.
"""

from __future__ import annotations

from selchat.limits import MAX_VALUE_SHOWN
from selchat.text import ROOM_RULE


class SelchatError(Exception):
    """The root of the tree."""


class ProtocolError(SelchatError):
    """The peer broke the protocol."""


class LimitError(SelchatError):
    """A limit was hit; ``limit`` is its value, in the unit of its entry in ``settings``."""

    template = "limit of {limit} reached"

    def __init__(self, limit: float) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return self.template.format(limit=f"{self.limit:g}" if self.limit < 1e6 else int(self.limit))


class RefusalError(SelchatError):
    """The server refuses a request. ``code`` is the error's code on the wire (docs/protocol.rst)."""

    code = ""
    text = ""

    def __str__(self) -> str:
        return self.text


class NamedRefusalError(RefusalError):
    """A refusal that is about the ``name`` of a person or a room."""

    template = "{name}"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return self.template.format(name=self.name)


class NameTakenError(NamedRefusalError):
    code = "name-taken"
    template = "the name {name} is taken"


class SanctionError(RefusalError):
    """The operator has banned or muted a user: the ``action``.

    ``until``: the end in words; empty: there is none. ``ends``: the same in Unix time.
    """

    action = ""

    def __init__(self, until: str = "", ends: float | None = None) -> None:
        super().__init__(until)
        self.until = until
        self.ends = ends

    def __str__(self) -> str:
        return f"the operator has {self.action} you" + (f" until {self.until}" if self.until else "")


class BannedError(SanctionError):
    code = "banned"
    action = "banned"


class BadRoomError(NamedRefusalError):
    code = "bad-room"
    template = "{name!r} cannot be a room's name: " + ROOM_RULE


class NotInRoomError(NamedRefusalError):
    code = "not-in-room"
    template = "you are not in the room {name}; join it first"


class UnreadableError(SelchatError):
    """An end-to-end encrypted message that cannot be decrypted or must not be trusted."""

    text = ""

    def __str__(self) -> str:
        return self.text


class UsageError(SelchatError):
    """The caller asked for something that cannot work."""


class SettingError(UsageError):
    """``name`` of the setting, its ``value``, and the ``expected`` values in words."""

    def __init__(self, name: str, value: object, expected: str) -> None:
        super().__init__(name, value, expected)
        self.name = name
        self.value = value
        self.expected = expected

    def __str__(self) -> str:
        return f"{self.name}: {brief(self.value)} is not {self.expected}"


class MissingExtraError(UsageError):
    """The optional ``package`` is not installed; our ``extra`` installs it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(package, extra)
        self.package = package
        self.extra = extra

    def __str__(self) -> str:
        return f"{self.package} is not installed: python3 -m pip install 'selchat[{self.extra}]'"


NOT_TRUSTED = "tls: the peer does not trust our certificate"
"""The `close_reason` of a browser whose user has not accepted the certificate yet."""


def close_reason(error: BaseException) -> str:
    """Return one line that says why a connection was closed or an operation failed."""
    if isinstance(error, SelchatError):
        return str(error)
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return f"internal error ({type(error).__name__})"


def brief(value: object) -> str:
    """Return the ``repr`` of a value, shortened to 200 characters."""
    try:
        text = repr(value)
    except ValueError:  # Python converts no number of more than 4,300 digits
        return "such a number"
    return text if len(text) <= MAX_VALUE_SHOWN else f"{text[:MAX_VALUE_SHOWN]}..."
