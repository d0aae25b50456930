"""HTTP API for scripts: ``POST /rooms/ROOM/messages``.

A script has no lasting connection, receives no messages and is in no roster. Its name, exactly-once delivery,
moderation and history work as for every other user. So the hub has an `ApiMember` for each name, which signs
out after some idle time. docs/http.rst is the specification. This module does not know how requests are
encoded.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from selchat.auth.tokens import Token, TokenFile
from selchat.chat.hub import Hub
from selchat.chat.peer import Farewell
from selchat.chat.people import hash_api_name
from selchat.chat.rooms import Creator
from selchat.clock import Clock
from selchat.config.settings import Settings
from selchat.errors import BadRoomError, NameTakenError, RefusalError, UsageError
from selchat.events import Notice, Said
from selchat.limits import API_IDLE_SECONDS, API_RETRY_SECONDS
from selchat.log.port import NotReadableError, NotStoredError, Sent
from selchat.sessions.inbound import byte_bucket, byte_burst, message_bucket
from selchat.text import clean_room, name_key
from selchat.wire.http_message import ContentEncodingError, MediaTypeError, parse_posted
from selchat.wire.requests import BadMessageError, BodyTooLongError
from selchat.wire.responses import SelchatFormat
from selchat.wire.strict_json import BadJsonError


class BadTokenError(RefusalError):
    """The request has no valid token. ``given``: whether it has a token at all."""

    def __init__(self, given: bool) -> None:
        super().__init__(given)
        self.given = given

    def __str__(self) -> str:
        if self.given:
            return "this token is unknown or revoked"
        return "a token is required: Authorization: Bearer TOKEN. The operator creates one with selchat token"


class WrongRoomError(RefusalError):
    """The token is for another room, ``room``."""

    def __init__(self, room: str) -> None:
        super().__init__(room)
        self.room = room

    def __str__(self) -> str:
        return f"this token is valid only for the room {self.room}"


class NoTokensError(RefusalError):
    text = "the server cannot read its tokens now"


class RateLimitError(RefusalError):
    """The client exceeds its rate. ``seconds``: when it should try again."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        return f"too many messages; try again in {self.seconds:.1f} s"


# The status of each refusal, and its code where the selchat protocol has none. All others are 403.
_STATUS: dict[type[RefusalError], tuple[int, str]] = {
    BadTokenError: (401, "bad-token"),
    WrongRoomError: (403, "other-room"),
    BadJsonError: (400, ""),
    BadMessageError: (400, ""),
    BadRoomError: (400, ""),
    NameTakenError: (409, ""),
    BodyTooLongError: (413, ""),
    MediaTypeError: (415, "media-type"),
    RateLimitError: (429, "too-fast"),
    NoTokensError: (503, "no-tokens"),
    NotStoredError: (503, ""),
    NotReadableError: (503, ""),
}

# The code of each status with which the server refuses a request before it reads the message.
_CODES = {
    400: "bad-request",
    403: "forbidden",
    404: "not-found",
    405: "bad-method",
    408: "timeout",
    413: "too-long",
    414: "address-too-long",
    417: "bad-expectation",
    421: "wrong-host",
    431: "head-too-long",
    501: "not-supported",
    503: "full",
    505: "bad-version",
}


class ApiResponse(NamedTuple):
    """The response to a request. ``headers``: in addition to Content-Type and Content-Length."""

    status: int
    document: Mapping[str, object]
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def body(self) -> bytes:
        """The document as JSON (`CONTENT_TYPE`)."""
        return json.dumps(self.document, ensure_ascii=False).encode() + b"\n"


CONTENT_TYPE = "application/json"

Responder = Callable[[ApiResponse], object]


class Posting(NamedTuple):
    """A message of which only the head of the request is known. ``ids``: the message ids outside the body."""

    name: str
    address: str
    room: str
    media_type: str
    ids: tuple[str, ...]


class MessageApi:
    """Accept the messages that scripts post to a server.

    ``format``: the format of the selchat protocol. ``warn``: shows a warning to the operator.
    """

    def __init__(
        self,
        settings: Settings,
        hub: Hub,
        clock: Clock,
        format: SelchatFormat,
        tokens: TokenFile,
        warn: Callable[[str], object],
    ) -> None:
        self._settings = settings
        self._hub = hub
        self._clock = clock
        self._format = format
        self._tokens = tokens
        self._warn = warn
        self._warned = ""
        self._members: dict[str, ApiMember] = {}  # by `name_key`

    def reconfigure(self, settings: Settings) -> None:
        """Apply these settings from now on."""
        self._settings = settings
        for member in self._members.values():
            member.reconfigure(settings)

    @property
    def body_limit(self) -> int:
        """Bytes of a request's body: the same limit as for a frame."""
        return min(self._settings.payload_limit, self._max_body)

    def begin(self, room: str, headers: Mapping[str, str], ids: tuple[str, ...], address: str) -> Posting:
        """Check the head of a request; return the message, to be sent when its body has arrived.

        ``room`` and ``ids``, the message ids in the query, are percent-decoded. The names of ``headers`` are
        in lower case. ``address``: the client's, as ``host:port``. Raises `RefusalError`.
        """
        try:
            token = self._token(headers.get("authorization", ""))
        except UsageError as error:  # the token file or its folder
            if self._warned != str(error):
                self._warned = str(error)
                self._warn(f"all API tokens are rejected because the token file cannot be read: {error}")
            raise NoTokensError from error
        if not token.allows(room):
            raise WrongRoomError(token.room)
        if not clean_room(room):
            raise BadRoomError(room)
        coding = headers.get("content-encoding", "").strip().lower()
        if coding not in {"", "identity"}:
            raise ContentEncodingError(coding)
        self._get_member(token.name, address)
        key = _unquote(headers.get("idempotency-key"))
        if key is not None:
            ids = (key, *ids)
        return Posting(token.name, address, room, headers.get("content-type", ""), ids)

    def finish(self, posting: Posting, body: bytes, respond: Responder) -> None:
        """Send the message in the body; call ``respond`` once, now or at the end of this tick."""
        try:
            # Again, because a slow body leaves time for a ban, and for the member to sign out.
            member = self._get_member(posting.name, posting.address)
            member.throttle(self._clock.now, len(body))
            if len(body) > self.body_limit:
                raise BodyTooLongError(len(body), self.body_limit)
            message = parse_posted(posting.media_type, body, posting.ids)
            id = message.id or secrets.token_hex(16)
            length = _json_size(message.body)
            if length + _json_size(id) > self._max_body:  # with its escapes, it does not fit into a frame
                raise BodyTooLongError(length + _json_size(id), self._max_body)
            member.charge_bytes(length - 2 - len(body))
            member.send(posting.room, message.body, id, respond)
        except RefusalError as error:
            respond(error_response(error))

    # ----------------------------------------------------------------------------------------------------

    def _token(self, authorization: str) -> Token:
        scheme, _, secret = authorization.strip().partition(" ")
        if scheme.lower() != "bearer" or not secret:
            raise BadTokenError(False)
        token = self._tokens.find(secret.strip())
        self._warned = ""
        if token is None:
            raise BadTokenError(True)
        return token

    def _get_member(self, name: str, address: str) -> ApiMember:
        """Return the member of that name, signed in. Raises the errors of `Hub.sign_in_send_only`."""
        key = name_key(name)
        member = self._members.get(key)
        if member is None:
            member = ApiMember(self._hub, self._format, name, address, self._settings, self._clock.now)
            self._members[key] = member
            self._clock.call_later(API_IDLE_SECONDS, self._check_idle, key)
        member.member.address = address
        member.check_banned()
        return member

    def _check_idle(self, key: str) -> None:
        """Sign an idle member out, or check again later."""
        member = self._members[key]
        remaining = member.used_at + API_IDLE_SECONDS - self._clock.now
        if remaining > 0 or member.pending:
            self._clock.call_later(max(remaining, 1.0), self._check_idle, key)
        else:
            del self._members[key]
            self._hub.sign_out_send_only(member.member)

    @property
    def _max_body(self) -> int:
        return self._format.message_limit(self._settings.name_length)


class ApiMember:
    """A `Peer` that only sends: one name that posts messages.

    ``pending``: the responders of unfinished requests, by message id. Requests with the same id in one tick
    are one message. ``used_at``: when the name last posted, on the clock.

    Raises the errors of `Hub.sign_in_send_only`.
    """

    __slots__ = ("_bytes", "_format", "_hub", "_messages", "member", "pending", "used_at")

    def __init__(
        self, hub: Hub, format: SelchatFormat, name: str, address: str, settings: Settings, now: float
    ) -> None:
        self._hub = hub
        self._format = format
        self._messages = message_bucket(settings, now)
        self._bytes = byte_bucket(settings, now)
        self.used_at = now
        self.pending: dict[str, list[Responder]] = {}
        self.member = hub.sign_in_send_only(name, address, self, hash_api_name(name))

    def check_banned(self) -> None:
        """Raise `BannedError` if the operator has banned this name or its latest address."""
        self._hub.check_banned(self.member)

    def reconfigure(self, settings: Settings) -> None:
        """Apply the new rate limits."""
        self._messages.set_limits(settings.message_rate, settings.message_burst)
        self._bytes.set_limits(settings.byte_rate, byte_burst(settings))

    def charge_bytes(self, growth: int) -> None:
        """Charge the bytes by which a message is longer in JSON than in its request."""
        self._bytes.tokens -= max(0, growth)

    def throttle(self, now: float, size: int) -> None:
        """Count a message of ``size`` bytes. Raises `RateLimitError` if it exceeds the rate.

        A connection that exceeds these rates is read more slowly. An HTTP client gets an error instead.
        """
        self.used_at = now
        self._messages.refill(now)
        self._bytes.refill(now)
        wait = self._messages.wait(1) or self._bytes.wait(size)
        if wait:
            raise RateLimitError(wait)
        self._messages.tokens -= 1
        self._bytes.tokens -= size

    def send(self, room: str, body: str, id: str, respond: Responder) -> None:
        """Send a message to a room; create the room if it does not exist, as `join` does.

        Raises `BadRoomError`, `TooManyRoomsError` and `RoomRateError`.
        """
        found = self._hub.rooms.get_or_create(room, Creator(self.member.client_id, self.member.host))
        self.pending.setdefault(id, []).append(respond)
        self._hub.send(self.member, found, [body], [id], [None])

    # -- calls from the hub ----------------------------------------------------------------------------

    @property
    def format(self) -> SelchatFormat:
        return self._format

    def send_notice(self, notice: Notice) -> None:
        pass  # this member only sends

    def acknowledge(self, messages: Sequence[Said]) -> None:
        for message in messages:
            status = 201
            for respond in self.pending.pop(message.id, ()):
                respond(self._receipt(status, message.room, message.seq, message.at, message.id))
                status = 200

    def acknowledge_repeated(self, messages: Sequence[Sent]) -> None:
        for id, room, seq, at in messages:
            for respond in self.pending.pop(id, ()):
                respond(self._receipt(200, room, seq, at, id))

    def reject(self, error: RefusalError, ids: Sequence[str]) -> None:
        for id in ids:
            for respond in self.pending.pop(id, ()):
                respond(error_response(error))

    def deliver_direct(self, message: Said, to: str) -> None:
        pass  # the log may keep the message for a client that signs in under this name later

    def disconnect(self, farewell: Farewell) -> None:
        raise AssertionError("the hub disconnects only members that are online")

    # ----------------------------------------------------------------------------------------------------

    def _receipt(self, status: int, room: str, seq: int, at: float, id: str) -> ApiResponse:
        document = {"room": room, "seq": seq, "at": round(at, 3), "id": id, "from": self.member.name}
        return ApiResponse(status, document)


def error_response(error: RefusalError) -> ApiResponse:
    """Return the response to a refused request."""
    status, code = next(
        (_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS),
        (403, ""),
    )
    headers: tuple[tuple[str, str], ...] = ()
    if isinstance(error, BadTokenError):
        problem = ', error="invalid_token"' if error.given else ""  # RFC 6750, 3.1
        headers = (("WWW-Authenticate", f'Bearer realm="selchat"{problem}'),)
    elif isinstance(error, RateLimitError):
        headers = _retry_after(error.seconds)
    elif status == 503:
        headers = _retry_after(API_RETRY_SECONDS)
    return ApiResponse(status, {"error": error.code or code, "message": str(error)}, headers)


def http_error_response(status: int, why: str, headers: Mapping[str, str], code: str = "") -> ApiResponse:
    """Return the response to a request that failed for another reason than its message."""
    return ApiResponse(status, {"error": code or _CODES[status], "message": why}, tuple(headers.items()))


def _retry_after(seconds: float) -> tuple[tuple[str, str], ...]:
    return (("Retry-After", str(max(1, math.ceil(seconds)))),)


def _json_size(text: str) -> int:
    """Return the bytes of a text as a JSON string."""
    return len(json.dumps(text, ensure_ascii=False).encode())


def _unquote(key: str | None) -> str | None:
    """Return an Idempotency-Key without its quotes. The IETF draft requires them; many clients omit them."""
    if key is not None and len(key) > 1 and key[0] == key[-1] == '"':
        return key[1:-1]
    return key
