"""The server's password, at the client's end: where it comes from, and what is done if it is another one.

It is never an argument, which every user of the machine could read. To whom it is said is the business of
`selchat.client.connection.trust`.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from selchat.auth.login import PasswordNeededError, WrongPasswordError
from selchat.auth.password import checked_password, read_password
from selchat.client.asking import is_terminal
from selchat.client.events import Refused
from selchat.config.settings import ClientSettings
from selchat.errors import SettingError, UsageError, close_reason
from selchat.text import escape_controls

VARIABLE = "SELCHAT_PASSWORD"
_MAX = 4096  # bytes of a file that are worth reading
_CODES = frozenset({PasswordNeededError.code, WrongPasswordError.code})


class PasswordFileError(UsageError):
    """``path`` of the file, and why it cannot be read."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(path, why)
        self.path = path
        self.why = why

    def __str__(self) -> str:
        return f"cannot read the password from {self.path}: {self.why}"


class Program(Protocol):
    """Something that a user runs: a chat, or what sends one message.

    ``password_refusal``: what the server has said about the password, if that has ended the run.
    """

    @property
    def password_refusal(self) -> Refused | None: ...

    def run(self) -> int: ...


def given_password(file: str | None, environment: Mapping[str, str]) -> str:
    """Return the password from the file, else from the environment; empty: there is none.

    Raises `SettingError` and `PasswordFileError`.
    """
    if file is not None:
        try:
            with Path(file).open("rb") as opened:
                return read_password(opened.read(_MAX))
        except OSError as error:
            raise PasswordFileError(file, close_reason(error)) from error
    found = environment.get(VARIABLE, "")
    return checked_password(found) if found else ""


def is_about_password(refusal: Refused | None) -> bool:
    """Whether another password may help."""
    return refusal is not None and refusal.code in _CODES


def asker() -> Callable[[str], str] | None:
    """Return what asks without showing what is typed; None: there is no terminal."""
    # The input may be a pipe while somebody sits there: getpass opens the terminal itself.
    return getpass.getpass if is_terminal(sys.stdin) or is_terminal(sys.stderr) else None


def run_with_password(
    start: Callable[[ClientSettings], Program],
    settings: ClientSettings,
    ask: Callable[[str], str] | None,
    tell: Callable[[str], object],
) -> int:
    """Run it, and again for as long as the server wants another password; return the exit status.

    Raises what ``start`` does.
    """
    while True:
        program = start(settings)
        status = program.run()
        refusal = program.password_refusal
        if refusal is None:
            return status
        text = escape_controls(refusal.text)
        if ask is None:
            tell(f"selchat: the server said: {text}; --password-file or {VARIABLE} can give one")
            return 1
        if refusal.code == WrongPasswordError.code:
            tell(f"The server said: {text}.")
        try:
            settings = replace(settings, password=_asked(ask, tell))
        except EOFError:
            return 1


def _asked(ask: Callable[[str], str], tell: Callable[[str], object]) -> str:
    while True:
        try:
            return checked_password(ask("Password: "))
        except SettingError as error:
            tell(f"That is not {error.expected}.")
