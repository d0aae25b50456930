"""The gate: who comes in, who waits, and what the operator is told. A crew of the test does the work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selchat.auth import login as gates
from selchat.auth.login import (
    Authenticator,
    LoginAttempt,
    LoginThrottle,
    PasswordNeededError,
    TooManyAttemptsError,
    WrongPasswordError,
)
from selchat.auth.password import PasswordHash, derive
from selchat.errors import RefusalError
from tests.chat.fakes import FakeClock

CHEAP = PasswordHash(4, 1, 1, b"saltsalt", derive("tea at four", b"saltsalt", 4, 1, 1, 16))
RIGHT, WRONG = "tea at four", "tea at five"
HOME, ELSEWHERE = "192.168.43.7:1", "192.168.43.8:1"


class Job:
    def __init__(self, prepare: Callable[[], Any], answer: Callable[[Any], object]) -> None:
        self.prepare, self.answer = prepare, answer
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Executor:
    """Does its jobs when it is told to."""

    def __init__(self) -> None:
        self.is_full = False
        self.jobs: list[Job] = []
        self.hashed = 0

    def submit(self, prepare: Callable[[], Any], answer: Callable[[Any], object]) -> Job | None:
        if self.is_full:
            return None
        self.jobs.append(Job(prepare, answer))
        return self.jobs[-1]

    def begin(self) -> tuple[Job, Any]:
        job = self.jobs.pop(0)
        return job, None if job.cancelled else job.prepare()

    def end(self, job: Job, work: Any) -> None:
        if work is not None:
            self.hashed += 1
            result = work()
            if not job.cancelled:
                job.answer(result)

    def work(self) -> None:
        while self.jobs:
            self.end(*self.begin())


class House:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.crew = Executor()
        self.shown: list[tuple[object, ...]] = []
        self.gate = Authenticator(CHEAP, self.crew, self.clock, self)

    def password_failed(self, address: str, delay: float) -> None:
        self.shown.append((address, delay))

    def passwords_failed(self, count: int) -> None:
        self.shown.append((count,))

    def begin(self, password: str, address: str = HOME) -> list[RefusalError | None]:
        """Begin a try; the list gets the answer."""
        answers: list[RefusalError | None] = []
        if self.gate.check(password, address, answers.append) is None:
            answers.append(None)
        return answers

    def tries(self, password: str, address: str = HOME) -> str:
        """Try it and return what comes of it."""
        try:
            answers = self.begin(password, address)
        except RefusalError as error:
            return error.code if not isinstance(error, TooManyAttemptsError) else f"wait {error.seconds:g}"
        self.crew.work()
        self.clock.advance(0.0)
        [answer] = answers
        return "in" if answer is None else answer.code


@pytest.fixture
def house() -> House:
    return House()


def test_right_wrong_and_none(house: House) -> None:
    assert house.tries("") == "password-needed"
    assert house.crew.hashed == 0
    assert house.tries(WRONG) == "wrong-password"
    assert house.tries(RIGHT) == "in"
    assert house.crew.hashed == 2
    assert house.shown == [(HOME, 0.0)]


def test_the_right_one_is_known_again_in_every_form_and_no_other(house: House) -> None:
    assert house.tries(RIGHT) == "in"
    assert house.tries(RIGHT, ELSEWHERE) == "in"
    assert house.crew.hashed == 1
    assert house.tries(WRONG) == "wrong-password"
    assert house.crew.hashed == 2


def test_five_a_minute_are_free_and_then_delays_double_to_ten_minutes(house: House) -> None:
    for _ in range(5):
        assert house.tries(WRONG) == "wrong-password"
    hashed = house.crew.hashed
    assert house.tries(WRONG) == "wait 2"
    assert house.tries(RIGHT) == "wait 2"  # else one could go on guessing
    assert house.crew.hashed == hashed
    delays = []
    for _ in range(12):
        found = house.tries(WRONG)
        delay = float(found.removeprefix("wait "))
        delays.append(delay)
        house.clock.advance(delay - 0.5)
        assert house.tries(WRONG) == "wait 0.5"
        house.clock.advance(0.5)
        assert house.tries(WRONG) == "wrong-password"
    assert delays == [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600]


def test_delays_are_forgotten_after_an_hour_and_free_ones_after_a_minute(house: House) -> None:
    for _ in range(4):
        house.tries(WRONG)
    house.clock.advance(60.0)
    for _ in range(5):
        assert house.tries(WRONG) == "wrong-password"
    assert house.tries(WRONG) == "wait 2"
    house.clock.advance(3599.0)
    assert house.tries(WRONG) == "wrong-password"
    assert house.tries(WRONG) == "wait 4"
    house.clock.advance(3600.0)
    for _ in range(5):
        assert house.tries(WRONG) == "wrong-password"
    assert house.tries(WRONG) == "wait 2"


def test_one_who_knows_it_gives_no_new_tries_to_those_at_the_same_address(house: House) -> None:
    for _ in range(4):
        house.tries(WRONG)
    assert house.tries(RIGHT) == "in"
    assert house.tries(WRONG) == "wrong-password"
    assert house.tries(WRONG) == "wait 2"
    assert house.tries(WRONG, ELSEWHERE) == "wrong-password"


def test_many_at_once_are_not_more_tries_than_one_after_the_other(house: House) -> None:
    answers = [house.begin(WRONG) for _ in range(30)]
    started = []
    while house.crew.jobs:
        started.append(house.crew.begin())  # two threads
        if len(started) == 2:
            house.crew.end(*started.pop(0))
    for one in started:
        house.crew.end(*one)
    house.clock.advance(0.0)
    assert house.crew.hashed == 5
    codes = [error.code for [error] in answers if error is not None]
    assert (codes.count("wrong-password"), codes.count("too-many-tries")) == (5, 25)


def test_a_whole_school_that_comes_back_at_once_is_let_in(house: House) -> None:
    answers = [house.begin(RIGHT) for _ in range(34)]
    first, second = house.crew.begin(), house.crew.begin()
    house.crew.end(*first)
    house.crew.end(*second)
    house.crew.work()
    house.clock.advance(0.0)
    assert answers == [[None]] * 34
    assert house.crew.hashed == 2
    assert house.tries(WRONG) == "wrong-password"


def test_when_too_many_wait_nothing_is_counted_and_who_is_known_comes_in(house: House) -> None:
    house.tries(RIGHT)
    house.crew.is_full = True
    for _ in range(10):
        assert house.tries(WRONG) == "wait 2"
    assert house.tries(RIGHT) == "in"
    house.crew.is_full = False
    assert house.tries(WRONG) == "wrong-password"


def test_a_try_that_nobody_waits_for_counts_if_it_had_begun(house: House) -> None:
    answers: list[RefusalError | None] = []
    for _ in range(3):
        trial = house.gate.check(WRONG, HOME, answers.append)
        assert isinstance(trial, LoginAttempt)
        trial.cancel()  # before it is its turn
        house.crew.work()
    assert house.crew.hashed == 0
    for _ in range(5):
        trial = house.gate.check(WRONG, HOME, answers.append)
        assert isinstance(trial, LoginAttempt)
        begun = house.crew.begin()
        trial.cancel()
        house.crew.end(*begun)
    assert answers == []
    assert [delay for _, delay in house.shown] == [0, 0, 0, 0, 2]
    assert house.tries(WRONG) == "wait 2"
    house.clock.advance(2.0)
    assert house.tries(RIGHT) == "in"


def test_a_check_that_failed_is_nobodys_failure(house: House) -> None:
    for _ in range(10):
        answers = house.begin(WRONG)
        job, _work = house.crew.begin()
        job.answer(None)
        assert isinstance(answers[0], TooManyAttemptsError)
    assert house.shown == []
    assert house.tries(WRONG) == "wrong-password"


def test_the_operator_is_told_of_ten_a_minute_and_how_many_more(house: House) -> None:
    for number in range(25):
        house.tries(WRONG, f"10.0.0.{number}:1")
    assert house.shown == [(f"10.0.0.{number}:1", 0.0) for number in range(10)]
    house.clock.advance(60.0)
    assert house.shown[10:] == [(15,)]
    house.tries(WRONG, "10.0.1.1:1")
    house.clock.advance(60.0)
    assert house.shown[11:] == [("10.0.1.1:1", 0.0)]


def test_memory_is_bounded_and_those_who_are_right_take_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "_MAX_SOURCES", 100)
    clock = FakeClock()
    failures = LoginThrottle(clock)
    for number in range(300):
        failures.begin(str(number))
        failures.end(str(number))
    assert len(failures) == 0
    for number in range(300):
        failures.begin(str(number))
        failures.fail(str(number))
        clock.advance(1.0)
    assert len(failures) <= 101
    failures.end("0")  # of which nothing is known any more
    for _ in range(4):
        failures.begin("299")
        failures.fail("299")
    with pytest.raises(TooManyAttemptsError):
        failures.check("299")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 700)), max_size=60))
def test_whatever_one_does_five_a_minute_and_no_more(tries: list[tuple[str, float]]) -> None:
    clock = FakeClock()
    failures = LoginThrottle(clock)
    failed: dict[str, list[float]] = {"a": [], "b": []}
    for source, pause in tries:
        clock.advance(pause if pause > 100 else pause / 100)
        try:
            failures.check(source)
        except TooManyAttemptsError as error:
            assert 0 < error.seconds <= 600
            continue
        failures.begin(source)
        failures.fail(source)
        failed[source].append(clock.now)
    for times in failed.values():
        for first, sixth in zip(times, times[5:], strict=False):
            assert sixth - first >= 2.0


def test_what_is_raised_says_what_to_do() -> None:
    assert str(TooManyAttemptsError(1.5)) == "too many tries; try again in 2 s"
    assert str(PasswordNeededError()) == "this server has a password"
    assert str(WrongPasswordError()) == "that is not the password of this server"
