"""The wires, as a load generator speaks them: what members send, and what of it is found in a stream.

Two protocols in two framings: the classic and the selchat one in the paper's frames, and the selchat one in a
WebSocket's. Knows bytes, and neither sockets nor what is counted. The messages of the selchat protocol are found
by a pattern of how selchat writes them and, where that does not match, by a JSON parser: that is what the
protocol promises, and takes ten times as long.
"""

from __future__ import annotations

import json
import re
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from selchat.bench.histogram import Histogram
from selchat.bench.wires.framing import HEADERS, WEBSOCKET, Framing
from selchat.wire.frames import HEADER_LENGTH

RUN_LENGTH = 3  # bytes with which every name of one run begins
NAME_LENGTH = 8  # bytes: the run, then five digits
MIN_PAYLOAD = NAME_LENGTH + len("|0123456789|0123456789012345678|")  # bytes
SELCHAT_ENVELOPE = 512  # bytes, at most, around a body of the selchat protocol
LOBBY = "lobby"

_BODY = b"%b|%%010d|%%019d|%b"  # name, sequence, stamp, padding
_SAID = re.compile(
    rb'\{"type":"said","room":"([^"\\]*)","from":"(\w{8})","seq":(\d+),"at":[\d.]+,'
    rb'(?:"id":"[^"\\]*",)?"body":"\2\|(\d{10})\|(\d{19})\|\.*"\}'
)
_ACK = re.compile(rb'\{"type":"ack","room":"[^"\\]*","id":"\w{3}-(\d{10})","seq":(\d+),"at":[\d.]+\}')
_CODE = re.compile(rb'"code":"([^"]*)"')
# Within a JSON string each quote has a backslash before it: these are found where payloads begin alone.
_ACK_START, _ERROR_START = b'{"type":"ack"', b'{"type":"error"'
_MAX_START = HEADER_LENGTH + len(_ERROR_START)  # no WebSocket frame of an ack has a longer header


class Message(NamedTuple):
    """One of ours. ``room`` and ``number`` (its ``seq`` there): of the selchat protocol alone."""

    name: bytes
    sequence: int
    stamp: int  # nanoseconds of the monotonic clock
    room: bytes = b""
    number: int = 0


def parse(payload: bytes, run: bytes) -> Message | None:
    """Return the message; None for what is not one of that run, such as a roster. Of the classic protocol."""
    if not payload.startswith(run) or payload[NAME_LENGTH : NAME_LENGTH + 1] != b"|":
        return None
    try:
        return Message(payload[:NAME_LENGTH], int(payload[9:19]), int(payload[20:39]))
    except ValueError:
        return None


def parse_said(payload: bytes, run: bytes) -> Message | None:
    """Return the message; None for what is not one of that run. Of the selchat protocol."""
    found = _SAID.fullmatch(payload)
    if found is not None:
        room, name, number, sequence, stamp = found.groups()
        return Message(name, int(sequence), int(stamp), room, int(number)) if name.startswith(run) else None
    words = _read(payload)
    if words.get("type") != "said":
        return None
    message = parse(str(words.get("body")).encode(), run)
    if message is None or message.name != str(words.get("from")).encode():
        return None
    room, number = words.get("room"), words.get("seq")
    if not isinstance(room, str) or not isinstance(number, int):
        return None
    return message._replace(room=room.encode(), number=number)


def parse_ack(payload: bytes) -> tuple[int, int] | None:
    """Return the sequence number of what is acknowledged, and its ``seq``; None: this is no such ack."""
    found = _ACK.fullmatch(payload)
    if found is not None:
        return int(found[1]), int(found[2])
    words = _read(payload)
    try:
        return (int(words["id"][RUN_LENGTH + 1 :]), int(words["seq"])) if words["type"] == "ack" else None
    except (KeyError, TypeError, ValueError):
        return None


def refusal_in(stream: bytes) -> str:
    """Return the code of the first error in a stream of the selchat protocol; empty: there is none."""
    start = stream.find(_ERROR_START)
    found = _CODE.search(stream, start) if start >= 0 else None
    return found[1].decode(errors="replace") if found else ""


def _read(payload: bytes) -> dict[str, Any]:
    try:
        words = json.loads(payload)
    except ValueError:
        return {}
    return words if isinstance(words, dict) else {}


class Script:
    """What one member says, or as the server would relay it (``relayed``): ``size`` bytes each."""

    def __init__(self, name: bytes, size: int, relayed: bool = False, framing: Framing = HEADERS) -> None:
        self._name = name
        self._framing = framing
        self._template = self._make(name, size, relayed)
        self.said = 0

    def say(self, times: int, stamp: int) -> bytes:
        """Return the next messages; ``stamp``: nanoseconds of the monotonic clock."""
        first, self.said = self.said, self.said + times
        template = self._template
        return b"".join([template % (sequence, stamp) for sequence in range(first, self.said)])

    def _make(self, name: bytes, size: int, relayed: bool) -> bytes:
        head = self._framing.encode(name, relayed) if relayed else b""
        return head + self._header(size, relayed) + _body(name, size)

    def _header(self, length: int, relayed: bool) -> bytes:
        return self._framing.header(length, relayed).replace(b"%", b"%%")  # it is a part of a template


class SelchatScript(Script):
    """The same in the selchat protocol, in a room; ``size`` is that of the body."""

    def __init__(
        self,
        name: bytes,
        size: int,
        relayed: bool = False,
        framing: Framing = HEADERS,
        room: str = LOBBY,
    ) -> None:
        self._room = room.encode()
        super().__init__(name, size, relayed, framing)

    def say(self, times: int, stamp: int) -> bytes:
        first, self.said = self.said, self.said + times
        template = self._template
        return b"".join([template % (sequence, sequence, stamp) for sequence in range(first, self.said)])

    def _make(self, name: bytes, size: int, relayed: bool) -> bytes:
        run, body = name[:RUN_LENGTH], _body(name, size)
        if relayed:
            # All must be of one size, so that a turn always has as many bytes: the numbers begin with a
            # billion, and the time is as much shorter as they are longer than six digits.
            payload = (
                b'{"type":"said","room":"%b","from":"%b","seq":1%%09d,"at":1763900000,"id":"%b-%b","body":"%b"}'
                % (self._room, name, run, b"0" * 10, body)
            )
            # Sequence, sequence and stamp are wanted; the id is the same in all, which nobody looks at.
        else:
            payload = b'{"type":"say","room":"%b","id":"%b-%%010d","body":"%b"}' % (self._room, run, body)
        return self._header(len(payload % (0, 0, 0)), relayed) + payload


def _body(name: bytes, size: int) -> bytes:
    return _BODY % (name, b"." * (size - MIN_PAYLOAD))


@dataclass(frozen=True, slots=True)
class Wire:
    """One of the three. ``pairs``: two frames are one message; ``acks``: its author is told of each."""

    name: str
    pairs: bool
    acks: bool
    parse: Callable[[bytes, bytes], Message | None]
    framing: Framing = HEADERS

    def hello(self, name: bytes, rooms: tuple[str, ...] = ()) -> bytes:
        """Return the bytes with which a member begins; ``rooms``: to be in these and not in the lobby."""
        if not self.acks:
            return self.framing.encode(name)
        words: dict[str, Any] = {"type": "hello", "version": 1, "name": name.decode()}
        words["client"] = f"{name.decode()}-{secrets.token_urlsafe(16)}"
        if rooms:
            words["resume"] = {"log": "none of yours", "rooms": dict.fromkeys(rooms, 0)}
        return self.framing.encode(json.dumps(words, separators=(",", ":")).encode())

    @property
    def sign(self) -> bytes:
        """What a member says that is there and has nothing to say; empty: nothing is needed.

        It is the answer to a question that was not asked. The server would ask each member by itself, at any
        place in a stream that has to be the same for all.
        """
        return self.framing.encode(b'{"type":"pong"}') if self.acks else b""

    def script(self, name: bytes, size: int, relayed: bool = False, room: str = LOBBY) -> Script:
        """Return what that member says."""
        if self.acks:
            return SelchatScript(name, size, relayed, self.framing, room)
        return Script(name, size, relayed, self.framing)

    def say(self, body: bytes, room: str = LOBBY) -> bytes:
        """Return the bytes that say something which is no message of ours."""
        if not self.acks:
            return self.framing.encode(body)
        words = {"type": "say", "room": room, "id": secrets.token_hex(8), "body": body.decode()}
        return self.framing.encode(json.dumps(words, separators=(",", ":")).encode())

    def relayed(self, size: int, room: str = LOBBY) -> int:
        """Return how many bytes a message of that size is when it is relayed, with everything around it."""
        return len(self.script(b"x" * NAME_LENGTH, size, True, room).say(1, 0))

    def payload_for(self, relayed: int, room: str = LOBBY) -> int | None:
        """Return the size of the messages that are ``relayed`` as so many bytes; None: there are none."""
        size = MIN_PAYLOAD + relayed - self.relayed(MIN_PAYLOAD, room)
        # Longer payloads have longer headers on some wires, by a few bytes.
        return next(
            (
                one
                for one in range(size, max(MIN_PAYLOAD, size - 16) - 1, -1)
                if self.relayed(one, room) == relayed
            ),
            None,
        )

    def proof(self, stream: bytes) -> bool:
        """Whether there is something in the stream that only a member gets."""
        if self.acks:
            return b'{"type":"welcome"' in stream
        return b"-probe-" in stream or b"Users online (" in stream

    def after(self, marker: bytes, stream: bytes) -> bytes | None:
        """Return what follows the message that says ``marker``; None: it has not come whole."""
        if not self.acks:
            _, found, rest = stream.partition(self.framing.encode(marker, served=True))
            return rest if found else None
        _, found, rest = stream.partition(marker)
        _, end, rest = rest.partition(b"}")
        return rest if found and end else None


CLASSIC = Wire("classic", True, False, parse)
SELCHAT = Wire("selchat", False, True, parse_said)
WEB = Wire("websocket", False, True, parse_said, WEBSOCKET)
WIRES = {wire.name: wire for wire in (CLASSIC, SELCHAT, WEB)}


class Receipts:
    """What one member with acks is told about its own messages: is each acknowledged, and once?

    ``sent`` messages of the member's wait from `expect` on, until `take` finds their acks.
    """

    def __init__(self, framing: Framing = HEADERS) -> None:
        self._framing = framing
        self.waiting = 0  # messages
        self.duplicated = 0  # acks
        self.refusal = ""  # why the server has refused something
        self._rest = b""  # may be the beginning of an ack
        self._stamps: deque[tuple[int, int]] = deque()  # the first sequence number after a part, its stamp
        self._missing: set[int] = set()  # sequence numbers that were passed over
        self._next = 0
        self._sent = 0
        self._numbers: dict[int, int] = {}  # by sequence number: which the ack or the readers have told
        self.wrong = 0  # acks with another number than the message has at the readers, or for nothing sent

    def expect(self, sent: int, stamp: int) -> None:
        """``sent`` messages, in all, were said by now; those not yet expected at ``stamp`` nanoseconds."""
        self.waiting += sent - self._sent
        self._sent = sent
        self._stamps.append((sent, stamp))

    def seen(self, sequence: int, number: int) -> None:
        """Note the number under which a reader has that message."""
        told = self._numbers.pop(sequence, None)
        if told is None:
            self._numbers[sequence] = number
        elif told != number:
            self.wrong += 1

    def take(self, data: bytes, now: int, latencies: Histogram) -> bytes:
        """Return the stream without the acks in it, which are counted, with their latencies."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        if _ERROR_START in data:
            self.refusal = self.refusal or refusal_in(data)
        start = data.find(_ACK_START)
        begin = done = 0
        found: tuple[int, int] | None = None
        others: list[bytes] = []
        while start >= 0:
            found = self._framing.frame_around(data, start)
            if found is None:
                break  # no frames: the stream is not what it should be, and is found to differ
            begin, end = found
            if end > len(data):
                break
            if begin > done:
                others.append(data[done:begin])
            self._acked(data[start:end], now, latencies)
            done = end
            start = data.find(_ACK_START, end)
        kept = len(data)
        if start >= 0:
            kept = begin if found is not None else max(done, start - HEADER_LENGTH)
        elif not data.endswith(b"}"):
            # No whole frame ends here, and perhaps an ack begins; what is kept waits for the rest of it.
            last = data.rfind(b"}", max(done, kept - _MAX_START)) + 1
            if last or kept - done < _MAX_START:
                kept = self._framing.after_controls(data, max(done, last))
        self._rest = data[kept:]
        if kept > done:
            others.append(data[done:kept])
        return b"".join(others)

    @property
    def lost(self) -> int:
        """Acks that did not come."""
        return self._sent - self._next + len(self._missing)

    def _acked(self, payload: bytes, now: int, latencies: Histogram) -> None:
        found = parse_ack(payload)
        if found is None or found[0] >= self._sent:
            self.wrong += 1
            return
        sequence, number = found
        if sequence == self._next:
            self._next += 1
        elif sequence > self._next:
            self._missing.update(range(self._next, sequence))
            self._next = sequence + 1
        elif sequence in self._missing:
            self._missing.remove(sequence)
        else:
            self.duplicated += 1
            return
        self.waiting -= 1
        self.seen(sequence, number)
        stamps = self._stamps
        while len(stamps) > 1 and stamps[0][0] <= sequence:
            stamps.popleft()
        latencies.add((now - stamps[0][1]) // 1000)
