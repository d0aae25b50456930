from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from selchat.limits import MAX_CANCELLED_TIMERS
from selchat.net.reactor import EVENT_READ, EVENT_WRITE
from tests.net.helpers import Errors, InspectableReactor, run_until


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_timers_fire_in_order_of_time_and_then_of_creation(reactor: InspectableReactor) -> None:
    fired: list[str] = []
    reactor.call_later(0.002, fired.append, "third")
    reactor.call_later(0.001, fired.append, "first")
    reactor.call_later(0.001, fired.append, "second")
    run_until(reactor, lambda: len(fired) == 3)
    assert fired == ["first", "second", "third"]


def test_timer_does_not_fire_early(reactor: InspectableReactor) -> None:
    fired: list[float] = []
    timer = reactor.call_later(0.02, lambda: fired.append(reactor.now))
    run_until(reactor, lambda: fired)
    assert fired[0] >= timer.when


def test_cancelled_timer_does_not_fire(reactor: InspectableReactor) -> None:
    fired: list[str] = []
    timer = reactor.call_later(0, fired.append, "cancelled")
    reactor.call_later(0, fired.append, "kept")
    timer.cancel()
    timer.cancel()
    run_until(reactor, lambda: fired)
    assert fired == ["kept"]
    assert reactor.cancelled == 0


def test_timer_may_cancel_another_that_is_due_in_the_same_tick(reactor: InspectableReactor) -> None:
    fired: list[str] = []
    reactor.call_later(0, lambda: timer.cancel())  # noqa: PLW0108 - it is made below
    timer = reactor.call_later(0, fired.append, "cancelled")
    reactor.call_later(0, fired.append, "kept")
    run_until(reactor, lambda: fired)
    assert fired == ["kept"]


def test_cancelling_a_fired_timer_does_nothing(reactor: InspectableReactor) -> None:
    fired: list[str] = []
    timer = reactor.call_later(0, fired.append, "fired")
    run_until(reactor, lambda: fired)
    timer.cancel()
    assert reactor.cancelled == 0


def test_timer_set_by_a_timer_waits_for_the_next_tick(reactor: InspectableReactor) -> None:
    calls: list[int] = []

    def again() -> None:
        calls.append(len(calls))
        assert len(calls) < 100, "the tick never ends"
        reactor.call_later(0, again)

    reactor.call_later(0, again)
    for _ in range(3):
        reactor.tick()
    assert len(calls) == 3


def test_cancelled_timers_do_not_accumulate(reactor: InspectableReactor) -> None:
    kept = reactor.call_later(1000, lambda: None)
    for _ in range(10 * MAX_CANCELLED_TIMERS):
        reactor.call_later(500, lambda: None).cancel()
    assert reactor.heap_size <= 2 * MAX_CANCELLED_TIMERS
    assert reactor.pending_timers == [kept]


def test_timer_may_cancel_thousands_of_others(reactor: InspectableReactor) -> None:
    fired: list[int] = []
    doomed = [reactor.call_later(0, fired.append, -1) for _ in range(3 * MAX_CANCELLED_TIMERS)]
    first = reactor.call_later(-1, lambda: [timer.cancel() for timer in doomed])
    for number in range(5):
        reactor.call_later(0, fired.append, number)
    run_until(reactor, lambda: len(fired) == 5)
    assert fired == [0, 1, 2, 3, 4]
    assert first.when < doomed[0].when
    run_until(reactor, lambda: not reactor.heap_size)
    assert reactor.cancelled == 0


def test_ready_file_calls_its_watcher_with_the_mask(
    reactor: InspectableReactor, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    masks: list[int] = []
    reactor.watch(ours, EVENT_READ, masks.append)
    reactor.tick(0)
    assert masks == []
    theirs.send(b"x")
    reactor.tick()
    assert masks == [EVENT_READ]
    reactor.rewatch(ours, EVENT_READ | EVENT_WRITE, lambda mask: masks.append(-mask))
    reactor.tick()
    assert masks == [EVENT_READ, -(EVENT_READ | EVENT_WRITE)]
    reactor.unwatch(ours)
    reactor.tick(0)
    assert len(masks) == 2


def test_call_soon_from_another_thread_wakes_the_loop(reactor: InspectableReactor) -> None:
    calls: list[object] = []
    thread = threading.Thread(target=lambda: reactor.call_soon(calls.append, "soon"))
    reactor.call_later(10, calls.append, "the loop slept")
    thread.start()
    run_until(reactor, lambda: calls)
    thread.join()
    assert calls == ["soon"]


def test_call_soon_keeps_the_order_and_nested_calls_wait_a_tick(reactor: InspectableReactor) -> None:
    calls: list[str] = []
    reactor.call_soon(lambda: (calls.append("first"), reactor.call_soon(calls.append, "third")))
    reactor.call_soon(calls.append, "second")
    reactor.tick()
    assert calls == ["first", "second"]
    reactor.tick()
    assert calls == ["first", "second", "third"]


def test_call_soon_works_when_the_wakeup_socket_is_full(reactor: InspectableReactor) -> None:
    calls: list[int] = []
    for number in range(100_000):
        reactor.call_soon(calls.append, number)
    run_until(reactor, lambda: len(calls) == 100_000)
    assert calls == list(range(100_000))


def test_tick_runs_files_then_timers_then_end_of_tick_callbacks(
    reactor: InspectableReactor, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    calls: list[str] = []
    reactor.at_tick_end(lambda: calls.append("first end"))
    reactor.at_tick_end(lambda: calls.append("second end"))
    reactor.call_later(0, calls.append, "timer")
    reactor.watch(ours, EVENT_READ, lambda _mask: calls.append("file"))
    theirs.send(b"x")
    reactor.tick()
    reactor.unwatch(ours)
    assert calls == ["file", "timer", "first end", "second end"]


def test_exception_in_a_callback_is_reported_and_the_loop_continues(
    reactor: InspectableReactor, errors: Errors, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    calls: list[str] = []

    def fail(*_arguments: object) -> None:
        raise ZeroDivisionError

    theirs.send(b"x")
    reactor.watch(ours, EVENT_READ, fail)
    reactor.call_later(0, fail)
    reactor.call_later(0, calls.append, "timer")
    reactor.call_soon(fail)
    reactor.call_soon(calls.append, "soon")
    reactor.at_tick_end(fail)
    reactor.at_tick_end(lambda: calls.append("end"))
    reactor.tick()
    reactor.unwatch(ours)
    assert sorted(calls) == ["end", "soon", "timer"]
    assert [type(error) for _, error in errors] == [ZeroDivisionError] * 4
    assert all("callback" in where for where, _ in errors)
    errors.clear()


def test_run_ends_after_the_tick_that_calls_stop(reactor: InspectableReactor) -> None:
    calls: list[str] = []
    reactor.call_later(0, reactor.stop)
    reactor.call_later(0, calls.append, "timer")
    reactor.at_tick_end(lambda: calls.append("end"))
    reactor.run()
    assert calls == ["timer", "end"]


def test_signal_runs_its_callback_in_a_tick_and_close_restores_the_handler() -> None:
    calls: list[str] = []
    before = (signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGUSR2))
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        old = signal.set_wakeup_fd(ours.fileno())
        try:
            reactor = InspectableReactor(Errors())
            reactor.on_signal(signal.SIGUSR1, lambda: calls.append("one"))
            reactor.on_signal(signal.SIGUSR2, lambda: calls.append("two"))
            signal.raise_signal(signal.SIGUSR1)
            assert calls == []
            reactor.tick()
            assert calls == ["one"]
            os.kill(os.getpid(), signal.SIGUSR2)
            run_until(reactor, lambda: len(calls) == 2)
            assert calls == ["one", "two"]
            reactor.close()
            assert (signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGUSR2)) == before
            assert signal.set_wakeup_fd(-1) == ours.fileno(), "the old wakeup descriptor is restored"
        finally:
            signal.set_wakeup_fd(old)


def test_signal_is_not_lost_when_the_wakeup_socket_is_full(reactor: InspectableReactor) -> None:
    caught: list[str] = []
    reactor.on_signal(signal.SIGUSR1, lambda: caught.append("signal"))
    for _ in range(100_000):
        reactor.call_soon(int)
    signal.raise_signal(signal.SIGUSR1)
    run_until(reactor, lambda: caught)
    assert caught == ["signal"]


def test_exception_in_a_signal_callback_is_reported(reactor: InspectableReactor, errors: Errors) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    reactor.on_signal(signal.SIGUSR1, fail)
    signal.raise_signal(signal.SIGUSR1)
    reactor.tick()
    assert [type(error) for _, error in errors] == [ZeroDivisionError]
    errors.clear()


def test_closed_reactor_calls_nothing() -> None:
    reactor = InspectableReactor(Errors())
    reactor.call_later(0, pytest.fail, "called after the end")
    reactor.close()
    reactor.call_soon(pytest.fail, "called after the end")
    reactor.close()
    assert not reactor.heap_size
