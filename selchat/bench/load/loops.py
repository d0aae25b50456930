"""Load loops: closed (one or many rooms), paced (open), and idle."""

from __future__ import annotations

import math
import time
from typing import Any

from selchat.bench.histogram import Histogram
from selchat.bench.load.client import Room
from selchat.bench.load.connections import now_ns
from selchat.bench.load.generator import DRAIN_SECONDS, STALL_SECONDS, LoadGenerator


class Loops:
    """The commands that send messages in a loop and measure their deliveries."""

    def __init__(self, generator: LoadGenerator) -> None:
        self._generator = generator

    def closed(self, seconds: float, window: int, interval: float, batches: int = 0) -> dict[str, Any]:
        """Closed loop: every sender sends ``window`` messages, and again when all readers have them all.

        It ends after ``seconds``, and not before ``batches`` of these.
        """
        generator, recorder = self._generator, self._generator.recorder
        transcript = generator.transcript
        last = Histogram()
        recorder.begin(interval)
        deadline = time.monotonic() + seconds
        running = True
        while running:
            messages = window * generator.job.total_senders
            transcript.expect(messages)
            recorder.expected += messages
            stamps = []
            for sender in generator.senders:
                stamps.append(stamp := now_ns())
                generator.send_messages(sender, window, stamp)
            if not generator.wait(lambda: not transcript.behind, STALL_SECONDS):
                break
            done = now_ns()
            if generator.wire.acks and not generator.wait(generator.all_acked, STALL_SECONDS):
                break
            batches -= 1
            running = generator.next_batch(batches > 0 or time.monotonic() < deadline)
            if generator.lockstep.links:
                done = now_ns()  # only now do the readers of the other workers have everything
            for stamp in stamps:
                last.add((done - stamp) // 1000, window)
            transcript.trim()
            generator.counters.reached.clear()
        return recorder.finish(last=last)

    def rooms(self, seconds: float, window: int, interval: float, batches: int = 0) -> dict[str, Any]:
        """Run an independent closed loop in each room.

        Each ends after ``seconds``, and not before ``batches`` of ``window`` messages a sender.
        """
        generator, recorder = self._generator, self._generator.recorder
        last = Histogram()
        recorder.begin(interval)
        reached = generator.counters.reached
        reached.clear()
        deadline = time.monotonic() + seconds
        rooms = {room.transcript: room for room in generator.rooms}
        left = dict.fromkeys(generator.rooms, batches)  # batches that a room still has to send

        def begin(room: Room) -> None:
            room.waiting = True
            room.transcript.expect(window * len(room.senders))
            room.batch_start = now_ns()
            for sender in room.senders:
                generator.send_messages(sender, window, room.batch_start)

        def all_done() -> bool:
            while reached:
                room = rooms[reached.pop()]
                if not room.waiting or not room.complete:
                    continue  # some acks are missing; the last of them adds the room again
                room.waiting = False
                last.add((now_ns() - room.batch_start) // 1000, window * len(room.senders))
                room.transcript.trim()
                left[room] -= 1
                if generator.stopping or (left[room] <= 0 and time.monotonic() >= deadline):
                    del left[room]
                else:
                    begin(room)
            return not left

        for room in generator.rooms:
            begin(room)
        generator.wait(all_done, STALL_SECONDS)
        recorder.expected = recorder.sent
        return recorder.finish(last=last)

    def paced(self, seconds: float, rate: float, ramp: float, interval: float) -> dict[str, Any]:
        """Open loop: ``rate`` messages a second, rising to that over ``ramp`` seconds, whatever happens.

        The stamp of a message is the time at which it should have been sent. So a stall delays the messages
        after it in the figures, as it would in life (no coordinated omission).
        """
        generator, recorder = self._generator, self._generator.recorder
        connections, lockstep, senders = generator.connections, generator.lockstep, generator.senders
        transcript = generator.transcript
        lateness = Histogram()
        recorder.begin(interval)
        if not senders and not lockstep.leader:
            generator.wait(lambda: lockstep.final_count is not None, math.inf)
        start = time.monotonic()
        count = max(1, int(rate * (seconds - ramp / 2))) if senders else 0
        number = 0
        due = start + due_seconds(number, rate, ramp)
        while number < count and not generator.stopping and not generator.ended and recorder.failure is None:
            now = time.monotonic()
            while due <= now and number < count:
                sender = senders[number % len(senders)]
                lateness.add(int((time.monotonic() - due) * 1e6))
                generator.send_messages(sender, 1, int(due * 1e9))
                number += 1
                due = start + due_seconds(number, rate, ramp)
            connections.poll(max(0.0, due - time.monotonic()), precise=True)
            transcript.trim()
            generator.tick()
        recorder.expected += number
        if lockstep.leader:
            lockstep.announce_end(recorder.expected)
        else:
            recorder.expected = lockstep.take_final_count() or 0
        transcript.expect(recorder.expected - transcript.goal)
        generator.wait(lambda: not transcript.behind and generator.all_acked(), DRAIN_SECONDS)
        generator.counters.reached.clear()
        return recorder.finish(lateness=lateness)

    def idle(self, seconds: float) -> dict[str, Any]:
        """Send nothing for ``seconds``."""
        generator, recorder = self._generator, self._generator.recorder
        recorder.begin(seconds)
        deadline = time.monotonic() + seconds
        while not generator.stopping and not generator.ended and (left := deadline - time.monotonic()) > 0:
            generator.connections.poll(min(left, 0.25))
            generator.tick()
            if recorder.failure is not None:
                break
        return recorder.finish()


def due_seconds(number: int, rate: float, ramp: float) -> float:
    """Return when message ``number`` is due, if the rate rises evenly over ``ramp`` seconds."""
    if number < rate * ramp / 2:
        return math.sqrt(2 * number * ramp / rate)
    return ramp / 2 + number / rate
