"""The scenarios: the order of loads and measurements. They know commands and figures, and no socket.

==========  ============================================================================================
fanout      closed loop: each sender has ``window`` messages in flight. When every receiver has them all,
            it sends the next. A window of 1 measures the fan-out of one message.
everyone    the same, and every client sends. One more client per process only reads; the streams of the
            others are checked against its stream.
paced       open loop: a constant rate, whatever happens. Latency counts from the intended send time.
soak        paced, for a long time: with the trend of memory and descriptors, and p99 by the minute.
slow        paced, alternating: without and with some more readers that never read.
churn       clients connect, send three messages and leave, and others replace them at once; ten readers
            check them.
idle        connections that do nothing: the memory of each, and the CPU of all.
connect     a join storm, until each client has a proof of its login. In the selchat protocol that is a
            welcome. On the classic wire it is a roster, or the probe of one client, which starts once the
            last name was sent.
rooms       closed loops, one in each of many rooms, independent of each other. Selchat protocol.
durable     fanout, alternating: a server with a history file and a server without one.
==========  ============================================================================================

The floor is measured in the same run. It alternates with the server every second or so: a change of the
machine's speed affects both alike, and hardly affects the median of the rounds' ratios. For `rooms` the floor
is one room with all of their readers: it shows the cost of the same chunks to as many sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from selchat.bench.errors import BenchError
from selchat.bench.load.job import Measurement
from selchat.bench.load.workers import ProgressCallback, Workers
from selchat.bench.plan import Plan, check_descriptors
from selchat.bench.results import CHURN_READERS, MIB, Result, Turn
from selchat.bench.testbed import Testbed

_MAX_ROUNDS = 9
# After a pause of more than its retransmission timeout (0.2 s), Linux acknowledges the next 16 segments one
# by one, at the sender's expense: the floor's send took 11.6 us with these and 8.8 us without. So these
# batches are not measured, neither the server's nor the floor's.
_WARMUP_BATCHES = 20
_MAX_CHUNK_CHANGE = 0.05  # of the server's chunk size, before a new floor with the new size is started
_SETTLE_SECONDS = 2.0  # after joining: the server sends the roster once a second at most
_CHURN_MESSAGES = 3


class Run:
    """One run of one plan. ``stopping()`` tells whether the user wants to end it."""

    def __init__(
        self,
        plan: Plan,
        stopping: Callable[[], bool],
        show_status: Callable[[str], None],
        on_progress: ProgressCallback,
    ) -> None:
        check_descriptors(plan)
        self._plan = plan
        self._stopping = stopping
        self._show_status = show_status
        self._testbed = Testbed(plan, stopping, show_status, on_progress)
        self._summary = self._testbed.summary
        self._turns: list[Turn] = []
        self._floor_turns: list[Turn] = []
        self._without: list[Turn] = []  # of the server without history
        self._failure: str | None = None

    def run(self) -> Result:
        """Run the scenario and return its result, even if it ended early."""
        scenario: Callable[[], None] = getattr(self, f"_{self._plan.scenario}")
        try:
            self._testbed.start()
            scenario()
        except BenchError as error:
            self._fail(str(error))
        finally:
            self._testbed.close()
        return self._summary.result(
            self._turns,
            self._floor_turns,
            self._without,
            self._testbed.server_pid is not None,
            self._failure,
            self._stopping(),
        )

    # -- scenarios -----------------------------------------------------------------------------------------

    def _fanout(self) -> None:
        plan = self._plan
        self._alternate(self._testbed.join(readers=plan.clients, senders=plan.senders), "closed")

    def _everyone(self) -> None:
        plan = self._plan
        self._alternate(self._testbed.join(readers=plan.processes, senders=plan.clients), "closed")

    def _paced(self) -> None:
        plan = self._plan
        self._alternate(self._testbed.join(readers=plan.clients, senders=plan.senders), "paced")

    def _soak(self) -> None:
        plan = self._plan
        workers = self._testbed.join(readers=plan.clients, senders=plan.senders)
        part = max(1.0, min(60.0, plan.duration / 10))
        self._alternate(workers, "paced", part=part, floors=1)
        for number, turn in enumerate(self._turns, 1):
            used = turn.after
            memory = f", {used.rss / MIB:.1f} MiB, {used.fds} descriptors" if used else ""
            self._summary.notes.append(
                f"after {number * part:g} s: p99 {turn.percentile(99) / 1000:.3f} ms{memory}"
            )

    def _rooms(self) -> None:
        plan = self._plan
        readers, senders = plan.rooms * plan.clients, plan.rooms * plan.senders
        self._alternate(self._testbed.join(readers=readers, senders=senders), "rooms")

    def _durable(self) -> None:
        plan, testbed = self._plan, self._testbed
        workers = {True: testbed.join(readers=plan.clients, senders=plan.senders)}
        pids, pid = {True: testbed.server_pid}, testbed.server_pid
        testbed.start_server(history=False)
        pids[False] = testbed.server_pid
        workers[False] = testbed.join(readers=plan.clients, senders=plan.senders)
        rounds = max(1, min(_MAX_ROUNDS, int(plan.duration / 2)))
        part = plan.duration / rounds / 2
        if plan.ramp:
            self._show_status("durable: warming up")
            for each in workers.values():
                self._load(each, "closed", plan.ramp)
        for number in range(rounds):
            for history, each in workers.items():
                if self._is_done():
                    break
                kind = "with history" if history else "without history"
                self._show_status(f"durable: round {number + 1} of {rounds}, {kind}")
                testbed.server_pid = pids[history]
                self._warm_up(each, "closed")
                turn = self._measure_turn(each, "closed", part)
                (self._turns if history else self._without).append(turn)
        testbed.server_pid = pid
        self._summary.compare_with_baseline(self._turns, self._without)

    def _slow(self) -> None:
        plan = self._plan
        workers = self._testbed.join(readers=plan.clients - plan.stalled, senders=plan.senders)
        rounds = max(1, min(3, int(plan.duration / 10)))
        part = plan.duration / rounds / 2
        without: list[Turn] = []
        closed: list[int] = []  # stalled readers that the server closed in each round, by its descriptors
        for number in range(rounds):
            if self._is_done():
                break
            self._show_status(f"slow: round {number + 1} of {rounds}, all clients read")
            if plan.ramp:
                self._load(workers, "paced", plan.ramp, ramp=0.0 if number else plan.ramp)
            without.append(self._measure_turn(workers, "paced", part))
            self._show_status(
                f"slow: round {number + 1} of {rounds}, {plan.stalled} more clients are stalled"
            )
            workers.ask("stall", only=0, count=plan.stalled)
            self._load(workers, "paced", max(plan.ramp, 0.2))
            turn = self._measure_turn(workers, "paced", part)
            started = without[-1].after
            if turn.before and started:  # compare memory and descriptors with those without stalled readers
                turn.before = replace(turn.before, rss=started.rss, fds=started.fds)
            if turn.before and turn.after:
                closed.append(plan.stalled - (turn.after.fds - turn.before.fds))
            self._turns.append(turn)
            joined = workers.ask("count-stalled", only=0)[0]["joined"]
            if joined < plan.stalled:
                self._summary.warnings.append(f"only {joined} of {plan.stalled} stalled readers could log in")
            workers.ask("unstall", only=0)
        self._summary.compare_stalled(self._turns, without, closed)

    def _churn(self) -> None:
        plan = self._plan
        workers = self._testbed.join(readers=CHURN_READERS, senders=0, processes=1)
        self._show_status(f"churn: {plan.clients} clients at a time")
        before = self._testbed.server_usage()
        measured = workers.measure(
            "churn",
            seconds=plan.duration,
            interval=_interval(plan.duration),
            slots=plan.clients,
            messages=_CHURN_MESSAGES,
            rate=plan.connect_rate,
        )
        self._keep(Turn(measured, before, self._testbed.server_usage()))
        metrics = self._summary.metrics
        metrics["lives_per_s"] = measured.lives / measured.seconds if measured.seconds else 0.0
        metrics["refused"] = measured.refused

    def _idle(self) -> None:
        plan, testbed, metrics = self._plan, self._testbed, self._summary.metrics
        empty = testbed.server_usage()
        workers = testbed.join(readers=plan.clients, senders=0, check=False)
        self._show_status("idle: settling")
        workers.measure("idle", seconds=_SETTLE_SECONDS)
        self._show_status(f"idle: {plan.clients} connections at rest")
        before = testbed.server_usage()
        measured = workers.measure("idle", seconds=plan.duration)
        after = testbed.server_usage()
        if empty and before and after:
            metrics["bytes_per_connection"] = (before.rss - empty.rss) / plan.clients
            metrics["rss_mib"] = after.rss / MIB
            metrics["rss_growth_mib"] = (after.rss - before.rss) / MIB
            metrics["fds_growth"] = after.fds - before.fds
            metrics["cpu_percent"] = 100 * (after.cpu - before.cpu) / measured.seconds
            self._summary.add_contention(100 * (after.waited - before.waited) / measured.seconds)
        self._fail(measured.failure)

    def _connect(self) -> None:
        testbed, metrics = self._testbed, self._summary.metrics
        before = testbed.server_usage()
        testbed.join(readers=self._plan.clients, senders=0, check=False)
        after = testbed.server_usage()
        if before and after:
            metrics["cpu_us_per_join"] = 1e6 * (after.cpu - before.cpu) / self._plan.clients
            seconds = self._plan.clients / (metrics["joins_per_s"] or 1e9)
            self._summary.add_contention(100 * (after.waited - before.waited) / seconds)
            metrics["rss_mib"] = after.rss / MIB

    # -- parts of scenarios --------------------------------------------------------------------------------

    def _alternate(
        self, workers: Workers, command: str, part: float | None = None, floors: int = _MAX_ROUNDS
    ) -> None:
        """Measure the server and the floor alternately."""
        plan, testbed = self._plan, self._testbed
        rounds = max(1, min(_MAX_ROUNDS, int(plan.duration)))
        if part is not None:
            rounds = max(1, round(plan.duration / part))
        part = plan.duration / rounds
        floor_workers: Workers | None = None
        chunks = Fraction(1)
        closed = command != "paced"
        window = plan.window * (plan.clients if plan.scenario == "everyone" else plan.senders)
        if self._is_done():
            return
        if plan.ramp:
            self._show_status(f"{plan.scenario}: warming up")
            self._load(workers, command, plan.ramp, ramp=plan.ramp)
        for number in range(rounds):
            if self._is_done():
                return
            self._show_status(f"{plan.scenario}: round {number + 1} of {rounds}")
            self._warm_up(workers, command)
            self._keep(self._measure_turn(workers, command, part))
            if self._is_done() or number >= floors:
                continue
            server_chunks = self._chunks(window if closed else 0)
            if floor_workers is None or abs(server_chunks / chunks - 1) > _MAX_CHUNK_CHANGE:
                chunks = server_chunks
                floor_workers = testbed.start_floor(window if closed else 0, chunks)
            floor_command = "closed" if closed else command
            self._warm_up(floor_workers, floor_command, window)
            before = testbed.floor_usage()
            measured = self._load(floor_workers, floor_command, part, window)
            if not self._stopping():
                self._floor_turns.append(Turn(measured, before, testbed.floor_usage()))
            if measured.failure is not None:
                raise BenchError(f"the floor failed: {measured.failure}")

    def _chunks(self, window: int) -> Fraction:
        """Return in how many chunks, on average, the server sent the messages of a batch in the last turn."""
        measured = self._turns[-1].measured
        size = measured.segment_bytes * measured.deliveries
        if not size:
            return Fraction(1)
        chunks = Fraction(window * measured.bytes * measured.segments, size).limit_denominator(8)
        return max(Fraction(1), min(Fraction(max(1, window)), chunks))

    def _load(
        self, workers: Workers, command: str, seconds: float, window: int | None = None, ramp: float = 0.0
    ) -> Measurement:
        plan = self._plan
        arguments: dict[str, float]
        if command != "paced":
            arguments = {"window": plan.window if window is None else window}
        else:
            arguments = {"rate": plan.rate, "ramp": ramp}
        return workers.measure(command, seconds=seconds, interval=_interval(plan.duration), **arguments)

    def _warm_up(self, workers: Workers, command: str, window: int | None = None) -> None:
        if command != "paced":
            window = self._plan.window if window is None else window
            workers.measure(command, seconds=0.0, interval=1.0, window=window, batches=_WARMUP_BATCHES)

    def _measure_turn(self, workers: Workers, command: str, seconds: float) -> Turn:
        before = self._testbed.server_usage()
        measured = self._load(workers, command, seconds)
        if measured.failure is not None:
            self._failure = measured.failure
        return Turn(measured, before, self._testbed.server_usage() if measured.failure is None else None)

    def _keep(self, turn: Turn) -> None:
        self._turns.append(turn)
        self._fail(turn.measured.failure)

    def _fail(self, reason: str | None) -> None:
        """Record why the run failed, unless there is an earlier reason."""
        self._failure = self._failure or reason

    def _is_done(self) -> bool:
        return self._stopping() or self._failure is not None


def _interval(duration: float) -> float:
    """Return the seconds of one point of the time line: about a hundred points, and at least 0.25 s each."""
    return max(0.25, duration / 100)
