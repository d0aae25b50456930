"""The plain chat and ``send`` in this process, on files and pipes, with a fake server in a thread."""

from __future__ import annotations

import os
import pty
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from selchat.client import plain
from selchat.client.plain import PlainChat
from selchat.client.send import Sender
from tests.client.support import DEADLINE, RawServer, eventually, frame, pair, serving, settings

LOGIN = frame("Michael")


class Outcome:
    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err


@contextmanager
def opened(*paths: Path) -> Iterator[list[int]]:
    descriptors = [os.open(path, os.O_RDWR | os.O_CREAT) for path in paths]
    try:
        yield descriptors
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


@pytest.fixture
def piped() -> Iterator[tuple[int, int]]:
    """A pipe for the input: its read end, and its write end, which the test may close."""
    read_end, write_end = os.pipe()
    yield read_end, write_end
    os.close(read_end)
    try:
        os.close(write_end)
    except OSError:
        pass


def chat(tmp_path: Path, port: int, stdin: int | bytes, **more: object) -> Outcome:
    (tmp_path / "in").write_bytes(stdin if isinstance(stdin, bytes) else b"")
    with opened(tmp_path / "in", tmp_path / "out", tmp_path / "err") as descriptors:
        if isinstance(stdin, int):
            os.close(descriptors[0])
            descriptors[0] = os.dup(stdin)
        status = PlainChat(
            settings(port, **more),
            jitter=lambda *_: 0.0,
            descriptors=tuple(descriptors),  # type: ignore[arg-type]
        ).run()
    return Outcome(status, (tmp_path / "out").read_text(), (tmp_path / "err").read_text())


def send(
    tmp_path: Path,
    port: int,
    message: str | None = None,
    stdin: bytes = b"",
    progress_seconds: float | None = None,
    **more: object,
) -> Outcome:
    (tmp_path / "in").write_bytes(stdin)
    with opened(tmp_path / "in", tmp_path / "err") as (source, errors):
        sender = Sender(
            settings(port, **more), message, progress_seconds=progress_seconds, stdin=source, stderr=errors
        )
        status = sender.run()
    return Outcome(status, "", (tmp_path / "err").read_text())


def expect(data: bytes, answer: bytes = b"") -> object:
    """Return a server script that expects exactly these bytes and the end, answers, and closes."""

    def script(server: RawServer) -> None:
        peer = server.accept()
        eventually(lambda: peer.received and peer.ended, "the end")
        assert peer.received == data
        peer.send(answer)
        peer.close()

    return script


# -- plain ---------------------------------------------------------------------------------------------


def test_input_and_output_lines_are_messages(tmp_path: Path) -> None:
    answer = pair("Venkat", "Hey!") + pair("\x1b[2JX", "a\tb\nc\x07") + pair("Server", "Users online (1): A")
    with serving(expect(LOGIN + frame("one") + frame(" two") + frame("last"), answer)) as server:  # type: ignore[arg-type]
        got = chat(tmp_path, server.port, b"one\n\n two\r\nlast")
    assert got.status == 0
    assert got.out == "Venkat > Hey!\n\\x1b\\x5b2JX > a    b\\nc\\x07\nServer > Users online (1): A\n"
    assert got.err == "Connected to the Server: 127.0.0.1\n"


def test_the_key_encrypts_and_decrypts(tmp_path: Path) -> None:
    with serving(expect(LOGIN + frame("olsp"), pair("V", "ol\x80"))) as server:  # type: ignore[arg-type]
        got = chat(tmp_path, server.port, b"heli\n", key="1024")
    assert (got.status, got.out) == (0, "V > hey\n")


def test_commands_work_in_plain_mode(tmp_path: Path) -> None:
    with serving(expect(LOGIN + frame("/x") + frame("y"))) as server:  # type: ignore[arg-type]
        got = chat(tmp_path, server.port, b"//x\n/users\n/help\n/nope\ny\n/quit\nnever said\n")
    assert (got.status, got.out) == (1, "")
    assert "No users are known yet" in got.err
    assert "/quit           leave" in got.err
    assert "selchat: line 4: not sent: unknown command /nope; /help" in got.err


def test_too_long_lines_are_not_sent(tmp_path: Path) -> None:
    lines = b"ok\n" + b"x" * 200_000 + b"\n" + b"\xff" * 400 + b"\nok\n"
    with serving(expect(LOGIN + frame("ok") * 2)) as server:  # type: ignore[arg-type]
        got = chat(tmp_path, server.port, lines, frame_limit=1000)
    assert got.status == 1
    assert "selchat: line 2: not sent: " in got.err
    assert "selchat: line 3: not sent: it takes 1200 bytes, and the limit is 1000\n" in got.err


def test_a_refused_connection_is_reported(tmp_path: Path) -> None:
    with RawServer() as server:
        port = server.port
    got = chat(tmp_path, port, b"hey\n")
    assert got.status == 1
    assert got.err == (
        f"selchat: cannot connect to 127.0.0.1:{port}: connection refused; is the server running there?\n"
    )


@pytest.mark.parametrize("as_file", [True, False])
def test_a_huge_input_is_streamed(tmp_path: Path, as_file: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"{number:08}" for number in range(100_000)]
    data = "".join(f"{line}\n" for line in lines).encode()
    max_queued = 0

    def script(server: RawServer) -> None:
        peer = server.accept()
        eventually(lambda: peer.received and peer.ended, "the end")
        assert peer.received == LOGIN + b"".join(map(frame, lines))
        peer.close()

    from selchat.client.connection.link import Link

    said = Link.say

    def say(link: Link, text: str, room: str) -> str:
        nonlocal max_queued
        id = said(link, text, room)
        max_queued = max(max_queued, link.queued)
        return id

    monkeypatch.setattr(Link, "say", say)
    with serving(script) as server:
        if as_file:
            got = chat(tmp_path, server.port, data, queue_limit=400_000)
        else:
            (tmp_path / "source").write_bytes(data)
            with os.popen(f"cat {tmp_path / 'source'}") as source:
                got = chat(tmp_path, server.port, source.fileno(), queue_limit=400_000)
    assert (got.status, got.err) == (0, "Connected to the Server: 127.0.0.1\n")
    assert max_queued < 400_000


def test_the_chat_reconnects(tmp_path: Path, piped: tuple[int, int]) -> None:
    source, typed = piped

    def script(server: RawServer) -> None:
        peer = server.accept()
        eventually(lambda: peer.received == LOGIN)
        peer.close()
        peer = server.accept()
        os.write(typed, b"back\n")
        eventually(lambda: peer.received == LOGIN + frame("back"))
        os.close(typed)
        eventually(lambda: peer.ended or not peer.received)
        eventually(lambda: peer.received and peer.ended)
        peer.close()

    with serving(script) as server:
        got = chat(tmp_path, server.port, source)
    assert got.status == 0
    assert got.err == (
        "Connected to the Server: 127.0.0.1\n"
        "Connection lost: closed by the server; retrying in 0.0 s\n"
        "Connected to the Server: 127.0.0.1\n"
    )


def test_unsent_messages_are_counted(tmp_path: Path, piped: tuple[int, int]) -> None:
    source, typed = piped
    errors = tmp_path / "err"

    def script(server: RawServer) -> None:
        peer = server.accept()
        eventually(lambda: peer.received == LOGIN)
        server.listener.close()
        peer.close()
        eventually(lambda: "Connection lost" in errors.read_text())
        os.write(typed, b"one\ntwo\n")
        os.close(typed)

    with serving(script) as server:
        got = chat(tmp_path, server.port, source, finish_seconds=0.3)
    assert got.status == 1
    assert got.err.endswith("selchat: out of time; 2 messages were not sent\n")


def test_sigint_exits_with_130(tmp_path: Path, piped: tuple[int, int]) -> None:
    def script(server: RawServer) -> None:
        peer = server.accept()
        eventually(lambda: peer.received == LOGIN)
        os.kill(os.getpid(), signal.SIGINT)
        eventually(lambda: peer.received and peer.ended)

    with serving(script) as server:
        got = chat(tmp_path, server.port, piped[0])
    assert (got.status, got.err) == (130, "Connected to the Server: 127.0.0.1\n")


def test_a_closed_output_ends_the_chat(piped: tuple[int, int], tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)

    def script(server: RawServer) -> None:
        peer = server.accept()
        eventually(lambda: peer.received == LOGIN)
        peer.send(pair("Venkat", "hey"))
        eventually(lambda: peer.received and peer.ended)
        peer.close()

    with serving(script) as server, opened(tmp_path / "err") as [errors]:
        status = PlainChat(settings(server.port), descriptors=(piped[0], write_end, errors)).run()
    os.close(write_end)
    assert status == 0
    assert (tmp_path / "err").read_text() == "Connected to the Server: 127.0.0.1\n"


def test_an_internal_error_ends_the_chat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(PlainChat, "connected", broken)
    with serving(lambda server: server.accept()) as server:
        got = chat(tmp_path, server.port, b"")
    assert got.status == 1
    assert "RuntimeError: a bug" in got.err


# -- send ----------------------------------------------------------------------------------------------


def test_send_sends_one_message(tmp_path: Path) -> None:
    with serving(expect(LOGIN + frame("/Hello\nWorld!"), pair("Venkat", "ignored"))) as server:  # type: ignore[arg-type]
        got = send(tmp_path, server.port, "/Hello\nWorld!")
    assert (got.status, got.err) == (0, "")


def test_send_sends_each_line_as_a_message(tmp_path: Path) -> None:
    with serving(expect(LOGIN + frame("/one") + frame("two"))) as server:  # type: ignore[arg-type]
        got = send(tmp_path, server.port, None, b"/one\n\ntwo\n")
    assert (got.status, got.err) == (0, "")


def test_send_sends_20000_lines(tmp_path: Path) -> None:
    lines = b"".join(frame(f"{number}") for number in range(20_000))
    with serving(expect(LOGIN + lines)) as server:  # type: ignore[arg-type]
        got = send(
            tmp_path,
            server.port,
            None,
            b"".join(b"%d\n" % number for number in range(20_000)),
            queue_limit=400_000,
        )
    assert (got.status, got.err) == (0, "")


def test_send_rejects_too_long_messages(tmp_path: Path) -> None:
    got = send(tmp_path, 1, "x" * 11, frame_limit=10)
    assert (got.status, got.err) == (1, "selchat: not sent: it takes 11 bytes, and the limit is 10\n")
    with serving(expect(LOGIN + frame("ok"))) as server:  # type: ignore[arg-type]
        got = send(tmp_path, server.port, None, b"x" * 101 + b"\nok\n", frame_limit=100)
    assert (got.status, got.err) == (
        1,
        "selchat: line 1: not sent: it takes 101 bytes or more, and the limit is 100\n",
    )


def test_send_reports_the_notice_of_a_classic_server(tmp_path: Path) -> None:
    words = "Closing this connection: server is full (5 connections)."
    with serving(expect(LOGIN + frame("hey"), pair("Server", words))) as server:  # type: ignore[arg-type]
        got = send(tmp_path, server.port, "hey")
    assert (got.status, got.err) == (1, f"selchat: the server said: {words}\n")


def test_send_reports_a_connection_closed_early(tmp_path: Path, piped: tuple[int, int]) -> None:
    def script(server: RawServer) -> None:
        peer = server.accept()
        eventually(lambda: peer.received == LOGIN)
        peer.close()

    with serving(script) as server, opened(tmp_path / "err") as [errors]:
        status = Sender(settings(server.port), stdin=piped[0], stderr=errors).run()
    assert (status, (tmp_path / "err").read_text()) == (
        1,
        "selchat: connection lost: closed by the server\n",
    )


def test_send_shows_progress_on_a_slow_server(tmp_path: Path) -> None:
    errors = tmp_path / "err"

    def script(server: RawServer) -> None:
        peer = server.accept()
        eventually(lambda: peer.received and peer.ended)
        eventually(lambda: errors.read_text() != "")
        peer.close()

    with serving(script) as server:
        got = send(tmp_path, server.port, "hey", progress_seconds=0.05, drain_seconds=DEADLINE)
    assert (got.status, got.err) == (0, "Waiting for the server to receive everything...\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full (Linux)")
def test_an_output_that_cannot_be_written_is_an_error(tmp_path: Path, piped: tuple[int, int]) -> None:
    def script(server: RawServer) -> None:
        peer = server.accept()
        eventually(lambda: peer.frames() == ["Michael"])
        peer.send(pair("Venkat", "Hey!"))
        eventually(lambda: peer.ended)
        peer.close()

    with serving(script) as server, opened(tmp_path / "err") as (errors,):
        output = os.open("/dev/full", os.O_WRONLY)
        try:
            status = PlainChat(settings(server.port), descriptors=(piped[0], output, errors)).run()
        finally:
            os.close(output)
    assert status == 1
    assert (
        (tmp_path / "err")
        .read_text()
        .endswith("selchat: cannot write the messages: no space left on device\n")
    )


@pytest.mark.parametrize(("password", "discarded"), [("tea", 1), ("", 0)])
def test_keys_typed_after_the_password_are_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str, discarded: int
) -> None:
    calls: list[None] = []
    monkeypatch.setattr(plain, "discard_typeahead", lambda: calls.append(None))
    keyboard, terminal = pty.openpty()

    def script(server: RawServer) -> None:
        peer = server.accept()
        eventually(lambda: peer.frames() == ["Michael"])
        peer.close()
        peer = server.accept()  # a reconnection, during which the user types messages
        eventually(lambda: peer.frames() == ["Michael"])
        os.write(keyboard, b"/quit\n")
        eventually(lambda: peer.ended)
        peer.close()

    with serving(script) as server, opened(tmp_path / "out", tmp_path / "err") as (output, errors):
        try:
            chat = PlainChat(
                settings(server.port, password=password),
                jitter=lambda *_: 0.0,
                descriptors=(terminal, output, errors),
            )
            assert chat.run() == 0
        finally:
            os.close(keyboard)
            os.close(terminal)
    assert len(calls) == discarded
