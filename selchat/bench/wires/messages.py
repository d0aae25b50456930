"""Benchmark messages: generate them, and parse them out of a stream.

The payload of each message is ``name|sequence|stamp|padding``. In the selchat protocol it is the body. A
regular expression parses the JSON that selchat writes. JSON that it does not match goes to a JSON parser, as
the protocol allows any spelling; that takes ten times as long.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from selchat.bench.wires.framing import LENGTH_HEADERS, Framing

RUN_LENGTH = 3  # bytes: the random prefix of all names of one run
NAME_LENGTH = 8  # bytes: the run's prefix, then five digits
MIN_PAYLOAD = NAME_LENGTH + len("|0123456789|0123456789012345678|")  # bytes
LOBBY = "lobby"

_BODY = b"%b|%%010d|%%019d|%b"  # name, sequence, stamp, padding
_SAID = re.compile(
    rb'\{"type":"said","room":"([^"\\]*)","from":"(\w{8})","seq":(\d+),"at":[\d.]+,'
    rb'(?:"id":"[^"\\]*",)?"body":"\2\|(\d{10})\|(\d{19})\|\.*"\}'
)
_ACK = re.compile(rb'\{"type":"ack","room":"[^"\\]*","id":"\w{3}-(\d{10})","seq":(\d+),"at":[\d.]+\}')
_CODE = re.compile(rb'"code":"([^"]*)"')

# In a JSON string each quote follows a backslash, so these prefixes occur only at the start of a payload.
ACK_PREFIX, ERROR_PREFIX = b'{"type":"ack"', b'{"type":"error"'


class Message(NamedTuple):
    """One benchmark message. Only the selchat protocol has ``room`` and ``seq``, its number in the room."""

    name: bytes
    sequence: int
    stamp: int  # nanoseconds of the monotonic clock
    room: bytes = b""
    seq: int = 0


def parse_classic(payload: bytes, run: bytes) -> Message | None:
    """Parse a payload of the classic protocol; return None if it is no message of that run."""
    if not payload.startswith(run) or payload[NAME_LENGTH : NAME_LENGTH + 1] != b"|":
        return None
    try:
        return Message(payload[:NAME_LENGTH], int(payload[9:19]), int(payload[20:39]))
    except ValueError:
        return None


def parse_said(payload: bytes, run: bytes) -> Message | None:
    """Parse a ``said`` of the selchat protocol; return None if it is no message of that run."""
    found = _SAID.fullmatch(payload)
    if found is not None:
        room, name, seq, sequence, stamp = found.groups()
        return Message(name, int(sequence), int(stamp), room, int(seq)) if name.startswith(run) else None
    fields = _parse_json(payload)
    if fields.get("type") != "said":
        return None
    message = parse_classic(str(fields.get("body")).encode(), run)
    if message is None or message.name != str(fields.get("from")).encode():
        return None
    room, seq = fields.get("room"), fields.get("seq")
    if not isinstance(room, str) or not isinstance(seq, int):
        return None
    return message._replace(room=room.encode(), seq=seq)


def parse_ack(payload: bytes) -> tuple[int, int] | None:
    """Return the sequence number and the ``seq`` of the acknowledged message; None if this is no ack."""
    found = _ACK.fullmatch(payload)
    if found is not None:
        return int(found[1]), int(found[2])
    fields = _parse_json(payload)
    try:
        return (int(fields["id"][RUN_LENGTH + 1 :]), int(fields["seq"])) if fields["type"] == "ack" else None
    except (KeyError, TypeError, ValueError):
        return None


def find_error_code(stream: bytes) -> str:
    """Return the code of the first error in a stream of the selchat protocol; empty if none."""
    start = stream.find(ERROR_PREFIX)
    found = _CODE.search(stream, start) if start >= 0 else None
    return found[1].decode(errors="replace") if found else ""


def _parse_json(payload: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(payload)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


class MessageGenerator:
    """Generates the messages of one sender, with payloads of ``size`` bytes.

    ``as_delivered``: in the form in which a server would deliver them.
    """

    def __init__(
        self, name: bytes, size: int, as_delivered: bool = False, framing: Framing = LENGTH_HEADERS
    ) -> None:
        self._name = name
        self._framing = framing
        self._template = self._make_template(name, size, as_delivered)
        self.next_sequence = 0  # also the number of messages generated so far

    def generate(self, count: int, stamp: int) -> bytes:
        """Return the next messages; ``stamp`` is in nanoseconds of the monotonic clock."""
        first, self.next_sequence = self.next_sequence, self.next_sequence + count
        template = self._template
        return b"".join([template % (sequence, stamp) for sequence in range(first, self.next_sequence)])

    def _make_template(self, name: bytes, size: int, as_delivered: bool) -> bytes:
        user = self._framing.encode(name, as_delivered) if as_delivered else b""
        return user + self._header(size, as_delivered) + _body(name, size)

    def _header(self, length: int, as_delivered: bool) -> bytes:
        return self._framing.header(length, as_delivered).replace(b"%", b"%%")  # it is part of a template


class SelchatMessageGenerator(MessageGenerator):
    """Generates messages to one room in the selchat protocol, with bodies of ``size`` bytes."""

    def __init__(
        self,
        name: bytes,
        size: int,
        as_delivered: bool = False,
        framing: Framing = LENGTH_HEADERS,
        room: str = LOBBY,
    ) -> None:
        self._room = room.encode()
        super().__init__(name, size, as_delivered, framing)

    def generate(self, count: int, stamp: int) -> bytes:
        first, self.next_sequence = self.next_sequence, self.next_sequence + count
        template = self._template
        return b"".join(
            [template % (sequence, sequence, stamp) for sequence in range(first, self.next_sequence)]
        )

    def _make_template(self, name: bytes, size: int, as_delivered: bool) -> bytes:
        run, body = name[:RUN_LENGTH], _body(name, size)
        if as_delivered:
            # Each batch must have the same number of bytes, so all messages have the same size. The seq
            # starts at a billion, and the time is shorter by as many digits as the seq is longer than six
            # digits. The template takes sequence, sequence and stamp. All messages share one id, which no one
            # reads.
            payload = (
                b'{"type":"said","room":"%b","from":"%b","seq":1%%09d,"at":1763900000,"id":"%b-%b","body":"%b"}'
                % (self._room, name, run, b"0" * 10, body)
            )
        else:
            payload = b'{"type":"say","room":"%b","id":"%b-%%010d","body":"%b"}' % (self._room, run, body)
        return self._header(len(payload % (0, 0, 0)), as_delivered) + payload


def _body(name: bytes, size: int) -> bytes:
    return _BODY % (name, b"." * (size - MIN_PAYLOAD))
