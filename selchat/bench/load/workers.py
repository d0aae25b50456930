"""The worker processes of one run, as their parent controls them.

The answers of several workers to one command are merged here, so that a scenario need not know how many
workers there are.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

from selchat.bench.errors import BenchError
from selchat.bench.histogram import Histogram
from selchat.bench.load.job import Job, Measurement
from selchat.bench.system.processes import start_process, stop_process

ProgressCallback = Callable[[dict[str, Any]], None]

_STOP_SECONDS = 15.0  # for workers to answer after "stop"


class Workers:
    """Worker processes for one server. ``stopping()`` tells whether the user wants to end the run.

    ``linked``: they make one load in lockstep. Otherwise each has its own rooms and does not wait for
    others.
    """

    def __init__(
        self,
        jobs: list[Job],
        cores: frozenset[int],
        stopping: Callable[[], bool],
        on_progress: ProgressCallback,
        linked: bool = True,
    ) -> None:
        self._stopping = stopping
        self._on_progress = on_progress
        self._workers: list[subprocess.Popen[bytes]] = []
        self._partial_lines: dict[int, bytes] = {}
        pairs = [socket.socketpair() for _ in jobs[1:]] if linked else []
        for number, job in enumerate(jobs):
            own_pairs = pairs[number - 1 : number] if number else pairs
            ends = [far if number else near for near, far in own_pairs]
            arguments = asdict(job) | {
                "links": [end.fileno() for end in ends],
                "leader": number == 0 or not linked,
            }
            worker = start_process(
                ["selchat.bench.load.worker", json.dumps(arguments)],
                cores,
                stdin=subprocess.PIPE,
                pass_fds=[end.fileno() for end in ends],
            )
            self._workers.append(worker)
        for pair in pairs:
            for end in pair:
                end.close()

    def join(self, rate: float) -> dict[str, Any]:
        """Connect all clients; see `selchat.bench.load.joining.Joining.join`."""
        answers = self.ask("join", rate=rate / len(self._workers))
        return {
            "seconds": max(answer["seconds"] for answer in answers),
            "cpu": max(answer["cpu"] for answer in answers),
            "joined": sum(answer["joined"] for answer in answers),
            "refused": sum(answer["refused"] for answer in answers),
            "probes": sum(answer["probes"] for answer in answers),
            "handshakes": Histogram.merged(Histogram.from_json(answer["handshakes"]) for answer in answers),
        }

    def start_checking(self) -> None:
        """Start all transcripts of a room at the same message."""
        self.ask("expect-markers")
        self.ask("send-markers")
        self.ask("start-checking")

    def measure(self, command: str, **arguments: Any) -> Measurement:
        """Run one of the commands that measure."""
        return merge([Measurement(**answer) for answer in self.ask(command, **arguments)])

    def ask(self, command: str, only: int | None = None, **arguments: Any) -> list[dict[str, Any]]:
        """Have all workers, or only one of them, run a command, and wait for the answers."""
        workers = self._workers if only is None else [self._workers[only]]
        for worker in workers:
            self._send(worker, {"command": command, **arguments})
        answers: dict[int, dict[str, Any]] = {}
        progress: dict[int, dict[str, Any]] = {}
        give_up = float("inf")
        while len(answers) < len(workers):
            waiting = [worker.stdout for worker in workers if worker.pid not in answers and worker.stdout]
            ready = select.select(waiting, [], [], 0.2)[0]
            for worker in workers:
                if worker.stdout in ready:
                    for line in self._read(worker):
                        if "answer" in line:
                            answers[worker.pid] = line["answer"]
                        else:
                            progress[worker.pid] = line["progress"]
                            self._on_progress(_sum(list(progress.values())))
            if self._stopping() and give_up == float("inf"):
                give_up = time.monotonic() + _STOP_SECONDS
                for worker in workers:
                    if worker.pid not in answers:
                        self._send(worker, {"command": "stop"})
            if time.monotonic() > give_up:
                raise BenchError(f"a load generator did not stop within {_STOP_SECONDS:g} s")
        for answer in answers.values():
            if "error" in answer:
                raise BenchError(str(answer["error"]))
        return [answers[worker.pid] for worker in workers]

    def stop(self) -> None:
        """End all workers."""
        for worker in self._workers:
            stop_process(worker)

    def _send(self, worker: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
        assert worker.stdin is not None
        try:
            worker.stdin.write(json.dumps(message).encode() + b"\n")
            worker.stdin.flush()
        except BrokenPipeError:
            raise BenchError("a load generator ended unexpectedly") from None

    def _read(self, worker: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
        assert worker.stdout is not None
        data = os.read(worker.stdout.fileno(), 1 << 20)
        if not data:
            raise BenchError("a load generator ended unexpectedly")
        *lines, partial = (self._partial_lines.get(worker.pid, b"") + data).split(b"\n")
        self._partial_lines[worker.pid] = partial
        return [json.loads(line) for line in lines]


def _sum(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: sum(part.get(key, 0) for part in parts) for key in parts[0]}


def merge(measurements: list[Measurement]) -> Measurement:
    """Return the simultaneous measurements of several workers as one."""
    first = measurements[0]
    if len(measurements) == 1:
        return first
    result = Measurement(
        seconds=max(part.seconds for part in measurements),
        timeline=list(first.timeline),
        cpu=max(part.cpu for part in measurements),  # of the busiest, because it may be too slow
        segments=first.segments,
        segment_bytes=first.segment_bytes,
        failure=next((part.failure for part in measurements if part.failure is not None), None),
    )
    added = {"sent", "deliveries", "reads", "bytes", "acked", "lives", "refused"}
    for name in (each.name for each in fields(Measurement)):
        if name in added or name.endswith("_total"):
            setattr(result, name, sum(getattr(part, name) for part in measurements))
    for name in ("latencies", "last_latencies", "lateness", "ack_latencies"):
        merged = Histogram.merged(Histogram.from_json(getattr(part, name)) for part in measurements)
        setattr(result, name, merged.to_json())
    # Each worker closes its intervals by its own clock, a few milliseconds apart. The times of the first
    # worker stand for all.
    for part in measurements[1:]:
        for index, (_, _, deliveries, p99) in enumerate(part.timeline[: len(result.timeline)]):
            start, seconds, so_far, max_p99 = result.timeline[index]
            result.timeline[index] = (start, seconds, so_far + deliveries, max(max_p99, p99))
    return result
