from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from selchat.client.bot.deferral import DeferredInterrupt


class Interrupt(BaseException):
    pass


def interrupt(*_: object) -> None:
    raise Interrupt


@pytest.fixture
def handle() -> Iterator[Callable[[object], object]]:
    """Sets the handler of SIGINT; the old one is set again in the end."""
    old = signal.getsignal(signal.SIGINT)
    yield lambda handler: signal.signal(signal.SIGINT, handler)  # type: ignore[arg-type]
    signal.signal(signal.SIGINT, old)


def test_the_handler_is_called_at_the_end(handle: Callable[[object], object]) -> None:
    caught: list[object] = []
    handle(lambda number, _frame: caught.append(number))
    deferral = DeferredInterrupt(lambda: caught.append("hurry"))
    for _ in range(2):
        with deferral:
            signal.raise_signal(signal.SIGINT)
            assert caught == ["hurry"]
        assert caught == ["hurry", signal.SIGINT]
        caught.clear()
    signal.raise_signal(signal.SIGINT)
    assert caught == [signal.SIGINT]


def test_what_the_handler_raises_comes_out_once(handle: Callable[[object], object]) -> None:
    handle(interrupt)
    deferral, changed = DeferredInterrupt(lambda: None), []
    with pytest.raises(Interrupt):
        with deferral:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            changed.append("whole")
    assert changed == ["whole"]
    assert signal.getsignal(signal.SIGINT) is interrupt
    with deferral:
        pass


def test_what_was_going_wrong_anyway_is_not_forgotten(handle: Callable[[object], object]) -> None:
    handle(interrupt)
    with pytest.raises(Interrupt) as caught:
        with DeferredInterrupt(lambda: None):
            signal.raise_signal(signal.SIGINT)
            raise ZeroDivisionError
    assert isinstance(caught.value.__context__, ZeroDivisionError)


def test_what_is_no_handler_of_python_is_left_alone(handle: Callable[[object], object]) -> None:
    handle(signal.SIG_IGN)
    with DeferredInterrupt(lambda: None):
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_one_that_was_never_left_is_left_with_the_next(handle: Callable[[object], object]) -> None:
    handle(interrupt)
    deferral = DeferredInterrupt(lambda: None)
    deferral.__enter__()
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(Interrupt):
        with deferral:
            pass
    assert signal.getsignal(signal.SIGINT) is interrupt


def test_other_threads_change_no_handler(handle: Callable[[object], object]) -> None:
    handle(interrupt)
    deferral, seen = DeferredInterrupt(lambda: None), []

    def run() -> None:
        with deferral:
            seen.append(signal.getsignal(signal.SIGINT))

    with deferral:
        pass
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [interrupt]
