"""The lower end of the terminal: lines go up above the prompt, and what waits for the server is between them.

It must not know what the lines say. Whoever has some gives them to `Screen.show`, from any thread; the thread
that runs the loop draws. What was drawn above the prompt is the terminal's and cannot be changed any more,
and so what may still change is drawn with the prompt, each time anew.

Two things differ from prompt_toolkit's own ``patch_stdout``, which does the same for programs that print:
it hands lines to the loop of the prompt that is shown at that moment, and loses one that comes just while
Enter is closing it; and it gives the terminal back to the echo of the kernel for each line, so that a key
pressed in that instant lands in the middle of a message. For the same reason there is one prompt for the
whole chat, and not one for each line that is typed.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from prompt_toolkit import PromptSession
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.renderer import CPR_Support, print_formatted_text
from prompt_toolkit.styles import BaseStyle, DummyStyle, Style
from prompt_toolkit.utils import is_dumb_terminal

from selchat.client.terminal.style import DIM, PLAIN, Line, fit, plain
from selchat.config.settings import MIB

_REDRAW_SECONDS = 0.03  # between two redraws of the prompt, at least, when many messages come
_AGEING_SECONDS = 0.1  # between two looks at how long something has been waiting
_MAX_WAITING = 4 * MIB  # characters of lines for a terminal that takes none, as after Ctrl-S
_NEW_SECONDS = 0.3  # in which a message looks as it will stay: on a LAN its ack comes long before
_LATE_SECONDS = 3.0  # after which it is said what is being waited for
_MAX_ROWS = 5  # of what waits, and never more than a third of the screen
WAITING = "waiting for the server"


class Waiting(NamedTuple):
    """A message that waits ``since`` then: how it looks when it is ``new``, and when it is not."""

    new: str
    old: str
    since: float  # on the monotonic clock


class Live(NamedTuple):
    """What is drawn with the prompt. ``total`` messages wait, the last ones of which are ``waiting``.

    ``since``: when the first of all of them began to; ``note``: why they wait, if that is known.
    """

    prompt: str
    waiting: tuple[Waiting, ...] = ()
    total: int = 0
    since: float = 0.0  # on the monotonic clock
    note: str = ""


def is_capable(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the terminal can do what this takes, or else is better off with plain lines."""
    return not is_dumb_terminal(environment.get("TERM", ""))


def prompt_session(environment: Mapping[str, str] = os.environ, **arguments: Any) -> PromptSession[str]:
    """Return a session with nothing in it that waits for the terminal's answers, and that has no colours."""
    session: PromptSession[str] = PromptSession(style=_style(environment), **arguments)
    # The answer tells how many rows are free below the prompt. Without it, nothing has to wait for an
    # answer that may take a while (ssh) or never come, and the menu of completions makes its own room.
    session.app.renderer.cpr_support = CPR_Support.NOT_SUPPORTED
    return session


class Screen:
    """The prompt of a chat, and lines from any thread above it. Made and drawn by the thread of ``loop``.

    ``on_line`` is called there with each line that is typed, and `PromptSession` gets the ``arguments``.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        live: Live,
        on_line: Callable[[str], object],
        **arguments: Any,
    ) -> None:
        def accept(buffer: Buffer) -> bool:
            on_line(buffer.text)
            buffer.append_to_history()
            buffer.reset()
            buffer.load_history_if_not_yet_loaded()  # now, for a key up that comes before the next redraw
            return True

        self._session = prompt_session(
            message=self._drawn, key_bindings=_key_bindings(), erase_when_done=True, **arguments
        )
        self._session.default_buffer.accept_handler = accept
        self._loop = loop
        self._closed = asyncio.Event()
        self._lock = threading.Lock()  # for the five below
        self._lines: list[Line] = []
        self._size = 0  # characters of them
        self._dropped = 0  # lines
        self._next_live = live
        self._live = live  # as it is drawn: it changes together with the lines above it
        self._flush_is_due = False
        self._next_redraw = 0.0  # on the loop's clock

    async def run(self) -> None:
        """Take lines until `close`, Ctrl-D or Ctrl-C."""
        output = self._session.app.output
        try:
            await self._session.prompt_async(pre_run=self._exit_if_closed)
        except (EOFError, KeyboardInterrupt):
            pass
        finally:
            output.disable_bracketed_paste()
            output.flush()

    def close(self) -> None:
        """End `run`, even if it has not begun; for the loop's thread."""
        self._closed.set()
        self._exit_if_closed()

    def show(self, lines: Iterable[Line], live: Live | None = None) -> None:
        """Have lines shown, and from then on ``live`` if it is given. All texts are safe for a terminal."""
        with self._lock:
            for line in lines:
                if self._size > _MAX_WAITING:
                    self._dropped += 1
                    continue
                self._lines.append(line)
                self._size += sum(len(text) for _, text in line)
            self._next_live = live or self._next_live
            if self._flush_is_due:
                return
            self._flush_is_due = True
        self._loop.call_soon_threadsafe(self._flush_in_time)

    def flush(self) -> None:
        """Print what is waiting, now; for the loop's thread."""
        with self._lock:
            lines, self._lines, self._size = self._lines, [], 0
            self._live = self._next_live
            self._flush_is_due = False
            if self._dropped:
                lines.append(
                    plain(f"({self._dropped} lines are not shown, because the terminal was held up)")
                )
                self._dropped = 0
        app = self._session.app
        if app.is_running:
            # Else erase() would turn it off, and a paste that begins just now would be many lines.
            app.renderer._bracketed_paste_enabled = False
            app.renderer.erase()
        if lines:
            text: StyleAndTextTuples = [fragment for line in lines for fragment in (*line, (PLAIN, "\n"))]
            print_formatted_text(app.output, text, app.style or DummyStyle(), color_depth=app.color_depth)
        self._redraw()
        self._next_redraw = self._loop.time() + _REDRAW_SECONDS

    # ----------------------------------------------------------------------------------------------------

    def _exit_if_closed(self) -> None:
        app = self._session.app
        if self._closed.is_set() and app.future is not None and not app.future.done():
            app.exit(exception=EOFError)

    def _flush_in_time(self) -> None:
        self._loop.call_at(self._next_redraw, self.flush)

    def _redraw(self) -> None:
        """Draw the prompt, and again as long as time alone changes how it looks."""
        app, live = self._session.app, self._live
        if not app.is_running:
            return
        app.invalidate()
        now = time.monotonic()
        if live.waiting and (now < live.waiting[-1].since + _NEW_SECONDS or now < live.since + _LATE_SECONDS):
            self._loop.call_later(_AGEING_SECONDS, self._redraw)

    def _drawn(self) -> StyleAndTextTuples:
        """Return what waits, one row each, and below it the prompt."""
        live, now = self._live, time.monotonic()
        size = self._session.app.output.get_size()
        note = live.note or (WAITING if live.waiting and now >= live.since + _LATE_SECONDS else "")
        most = max(1, min(_MAX_ROWS, size.rows // 3 - 1))
        rows: StyleAndTextTuples = []
        for waiting in live.waiting[-most:]:
            is_new = now < waiting.since + _NEW_SECONDS
            rows.append((PLAIN, waiting.new) if is_new else (DIM, waiting.old))
        hidden = live.total - len(rows)
        if hidden > 0:
            rows.insert(0, (DIM, f"… {hidden} more before these"))
        if note:
            rows.append((DIM, f"({note})"))
        above = [(style, f"{fit(text, size.columns)}\n") for style, text, *_ in rows]
        return [*above, (PLAIN, live.prompt)]


def _style(environment: Mapping[str, str]) -> BaseStyle:
    """Return dim and bold, or neither where that is not wanted, and a menu without colours."""
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
    def _clear_or_leave(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt)

    return bindings
