"""The three wires that the load generators speak: classic, selchat and websocket.

They are two protocols in two framings: both protocols with length headers, and the selchat protocol also in
WebSocket frames. A wire knows bytes, and neither sockets nor statistics.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from selchat.bench.wires.framing import LENGTH_HEADERS, WEBSOCKET_FRAMES, Framing
from selchat.bench.wires.messages import (
    LOBBY,
    MIN_PAYLOAD,
    NAME_LENGTH,
    Message,
    MessageGenerator,
    SelchatMessageGenerator,
    parse_classic,
    parse_said,
)

SELCHAT_ENVELOPE = 512  # bytes, at most, around a body in the selchat protocol


@dataclass(frozen=True, slots=True)
class Wire:
    """One wire. ``pairs``: a message is two frames; ``acks``: the server acknowledges each message."""

    name: str
    pairs: bool
    acks: bool
    parse: Callable[[bytes, bytes], Message | None]
    framing: Framing = LENGTH_HEADERS

    def hello(self, name: bytes, rooms: tuple[str, ...] = ()) -> bytes:
        """Return the login; with ``rooms``, the client joins these instead of the lobby."""
        if not self.acks:
            return self.framing.encode(name)
        fields: dict[str, Any] = {"type": "hello", "version": 1, "name": name.decode()}
        fields["client"] = f"{name.decode()}-{secrets.token_urlsafe(16)}"
        if rooms:
            fields["resume"] = {"log": "none of yours", "rooms": dict.fromkeys(rooms, 0)}
        return self.framing.encode(json.dumps(fields, separators=(",", ":")).encode())

    @property
    def keepalive(self) -> bytes:
        """An unsolicited pong, which keeps a silent client connected; empty if the wire needs none.

        It forestalls the server's pings. The server would ping each client separately, at any place in a
        stream that has to be the same for all.
        """
        return self.framing.encode(b'{"type":"pong"}') if self.acks else b""

    def generator(
        self, name: bytes, size: int, as_delivered: bool = False, room: str = LOBBY
    ) -> MessageGenerator:
        """Return a generator for the messages of that sender."""
        if self.acks:
            return SelchatMessageGenerator(name, size, as_delivered, self.framing, room)
        return MessageGenerator(name, size, as_delivered, self.framing)

    def marker(self, body: bytes, room: str = LOBBY) -> bytes:
        """Return a message with that body, which is not counted as a benchmark message."""
        if not self.acks:
            return self.framing.encode(body)
        fields = {"type": "say", "room": room, "id": secrets.token_hex(8), "body": body.decode()}
        return self.framing.encode(json.dumps(fields, separators=(",", ":")).encode())

    def delivery_size(self, payload_size: int, room: str = LOBBY) -> int:
        """Return the bytes of a delivery with a payload of that size, including all headers."""
        return len(self.generator(b"x" * NAME_LENGTH, payload_size, True, room).generate(1, 0))

    def payload_size_for(self, delivery_size: int, room: str = LOBBY) -> int | None:
        """Return the payload size of a delivery of exactly ``delivery_size`` bytes; None if impossible."""
        size = MIN_PAYLOAD + delivery_size - self.delivery_size(MIN_PAYLOAD, room)
        # On some wires a longer payload has a longer header, by a few bytes.
        return next(
            (
                candidate
                for candidate in range(size, max(MIN_PAYLOAD, size - 16) - 1, -1)
                if self.delivery_size(candidate, room) == delivery_size
            ),
            None,
        )

    def proves_login(self, stream: bytes) -> bool:
        """Return whether the stream contains something that only a signed-in client receives."""
        if self.acks:
            return b'{"type":"welcome"' in stream
        return b"-probe-" in stream or b"Users online (" in stream

    def after_marker(self, body: bytes, stream: bytes) -> bytes | None:
        """Return the bytes after the marker with that body; None if it has not arrived completely."""
        if not self.acks:
            _, found, rest = stream.partition(self.framing.encode(body, from_server=True))
            return rest if found else None
        _, found, rest = stream.partition(body)
        _, end, rest = rest.partition(b"}")
        return rest if found and end else None


CLASSIC = Wire("classic", True, False, parse_classic)
SELCHAT = Wire("selchat", False, True, parse_said)
WEBSOCKET = Wire("websocket", False, True, parse_said, WEBSOCKET_FRAMES)
WIRES = {wire.name: wire for wire in (CLASSIC, SELCHAT, WEBSOCKET)}
