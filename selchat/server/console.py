"""The operator's terminal: what the server shows, as the paper's lines or as JSON, and what is typed into it.

Nothing that a client sends can forge a line in here or move the cursor: controls are shown as escapes.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from selchat.chat.commands import Commands
from selchat.chat.member import Member
from selchat.events import CIPHER_PREFIX, LOBBY, SERVER, Event, Said
from selchat.log.port import NotStoredError
from selchat.text import escape_controls


class Style(Protocol):
    """How events become lines."""

    def listening(self, address: str) -> str:
        """The server accepts connections there."""

    def identified(self, fingerprint: str, certificate: str) -> list[str]:
        """By this key the server is known to those who connect by TLS; browsers show its certificate."""

    def invited(self, addresses: Sequence[str], picture: Sequence[str]) -> list[str]:
        """These are what to open in a browser, the best one first, of which that is a picture."""

    def no_page(self, why: str) -> str:
        """There is nothing for browsers."""

    def reloaded(self, changes: Sequence[str]) -> str:
        """The settings were read again; what has changed."""

    def accepted(self, member: Member) -> str:
        """Someone has come."""

    def received(self, message: Said) -> str:
        """Something was said."""

    def closed(self, address: str, name: str | None, reason: str | None) -> str:
        """Someone has gone, or a connection that never had a name."""

    def wrong_password(self, address: str, delay: float) -> str:
        """Someone has tried another password than the server's; ``delay`` in seconds follows."""

    def reply(self, line: str) -> str:
        """One line of an answer to the operator."""

    def warning(self, text: str) -> str:
        """Something the operator should know."""

    def failure(self, where: str, error: BaseException) -> str:
        """A bug, with its traceback."""


_HERE = "http://localhost:"


class TextStyle:
    """The paper's lines."""

    def listening(self, address: str) -> str:
        return f"Listening for connections on {address}..."

    def identified(self, fingerprint: str, certificate: str) -> list[str]:
        return [
            "The key of this server, for those who come for the first time by selchat chat:",
            fingerprint,
            "Its certificate, as browsers show it (SHA-256):",
            certificate,
        ]

    def invited(self, addresses: Sequence[str], picture: Sequence[str]) -> list[str]:
        here = [address for address in addresses if address.startswith(_HERE)]
        there = [address for address in addresses if not address.startswith(_HERE)]
        lines = [f"In a browser: {address}" for address in there]
        lines += [f"In a browser on this machine: {address}" for address in here]
        return [*lines, *picture]

    def no_page(self, why: str) -> str:
        return f"Nothing for browsers: {why}"

    def reloaded(self, changes: Sequence[str]) -> str:
        return f"Settings reloaded: {', '.join(changes) or 'nothing has changed'}"

    def accepted(self, member: Member) -> str:
        return f"Accepted new connection from {member.address}, username: {member.name}"

    def received(self, message: Said) -> str:
        where = "" if message.room == LOBBY else f" in {message.room}"
        body = "(encrypted)" if _is_sealed(message) else message.body
        return f"Received message{where} from {message.author}: {body}"

    def closed(self, address: str, name: str | None, reason: str | None) -> str:
        username = "" if name is None else f", username: {name}"
        why = f" ({reason})" if reason else ""
        return f"Closed connection from {address}{username}{why}"

    def wrong_password(self, address: str, delay: float) -> str:
        then = f"; nothing more is checked from there for {delay:g} s" if delay else ""
        return f"Wrong password from {address}{then}"

    def reply(self, line: str) -> str:
        return line

    def warning(self, text: str) -> str:
        return f"Warning: {text}"

    def failure(self, where: str, error: BaseException) -> str:
        return f"Error: {where}: {''.join(traceback.format_exception(error))}"


class JsonStyle:
    """One JSON object a line: ``time`` (UTC, ISO 8601), ``event``, and the event's own fields.

    The ``body`` of a message that is encrypted end to end is null.
    """

    def listening(self, address: str) -> str:
        return self._line("listening", address=address)

    def identified(self, fingerprint: str, certificate: str) -> list[str]:
        return [self._line("identified", fingerprint=fingerprint, certificate=certificate)]

    def invited(self, addresses: Sequence[str], picture: Sequence[str]) -> list[str]:
        return [self._line("invited", addresses=list(addresses))]

    def no_page(self, why: str) -> str:
        return self._line("no-page", reason=why)

    def reloaded(self, changes: Sequence[str]) -> str:
        return self._line("reloaded", changes=list(changes))

    def accepted(self, member: Member) -> str:
        return self._line("accepted", address=member.address, username=member.name)

    def received(self, message: Said) -> str:
        body = None if _is_sealed(message) else message.body
        return self._line("message", room=message.room, username=message.author, body=body)

    def closed(self, address: str, name: str | None, reason: str | None) -> str:
        return self._line("closed", address=address, username=name, reason=reason)

    def wrong_password(self, address: str, delay: float) -> str:
        return self._line("wrong-password", address=address, delay=delay)

    def reply(self, line: str) -> str:
        return self._line("reply", text=line)

    def warning(self, text: str) -> str:
        return self._line("warning", text=text)

    def failure(self, where: str, error: BaseException) -> str:
        return self._line("error", where=where, traceback="".join(traceback.format_exception(error)))

    def _line(self, event: str, **fields: str | list[str] | float | None) -> str:
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        # ASCII only, so that no control character of any kind is left in the line.
        return json.dumps({"time": time, "event": event, **fields}, ensure_ascii=True)


def _is_sealed(message: Said) -> bool:
    """Whether only those who have the passphrase can read it."""
    return message.cipher is not None and message.cipher.startswith(CIPHER_PREFIX)


class Console:
    """Shows what happens through ``write``, which takes one line without its end.

    ``quiet``: only the start, what goes wrong, and answers to the operator.
    """

    def __init__(self, write: Callable[[str], object], style: Style, quiet: bool) -> None:
        self._write = write
        self._style = style
        self._quiet = quiet
        self._commands: Commands | None = None

    def restyle(self, style: Style, quiet: bool) -> None:
        """Show what happens like this from now on."""
        self._style = style
        self._quiet = quiet

    def take_commands(self, commands: Commands) -> None:
        """Run the operator's lines with these from now on."""
        self._commands = commands

    def typed(self, line: str) -> None:
        """The operator has entered that line."""
        if self._commands is not None:
            for reply in self._commands.run(line):
                self._show(self._style.reply(reply))

    def listening(self, address: str) -> None:
        self._show(self._style.listening(address))

    def identified(self, fingerprint: str, certificate: str) -> None:
        for line in self._style.identified(fingerprint, certificate):
            self._show(line)

    def invited(self, addresses: Sequence[str], picture: Sequence[str]) -> None:
        for line in self._style.invited(addresses, picture):
            self._show(line)

    def no_page(self, why: str) -> None:
        self._show(self._style.no_page(why))

    def reloaded(self, changes: Sequence[str]) -> None:
        self._show(self._style.reloaded(changes))

    def warn(self, text: str) -> None:
        self._show(self._style.warning(text))

    def failed(self, where: str, error: BaseException) -> None:
        self._show(self._style.failure(where, error))

    # -- what the hub and the sessions tell ------------------------------------------------------------

    def on_sign_in(self, member: Member) -> None:
        if not self._quiet:
            self._show(self._style.accepted(member))

    def on_published(self, events: Sequence[Event]) -> None:
        if not self._quiet:
            for event in events:
                if isinstance(event, Said) and event.author != SERVER:
                    self._show(self._style.received(event))

    def on_sign_out(self, member: Member, reason: str | None) -> None:
        if not self._quiet:
            self._show(self._style.closed(member.address, member.name, reason))

    def on_announcement_lost(self, messages: Sequence[Event], error: NotStoredError) -> None:
        for message in messages:
            if isinstance(message, Said):
                self.warn(f"not said: {message.body} ({error.why})")

    def on_log_state(self, error: NotStoredError | None) -> None:
        if error is None:
            self.warn("messages are stored again")
        else:
            self.warn(f"NO MESSAGE CAN BE STORED, and none is passed on: {error.why}")

    def password_failed(self, address: str, delay: float) -> None:
        self._show(self._style.wrong_password(address, delay))

    def passwords_failed(self, count: int) -> None:
        self.warn(f"{count} more wrong passwords within a minute")

    def closed_before_login(self, address: str, reason: str | None) -> None:
        if not self._quiet:
            self._show(self._style.closed(address, None, reason))

    def _show(self, line: str) -> None:
        self._write(escape_controls(line))
