"""A client on the paper's wire, without I/O: text to bytes, and bytes to pairs.

One of these lives as long as one connection. It must not know where the bytes go, who reads the
messages, or how they are shown: they come out decrypted, and not cleaned for a terminal.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple

from selchat.client.protocol.writing import scalar_values
from selchat.config.settings import ClientSettings
from selchat.errors import ProtocolError
from selchat.events import SERVER, Roster
from selchat.wire.cipher import CaesarCipher
from selchat.wire.frames import FrameDecoder, FrameTooLongError, encode_frame

_MAX_HEARD = 1000  # authors remembered; a server could invent new ones for ever
_ROSTER = re.compile(r"Users online \((\d{1,9})\): (.*)", re.DOTALL)
_MORE = re.compile(r" and (\d{1,9}) more$")

# What our server says before it closes a connection; whatever it had not read by then is lost.
_LAST_WORDS = (
    "Closing this connection: ",
    "The server is shutting down.",
    "The operator has removed you from this chat.",
)


class Pair(NamedTuple):
    """What a server sends: something that ``user`` has said."""

    user: str
    body: str


class ServerSpeech(Enum):
    """How what `Server` says arrives: ``UNKNOWN`` becomes ``PLAIN`` or ``ENCRYPTED``, and stays so."""

    UNKNOWN = auto()
    PLAIN = auto()
    ENCRYPTED = auto()


class ClassicClient:
    """The client's end of one connection. Raises `SettingError` for a key that is none.

    ``online`` is the last roster, on servers that send them. ``last_words`` is what the server said about
    ending the connection, ``error`` what broke the framing.
    """

    def __init__(self, settings: ClientSettings) -> None:
        self._name = settings.name
        self._header_length = settings.header_length
        self._cipher = CaesarCipher(settings.key) if settings.key else None
        self._limit = settings.payload_limit
        self._decoder = FrameDecoder(settings.header_length, settings.read_limit)
        self._user: str | None = None  # whose message comes next
        self._speech = ServerSpeech.UNKNOWN
        self.online: Roster | None = None
        self._heard: dict[str, None] = {}
        self.last_words: str | None = None

    @property
    def heard(self) -> tuple[str, ...]:
        """The authors so far, in the order in which they were first heard."""
        return tuple(self._heard)

    @property
    def names(self) -> tuple[str, ...]:
        """The names worth offering to someone who types: who is online, as far as is known."""
        return self.heard if self.online is None else self.online.names

    @property
    def error(self) -> ProtocolError | None:
        return self._decoder.error

    def login(self) -> bytes:
        """Return what to send first. Raises `FrameTooLongError`."""
        return self._frame(scalar_values(self._name))

    def say(self, text: str) -> bytes:
        """Return what to send to say ``text``. Raises `FrameTooLongError`, for its size once encrypted."""
        text = scalar_values(text)
        return self._frame(text if self._cipher is None else self._cipher.encrypt(text))

    def receive_data(self, data: bytes) -> list[Pair]:
        """Take the next bytes from the server and return the pairs that they complete."""
        pairs = []
        for payload in self._decoder.receive_data(data):
            text = payload.decode(errors="replace")
            if self._user is None:
                self._user = text
            else:
                pairs.append(self._pair(self._user, text))
                self._user = None
        return pairs

    def receive_eof(self) -> None:
        """Note that the server has closed its side; inside a frame that is an ``error``."""
        self._decoder.receive_eof()

    # ----------------------------------------------------------------------------------------------------

    def _frame(self, text: str) -> bytes:
        payload = text.encode()
        if len(payload) > self._limit:
            raise FrameTooLongError(len(payload), self._limit)
        return encode_frame(payload, self._header_length)

    def _pair(self, user: str, raw: str) -> Pair:
        if user == SERVER:
            return Pair(user, self._from_server(raw))
        if len(self._heard) < _MAX_HEARD:
            self._heard[user] = None
        return Pair(user, self._decrypt(raw))

    def _from_server(self, raw: str) -> str:
        """Return what `Server` says, and learn from it.

        Members encrypt with a key that the server need not have: it encrypts its own words only when it was
        given one. Which it is shows in the first text that has one of the server's known forms, either as it
        came or decrypted, and then goes for all that follows. Before that it counts as encrypted.
        """
        if self._speech is ServerSpeech.PLAIN:
            text = raw
        else:
            text = self._decrypt(raw)
            if self._speech is ServerSpeech.UNKNOWN:
                if _is_known(raw):
                    self._speech = ServerSpeech.PLAIN
                    text = raw
                elif _is_known(text):
                    self._speech = ServerSpeech.ENCRYPTED
        self.online = parse_roster(text) or self.online
        if text.startswith(_LAST_WORDS):
            self.last_words = text
        return text

    def _decrypt(self, text: str) -> str:
        return text if self._cipher is None else self._cipher.decrypt(text)


def parse_roster(text: str) -> Roster | None:
    """Return the roster that `Server` has sent as ``text``; None: it is something else.

    A name that holds a comma and a space comes out as two: the text cannot tell.
    """
    match = _ROSTER.fullmatch(text)
    if match is None:
        return None
    total = int(match[1])
    listed = match[2]
    more = _MORE.search(listed)
    if more is not None:
        names = _names(listed[: more.start()])
        if len(names) + int(more[1]) == total:  # otherwise that is how the last name ends
            return Roster(names, total)
    return Roster(_names(listed), total)


def _names(listed: str) -> tuple[str, ...]:
    return tuple(filter(None, listed.split(", ")))


def _is_known(text: str) -> bool:
    return text.startswith(_LAST_WORDS) or parse_roster(text) is not None
