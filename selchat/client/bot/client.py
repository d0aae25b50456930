"""The Python API for bots: a client that blocks, iterates or calls back, and has no threads.

Knows the life of a client and the names of its methods; `selchat.client.bot.blocking` does the waiting.
docs/bots.rst is the guide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from enum import Enum, auto
from types import TracebackType
from typing import Any, TypeVar

from selchat.client.bot.blocking import BlockingLink, DisconnectedError, StoppedError
from selchat.client.bot.inbox import BotEvent, Connected, Lost
from selchat.client.bot.requests import PendingRequest
from selchat.client.bot.threads import Interrupted
from selchat.client.connection.link import Link
from selchat.client.events import (
    Gap,
    Message,
    NotStored,
    Parted,
    Refused,
    Rooms,
    RoomSummary,
    Trusted,
    Unencrypted,
    Users,
    Whispered,
)
from selchat.client.setup import login_name, split_host
from selchat.client.strength import passphrase_warning
from selchat.config.settings import ClientSettings
from selchat.errors import SettingError, UsageError
from selchat.events import LOBBY, Joined, Left, Topic
from selchat.limits import FAILED_BOT_CLOSE_SECONDS
from selchat.text import escape_controls, name_key, visible_name
from selchat.wire.e2ee import passphrase_bytes

_SECRET_LENGTH = range(16, 129)  # characters

# The log lines for events that have no callback.
_WARNINGS: dict[type, Callable[[Any], str]] = {
    Trusted: lambda trusted: f"first connection to {trusted.address}; its key is {trusted.fingerprint}",
    Unencrypted: lambda unencrypted: f"not encrypted, the server has no TLS ({unencrypted.why})",
    Lost: lambda lost: f"connection lost: {lost.reason}; trying again in {lost.retry_in:.1f} s",
    Refused: lambda refused: f"refused: {refused.text}",
    NotStored: lambda not_stored: f"not stored yet, the client will send it again: {not_stored.text}",
    Parted: lambda parted: f"removed from the room {parted.room}",
    Gap: lambda gap: f"missed in {gap.room}: the messages between {gap.after} and {gap.before}",
}

E = TypeVar("E")
R = TypeVar("R")


class Phase(Enum):
    """The life of a `Client`: ``NEW`` until `Client.connect`, ``OPEN`` until `Client.close`."""

    NEW = auto()
    OPEN = auto()
    CLOSED = auto()


class PhaseError(UsageError):
    """The call is not possible in this ``phase`` of the client."""

    def __init__(self, phase: Phase) -> None:
        super().__init__(phase)
        self.phase = phase

    def __str__(self) -> str:
        return f"this client {_PHASES[self.phase]}"


_PHASES = {
    Phase.NEW: "is not connected: call connect() first, or use a with statement",
    Phase.OPEN: "is connected already",
    Phase.CLOSED: "is closed",
}


class Client:
    """A user of the chat that is a program.

    ::

        from selchat.client import Client

        with Client("192.168.43.158", name="echo") as chat:
            for message in chat:
                chat.say(f"{message.author}: {message.body}", room=message.room)

    ``host`` is a host name or an address, perhaps with a port (``host:33001``), which then overrides
    ``port``. ``name`` defaults to the user's login name on this machine. A ``secret`` of 16 to 128 characters
    reserves the name for this user; it defaults to the one that ``selchat chat`` uses. ``password`` is the
    server's, if it has one. With a ``passphrase``, the client encrypts all messages end to end
    (docs/encryption.rst), and the ``encryption`` of a received message tells whether it was encrypted.
    ``key`` is the classic protocol's cipher, a toy.

    The client joins ``rooms`` when it connects. ``history`` is the number of earlier messages of each room
    that come first, with ``missed`` set (on the classic protocol: none). ``own``: whether the client also
    gets its own messages. ``reconnect``: whether to reconnect after a lost connection; the client then gets
    the messages that it missed. ``timeout`` in seconds is for each call that waits for the server. ``wire``
    is the protocol: ``auto``, ``selchat`` or ``classic``. ``tls`` is ``auto``, ``require`` or ``off``;
    ``auto`` encrypts with every server that supports TLS, and never again connects without TLS to a server
    that once did. The client remembers each server's key, and raises `CannotConnectError` when it changes.

    All methods may be called from any thread, and from callbacks; a signal handler may only call `stop`. The
    client has no thread: it reads and writes while one of its methods runs. If no method runs for more than
    half a minute, the server may drop the connection; the client then reconnects.

    The constructor does not connect. It raises `SettingError`.
    """

    def __init__(
        self,
        host: str,
        port: int = 33000,
        name: str | None = None,
        *,
        key: str | None = None,
        passphrase: str | None = None,
        secret: str | None = None,
        password: str = "",
        rooms: Iterable[str] = (LOBBY,),
        history: int = 0,
        own: bool = False,
        reconnect: bool = True,
        timeout: float = 10.0,
        wire: str = "auto",
        tls: str = "auto",
    ) -> None:
        if secret is not None and len(secret) not in _SECRET_LENGTH:
            raise SettingError("secret", "...", "a string of 16 to 128 characters")
        if timeout <= 0:
            raise SettingError("timeout", timeout, "more than zero")
        if history < 0:
            raise SettingError("history", history, "a number of messages")
        if passphrase is not None:
            passphrase_bytes(passphrase)  # fail now and not in connect(); an empty one is a mistake
            wire = "selchat" if wire == "auto" else wire
            weakness = passphrase_warning(passphrase)
            if weakness is not None:
                _log_warning(weakness)
        host, host_port = split_host(host)
        self._settings = ClientSettings(
            host=host,
            port=port if host_port is None else host_port,
            name=login_name("name=...") if name is None else name,
            key=key or None,
            passphrase=passphrase or "",
            secret=secret or "",
            password=password,
            wire=wire,
            tls=tls,
            finish_seconds=timeout,
        )
        names = map(_room_name, (rooms,) if isinstance(rooms, str) else rooms)
        self._rooms = tuple({name_key(room): room for room in names}.values())
        self._history = history
        self._own = own
        self._reconnect = reconnect
        self._timeout = timeout
        self._phase = Phase.NEW
        self._stop_requested = False  # set by any thread at any time, and never reset
        self._link: BlockingLink | None = None
        self._callbacks: dict[type, list[Callable[[Any], object]]] = {}

    # -- the connection --------------------------------------------------------------------------------

    def connect(self) -> None:
        """Connect, log in, join the rooms, and fetch their history if ``history`` asks for it.

        Raises `CannotConnectError`, `NameTakenError`, `WrongPasswordError` or another `RefusalError`,
        `NoAnswerError`, `SecretError`, `SettingError` for an invalid ``key``, and `UnsupportedError` for
        rooms on the classic protocol. You may then call it again. Raises `StoppedError` after `stop`.
        """
        if self._phase is not Phase.NEW:
            raise PhaseError(self._phase)
        self._link = link = BlockingLink(
            self._settings,
            own=self._own,
            reconnect=self._reconnect,
            timeout=self._timeout,
            stopped=lambda: self._stop_requested,
        )
        try:
            link.connect(self._rooms, self._history)
        except BaseException:
            self._link = None
            link.abort()
            raise
        self._phase = Phase.OPEN

    def close(self) -> None:
        """Wait until the server has acknowledged all messages, say goodbye, and disconnect.

        Give up after ``timeout`` seconds in which none was acknowledged.

        Raises `DisconnectedError` if a message was not acknowledged. Closing a closed client does nothing.
        """
        self._close(None)

    def stop(self) -> None:
        """End `run`, and any loop over this client, at its next step. The client stays connected.

        May be called at any time and from anywhere, even from a signal handler.
        """
        self._stop_requested = True
        link = self._link
        if link is not None:
            link.wake()

    def __enter__(self) -> Client:
        """Connect, unless the client is connected."""
        if self._phase is not Phase.OPEN:
            with _interruptible():
                self.connect()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        try:
            self._close(FAILED_BOT_CLOSE_SECONDS)
        except DisconnectedError:
            pass  # the program's own error matters more
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted from None

    @property
    def connected(self) -> bool:
        """Whether the client is connected now."""
        return self._link is not None and self._link.is_online

    @property
    def name(self) -> str:
        """The user's name, as the server shows it."""
        return self._settings.name if self._link is None else self._link.name

    # -- sending messages ------------------------------------------------------------------------------

    def say(self, body: str, room: str = LOBBY, *, wait: bool = False) -> str:
        """Send a message to a room, and return its id (empty on the classic protocol).

        The client keeps the message until the server acknowledges it, even across connections, and it
        arrives once. ``wait``: return when the server has stored it. Otherwise return at once; then `flush`
        and `on_refused` report a refusal.

        Raises `FrameTooLongError`, and `QueueFullError` if too many messages are still queued after
        ``timeout``. With ``wait``, also raises `RefusalError`, and `NoAnswerError`; in the latter case the
        client still keeps the message, and delivers it when it can.
        """
        room = _room_name(room)
        return self._open().send(lambda link: link.say(body, room), wait=wait)

    def whisper(self, to: str, body: str, *, wait: bool = False) -> str:
        """Send a direct message to one person; otherwise like `say`."""
        return self._open().send(lambda link: link.whisper(to, body), wait=wait)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until the server has acknowledged all messages.

        Raises `NoAnswerError`, and the first `RefusalError` since the last call, for a message that was sent
        without ``wait``.
        """
        self._open().flush(timeout)

    # -- requests --------------------------------------------------------------------------------------

    # All of these wait for the response, and raise `RefusalError`, `NoAnswerError`, and `UnsupportedError`
    # if the classic protocol has no such request. Events that arrive during the wait stay queued.

    def join(self, room: str) -> None:
        """Join a room; the client rejoins it after each reconnection."""
        self._open().join(_room_name(room))

    def part(self, room: str) -> None:
        """Leave a room."""
        room = _room_name(room)
        self._open().part(room, PendingRequest(Parted, room))

    def set_topic(self, topic: str, room: str = LOBBY) -> None:
        """Set the topic of a room; an empty one removes it."""
        room, link = _room_name(room), self._open()
        request = PendingRequest(Topic, room, matches=lambda event: link.is_own(event.author))
        link.request(request, lambda link: link.set_topic(room, topic))

    def users(self, room: str = LOBBY) -> tuple[str, ...]:
        """Return the names of a room's members in alphabetical order, at most 1,000.

        On the classic protocol, return the names that the client knows.
        """
        room = _room_name(room)
        request = PendingRequest(Users, room, matches=lambda users: not users.joined)
        return self._open().request(request, lambda link: link.get_users(room)).names

    def rooms(self) -> tuple[RoomSummary, ...]:
        """Return the server's rooms, the largest first, at most 1,000."""
        return self._open().request(PendingRequest(Rooms, None), Link.get_rooms).rooms

    def history(
        self, room: str = LOBBY, limit: int = 50, *, before: int | None = None, after: int | None = None
    ) -> list[Message]:
        """Return messages of a room that the client has joined, its own ones too, oldest first.

        Return the newest ``limit`` messages; with ``before``, the newest ones below that ``seq``; with
        ``after``, the oldest ones above that ``seq``.
        """
        if before is not None and after is not None:
            raise SettingError("after", after, "None when before is given")
        return self._open().history(_room_name(room), limit, before, after)

    # -- state, without a request ------------------------------------------------------------------------

    def names(self, room: str = LOBBY) -> tuple[str, ...]:
        """Return the known members of a joined room in alphabetical order, at most 10,000."""
        return self._open().names(_room_name(room))

    def topic(self, room: str = LOBBY) -> str:
        """Return the topic of a joined room; empty if it has none."""
        return self._open().topic(_room_name(room))

    # -- events ----------------------------------------------------------------------------------------

    def receive(self, timeout: float | None = None) -> BotEvent | None:
        """Return the next event; None: no event came within ``timeout`` seconds, or `stop` was called.

        Calls no callback. Raises `DisconnectedError` when the connection is closed for good.
        """
        return self._open().receive(timeout)

    def sleep(self, seconds: float) -> bool:
        """Wait, but keep the connection alive; return True, or False as soon as `stop` was called.

        Also return False when another thread closes the client. Events that arrive during the wait stay
        queued. Raises `DisconnectedError`.
        """
        if self._is_closed():
            return False
        try:
            return self._open().sleep(seconds)
        except StoppedError:
            return False

    def __iter__(self) -> Iterator[Message]:
        """Yield each message of a room, and pass other events to their callbacks, until `stop` or `close`.

        Raises `DisconnectedError` when the connection is closed for good.
        """
        while (event := self._next()) is not None:
            if isinstance(event, Message):
                yield event
            else:
                self._dispatch(event)

    def run(self) -> None:
        """Pass all events to their callbacks, until `stop` or `close`.

        Connect first, and close at the end, unless the client was connected before. An exception in a
        callback ends the loop. Raises `DisconnectedError` when the connection is closed for good, and the
        exceptions of `connect`.
        """
        try:
            with _interruptible(), self if self._phase is Phase.NEW else nullcontext():
                while (event := self._next()) is not None:
                    self._dispatch(event)
        except StoppedError:
            pass  # stop() came before the connection

    # -- callbacks -------------------------------------------------------------------------------------

    # Each of these registers a function and returns it, so it works as a decorator. Several functions for
    # one event run in the order of their registration.

    def on_message(self, callback: Callable[[Message], R]) -> Callable[[Message], R]:
        """Call it with each `Message` of a room. In a loop over the client, the loop gets these instead."""
        return self._on(Message, callback)

    def on_whisper(self, callback: Callable[[Whispered], R]) -> Callable[[Whispered], R]:
        """Call it with each `Whispered`: a direct message to this user."""
        return self._on(Whispered, callback)

    def on_joined(self, callback: Callable[[Joined], R]) -> Callable[[Joined], R]:
        """Call it with each `Joined`: users have joined a room."""
        return self._on(Joined, callback)

    def on_left(self, callback: Callable[[Left], R]) -> Callable[[Left], R]:
        """Call it with each `Left`: users have left a room."""
        return self._on(Left, callback)

    def on_topic(self, callback: Callable[[Topic], R]) -> Callable[[Topic], R]:
        """Call it with each `Topic`: a room has a new topic."""
        return self._on(Topic, callback)

    def on_connected(self, callback: Callable[[Connected], R]) -> Callable[[Connected], R]:
        """Call it with `Connected` for each connection, including the first one."""
        return self._on(Connected, callback)

    def on_lost(self, callback: Callable[[Lost], R]) -> Callable[[Lost], R]:
        """Call it with `Lost` when the connection is lost, and when an attempt to reconnect fails."""
        return self._on(Lost, callback)

    def on_refused(self, callback: Callable[[Refused], R]) -> Callable[[Refused], R]:
        """Call it with `Refused` when the server refuses a message that was sent without ``wait``."""
        return self._on(Refused, callback)

    def on_gap(self, callback: Callable[[Gap], R]) -> Callable[[Gap], R]:
        """Call it with each `Gap`: messages that the client will not get; they are too many or too old."""
        return self._on(Gap, callback)

    def on_parted(self, callback: Callable[[Parted], R]) -> Callable[[Parted], R]:
        """Call it with `Parted` when the server has removed this user from a room."""
        return self._on(Parted, callback)

    # ----------------------------------------------------------------------------------------------------

    def _on(self, kind: type[E], callback: Callable[[E], R]) -> Callable[[E], R]:
        self._callbacks.setdefault(kind, []).append(callback)
        return callback

    def _next(self) -> BotEvent | None:
        """Return the next event; None: the loop should end."""
        while not (self._stop_requested or self._is_closed()):
            try:
                event = self.receive()
            except (StoppedError, PhaseError):
                if self._is_closed():  # another thread has closed the client during the wait
                    return None
                raise
            if event is not None:
                return event
        return None

    def _is_closed(self) -> bool:
        return self._phase is Phase.CLOSED

    def _dispatch(self, event: BotEvent) -> None:
        callbacks = self._callbacks.get(type(event), ())
        for callback in callbacks:
            callback(event)
        warning = _WARNINGS.get(type(event))
        if warning is not None and not callbacks:
            _log_warning(warning(event))

    def _open(self) -> BlockingLink:
        """Return the link of a connected client. Raises `PhaseError`."""
        link = self._link
        if self._phase is not Phase.OPEN or link is None:
            raise PhaseError(self._phase)
        return link

    def _close(self, seconds: float | None) -> None:
        phase, self._phase = self._phase, Phase.CLOSED
        if phase is Phase.OPEN and self._link is not None:
            self._link.close(seconds)


def _log_warning(text: str) -> None:
    import logging  # imported here because few bots need it, and the import is slow

    # By default, logging shows warnings on standard error.
    logging.getLogger("selchat.client").warning("%s", escape_controls(text))


@contextmanager
def _interruptible() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted from None


def _room_name(room: str) -> str:
    """Return a room's name as the server writes it; users may put a ``#`` before it."""
    room = visible_name(room.removeprefix("#"), len(room))
    return LOBBY if name_key(room) == LOBBY else room
