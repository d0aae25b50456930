"""Fork server: start ``selchat`` from a process that has imported it already.

A start of the interpreter with all imports costs 0.4 s of CPU time, a fork 5 ms. `tests.e2e.processes` runs
one fork server for each pytest worker. A request is one message on a socket: the arguments, the environment
and the working directory as JSON, with four descriptors: standard input, output and error, and a pipe on
which the server reports the process id and, at the end, the wait status.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import io
import json
import os
import pkgutil
import select
import signal
import socket
import sys
import termios

import selchat

REQUEST_SIZE = 1 << 20  # bytes of one request; the environment is the largest part of it
REPORT = "{:11d}\n"  # of a process id, and of a wait status: both have the same size


def main() -> None:
    """Serve requests on the socket that is standard input, until its other end closes."""
    for module in pkgutil.walk_packages(selchat.__path__, "selchat."):
        if not module.name.endswith("__main__") and not module.name.startswith("selchat.bench"):
            importlib.import_module(module.name)
    gc.collect()
    gc.freeze()
    sys.argv[1:] = _serve(socket.socket(fileno=0))
    run = importlib.import_module("selchat.cli").main
    sys.exit(run())


def _serve(requests: socket.socket) -> list[str]:
    """Fork for each request. Return in the child, with its arguments."""
    reports: dict[int, int] = {}  # by process id: the pipe to report its end on
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at the test run ends it by closing the socket
    signal.set_wakeup_fd(writer)
    while True:
        ready, _, _ = select.select([requests, reader], [], [])
        if reader in ready:
            os.read(reader, 4096)
        while reports:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            _report(reports[pid], status)
            os.close(reports.pop(pid))
        if requests in ready:
            message, descriptors, _, _ = socket.recv_fds(requests, REQUEST_SIZE, 4)
            if not message:
                for pid in reports:
                    os.kill(pid, signal.SIGKILL)
                os._exit(0)
            words = json.loads(message)
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                for descriptor in (reader, writer, *reports.values()):
                    os.close(descriptor)
                requests.detach()  # standard input, which is replaced now
                _become(words, descriptors)
                return list(words["arguments"])
            for descriptor in descriptors[:3]:
                os.close(descriptor)
            reports[pid] = descriptors[3]
            _report(descriptors[3], pid)


def _become(words: dict[str, object], descriptors: list[int]) -> None:
    """Make the child what a started interpreter would be."""
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
    for descriptor in descriptors:
        os.close(descriptor)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if words["terminal"]:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.environ.clear()
    os.environ.update(words["environment"])  # type: ignore[call-overload]
    os.chdir(str(words["folder"]))
    sys.stdin = io.TextIOWrapper(open(0, "rb", closefd=False), "utf-8", "strict")  # noqa: SIM115
    sys.stdout = _output(1, "strict")
    sys.stderr = _output(2, "backslashreplace")


def _output(number: int, errors: str) -> io.TextIOWrapper:
    raw = open(number, "wb", closefd=False)  # noqa: SIM115
    return io.TextIOWrapper(raw, "utf-8", errors, line_buffering=number == 2 or os.isatty(number))


def _report(pipe: int, number: int) -> None:
    try:
        os.write(pipe, REPORT.format(number).encode())
    except BrokenPipeError:  # the test has ended without waiting
        pass


if __name__ == "__main__":
    main()
