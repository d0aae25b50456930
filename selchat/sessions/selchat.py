"""Session of the selchat protocol: JSON payloads with rooms, receipts and history.

docs/protocol.rst is the specification. The session does not know whether its payloads travel in frames or in
WebSocket messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import Enum, auto
from functools import partial
from typing import Any

from selchat.auth.login import LoginAttempt
from selchat.chat.member import Member
from selchat.chat.peer import Farewell
from selchat.chat.people import hash_client_secret
from selchat.chat.room import Room
from selchat.chat.rooms import TooManyRoomsError
from selchat.config.settings import Costs
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
from selchat.limits import (
    CIPHER_LENGTH,
    HISTORY_BYTES,
    HISTORY_LIMIT,
    ID_LENGTH,
    LONG_PAYLOAD,
    MAX_LISTED,
    ROOM_LENGTH,
    ROOM_PAGE,
    TOPIC_LENGTH,
)
from selchat.log.port import Sent
from selchat.sessions.context import Context, Transport
from selchat.sessions.inbound import InboundStream, LoginTimeoutError
from selchat.sessions.replay import Replay, ReplayQueue
from selchat.text import name_key
from selchat.wire.requests import (
    VERSION,
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
from selchat.wire.responses import SelchatFormat
from selchat.wire.websocket import ClosedError


class NoValidHelloError(ProtocolError):
    """The first ``limit`` messages contained no valid `hello`."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return f"no valid hello among {self.limit} messages"


class IdleTimeoutError(LimitError):
    template = "ping timeout: no data for {limit} s"


class NotHelloError(RefusalError):
    code = "not-hello"
    text = "the first message must be hello"


class DuplicateHelloError(RefusalError):
    code = "already-welcome"
    text = "this connection has already logged in"


class VersionError(RefusalError):
    """The client asks for ``version`` of the protocol; the server supports only ``supported``."""

    code = "version"

    def __init__(self, version: int, supported: int) -> None:
        super().__init__(version, supported)
        self.version = version
        self.supported = supported

    def __str__(self) -> str:
        return f"version {self.version} of the protocol is not supported, only version {self.supported}"


class NoSuchRoomError(NamedRefusalError):
    code = "no-such-room"
    template = "there is no room {name}"


_WELCOME_SIZE = 2048  # bytes of a `welcome` without its rooms, at most
_GOODBYE = Farewell("goodbye", "Goodbye.", "", None)


class SessionState(Enum):
    """The life of a session.

    ========  ============================================  ==================================================
    state     means                                         next
    ========  ============================================  ==================================================
    GREETED   the server waits for a `hello`                CHECKING if the server has a password;
                                                            JOINED if the server accepts the `hello`
    CHECKING  the server checks the password and does not   JOINED if the password is right and the server
              read meanwhile                                accepts the `hello`; GREETED otherwise
    JOINED    the user is in the chat                       ENDED
    ENDED     the connection is closing or closed           (final)
    ========  ============================================  ==================================================

    The end of the connection leads from every state to ENDED.
    """

    GREETED = auto()
    CHECKING = auto()
    JOINED = auto()
    ENDED = auto()


class SelchatSession:
    """One selchat client. It is a `Session` for its connection and a `Peer` for the hub.

    ``format``: encodes for this peer's wire. ``ping_seconds``: silence after which the server sends a ping.
    ``deadline``: when the server must have accepted a `hello`, on the clock.
    """

    __slots__ = (
        "_context",
        "_heartbeat",
        "_hello_count",
        "_login_attempt",
        "_long_payload",
        "_max_payload",
        "_member",
        "_replays",
        "_stream",
        "_timer",
        "_transport",
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
        self._hello_count = 0  # messages before login
        self._member: Member | None = None
        self._login_attempt: LoginAttempt | None = None  # while the password is checked
        self._replays = ReplayQueue(context, transport, stream.meter, self)
        self._max_payload = context.message_limit
        # Characters. One takes up to 4 bytes in UTF-8, so that shorter payloads need no exact size.
        self._long_payload = min(self._max_payload // 4, LONG_PAYLOAD)
        self._heartbeat = Heartbeat(context.clock, ping_seconds, context.settings.pong_seconds, self)
        self._timer: Any = context.clock.call_later(
            deadline - context.clock.now,
            lambda: self._fail(LoginTimeoutError(context.settings.login_seconds)),
        )

    # -- calls from the connection ---------------------------------------------------------------------

    @property
    def wire_name(self) -> str:
        return self.format.wire_name

    def data_received(self, data: bytes) -> None:
        if self.state is SessionState.GREETED:
            self._login_payload_received(self._stream.decoder.receive_one(data))
        elif self.state is SessionState.JOINED:
            self.payloads_received(self._stream.receive_data(data))

    def first_payload_received(self, payload: bytes) -> None:
        """Handle the first payload, which looks like a `hello`."""
        self._login_payload_received(payload)

    def payloads_received(self, payloads: list[bytes] | list[str]) -> None:
        """Handle payloads after login."""
        self._heartbeat.touch()
        batch: list[Say] = []  # consecutive messages for one room
        remaining: Iterator[Any] = iter(payloads)
        for payload in remaining:
            request: Request | None = None
            try:
                request = parse_request(payload)
                if type(request) is Say:
                    if len(payload) > self._long_payload:
                        if _size(payload) > self._max_payload:
                            self.reject(BodyTooLongError(_size(payload), self._max_payload), [request.id])
                            continue
                        if not self._admit_long(request, len(payload)):
                            self._stream.defer([payload, *remaining])
                            break
                    if batch and batch[0].room != request.room:
                        self._handle_say(batch)
                        batch = []
                    batch.append(request)
                    continue
                if batch:
                    self._handle_say(batch)
                    batch = []
                if len(payload) * 4 > self._max_payload and _size(payload) > self._max_payload:
                    raise BodyTooLongError(_size(payload), self._max_payload)
                cost = _COSTS.get(type(request))
                if cost is not None and not self._stream.meter.admit(cost):
                    self._stream.defer([payload, *remaining])
                    break
                self._handle(request)
            except RefusalError as error:
                if batch:
                    self._handle_say(batch)
                    batch = []
                self._refuse(error, request)
            if self.state is SessionState.ENDED:
                return
        if batch:
            self._handle_say(batch)
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
        self._replays.clear()
        if self._login_attempt is not None:
            self._login_attempt.cancel()
            self._login_attempt = None
        member, self._member = self._member, None
        if member is not None:
            self._context.hub.sign_out(member, reason)
        else:
            self._context.observer.closed_before_login(self._transport.address, reason)

    # -- calls from the hub ----------------------------------------------------------------------------

    def send_notice(self, notice: Notice) -> None:
        self._send_text(notice.text, self._get_member())

    def acknowledge(self, messages: Sequence[Said]) -> None:
        if messages[0].room.startswith("@"):
            sent = [Sent(message.id, message.room, message.seq, message.at) for message in messages]
            self.acknowledge_repeated(sent)
        else:
            self._reply(self.format.acks(messages))

    def acknowledge_repeated(self, messages: Sequence[Sent]) -> None:
        inbox_owner = self._context.hub.inbox_owner
        for id, room, seq, at in messages:
            self._reply(self.format.ack(id, room, inbox_owner(room), seq, at))

    def reject(self, error: RefusalError, ids: Sequence[str]) -> None:
        self._reply(b"".join([self.format.error(error, id=id) for id in ids]))

    def deliver_direct(self, message: Said, to: str) -> None:
        # While older direct messages are queued, a logged message comes with them, in order.
        if not message.seq or not self._replays.has_direct:
            self._reply(self.format.whispered(message, to))

    def disconnect(self, farewell: Farewell) -> None:
        if self.state is not SessionState.ENDED:
            bye = self.format.bye(farewell.code, farewell.retry_after, until=farewell.until)
            self._transport.close(farewell.reason or None, bye)

    # -- calls from the heartbeat ----------------------------------------------------------------------

    def on_idle(self) -> None:
        if self._transport.outbox.blocked:
            # The peer would not get a ping. If it is gone, the kernel reports that.
            self._heartbeat.start()
        else:
            self._reply(self.format.ping())

    def on_timeout(self) -> None:
        clock, settings = self._context.clock, self._context.settings
        # The pong may wait in the kernel while the rate limit pauses reading.
        was_paused = self._stream.read_since > clock.now - settings.pong_seconds
        if was_paused or self._transport.outbox.blocked:
            self._heartbeat.start()
            return
        self._transport.close(str(IdleTimeoutError(self._heartbeat.seconds)), self.format.bye("timeout", 0))

    # -- calls from the replay -------------------------------------------------------------------------

    def on_caught_up(self, room: Room) -> None:
        self._subscribe(room)

    # -- login -----------------------------------------------------------------------------------------

    def _login_payload_received(self, payload: bytes | str | None) -> None:
        """Handle payloads, one at a time, until the server accepts a `hello`."""
        is_new = payload is not None
        while payload is not None and self.state is SessionState.GREETED:
            # The first one was admitted before this session began.
            if self._hello_count and not self._stream.meter.admit(Costs.SIGN_IN):
                self._transport.pause()
                self._stream.meter.call_when_free(partial(self._continue_login, payload))
                return
            request: Request | None = None
            try:
                request = parse_request(payload)
                if isinstance(request, Hello):
                    self._handle_hello(request)
                elif isinstance(request, Bye):
                    self.disconnect(_GOODBYE)
                else:
                    raise NotHelloError
            except RefusalError as error:
                self._refuse(error, request)
            self._hello_count += 1
            if self.state is SessionState.GREETED:
                if self._hello_count >= self._context.settings.login_messages:
                    # Before login, no rate limit applies.
                    self._fail(NoValidHelloError(self._hello_count))
                    return
                payload = self._stream.decoder.receive_one()
        if self.state is SessionState.JOINED:
            self.payloads_received(self._stream.lift_limits(self._transport, self.payloads_received))
        elif self.state is not SessionState.ENDED:
            self._stream.check(is_new, self._fail)

    def _continue_login(self, payload: bytes | str) -> None:
        self._transport.resume()
        self._login_payload_received(payload)

    def _handle_hello(self, hello: Hello) -> None:
        if hello.version != VERSION:
            raise VersionError(hello.version, VERSION)
        authenticator = self._context.authenticator
        if authenticator is not None:
            # Before the name: without the password, no one may learn who owns a name or is banned.
            self._login_attempt = authenticator.check(
                hello.password, self._transport.address, lambda error: self._password_checked(hello, error)
            )
            if self._login_attempt is not None:
                self.state = SessionState.CHECKING
                self._transport.pause()
                return
        self._accept(hello)

    def _password_checked(self, hello: Hello, error: RefusalError | None) -> None:
        """Continue the login. ``error``: why the password was rejected; None: it is right."""
        self._login_attempt = None
        self.state = SessionState.GREETED
        self._transport.resume()
        try:
            if error is not None:
                raise error
            self._accept(hello)
        except RefusalError as refusal:
            self._refuse(refusal, hello)
        if self.state is not SessionState.ENDED:
            joined = self.state is SessionState.JOINED
            self._login_payload_received(None if joined else self._stream.decoder.receive_one())

    def _accept(self, hello: Hello) -> None:
        """Sign the user in and send the welcome. Raises `RefusalError`."""
        context, hub = self._context, self._context.hub
        member = hub.sign_in(
            hello.name,
            self._transport.address,
            self,
            hash_client_secret(hello.client),
            alongside=hello.beside,
        )
        self._timer.cancel()
        self._heartbeat.start()
        self.state = SessionState.JOINED
        self._member = member
        if member.client_id is not None:
            self._stream.meter.sign_in(member.client_id)
        rooms, refusals = self._join_first_rooms(member, hello.resume)
        listed = [
            {
                "room": room.name,
                "seq": room.seq,
                "topic": room.topic,
                "members": len(room.members),
                "salt": room.salt,
            }
            for room in rooms
        ]
        fitting = self.format.count_fitting(listed, _WELCOME_SIZE)
        for room in [*rooms][fitting:]:  # only with a short header: many rooms with long topics
            del rooms[room]
            hub.leave_room(member, room)
            refusals.append((room.name, TooManyRoomsError(fitting)))
        del listed[fitting:]
        inbox, confirmed, waiting = hub.inbox(member)
        settings = context.settings
        self._reply(
            self.format.frame(
                "welcome",
                version=VERSION,
                name=member.name,
                log=hub.log.id,
                server=context.software,
                rooms=listed,
                whispers=waiting,
                salt=hub.direct_salt,
                limits={
                    "frame": self._max_payload,
                    "name": settings.name_length,
                    "room": ROOM_LENGTH,
                    "topic": TOPIC_LENGTH,
                    "id": ID_LENGTH,
                    "cipher": CIPHER_LENGTH,
                    "rooms": settings.rooms_per_member,
                    "history": HISTORY_LIMIT,
                    "unacknowledged": settings.unacknowledged,
                },
                rates={
                    "messages": settings.message_rate,
                    "burst": settings.message_burst,
                    "bytes": settings.byte_rate,
                },
            )
        )
        self._stream.meter.charge(Costs.JOIN * len(rooms))
        for name, error in refusals:
            self._reply(self.format.error(error, room=name))
        if waiting:
            self._replays.add(Replay(inbox, None, confirmed, to=member.name))
        for room, seq in rooms.items():
            self._resume(room, seq)

    def _join_first_rooms(
        self, member: Member, resume: Resume | None
    ) -> tuple[dict[Room, int | None], list[tuple[str, RefusalError]]]:
        """Join the lobby or the resumed rooms.

        Return each joined room with the last ``seq`` that the client received, and the refused rooms.
        """
        hub = self._context.hub
        requested: dict[str, int | None] = {LOBBY: None}
        if resume is not None:
            same_log = resume.log == hub.log.id
            requested = {name: seq if same_log else 0 for name, seq in resume.rooms.items()}
        joined: dict[Room, int | None] = {}
        refusals: list[tuple[str, RefusalError]] = []
        for name, seq in requested.items():
            try:
                room = hub.join_room(member, name)
            except RefusalError as error:
                refusals.append((name, error))
            else:
                joined.setdefault(room, seq)
        return joined, refusals

    # -- requests --------------------------------------------------------------------------------------

    def _handle(self, request: Request) -> None:
        kind = type(request)
        if kind is Hello:
            raise DuplicateHelloError
        _HANDLERS[kind](self, request)

    def _admit_long(self, say: Say, size: int) -> bool:
        """Return whether a long message may pass now; it is work for each of its readers."""
        room = self._context.hub.rooms.find(say.room)
        readers = 0 if room is None else len(room.members)
        return self._stream.meter.admit(Costs.long_message(size, readers))

    def _handle_say(self, batch: list[Say]) -> None:
        hub, member = self._context.hub, self._get_member()
        ids = [say.id for say in batch]
        try:
            room = hub.joined_room(member, batch[0].room)
        except RefusalError as error:
            self.reject(error, ids)
            return
        hub.send(member, room, [say.body for say in batch], ids, [say.cipher for say in batch])

    def _handle_whisper(self, whisper: Whisper) -> None:
        hub, member = self._context.hub, self._get_member()
        try:
            if name_key(whisper.to) == name_key(SERVER):
                self._handle_command(whisper)
            else:
                hub.send_direct(member, whisper.to, whisper.body, whisper.id, whisper.cipher)
        except RefusalError as error:
            self.reject(error, [whisper.id])

    def _handle_command(self, whisper: Whisper) -> None:
        """Run a command to the server and reply with its output. Raises `NotOperatorError`."""
        member = self._get_member()
        self._stream.meter.charge(Costs.COMMAND)
        run = self._context.command(whisper.body, member)
        self._reply(self.format.ack(whisper.id, "", SERVER, 0, self._context.hub.time()))
        for line in run():
            self._send_text(line, member)  # the session has no member any more if operators ban themselves

    def _send_text(self, text: str, member: Member) -> None:
        message = Said("@", 0, SERVER, text, self._context.hub.time())
        self._reply(self.format.whispered(message, member.name))

    def _handle_join(self, join: Join) -> None:
        hub, member = self._context.hub, self._get_member()
        before = len(member.rooms)
        room = hub.join_room(member, join.room)
        self._send_users(room)
        if len(member.rooms) > before:
            self._resume(room, join.after)

    def _handle_part(self, part: Part) -> None:
        hub, member = self._context.hub, self._get_member()
        room = hub.joined_room(member, part.room)
        subscription = member.rooms[room]
        if subscription is not None:
            self._transport.outbox.leave(subscription)
        self._replays.drop(room)
        hub.leave_room(member, room)
        self._reply(self.format.frame("left", room=room.name, names=[member.name], total=len(room.members)))

    def _handle_topic(self, topic: SetTopic) -> None:
        hub, member = self._context.hub, self._get_member()
        hub.set_topic(member, hub.joined_room(member, topic.room), topic.topic)

    def _handle_history(self, request: GetHistory) -> None:
        hub = self._context.hub
        room = hub.joined_room(self._get_member(), request.room)
        newest = request.after is None
        if request.after is not None:
            found = hub.rooms.after(room, request.after, request.limit, HISTORY_BYTES)
        else:
            found = hub.rooms.before(room, request.before, request.limit, HISTORY_BYTES)
        self._stream.meter.charge(Costs.HISTORY_MESSAGE * len(found))
        page = self.format.fit_history(found, newest)
        more = False
        if page.messages:
            if newest:
                more = bool(hub.rooms.before(room, page.messages[0].seq, 1, 1))
            else:
                more = page.messages[-1].seq < hub.log.last_seq(room.name)
        self._reply(self.format.history(room.name, page, more))

    def _handle_users(self, request: GetUsers) -> None:
        room = self._context.hub.rooms.find(request.room)
        if room is None:
            raise NoSuchRoomError(request.room)
        self._send_users(room)

    def _send_users(self, room: Room) -> None:
        roster = room.snapshot(MAX_LISTED)
        self._stream.meter.charge(Costs.USER * len(roster.names))
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

    def _handle_rooms(self, request: GetRooms) -> None:
        all_rooms = self._context.hub.rooms
        self._stream.meter.charge(Costs.SORTED_ROOM * all_rooms.unsorted)
        found, total = all_rooms.list(request.start, ROOM_PAGE)
        self._stream.meter.charge(Costs.ROOM * len(found))
        rooms = [
            {"room": room.name, "members": room.members, "topic": room.topic, "seq": room.seq}
            for room in found
        ]
        self._reply(self.format.listed("rooms", "rooms", rooms, start=request.start, total=total))

    def _handle_confirm(self, confirm: Confirm) -> None:
        self._context.hub.confirm_direct(self._get_member(), confirm.whisper)

    def _handle_ping(self, ping: Ping) -> None:
        fields = {} if ping.token is None else {"token": ping.token}
        self._reply(self.format.frame("pong", **fields))

    def _handle_pong(self, _pong: Pong) -> None:
        pass

    def _handle_bye(self, _bye: Bye) -> None:
        self.disconnect(_GOODBYE)

    # -- subscriptions ---------------------------------------------------------------------------------

    def _resume(self, room: Room, seq: int | None) -> None:
        """Send the room's messages above ``seq``, then new ones; None: only new ones."""
        if seq is None or seq >= room.seq:
            self._subscribe(room)
        else:
            self._replays.add(Replay(room.name, room, seq))

    def _subscribe(self, room: Room) -> None:
        """Send the room's new messages from now on."""
        subscription = self._transport.outbox.subscribe(
            room.feed(self.format), lambda lapped: self._on_lapped(room, lapped)
        )
        self._get_member().rooms[room] = subscription

    def _on_lapped(self, room: Room, lapped: Lapped) -> bytes:
        """Continue from the log. Return the rest of the frame that is partly sent."""
        count, rest = self.format.delivered_before(lapped.chunk, lapped.offset)
        self._get_member().rooms[room] = None
        self._replays.add(Replay(room.name, room, lapped.mark + count, lapped=True))
        return rest

    # ----------------------------------------------------------------------------------------------------

    def _get_member(self) -> Member:
        assert self._member is not None
        return self._member

    def _reply(self, data: bytes) -> None:
        self._transport.outbox.reply(data)

    def _refuse(self, error: RefusalError, request: Request | None) -> None:
        fields = {name: getattr(request, name) for name in ("id", "room") if hasattr(request, name)}
        self._reply(self.format.error(error, **fields))
        if isinstance(error, BannedError):
            self.disconnect(Farewell("banned", str(error), str(error), until=error.ends))

    def _fail(self, error: SelchatError) -> None:
        """Send the reason and close the connection."""
        if self.state is SessionState.ENDED:
            return
        code = "protocol"
        if isinstance(error, LimitError):
            code = "timeout"
        elif isinstance(error, ClosedError):
            code = "goodbye"
        self._transport.close(str(error) or None, self.format.bye(code, None, error))


def _size(payload: bytes | str) -> int:
    """Return the bytes of a payload."""
    return len(payload if isinstance(payload, bytes) else payload.encode())


# What the loop spends on a request before its answer's length is known; the handlers charge the rest.
_COSTS: dict[type, float] = {
    Join: Costs.JOIN + Costs.USERS,
    Part: Costs.PART,
    SetTopic: Costs.TOPIC,
    GetHistory: Costs.HISTORY,
    GetUsers: Costs.USERS,
    GetRooms: Costs.ROOMS,
}

_HANDLERS: dict[type, Callable[[SelchatSession, Any], None]] = {
    Whisper: SelchatSession._handle_whisper,
    Join: SelchatSession._handle_join,
    Part: SelchatSession._handle_part,
    SetTopic: SelchatSession._handle_topic,
    GetHistory: SelchatSession._handle_history,
    GetUsers: SelchatSession._handle_users,
    GetRooms: SelchatSession._handle_rooms,
    Confirm: SelchatSession._handle_confirm,
    Ping: SelchatSession._handle_ping,
    Pong: SelchatSession._handle_pong,
    Bye: SelchatSession._handle_bye,
}
