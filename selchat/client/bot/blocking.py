"""Blocking calls on a link: each returns when the server has answered.

Knows nothing about callbacks or loops; `selchat.client.bot.client` has those. Calls may come from any thread:
`selchat.client.bot.threads` decides which one runs the reactor.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum, auto
from typing import TypeVar

from selchat.client.bot.inbox import BotEvent, Connected, Inbox, Lost
from selchat.client.bot.requests import PendingRequest, PendingRequests, refusal_error
from selchat.client.bot.threads import ReactorLock
from selchat.client.connection.link import CannotConnectError, Link, LinkState, Wire
from selchat.client.events import (
    Acked,
    Bye,
    ClientEvent,
    History,
    Message,
    Refused,
    Rooms,
    SeenAuthors,
    Users,
    Welcomed,
)
from selchat.client.protocol.interface import UnsupportedError
from selchat.config.settings import ClientSettings
from selchat.errors import BannedError, LimitError, RefusalError, SelchatError, UsageError
from selchat.events import LOBBY, Joined, Left, Topic
from selchat.limits import (
    DEADLINE_GRACE_SECONDS,
    INBOX_HIGH_WATER,
    INBOX_POLL_SECONDS,
    SEND_HIGH_WATER,
    SLOW_INBOX_POLL_SECONDS,
)
from selchat.net.reactor import Reactor
from selchat.text import name_key

E = TypeVar("E")


class NoAnswerError(LimitError):
    """No response within ``limit`` seconds. The server may execute the request all the same."""

    template = "no answer within {limit} s"


class StoppedError(UsageError):
    """`stop` or `close` was called, perhaps by another thread."""

    def __str__(self) -> str:
        return "the client was stopped"


class DisconnectedError(SelchatError):
    """The connection is closed for good. ``why``, in words."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return self.why


class ConnectionState(Enum):
    """The connection as a bot sees it.

    ==========  ==========================================  ================================================
    state       means                                       next
    ==========  ==========================================  ================================================
    CONNECTING  never yet connected                         ONLINE; CLOSED when the first attempt fails
    ONLINE      requests can be sent                        RETRYING when lost; CLOSED
    RETRYING    lost; the link reconnects                   ONLINE; CLOSED
    CLOSED      closed for good, ``error`` says why         (final)
    ==========  ==========================================  ================================================
    """

    CONNECTING = auto()
    ONLINE = auto()
    RETRYING = auto()
    CLOSED = auto()


class BotInterface:
    """The `Interface` of a bot's link: responses go to their requests, all other events into the inbox.

    ``own``: whether the bot gets its own messages, too. ``reconnect``: whether the link reconnects after a
    loss. ``last_seqs`` has the last ``seq`` of each room when it was joined, by the room's key. ``error``:
    why the link is closed; None: the bot closed it. ``refusal``: the first refusal of a message for which no
    thread waited.
    """

    def __init__(self, inbox: Inbox, name: str, *, own: bool, reconnect: bool) -> None:
        self.state = ConnectionState.CONNECTING
        self.error: SelchatError | None = None
        self.refusal: RefusalError | None = None
        self.requests = PendingRequests()
        self.last_seqs: dict[str, int] = {}
        self._inbox = inbox
        self._name = name
        self._delivers_own = own
        self._reconnect = reconnect
        self._key: str | None = None  # of our name, where no one else can own it
        self._link: Link | None = None

    def attach(self, link: Link) -> None:
        """Set the link, before it opens."""
        self._link = link

    # -- the link's callbacks --------------------------------------------------------------------------

    def connected(self, address: str) -> None:
        if self._link is not None and self._link.wire is Wire.CLASSIC:
            self._key = None
            self._set_online(Connected("", again=self.state is not ConnectionState.CONNECTING))

    def received(self, events: list[ClientEvent]) -> None:
        for event in events:
            self._receive(event)

    def lost(self, reason: str, delay: float) -> None:
        if self._reconnect and self.state is not ConnectionState.CONNECTING:
            self.state = ConnectionState.RETRYING
            self._inbox.put(Lost(reason, delay))
        else:
            self._set_closed(reason)
            assert self._link is not None
            self._link.close()

    def drained(self) -> None:
        pass

    def finished(self, problem: str | None) -> None:
        refusal = None if self._link is None else self._link.refusal
        if refusal is not None and self.state is ConnectionState.CONNECTING:
            self._receive_refusal(refusal)
        else:
            self._set_closed(problem)

    # ----------------------------------------------------------------------------------------------------

    def _receive(self, event: ClientEvent) -> None:
        if isinstance(event, Message):
            self._receive_message(event)
        elif isinstance(event, Welcomed):
            self._name, self._key = event.name, name_key(event.name)
            if not event.again:
                self.last_seqs = {name_key(room.room): room.seq for room in event.rooms}
            self._set_online(Connected(event.server, event.again))
        elif isinstance(event, Refused):
            self._receive_refusal(event)
        elif isinstance(event, SeenAuthors):
            self._receive(Users(LOBBY, event.names, len(event.names), "", 0, joined=False))
        elif isinstance(event, Users):
            if event.joined:
                self.last_seqs[name_key(event.room)] = event.seq
            self.requests.resolve(event)
        elif isinstance(event, Acked | History | Rooms):
            self.requests.resolve(event)
        elif isinstance(event, Bye):
            if event.reason == BannedError.code and self.state is ConnectionState.CONNECTING:
                self._set_closed(BannedError(event.until))
        elif self.requests.resolve(event):
            pass
        elif isinstance(event, Joined | Left):
            self._receive_names(event)
        elif not isinstance(event, Topic) or self._delivers_own or not self.is_own(event.author):
            self._inbox.put(event)

    def is_own(self, author: str) -> bool:
        """Return whether the author is this user: the name is theirs, and no one else can own it."""
        return self._key is not None and name_key(author) == self._key

    def mark(self, message: Message) -> Message:
        """Return the message, with ``own`` set if an earlier run of this program sent it."""
        return message._replace(own=True) if self.is_own(message.author) else message

    def _receive_message(self, message: Message) -> None:
        message = self.mark(message)
        if self._delivers_own or not message.own:
            self._inbox.put(message)

    def _receive_names(self, event: Joined | Left) -> None:
        names = tuple(name for name in event.names if not self.is_own(name))
        if names:
            self._inbox.put(event._replace(names=names))

    def _receive_refusal(self, refused: Refused) -> None:
        error = refusal_error(refused, self._name)
        if self.state is ConnectionState.CONNECTING:
            self._set_closed(error)
        elif not self.requests.reject(refused, error):
            if refused.id or refused.body:
                self.refusal = self.refusal or error
            self._inbox.put(refused)

    def _set_online(self, connected: Connected) -> None:
        self.state = ConnectionState.ONLINE
        self._inbox.put(connected)
        self.requests.resend()

    def _set_closed(self, error: SelchatError | str | None) -> None:
        if self.state is not ConnectionState.CLOSED:
            self.state = ConnectionState.CLOSED
            self.error = DisconnectedError(error) if isinstance(error, str) else error


class BlockingLink:
    """One user's link to one server. It raises the exceptions of `Link`.

    ``own``: whether the user gets their own messages, too. ``timeout`` in seconds is for each call that waits
    for the server. ``stopped()`` is true when calls should stop waiting for events.

    A call raises `DisconnectedError` when the connection is closed for good, and `StoppedError` after
    `close`.
    """

    def __init__(
        self,
        settings: ClientSettings,
        *,
        own: bool,
        reconnect: bool,
        timeout: float,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        reactor = Reactor(_raise)
        self._lock = ReactorLock(reactor)
        self._inbox = Inbox()
        self._interface = BotInterface(self._inbox, settings.name, own=own, reconnect=reconnect)
        self._settings = settings
        self._own = own
        self._timeout = timeout
        self._stopped = stopped
        try:
            self._link = Link(reactor, settings, self._interface, reconnect=reconnect, members=True)
        except BaseException:
            self._lock.close()
            raise
        self._interface.attach(self._link)

    # -- state, without a request ------------------------------------------------------------------------

    @property
    def is_online(self) -> bool:
        return self._link.state is LinkState.ONLINE

    @property
    def name(self) -> str:
        return self._link.name

    def names(self, room: str) -> tuple[str, ...]:
        with self._lock:
            if self._link.wire is Wire.CLASSIC:
                return self._link.names if room == LOBBY else ()
            known = self._link.room(room)
            return () if known is None else known.members

    def topic(self, room: str) -> str:
        return self._link.topic(room)

    # -- connecting and closing ------------------------------------------------------------------------

    def connect(self, rooms: tuple[str, ...], history: int) -> None:
        """Connect and join exactly these rooms; the last ``history`` messages of each come as first events.

        Raises `CannotConnectError`, `RefusalError`, `NoAnswerError`, `StoppedError`, and
        `UnsupportedError` for rooms on the classic protocol. After any of these the link is unusable. The
        classic protocol has no history; ``history`` has no effect there.
        """
        link, interface = self._link, self._interface
        joins = [_join_request(room) for room in rooms if room != LOBBY]
        with self._lock:
            for room in rooms:
                if room != LOBBY:
                    link.join(room)
            for join in joins:
                interface.requests.add(join)
            if LOBBY not in rooms:
                link.part(LOBBY)
            link.open()

        def is_ready() -> bool:
            if interface.state is ConnectionState.CONNECTING:
                return False
            if link.wire is Wire.CLASSIC or any(join.error for join in joins):
                return True
            known = filter(None, map(link.room, rooms))
            # The list of members comes soon after joining; it is never empty, as we are in it.
            return not any(join.is_open for join in joins) and all(room.members for room in known)

        self._lock.run_until(
            lambda: self._stopped() or self._is_closed or is_ready(), time.monotonic() + self._timeout
        )
        if self._stopped():
            raise StoppedError
        if not is_ready() or self._is_closed:
            raise self._connect_error()
        if link.wire is Wire.CLASSIC:
            if rooms != (LOBBY,):
                raise UnsupportedError("rooms")
            with self._lock:
                self._lock.tick()  # write the name: on this protocol no response waits for it
            return
        for join in joins:
            if join.error is not None:
                raise join.error
        if history:
            self._fetch_history(rooms, history)

    def close(self, seconds: float | None = None) -> None:
        """Wait until the server has acknowledged all messages, and disconnect.

        Give up after ``seconds`` without progress; None: after ``finish_seconds`` of the settings.

        Raises `DisconnectedError` if a message was not acknowledged, unless the link was closed before.
        """
        link, interface = self._link, self._interface
        try:
            if self._is_closed:
                return  # an earlier call has raised the reason
            with self._lock:
                if link.queued or self.is_online:
                    link.finish()
                else:
                    interface.finished(None)
            if seconds is None:
                seconds = (
                    self._settings.finish_seconds + DEADLINE_GRACE_SECONDS
                )  # the link reports its own timeout first
            queued = link.queued + 1
            while not self._is_closed and link.queued < queued:  # progress
                queued = link.queued
                self._lock.run_until(lambda: self._is_closed, time.monotonic() + seconds)
            if interface.error is not None:
                raise interface.error
        finally:
            self.abort()

    def abort(self) -> None:
        """Close the connection and the reactor at once."""
        with self._lock:
            self._interface.finished(None)
            self._link.close()
        self._lock.close()

    def wake(self) -> None:
        """Make waiting calls check ``stopped``. Safe everywhere, even in a signal handler."""
        self._lock.wake()

    # -- sending ---------------------------------------------------------------------------------------

    def send(self, send: Callable[[Link], str], *, wait: bool) -> str:
        """Send a message by calling ``send``, and return its id; ``wait``: wait for the acknowledgement.

        Wait first while too many bytes are unacknowledged. Raises the exceptions of ``send``; with ``wait``
        also `RefusalError` and `NoAnswerError`.
        """
        link = self._link
        if link.queued > SEND_HIGH_WATER:
            self._lock.run_until(
                lambda: link.queued <= SEND_HIGH_WATER or self._is_closed, time.monotonic() + self._timeout
            )
        with self._lock:
            self._check_open()
            id = send(link)
            request = PendingRequest(Acked, None, id=id)
            if wait and id:
                self._interface.requests.add(request)
            self._write()
        if wait and id:
            self._wait_for_response(request)
        elif wait:
            self._wait(lambda: not link.queued, self._timeout)  # the classic protocol has no ids
        return id

    def flush(self, timeout: float | None) -> None:
        """Wait until the server has acknowledged all messages; raise the first refusal since last time."""
        self._wait(lambda: not self._link.queued, self._timeout if timeout is None else timeout)
        with self._lock:
            error, self._interface.refusal = self._interface.refusal, None
        if error is not None:
            raise error

    # -- requests --------------------------------------------------------------------------------------

    def request(self, request: PendingRequest[E], send: Callable[[Link], object]) -> E:
        """Send a request by calling ``send``, and return the response. Send it again after a reconnection.

        Raises the exceptions of ``send``, `RefusalError` and `NoAnswerError`.
        """
        return self._request(request, send, offline=False)

    def join(self, room: str) -> None:
        if self._link.wire is Wire.CLASSIC:
            self._link.join(room)  # raises, unless it is the lobby
            return
        self._request(_join_request(room), lambda link: link.join(room), offline=True)

    def part(self, room: str, request: PendingRequest[E]) -> None:
        self._request(request, lambda link: link.part(room), offline=True)

    def history(self, room: str, limit: int, before: int | None, after: int | None) -> list[Message]:
        """Return up to ``limit`` messages. The server decides how many pages that takes."""
        found: list[Message] = []
        while len(found) < limit:
            page = self._history_page(room, limit - len(found), before, after)
            if after is None:
                found[:0] = page.messages
            else:
                found += page.messages
            if not page.more or not page.messages:
                break
            if after is None:
                before = page.messages[0].seq
            else:
                after = page.messages[-1].seq
        return list(map(self._interface.mark, found))

    def is_own(self, author: str) -> bool:
        return self._interface.is_own(author)

    # -- events ----------------------------------------------------------------------------------------

    def receive(self, timeout: float | None) -> BotEvent | None:
        """Return the next event; None: none came within ``timeout`` seconds, or ``stopped()`` is true."""
        inbox, lock = self._inbox, self._lock
        deadline = None if timeout is None else time.monotonic() + timeout
        lock.tick_if_idle(INBOX_POLL_SECONDS if len(inbox) < INBOX_HIGH_WATER else SLOW_INBOX_POLL_SECONDS)
        while True:
            event = inbox.get()
            if event is not None:
                return event
            if self._stopped():
                return None
            self._check_open()
            if not lock.run_until(lambda: inbox or self._is_closed or self._stopped(), deadline):
                return None

    def sleep(self, seconds: float) -> bool:
        """Wait, while events queue up; return True, or False at once when ``stopped()`` becomes true."""
        self._lock.run_until(lambda: self._is_closed or self._stopped(), time.monotonic() + seconds)
        if self._stopped():
            return False
        self._check_open()
        return True

    # ----------------------------------------------------------------------------------------------------

    @property
    def _is_closed(self) -> bool:
        return self._interface.state is ConnectionState.CLOSED

    def _check_open(self) -> None:
        if self._is_closed:
            raise self._interface.error or StoppedError

    def _request(self, request: PendingRequest[E], send: Callable[[Link], object], *, offline: bool) -> E:
        """Send a request and wait for the response. ``offline``: the link can take it while disconnected."""
        link, requests = self._link, self._interface.requests
        with self._lock:
            self._check_open()
            request.send = lambda: send(link)
            requests.add(request)
            try:
                if offline or self.is_online:
                    request.send()
                    self._lock.tick()
            except BaseException:
                requests.remove(request)
                raise
        return self._wait_for_response(request)

    def _wait_for_response(self, request: PendingRequest[E]) -> E:
        try:
            self._wait(lambda: not request.is_open, self._timeout)
        except BaseException:
            with self._lock:
                self._interface.requests.abandon(request)
            raise
        if request.error is not None:
            raise request.error
        assert request.response is not None
        return request.response

    def _wait(self, done: Callable[[], bool], seconds: float) -> None:
        if not self._lock.run_until(lambda: done() or self._is_closed, time.monotonic() + seconds):
            raise NoAnswerError(seconds)
        if not done():
            self._check_open()

    def _write(self) -> None:
        """Write queued bytes, unless the inbox is full: a tick also reads, and would fill it further."""
        if len(self._inbox) < INBOX_HIGH_WATER:
            self._lock.tick()

    def _history_page(self, room: str, limit: int, before: int | None, after: int | None) -> History:
        return self.request(
            PendingRequest(History, room),
            lambda link: link.get_history(room, limit, before=before, after=after),
        )

    def _fetch_history(self, rooms: tuple[str, ...], limit: int) -> None:
        """Put the last ``limit`` messages of each room into the inbox, right after `Connected`."""
        found: list[BotEvent] = []
        for room in rooms:
            last = self._interface.last_seqs.get(name_key(room), 0)
            if last:
                messages = self.history(room, limit, last + 1, None)  # the server sends newer ones anyway
                found += [one._replace(missed=True) for one in messages if self._own or not one.own]
        first: list[BotEvent] = []  # events up to and including Connected
        while (event := self._inbox.get()) is not None:
            first.append(event)
            if isinstance(event, Connected):
                break
        self._inbox.put_front(first + found)

    def _connect_error(self) -> Exception:
        error, settings = self._interface.error, self._settings
        if isinstance(error, RefusalError):
            return error
        prefix = str(CannotConnectError(settings.host, settings.port, ""))
        why = str(error or NoAnswerError(self._timeout)).removeprefix(prefix)
        return CannotConnectError(settings.host, settings.port, why)


def _join_request(room: str) -> PendingRequest[Users]:
    return PendingRequest(Users, room, matches=lambda users: users.joined)


def _raise(_where: str, error: Exception) -> None:
    raise error
