"""Test bed of a run: its servers, its floor and its worker processes."""

from __future__ import annotations

import os
import random
import string
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from selchat.bench.errors import BenchError
from selchat.bench.histogram import Histogram
from selchat.bench.load.job import Job
from selchat.bench.load.workers import ProgressCallback, Workers
from selchat.bench.plan import Plan, room_name
from selchat.bench.results import Summary
from selchat.bench.system.proc import Usage, process_usage
from selchat.bench.system.processes import Floor, Server
from selchat.bench.wires.messages import LOBBY
from selchat.bench.wires.wire import WIRES

_SYNCS = 50  # fsync calls that are timed


class Testbed:
    """Starts the processes of a run and ends them all. ``show_status`` gets a line on each step."""

    __test__ = False  # pytest: this is no test

    def __init__(
        self,
        plan: Plan,
        stopping: Callable[[], bool],
        show_status: Callable[[str], None],
        on_progress: ProgressCallback,
    ) -> None:
        self.wire = WIRES[plan.wire]
        self.server_pid = plan.server_pid
        self._plan = plan
        self._stopping = stopping
        self._show_status = show_status
        self._on_progress = on_progress
        self._run = "".join(random.choices(string.ascii_lowercase, k=3))
        self._room = room_name(self._run, 0) if plan.rooms else LOBBY  # all room names have the same length
        self._address = plan.connect or ("", 0)
        self._servers: list[Server] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._workers: list[Workers] = []
        self._floor: Floor | None = None
        self.delivery_size = self.wire.delivery_size(plan.payload, self._room)  # bytes, about
        self.summary = Summary(plan, self.wire, self.delivery_size)

    def start(self) -> None:
        """Start a server, unless the plan names one."""
        plan = self._plan
        if plan.connect is None:
            self.start_server(history=plan.history)
        else:
            self.summary.notes.append(
                f"server: {self._address[0]} port {self._address[1]}, not started by this run"
            )

    def start_server(self, history: bool) -> None:
        """Start a server, which the next clients will connect to."""
        plan, notes = self._plan, self.summary.notes
        self._show_status("starting a server")
        arguments = [f"--max-clients={plan.connections + 100}"]
        if not plan.roster:
            arguments.append("--no-roster")
        if history:
            self._folder = tempfile.TemporaryDirectory(prefix="selchat-bench-")
            arguments.append(f"--history={self._folder.name}/history.sqlite")
        server = Server(arguments, plan.pins.server)
        self._servers.append(server)
        self._address, self.server_pid = server.address, server.pid
        notes.append(f"server: {' '.join(server.arguments)}")
        if self._folder is not None and history:
            notes.append(
                f"one fsync of 4 KiB in the history's folder takes {_fsync_ms(self._folder.name):.2f} ms"
            )

    def server_usage(self) -> Usage | None:
        """Return the usage of the server's process; None if it is unknown."""
        return None if self.server_pid is None else process_usage(self.server_pid)

    def join(self, readers: int, senders: int, check: bool = True, processes: int | None = None) -> Workers:
        """Start workers with that many clients, and connect them all. ``check``: check their deliveries."""
        plan = self._plan
        workers = Workers(
            self._jobs(readers, senders, min(processes or plan.processes, plan.rooms or readers)),
            plan.pins.generators,
            self._stopping,
            self._on_progress,
            linked=not plan.rooms,
        )
        self._workers.append(workers)
        self._show_status(f"connecting {readers + senders} clients")
        joined = workers.join(plan.connect_rate)
        handshakes: Histogram = joined["handshakes"]
        self.summary.metrics |= {
            "connections": joined["joined"],
            "refused": joined["refused"],
            "generator_cpu_percent": 100 * joined["cpu"] / (joined["seconds"] or 1e-9),
            "joins_per_s": joined["joined"] / joined["seconds"] if joined["seconds"] else 0.0,
            "handshake_p50_ms": handshakes.percentile(50) / 1000,
            "handshake_p99_ms": handshakes.percentile(99) / 1000,
            "handshake_max_ms": handshakes.max / 1000,
        }
        if check and not self._stopping():
            if joined["refused"]:
                raise BenchError(f"the server refused {joined['refused']} of {readers + senders} connections")
            workers.start_checking()
        return workers

    def start_floor(self, window: int, chunks: Fraction) -> Workers:
        """Start a floor with as many readers as the server has, and return their workers.

        A floor that runs already is stopped.
        """
        plan = self._plan
        if plan.scenario == "everyone":
            readers = plan.clients + plan.processes - 1
        elif plan.rooms:
            readers = plan.rooms * plan.clients
        else:
            readers = plan.clients + plan.senders - 1
        self._show_status("connecting the floor's readers")
        if self._floor is not None:
            self._workers.pop().stop()
            self._floor.stop()
        self._floor = Floor(readers, window * self.delivery_size, chunks, plan.pins.server)
        job = Job(
            address=self._floor.address,
            run=self._run,
            readers=readers,
            senders=1,
            total_senders=1,
            payload=plan.payload,
            wire=plan.wire,
            rooms=(self._room,),
            floor=True,
        )
        workers = Workers([job], plan.pins.generators, self._stopping, self._on_progress)
        self._workers.append(workers)
        workers.join(0)
        workers.start_checking()
        return workers

    def floor_usage(self) -> Usage:
        """Return the usage of the floor's process."""
        assert self._floor is not None
        return process_usage(self._floor.pid)

    def close(self) -> None:
        """End all processes, and delete the history."""
        for workers in self._workers:
            workers.stop()
        if self._floor is not None:
            self._floor.stop()
        for server in self._servers:
            server.stop()
        if self._folder is not None:
            self._folder.cleanup()

    def _jobs(self, readers: int, senders: int, count: int) -> list[Job]:
        plan = self._plan
        everyone = plan.scenario == "everyone"
        names = [room_name(self._run, number) for number in range(plan.rooms)] or [LOBBY]
        jobs = []
        first = 0
        for number in range(count):
            if plan.rooms:
                rooms = tuple(names[number::count])
                own_senders, own_readers = len(rooms) * plan.senders, len(rooms) * plan.clients
                spare = 10 + len(rooms)
            else:
                rooms = (LOBBY,)
                own_senders = _share(senders, count, number) if everyone else senders if number == 0 else 0
                own_readers = _share(readers, count, number)
                spare = 10 + max(plan.stalled, plan.clients) if number == 0 else 0
            jobs.append(
                Job(
                    address=self._address,
                    run=self._run,
                    first=first,
                    readers=own_readers,
                    senders=own_senders,
                    total_senders=senders,
                    payload=plan.payload,
                    wire=plan.wire,
                    rooms=rooms,
                    source=self._address[0].startswith("127."),
                )
            )
            first += own_readers + own_senders + spare
        return jobs


def _share(total: int, parts: int, number: int) -> int:
    return total // parts + (number < total % parts)


def _fsync_ms(folder: str) -> float:
    """Return the median time to write 4 KiB through to the disk, in milliseconds."""
    times = []
    with (Path(folder) / "sync").open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            file.write(bytes(4096))
            start = time.monotonic()
            os.fsync(file.fileno())
            times.append(time.monotonic() - start)
    return 1000 * sorted(times)[_SYNCS // 2]
