"""Standard streams of a command that are closed, full or broken.

Without this module, Python would end with a traceback if its output is full, write errors to standard output
if standard error is closed, and crash where a stream is None.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from selchat.errors import UsageError, close_reason

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

INTERRUPTED = 130  # the exit status that shells show after SIGINT
BROKEN_PIPE = 141  # the exit status that shells show after SIGPIPE


class OutputError(UsageError):
    """Standard output cannot be written; ``why``, in words."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"cannot write the output: {self.why}"


class _Output(io.RawIOBase):
    """Standard output. A failed write raises `OutputError` or BrokenPipeError once; then all is discarded."""

    def __init__(self, is_open: bool) -> None:
        self._is_open = is_open
        self._has_failed = False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1

    def isatty(self) -> bool:
        return os.isatty(1)

    def write(self, data: ReadableBuffer) -> int:
        if self._has_failed:
            return memoryview(data).nbytes
        try:
            if not self._is_open:
                raise OSError(errno.EBADF, "standard output is closed")
            return os.write(1, data)
        except BrokenPipeError:
            self._has_failed = True
            raise
        except OSError as error:
            self._has_failed = True
            raise OutputError(close_reason(error)) from error


class _ErrorOutput(io.RawIOBase):
    """Standard error. A failed write is ignored: the exit status still tells what happened."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2

    def isatty(self) -> bool:
        return os.isatty(2)

    def write(self, data: ReadableBuffer) -> int:
        try:
            return os.write(2, data)
        except OSError:
            return memoryview(data).nbytes


def ensure_standard_descriptors() -> None:
    """Open the null device in place of a closed standard input, output or error.

    Otherwise the first sockets of this process would get those descriptor numbers.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: this one


def prepare_streams() -> None:
    """Replace the three streams of ``sys`` by ones that are never None and never end in a traceback.

    Characters that the encoding of the output lacks are escaped. Only for the start of a process.
    """
    ensure_standard_descriptors()
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
    out, errors = sys.stdout, sys.stderr
    sys.stdout = _text(io.BufferedWriter(_Output(out is not None)), out, os.isatty(1))
    sys.stderr = _text(io.BufferedWriter(_ErrorOutput()), errors, line_buffering=True)


def _text(output: io.BufferedWriter, before: TextIO | None, line_buffering: bool) -> io.TextIOWrapper:
    encoding = "utf-8" if before is None else before.encoding
    return io.TextIOWrapper(output, encoding, "backslashreplace", line_buffering=line_buffering)


def run_command(run: Callable[[], int]) -> int:
    """Run a command, write its output, and return the exit status.

    Like other Unix programs, a command ends silently if the reader of its output has exited, or after Ctrl-C.
    Raises `OutputError` and the exceptions of ``run``.
    """
    try:
        try:
            status = run()
        except UsageError:  # more important than an output that cannot be written
            with contextlib.suppress(BrokenPipeError, OutputError):
                sys.stdout.flush()
            raise
        sys.stdout.flush()
    except BrokenPipeError:
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    return status
