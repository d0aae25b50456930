"""The terminal interface: messages appear above the prompt, and a half-typed line stays whole below them.

Two threads. The main one has prompt_toolkit and everything that is drawn, on one asyncio loop; the other has
the reactor with the link, and all that is known of the chat. They meet in two places only: what is typed goes
through `Reactor.call_soon`, and what is to be drawn goes through `Screen.show`.
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
from dataclasses import replace
from typing import Any, TypeVar

from selchat.client import lines
from selchat.client.connection.link import Jitter
from selchat.client.events import ClientEvent, Refused
from selchat.client.lines import Typed
from selchat.client.password import is_about_password
from selchat.client.terminal import style as look
from selchat.client.terminal.completion import Completions, Known
from selchat.client.terminal.pending import TalkingLink
from selchat.client.terminal.screen import Live, Screen, prompt_session
from selchat.client.terminal.style import Line
from selchat.client.terminal.transcript import Transcript
from selchat.config.settings import ClientSettings
from selchat.errors import SelchatError
from selchat.net.reactor import Reactor

T = TypeVar("T")

_LEAVING_SECONDS = 0.3  # for the server to close, once it has all that was said
_PATIENCE = 2.0  # seconds of leaving before it is said what is being waited for
_ROOMS_SECONDS = 1.0  # for the server to say which rooms there are, when Tab is pressed
_INTERRUPTED = 128 + signal.SIGINT  # as shells report it
_OTHER_NAME = frozenset({"name-taken", "bad-name"})  # refusals that another name may help against


def ask(question: str) -> str:
    """Ask with line editing. EOFError: Ctrl-D; KeyboardInterrupt: Ctrl-C."""
    return _run(prompt_session().prompt_async(question))


def _run(main: Coroutine[Any, Any, T]) -> T:
    """Run it as `asyncio.run` does, but without a word of a Ctrl-C that comes when it is over."""

    async def until_over() -> T:
        try:
            return await main
        finally:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # asyncio tidies up now, and would show tracebacks

    before = signal.getsignal(signal.SIGINT)
    try:
        return asyncio.run(until_over())
    finally:
        signal.signal(signal.SIGINT, before)


class TerminalChat:
    """A chat on the terminal, under another name if this one is not to be had.

    It is a `Program`. Raises what `Link` does.
    """

    def __init__(self, settings: ClientSettings, *, jitter: Jitter = random.uniform) -> None:
        self._settings = settings
        self._jitter = jitter
        self._visit = Visit(settings, jitter)

    @property
    def password_refusal(self) -> Refused | None:
        return self._visit.password_refusal

    def run(self) -> int:
        """Chat until ``/quit``, Ctrl-D, or Ctrl-C on an empty line; return the exit status."""
        try:
            status = self._visit.run()
            while self._visit.needs_name:
                self._come_again()
                status = self._visit.run()
        except KeyboardInterrupt:
            return _INTERRUPTED
        except EOFError:
            return 1
        return status

    def _come_again(self) -> None:
        """Ask for a name until there is one to try."""
        while True:
            name = ask("Username: ").strip()
            try:
                self._visit = Visit(replace(self._settings, name=name), self._jitter)
            except SelchatError as error:
                print(lines.safe(str(error)))
            else:
                return


class Visit:
    """One chat under one name: an `Interface` for its link. Raises what `Link` does.

    ``needs_name``: it is over before it has begun, because the server did not want the name;
    ``password_refusal``: or the password.
    """

    def __init__(self, settings: ClientSettings, jitter: Jitter) -> None:
        self._reactor = Reactor(self._broken)
        # A script waits for the server's objections; someone who leaves wants the shell.
        settings = replace(settings, drain_seconds=_LEAVING_SECONDS)
        self._lines: list[Line] = []  # for the screen, when this call of the interface is over
        try:
            self._link = TalkingLink(self._reactor, settings, self, self._said, jitter=jitter)
        except BaseException:
            self._reactor.close()
            raise
        self._transcript = Transcript(self._link, settings.name, settings.room, self._lines.append)
        self._is_sealed = bool(settings.passphrase)
        self._outage = lines.Outage()
        self._exit_status = 0
        self.needs_name = False
        self.password_refusal: Refused | None = None

    def run(self) -> int:
        """Chat, and return the exit status."""
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
            lambda line: self._reactor.call_soon(self._typed, line.strip("\n")),
            completer=Completions(self._look_up),
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
                await self._screen.run()
                self._watch_signals()  # once more: prompt_toolkit has had Ctrl-C
                self._reactor.call_soon(self._link.finish)
                await self._wait_for_the_end()
        finally:
            self._reactor.call_soon(self._stop)
            thread.join()  # the last who could hand something to this loop
            self._screen.flush()

    async def _wait_for_the_end(self) -> None:
        try:
            await asyncio.wait_for(self._finished.wait(), _PATIENCE)
        except TimeoutError:
            self._screen.show([look.plain(f"{self._link.progress or 'Leaving...'} Ctrl-C leaves at once.")])
            await self._finished.wait()

    async def _look_up(self, rooms: bool) -> Known:
        answer: Future[Known] = Future()
        self._reactor.call_soon(self._transcript.knowledge.look_up, rooms, answer)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(answer), _ROOMS_SECONDS)
        except TimeoutError:
            return Known()

    # -- the reactor's thread --------------------------------------------------------------------------

    def connected(self, address: str) -> None:
        self._outage.end()
        self._show(lines.connected(address, sealed=self._is_sealed))
        self._loop.call_soon_threadsafe(self._started.set)

    def received(self, events: list[ClientEvent]) -> None:
        self._transcript.take(events)
        self._draw()

    def lost(self, reason: str, delay: float) -> None:
        self._transcript.lost()
        line = self._outage.line(reason, delay)
        self._draw() if line is None else self._show(line)

    def drained(self) -> None:
        pass  # nobody types faster than that

    def finished(self, problem: str | None) -> None:
        refusal = self._link.refusal
        if refusal is not None and refusal.code in _OTHER_NAME:
            self.needs_name = True
            self._show(f"{look.sentence(lines.refused(refusal))}.")
        elif is_about_password(refusal):
            self.password_refusal = refusal
        elif problem is not None:
            self._show(f"selchat: {lines.safe(problem)}")
        self._exit_status = 1 if problem is not None else self._exit_status
        self._end()

    def _typed(self, line: str) -> None:
        if self._transcript.typed(line) is Typed.QUIT:
            self._loop.call_soon_threadsafe(self._screen.close)
        self._draw()

    def _said(self, id: str, room: str, to: str, body: str) -> None:
        self._transcript.said(id, room, to, body)

    def _stop(self) -> None:
        self._link.close()
        self._reactor.stop()

    def _broken(self, where: str, error: Exception) -> None:
        for line in traceback.format_exception(error):
            self._show(lines.safe(f"selchat: internal error in {where}: {line}"))
        self._exit_status = 1
        self._end()

    def _show(self, text: str) -> None:
        self._lines.append(look.plain(text))
        self._draw()

    def _draw(self) -> None:
        """Hand over what there is to be drawn: the lines together with what is no longer below them."""
        shown = self._lines[:]
        self._lines.clear()
        self._screen.show(shown, self._transcript.live())

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._ended)

    # -- the main thread again -------------------------------------------------------------------------

    def _watch_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # POSIX only
                self._loop.add_signal_handler(number, self._signalled, number)

    def _signalled(self, number: int) -> None:
        self._exit_status = 128 + number  # as shells report a process that it has ended
        self._ended()

    def _ended(self) -> None:
        self._finished.set()
        self._started.set()
        self._screen.close()
