"""Recorder: measures one command of a load generator."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from selchat.bench.histogram import Histogram
from selchat.bench.load.client import Client, Room
from selchat.bench.load.connections import Connections
from selchat.bench.load.job import Job, Measurement
from selchat.bench.verify.transcript import Counters


class Recorder:
    """Records counters, latencies and a time line between `begin` and `finish`."""

    def __init__(
        self,
        job: Job,
        counters: Counters,
        rooms: list[Room],
        senders: list[Client],
        connections: Connections,
    ) -> None:
        self.failure: str | None = None
        self.sent = 0  # messages of this worker since its start
        self.expected = 0  # messages of all workers since their start, as far as this worker knows
        self.acked = 0  # acks since the start of this worker
        self.ack_latencies = Histogram()
        self.lives = 0
        self.refused = 0
        self._job = job
        self._counters = counters
        self._rooms = rooms
        self._senders = senders
        self._connections = connections
        self._start = Measurement()  # the counters at `begin`
        self._latencies = Histogram()
        self._timeline: list[tuple[float, float, int, float]] = []
        self._interval = 1.0
        self._interval_start = 0.0
        self._interval_deliveries = 0

    @property
    def deliveries(self) -> int:
        """Deliveries since `begin`."""
        return self._counters.deliveries - self._start.deliveries

    def fail(self, reason: str) -> None:
        """Record why the command failed; the first reason counts."""
        if self.failure is None:
            self.failure = reason

    def begin(self, interval: float) -> None:
        """Start a measurement, with a time line in steps of ``interval`` seconds."""
        counters = self._counters
        counters.latencies = Histogram()
        self._latencies = Histogram()
        self.ack_latencies = Histogram()
        self._timeline = []
        self.lives = self.refused = 0
        self._start = Measurement(
            sent=self.sent,
            deliveries=counters.deliveries,
            reads=counters.reads,
            bytes=counters.bytes,
            acked=self.acked,
            cpu=time.process_time(),
        )
        self._start.segment_bytes, self._start.segments = self._connections.segments()
        self._interval = interval
        self._start.seconds = self._interval_start = time.monotonic()
        self._interval_deliveries = counters.deliveries

    def tick(self, now: float) -> None:
        """Close the interval of the time line if it is over."""
        if now - self._interval_start >= self._interval:
            self._close_interval(now)

    def finish(self, last: Histogram | None = None, lateness: Histogram | None = None) -> dict[str, Any]:
        """End the measurement and return it as JSON."""
        now = time.monotonic()
        self._close_interval(now)
        start, counters = self._start, self._counters
        segment_bytes, segments = self._connections.segments()
        measurement = Measurement(
            cpu=time.process_time() - start.cpu,
            seconds=now - start.seconds,
            sent=self.sent - start.sent,
            deliveries=counters.deliveries - start.deliveries,
            reads=counters.reads - start.reads,
            bytes=counters.bytes - start.bytes,
            segment_bytes=segment_bytes - start.segment_bytes,
            segments=segments - start.segments,
            latencies=self._latencies.to_json(),
            last_latencies=(last or Histogram()).to_json(),
            lateness=(lateness or Histogram()).to_json(),
            timeline=self._timeline,
            acked=self.acked - start.acked,
            ack_latencies=self.ack_latencies.to_json(),
            lives=self.lives,
            refused=self.refused,
            failure=self.failure,
            sent_total=self.sent,
        )
        self._add_defects(measurement)
        return asdict(measurement)

    def _add_defects(self, measurement: Measurement) -> None:
        for room in self._rooms:
            transcript = room.transcript
            senders = [] if self._job.floor else room.senders
            own = {
                sender.name: sender.generator.next_sequence
                for sender in senders
                if sender.generator is not None
            }
            sent = sum(own.values()) if len(self._rooms) > 1 else self.expected
            measurement.lost_total += transcript.lost(sent, own)
            measurement.duplicated_total += transcript.duplicated()
            measurement.reordered_total += transcript.reordered()
            measurement.diverged_total += transcript.diverged
            measurement.misnumbered_total += transcript.misnumbered()
        for acks in (sender.acks for sender in self._senders if sender.acks is not None):
            measurement.acks_lost_total += acks.lost
            measurement.acks_duplicated_total += acks.duplicated
            measurement.acks_wrong_total += acks.wrong

    def _close_interval(self, now: float) -> None:
        counters = self._counters
        latencies, counters.latencies = counters.latencies, Histogram()
        seconds = now - self._interval_start
        deliveries = counters.deliveries - self._interval_deliveries
        self._timeline.append((self._interval_start, seconds, deliveries, latencies.percentile(99)))
        self._latencies.merge(latencies)
        self._interval_start = now
        self._interval_deliveries = counters.deliveries
