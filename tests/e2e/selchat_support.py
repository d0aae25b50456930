"""The selchat protocol by hand, from docs/protocol.rst alone: no test checks the package against itself.

A `SelchatPeer` waits for what the server says, up to a deadline. `Frames` and `encoded` are for those who have a
loop of their own.
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
    """What makes a name its owner's."""
    return f"the secret of {name}".ljust(24, ".")


def encoded(*messages: Fields) -> bytes:
    """One frame for each of these."""
    return b"".join(frame(json.dumps(one, ensure_ascii=False, separators=(",", ":"))) for one in messages)


def greeting(name: str, **more: object) -> Fields:
    """A hello."""
    return {"type": "hello", "version": 1, "name": name, "client": secret(name), **more}


class Frames:
    """Takes a stream to pieces."""

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
    """Someone on the selchat protocol. With a ``name``, the hello is said and the welcome read.

    ``source``: the address to come from. ``buffer``: bytes that its socket takes.
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

    # -- what it says ----------------------------------------------------------------------------------

    def send(self, *messages: Fields) -> None:
        self.sock.sendall(encoded(*messages))

    def request(self, type: str, **fields: object) -> Fields:
        """Send it and return what comes next."""
        self.send({"type": type, **fields})
        return self.read()

    def say(self, body: str, id: str, room: str = "lobby", **more: object) -> Fields:
        """Say it and return the ack, or whatever comes instead."""
        return self.request("say", room=room, id=id, body=body, **more)

    def whisper(self, to: str, body: str, id: str) -> Fields:
        return self.request("whisper", to=to, id=id, body=body)

    # -- what it hears ---------------------------------------------------------------------------------

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

    def read_until(self, wanted: Callable[[Fields], bool]) -> list[Fields]:
        """Read up to and with the first that is wanted."""
        found = [self.read()]
        while not wanted(found[-1]):
            found.append(self.read())
        return found

    def read_to_end(self) -> list[Fields]:
        """Return what comes until the server closes."""
        found = []
        while True:
            try:
                found.append(self.read())
            except EOFError:
                return found

    def wait_for_member(self, name: str, room: str = "lobby") -> None:
        """Wait until someone is there; nothing else may come meanwhile."""
        eventually(lambda: name in self.request("users", room=room)["names"], f"{name} is in {room}")

    def assert_nothing_more(self) -> None:
        """Assert that everything was read: the next thing to come is the answer to a question."""
        assert self.request("ping", token="?") == {"type": "pong", "token": "?"}

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> SelchatPeer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serving(history: Path, *options: str, port: int = 0, **more: Any) -> Server:
    """Start a server on that file that shows only what goes wrong, and no roster."""
    return Server("--quiet", "--no-roster", f"--history={history}", *options, port=port, **more)


def cannot_serve(*options: str, **more: Any) -> str:
    """Return what is printed by a server that cannot run: one line."""
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
    """The parts of a message that do not depend on the clock."""
    return message["from"], message["seq"], message["body"]


def without(fields: Fields, *names: str) -> Fields:
    return {name: value for name, value in fields.items() if name not in names}
