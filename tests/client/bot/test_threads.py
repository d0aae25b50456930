"""One reactor in several threads, and Ctrl-C at every moment."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from selchat.client.bot.threads import DeferredInterrupt, ReactorLock
from selchat.net.reactor import Reactor
from tests.client.support import DEADLINE, eventually, fail

# -- ReactorLock ----------------------------------------------------------------------------------------


@pytest.fixture
def reactor() -> Reactor:
    return Reactor(fail)


@pytest.fixture
def lock(reactor: Reactor) -> Iterator[ReactorLock]:
    lock = ReactorLock(reactor)
    yield lock
    lock.close()


@contextmanager
def running(*targets: Callable[[], object]) -> Iterator[None]:
    """Run each target in a thread, and join the threads at the end of the block."""
    threads = [threading.Thread(target=target) for target in targets]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join(DEADLINE)
    assert not any(thread.is_alive() for thread in threads)


def deadline() -> float:
    return time.monotonic() + DEADLINE


def test_run_until_runs_ticks_until_the_condition_is_true(reactor: Reactor, lock: ReactorLock) -> None:
    done: list[int] = []
    reactor.call_later(0.01, done.append, 1)
    assert lock.run_until(lambda: done, deadline())
    assert lock.run_until(lambda: True, time.monotonic())


def test_a_deadline_in_the_past_allows_one_tick(reactor: Reactor, lock: ReactorLock) -> None:
    done: list[int] = []
    assert not lock.run_until(lambda: done, time.monotonic() - 1)
    reactor.call_soon(done.append, 1)
    assert lock.run_until(lambda: done, time.monotonic() - 1)
    assert not lock.run_until(lambda: False, time.monotonic() + 0.01)


def test_a_waiting_thread_yields_to_one_that_acquires_the_lock(reactor: Reactor, lock: ReactorLock) -> None:
    done: list[int] = []

    def do() -> None:
        with lock:
            # The reactor is not thread-safe: this is correct only because no tick can run now.
            reactor.call_later(0.0, done.append, 1)

    waiting = threading.Event()

    def is_done() -> bool:
        waiting.set()
        return bool(done)

    with running(lambda: lock.run_until(is_done, deadline())):
        assert waiting.wait(DEADLINE)
        with running(do):
            pass
    assert done == [1]


def test_no_tick_runs_while_a_thread_holds_the_lock(reactor: Reactor, lock: ReactorLock) -> None:
    inside: list[str] = []
    clashes: list[list[str]] = []
    count = 0

    def tick() -> None:
        inside.append("tick")
        if len(inside) > 1:
            clashes.append(list(inside))
        inside.remove("tick")
        reactor.call_later(0.0, tick)

    def do() -> None:
        nonlocal count
        for _ in range(300):
            with lock:
                inside.append("do")
                if len(inside) > 1:
                    clashes.append(list(inside))
                count += 1
                inside.remove("do")

    reactor.call_later(0.0, tick)
    with running(do, do, do, *[lambda: lock.run_until(lambda: count == 900, deadline())] * 2):
        assert lock.run_until(lambda: count == 900, deadline())
    assert count == 900
    assert clashes == []


def test_each_of_several_threads_sees_its_condition_become_true(reactor: Reactor, lock: ReactorLock) -> None:
    done: set[int] = set()
    got: list[int] = []

    def wait(number: int) -> None:
        if lock.run_until(lambda: number in done, deadline()):
            got.append(number)

    with running(*[lambda number=number: wait(number) for number in range(10)]):
        for number in reversed(range(10)):
            reactor.call_soon(done.add, number)
            eventually(lambda number=number: number in got)
    assert got == list(reversed(range(10)))


def test_waiting_threads_do_not_keep_waking_each_other(reactor: Reactor, lock: ReactorLock) -> None:
    ticks: list[int] = []
    done: list[int] = []
    reactor.at_tick_end(lambda: ticks.append(1))
    reactor.call_later(0.3, done.append, 1)
    with running(*[lambda: lock.run_until(lambda: done, deadline())] * 3):
        pass
    assert len(ticks) < 20


def test_another_thread_runs_the_ticks_when_the_first_one_leaves(reactor: Reactor, lock: ReactorLock) -> None:
    first: list[int] = []
    second: list[int] = []
    reactor.call_later(0.02, first.append, 1)
    reactor.call_later(0.1, second.append, 1)
    with running(lambda: lock.run_until(lambda: second, deadline())):
        assert lock.run_until(lambda: first, deadline())
        eventually(lambda: second)  # this thread runs no more ticks


def test_wake_makes_every_waiting_thread_check_its_condition(lock: ReactorLock) -> None:
    stopped: list[int] = []
    with running(*[lambda: lock.run_until(lambda: stopped)] * 3):
        stopped.append(1)
        lock.wake()


def test_a_callback_exception_propagates_and_releases_the_lock(lock: ReactorLock, reactor: Reactor) -> None:
    reactor.call_soon(int, "x")
    with pytest.raises(AssertionError):
        lock.run_until(lambda: False, deadline())
    done: list[int] = []
    reactor.call_soon(done.append, 1)
    with running(lambda: lock.run_until(lambda: done, deadline())):
        pass
    assert done


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """Press Ctrl-C after so many seconds."""
    old = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def test_an_interrupt_ends_a_wait(lock: ReactorLock) -> None:
    with pytest.raises(KeyboardInterrupt), interrupted_after(0.05):
        lock.run_until(lambda: False)
    with lock:
        pass


def test_an_interrupt_ends_a_wait_while_another_thread_runs_the_ticks(lock: ReactorLock) -> None:
    done: list[int] = []
    waiting = threading.Event()
    with running(lambda: lock.run_until(lambda: waiting.set() or done)):
        assert waiting.wait(DEADLINE)
        with pytest.raises(KeyboardInterrupt), interrupted_after(0.05):
            lock.run_until(lambda: False)
        done.append(1)
        lock.wake()


def test_an_interrupt_does_not_break_into_a_tick(reactor: Reactor, lock: ReactorLock) -> None:
    steps: list[str] = []

    def callback() -> None:
        steps.append("begun")
        signal.raise_signal(signal.SIGINT)
        steps.append("ended")

    reactor.call_soon(callback)
    with pytest.raises(KeyboardInterrupt):
        lock.run_until(lambda: False)
    assert steps == ["begun", "ended"]
    with pytest.raises(KeyboardInterrupt):
        with lock:
            callback()
    assert steps == ["begun", "ended"] * 2


def test_a_lock_that_was_never_released_does_not_block_its_own_thread(lock: ReactorLock) -> None:
    lock.__enter__()  # no __exit__ follows
    assert not lock.run_until(lambda: False, time.monotonic())
    with lock:
        pass


def test_tick_if_idle_ticks_only_after_a_pause(reactor: Reactor, lock: ReactorLock) -> None:
    done: list[int] = []
    reactor.call_soon(done.append, 1)
    lock.tick_if_idle(DEADLINE)
    assert done == []
    lock.tick_if_idle(-1)
    assert done == [1]


def test_a_closed_lock_runs_no_ticks(reactor: Reactor, lock: ReactorLock) -> None:
    lock.close()
    lock.close()
    lock.wake()
    lock.tick_if_idle(-1)
    assert not lock.run_until(lambda: False, time.monotonic() + 0.01)


# -- DeferredInterrupt ----------------------------------------------------------------------------------


class Interrupt(BaseException):
    pass


def interrupt(*_: object) -> None:
    raise Interrupt


@pytest.fixture
def set_handler() -> Iterator[Callable[[object], object]]:
    """Return a function that sets the handler of SIGINT; restore the old one at the end."""
    old = signal.getsignal(signal.SIGINT)
    yield lambda handler: signal.signal(signal.SIGINT, handler)  # type: ignore[arg-type]
    signal.signal(signal.SIGINT, old)


def test_the_handler_runs_at_the_end_of_the_context(set_handler: Callable[[object], object]) -> None:
    caught: list[object] = []
    set_handler(lambda number, _frame: caught.append(number))
    deferred = DeferredInterrupt(lambda: caught.append("hurry"))
    for _ in range(2):
        with deferred:
            signal.raise_signal(signal.SIGINT)
            assert caught == ["hurry"]
        assert caught == ["hurry", signal.SIGINT]
        caught.clear()
    signal.raise_signal(signal.SIGINT)
    assert caught == [signal.SIGINT]


def test_an_exception_of_the_handler_propagates_once(set_handler: Callable[[object], object]) -> None:
    set_handler(interrupt)
    deferred, changed = DeferredInterrupt(lambda: None), []
    with pytest.raises(Interrupt):
        with deferred:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            changed.append("whole")
    assert changed == ["whole"]
    assert signal.getsignal(signal.SIGINT) is interrupt
    with deferred:
        pass


def test_an_error_inside_is_the_context_of_the_interrupt(set_handler: Callable[[object], object]) -> None:
    set_handler(interrupt)
    with pytest.raises(Interrupt) as caught:
        with DeferredInterrupt(lambda: None):
            signal.raise_signal(signal.SIGINT)
            raise ZeroDivisionError
    assert isinstance(caught.value.__context__, ZeroDivisionError)


def test_a_handler_that_is_not_a_python_function_stays_in_place(
    set_handler: Callable[[object], object],
) -> None:
    set_handler(signal.SIG_IGN)
    with DeferredInterrupt(lambda: None):
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_a_context_that_was_never_left_ends_with_the_next_one(
    set_handler: Callable[[object], object],
) -> None:
    set_handler(interrupt)
    deferred = DeferredInterrupt(lambda: None)
    deferred.__enter__()
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(Interrupt):
        with deferred:
            pass
    assert signal.getsignal(signal.SIGINT) is interrupt


def test_other_threads_change_no_handler(set_handler: Callable[[object], object]) -> None:
    set_handler(interrupt)
    deferred, seen = DeferredInterrupt(lambda: None), []

    def run() -> None:
        with deferred:
            seen.append(signal.getsignal(signal.SIGINT))

    with deferred:
        pass
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [interrupt]
