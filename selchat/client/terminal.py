"""The terminal interface: messages appear above the prompt, and a half-typed line stays whole below them.

Two threads. The main one has prompt_toolkit and everything that is shown, on one asyncio loop; the other has
the reactor with the link. They meet in two places only: what is typed goes through `Reactor.call_soon`,
and lines to be shown go through `Screen.show`.

Two things differ from prompt_toolkit's own ``patch_stdout``, which does the same for programs that print:
it hands lines to the loop of the prompt that is shown at that moment, and loses one that comes just while
Enter is closing it; and it gives the terminal back to the echo of the kernel for each line, so that a key
pressed in that instant lands in the middle of a message.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import signal
import threading
import traceback
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.renderer import CPR_Support

from selchat.client import lines
from selchat.client.core import Message
from selchat.client.lines import Typed
from selchat.client.link import Jitter, Link, LinkState
from selchat.errors import SelchatError
from selchat.net.reactor import Reactor
from selchat.settings import MIB, ClientSettings

PROMPT = "You >> "
_REDRAW_SECONDS = 0.03  # between two redraws of the prompt, at least, when many messages come
_MOST_WAITING = 4 * MIB  # characters of lines for a terminal that takes none, as after Ctrl-S
_LEAVING_SECONDS = 0.3  # for the server to close, once it has all that was said
_PATIENCE = 2.0  # seconds of leaving before it is said what is being waited for
_ROSTER_ROWS = 2  # of the screen, at most, for a roster that nobody has asked for


def ask(question: str) -> str:
    """Ask with line editing. EOFError: Ctrl-D; KeyboardInterrupt: Ctrl-C."""
    return _prompt_session().prompt(question)


def _prompt_session(**arguments: Any) -> PromptSession[str]:
    session: PromptSession[str] = PromptSession(**arguments)
    # The answer tells how many rows are free below the prompt. Without it, nothing has to wait for an
    # answer that may take a while (ssh) or never come, and the menu of completions makes its own room.
    session.app.renderer.cpr_support = CPR_Support.NOT_SUPPORTED
    return session


class Screen:
    """Lines from any thread, printed above the prompt by the one that runs the loop."""

    def __init__(self, session: PromptSession[str], loop: asyncio.AbstractEventLoop) -> None:
        self._app = session.app
        self._loop = loop
        self._lock = threading.Lock()  # for the three below
        self._waiting: list[str] = []
        self._size = 0  # characters waiting
        self._dropped = 0  # lines
        self._next_redraw = 0.0  # on the loop's clock

    def show(self, line: str) -> None:
        """Have a line shown that is safe for a terminal."""
        with self._lock:
            if self._size > _MOST_WAITING:
                self._dropped += 1
                return
            self._waiting.append(line)
            self._size += len(line)
            if len(self._waiting) > 1:
                return  # the flush is on its way already
        self._loop.call_soon_threadsafe(self._flush_in_time)

    def flush(self) -> None:
        """Print what is waiting, now; for the loop's thread."""
        with self._lock:
            waiting, self._waiting, self._size = self._waiting, [], 0
            if self._dropped:
                waiting.append(f"({self._dropped} lines are not shown, because the terminal was held up)")
                self._dropped = 0
        if not waiting:
            return
        app = self._app
        if app.is_running:
            app.renderer.erase()
        app.output.write("".join(f"{line}\n" for line in waiting))
        app.output.flush()
        app.invalidate()
        self._next_redraw = self._loop.time() + _REDRAW_SECONDS

    def _flush_in_time(self) -> None:
        self._loop.call_at(self._next_redraw, self.flush)


class TerminalChat:
    """One chat on the terminal: an `Interface` for its link. Raises what `Link` does."""

    def __init__(self, settings: ClientSettings, *, jitter: Jitter = random.uniform) -> None:
        self._reactor = Reactor(self._broken)
        # A script waits for the server's objections; someone who leaves wants the shell.
        settings = replace(settings, drain_seconds=_LEAVING_SECONDS)
        self._link = Link(self._reactor, settings, self, jitter=jitter)
        self._session = _prompt_session(
            message=PROMPT,
            completer=Completions(lambda: self._link.client.names),
            complete_while_typing=False,
            enable_suspend=True,
            key_bindings=_key_bindings(),
        )
        self._outage = lines.Outage()
        self._exit_status = 0

    def run(self) -> int:
        """Chat until ``/quit``, Ctrl-D, or Ctrl-C on an empty line; return the exit status."""
        try:
            asyncio.run(self._chat())
        except KeyboardInterrupt:
            return 130  # as shells report a process that SIGINT has ended
        finally:
            self._reactor.close()
        return self._exit_status

    # -- the main thread -------------------------------------------------------------------------------

    async def _chat(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._screen = Screen(self._session, self._loop)
        self._started = asyncio.Event()  # connected for the first time, or finished
        self._finished = asyncio.Event()
        with contextlib.suppress(NotImplementedError):  # POSIX only
            self._loop.add_signal_handler(signal.SIGTERM, self._terminated)
        thread = threading.Thread(target=self._reactor.run, name="link")
        self._reactor.call_soon(self._link.open)
        thread.start()
        try:
            await self._started.wait()
            if not self._finished.is_set():
                await self._talk()
                self._reactor.call_soon(self._link.finish)
                await self._wait_for_the_end()
        finally:
            self._reactor.call_soon(self._stop)
            thread.join()  # the last who could hand something to this loop
            self._screen.flush()

    async def _talk(self) -> None:
        while True:
            try:
                line = await self._session.prompt_async()
            except (EOFError, KeyboardInterrupt):
                return
            try:
                asked, text = lines.parse(line.strip("\n"))
            except SelchatError as error:
                self._screen.show(lines.safe(str(error)))
                continue
            if asked is Typed.QUIT:
                return
            if asked is Typed.HELP:
                for line in lines.HELP:
                    self._screen.show(line)
            elif asked is Typed.USERS:
                self._reactor.call_soon(self._show_users)
            elif text.strip():
                self._reactor.call_soon(self._say, text)

    async def _wait_for_the_end(self) -> None:
        try:
            await asyncio.wait_for(self._finished.wait(), _PATIENCE)
        except TimeoutError:
            self._screen.show(f"{self._link.progress or 'Leaving...'} Ctrl-C leaves at once.")
            await self._finished.wait()

    # -- the reactor's thread --------------------------------------------------------------------------

    def connected(self, address: str) -> None:
        self._outage.end()
        self._screen.show(lines.connected(address))
        self._loop.call_soon_threadsafe(self._started.set)

    def received(self, messages: list[Message]) -> None:
        for message in messages:
            line = lines.shown(message)
            if lines.is_roster(message):
                room = _ROSTER_ROWS * shutil.get_terminal_size().columns
                line = line if len(line) <= room else f"{line[: room - 1]}…"
            self._screen.show(line)

    def lost(self, reason: str, delay: float) -> None:
        line = self._outage.line(reason, delay)
        if line is not None:
            self._screen.show(line)

    def drained(self) -> None:
        pass  # nobody types faster than that

    def finished(self, problem: str | None) -> None:
        if problem is not None:
            self._screen.show(f"selchat: {lines.safe(problem)}")
            self._exit_status = 1
        self._end()

    def _say(self, text: str) -> None:
        try:
            self._link.say(text)
        except SelchatError as error:
            self._screen.show(f"This was {lines.refusal(error)}.")
            return
        if self._link.state is not LinkState.ONLINE:
            self._screen.show("Not connected now: this is kept, and sent when the server is back.")

    def _show_users(self) -> None:
        self._screen.show(lines.users(self._link.client))

    def _stop(self) -> None:
        self._link.close()
        self._reactor.stop()

    def _broken(self, where: str, error: Exception) -> None:
        for line in traceback.format_exception(error):
            self._screen.show(lines.safe(f"selchat: internal error in {where}: {line}"))
        self._exit_status = 1
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._ended)

    # -- the main thread again -------------------------------------------------------------------------

    def _terminated(self) -> None:
        self._exit_status = 128 + signal.SIGTERM  # as shells report a process that it has ended
        self._ended()

    def _ended(self) -> None:
        self._finished.set()
        self._started.set()
        if self._session.app.is_running:
            self._session.app.exit(exception=EOFError)


class Completions(Completer):
    """Completes commands at the beginning of a line, and names everywhere; ``names`` gives these."""

    def __init__(self, names: Callable[[], Iterable[str]]) -> None:
        self._names = names

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        before = document.text_before_cursor
        word = before.rpartition(" ")[2].rpartition("\n")[2]
        if before.startswith("/") and word == before:
            yield from (
                Completion(command, -len(word)) for command in lines.COMMANDS if command.startswith(word)
            )
        elif word:
            start = word.casefold()
            for name in map(lines.safe, self._names()):
                if name.casefold().startswith(start):
                    yield Completion(name, -len(word))


def _key_bindings() -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("c-c")
    def _clear_or_leave(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt)

    return bindings
