"""Transcripts of the selchat protocol: the server's messages as Python objects, and the client's as well."""

from __future__ import annotations

import json
from typing import Any

from selchat.client.events import ClientEvent
from selchat.client.protocol.interface import ProtocolClient
from selchat.client.protocol.selchat import SelchatClient
from tests.client.support import SECRET, frame, settings

LIMITS = {
    "frame": 65536,
    "name": 32,
    "room": 32,
    "topic": 256,
    "id": 64,
    "cipher": 256,
    "rooms": 100,
    "history": 1000,
    "unacknowledged": 64,
}

Fields = dict[str, Any]


def encoded(*messages: Fields) -> bytes:
    """Return one frame for each message."""
    return b"".join(frame(json.dumps(message)) for message in messages)


def decoded(data: bytes) -> list[Fields]:
    """Return the messages in the frames, which must be complete."""
    found = []
    while data:
        size = int(data[:10])
        assert len(data) >= 10 + size
        found.append(json.loads(data[10 : 10 + size]))
        data = data[10 + size :]
    return found


def take_data(client: ProtocolClient) -> bytes:
    """Return the next bytes that the client sends, as a socket that takes all of them."""
    data = bytes(client.data_to_send())
    client.data_sent(len(data))
    return data


def welcome(*rooms: tuple[str, int], log: str = "log 1", **more: object) -> Fields:
    """Return a welcome to rooms with their newest seq; to the lobby by default."""
    summaries = [
        {"room": room, "seq": seq, "topic": f"about {room}", "members": 3}
        for room, seq in rooms or [("lobby", 0)]
    ]
    return {
        "type": "welcome",
        "version": 1,
        "name": "Michael",
        "log": log,
        "server": "selchat 0.2.0",
        "rooms": summaries,
        "whispers": 0,
        "limits": LIMITS,
        **more,
    }


def said(seq: int, author: str = "Venkat", body: str = "", room: str = "lobby", **more: object) -> Fields:
    fields = {
        "type": "said",
        "room": room,
        "seq": seq,
        "from": author,
        "at": 1.5,
        "body": body or f"body {seq}",
    }
    return {**fields, **more}


def ack(id: str, seq: int, room: str = "lobby", **more: object) -> Fields:
    return {"type": "ack", "id": id, "room": room, "seq": seq, "at": 2.5, **more}


def error(code: str, **more: object) -> Fields:
    return {"type": "error", "code": code, "message": f"about {code}", **more}


def users(room: str, seq: int = 0, *names: str) -> Fields:
    return {
        "type": "users",
        "room": room,
        "names": list(names),
        "total": len(names),
        "topic": f"about {room}",
        "seq": seq,
    }


class Talk:
    """A client, and both directions of its connection."""

    def __init__(self, *, members: bool = False, **more: object) -> None:
        self.client = SelchatClient(settings(wire="selchat", **more), SECRET, members=members)

    def sent(self) -> list[Fields]:
        """Return the messages that the client sends now."""
        data = b""
        while part := take_data(self.client):
            data += part
        return decoded(data)

    def receive(self, *messages: Fields) -> list[ClientEvent]:
        """Return the events of messages from the server."""
        events = self.client.receive_data(encoded(*messages))
        assert self.client.error is None
        return events

    def connect(self, *messages: Fields) -> Fields:
        """Connect, send a welcome, and return the hello."""
        self.client.connection_made()
        [hello] = self.sent()
        self.receive(*(messages or [welcome()]))
        return hello

    def reconnect(self, *messages: Fields) -> Fields:
        self.client.connection_lost()
        return self.connect(*messages)
