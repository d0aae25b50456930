"""Where the passphrase comes from: a file, a question without echo, or the environment; never an argument.

Arguments are in the shell's history and in every list of processes. What is wrong with a passphrase is an
error at once, and never a reason to talk without it.
"""

from __future__ import annotations

import getpass
import os
import stat
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

from selchat.errors import SettingError, close_reason
from selchat.wire.e2ee import passphrase_bytes

VARIABLE = "SELCHAT_PASSPHRASE"
_FILE = "--passphrase-file"
_ASK = "--ask-passphrase"
_MAX = 4096  # bytes of the file; nobody types more
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def find_passphrase(
    file: str | None,
    ask: bool,
    environment: Mapping[str, str] = os.environ,
    prompt: Callable[[str], str] | None = None,
) -> str:
    """Return the passphrase, from the file, by asking, or else from the environment; empty: there is none.

    Raises `SettingError`.
    """
    if file is not None and ask:
        raise SettingError(_ASK, True, f"possible together with {_FILE}")
    if file is not None:
        name, passphrase = _FILE, read_passphrase(file)
    elif ask:
        name, passphrase = _ASK, (prompt or _prompt)("Passphrase: ")
    elif VARIABLE in environment:
        name, passphrase = VARIABLE, environment[VARIABLE]
    else:
        return ""
    _check(name, passphrase)
    return passphrase


def read_passphrase(path: str) -> str:
    """Return what is in the one line of the file. Raises `SettingError`.

    As ``ssh`` does with its keys, a file of one's own that others may read is refused.
    """
    try:
        with Path(path).open("rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(_MAX + 1)
    except (OSError, ValueError) as error:
        why = close_reason(error) if isinstance(error, OSError) else "no file can be called that"
        raise SettingError(_FILE, path, f"readable: {why}") from error
    if stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid() and status.st_mode & _OTHERS:
        mode = stat.S_IMODE(status.st_mode)
        raise SettingError(_FILE, path, f"safe: others may use it (its mode is {mode:04o}); chmod 600 it")
    if len(data) > _MAX:
        raise SettingError(_FILE, path, f"a file of at most {_MAX} bytes")
    line = data.removesuffix(b"\n").removesuffix(b"\r")
    if b"\n" in line:
        raise SettingError(_FILE, path, "a file of one line")
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise SettingError(_FILE, path, "in UTF-8") from None


def _prompt(question: str) -> str:
    """Ask on the terminal, which standard input need not be, and show nothing of what is typed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)  # it would go on, and show it
            return getpass.getpass(question, sys.stderr)
    except EOFError:
        return ""
    except getpass.GetPassWarning:
        raise SettingError(_ASK, True, "possible without a terminal") from None


def _check(name: str, passphrase: str) -> None:
    try:
        passphrase_bytes(passphrase)
    except SettingError as error:
        raise SettingError(name, error.value, error.expected) from None
