"""Password logins, lockouts and the reports to the operator, with an executor that the test controls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    def __init__(self, prepare: Callable[[], Any], callback: Callable[[Any], object]) -> None:
        self.prepare, self.callback = prepare, callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Executor:
    """Queues jobs until the test runs them."""

    def __init__(self) -> None:
        self.is_full = False
        self.jobs: list[Job] = []
        self.hashed = 0

    def submit(self, prepare: Callable[[], Any], callback: Callable[[Any], object]) -> Job | None:
        if self.is_full:
            return None
        self.jobs.append(Job(prepare, callback))
        return self.jobs[-1]

    def start(self) -> tuple[Job, Any]:
        job = self.jobs.pop(0)
        return job, None if job.cancelled else job.prepare()

    def finish(self, job: Job, work: Any) -> None:
        if work is not None:
            self.hashed += 1
            result = work()
            if not job.cancelled:
                job.callback(result)

    def run(self) -> None:
        while self.jobs:
            self.finish(*self.start())


class Login:
    """An authenticator, its clock and executor, and the reports that it makes."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.executor = Executor()
        self.reports: list[tuple[object, ...]] = []
        self.authenticator = Authenticator(CHEAP, self.executor, self.clock, self)

    def password_failed(self, address: str, delay: float) -> None:
        self.reports.append((address, delay))

    def more_passwords_failed(self, count: int) -> None:
        self.reports.append((count,))

    def start(self, password: str, address: str = HOME) -> list[RefusalError | None]:
        """Start an attempt; its result appears in the list."""
        results: list[RefusalError | None] = []
        if self.authenticator.check(password, address, results.append) is None:
            results.append(None)
        return results

    def attempt(self, password: str, address: str = HOME) -> str:
        """Make an attempt, and return its result in a word."""
        try:
            results = self.start(password, address)
        except RefusalError as error:
            return error.code if not isinstance(error, TooManyAttemptsError) else f"wait {error.seconds:g}"
        self.executor.run()
        self.clock.advance(0.0)
        [result] = results
        return "right" if result is None else result.code


@pytest.fixture
def login() -> Login:
    return Login()


def test_each_password_attempt_has_its_result(login: Login) -> None:
    assert login.attempt("") == "password-needed"
    assert login.executor.hashed == 0
    assert login.attempt(WRONG) == "wrong-password"
    assert login.attempt(RIGHT) == "right"
    assert login.executor.hashed == 2
    assert login.reports == [(HOME, 0.0)]


def test_only_the_right_password_needs_no_second_hash(login: Login) -> None:
    assert login.attempt(RIGHT) == "right"
    assert login.attempt(RIGHT, ELSEWHERE) == "right"
    assert login.executor.hashed == 1
    assert login.attempt(WRONG) == "wrong-password"
    assert login.executor.hashed == 2


def test_lockouts_start_after_five_failures_and_double_to_ten_minutes(login: Login) -> None:
    for _ in range(5):
        assert login.attempt(WRONG) == "wrong-password"
    hashed = login.executor.hashed
    assert login.attempt(WRONG) == "wait 2"
    assert login.attempt(RIGHT) == "wait 2"  # a lockout that let the right password in would allow guessing
    assert login.executor.hashed == hashed
    delays = []
    for _ in range(12):
        found = login.attempt(WRONG)
        delay = float(found.removeprefix("wait "))
        delays.append(delay)
        login.clock.advance(delay - 0.5)
        assert login.attempt(WRONG) == "wait 0.5"
        login.clock.advance(0.5)
        assert login.attempt(WRONG) == "wrong-password"
    assert delays == [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600]


def test_lockouts_reset_after_an_hour_and_free_failures_after_a_minute(login: Login) -> None:
    for _ in range(4):
        login.attempt(WRONG)
    login.clock.advance(60.0)
    for _ in range(5):
        assert login.attempt(WRONG) == "wrong-password"
    assert login.attempt(WRONG) == "wait 2"
    login.clock.advance(3599.0)
    assert login.attempt(WRONG) == "wrong-password"
    assert login.attempt(WRONG) == "wait 4"
    login.clock.advance(3600.0)
    for _ in range(5):
        assert login.attempt(WRONG) == "wrong-password"
    assert login.attempt(WRONG) == "wait 2"


def test_a_successful_login_does_not_reset_the_failures_of_its_address(login: Login) -> None:
    for _ in range(4):
        login.attempt(WRONG)
    assert login.attempt(RIGHT) == "right"
    assert login.attempt(WRONG) == "wrong-password"
    assert login.attempt(WRONG) == "wait 2"
    assert login.attempt(WRONG, ELSEWHERE) == "wrong-password"


def test_parallel_attempts_are_not_free(login: Login) -> None:
    results = [login.start(WRONG) for _ in range(30)]
    started = []
    while login.executor.jobs:
        started.append(login.executor.start())  # two threads
        if len(started) == 2:
            login.executor.finish(*started.pop(0))
    for one in started:
        login.executor.finish(*one)
    login.clock.advance(0.0)
    assert login.executor.hashed == 5
    codes = [error.code for [error] in results if error is not None]
    assert (codes.count("wrong-password"), codes.count("too-many-tries")) == (5, 25)


def test_many_right_passwords_at_once_need_two_hashes(login: Login) -> None:
    results = [login.start(RIGHT) for _ in range(34)]
    first, second = login.executor.start(), login.executor.start()
    login.executor.finish(*first)
    login.executor.finish(*second)
    login.executor.run()
    login.clock.advance(0.0)
    assert results == [[None]] * 34
    assert login.executor.hashed == 2
    assert login.attempt(WRONG) == "wrong-password"


def test_a_full_queue_counts_no_failure_and_admits_the_known_password(login: Login) -> None:
    login.attempt(RIGHT)
    login.executor.is_full = True
    for _ in range(10):
        assert login.attempt(WRONG) == "wait 2"
    assert login.attempt(RIGHT) == "right"
    login.executor.is_full = False
    assert login.attempt(WRONG) == "wrong-password"


def test_a_cancelled_attempt_counts_if_its_check_was_running(login: Login) -> None:
    results: list[RefusalError | None] = []
    for _ in range(3):
        attempt = login.authenticator.check(WRONG, HOME, results.append)
        assert isinstance(attempt, LoginAttempt)
        attempt.cancel()  # still queued
        login.executor.run()
    assert login.executor.hashed == 0
    for _ in range(5):
        attempt = login.authenticator.check(WRONG, HOME, results.append)
        assert isinstance(attempt, LoginAttempt)
        begun = login.executor.start()
        attempt.cancel()
        login.executor.finish(*begun)
    assert results == []
    assert [delay for _, delay in login.reports] == [0, 0, 0, 0, 2]
    assert login.attempt(WRONG) == "wait 2"
    login.clock.advance(2.0)
    assert login.attempt(RIGHT) == "right"


def test_an_error_in_the_check_is_not_a_failed_attempt(login: Login) -> None:
    for _ in range(10):
        results = login.start(WRONG)
        job, _work = login.executor.start()
        job.callback(None)
        assert isinstance(results[0], TooManyAttemptsError)
    assert login.reports == []
    assert login.attempt(WRONG) == "wrong-password"


def test_the_operator_gets_ten_reports_a_minute_and_then_a_count(login: Login) -> None:
    for number in range(25):
        login.attempt(WRONG, f"10.0.0.{number}:1")
    assert login.reports == [(f"10.0.0.{number}:1", 0.0) for number in range(10)]
    login.clock.advance(60.0)
    assert login.reports[10:] == [(15,)]
    login.attempt(WRONG, "10.0.1.1:1")
    login.clock.advance(60.0)
    assert login.reports[11:] == [("10.0.1.1:1", 0.0)]


def test_the_table_of_failures_is_bounded() -> None:
    clock = FakeClock()
    throttle = LoginThrottle(clock, max_sources=100)
    for number in range(300):
        throttle.start(str(number))
        throttle.release(str(number))
    assert len(throttle) == 0
    for number in range(300):
        throttle.start(str(number))
        throttle.fail(str(number))
        clock.advance(1.0)
    assert len(throttle) <= 101
    throttle.release("0")  # its failures were forgotten
    for _ in range(4):
        throttle.start("299")
        throttle.fail("299")
    with pytest.raises(TooManyAttemptsError):
        throttle.check("299")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 700)), max_size=60))
def test_no_more_than_five_failures_fit_into_two_seconds(
    attempts: list[tuple[str, float]],
) -> None:
    clock = FakeClock()
    throttle = LoginThrottle(clock)
    failed: dict[str, list[float]] = {"a": [], "b": []}
    for source, pause in attempts:
        clock.advance(pause if pause > 100 else pause / 100)
        try:
            throttle.check(source)
        except TooManyAttemptsError as error:
            assert 0 < error.seconds <= 600
            continue
        throttle.start(source)
        throttle.fail(source)
        failed[source].append(clock.now)
    for times in failed.values():
        for first, sixth in zip(times, times[5:], strict=False):
            assert sixth - first >= 2.0


def test_the_messages_of_the_refusals() -> None:
    assert str(TooManyAttemptsError(1.5)) == "too many login attempts; try again in 2 s"
    assert str(PasswordNeededError()) == "this server requires a password"
    assert str(WrongPasswordError()) == "wrong password"
