"""Load generator: the state that all commands of a worker share. It knows no scenario.

All clients are in one room, or they are spread over the worker's own rooms, each with a transcript.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from selchat.bench.load.client import Client, Room
from selchat.bench.load.connections import Connections
from selchat.bench.load.control import ControlChannel
from selchat.bench.load.job import Job
from selchat.bench.load.lockstep import Lockstep
from selchat.bench.load.recorder import Recorder
from selchat.bench.load.stalled import StalledReaders
from selchat.bench.verify.transcript import Counters, Transcript
from selchat.bench.wires.wire import WIRES

STALL_SECONDS = 10.0  # without a single delivery until the load fails
DRAIN_SECONDS = 3.0  # for the last deliveries after an open loop
_KEEPALIVE_SECONDS = 10.0  # between two keepalives of a client; servers ping after 20


class LoadGenerator:
    """Clients, rooms and measurements of one worker."""

    def __init__(self, job: Job, control: ControlChannel) -> None:
        self.job = job
        self.control = control
        self.wire = WIRES[job.wire]
        run = job.run.encode()
        self.counters = Counters()
        self.rooms = [Room(name, Transcript(run, self.wire, self.counters)) for name in job.rooms]
        self.transcript = self.rooms[0].transcript  # of the only room, if there is only one
        self.senders: list[Client] = []
        self.connections = Connections(job, self.wire, self.counters)
        self.recorder = Recorder(job, self.counters, self.rooms, self.senders, self.connections)
        self.lockstep = Lockstep(job.links, job.leader)
        self.stalled = StalledReaders(job, self.wire, self.connections)
        self._keepalive_due: list[Client] = []  # clients that have sent no keepalive in this round
        self._keepalive_time = time.monotonic()
        self.connections.watch(control.read_fd, control.read)
        for link in self.lockstep.links:
            self.connections.watch(link.fileno(), partial(self.lockstep.read, link))

    @property
    def ended(self) -> bool:
        """Whether the parent or another worker is gone."""
        return self.control.ended or self.lockstep.ended

    @property
    def stopping(self) -> bool:
        """Whether the current command should end early."""
        return self.control.stopping

    def room_of(self, number: int) -> Room:
        """Return the room of a client. Senders come after the readers; both are spread over the rooms."""
        readers = self.job.readers
        return self.rooms[(number if number < readers else number - readers) % len(self.rooms)]

    def send_messages(self, sender: Client, count: int, stamp: int) -> None:
        """Have that sender send its next messages."""
        assert sender.generator is not None
        data = sender.generator.generate(count, stamp)
        if sender.acks is not None:
            sender.acks.expect(sender.generator.next_sequence, stamp)
        self.recorder.sent += count
        self.connections.send(sender, data)

    def receive(self, client: Client, data: memoryview, now: int) -> None:
        """Check the bytes that a client has read, on a wire with acks."""
        acks = client.acks
        if acks is None:
            client.room.transcript.receive(client, data, now)
            return
        recorder = self.recorder
        pending = acks.pending
        stream = acks.remove_acks(bytes(data), now, recorder.ack_latencies)
        if pending != acks.pending:
            recorder.acked += pending - acks.pending
            if not acks.pending:
                self.counters.reached.append(client.room.transcript)
        if acks.error_code:
            recorder.fail(f"the server rejected a message: {acks.error_code}")
        if stream:
            client.room.transcript.receive(client, memoryview(stream), now)

    def fail_on_loss(self, _client: Client, reason: str) -> None:
        """Record that the server closed a connection during the load."""
        self.recorder.fail(f"the server closed a connection: {reason}")

    def all_acked(self) -> bool:
        """Return whether the server has acknowledged every message."""
        return not self.wire.acks or self.recorder.sent == self.recorder.acked or self.job.floor

    def tick(self) -> None:
        """Do the periodic work: time line, keepalives, progress."""
        now = time.monotonic()
        self.recorder.tick(now)
        if self.wire.keepalive and not self.job.floor:
            self._send_keepalives(now)
        self.control.report_progress({"deliveries": self.recorder.deliveries})

    def wait(self, done: Callable[[], bool], timeout: float) -> bool:
        """Read until ``done``. Return False after ``timeout`` seconds without a delivery, or on failure."""
        counters, recorder = self.counters, self.recorder
        progress, last_progress = counters.deliveries + recorder.acked, time.monotonic()
        while not done():
            self.connections.poll(0.1)
            self.tick()
            if self.ended or recorder.failure is not None:
                return False
            if counters.deliveries + recorder.acked != progress:
                progress, last_progress = counters.deliveries + recorder.acked, time.monotonic()
            elif time.monotonic() - last_progress > timeout:
                if timeout == STALL_SECONDS:
                    recorder.fail(f"no delivery for {timeout:g} s")
                return False
            elif self.stopping and time.monotonic() - last_progress > 1.0:
                return False
        return True

    def next_batch(self, more: bool) -> bool:
        """Agree with the other workers that this batch is complete; return whether all send another one.

        ``more``: this worker wants to.
        """
        lockstep = self.lockstep
        if not lockstep.links:
            return more and not self.stopping
        if not lockstep.leader:
            batches = lockstep.batches + 1
            lockstep.announce_batch()
            agreed = self.wait(
                lambda: lockstep.batches >= batches or lockstep.final_count is not None, STALL_SECONDS
            )
            return lockstep.take_final_count() is None and agreed
        lockstep.awaited += len(lockstep.links)
        agreed = self.wait(lambda: lockstep.batches >= lockstep.awaited, STALL_SECONDS)
        another = agreed and more and not self.stopping
        announce = lockstep.announce_batch if another else lockstep.announce_end
        announce(self.recorder.expected)
        return another

    def leave(self) -> dict[str, Any]:
        """Close every connection."""
        for client in list(self.connections.clients.values()):
            self.connections.leave(client)
        self.stalled.leave()
        return {}

    def close(self) -> None:
        """Close everything except the control channel."""
        self.leave()
        self.lockstep.close()
        self.connections.close()

    def _send_keepalives(self, now: float) -> None:
        """Send a few keepalives at a time, so that they are no burst of load."""
        count = int(len(self.connections.clients) * (now - self._keepalive_time) / _KEEPALIVE_SECONDS)
        if not count:
            return
        self._keepalive_time = now
        if not self._keepalive_due:
            self._keepalive_due = list(self.connections.clients.values())
            self.stalled.send_keepalives()
        for client in self._keepalive_due[-count:]:
            if self.connections.clients.get(client.fd) is client:
                self.connections.send(client, self.wire.keepalive)
        del self._keepalive_due[-count:]
