"""Joining: connect all clients, and start the check of all transcripts at the same message.

The check starts at a marker: a message to each room that all of its members receive. One more connection of
the leader sends it. Its sender is no member whose deliveries count, and it leaves before the load begins.
"""

from __future__ import annotations

import gc
import time
from typing import Any

from selchat.bench.load.client import Client, ServerUnavailableError
from selchat.bench.load.connections import now_ns
from selchat.bench.load.generator import LoadGenerator
from selchat.bench.verify.acks import AckTracker
from selchat.bench.wires.messages import find_error_code

_CONNECT_BATCH = 32  # connections to open between two polls
_ROOMS_PER_MARKER_SENDER = 100  # the number of rooms that a server lets one member join
_PROBE_SECONDS = 0.1
_JOIN_SECONDS = 30.0  # without a single new client until joining fails


class Joining:
    """The commands that make all clients members of their rooms."""

    def __init__(self, generator: LoadGenerator) -> None:
        self._generator = generator
        self._wire = generator.wire
        self._connections = generator.connections
        self._run = generator.job.run.encode()
        self._marker = self._run + b"-start-"
        self._marker_senders: dict[Client, tuple[str, ...]] = {}  # with the rooms that each sends to
        self._unproven = 0  # clients that have not received a proof of their login
        self._unmarked = 0  # clients that have not received the marker
        self._refused = 0

    def join(self, rate: float) -> dict[str, Any]:
        """Connect all clients until each has a proof of its login; ``rate`` a second, 0: at once.

        The proof is a welcome in the selchat protocol. On the classic wire it is a roster, or a probe: a
        server sends these to members only. The marker sender sends probes from the last connection on, until
        all clients have received one.
        """
        generator, connections, job = self._generator, self._connections, self._generator.job
        total = job.readers + job.senders
        self._unproven = 0 if job.floor else total
        connections.on_data = generator.transcript.receive if job.floor else self._await_proof
        connections.on_lost = generator.fail_on_loss if job.floor else self._count_refusal
        start = last_change = time.monotonic()
        cpu = time.process_time()
        next_probe = 0.0
        opened = probes = state = 0
        # The floor takes its first connection for the sender.
        order = [*range(job.readers, total), *range(job.readers)] if job.floor else range(total)
        if job.leader and not job.floor:
            self._open_marker_senders(total + 1)
        while not generator.stopping and not generator.ended:
            now = time.monotonic()
            due = total if not rate else min(total, 1 + int((now - start) * rate))
            for number in order[opened : min(due, opened + _CONNECT_BATCH)]:
                self._open(number)
                opened += 1
            connecting = opened < total or connections.connecting > 0
            if not connecting:
                if not self._unproven:
                    break
                if self._marker_senders and not self._wire.acks and now >= next_probe:
                    next_probe = now + _PROBE_SECONDS
                    probes += 1
                    for sender in self._marker_senders:
                        connections.send(sender, self._wire.marker(self._run + b"-probe-"))
            connections.poll(0.0 if opened < due else 0.01 if connecting else _PROBE_SECONDS / 4)
            if self._unproven + self._refused != state or opened < total:
                state, last_change = self._unproven + self._refused, now
            elif now - last_change > _JOIN_SECONDS:
                raise ServerUnavailableError(f"{self._unproven} of {total} clients could not log in")
            generator.control.report_progress({"done": total - self._unproven, "of": total})
        return {
            "seconds": time.monotonic() - start,
            "cpu": time.process_time() - cpu,
            "joined": len(connections.clients) - len(self._marker_senders) - self._unproven,
            "refused": self._refused,
            "probes": probes,
            "handshakes": connections.handshakes.to_json(),
        }

    def expect_markers(self) -> dict[str, Any]:
        """Get ready for the markers; the answer tells the leader's parent that they may be sent."""
        self._connections.on_lost = self._generator.fail_on_loss
        if self._generator.job.floor:
            self._unmarked = 0
        else:
            self._unmarked = len(self._connections.clients) - len(self._marker_senders)
            self._connections.on_data = self._await_marker
        return {}

    def send_markers(self) -> dict[str, Any]:
        """Send the marker to every room."""
        for sender, rooms in self._marker_senders.items():
            markers = b"".join([self._wire.marker(self._marker, room) for room in rooms])
            self._connections.send(sender, markers)
        return {}

    def start_checking(self) -> dict[str, Any]:
        """Wait until all clients have the marker, and check everything after it."""
        generator, connections = self._generator, self._connections
        deadline = time.monotonic() + _JOIN_SECONDS
        while self._unmarked and not generator.stopping and not generator.ended:
            connections.poll(0.1)
            if generator.recorder.failure is not None:
                raise ServerUnavailableError(generator.recorder.failure)
            if time.monotonic() > deadline:
                raise ServerUnavailableError(f"{self._unmarked} clients did not receive the start marker")
        for sender in self._marker_senders:
            connections.leave(sender)
        self._marker_senders.clear()
        clients = list(connections.clients.values())
        for client in clients:
            self._add_to_transcript(client)
        connections.on_data = generator.receive if self._wire.acks else generator.transcript.receive
        for client in clients:
            data, client.unmatched = client.unmatched, b""
            connections.on_data(client, memoryview(data), now_ns())
        gc.collect()
        gc.freeze()  # a collection that visits 10,000 clients would stall the load
        return {}

    def _open(self, number: int) -> None:
        generator, job = self._generator, self._generator.job
        messages = None
        room = generator.room_of(number)
        if number >= job.readers:
            messages = self._wire.generator(self._connections.name(number), job.payload, job.floor, room.name)
        self._connections.open(number, room, messages)

    def _open_marker_senders(self, first: int) -> None:
        rooms = self._generator.rooms
        for index, start in enumerate(range(0, len(rooms), _ROOMS_PER_MARKER_SENDER)):
            number, some = first + index, rooms[start : start + _ROOMS_PER_MARKER_SENDER]
            messages = self._wire.generator(self._connections.name(number), 64)
            sender = self._connections.open(number, self._generator.room_of(number), messages, some)
            self._marker_senders[sender] = tuple(room.name for room in some)

    def _add_to_transcript(self, client: Client) -> None:
        transcript = client.room.transcript
        if client.generator is None:
            transcript.add(client)
            return
        self._generator.senders.append(client)
        client.room.senders.append(client)
        if self._generator.job.floor:
            return  # the floor sends nothing to its sender
        client.acks = AckTracker(self._wire.framing) if self._wire.acks else None
        transcript.add(client, client.name, client.acks)

    def _await_proof(self, client: Client, data: memoryview, _now: int) -> None:
        if client.pending_hello:
            self._connections.continue_handshake(client, bytes(data))
            return
        if client.ready or client in self._marker_senders:
            return
        stream = client.unmatched + bytes(data)
        if self._wire.proves_login(stream):
            client.ready = True
            client.unmatched = b""
            self._unproven -= 1
        else:
            client.unmatched = stream[-2 * len(self._marker) :]
            if self._wire.acks and (code := find_error_code(stream)):
                raise ServerUnavailableError(f"the server rejects logins: {code}")

    def _count_refusal(self, client: Client, reason: str) -> None:
        job = self._generator.job
        self._refused += 1
        self._connections.connecting -= client.connect_time > 0
        self._unproven -= not client.ready
        if client in self._marker_senders or self._refused == job.readers + job.senders:
            raise ServerUnavailableError(f"the server refuses connections: {reason}")

    def _await_marker(self, client: Client, data: memoryview, _now: int) -> None:
        if client in self._marker_senders:
            return
        if client.ready:
            stream = client.unmatched + bytes(data)
            rest = self._wire.after_marker(self._marker, stream)
            if rest is None:
                client.unmatched = stream if self._marker in stream else stream[-2 * len(self._marker) :]
                return
            client.ready = False
            self._unmarked -= 1
            client.unmatched = rest
        else:
            client.unmatched += bytes(data)
