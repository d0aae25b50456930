"""What scripts say over HTTP: ``POST /rooms/ROOM/messages``, from a request as a value to its answer as one.

Who posts has no connection that stays, hears nothing, and is in no roster; yet the name is theirs as any
other, and so are exactly-once, moderation and history. So there is a `ApiMember` for each name, a member of the
chat who has never come in, and goes after a while of silence. How a request looks on the wire, this file does
not know; docs/http.rst says what goes in and what comes out.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from selchat.auth.tokens import Token, TokenFile
from selchat.chat.hub import Hub
from selchat.chat.peer import Farewell, Format
from selchat.chat.people import hash_api_name
from selchat.clock import Clock
from selchat.config.settings import Settings
from selchat.errors import BadRoomError, NameTakenError, RefusalError, UsageError
from selchat.events import Notice, Said
from selchat.log.port import NotReadableError, NotStoredError, Sent
from selchat.sessions.inbound import byte_bucket, byte_burst, message_bucket
from selchat.text import name_key
from selchat.wire.frames import largest_payload
from selchat.wire.http_message import MediaTypeError, parse_posted
from selchat.wire.requests import BadMessageError, BodyTooLongError
from selchat.wire.responses import PAYLOAD_LIMIT
from selchat.wire.strict_json import BadJsonError


class BadTokenError(RefusalError):
    """``given``: whether there was a token at all."""

    def __init__(self, given: bool) -> None:
        super().__init__(given)
        self.given = given

    def __str__(self) -> str:
        if self.given:
            return "that token is not known here, or was revoked"
        return "a token is needed, as Authorization: Bearer TOKEN; selchat token makes one"


class WrongRoomError(RefusalError):
    """``room``: the one that the token is for."""

    def __init__(self, room: str) -> None:
        super().__init__(room)
        self.room = room

    def __str__(self) -> str:
        return f"that token is for the room {self.room} alone"


class RateLimitError(RefusalError):
    """``seconds``: when to try again."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        return f"too many messages; try again in {self.seconds:.1f} s"


_QUIET = 60.0  # seconds without a message after which a poster goes; the next one costs a look into the log
_ROUND = 512  # bytes that stand around a body in a frame: names, numbers
_STORE_SECONDS = 5  # after which to try again what could not be stored

# What each refusal is as a status, and in a word where the selchat protocol has none. Those not listed are 403.
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
    NotStoredError: (503, ""),
    NotReadableError: (503, ""),
}


class Answer(NamedTuple):
    """The answer to a request; ``headers`` beside those that say what and how long the body is."""

    status: int
    document: Mapping[str, object]
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def body(self) -> bytes:
        """The document as JSON, which is what `CONTENT_TYPE` says."""
        return json.dumps(self.document, ensure_ascii=False).encode() + b"\n"


CONTENT_TYPE = "application/json"

Answerer = Callable[[Answer], object]


class MessageApi:
    """Takes what is posted to a server. ``format`` is that of the selchat protocol, and ``warn`` tells the operator.

    ``now`` and timers are those of the ``clock``.
    """

    def __init__(
        self,
        settings: Settings,
        hub: Hub,
        clock: Clock,
        format: Format,
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
        self._posters: dict[str, ApiMember] = {}  # by the key of the name

    def reconfigure(self, settings: Settings) -> None:
        """Apply these settings from now on."""
        self._settings = settings
        for member in self._posters.values():
            member.reconfigure(settings)

    @property
    def body_limit(self) -> int:
        """Bytes of a request's body: the frame limit, as for everyone."""
        return min(self._settings.payload_limit, self._largest)

    def post(
        self,
        room: str,
        headers: Mapping[str, str],
        query: Mapping[str, str],
        body: bytes,
        address: str,
        answer: Answerer,
    ) -> None:
        """Say in a room what the body holds, and call ``answer`` once: now, or when this tick ends.

        ``room`` and ``query`` are without percents, the names of ``headers`` in small letters; ``address`` is
        the peer's, as ``host:port``.
        """
        try:
            token = self._token(headers.get("authorization", ""))
            if not token.allows(room):
                raise WrongRoomError(token.room)
            poster = self._poster(token.name, address)
            poster.check()
            poster.throttle(self._clock.now, len(body))
            if len(body) > self.body_limit:
                raise BodyTooLongError(len(body), self.body_limit)
            given = (_unquoted(headers.get("idempotency-key")), query.get("id"))
            posted = parse_posted(
                headers.get("content-type", ""), body, tuple(id for id in given if id is not None)
            )
            length = len(json.dumps(posted.body, ensure_ascii=False).encode())
            if length > self._largest:  # with escapes, it would not fit into a frame any more
                raise BodyTooLongError(length, self._largest)
            poster.say(room, posted.body, posted.id or secrets.token_hex(16), answer)
        except RefusalError as error:
            answer(refusal(error))
        except UsageError as error:  # of the file, or there is no folder for it
            if self._warned != str(error):
                self._warned = str(error)
                self._warn(f"no token is good: {error}")
            document = {"error": "no-tokens", "message": "the server cannot read its tokens now"}
            answer(Answer(503, document, _retry_after(_STORE_SECONDS)))

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

    def _poster(self, name: str, address: str) -> ApiMember:
        key = name_key(name)
        poster = self._posters.get(key)
        if poster is None:
            poster = ApiMember(self._hub, self._format, name, address, self._settings, self._clock.now)
            self._posters[key] = poster
            self._clock.call_later(_QUIET, self._look, key)
        poster.member.address = address
        return poster

    def _look(self, key: str) -> None:
        """Let a poster go that has been silent for a while."""
        poster = self._posters[key]
        left = poster.used_at + _QUIET - self._clock.now
        if left > 0 or poster.waiting:
            self._clock.call_later(max(left, 1.0), self._look, key)
        else:
            del self._posters[key]
            self._hub.sign_out_send_only(poster.member)

    @property
    def _largest(self) -> int:
        return largest_payload(self._settings.header_length, PAYLOAD_LIMIT) - _ROUND


class ApiMember:
    """One name, as the hub sees it: a `Peer` that hears nothing but what has become of its messages.

    ``waiting``: those who want an answer, by the id of the message; two that are posted in one tick under the
    same id are one message. ``used_at``: when it has last said something, on the clock.

    Raises what `Hub.sign_in_send_only` raises.
    """

    __slots__ = ("_bytes", "_format", "_hub", "_messages", "member", "used_at", "waiting")

    def __init__(
        self, hub: Hub, format: Format, name: str, address: str, settings: Settings, now: float
    ) -> None:
        self._hub = hub
        self._format = format
        self._messages = message_bucket(settings, now)
        self._bytes = byte_bucket(settings, now)
        self.used_at = now
        self.waiting: dict[str, list[Answerer]] = {}
        self.member = hub.sign_in_send_only(name, address, self, hash_api_name(name))

    def check(self) -> None:
        """Raise `BannedError` if it may not be here any more."""
        self._hub.moderation.check_name(self.member.name, self.member.client_id)

    def reconfigure(self, settings: Settings) -> None:
        """Apply the new rate limits."""
        self._messages.set_limits(settings.message_rate, settings.message_burst)
        self._bytes.set_limits(settings.byte_rate, byte_burst(settings))

    def throttle(self, now: float, size: int) -> None:
        """Count a message of ``size`` bytes. Raises `RateLimitError` if it exceeds the rate.

        The rates are those of a connection. The server stops reading a connection that exceeds them; an HTTP
        client has to be told.
        """
        self.used_at = now
        self._messages.refill(now)
        self._bytes.refill(now)
        wait = self._messages.wait(1) or self._bytes.wait(size)
        if wait:
            raise RateLimitError(wait)
        self._messages.tokens -= 1
        self._bytes.tokens -= size

    def say(self, room: str, body: str, id: str, answer: Answerer) -> None:
        """Say it in that room, which is made if there is none, as `join` does.

        Raises `BadRoomError` and `TooManyRoomsError`.
        """
        found = self._hub.rooms.get_or_create(room)
        self.waiting.setdefault(id, []).append(answer)
        self._hub.send(self.member, found, [body], [id], [None])

    # -- the hub's side --------------------------------------------------------------------------------

    @property
    def format(self) -> Format:
        return self._format

    def send_notice(self, notice: Notice) -> None:
        pass  # it does not listen

    def acknowledge(self, messages: Sequence[Said]) -> None:
        for message in messages:
            status = 201
            for answer in self.waiting.pop(message.id, ()):
                answer(self._answer(status, message.room, message.seq, message.at, message.id))
                status = 200

    def acknowledge_repeated(self, messages: Sequence[Sent]) -> None:
        for id, room, seq, at in messages:
            for answer in self.waiting.pop(id, ()):
                answer(self._answer(200, room, seq, at, id))

    def reject(self, error: RefusalError, ids: Sequence[str]) -> None:
        for id in ids:
            for answer in self.waiting.pop(id, ()):
                answer(refusal(error))

    def deliver_direct(self, message: Said, to: str) -> None:
        pass  # it is in no roster, but the log may keep it for whoever has the name later

    def disconnect(self, farewell: Farewell) -> None:
        raise AssertionError("only those who are here can be dismissed")

    # ----------------------------------------------------------------------------------------------------

    def _answer(self, status: int, room: str, seq: int, at: float, id: str) -> Answer:
        said = {"room": room, "seq": seq, "at": round(at, 3), "id": id, "from": self.member.name}
        return Answer(status, said)


def refusal(error: RefusalError) -> Answer:
    """Return what a request is answered that cannot have what it asks for."""
    status, word = next(
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
        headers = _retry_after(_STORE_SECONDS)
    return Answer(status, {"error": error.code or word, "message": str(error)}, headers)


def _retry_after(seconds: float) -> tuple[tuple[str, str], ...]:
    return (("Retry-After", str(max(1, math.ceil(seconds)))),)


def _unquoted(key: str | None) -> str | None:
    """Return an Idempotency-Key, which may be in quotes, as an IETF draft has it, or not, as many do."""
    if key is not None and len(key) > 1 and key[0] == key[-1] == '"':
        return key[1:-1]
    return key
