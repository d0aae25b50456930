"""The Python API: a chat for programs, in a few lines, and without threads of its own.

This file knows what a program sees: a life from connecting to closing, a loop or callbacks, and names for
what can be asked. Waiting is done by `selchat.client.bot.blocking`. docs/bots.rst is the guide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from enum import Enum, auto
from types import TracebackType
from typing import Any, TypeVar

from selchat.client.asking import login_name, split_host
from selchat.client.bot.blocking import BlockingLink, StoppedError
from selchat.client.bot.inbox import Connected, Event, Lost
from selchat.client.bot.questions import Question
from selchat.client.bot.reception import DisconnectedError
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
from selchat.config.settings import ClientSettings
from selchat.errors import SettingError, UsageError
from selchat.events import LOBBY, Joined, Left, Topic
from selchat.text import clean_name, escape_controls, name_key
from selchat.wire.e2ee import passphrase_bytes

_LAST_SECONDS = 1.0  # for what was said to get across when the program fails
_SECRET_LENGTH = range(16, 129)  # characters

# What is worth a warning if nobody else is told.
_WARNINGS: dict[type, Callable[[Any], str]] = {
    Trusted: lambda trusted: f"{trusted.address} is new; its key is {trusted.fingerprint}",
    Unencrypted: lambda unencrypted: f"not encrypted, the server has no TLS ({unencrypted.why})",
    Lost: lambda lost: f"connection lost: {lost.reason}; trying again in {lost.retry_in:.1f} s",
    Refused: lambda refused: f"refused: {refused.text}",
    NotStored: lambda not_stored: f"kept until the server can store it: {not_stored.text}",
    Parted: lambda parted: f"out of the room {parted.room}",
    Gap: lambda gap: f"missed in {gap.room}: the messages between {gap.after} and {gap.before}",
}

E = TypeVar("E")
R = TypeVar("R")


class Phase(Enum):
    """Where a `Client` is in its life: ``NEW`` until `Client.connect`, ``OPEN`` until `Client.close`."""

    NEW = auto()
    OPEN = auto()
    CLOSED = auto()


class PhaseError(UsageError):
    """``phase`` of the client, in which that cannot be."""

    def __init__(self, phase: Phase) -> None:
        super().__init__(phase)
        self.phase = phase

    def __str__(self) -> str:
        return f"this client {_PHASES[self.phase]}"


_PHASES = {
    Phase.NEW: "is not connected: connect() comes first, or a with statement",
    Phase.OPEN: "is connected already",
    Phase.CLOSED: "is closed",
}


class Client:
    """A user of a chat who is a program.

    ::

        from selchat.client import Client

        with Client("192.168.43.158", name="echo") as chat:
            for message in chat:
                chat.say(f"{message.author}: {message.body}", room=message.room)

    ``host`` is a name or an address, perhaps with a port (``host:33001``), which then goes before ``port``.
    Without a ``name``, it is the one that the user has on this machine. The name is kept for this user by a
    ``secret`` of 16 to 128 characters; without one, it is that of ``selchat chat``. ``password`` is the
    server's, if it has one. With a ``passphrase``, everything that is said is encrypted end to end
    (docs/encryption.rst), and what has come says in its ``seal`` whether it was. ``key`` is the paper's
    cipher, a toy.

    ``rooms`` are entered at the start. ``history``: so many messages of each room that were said before come
    first, with ``missed`` set (on the paper's wire: none). ``own``: whether what this user says comes too.
    ``reconnect``: whether to come back when the connection is lost; what was missed comes then. ``timeout``
    in seconds is for each call that waits for the server. ``wire``: ``auto``, or ``rich`` or ``classic`` if
    it is known what the server speaks. ``tls``: ``auto`` encrypts with every server that can, and never again
    goes without with one that could; or ``require``, or ``off``. The key of a server is remembered, and
    `CannotConnectError` tells when it has changed.

    All methods may be called from any thread, and from callbacks; from a signal handler only `stop`. There
    is no thread in here: a client reads and writes while one of its methods runs. One that is left alone for
    more than half a minute may be taken for dead by the server, and comes back then.

    The constructor does not connect; it raises `SettingError`.
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
            passphrase_bytes(passphrase)  # what is wrong with it is said now; an empty one is a mistake
            wire = "selchat" if wire == "auto" else wire
        host, given = split_host(host)
        self._settings = ClientSettings(
            host=host,
            port=port if given is None else given,
            name=login_name() if name is None else name,
            key=key or None,
            passphrase=passphrase or "",
            secret=secret or "",
            password=password,
            wire=wire,
            tls=tls,
            finish_seconds=timeout,
        )
        wanted = map(_room_name, (rooms,) if isinstance(rooms, str) else rooms)
        self._rooms = tuple({name_key(room): room for room in wanted}.values())
        self._history = history
        self._own = own
        self._reconnect = reconnect
        self._timeout = timeout
        self._phase = Phase.NEW
        self._stop_asked = False  # by any thread, at any time, and never taken back
        self._link: BlockingLink | None = None
        self._callbacks: dict[type, list[Callable[[Any], object]]] = {}

    # -- the connection --------------------------------------------------------------------------------

    def connect(self) -> None:
        """Connect, log in, enter the rooms, and fetch their history if that was asked for.

        Raises `CannotConnectError`, `NameTakenError`, `WrongPasswordError` or another `RefusalError`,
        `NoAnswerError`, `SecretError`, `SettingError` for a key that is none, and `UnsupportedError` for
        rooms on the paper's wire. It may be called again then. `StoppedError`: `stop` was called.
        """
        if self._phase is not Phase.NEW:
            raise PhaseError(self._phase)
        self._link = link = BlockingLink(
            self._settings,
            own=self._own,
            reconnect=self._reconnect,
            timeout=self._timeout,
            stopped=lambda: self._stop_asked,
        )
        try:
            link.enter(self._rooms, self._history)
        except BaseException:
            self._link = None
            link.abort()
            raise
        self._phase = Phase.OPEN

    def close(self) -> None:
        """Wait until all that was said is with the server, say goodbye, and leave.

        Not for longer than ``timeout`` without anything of it getting there.

        Raises `DisconnectedError` if something was not acknowledged. To close a closed client does nothing.
        """
        self._close(None)

    def stop(self) -> None:
        """End `run`, and loops over this client, as soon as they come to it. It is still connected then.

        May be called at any time, from anywhere, signal handlers included.
        """
        self._stop_asked = True
        link = self._link
        if link is not None:
            link.wake()

    def __enter__(self) -> Client:
        """Connect, unless that was done."""
        if self._phase is not Phase.OPEN:
            self.connect()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        try:
            self._close(_LAST_SECONDS)
        except DisconnectedError:
            pass  # what has gone wrong already says more

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._link is not None and self._link.is_online

    @property
    def name(self) -> str:
        """The user's name, as the server has cleaned it."""
        return self._settings.name if self._link is None else self._link.name

    # -- talking ---------------------------------------------------------------------------------------

    def say(self, body: str, room: str = LOBBY, *, wait: bool = False) -> str:
        """Say it in a room; return its id, which is empty on the paper's wire.

        It is kept until the server has it, over breaks of the connection too, and arrives once. ``wait``:
        return when it is stored there. Without, it is on its way, and `flush` or `on_refused` tell if it is
        refused.

        Raises `FrameTooLongError`, `QueueFullError` (too much waits, and that did not change within
        ``timeout``); with ``wait``, also `RefusalError`, and `NoAnswerError` (it is still kept, and arrives
        when it can).
        """
        room = _room_name(room)
        return self._open().send(lambda link: link.say(body, room), wait=wait)

    def whisper(self, to: str, body: str, *, wait: bool = False) -> str:
        """Say it to one person alone; as `say`."""
        return self._open().send(lambda link: link.whisper(to, body), wait=wait)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until all that was said is with the server.

        Raises `NoAnswerError`, and the first `RefusalError` of what was refused since this was called last,
        without anyone waiting for it.
        """
        self._open().flush(timeout)

    # -- asking ----------------------------------------------------------------------------------------

    # All of these wait for the answer, and raise `RefusalError`, `NoAnswerError`, and `UnsupportedError`
    # for what the paper's wire cannot do. What is said meanwhile is kept for later.

    def join(self, room: str) -> None:
        """Enter a room; after a break of the connection again, by itself."""
        self._open().join(_room_name(room))

    def part(self, room: str) -> None:
        """Leave a room."""
        room = _room_name(room)
        self._open().part(room, Question(Parted, room))

    def set_topic(self, topic: str, room: str = LOBBY) -> None:
        """Set the topic of a room; empty for none."""
        room, link = _room_name(room), self._open()
        question = Question(Topic, room, fits=lambda event: link.is_own(event.author))
        link.ask(question, lambda link: link.set_topic(room, topic))

    def users(self, room: str = LOBBY) -> tuple[str, ...]:
        """Return the names of who is in a room, in order; at most 1,000 of them.

        On the paper's wire: of who is known to be there.
        """
        room = _room_name(room)
        question = Question(Users, room, fits=lambda users: not users.entered)
        return self._open().ask(question, lambda link: link.get_users(room)).names

    def rooms(self) -> tuple[RoomSummary, ...]:
        """Return the rooms that there are, those with most members first; at most 1,000."""
        return self._open().ask(Question(Rooms, None), Link.get_rooms).rooms

    def history(
        self, room: str = LOBBY, limit: int = 50, *, before: int | None = None, after: int | None = None
    ) -> list[Message]:
        """Return what was said in a room that one is in, one's own messages too, oldest first.

        The newest ``limit`` messages; those with a ``seq`` below ``before``; or the oldest ones above
        ``after``.
        """
        if before is not None and after is not None:
            raise SettingError("after", after, "None when before is given")
        return self._open().history(_room_name(room), limit, before, after)

    # -- what is known without asking --------------------------------------------------------------------

    def names(self, room: str = LOBBY) -> tuple[str, ...]:
        """Return the names that are known to be in a room that one is in, in order; at most 10,000."""
        return self._open().names(_room_name(room))

    def topic(self, room: str = LOBBY) -> str:
        """Return the topic of a room that one is in; empty: there is none."""
        return self._open().topic(_room_name(room))

    # -- what happens ----------------------------------------------------------------------------------

    def receive(self, timeout: float | None = None) -> Event | None:
        """Return the next thing that happens; None: nothing has, within ``timeout`` seconds.

        None too after `stop`. No callback is called. Raises `DisconnectedError` when the connection is over
        for good.
        """
        return self._open().receive(timeout)

    def sleep(self, seconds: float) -> bool:
        """Do nothing for so long but keep the connection; return False when `stop` was called, and True else.

        What happens meanwhile is kept for later. Raises `DisconnectedError`.
        """
        return self._open().sleep(seconds)

    def __iter__(self) -> Iterator[Message]:
        """Give every message of a room; what else happens goes to its callback. Ends by `stop` or `close`.

        Raises `DisconnectedError` when the connection is over for good.
        """
        while (event := self._next()) is not None:
            if isinstance(event, Message):
                yield event
            else:
                self._hand_out(event)

    def run(self) -> None:
        """Give everything that happens to its callbacks, until `stop` or `close`.

        Connects first, and closes at the end, if that was not done. What a callback raises ends it. Raises
        `DisconnectedError` when the connection is over for good, and what `connect` does.
        """
        try:
            with self if self._phase is Phase.NEW else nullcontext():
                while (event := self._next()) is not None:
                    self._hand_out(event)
        except StoppedError:
            pass  # before it was connected

    # -- callbacks -------------------------------------------------------------------------------------

    # Each of these takes a function, and so is a decorator. Several functions for the same are called in
    # turn.

    def on_message(self, callback: Callable[[Message], R]) -> Callable[[Message], R]:
        """Call it with each `Message` of a room. In a loop over the client, the loop gets these instead."""
        return self._on(Message, callback)

    def on_whisper(self, callback: Callable[[Whispered], R]) -> Callable[[Whispered], R]:
        """Call it with each `Whispered`, which is for this user alone."""
        return self._on(Whispered, callback)

    def on_joined(self, callback: Callable[[Joined], R]) -> Callable[[Joined], R]:
        """Call it with each `Joined`: who has come to a room."""
        return self._on(Joined, callback)

    def on_left(self, callback: Callable[[Left], R]) -> Callable[[Left], R]:
        """Call it with each `Left`: who has gone from a room."""
        return self._on(Left, callback)

    def on_topic(self, callback: Callable[[Topic], R]) -> Callable[[Topic], R]:
        """Call it with each `Topic` that is set."""
        return self._on(Topic, callback)

    def on_connected(self, callback: Callable[[Connected], R]) -> Callable[[Connected], R]:
        """Call it with `Connected` for each connection, the first too."""
        return self._on(Connected, callback)

    def on_lost(self, callback: Callable[[Lost], R]) -> Callable[[Lost], R]:
        """Call it with `Lost` when the connection breaks, and when it could not be made again."""
        return self._on(Lost, callback)

    def on_refused(self, callback: Callable[[Refused], R]) -> Callable[[Refused], R]:
        """Call it with `Refused` for what was said and is not taken, unless someone has waited."""
        return self._on(Refused, callback)

    def on_gap(self, callback: Callable[[Gap], R]) -> Callable[[Gap], R]:
        """Call it with each `Gap`: messages that do not come, because they were too many, or are too old."""
        return self._on(Gap, callback)

    def on_parted(self, callback: Callable[[Parted], R]) -> Callable[[Parted], R]:
        """Call it with `Parted` when the server has put this user out of a room."""
        return self._on(Parted, callback)

    # ----------------------------------------------------------------------------------------------------

    def _on(self, kind: type[E], callback: Callable[[E], R]) -> Callable[[E], R]:
        self._callbacks.setdefault(kind, []).append(callback)
        return callback

    def _next(self) -> Event | None:
        """Return what happens next; None: the loop is to end."""
        while not (self._stop_asked or self._is_closed()):
            try:
                event = self.receive()
            except (StoppedError, PhaseError):
                if self._is_closed():  # by another thread meanwhile
                    return None
                raise
            if event is not None:
                return event
        return None

    def _is_closed(self) -> bool:
        return self._phase is Phase.CLOSED

    def _hand_out(self, event: Event) -> None:
        callbacks = self._callbacks.get(type(event), ())
        for callback in callbacks:
            callback(event)
        warning = _WARNINGS.get(type(event))
        if warning is not None and not callbacks:
            import logging  # here, as few need it and it takes a while to import

            # By default, logging shows warnings on standard error.
            logging.getLogger("selchat.client").warning("%s", escape_controls(warning(event)))

    def _open(self) -> BlockingLink:
        link = self._link
        if self._phase is not Phase.OPEN or link is None:
            raise PhaseError(self._phase)
        return link

    def _close(self, seconds: float | None) -> None:
        phase, self._phase = self._phase, Phase.CLOSED
        if phase is Phase.OPEN and self._link is not None:
            self._link.close(seconds)


def _room_name(room: str) -> str:
    """Return a room's name as servers write it; people put a ``#`` before it."""
    room = clean_name(room.removeprefix("#"), len(room))
    return LOBBY if name_key(room) == LOBBY else room
