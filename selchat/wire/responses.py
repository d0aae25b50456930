"""What is said to selchat clients: events and answers to JSON, each with a header before it.

docs/protocol.rst is the contract, and protocol.schema.json the same for machines. What a client sends is read
in envelope.py. This file knows how things are written, and neither who reads them nor why they are sent.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from json.encoder import encode_basestring as _quote
from typing import Any, Protocol

from selchat.auth.login import TooManyAttemptsError
from selchat.errors import RefusalError, SelchatError
from selchat.events import Event, Joined, Left, Said, Topic
from selchat.wire.frames import DecimalHeaders, FrameTooLongError
from selchat.wire.requests import BadMessageError

PAYLOAD_LIMIT = 1024 * 1024  # bytes of what the server sends
HISTORY_BYTES = 64 * 1024  # bytes of a history, about; other readers are served between two of them
MAX_LISTED = 1000  # names or rooms in one list

_PAYLOAD = b'{"type":"'  # how every payload begins
_SAID = b'{"type":"said",'  # and that of a `said`
_SHORT = 1024  # bytes: payloads below have their headers ready
_MAX_CACHED = 4096  # names, and rooms


class Headers(Protocol):
    """What a wire puts before a payload, and after the last one."""

    wire_name: str  # how metrics name a session with these headers
    limit: int  # bytes of the largest payload that can be announced
    longest: int  # bytes of the longest header
    ping: bytes  # asks for a sign of life; empty: the wire has nothing for that

    def header(self, length: int) -> bytes:
        """Return what announces a payload of that many bytes."""

    def lengths_before(self, data: bytes, start: int) -> tuple[int, int]:
        """Return how long the header is before the payload that begins at ``start``, and that payload."""

    def end(self, reason: str, error: Exception | None = None) -> bytes:
        """Return what comes after a `bye` of that ``reason``, which perhaps an ``error`` has led to."""


class SelchatFormat:
    """Events and answers to whole frames: each is a header of that kind and a payload.

    Lists that do not fit into one are cut, and so are bodies, which only those of the paper's clients can
    need.
    """

    def __init__(self, headers: Headers | None = None) -> None:
        self._wire = wire = headers or DecimalHeaders(limit=PAYLOAD_LIMIT)
        self.wire_name = wire.wire_name
        self.limit = limit = min(wire.limit, PAYLOAD_LIMIT)  # bytes of a payload
        self._header = wire.header
        self._headers = [wire.header(length) for length in range(min(limit + 1, _SHORT))]
        self._rooms: dict[str, str] = {}  # how a `said` in that room begins
        self._acks: dict[str, str] = {}  # how an `ack` for that room begins
        self._names: dict[str, str] = {}  # quoted

    # -- what happens in a room --------------------------------------------------------------------------

    def encode(self, events: Sequence[Event]) -> bytes:
        """Return the events as one frame each.

        Nothing for those that selchat clients have no use for, and those that a short header cannot announce.
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
            if at != moment:  # what one read has brought has one time
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
        """Return for each message that was said in a room the ``ack`` for its author."""
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

    # -- answers -----------------------------------------------------------------------------------------

    def ack(self, id: str, room: str, to: str | None, seq: int, at: float) -> bytes:
        """Return the ``ack`` of one message: said in ``room``, or whispered if there is a name in ``to``."""
        where = f'"room":{_quote(room)}' if to is None else f'"to":{_quote(to)}'
        return self._frame(f'{{"type":"ack",{where},"id":{_quote(id)},"seq":{seq},"at":{at:.3f}}}'.encode())

    def whispered(self, said: Said, to: str) -> bytes:
        """Return what was said to ``to`` alone, as a frame for them."""
        return self._said(f'{{"type":"whispered","from":{_quote(said.author)},"to":{_quote(to)},', said)

    def history(self, room: str, messages: Sequence[Said], more: bool) -> bytes:
        """Return messages of that room, oldest first, as one frame.

        Raises `FrameTooLongError` for more of them than `fit_history` gives.
        """
        start = f'{{"type":"history","room":{_quote(room)},"more":{"true" if more else "false"},"messages":['
        whole = f"{start}{','.join(map(_old, messages))}]}}".encode()
        if len(whole) > self.limit and len(messages) == 1:
            message = _cut_body(messages[0], self.limit - len(start.encode()) - 2, _old)
            whole = f"{start}{_old(message)}]}}".encode()
        return self._frame(whole)

    def fit_history(self, messages: Sequence[Said], newest: bool = False) -> Sequence[Said]:
        """Return as many of the messages as should go into one `history`, but one at least.

        They are the first ones, or the last ones if the ``newest`` are wanted, in the same order.
        """
        left = min(HISTORY_BYTES, self.limit - 512)  # what stands around them: the room's name mostly
        count = 0
        for message in reversed(messages) if newest else messages:
            left -= len(_old(message).encode()) + 1
            if left < 0 and count:
                break
            count += 1
        return messages[len(messages) - count :] if newest else messages[:count]

    def listed(self, kind: str, field: str, items: Sequence[Any], /, **fields: Any) -> bytes:
        """Return a frame of that type with the first of ``items`` as ``field``: `MAX_LISTED`, or what fits."""
        whole = _json({"type": kind, **fields}).encode()[:-1] + b',"%b":[' % field.encode()
        left = self.limit - len(whole) - 2
        parts: list[bytes] = []
        for item in items[:MAX_LISTED]:
            part = _json(item).encode()
            left -= len(part) + 1
            if left < 0:
                break
            parts.append(part)
        return self._frame(whole + b",".join(parts) + b"]}")

    def frame(self, kind: str, /, **fields: Any) -> bytes:
        """Return a frame of that type with these fields, None as null.

        Raises `FrameTooLongError` for what does not fit.
        """
        return self._frame(_json({"type": kind, **fields}).encode())

    def error(self, error: RefusalError, /, **fields: Any) -> bytes:
        """Return the frame that tells what was refused; ``fields`` say what it is about."""
        if isinstance(error, BadMessageError) and error.id:
            fields.setdefault("id", error.id)
        if isinstance(error, TooManyAttemptsError):
            fields["retry_after"] = math.ceil(error.seconds)
        return self.frame("error", code=error.code, message=str(error), **fields)

    # -- the connection itself ---------------------------------------------------------------------------

    def ping(self) -> bytes:
        """Return what asks for a sign of life."""
        return self._wire.ping or self.frame("ping")

    def bye(self, reason: str, retry_after: float | None = None, error: SelchatError | None = None) -> bytes:
        """Return the last words; ``error``: what is wrong, if it is something of the wire's."""
        return self.frame("bye", reason=reason, retry_after=retry_after) + self._wire.end(reason, error)

    def delivered_before(self, chunk: bytes | memoryview, offset: int) -> tuple[int, bytes]:
        """Return what a reader has had who was sent the first ``offset`` bytes of a chunk of whole frames.

        These are how many ``said`` have begun before ``offset``, and the bytes from there to the end of the
        frame that ``offset`` is in the middle of; none if a frame begins there.

        ``chunk`` is what `encode` has written. How its payloads begin is found nowhere else in them, because
        within a string each quote has a backslash before it; so they are counted as they lie there, which
        takes a tenth of the time that it takes to go from header to header.
        """
        data = bytes(chunk)
        # The payload of a frame that begins before offset begins before this.
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
            pass  # a header of two or three bytes: nobody can be welcomed with it who could read this
        return b""

    def _said(self, start: str, said: Said) -> bytes:
        """Return the frame that begins with ``start``, its body cut if it would be too long."""
        payload = f"{start}{_rest(said)}".encode()
        if len(payload) > self.limit:
            said = _cut_body(said, self.limit - len(start.encode()), _rest)
            payload = f"{start}{_rest(said)}".encode()
        return self._frame(payload)

    def _room(self, room: str) -> str:
        if len(self._rooms) >= _MAX_CACHED:
            self._rooms.clear()
        start = self._rooms[room] = f'{_SAID.decode()}"room":{_quote(room)},"from":'
        return start

    def _ack(self, room: str) -> str:
        if len(self._acks) >= _MAX_CACHED:
            self._acks.clear()
        start = self._acks[room] = f'{{"type":"ack","room":{_quote(room)},"id":'
        return start

    def _name(self, name: str) -> str:
        if len(self._names) >= _MAX_CACHED:
            self._names.clear()
        quoted = self._names[name] = _quote(name)
        return quoted


_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _rest(said: Said) -> str:
    """Return what follows ``from`` in everything that was said."""
    id = f'"id":{_quote(said.id)},' if said.id else ""
    cipher = f',"cipher":{_quote(said.cipher)}' if said.cipher is not None else ""
    return f'"seq":{said.seq},"at":{said.at:.3f},{id}"body":{_quote(said.body)}{cipher}}}'


def _old(said: Said) -> str:
    """Return a message of a `history`."""
    return f'{{"from":{_quote(said.author)},{_rest(said)}'


def _cut_body(said: Said, size: int, write: Callable[[Said], str]) -> Said:
    """Return the message with as much of its body as makes what ``write`` returns ``size`` bytes at most."""
    body = said.body
    size -= len(write(said._replace(body="")).encode())
    least, most = 0, len(body)
    while least < most:  # there is no telling from a character how long it is when quoted
        middle = (least + most + 1) // 2
        if len(_quote(body[:middle]).encode()) - 2 <= size:
            least = middle
        else:
            most = middle - 1
    return said._replace(body=body[:least])
