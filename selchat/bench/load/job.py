"""The job of a worker process, and its measurements. Both travel as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from selchat.bench.wires.messages import LOBBY


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The task of one worker. ``first``: the number of its first client, counted over all workers."""

    address: tuple[str, int]
    run: str  # prefix of all names
    first: int = 0
    readers: int = 0
    senders: int = 0
    total_senders: int = 0  # of all workers
    payload: int = 64  # bytes
    wire: str = "classic"
    rooms: tuple[str, ...] = (LOBBY,)  # the clients are spread over these
    floor: bool = False  # the server is the floor: no names, and the sender writes complete deliveries
    links: tuple[int, ...] = ()  # descriptors: from the leader to all others, or to the leader
    leader: bool = True
    source: bool = True  # bind to 127.0.x.x, because the server is on loopback


@dataclass(slots=True, kw_only=True)
class Measurement:
    """The result of one command. Fields that end in ``total`` count since the start of the worker."""

    seconds: float = 0.0
    sent: int = 0
    deliveries: int = 0
    reads: int = 0
    bytes: int = 0
    cpu: float = 0.0  # seconds of this process
    segments: int = 0  # data segments that one reader received, and their bytes
    segment_bytes: int = 0
    latencies: dict[str, Any] = field(default_factory=dict)  # of each delivery
    last_latencies: dict[str, Any] = field(default_factory=dict)  # until the last reader had the message
    lateness: dict[str, Any] = field(default_factory=dict)  # of sending, compared with its schedule
    timeline: list[tuple[float, float, int, float]] = field(default_factory=list)
    acked: int = 0  # messages that the server acknowledged
    ack_latencies: dict[str, Any] = field(default_factory=dict)
    lives: int = 0
    refused: int = 0
    failure: str | None = None
    sent_total: int = 0
    lost_total: int = 0
    duplicated_total: int = 0
    reordered_total: int = 0
    diverged_total: int = 0
    misnumbered_total: int = 0
    acks_lost_total: int = 0
    acks_duplicated_total: int = 0
    acks_wrong_total: int = 0
