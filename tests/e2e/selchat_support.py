"""The selchat protocol by hand, from docs/protocol.rst alone: no test checks the package against itself.

A `SelchatPeer` waits for each message of the server, up to a deadline. `Frames` and `encoded` serve tests
with an event loop.
"""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e import processes
from tests.e2e.processes import SELCHAT
from tests.e2e.support import DEADLINE, Server, eventually, frame

Fields = dict[str, Any]


def secret(name: str) -> str:
    """Return the secret of the owner of a name."""
    return f"the secret of {name}".ljust(24, ".")


def encoded(*messages: Fields) -> bytes:
    """Return one frame for each message."""
    return b"".join(frame(json.dumps(one, ensure_ascii=False, separators=(",", ":"))) for one in messages)


def greeting(name: str, **more: object) -> Fields:
    """Return a hello."""
    return {"type": "hello", "version": 1, "name": name, "client": secret(name), **more}


class Frames:
    """Split a stream into the payloads of its frames."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the payloads that these bytes complete."""
        self._data += data
        found, start, stream = [], 0, self._data
        while len(stream) - start >= 10:
            end = start + 10 + int(stream[start : start + 10])
            if end > len(stream):
                break
            found.append(bytes(stream[start + 10 : end]))
            start = end
        del stream[:start]
        return found


class SelchatPeer:
    """A selchat client. With a ``name``, it sends the hello and reads the welcome.

    ``source``: the address to connect from. ``buffer``: the socket's receive buffer in bytes.
    """

    def __init__(
        self, port: int, name: str | None = None, *, source: str = "", buffer: int = 0, **hello: object
    ) -> None:
        self.sock = socket.socket()
        self.sock.settimeout(DEADLINE)
        if buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self._frames = Frames()
        self._payloads: list[bytes] = []
        self.welcome: Fields = {}
        try:
            if source:
                self.sock.bind((source, 0))
            self.sock.connect(("127.0.0.1", port))
            if name is not None:
                self.send(greeting(name, **hello))
                self.welcome = self.read()
                assert self.welcome["type"] == "welcome", self.welcome
        except BaseException:
            self.close()
            raise

    # -- send ------------------------------------------------------------------------------------------

    def send(self, *messages: Fields) -> None:
        self.sock.sendall(encoded(*messages))

    def request(self, type: str, **fields: object) -> Fields:
        """Send a request, and return the next message."""
        self.send({"type": type, **fields})
        return self.read()

    def say(self, body: str, id: str, room: str = "lobby", **more: object) -> Fields:
        """Send a message to a room, and return the ack, or any other message that comes instead."""
        return self.request("say", room=room, id=id, body=body, **more)

    def whisper(self, to: str, body: str, id: str) -> Fields:
        return self.request("whisper", to=to, id=id, body=body)

    # -- receive ---------------------------------------------------------------------------------------

    def read_payload(self) -> bytes:
        """Return the next payload. Raises EOFError at the end."""
        while not self._payloads:
            data = self.sock.recv(1 << 16)
            if not data:
                raise EOFError
            self._payloads = self._frames.feed(data)
        return self._payloads.pop(0)

    def read(self) -> Fields:
        fields = json.loads(self.read_payload())
        assert isinstance(fields, dict)
        return fields

    def read_until(self, condition: Callable[[Fields], bool]) -> list[Fields]:
        """Read messages up to the first for which ``condition`` is true; return all of them."""
        found = [self.read()]
        while not condition(found[-1]):
            found.append(self.read())
        return found

    def read_to_end(self) -> list[Fields]:
        """Return all messages up to the end of the connection."""
        found = []
        while True:
            try:
                found.append(self.read())
            except EOFError:
                return found

    def wait_for_member(self, name: str, room: str = "lobby") -> None:
        """Wait until ``name`` is a member of the room. No other message may arrive before."""
        eventually(lambda: name in self.request("users", room=room)["names"], f"{name} is a member of {room}")

    def assert_nothing_more(self) -> None:
        """Assert that no message is unread: the next one is the answer to a ping."""
        assert self.request("ping", token="?") == {"type": "pong", "token": "?"}

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> SelchatPeer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serving(history: Path, *options: str, port: int = 0, **more: Any) -> Server:
    """Start a server on the file ``history`` that prints only warnings and sends no roster."""
    return Server("--quiet", "--no-roster", f"--history={history}", *options, port=port, **more)


def cannot_serve(*options: str, **more: Any) -> str:
    """Return the only line that a server prints which cannot start."""
    done = processes.run(
        [*SELCHAT, "serve", "--port=0", "--host=127.0.0.1", *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        **more,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done
    return str(done.stderr)


def said(message: Fields) -> tuple[Any, ...]:
    """Return the fields of a message that do not depend on the clock."""
    return message["from"], message["seq"], message["body"]


def without(fields: Fields, *names: str) -> Fields:
    return {name: value for name, value in fields.items() if name not in names}
