"""Work limits: the loop time of requests that cost more than their bytes.

A list of all rooms, a page of history or a TLS handshake takes the loop as long as hundreds of messages. Each
is charged, in microseconds (`selchat.config.settings.Costs`), to the token buckets of its connection, its
address and, after login, its person. Besides, one tick spends at most ``tick_work`` on all of them together:
however many peers ask at once, everyone else waits no longer than that. Requests that have to wait run in
their order in later ticks, so nothing is refused and nothing is lost.

This module knows no protocol and does not know which work it limits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from selchat.addresses import host_of, source_of
from selchat.clock import Clock
from selchat.config.settings import Settings
from selchat.limits import MAX_BUCKETS, WORK_BURST_SECONDS
from selchat.ratelimit import BucketTable, TokenBucket

_SECOND = 1e6  # in microseconds, the unit of all costs


class WorkLimits:
    """The work of all peers: one bucket for each address and each person, and the limit of a tick."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._clock = clock
        self._settings = settings
        self._addresses = BucketTable(*_limits(settings.address_work), MAX_BUCKETS)
        self._persons = BucketTable(*_limits(settings.person_work), MAX_BUCKETS)
        self._tick = -1.0  # the clock's time of the tick that `_spent` belongs to
        self._spent = 0.0  # microseconds in that tick
        self._waiting: deque[Callable[[], object]] = deque()  # for a tick with time left, in order
        self._is_scheduled = False
        self._is_waking = False

    def reconfigure(self, settings: Settings) -> None:
        """Apply new limits. Connections that are open keep the limit of a connection."""
        self._settings = settings
        self._addresses.set_limits(*_limits(settings.address_work))
        self._persons.set_limits(*_limits(settings.person_work))

    def meter(self, address: str) -> Meter:
        """Return the meter of a new connection; ``address``: the peer's, as ``host:port``."""
        bucket = self._addresses.get(source_of(host_of(address)), self._clock.now)
        return Meter(self, self._settings, self._clock, bucket)

    def person(self, client_id: bytes) -> TokenBucket:
        """Return the bucket of a person."""
        return self._persons.get(client_id, self._clock.now)

    @property
    def has_time(self) -> bool:
        """Whether this tick has time left. Its last work may exceed the limit: no work is too large."""
        self._start_tick()
        return self._spent < self._settings.tick_work * _SECOND

    def spend(self, cost: float) -> None:
        """Count work of this tick."""
        self._start_tick()
        self._spent += cost

    @property
    def is_free(self) -> bool:
        """Whether work may be done now: this tick has time left, and nobody waits for it."""
        return self.has_time and (self._is_waking or not self._waiting)

    def wait(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` when a tick has time left, after all that wait already."""
        self._waiting.append(callback)
        self._schedule()

    def _start_tick(self) -> None:
        if self._tick != self._clock.now:
            self._tick = self._clock.now
            self._spent = 0.0

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._clock.call_later(0.0, self._wake)

    def _wake(self) -> None:
        """Call back in order, as long as this tick has time left. Whoever has to wait again comes last."""
        self._is_scheduled = False
        self._is_waking = True
        for _ in range(len(self._waiting)):
            if not self.has_time:
                break
            self._waiting.popleft()()
        self._is_waking = False
        if self._waiting:
            self._schedule()


class Meter:
    """Charges the work of one connection to its own bucket and to those of its address and its person.

    The caller asks `admit` before the work. If the answer is no, it stops reading, calls `call_when_free`,
    and asks again.
    """

    __slots__ = ("_buckets", "_clock", "_is_closed", "_limits")

    def __init__(self, limits: WorkLimits, settings: Settings, clock: Clock, address: TokenBucket) -> None:
        self._limits = limits
        self._clock = clock
        own = TokenBucket(*_limits(settings.connection_work), clock.now)
        self._buckets: tuple[TokenBucket, ...] = (own, address)
        self._is_closed = False

    def sign_in(self, client_id: bytes) -> None:
        """Charge this person from now on, too."""
        self._buckets = (*self._buckets[:2], self._limits.person(client_id))

    def admit(self, cost: float) -> bool:
        """Charge the work and return True, or return False if it has to wait. ``cost``: microseconds.

        A bucket that is not in debt admits any cost, and then pays it off.
        """
        if not self._limits.is_free:
            return False
        now = self._clock.now
        for bucket in self._buckets:
            bucket.refill(now)
            if bucket.tokens < 0:
                return False
        self.charge(cost)
        return True

    def charge(self, cost: float) -> None:
        """Charge work that is done, and whose cost was not known before."""
        self.charge_later(cost)
        self._limits.spend(cost)

    def charge_later(self, cost: float) -> None:
        """Charge work that could not wait for its turn, so that others need not wait for it in this tick."""
        for bucket in self._buckets:
            bucket.tokens -= cost

    def call_when_free(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` when work may be admitted again."""
        now = self._clock.now
        delay = 0.0
        for bucket in self._buckets:
            bucket.refill(now)
            delay = max(delay, bucket.wait(0))
        if delay:
            self._clock.call_later(delay, self._queue, callback)
        else:
            self._queue(callback)

    def close(self) -> None:
        """Call nothing back any more."""
        self._is_closed = True

    def _queue(self, callback: Callable[[], object]) -> None:
        if not self._is_closed:
            self._limits.wait(lambda: None if self._is_closed else callback())


def _limits(seconds: float) -> tuple[float, float]:
    """Return the rate and the burst of a bucket, in microseconds, for a share of the loop's time.

    ``seconds``: loop time in a second. The burst is as much as ten seconds allow, for all who sign in again
    after a restart of the server.
    """
    return seconds * _SECOND, WORK_BURST_SECONDS * seconds * _SECOND
