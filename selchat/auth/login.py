"""The gate of a server with a password: who knows it comes in, and nobody can try for long.

A password is checked beside the loop, because that takes 0.1 s. The right one is known again at once by a
keyed hash of it, with a key that is made at every start: who knows it does not wait behind those who guess.
LoginThrottle are counted for each address, and stay counted when someone else there (a whole school may be behind
one address) knows the password. This file knows no socket and no thread: a crew does the work.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from typing import Any, Protocol

from selchat.addresses import source_of
from selchat.auth.password import PasswordHash, normalise
from selchat.clock import Clock
from selchat.errors import RefusalError


class PasswordNeededError(RefusalError):
    code = "password-needed"
    text = "this server has a password"


class WrongPasswordError(RefusalError):
    code = "wrong-password"
    text = "that is not the password of this server"


class TooManyAttemptsError(RefusalError):
    """``seconds``: when to try again."""

    code = "too-many-tries"

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        return f"too many tries; try again in {max(1, round(self.seconds))} s"


_FREE = 5  # failures in `_MINUTE`, before there is a delay
_MINUTE = 60.0  # seconds
_FIRST_DELAY = 2.0  # seconds after the fifth; each further failure doubles it
_LONGEST_DELAY = 600.0  # seconds
_FORGIVEN = 3600.0  # seconds without a failure, after which the delays begin anew
_BUSY = 2.0  # seconds after which to come again when too many are being checked
_MAX_SOURCES = 10_000  # addresses that are remembered; one takes about 500 bytes
_MAX_SHOWN = 10  # failures that the operator is told of one by one in `_MINUTE`

Answer = Callable[[RefusalError | None], object]
"""Called with what is wrong with a password; None: it is the right one."""


class Job(Protocol):
    """Work that was taken on."""

    def cancel(self) -> None:
        """Make sure that no answer comes."""


class Executor(Protocol):
    """Who does the work beside the loop (`selchat.net.thread_pool`)."""

    @property
    def is_full(self) -> bool:
        """Whether it takes nothing now."""

    def submit(
        self, prepare: Callable[[], Callable[[], Any] | None], answer: Callable[[Any], object]
    ) -> Job | None:
        """Have done what ``prepare`` returns when it is its turn; None: there is no room."""


class Guard(Protocol):
    """Who is told of wrong passwords, such as the operator's console."""

    def password_failed(self, address: str, delay: float) -> None:
        """A wrong one from there; nothing more from there is checked for ``delay`` seconds."""

    def passwords_failed(self, count: int) -> None:
        """So many more than were told one by one, within a minute."""


class Authenticator:
    """Says who may come in. ``hash``: of the password."""

    def __init__(self, hash: PasswordHash, crew: Executor, clock: Clock, guard: Guard) -> None:
        self._hash = hash
        self._crew = crew
        self._clock = clock
        self._failures = LoginThrottle(clock)
        self._reports = Reports(clock, guard)
        self._key = secrets.token_bytes(32)
        self._known: bytes | None = None  # the keyed hash of the right password, when it was heard once

    def check(self, password: str, address: str, answer: Answer) -> LoginAttempt | None:
        """Check a password, perhaps an empty one, from an ``address`` (``host:port``).

        None: it is the right one. Else ``answer`` is called later, unless the trial is cancelled.
        Raises `PasswordNeededError` and `TooManyAttemptsError`; then nothing was checked.
        """
        if not password:
            raise PasswordNeededError
        source = source_of(address.rpartition(":")[0].strip("[]"))
        self._failures.check(source)
        if self._is_known(password):
            return None
        trial = LoginAttempt(self, password, address, source, answer)
        job = self._crew.submit(trial.begin, trial.end)
        if job is None:
            raise TooManyAttemptsError(_BUSY)
        trial.job = job
        return trial

    def _is_known(self, password: str) -> bool:
        return self._known is not None and hmac.compare_digest(self._known, self._digest(password))

    def _digest(self, password: str) -> bytes:
        return hashlib.blake2b(normalise(password), key=self._key, digest_size=32).digest()


class LoginAttemptState(Enum):
    """``WAITING`` becomes ``BEGUN`` when it is its turn; ``OVER`` is final."""

    WAITING = auto()
    BEGUN = auto()
    OVER = auto()


class LoginAttempt:
    """One password on its way through the gate."""

    __slots__ = ("_address", "_answer", "_gate", "_password", "_source", "job", "state")

    def __init__(self, gate: Authenticator, password: str, address: str, source: str, answer: Answer) -> None:
        self._gate = gate
        self._password = password
        self._address = address
        self._source = source
        self._answer: Answer | None = answer
        self.state = LoginAttemptState.WAITING
        self.job: Job | None = None

    def cancel(self) -> None:
        """Make sure that no answer comes. A check that has begun counts all the same."""
        self._answer = None
        if self.state is LoginAttemptState.WAITING and self.job is not None:
            self.state = LoginAttemptState.OVER
            self.job.cancel()

    def begin(self) -> Callable[[], bool] | None:
        """Return the work, unless what has happened while this one waited makes it needless."""
        gate = self._gate
        try:
            gate._failures.check(self._source)
        except TooManyAttemptsError as error:
            self._answer_later(error)
            return None
        if gate._is_known(self._password):
            self._answer_later(None)
            return None
        # Before the answer is known: two that are checked at the same time are two tries.
        gate._failures.begin(self._source)
        self.state = LoginAttemptState.BEGUN
        return partial(gate._hash.matches, self._password)

    def end(self, is_right: bool | None) -> None:
        """Take the answer of the crew; None: it could not tell."""
        gate, state = self._gate, self.state
        self.state = LoginAttemptState.OVER
        if is_right is None:
            if state is LoginAttemptState.BEGUN:
                gate._failures.end(self._source)
            self._tell(TooManyAttemptsError(_BUSY))
        elif is_right:
            gate._failures.end(self._source)
            gate._known = gate._digest(self._password)
            self._tell(None)
        else:
            delay = gate._failures.fail(self._source)
            gate._reports.failed(self._address, delay)
            self._tell(WrongPasswordError())

    def _answer_later(self, error: RefusalError | None) -> None:
        self.state = LoginAttemptState.OVER
        self._gate._clock.call_later(0.0, self._tell, error)

    def _tell(self, error: RefusalError | None) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer(error)


class LoginThrottle:
    """Counts them by source: five a minute cost nothing, and from then on each delays the next try longer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sources: dict[str, _Source] = {}  # the one that has failed last is the last

    def check(self, source: str) -> None:
        """Raise `TooManyAttemptsError` if nothing is to be tried from there now."""
        found = self._sources.get(source)
        if found is None:
            return
        now = self._clock.now
        if now < found.until:
            raise TooManyAttemptsError(found.until - now)
        while found.recent and found.recent[0] <= now - _MINUTE:
            found.recent.popleft()
        if now >= found.forgiven:
            found.delay = 0.0
        free = 1 if found.delay else _FREE - len(found.recent)
        if found.running >= free:
            raise TooManyAttemptsError(_FIRST_DELAY)  # it is not yet known whether those are failures

    def begin(self, source: str) -> None:
        """Note that a try from there has begun; `end` or `fail` follows."""
        found = self._sources.get(source)
        if found is None:
            found = self._sources[source] = _Source()
            self._forget()
        found.running += 1

    def end(self, source: str) -> None:
        """Note that it was none that failed. What has failed before stays."""
        found = self._sources.get(source)
        if found is not None:
            found.running -= 1
            if not found.running and not found.recent and not found.delay:
                del self._sources[source]

    def fail(self, source: str) -> float:
        """Note that it has failed; return for how many seconds nothing is to be tried from there."""
        found = self._sources.pop(source, None) or _Source()
        self._sources[source] = found
        now = self._clock.now
        found.running = max(0, found.running - 1)
        found.recent.append(now)
        found.forgiven = now + _FORGIVEN
        if found.delay:
            found.delay = min(2 * found.delay, _LONGEST_DELAY)
        elif len(found.recent) >= _FREE:
            found.delay = _FIRST_DELAY
        found.until = now + found.delay
        return found.delay

    def __len__(self) -> int:
        return len(self._sources)

    def _forget(self) -> None:
        """Forget the one that has not failed for longest, if they are too many."""
        if len(self._sources) > _MAX_SOURCES:
            del self._sources[next(iter(self._sources))]


class _Source:
    __slots__ = ("delay", "forgiven", "recent", "running", "until")

    def __init__(self) -> None:
        self.recent: deque[float] = deque(maxlen=_FREE)  # when it has failed, within the last minute
        self.running = 0  # tries that have begun
        self.delay = 0.0  # seconds, after the last failure; 0: nothing is delayed
        self.until = 0.0  # nothing is to be tried before, on the clock
        self.forgiven = 0.0  # when the delays begin anew


class Reports:
    """Tells the guard of failures: the first ones of a minute one by one, and how many more there were."""

    def __init__(self, clock: Clock, guard: Guard) -> None:
        self._clock = clock
        self._guard = guard
        self._count = 0  # of the minute that has begun with the first

    def failed(self, address: str, delay: float) -> None:
        """Note one."""
        if not self._count:
            self._clock.call_later(_MINUTE, self._sum_up)
        self._count += 1
        if self._count <= _MAX_SHOWN:
            self._guard.password_failed(address, delay)

    def _sum_up(self) -> None:
        more, self._count = self._count - _MAX_SHOWN, 0
        if more > 0:
            self._guard.passwords_failed(more)
