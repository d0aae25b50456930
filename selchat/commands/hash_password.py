"""``selchat hash-password``: ask for a password, and print its hash for ``selchat serve --password``.

The password is never an argument, because every user of the machine can read the arguments of a process.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable

from selchat.auth.password import PasswordHash, checked_password, read_password
from selchat.errors import UsageError
from selchat.limits import MAX_PASSWORD_LINE


class PasswordsDifferError(UsageError):
    def __str__(self) -> str:
        return "the two passwords differ; try again"


def main(is_terminal: bool, ask: Callable[[str], str] = getpass.getpass) -> int:
    """Print the hash of a password, and return the exit status.

    On a terminal, ask twice; otherwise read the first line of standard input.

    Raises `SettingError` and `PasswordsDifferError`.
    """
    if is_terminal:
        try:
            password = checked_password(ask("Password: "))
            if ask("Again: ") != password:
                raise PasswordsDifferError
        except EOFError:
            return 1
    else:
        password = read_password(sys.stdin.buffer.readline(MAX_PASSWORD_LINE))
    sys.stdout.write(f"{PasswordHash.of(password)}\n")
    return 0
