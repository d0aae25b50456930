"""Thread pool for work that would block the event loop.

Useful for work that releases the GIL, such as ``hashlib.scrypt``. The loop's thread owns the queue. It
therefore knows the queue's length without a lock, removes cancelled jobs at once, and asks each job again
when its turn comes whether it is still needed. Knows nothing about the work.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from selchat.net.reactor import Reactor

Work = Callable[[], Any]
OnResult = Callable[[Any], object]

# The niceness of a worker thread, so that the loop goes first. A higher one could leave a thread without CPU
# time while it holds the GIL.
_NICENESS = 5


class Job:
    """A queued or running piece of work."""

    __slots__ = ("_on_result", "_pool", "_prepare")

    def __init__(self, pool: ThreadPool, prepare: Callable[[], Work | None], on_result: OnResult) -> None:
        self._pool = pool
        self._prepare = prepare
        self._on_result: OnResult | None = on_result

    def cancel(self) -> None:
        """Prevent the call of ``on_result``, and the work itself if it has not started."""
        if self._on_result is not None:
            self._on_result = None
            self._pool._on_cancel(self)


class ThreadPool:
    """Runs jobs on up to ``threads`` threads, started on demand; up to ``queue`` jobs wait for them.

    Call all methods in the loop's thread. Results arrive in that thread, too.
    """

    def __init__(self, reactor: Reactor, threads: int, queue: int) -> None:
        self._reactor = reactor
        self._max_threads = threads
        self._max_queued = queue
        self._threads: list[threading.Thread] = []
        self._queued: deque[Job] = deque()
        self._running = 0
        # Unlike a lock, a put never waits for a thread that the system has put to sleep.
        self._inbox: SimpleQueue[tuple[Job, Work] | None] = SimpleQueue()
        self._closed = False

    @property
    def is_full(self) -> bool:
        """Return whether `submit` would refuse a job now."""
        is_busy = self._running == self._max_threads and len(self._queued) >= self._max_queued
        return self._closed or is_busy

    def submit(self, prepare: Callable[[], Work | None], on_result: OnResult) -> Job | None:
        """Queue a job; return None if the queue is full.

        When the job's turn comes, perhaps at once, ``prepare()`` returns the work, or None if it is no longer
        needed. A later tick calls ``on_result`` with the result of the work, or with None if the work raised
        an exception. The reactor reports the exception.
        """
        if self.is_full:
            return None
        job = Job(self, prepare, on_result)
        self._queued.append(job)
        self._start_jobs()
        return job

    def close(self, within: float) -> None:
        """Drop the queue, and wait up to ``within`` seconds for running jobs."""
        self._closed = True
        self._queued.clear()
        for _ in self._threads:
            self._inbox.put(None)
        for thread in self._threads:
            thread.join(within / len(self._threads))

    def _start_jobs(self) -> None:
        while self._queued and self._running < self._max_threads:
            job = self._queued.popleft()
            try:
                work = job._prepare()
            except Exception as error:
                self._reactor.on_error("background work", error)
                self._reactor.call_soon(self._deliver, job, None)
                continue
            if work is None:
                job._on_result = None
                continue
            if len(self._threads) <= self._running and not self._start_thread():
                self._reactor.call_soon(self._deliver, job, None)
                continue
            self._running += 1
            self._inbox.put((job, work))

    def _start_thread(self) -> bool:
        """Start another thread; return False if the system refuses."""
        # A daemon thread: the process does not wait for it at exit.
        thread = threading.Thread(target=self._run, name="worker", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._reactor.on_error("background work", error)
            return False
        self._threads.append(thread)
        return True

    def _on_cancel(self, job: Job) -> None:
        with suppress(ValueError):  # it is running
            self._queued.remove(job)

    def _done(self, job: Job, result: Any, error: Exception | None) -> None:
        if self._closed:
            return
        self._running -= 1
        if error is not None:
            self._reactor.on_error("background work", error)
        try:
            self._deliver(job, result)
        finally:
            self._start_jobs()

    def _deliver(self, job: Job, result: Any) -> None:
        on_result, job._on_result = job._on_result, None
        if on_result is not None:
            on_result(result)

    # -- in a worker thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        if sys.platform == "linux":  # where niceness is per thread
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while (item := self._inbox.get()) is not None:
            job, work = item
            result, failure = None, None
            try:
                result = work()
            except Exception as error:
                failure = error
            del item, work  # they may hold secrets, such as a password
            self._reactor.call_soon(self._done, job, result, failure)
            del job, result, failure
