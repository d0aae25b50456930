"""Real servers and raw clients for the end-to-end tests. Every wait polls, up to a deadline."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.e2e.processes import SELCHAT, Popen

DEADLINE = 20.0  # seconds: far more than anything here takes, so that a slow machine fails no test


def frame(payload: bytes | str) -> bytes:
    """Encode a classic frame. Written out here, so that no test checks the package against itself."""
    if isinstance(payload, str):
        payload = payload.encode()
    return str(len(payload)).encode().ljust(10) + payload


def pair(user: str, body: str) -> bytes:
    return frame(user) + frame(body)


def eventually(condition: Callable[[], bool], what: str = "condition", within: float = DEADLINE) -> None:
    """Poll until ``condition`` is true; fail with ``what`` after ``within`` seconds."""
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, f"not within {within} s: {what}"
        select.select([], [], [], 0.01)


def trust_server(
    port: int, fingerprint: str, host: str = "127.0.0.1", folder: str | Path | None = None
) -> None:
    """Pin the key of a server for the clients of this test, as if they had connected before.

    ``folder``: the data folder of the clients, if it is not the one of this test.
    """
    path = Path(folder or os.environ["XDG_DATA_HOME"]) / "selchat" / "known-servers"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(f"{host}:{port} sha256:{fingerprint}\n")


class Client:
    """A raw socket that speaks the classic protocol by hand."""

    def __init__(self, port: int, name: str | None = None, host: str = "127.0.0.1") -> None:
        self.sock = socket.create_connection((host, port), timeout=DEADLINE)
        own_host, own_port = self.sock.getsockname()[:2]
        self.address = f"[{own_host}]:{own_port}" if ":" in own_host else f"{own_host}:{own_port}"
        if name is not None:
            self.send(name)

    def send(self, payload: bytes | str) -> None:
        self.sock.sendall(frame(payload))

    def send_raw(self, data: bytes) -> None:
        self.sock.sendall(data)

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.sock.recv(size - len(data))
            if not part:
                raise EOFError(data)
            data += part
        return data

    def read_frame(self) -> str:
        return self.read(int(self.read(10))).decode()

    def read_pair(self) -> tuple[str, str]:
        return self.read_frame(), self.read_frame()

    def read_until(self, user: str, body: str) -> list[tuple[str, str]]:
        """Read pairs up to this one, and return the pairs before it."""
        before: list[tuple[str, str]] = []
        while (got := self.read_pair()) != (user, body):
            before.append(got)
        return before

    def read_to_end(self) -> bytes:
        data = b""
        while part := self.sock.recv(1 << 16):
            data += part
        return data

    def reset(self) -> None:
        """Close with a reset instead of an end of the stream."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Server:
    """``selchat serve`` as a process; ``port`` 0 lets it pick a free port."""

    def __init__(
        self,
        *options: str,
        stdin: int | None = subprocess.PIPE,
        host: str = "127.0.0.1",
        port: int = 0,
        wrapper: tuple[str, ...] = (sys.executable,),
        **more: object,
    ) -> None:
        command = [*wrapper, *SELCHAT[1:], "serve", f"--port={port}", f"--host={host}", *options]
        if not any(option.startswith("--message-rate") for option in options):
            command += ["--message-rate=0", "--byte-rate=0"]  # most tests send faster than a person types
        self.process = Popen(
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **more,
        )
        self.seen = ""
        try:
            self.port = int(self.expect(r"isten\w+\b.*:(\d+)\b").group(1))
            self.fingerprint = ""
            if "--tls=off" not in options:
                key = self.expect(
                    r"(?:Key fingerprint[^\n]*:\n|fingerprint\": \")([0-9a-f]{4}( [0-9a-f]{4}){15})\b.*\n"
                ).group(1)
                self.fingerprint = key.replace(" ", "")
                trust_server(self.port, self.fingerprint, host)
            if any(option == "--log-format=json" for option in options):
                self.expect(r'"event": "invited".*\n')
            else:
                local = host in {"127.0.0.1", "0.0.0.0", "::1", "::"}
                self.expect(
                    "In a browser on this machine: http://localhost:.*\n" if local else "In a browser: .*\n"
                )
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self.process.pid

    def expect(self, pattern: str, within: float = DEADLINE) -> re.Match[str]:
        """Wait until new standard output matches ``pattern``, and consume it up to the match."""
        end = time.monotonic() + within
        while (match := re.search(pattern, self.seen)) is None or not self.seen.endswith("\n"):
            left = end - time.monotonic()
            assert left > 0, f"no {pattern!r} in:\n{self.seen}"
            if select.select([self.process.stdout], [], [], left)[0]:
                data = os.read(self.process.stdout.fileno(), 1 << 16)  # type: ignore[union-attr]
                assert data, f"ended without {pattern!r}:\n{self.seen}\n{self.process.stderr.read()!r}"  # type: ignore[union-attr]
                self.seen += data.decode()
        self.seen = self.seen[match.end() :]
        return match

    def expect_line(self, line: str) -> None:
        self.expect(f"(?m)^{re.escape(line)}$")

    def type(self, line: str) -> None:
        self.process.stdin.write(line.encode() + b"\n")  # type: ignore[union-attr]
        self.process.stdin.flush()  # type: ignore[union-attr]

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        return self.process.wait(DEADLINE)

    def remaining_output(self) -> str:
        """Return the standard output that no `expect` consumed, after the process has ended."""
        return self.seen + self.process.stdout.read().decode()  # type: ignore[union-attr]

    def errors(self) -> str:
        return self.process.stderr.read().decode()  # type: ignore[union-attr]

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def assert_idle(self, seconds: float = 1.0) -> None:
        """Assert that the server does not spin: a busy loop would use a whole core."""
        cpu, end = self.cpu_seconds(), time.monotonic() + seconds
        eventually(lambda: time.monotonic() > end)
        assert self.cpu_seconds() - cpu < seconds / 4

    def assert_serves(self) -> None:
        """Assert that two new classic clients can exchange messages."""
        with Client(self.port, "Assertor") as one, Client(self.port, "Witness") as other:

            def received() -> bool:
                # Repeat: the server may get the first one before both have signed in.
                other.send("are you there?")
                return (
                    bool(select.select([one.sock], [], [], 0.1)[0]) and one.read_pair()[1] == "are you there?"
                )

            eventually(received, "a message arrives")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
