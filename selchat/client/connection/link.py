"""The link to a server, on the reactor: connects, says what is queued, and comes back when lost.

It must not know who types or what a screen looks like: an interface is told what happens. What is on the
wire is the business of a `Conversation`. A link begins on the selchat protocol and, unless it is told not to, goes
over to the paper's when the server shows that it knows only that; and likewise it begins with TLS, and goes
over to plain bytes with a server that it has never met with TLS.
"""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from selchat.addresses import join_address
from selchat.auth.login import PasswordNeededError, TooManyAttemptsError
from selchat.client.connection.dialing import CannotConnectError, Dialer
from selchat.client.connection.keys import Deriver
from selchat.client.connection.known_servers import KnownServers, ServerChangedError
from selchat.client.connection.secret import client_secret
from selchat.client.connection.securing import Securing
from selchat.client.connection.trust import may_tell_password
from selchat.client.events import Bye, ClientEvent, Refused, Trusted, Unencrypted, Welcomed
from selchat.client.protocol.classic import ClassicClient
from selchat.client.protocol.interface import ProtocolClient, UnsentMessage
from selchat.client.protocol.outbox import QueueFullError
from selchat.client.protocol.rooms import Room
from selchat.client.protocol.selchat import SelchatClient
from selchat.config.settings import SELCHAT_HEADER_LENGTH, ClientSettings
from selchat.errors import SelchatError, close_reason
from selchat.events import LOBBY
from selchat.heartbeat import Heartbeat
from selchat.net.certificate import fingerprint, group_digits
from selchat.net.reactor import EVENT_READ, EVENT_WRITE, Reactor, Timer
from selchat.net.tls import TlsStream

try:
    import fcntl  # POSIX only
    import termios

    _TELLS_UNACKNOWLEDGED = True
except ImportError:
    _TELLS_UNACKNOWLEDGED = False

__all__ = ["CannotConnectError", "Interface", "Jitter", "Link", "LinkState", "QueueFullError", "Tls", "Wire"]

_READ_SIZE = 64 * 1024  # bytes
_MAX_RETRY_AFTER = 3600.0  # seconds that a server can keep us away
_ECHO_SECONDS = 60.0  # for which the kernel may still try to send what was said on a connection that is lost
_DRAIN_POLL = 0.1  # seconds between two looks whether the last byte was acknowledged

# The reasons of ``bye`` in words; what is not here is shown as it is.
_BYES = {
    "shutdown": "the server is shutting down",
    "kicked": "the operator has removed you",
    "banned": "the operator has banned you",
    "replaced": "you have come in again from somewhere else",
    "timeout": "the server has waited too long for this client",
    "protocol": "the server does not understand this client",
    "full": "the server is full",
}

Jitter = Callable[[float, float], float]


class LinkState(Enum):
    """Where a link is in its life.

    ==========  =======================================  ====================================================
    state       means                                    next
    ==========  =======================================  ====================================================
    NEW         nothing was tried yet                    CONNECTING by `Link.open`
    CONNECTING  the host is looked up, or an address is  SECURING by TLS, else ONLINE, or GREETING on the
                being tried                              selchat protocol; when none answers, CLOSED the first time
                                                         and WAITING later
    SECURING    a TLS handshake is under way             ONLINE, or GREETING on the selchat protocol; CONNECTING
                                                         again in plain with a server never met; CLOSED, when
                                                         its key is another one
    GREETING    hello was said                           ONLINE when welcome; CONNECTING for the paper's wire;
                                                         CLOSED when refused; WAITING when lost
    ONLINE      logged in, what is queued is sent        WAITING when lost, CLOSED without reconnecting or
                                                         when the server does not want us back, DRAINING
                                                         after `Link.finish` when nothing waits
    WAITING     for the time of the next try             CONNECTING; CLOSED after `Link.finish` if nothing is
                                                         queued, or at its deadline
    DRAINING    nothing more is said, what comes is      CLOSED when the server closes, objects, or has kept
                read                                     the connection for long enough
    CLOSED      the descriptor is given back             (final)
    ==========  =======================================  ====================================================
    """

    NEW = auto()
    CONNECTING = auto()
    SECURING = auto()
    GREETING = auto()
    ONLINE = auto()
    WAITING = auto()
    DRAINING = auto()
    CLOSED = auto()


_CONNECTING = frozenset({LinkState.CONNECTING, LinkState.SECURING, LinkState.GREETING})


class Wire(Enum):
    """Which wire a link is on: ``GUESSED`` is the selchat one until the server shows what it speaks."""

    GUESSED = auto()
    SELCHAT = auto()
    CLASSIC = auto()


class Tls(Enum):
    """Whether a link is encrypted: ``GUESSED`` becomes ``ON`` or ``OFF`` when it is known."""

    GUESSED = auto()
    ON = auto()
    OFF = auto()


class Interface(Protocol):
    """Who is told what happens to a link, always from inside the reactor's tick."""

    def connected(self, address: str) -> None:
        """The link is up, for the first time or again; ``address`` is the numeric one."""

    def received(self, events: list[ClientEvent]) -> None:
        """These have happened; never empty."""

    def lost(self, reason: str, delay: float) -> None:
        """The connection is gone, or could not be made again; the next try is in ``delay`` seconds."""

    def drained(self) -> None:
        """All that was said is with the server: acknowledged on the selchat protocol, sent on the paper's."""

    def finished(self, problem: str | None) -> None:
        """The link is closed, and this is the last call; None: all is with the server."""


class Link:
    """One user's link to one server. Raises what the conversations do, `SecretError` and `KnownServersError`.

    ``reconnect``: whether to come back when the connection is lost on the paper's wire; on the selchat one,
    where nothing can come twice, it comes back if it was ever welcome. ``members``: whether to keep in mind
    who is in each room. ``jitter(a, b)`` gives the seconds to wait before coming back, between the two.

    ``refusal`` is what a server has said that has never let this user in, if that has ended the link.
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
    ) -> None:
        self.state = LinkState.NEW
        self.refusal: Refused | None = None
        self.wire = Wire.CLASSIC if settings.wire == "classic" else Wire.GUESSED
        self._deriver = Deriver(reactor, settings.passphrase, self._key_derived)
        want = self._deriver.derive
        self._rich = None if self.wire is Wire.CLASSIC else _selchat_client(settings, members, want)
        if self._rich is None:
            self.wire = Wire.CLASSIC
        self._client: ProtocolClient = self._rich or ClassicClient(settings)
        self._known = KnownServers()
        self.tls = _tls_of(settings, self._known)
        self._securing = Securing(
            reactor, self._secured, self._not_secured, on_blocked=self._stuck, on_buffered=self._again
        )
        self._reactor = reactor
        self._settings = settings
        self._interface = interface
        self._reconnect = reconnect
        self._jitter = jitter
        self._dialer = Dialer(reactor, settings, self._connected, self._cannot_connect)
        self._heartbeat = Heartbeat(reactor, settings.keepalive_seconds, settings.keepalive_seconds, self)
        self._address = ""
        self._plain_because = ""  # why there is no TLS, until that was told
        self._sock: socket.socket | TlsStream | None = None
        self._events = 0  # what the selector watches the socket for
        self._undrained = False  # whether something was said since the interface was told that all is there
        self._timer: Timer | None = None  # of the state: to be welcome, to wait, to drain
        self._storing: Timer | None = None  # to say again what could not be stored
        self._deadline: Timer | None = None  # of `finish`; None: it was not called
        self._ceiling = settings.retry_base_seconds
        self._echo_until = (
            0.0  # until when a hello that was given up may still arrive; on the reactor's clock
        )
        self._up_at: float | None = None  # since when the link is, or was last, up; None: never yet

    # -- what is known ---------------------------------------------------------------------------------

    @property
    def queued(self) -> int:
        """How many bytes of messages are not with the server yet."""
        return self._client.queued

    @property
    def names(self) -> tuple[str, ...]:
        """The names worth offering to someone who types."""
        return self._client.names

    @property
    def name(self) -> str:
        """The user's name: what the server has made of it, as soon as that is known."""
        return self._client.name

    @property
    def rooms(self) -> tuple[str, ...]:
        """The rooms that the user is in, or has asked for."""
        return self._client.room_names

    def room(self, name: str) -> Room | None:
        """Return what is known of a room that the user is in, or has asked for; None on the paper's wire."""
        return self._client.room(name)

    def topic(self, room: str) -> str:
        """Return the topic of a room that the user is in, empty for none."""
        known = self.room(room)
        return "" if known is None else known.topic

    @property
    def progress(self) -> str | None:
        """What is being waited for, in words; None: for nothing."""
        if self.state is LinkState.DRAINING:
            return "Waiting for the server to take all that was sent..."
        waiting = self._client.unacknowledged
        if waiting:
            doing = "Sending" if self.state is LinkState.ONLINE else "Connecting"
            return f"{doing}; {_messages(waiting)} to go..."
        return "Connecting..." if self.state in _CONNECTING else None

    # -- what the interface does -----------------------------------------------------------------------

    def open(self) -> None:
        """Connect for the first time."""
        self._connect()

    def say(self, text: str, room: str = LOBBY) -> str:
        """Say it in a room, or keep it until there is a connection; return its id, empty on the paper's wire.

        Raises `FrameTooLongError`, `QueueFullError` when too much waits already, and, as all of these do,
        `UnsupportedError`.
        """
        id = self._client.say(text, room)
        self._said()
        return id

    def whisper(self, to: str, text: str) -> str:
        """Say it to one person alone; as `say`."""
        id = self._client.whisper(to, text)
        self._said()
        return id

    def join(self, room: str) -> None:
        """Enter a room, now and after each break; `SelchatClient` says what is answered to this and the next."""
        self._client.join(room)
        self._wake()

    def part(self, room: str) -> None:
        """Leave a room."""
        self._client.part(room)
        self._wake()

    def set_topic(self, room: str, topic: str) -> None:
        """Set the topic of a room."""
        self._client.set_topic(room, topic)
        self._wake()

    def get_history(
        self, room: str = LOBBY, limit: int = 50, *, before: int | None = None, after: int | None = None
    ) -> None:
        """Ask for messages that were said earlier."""
        self._client.get_history(room, limit, before=before, after=after)
        self._wake()

    def get_users(self, room: str = LOBBY) -> None:
        """Ask who is in a room."""
        self._client.get_users(room)
        self._wake()

    def get_rooms(self) -> None:
        """Ask which rooms there are."""
        self._client.get_rooms()
        self._wake()

    def finish(self) -> None:
        """Take no more; close when all is with the server, or ``finish_seconds`` brought nothing there."""
        if self._deadline is not None or self.state is LinkState.CLOSED:
            return
        self._set_deadline()
        if self.state is LinkState.WAITING and not self._client.unacknowledged:
            self._end(None)
        else:
            self._wake()

    def close(self) -> None:
        """Give everything back at once; the interface is told nothing."""
        self.state = LinkState.CLOSED
        self._deriver.close()
        self._drop()
        if self._deadline is not None:
            self._deadline.cancel()

    # -- the vigil's side ------------------------------------------------------------------------------

    def on_idle(self) -> None:
        self._client.ping()
        self._wake()

    def on_timeout(self) -> None:
        self._lost(f"no answer within {self._settings.keepalive_seconds:g} s")

    # -- connecting ------------------------------------------------------------------------------------

    def _connect(self) -> None:
        self._timer = None
        self.state = LinkState.CONNECTING
        self._dialer.dial()

    def _connected(self, sock: socket.socket, address: str) -> None:
        self._address = address
        if self.tls is Tls.OFF:
            self._begin(sock)
            return
        self.state = LinkState.SECURING
        guessed = self.tls is Tls.GUESSED
        self._securing.begin(sock, self._settings.tls_seconds if guessed else self._settings.connect_seconds)

    def _secured(self, stream: TlsStream, data: bytes) -> None:
        """Look whether it is the server that was met here before."""
        settings = self._settings
        try:
            shown = fingerprint(stream.certificate)
            known = self._known.find(settings.host, settings.port)
            if known is None:
                self._known.add(settings.host, settings.port, shown)
                address = join_address(settings.host, settings.port)
                self._interface.received([Trusted(address, group_digits(shown))])
            elif known[0] != shown:
                raise self._changed(known, shown)
        except (SelchatError, ValueError) as error:
            stream.close()
            self._end(f"{error}{self._unsent()}")
            return
        self.tls = Tls.ON
        self._begin(stream)
        if data and self._sock is stream:
            self._received(stream, data)

    def _changed(self, known: tuple[str, int], shown: str) -> ServerChangedError:
        address = join_address(self._settings.host, self._settings.port)
        before, line = known
        return ServerChangedError(address, group_digits(before), group_digits(shown), self._known.path, line)

    def _not_secured(self, why: str) -> None:
        if self.tls is Tls.GUESSED:
            self.tls = Tls.OFF
            self._plain_because = why
            self._connect()
        else:
            self._cannot_connect(f"no encrypted connection ({why}), and no other will do")

    def _begin(self, sock: socket.socket | TlsStream) -> None:
        """Talk on what is connected."""
        self._sock = sock
        self._client.connection_made()
        self._watch(EVENT_READ | EVENT_WRITE)
        if self.wire is Wire.CLASSIC:
            self._up()
            return
        self.state = LinkState.GREETING
        # A server that is known to be rich may be busy: everyone comes back to it at the same time.
        guessed = self.wire is Wire.GUESSED
        self._await_welcome(self._settings.hello_seconds if guessed else self._settings.connect_seconds)

    def _await_welcome(self, patience: float) -> None:
        self._cancel_timer()
        self._timer = self._reactor.call_later(patience, self._not_welcome, patience)

    def _not_welcome(self, patience: float) -> None:
        self._timer = None
        self._lost(f"no welcome within {patience:g} s")

    def _up(self) -> None:
        self._cancel_timer()
        if self.tls is Tls.OFF and self._plain_because:
            self._interface.received([Unencrypted(self._plain_because)])
            self._plain_because = ""
        self.state = LinkState.ONLINE
        self._up_at = self._reactor.now
        self._interface.connected(self._address)

    def _cannot_connect(self, why: str) -> None:
        if self._up_at is not None:
            self._retry(why)
            return
        if why == "connection refused":
            why += "; is the server running there?"
        self._end(str(CannotConnectError(self._settings.host, self._settings.port, why)))

    def _go_classic(self) -> None:
        """Come again on the paper's wire, with what was said."""
        assert self._rich is not None
        said = self._rich.take_unsent()
        self._drop()
        self.wire = Wire.CLASSIC
        self._change_to(ClassicClient(self._settings), said)
        self._connect()

    def _go_back_to_guessing(self) -> None:
        """Forget that the server is classic: it let nobody in, or it said nothing, and was taken for that."""
        if self._rich is not None and self.wire is Wire.CLASSIC:
            said = self._client.take_unsent()
            self.wire = Wire.GUESSED
            self.tls = _tls_of(self._settings, self._known)
            self._change_to(self._rich, said)

    def _change_to(self, client: ProtocolClient, said: list[UnsentMessage]) -> None:
        self._client = client
        refused: list[ClientEvent] = []
        for room, to, body in said:
            try:
                if to:
                    client.whisper(to, body)
                else:
                    client.say(body, room)
            except SelchatError as error:
                refused.append(Refused("", str(error), "", room, to, body))
        if refused:
            self._interface.received(refused)

    # -- connected -------------------------------------------------------------------------------------

    def _said(self) -> None:
        self._undrained = True
        self._wake()

    def _wake(self) -> None:
        """Have written what is to be sent, soon: what is said in one tick goes with one system call."""
        self._tell_news()
        if self._sock is not None and self.state is not LinkState.DRAINING:
            self._watch(EVENT_READ | EVENT_WRITE)

    def _tell_news(self) -> None:
        events = self._client.events()
        if events and self.state is not LinkState.CLOSED:
            self._interface.received(events)

    def _ready(self, mask: int) -> None:
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
            self._lost(close_reason(error))

    def _stuck(self) -> None:
        """Have TLS say what it could not, when the socket takes it."""
        if self._sock is not None:
            self._watch(EVENT_READ | EVENT_WRITE)

    def _again(self) -> None:
        """Read in the next tick, whether the socket is readable or not."""
        self._reactor.call_soon(self._ready, EVENT_READ)

    def _read(self, sock: socket.socket | TlsStream) -> None:
        data = sock.recv(_READ_SIZE)
        if data:
            self._received(sock, data)
        else:
            conversation = self._client
            conversation.receive_eof()
            error = conversation.error
            if self.state is LinkState.DRAINING and error is None:
                self._end(_objection(conversation.last_words))
            else:
                self._lost("closed by the server" if error is None else f"closed by the server: {error}")

    def _received(self, sock: socket.socket | TlsStream, data: bytes) -> None:
        conversation = self._client
        self._heartbeat.touch()
        self._take(conversation.receive_data(data))
        if self._sock is not sock:
            return
        if conversation.error is not None:
            self._broken(conversation.error)
        elif self.wire is Wire.SELCHAT:
            self._store_later()
            self._write(sock)  # there may be an answer to give, or room in the window

    def _broken(self, error: SelchatError) -> None:
        wire = "classic" if self.wire is Wire.CLASSIC else "selchat"
        self._lost(f"not the {wire} protocol: {error}")

    def _key_derived(self, salt: bytes, key: bytes) -> None:
        """Go on with what has waited for a key, to be read or to be said."""
        self._client.add_key(salt, key)
        self._wake()
        if self._sock is None:
            return
        if self._client.error is not None:
            self._broken(self._client.error)
        else:
            self._store_later()

    def _take(self, events: list[ClientEvent]) -> None:
        """Tell the interface, and see to what is the link's."""
        if self.state is LinkState.GREETING:
            for place, event in enumerate(events):
                if isinstance(event, Refused):
                    self._not_let_in(event)
                    if self.state is LinkState.GREETING:  # the password is said now
                        self._take(events[place + 1 :])
                    return
                if isinstance(event, Welcomed):
                    self.wire = Wire.SELCHAT
                    self._up()
                    self._heartbeat.start()
        if events and self.state is not LinkState.CLOSED:
            self._interface.received(events)
        for event in events:
            if isinstance(event, Bye) and self.state is not LinkState.CLOSED:
                self._bye(event)

    def _write(self, sock: socket.socket | TlsStream) -> None:
        self._watch(EVENT_READ | EVENT_WRITE)
        if isinstance(sock, TlsStream):
            sock.send(b"")
        while data := self._client.data_to_send():
            taken = sock.send(data)
            self._client.data_sent(taken)
            if taken < len(data):
                break
        self._tell_news()
        if data or self._sock is not sock:
            return
        self._watch(EVENT_READ)
        if self.state is LinkState.ONLINE and not self._client.unacknowledged:
            if self._deadline is not None:
                self._leave(sock)
            elif self._undrained:
                self._undrained = False
                self._interface.drained()

    def _store_later(self) -> None:
        """Say again, after a while, what the server could not store."""
        if self._client.wants_retry and self._storing is None:
            self._storing = self._reactor.call_later(self._settings.store_seconds, self._store_again)

    def _store_again(self) -> None:
        self._storing = None
        self._client.retry()
        self._wake()

    # -- the end ---------------------------------------------------------------------------------------

    def _not_let_in(self, refusal: Refused) -> None:
        self.wire = Wire.SELCHAT
        if refusal.code == PasswordNeededError.code:
            self._tell_password(refusal)
        elif refusal.code == "not-stored":  # for now
            self._lost(refusal.text)
        elif (
            refusal.code == TooManyAttemptsError.code and self._up_at is not None
        ):  # too many have come back at once
            self._lost(refusal.text, min(refusal.retry_after, _MAX_RETRY_AFTER))
        else:
            self._turned_away(refusal)

    def _tell_password(self, refusal: Refused) -> None:
        """Say it, if there is one and nobody can listen."""
        if not may_tell_password(self._address, encrypted=self.tls is Tls.ON):
            why = "it is not said over a connection that others can read"
            self._end(f"the server said: {refusal.text}; {why}{self._unsent()}")
        elif self._client.send_password():
            self._await_welcome(self._settings.connect_seconds)  # others may have to be checked before
        else:
            self._turned_away(refusal)

    def _turned_away(self, refusal: Refused) -> None:
        self.refusal = refusal if self._up_at is None else None
        self._end(f"the server said: {refusal.text}{self._unsent()}")

    def _bye(self, bye: Bye) -> None:
        reason = _BYES.get(bye.reason, bye.reason)
        if self.state is LinkState.DRAINING:
            self._end(None)
            return
        self.wire = Wire.SELCHAT
        if bye.reason == "replaced" and self._reactor.now < self._echo_until:
            # By ourselves: the hello of a connection that was given up has arrived after that of this one.
            self._lost(reason)
            self._echo_until = 0.0  # but once: two programs under one name must not take turns for ever
        elif bye.retry_after is None:
            self._end(f"{reason}{self._unsent()}")
        else:
            self._lost(reason, min(bye.retry_after, _MAX_RETRY_AFTER))

    def _lost(self, reason: str, retry_after: float = 0.0) -> None:
        if self.state is LinkState.GREETING and self.wire is Wire.GUESSED:
            if self._settings.wire == "selchat":
                self._cannot_connect(reason)
            else:
                self._go_classic()
            return
        state, conversation = self.state, self._client
        if self._up_at is not None and self._reactor.now - self._up_at >= self._settings.stable_seconds:
            self._ceiling = self._settings.retry_base_seconds
        self._drop()
        wanted = self._deadline is None or bool(conversation.unacknowledged)
        if self.wire is Wire.SELCHAT:
            self._echo_until = self._reactor.now + _ECHO_SECONDS
            if self._up_at is None and not self._reconnect:
                self._end(f"{reason}{self._unsent()}")
            elif wanted:
                self._retry(reason, retry_after)
            else:
                self._end(None)  # nothing is lost that was said
            return
        problem = (_objection(conversation.last_words) or f"connection lost: {reason}") + self._unsent()
        if conversation.last_words is not None or not conversation.names:
            self._go_back_to_guessing()
        if self._reconnect and wanted and state is LinkState.ONLINE:
            self._retry(reason)
        else:
            self._end(problem)

    def _retry(self, reason: str, after: float = 0.0) -> None:
        """Wait for a while: full jitter, so that not all clients of a server come back at the same time."""
        if self._deadline is not None and not self._client.unacknowledged:
            self._end(None)  # there is nothing to come back for
            return
        self.state = LinkState.WAITING
        if self.wire is Wire.SELCHAT and self.tls is Tls.OFF:
            self.tls = _tls_of(self._settings, self._known)  # what kept it from TLS may be over
        delay = after + self._jitter(0, self._ceiling)
        self._ceiling = min(2 * self._ceiling, self._settings.retry_max_seconds)
        self._timer = self._reactor.call_later(delay, self._connect)
        self._interface.lost(reason, delay)

    def _leave(self, sock: socket.socket | TlsStream) -> None:
        self.state = LinkState.DRAINING
        if self._client.bye():
            self._watch(EVENT_READ | EVENT_WRITE)
            self._timer = self._reactor.call_later(self._settings.drain_seconds, self._end, None)
        else:
            sock.shutdown(socket.SHUT_WR)
            self._drain(self._settings.drain_seconds)

    def _drain(self, left: float) -> None:
        """Wait for what is on its way to be acknowledged, and then ``left`` seconds for an objection."""
        assert self._sock is not None
        if left <= 0:
            self._end(_objection(self._client.last_words))
            return
        if _unacknowledged(self._sock) == 0:
            left -= _DRAIN_POLL
        self._timer = self._reactor.call_later(_DRAIN_POLL, self._drain, left)

    def _set_deadline(self) -> None:
        waiting = self._client.unacknowledged
        self._deadline = self._reactor.call_later(self._settings.finish_seconds, self._out_of_time, waiting)

    def _out_of_time(self, waiting: int) -> None:
        if 0 < self._client.unacknowledged < waiting:
            self._set_deadline()  # a server takes no more in a second than it wants to
        elif self.state is LinkState.DRAINING:
            rich = self.wire is Wire.SELCHAT  # where all is acknowledged before this
            self._end(None if rich else "the server has not taken all that was sent")
        else:
            self._end(f"out of time{self._unsent()}")

    def _unsent(self) -> str:
        count = self._client.unacknowledged
        if not count:
            return ""
        return f"; {_messages(count)} {'was' if count == 1 else 'were'} {self._client.unsent_word}"

    def _end(self, problem: str | None) -> None:
        self.close()
        self._interface.finished(problem)

    def _drop(self) -> None:
        """Give the socket and the timers of the connection back."""
        self._dialer.close()
        self._securing.close()
        self._cancel_timer()
        self._heartbeat.stop()
        if self._storing is not None:
            self._storing.cancel()
            self._storing = None
        if self._sock is not None:
            self._watch(0)
            self._sock.close()
            self._sock = None
            self._client.connection_lost()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self, events: int) -> None:
        if events == self._events:
            return
        if not events:
            self._reactor.unwatch(self._sock)
        elif not self._events:
            self._reactor.watch(self._sock, events, self._ready)
        else:
            self._reactor.rewatch(self._sock, events, self._ready)
        self._events = events


def _tls_of(settings: ClientSettings, known: KnownServers) -> Tls:
    """Return how to begin. With a server that was met with TLS there is no way back."""
    if settings.tls == "off" or (settings.tls == "auto" and settings.wire == "classic"):
        return Tls.OFF
    if settings.tls == "require" or known.find(settings.host, settings.port) is not None:
        return Tls.ON
    return Tls.GUESSED


def _selchat_client(
    settings: ClientSettings, members: bool, want: Callable[[bytes], object]
) -> SelchatClient | None:
    """Return the conversation; None: headers are too short for it, so that the wire is the paper's."""
    if settings.header_length < SELCHAT_HEADER_LENGTH:
        return None
    secret = settings.secret or client_secret()
    client = SelchatClient(settings, secret, members=members, request_key=want)
    if settings.room != LOBBY:
        client.join(settings.room)
    return client


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"


def _objection(last_words: str | None) -> str | None:
    """A server that says why it closes has thrown away what it had not read."""
    return None if last_words is None else f"the server said: {last_words}"


def _unacknowledged(sock: socket.socket | TlsStream) -> int:
    """Return how many bytes the peer's kernel has not acknowledged, 0 where the system does not tell."""
    if not _TELLS_UNACKNOWLEDGED:
        return 0
    try:
        answer = fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0\0\0\0")  # Linux: SIOCOUTQ, the same number
    except OSError:
        return 0
    return int(struct.unpack("i", answer)[0])
