"""Keys that the user types while no prompt is open: hide and discard them.

A user who expects a password prompt types on while the program waits. Without this, the shell would show the
password and run it as a command, or the chat would send it to everyone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

try:
    import termios  # POSIX only
except ImportError:  # pragma: no cover
    termios = None  # type: ignore[assignment]


def discard_typeahead() -> None:
    """Discard what the user has typed on the terminal and no program has read."""
    with _terminal() as descriptor:
        if descriptor is not None:
            with suppress(termios.error):
                termios.tcflush(descriptor, termios.TCIFLUSH)


def wait_hidden(seconds: float) -> None:
    """Wait; hide and discard what the user types meanwhile. Ctrl-C raises KeyboardInterrupt as ever."""
    with _terminal() as descriptor:
        try:
            before = None if descriptor is None else termios.tcgetattr(descriptor)
        except termios.error:
            before = None
        if descriptor is None or before is None:
            time.sleep(seconds)
            return
        hidden = before[:]
        hidden[3] &= ~termios.ECHO
        try:
            termios.tcsetattr(descriptor, termios.TCSAFLUSH, hidden)
            time.sleep(seconds)
        finally:
            termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)  # discards the input, too


@contextmanager
def _terminal() -> Iterator[int | None]:
    """Open the terminal of this process; None: it has none, or this system has no terminals."""
    try:
        descriptor = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY) if termios is not None else None
    except OSError:
        descriptor = None
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)
