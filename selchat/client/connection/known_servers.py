"""The servers that this user has met, each with the fingerprint of its key: trust on first use.

One line of text for each, so that it can be looked at and mended by hand::

    192.168.43.158:33000 sha256:4f0c…

It must not know how a fingerprint is made or what is done about one that has changed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from selchat.addresses import join_address
from selchat.errors import UsageError, close_reason
from selchat.paths import data_folder, make_private_folder

_FILE = "known-servers"
_LINE = re.compile(r"(\S+)\s+sha256:([0-9a-f]{64})\s*")
_COMMENT = "# The keys of the servers that selchat has met. To trust one anew, delete its line.\n"


class KnownServersError(UsageError):
    """``path`` of the file, and why it does not do."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(path, why)
        self.path = path
        self.why = why

    def __str__(self) -> str:
        return f"{self.path}, which has the keys of the servers you know: {self.why}"


class ServerChangedError(UsageError):
    """``address`` has ``shown`` another key than the ``known`` one, which is in that ``line`` of ``path``."""

    def __init__(self, address: str, known: str, shown: str, path: Path, line: int) -> None:
        super().__init__(address, known, shown, path, line)
        self.address = address
        self.known = known
        self.shown = shown
        self.path = path
        self.line = line

    def __str__(self) -> str:
        return (
            f"{self.address} is not the server that it was: its key is now {self.shown}, and it was "
            f"{self.known}. Somebody may be listening in, or the server was set up anew; ask its operator "
            f"for the key that it shows at its start. If that is the new one, delete line {self.line} of "
            f"{self.path} and come again. Nothing was sent"
        )


class KnownServers:
    """The file in that folder, else in this user's. It is read at each question, as others write it too."""

    def __init__(self, folder: Path | None = None) -> None:
        self.path = (data_folder() if folder is None else folder) / _FILE

    def find(self, host: str, port: int) -> tuple[str, int] | None:
        """Return the fingerprint of that server, and the number of its line; None: it was never met.

        Raises `KnownServersError`.
        """
        address = _address(host, port)
        found = None
        for number, line in enumerate(self._text().splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            match = _LINE.fullmatch(line)
            if match is None:
                raise KnownServersError(self.path, f"line {number} is not an address and a sha256")
            if match[1] == address:
                found = match[2], number  # the last one counts, as the newest
        return found

    def add(self, host: str, port: int, fingerprint: str) -> None:
        """Remember a server that was not met before. Raises `KnownServersError`."""
        line = f"{_address(host, port)} sha256:{fingerprint}\n"
        before = self._text()
        if not before:
            line = _COMMENT + line
        elif not before.endswith("\n"):
            line = "\n" + line
        try:
            make_private_folder(self.path.parent)
            # One write at the end: two programs that do this at the same time lose nothing of each other's.
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, line.encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise KnownServersError(self.path, close_reason(error)) from error

    def _text(self) -> str:
        try:
            return self.path.read_text("utf-8")
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            why = close_reason(error) if isinstance(error, OSError) else "it is not text"
            raise KnownServersError(self.path, why) from error


def _address(host: str, port: int) -> str:
    return join_address(host.lower().rstrip("."), port)
