"""The plain interface: lines in are messages, lines out are ``Venkat > text``, and no escape sequences.

For pipes, scripts, dumb terminals and screen readers. Standard output gets messages and nothing else: what
is said while one is there, each once. What there is to say about the connection, and what a command answers,
goes to standard error. Everything happens on one reactor, so that no slow end holds up another: input of any
size is read only as fast as the server takes it.
"""

from __future__ import annotations

import random

from selchat.client import lines
from selchat.client.commands import CommandRunner
from selchat.client.connection.link import Jitter, Link
from selchat.client.events import ClientEvent, Message, Refused, Trusted, Welcomed, Whispered
from selchat.client.lines import Typed
from selchat.client.password import is_about_password
from selchat.client.run import Input, Run
from selchat.config.settings import MIB, ClientSettings
from selchat.net.stdio import LineWriter

_OUTPUT_LIMIT = 16 * MIB  # bytes of messages that wait for an output that takes none
_CLOSE_SECONDS = 5.0  # for the last of them to be taken


class PlainChat:
    """One chat on three descriptors: an `Interface` for its link, and a `Program`.

    Raises what `Link` does.
    """

    def __init__(
        self,
        settings: ClientSettings,
        *,
        jitter: Jitter = random.uniform,
        descriptors: tuple[int, int, int] = (0, 1, 2),
    ) -> None:
        stdin, stdout, stderr = descriptors
        self._run = run = Run(stderr)
        self._link = Link(run.reactor, settings, self, jitter=jitter)
        self._output = LineWriter(
            run.reactor,
            stdout,
            _OUTPUT_LIMIT,
            lambda count: f"({count} messages are not shown here, because the output was held up)",
        )
        self._typist = CommandRunner(self._link, settings.room, run.tell)
        self._name = settings.name
        self._is_sealed = bool(settings.passphrase)
        self._input = Input(run, settings, self._link, stdin, self._typed)
        self._input.pause()  # what is typed ahead is for someone who is in
        self._outage = lines.Outage()
        self.password_refusal: Refused | None = None
        run.reactor.at_tick_end(self._check_output)

    def run(self) -> int:
        """Chat until the end of the input, ``/quit`` or a signal; return the exit status."""
        self._link.open()
        return self._run.until_stopped(self._close)

    # -- what happens to the link ----------------------------------------------------------------------

    def connected(self, address: str) -> None:
        self._outage.end()
        self._run.tell(lines.connected(address, sealed=self._is_sealed))
        self._input.resume()

    def received(self, events: list[ClientEvent]) -> None:
        for event in events:
            if isinstance(event, Message):
                if not event.own:  # one's own lines are in the input
                    self._output.write(lines.shown(event, self._prefix(event.room)))
            elif isinstance(event, Whispered):
                self._output.write(lines.shown(event))
            elif not self._typist.answer(event):
                self._take_news(event)

    def lost(self, reason: str, delay: float) -> None:
        self._typist.lost()
        line = self._outage.line(reason, delay)
        if line is not None:
            self._run.tell(line)

    def drained(self) -> None:
        self._input.resume()

    def finished(self, problem: str | None) -> None:
        if is_about_password(self._link.refusal):
            self.password_refusal = self._link.refusal
        elif problem is not None:
            self._run.fail(problem)
        self._run.stop()

    # ----------------------------------------------------------------------------------------------------

    def _take_news(self, event: ClientEvent) -> None:
        if isinstance(event, Refused):
            self._run.fail(lines.refused(event))
        elif isinstance(event, Trusted):
            for text in lines.trusted(event):
                self._run.tell(text)
        elif isinstance(event, Welcomed) and event.name != self._name:
            self._name = event.name
            self._run.tell(f"You are called {lines.safe(event.name)} here")
        room = getattr(event, "room", "")
        line = lines.news(event, self._prefix(room))
        if line is not None:
            self._run.tell(line)

    def _prefix(self, room: str) -> str:
        """Return the room's name where it has to be said, because there are several."""
        return room if len(self._link.rooms) > 1 else ""

    def _typed(self, line: str) -> None:
        if self._typist.take(line) is Typed.QUIT:
            self._leave()

    def _leave(self) -> None:
        self._input.close()
        self._link.finish()

    def _check_output(self) -> None:
        if not self._output.open:
            self._leave()  # whoever read the messages has gone, as head(1) does

    def _close(self) -> None:
        self._input.close()
        self._link.close()
        self._output.close(within=_CLOSE_SECONDS)
