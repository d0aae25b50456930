"""Encoder for the events and responses that the server sends to selchat clients.

docs/protocol.rst is the specification, and protocol.schema.json its machine-readable form. requests.py parses
the other direction. This module knows neither the recipients nor the reasons for sending.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from json.encoder import encode_basestring as _quote
from typing import Any, NamedTuple, Protocol

from selchat.auth.login import TooManyAttemptsError
from selchat.errors import RefusalError, SanctionError, SelchatError
from selchat.events import Event, Joined, Left, Said, Topic
from selchat.limits import (
    HISTORY_BYTES,
    MAX_ENCODED_NAMES,
    MAX_LISTED,
    PAYLOAD_LIMIT,
    ROOM_LENGTH,
    SHORT_PAYLOAD,
)
from selchat.wire.frames import DecimalHeaders, FrameTooLongError, cached_headers
from selchat.wire.requests import BadMessageError

_PAYLOAD = b'{"type":"'  # the beginning of every payload
_SAID = b'{"type":"said",'  # the beginning of a `said` payload
_KEYS = 256  # bytes of a frame without its body, id, cipher and names


class Headers(Protocol):
    """The payload headers of a wire, and its closing bytes."""

    wire_name: str  # how metrics name a session with these headers
    limit: int  # bytes of the largest payload that a header can describe
    longest: int  # bytes of the longest header
    ping: bytes  # the wire's own ping; empty: it has none

    def header(self, length: int) -> bytes:
        """Return the header of a payload of that many bytes."""

    def lengths_before(self, data: bytes, start: int) -> tuple[int, int]:
        """Return the lengths of the header and of the payload, for the payload that begins at ``start``."""

    def end(self, reason: str, error: Exception | None = None) -> bytes:
        """Return the bytes after a `bye` with that ``reason``. ``error``: its cause, if any."""


class HistoryPage(NamedTuple):
    """Messages that fit into one `history`, oldest first, and each of them as JSON."""

    messages: Sequence[Said]
    items: Sequence[bytes]


class SelchatFormat:
    """Encode events and responses as whole frames: a header and a JSON payload each.

    Lists that do not fit into one frame are cut. So are bodies that exceed `message_limit`. No acknowledged
    message does; messages of classic clients can, with a header of 4 or 5 bytes.
    """

    def __init__(self, headers: Headers | None = None) -> None:
        self._wire = wire = headers or DecimalHeaders(limit=PAYLOAD_LIMIT)
        self.wire_name = wire.wire_name
        self.limit = limit = min(wire.limit, PAYLOAD_LIMIT)  # bytes of a payload
        self._header = wire.header
        lengths = range(min(limit + 1, cached_headers(wire.longest, SHORT_PAYLOAD)))
        self._headers = [wire.header(length) for length in lengths]
        self._rooms: dict[str, str] = {}  # the beginning of a `said` by room
        self._acks: dict[str, str] = {}  # the beginning of an `ack` by room
        self._names: dict[str, str] = {}  # quoted, by name

    def message_limit(self, name_length: int) -> int:
        """Return the bytes of the largest request whose message fits into every frame that contains it.

        Such a frame has more than the request: names, numbers and keys. In escapes and in UTF-8, the server's
        JSON is never longer than a client's. ``name_length``: characters of the longest name.
        """
        return self.limit - _KEYS - 2 * 4 * max(name_length, ROOM_LENGTH)

    # -- events of a room --------------------------------------------------------------------------------

    def encode(self, events: Sequence[Event]) -> bytes:
        """Return the events as one frame each.

        Skip events that selchat clients do not use, and events too long for a short header.
        """
        # The hot path: 0.9 microseconds a message of 64 characters, 5.8 with `json.dumps`.
        parts: list[bytes] = []
        headers, rooms, names = self._headers, self._rooms, self._names
        moment, when = -1.0, ""
        for event in events:
            if not isinstance(event, Said):
                parts.append(self._encode_slowly(event))
                continue
            room, seq, author, body, at, id, cipher = event
            start = rooms.get(room) or self._room(room)
            name = names.get(author) or self._name(author)
            if at != moment:  # messages of one read have the same time
                moment, when = at, f"{at:.3f}"
            if cipher is not None:
                text = f"{start}{name},{_rest(event)}"
            elif id:
                text = f'{start}{name},"seq":{seq},"at":{when},"id":{_quote(id)},"body":{_quote(body)}}}'
            else:
                text = f'{start}{name},"seq":{seq},"at":{when},"body":{_quote(body)}}}'
            payload = text.encode()
            length = len(payload)
            if length < len(headers):
                parts += (headers[length], payload)
            elif length <= self.limit:
                parts += (self._header(length), payload)
            else:
                parts.append(self._encode_slowly(event))
        return b"".join(parts)

    def acks(self, messages: Sequence[Said]) -> bytes:
        """Return the ``ack`` of each message for its author. The messages went to rooms."""
        parts: list[bytes] = []
        headers, starts = self._headers, self._acks
        moment, when = -1.0, ""
        for room, seq, _, _, at, id, _ in messages:
            start = starts.get(room) or self._ack(room)
            if at != moment:
                moment, when = at, f"{at:.3f}"
            payload = f'{start}{_quote(id)},"seq":{seq},"at":{when}}}'.encode()
            length = len(payload)
            if length < len(headers):
                parts += (headers[length], payload)
            else:
                parts += (self._header(length), payload)
        return b"".join(parts)

    # -- responses ---------------------------------------------------------------------------------------

    def ack(self, id: str, room: str, to: str | None, seq: int, at: float) -> bytes:
        """Return the ``ack`` of one message to ``room``, or of a direct message to the user ``to``."""
        where = f'"room":{_quote(room)}' if to is None else f'"to":{_quote(to)}'
        return self._frame(f'{{"type":"ack",{where},"id":{_quote(id)},"seq":{seq},"at":{at:.3f}}}'.encode())

    def whispered(self, said: Said, to: str) -> bytes:
        """Return a direct message as a frame for its recipient ``to``."""
        return self._said(f'{{"type":"whispered","from":{_quote(said.author)},"to":{_quote(to)},', said)

    def fit_history(self, messages: Sequence[Said], newest: bool = False) -> HistoryPage:
        """Return the messages for one `history` frame, at least one, in the same order.

        These are the first messages, or the last ones if ``newest``.
        """
        remaining = min(HISTORY_BYTES, self.limit - 512)  # 512: the other fields, mostly the room's name
        items: list[bytes] = []
        for message in reversed(messages) if newest else messages:
            item = _history_item(message).encode()
            remaining -= len(item) + 1
            if remaining < 0 and items:
                break
            items.append(item)
        count = len(items)
        if newest:
            return HistoryPage(messages[len(messages) - count :], items[::-1])
        return HistoryPage(messages[:count], items)

    def history(self, room: str, page: HistoryPage, more: bool) -> bytes:
        """Return a page of the room's messages, oldest first, as one frame."""
        start = f'{{"type":"history","room":{_quote(room)},"more":{"true" if more else "false"},"messages":['
        payload = start.encode() + b",".join(page.items) + b"]}"
        if len(payload) > self.limit:  # there is only one message
            message = _cut_body(page.messages[0], self.limit - len(start.encode()) - 2, _history_item)
            payload = f"{start}{_history_item(message)}]}}".encode()
        return self._frame(payload)

    def listed(self, kind: str, field: str, items: Sequence[Any], /, **fields: Any) -> bytes:
        """Return a frame of type ``kind`` with up to `MAX_LISTED` items, or as many as fit, in ``field``."""
        start = _json({"type": kind, **fields}).encode()[:-1] + b',"%b":[' % field.encode()
        remaining = self.limit - len(start) - 2
        parts: list[bytes] = []
        for item in items[:MAX_LISTED]:
            part = _json(item).encode()
            remaining -= len(part) + 1
            if remaining < 0:
                break
            parts.append(part)
        return self._frame(start + b",".join(parts) + b"]}")

    def count_fitting(self, items: Sequence[Any], reserved: int) -> int:
        """Return how many of these items fit into a frame with up to ``reserved`` other bytes."""
        remaining = self.limit - reserved
        for count, item in enumerate(items):
            remaining -= len(_json(item).encode()) + 1
            if remaining < 0:
                return count
        return len(items)

    def frame(self, kind: str, /, **fields: Any) -> bytes:
        """Return a frame of type ``kind`` with these fields, None as null. Raises `FrameTooLongError`."""
        return self._frame(_json({"type": kind, **fields}).encode())

    def error(self, error: RefusalError, /, **fields: Any) -> bytes:
        """Return the ``error`` frame of a refusal. ``fields``: the subject of the refused request."""
        if isinstance(error, BadMessageError) and error.id:
            fields.setdefault("id", error.id)
        if isinstance(error, TooManyAttemptsError):
            fields["retry_after"] = math.ceil(error.seconds)
        if isinstance(error, SanctionError) and error.ends is not None:
            fields["until"] = error.ends
        return self.frame("error", code=error.code, message=str(error), **fields)

    # -- connection --------------------------------------------------------------------------------------

    def ping(self) -> bytes:
        """Return a ping, the wire's own if it has one."""
        return self._wire.ping or self.frame("ping")

    def bye(
        self,
        reason: str,
        retry_after: float | None = None,
        error: SelchatError | None = None,
        until: float | None = None,
    ) -> bytes:
        """Return a ``bye`` and the wire's closing bytes. ``error``: the error of the wire, if any. ``until``:
        the end of a ban, if it has one.
        """
        fields = {} if until is None else {"until": until}
        return self.frame("bye", reason=reason, retry_after=retry_after, **fields) + self._wire.end(
            reason, error
        )

    def delivered_before(self, chunk: bytes | memoryview, offset: int) -> tuple[int, bytes]:
        """Return the progress of a reader that got the first ``offset`` bytes of a chunk from `encode`.

        The result is the number of ``said`` frames that begin before ``offset``, and the rest of the frame
        that contains ``offset``, empty at a frame boundary.

        Payload beginnings are found by search, which takes a tenth of the time of a walk from header to
        header. The search is safe: within a JSON string, each quote has a backslash before it, so the pattern
        occurs only where a payload begins.
        """
        data = bytes(chunk)
        # A frame that begins before ``offset`` has its payload before ``last``.
        last = offset + self._wire.longest
        while True:
            last = data.rfind(_PAYLOAD, 0, last + len(_PAYLOAD) - 1)
            if last < 0:
                return 0, b""
            header, length = self._wire.lengths_before(data, last)
            if last - header < offset:
                return data.count(_SAID, 0, last + len(_SAID)), data[offset : last + length]

    # ----------------------------------------------------------------------------------------------------

    def _frame(self, payload: bytes) -> bytes:
        if len(payload) > self.limit:
            raise FrameTooLongError(len(payload), self.limit)
        return self._header(len(payload)) + payload

    def _encode_slowly(self, event: Event) -> bytes:
        try:
            if isinstance(event, Said):
                return self._said(f"{self._room(event.room)}{_quote(event.author)},", event)
            if isinstance(event, Joined):
                return self.listed("joined", "names", event.names, room=event.room, total=event.total)
            if isinstance(event, Left):
                return self.listed("left", "names", event.names, room=event.room, total=event.total)
            if isinstance(event, Topic):
                author, at = event.author, round(event.at, 3)
                return self.frame("topic", room=event.room, topic=event.topic, at=at, **{"from": author})
        except FrameTooLongError:
            pass  # headers of two or three bytes: no selchat client can log in with these
        return b""

    def _said(self, start: str, said: Said) -> bytes:
        """Return the frame of a message that begins with ``start``; cut the body if it is too long."""
        payload = f"{start}{_rest(said)}".encode()
        if len(payload) > self.limit:
            said = _cut_body(said, self.limit - len(start.encode()), _rest)
            payload = f"{start}{_rest(said)}".encode()
        return self._frame(payload)

    def _room(self, room: str) -> str:
        if len(self._rooms) >= MAX_ENCODED_NAMES:
            self._rooms.clear()
        start = self._rooms[room] = f'{_SAID.decode()}"room":{_quote(room)},"from":'
        return start

    def _ack(self, room: str) -> str:
        if len(self._acks) >= MAX_ENCODED_NAMES:
            self._acks.clear()
        start = self._acks[room] = f'{{"type":"ack","room":{_quote(room)},"id":'
        return start

    def _name(self, name: str) -> str:
        if len(self._names) >= MAX_ENCODED_NAMES:
            self._names.clear()
        quoted = self._names[name] = _quote(name)
        return quoted


def json_growth(body: str, size: int) -> int:
    """Return by how many bytes a body is longer as a JSON string than the ``size`` bytes that were received.

    Takes 50 microseconds for 64 KiB.
    """
    encoded = body.encode()
    length = len(encoded)
    long_escapes = length - len(encoded.translate(None, _LONG_ESCAPES))
    short_escapes = length - len(encoded.translate(None, _SHORT_ESCAPES))
    return max(0, length + 5 * long_escapes + short_escapes - size)


_SHORT_ESCAPES = b'\b\t\n\f\r"\\'  # a backslash and a letter
_LONG_ESCAPES = bytes(set(range(0x20)) - set(_SHORT_ESCAPES))  # six characters, such as \u0001

_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _rest(said: Said) -> str:
    """Return the fields of a message after ``from``."""
    id = f'"id":{_quote(said.id)},' if said.id else ""
    cipher = f',"cipher":{_quote(said.cipher)}' if said.cipher is not None else ""
    return f'"seq":{said.seq},"at":{said.at:.3f},{id}"body":{_quote(said.body)}{cipher}}}'


def _history_item(said: Said) -> str:
    """Return a message of a `history`."""
    return f'{{"from":{_quote(said.author)},{_rest(said)}'


def _cut_body(said: Said, size: int, write: Callable[[Said], str]) -> Said:
    """Return the message with its body cut so that ``write`` returns at most ``size`` bytes."""
    body = said.body
    size -= len(write(said._replace(body="")).encode())
    low, high = 0, len(body)
    while low < high:  # a binary search, because the quoted length of each character differs
        middle = (low + high + 1) // 2
        if len(_quote(body[:middle]).encode()) - 2 <= size:
            low = middle
        else:
            high = middle - 1
    return said._replace(body=body[:low])
