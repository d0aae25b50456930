"""A session on the selchat protocol (docs/protocol.rst): JSON in frames, with rooms, receipts and history."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Any

from selchat.auth.login import LoginAttempt
from selchat.chat.member import Member
from selchat.chat.peer import Farewell
from selchat.chat.people import hash_client_secret
from selchat.chat.room import ROOM_LENGTH, Room
from selchat.errors import (
    BannedError,
    LimitError,
    NamedRefusalError,
    ProtocolError,
    RefusalError,
    SelchatError,
)
from selchat.events import LOBBY, SERVER, Notice, Said
from selchat.feed import Lapped
from selchat.heartbeat import Heartbeat
from selchat.log.port import NotReadableError, Sent
from selchat.sessions.context import Context, Transport
from selchat.sessions.inbound import InboundStream, LoginTimeoutError
from selchat.text import name_key
from selchat.wire import requests as envelope
from selchat.wire.requests import (
    BodyTooLongError,
    Bye,
    Confirm,
    GetHistory,
    GetRooms,
    GetUsers,
    Hello,
    Join,
    Part,
    Ping,
    Pong,
    Request,
    Resume,
    Say,
    SetTopic,
    Whisper,
    parse_request,
)
from selchat.wire.responses import HISTORY_BYTES, MAX_LISTED, SelchatFormat
from selchat.wire.websocket import ClosedError


class NoGoodHelloError(ProtocolError):
    """``limit``: so many messages came before one, and none was a good `hello`."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return f"no good hello among {self.limit} messages"


class IdleTimeoutError(LimitError):
    template = "no sign of life within {limit} s"


class NotHelloError(RefusalError):
    code = "not-hello"
    text = "the first message has to be hello"


class DuplicateHelloError(RefusalError):
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


class NotOperatorError(RefusalError):
    code = "not-operator"
    text = "only operators can give commands to the server"


class NoSuchRoomError(NamedRefusalError):
    code = "no-such-room"
    template = "there is no room {name}"


_PAGE = 500  # messages that are read from the log at a time to catch up
_ENVELOPE = 512  # bytes that a message may grow by between a client and the others: names, numbers
_PATIENCE = 1.0  # seconds before a log that cannot be read is tried again
_GOODBYE = Farewell("goodbye", "Goodbye.", "", None)


class SessionState(Enum):
    """Where a session is in its life.

    ========  ==========================================  ====================================================
    state     means                                       next
    ========  ==========================================  ====================================================
    GREETED   a `hello` is awaited                        CHECKING by one with a password, where there is one;
                                                          JOINED by one that is accepted
    CHECKING  nothing is read, as its password is being   JOINED if it is right and the rest is accepted;
              checked                                     GREETED if not
    JOINED    the peer is in the chat                     (ended)
    ENDED     the connection is closed or closing         (final)
    ========  ==========================================  ====================================================

    From each of them the end of the connection leads to ENDED.
    """

    GREETED = auto()
    CHECKING = auto()
    JOINED = auto()
    ENDED = auto()


class Replay:
    """A part of the log that is still to be sent, from ``seq`` on, before what is said now.

    ``room`` None: the whispers. ``lapped``: the peer is told where it was overtaken.
    """

    __slots__ = ("inbox", "lapped", "room", "seq")

    def __init__(self, inbox: str, room: Room | None, seq: int, lapped: bool = False) -> None:
        self.inbox = inbox  # what the log calls it
        self.room = room
        self.seq = seq
        self.lapped = lapped


class SelchatSession:
    """One peer. It is a `selchat.net.connection.Handler` for its connection and a `Peer` for the hub.

    ``format``: how it is spoken to. ``ping_seconds``: when it is asked for a sign of life. ``deadline``:
    until when a `hello` has to be accepted, on the clock.
    """

    __slots__ = (
        "_catch_ups",
        "_client",
        "_context",
        "_greetings",
        "_heartbeat",
        "_largest",
        "_member",
        "_stream",
        "_timer",
        "_transport",
        "_trial",
        "format",
        "state",
    )

    def __init__(
        self,
        context: Context,
        transport: Transport,
        stream: InboundStream[bytes] | InboundStream[str],
        format: SelchatFormat,
        ping_seconds: float,
        deadline: float,
    ) -> None:
        self.format = format
        self.state = SessionState.GREETED
        self._context = context
        self._transport = transport
        self._stream = stream
        self._greetings = 0  # messages before one has come in
        self._member: Member | None = None
        self._trial: LoginAttempt | None = None  # of the password, while it is checked
        self._catch_ups: deque[Replay] = deque()
        # Bytes of a message that can be passed on: matters where a header is too short for 64 KiB.
        self._largest = context.selchat.limit - _ENVELOPE
        self._heartbeat = Heartbeat(context.clock, ping_seconds, context.settings.pong_seconds, self)
        self._timer: Any = context.clock.call_later(
            deadline - context.clock.now,
            lambda: self._fail(LoginTimeoutError(context.settings.login_seconds)),
        )

    # -- the connection's side -------------------------------------------------------------------------

    @property
    def wire_name(self) -> str:
        return self.format.wire_name

    def data_received(self, data: bytes) -> None:
        if self.state is SessionState.GREETED:
            self._greeting_received(self._stream.decoder.receive_one(data))
        elif self.state is SessionState.JOINED:
            self.payloads_received(self._stream.receive_data(data))

    def first_payload_received(self, payload: bytes) -> None:
        """Take the first payload, which was meant to be a `hello`."""
        self._greeting_received(payload)

    def payloads_received(self, payloads: list[bytes] | list[str]) -> None:
        """Take what has come in whole from one who is in."""
        self._heartbeat.touch()
        said: list[Say] = []  # one after the other, and in one room
        for payload in payloads:
            request: Request | None = None
            try:
                request = parse_request(payload)
                if type(request) is Say:
                    # A character takes up to 4 bytes in UTF-8, so short texts need no exact size.
                    if len(payload) * 4 > self._largest and _size(payload) > self._largest:
                        self.reject(BodyTooLongError(_size(payload), self._largest), [request.id])
                        continue
                    if said and said[0].room != request.room:
                        self._say(said)
                        said = []
                    said.append(request)
                    continue
                if said:
                    self._say(said)
                    said = []
                self._take(request)
            except RefusalError as error:
                if said:
                    self._say(said)
                    said = []
                self._refuse(error, request)
            if self.state is SessionState.ENDED:
                return
        if said:
            self._say(said)
        self._stream.check(bool(payloads), self._fail)

    def eof_received(self) -> None:
        if self.state is SessionState.ENDED:
            return
        error = self._stream.receive_eof()
        if error is not None:
            self._transport.close(str(error))

    def connection_lost(self, reason: str | None) -> None:
        self.state = SessionState.ENDED
        self._stream.close()
        self._timer.cancel()
        self._heartbeat.stop()
        self._catch_ups.clear()
        if self._trial is not None:
            self._trial.cancel()
            self._trial = None
        member, self._member = self._member, None
        if member is not None:
            self._context.hub.sign_out(member, reason)
        else:
            self._context.observer.closed_before_login(self._transport.address, reason)

    # -- the hub's side --------------------------------------------------------------------------------

    def send_notice(self, notice: Notice) -> None:
        self._tell(notice.text, self._joined())

    def acknowledge(self, messages: Sequence[Said]) -> None:
        if messages[0].room.startswith("@"):
            self.acknowledge_repeated([Sent(one.id, one.room, one.seq, one.at) for one in messages])
        else:
            self._reply(self.format.acks(messages))

    def acknowledge_repeated(self, messages: Sequence[Sent]) -> None:
        name_of = self._context.hub.inbox_owner
        for id, room, seq, at in messages:
            self._reply(self.format.ack(id, room, name_of(room), seq, at))

    def reject(self, error: RefusalError, ids: Sequence[str]) -> None:
        self._reply(b"".join([self.format.error(error, id=id) for id in ids]))

    def deliver_direct(self, message: Said, to: str) -> None:
        if not message.seq or not any(one.room is None for one in self._catch_ups):
            self._reply(self.format.whispered(message, to))
        # else it is in the log by now, and comes from there

    def disconnect(self, farewell: Farewell) -> None:
        if self.state is not SessionState.ENDED:
            last = self.format.bye(farewell.code, farewell.retry_after)
            self._transport.close(farewell.reason or None, last)

    # -- the vigil's side ------------------------------------------------------------------------------

    def on_idle(self) -> None:
        if self._transport.outbox.blocked:
            self._heartbeat.start()  # the question could not get through; a peer that is gone is the kernel's
        else:
            self._reply(self.format.ping())

    def on_timeout(self) -> None:
        clock, settings = self._context.clock, self._context.settings
        unread = self._stream.read_since > clock.now - settings.pong_seconds  # the answer may lie there
        if unread or self._transport.outbox.blocked:
            self._heartbeat.start()
            return
        self._transport.close(str(IdleTimeoutError(self._heartbeat.seconds)), self.format.bye("timeout", 0))

    # -- coming in -------------------------------------------------------------------------------------

    def _greeting_received(self, payload: bytes | str | None) -> None:
        """Take payloads, one after the other, until one of them is a `hello` that is accepted."""
        is_new = payload is not None
        while payload is not None and self.state is SessionState.GREETED:
            request: Request | None = None
            try:
                request = parse_request(payload)
                if isinstance(request, Hello):
                    self._hello(request)
                elif isinstance(request, Bye):
                    self.disconnect(_GOODBYE)
                else:
                    raise NotHelloError
            except RefusalError as error:
                self._refuse(error, request)
            self._greetings += 1
            if self.state is SessionState.GREETED:
                if self._greetings >= self._context.settings.login_messages:
                    # Nothing else limits how fast one may ask who is not in yet.
                    self._fail(NoGoodHelloError(self._greetings))
                    return
                payload = self._stream.decoder.receive_one()
        if self.state is SessionState.JOINED:
            self.payloads_received(self._stream.lift_limits(self._transport, self.payloads_received))
        elif self.state is not SessionState.ENDED:
            self._stream.check(is_new, self._fail)

    def _hello(self, hello: Hello) -> None:
        if hello.version != envelope.VERSION:
            raise VersionError(hello.version, envelope.VERSION)
        gate = self._context.gate
        if gate is not None:
            # Before the name: who owns which, or is banned, is not for those without the password.
            self._trial = gate.check(
                hello.password, self._transport.address, lambda error: self._checked(hello, error)
            )
            if self._trial is not None:
                self.state = SessionState.CHECKING
                self._transport.pause()
                return
        self._accept(hello)

    def _checked(self, hello: Hello, error: RefusalError | None) -> None:
        """Go on as the password is right, or as ``error`` says."""
        self._trial = None
        self.state = SessionState.GREETED
        self._transport.resume()
        try:
            if error is not None:
                raise error
            self._accept(hello)
        except RefusalError as refusal:
            self._refuse(refusal, hello)
        if self.state is not SessionState.ENDED:
            is_in = self.state is SessionState.JOINED
            self._greeting_received(None if is_in else self._stream.decoder.receive_one())

    def _accept(self, hello: Hello) -> None:
        context, hub = self._context, self._context.hub
        member = hub.sign_in(
            hello.name, self._transport.address, self, hash_client_secret(hello.client), alongside=hello.beside
        )
        self._timer.cancel()
        self._heartbeat.start()
        self.state = SessionState.JOINED
        self._member = member
        resumed, refusals = self._enter_first(member, hello.resume)
        inbox, confirmed, waiting = hub.inbox(member)
        settings = context.settings
        self._reply(
            self.format.frame(
                "welcome",
                version=envelope.VERSION,
                name=member.name,
                log=hub.log.id,
                server=context.server,
                rooms=[
                    {
                        "room": room.name,
                        "seq": room.seq,
                        "topic": room.topic,
                        "members": len(room.members),
                        "salt": room.salt,
                    }
                    for room in resumed
                ],
                whispers=waiting,
                salt=hub.direct_salt,
                limits={
                    "frame": settings.payload_limit,
                    "name": settings.name_length,
                    "room": ROOM_LENGTH,
                    "topic": envelope.TOPIC_LENGTH,
                    "id": envelope.ID_LENGTH,
                    "cipher": envelope.CIPHER_LENGTH,
                    "rooms": settings.rooms_per_member,
                    "history": envelope.HISTORY_LIMIT,
                    "unacknowledged": settings.unacknowledged,
                },
            )
        )
        for name, error in refusals:
            self._reply(self.format.error(error, room=name))
        if waiting:
            self._catch_up(Replay(inbox, None, confirmed))
        for room, seq in resumed.items():
            self._go_on_after(room, seq)

    # -- what the peer asks for ------------------------------------------------------------------------

    def _take(self, request: Request) -> None:
        kind = type(request)
        if kind is Hello:
            raise DuplicateHelloError
        _ANSWERS[kind](self, request)

    def _enter_first(
        self, member: Member, resume: Resume | None
    ) -> tuple[dict[Room, int | None], list[tuple[str, RefusalError]]]:
        """Enter the rooms to be in; return them, each with the last ``seq`` seen, and what was refused."""
        hub = self._context.hub
        wanted: dict[str, int | None] = {LOBBY: None}
        if resume is not None:
            same = resume.log == hub.log.id
            wanted = {name: seq if same else 0 for name, seq in resume.rooms.items()}
        entered: dict[Room, int | None] = {}
        refusals: list[tuple[str, RefusalError]] = []
        for name, seq in wanted.items():
            try:
                room = hub.join_room(member, name)
            except RefusalError as error:
                refusals.append((name, error))
            else:
                entered.setdefault(room, seq)
        return entered, refusals

    def _say(self, said: list[Say]) -> None:
        hub, member = self._context.hub, self._joined()
        ids = [one.id for one in said]
        try:
            room = hub.joined_room(member, said[0].room)
        except RefusalError as error:
            self.reject(error, ids)
            return
        hub.send(member, room, [one.body for one in said], ids, [one.cipher for one in said])

    def _whisper(self, whisper: Whisper) -> None:
        hub, member = self._context.hub, self._joined()
        try:
            if len(whisper.body) > self._largest:
                raise BodyTooLongError(len(whisper.body), self._largest)
            if name_key(whisper.to) == name_key(SERVER):
                self._operate(whisper)
            else:
                hub.send_direct(member, whisper.to, whisper.body, whisper.id, whisper.cipher)
        except RefusalError as error:
            self.reject(error, [whisper.id])

    def _operate(self, whisper: Whisper) -> None:
        """Do what an operator says."""
        member = self._joined()
        hub = self._context.hub
        if not hub.is_operator(member):
            raise NotOperatorError
        self._reply(self.format.ack(whisper.id, "", SERVER, 0, hub.time()))
        for line in self._context.operator(whisper.body):
            self._tell(line, member)  # who may have banned themselves, and is not here any more

    def _tell(self, text: str, member: Member) -> None:
        said = Said("@", 0, SERVER, text, self._context.hub.time())
        self._reply(self.format.whispered(said, member.name))

    def _join(self, join: Join) -> None:
        hub, member = self._context.hub, self._joined()
        before = len(member.rooms)
        room = hub.join_room(member, join.room)
        self._users_of(room)
        if len(member.rooms) > before:
            self._go_on_after(room, join.after)

    def _part(self, part: Part) -> None:
        hub, member = self._context.hub, self._joined()
        room = hub.joined_room(member, part.room)
        subscription = member.rooms[room]
        if subscription is not None:
            self._transport.outbox.leave(subscription)
        self._catch_ups = deque(one for one in self._catch_ups if one.room is not room)
        hub.leave_room(member, room)
        self._reply(self.format.frame("left", room=room.name, names=[member.name], total=len(room.members)))

    def _topic(self, topic: SetTopic) -> None:
        hub, member = self._context.hub, self._joined()
        hub.set_topic(member, hub.joined_room(member, topic.room), topic.topic)

    def _history(self, ask: GetHistory) -> None:
        hub = self._context.hub
        room = hub.joined_room(self._joined(), ask.room)
        newest = ask.after is None
        if ask.after is not None:
            found = hub.log.after(room.name, ask.after, ask.limit, HISTORY_BYTES)
        else:
            found = hub.log.before(room.name, ask.before, ask.limit, HISTORY_BYTES)
        messages = self.format.fit_history(found, newest)
        more = False
        if messages:
            if newest:
                more = bool(hub.log.before(room.name, messages[0].seq, 1, 1))
            else:
                more = messages[-1].seq < hub.log.last_seq(room.name)
        self._reply(self.format.history(room.name, messages, more))

    def _users(self, ask: GetUsers) -> None:
        room = self._context.hub.rooms.find(ask.room)
        if room is None:
            raise NoSuchRoomError(ask.room)
        self._users_of(room)

    def _users_of(self, room: Room) -> None:
        roster = room.snapshot(MAX_LISTED)
        self._reply(
            self.format.listed(
                "users",
                "names",
                roster.names,
                room=room.name,
                total=roster.total,
                topic=room.topic,
                seq=room.seq,
                salt=room.salt,
            )
        )

    def _rooms(self, _ask: GetRooms) -> None:
        found, total = self._context.hub.rooms.list(MAX_LISTED)
        rooms = [
            {"room": one.name, "members": one.members, "topic": one.topic, "seq": one.seq} for one in found
        ]
        self._reply(self.format.listed("rooms", "rooms", rooms, total=total))

    def _confirm(self, confirm: Confirm) -> None:
        self._context.hub.confirm_direct(self._joined(), confirm.whisper)

    def _ping(self, ping: Ping) -> None:
        fields = {} if ping.token is None else {"token": ping.token}
        self._reply(self.format.frame("pong", **fields))

    def _pong(self, _pong: Pong) -> None:
        pass

    def _bye(self, _bye: Bye) -> None:
        self.disconnect(_GOODBYE)

    # -- catching up with the log ----------------------------------------------------------------------

    def _go_on_after(self, room: Room, seq: int | None) -> None:
        """Read what was said in the room after that one, and then what is said; None: only that."""
        if seq is None or seq >= room.seq:
            self._read(room)
        else:
            self._catch_up(Replay(room.name, room, seq))

    def _read(self, room: Room) -> None:
        """Read what is said in the room from now on."""
        subscription = self._transport.outbox.subscribe(
            room.feed(self.format), lambda lapped: self._lapped(room, lapped)
        )
        self._joined().rooms[room] = subscription

    def _lapped(self, room: Room, lapped: Lapped) -> bytes:
        """Go on from the log where the feed is lost; return the rest of the frame that is on the wire."""
        said, rest = self.format.delivered_before(lapped.chunk, lapped.offset)
        self._joined().rooms[room] = None
        self._catch_up(Replay(room.name, room, lapped.mark + said, lapped=True))
        return rest

    def _catch_up(self, catch_up: Replay) -> None:
        self._catch_ups.append(catch_up)
        if len(self._catch_ups) == 1:
            self._go_on_later()

    def _go_on_later(self) -> None:
        # In a tick of its own: to read the log for one who has much to read must not keep the others waiting,
        # and outside of a flush what is committed and what the feeds have is the same.
        self._context.clock.call_later(0.0, self._go_on)

    def _go_on(self) -> None:
        """Send the next page, when the peer has taken the one before."""
        if not self._catch_ups or self.state is SessionState.ENDED:
            return
        catch_up = self._catch_ups[0]
        hub = self._context.hub
        if catch_up.lapped:
            catch_up.lapped = False
            self._gap(catch_up, catch_up.seq + 1)
        else:
            try:
                page = hub.log.after(catch_up.inbox, catch_up.seq, _PAGE, HISTORY_BYTES)
            except NotReadableError:
                self._context.clock.call_later(_PATIENCE, self._go_on)
                return
            newest = hub.log.last_seq(catch_up.inbox)
            following = page[0].seq if page else newest + 1
            if following > catch_up.seq + 1:
                self._gap(catch_up, following)
            if page:
                self._send_page(catch_up, page)
            catch_up.seq = page[-1].seq if page else newest
            if catch_up.seq >= newest:
                self._catch_ups.popleft()
                if catch_up.room is not None:
                    self._read(catch_up.room)
        if self._catch_ups:
            self._transport.outbox.when_replies_sent(self._go_on_later)

    def _send_page(self, catch_up: Replay, page: list[Said]) -> None:
        if catch_up.room is not None:
            self._reply(self.format.encode(page))
        else:
            name = self._joined().name
            self._reply(b"".join([self.format.whispered(message, name) for message in page]))

    def _gap(self, catch_up: Replay, before: int) -> None:
        if catch_up.room is not None:
            self._reply(self.format.frame("gap", room=catch_up.room.name, after=catch_up.seq, before=before))

    # ----------------------------------------------------------------------------------------------------

    def _joined(self) -> Member:
        assert self._member is not None
        return self._member

    def _reply(self, data: bytes) -> None:
        self._transport.outbox.reply(data)

    def _refuse(self, error: RefusalError, request: Request | None) -> None:
        room = getattr(request, "room", None)
        self._reply(self.format.error(error, **({} if room is None else {"room": room})))
        if isinstance(error, BannedError):
            self.disconnect(Farewell("banned", str(error), str(error)))

    def _fail(self, error: SelchatError) -> None:
        """Say why, and close."""
        if self.state is SessionState.ENDED:
            return
        word = "protocol"
        if isinstance(error, LimitError):
            word = "timeout"
        elif isinstance(error, ClosedError):
            word = "goodbye"
        self._transport.close(str(error) or None, self.format.bye(word, None, error))


def _size(payload: bytes | str) -> int:
    """Return the bytes of a payload."""
    return len(payload if isinstance(payload, bytes) else payload.encode())


_ANSWERS: dict[type, Callable[[SelchatSession, Any], None]] = {
    Whisper: SelchatSession._whisper,
    Join: SelchatSession._join,
    Part: SelchatSession._part,
    SetTopic: SelchatSession._topic,
    GetHistory: SelchatSession._history,
    GetUsers: SelchatSession._users,
    GetRooms: SelchatSession._rooms,
    Confirm: SelchatSession._confirm,
    Ping: SelchatSession._ping,
    Pong: SelchatSession._pong,
    Bye: SelchatSession._bye,
}
