"""What the two programs without a screen share: a run on one reactor, and input that waits for the link.

``selchat send`` and the plain chat are each a few callbacks around these.
"""

from __future__ import annotations

import signal
import traceback
from collections import deque
from collections.abc import Callable

from selchat.client import lines
from selchat.client.connection.link import Link
from selchat.config.settings import MIB, ClientSettings
from selchat.errors import SelchatError
from selchat.net.reactor import Reactor
from selchat.net.stdio import LineReader, LineWriter

_STATUS_LIMIT = MIB  # bytes of lines that wait for standard error
_CLOSE_SECONDS = 5.0  # for the last of them to be taken


class Run:
    """A reactor, lines on standard error, and the exit status."""

    def __init__(self, stderr: int = 2) -> None:
        self.reactor = Reactor(self._broken)
        self._status = LineWriter(
            self.reactor, stderr, _STATUS_LIMIT, lambda count: f"({count} lines are not shown)"
        )
        self._exit_status = 0

    def tell(self, line: str) -> None:
        """Show a line that is safe for a terminal."""
        self._status.write(line)

    def fail(self, why: str) -> None:
        """Show why the exit status will be 1."""
        self._status.write(f"selchat: {lines.safe(why)}")
        self._exit_status = 1

    def stop(self) -> None:
        """End the run after this tick."""
        self.reactor.stop()

    def until_stopped(self, close: Callable[[], object]) -> int:
        """Run until `stop` or SIGINT, call ``close``, give everything back and return the exit status."""
        self.reactor.on_signal(signal.SIGINT, self._interrupted)
        try:
            self.reactor.run()
        finally:
            close()
            self._status.close(within=_CLOSE_SECONDS)
            self.reactor.close()
        return self._exit_status

    def _interrupted(self) -> None:
        self._exit_status = 128 + signal.SIGINT  # as shells report a process that SIGINT has ended
        self.stop()

    def _broken(self, where: str, error: Exception) -> None:
        self._status.write(f"selchat: internal error in {where}")
        self._status.write("".join(traceback.format_exception(error)))
        self._exit_status = 1
        self.stop()


class Input:
    """Gives each line of a descriptor to ``take``, no faster than the link gets rid of what that says.

    A line that ``take`` raises `SelchatError` for is refused with its number, and the next one is taken.
    """

    def __init__(
        self, run: Run, settings: ClientSettings, link: Link, descriptor: int, take: Callable[[str], object]
    ) -> None:
        self._run = run
        self._link = link
        self._take = take
        self._limit = settings.payload_limit
        self._high_water = settings.queue_limit // 4  # bytes; one read of short lines can add as many
        self._number = 0
        self._held: deque[tuple[int, str]] = deque()  # what was read of it when the link had enough
        self._ended = False
        self._reader = LineReader(
            run.reactor,
            descriptor,
            self._limit,
            on_line=self._line,
            on_end=self._end,
            on_too_long=self._too_long,
        )

    def pause(self) -> None:
        """Take nothing until `resume`."""
        self._reader.pause()

    def resume(self) -> None:
        """Go on, as there is room in the link's queue again."""
        while self._held and self._link.queued <= self._high_water:
            self._give(*self._held.popleft())
        if self._held:
            return
        if self._ended:
            self._link.finish()
        else:
            self._reader.resume()

    def close(self) -> None:
        """Take no more."""
        self._held.clear()
        self._reader.close()

    def _line(self, line: str) -> None:
        self._number += 1
        if self._held or self._link.queued > self._high_water:
            self._reader.pause()
            self._held.append((self._number, line))
        else:
            self._give(self._number, line)

    def _give(self, number: int, line: str) -> None:
        try:
            self._take(line)
        except SelchatError as error:
            self._run.fail(f"line {number}: {lines.refusal(error)}")

    def _end(self) -> None:
        self._ended = True
        if not self._held:
            self._link.finish()

    def _too_long(self, size: int) -> None:
        self._number += 1
        self._run.fail(f"line {self._number}: not sent: {size} bytes or more, and the limit is {self._limit}")
