"""Client side of the classic protocol, without I/O.

Bodies come out decrypted, and not escaped for a terminal.
"""

from __future__ import annotations

import re
from collections import deque
from enum import Enum, auto

from selchat.client.events import ClientEvent, Message, SeenAuthors, Users
from selchat.client.protocol.fields import replace_surrogates
from selchat.client.protocol.interface import UnsentMessage, UnsupportedError
from selchat.client.protocol.outbox import QueueFullError
from selchat.client.protocol.rooms import Room
from selchat.config.settings import ClientSettings
from selchat.errors import ProtocolError
from selchat.events import LOBBY, SERVER, Roster
from selchat.limits import CLASSIC_BATCH, MAX_AUTHORS
from selchat.wire.cipher import CaesarCipher
from selchat.wire.frames import FrameDecoder, FrameTooLongError, encode_frame

_ROSTER = re.compile(r"Users online \((\d{1,9})\): (.*)", re.DOTALL)
_MORE = re.compile(r" and (\d{1,9}) more$")

# How a selchat server starts the explanation that it sends before it closes. Unread messages are lost then.
_LAST_WORDS = (
    "Closing this connection: ",
    "The server is shutting down.",
    "The operator has removed you from this chat.",
)


class ServerText(Enum):
    """Whether `Server` encrypts its messages: ``UNKNOWN`` becomes ``PLAIN`` or ``ENCRYPTED``, once."""

    UNKNOWN = auto()
    PLAIN = auto()
    ENCRYPTED = auto()


class ClassicClient:
    """One user on the classic protocol. Raises `SettingError` (bad key) and `FrameTooLongError` (long name).

    The protocol has no acknowledgements, so a message counts as sent when the kernel took it. When a
    connection breaks inside a message, the client sends that message again, whole, on the next one. Messages
    before it may be lost, and nobody can tell.

    ``online`` is the last roster, on servers that send them.
    """

    unsent_word = "not sent"
    unanswered = 0
    wants_retry = False

    def __init__(self, settings: ClientSettings) -> None:
        self.queued = 0
        self._settings = settings
        self._cipher = CaesarCipher(settings.key) if settings.key else None
        self._queue: deque[tuple[bytes, str]] = deque()  # frames without their last byte sent, and bodies
        self._sent = 0  # bytes of the first frame that this connection took
        self._events: list[ClientEvent] = []
        self._login_frame = self._frame(replace_surrogates(settings.name))
        self._login = b""  # the bytes of it that this connection has not taken
        self._reset()

    def _reset(self) -> None:
        """Forget the state of the last connection."""
        self._decoder = FrameDecoder(self._settings.header_length, self._settings.read_limit)
        self._author: str | None = None  # of the next body
        self._server_text = ServerText.UNKNOWN
        self._authors: dict[str, None] = {}
        self.online: Roster | None = None
        self._knows_frames = False  # whether the server is selchat's
        self._last_words: str | None = None

    @property
    def unacknowledged(self) -> int:
        return len(self._queue)

    @property
    def name(self) -> str:
        return self._settings.name

    @property
    def names(self) -> tuple[str, ...]:
        """The users who are online; without a roster, the authors so far, in order."""
        return tuple(self._authors) if self.online is None else self.online.names

    @property
    def room_names(self) -> tuple[str, ...]:
        return (LOBBY,)

    @property
    def error(self) -> ProtocolError | None:
        return self._decoder.error

    @property
    def last_words(self) -> str | None:
        return self._last_words

    def room(self, name: str) -> Room | None:
        return None

    # -- connections -----------------------------------------------------------------------------------

    def connection_made(self) -> None:
        self._reset()
        self._login = self._login_frame

    def connection_lost(self) -> None:
        """Start the unfinished message again."""
        self._login = b""
        self._sent = 0

    def receive_data(self, data: bytes) -> list[ClientEvent]:
        events: list[ClientEvent] = []
        for payload in self._decoder.receive_data(data):
            text = payload.decode(errors="replace")
            if self._author is None:
                self._author = text
            else:
                events.append(self._message(self._author, text))
                self._author = None
        return events

    def receive_eof(self) -> None:
        """Record that the server closed its side; inside a frame that is an ``error``."""
        self._decoder.receive_eof()

    def events(self) -> list[ClientEvent]:
        events, self._events = self._events, []
        return events

    def data_to_send(self) -> memoryview:
        if self._login:
            return memoryview(self._login)
        if self.gap_seconds:
            return memoryview(self._queue[0][0])[self._sent :] if self._queue else memoryview(b"")
        batch = bytearray()
        for frame, _ in self._queue:
            batch += frame
            if len(batch) >= CLASSIC_BATCH:
                break
        return memoryview(batch)[self._sent :]

    def data_sent(self, size: int) -> None:
        if self._login:
            self._login = self._login[size:]
            return
        self._sent += size
        while self._queue and self._sent >= len(self._queue[0][0]):
            size = len(self._queue.popleft()[0])
            self._sent -= size
            self.queued -= size

    @property
    def gap_seconds(self) -> float:
        """See `ClientSettings`. selchat's server reads frames, however they arrive, and sends rosters."""
        return 0.0 if self._knows_frames else self._settings.frame_gap_seconds

    def take_unsent(self) -> list[UnsentMessage]:
        messages = [UnsentMessage(LOBBY, "", body) for _, body in self._queue]
        self._queue.clear()
        self.queued = 0
        return messages

    # -- requests --------------------------------------------------------------------------------------

    def say(self, body: str, room: str = LOBBY) -> str:
        """Queue a message. Raises `FrameTooLongError` for its encrypted size, and `QueueFullError`."""
        if room != LOBBY:
            raise UnsupportedError("rooms")
        text = replace_surrogates(body)
        frame = self._frame(text if self._cipher is None else self._cipher.encrypt(text))
        if self.queued + len(frame) > self._settings.queue_limit:
            raise QueueFullError(self._settings.queue_limit)
        self._queue.append((frame, body))
        self.queued += len(frame)
        return ""

    def whisper(self, to: str, body: str) -> str:
        raise UnsupportedError("direct messages")

    def join(self, room: str) -> None:
        if room != LOBBY:
            raise UnsupportedError("rooms")

    def part(self, room: str) -> None:
        raise UnsupportedError("rooms")

    def set_topic(self, room: str, topic: str) -> None:
        raise UnsupportedError("topics")

    def get_history(
        self,
        room: str,
        limit: int = 50,
        *,
        before: int | None = None,
        after: int | None = None,
        tag: object = None,
    ) -> None:
        raise UnsupportedError("history")

    def get_users(self, room: str = LOBBY, *, tag: object = None) -> None:
        if self.online is None:
            self._events.append(SeenAuthors(tuple(self._authors)))
        else:
            self._events.append(Users(LOBBY, self.online.names, self.online.total, "", 0, joined=False))

    def get_rooms(self, *, tag: object = None) -> None:
        raise UnsupportedError("rooms")

    # -- features of the selchat protocol alone --------------------------------------------------------

    def retry(self) -> None: ...
    def ping(self) -> None: ...
    def add_key(self, salt: bytes, key: bytes) -> None: ...

    def send_password(self) -> bool:
        return False

    def bye(self) -> bool:
        return False

    # ----------------------------------------------------------------------------------------------------

    def _frame(self, text: str) -> bytes:
        payload = text.encode()
        if len(payload) > self._settings.payload_limit:
            raise FrameTooLongError(len(payload), self._settings.payload_limit)
        return encode_frame(payload, self._settings.header_length)

    def _message(self, author: str, raw: str) -> Message:
        if author == SERVER:
            return Message(author, self._decode_server_text(raw))
        if len(self._authors) < MAX_AUTHORS:
            self._authors[author] = None
        return Message(author, self._decrypt(raw))

    def _decode_server_text(self, raw: str) -> str:
        """Return the text of a message of `Server`, and store rosters and explanations.

        Users encrypt with a key that the server need not have: it encrypts its own messages only if it has
        one. The first text with a known form, either raw or decrypted, shows which is the case, for the
        whole connection. Until then the client decrypts.
        """
        if self._server_text is ServerText.PLAIN:
            text = raw
        else:
            text = self._decrypt(raw)
            if self._server_text is ServerText.UNKNOWN:
                if _is_known(raw):
                    self._server_text = ServerText.PLAIN
                    text = raw
                elif _is_known(text):
                    self._server_text = ServerText.ENCRYPTED
        roster = parse_roster(text)
        if roster is not None:
            self.online, self._knows_frames = roster, True
        if text.startswith(_LAST_WORDS):
            self._last_words = text
        return text

    def _decrypt(self, text: str) -> str:
        return text if self._cipher is None else self._cipher.decrypt(text)


def parse_roster(text: str) -> Roster | None:
    """Return the roster that `Server` sent as ``text``; None if it is another message.

    A name with a comma and a space in it comes out as two names: the text does not tell them apart.
    """
    match = _ROSTER.fullmatch(text)
    if match is None:
        return None
    total = int(match[1])
    listed = match[2]
    more = _MORE.search(listed)
    if more is not None:
        names = _split_names(listed[: more.start()])
        if len(names) + int(more[1]) == total:  # otherwise the last name ends like that
            return Roster(names, total)
    return Roster(_split_names(listed), total)


def _split_names(listed: str) -> tuple[str, ...]:
    return tuple(filter(None, listed.split(", ")))


def _is_known(text: str) -> bool:
    return text.startswith(_LAST_WORDS) or parse_roster(text) is not None
