from __future__ import annotations

import os
import pty
import select
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from selchat.net import stdio as module
from selchat.net.reactor import Reactor
from selchat.net.stdio import LineReader, LineWriter
from tests.net.helpers import ManualTime, run_until, settle


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
    """A reader and its calls: a text is a line, a number the size of a line that was too long, None the end.

    A test may replace ``then``, which runs after each line and each line that was too long.
    """

    def __init__(self, reactor: Reactor, descriptor: int, limit: int = 100) -> None:
        self.heard: list[str | int | None] = []
        self.then: Callable[[], object] = lambda: None
        self.reader = LineReader(
            reactor,
            descriptor,
            limit,
            on_line=self._record,
            on_end=lambda: self.heard.append(None),
            on_too_long=self._record,
        )

    def _record(self, line: str | int) -> None:
        self.heard.append(line)
        self.then()


# -- reading -------------------------------------------------------------------------------------------


def test_pipe_gives_each_line_when_it_is_complete(reactor: Reactor, files: Descriptors) -> None:
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


def test_invalid_utf8_is_replaced(reactor: Reactor, files: Descriptors) -> None:
    end, theirs = files.pipe()
    reading = Reading(reactor, end)
    os.write(theirs, b"caf\xc3\n" + "é\n".encode())
    run_until(reactor, lambda: len(reading.heard) == 2)
    reading.reader.close()
    assert reading.heard == ["caf\ufffd", "é"]


def test_character_split_between_two_reads_stays_whole(reactor: Reactor, files: Descriptors) -> None:
    end, theirs = files.pipe()
    reading = Reading(reactor, end)
    os.write(theirs, "é".encode()[:1])
    settle(reactor)
    os.write(theirs, "é".encode()[1:] + b"\n")
    run_until(reactor, lambda: reading.heard)
    reading.reader.close()
    assert reading.heard == ["é"]


def test_too_long_line_is_discarded_and_reported_once(reactor: Reactor, files: Descriptors) -> None:
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


def test_file_is_read_in_pieces_over_several_ticks(
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


def test_null_device_is_an_end_and_does_not_spin(reactor: Reactor, files: Descriptors) -> None:
    reading = Reading(reactor, files.open(os.devnull, os.O_RDWR))
    run_until(reactor, lambda: reading.heard)
    assert reading.heard == [None]
    assert settle(reactor) == 0


def test_endless_device_does_not_block_a_tick(reactor: Reactor, files: Descriptors) -> None:
    reading = Reading(reactor, files.open("/dev/zero", os.O_RDONLY))
    for _ in range(5):
        reactor.tick(0)
    assert reading.heard == [65536]
    reading.reader.close()
    assert settle(reactor) == 0


def test_closed_descriptor_is_an_end(reactor: Reactor, files: Descriptors) -> None:
    end, _theirs = files.pipe()
    files.close(end)
    reading = Reading(reactor, end)
    assert reading.heard == []
    run_until(reactor, lambda: reading.heard)
    assert reading.heard == [None]
    reading.reader.resume()
    assert settle(reactor) == 0


def test_closed_descriptor_is_an_end_after_a_pause(reactor: Reactor, files: Descriptors) -> None:
    end, _theirs = files.pipe()
    files.close(end)
    reading = Reading(reactor, end)
    reading.reader.pause()
    assert settle(reactor) == 0
    assert reading.heard == []
    reading.reader.resume()
    run_until(reactor, lambda: reading.heard)
    assert reading.heard == [None]


def test_directory_is_an_end(reactor: Reactor, files: Descriptors, tmp_path: Path) -> None:
    reading = Reading(reactor, files.open(tmp_path, os.O_RDONLY))
    run_until(reactor, lambda: reading.heard)
    assert reading.heard == [None]


def test_terminal_gives_lines_until_ctrl_d(reactor: Reactor, files: Descriptors) -> None:
    main, side = files.terminal()
    reading = Reading(reactor, side)
    os.write(main, b"one\n")
    run_until(reactor, lambda: reading.heard)
    os.write(main, b"\x04")  # Ctrl-D
    run_until(reactor, lambda: None in reading.heard)
    assert reading.heard == ["one", None]


def test_closed_terminal_is_an_end_and_a_hangup(reactor: Reactor, files: Descriptors) -> None:
    main, side = files.terminal()
    reading = Reading(reactor, side)
    assert not reading.reader.hung_up
    files.close(main)
    assert reading.reader.hung_up
    run_until(reactor, lambda: reading.heard)
    assert reading.heard == [None]
    assert settle(reactor) == 0
    assert reading.reader.hung_up


def test_pipe_never_hangs_up(reactor: Reactor, files: Descriptors) -> None:
    end, other = files.pipe()
    reading = Reading(reactor, end)
    files.close(other)
    run_until(reactor, lambda: reading.heard)
    assert not reading.reader.hung_up


def test_terminal_is_not_read_in_the_background(
    reactor: Reactor, clock: ManualTime, files: Descriptors, monkeypatch: pytest.MonkeyPatch
) -> None:
    main, side = files.terminal()
    monkeypatch.setattr(os, "tcgetpgrp", lambda _descriptor: os.getpgrp() + 1)
    reading = Reading(reactor, side)
    os.write(main, b"one\n")
    for _ in range(5):
        clock.advance(1)  # the time between two checks
        settle(reactor)
    assert reading.heard == []
    monkeypatch.setattr(os, "tcgetpgrp", lambda _descriptor: os.getpgrp())
    clock.advance(1)
    run_until(reactor, lambda: reading.heard)
    assert reading.heard == ["one"]
    reading.reader.close()


@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_paused_reader_reads_nothing_until_resume(
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


def test_reader_of_a_file_may_be_paused_in_a_callback(
    reactor: Reactor, files: Descriptors, tmp_path: Path
) -> None:
    (tmp_path / "lines").write_bytes(b"x" * 70_000 + b"\nlast\n")
    reading = Reading(reactor, files.open(tmp_path / "lines", os.O_RDONLY), limit=100)
    reading.then = reading.reader.pause
    reactor.tick(0)
    assert settle(reactor) == 0
    [size] = reading.heard
    assert isinstance(size, int)
    reading.reader.resume()
    run_until(reactor, lambda: "last" in reading.heard)
    reading.reader.resume()
    run_until(reactor, lambda: None in reading.heard)
    assert reading.heard == [size, "last", None]


def test_reader_may_be_closed_in_a_callback(reactor: Reactor, files: Descriptors) -> None:
    end, theirs = files.pipe()
    reading = Reading(reactor, end)
    reading.then = reading.reader.close
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
    """Read without waiting."""
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


def test_blocked_pipe_blocks_nothing_and_dropped_lines_are_counted(
    reactor: Reactor, files: Descriptors
) -> None:
    theirs, end = files.pipe()
    fill(end)
    output = writer(reactor, end, limit=20)
    for number in range(10):
        output.write(f"line {number}")
    assert settle(reactor) <= 2, "it neither blocks nor spins"
    before = drain(theirs)
    got = bytearray()
    run_until(reactor, lambda: got.extend(drain(theirs)) or got.endswith(b"lost\n"))
    output.write("afterwards")
    settle(reactor)
    assert set(before) == set(b".")
    assert got + drain(theirs) == b"line 0\nline 1\nline 2\n7 lines lost\nafterwards\n"
    assert settle(reactor) == 0
    output.close(1)


def test_dropped_lines_are_reported_before_the_next_line(reactor: Reactor, files: Descriptors) -> None:
    theirs, end = files.pipe()
    fill(end)
    output = writer(reactor, end, limit=5)
    page = select.PIPE_BUF
    output.write("x" * page)
    output.write("lost")
    output.write("lost")
    settle(reactor)
    assert os.read(theirs, page) == b"." * page  # room for a page: the newline stays queued
    settle(reactor)
    output.write("next")
    assert drain(theirs).endswith(b"x")
    settle(reactor)
    assert drain(theirs) == b"\n2 lines lost\nnext\n"
    output.close(1)


def test_slow_reader_gets_every_line(reactor: Reactor, files: Descriptors) -> None:
    theirs, end = files.pipe()
    output = writer(reactor, end, limit=1 << 20)
    lines = [f"{number:050d}" for number in range(10_000)]
    for line in lines:
        output.write(line)
    got = bytearray()

    def read() -> bool:
        got.extend(drain(theirs))
        return got.count(b"\n") == len(lines)

    run_until(reactor, read)
    assert got.decode().splitlines() == lines
    assert settle(reactor) == 0
    output.close(1)


def test_pipe_without_a_reader_closes_the_writer(reactor: Reactor, files: Descriptors) -> None:
    theirs, end = files.pipe()
    output = writer(reactor, end)
    files.close(theirs)
    output.write("one")
    settle(reactor)
    assert not output.open
    output.write("two")
    assert settle(reactor) == 0
    output.close(1)


def test_blocked_pipe_that_loses_its_reader_closes_the_writer(reactor: Reactor, files: Descriptors) -> None:
    theirs, end = files.pipe()
    fill(end)
    output = writer(reactor, end)
    output.write("one")
    settle(reactor)
    files.close(theirs)
    run_until(reactor, lambda: not output.open)
    assert settle(reactor) == 0
    output.close(1)


def test_file_gets_every_line(reactor: Reactor, files: Descriptors, tmp_path: Path) -> None:
    output = writer(reactor, files.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT), limit=1 << 20)
    for number in range(20_000):
        output.write(f"{number}")
    settle(reactor)
    assert (tmp_path / "out").read_text().splitlines() == [f"{number}" for number in range(20_000)]
    output.close(1)


def test_null_device_accepts_everything(reactor: Reactor, files: Descriptors) -> None:
    lost: list[int] = []
    null = files.open(os.devnull, os.O_RDWR)
    output = LineWriter(reactor, null, 1000, lambda count: f"{lost.append(count)}")
    for _ in range(3):
        output.write("x" * 1000)
        settle(reactor)
    assert output.open
    assert lost == []
    output.close(1)


def test_closed_descriptor_closes_the_writer(reactor: Reactor, files: Descriptors) -> None:
    _theirs, end = files.pipe()
    files.close(end)
    output = writer(reactor, end)
    output.write("one")
    assert not output.open
    assert settle(reactor) == 0
    output.close(1)


def test_terminal_is_written_through_a_nonblocking_description_of_our_own(
    reactor: Reactor, files: Descriptors
) -> None:
    main, side = files.terminal()
    tty.setraw(side)
    free = os.dup(side)
    os.close(free)  # the lowest free number: the next open gets it
    output = writer(reactor, side)
    output.write("one")
    settle(reactor)
    assert drain(main) == b"one\n"
    assert os.get_blocking(side)
    assert os.ttyname(free) == os.ttyname(side)
    assert not os.get_blocking(free)
    output.close(1)
    output.close(1)


def test_full_terminal_blocks_nothing_and_gets_every_line_later(reactor: Reactor, files: Descriptors) -> None:
    main, side = files.terminal()
    tty.setraw(side)
    output = writer(reactor, side, limit=1 << 20)
    lines = [f"{number:060d}" for number in range(5_000)]
    for line in lines:
        output.write(line)
    settle(reactor)
    got = bytearray(drain(main))
    assert got.count(b"\n") < len(lines), "the terminal is full"

    def read() -> bool:
        got.extend(drain(main))
        return got.count(b"\n") == len(lines)

    run_until(reactor, read)
    assert got.decode().splitlines() == lines
    output.close(1)


def test_close_writes_the_queued_lines(reactor: Reactor, files: Descriptors) -> None:
    theirs, end = files.pipe()
    output = writer(reactor, end)
    output.write("last words")
    output.close(1)
    assert drain(theirs) == b"last words\n"
    output.write("too late")
    settle(reactor)
    assert drain(theirs) == b""


def test_close_gives_up_in_time_and_writes_nothing_afterwards(reactor: Reactor, files: Descriptors) -> None:
    theirs, end = files.pipe()
    fill(end)
    output = writer(reactor, end)
    output.write("nobody reads this")
    output.close(0.01)
    assert set(drain(theirs)) == set(b".")
    settle(reactor)
    assert drain(theirs) == b""


def test_output_blocks_on_systems_without_poll(
    reactor: Reactor, files: Descriptors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POSIX", False)
    theirs, end = files.pipe()
    output = writer(reactor, end)
    output.write("one")
    settle(reactor)
    assert drain(theirs) == b"one\n"
    output.close(1)
