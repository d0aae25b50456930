"""A server in this process that runs only while a test ticks it, and raw classic clients for it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from selchat.chat.commands import Commands
from selchat.config.settings import Settings
from selchat.server.server import Server

_OPTIONS = {"host": "127.0.0.1", "port": 0, "tls": "off", "roster": False}


def frame(text: str) -> bytes:
    return f"{len(text.encode()):<10}{text}".encode()


class Running:
    """A server with the settings ``options``, and the lines that it has shown to its operator.

    `reload` makes it load other settings; an exception instead of settings is raised by the load.
    """

    def __init__(self, folder: Path, **options: Any) -> None:
        self._output = folder / "output"
        self._stdin = os.open(os.devnull, os.O_RDONLY)
        self._stdout = os.open(self._output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self._shown = 0  # lines that `new_lines` has returned
        self._options = {**_OPTIONS, **options}
        self._to_load: Settings | Exception = Settings(**self._options)
        self.server = Server(self._to_load, self._load, stdin=self._stdin, stdout=self._stdout)

    def _load(self) -> Settings:
        if isinstance(self._to_load, Exception):
            raise self._to_load
        return self._to_load

    def reload(self, **changed: Any) -> list[str]:
        """Reload with changed settings; return the lines that the operator sees."""
        self._options = {**self._options, **changed}
        return self.load(Settings(**self._options))

    def load(self, loaded: Settings | Exception) -> list[str]:
        """Reload with the loader's result or exception; return the lines that the operator sees."""
        self._to_load = loaded
        self.new_lines()
        self.server.reload()
        return self.new_lines()

    def new_lines(self) -> list[str]:
        """Return the lines since the last call."""
        self.server.reactor.tick(0)
        lines = self._output.read_text().splitlines()
        new, self._shown = lines[self._shown :], len(lines)
        return new

    def tick_until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 20  # ends a broken test
        while not condition():
            assert time.monotonic() < deadline, "the condition did not become true"
            self.server.reactor.tick(0.01)

    def connect(self, name: str | None = None) -> Peer:
        """Connect a classic client and, with a name, sign it in."""
        peer = Peer(self)
        if name is not None:
            peer.send(name)
            self.tick_until(lambda: self.server.hub.find_member(name))
        return peer

    def accept(self, host: str) -> Peer:
        """Connect a client from any address."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        peer = Peer(self, theirs)
        self.server.accept(ours, host, 54494)
        return peer

    def type(self, line: str) -> list[str]:
        """Run an operator's line; return its output."""
        return Commands(self.server.hub, self.server.stop).run(line)

    def close(self) -> None:
        self.server.close()
        os.close(self._stdin)
        os.close(self._stdout)


class Peer:
    """A raw connection. The server serves it only inside a tick."""

    def __init__(self, running: Running, sock: socket.socket | None = None) -> None:
        self._running = running
        self.sock = sock or socket.create_connection(running.server.address)
        self.sock.setblocking(False)
        self.ended = False  # whether the server has closed the connection
        self.received = b""

    def send(self, *texts: str) -> None:
        self.sock.sendall(b"".join(map(frame, texts)))

    def send_raw(self, data: bytes) -> None:
        self.sock.sendall(data)

    def expect(self, text: str) -> None:
        """Tick until the server has sent ``text``."""
        self._running.tick_until(lambda: text.encode() in self._read())

    def expect_end(self) -> bytes:
        """Tick until the server has closed the connection; return everything that it has sent."""
        self._running.tick_until(self._has_ended)
        return self.received

    def _has_ended(self) -> bool:
        self._read()
        return self.ended

    def _read(self) -> bytes:
        try:
            data = self.sock.recv(1 << 16)
            self.ended = not data
            self.received += data
        except BlockingIOError:
            pass
        except ConnectionResetError:
            self.ended = True
        return self.received

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


def certificate_for(name: str, path: Path, begins: float = 0, ends: float = 365) -> str:
    """Write a certificate for a host name, and its key, into one file; return the path.

    ``begins``, ``ends``: in days from now.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now + timedelta(days=begins))
        .not_valid_after(now + timedelta(days=ends))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(certificate.public_bytes(Encoding.PEM) + private)
    return str(path)
