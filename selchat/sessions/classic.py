"""Session of the classic protocol: the first frame is a username, every other frame is a message."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

from selchat.chat.member import Member
from selchat.chat.peer import Farewell
from selchat.config.settings import Costs
from selchat.errors import BannedError, ProtocolError, RefusalError, SelchatError
from selchat.events import LOBBY, Notice, Said
from selchat.limits import SHORT_BODY
from selchat.log.port import Sent
from selchat.sessions.context import Context, Transport
from selchat.sessions.inbound import InboundStream
from selchat.text import clean_name, name_key
from selchat.wire.classic import ClassicFormat
from selchat.wire.responses import json_growth


class BadNameError(ProtocolError):
    def __str__(self) -> str:
        return "username is not UTF-8"


class SessionState(Enum):
    """``NAMELESS`` becomes ``JOINED`` with the username; ``ENDED`` is final."""

    NAMELESS = auto()
    JOINED = auto()
    ENDED = auto()


class ClassicSession:
    """One classic client. It is a `Session` for its connection and a `Peer` for the hub."""

    __slots__ = ("_context", "_member", "_name_notice", "_stream", "_transport", "state")
    wire_name = "classic"

    def __init__(self, context: Context, transport: Transport, stream: InboundStream[bytes]) -> None:
        self.state = SessionState.NAMELESS
        self._context = context
        self._transport = transport
        self._stream = stream
        self._member: Member | None = None
        self._name_notice: Notice | None = None  # tells the user that the server has changed their name

    # -- calls from the connection ---------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self.payloads_received(self._stream.receive_data(data))

    def first_payload_received(self, payload: bytes) -> None:
        """Handle the username."""
        if self._sign_in(payload):
            self.payloads_received(self._stream.lift_limits(self._transport, self.payloads_received))

    def payloads_received(self, payloads: list[bytes]) -> None:
        """Handle messages."""
        member = self._member
        if payloads and member is not None:
            if self._stream.has_rates:
                payloads = self._admit(payloads)
            # Invalid UTF-8 would crash every client that decodes it; the rest of a body is opaque.
            bodies = [payload.decode("utf-8", "replace") for payload in payloads]
            hub = self._context.hub
            hub.send(member, hub.lobby, bodies)
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
        self._context.hub.lobby.after_publish.discard(self._on_first_events)
        member, self._member = self._member, None
        if member is not None:
            self._context.hub.sign_out(member, reason)
        else:
            self._context.observer.closed_before_login(self._transport.address, reason)

    # -- calls from the hub ----------------------------------------------------------------------------

    @property
    def format(self) -> ClassicFormat:
        return self._context.classic

    def send_notice(self, notice: Notice) -> None:
        if self.state is SessionState.NAMELESS:
            self._name_notice = notice
        else:
            self._transport.outbox.reply(self.format.encode([notice]))

    def acknowledge(self, messages: Sequence[Said]) -> None:
        pass  # the classic protocol has no receipts

    def acknowledge_repeated(self, messages: Sequence[Sent]) -> None:
        raise AssertionError  # nor ids

    def reject(self, error: RefusalError, ids: Sequence[str]) -> None:
        self.send_notice(Notice(f"Not sent: {error}."))

    def deliver_direct(self, message: Said, to: str) -> None:
        # The mark goes to the name and not to the body, which may be encrypted.
        marked = message._replace(author=f"{message.author} (whispers)")
        self._transport.outbox.reply(self.format.encode([marked]))

    def disconnect(self, farewell: Farewell) -> None:
        if self.state is not SessionState.ENDED:
            self._close(farewell.notice, farewell.reason)

    # ----------------------------------------------------------------------------------------------------

    def _admit(self, payloads: list[bytes]) -> list[bytes]:
        """Return the messages that may pass now; the others wait.

        A long message is work for each of its readers. It is charged by its bytes in JSON, in which a control
        character takes six. The message rate limits short ones.
        """
        stream = self._stream
        for place, payload in enumerate(payloads):
            if len(payload) > SHORT_BODY:
                growth = json_growth(payload.decode("utf-8", "replace"), len(payload))
                readers = len(self._context.hub.lobby.members)
                if not stream.meter.admit(Costs.long_message(len(payload) + growth, readers)):
                    stream.defer(payloads[place:])
                    return payloads[:place]
                stream.charge_bytes(growth)
        return payloads

    def _sign_in(self, payload: bytes) -> bool:
        """Sign the user in under the name in the payload; return whether that worked."""
        hub = self._context.hub
        try:
            name = payload.decode()
        except UnicodeDecodeError:
            self._fail(BadNameError())
            return False
        try:
            member = hub.sign_in_guest(name, self._transport.address, self)
        except BannedError as error:
            self._fail(error)
            return False
        self.state = SessionState.JOINED
        self._member = member
        lobby = hub.join_room(member, LOBBY)
        member.rooms[lobby] = self._transport.outbox.subscribe(lobby.feed(self.format))
        if self._name_notice is None:
            self._name_notice = self._describe_name(name, member.name)
        if self._name_notice is not None:
            # Clients in the wild expect nothing before the first message or roster.
            lobby.after_publish.add(self._on_first_events)
        return True

    def _describe_name(self, requested: str, name: str) -> Notice | None:
        """Return a notice for a user who did not get the requested name."""
        if name_key(name) == name_key(" ".join(requested.split())):
            return None
        cleaned = clean_name(requested, self._context.settings.name_length)
        if not cleaned or name_key(name) == name_key(cleaned):
            return Notice(f"Your name is {name}.")
        return Notice(f"Your name is {name}, because {cleaned} is taken or looks like another name.")

    def _on_first_events(self) -> None:
        # In the next tick, because replies come before the events of the same tick.
        self._context.clock.call_later(0.0, self._send_name_notice)

    def _send_name_notice(self) -> None:
        notice, self._name_notice = self._name_notice, None
        if notice is not None and self.state is SessionState.JOINED:
            self.send_notice(notice)

    def _fail(self, error: SelchatError) -> None:
        """Send the reason as a message, which is all that classic clients can read, and close."""
        if self.state is not SessionState.ENDED:
            self._close(f"Closing this connection: {error}.", str(error))

    def _close(self, text: str, reason: str) -> None:
        """Close the connection; the last pair has the text, if any."""
        self._transport.close(reason, self.format.encode([Notice(text)] if text else []))
