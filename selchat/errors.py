"""Everything that can go wrong, in three families.

::

    SelchatError
    ├── ProtocolError            the peer broke the protocol: it is told why and closed
    │   ├── BadHeaderError       a frame header that is not a padded decimal number
    │   ├── FrameTooLongError    a header that announces more than the limit
    │   ├── TruncatedFrameError  the stream ended inside a frame
    │   └── BadNameError         a username that is not UTF-8
    ├── LimitError               a limit was hit: the same, and it is nobody's bug
    │   ├── LoginTimeoutError    no username in time
    │   ├── FrameTimeoutError    a frame begun and never finished
    │   ├── ServerFullError      more connections than the server takes
    │   ├── AddressFullError     more connections than one address may hold
    │   ├── LappedError          a reader so slow that the feed overtook it
    │   └── UnreadRepliesError   a reader that asks and does not read the answers
    └── UsageError               the caller did something that cannot work
        ├── SettingError         a setting out of its range
        └── BrokenStreamError    data given to a decoder that had already failed

The fields are on the exception; ``str()`` of it is the one text that log lines and peers see.
"""

from __future__ import annotations


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


class BadNameError(ProtocolError):
    def __str__(self) -> str:
        return "username is not UTF-8"


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


class ServerFullError(LimitError):
    template = "server is full ({limit} connections)"


class AddressFullError(LimitError):
    template = "more than {limit} connections from one address"


class LappedError(LimitError):
    template = "reader too slow, more than {limit} bytes behind"


class UnreadRepliesError(LimitError):
    template = "reader too slow, more than {limit} bytes of replies unread"


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
        return f"{self.name}: {self.value!r} is not {self.wanted}"


class BrokenStreamError(UsageError):
    def __str__(self) -> str:
        return "data given to a decoder that has already failed"


def close_reason(error: BaseException) -> str:
    """Return the one line that says why a connection was closed, or why something cannot be had."""
    if isinstance(error, SelchatError):
        return str(error)
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return f"internal error ({type(error).__name__})"
