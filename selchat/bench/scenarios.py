"""What each scenario does, and what its figures mean. Knows commands and figures, and no socket.

==========  ============================================================================================
fanout      closed loop: each sender has ``window`` messages in flight; when every receiver has them all,
            it sends the next. Window 1 measures the fan-out of one message.
everyone    the same, and every client talks. One more client per process only reads: the others'
            streams are checked against its.
paced       open loop: so many messages a second, whatever happens. Latency is from the intended time.
soak        paced, for long: with the trend of memory and descriptors, and p99 by the minute.
slow        paced, in turns without and with some more readers that never read.
churn       clients come, say three messages and leave, at once replaced; ten readers check them.
idle        connections that do nothing: what each costs in memory, and all of them in CPU.
connect     a join storm: until each has proof that it is in, which is a welcome in the selchat protocol, and
            on the classic wire a roster or the probe of one member that talks as soon as the last name was
            written.
rooms       closed loops, one in each of many rooms, none of which waits for another. Rich protocol.
durable     fanout, in turns with a server that keeps its history in a file and one that keeps none.
==========  ============================================================================================

The floor is measured in the same run, in turns with the server, each turn a second or so: what else the
machine does then hits both alike, and the median of the turns' ratios is hit by neither. For `rooms` it is
one room with all of their readers: what the same chunks to as many sockets cost.
"""

from __future__ import annotations

import os
import random
import string
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from selchat.bench.errors import BenchError, PlanError
from selchat.bench.histogram import PERCENTILES, Histogram, median_ratio
from selchat.bench.load.worker import Job, Measurement
from selchat.bench.load.workers import Progress, Workers
from selchat.bench.metrics import CHECKED, Condition, metrics_of
from selchat.bench.system.proc import Floor, Pinning, Server, Usage, raise_descriptor_limit, usage
from selchat.bench.wires.wires import LOBBY, WIRES

MIB = 1024 * 1024
_SPARE_DESCRIPTORS = 64  # of a process, for its own files
_MAX_ROUNDS = 9
_MAX_WAITED = 10  # percent of the time, before that is worth a warning
# After a pause of more than its retransmission timeout (0.2 s), Linux acknowledges the next 16 segments one
# by one, at the sender's expense: the floor's send took 11.6 us with these and 8.8 without. So these turns
# are not measured, neither the server's nor the floor's.
_WARM_TURNS = 20
_MAX_OFF = 0.05  # of its chunks' size, before the floor is started anew with what the server has now
_SETTLE_SECONDS = 2.0  # after joining: the roster is sent once a second at most
_CHURN_READERS = 10
_CHURN_MESSAGES = 3
_SEGMENT = 65_483  # bytes: the MSS of Linux's loopback; larger chunks cannot be told apart
_SYNCS = 50  # of the disk, to say what one costs


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The options, checked."""

    scenario: str
    wire: str = "classic"
    connect: tuple[str, int] | None = None
    server_pid: int | None = None
    clients: int  # in `rooms` of each room, and so are the senders
    rooms: int = 0
    senders: int = 1
    rate: float = 0.0  # messages a second, of all senders together
    window: int = 1  # messages in flight for each sender
    payload: int = 64  # bytes
    duration: float = 10.0  # seconds
    ramp: float = 0.5  # seconds of load before the measuring
    connect_rate: float = 0.0  # connections a second; 0: as fast as possible
    processes: int = 1
    stalled: int = 0
    roster: bool = True
    history: bool = False
    conditions: tuple[Condition, ...] = ()
    pins: Pinning = field(default_factory=Pinning)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of it. ``timeline``: (seconds from the start, deliveries/s, p99 in ms)."""

    metrics: dict[str, float]
    latencies: Histogram
    last: Histogram
    acks: Histogram
    floor: Histogram
    floor_last: Histogram
    timeline: list[tuple[float, float, float]]
    notes: list[str]
    warnings: list[str]
    failure: str | None
    interrupted: bool


@dataclass(slots=True)
class Turn:
    """One slice, with what the server or the floor has used in it."""

    measured: Measurement
    before: Usage | None
    after: Usage | None

    @property
    def cpu(self) -> float:
        """Seconds of the server."""
        return self.after.cpu - self.before.cpu if self.before and self.after else 0.0

    def percentile(self, percent: float, last: bool = False) -> float:
        """Microseconds."""
        return Histogram.from_json(self.measured.last if last else self.measured.latencies).percentile(
            percent
        )

    def per_delivery(self) -> float:
        """CPU seconds of the server for one delivery."""
        return self.cpu / self.measured.deliveries if self.measured.deliveries else 0.0

    def speed(self) -> float:
        """Deliveries a second."""
        return self.measured.deliveries / self.measured.seconds if self.measured.seconds else 0.0


class Run:
    """One run of one plan. ``stopping()``: the user has had enough; ``say`` takes what is being done."""

    def __init__(
        self, plan: Plan, stopping: Callable[[], bool], say: Callable[[str], None], progress: Progress
    ) -> None:
        self._plan = plan
        self._stopping = stopping
        self._say = say
        self._progress = progress
        self._run = "".join(random.choices(string.ascii_lowercase, k=3))
        self._wire = WIRES[plan.wire]
        self._room = room_name(self._run, 0) if plan.rooms else LOBBY  # or one whose name is as long
        self._size = self._wire.relayed(plan.payload, self._room)  # bytes of a message, about: numbers grow
        self._servers: list[Server] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._crews: list[Workers] = []
        self._floor: Floor | None = None
        self._pid = plan.server_pid
        self._address = plan.connect or ("", 0)
        self._turns: list[Turn] = []
        self._floor_turns: list[Turn] = []
        self._without: list[Turn] = []  # of the server without history
        self._metrics: dict[str, float] = {}
        self._notes: list[str] = []
        self._warnings: list[str] = []
        self._failure: str | None = None
        check_descriptors(plan)

    def run(self) -> Result:
        """Do it, and return what was measured, even where it came to an early end."""
        scenario: Callable[[], None] = getattr(self, f"_{self._plan.scenario}")
        try:
            self._start()
            scenario()
        except BenchError as error:
            self._failure = self._failure or str(error)
        finally:
            for crew in self._crews:
                crew.stop()
            if self._floor is not None:
                self._floor.stop()
            for server in self._servers:
                server.stop()
            if self._folder is not None:
                self._folder.cleanup()
        return self._result()

    # -- scenarios -----------------------------------------------------------------------------------------

    def _fanout(self) -> None:
        plan = self._plan
        self._alternate(self._joined(readers=plan.clients, talkers=plan.senders), "closed")

    def _everyone(self) -> None:
        plan = self._plan
        self._alternate(self._joined(readers=plan.processes, talkers=plan.clients), "closed")

    def _paced(self) -> None:
        plan = self._plan
        self._alternate(self._joined(readers=plan.clients, talkers=plan.senders), "paced")

    def _soak(self) -> None:
        plan = self._plan
        crew = self._joined(readers=plan.clients, talkers=plan.senders)
        part = max(1.0, min(60.0, plan.duration / 10))
        self._alternate(crew, "paced", part=part, floors=1)
        for number, turn in enumerate(self._turns, 1):
            used = turn.after
            memory = f", {used.rss / MIB:.1f} MiB, {used.fds} descriptors" if used else ""
            self._notes.append(f"after {number * part:g} s: p99 {turn.percentile(99) / 1000:.3f} ms{memory}")

    def _rooms(self) -> None:
        plan = self._plan
        self._alternate(
            self._joined(readers=plan.rooms * plan.clients, talkers=plan.rooms * plan.senders), "rooms"
        )

    def _durable(self) -> None:
        plan = self._plan
        crews = {True: self._joined(readers=plan.clients, talkers=plan.senders)}
        pids, pid = {True: self._pid}, self._pid
        self._start_server(history=False)
        pids[False] = self._pid
        crews[False] = self._joined(readers=plan.clients, talkers=plan.senders)
        rounds = max(1, min(_MAX_ROUNDS, int(plan.duration / 2)))
        part = plan.duration / rounds / 2
        if plan.ramp:
            self._say("durable: warming up")
            for crew in crews.values():
                self._load(crew, "closed", plan.ramp)
        for number in range(rounds):
            for history, crew in crews.items():
                if self._done():
                    break
                self._say(f"durable: round {number + 1} of {rounds}, with{'' if history else 'out'} history")
                self._pid = pids[history]
                self._warm(crew, "closed")
                turn = self._turn(crew, "closed", part)
                (self._turns if history else self._without).append(turn)
        self._pid = pid
        self._compare_without(self._without)

    def _compare_without(self, without: list[Turn]) -> None:
        if not without:
            return
        latencies = _merged(without, "latencies")
        seconds = sum(turn.measured.seconds for turn in without) or 1e-9
        deliveries = sum(turn.measured.deliveries for turn in without)
        self._metrics |= {
            "without_messages_per_s": sum(turn.measured.sent for turn in without) / seconds,
            "without_deliveries_per_s": deliveries / seconds,
            "without_p50_ms": latencies.percentile(50) / 1000,
            "without_p99_ms": latencies.percentile(99) / 1000,
            "without_ack_p99_ms": _merged(without, "acks").percentile(99) / 1000,
            "without_cpu_us_per_delivery": 1e6 * sum(turn.cpu for turn in without) / (deliveries or 1),
        }
        pairs = zip(self._turns, without, strict=False)
        ratio = median_ratio((a.speed(), b.speed()) for a, b in pairs)
        if ratio is not None:
            self._metrics["durable_ratio"] = ratio

    def _slow(self) -> None:
        plan = self._plan
        crew = self._joined(readers=plan.clients - plan.stalled, talkers=plan.senders)
        rounds = max(1, min(3, int(plan.duration / 10)))
        part = plan.duration / rounds / 2
        without: list[Turn] = []
        closed: list[int] = []  # of the stalled, in each round, as the server's descriptors tell
        for number in range(rounds):
            if self._done():
                break
            self._say(f"slow: round {number + 1} of {rounds}, all read")
            if plan.ramp:
                self._load(crew, "paced", plan.ramp, ramp=0.0 if number else plan.ramp)
            without.append(self._turn(crew, "paced", part))
            self._say(f"slow: round {number + 1} of {rounds}, {plan.stalled} more are stalled")
            crew.ask("stall", only=0, count=plan.stalled)
            self._load(crew, "paced", max(plan.ramp, 0.2))
            turn = self._turn(crew, "paced", part)
            started = without[-1].after
            if turn.before and started:  # memory and descriptors are compared with those without the stalled
                turn.before = replace(turn.before, rss=started.rss, fds=started.fds)
            if turn.before and turn.after:
                closed.append(plan.stalled - (turn.after.fds - turn.before.fds))
            self._turns.append(turn)
            state = crew.ask("stalled", only=0)[0]
            if state["in"] < plan.stalled:
                self._warnings.append(f"only {state['in']} of {plan.stalled} stalled readers were let in")
            crew.ask("unstall", only=0)
        plain = Histogram.merged(Histogram.from_json(turn.measured.latencies) for turn in without)
        if closed:
            self._metrics["stalled_closed"] = min(closed)
        self._metrics |= {
            "without_p50_ms": plain.percentile(50) / 1000,
            "without_p99_ms": plain.percentile(99) / 1000,
        }
        for percent in (50, 99):
            pairs = zip(self._turns, without, strict=False)
            ratio = median_ratio((a.percentile(percent), b.percentile(percent)) for a, b in pairs)
            if ratio is not None:
                self._metrics[f"stalled_p{percent}_ratio"] = ratio

    def _churn(self) -> None:
        plan = self._plan
        crew = self._joined(readers=_CHURN_READERS, talkers=0, processes=1)
        self._say(f"churn: {plan.clients} clients coming and going")
        words = {"slots": plan.clients, "messages": _CHURN_MESSAGES, "rate": plan.connect_rate}
        before = self._usage()
        measured = crew.measure("churn", seconds=plan.duration, interval=_interval(plan.duration), **words)
        self._keep(Turn(measured, before, self._usage()))
        self._metrics["lives_per_s"] = measured.lives / measured.seconds if measured.seconds else 0.0
        self._metrics["refused"] = measured.refused

    def _idle(self) -> None:
        plan = self._plan
        empty = self._usage()
        crew = self._joined(readers=plan.clients, talkers=0, sync=False)
        self._say("idle: settling")
        crew.measure("rest", seconds=_SETTLE_SECONDS)
        self._say(f"idle: {plan.clients} connections at rest")
        before = self._usage()
        measured = crew.measure("rest", seconds=plan.duration)
        after = self._usage()
        if empty and before and after:
            self._metrics["bytes_per_connection"] = (before.rss - empty.rss) / plan.clients
            self._metrics["rss_mib"] = after.rss / MIB
            self._metrics["rss_growth_mib"] = (after.rss - before.rss) / MIB
            self._metrics["fds_growth"] = after.fds - before.fds
            self._metrics["cpu_percent"] = 100 * (after.cpu - before.cpu) / measured.seconds
            self._judge_neighbours(100 * (after.waited - before.waited) / measured.seconds)
        self._failure = self._failure or measured.failure

    def _connect(self) -> None:
        before = self._usage()
        self._joined(readers=self._plan.clients, talkers=0, sync=False)
        after = self._usage()
        if before and after:
            self._metrics["cpu_us_per_join"] = 1e6 * (after.cpu - before.cpu) / self._plan.clients
            seconds = self._plan.clients / (self._metrics["joins_per_s"] or 1e9)
            self._judge_neighbours(100 * (after.waited - before.waited) / seconds)
            self._metrics["rss_mib"] = after.rss / MIB

    # -- their parts ---------------------------------------------------------------------------------------

    def _start(self) -> None:
        plan = self._plan
        if plan.connect is None:
            self._start_server(history=plan.history)
        else:
            self._notes.append(f"server: {self._address[0]} port {self._address[1]}, not started by this run")

    def _start_server(self, history: bool) -> None:
        plan = self._plan
        self._say("starting a server")
        arguments = [f"--max-clients={_connections(plan) + 100}"]
        if not plan.roster:
            arguments.append("--no-roster")
        if history:
            self._folder = tempfile.TemporaryDirectory(prefix="selchat-bench-")
            arguments.append(f"--history={self._folder.name}/history.sqlite")
        server = Server(arguments, plan.pins.server)
        self._servers.append(server)
        self._address, self._pid = server.address, server.pid
        self._notes.append(f"server: {' '.join(server.arguments)}")
        if self._folder is not None and history:
            self._notes.append(
                f"one fsync of 4 KiB where the history is takes {_sync_ms(self._folder.name):.2f} ms"
            )

    def _joined(self, readers: int, talkers: int, sync: bool = True, processes: int | None = None) -> Workers:
        """Return workers with so many members, all of them in."""
        plan = self._plan
        count = min(processes or plan.processes, plan.rooms or readers)
        everyone = plan.scenario == "everyone"
        names = [room_name(self._run, number) for number in range(plan.rooms)] or [LOBBY]
        jobs = []
        first = 0
        for number in range(count):
            if plan.rooms:
                rooms = tuple(names[number::count])
                mine, reading = len(rooms) * plan.senders, len(rooms) * plan.clients
                spare = 10 + len(rooms)
            else:
                rooms = (LOBBY,)
                mine = _share(talkers, count, number) if everyone else talkers if number == 0 else 0
                reading = _share(readers, count, number)
                spare = 10 + max(plan.stalled, plan.clients) if number == 0 else 0
            job = Job(
                address=self._address,
                run=self._run,
                first=first,
                readers=reading,
                talkers=mine,
                all_talkers=talkers,
                payload=plan.payload,
                wire=plan.wire,
                rooms=rooms,
                source=self._address[0].startswith("127."),
            )
            jobs.append(job)
            first += job.readers + job.talkers + spare
        crew = Workers(jobs, plan.pins.generators, self._stopping, self._progress, linked=not plan.rooms)
        self._crews.append(crew)
        self._say(f"connecting {readers + talkers} clients")
        joined = crew.join(plan.connect_rate)
        handshakes: Histogram = joined["handshakes"]
        self._metrics |= {
            "connections": joined["joined"],
            "refused": joined["refused"],
            "generator_cpu_percent": 100 * joined["cpu"] / (joined["seconds"] or 1e-9),
            "joins_per_s": joined["joined"] / joined["seconds"] if joined["seconds"] else 0.0,
            "handshake_p50_ms": handshakes.percentile(50) / 1000,
            "handshake_p99_ms": handshakes.percentile(99) / 1000,
            "handshake_max_ms": handshakes.greatest / 1000,
        }
        if sync and not self._done():
            if joined["refused"]:
                raise BenchError(
                    f"the server has refused {joined['refused']} of {readers + talkers} connections"
                )
            crew.sync()
        return crew

    def _alternate(
        self, crew: Workers, command: str, part: float | None = None, floors: int = _MAX_ROUNDS
    ) -> None:
        """Measure the server and the floor in turns."""
        plan = self._plan
        rounds = max(1, min(_MAX_ROUNDS, int(plan.duration)))
        if part is not None:
            rounds = max(1, round(plan.duration / part))
        part = plan.duration / rounds
        floor_crew: Workers | None = None
        chunks = Fraction(1)
        closed = command != "paced"
        window = plan.window * (plan.clients if plan.scenario == "everyone" else plan.senders)
        if self._done():
            return
        if plan.ramp:
            self._say(f"{plan.scenario}: warming up")
            self._load(crew, command, plan.ramp, ramp=plan.ramp)
        for number in range(rounds):
            if self._done():
                return
            self._say(f"{plan.scenario}: round {number + 1} of {rounds}")
            self._warm(crew, command)
            self._keep(self._turn(crew, command, part))
            if self._done() or number >= floors:
                continue
            wanted = self._chunks(window if closed else 0)
            if floor_crew is None or abs(wanted / chunks - 1) > _MAX_OFF:
                chunks = wanted
                floor_crew = self._start_floor(window if closed else 0, chunks)
            assert self._floor is not None
            alike = "closed" if closed else command
            self._warm(floor_crew, alike, window)
            before = usage(self._floor.pid)
            measured = self._load(floor_crew, alike, part, window)
            if not self._stopping():
                self._floor_turns.append(Turn(measured, before, usage(self._floor.pid)))
            if measured.failure is not None:
                raise BenchError(f"the floor has failed: {measured.failure}")

    def _chunks(self, window: int) -> Fraction:
        """Return in how many chunks the server has just relayed the messages of a turn, on average."""
        measured = self._turns[-1].measured
        size = measured.segment_bytes * measured.deliveries
        if not size:
            return Fraction(1)
        most, seen = Fraction(max(1, window)), Fraction(window * measured.bytes * measured.segments, size)
        return max(Fraction(1), min(most, seen.limit_denominator(8)))

    def _start_floor(self, window: int, chunks: Fraction) -> Workers:
        plan = self._plan
        if plan.scenario == "everyone":
            readers = plan.clients + plan.processes - 1
        elif plan.rooms:
            readers = plan.rooms * plan.clients
        else:
            readers = plan.clients + plan.senders - 1
        self._say("connecting the floor's readers")
        if self._floor is not None:  # the server's chunks have changed
            self._crews.pop().stop()
            self._floor.stop()
        self._floor = Floor(readers, window * self._size, chunks, plan.pins.server)
        job = Job(
            address=self._floor.address,
            run=self._run,
            readers=readers,
            talkers=1,
            all_talkers=1,
            payload=plan.payload,
            wire=plan.wire,
            rooms=(self._room,),
            floor=True,
        )
        crew = Workers([job], plan.pins.generators, self._stopping, self._progress)
        self._crews.append(crew)
        crew.join(0)
        crew.sync()
        return crew

    def _load(
        self, crew: Workers, command: str, seconds: float, window: int | None = None, ramp: float = 0.0
    ) -> Measurement:
        plan = self._plan
        words: dict[str, float]
        if command != "paced":
            words = {"window": plan.window if window is None else window}
        else:
            words = {"rate": plan.rate, "ramp": ramp}
        return crew.measure(command, seconds=seconds, interval=_interval(plan.duration), **words)

    def _warm(self, crew: Workers, command: str, window: int | None = None) -> None:
        if command != "paced":
            window = self._plan.window if window is None else window
            crew.measure(command, seconds=0.0, interval=1.0, window=window, turns=_WARM_TURNS)

    def _turn(self, crew: Workers, command: str, seconds: float) -> Turn:
        before = self._usage()
        measured = self._load(crew, command, seconds)
        if measured.failure is not None:
            self._failure = measured.failure
        return Turn(measured, before, self._usage() if measured.failure is None else None)

    def _keep(self, turn: Turn) -> None:
        self._turns.append(turn)
        self._failure = self._failure or turn.measured.failure

    def _usage(self) -> Usage | None:
        return None if self._pid is None else usage(self._pid)

    def _done(self) -> bool:
        return self._stopping() or self._failure is not None

    # -- the result ----------------------------------------------------------------------------------------

    def _result(self) -> Result:
        turns, floors, metrics = self._turns, self._floor_turns, self._metrics
        latencies, last, late, acks = (_merged(turns, name) for name in ("latencies", "last", "late", "acks"))
        floor, floor_last = (_merged(floors, name) for name in ("latencies", "last"))
        if turns:
            self._count(turns)
            metrics |= _percentiles(latencies, "")
            if last.count:
                metrics |= _percentiles(last, "last_")
            if acks.count:
                metrics |= {
                    "ack_p50_ms": acks.percentile(50) / 1000,
                    "ack_p99_ms": acks.percentile(99) / 1000,
                    "ack_max_ms": acks.greatest / 1000,
                }
            if late.count:
                metrics["late_p99_ms"] = late.percentile(99) / 1000
            self._judge_generator()
            self._explain(turns)
        if floors:
            self._compare(floors, floor, floor_last)
        wanted = set(metrics_of(self._plan.scenario, self._pid is not None, self._wire.acks))
        for name in set(metrics) - wanted:
            del metrics[name]
        start = turns[0].measured.timeline[0][0] if turns and turns[0].measured.timeline else 0.0
        timeline = [
            (at + seconds - start, deliveries / seconds, p99 / 1000)
            for turn in turns
            for at, seconds, deliveries, p99 in turn.measured.timeline
            if seconds > 0.01 and deliveries
        ]
        return Result(
            metrics=metrics,
            latencies=latencies,
            last=last,
            acks=acks,
            floor=floor,
            floor_last=floor_last,
            timeline=timeline,
            notes=self._notes,
            warnings=self._warnings,
            failure=self._failure,
            interrupted=self._stopping(),
        )

    def _count(self, turns: list[Turn]) -> None:
        metrics = self._metrics
        seconds = sum(turn.measured.seconds for turn in turns) or 1e-9
        deliveries = sum(turn.measured.deliveries for turn in turns)
        finals = [all_turns[-1].measured for all_turns in (turns, self._without) if all_turns]
        metrics |= {
            "messages_per_s": sum(turn.measured.sent for turn in turns) / seconds,
            "deliveries_per_s": deliveries / seconds,
            "mib_per_s": sum(turn.measured.bytes for turn in turns) / seconds / MIB,
            "generator_cpu_percent": 100 * sum(turn.measured.cpu for turn in turns) / seconds,
            "acked_per_s": sum(turn.measured.acked for turn in turns) / seconds,
            **{name: sum(getattr(final, f"{name}_all") for final in finals) for name in CHECKED},
        }
        segments = sum(turn.measured.segments for turn in turns)
        if segments and deliveries:
            size = sum(turn.measured.segment_bytes for turn in turns)
            message = sum(turn.measured.bytes for turn in turns) / deliveries
            metrics["chunk_messages"] = size / segments / message
        used = [turn for turn in turns if turn.before and turn.after]
        if used:
            first, end = used[0].before, used[-1].after
            assert first is not None
            assert end is not None
            counted = sum(turn.measured.deliveries for turn in used)
            cpu = sum(turn.cpu for turn in used)
            if counted:
                metrics["cpu_us_per_delivery"] = 1e6 * cpu / counted
            span = sum(turn.measured.seconds for turn in used)
            metrics["cpu_percent"] = 100 * cpu / span
            waited = sum(
                turn.after.waited - turn.before.waited for turn in used if turn.before and turn.after
            )
            self._judge_neighbours(100 * waited / span)
            metrics["rss_mib"] = end.rss / MIB
            metrics["rss_growth_mib"] = (end.rss - first.rss) / MIB
            metrics["fds_growth"] = end.fds - first.fds

    def _compare(self, floors: list[Turn], floor: Histogram, floor_last: Histogram) -> None:
        metrics, turns = self._metrics, self._turns
        deliveries = sum(turn.measured.deliveries for turn in floors) or 1
        metrics |= {
            "floor_cpu_us_per_delivery": 1e6 * sum(turn.cpu for turn in floors) / deliveries,
            "floor_deliveries_per_s": deliveries / sum(turn.measured.seconds for turn in floors),
            "floor_p50_ms": floor.percentile(50) / 1000,
            "floor_p99_ms": floor.percentile(99) / 1000,
        }
        rounds = list(zip(turns, floors, strict=False))
        ratios = {
            "cpu_ratio": [(a.per_delivery(), b.per_delivery()) for a, b in rounds if a.before and a.after],
            "deliveries_ratio": [(a.speed(), b.speed()) for a, b in rounds],
            "p50_ratio": [(a.percentile(50), b.percentile(50)) for a, b in rounds],
            "p99_ratio": [(a.percentile(99), b.percentile(99)) for a, b in rounds],
        }
        if floor_last.count:
            metrics["floor_last_p50_ms"] = floor_last.percentile(50) / 1000
            metrics["floor_last_p99_ms"] = floor_last.percentile(99) / 1000
            ratios["last_p50_ratio"] = [(a.percentile(50, True), b.percentile(50, True)) for a, b in rounds]
        for name, pairs in ratios.items():
            ratio = median_ratio(pairs)
            if ratio is not None:
                metrics[name] = ratio
        segments = sum(turn.measured.segments for turn in floors)
        size = sum(turn.measured.segment_bytes for turn in floors) / (segments or 1)
        chunk = size / self._size
        self._notes.append(
            f"floor: {len(floors)} rounds in turn with the server's, chunks of {chunk:.1f} messages "
            f"(the server's: {metrics.get('chunk_messages', 0):.1f})"
        )

    def _judge_neighbours(self, waited: float) -> None:
        self._metrics["waited_percent"] = waited
        if waited > _MAX_WAITED:
            self._warnings.append(
                f"the server waited for its core for {waited:.0f}% of the time, because others used it: "
                "trust CPU times and ratios, not speeds and latencies"
            )

    def _judge_generator(self) -> None:
        metrics = self._metrics
        own, server = metrics["generator_cpu_percent"], metrics.get("cpu_percent")
        if own > 90 and (server is None or server < 80):
            beside = "" if server is None else f" and the server only {server:.0f}%"
            self._warnings.append(
                f"the generator was the bottleneck: it used {own:.0f}% of its core{beside}; speeds and "
                "latencies are the generator's, CPU per delivery is the server's"
            )
        late = metrics.get("late_p99_ms", 0.0)
        if late > 1 and late > metrics["p99_ms"] / 2:
            self._warnings.append(f"the generator was itself late: by {late:.1f} ms (p99)")

    def _explain(self, turns: list[Turn]) -> None:
        plan = self._plan
        reads = sum(turn.measured.reads for turn in turns)
        who = {
            "everyone": "every client, less its own messages",
            "churn": f"{_CHURN_READERS} readers that stay; what the comers and goers read was not",
            "slow": "every reader but the stalled",
        }.get(plan.scenario, "every reader")
        streams = "one stream of its room" if plan.rooms else "one stream"
        acks = "; every ack, for its id and its seq" if self._wire.acks and plan.scenario != "churn" else ""
        self._notes.append(
            f"checked: every byte of {who}, against {streams} whose every message was parsed ({reads} reads)"
            f"{acks}"
        )
        deliveries = sum(turn.measured.deliveries for turn in turns)
        if reads and deliveries / reads > 8:
            self._notes.append("latencies: of up to 8 messages, or bursts with one stamp, of each read")
        if self._metrics.get("chunk_messages", 0) * self._size > 0.9 * _SEGMENT:
            self._warnings.append(
                "the server's chunks fill whole segments, so that their size cannot be seen: "
                "the floor's may be smaller"
            )


def room_name(run: str, number: int) -> str:
    """Return the name of that room, in `rooms`."""
    return f"{run}-{number:05}"


def check_descriptors(plan: Plan) -> None:
    """Raises `PlanError` when the connections of that plan do not fit into a process."""
    limit = raise_descriptor_limit()
    most = (limit - _SPARE_DESCRIPTORS) * (plan.processes if plan.scenario != "churn" else 1)
    if plan.connect is None or plan.scenario in {"fanout", "everyone", "paced", "soak", "rooms"}:
        most = min(most, limit - _SPARE_DESCRIPTORS)  # the server, and the floor, are one process each
    wanted = _connections(plan)
    if wanted > most:
        raise PlanError(f"{wanted} connections are more than the {most} that the limit of descriptors allows")


def _connections(plan: Plan) -> int:
    """Return how many connections that plan makes to one server, but for a few of the generators' own."""
    return max(1, plan.rooms) * (plan.clients + plan.senders) + plan.stalled


def _merged(turns: list[Turn], name: str) -> Histogram:
    """Return one of the histograms of these turns, added up."""
    return Histogram.merged(Histogram.from_json(getattr(turn.measured, name)) for turn in turns)


def _sync_ms(folder: str) -> float:
    """Return what it takes there to write 4 KiB through to the disk, in milliseconds: the median."""
    times = []
    with (Path(folder) / "sync").open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            file.write(bytes(4096))
            begun = time.monotonic()
            os.fsync(file.fileno())
            times.append(time.monotonic() - begun)
    return 1000 * sorted(times)[_SYNCS // 2]


def _percentiles(histogram: Histogram, prefix: str) -> Mapping[str, float]:
    values = {
        f"{prefix}p{percent:g}_ms".replace(".", "_"): histogram.percentile(percent) / 1000
        for percent in PERCENTILES
    }
    return values | {f"{prefix}max_ms": histogram.greatest / 1000}


def _share(total: int, parts: int, number: int) -> int:
    return total // parts + (number < total % parts)


def _interval(duration: float) -> float:
    """Return the seconds of one point of the time line: about a hundred in all, of a quarter at least."""
    return max(0.25, duration / 100)


def describe(plan: Plan) -> dict[str, Any]:
    """Return the plan as JSON can hold it."""
    return {
        "wire": plan.wire,
        "connect": list(plan.connect) if plan.connect else None,
        "rooms": plan.rooms,
        "clients": plan.clients,
        "senders": plan.senders,
        "rate": plan.rate,
        "window": plan.window,
        "payload": plan.payload,
        "duration": plan.duration,
        "ramp": plan.ramp,
        "connect_rate": plan.connect_rate,
        "processes": plan.processes,
        "stalled": plan.stalled,
        "roster": plan.roster,
        "history": plan.history,
    }
