"""``selchat send``: one message, or each line of standard input, and a status that scripts can rely on.

On the selchat protocol, what is lost on the way or cannot be stored is said again, because nothing comes twice
there; 0 means that the server has stored it all. On the paper's wire nothing is tried twice: whether to say
something again is for the script to decide.
"""

from __future__ import annotations

from dataclasses import replace

from selchat.client import lines
from selchat.client.connection.link import Link
from selchat.client.events import ClientEvent, NotStored, Refused, Trusted, Unencrypted
from selchat.client.password import is_about_password
from selchat.client.run import Input, Run
from selchat.config.settings import ClientSettings
from selchat.errors import SelchatError

_PATIENCE = 2.0  # seconds between two looks at the progress


class Sender:
    """Sends ``message``, or the lines of ``stdin`` if it is None. Raises what `Link` does.

    It is an `Interface` for its link, and a `Program`. ``progress``: whether to say something when it takes
    a while.
    """

    def __init__(
        self,
        settings: ClientSettings,
        message: str | None = None,
        *,
        progress: bool = False,
        stdin: int = 0,
        stderr: int = 2,
    ) -> None:
        self._run = Run(stderr)
        settings = replace(settings, alongside=True)  # whoever has it run may be in the chat themselves
        self._link = Link(self._run.reactor, settings, self, reconnect=False)
        self._room = settings.room
        self._outage = lines.Outage()
        self._message = message
        self._input = Input(self._run, settings, self._link, stdin, self._say) if message is None else None
        if self._input is not None:
            self._input.pause()  # what is read is for the run that is let in, which may be another one
        self.password_refusal: Refused | None = None
        if progress:
            self._run.reactor.call_later(_PATIENCE, self._show_progress, None)

    def run(self) -> int:
        """Send everything; return the exit status."""
        if self._message is None or self._can_say(self._message):
            self._link.open()
        else:
            self._run.reactor.call_soon(self._run.stop)
        return self._run.until_stopped(self._close)

    # -- what happens to the link ----------------------------------------------------------------------

    def connected(self, address: str) -> None:
        self._outage.end()
        if self._input is not None:
            self._input.resume()

    def received(self, events: list[ClientEvent]) -> None:
        # What others say is not for a script that only sends.
        for event in events:
            if isinstance(event, Refused):
                self._run.fail(lines.refused(event))
            elif isinstance(event, Trusted):
                for line in lines.trusted(event):
                    self._run.tell(line)
            elif isinstance(event, NotStored | Unencrypted):
                self._run.tell(f"selchat: {lines.news(event)}")

    def lost(self, reason: str, delay: float) -> None:
        line = self._outage.line(reason, delay)
        if line is not None:
            self._run.tell(f"selchat: {line}")

    def drained(self) -> None:
        if self._input is not None:
            self._input.resume()

    def finished(self, problem: str | None) -> None:
        if is_about_password(self._link.refusal):
            self.password_refusal = self._link.refusal
        elif problem is not None:
            self._run.fail(problem)
        self._run.stop()

    # ----------------------------------------------------------------------------------------------------

    def _say(self, line: str) -> None:
        if line:  # an empty line is no message
            self._link.say(line, self._room)

    def _can_say(self, message: str) -> bool:
        try:
            self._link.say(message, self._room)
        except SelchatError as error:
            self._run.fail(lines.refusal(error))
            return False
        self._link.finish()
        return True

    def _show_progress(self, last: str | None) -> None:
        news = self._link.progress
        if news is not None and news != last:
            self._run.tell(news)
        self._run.reactor.call_later(_PATIENCE, self._show_progress, news)

    def _close(self) -> None:
        if self._input is not None:
            self._input.close()
        self._link.close()
