"""Start ``selchat`` as a process, as `subprocess` would, by a fork where that shows the same.

`Popen` and `run` take the arguments of their namesakes in `subprocess` that the tests use. A command that
begins with `SELCHAT` is forked from a preloaded process (`tests.e2e.fork_server`). Every other command, and
every command with an option that a fork cannot serve, is executed.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import selectors
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tests.e2e.fork_server import REPORT

SELCHAT = (sys.executable, "-m", "selchat")
_REPORT_SIZE = len(REPORT.format(0))
_ROOT = Path(__file__).parents[2]


class _ForkServer:
    """The running fork server of this pytest worker."""

    def __init__(self) -> None:
        self._socket, child_socket = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with child_socket:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.e2e.fork_server"],
                stdin=child_socket,
                cwd=_ROOT,
                process_group=0,
            )

    def start(
        self,
        arguments: Sequence[str],
        descriptors: Sequence[int],
        environment: Mapping[str, str],
        folder: str,
        terminal: bool,
    ) -> tuple[int, int]:
        """Return the process id, and the pipe on which its wait status comes."""
        reader, writer = os.pipe()
        words = {
            "arguments": [*arguments],
            "environment": dict(environment),
            "folder": folder,
            "terminal": terminal,
        }
        try:
            socket.send_fds(self._socket, [json.dumps(words).encode()], [*descriptors, writer])
        finally:
            os.close(writer)
        return int(os.read(reader, _REPORT_SIZE)), reader

    def close(self) -> None:
        self._socket.close()
        self._process.wait()


_running: list[_ForkServer] = []  # at most one


@contextmanager
def fork_server() -> Iterator[None]:
    """Have `Popen`, `run` and `Terminal` fork while this is open."""
    if sys.platform != "linux":
        yield
        return
    server = _ForkServer()
    _running.append(server)
    try:
        yield
    finally:
        _running.remove(server)
        server.close()


class ForkedProcess:
    """A process that the fork server has started: the part of `subprocess.Popen` that the tests use."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        stdin: Any = None,
        stdout: Any = None,
        stderr: Any = None,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        text: bool = False,
        terminal: int | None = None,
    ) -> None:
        """``terminal``: a terminal to become the controlling one, and all three streams."""
        self.args = command
        self.returncode: int | None = None
        self._text = text
        child_streams: list[int] = []
        opened: list[int] = []
        self.stdin = self.stdout = self.stderr = None
        streams = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
        for number, (name, asked) in enumerate(streams.items()):
            if terminal is not None:
                child_streams.append(terminal)
            elif asked is None:
                child_streams.append(number)
            elif asked == subprocess.PIPE:
                reader, writer = os.pipe()
                parent_end, child_end = (writer, reader) if name == "stdin" else (reader, writer)
                mode = ("w" if name == "stdin" else "r") + ("" if text else "b")
                buffering = 0 if name == "stdin" and not text else -1
                setattr(self, name, open(parent_end, mode, buffering))  # noqa: SIM115
                child_streams.append(child_end)
                opened.append(child_end)
            elif asked == subprocess.DEVNULL:
                opened.append(os.open(os.devnull, os.O_RDWR))
                child_streams.append(opened[-1])
            elif asked == subprocess.STDOUT:
                child_streams.append(child_streams[1])
            else:
                child_streams.append(asked if isinstance(asked, int) else asked.fileno())
        try:
            self.pid, self._status = _running[0].start(
                command[len(SELCHAT) :],
                child_streams,
                os.environ if env is None else env,
                str(cwd or Path.cwd()),
                terminal is not None,
            )
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def poll(self) -> int | None:
        return self._wait(0)

    def wait(self, timeout: float | None = None) -> int:
        if self._wait(timeout) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        assert self.returncode is not None
        return self.returncode

    def _wait(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._status, selectors.EVENT_READ)
                if selector.select(timeout):
                    self.returncode = os.waitstatus_to_exitcode(int(os.read(self._status, _REPORT_SIZE)))
                    os.close(self._status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[Any, Any]:
        """Write ``input``, read both outputs to their ends, and wait."""
        end = None if timeout is None else time.monotonic() + timeout
        data = memoryview((input or "").encode() if self._text else input or b"")
        read: dict[Any, bytearray] = {
            stream: bytearray() for stream in (self.stdout, self.stderr) if stream is not None
        }
        with selectors.DefaultSelector() as selector:
            for stream in read:
                selector.register(stream, selectors.EVENT_READ)
            if self.stdin is not None:
                os.set_blocking(self.stdin.fileno(), False)
                selector.register(self.stdin, selectors.EVENT_WRITE)
            while selector.get_map():
                left = None if end is None else end - time.monotonic()
                ready = selector.select(left) if left is None or left > 0 else []
                if not ready:
                    raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
                for key, _ in ready:
                    if key.fileobj is self.stdin:
                        try:
                            data = data[os.write(key.fd, data[: 1 << 16]) :] if data else data
                        except BrokenPipeError:
                            data = data[:0]
                        if not data:
                            selector.unregister(key.fileobj)
                            self.stdin.close()  # type: ignore[union-attr]
                    elif part := os.read(key.fd, 1 << 16):
                        read[key.fileobj] += part
                    else:
                        selector.unregister(key.fileobj)
        self.wait(None if end is None else max(0.0, end - time.monotonic()))
        outputs = [None if one is None else bytes(read[one]) for one in (self.stdout, self.stderr)]
        if self._text:
            outputs = [None if one is None else one.decode() for one in outputs]  # type: ignore[misc]
        return outputs[0], outputs[1]

    def __enter__(self) -> ForkedProcess:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.stdout, self.stderr, self.stdin):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass
        self.wait()

    stdin: IO[Any] | None
    stdout: IO[Any] | None
    stderr: IO[Any] | None


_FORKABLE = frozenset({"stdin", "stdout", "stderr", "env", "cwd", "text"})
_READ_AT_START = ("LD_", "PYTHON")  # how variables begin that only a new interpreter obeys


def _can_fork(command: Sequence[str], environment: Mapping[str, str] | None) -> bool:
    """Whether a fork shows the same as an execution."""
    if not _running or tuple(command[: len(SELCHAT)]) != SELCHAT:
        return False
    changed = {} if environment is None else dict(set(environment.items()) ^ set(os.environ.items()))
    return not any(name.startswith(_READ_AT_START) for name in changed)


def Popen(command: Sequence[str], **options: Any) -> Any:
    """Return a `ForkedProcess` where one serves, else a `subprocess.Popen`."""
    if _FORKABLE.issuperset(options) and _can_fork(command, options.get("env")):
        return ForkedProcess(command, **options)
    return subprocess.Popen(command, **options)


def run(
    command: Sequence[str],
    *,
    input: Any = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **options: Any,
) -> subprocess.CompletedProcess[Any]:
    """Run a command to its end, as `subprocess.run` does."""
    if capture_output:
        options["stdout"] = options["stderr"] = subprocess.PIPE
    if input is not None:
        options["stdin"] = subprocess.PIPE
    with Popen(command, **options) as process:
        try:
            output, errors = process.communicate(input, timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(command, process.returncode, output, errors)
    if check:
        done.check_returncode()
    return done


def start_on_terminal(
    command: Sequence[str], environment: Mapping[str, str], rows: int, columns: int
) -> tuple[Any, int]:
    """Start a command on a new pseudoterminal; return the process, and the terminal's other end."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    try:
        if _can_fork(command, environment):
            return ForkedProcess(command, env=environment, terminal=slave), master
        process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, *command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
        )
        return process, master
    finally:
        os.close(slave)


# Make standard input the controlling terminal of this new session, and become the command.
_TAKE_TERMINAL = """\
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
