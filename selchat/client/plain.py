"""Plain chat interface: lines in are messages, lines out are ``Venkat > text``, no escape sequences.

For pipes, scripts, dumb terminals and screen readers. Standard output has only messages, each one once, from
the time of the connection. Standard error has everything else: the connection, and the answers to commands.
All of it runs on one reactor, so no slow end blocks another: the client reads input of any size only as fast
as the server takes it.
"""

from __future__ import annotations

import os
import random

from selchat.client import lines
from selchat.client.commands import CommandKind, CommandRunner
from selchat.client.connection.link import Jitter, Link
from selchat.client.events import ClientEvent, Message, Refused, Trusted, Welcomed, Whispered
from selchat.client.run import Input, Run
from selchat.client.setup import Ask, ask_password, explain_end, is_about_password
from selchat.client.typeahead import discard_typeahead
from selchat.config.settings import ClientSettings
from selchat.errors import close_reason
from selchat.limits import OUTPUT_CLOSE_SECONDS, PLAIN_OUTPUT_LIMIT
from selchat.net.stdio import LineWriter
from selchat.text import name_key


class PlainChat:
    """A chat on three descriptors: an `Interface` for its link, and a `Program`.

    ``ask``: asks for the password if the server requires one after an outage; None: nobody can answer.

    Raises the exceptions of `Link`.
    """

    def __init__(
        self,
        settings: ClientSettings,
        *,
        ask: Ask | None = None,
        jitter: Jitter = random.uniform,
        descriptors: tuple[int, int, int] = (0, 1, 2),
    ) -> None:
        stdin, stdout, stderr = descriptors
        self._run = run = Run(stderr)
        self._ask = ask
        self._stdin = stdin
        self._has_password = bool(settings.password)  # until the first connection
        self._link = Link(
            run.reactor,
            settings,
            self,
            jitter=jitter,
            ask_password=None if ask is None else self._on_password_asked,
        )
        self._output = LineWriter(
            run.reactor,
            stdout,
            PLAIN_OUTPUT_LIMIT,
            lambda count: f"({count} messages are not shown, because the output was blocked)",
        )
        self._commands = CommandRunner(self._link, settings.room, run.show)
        self._name = settings.name
        self._room_key = name_key(settings.room.removeprefix("#"))
        self._is_encrypted = bool(settings.passphrase)
        self._input = Input(run, settings, self._link, stdin, self._on_line)
        self._input.pause()  # until the server has let the user in
        self._outage = lines.Outage()
        self.password_refusal: Refused | None = None
        run.reactor.at_tick_end(self._check_output)

    def run(self) -> int:
        """Chat until the end of the input, ``/quit`` or a signal; return the exit status."""
        self._link.open()
        return self._run.until_stopped(self._close)

    # -- events of the link ------------------------------------------------------------------------------

    def connected(self, address: str) -> None:
        if self._has_password and os.isatty(self._stdin):
            discard_typeahead()  # the user may have typed on at the question for the password
        self._has_password = False
        self._outage.end()
        self._run.show(lines.connected(address, encrypted=self._is_encrypted))
        self._input.resume()

    def received(self, events: list[ClientEvent]) -> None:
        for event in events:
            if isinstance(event, Message):
                if not event.own:  # the input has the user's own lines
                    self._output.write(lines.format_message(event, self._prefix(event.room)))
            elif isinstance(event, Whispered):
                self._output.write(lines.format_message(event))
            elif not self._commands.handle(event):
                self._show_event(event)

    def lost(self, reason: str, delay: float) -> None:
        line = self._outage.line(reason, delay)
        if line is not None:
            self._run.show(line)

    def drained(self) -> None:
        self._input.resume()

    def finished(self, problem: str | None) -> None:
        if is_about_password(self._link.refusal):
            self.password_refusal = self._link.refusal
        elif problem is not None:
            self._run.fail(explain_end(problem, self._link.refusal))
        self._run.stop()

    # ----------------------------------------------------------------------------------------------------

    def _show_event(self, event: ClientEvent) -> None:
        if isinstance(event, Refused):
            self._run.fail(lines.refused(event))
        elif isinstance(event, Trusted):
            for text in lines.trusted(event):
                self._run.show(text)
        elif isinstance(event, Welcomed) and event.name != self._name:
            self._name = event.name
            self._run.show(lines.new_name(event.name))
        room = getattr(event, "room", "")
        line = lines.format_event(event, self._prefix(room))
        if line is not None:
            self._run.show(line)

    def _on_password_asked(self, refusal: Refused) -> None:
        self._run.show(f"The server said: {lines.safe(refusal.text)}.")
        self._run.reactor.call_later(0.0, self._ask_password)  # after the line

    def _ask_password(self) -> None:
        """Ask, and do nothing else meanwhile: there is no connection."""
        assert self._ask is not None
        try:
            with self._run.interruptible():
                self._link.set_password(ask_password(self._ask, self._run.show))
        except EOFError:
            self._leave()
        except KeyboardInterrupt:
            self._run.interrupt()

    def _prefix(self, room: str) -> str:
        """Return the name of a room that is not the one of this chat, or an empty string.

        So a script knows from each line alone where it was said.
        """
        return "" if name_key(room) == self._room_key else room

    def _on_line(self, line: str) -> None:
        if self._commands.run(line) is CommandKind.QUIT:
            self._leave(await_answers=True)

    def _leave(self, *, await_answers: bool = False) -> None:
        self._input.close()
        self._link.finish(await_answers=await_answers)

    def _check_output(self) -> None:
        if not self._output.open:
            self._leave()  # the reader of the messages has exited, as head(1) does, or the disk is full

    def _close(self) -> None:
        self._input.close()
        self._link.close()
        self._output.close(within=OUTPUT_CLOSE_SECONDS)
        error = self._output.error
        if error is not None and not isinstance(error, BrokenPipeError):
            self._run.fail(f"cannot write the messages: {close_reason(error)}")
