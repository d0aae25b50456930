from __future__ import annotations

import fcntl
import os
import pty
import subprocess
import sys
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from selchat.net import stdio as module
from selchat.net.reactor import Reactor
from selchat.net.stdio import LineReader, LineWriter
from tests.net.helpers import run_until, settle


class Descriptors:
    """Descriptors that are closed at the end of the test."""

    def __init__(self) -> None:
        self._open: set[int] = set()

    def keep(self, *descriptors: int) -> None:
        self._open.update(descriptors)

    def pipe(self) -> tuple[int, int]:
        ends = os.pipe()
        self.keep(*ends)
        return ends

    def terminal(self) -> tuple[int, int]:
        main, side = pty.openpty()
        self.keep(main, side)
        return main, side

    def open(self, path: str | Path, flags: int) -> int:
        descriptor = os.open(path, flags, 0o600)
        self.keep(descriptor)
        return descriptor

    def close(self, descriptor: int) -> None:
        self._open.discard(descriptor)
        os.close(descriptor)

    def close_all(self) -> None:
        for descriptor in tuple(self._open):
            self.close(descriptor)


@pytest.fixture
def files() -> Iterator[Descriptors]:
    files = Descriptors()
    yield files
    files.close_all()


class Reading:
    """A reader and all that it has said; a number is the size of a line that was too long."""

    def __init__(self, reactor: Reactor, descriptor: int, limit: int = 100) -> None:
        self.heard: list[str | int | None] = []
        self.reader = LineReader(
            reactor,
            descriptor,
            limit,
            on_line=self.heard.append,
            on_end=lambda: self.heard.append(None),
            on_too_long=self.heard.append,
        )


# -- reading -------------------------------------------------------------------------------------------


def test_lines_come_from_a_pipe_as_they_are_finished(reactor: Reactor, files: Descriptors) -> None:
    end, theirs = files.pipe()
    reading = Reading(reactor, end)
    os.write(theirs, b"one\ntw")
    run_until(reactor, lambda: reading.heard == ["one"])
    os.write(theirs, b"o\n\nthree\r\nno end")
    run_until(reactor, lambda: len(reading.heard) == 4)
    files.close(theirs)
    run_until(reactor, lambda: None in reading.heard)
    assert reading.heard == ["one", "two", "", "three", "no end", None]
    assert settle(reactor) == 0, "the end of a pipe does not spin"


def test_bytes_that_are_not_utf_8_are_replaced(reactor: Reactor, files: Descriptors) -> None:
    end, theirs = files.pipe()
    reading = Reading(reactor, end)
    os.write(theirs, b"caf\xc3\n" + "é\n".encode())
    run_until(reactor, lambda: len(reading.heard) == 2)
    reading.reader.close()
    assert reading.heard == ["caf\ufffd", "é"]


def test_a_character_that_comes_in_two_pieces_is_whole(reactor: Reactor, files: Descriptors) -> None:
    end, theirs = files.pipe()
    reading = Reading(reactor, end)
    os.write(theirs, "é".encode()[:1])
    settle(reactor)
    os.write(theirs, "é".encode()[1:] + b"\n")
    run_until(reactor, lambda: reading.heard)
    reading.reader.close()
    assert reading.heard == ["é"]


def test_a_line_that_is_too_long_is_thrown_away_and_reported_once(
    reactor: Reactor, files: Descriptors
) -> None:
    end, theirs = files.pipe()
    reading = Reading(reactor, end, limit=10)
    os.write(theirs, b"x" * 10 + b"\n" + b"y" * 11)
    run_until(reactor, lambda: len(reading.heard) == 2)
    os.write(theirs, b"y" * 100)
    settle(reactor)
    os.write(theirs, b"y\nshort\n" + b"z" * 11)
    files.close(theirs)
    run_until(reactor, lambda: None in reading.heard)
    assert reading.heard == ["x" * 10, 11, "short", 11, None]


def test_a_file_is_read_to_its_end_without_holding_up_a_tick(
    reactor: Reactor, files: Descriptors, tmp_path: Path
) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"".join(b"%07d\n" % number for number in range(50_000)) + b"last")
    reading = Reading(reactor, files.open(path, os.O_RDONLY))
    counts: list[int] = []
    reactor.at_tick_end(lambda: counts.append(len(reading.heard)))
    run_until(reactor, lambda: None in reading.heard)
    assert reading.heard == [*(f"{number:07d}" for number in range(50_000)), "last", None]
    assert max(after - before for before, after in zip([0, *counts], counts, strict=False)) <= 10_000
    assert settle(reactor) == 0


def test_the_null_device_is_an_end_and_does_not_spin(reactor: Reactor, files: Descriptors) -> None:
    reading = Reading(reactor, files.open(os.devnull, os.O_RDWR))
    run_until(reactor, lambda: reading.heard)
    assert reading.heard == [None]
    assert settle(reactor) == 0


def test_an_endless_device_holds_up_no_tick(reactor: Reactor, files: Descriptors) -> None:
    reading = Reading(reactor, files.open("/dev/zero", os.O_RDONLY))
    for _ in range(5):
        reactor.tick(0)
    assert reading.heard == [65536]
    reading.reader.close()
    assert settle(reactor) == 0


def test_a_closed_descriptor_is_an_end(reactor: Reactor, files: Descriptors) -> None:
    end, _theirs = files.pipe()
    files.close(end)
    reading = Reading(reactor, end)
    assert reading.heard == []
    run_until(reactor, lambda: reading.heard)
    assert reading.heard == [None]
    reading.reader.resume()
    assert settle(reactor) == 0


def test_a_closed_descriptor_that_was_paused_is_an_end_when_it_goes_on(
    reactor: Reactor, files: Descriptors
) -> None:
    end, _theirs = files.pipe()
    files.close(end)
    reading = Reading(reactor, end)
    reading.reader.pause()
    assert settle(reactor) == 0
    assert reading.heard == []
    reading.reader.resume()
    run_until(reactor, lambda: reading.heard)
    assert reading.heard == [None]


def test_a_directory_is_an_end(reactor: Reactor, files: Descriptors, tmp_path: Path) -> None:
    reading = Reading(reactor, files.open(tmp_path, os.O_RDONLY))
    run_until(reactor, lambda: reading.heard)
    assert reading.heard == [None]


def test_lines_come_from_a_terminal(reactor: Reactor, files: Descriptors) -> None:
    main, side = files.terminal()
    reading = Reading(reactor, side)
    os.write(main, b"one\n")
    run_until(reactor, lambda: reading.heard)
    os.write(main, b"\x04")  # Ctrl-D
    run_until(reactor, lambda: None in reading.heard)
    assert reading.heard == ["one", None]


def test_a_terminal_that_is_gone_is_an_end(reactor: Reactor, files: Descriptors) -> None:
    main, side = files.terminal()
    reading = Reading(reactor, side)
    assert not reading.reader.hung_up
    files.close(main)
    assert reading.reader.hung_up
    run_until(reactor, lambda: reading.heard)
    assert reading.heard == [None]
    assert settle(reactor) == 0
    assert reading.reader.hung_up


def test_what_is_no_terminal_never_hangs_up(reactor: Reactor, files: Descriptors) -> None:
    end, other = files.pipe()
    reading = Reading(reactor, end)
    files.close(other)
    run_until(reactor, lambda: reading.heard)
    assert not reading.reader.hung_up


def test_in_the_background_the_terminal_is_not_read(
    reactor: Reactor, files: Descriptors, monkeypatch: pytest.MonkeyPatch
) -> None:
    main, side = files.terminal()
    monkeypatch.setattr(module, "_BACKGROUND_POLL", 0.01)
    monkeypatch.setattr(os, "tcgetpgrp", lambda _descriptor: os.getpgrp() + 1)
    reading = Reading(reactor, side)
    os.write(main, b"one\n")
    looks: list[int] = []
    reactor.at_tick_end(lambda: looks.append(1))
    run_until(reactor, lambda: len(looks) > 5)
    assert reading.heard == []
    monkeypatch.setattr(os, "tcgetpgrp", lambda _descriptor: os.getpgrp())
    run_until(reactor, lambda: reading.heard)
    assert reading.heard == ["one"]
    reading.reader.close()


@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_a_paused_reader_reads_nothing_until_it_goes_on(
    reactor: Reactor, files: Descriptors, tmp_path: Path, kind: str
) -> None:
    end, theirs = files.pipe()
    if kind == "file":
        (tmp_path / "lines").write_bytes(b"one\n")
        end = files.open(tmp_path / "lines", os.O_RDONLY)
    reading = Reading(reactor, end)
    reading.reader.pause()
    reading.reader.pause()
    os.write(theirs, b"one\n")
    assert settle(reactor) == 0
    assert reading.heard == []
    reading.reader.resume()
    reading.reader.resume()
    run_until(reactor, lambda: reading.heard)
    reading.reader.close()
    assert reading.heard == ["one"]


def test_a_reader_of_a_file_can_pause_itself(reactor: Reactor, files: Descriptors, tmp_path: Path) -> None:
    (tmp_path / "lines").write_bytes(b"x" * 70_000 + b"\nlast\n")
    reading = Reading(reactor, files.open(tmp_path / "lines", os.O_RDONLY), limit=100)
    reading.reader._on_too_long = lambda _size: reading.reader.pause()
    reactor.tick(0)
    assert settle(reactor) == 0
    reading.reader.resume()
    run_until(reactor, lambda: None in reading.heard)
    assert reading.heard == ["last", None]


def test_a_reader_can_be_closed_by_its_own_line(reactor: Reactor, files: Descriptors) -> None:
    end, theirs = files.pipe()
    reading = Reading(reactor, end)
    reading.reader._on_line = lambda line: (reading.heard.append(line), reading.reader.close())
    os.write(theirs, b"/quit\nmore\nand more")
    run_until(reactor, lambda: reading.heard)
    files.close(theirs)
    assert settle(reactor) == 0
    assert reading.heard == ["/quit"]
    reading.reader.resume()
    assert settle(reactor) == 0


# -- writing -------------------------------------------------------------------------------------------


def writer(reactor: Reactor, descriptor: int, limit: int = 1000) -> LineWriter:
    return LineWriter(reactor, descriptor, limit, lambda count: f"{count} lines lost")


def drain(descriptor: int) -> bytes:
    """Read what is there, without waiting."""
    os.set_blocking(descriptor, False)
    data = bytearray()
    try:
        while part := os.read(descriptor, 1 << 20):
            data += part
    except BlockingIOError:
        pass
    return bytes(data)


def fill(descriptor: int) -> None:
    os.set_blocking(descriptor, False)
    for size in (4096, 1):
        try:
            while True:
                os.write(descriptor, b"." * size)
        except BlockingIOError:
            pass
    os.set_blocking(descriptor, True)


def test_lines_are_written_to_a_pipe_after_the_callback(reactor: Reactor, files: Descriptors) -> None:
    theirs, end = files.pipe()
    output = writer(reactor, end)
    output.write("one")
    output.write("zwölf")
    assert drain(theirs) == b""
    settle(reactor)
    assert drain(theirs) == "one\nzwölf\n".encode()
    assert os.get_blocking(end), "the description is shared, and is left as it was"
    output.close(1)


def test_a_blocked_pipe_holds_nothing_up_and_what_is_lost_is_said(
    reactor: Reactor, files: Descriptors
) -> None:
    theirs, end = files.pipe()
    fill(end)
    output = writer(reactor, end, limit=20)
    for number in range(10):
        output.write(f"line {number}")
    assert settle(reactor) <= 2, "it neither blocks nor spins"
    before = drain(theirs)
    run_until(reactor, lambda: not output._waiting and not output._dropped)
    output.write("afterwards")
    settle(reactor)
    assert set(before) == set(b".")
    assert drain(theirs) == b"line 0\nline 1\nline 2\n7 lines lost\nafterwards\n"
    assert settle(reactor) == 0
    output.close(1)


def test_what_was_lost_is_said_before_the_next_line(reactor: Reactor, files: Descriptors) -> None:
    theirs, end = files.pipe()
    output = writer(reactor, end, limit=5)
    for number in range(3):
        output.write(f"line {number}")
    output._waiting.clear()  # as if there were room again before the flush
    output.write("next")
    settle(reactor)
    assert drain(theirs) == b"2 lines lost\nnext\n"
    output.close(1)


def test_everything_arrives_through_a_reader_that_is_slow(reactor: Reactor, files: Descriptors) -> None:
    theirs, end = files.pipe()
    output = writer(reactor, end, limit=1 << 20)
    lines = [f"{number:050d}" for number in range(10_000)]
    for line in lines:
        output.write(line)
    got = bytearray()

    def read() -> bool:
        got.extend(drain(theirs))
        return not output._waiting

    run_until(reactor, read)
    got += drain(theirs)
    assert got.decode().splitlines() == lines
    assert settle(reactor) == 0
    output.close(1)


def test_a_pipe_without_a_reader_takes_nothing_more(reactor: Reactor, files: Descriptors) -> None:
    theirs, end = files.pipe()
    output = writer(reactor, end)
    files.close(theirs)
    output.write("one")
    settle(reactor)
    assert not output.open
    output.write("two")
    assert settle(reactor) == 0
    output.close(1)


def test_a_blocked_pipe_that_loses_its_reader_takes_nothing_more(
    reactor: Reactor, files: Descriptors
) -> None:
    theirs, end = files.pipe()
    fill(end)
    output = writer(reactor, end)
    output.write("one")
    settle(reactor)
    files.close(theirs)
    run_until(reactor, lambda: not output.open)
    assert settle(reactor) == 0
    output.close(1)


def test_a_file_is_written(reactor: Reactor, files: Descriptors, tmp_path: Path) -> None:
    output = writer(reactor, files.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT), limit=1 << 20)
    for number in range(20_000):
        output.write(f"{number}")
    settle(reactor)
    assert (tmp_path / "out").read_text().splitlines() == [f"{number}" for number in range(20_000)]
    output.close(1)


def test_the_null_device_takes_everything(reactor: Reactor, files: Descriptors) -> None:
    output = writer(reactor, files.open(os.devnull, os.O_RDWR))
    output.write("one")
    settle(reactor)
    assert output.open
    assert not output._waiting
    output.close(1)


def test_a_closed_descriptor_takes_nothing(reactor: Reactor, files: Descriptors) -> None:
    _theirs, end = files.pipe()
    files.close(end)
    output = writer(reactor, end)
    output.write("one")
    assert not output.open
    assert settle(reactor) == 0
    output.close(1)


def test_a_terminal_is_written_by_a_description_of_its_own(reactor: Reactor, files: Descriptors) -> None:
    main, side = files.terminal()
    tty.setraw(side)
    output = writer(reactor, side)
    output.write("one")
    settle(reactor)
    assert drain(main) == b"one\n"
    assert os.get_blocking(side)
    assert fcntl.fcntl(output._descriptor, fcntl.F_GETFL) & os.O_NONBLOCK
    output.close(1)
    output.close(1)


def test_a_terminal_that_takes_nothing_holds_nothing_up(reactor: Reactor, files: Descriptors) -> None:
    main, side = files.terminal()
    tty.setraw(side)
    output = writer(reactor, side, limit=1 << 20)
    lines = [f"{number:060d}" for number in range(5_000)]
    for line in lines:
        output.write(line)
    settle(reactor)
    assert output._waiting
    got = bytearray()

    def read() -> bool:
        got.extend(drain(main))
        return not output._waiting

    run_until(reactor, read)
    run_until(reactor, lambda: read() and len(got.splitlines()) == len(lines))
    assert got.decode().splitlines() == lines
    output.close(1)


def test_closing_writes_what_is_waiting(reactor: Reactor, files: Descriptors) -> None:
    theirs, end = files.pipe()
    output = writer(reactor, end)
    output.write("last words")
    output.close(1)
    assert drain(theirs) == b"last words\n"
    output.write("too late")
    settle(reactor)
    assert drain(theirs) == b""


def test_closing_does_not_wait_for_ever_and_writes_nothing_afterwards(
    reactor: Reactor, files: Descriptors
) -> None:
    theirs, end = files.pipe()
    fill(end)
    output = writer(reactor, end)
    output.write("nobody reads this")
    output.close(0.01)
    assert set(drain(theirs)) == set(b".")
    settle(reactor)
    assert drain(theirs) == b""


def test_without_polling_output_just_blocks(
    reactor: Reactor, files: Descriptors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POSIX", False)
    theirs, end = files.pipe()
    output = writer(reactor, end)
    output.write("one")
    settle(reactor)
    assert drain(theirs) == b"one\n"
    output.close(1)


# -- the standard descriptors ----------------------------------------------------------------------------


@pytest.mark.parametrize("closed", [[], [0], [1], [2], [0, 1], [0, 1, 2]])
def test_standard_descriptors_that_the_caller_has_closed_are_the_null_device(
    closed: list[int], tmp_path: Path
) -> None:
    program = (
        "import os, sys\n"
        f"for descriptor in {closed}: os.close(descriptor)\n"
        "from selchat.net.stdio import ensure_standard_descriptors\n"
        "ensure_standard_descriptors()\n"
        "null = os.stat(os.devnull).st_rdev\n"
        f"open({str(tmp_path / 'out')!r}, 'w').write(repr([os.fstat(d).st_rdev == null for d in range(3)]))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (tmp_path / "out").read_text() == repr([number in closed for number in range(3)]), result.stderr
