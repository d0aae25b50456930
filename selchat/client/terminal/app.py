"""Terminal chat: messages appear above the prompt, and a half-typed line stays intact below them.

Two threads. The main thread runs prompt_toolkit and draws, on an asyncio loop. The link thread runs the
reactor with the link, and has the state of the chat. Typed lines cross over through `Reactor.call_soon`, and
lines to draw through `Screen.show`; there is no other contact.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import threading
import traceback
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from selchat.auth.password import checked_password
from selchat.client import lines
from selchat.client.commands import CommandKind
from selchat.client.connection.link import Jitter
from selchat.client.events import ClientEvent, Refused
from selchat.client.setup import is_about_name, is_about_password
from selchat.client.terminal import style
from selchat.client.terminal.completion import Candidates, ChatCompleter
from selchat.client.terminal.pending import ReportingLink
from selchat.client.terminal.screen import Live, Screen, prompt_session
from selchat.client.terminal.style import Line
from selchat.client.terminal.transcript import Transcript
from selchat.client.typeahead import discard_typeahead
from selchat.config.settings import ClientSettings
from selchat.errors import SelchatError, SettingError
from selchat.limits import TERMINAL_DRAIN_SECONDS
from selchat.net.reactor import Reactor

T = TypeVar("T")

_INTERRUPTED = 128 + signal.SIGINT  # as shells report it


def ask(question: str) -> str:
    """Ask with line editing. Ctrl-D raises EOFError, Ctrl-C KeyboardInterrupt."""
    return _run(prompt_session().prompt_async(question))


def _run(main: Coroutine[Any, Any, T]) -> T:
    """Run the coroutine as `asyncio.run` does, but ignore a Ctrl-C after its end."""

    async def main_and_ignore() -> T:
        try:
            return await main
        finally:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # asyncio cleans up now, and would print tracebacks

    before = signal.getsignal(signal.SIGINT)
    try:
        return asyncio.run(main_and_ignore())
    finally:
        signal.signal(signal.SIGINT, before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """Seconds that the user waits for something on the screen."""

    progress_seconds: float = 2.0
    """The time of leaving before the screen says why it takes so long."""
    rooms_seconds: float = 1.0
    """The time for the server to list its rooms after Tab."""


class TerminalChat:
    """A chat on the terminal. If the server refuses the name, ask for another one.

    A `Program`. Raises the exceptions of `Link`.
    """

    def __init__(
        self, settings: ClientSettings, *, jitter: Jitter = random.uniform, waits: Waits = Waits()
    ) -> None:
        self._settings = settings
        self._jitter = jitter
        self._waits = waits
        self._session = TerminalSession(settings, jitter, waits)

    @property
    def password_refusal(self) -> Refused | None:
        return self._session.password_refusal

    def run(self) -> int:
        """Chat until ``/quit``, Ctrl-D, or Ctrl-C on an empty line; return the exit status."""
        try:
            status = self._session.run()
            while self._session.needs_name:
                self._ask_for_another_name()
                status = self._session.run()
        except KeyboardInterrupt:
            return _INTERRUPTED
        except EOFError:
            return 1
        return status

    def _ask_for_another_name(self) -> None:
        """Ask until the name is valid."""
        while True:
            name = ask("Username: ").strip()
            try:
                settings = replace(self._settings, name=name)
                self._session = TerminalSession(settings, self._jitter, self._waits)
            except SelchatError as error:
                print(lines.safe(str(error)))
            else:
                return


class TerminalSession:
    """One chat under one name: an `Interface` for its link. Raises the exceptions of `Link`.

    ``needs_name``: the server refused the name. ``password_refusal``: the server refused the password.
    """

    def __init__(self, settings: ClientSettings, jitter: Jitter, waits: Waits) -> None:
        self._reactor = Reactor(self._on_internal_error)
        self._waits = waits
        # A script waits for late refusals; a person who leaves wants the shell.
        settings = replace(settings, drain_seconds=TERMINAL_DRAIN_SECONDS)
        self._lines: list[Line] = []  # for the screen, at the end of this call from the link
        try:
            self._link = ReportingLink(
                self._reactor,
                settings,
                self,
                self._on_sent,
                jitter=jitter,
                ask_password=self._on_password_asked,
            )
        except BaseException:
            self._reactor.close()
            raise
        self._transcript = Transcript(self._link, settings.name, settings.room, self._lines.append)
        self._is_encrypted = bool(settings.passphrase)
        self._has_password = bool(settings.password)
        self._outage = lines.Outage()
        self._exit_status = 0
        self.needs_name = False
        self.password_refusal: Refused | None = None
        self._asks_password = False

    def run(self) -> int:
        """Chat until the user leaves; return the exit status."""
        try:
            _run(self._chat())
        finally:
            self._reactor.close()
        return self._exit_status

    # -- the main thread -------------------------------------------------------------------------------

    async def _chat(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._screen = Screen(
            self._loop,
            Live(""),
            lambda line: self._reactor.call_soon(self._on_line, line.strip("\n")),
            completer=ChatCompleter(self._look_up),
            complete_while_typing=False,
            enable_suspend=True,
        )
        self._started = asyncio.Event()  # connected for the first time, or finished
        self._finished = asyncio.Event()
        self._watch_signals()
        thread = threading.Thread(target=self._reactor.run, name="link")
        self._reactor.call_soon(self._link.open)
        thread.start()
        try:
            await self._started.wait()
            if not self._finished.is_set():
                if await self._run_screen():
                    self._exit_status = _INTERRUPTED
                self._watch_signals()  # again: prompt_toolkit has replaced the handler of SIGINT
                self._reactor.call_soon(self._link.finish)
                await self._wait_until_finished()
        finally:
            self._reactor.call_soon(self._stop)
            thread.join()  # after this, no other thread calls this loop
            self._screen.flush()

    async def _run_screen(self) -> bool:
        """Show the chat, and in between the question for a password; return whether Ctrl-C ended it."""
        is_interrupted = await self._screen.run()
        while self._asks_password:
            self._asks_password = False
            try:
                password = checked_password(await self._screen.ask_password())
            except SettingError as error:
                self._asks_password = True
                self._screen.show([style.plain(f"That is not {error.expected}.")])
                continue
            except EOFError:
                return False
            except KeyboardInterrupt:
                return True
            self._reactor.call_soon(self._link.set_password, password)
            is_interrupted = await self._screen.run()
        return is_interrupted

    async def _wait_until_finished(self) -> None:
        try:
            await asyncio.wait_for(self._finished.wait(), self._waits.progress_seconds)
        except TimeoutError:
            progress = self._link.progress or "Disconnecting..."
            self._screen.show([style.plain(f"{progress} Press Ctrl-C to quit now.")])
            await self._finished.wait()

    async def _look_up(self, rooms: bool) -> Candidates:
        answer: Future[Candidates] = Future()
        self._reactor.call_soon(self._transcript.room_names.look_up, rooms, answer)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(answer), self._waits.rooms_seconds)
        except TimeoutError:
            return Candidates()

    # -- the link thread -------------------------------------------------------------------------------

    def connected(self, address: str) -> None:
        self._outage.end()
        if self._has_password and not self._started.is_set():
            # The user may have typed on at the question for the password. What they type after the next line
            # is for the chat.
            discard_typeahead()
        self._show(lines.connected(address, encrypted=self._is_encrypted))
        self._loop.call_soon_threadsafe(self._started.set)

    def received(self, events: list[ClientEvent]) -> None:
        self._transcript.receive(events)
        self._draw()

    def lost(self, reason: str, delay: float) -> None:
        self._transcript.connection_lost()
        line = self._outage.line(reason, delay)
        self._draw() if line is None else self._show(line)

    def drained(self) -> None:
        pass  # a person does not type faster than the link sends

    def finished(self, problem: str | None) -> None:
        refusal = self._link.refusal
        if refusal is not None and is_about_name(refusal):
            self.needs_name = True
            self._show(f"{style.sentence(lines.refused(refusal))}.")
        elif is_about_password(refusal):
            self.password_refusal = refusal
        elif problem is not None:
            self._show(f"selchat: {lines.safe(problem)}")
        self._exit_status = 1 if problem is not None else self._exit_status
        self._end()

    def _on_password_asked(self, refusal: Refused) -> None:
        self._show(f"The server said: {lines.safe(refusal.text)}.")
        self._loop.call_soon_threadsafe(self._ask_password)

    def _on_line(self, line: str) -> None:
        if self._transcript.run(line) is CommandKind.QUIT:
            self._loop.call_soon_threadsafe(self._screen.close)
        self._draw()

    def _on_sent(self, id: str, room: str, to: str, body: str) -> None:
        self._transcript.message_sent(id, room, to, body)

    def _stop(self) -> None:
        self._link.close()
        self._reactor.stop()

    def _on_internal_error(self, place: str, error: Exception) -> None:
        for line in traceback.format_exception(error):
            self._show(lines.safe(f"selchat: internal error in {place}: {line}"))
        self._exit_status = 1
        self._end()

    def _show(self, text: str) -> None:
        self._lines.append(style.plain(text))
        self._draw()

    def _draw(self) -> None:
        """Pass the new lines to the screen, together with the pending messages that are left."""
        shown = self._lines[:]
        self._lines.clear()
        self._screen.show(shown, self._transcript.live())

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._on_end)

    # -- the main thread again -------------------------------------------------------------------------

    def _watch_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # POSIX only
                self._loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: int) -> None:
        self._exit_status = 128 + number  # as shells report a process that this signal ended
        self._on_end()

    def _ask_password(self) -> None:
        self._asks_password = True
        self._screen.close()

    def _on_end(self) -> None:
        self._asks_password = False
        self._finished.set()
        self._started.set()
        self._screen.close()
