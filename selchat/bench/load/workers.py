"""The generator processes of one run, as the parent sees them: gives commands, collects the answers.

The answers of several workers to one command are merged here, so that a scenario need not know how many
there are.
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
from selchat.bench.load.worker import Job, Measurement
from selchat.bench.system.proc import start, stop

Progress = Callable[[dict[str, Any]], None]

_STOP_SECONDS = 15.0  # for workers to answer after they were told to stop


class Workers:
    """Workers for one address. ``stopping()`` is asked every so often whether the user has had enough.

    ``linked``: they make one load in lockstep; otherwise each goes on by itself, with rooms of its own.
    """

    def __init__(
        self,
        jobs: list[Job],
        cores: frozenset[int],
        stopping: Callable[[], bool],
        progress: Progress,
        linked: bool = True,
    ) -> None:
        self._stopping = stopping
        self._progress = progress
        self._workers: list[subprocess.Popen[bytes]] = []
        self._lines: dict[int, bytes] = {}
        pairs = [socket.socketpair() for _ in jobs[1:]] if linked else []
        for number, job in enumerate(jobs):
            mine = pairs[number - 1 : number] if number else pairs
            ends = [far if number else near for near, far in mine]
            words = asdict(job) | {"links": [end.fileno() for end in ends], "hub": number == 0 or not linked}
            worker = start(
                ["selchat.bench.load.worker", json.dumps(words)],
                cores,
                stdin=subprocess.PIPE,
                pass_fds=[end.fileno() for end in ends],
            )
            self._workers.append(worker)
        for pair in pairs:
            for end in pair:
                end.close()

    def join(self, rate: float) -> dict[str, Any]:
        """Connect all members; see `selchat.bench.load.worker.Worker.do_join`."""
        answers = self.ask("join", rate=rate / len(self._workers))
        return {
            "seconds": max(answer["seconds"] for answer in answers),
            "cpu": max(answer["cpu"] for answer in answers),
            "joined": sum(answer["joined"] for answer in answers),
            "refused": sum(answer["refused"] for answer in answers),
            "probes": sum(answer["probes"] for answer in answers),
            "handshakes": Histogram.merged(Histogram.from_json(answer["handshakes"]) for answer in answers),
        }

    def sync(self) -> None:
        """Have all transcripts of a room begin at the same message."""
        self.ask("prepare")
        self.ask("call")
        self.ask("sync")

    def measure(self, command: str, **words: Any) -> Measurement:
        """Run one of the commands that measure."""
        return merge([Measurement(**answer) for answer in self.ask(command, **words)])

    def ask(self, command: str, only: int | None = None, **words: Any) -> list[dict[str, Any]]:
        """Have all workers do that, or only one of them, and wait for the answers."""
        workers = self._workers if only is None else [self._workers[only]]
        for worker in workers:
            self._tell(worker, {"do": command, **words})
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
                            self._progress(_sum(list(progress.values())))
            if self._stopping() and give_up == float("inf"):
                give_up = time.monotonic() + _STOP_SECONDS
                for worker in workers:
                    if worker.pid not in answers:
                        self._tell(worker, {"do": "stop"})
            if time.monotonic() > give_up:
                raise BenchError("a load generator does not answer")
        for answer in answers.values():
            if "error" in answer:
                raise BenchError(str(answer["error"]))
        return [answers[worker.pid] for worker in workers]

    def stop(self) -> None:
        """End all workers."""
        for worker in self._workers:
            stop(worker)

    def _tell(self, worker: subprocess.Popen[bytes], words: dict[str, Any]) -> None:
        assert worker.stdin is not None
        try:
            worker.stdin.write(json.dumps(words).encode() + b"\n")
            worker.stdin.flush()
        except BrokenPipeError:
            raise BenchError("a load generator has ended unexpectedly") from None

    def _read(self, worker: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
        assert worker.stdout is not None
        data = os.read(worker.stdout.fileno(), 1 << 20)
        if not data:
            raise BenchError("a load generator has ended unexpectedly")
        *lines, rest = (self._lines.get(worker.pid, b"") + data).split(b"\n")
        self._lines[worker.pid] = rest
        return [json.loads(line) for line in lines]


def _sum(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: sum(part.get(key, 0) for part in parts) for key in parts[0]}


def merge(slices: list[Measurement]) -> Measurement:
    """Return what several workers have measured at the same time as one."""
    first = slices[0]
    if len(slices) == 1:
        return first
    result = Measurement(seconds=max(part.seconds for part in slices), timeline=list(first.timeline))
    added = {"sent", "deliveries", "reads", "bytes", "acked", "lives", "refused"}
    for name in (one.name for one in fields(Measurement) if one.name in added or one.name.endswith("_all")):
        setattr(result, name, sum(getattr(part, name) for part in slices))
    for name in ("latencies", "last", "late", "acks"):
        whole = Histogram.merged(Histogram.from_json(getattr(part, name)) for part in slices)
        setattr(result, name, whole.to_json())
    result.cpu = max(part.cpu for part in slices)  # of the busiest: it is the one that may be too slow
    result.segments, result.segment_bytes = first.segments, first.segment_bytes
    result.failure = next((part.failure for part in slices if part.failure is not None), None)
    # Each worker closes its intervals on its own clock edge, a few milliseconds apart: the first one's
    # edges stand for all.
    for part in slices[1:]:
        for index, (_, _, deliveries, p99) in enumerate(part.timeline[: len(result.timeline)]):
            at, seconds, sofar, worst = result.timeline[index]
            result.timeline[index] = (at, seconds, sofar + deliveries, max(worst, p99))
    return result
