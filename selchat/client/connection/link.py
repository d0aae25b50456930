"""Link to a server: connects, sends, receives and reconnects, on the reactor.

Knows neither the user interface, which receives events, nor the bytes of a protocol, which are the business
of a `ProtocolClient`. A link first tries TLS and the selchat protocol. With a server that never had TLS it
falls back to plain TCP, and with one that does not know selchat to the classic protocol.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from selchat.auth.login import PasswordNeededError, TooManyAttemptsError, WrongPasswordError
from selchat.client.connection.backoff import Backoff, Jitter
from selchat.client.connection.connecting import CannotConnectError, Connector, Tls
from selchat.client.connection.drain import Drain
from selchat.client.connection.keys import KeyDeriver
from selchat.client.connection.negotiation import ProtocolChoice, Wire
from selchat.client.connection.trust import KnownServersError, may_send_password
from selchat.client.events import Bye, ClientEvent, Refused, Trusted, Unencrypted, Welcomed
from selchat.client.protocol.outbox import QueueFullError
from selchat.client.protocol.rooms import Room
from selchat.clock import Timer
from selchat.config.settings import ClientSettings
from selchat.errors import SelchatError, close_reason
from selchat.events import LOBBY
from selchat.heartbeat import Heartbeat
from selchat.limits import CLIENT_READ, MAX_RETRY_AFTER, STALE_HELLO_SECONDS
from selchat.net.reactor import EVENT_READ, EVENT_WRITE, Reactor
from selchat.net.tls import TlsStream

__all__ = ["CannotConnectError", "Interface", "Jitter", "Link", "LinkState", "QueueFullError", "Tls", "Wire"]


# The reasons of ``bye`` in words; the client shows any other reason as it is.
_BYE_REASONS = {
    "shutdown": "the server is shutting down",
    "kicked": "the operator has removed you",
    "banned": "the operator has banned you",
    "replaced": "you signed in from somewhere else",
    "timeout": "the server got no answer from this client",
    "protocol": "the server does not understand this client",
    "full": "the server is full",
}

_PASSWORD_CODES = {PasswordNeededError.code, WrongPasswordError.code}

_HINTS = {  # what to do about a first connection that failed for this reason
    "connection refused": "; is the server running there?",
    "network is unreachable": "; is this machine on that network?",
    "cannot assign requested address": "; is this machine on that network?",
    "no route to host": "; is this machine on that network?",
}

_CLASSIC_HINT = (
    "; the server may not cope with other protocols: if it speaks only the classic one, start it again and "
    'connect with --classic (a bot: wire="classic")'
)


class LinkState(Enum):
    """The state of a link.

    ==========  =======================================  ====================================================
    state       means                                    next
    ==========  =======================================  ====================================================
    NEW         not opened yet                           CONNECTING by `Link.open`
    CONNECTING  resolving, connecting, or in a TLS       ONLINE, or GREETING on the selchat protocol; if it
                handshake                                fails, CLOSED at first and WAITING later; CLOSED
                                                         if the server's key has changed
    GREETING    the client sent hello                    ONLINE when welcome; CONNECTING for the classic
                                                         protocol; CLOSED when refused; WAITING when lost
    ONLINE      logged in; sends queued messages         WAITING when lost; CLOSED when lost without reconnect
                                                         or rejected by the server; DRAINING after
                                                         `Link.finish` when everything is sent
    WAITING     waits before the next attempt, or for    CONNECTING; CLOSED after `Link.finish` if nothing is
                a password                               queued, or at its deadline
    DRAINING    sends nothing more, still receives       CLOSED when the server closes, objects, or keeps the
                                                         connection for long enough
    CLOSED      the socket is closed                     (final)
    ==========  =======================================  ====================================================
    """

    NEW = auto()
    CONNECTING = auto()
    GREETING = auto()
    ONLINE = auto()
    WAITING = auto()
    DRAINING = auto()
    CLOSED = auto()


class Interface(Protocol):
    """The user interface of a link. The link calls it inside the reactor's tick."""

    def connected(self, address: str) -> None:
        """The link is online, for the first time or again; ``address`` is numeric."""

    def received(self, events: list[ClientEvent]) -> None:
        """These events happened; the list is never empty."""

    def lost(self, reason: str, delay: float) -> None:
        """The connection is lost, or a reconnect failed; the next attempt is in ``delay`` seconds."""

    def drained(self) -> None:
        """The server has all messages: acknowledged on the selchat protocol, sent on the classic one."""

    def finished(self, problem: str | None) -> None:
        """The link is closed, and this is the last call; None: the server has all messages."""


class Link:
    """One user's link to one server. Raises the errors of `ProtocolChoice`, and `KnownServersError`.

    ``reconnect``: whether to reconnect on the classic protocol. On the selchat protocol, where no message can
    arrive twice, a link always reconnects once it was welcome. ``members``: whether to remember the members
    of each room. ``jitter``: see `Backoff`.

    ``ask_password(refusal)``: a server that has let the user in before now requires a password, or another
    one; messages wait until `set_password` or `finish`. None: the link ends.

    ``refusal`` is the error with which the server ended the first login, if it did.
    """

    def __init__(
        self,
        reactor: Reactor,
        settings: ClientSettings,
        interface: Interface,
        *,
        reconnect: bool = True,
        members: bool = False,
        jitter: Jitter = random.uniform,
        ask_password: Callable[[Refused], object] | None = None,
    ) -> None:
        self.state = LinkState.NEW
        self.refusal: Refused | None = None
        self._reactor = reactor
        self._settings = settings
        self._interface = interface
        self._reconnect = reconnect
        self._ask_password = ask_password
        self._deriver = KeyDeriver(reactor, settings.passphrase, self._on_key)
        self._protocol = ProtocolChoice(settings, members=members, request_key=self._deriver.derive)
        self._connector = Connector(reactor, settings, self)
        self._backoff = Backoff(settings.retry_base_seconds, settings.retry_max_seconds, jitter)
        self._heartbeat = Heartbeat(reactor, settings.keepalive_seconds, settings.keepalive_seconds, self)
        self._drain = Drain(reactor, self._on_drained)
        self._address = ""
        self._sock: socket.socket | TlsStream | None = None
        self._watched = 0  # the selector's event mask for the socket
        self._has_undrained = False  # whether the user sent messages after the last `Interface.drained`
        self._timer: Timer | None = None  # of the state GREETING, WAITING or DRAINING
        self._gap_timer: Timer | None = None  # between two frames
        self._store_timer: Timer | None = None  # to send messages again that the server could not store
        self._deadline: Timer | None = None  # of `finish`; None before it
        self._awaits_answers = False  # whether `finish` waits for answers, too
        self._stale_hello_until = 0.0  # reactor time until which the hello of a lost connection may arrive
        self._online_since: float | None = None  # of this or the last connection; None before the first

    # -- state -----------------------------------------------------------------------------------------

    @property
    def wire(self) -> Wire:
        return self._protocol.wire

    @property
    def tls(self) -> Tls:
        return self._connector.tls

    @property
    def queued(self) -> int:
        """The size in bytes of the messages that the server does not have yet."""
        return self._protocol.client.queued

    @property
    def names(self) -> tuple[str, ...]:
        """The names to offer for completion."""
        return self._protocol.client.names

    @property
    def name(self) -> str:
        """The user's name, as the server writes it, after the welcome."""
        return self._protocol.client.name

    @property
    def rooms(self) -> tuple[str, ...]:
        """The rooms that the user is in or has asked to join."""
        return self._protocol.client.room_names

    def room(self, name: str) -> Room | None:
        """Return a room that the user is in or has asked to join; None on the classic protocol."""
        return self._protocol.client.room(name)

    def topic(self, room: str) -> str:
        """Return the topic of a room that the user is in; empty if it has none."""
        known = self.room(room)
        return "" if known is None else known.topic

    @property
    def progress(self) -> str | None:
        """A line about the current wait; None if the link waits for nothing."""
        if self.state is LinkState.DRAINING:
            return "Waiting for the server to receive everything..."
        waiting = self._protocol.client.unacknowledged
        if waiting:
            action = "Sending" if self.state is LinkState.ONLINE else "Connecting"
            return f"{action}; {_count(waiting)} to go..."
        return "Connecting..." if self.state in {LinkState.CONNECTING, LinkState.GREETING} else None

    # -- requests of the interface ---------------------------------------------------------------------

    def open(self) -> None:
        """Connect for the first time."""
        self._connect()

    def say(self, text: str, room: str = LOBBY) -> str:
        """Send a message to a room, or queue it until the link is online.

        Return its id, which is empty on the classic protocol. Raises `FrameTooLongError`, `QueueFullError`
        and, as all requests do, `UnsupportedError`.
        """
        id = self._protocol.client.say(text, room)
        self._on_message_queued()
        return id

    def whisper(self, to: str, text: str) -> str:
        """Send a direct message; otherwise like `say`."""
        id = self._protocol.client.whisper(to, text)
        self._on_message_queued()
        return id

    def join(self, room: str) -> None:
        """Join a room, now and after each reconnect. `SelchatClient` names the reply to each request."""
        self._protocol.client.join(room)
        self._wake()

    def part(self, room: str) -> None:
        """Leave a room."""
        self._protocol.client.part(room)
        self._wake()

    def set_topic(self, room: str, topic: str) -> None:
        """Set the topic of a room."""
        self._protocol.client.set_topic(room, topic)
        self._wake()

    def get_history(
        self,
        room: str = LOBBY,
        limit: int = 50,
        *,
        before: int | None = None,
        after: int | None = None,
        tag: object = None,
    ) -> None:
        """Request earlier messages. The answer and a refusal carry the ``tag``."""
        self._protocol.client.get_history(room, limit, before=before, after=after, tag=tag)
        self._wake()

    def get_users(self, room: str = LOBBY, *, tag: object = None) -> None:
        """Request the members of a room."""
        self._protocol.client.get_users(room, tag=tag)
        self._wake()

    def get_rooms(self, *, tag: object = None) -> None:
        """Request the list of rooms."""
        self._protocol.client.get_rooms(tag=tag)
        self._wake()

    def finish(self, *, await_answers: bool = False) -> None:
        """Close when the server has all messages, or after ``finish_seconds`` without progress.

        ``await_answers``: wait for the answers to all requests with a tag, too.
        """
        if self._deadline is not None or self.state is LinkState.CLOSED:
            return
        self._awaits_answers = await_answers
        self._set_deadline()
        if self.state is LinkState.WAITING and not self._unfinished:
            self._end(None)
        elif self.state is LinkState.WAITING and self._timer is None:  # nobody will give the password now
            self._end(f"{PasswordNeededError.text}{self._unsent()}")
        else:
            self._wake()

    def set_password(self, password: str) -> None:
        """Reconnect with this password, which ``ask_password`` has asked for."""
        self._protocol.set_password(password)
        if self.state is LinkState.WAITING and self._timer is None:
            self._connect()

    def close(self) -> None:
        """Close at once; do not call the interface again."""
        self.state = LinkState.CLOSED
        self._deriver.close()
        self._drop()
        if self._deadline is not None:
            self._deadline.cancel()

    # -- heartbeat -------------------------------------------------------------------------------------

    def on_idle(self) -> None:
        self._protocol.client.ping()
        self._wake()

    def on_timeout(self) -> None:
        self._lose(f"no answer within {self._settings.keepalive_seconds:g} s")

    # -- connecting ------------------------------------------------------------------------------------

    def _connect(self) -> None:
        self._timer = None
        self.state = LinkState.CONNECTING
        self._connector.connect()

    def on_pinned(self, trusted: Trusted) -> None:
        self._interface.received([trusted])

    def on_connected(self, sock: socket.socket | TlsStream, address: str, data: bytes) -> None:
        self._address = address
        self._sock = sock
        self._protocol.client.connection_made()
        self._watch(EVENT_READ | EVENT_WRITE)
        if self.wire is Wire.CLASSIC:
            self._set_online()
        else:
            self.state = LinkState.GREETING
            # A server that spoke selchat before may be busy: all its clients reconnect at once.
            guessed = self.wire is Wire.GUESSED
            self._await_welcome(self._settings.hello_seconds if guessed else self._settings.connect_seconds)
        if data and self._sock is sock:
            self._receive(sock, data)

    def on_untrusted(self, error: Exception) -> None:
        self._end(f"{error}{self._unsent()}")

    def on_connect_failed(self, why: str) -> None:
        if self._online_since is not None:
            self._retry(why)
            return
        why += _HINTS.get(why, "") if not self._has_guessed else _CLASSIC_HINT
        self._end(str(CannotConnectError(self._settings.host, self._settings.port, why)))

    @property
    def _has_guessed(self) -> bool:
        """Whether the server got bytes of a protocol that it does not seem to speak."""
        return self.wire is not Wire.SELCHAT and (
            bool(self._connector.plain_reason)
            or (self.wire is Wire.CLASSIC and self._settings.wire == "auto")
        )

    def _await_welcome(self, timeout: float) -> None:
        self._cancel_timer()
        self._timer = self._reactor.call_later(timeout, self._on_no_welcome, timeout)

    def _on_no_welcome(self, timeout: float) -> None:
        self._timer = None
        self._lose(f"no welcome within {timeout:g} s")

    def _set_online(self) -> None:
        self._cancel_timer()
        if self.tls is Tls.OFF and self._connector.plain_reason:
            self._interface.received([Unencrypted(self._connector.plain_reason)])
            self._connector.plain_reason = ""
        self.state = LinkState.ONLINE
        self._online_since = self._reactor.now
        self._interface.connected(self._address)

    def _use_classic(self) -> None:
        """Reconnect on the classic protocol, with the unsent messages."""
        self._drop()
        self._report(self._protocol.use_classic())
        self._connect()

    def _guess_again(self) -> None:
        """Try selchat again later: the server let no classic client in, or was silent."""
        refused = self._protocol.guess_again()
        if refused is not None:
            self._report(refused)
            self._guess_tls()

    def _guess_tls(self) -> bool:
        """Try TLS again; end and return False if nobody can tell whether the server had it before."""
        try:
            self._connector.guess_tls()
        except KnownServersError as error:
            self.on_untrusted(error)
            return False
        return True

    # -- online ----------------------------------------------------------------------------------------

    def _on_message_queued(self) -> None:
        self._has_undrained = True
        self._wake()

    def _wake(self) -> None:
        """Send soon: all messages of one tick leave in one system call."""
        self._report(self._protocol.client.events())
        if self._sock is not None and self.state is not LinkState.DRAINING:
            self._watch(EVENT_READ | EVENT_WRITE)

    def _report(self, events: list[ClientEvent]) -> None:
        if events and self.state is not LinkState.CLOSED:
            self._interface.received(events)

    def _on_ready(self, mask: int) -> None:
        # A batch of ready keys can hold one of a socket that an earlier callback has closed.
        sock = self._sock
        if sock is None:
            return
        try:
            if mask & EVENT_READ:
                self._read(sock)
            if mask & EVENT_WRITE and self._sock is sock:
                self._write(sock)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._lose(close_reason(error))

    def on_blocked(self) -> None:
        """Let TLS send its own records when the socket is writable."""
        if self._sock is not None:
            self._watch(EVENT_READ | EVENT_WRITE)

    def on_buffered(self) -> None:
        """Read in the next tick, whether the socket is readable or not: TLS has data in its buffer."""
        self._reactor.call_soon(self._on_ready, EVENT_READ)

    def _read(self, sock: socket.socket | TlsStream) -> None:
        data = sock.recv(CLIENT_READ)
        if data:
            self._receive(sock, data)
            return
        client = self._protocol.client
        client.receive_eof()
        error = client.error
        if self.state is LinkState.DRAINING and error is None:
            self._end(_objection(client.last_words))
        else:
            self._lose("closed by the server" if error is None else f"closed by the server: {error}")

    def _receive(self, sock: socket.socket | TlsStream, data: bytes) -> None:
        client = self._protocol.client
        self._heartbeat.touch()
        self._handle(client.receive_data(data))
        if self._sock is not sock:
            return
        if client.error is not None:
            self._on_protocol_error(client.error)
        elif self.wire is Wire.SELCHAT:
            self._schedule_store_retry()
            self._write(sock)  # the client may have a reply, or space in its window
        elif self._gap_timer is not None and not client.gap_seconds:
            self._gap_timer.cancel()
            self._on_gap_end()

    def _on_protocol_error(self, error: SelchatError) -> None:
        protocol = "classic" if self.wire is Wire.CLASSIC else "selchat"
        self._lose(f"not the {protocol} protocol: {error}")

    def _on_key(self, salt: bytes, key: bytes) -> None:
        """Receive and send the messages that waited for a key."""
        client = self._protocol.client
        client.add_key(salt, key)
        self._wake()
        if self._sock is None:
            return
        if client.error is not None:
            self._on_protocol_error(client.error)
        else:
            self._schedule_store_retry()

    def _handle(self, events: list[ClientEvent]) -> None:
        """Handle the events that concern the link, and report all to the interface."""
        if self.state is LinkState.GREETING:
            for place, event in enumerate(events):
                if isinstance(event, Refused):
                    self._on_login_refused(event)
                    if self.state is LinkState.GREETING:  # the client sent the password
                        self._handle(events[place + 1 :])
                    return
                if isinstance(event, Welcomed):
                    self._protocol.confirm_selchat()
                    self._set_online()
                    self._heartbeat.start()
        self._report(events)
        for event in events:
            if isinstance(event, Bye) and self.state is not LinkState.CLOSED:
                self._on_bye(event)

    def _write(self, sock: socket.socket | TlsStream) -> None:
        client = self._protocol.client
        is_blocked = False
        try:
            if isinstance(sock, TlsStream):
                sock.send(b"")
            while self._gap_timer is None and (data := client.data_to_send()):
                size = sock.send(data)
                client.data_sent(size)
                if size < len(data):
                    is_blocked = True
                    break
                if client.gap_seconds:
                    self._gap_timer = self._reactor.call_later(client.gap_seconds, self._on_gap_end)
        except (BlockingIOError, InterruptedError):
            is_blocked = True
        self._report(client.events())
        if self._sock is not sock:
            return
        self._watch(EVENT_READ | EVENT_WRITE if is_blocked else EVENT_READ)
        if is_blocked or self._gap_timer is not None:
            return
        if self.state is LinkState.ONLINE and not client.unacknowledged:
            if self._deadline is not None:
                if not self._unfinished:
                    self._leave(sock)
            elif self._has_undrained:
                self._has_undrained = False
                self._interface.drained()

    def _on_gap_end(self) -> None:
        self._gap_timer = None
        self._wake()

    def _schedule_store_retry(self) -> None:
        """Send messages again, after a while, that the server could not store."""
        if self._protocol.client.wants_retry and self._store_timer is None:
            self._store_timer = self._reactor.call_later(self._settings.store_seconds, self._retry_store)

    def _retry_store(self) -> None:
        self._store_timer = None
        self._protocol.client.retry()
        self._wake()

    # -- the end of a connection -----------------------------------------------------------------------

    def _on_login_refused(self, refusal: Refused) -> None:
        self._protocol.confirm_selchat()
        was_online = self._online_since is not None
        if refusal.code == PasswordNeededError.code:
            self._send_password(refusal)
        elif refusal.code == "not-stored":  # the server cannot store now
            self._lose(refusal.text)
        elif refusal.code == TooManyAttemptsError.code and was_online:  # too many reconnect at once
            self._lose(refusal.text, min(refusal.retry_after, MAX_RETRY_AFTER))
        else:
            self._reject(refusal)

    def _send_password(self, refusal: Refused) -> None:
        """Send the password, if the user gave one and nobody can eavesdrop."""
        if not may_send_password(self._address, encrypted=self.tls is Tls.ON):
            why = "the password was not sent, because others can read this connection"
            self._end(f"the server said: {refusal.text}; {why}{self._unsent()}")
        elif self._protocol.client.send_password():
            self._await_welcome(self._settings.connect_seconds)  # the server may check other passwords first
        else:
            self._reject(refusal)

    def _reject(self, refusal: Refused) -> None:
        is_asked = self._online_since is not None and self._deadline is None
        if is_asked and self._ask_password is not None and refusal.code in _PASSWORD_CODES:
            self._drop()
            self.state = LinkState.WAITING
            self._ask_password(refusal)
            return
        self.refusal = refusal if self._online_since is None else None
        self._end(f"the server said: {refusal.text}{self._unsent()}")

    def _on_bye(self, bye: Bye) -> None:
        reason = _BYE_REASONS.get(bye.reason, bye.reason) + (f" until {bye.until}" if bye.until else "")
        if self.state is LinkState.DRAINING:
            self._end(None)
            return
        self._protocol.confirm_selchat()
        if bye.reason == "replaced" and self._reactor.now < self._stale_hello_until:
            # Replaced by ourselves: the hello of a lost connection arrived after that of this one.
            self._lose(reason)
            self._stale_hello_until = (
                0.0  # only once: two programs with one name must not take turns for ever
            )
        elif bye.retry_after is None:
            self._end(f"{reason}{self._unsent()}")
        else:
            self._lose(reason, min(bye.retry_after, MAX_RETRY_AFTER))

    def _lose(self, reason: str, retry_after: float = 0.0) -> None:
        """Drop the connection, and reconnect if that makes sense."""
        if self.state is LinkState.GREETING and self.wire is Wire.GUESSED:
            if self._settings.wire == "selchat":
                self.on_connect_failed(reason)
            else:
                self._use_classic()
            return
        state, client, since = self.state, self._protocol.client, self._online_since
        if since is not None and self._reactor.now - since >= self._settings.stable_seconds:
            self._backoff.reset()
        self._drop()
        is_needed = self._deadline is None or bool(self._unfinished)
        if self.wire is Wire.SELCHAT:
            self._stale_hello_until = self._reactor.now + STALE_HELLO_SECONDS
            if self._online_since is None and not self._reconnect:
                self._end(f"{reason}{self._unsent()}")
            elif is_needed:
                self._retry(reason, retry_after)
            else:
                self._end(None)  # the server has every message
            return
        problem = (_objection(client.last_words) or f"connection lost: {reason}") + self._unsent()
        if self._has_guessed and client.last_words is None and not client.names:
            problem += _CLASSIC_HINT
        if client.last_words is not None or not client.names:
            self._guess_again()
            if self.state is LinkState.CLOSED:
                return
        if self._reconnect and is_needed and state is LinkState.ONLINE:
            self._retry(reason)
        else:
            self._end(problem)

    def _retry(self, reason: str, retry_after: float = 0.0) -> None:
        """Reconnect after a delay."""
        if self._deadline is not None and not self._unfinished:
            self._end(None)  # the user is leaving, and the server has every message
            return
        self.state = LinkState.WAITING
        if self.wire is Wire.SELCHAT and self.tls is Tls.OFF and not self._guess_tls():
            return
        delay = retry_after + self._backoff.next_delay()
        self._timer = self._reactor.call_later(delay, self._connect)
        self._interface.lost(reason, delay)

    def _leave(self, sock: socket.socket | TlsStream) -> None:
        self.state = LinkState.DRAINING
        seconds = self._settings.drain_seconds
        if self._protocol.client.bye():
            self._watch(EVENT_READ | EVENT_WRITE)
            self._timer = self._reactor.call_later(seconds, self._end, None)
        else:
            sock.shutdown(socket.SHUT_WR)
            self._drain.start(sock, seconds)

    def _on_drained(self) -> None:
        self._end(_objection(self._protocol.client.last_words))

    def _set_deadline(self) -> None:
        waiting = self._unfinished
        self._deadline = self._reactor.call_later(self._settings.finish_seconds, self._on_deadline, waiting)

    def _on_deadline(self, waiting: int) -> None:
        if 0 < self._unfinished < waiting:
            self._set_deadline()  # the server is slow, but it still makes progress
        elif self.state is LinkState.DRAINING:
            is_selchat = self.wire is Wire.SELCHAT  # the server acknowledged every message before this state
            self._end(None if is_selchat else "the server did not receive everything")
        else:
            self._end(f"out of time{self._unsent()}")

    @property
    def _unfinished(self) -> int:
        """The number of messages and requests that `finish` waits for."""
        client = self._protocol.client
        return client.unacknowledged + (client.unanswered if self._awaits_answers else 0)

    def _unsent(self) -> str:
        client = self._protocol.client
        count = client.unacknowledged
        if not count:
            return "; the server did not answer every command" if self._unfinished else ""
        return f"; {_count(count)} {'was' if count == 1 else 'were'} {client.unsent_word}"

    def _end(self, problem: str | None) -> None:
        self.close()
        self._interface.finished(problem)

    def _drop(self) -> None:
        """Close the socket and cancel the timers of the connection."""
        self._connector.close()
        self._cancel_timer()
        self._drain.stop()
        self._heartbeat.stop()
        for timer in (self._store_timer, self._gap_timer):
            if timer is not None:
                timer.cancel()
        self._store_timer = self._gap_timer = None
        if self._sock is not None:
            self._watch(0)
            self._sock.close()
            self._sock = None
            self._protocol.client.connection_lost()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self, events: int) -> None:
        if events == self._watched:
            return
        if not events:
            self._reactor.unwatch(self._sock)
        elif not self._watched:
            self._reactor.watch(self._sock, events, self._on_ready)
        else:
            self._reactor.rewatch(self._sock, events, self._on_ready)
        self._watched = events


def _count(messages: int) -> str:
    return "1 message" if messages == 1 else f"{messages} messages"


def _objection(last_words: str | None) -> str | None:
    """Return the problem, if the server said why it closed: it may not have read the last messages."""
    return None if last_words is None else f"the server said: {last_words}"
