from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from selchat.client.bot.driving import ReactorLock
from selchat.net.reactor import Reactor
from tests.client.support import DEADLINE, eventually, fail


@pytest.fixture
def reactor() -> Reactor:
    return Reactor(fail)


@pytest.fixture
def driver(reactor: Reactor) -> Iterator[ReactorLock]:
    driver = ReactorLock(reactor)
    yield driver
    driver.close()


@contextmanager
def threads(*targets: Callable[[], object]) -> Iterator[None]:
    """Run these in threads meanwhile, and wait for them in the end."""
    running = [threading.Thread(target=target) for target in targets]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        for thread in running:
            thread.join(DEADLINE)
    assert not any(thread.is_alive() for thread in running)


def soon() -> float:
    return time.monotonic() + DEADLINE


def test_it_runs_ticks_until_it_holds(reactor: Reactor, driver: ReactorLock) -> None:
    done: list[int] = []
    reactor.call_later(0.01, done.append, 1)
    assert driver.until(lambda: done, soon())
    assert driver.until(lambda: True, time.monotonic())


def test_a_deadline_that_has_passed_is_good_for_one_tick(reactor: Reactor, driver: ReactorLock) -> None:
    done: list[int] = []
    assert not driver.until(lambda: done, time.monotonic() - 1)
    reactor.call_soon(done.append, 1)
    assert driver.until(lambda: done, time.monotonic() - 1)
    assert not driver.until(lambda: False, time.monotonic() + 0.01)


def test_who_waits_makes_way_for_who_does_something(reactor: Reactor, driver: ReactorLock) -> None:
    done: list[int] = []

    def do() -> None:
        with driver:
            # Nobody can be in a tick now, which is what makes this right.
            reactor.call_later(0.0, done.append, 1)

    waiting = threading.Event()

    def is_done() -> bool:
        waiting.set()
        return bool(done)

    with threads(lambda: driver.until(is_done, soon())):
        assert waiting.wait(DEADLINE)
        with threads(do):
            pass
    assert done == [1]


def test_nobody_is_in_a_tick_while_something_is_done(reactor: Reactor, driver: ReactorLock) -> None:
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
            with driver:
                inside.append("do")
                if len(inside) > 1:
                    clashes.append(list(inside))
                count += 1
                inside.remove("do")

    reactor.call_later(0.0, tick)
    with threads(do, do, do, *[lambda: driver.until(lambda: count == 900, soon())] * 2):
        assert driver.until(lambda: count == 900, soon())
    assert count == 900
    assert clashes == []


def test_each_of_several_threads_gets_what_it_waits_for(reactor: Reactor, driver: ReactorLock) -> None:
    done: set[int] = set()
    got: list[int] = []

    def wait(number: int) -> None:
        if driver.until(lambda: number in done, soon()):
            got.append(number)

    with threads(*[lambda number=number: wait(number) for number in range(10)]):
        for number in reversed(range(10)):
            reactor.call_soon(done.add, number)
            eventually(lambda number=number: number in got)
    assert got == list(reversed(range(10)))


def test_two_who_wait_do_not_keep_waking_each_other(reactor: Reactor, driver: ReactorLock) -> None:
    ticks: list[int] = []
    done: list[int] = []
    reactor.at_tick_end(lambda: ticks.append(1))
    reactor.call_later(0.3, done.append, 1)
    with threads(*[lambda: driver.until(lambda: done, soon())] * 3):
        pass
    assert len(ticks) < 20


def test_when_the_one_who_drives_leaves_another_takes_over(reactor: Reactor, driver: ReactorLock) -> None:
    first: list[int] = []
    second: list[int] = []
    reactor.call_later(0.02, first.append, 1)
    reactor.call_later(0.1, second.append, 1)
    with threads(lambda: driver.until(lambda: second, soon())):
        assert driver.until(lambda: first, soon())
        eventually(lambda: second)  # this thread does not drive any more


def test_waking_makes_everyone_look_again(driver: ReactorLock) -> None:
    stopped: list[int] = []
    with threads(*[lambda: driver.until(lambda: stopped)] * 3):
        stopped.append(1)
        driver.wake()


def test_what_a_callback_raises_comes_out_and_nothing_stays_locked(
    driver: ReactorLock, reactor: Reactor
) -> None:
    reactor.call_soon(int, "x")
    with pytest.raises(AssertionError):
        driver.until(lambda: False, soon())
    done: list[int] = []
    reactor.call_soon(done.append, 1)
    with threads(lambda: driver.until(lambda: done, soon())):
        pass
    assert done


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """Ctrl-C is pressed then."""
    old = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def test_an_interrupt_ends_the_wait(driver: ReactorLock) -> None:
    with pytest.raises(KeyboardInterrupt), interrupted_after(0.05):
        driver.until(lambda: False)
    with driver:
        pass


def test_an_interrupt_ends_the_wait_for_what_another_thread_drives(driver: ReactorLock) -> None:
    done: list[int] = []
    driving = threading.Event()
    with threads(lambda: driver.until(lambda: driving.set() or done)):
        assert driving.wait(DEADLINE)
        with pytest.raises(KeyboardInterrupt), interrupted_after(0.05):
            driver.until(lambda: False)
        done.append(1)
        driver.wake()


def test_an_interrupt_does_not_come_in_the_middle_of_a_tick(reactor: Reactor, driver: ReactorLock) -> None:
    steps: list[str] = []

    def callback() -> None:
        steps.append("begun")
        signal.raise_signal(signal.SIGINT)
        steps.append("ended")

    reactor.call_soon(callback)
    with pytest.raises(KeyboardInterrupt):
        driver.until(lambda: False)
    assert steps == ["begun", "ended"]
    with pytest.raises(KeyboardInterrupt):
        with driver:
            callback()
    assert steps == ["begun", "ended"] * 2


def test_a_right_that_an_interrupt_has_left_behind_blocks_nobody_in_that_thread(driver: ReactorLock) -> None:
    driver.__enter__()  # and never left
    assert not driver.until(lambda: False, time.monotonic())
    with driver:
        pass


def test_ticks_when_idle(reactor: Reactor, driver: ReactorLock) -> None:
    done: list[int] = []
    reactor.call_soon(done.append, 1)
    driver.tick_if_idle(DEADLINE)
    assert done == []
    driver.tick_if_idle(-1)
    assert done == [1]


def test_after_closing_there_are_no_ticks(reactor: Reactor, driver: ReactorLock) -> None:
    driver.close()
    driver.close()
    driver.wake()
    driver.tick_if_idle(-1)
    assert not driver.until(lambda: False, time.monotonic() + 0.01)
