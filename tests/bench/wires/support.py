"""Messages and acks as the server writes them, on each wire."""

from __future__ import annotations

import pytest

from selchat.bench.wires.messages import MIN_PAYLOAD
from selchat.bench.wires.wire import CLASSIC, SELCHAT, WEBSOCKET, Wire
from selchat.events import Said
from selchat.wire.frames import FrameDecoder
from selchat.wire.responses import SelchatFormat

EVERY_WIRE = pytest.mark.parametrize(
    "wire", [CLASSIC, SELCHAT, WEBSOCKET], ids=["classic", "selchat", "websocket"]
)
WIRES_WITH_ACKS = pytest.mark.parametrize("wire", [SELCHAT, WEBSOCKET], ids=["selchat", "websocket"])
RUN = b"run"
NAME = b"run00001"


def said(sequence: int, seq: int, name: str = "run00001", size: int = MIN_PAYLOAD) -> Said:
    body = f"{name}|{sequence:010}|{5:019}|".ljust(size, ".")
    return Said("lobby", seq, name, body, 1763900000.125, f"run-{sequence:010}", None)


def ack(sequence: int, seq: int) -> bytes:
    return SelchatFormat().acks([said(sequence, seq)])


def as_sent_by_server(wire: Wire, frames: bytes) -> bytes:
    """Return the classic frames in the framing of that wire."""
    payloads = FrameDecoder().receive_data(frames)
    return b"".join(wire.framing.encode(payload, from_server=True) for payload in payloads)


def as_read_by_server(wire: Wire, stream: bytes) -> list[bytes]:
    """Return the payloads that a server reads from a client's stream. Our WebSocket mask is all zeros."""
    if wire is not WEBSOCKET:
        return FrameDecoder().receive_data(stream)
    found = []
    while stream:
        assert stream[0] == 0x81
        length, start = stream[1] & 0x7F, 2
        if length == 126:
            length, start = int.from_bytes(stream[2:4], "big"), 4
        assert stream[start : start + 4] == bytes(4)
        found.append(stream[start + 4 : start + 4 + length])
        stream = stream[start + 4 + length :]
    return found
