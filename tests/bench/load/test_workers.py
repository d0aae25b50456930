"""Worker processes: merged measurements, load schedule, and their end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from selchat.bench.histogram import Histogram
from selchat.bench.load.job import Job, Measurement
from selchat.bench.load.loops import due_seconds
from selchat.bench.load.worker import Worker
from selchat.bench.load.workers import merge
from tests.e2e.support import eventually


def test_open_loop_ramps_up_to_its_rate() -> None:
    times = [due_seconds(number, 100, 1.0) for number in range(200)]
    assert times == sorted(times)
    assert times[50] == pytest.approx(1.0)
    assert times[150] - times[50] == pytest.approx(1.0)
    assert [due_seconds(number, 100, 0.0) for number in (0, 100)] == [0, 1]


def test_measurements_of_several_workers_are_merged() -> None:
    empty = Histogram().to_json()
    first = Measurement(
        seconds=1.0,
        deliveries=5,
        timeline=[(0.0, 1.0, 5, 9.0)],
        latencies=empty,
        last_latencies=empty,
        lateness=empty,
        ack_latencies=empty,
    )
    second = Measurement(**(asdict(first) | {"failure": "gone"}))
    both = merge([first, second])
    assert (both.deliveries, both.timeline, both.failure) == (10, [(0.0, 1.0, 10, 9.0)], "gone")


def test_worker_ends_at_the_end_of_its_input() -> None:
    read, write = os.pipe()
    worker = Worker(Job(address=("127.0.0.1", 1), run="abc"), (read, write))
    os.close(write)
    worker.run()
    worker.close()
    os.close(read)
    assert worker.ended


def test_workers_and_server_end_when_the_bench_is_killed() -> None:
    bench = subprocess.Popen(
        [sys.executable, "-m", "selchat.bench.cli", "paced", "--clients=3", "--duration=9"],
        stdout=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: len(children(bench.pid)) == 4, "server, worker, floor and its worker")
        family = children(bench.pid)
    finally:
        bench.send_signal(signal.SIGKILL)
        bench.wait()
    eventually(lambda: not any(is_alive(pid) for pid in family), "all of them have ended")


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
