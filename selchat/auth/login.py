"""Password login with lockout after failed attempts.

Checking a password takes 0.1 s, so threads do it. After the first successful login, the module also remembers
a keyed hash of the password, with a key that is new at every start. A user who knows the password then does
not wait behind guesses.

Failures count per source address. A successful login does not reset them, because a whole school may share
one address. This module knows no socket and no thread: an `Executor` runs the checks.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from typing import Any, Protocol

from selchat.addresses import host_of, source_of
from selchat.auth.password import PasswordHash, normalise
from selchat.clock import Clock
from selchat.errors import RefusalError
from selchat.limits import (
    FIRST_LOCKOUT,
    FREE_FAILURES,
    LOCKOUT_RESET_SECONDS,
    LOGIN_BUSY_SECONDS,
    MAX_FAILED_SOURCES,
    MAX_FAILURES_REPORTED,
    MAX_LOCKOUT,
)


class PasswordNeededError(RefusalError):
    code = "password-needed"
    text = "this server requires a password"


class WrongPasswordError(RefusalError):
    code = "wrong-password"
    text = "wrong password"


class TooManyAttemptsError(RefusalError):
    """The address is locked out for ``seconds``, or too many checks are queued."""

    code = "too-many-tries"

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        return f"too many login attempts; try again in {max(1, round(self.seconds))} s"


_MINUTE = 60.0  # seconds

Callback = Callable[[RefusalError | None], object]
"""Called with the reason why the login failed; None: the password is right."""


class Job(Protocol):
    """A submitted check."""

    def cancel(self) -> None:
        """Never call the callback."""


class Executor(Protocol):
    """Runs checks in threads (`selchat.net.thread_pool`)."""

    def submit(
        self, prepare: Callable[[], Callable[[], Any] | None], callback: Callable[[Any], object]
    ) -> Job | None:
        """Queue a job; None: the queue is full.

        When its turn comes, ``prepare`` returns the work, which runs in a thread, or None for no work.
        ``callback`` gets the result.
        """


class LoginObserver(Protocol):
    """Gets reports of wrong passwords; the operator's console is one."""

    def password_failed(self, address: str, delay: float) -> None:
        """Report a wrong password; the server refuses attempts from this address for ``delay`` seconds."""

    def more_passwords_failed(self, count: int) -> None:
        """Report ``count`` more wrong passwords within a minute, which were not reported one by one."""


class Authenticator:
    """Checks passwords against the server's ``hash``, and locks out addresses that guess."""

    def __init__(self, hash: PasswordHash, executor: Executor, clock: Clock, observer: LoginObserver) -> None:
        self._hash = hash
        self._executor = executor
        self._clock = clock
        self._throttle = LoginThrottle(clock)
        self._reporter = FailureReporter(clock, observer)
        self._key = secrets.token_bytes(32)
        self._known: bytes | None = None  # keyed hash of the right password, once a user has given it

    def check(self, password: str, address: str, callback: Callback) -> LoginAttempt | None:
        """Check a password, perhaps an empty one, from an ``address`` (``host:port``).

        Return None if it is right. Otherwise return the attempt, and call ``callback`` later unless the
        attempt is cancelled. Raises `PasswordNeededError` and `TooManyAttemptsError` without a check.
        """
        if not password:
            raise PasswordNeededError
        source = source_of(host_of(address))
        self._throttle.check(source)
        if self._is_known(password):
            return None
        attempt = LoginAttempt(self, password, address, source, callback)
        job = self._executor.submit(attempt.start, attempt.finish)
        if job is None:
            raise TooManyAttemptsError(LOGIN_BUSY_SECONDS)
        attempt.job = job
        return attempt

    def _is_known(self, password: str) -> bool:
        return self._known is not None and hmac.compare_digest(self._known, self._digest(password))

    def _digest(self, password: str) -> bytes:
        return hashlib.blake2b(normalise(password), key=self._key, digest_size=32).digest()


class LoginAttemptState(Enum):
    """``QUEUED`` until the check starts, then ``RUNNING``; ``DONE`` is final."""

    QUEUED = auto()
    RUNNING = auto()
    DONE = auto()


class LoginAttempt:
    """One password whose check is queued or running."""

    __slots__ = ("_address", "_authenticator", "_callback", "_password", "_source", "job", "state")

    def __init__(
        self, authenticator: Authenticator, password: str, address: str, source: str, callback: Callback
    ) -> None:
        self._authenticator = authenticator
        self._password = password
        self._address = address
        self._source = source
        self._callback: Callback | None = callback
        self.state = LoginAttemptState.QUEUED
        self.job: Job | None = None

    def cancel(self) -> None:
        """Never call the callback. A check that is running still counts as an attempt."""
        self._callback = None
        if self.state is LoginAttemptState.QUEUED and self.job is not None:
            self.state = LoginAttemptState.DONE
            self.job.cancel()

    def start(self) -> Callable[[], bool] | None:
        """Return the check, unless an event during the wait has made it needless."""
        auth = self._authenticator
        try:
            auth._throttle.check(self._source)
        except TooManyAttemptsError as error:
            self._finish_later(error)
            return None
        if auth._is_known(self._password):
            self._finish_later(None)
            return None
        auth._throttle.start(self._source)  # count at the start, so that parallel guesses are not free
        self.state = LoginAttemptState.RUNNING
        return partial(auth._hash.matches, self._password)

    def finish(self, is_right: bool | None) -> None:
        """Use the result of the check; None: the check itself failed."""
        auth, state = self._authenticator, self.state
        self.state = LoginAttemptState.DONE
        if is_right is None:
            if state is LoginAttemptState.RUNNING:
                auth._throttle.release(self._source)
            self._call_back(TooManyAttemptsError(LOGIN_BUSY_SECONDS))
        elif is_right:
            auth._throttle.release(self._source)
            auth._known = auth._digest(self._password)
            self._call_back(None)
        else:
            delay = auth._throttle.fail(self._source)
            auth._reporter.report(self._address, delay)
            self._call_back(WrongPasswordError())

    def _finish_later(self, error: RefusalError | None) -> None:
        self.state = LoginAttemptState.DONE
        self._authenticator._clock.call_later(0.0, self._call_back, error)

    def _call_back(self, error: RefusalError | None) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback(error)


class LoginThrottle:
    """Counts failures per source: five in a minute are free, then each one locks the source out."""

    def __init__(self, clock: Clock, max_sources: int = MAX_FAILED_SOURCES) -> None:
        self._clock = clock
        self._max_sources = max_sources
        self._sources: dict[str, _Source] = {}  # ordered by the last failure, oldest first

    def check(self, source: str) -> None:
        """Raise `TooManyAttemptsError` if the source may not make an attempt now."""
        found = self._sources.get(source)
        if found is None:
            return
        now = self._clock.now
        if now < found.locked_until:
            raise TooManyAttemptsError(found.locked_until - now)
        while found.failures and found.failures[0] <= now - _MINUTE:
            del found.failures[0]
        if now >= found.reset_at:
            found.lockout = 0.0
        free = 1 if found.lockout else FREE_FAILURES - len(found.failures)
        if found.running >= free:
            raise TooManyAttemptsError(FIRST_LOCKOUT)  # the running attempts may all be failures

    def start(self, source: str) -> None:
        """Count an attempt; `release` or `fail` must follow."""
        found = self._sources.get(source)
        if found is None:
            found = self._sources[source] = _Source()
            self._evict()
        found.running += 1

    def release(self, source: str) -> None:
        """End an attempt that did not fail. Earlier failures still count."""
        found = self._sources.get(source)
        if found is not None:
            found.running -= 1
            if not found.running and not found.failures and not found.lockout:
                del self._sources[source]

    def fail(self, source: str) -> float:
        """End an attempt that failed; return the seconds for which the source is locked out."""
        found = self._sources.pop(source, None) or _Source()
        self._sources[source] = found
        now = self._clock.now
        found.running = max(0, found.running - 1)
        found.failures.append(now)
        del found.failures[:-FREE_FAILURES]
        found.reset_at = now + LOCKOUT_RESET_SECONDS
        if found.lockout:
            found.lockout = min(2 * found.lockout, MAX_LOCKOUT)
        elif len(found.failures) >= FREE_FAILURES:
            found.lockout = FIRST_LOCKOUT
        found.locked_until = now + found.lockout
        return found.lockout

    def __len__(self) -> int:
        return len(self._sources)

    def _evict(self) -> None:
        """Forget the source with the oldest failure if there are too many sources."""
        if len(self._sources) > self._max_sources:
            del self._sources[next(iter(self._sources))]


class _Source:
    __slots__ = ("failures", "locked_until", "lockout", "reset_at", "running")

    def __init__(self) -> None:
        self.failures: list[float] = []  # times within the last minute; a deque would take 600 bytes
        self.running = 0  # attempts without a result
        self.lockout = 0.0  # seconds, after the last failure; 0: none
        self.locked_until = 0.0  # on the clock
        self.reset_at = 0.0  # when the lockouts start over


class FailureReporter:
    """Reports the first ten failures of a minute one by one, and then the number of the others."""

    def __init__(self, clock: Clock, observer: LoginObserver) -> None:
        self._clock = clock
        self._observer = observer
        self._count = 0  # in the minute that starts with the first failure

    def report(self, address: str, delay: float) -> None:
        """Report a failure, now or at the end of the minute."""
        if not self._count:
            self._clock.call_later(_MINUTE, self._report_rest)
        self._count += 1
        if self._count <= MAX_FAILURES_REPORTED:
            self._observer.password_failed(address, delay)

    def _report_rest(self) -> None:
        more, self._count = self._count - MAX_FAILURES_REPORTED, 0
        if more > 0:
            self._observer.more_passwords_failed(more)
