"""``selchat hash-password``: asks for a password, and prints what ``selchat serve --password`` takes.

It must not keep or show the password: it is never an argument, which every user of the machine could read.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable

from selchat.auth.password import PasswordHash, checked_password, read_password
from selchat.errors import UsageError

_MAX = 4096  # bytes of a line that are worth reading


class NotTheSameError(UsageError):
    def __str__(self) -> str:
        return "these were two different passwords"


def main(is_terminal: bool, ask: Callable[[str], str] = getpass.getpass) -> int:
    """Print the hash of what is typed twice, or of the first line of standard input; return the exit status.

    Raises `SettingError` and `NotTheSameError`.
    """
    if is_terminal:
        try:
            password = checked_password(ask("Password: "))
            if ask("Again: ") != password:
                raise NotTheSameError
        except EOFError:
            return 1
    else:
        password = read_password(sys.stdin.buffer.readline(_MAX))
    sys.stdout.write(f"{PasswordHash.of(password)}\n")
    return 0
