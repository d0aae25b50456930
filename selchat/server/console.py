"""Operator's console: log lines in the paper's text or in JSON, and the operator's commands.

A client cannot forge a line or move the cursor: control characters are shown as escapes.
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
from selchat.limits import MAX_BODY_WARNED
from selchat.log.port import NotStoredError
from selchat.log.retention import FOREVER
from selchat.text import cut, escape_controls


class Style(Protocol):
    """A format for log lines."""

    def listening(self, address: str) -> str:
        """Format the address at which the server accepts connections."""

    def history(self, path: str, retention: str) -> str:
        """Format the file of the messages, and the limit beyond which the oldest are deleted."""

    def fingerprints(self, key: str, certificate: str) -> list[str]:
        """Format the SHA-256 of the TLS key (clients pin it) and of the certificate (browsers show it)."""

    def urls(self, urls: Sequence[str], qr_code: Sequence[str]) -> list[str]:
        """Format the URLs of the web page, the best first; ``qr_code``: lines of the first one's QR code."""

    def page_disabled(self, why: str) -> str:
        """Format why there is no web page."""

    def reloaded(self, changes: Sequence[str]) -> str:
        """Format the settings that a reload has changed."""

    def signed_in(self, member: Member) -> str:
        """Format a new member."""

    def message(self, message: Said) -> str:
        """Format a message in a room."""

    def closed(self, address: str, name: str | None, reason: str | None) -> str:
        """Format a closed connection; ``name`` is None if nobody signed in on it."""

    def wrong_password(self, address: str, delay: float) -> str:
        """Format a failed login; ``delay``: seconds until the server checks passwords from there again."""

    def reply(self, line: str) -> str:
        """Format a line of a command's output."""

    def warning(self, text: str) -> str:
        """Format a warning."""

    def error(self, where: str, error: BaseException) -> str:
        """Format a bug's traceback."""


_LOCALHOST = "http://localhost:"


class TextStyle:
    """The paper's lines. ``body_length``: characters of a message's body; a longer one is cut."""

    def __init__(self, body_length: int) -> None:
        self._body_length = body_length

    def listening(self, address: str) -> str:
        return f"Listening for connections on {address}..."

    def history(self, path: str, retention: str) -> str:
        if retention == FOREVER:
            return f"Storing messages in {path}. All messages are kept."
        return f"Storing messages in {path}. Beyond {retention} (--retention), the oldest are deleted."

    def fingerprints(self, key: str, certificate: str) -> list[str]:
        return [
            "Key fingerprint (for selchat chat):",
            key,
            "Certificate fingerprint (SHA-256, for browsers):",
            certificate,
        ]

    def urls(self, urls: Sequence[str], qr_code: Sequence[str]) -> list[str]:
        local = [url for url in urls if url.startswith(_LOCALHOST)]
        remote = [url for url in urls if not url.startswith(_LOCALHOST)]
        lines = [f"In a browser: {url}" for url in remote]
        lines += [f"In a browser on this machine: {url}" for url in local]
        return [*lines, *qr_code]

    def page_disabled(self, why: str) -> str:
        return f"The web page is disabled: {why}"

    def reloaded(self, changes: Sequence[str]) -> str:
        return f"Settings reloaded: {', '.join(changes) or 'nothing has changed'}"

    def signed_in(self, member: Member) -> str:
        return f"Accepted new connection from {member.address}, username: {member.name}"

    def message(self, message: Said) -> str:
        where = "" if message.room == LOBBY else f" in {message.room}"
        body = "(encrypted)" if _is_sealed(message) else cut(message.body, self._body_length)
        return f"Received message{where} from {message.author}: {body}"

    def closed(self, address: str, name: str | None, reason: str | None) -> str:
        username = "" if name is None else f", username: {name}"
        why = f" ({reason})" if reason else ""
        return f"Closed connection from {address}{username}{why}"

    def wrong_password(self, address: str, delay: float) -> str:
        lockout = f"; logins from this address are refused for {delay:g} s" if delay else ""
        return f"Wrong password from {address}{lockout}"

    def reply(self, line: str) -> str:
        return line

    def warning(self, text: str) -> str:
        return f"Warning: {text}"

    def error(self, where: str, error: BaseException) -> str:
        return f"Error: {where}: {''.join(traceback.format_exception(error))}"


class JsonStyle:
    """One JSON object per line: ``time`` (UTC, ISO 8601), ``event``, and the event's own fields.

    The ``body`` of an end-to-end encrypted message is null. A body of more than ``body_length`` characters is
    cut, and ``more`` is the number of the others.
    """

    def __init__(self, body_length: int) -> None:
        self._body_length = body_length

    def listening(self, address: str) -> str:
        return self._line("listening", address=address)

    def history(self, path: str, retention: str) -> str:
        return self._line("history", path=path, retention=retention)

    def fingerprints(self, key: str, certificate: str) -> list[str]:
        return [self._line("identified", fingerprint=key, certificate=certificate)]

    def urls(self, urls: Sequence[str], qr_code: Sequence[str]) -> list[str]:
        return [self._line("invited", addresses=list(urls))]

    def page_disabled(self, why: str) -> str:
        return self._line("no-page", reason=why)

    def reloaded(self, changes: Sequence[str]) -> str:
        return self._line("reloaded", changes=list(changes))

    def signed_in(self, member: Member) -> str:
        return self._line("accepted", address=member.address, username=member.name)

    def message(self, message: Said) -> str:
        if _is_sealed(message):
            return self._line("message", room=message.room, username=message.author, body=None)
        more = len(message.body) - self._body_length
        return self._line(
            "message",
            room=message.room,
            username=message.author,
            body=message.body[: self._body_length],
            **({"more": more} if more > 0 else {}),
        )

    def closed(self, address: str, name: str | None, reason: str | None) -> str:
        return self._line("closed", address=address, username=name, reason=reason)

    def wrong_password(self, address: str, delay: float) -> str:
        return self._line("wrong-password", address=address, delay=delay)

    def reply(self, line: str) -> str:
        return self._line("reply", text=line)

    def warning(self, text: str) -> str:
        return self._line("warning", text=text)

    def error(self, where: str, error: BaseException) -> str:
        return self._line("error", where=where, traceback="".join(traceback.format_exception(error)))

    def _line(self, event: str, **fields: str | list[str] | float | None) -> str:
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        # ASCII only, so that no control character of any kind remains in the line.
        return json.dumps({"time": time, "event": event, **fields}, ensure_ascii=True)


def _is_sealed(message: Said) -> bool:
    """Return whether the message is end-to-end encrypted."""
    return message.cipher is not None and message.cipher.startswith(CIPHER_PREFIX)


class Console:
    """Shows events through ``write``, which takes one line without its newline.

    ``quiet``: show only the startup banner, warnings, errors and command output.
    """

    def __init__(self, write: Callable[[str], object], style: Style, quiet: bool) -> None:
        self._write = write
        self._style = style
        self._quiet = quiet
        self._commands: Commands | None = None

    def set_style(self, style: Style, quiet: bool) -> None:
        """Change the format of later lines."""
        self._style = style
        self._quiet = quiet

    def set_commands(self, commands: Commands) -> None:
        """Run the operator's lines with ``commands``."""
        self._commands = commands

    def on_line(self, line: str) -> None:
        """Run a line that the operator has entered, and show its output."""
        if self._commands is not None:
            for reply in self._commands.run(line):
                self._show(self._style.reply(reply))

    def show_listening(self, address: str) -> None:
        self._show(self._style.listening(address))

    def show_history(self, path: str, retention: str) -> None:
        self._show(self._style.history(path, retention))

    def show_fingerprints(self, key: str, certificate: str) -> None:
        for line in self._style.fingerprints(key, certificate):
            self._show(line)

    def show_urls(self, urls: Sequence[str], qr_code: Sequence[str]) -> None:
        for line in self._style.urls(urls, qr_code):
            self._show(line)

    def show_page_disabled(self, why: str) -> None:
        self._show(self._style.page_disabled(why))

    def show_reload(self, changes: Sequence[str]) -> None:
        self._show(self._style.reloaded(changes))

    def warn(self, text: str) -> None:
        self._show(self._style.warning(text))

    def on_error(self, where: str, error: BaseException) -> None:
        self._show(self._style.error(where, error))

    # -- the hub and the sessions report ---------------------------------------------------------------

    def on_sign_in(self, member: Member) -> None:
        if not self._quiet:
            self._show(self._style.signed_in(member))

    def on_published(self, events: Sequence[Event]) -> None:
        if not self._quiet:
            for event in events:
                if isinstance(event, Said) and event.author != SERVER:
                    self._show(self._style.message(event))

    def on_sign_out(self, member: Member, reason: str | None) -> None:
        if not self._quiet:
            self._show(self._style.closed(member.address, member.name, reason))

    def on_announcement_lost(self, messages: Sequence[Event], error: NotStoredError) -> None:
        for message in messages:
            if isinstance(message, Said):
                self.warn(f"not sent ({error.why}): {cut(message.body, MAX_BODY_WARNED)}")

    def on_log_state(self, error: NotStoredError | None) -> None:
        if error is None:
            self.warn("messages can be stored again")
        else:
            self.warn(f"MESSAGES CANNOT BE STORED, so the server accepts none: {error.why}")

    def password_failed(self, address: str, delay: float) -> None:
        self._show(self._style.wrong_password(address, delay))

    def more_passwords_failed(self, count: int) -> None:
        self.warn(f"{count} more wrong passwords within a minute")

    def closed_before_login(self, address: str, reason: str | None) -> None:
        if not self._quiet:
            self._show(self._style.closed(address, None, reason))

    def _show(self, line: str) -> None:
        self._write(escape_controls(line))
