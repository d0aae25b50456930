"""The terminal screen: final lines scroll up above the prompt, and pending messages stay directly above it.

It does not know the meaning of the lines. Any thread can pass lines to `Screen.show`; the thread of the
event loop draws them. A line above the prompt belongs to the terminal's scrollback and cannot change any
more, so the screen redraws everything that may still change together with the prompt.

This differs from prompt_toolkit's own ``patch_stdout``, which does the same for programs that print, in two
ways. ``patch_stdout`` passes lines to the loop of the current prompt, and loses a line that arrives while
Enter closes that prompt. It also returns the terminal to the kernel's echo for each line, so that a key
pressed at that moment appears inside a message. For the same reason there is one prompt for the whole chat,
and not one for each typed line.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from prompt_toolkit import Application, PromptSession
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.renderer import CPR_Support, print_formatted_text
from prompt_toolkit.styles import BaseStyle, DummyStyle, Style
from prompt_toolkit.utils import is_dumb_terminal

from selchat.client.terminal.style import DIM, PLAIN, Line, fit, plain
from selchat.limits import (
    AGEING_SECONDS,
    LATE_SECONDS,
    MAX_PENDING_ROWS,
    MAX_SCREEN_QUEUED,
    NEW_MESSAGE_SECONDS,
    REDRAW_SECONDS,
)

WAITING = "waiting for the server"


class PendingRow(NamedTuple):
    """A pending message, with its texts while it is ``new`` and afterwards (``old``)."""

    new: str
    old: str
    since: float  # on the monotonic clock


class Live(NamedTuple):
    """The part of the screen that may change: the prompt and the newest ``pending`` of ``total`` messages.

    ``since``: the time of the oldest of all of them. ``note``: the reason for waiting, if it is known.
    """

    prompt: str
    pending: tuple[PendingRow, ...] = ()
    total: int = 0
    since: float = 0.0  # on the monotonic clock
    note: str = ""


def is_capable(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the terminal supports cursor movement; a dumb one needs the plain interface."""
    return not is_dumb_terminal(environment.get("TERM", ""))


def prompt_session(environment: Mapping[str, str] = os.environ, **arguments: Any) -> PromptSession[str]:
    """Return a session without colours and without queries that wait for an answer of the terminal."""
    session: PromptSession[str] = PromptSession(style=_style(environment), **arguments)
    # A cursor position report would tell how many rows are free below the prompt. It may be slow (ssh) or
    # never come; without it, the completion menu makes its own room.
    session.app.renderer.cpr_support = CPR_Support.NOT_SUPPORTED
    return session


class Screen:
    """The prompt of a chat, with lines from any thread above it. Create it in the thread of ``loop``, which
    draws.

    Calls ``on_line`` in that thread with each typed line. ``late_seconds``: the age of a pending message at
    which the screen says that it waits for the server. ``max_queued``: the number of characters that may wait
    for a blocked terminal. ``arguments`` are for `PromptSession`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        live: Live,
        on_line: Callable[[str], object],
        *,
        late_seconds: float = LATE_SECONDS,
        max_queued: int = MAX_SCREEN_QUEUED,
        **arguments: Any,
    ) -> None:
        def accept(buffer: Buffer) -> bool:
            on_line(buffer.text)
            buffer.append_to_history()
            buffer.reset()
            buffer.load_history_if_not_yet_loaded()  # now, for an Up key before the next redraw
            return True

        self._session = prompt_session(
            message=self._render, key_bindings=_key_bindings(), erase_when_done=True, **arguments
        )
        self._session.default_buffer.accept_handler = accept
        self._password_session: PromptSession[str] | None = None  # while it is on the screen
        self._loop = loop
        self._closed = asyncio.Event()
        self._late_seconds = late_seconds
        self._max_queued = max_queued
        self._lock = threading.Lock()  # guards the attributes down to _flush_is_due
        self._lines: list[Line] = []
        self._size = 0  # characters of them
        self._dropped = 0  # lines
        self._next_live = live
        self._live = live  # on the screen: it changes together with the lines above it
        self._flush_is_due = False
        self._next_redraw = 0.0  # on the loop's clock

    async def run(self) -> bool:
        """Read typed lines until `close`, Ctrl-D or Ctrl-C; return whether it was Ctrl-C."""
        output = self._session.app.output
        try:
            # The default is a half-typed line, after a password.
            half_typed = self._session.default_buffer.document
            await self._session.prompt_async(pre_run=self._exit_if_closed, default=half_typed)
        except KeyboardInterrupt:
            return True
        except EOFError:
            return False
        finally:
            output.disable_bracketed_paste()
            output.flush()
        return False

    async def ask_password(self) -> str:
        """Ask after the end of `run`, which may run again afterwards.

        `close` and Ctrl-D raise EOFError, Ctrl-C KeyboardInterrupt.
        """
        self._closed.clear()
        self._password_session = session = prompt_session(is_password=True, erase_when_done=True)
        try:
            return await session.prompt_async("Password: ", pre_run=self._exit_if_closed)
        finally:
            self._password_session = None

    def close(self) -> None:
        """End `run`, even if it has not started. Call it in the thread of the loop."""
        self._closed.set()
        self._exit_if_closed()

    def show(self, lines: Iterable[Line], live: Live | None = None) -> None:
        """Show lines, and from then on ``live`` unless it is None. All texts must be safe for a terminal."""
        with self._lock:
            for line in lines:
                if self._size > self._max_queued:
                    self._dropped += 1
                    continue
                self._lines.append(line)
                self._size += sum(len(text) for _, text in line)
            self._next_live = live or self._next_live
            if self._flush_is_due:
                return
            self._flush_is_due = True
        self._loop.call_soon_threadsafe(self._schedule_flush)

    def flush(self) -> None:
        """Print the queued lines now. Call it in the thread of the loop."""
        with self._lock:
            lines, self._lines, self._size = self._lines, [], 0
            self._live = self._next_live
            self._flush_is_due = False
            if self._dropped:
                lines.append(
                    plain(f"({self._dropped} lines are not shown, because the terminal was blocked)")
                )
                self._dropped = 0
        app = self._app
        if app.is_running:
            # Otherwise erase() turns it off, and a paste at this moment becomes many lines.
            app.renderer._bracketed_paste_enabled = False
            app.renderer.erase()
        if lines:
            text: StyleAndTextTuples = [fragment for line in lines for fragment in (*line, (PLAIN, "\n"))]
            print_formatted_text(app.output, text, app.style or DummyStyle(), color_depth=app.color_depth)
        self._redraw()
        self._next_redraw = self._loop.time() + REDRAW_SECONDS

    # ----------------------------------------------------------------------------------------------------

    @property
    def _app(self) -> Application[str]:
        return (self._password_session or self._session).app

    def _exit_if_closed(self) -> None:
        app = self._app
        if self._closed.is_set() and app.future is not None and not app.future.done():
            app.exit(exception=EOFError)

    def _schedule_flush(self) -> None:
        self._loop.call_at(self._next_redraw, self.flush)

    def _redraw(self) -> None:
        """Draw the prompt, and again while the passing of time changes its look."""
        app, live = self._app, self._live
        if not app.is_running:
            return
        app.invalidate()
        now = time.monotonic()
        if live.pending and (
            now < live.pending[-1].since + NEW_MESSAGE_SECONDS or now < live.since + self._late_seconds
        ):
            self._loop.call_later(AGEING_SECONDS, self._redraw)

    def _render(self) -> StyleAndTextTuples:
        """Return the pending messages, one row each, and the prompt below them."""
        live, now = self._live, time.monotonic()
        size = self._session.app.output.get_size()
        is_late = live.pending and now >= live.since + self._late_seconds
        note = live.note or (WAITING if is_late else "")
        max_rows = max(1, min(MAX_PENDING_ROWS, size.rows // 3 - 1))
        rows: StyleAndTextTuples = []
        for message in live.pending[-max_rows:]:
            is_new = now < message.since + NEW_MESSAGE_SECONDS
            rows.append((PLAIN, message.new) if is_new else (DIM, message.old))
        hidden = live.total - len(rows)
        if hidden > 0:
            rows.insert(0, (DIM, f"… {hidden} more before these"))
        if note:
            rows.append((DIM, f"({note})"))
        above = [(style, f"{fit(text, size.columns)}\n") for style, text, *_ in rows]
        return [*above, (PLAIN, live.prompt)]


def _style(environment: Mapping[str, str]) -> BaseStyle:
    """Return a menu without colours, and dim and bold unless NO_COLOR or a dumb terminal forbids them."""
    plain_menu = {
        "completion-menu": "fg:default bg:default",
        "completion-menu.completion.current": "fg:default bg:default reverse",
        "scrollbar.background": "bg:default",
        "scrollbar.button": "bg:default reverse",
    }
    if environment.get("NO_COLOR") or not is_capable(environment):
        return Style.from_dict(plain_menu)
    return Style.from_dict({**plain_menu, "dim": "dim", "bold": "bold"})


def _key_bindings() -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("c-c")
    def _clear_or_exit(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt)

    return bindings
