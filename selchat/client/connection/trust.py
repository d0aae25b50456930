"""Trust on first use: the pinned keys of servers, and where a password may be sent.

The file has one line per server, for people to read and edit::

    192.168.43.158:33000 sha256:4f0c…
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path

from selchat.addresses import join_address
from selchat.errors import UsageError, close_reason
from selchat.paths import data_folder, make_private_folder

_FILE = "known-servers"
_LINE = re.compile(r"(\S+)\s+sha256:([0-9a-f]{64})\s*")
_COMMENT = "# Keys of servers that selchat has connected to. To trust a server's new key, delete its line.\n"


def may_send_password(address: str, *, encrypted: bool) -> bool:
    """Whether nobody can eavesdrop on a password for the server at a numeric ``address``.

    ``encrypted``: the connection is encrypted, and the server has its pinned key.
    """
    if encrypted:
        return True
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    return ip.is_loopback


class KnownServersError(UsageError):
    """``path`` of the file, and why selchat cannot use it."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(path, why)
        self.path = path
        self.why = why

    def __str__(self) -> str:
        return f"cannot check the server's key with {self.path}: {self.why}"


class ServerChangedError(UsageError):
    """``address`` showed another key than the ``expected`` one, which is in that ``line`` of ``path``."""

    def __init__(self, address: str, expected: str, shown: str, path: Path, line: int) -> None:
        super().__init__(address, expected, shown, path, line)
        self.address = address
        self.expected = expected
        self.shown = shown
        self.path = path
        self.line = line

    def __str__(self) -> str:
        return (
            f"WARNING: the key of {self.address} has changed. Expected {self.expected}. Got {self.shown}. "
            f"Someone may be intercepting the connection, or the server was installed again. Nothing was "
            f"sent. Ask the operator for the key that the server shows when it starts. If it is the new one, "
            f"delete line {self.line} of {self.path} and connect again"
        )


class KnownServers:
    """The file of pinned fingerprints, in ``folder`` or in the user's data folder.

    Reads the file for each call, because other programs write to it too.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.path = (data_folder() if folder is None else folder) / _FILE

    def find(self, host: str, port: int) -> tuple[str, int] | None:
        """Return the fingerprint of a server and the number of its line; None if it is new.

        Raises `KnownServersError`.
        """
        address = _address(host, port)
        found = None
        for number, line in enumerate(self._read().splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            match = _LINE.fullmatch(line)
            if match is None:
                raise KnownServersError(self.path, f"line {number} is not HOST:PORT sha256:FINGERPRINT")
            if match[1] == address:
                found = match[2], number  # the last line is the newest and counts
        return found

    def add(self, host: str, port: int, fingerprint: str) -> None:
        """Pin the fingerprint of a new server. Raises `KnownServersError`."""
        line = f"{_address(host, port)} sha256:{fingerprint}\n"
        before = self._read()
        if not before:
            line = _COMMENT + line
        elif not before.endswith("\n"):
            line = "\n" + line
        try:
            make_private_folder(self.path.parent)
            # One write in append mode: two programs that do this at once keep each other's lines.
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, line.encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise KnownServersError(self.path, close_reason(error)) from error

    def _read(self) -> str:
        try:
            return self.path.read_text("utf-8")
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            why = close_reason(error) if isinstance(error, OSError) else "it is not a text file"
            raise KnownServersError(self.path, why) from error


def _address(host: str, port: int) -> str:
    return join_address(host.lower().rstrip("."), port)
