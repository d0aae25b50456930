"""One client connection of a load generator, and the room that it is in."""

from __future__ import annotations

import socket

from selchat.bench.verify.acks import AckTracker
from selchat.bench.verify.transcript import Reader, Transcript
from selchat.bench.wires.messages import MessageGenerator


class ServerUnavailableError(Exception):
    """The server closed a connection, refuses it, or cannot be reached."""


class Room:
    """A room of this worker, with its senders here."""

    __slots__ = ("batch_start", "name", "senders", "transcript", "waiting")

    def __init__(self, name: str, transcript: Transcript) -> None:
        self.name = name
        self.transcript = transcript
        self.senders: list[Client] = []
        self.batch_start = 0  # nanoseconds: start of the current batch
        self.waiting = False  # for the end of that batch

    @property
    def complete(self) -> bool:
        """Whether every reader has every message, and every sender its acks."""
        return not self.transcript.behind and not any(
            sender.acks is not None and sender.acks.pending for sender in self.senders
        )


class Client(Reader):
    """One connection. ``generator`` if it sends, and ``acks`` if the server acknowledges its messages."""

    __slots__ = (
        "acks",
        "connect_time",
        "fd",
        "generator",
        "name",
        "pending_hello",
        "ready",
        "receive_into",
        "room",
        "send_error",
        "sock",
        "unsent",
        "watching_writes",
    )

    def __init__(
        self, sock: socket.socket, name: bytes, room: Room, generator: MessageGenerator | None
    ) -> None:
        super().__init__()
        self.room = room
        self.acks: AckTracker | None = None
        self.sock = sock
        self.fd = sock.fileno()
        self.name = name
        self.generator = generator
        self.pending_hello = b""  # the login, until the server has answered the handshake
        self.unsent = b""  # bytes that the socket has not accepted
        self.watching_writes = False
        self.ready = False  # joining: signed in; synchronizing: has not received the marker
        self.connect_time = 0  # nanoseconds: start of connecting; 0 once connected
        self.send_error = ""
        self.receive_into = sock.recv_into
