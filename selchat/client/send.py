"""``selchat send``: send one message, or each line of standard input, from a script.

On the selchat protocol the client sends lost and unstored messages again, because nothing arrives twice
there; status 0 means that the server has stored them all. The client sends nothing twice on the classic
protocol: the script decides whether to repeat a message.
"""

from __future__ import annotations

from dataclasses import replace

from selchat.client import lines
from selchat.client.connection.link import Link
from selchat.client.events import ClientEvent, NotStored, Refused, Trusted, Unencrypted
from selchat.client.run import Input, Run
from selchat.client.setup import explain_end, is_about_password
from selchat.config.settings import ClientSettings
from selchat.errors import SelchatError


class Sender:
    """Send ``message``, or the lines of ``stdin`` if it is None. Raises the exceptions of `Link`.

    An `Interface` for its link, and a `Program`. Show a line about a slow connection every
    ``progress_seconds``; None: never.
    """

    def __init__(
        self,
        settings: ClientSettings,
        message: str | None = None,
        *,
        progress_seconds: float | None = None,
        stdin: int = 0,
        stderr: int = 2,
    ) -> None:
        self._run = Run(stderr)
        settings = replace(settings, alongside=True)  # the user may be in the chat at the same time
        self._link = Link(self._run.reactor, settings, self, reconnect=False)
        self._room = settings.room
        self._outage = lines.Outage()
        self._message = message
        self._input = Input(self._run, settings, self._link, stdin, self._say) if message is None else None
        if self._input is not None:
            self._input.pause()  # a run with another password may follow, and needs the input
        self.password_refusal: Refused | None = None
        if progress_seconds is not None:
            self._run.reactor.call_later(progress_seconds, self._show_progress, progress_seconds, None)

    def run(self) -> int:
        """Send everything; return the exit status."""
        if self._message is None or self._queue_message(self._message):
            self._link.open()
        else:
            self._run.reactor.call_soon(self._run.stop)
        return self._run.until_stopped(self._close)

    # -- events of the link ------------------------------------------------------------------------------

    def connected(self, address: str) -> None:
        self._outage.end()
        if self._input is not None:
            self._input.resume()

    def received(self, events: list[ClientEvent]) -> None:
        # A script that only sends does not need the messages of other users.
        for event in events:
            if isinstance(event, Refused):
                self._run.fail(lines.refused(event))
            elif isinstance(event, Trusted):
                for line in lines.trusted(event):
                    self._run.show(line)
            elif isinstance(event, NotStored | Unencrypted):
                self._run.show(f"selchat: {lines.format_event(event)}")

    def lost(self, reason: str, delay: float) -> None:
        line = self._outage.line(reason, delay)
        if line is not None:
            self._run.show(f"selchat: {line}")

    def drained(self) -> None:
        if self._input is not None:
            self._input.resume()

    def finished(self, problem: str | None) -> None:
        if is_about_password(self._link.refusal):
            self.password_refusal = self._link.refusal
        elif problem is not None:
            self._run.fail(explain_end(problem, self._link.refusal))
        self._run.stop()

    # ----------------------------------------------------------------------------------------------------

    def _say(self, line: str) -> None:
        if line:  # an empty line is no message
            self._link.say(line, self._room)

    def _queue_message(self, message: str) -> bool:
        """Queue the only message; return whether the link takes it."""
        try:
            self._link.say(message, self._room)
        except SelchatError as error:
            self._run.fail(lines.not_sent(error))
            return False
        self._link.finish()
        return True

    def _show_progress(self, interval: float, last: str | None) -> None:
        progress = self._link.progress
        if progress is not None and progress != last:
            self._run.show(progress)
        self._run.reactor.call_later(interval, self._show_progress, interval, progress)

    def _close(self) -> None:
        if self._input is not None:
            self._input.close()
        self._link.close()
