"""Line input and output on standard descriptors, which never block the event loop.

Other processes, such as the shell, share these descriptors, so they stay in blocking mode. The reader reads
only when input is ready. The writer writes pieces that a ready descriptor accepts at once. It opens a
terminal a second time, because that gives a file description of our own.
"""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Callable

from selchat.limits import BACKGROUND_POLL_SECONDS, STDIO_PIPE, STDIO_READ
from selchat.net.reactor import EVENT_READ, EVENT_WRITE, Reactor, Timer

# POSIX can poll any descriptor, and has job control. Elsewhere the operator has no input, and output blocks.
POSIX = os.name == "posix" and hasattr(select, "poll")


class LineReader:
    """Calls ``on_line`` with each line, without its newline, and ``on_end`` once at the end of input.

    The last line needs no newline. Invalid UTF-8 is replaced. A line of more than ``limit`` bytes is
    discarded, and the reader calls ``on_too_long`` with its size so far.
    """

    def __init__(
        self,
        reactor: Reactor,
        descriptor: int,
        limit: int,
        *,
        on_line: Callable[[str], object],
        on_end: Callable[[], object],
        on_too_long: Callable[[int], object],
    ) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._limit = limit
        self._on_line = on_line
        self._on_end = on_end
        self._on_too_long = on_too_long
        self._rest = bytearray()  # an incomplete line
        self._skipping = False  # the rest of a line that is too long
        self._watched = False
        self._polled = True  # False for a file: selectors refuse it, and it never blocks
        self._timer: Timer | None = None
        self._ended = False
        try:
            self._is_terminal = os.isatty(descriptor)
            os.fstat(descriptor)
        except OSError:
            self._is_terminal = False
            self._timer = reactor.call_later(0, self._end)
            return
        self.resume()

    @property
    def hung_up(self) -> bool:
        """Return whether the input was a terminal that is gone now."""
        return self._is_terminal and not os.isatty(self._descriptor)

    def pause(self) -> None:
        """Stop reading until `resume`."""
        if self._watched:
            self._watched = False
            self._reactor.unwatch(self._descriptor)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def resume(self) -> None:
        """Continue reading."""
        if self._ended or self._watched or self._timer is not None:
            return
        if self._polled:
            try:
                self._reactor.watch(self._descriptor, EVENT_READ, self._ready)
                self._watched = True
                return
            except PermissionError:  # a file, or /dev/null
                self._polled = False
            except (OSError, ValueError):
                self._timer = self._reactor.call_later(0, self._end)
                return
        self._timer = self._reactor.call_later(0, self._read_file)

    def close(self) -> None:
        """Stop reading, without a call of ``on_end``."""
        self.pause()
        self._ended = True

    def _read_file(self) -> None:
        # Schedule the next read first, so that a `pause` or the end of input in this read cancels it.
        self._timer = self._reactor.call_later(0, self._read_file)
        self._ready(EVENT_READ)

    def _ready(self, _mask: int) -> None:
        if self._is_terminal and not self._in_foreground():
            # A read in the background would stop the process (SIGTTIN).
            self.pause()
            self._timer = self._reactor.call_later(BACKGROUND_POLL_SECONDS, self._try_resume)
            return
        try:
            data = os.read(self._descriptor, STDIO_READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""  # the terminal is gone
        if not data:
            self._end()
            return
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._append(line)
            self._emit()
            if self._ended:
                return
        self._append(rest)

    def _append(self, part: bytes) -> None:
        if self._skipping:
            return
        self._rest += part
        if len(self._rest) > self._limit:
            self._skipping = True
            self._on_too_long(len(self._rest))
            self._rest.clear()

    def _emit(self) -> None:
        if not self._skipping:
            line = self._rest.decode(errors="replace").removesuffix("\r")
            self._rest.clear()
            self._on_line(line)
        self._skipping = False

    def _end(self) -> None:
        if self._ended:
            return
        self.close()
        if self._rest:
            self._emit()
        self._on_end()

    def _try_resume(self) -> None:
        self._timer = None
        self.resume()

    def _in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._descriptor) == os.getpgrp()
        except OSError:
            return True  # the read will raise the error


class LineWriter:
    """Writes lines when the descriptor is ready, and never blocks.

    At most ``limit`` bytes wait. The writer drops and counts further lines; when there is room again, it
    writes the line that ``on_dropped(count)`` returns. It discards lines once the reader of a pipe is gone,
    or after another ``error``.
    """

    def __init__(
        self, reactor: Reactor, descriptor: int, limit: int, on_dropped: Callable[[int], str]
    ) -> None:
        self._reactor = reactor
        self._limit = limit
        self._on_dropped = on_dropped
        self._queue = bytearray()
        self._dropped = 0
        self._flush_due = False
        self._watched = False
        self._own = _own_terminal(descriptor)
        self._descriptor = descriptor if self._own is None else self._own
        self._piece = STDIO_PIPE
        self._poll = None
        self.open = True
        self.error: OSError | None = None
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode) or self._own is not None:
                self._piece = STDIO_READ
        except OSError:
            self.open = False
            return
        if POSIX:
            self._piece = max(self._piece, getattr(select, "PIPE_BUF", STDIO_PIPE))
            self._poll = select.poll()
            self._poll.register(self._descriptor, select.POLLOUT)

    def write(self, line: str) -> None:
        """Write the line and a newline soon after this callback."""
        if not self.open:
            return
        if len(self._queue) > self._limit:
            self._dropped += 1
            return
        if self._dropped:
            line, self._dropped = f"{self._on_dropped(self._dropped)}\n{line}", 0
        self._queue += line.encode(errors="replace") + b"\n"
        if not self._flush_due and not self._watched:
            self._flush_due = True
            self._reactor.call_later(0, self._flush)

    def close(self, within: float) -> None:
        """Write the queued lines, for at most ``within`` seconds."""
        while self._queue and self._poll is not None and self._poll.poll(within * 1000):
            self._write_ready()
            within /= 2
        self._queue.clear()  # a flush may be due, and another file may soon get this descriptor
        self._unwatch()
        self.open = False
        if self._own is not None:
            os.close(self._own)
            self._own = None

    def _flush(self) -> None:
        self._flush_due = False
        self._write_ready()
        if not self._queue:
            self._unwatch()
            if self._dropped:
                count, self._dropped = self._dropped, 0
                self.write(self._on_dropped(count))
        elif not self._watched:
            self._watched = True
            self._reactor.watch(self._descriptor, EVENT_WRITE, lambda _mask: self._flush())

    def _write_ready(self) -> None:
        while self._queue and (self._poll is None or self._poll.poll(0)):
            try:
                written = os.write(self._descriptor, self._queue[: self._piece])
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._queue.clear()
                self.open = False
                self.error = error
                return
            del self._queue[:written]

    def _unwatch(self) -> None:
        if self._watched:
            self._watched = False
            self._reactor.unwatch(self._descriptor)


def _own_terminal(descriptor: int) -> int | None:
    """Open the descriptor's terminal again, non-blocking; None if it is no terminal or cannot be opened."""
    if not POSIX:
        return None
    try:
        return os.open(os.ttyname(descriptor), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        return None
