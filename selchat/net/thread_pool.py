"""Work that takes too long for the loop, on a few threads beside it.

It must not know what the work is. It helps with work that leaves the interpreter free, as ``hashlib.scrypt``
does. The loop keeps the queue, so that it knows how much waits without asking a thread, what is not
wanted any more is taken out at once, and each piece of work is looked at again when it is its turn.
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
Answer = Callable[[Any], object]

_NICENESS = (
    5  # so that the loop goes first; more, and a thread that has the interpreter could be kept waiting
)


class Job:
    """Work that waits or is being done."""

    __slots__ = ("_answer", "_prepare", "_workers")

    def __init__(self, workers: ThreadPool, prepare: Callable[[], Work | None], answer: Answer) -> None:
        self._workers = workers
        self._prepare = prepare
        self._answer: Answer | None = answer

    def cancel(self) -> None:
        """Make sure that no answer comes, nor any work if it has not begun."""
        if self._answer is not None:
            self._answer = None
            self._workers._cancelled(self)


class ThreadPool:
    """Up to ``threads`` threads, started when there is something to do, and a queue of ``queue`` for them.

    All methods are for the loop's thread, in which answers come too.
    """

    def __init__(self, reactor: Reactor, threads: int, queue: int) -> None:
        self._reactor = reactor
        self._most_threads = threads
        self._most_waiting = queue
        self._threads: list[threading.Thread] = []
        self._waiting: deque[Job] = deque()
        self._running = 0
        # Putting into it never waits for a thread that has been put to sleep meanwhile, as a lock would.
        self._inbox: SimpleQueue[tuple[Job, Work] | None] = SimpleQueue()
        self._closed = False

    @property
    def is_full(self) -> bool:
        """Whether `submit` takes nothing now."""
        is_busy = self._running == self._most_threads and len(self._waiting) >= self._most_waiting
        return self._closed or is_busy

    def submit(self, prepare: Callable[[], Work | None], answer: Answer) -> Job | None:
        """Have some work done; None: there is no room for it.

        ``prepare`` is called when it is its turn, perhaps at once, and returns the work, or None if there is
        nothing to do any more. ``answer`` is called in a later tick with what the work returns; with None
        when it was an exception that it raised, of which the reactor is told.
        """
        if self.is_full:
            return None
        job = Job(self, prepare, answer)
        self._waiting.append(job)
        self._go_on()
        return job

    def close(self, within: float) -> None:
        """Forget what waits, and wait for at most so many seconds for what is being done."""
        self._closed = True
        self._waiting.clear()
        for _ in self._threads:
            self._inbox.put(None)
        for thread in self._threads:
            thread.join(within / len(self._threads))

    def _go_on(self) -> None:
        while self._waiting and self._running < self._most_threads:
            job = self._waiting.popleft()
            try:
                work = job._prepare()
            except Exception as error:
                self._reactor.on_error("work beside the loop", error)
                self._reactor.call_soon(self._answer, job, None)
                continue
            if work is None:
                job._answer = None
                continue
            if len(self._threads) <= self._running and not self._start():
                self._reactor.call_soon(self._answer, job, None)
                continue
            self._running += 1
            self._inbox.put((job, work))

    def _start(self) -> bool:
        """Start one more thread; return whether the system had one."""
        # A daemon: whatever it does at the end of the process, that does not wait for it.
        thread = threading.Thread(target=self._run, name="worker", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._reactor.on_error("work beside the loop", error)
            return False
        self._threads.append(thread)
        return True

    def _cancelled(self, job: Job) -> None:
        with suppress(ValueError):  # it is being done
            self._waiting.remove(job)

    def _done(self, job: Job, result: Any, error: Exception | None) -> None:
        if self._closed:
            return
        self._running -= 1
        if error is not None:
            self._reactor.on_error("work beside the loop", error)
        try:
            self._answer(job, result)
        finally:
            self._go_on()

    def _answer(self, job: Job, result: Any) -> None:
        answer, job._answer = job._answer, None
        if answer is not None:
            answer(result)

    # -- a thread's side -------------------------------------------------------------------------------

    def _run(self) -> None:
        if sys.platform == "linux":  # where this is for a thread alone
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while (item := self._inbox.get()) is not None:
            job, work = item
            result, failure = None, None
            try:
                result = work()
            except Exception as error:
                failure = error
            del item, work  # which may hold something that is not to be kept
            self._reactor.call_soon(self._done, job, result, failure)
            del job, result, failure
