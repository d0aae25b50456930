"""Thread pool: results, refused and cancelled jobs, and shutdown."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from selchat.net.reactor import Reactor
from selchat.net.thread_pool import ThreadPool
from tests.net.helpers import Errors

DEADLINE = 20.0


class Gates:
    """Work that lasts until the test releases it."""

    def __init__(self) -> None:
        self.begun: list[object] = []
        self.threads: set[int] = set()
        self.go = threading.Event()

    def work(self, result: object) -> Callable[[], Callable[[], object]]:
        def run() -> object:
            self.begun.append(result)
            self.threads.add(threading.get_ident())
            assert self.go.wait(DEADLINE)
            return result

        return lambda: run


@pytest.fixture
def gates() -> Iterator[Gates]:
    gates = Gates()
    yield gates
    gates.go.set()


@pytest.fixture
def workers(reactor: Reactor) -> Iterator[ThreadPool]:
    workers = ThreadPool(reactor, 2, 3)
    yield workers
    workers.close(DEADLINE)


def spin(reactor: Reactor, condition: Callable[[], object]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        reactor.tick(0.05)


def test_results_arrive_in_a_tick_and_work_runs_in_other_threads(
    reactor: Reactor, workers: ThreadPool, gates: Gates
) -> None:
    answers: list[tuple[object, int]] = []
    gates.go.set()
    for number in range(5):
        assert workers.submit(
            gates.work(number), lambda result: answers.append((result, threading.get_ident()))
        )
    assert answers == []
    spin(reactor, lambda: len(answers) == 5)
    assert {result for result, _ in answers} == set(range(5))
    assert {thread for _, thread in answers} == {threading.get_ident()}
    assert threading.get_ident() not in gates.threads
    assert 1 <= len(gates.threads) <= 2


def test_no_thread_starts_before_the_first_job(reactor: Reactor) -> None:
    before = threading.active_count()
    workers = ThreadPool(reactor, 2, 3)
    assert threading.active_count() == before
    workers.close(DEADLINE)


def test_full_queue_refuses_jobs_until_there_is_room(
    reactor: Reactor, workers: ThreadPool, gates: Gates
) -> None:
    answers: list[object] = []
    for number in range(5):  # two threads, three places
        assert not workers.is_full
        assert workers.submit(gates.work(number), answers.append) is not None
    assert workers.is_full
    assert workers.submit(gates.work("one too many"), answers.append) is None
    spin(reactor, lambda: len(gates.begun) == 2)
    assert sorted(map(str, gates.begun)) == ["0", "1"]
    gates.go.set()
    spin(reactor, lambda: len(answers) == 5)
    assert "one too many" not in gates.begun
    assert not workers.is_full


def test_cancelled_job_makes_room_at_once_and_gives_no_result(
    reactor: Reactor, workers: ThreadPool, gates: Gates
) -> None:
    answers: list[object] = []
    jobs = [workers.submit(gates.work(number), answers.append) for number in range(5)]
    spin(reactor, lambda: len(gates.begun) == 2)
    for job in (jobs[0], jobs[3]):  # one that runs, one that waits
        assert job is not None
        job.cancel()
        job.cancel()
    assert workers.submit(gates.work(5), answers.append) is not None
    gates.go.set()
    spin(reactor, lambda: len(answers) == 4)
    assert sorted(map(str, answers)) == ["1", "2", "4", "5"]
    assert 3 not in gates.begun


def test_queued_job_is_prepared_when_its_turn_comes(
    reactor: Reactor, workers: ThreadPool, gates: Gates
) -> None:
    answers: list[object] = []
    wanted = True
    for number in range(2):
        workers.submit(gates.work(number), answers.append)
    workers.submit(lambda: gates.work("needless")() if wanted else None, answers.append)
    workers.submit(gates.work("last"), answers.append)
    wanted = False
    gates.go.set()
    spin(reactor, lambda: len(answers) == 3)
    assert set(answers) == {0, 1, "last"}
    assert "needless" not in gates.begun


def test_failed_work_is_reported_and_gives_none(
    reactor: Reactor, workers: ThreadPool, errors: Errors
) -> None:
    answers: list[object] = []

    def fail() -> object:
        raise MemoryError("no")

    def cannot_prepare() -> None:
        raise ValueError("neither")

    workers.submit(lambda: fail, answers.append)
    workers.submit(cannot_prepare, answers.append)
    workers.submit(lambda: lambda: "done", answers.append)
    spin(reactor, lambda: len(answers) == 3)
    assert sorted(map(str, answers)) == ["None", "None", "done"]
    assert sorted(type(error).__name__ for _, error in errors) == ["MemoryError", "ValueError"]
    errors.clear()


def test_exception_in_on_result_does_not_stop_the_pool(
    reactor: Reactor, workers: ThreadPool, errors: Errors
) -> None:
    answers: list[object] = []

    def fail(_result: object) -> None:
        raise ValueError("no")

    for _ in range(2):
        workers.submit(lambda: lambda: 1, fail)
    workers.submit(lambda: lambda: "done", answers.append)
    spin(reactor, lambda: answers)
    spin(reactor, lambda: len(errors) == 2)
    errors.clear()


def test_close_drops_the_queue_and_waits_only_so_long(reactor: Reactor, gates: Gates) -> None:
    workers = ThreadPool(reactor, 2, 3)
    answers: list[object] = []
    for number in range(5):
        workers.submit(gates.work(number), answers.append)
    spin(reactor, lambda: len(gates.begun) == 2)
    workers.close(0.05)  # while two of them are still at it
    assert workers.is_full
    assert workers.submit(gates.work("late"), answers.append) is None
    gates.go.set()
    end = time.monotonic() + DEADLINE
    while any(thread.name == "worker" for thread in threading.enumerate()):
        assert time.monotonic() < end
        reactor.tick(0.01)
    reactor.tick(0)
    assert answers == []
    assert len(gates.begun) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a priority per thread")
def test_worker_threads_run_with_a_lower_priority(reactor: Reactor, workers: ThreadPool) -> None:
    answers: list[int] = []
    own = os.getpriority(os.PRIO_PROCESS, 0)
    workers.submit(lambda: lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()), answers.append)
    spin(reactor, lambda: answers)
    assert answers[0] == min(19, own + 5) or answers[0] > own
    assert os.getpriority(os.PRIO_PROCESS, 0) == own


def test_thread_that_cannot_start_takes_no_slot(
    reactor: Reactor, workers: ThreadPool, gates: Gates, errors: Errors, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_thread: object) -> None:
        raise RuntimeError("can't start new thread")

    answers: list[object] = []
    with monkeypatch.context() as patch:
        patch.setattr("threading.Thread.start", fail)
        for _ in range(3):
            workers.submit(gates.work("never"), answers.append)
        spin(reactor, lambda: len(answers) == 3)
    assert answers == [None, None, None]
    assert len(errors) == 3
    errors.clear()
    gates.go.set()
    workers.submit(gates.work("later"), answers.append)
    spin(reactor, lambda: answers[3:] == ["later"])
