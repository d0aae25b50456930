"""Reactor, standard error and flow-controlled input for the two clients without a screen.

``selchat send`` and the plain chat are each a few callbacks around these.
"""

from __future__ import annotations

import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from selchat.client import lines
from selchat.client.connection.link import Link
from selchat.config.settings import ClientSettings
from selchat.errors import SelchatError
from selchat.limits import OUTPUT_CLOSE_SECONDS, STATUS_LIMIT
from selchat.net.reactor import Reactor
from selchat.net.stdio import LineReader, LineWriter


class Run:
    """One run of a client: its reactor, its lines on standard error, and its exit status."""

    def __init__(self, stderr: int = 2) -> None:
        self.reactor = Reactor(self._on_internal_error)
        self._status = LineWriter(
            self.reactor, stderr, STATUS_LIMIT, lambda count: f"({count} lines are not shown)"
        )
        self._exit_status = 0

    def show(self, line: str) -> None:
        """Write a line, already safe for a terminal, to standard error."""
        self._status.write(line)

    def fail(self, reason: str) -> None:
        """Write the reason to standard error and make the exit status 1."""
        self._status.write(f"selchat: {lines.safe(reason)}")
        self._exit_status = 1

    def stop(self) -> None:
        """End the run after this tick."""
        self.reactor.stop()

    def until_stopped(self, close: Callable[[], object]) -> int:
        """Run until `stop` or SIGINT, call ``close``, release everything and return the exit status."""
        self.reactor.on_signal(signal.SIGINT, self.interrupt)
        try:
            self.reactor.run()
        finally:
            close()
            self._status.close(within=OUTPUT_CLOSE_SECONDS)
            self.reactor.close()
        return self._exit_status

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let SIGINT raise KeyboardInterrupt, as a prompt that blocks the reactor needs it."""
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def interrupt(self) -> None:
        """End the run as after SIGINT."""
        self._exit_status = 128 + signal.SIGINT  # as shells report a process that SIGINT ended
        self.stop()

    def _on_internal_error(self, place: str, error: Exception) -> None:
        self._status.write(f"selchat: internal error in {place}")
        self._status.write("".join(traceback.format_exception(error)))
        self._exit_status = 1
        self.stop()


class Input:
    """Pass each line of a descriptor to ``on_line``, no faster than the link sends the messages.

    If ``on_line`` raises `SelchatError`, report the number of the line and continue with the next one.
    """

    def __init__(
        self,
        run: Run,
        settings: ClientSettings,
        link: Link,
        descriptor: int,
        on_line: Callable[[str], object],
    ) -> None:
        self._run = run
        self._link = link
        self._on_line = on_line
        self._limit = settings.payload_limit
        self._high_water = settings.queue_limit // 4  # bytes; one read of short lines can add as many again
        self._number = 0
        self._held: deque[tuple[int, str]] = deque()  # lines that were read when the link's queue was full
        self._ended = False
        self._reader = LineReader(
            run.reactor,
            descriptor,
            self._limit,
            on_line=self._on_read,
            on_end=self._on_end,
            on_too_long=self._on_too_long,
        )

    def pause(self) -> None:
        """Read nothing until `resume`."""
        self._reader.pause()

    def resume(self) -> None:
        """Continue, because the link's queue has space again."""
        while self._held and self._link.queued <= self._high_water:
            self._pass_on(*self._held.popleft())
        if self._held:
            return
        if self._ended:
            self._link.finish(await_answers=True)
        else:
            self._reader.resume()

    def close(self) -> None:
        """Stop reading and drop the held lines."""
        self._held.clear()
        self._reader.close()

    def _on_read(self, line: str) -> None:
        self._number += 1
        if self._held or self._link.queued > self._high_water:
            self._reader.pause()
            self._held.append((self._number, line))
        else:
            self._pass_on(self._number, line)

    def _pass_on(self, number: int, line: str) -> None:
        try:
            self._on_line(line)
        except SelchatError as error:
            self._run.fail(f"line {number}: {lines.not_sent(error)}")

    def _on_end(self) -> None:
        self._ended = True
        if not self._held:
            self._link.finish(await_answers=True)

    def _on_too_long(self, size: int) -> None:
        self._number += 1
        limit = f"it takes {size} bytes or more, and the limit is {self._limit}"
        self._run.fail(f"line {self._number}: not sent: {limit}")
